/* What restore.c (a base backup's targets, durability), restore_dump.c (a dump) and restore_tree.c (one tree copied) share. */
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

/* Pool and accounts of a zeroed r with its lock made; restore_release ends all of it, whatever was started. */
int restore_start(struct restore *r, struct err *e);
void restore_release(struct restore *r);
/* Waits for all that was submitted. The first error: `ret` when it is one, else that of the threads. */
int restore_settle(struct restore *r, int ret, struct err *e);

/* 0 when the directory is empty or is not there; -ENOTEMPTY. */
int restore_check_empty(const char *dir, struct err *e);
/* Makes dir, private until it is whole, and what leads there, and opens it. */
int restore_open_target(const char *dir, int *ret, struct err *e);

/* Who m's owner is on this machine; both -1 where files are not given to anybody. */
void restore_owner(const struct restore *r, const struct meta *m, uid_t *uid, gid_t *gid);
/* Gives what fd is the owner and mode of m, and the time unless `time` is NULL. 0 or -errno. */
int restore_attributes(const struct restore *r, int fd, const struct meta *m, const struct tstamp *time);

/* Copies the tree into the directory fd (kept open; path is for messages), submitting its files to the pool.
 * is_data: links pg_tblspc/OID are made to lead to the tablespaces' directories. Returns when everything is
 * submitted. */
int restore_tree(
	struct restore *r, int fd, const char *path, const struct dir_ref *tree, bool is_data, struct err *e);

/* Copies the file `en` into fd (kept open), an empty file that the caller made; dir and en's name are for messages. Returns
 * when everything is submitted. */
int restore_into(struct restore *r, int fd, const char *dir, const struct entry *en, struct err *e);

/* After the pool is drained: gives the directories below fd their attributes, deepest first, and fd its own.
 */
int restore_dirs(struct restore *r, int fd, const char *path, const struct dir_ref *tree,
	const struct meta *m, struct err *e);
