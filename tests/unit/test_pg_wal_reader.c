/* The record reader on WAL made here: records of all sizes over pages and segments, blocks, switches, what crashes
 * leave, every truncation, every flipped bit. */
#include "tests/unit/check_main.h"

#include "src/pg/wal_page.h"
#include "tests/unit/wal_make.h"

#define BLOCK 1024
#define SEG (1u << 20)

static struct wal_reader *reader(struct wal_source *s, enum wal_keep keep, size_t keep_max)
{
	struct wal_reader_opts o = {
		.segment_size = SEG, .block_size = BLOCK, .keep = keep, .keep_max = keep_max};
	struct wal_reader *r = NULL;
	struct err e = {0};

	ck_assert_msg(wal_reader_new(&o, wal_source_read, s, &r, &e) == 0, "%s", e.text);
	return r;
}

/* What one record must be. */
struct want {
	uint64_t lsn;
	uint32_t crc; /* of its data */
	uint32_t n;
};

static struct want make_one(struct wal_make *w, uint64_t *rand, size_t n)
{
	uint8_t *data = calloc(1, n + 1);
	struct want want = {.n = (uint32_t)n};

	check_rand_fill(rand, data, n);
	want.crc = crc32c(0, data, n);
	want.lsn = wal_make_record(w, RMGR_LOGICALMSG, 0, 5, data, n);
	free(data);
	return want;
}

static void same(const struct wal_record *rec, const struct want *want)
{
	ck_assert_uint_eq(rec->lsn.v, want->lsn);
	ck_assert_uint_eq(rec->main_len, want->n);
	ck_assert_uint_eq(rec->main_kept, want->n);
	ck_assert_uint_eq(crc32c(0, rec->main, rec->main_kept), want->crc);
}

static void next_is(struct wal_reader *r, const struct want *want)
{
	const struct wal_record *rec = NULL;
	struct err e = {0};

	ck_assert_msg(wal_reader_next(r, &rec, &e) == 1, "%s", e.text);
	same(rec, want);
}

static struct wal_end next_ends(struct wal_reader *r, enum wal_end_why why)
{
	const struct wal_record *rec = NULL;
	struct err e = {0};
	int c = wal_reader_next(r, &rec, &e);

	ck_assert_msg(c == 0, "%d %s", c, e.text);
	ck_assert_int_eq(wal_reader_end(r).why, why);
	return wal_reader_end(r);
}

static void next_bad(struct wal_reader *r, const char *text)
{
	const struct wal_record *rec = NULL;
	struct err e = {0};

	ck_assert_int_eq(wal_reader_next(r, &rec, &e), -EBADMSG);
	ck_assert_msg(strstr(e.text, text) != NULL, "%s", e.text);
}

START_TEST(records_of_all_sizes)
{
	for (unsigned major = 13; major <= 18; major++) {
		struct wal_make w = wal_make_at(major, SEG, BLOCK, 3ull * SEG - 40 * BLOCK);
		uint64_t rand = check_seed() + major;
		struct want want[400];
		struct wal_source s;
		struct wal_reader *r;

		for (size_t k = 0; k < 400; k++)
			want[k] = make_one(&w, &rand,
				k % 50 == 49 ? 5000 + check_rand_below(&rand, 20000)
					     : check_rand_below(&rand, 700));
		s = wal_make_source(&w);
		r = reader(&s, WAL_KEEP_MAIN, 0);
		wal_reader_find(r, (struct lsn){w.start});
		for (size_t k = 0; k < 400; k++)
			next_is(r, &want[k]);
		ck_assert_uint_eq(next_ends(r, WAL_END_NO_DATA).at.v, wal_make_pos(&w));
		ck_assert_uint_eq(wal_reader_format(r)->pg_major, major);
		ck_assert_uint_eq(wal_reader_system_identifier(r), WAL_MAKE_SYSID);
		/* From any place on: the first that starts there or later. */
		for (uint64_t at = w.start; at < want[399].lsn; at += 8 * (1 + check_rand_below(&rand, 90))) {
			size_t k = 0;

			while (want[k].lsn < at)
				k++;
			wal_reader_find(r, (struct lsn){at});
			next_is(r, &want[k]);
			if (k + 1 < 400)
				next_is(r, &want[k + 1]);
		}
		ck_assert_int_eq(wal_reader_seek(r, (struct lsn){want[77].lsn}, NULL), 0);
		next_is(r, &want[77]);
		ck_assert(!wal_reader_skipped(r));
		wal_reader_free(r);
		buf_free(&w.out);
	}
}
END_TEST

START_TEST(records_over_segments)
{
	struct wal_make w = wal_make_at(16, SEG, BLOCK, SEG);
	uint64_t rand = check_seed();
	struct want want[3];
	struct wal_source s;
	struct wal_reader *r;
	struct wal_end end;

	want[0] = make_one(&w, &rand, 100);
	want[1] = make_one(&w, &rand, 3 * SEG + 12345);
	want[2] = make_one(&w, &rand, 10);
	s = wal_make_source(&w);
	r = reader(&s, WAL_KEEP_MAIN, 0);
	wal_reader_find(r, (struct lsn){SEG});
	for (int k = 0; k < 3; k++)
		next_is(r, &want[k]);
	next_ends(r, WAL_END_NO_DATA);
	/* With a limit: the record that goes on past it is not whole, and the next try is from its start. */
	wal_reader_find(r, (struct lsn){SEG});
	wal_reader_limit(r, (struct lsn){2 * SEG});
	s.highest = 0;
	next_is(r, &want[0]);
	end = next_ends(r, WAL_END_NO_DATA);
	ck_assert_uint_eq(end.at.v, want[1].lsn);
	ck_assert(end.missing.v == 2 * SEG && end.partial && !end.mid_record);
	ck_assert_uint_eq(s.highest, 2 * SEG - BLOCK);
	wal_reader_limit(r, (struct lsn){0});
	next_is(r, &want[1]);
	next_is(r, &want[2]);
	/* In the middle of it there is none. */
	wal_reader_find(r, (struct lsn){2 * SEG});
	wal_reader_limit(r, (struct lsn){3 * SEG});
	ck_assert(next_ends(r, WAL_END_NO_DATA).mid_record);
	ck_assert(wal_reader_skipped(r));
	wal_reader_limit(r, (struct lsn){0});
	next_is(r, &want[2]);
	wal_reader_free(r);
	/* What is kept is bounded; the CRC is checked over all. */
	for (int keep = 0; keep < 3; keep++) {
		const struct wal_record *rec = NULL;

		r = reader(&s, keep, 1000);
		ck_assert_int_eq(wal_reader_seek(r, (struct lsn){want[1].lsn}, NULL), 0);
		ck_assert_int_eq(wal_reader_next(r, &rec, NULL), 1);
		ck_assert_uint_eq(rec->main_len, want[1].n);
		ck_assert_uint_eq(rec->main_kept, keep == WAL_KEEP_NONE ? 0 : 1000);
		wal_reader_free(r);
	}
	w.out.data[w.out.len - SEG] ^= 1;
	r = reader(&s, WAL_KEEP_NONE, 0);
	ck_assert_int_eq(wal_reader_seek(r, (struct lsn){want[1].lsn}, NULL), 0);
	next_bad(r, "checksum");
	wal_reader_free(r);
	buf_free(&w.out);
}
END_TEST

/* Three block references as 13 and as 15 write them, with everything that a block can have. */
/* A stretch that stands in memory is not asked for, wherever it begins and ends. */
START_TEST(in_memory)
{
	const size_t from = 7 * BLOCK, n = 60 * BLOCK + (size_t)_i * 100;
	struct wal_make w = wal_make_at(15, SEG, BLOCK, 3ull * SEG - 40 * BLOCK);
	uint64_t rand = check_seed();
	struct want want[300];
	struct wal_source s;
	struct wal_reader *r = NULL;
	uint8_t *mem = malloc(n);

	for (size_t k = 0; k < 300; k++)
		want[k] = make_one(&w, &rand, check_rand_below(&rand, 700));
	s = wal_make_source(&w);
	ck_assert(mem && w.out.len > from + n + 20 * BLOCK);
	memcpy(mem, w.out.data + from, n);
	memset(w.out.data + from, 0xff, n - n % BLOCK);
	struct wal_reader_opts o = {.segment_size = SEG,
		.block_size = BLOCK,
		.mem = mem,
		.mem_at = {w.start + from},
		.mem_len = n};
	ck_assert_int_eq(wal_reader_new(&o, wal_source_read, &s, &r, NULL), 0);
	wal_reader_find(r, (struct lsn){w.start});
	if (n % BLOCK) {
		/* A page of which memory has a part ends there. */
		const struct wal_record *rec = NULL;
		size_t k = 0;

		while (wal_reader_next(r, &rec, NULL) == 1)
			same(rec, &want[k++]);
		ck_assert_uint_eq(wal_reader_end(r).missing.v, w.start + from + n);
		ck_assert_uint_eq(wal_reader_end(r).at.v, want[k].lsn);
	} else {
		for (size_t k = 0; k < 300; k++)
			next_is(r, &want[k]);
		ck_assert_uint_eq(next_ends(r, WAL_END_NO_DATA).at.v, wal_make_pos(&w));
	}
	wal_reader_free(r);
	free(mem);
	buf_free(&w.out);
}
END_TEST

START_TEST(blocks_of_a_record)
{
	for (unsigned major = 13; major <= 18; major++) {
		struct wal_make w = wal_make_at(major, SEG, BLOCK, SEG);
		const struct wal_record *rec = NULL;
		struct wal_source s;
		struct wal_reader *r;
		struct buf b = {0};
		struct err e = {0};
		uint8_t apply = major < 15 ? 4 : 2, compressed = major < 15 ? 2 : 8;

		buf_put_u8(&b, 0); /* an image with a hole, and data */
		buf_put_u8(&b, 0x10 | 0x20 | 1);
		buf_put_u16(&b, 7);
		buf_put_u16(&b, 192);
		buf_put_u16(&b, 100);
		buf_put_u8(&b, 1 | apply);
		buf_put_u32(&b, 1663);
		buf_put_u32(&b, 5);
		buf_put_u32(&b, 16384);
		buf_put_u32(&b, 42);
		buf_put_u8(
			&b, 1); /* the same relation, a compressed image without a hole, not to be applied */
		buf_put_u8(&b, 0x10 | 0x80);
		buf_put_u16(&b, 0);
		buf_put_u16(&b, 300);
		buf_put_u16(&b, 0);
		buf_put_u8(&b, compressed);
		buf_put_u32(&b, 43);
		buf_put_u8(&b, 4); /* a compressed image with a hole */
		buf_put_u8(&b, 0x10 | 0x40);
		buf_put_u16(&b, 0);
		buf_put_u16(&b, 50);
		buf_put_u16(&b, 10);
		buf_put_u8(&b, 1 | apply | compressed);
		buf_put_u16(&b, 8000);
		buf_put_u32(&b, 1664);
		buf_put_u32(&b, 0);
		buf_put_u32(&b, 1262);
		buf_put_u32(&b, 0);
		buf_put_u8(&b, 253);
		buf_put_u16(&b, 3);
		if (major > 13) {
			buf_put_u8(&b, 252);
			buf_put_u32(&b, 99);
		}
		buf_put_u8(&b, 255);
		buf_put_u8(&b, 4);
		for (int k = 0; k < 192 + 7 + 300 + 50; k++)
			buf_put_u8(&b, k < 192 ? 'a' : k < 199 ? 'b' : k < 499 ? 'c' : 'd');
		buf_put(&b, "main", 4);
		wal_make_raw(&w, RMGR_HEAP, 0x12, 100, b.data, b.len, 0);
		s = wal_make_source(&w);
		r = reader(&s, WAL_KEEP_ALL, 0);
		wal_reader_find(r, (struct lsn){SEG});
		ck_assert_msg(wal_reader_next(r, &rec, &e) == 1, "%s", e.text);
		ck_assert_uint_eq(rec->n_blocks, 3);
		ck_assert_uint_eq(rec->blocks[0].fork, 1);
		ck_assert(rec->blocks[0].has_image && rec->blocks[0].apply && !rec->blocks[0].compressed);
		ck_assert_uint_eq(rec->blocks[0].hole_offset, 100);
		ck_assert_uint_eq(rec->blocks[0].hole_len, 8000);
		ck_assert_uint_eq(rec->blocks[0].rel.file, 16384);
		ck_assert_uint_eq(rec->blocks[0].block.v, 42);
		ck_assert_mem_eq(rec->blocks[0].image + 191, "ab", 2);
		ck_assert_mem_eq(rec->blocks[0].data, "bbbbbbb", 7);
		ck_assert_uint_eq(rec->blocks[1].rel.file, 16384);
		ck_assert(!rec->blocks[1].apply && rec->blocks[1].compressed && !rec->blocks[1].hole_len);
		ck_assert_mem_eq(rec->blocks[1].image + 299, "cd", 2);
		ck_assert_ptr_null(rec->blocks[1].data);
		ck_assert(rec->blocks[2].will_init && rec->blocks[2].compressed && rec->blocks[2].apply);
		ck_assert_uint_eq(rec->blocks[2].hole_len, 8000);
		ck_assert_uint_eq(rec->blocks[2].rel.tablespace.v, 1664);
		ck_assert(rec->has_origin && rec->origin == 3);
		ck_assert_uint_eq(rec->toplevel_xid, major > 13 ? 99 : 0);
		ck_assert_uint_eq(rec->main_kept, 4);
		ck_assert_mem_eq(rec->main, "main", 4);
		ck_assert_uint_eq(rec->xid, 100);
		ck_assert_uint_eq(rec->info, 0x12);
		wal_reader_free(r);
		buf_free(&b);
		buf_free(&w.out);
	}
}
END_TEST

START_TEST(heads_that_no_server_writes)
{
	static const struct {
		size_t n;
		uint8_t bytes[40];
	} heads[] = {
		{1, {255}}, {2, {255, 4}}, {3, {255, 0, 0}}, {5, {254, 0xff, 0xff, 0xff, 0xff}}, {1, {33}},
		{1, {251}}, {8, {0, 0x80, 0, 0, 1, 0, 0, 0}}, /* the same as none before */
		{20, {0, 0x20, 0, 0, 1, 0, 0, 0, 1}},	      /* data of no bytes */
		{20, {0, 0x00, 2, 0, 1, 0, 0, 0, 1}},	      /* bytes of no data */
		{25, {0, 0x10, 0, 0, 10, 0, 0, 0, 2}},	      /* too short an image */
		{25, {0, 0x10, 0, 0, 0, 0x20, 5, 0, 2}},      /* a hole that is none */
		{25, {0, 0x10, 0, 0, 0, 0x20, 5, 0, 3}},      /* a hole in a whole page */
		{28, {5, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 5, 0x80}}, /* not rising */
	};

	for (size_t k = 0; k < sizeof(heads) / sizeof(*heads); k++) {
		struct wal_make w = wal_make_at(17, SEG, BLOCK, SEG);
		const struct wal_record *rec = NULL;
		struct wal_source s;
		struct wal_reader *r;

		wal_make_raw(&w, RMGR_HEAP, 0, 3, heads[k].bytes, heads[k].n, 0);
		s = wal_make_source(&w);
		r = reader(&s, WAL_KEEP_MAIN, 0);
		wal_reader_find(r, (struct lsn){SEG});
		ck_assert_msg(wal_reader_next(r, &rec, NULL) == -EBADMSG, "head %zu", k);
		wal_reader_free(r);
		buf_free(&w.out);
	}
}
END_TEST

START_TEST(switches)
{
	/* The switch's record whole on its page, and over the end of one with its last 16 or 8 bytes; in the
	 * middle of a segment, and over its end, where the next segment is left unused. */
	for (unsigned k = 0; k < 6; k++) {
		struct wal_make w = wal_make_at(14, SEG, BLOCK, k < 3 ? SEG : 2 * SEG - BLOCK);
		uint64_t rand = check_seed(), page;
		struct want want[2];
		struct wal_source s;
		struct wal_reader *r;
		const struct wal_record *rec = NULL;
		uint64_t lsn;

		want[0] = make_one(&w, &rand, 10);
		page = wal_make_pos(&w);
		wal_make_fill(&w, k % 3 ? k % 3 * 8 : 64);
		lsn = wal_make_switch(&w);
		page = lsn - lsn % BLOCK + BLOCK;
		want[1] = make_one(&w, &rand, 2000);
		s = wal_make_source(&w);
		r = reader(&s, WAL_KEEP_MAIN, 0);
		wal_reader_find(r, (struct lsn){w.start});
		next_is(r, &want[0]);
		ck_assert_int_eq(wal_reader_next(r, &rec, NULL), 1);
		ck_assert_int_eq(wal_reader_next(r, &rec, NULL), 1);
		ck_assert_uint_eq(rec->lsn.v, lsn);
		ck_assert_uint_eq(rec->end.v, k < 4 ? 2 * SEG : 3 * SEG);
		next_is(r, &want[1]);
		next_ends(r, WAL_END_NO_DATA);
		/* Who starts on the page where it ends sees that there was one. */
		if (k % 3) {
			wal_reader_find(r, (struct lsn){page});
			next_is(r, &want[1]);
		}
		wal_reader_free(r);
		buf_free(&w.out);
	}
}
END_TEST

/* A server died within a record; the next one began on the page after, and says so (13.5, 14.1 and later). */
START_TEST(a_record_whose_end_was_lost)
{
	struct wal_make w = wal_make_at(15, SEG, BLOCK, 2 * SEG - 3 * BLOCK);
	uint64_t rand = check_seed();
	uint8_t data[5000] = {254, (5000 - 5) & 0xff, (5000 - 5) >> 8}, over[16] = {0};
	struct want want[3];
	struct wal_source s;
	struct wal_reader *r;
	uint64_t lost;
	const struct wal_record *rec = NULL;
	struct err e = {0};

	want[0] = make_one(&w, &rand, 100);
	lost = wal_make_pos(&w);
	wal_make_raw(&w, RMGR_LOGICALMSG, 0, 5, data, sizeof(data), 3 * BLOCK - w.out.len - 2 * 24);
	ck_assert_uint_eq(wal_make_pos(&w), 2 * SEG);
	w.page_flags = WAL_PAGE_OVERWRITES;
	memcpy(over, &lost, 8);
	wal_make_record(&w, RMGR_XLOG, 0xd0, 0, over, sizeof(over));
	want[1] = make_one(&w, &rand, 300);
	s = wal_make_source(&w);
	r = reader(&s, WAL_KEEP_MAIN, 0);
	wal_reader_find(r, (struct lsn){w.start});
	next_is(r, &want[0]);
	ck_assert_msg(wal_reader_next(r, &rec, &e) == 1, "%s", e.text);
	ck_assert_uint_eq(rec->lsn.v, 2 * SEG + 40);
	next_is(r, &want[1]);
	/* Within the lost record. */
	wal_reader_find(r, (struct lsn){w.start + BLOCK});
	ck_assert_int_eq(wal_reader_next(r, &rec, NULL), 1);
	ck_assert_uint_eq(rec->lsn.v, 2 * SEG + 40);
	/* As long as the page is not there, the record has begun. */
	wal_reader_limit(r, (struct lsn){2 * SEG});
	ck_assert_int_eq(wal_reader_seek(r, (struct lsn){lost}, NULL), 0);
	ck_assert_uint_eq(next_ends(r, WAL_END_NO_DATA).missing.v, 2 * SEG);
	wal_reader_free(r);
	buf_free(&w.out);
}
END_TEST

START_TEST(ends_of_wal)
{
	struct wal_make w = wal_make_at(18, SEG, BLOCK, SEG);
	uint64_t rand = check_seed(), end;
	struct want want;
	struct wal_source s;
	struct wal_reader *r;
	const struct wal_record *rec = NULL;
	uint8_t *page;

	want = make_one(&w, &rand, 100);
	end = wal_make_pos(&w);
	wal_make_zeros(&w, 3 * BLOCK - w.out.len);
	s = wal_make_source(&w);
	r = reader(&s, WAL_KEEP_MAIN, 0);
	wal_reader_find(r, (struct lsn){SEG});
	next_is(r, &want);
	ck_assert_uint_eq(next_ends(r, WAL_END_ZEROS).at.v, end);
	ck_assert(!wal_reader_end(r).partial && !wal_reader_end(r).mid_record);
	/* It grows. */
	w.out.len = end - SEG;
	want = make_one(&w, &rand, 3000);
	ck_assert_uint_eq(want.lsn, end);
	s = wal_make_source(&w);
	s.n = 2 * BLOCK;
	ck_assert_uint_eq(next_ends(r, WAL_END_NO_DATA).missing.v, SEG + 2 * BLOCK);
	ck_assert_uint_eq(wal_reader_at(r).v, end);
	s.n = w.out.len;
	next_is(r, &want);
	/* The rest of a record is not written yet: the page is empty, or it is one of the past. */
	page = w.out.data + 2 * BLOCK;
	for (int k = 0; k < 2; k++) {
		if (k == 0)
			page[8] = page[9] = page[10] = 0;
		else
			memset(page, 0, 24);
		ck_assert_int_eq(wal_reader_seek(r, (struct lsn){end}, NULL), 0);
		ck_assert_uint_eq(next_ends(r, k ? WAL_END_ZEROS : WAL_END_OLD_PAGE).at.v, end);
		ck_assert_uint_eq(wal_reader_end(r).missing.v, SEG + 2 * BLOCK);
		ck_assert(wal_reader_end(r).partial);
	}
	wal_reader_free(r);
	buf_free(&w.out);
	/* A page was begun, but no record on it. */
	w = wal_make_at(18, SEG, BLOCK, SEG);
	want = make_one(&w, &rand, 100);
	wal_make_fill(&w, 0);
	wal_make_page(&w, 0);
	wal_make_zeros(&w, 500);
	s = wal_make_source(&w);
	r = reader(&s, WAL_KEEP_MAIN, 0);
	wal_reader_find(r, (struct lsn){SEG + 200});
	ck_assert_int_eq(wal_reader_next(r, &rec, NULL), 0);
	ck_assert_int_eq(wal_reader_end(r).why, WAL_END_ZEROS);
	ck_assert_uint_eq(wal_reader_end(r).at.v, SEG + BLOCK);
	ck_assert(!wal_reader_end(r).partial);
	wal_reader_free(r);
	buf_free(&w.out);
}
END_TEST

START_TEST(pages_that_do_not_belong_there)
{
	static const struct {
		size_t at; /* in the third page, or 40 more in the segment's first */
		uint8_t v;
		const char *text;
	} wrong[] = {
		{0, 0x16, "PostgreSQL 17"},
		{1, 0, "magic"},
		{2, 0, "should continue"},
		{2, 3, "cannot be"},
		{3, 1, "flags"},
		{4, 0, "timeline is 0"},
		{4, 9, "later than"},
		{10, 0x20, "it is the one of 0/200800"},
		{16, 1, "should continue"},
		{19, 0x7f, "cannot be left"},
		{40 + 2, 0, "wrong length"},
		{40 + 24, 0, "another cluster"},
		{40 + 34, 0x20, "segments of 2097152"},
		{40 + 37, 0x08, "pages of 2048"},
	};

	for (size_t k = 0; k < sizeof(wrong) / sizeof(*wrong); k++) {
		struct wal_make w = wal_make_at(15, SEG, BLOCK, SEG);
		uint64_t rand = check_seed();
		struct wal_reader_opts o = {.segment_size = SEG,
			.block_size = BLOCK,
			.system_identifier = WAL_MAKE_SYSID,
			.tli = {4}};
		struct wal_source s;
		struct wal_reader *r = NULL;

		make_one(&w, &rand, 5000);
		w.out.data[wrong[k].at < 40 ? 2 * BLOCK + wrong[k].at : wrong[k].at - 40] = wrong[k].v;
		s = wal_make_source(&w);
		ck_assert_int_eq(wal_reader_new(&o, wal_source_read, &s, &r, NULL), 0);
		wal_reader_find(r, (struct lsn){SEG});
		next_bad(r, wrong[k].text);
		wal_reader_free(r);
		buf_free(&w.out);
	}
}
END_TEST

START_TEST(timelines_do_not_go_back)
{
	struct wal_make w = wal_make_at(15, SEG, BLOCK, SEG);
	uint64_t rand = check_seed();
	struct want want;
	struct wal_source s;
	struct wal_reader *r;
	const struct wal_record *rec = NULL;

	make_one(&w, &rand, 100);
	w.tli = 3;
	want = make_one(&w, &rand, 1000);
	wal_make_fill(&w, 8);
	w.tli = 2;
	make_one(&w, &rand, 100);
	s = wal_make_source(&w);
	r = reader(&s, WAL_KEEP_MAIN, 0);
	wal_reader_find(r, (struct lsn){SEG});
	ck_assert_int_eq(wal_reader_next(r, &rec, NULL), 1);
	/* A try that ended on the later page does not spoil the next. */
	s.n = BLOCK + 100;
	next_ends(r, WAL_END_NO_DATA);
	s.n = w.out.len;
	next_is(r, &want);
	ck_assert_int_eq(wal_reader_next(r, &rec, NULL), 1);
	next_bad(r, "older than 3");
	wal_reader_free(r);
	buf_free(&w.out);
}
END_TEST

START_TEST(bad_links_and_lengths)
{
	static const uint32_t lengths[] = {1, 23, 0x40000000, UINT32_MAX};
	struct wal_make w = wal_make_at(15, SEG, BLOCK, SEG);
	uint64_t rand = check_seed(), at;
	struct want want;
	struct wal_source s;
	struct wal_reader *r;
	uint32_t huge = 0x3fffffff;

	want = make_one(&w, &rand, 100);
	w.prev += 8;
	at = make_one(&w, &rand, 100).lsn;
	s = wal_make_source(&w);
	r = reader(&s, WAL_KEEP_MAIN, 0);
	wal_reader_find(r, (struct lsn){SEG});
	next_is(r, &want);
	next_bad(r, "it follows the one at");
	for (size_t k = 0; k < 4; k++) {
		memcpy(w.out.data + (at - SEG), &lengths[k], 4);
		next_bad(r, "bytes");
	}
	/* A length that could be, of which next to nothing is there. */
	memcpy(w.out.data + (at - SEG), &huge, 4);
	ck_assert_int_eq(wal_reader_seek(r, (struct lsn){at}, NULL), 0);
	s.n = (size_t)(at - SEG) + 100;
	ck_assert_uint_eq(next_ends(r, WAL_END_NO_DATA).at.v, at);
	ck_assert_int_eq(wal_reader_seek(r, (struct lsn){SEG + 44}, NULL), -EINVAL);
	ck_assert_int_eq(wal_reader_seek(r, (struct lsn){SEG + 16}, NULL), -EINVAL);
	ck_assert_int_eq(wal_reader_seek(r, (struct lsn){SEG + 32}, NULL), 0);
	next_bad(r, "in its header");
	wal_reader_free(r);
	buf_free(&w.out);
}
END_TEST

/* A small WAL with a bit of everything, over the end of a segment. */
static size_t make_mixed(struct wal_make *w, struct want *want)
{
	uint64_t rand = check_seed();
	size_t n = 0;

	*w = wal_make_at(15, SEG, BLOCK, 2 * SEG - 2 * BLOCK);
	for (; n < 12; n++)
		want[n] = make_one(w, &rand, n == 5 ? 1500 : n * 37);
	return n;
}

START_TEST(truncated_anywhere)
{
	struct want want[12];
	struct wal_make w;
	size_t n = make_mixed(&w, want);

	for (size_t len = 0; len < w.out.len; len++) {
		void *cut = check_exact(w.out.data, len);
		struct wal_source s = {.p = cut, .n = len, .start = w.start};
		struct wal_reader *r = reader(&s, WAL_KEEP_ALL, 0);
		const struct wal_record *rec = NULL;
		struct err e = {0};
		size_t k = 0;
		int c;

		wal_reader_find(r, (struct lsn){w.start});
		while ((c = wal_reader_next(r, &rec, &e)) > 0)
			same(rec, &want[k++]);
		ck_assert_msg(c == 0, "%zu: %s", len, e.text);
		ck_assert_int_eq(wal_reader_end(r).why, WAL_END_NO_DATA);
		/* All those that are whole came, and it goes on at the next. */
		ck_assert(k == n || want[k].lsn + 24 + want[k].n >= w.start + len ||
			  want[k].lsn + 24 + 5 + want[k].n + 24 * 4 >= w.start + len);
		if (k)
			ck_assert(k == n || wal_reader_at(r).v <= want[k].lsn);
		wal_reader_free(r);
		free(cut);
	}
	buf_free(&w.out);
}
END_TEST

START_TEST(every_bit_flipped)
{
	struct want want[12];
	struct wal_make w;
	size_t n = make_mixed(&w, want), whole = 0;
	struct wal_source s = wal_make_source(&w);
	struct wal_reader *r = reader(&s, WAL_KEEP_ALL, 0);

	for (size_t bit = 0; bit < 8 * w.out.len; bit++) {
		const struct wal_record *rec = NULL;
		size_t k = 0;
		int c = 0;

		w.out.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
		wal_reader_free(r);
		r = reader(&s, WAL_KEEP_ALL, 0);
		ck_assert_int_eq(wal_reader_seek(r, (struct lsn){w.start}, NULL), 0);
		while (k < n && (c = wal_reader_next(r, &rec, NULL)) > 0)
			same(rec, &want[k++]);
		/* What came is right. All of it came only where the bit says nothing: padding, some flags. */
		whole += k == n;
		w.out.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
	}
	/* Padding: 4 bytes a page, up to 7 a record; a page's optional flags, timeline, the first one's sysid. */
	ck_assert_msg(whole < 8 * (12 * 7 + 6 * 4) + 6 * 40 + 64, "%zu", whole);
	wal_reader_free(r);
	buf_free(&w.out);
}
END_TEST

START_TEST(garbage)
{
	uint64_t rand = check_seed();
	static uint8_t bytes[8 * BLOCK];
	struct wal_make w = wal_make_at(15, SEG, BLOCK, SEG);

	for (int k = 0; k < 3000; k++) {
		struct wal_source s = {.p = bytes, .n = sizeof(bytes), .start = SEG};
		struct wal_reader *r = reader(&s, WAL_KEEP_ALL, 100);
		const struct wal_record *rec = NULL;

		check_rand_fill(&rand, bytes, sizeof(bytes));
		for (size_t at = 0; k % 2 && at < sizeof(bytes); at += BLOCK) {
			buf_clear(&w.out);
			w.start = SEG + at;
			wal_make_page(&w, (uint32_t)check_rand_below(&rand, 3000));
			memcpy(bytes + at, w.out.data, w.out.len);
			if (check_rand_below(&rand, 2))
				memset(bytes + at + w.out.len + 1, 0, 3);
		}
		wal_reader_find(r, (struct lsn){SEG});
		ck_assert_int_le(wal_reader_next(r, &rec, NULL), 0);
		wal_reader_free(r);
	}
	buf_free(&w.out);
}
END_TEST

static int read_fails(void *arg, struct lsn at, void *page, size_t n, struct err *e)
{
	(void)arg;
	(void)at;
	(void)page;
	return err_set(e, -EIO, "the disk of %zu bytes", n);
}

START_TEST(options_and_failures)
{
	struct wal_reader_opts o = {.segment_size = 3};
	struct wal_reader *r = NULL;
	const struct wal_record *rec = NULL;
	struct err e = {0};

	ck_assert_int_eq(wal_reader_new(&o, read_fails, NULL, &r, &e), -EINVAL);
	o = (struct wal_reader_opts){.segment_size = SEG, .block_size = 512};
	ck_assert_int_eq(wal_reader_new(&o, read_fails, NULL, &r, &e), -EINVAL);
	o = (struct wal_reader_opts){.segment_size = SEG, .pg_major = 12};
	ck_assert_int_eq(wal_reader_new(&o, read_fails, NULL, &r, &e), -EOPNOTSUPP);
	ck_assert_ptr_null(r);
	o.pg_major = 18;
	ck_assert_int_eq(wal_reader_new(&o, read_fails, NULL, &r, &e), 0);
	wal_reader_find(r, (struct lsn){SEG});
	ck_assert_int_eq(wal_reader_next(r, &rec, &e), -EIO);
	ck_assert_str_eq(e.text, "the disk of 8192 bytes");
	wal_reader_free(r);
	wal_reader_free(NULL);
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("pg_wal_reader");
	TCase *t = tcase_create("all");

	tcase_add_test(t, records_of_all_sizes);
	tcase_add_test(t, records_over_segments);
	tcase_add_loop_test(t, in_memory, 0, 4);
	tcase_add_test(t, blocks_of_a_record);
	tcase_add_test(t, heads_that_no_server_writes);
	tcase_add_test(t, switches);
	tcase_add_test(t, a_record_whose_end_was_lost);
	tcase_add_test(t, ends_of_wal);
	tcase_add_test(t, pages_that_do_not_belong_there);
	tcase_add_test(t, timelines_do_not_go_back);
	tcase_add_test(t, bad_links_and_lengths);
	tcase_add_test(t, truncated_anywhere);
	tcase_add_test(t, every_bit_flipped);
	tcase_add_test(t, garbage);
	tcase_add_test(t, options_and_failures);
	suite_add_tcase(s, t);
	return s;
}

CHECK_MAIN(suite)
