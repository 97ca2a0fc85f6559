/* Reads WAL records one after the other through a callback that supplies pages.
 *
 * Records run over pages and segments as one stream; the reader puts them together, checks each page's header
 * (release, address, timeline, cluster, sizes), each record's link to the one before it and its CRC-32C, steps
 * over what a log switch left empty and over records whose end a crash took, and tells the end of WAL from
 * damage. Grammar: wal_page.h, wal_record.h.
 *
 * Invariant: nothing of a record is handed out before its CRC was found right, and no memory is taken for bytes
 * that did not arrive: one page, one head, and at most keep_max bytes of data.
 * Non-goal: choosing files and timelines; the callback does. Not thread-safe; one reader a thread. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "src/base/clean.h"
#include "src/base/err.h"
#include "src/pg/lsn.h"
#include "src/pg/wal_record.h"

struct wal_reader;

/* Fills `page` with the n bytes of WAL at `at`, which lie in one page. Returns how many of them there are: less
 * than n, or 0, when the WAL at hand ends there. -errno (and e) when it cannot be read. */
typedef int wal_read_fn(void *arg, struct lsn at, void *page, size_t n, struct err *e);

/* Which data of a record is kept for the caller. CRCs are checked over everything in any case. */
enum wal_keep {
	WAL_KEEP_MAIN, /* main data */
	WAL_KEEP_NONE, /* headers only */
	WAL_KEEP_ALL,  /* main data, page images and block data */
};

struct wal_reader_opts {
	uint32_t segment_size;	    /* must be a valid one */
	uint32_t block_size;	    /* of WAL; 0: WAL_BLOCK_SIZE */
	uint32_t rel_block_size;    /* of relations, for page images; 0: 8192 */
	uint64_t system_identifier; /* 0: the first that a page tells, from then on */
	unsigned pg_major;	    /* 0: the first page's, from then on */
	struct tli tli;		    /* no page may be of a later timeline; 0: any, but never going back */
	enum wal_keep keep;
	size_t keep_max; /* most bytes kept of one record; 0: 16 MiB */
	/* WAL that is in memory, from a page's start on: read where it stands, and never asked for. May be NULL. */
	const uint8_t *mem;
	struct lsn mem_at;
	size_t mem_len;
};

/* Why there is no further record. At the end of what a server wrote, all three are usual; in the middle of an
 * archive, all three are a hole. Only the caller knows where it is. */
enum wal_end_why {
	WAL_END_NO_DATA,  /* the callback has no more, or the limit was reached */
	WAL_END_ZEROS,	  /* empty from here on: a segment's unused rest */
	WAL_END_OLD_PAGE, /* a page of earlier WAL: the segment was recycled and not written up to here yet */
};

struct wal_end {
	enum wal_end_why why;
	struct lsn at;	    /* where the next record starts or would start: go on here */
	struct lsn missing; /* the first byte that is not there */
	bool partial;	    /* a record has begun at `at`, and its rest is not there */
	bool mid_record;    /* after wal_reader_find: no record has started yet, and `at` may be within one */
};

/* Makes a reader. arg is the callback's and must outlive the reader. -EINVAL: an option that cannot be;
 * -EOPNOTSUPP: an unknown pg_major; -ENOMEM. */
int wal_reader_new(const struct wal_reader_opts *opts, wal_read_fn *fn, void *arg, struct wal_reader **ret,
	struct err *e);
void wal_reader_free(struct wal_reader *r);
CLEANUP_DEFINE(struct wal_reader, wal_reader_free)

/* The next record is the one at exactly this position: a record's start, or the start of a page or segment on
 * which one starts first. -EINVAL: no record can be there. */
int wal_reader_seek(struct wal_reader *r, struct lsn at, struct err *e);

/* The next record is the first that starts at or after this position. A record that reaches over the start of
 * the page that holds it is skipped. Pages are read by wal_reader_next only. */
void wal_reader_find(struct wal_reader *r, struct lsn at);

/* No byte at or past `end` is asked for or believed; 0 takes the limit away. */
void wal_reader_limit(struct wal_reader *r, struct lsn end);

/* The next record: 1 and *ret, which the reader owns until its next call; 0 at the end (wal_reader_end says
 * which); or -errno: -EBADMSG for damage, -EOPNOTSUPP for WAL of an unknown release, -ENOMEM, the callback's.
 * After 0 and after a failure the position is what it was, and another call tries again: the WAL may have
 * grown. To go on behind damage, wal_reader_find a later page. */
int wal_reader_next(struct wal_reader *r, const struct wal_record **ret, struct err *e);

/* After wal_reader_next returned 0. */
struct wal_end wal_reader_end(const struct wal_reader *r);

/* Where the next record starts, as far as is known. */
struct lsn wal_reader_at(const struct wal_reader *r);

/* Did wal_reader_find skip the rest of a record? */
bool wal_reader_skipped(const struct wal_reader *r);

/* What the last page read told; 0 (NULL) when no page did. */
uint64_t wal_reader_system_identifier(const struct wal_reader *r);
const struct wal_format *wal_reader_format(const struct wal_reader *r);
