/* Fault points: places where a test can make the program die or a call fail, and a record of what reached the disk.
 *
 * Compiled in only with PGSTRATA_FAULTS (presets debug, asan, tsan); elsewhere all of it is constants that the
 * compiler takes away. A point is named for the system call that comes next; names that begin with "read" are
 * of calls that change nothing. The plan comes from the environment:
 *
 *	PGSTRATA_FAULT=NAME:N:ACTION  at the Nth passage (from 1) of point NAME ("*": any whose name does not begin with
 *			"read") ACTION is `kill` (SIGKILL to ourselves, after "fault-kill POINT PASSAGE" on standard error,
 *			where PASSAGE counts that point alone), or an errno number that the point then reports.
 *			NAME:N+:ACTION is the Nth and all that follow.
 *	PGSTRATA_FAULT=count   prints every passage to standard error as "fault-point POINT", or "fault-read POINT"
 *	PGSTRATA_FAULT=scraps  reads and writes move few bytes at a time, and every third call is interrupted
 *	PGSTRATA_FAULT_CLOCK=N:SECONDS   from its Nth reading on, the wall clock is off by that much
 *	PGSTRATA_FAULT_JOURNAL=FILE   what is written, synced and named is appended to FILE (enum fault_op)
 *
 * Thread-safe. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What a journal holds: struct fault_entry, then len_a bytes (a path), then len_b bytes (a path, or what was written).
 * A step is in the journal when it is done, so that the order in which threads did things is never made to look
 * stronger than it was; a sync has two entries, which belong together by their thread. */
enum fault_op {
	FAULT_CREATE = 1, /* an inode; a: its path, or nothing when it has none yet */
	FAULT_WRITE,	  /* inode, off, b: the bytes */
	FAULT_LINK,	  /* inode, a: path */
	FAULT_RENAME,	  /* a: from, b: to */
	FAULT_UNLINK,	  /* a: path */
	FAULT_MKDIR,	  /* a: path */
	FAULT_SYNC,	  /* inode: begins */
	FAULT_SYNC_DIR,	  /* a: path; begins */
	FAULT_SYNCED,	  /* the thread's sync ends */
	FAULT_MARK,	  /* a: text of the test's own */
	FAULT_TRUNCATE,	  /* inode, off: its length now */
};

struct fault_entry {
	uint32_t op, thread;
	uint64_t inode, off;
	uint32_t len_a, len_b;
};

#ifdef PGSTRATA_FAULTS
int fault_at(const char *point); /* 0, or the -errno to fail with */
size_t fault_scrap(size_t n);	 /* how many of n bytes the next call may move, at least 1 */
bool fault_interrupted(void);	 /* act as if the call had been interrupted */
int64_t fault_clock_s(void);	 /* seconds to add to the wall clock; each call is a reading */
void fault_note_fd(enum fault_op op, int fd, const char *path);
void fault_note_write(
	int fd, uint64_t off, const void *p, size_t n); /* off UINT64_MAX: up to where fd stands */
void fault_note_truncate(int fd, uint64_t size);
void fault_note_path(enum fault_op op, const char *a, const char *b);
#else
static inline int fault_at(const char *point)
{
	(void)point;
	return 0;
}
static inline size_t fault_scrap(size_t n)
{
	return n;
}
static inline bool fault_interrupted(void)
{
	return false;
}
static inline int64_t fault_clock_s(void)
{
	return 0;
}
static inline void fault_note_fd(enum fault_op op, int fd, const char *path)
{
	(void)op;
	(void)fd;
	(void)path;
}
static inline void fault_note_write(int fd, uint64_t off, const void *p, size_t n)
{
	(void)fd;
	(void)off;
	(void)p;
	(void)n;
}
static inline void fault_note_truncate(int fd, uint64_t size)
{
	(void)fd;
	(void)size;
}
static inline void fault_note_path(enum fault_op op, const char *a, const char *b)
{
	(void)op;
	(void)a;
	(void)b;
}
#endif
