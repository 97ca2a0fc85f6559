/* A directory that shows a listing (fs/listing.h): what backups/, dumps/, a database in it and globals/ have in common.
 *
 * A provider embeds it first and says by its kind where the names come from. Positions: with `latest`, that has 0 and the
 * names follow as they were seen; without, they begin at 0. `latest` is another link (with another inode number) whenever
 * it points to another snapshot, so that a link never changes and may be cached for good; only the name is looked up
 * again. */
#pragma once

#include "fs/fs.h"
#include "fs/listing.h"

struct ns_names;

struct ns_names_kind {
	const char *folder; /* "backups": below the cluster's directory */
	const char *what;   /* "backup": as in "cluster main has no backup x" */
	bool latest;	    /* the names are ids of snapshots; the newest is shown as `latest`, too */
	/* As in struct listing_source, arg being the struct ns_names. */
	int (*fetch)(void *arg, struct listing *l, struct err *e);
	int (*make)(void *arg, const char *name, uint32_t position, struct ns_object **ret, struct err *e);
	bool (*same)(const struct ns_object *o); /* likewise */
	void (*release)(struct ns_names *d);	 /* what the provider added; NULL: nothing */
};

struct ns_names {
	struct ns_object obj;
	const struct ns_names_kind *kind;
	char *cluster;
	char *name; /* of the directory, in its folder; NULL: it is the folder itself */
	uint64_t ino, parent;
	uint32_t position;
	struct listing names;
};

/* Makes one of `size` bytes, zeroed behind the struct ns_names that it begins with. name: NULL for the folder itself. */
int ns_names_new(struct fs *fs, const struct ns_names_kind *kind, size_t size, const char *cluster,
	const char *name, uint64_t parent, uint32_t position, struct ns_names **ret, struct err *e);

/* What a kind's fetch gives listing_put. */
struct listing_source ns_names_source(struct ns_names *d);

/* The position of what the listing calls its position-th. */
uint32_t ns_names_position(const struct ns_names *d, uint32_t position);
