/* What restore.c (targets, durability) and restore_tree.c (one tree copied) share. */
#pragma once

#include <stdatomic.h>
#include <pthread.h>

#include "src/base/pool.h"
#include "src/capture/account.h"
#include "src/capture/restore.h"
#include "store/tree.h"

/* A tablespace of the snapshot and where it goes. */
struct restore_space {
	struct oid oid;
	char *dir;	      /* absolute once the directory is there */
	struct entry *source; /* tablespaces/OID */
};

struct restore {
	struct store *s;
	const struct restore_options *o;
	struct pool *pool;
	struct accounts *accounts; /* main thread only */
	struct restore_space *spaces;
	size_t n_spaces;
	atomic_bool failed;
	pthread_mutex_t lock; /* guards first; no other lock is taken under it */
	struct err first;     /* the first error of any thread */
};

/* Gives what fd is the owner and mode of m, and the time unless `time` is NULL. 0 or -errno. */
int restore_attributes(const struct restore *r, int fd, const struct meta *m, const struct tstamp *time);

/* Copies the tree into the directory fd (kept open; path is for messages), submitting its files to the pool.
 * is_data: links pg_tblspc/OID are made to lead to the tablespaces' directories. Returns when everything is
 * submitted. */
int restore_tree(
	struct restore *r, int fd, const char *path, const struct dir_ref *tree, bool is_data, struct err *e);

/* After the pool is drained: gives the directories below fd their attributes, deepest first, and fd its own.
 */
int restore_dirs(struct restore *r, int fd, const char *path, const struct dir_ref *tree,
	const struct meta *m, struct err *e);
