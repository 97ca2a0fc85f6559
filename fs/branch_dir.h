/* Branches on disk: what is written on top of a backup, in a directory of this machine that has nothing to do with the
 * repository.
 *
 *	SCRATCH/<repository id>/<cluster>/<name>/
 *		branch.json   what it is a branch of. Comes last: without it there is no branch
 *		lock          flock(2), exclusive: the mount that serves it
 *		log           what changed (fs/branch_log)
 *		files/<n>     the blocks that were written, sparse, at their own offsets
 *		server/       private to `pgstrata open`: the socket, the server's log
 *
 * A branch is made by `pgstrata open` and shown by each mount of that repository with that SCRATCH, as
 * MNT/<cluster>/open/<name>/: the backup's own tree (data/, tablespaces/), writable. No message passes between the two: the
 * mount looks into the directory.
 *
 * All may pass through these directories and only their owner may list them, since server/ belongs to whoever runs the
 * server; files are their owner's alone. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "src/base/clock.h"
#include "src/base/err.h"

#define BRANCH_NAME_MAX 64

struct branch_spec {
	char *name;	    /* branch_check_name */
	char *cluster;	    /* store_check_cluster_name */
	char *backup;	    /* the snapshot's id */
	char *target;	    /* as the user wrote it, for people; NULL: the backup itself */
	uint64_t max_bytes; /* that may be written, ENOSPC beyond; 0: no limit. At most INT64_MAX */
	bool durable;	    /* fsync reaches the disk; else it does nothing */
	struct tstamp created;
};
void branch_spec_release(struct branch_spec *s); /* fine on a zeroed one */

/* Letters, digits, '_', '-', '.', at most BRANCH_NAME_MAX, the first neither '.' nor '-'. -EINVAL with a text. */
int branch_check_name(const char *name, struct err *e);

/* The directory that holds all branches of a repository (repo_id: store_id), absolute, which need not exist. free() it.
 * Its text tells whether two mounts serve the same branches. -ENOMEM, or the current directory cannot be told. */
int branch_scratch(const char *scratch, const char *repo_id, char **ret, struct err *e);

/* Below, dir is what branch_scratch gave. All return 0 or -errno; thread-safe, and safe beside other processes. */

/* -EEXIST: there is one of that name. What was begun and not finished is replaced; -EBUSY: it is being made. Durable when
 * it returns. */
int branch_create(const char *dir, const struct branch_spec *s, struct err *e);
/* -ENOENT: there is none; -EBADMSG: branch.json is not one. ret is untouched by an error. */
int branch_load(
	const char *dir, const char *cluster, const char *name, struct branch_spec *ret, struct err *e);
/* Names of the branches of a cluster, sorted; free each and the list. */
int branch_names(const char *dir, const char *cluster, char ***ret, size_t *ret_n, struct err *e);
/* The branch's own directory. free() it. -ENOMEM. */
int branch_path(const char *dir, const char *cluster, const char *name, char **ret, struct err *e);
/* Takes the lock: the descriptor, to be closed. -ENOENT: there is no such branch; -EBUSY: somebody has it, which may be this
 * process. */
int branch_lock(const char *dir, const char *cluster, const char *name, struct err *e);
/* Disk that it takes, in bytes. */
int branch_usage(const char *dir, const char *cluster, const char *name, uint64_t *ret, struct err *e);
/* Makes it disappear at once (rename), then deletes. -EBUSY while somebody has its lock. 0 also when there is none. */
int branch_remove(const char *dir, const char *cluster, const char *name, struct err *e);
/* The same for who has the lock, and gives it up by closing the descriptor afterwards. */
int branch_remove_locked(const char *dir, const char *cluster, const char *name, struct err *e);
