/* The tar archives of a base backup, each put below its place in the snapshot: from files (tar_base.h) or from a
 * server's stream (backup.h).
 *
 * One thread calls. Not here: which archives make a backup, and their order. */
#pragma once

#include <stdbool.h>

#include "src/base/clean.h"
#include "src/base/err.h"
#include "src/base/log.h"
#include "src/capture/base_sink.h"
#include "src/capture/tar.h"

struct tar_load;

struct tar_load_options {
	struct base_sink *sink;
	struct backup_facts *facts; /* the sink's */
	struct log *log;	    /* may be NULL */
	bool beside; /* the manifest is not a member: one that is there is passed over with a warning */
	/* Called with what the first member of all archives says of owners and mode; may be NULL. */
	int (*first)(void *arg, const struct meta *m, struct err *e);
	void *arg;
};

int tar_load_new(const struct tar_load_options *o, struct tar_load **ret, struct err *e);
void tar_load_free(struct tar_load *l); /* fine on NULL */
CLEANUP_DEFINE(struct tar_load, tar_load_free)

/* One archive, its members going below `root` ("data", "tablespaces/OID", "data/pg_wal"), which is made like
 * its first directory when the archive has no member for it. base.tar comes before pg_wal.tar. */
int tar_load_file(struct tar_load *l, const char *path, const char *root, struct err *e);
/* The same from a stream; unmarked: see tar.h. */
int tar_load_stream(struct tar_load *l, const struct tar_source *src, const char *name, bool unmarked,
	const char *root, struct err *e);

/* Right after base.tar: reads tablespace_map, if one came, and makes the links pg_tblspc/OID that were no
 * members. */
int tar_load_links(struct tar_load *l, struct err *e);
