/* A branch: a tree of files that can be written, over one that cannot. POSIX's rules for names, attributes and bytes, by
 * inode number; what changed is kept in a directory (fs/branch_dir.h) and comes back when that is opened again.
 *
 * All functions are thread-safe, return 0 or -errno (that of the system call it is for), and take a number that lookup,
 * listing or making gave. What belongs to whom is not checked: the kernel does that.
 *
 * What survives. The journal (fs/branch_log.h) has every change of names and attributes, in order, as soon as it is made,
 * so the death of the process loses none of those. Bytes are first in files/<number>, then in the journal: with `durable`
 * only after they are on disk, that is with branch_fsync or branch_close, so that neither a lost process nor a lost power
 * shows other bytes than those that were there before or those that were written; or zeroes, where a file grew since it
 * was last synced. Without it branch_fsync does nothing and bytes survive the process as they are written, but not a loss
 * of power.
 *
 * An error that a full disk or the limit caused leaves the branch as it was, and the same call works when there is room.
 * Bytes that the disk failed to keep (fsync's EIO) are lost, and every later branch_fsync of that file says so. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "fs/branch_table.h"
#include "src/base/err.h"

struct branch;
struct branch_open;

/* What lies below: immutable, numbered from BRANCH_ROOT to BRANCH_FIRST_NEW - 1. Thread-safe. */
struct branch_lower {
	int (*stat)(void *arg, uint64_t number, struct branch_stat *ret, struct err *e);
	int (*lookup)(void *arg, uint64_t dir, const char *name, struct branch_stat *ret, struct err *e);
	/* As list in struct ns_ops; positions are below 2^32. */
	int (*list)(void *arg, uint64_t dir, uint64_t position,
		int (*fn)(void *fn_arg, const char *name, uint64_t next, const struct branch_stat *st),
		void *fn_arg, struct err *e);
	int (*target)(void *arg, uint64_t number, char **ret, struct err *e);
	int (*open)(void *arg, uint64_t number, void **ret, struct err *e);
	ssize_t (*read)(void *file, uint64_t off, void *p, size_t n, struct err *e);
	void (*close)(void *file);
};

struct branch_options {
	const struct branch_lower *lower;
	void *lower_arg;
	bool durable;
	uint64_t max_bytes; /* 0: no limit */
};

/* Opens what is in the directory, which may be nothing yet. -EBADMSG: it is damaged. */
int branch_new(const char *path, const struct branch_options *o, struct branch **ret, struct err *e);
/* Brings all to disk (an error leaves it as a killed process would) and frees. Fine on NULL. */
int branch_close(struct branch *b, struct err *e);

int branch_getattr(struct branch *b, uint64_t number, struct branch_stat *ret, struct err *e);
int branch_lookup(struct branch *b, uint64_t dir, const char *name, struct branch_stat *ret, struct err *e);
/* Entries from `position` on until fn returns non-zero, which is returned, or 0. What is there all the time comes once. */
typedef int branch_list_fn(void *arg, const char *name, uint64_t next, const struct branch_stat *st);
int branch_list(
	struct branch *b, uint64_t dir, uint64_t position, branch_list_fn *fn, void *arg, struct err *e);
int branch_target(struct branch *b, uint64_t number, char **ret, struct err *e); /* free() it */

/* A name of it with those of its directories, "data/base/1"; NULL: it has none, or no memory. Lists directories: for people. */
char *branch_path_of(struct branch *b, uint64_t number);

/* A new file, directory, link, fifo or socket. */
struct branch_make {
	uint32_t mode, uid, gid; /* with the type; where the directory has S_ISGID its group counts */
	uint64_t rdev;
	const char *target;
};
int branch_make(struct branch *b, uint64_t dir, const char *name, const struct branch_make *m,
	struct branch_stat *ret, struct err *e);
int branch_link(struct branch *b, uint64_t number, uint64_t dir, const char *name, struct branch_stat *ret,
	struct err *e);
int branch_unlink(struct branch *b, uint64_t dir, const char *name, bool directory, struct err *e);
/* keep: -EEXIST instead of replacing. */
int branch_rename(struct branch *b, uint64_t dir, const char *name, uint64_t new_dir, const char *new_name,
	bool keep, struct err *e);
/* Nobody refers to the number any more: a file without a name goes. */
void branch_forget(struct branch *b, uint64_t number);

struct branch_change {
	bool set_mode, set_uid, set_gid, set_size, set_atime, set_mtime;
	uint32_t mode, uid, gid; /* mode: permission bits */
	uint64_t size;
	struct tstamp atime, mtime;
};
int branch_setattr(struct branch *b, uint64_t number, const struct branch_change *c, struct branch_stat *ret,
	struct err *e);
/* What a write does to a program's file: takes S_ISUID away, and S_ISGID where the group may execute it. */
int branch_drop_privileges(struct branch *b, uint64_t number, struct err *e);

/* Files. All who have one open share a struct branch_open. */
int branch_open(struct branch *b, uint64_t number, struct branch_open **ret, struct err *e);
void branch_open_drop(struct branch_open *o);
ssize_t branch_read(struct branch_open *o, uint64_t off, void *p, size_t n, struct err *e);
/* For who wants to read by himself what lies below: what branch_lower.open gave, NULL when nothing was read of it yet. Good
 * until o is dropped. About the n bytes at off, as far as the file goes: */
struct branch_share {
	uint64_t below; /* so many bytes of the file below still count, wherever no block is written */
	uint64_t n;	/* bytes there are */
	bool some, all; /* of them come from below */
};
void *branch_open_below(struct branch_open *o, uint64_t off, uint64_t n, struct branch_share *ret);
/* All n bytes, or an error and the file's size as before. */
int branch_write(struct branch_open *o, uint64_t off, const void *p, size_t n, struct err *e);
/* fallocate(2): 0, KEEP_SIZE, PUNCH_HOLE | KEEP_SIZE, ZERO_RANGE with or without KEEP_SIZE; else -EOPNOTSUPP. */
int branch_allocate(struct branch_open *o, int mode, uint64_t off, uint64_t len, struct err *e);
int branch_fsync(struct branch_open *o, struct err *e);
/* The same, but times may be forgotten: when size and blocks are known, the journal is left alone. */
int branch_fdatasync(struct branch_open *o, struct err *e);
int branch_fsync_dir(struct branch *b, uint64_t number, struct err *e);

/* What is written, in bytes, and the limit (0: none). */
void branch_used(struct branch *b, uint64_t *ret_used, uint64_t *ret_max);
