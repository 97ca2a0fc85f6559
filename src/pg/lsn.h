/* The units of the write-ahead log as types, their text forms, and the names of WAL segment files.
 *
 * Everything here is pure, allocates nothing and is thread-safe. Not here: timeline history files, WAL pages.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A byte position in the WAL (XLogRecPtr, src/include/access/xlogdefs.h). 0 is "none" (InvalidXLogRecPtr). */
struct lsn {
	uint64_t v;
};

/* A timeline (TimeLineID, same file). 0 is "none"; the first is 1. */
struct tli {
	uint32_t v;
};

/* A segment's number: LSN divided by the segment size (XLogSegNo, same file). */
struct segno {
	uint64_t v;
};

/* A block of a relation (BlockNumber, src/include/storage/block.h). */
struct blkno {
	uint32_t v;
};

/* An object identifier (Oid, src/include/postgres_ext.h). 0 is "none". */
struct oid {
	uint32_t v;
};

#define LSN_TEXT 18	/* "FFFFFFFF/FFFFFFFF" with its NUL */
#define WAL_NAME_LEN 24 /* three times eight hexadecimal digits */
#define WAL_NAME_TEXT 25

/* "%X/%X" of the high and the low half, as PostgreSQL prints it. Returns out. */
char *lsn_text(struct lsn l, char out[LSN_TEXT]);

/* Reads exactly n bytes "X/X", one to eight hexadecimal digits of either case on each side
 * (pg_lsn_in_internal, src/backend/utils/adt/pg_lsn.c). False, and *ret untouched, on anything else. */
bool lsn_parse(const char *p, size_t n, struct lsn *ret);

static inline int lsn_cmp(struct lsn a, struct lsn b)
{
	return a.v < b.v ? -1 : a.v > b.v;
}

/* Is this a wal_segment_size that a server can have: a power of two from 1 MiB to 1 GiB (IsValidWalSegSize,
 * src/include/access/xlog_internal.h)? */
bool wal_segsize_ok(uint32_t seg_size);

/* The segment that holds byte l. seg_size must be a valid one. */
struct segno wal_segno(struct lsn l, uint32_t seg_size);

/* The first byte of a segment. seg_size must be a valid one. Wraps at 2^64 for numbers no server reaches. */
struct lsn wal_segment_start(struct segno s, uint32_t seg_size);

/* The file name of a segment: timeline, then the number cut in units of 4 GiB of WAL and what is left
 * (XLogFileName, src/include/access/xlog_internal.h), in capital hexadecimal. Returns out. */
char *wal_name(struct tli t, struct segno s, uint32_t seg_size, char out[WAL_NAME_TEXT]);

/* Is this name of n bytes 24 capital hexadecimal digits (IsXLogFileName, same file)? */
bool wal_name_looks(const char *p, size_t n);

/* Reads such a name back. False, and the results untouched, when it does not look so, when timeline or last
 * third cannot be (timeline 0; a segment number beyond those of 4 GiB), or seg_size is not a valid one. */
bool wal_name_parse(const char *p, size_t n, uint32_t seg_size, struct tli *ret_tli, struct segno *ret_segno);
