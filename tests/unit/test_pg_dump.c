/* pg_dump's archives: real ones of PostgreSQL 13, 15, 17 and 18 read, written again and damaged. */
#include "tests/unit/check_main.h"

#include <errno.h>

#include "src/base/io.h"
#include "src/pg/dump_data.h"
#include "src/pg/dump_toc.h"

struct golden {
	const char *file;
	unsigned minor;
	enum dump_format format;
	enum dump_compression compression;
	const char *version; /* of pg_dump, its beginning */
	bool offsets;	     /* data offsets are set */
};

static const struct golden goldens[] = {
	{"dump-13-gzip.custom", 14, DUMP_CUSTOM, DUMP_GZIP, "13.", true},
	{"dump-15-gzip.custom", 14, DUMP_CUSTOM, DUMP_GZIP, "15.", true},
	{"dump-15-none.custom", 14, DUMP_CUSTOM, DUMP_NONE, "15.", true},
	{"dump-15-pipe.custom", 14, DUMP_CUSTOM, DUMP_GZIP, "15.", false},
	{"dump-17-zstd.custom", 16, DUMP_CUSTOM, DUMP_ZSTD, "17.", true},
	{"dump-18-lz4.custom", 16, DUMP_CUSTOM, DUMP_LZ4, "18.", true},
	{"dump-18-directory.toc", 16, DUMP_TAR, DUMP_ZSTD, "18.", false},
	{"dump-13-tar.toc", 14, DUMP_TAR, DUMP_NONE, "13.", false},
};
#define GOLDENS (sizeof(goldens) / sizeof(goldens[0]))

struct bytes {
	const uint8_t *p;
	size_t n, at, step;
};

static ssize_t give(void *arg, void *p, size_t n, struct err *e)
{
	struct bytes *b = arg;

	(void)e;
	if (n > b->n - b->at)
		n = b->n - b->at;
	if (b->step && n > b->step)
		n = b->step;
	if (n)
		memcpy(p, b->p + b->at, n);
	b->at += n;
	return (ssize_t)n;
}

static uint8_t *load(const struct golden *g, size_t *n)
{
	char path[512];
	void *p;

	snprintf(path, sizeof(path), "%s/%s", PGSTRATA_TEST_DATA, g->file);
	ck_assert_int_eq(io_read_file(path, 1 << 20, &p, n, NULL), 0);
	return p;
}

struct totals {
	unsigned sections, blobs;
	uint64_t bytes;
};

/* Reads a custom archive's data to its end. */
static int drain(struct dump_reader *r, struct dump_toc *t, struct totals *ret, struct err *e)
{
	struct dump_section sec;
	int res;

	while ((res = dump_section_next(r, &sec, e)) > 0) {
		uint32_t oid = 1;

		if (!dump_toc_find(t, sec.id))
			return dump_reader_bad(r, e, "no entry %d", sec.id);
		ret->sections++;
		while (!sec.blobs || (res = dump_blob_next(r, &oid, e)) > 0) {
			struct dump_stream s = dump_stream_start(r);
			uint8_t piece[100];
			ssize_t n;

			while ((n = dump_stream_read(&s, piece, sizeof(piece), e)) > 0)
				ret->bytes += (uint64_t)n;
			if (n < 0)
				return (int)n;
			if (!sec.blobs)
				break;
			ret->blobs++;
		}
		if (res < 0)
			return res;
	}
	return res;
}

static int parse(const uint8_t *p, size_t n, bool custom, size_t step, struct totals *ret, struct err *e)
{
	struct bytes b = {p, n, 0, step};
	struct dump_toc t = {0};
	struct dump_reader *r = malloc(sizeof(*r));
	int res;

	ck_assert_ptr_nonnull(r);
	dump_reader_init(r, give, &b, "it");
	res = dump_toc_read(r, &t, e);
	if (!res && custom)
		res = drain(r, &t, ret, e);
	dump_toc_release(&t);
	free(r);
	return res;
}

START_TEST(reads_and_writes_the_same)
{
	const struct golden *g = &goldens[_i];
	size_t n;
	uint8_t *p = load(g, &n);
	struct bytes b = {p, n, 0, 0};
	struct dump_toc t;
	struct dump_reader r;
	struct err e = {0};
	struct buf again = {0};
	unsigned tables = 0, blobs = 0;

	dump_reader_init(&r, give, &b, g->file);
	ck_assert_msg(dump_toc_read(&r, &t, &e) == 0, "%s", e.text);
	ck_assert_uint_eq(t.head.vminor, g->minor);
	ck_assert_int_eq(t.head.format, g->format);
	ck_assert_int_eq(t.head.compression, g->compression);
	ck_assert_str_eq(t.head.database, "small");
	ck_assert_int_eq(strncmp(t.head.dump_version, g->version, 3), 0);
	ck_assert_int_eq(t.head.year, 126);
	dump_toc_write(&t, &again);
	ck_assert_uint_eq(again.len, r.pos);
	ck_assert_int_eq(memcmp(again.data, p, again.len), 0);
	for (size_t i = 0; i < t.n; i++) {
		const struct dump_entry *en = &t.entries[i];

		ck_assert_ptr_eq(dump_toc_find(&t, en->id), en);
		blobs += dump_entry_is_blobs(en);
		if (!dump_entry_is_table(en))
			continue;
		tables++;
		ck_assert(en->has_data);
		ck_assert_int_eq(strncmp(en->copy, "COPY ", 5), 0);
		if (g->format == DUMP_CUSTOM)
			ck_assert_int_eq(
				en->offset_state, g->offsets ? DUMP_OFFSET_SET : DUMP_OFFSET_NOT_SET);
		else
			ck_assert_ptr_nonnull(strstr(en->file, ".dat"));
		if (g->offsets)
			ck_assert_uint_eq(p[en->offset], DUMP_BLOCK_DATA);
	}
	ck_assert_uint_eq(tables, 5);
	ck_assert_uint_eq(blobs, 1);
	buf_free(&again);
	dump_toc_release(&t);
	free(p);
}
END_TEST

START_TEST(reads_the_data)
{
	const struct golden *g = &goldens[_i];
	struct totals whole = {0}, slow = {0};
	struct err e = {0};
	size_t n;
	uint8_t *p = load(g, &n);

	ck_assert_msg(parse(p, n, g->format == DUMP_CUSTOM, 0, &whole, &e) == 0, "%s", e.text);
	ck_assert_int_eq(parse(p, n, g->format == DUMP_CUSTOM, 1, &slow, &e), 0);
	ck_assert_int_eq(memcmp(&whole, &slow, sizeof(whole)), 0);
	if (g->format == DUMP_CUSTOM) {
		ck_assert_uint_eq(whole.sections, 6);
		ck_assert_uint_eq(whole.blobs, 2);
	}
	/* COPY text of the five tables and the two large objects, without compression. */
	if (!strcmp(g->file, "dump-15-none.custom"))
		ck_assert_uint_gt(whole.bytes, 505 + 5 * 5);
	free(p);
}
END_TEST

/* Shorter by any number of bytes: refused, or all that is missing are whole sections, which the table of contents tells. */
START_TEST(cut_off_anywhere)
{
	const struct golden *g = &goldens[_i];
	struct totals whole = {0};
	size_t n;
	uint8_t *p = load(g, &n);

	ck_assert_int_eq(parse(p, n, g->format == DUMP_CUSTOM, 0, &whole, NULL), 0);
	for (size_t len = 0; len < n; len += PART(3, 3)) {
		uint8_t *cut = check_exact(p, len);
		struct totals got = {0};
		struct err e = {0};
		int r = parse(cut, len, g->format == DUMP_CUSTOM, 0, &got, &e);

		if (r < 0) {
			ck_assert_int_eq(r, -EBADMSG);
			ck_assert_ptr_nonnull(strstr(e.text, "cut off at byte"));
		} else {
			ck_assert_uint_lt(got.sections, whole.sections);
		}
		free(cut);
	}
	free(p);
}
END_TEST

/* Flipped bits are refused or read, but never past the end or into memory that is not there. */
START_TEST(flipped_bits)
{
	const struct golden *g = &goldens[_i];
	size_t n;
	uint8_t *p = load(g, &n), *flipped = check_exact(p, n);

	for (size_t bit = 0; bit < 8 * n; bit += PART(5, 5)) {
		struct totals got = {0};
		struct err e = {0};
		int r;

		flipped[bit / 8] ^= (uint8_t)(1u << bit % 8);
		r = parse(flipped, n, g->format == DUMP_CUSTOM, 0, &got, &e);
		if (r < 0) {
			ck_assert(r == -EBADMSG || r == -EOPNOTSUPP);
			ck_assert_int_eq(e.code, r);
		}
		flipped[bit / 8] ^= (uint8_t)(1u << bit % 8);
	}
	free(flipped);
	free(p);
}
END_TEST

struct refusal {
	size_t at; /* the byte that is changed */
	uint8_t to;
	int code;
	const char *text;
};

static const struct refusal refusals[] = {
	{0, 'x', -EBADMSG, "no archive of pg_dump"},
	{5, 2, -EOPNOTSUPP, "version 2."},
	{6, 11, -EOPNOTSUPP, "version 1.11"},
	{6, 17, -EOPNOTSUPP, "version 1.17"},
	{8, 8, -EOPNOTSUPP, "integers of 8"},
	{9, 3, -EOPNOTSUPP, "offsets of 3"},
	{10, 4, -EOPNOTSUPP, "format 4"},
	{11, 2, -EBADMSG, "sign 2"},
};

START_TEST(refuses)
{
	const struct refusal *f = &refusals[_i];
	struct totals got = {0};
	struct err e = {0};
	size_t n;
	uint8_t *p = load(&goldens[1], &n);

	p[f->at] = f->to;
	ck_assert_int_eq(parse(p, n, true, 0, &got, &e), f->code);
	ck_assert_msg(strstr(e.text, f->text) != NULL, "%s", e.text);
	free(p);
}
END_TEST

START_TEST(numbers)
{
	static const int64_t values[] = {0, 1, -1, 255, 65536, INT32_MAX, -INT32_MAX};
	static const uint32_t oids[] = {1, 16384, INT32_MAX, 2147483648u, 3000000000u, UINT32_MAX};
	struct buf b = {0};
	struct bytes in;
	struct dump_reader r;
	int32_t v;
	uint32_t oid;

	for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++)
		dump_put_int(&b, values[i]);
	for (size_t i = 0; i < sizeof(oids) / sizeof(oids[0]); i++)
		dump_put_int(&b, (int32_t)oids[i]);
	in = (struct bytes){b.data, b.len, 0, 0};
	dump_reader_init(&r, give, &in, "numbers");
	for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
		ck_assert_int_eq(dump_reader_int(&r, &v, NULL), 0);
		ck_assert_int_eq(v, values[i]);
	}
	for (size_t i = 0; i < sizeof(oids) / sizeof(oids[0]); i++) {
		ck_assert_int_eq(dump_reader_oid(&r, &oid, NULL), 0);
		ck_assert_uint_eq(oid, oids[i]);
	}
	ck_assert_int_eq(dump_reader_int(&r, &v, NULL), -EBADMSG);
	buf_free(&b);
}
END_TEST

/* A length of a gigabyte in an archive of some bytes costs no gigabyte: under ulimit it would fail otherwise. */
START_TEST(lengths_are_opinions)
{
	struct buf b = {0};
	struct bytes in;
	struct dump_reader r;
	struct buf text = {0};
	struct err e = {0};
	bool null;

	dump_put_int(&b, INT32_MAX);
	buf_put(&b, "abc", 3);
	in = (struct bytes){b.data, b.len, 0, 0};
	dump_reader_init(&r, give, &in, "it");
	ck_assert_int_eq(dump_reader_str(&r, &text, &null, &e), -EBADMSG);
	ck_assert_str_eq(e.text, "it is cut off at byte 8");
	ck_assert_uint_lt(text.cap, 1u << 20);
	buf_free(&text);
	buf_free(&b);
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("pg/dump");
	TCase *t = tcase_create("dump");

	tcase_add_loop_test(t, reads_and_writes_the_same, 0, GOLDENS);
	tcase_add_loop_test(t, reads_the_data, 0, GOLDENS);
	tcase_add_loop_test(t, cut_off_anywhere, 0, GOLDENS);
	tcase_add_loop_test(t, flipped_bits, 0, GOLDENS);
	tcase_add_loop_test(t, refuses, 0, sizeof(refusals) / sizeof(refusals[0]));
	tcase_add_test(t, numbers);
	tcase_add_test(t, lengths_are_opinions);
	suite_add_tcase(s, t);
	return s;
}

CHECK_MAIN(suite)
