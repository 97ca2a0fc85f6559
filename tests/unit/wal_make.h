/* A small writer of WAL for the tests of its readers: pages, records that run over them, switches.
 *
 *	struct wal_make w = wal_make_at(15, 1 << 20, 1024, 0x100000);
 *	lsn = wal_make_record(&w, RMGR_XLOG, 0x20, 0, "data", 4);
 *	… w.out holds the WAL from w.start on …
 *	buf_free(&w.out);
 *
 * Written from src/include/access/xlogrecord.h and xlog_internal.h, and from nothing of ours, lest one mistake
 * hide the other. Linked into one program only, hence all static. */
#pragma once

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "src/base/buf.h"
#include "src/base/crc32c.h"
#include "src/pg/wal_reader.h"

#define WAL_MAKE_SYSID 0x0123456789abcdefull

struct wal_make {
	struct buf out;
	uint64_t start; /* LSN of out's first byte, a page's start */
	uint64_t prev;
	uint16_t magic;
	uint32_t tli;
	uint32_t segment_size, block_size;
	uint64_t sysid;
	uint16_t page_flags; /* for the next page's header, once */
};

static inline uint16_t wal_make_magic(unsigned major)
{
	static const uint16_t magics[] = {0xD106, 0xD10D, 0xD110, 0xD113, 0xD116, 0xD118};

	return magics[major - 13];
}

static inline struct wal_make wal_make_at(
	unsigned major, uint32_t segment_size, uint32_t block_size, uint64_t start)
{
	return (struct wal_make){.start = start,
		.magic = wal_make_magic(major),
		.tli = 1,
		.segment_size = segment_size,
		.block_size = block_size,
		.sysid = WAL_MAKE_SYSID};
}

static inline uint64_t wal_make_pos(const struct wal_make *w)
{
	return w->start + w->out.len;
}

/* At a page's start: its header. rem: bytes of a record that go on there. */
static inline void wal_make_page(struct wal_make *w, uint32_t rem)
{
	uint64_t pos = wal_make_pos(w);
	bool is_long = pos % w->segment_size == 0;

	if (pos % w->block_size)
		return;
	buf_put_u16(&w->out, w->magic);
	buf_put_u16(&w->out, (uint16_t)((rem ? 1 : 0) | (is_long ? 2 : 0) | w->page_flags));
	buf_put_u32(&w->out, w->tli);
	buf_put_u64(&w->out, pos);
	buf_put_u32(&w->out, rem);
	buf_put_u32(&w->out, 0);
	if (is_long) {
		buf_put_u64(&w->out, w->sysid);
		buf_put_u32(&w->out, w->segment_size);
		buf_put_u32(&w->out, w->block_size);
	}
	w->page_flags = 0;
}

static inline void wal_make_zeros(struct wal_make *w, size_t n)
{
	while (n--)
		buf_put_u8(&w->out, 0);
}

/* The fixed header with its CRC, then what follows it, as bytes. */
static inline void wal_make_bytes(
	struct buf *b, uint64_t prev, uint8_t rmid, uint8_t info, uint32_t xid, const void *rest, size_t n)
{
	uint32_t crc;

	buf_put_u32(b, (uint32_t)(24 + n));
	buf_put_u32(b, xid);
	buf_put_u64(b, prev);
	buf_put_u8(b, info);
	buf_put_u8(b, rmid);
	buf_put_u16(b, 0);
	crc = crc32c(crc32c(0, rest, n), b->data + b->len - 20, 20);
	buf_put_u32(b, crc);
	buf_put(b, rest, n);
}

/* A record whose head and data are `rest`, cut short after `most` bytes (0: not). Returns its LSN. */
static inline uint64_t wal_make_raw(
	struct wal_make *w, uint8_t rmid, uint8_t info, uint32_t xid, const void *rest, size_t n, size_t most)
{
	struct buf b = {0};
	uint64_t lsn;
	size_t done = 0, end;

	wal_make_bytes(&b, w->prev, rmid, info, xid, rest, n);
	end = most ? most : b.len;
	wal_make_page(w, 0);
	lsn = wal_make_pos(w);
	while (done < end) {
		size_t room = w->block_size - wal_make_pos(w) % w->block_size;

		if (room == w->block_size) {
			wal_make_page(w, (uint32_t)(b.len - done));
			continue;
		}
		if (room > end - done)
			room = end - done;
		buf_put(&w->out, b.data + done, room);
		done += room;
	}
	if (!most) {
		wal_make_zeros(w, (8 - w->out.len % 8) % 8);
		w->prev = lsn;
	}
	buf_free(&b);
	return lsn;
}

/* A record with main data only. */
static inline uint64_t wal_make_record(
	struct wal_make *w, uint8_t rmid, uint8_t info, uint32_t xid, const void *data, size_t n)
{
	struct buf b = {0};
	uint64_t lsn;

	if (n > 255) {
		buf_put_u8(&b, 254);
		buf_put_u32(&b, (uint32_t)n);
	} else if (n) {
		buf_put_u8(&b, 255);
		buf_put_u8(&b, (uint8_t)n);
	}
	buf_put(&b, data, n);
	lsn = wal_make_raw(w, rmid, info, xid, b.data, b.len, 0);
	buf_free(&b);
	return lsn;
}

/* A log switch: its record, and zeroes up to the segment's end, in whose pages' headers too. */
static inline uint64_t wal_make_switch(struct wal_make *w)
{
	uint64_t lsn = wal_make_raw(w, 0, 0x40, 0, NULL, 0, 0);

	while (wal_make_pos(w) % w->segment_size)
		buf_put_u8(&w->out, 0);
	return lsn;
}

/* Fills the page until just `left` bytes are free on it. */
static inline void wal_make_fill(struct wal_make *w, size_t left)
{
	static const uint8_t data[1 << 16];
	size_t room;

	wal_make_page(w, 0);
	room = w->block_size - wal_make_pos(w) % w->block_size;
	/* A record of exactly room - left bytes: all are multiples of eight. */
	if (room - left < 24 + 5)
		return;
	room -= left + 24;
	if (room - 2 <= 255)
		wal_make_record(w, 21, 0, 0, data, room - 2);
	else
		wal_make_record(w, 21, 0, 0, data, room - 5);
}

/* ---- the reader's callback over it ---- */

struct wal_source {
	const uint8_t *p;
	size_t n;
	uint64_t start;
	uint64_t highest; /* the furthest page that was asked for */
};

static inline struct wal_source wal_make_source(const struct wal_make *w)
{
	return (struct wal_source){.p = w->out.data, .n = w->out.len, .start = w->start};
}

static inline int wal_source_read(void *arg, struct lsn at, void *page, size_t n, struct err *e)
{
	struct wal_source *s = arg;

	(void)e;
	if (at.v > s->highest)
		s->highest = at.v;
	if (at.v < s->start || at.v - s->start >= s->n)
		return 0;
	if (n > s->n - (at.v - s->start))
		n = s->n - (size_t)(at.v - s->start);
	memcpy(page, s->p + (at.v - s->start), n);
	return (int)n;
}
