/* The header of a WAL page, and what the first page of a segment says of the segment.
 *
 * Every page of the WAL starts with a short header; the first page of a segment has a long one that also names
 * the cluster and the sizes. Layouts: XLogPageHeaderData and XLogLongPageHeaderData,
 * src/include/access/xlog_internal.h, the same in PostgreSQL 13 to 18 (64-bit, little-endian):
 *
 *	page  = u16 magic, u16 info, tli, lsn address, u32 rem_len, 4 bytes of padding, [long]
 *	long  = u64 system_identifier, u32 segment_size, u32 block_size		if info says so
 *
 * Invariant: a header that was read is consistent in itself. Whether it is the one that belongs there, the
 * caller knows (wal_reader does, and wal_segment_check for a segment's name). Pure, thread-safe. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "src/base/err.h"
#include "src/pg/lsn.h"
#include "src/pg/wal_format.h"

#define WAL_PAGE_HEAD 24      /* SizeOfXLogShortPHD */
#define WAL_PAGE_HEAD_LONG 40 /* SizeOfXLogLongPHD */
#define WAL_BLOCK_SIZE 8192   /* of all packages; --with-wal-blocksize makes it 1 to 64 KiB */

/* xlp_info */
#define WAL_PAGE_CONTINUES 0x0001  /* it starts with the rest of a record: XLP_FIRST_IS_CONTRECORD */
#define WAL_PAGE_LONG 0x0002	   /* XLP_LONG_HEADER */
#define WAL_PAGE_OVERWRITES 0x0008 /* that rest was lost in a crash: XLP_FIRST_IS_OVERWRITE_CONTRECORD */
#define WAL_PAGE_ALL_FLAGS 0x000f  /* with XLP_BKP_REMOVABLE, which says nothing to us */

struct wal_page {
	const struct wal_format *format;
	uint16_t info;
	struct tli tli;	 /* of the first record that starts on it */
	struct lsn addr; /* of its first byte */
	/* Bytes of a record from earlier pages that are still to come, this page's included. */
	uint32_t rem_len;
	size_t head; /* bytes of header: where data starts */
	/* With a long header only, else 0. */
	uint64_t system_identifier;
	uint32_t segment_size;
	uint32_t block_size;
};

/* Is this a block size that a server can have: a power of two from 1 KiB to 64 KiB (configure.ac, meson.build:
 * --with-wal-blocksize)? */
bool wal_block_size_ok(uint32_t block_size);

/* Reads the header at the start of a page of which n bytes are there. WAL_PAGE_HEAD_LONG are always enough.
 *
 * -EOPNOTSUPP: the page is of a release not known here, or of the other byte order. -EBADMSG: it is no page of
 * WAL: all zero, too short, unknown flags, no timeline, sizes or an address that cannot be. *ret is untouched
 * on failure. */
int wal_page_parse(const void *p, size_t n, struct wal_page *ret, struct err *e);

/* What the first page says of its segment. */
struct wal_segment {
	unsigned pg_major; /* 13 to 18 */
	uint64_t system_identifier;
	struct tli page_tli; /* of the first page: a segment begun on an older timeline has its first pages */
	struct lsn start;
	uint32_t segment_size;
	uint32_t block_size;
};

/* The same as wal_page_parse for the first bytes of a segment (WAL_PAGE_HEAD_LONG are enough), which must have
 * the long header and start where a segment starts. */
int wal_segment_parse(const void *p, size_t n, struct wal_segment *ret, struct err *e);

/* Does the segment with these first bytes belong to this name and this cluster? The name has name_len bytes: 24
 * digits, or those and ".partial"; system_identifier 0 stands for any. -EINVAL: no such name. -EBADMSG: what
 * wal_segment_parse finds, another address than the name says, or a page from a later timeline than the name's
 * (one from an earlier timeline is fine: the server copies the segment where it leaves that one, see
 * XLogInitNewTimeline in src/backend/access/transam/xlog.c). -EEXIST: of another cluster. */
int wal_segment_check(const void *p, size_t n, const char *name, size_t name_len, uint64_t system_identifier,
	struct wal_segment *ret, struct err *e);
