/* Reading a tar file, plain or compressed with gzip, lz4 or zstd, or a stream of tar, member by member, trusting
 * nothing.
 *
 * Knows tar and nothing else. An archive that does not end with its two blocks of zeroes was cut off, even
 * when it was cut between two members: -EBADMSG. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "src/base/err.h"
#include "src/base/log.h"
#include "src/base/meter.h"
#include "store/tree.h"

#define TAR_PATH_MAX 4095

/* Where an archive's bytes come from, other than a file. next gives a piece, valid until the next call: its
 * length, 0 at the end and ever after, or -errno. */
struct tar_source {
	ssize_t (*next)(void *arg, const void **ret, struct err *e);
	/* Passes over up to n bytes without reading them: how many; NULL: it cannot. */
	uint64_t (*skip)(void *arg, uint64_t n);
	void *arg;
};

/* Valid during the call that gives it. */
struct tar_member {
	const char *path; /* relative, no empty, "." or ".." parts, each at most 255 bytes; "" is the top */
	enum entry_type type;
	struct meta meta;
	uint64_t size;	    /* files */
	const char *target; /* symlinks */
};

/* Called in this order for each member: member, then for files data (never with n = 0) and end. Not 0 from
 * any: stop, and tar_read returns that, but for TAR_SKIP from member: go on with the next one. */
#define TAR_SKIP 1
struct tar_ops {
	int (*member)(void *arg, const struct tar_member *m, struct err *e);
	int (*data)(void *arg, const void *p, size_t n, struct err *e);
	int (*end)(void *arg, struct err *e);
};

struct tar_options {
	struct log *log;     /* members that are passed over: fifos, sockets, devices */
	struct meter *meter; /* counts the archive's own bytes, as they lie on disk; may be NULL */
	bool headers_only;   /* for a look inside: the end is not checked, skipped bytes need not be read */
	bool unmarked;	     /* it may end right behind a member: who gives the bytes vouches for their end */
};

/* Reads the archive behind fd from its present position; fd stays the caller's. `name` is for messages.
 * -EBADMSG: damaged, cut off, or with a path that is absolute or climbs out; -EOPNOTSUPP: hard links. */
int tar_read(int fd, const char *name, const struct tar_options *o, const struct tar_ops *ops, void *arg,
	struct err *e);
/* The same of plain bytes that somebody else gives, to their end; o's meter is not used. */
int tar_read_source(const struct tar_source *src, const char *name, const struct tar_options *o,
	const struct tar_ops *ops, void *arg, struct err *e);
