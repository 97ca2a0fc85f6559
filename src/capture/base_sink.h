/* Where the entries of a base backup go, whether they come from a directory or from tar files: into the
 * ingest, past the manifest and the facts.
 *
 * Paths are those of the snapshot: "data/…", "tablespaces/OID/…". The manifest and the facts know the same
 * files by their paths in the data directory ("…", "pg_tblspc/OID/…"); the sink translates.
 *
 * Entries may come from several threads until base_sink_finish, each pushed file from one of them; files whose
 * manifest asks for SHA-2 all from the same one. The facts are the sink's own meanwhile, but for what
 * tablespaces there are, which the thread that gives them may ask. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "src/base/clean.h"
#include "src/base/err.h"
#include "src/capture/backup_facts.h"
#include "src/capture/manifest_check.h"
#include "src/base/meter.h"
#include "store/ingest.h"

#define BASE_DATA "data"
#define BASE_TABLESPACES "tablespaces"

#define BASE_LOCAL_MAX (MANIFEST_PATH_MAX + 1)

/* The path in the data directory of a path in the snapshot: false when it has none. */
bool base_local_path(const char *path, char out[BASE_LOCAL_MAX]);
/* And back, for messages; returns out. */
#define BASE_PATH_MAX (BASE_LOCAL_MAX + sizeof(BASE_TABLESPACES))
char *base_snapshot_path(const char *local, char out[BASE_PATH_MAX]);

struct base_sink;
struct base_file;

struct base_sink_options {
	struct backup_facts *facts;	 /* required */
	struct manifest_check *manifest; /* NULL: there is none */
	struct meter *meter;		 /* counts the backup's bytes and files; may be NULL */
	struct log *log;
	unsigned threads;
};

/* Starts an ingest of kind base for the cluster. What the options name must outlive the sink. */
int base_sink_new(struct store *s, const char *cluster, const struct base_sink_options *o,
	struct base_sink **ret, struct err *e);
/* Aborts what was not published. Fine on NULL. */
void base_sink_free(struct base_sink *k);
CLEANUP_DEFINE(struct base_sink, base_sink_free)

int base_sink_dir(struct base_sink *k, const char *path, const struct meta *m, struct err *e);
int base_sink_symlink(
	struct base_sink *k, const char *path, const struct meta *m, const char *target, struct err *e);
/* pg_tblspc/OID: noted with where it led, stored as the relative link to tablespaces/OID. */
int base_sink_tablespace_link(
	struct base_sink *k, struct oid oid, const struct meta *m, const char *target, struct err *e);

/* A regular file of `size` bytes behind fd, which is taken and closed. `name` is what messages call it. */
int base_sink_file(struct base_sink *k, const char *path, const struct meta *m, int fd, uint64_t size,
	const char *name, struct err *e);

/* A file whose bytes are pushed; its size is known from the start. Of those that want SHA-2 at most one is open. */
int base_sink_open(struct base_sink *k, const char *path, const struct meta *m, uint64_t size,
	struct base_file **ret, struct err *e);
int base_sink_write(struct base_file *f, const void *p, size_t n, struct err *e);
int base_sink_close(struct base_file *f, struct err *e); /* frees f also when it fails */
void base_sink_drop(struct base_file *f); /* frees one that will not be finished; fine on NULL */

/* Everything came: waits for the last byte, then compares with the manifest. */
int base_sink_finish(struct base_sink *k, struct err *e);
/* After base_sink_finish: writes the tree and fills snap's sizes; what can still go wrong is said here. */
int base_sink_seal(struct base_sink *k, struct snapshot *snap, struct err *e);
/* Publishes; after base_sink_seal. */
int base_sink_publish(struct base_sink *k, struct snapshot *snap, struct err *e);
