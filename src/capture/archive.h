/* archive_command and restore_command: one file of WAL into the repository's archive, and out of it.
 *
 * Thread-safe. What may be archived: src/capture/wal_take.h. */
#pragma once

#include <stdbool.h>

#include "src/base/err.h"
#include "src/base/log.h"
#include "store/store.h"

/* Zero is the default. */
struct wal_push {
	unsigned threads; /* 0: one a processor */
	struct log *log;  /* may be NULL */
	/* Segments that the server marked as ready beside this one are archived in the same call, several at a time; the
	 * calls for them then have little to do. */
	bool ahead;
	/* A folder for notes on what was archived ahead, made when it is missing. NULL: the calls for those segments
	 * compare the file with the archive instead. */
	const char *notes;
};

/* Archives the file at path under its own name; durable on return. *ret_known: the same file was there already. What
 * became of other segments is not told: it is when their turn comes.
 *
 * -EINVAL: not a file that a server archives; -EBADMSG: the segment's header denies its name or size; -EEXIST: another
 * system's, or other content under the same name. */
int capture_archive_push(struct store *s, const char *cluster, const char *path, const struct wal_push *o,
	bool *ret_known, struct err *e);

/* Zero is the default. */
struct wal_get {
	/* The next segment is unpacked beside dest by a process that is left at work, for the next call. Only for a program
	 * with one thread. */
	bool ahead;
	/* A segment that is not there whole is given as far as it is, its rest zeroes: what was archived of it when its timeline
	 * ended, or what a receiver has of it so far. */
	bool partial;
};

/* Copies name out of the archive to dest, which appears whole or not at all. -ENOENT: it is not in the archive; no other
 * failure is -ENOENT. */
int capture_archive_get(struct store *s, const char *cluster, const char *name, const char *dest,
	const struct wal_get *o, struct err *e);
