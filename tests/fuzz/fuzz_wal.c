/* WAL from hostile bytes, three ways: the input as pages; the input as records put into good pages with good
 * checksums, so that what lies behind those is reached, whole and with a byte changed; the input as a summary.
 *
 *	input = release, keep, place of the change (2), its mask, { rmid, info, length (2), head and data } */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "src/pg/wal_page.h"
#include "src/pg/wal_summary.h"
#include "tests/unit/wal_make.h"

#define SEG (1u << 20)
#define BLOCK 1024

/* What one record was, to see that a change is noticed. */
struct seen {
	uint64_t lsn[256];
	uint32_t crc[256];
	size_t n;
};

static void look(const struct wal_record *rec, struct seen *now, const struct seen *before)
{
	struct wal_event ev;
	struct err e = {0};
	uint32_t crc = crc32c(0, rec->main, rec->main_kept);
	int c;

	if (rec->main_kept > rec->main_len || rec->tot_len > WAL_RECORD_MAX || rec->end.v < rec->lsn.v + 24)
		abort();
	for (unsigned i = 0; i < rec->n_blocks; i++) {
		const struct wal_block *b = &rec->blocks[i];

		if (b->image)
			crc = crc32c(crc, b->image, b->image_len);
		if (b->data)
			crc = crc32c(crc, b->data, b->data_len);
	}
	c = wal_event_of(rec, &ev, &e);
	if (c < 0 && (!e.code || !e.text[0]))
		abort();
	if (c > 0 && !wal_event_name(ev.kind)[0])
		abort();
	if (c > 0 && (ev.kind == WAL_EVENT_COMMIT || ev.kind == WAL_EVENT_ABORT))
		for (uint32_t i = 0; i < ev.xact.dropped.n; i++)
			crc += wal_relfiles_at(ev.xact.dropped, i).file;
	if (now->n == 256)
		return;
	if (before &&
		(now->n >= before->n || before->lsn[now->n] != rec->lsn.v || before->crc[now->n] != crc))
		abort();
	now->lsn[now->n] = rec->lsn.v;
	now->crc[now->n++] = crc;
}

static void read_all(
	const uint8_t *p, size_t n, enum wal_keep keep, struct seen *now, const struct seen *before)
{
	struct wal_source s = {.p = p, .n = n, .start = SEG};
	struct wal_reader_opts o = {.segment_size = SEG, .block_size = BLOCK, .keep = keep, .keep_max = 500};
	struct wal_reader *r = NULL;
	const struct wal_record *rec = NULL;
	struct err e = {0};
	int c;

	if (wal_reader_new(&o, wal_source_read, &s, &r, &e) < 0)
		abort();
	wal_reader_find(r, (struct lsn){SEG});
	while ((c = wal_reader_next(r, &rec, &e)) > 0)
		look(rec, now, before);
	if (c < 0 && (!e.code || !e.text[0]))
		abort();
	if (c == 0 && wal_reader_end(r).at.v > SEG + n + SEG)
		abort();
	/* Behind the damage. */
	for (uint64_t at = SEG; at < SEG + n; at += 3 * BLOCK) {
		wal_reader_find(r, (struct lsn){at});
		for (int k = 0; k < 50 && wal_reader_next(r, &rec, &e) > 0; k++)
			if (rec->lsn.v < at)
				abort();
	}
	wal_reader_free(r);
}

static void read_summary(const uint8_t *p, size_t n)
{
	struct wal_summary *s = NULL, *again = NULL;
	struct buf b = {0}, c = {0};

	if (wal_summary_decode(p, n, &s, NULL) < 0)
		return;
	wal_summary_encode(s, &b);
	if (wal_summary_decode(b.data, b.len, &again, NULL) < 0)
		abort();
	wal_summary_encode(again, &c);
	if (b.len != c.len || memcmp(b.data, c.data, b.len) != 0)
		abort();
	wal_summary_free(s);
	wal_summary_free(again);
	buf_free(&b);
	buf_free(&c);
}

static void make_summary(const struct wal_make *w)
{
	struct wal_source s = wal_make_source(w);
	struct wal_reader_opts o = {.segment_size = SEG, .block_size = BLOCK};
	struct wal_reader *r = NULL;
	struct wal_summary *sum = NULL;
	struct buf b = {0};

	if (wal_reader_new(&o, wal_source_read, &s, &r, NULL) < 0)
		abort();
	if (wal_summary_make(r, (struct tli){1}, (struct segno){1}, SEG, (struct lsn){0}, &sum, NULL) == 0) {
		wal_summary_encode(sum, &b);
		read_summary(b.data, b.len);
	}
	wal_summary_free(sum);
	wal_reader_free(r);
	buf_free(&b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct seen good, changed;
	struct wal_make w;
	struct cur c = cur_of(data, size);
	uint8_t major = 13 + cur_u8(&c) % 6, keep = cur_u8(&c) % 3, mask;
	size_t change = cur_u16(&c);
	struct wal_segment seg;

	good.n = changed.n = 0;
	wal_segment_check(data, size, "000000010000000000000001", 24, 0, &seg, NULL);
	read_all(data, size, keep, &changed, NULL);
	read_summary(data, size);

	mask = cur_u8(&c);
	w = wal_make_at(major, SEG, BLOCK, SEG);
	while (!c.bad && cur_left(&c) && w.out.len < 1 << 16) {
		uint8_t rmid = cur_u8(&c), info = cur_u8(&c);
		size_t n = cur_u16(&c) % 4096;
		const uint8_t *p;

		if (n > cur_left(&c))
			n = cur_left(&c);
		p = cur_bytes(&c, n);
		if (!c.bad)
			wal_make_raw(&w, rmid, info, 700, p, n, 0);
	}
	if (w.out.len) {
		read_all(w.out.data, w.out.len, keep, &good, NULL);
		make_summary(&w);
		change %= w.out.len;
		w.out.data[change] ^= mask;
		changed.n = 0;
		/* A changed magic number may be another release's, whose records say other things. */
		read_all(w.out.data, w.out.len, keep, &changed, change % BLOCK < 2 ? NULL : &good);
	}
	buf_free(&w.out);
	return 0;
}
