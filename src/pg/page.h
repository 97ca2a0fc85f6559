/* Data pages: are the bytes of a relation's page what the server wrote?
 *
 * Every page starts with a header (PageHeaderData, src/include/storage/bufpage.h): the LSN of its last change, as two
 * 32-bit halves with the high one first, then its checksum, flags, and where its free space begins and ends. The checksum
 * is that of src/include/storage/checksum_impl.h, over the page with zeroes in its place, and depends on the block's
 * number, so that a page that was written to another place is found, too.
 *
 * Pure, and the same for PostgreSQL 13 to 18. Not here: what lies in a page; whether the cluster has checksums at all
 * (control.h). */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "src/pg/lsn.h"

#define PAGE_SIZE_MIN \
	1024 /* block sizes that a server can be built with, powers of two (meson_options.txt) */
#define PAGE_SIZE_MAX 32768

/* The checksum that the page should have: 1 to 65535. n is a block size. block: its number in the relation, all
 * segments counted. */
uint16_t page_checksum(const void *p, size_t n, struct blkno block);

enum page_state {
	PAGE_SOUND,
	PAGE_NEW,      /* zeroes: added to the file and never used (PageIsNew) */
	PAGE_REPLACED, /* not sound, but recovery of the backup writes it anew */
	PAGE_DAMAGED,
};

struct page_facts {
	struct lsn lsn;
	uint16_t stored, computed; /* checksums */
};

/* Judges a page of a backup that was taken of a running server between the two positions (to 0: not known). A page is
 * read while it is written, so it may be torn; but what changed since `from` is in the WAL that goes with the backup, as a
 * full page image. Therefore pg_basebackup asks no checksum of a page whose LSN is at or after the backup's start
 * (verify_page_checksum, src/backend/backup/basebackup.c; 13 and 14: sendFile in replication/basebackup.c), nor of a page
 * without a header. We ask for it all the same, and call a page that does not have it PAGE_REPLACED only when its LSN lies
 * between both: none that the backup can hold is newer than its end. */
enum page_state page_check(
	const void *p, size_t n, struct blkno block, struct lsn from, struct lsn to, struct page_facts *ret);
