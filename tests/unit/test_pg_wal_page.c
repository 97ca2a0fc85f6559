/* WAL page headers of all releases, what is none, and what a segment's first page says against its name. */
#include "tests/unit/check_main.h"

#include "src/pg/wal_page.h"
#include "tests/unit/wal_make.h"

/* The first 40 bytes of 000000010000000000000006, 1 MiB long, that a PostgreSQL 15 server wrote. */
static const uint8_t real_15[] = {0x10, 0xd1, 0x07, 0x00, 0x01, 0x00, 0x00, 0x00, 0x00, 0x00, 0x60, 0x00,
	0x00, 0x00, 0x00, 0x00, 0x10, 0x1b, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0xcc, 0xb8, 0xbf, 0x45, 0x6b,
	0x3c, 0x00, 0x6b, 0x00, 0x00, 0x10, 0x00, 0x00, 0x20, 0x00, 0x00};

START_TEST(headers_of_all_releases)
{
	for (unsigned major = 13; major <= 18; major++) {
		struct wal_make w = wal_make_at(major, 16 << 20, 8192, 3 * (16ull << 20));
		struct wal_page p;
		struct err e = {0};

		w.tli = 7;
		wal_make_page(&w, 77);
		wal_make_zeros(&w, 8192 - w.out.len);
		wal_make_page(&w, 0);
		ck_assert_msg(wal_page_parse(w.out.data, 40, &p, &e) == 0, "%s", e.text);
		ck_assert_uint_eq(p.format->pg_major, major);
		ck_assert_uint_eq(p.info, WAL_PAGE_LONG | WAL_PAGE_CONTINUES);
		ck_assert_uint_eq(p.tli.v, 7);
		ck_assert_uint_eq(p.addr.v, 3 * (16ull << 20));
		ck_assert_uint_eq(p.rem_len, 77);
		ck_assert_uint_eq(p.head, 40);
		ck_assert_uint_eq(p.system_identifier, WAL_MAKE_SYSID);
		ck_assert_uint_eq(p.segment_size, 16 << 20);
		ck_assert_uint_eq(p.block_size, 8192);
		ck_assert_int_eq(wal_page_parse(w.out.data + 8192, 24, &p, NULL), 0);
		ck_assert_uint_eq(p.head, 24);
		ck_assert_uint_eq(p.system_identifier, 0);
		for (size_t n = 0; n < 40; n++) {
			void *cut = check_exact(w.out.data, n);

			ck_assert_int_eq(wal_page_parse(cut, n, &p, &e), -EBADMSG);
			ck_assert_int_eq(wal_segment_parse(cut, n, &(struct wal_segment){0}, &e), -EBADMSG);
			free(cut);
		}
		buf_free(&w.out);
	}
}
END_TEST

START_TEST(no_headers)
{
	static const struct {
		size_t at;
		uint8_t v;
		int code;
		const char *text;
	} wrong[] = {
		{0, 0x20, -EOPNOTSUPP, "0xD120"}, /* 19 in the making */
		{0, 0x01, -EOPNOTSUPP, "0xD101"}, /* 12 */
		{1, 0x00, -EBADMSG, "magic"},
		{2, 0x12, -EBADMSG, "flags"},
		{3, 0x01, -EBADMSG, "flags"},
		{4, 0x00, -EBADMSG, "timeline"},
		{8, 0x18, -EBADMSG, "address"},
		{34, 0x30, -EBADMSG, "segment size"},
		{34, 0x00, -EBADMSG, "segment size"},
		{37, 0x21, -EBADMSG, "block size"},
		{37, 0x00, -EBADMSG, "block size"},
	};
	static const uint8_t zeroes[64];
	uint8_t swapped[sizeof(real_15)];
	struct wal_page p = {.head = 77};
	struct err e = {0};

	for (size_t k = 0; k < sizeof(wrong) / sizeof(*wrong); k++) {
		uint8_t copy[sizeof(real_15)];

		memcpy(copy, real_15, sizeof(copy));
		copy[wrong[k].at] = wrong[k].v;
		ck_assert_int_eq(wal_page_parse(copy, sizeof(copy), &p, &e), wrong[k].code);
		ck_assert_msg(strstr(e.text, wrong[k].text) != NULL, "%s", e.text);
	}
	ck_assert_int_eq(wal_page_parse(zeroes, sizeof(zeroes), &p, &e), -EBADMSG);
	ck_assert_ptr_nonnull(strstr(e.text, "empty"));
	memcpy(swapped, real_15, sizeof(swapped));
	swapped[0] = 0xd1;
	swapped[1] = 0x10;
	ck_assert_int_eq(wal_page_parse(swapped, sizeof(swapped), &p, &e), -EOPNOTSUPP);
	ck_assert_ptr_nonnull(strstr(e.text, "endian"));
	ck_assert_uint_eq(p.head, 77);
}
END_TEST

static int check(const char *name, uint64_t sysid, struct err *e)
{
	struct wal_segment s = {0};
	int r = wal_segment_check(real_15, sizeof(real_15), name, strlen(name), sysid, &s, e);

	ck_assert_int_eq(r == 0, s.pg_major == 15);
	return r;
}

START_TEST(segments_and_their_names)
{
	struct wal_segment s = {0};
	struct err e = {0};

	ck_assert_msg(wal_segment_parse(real_15, sizeof(real_15), &s, &e) == 0, "%s", e.text);
	ck_assert_uint_eq(s.pg_major, 15);
	ck_assert_uint_eq(s.page_tli.v, 1);
	ck_assert_uint_eq(s.start.v, 0x600000);
	ck_assert_uint_eq(s.system_identifier, 7710228993487648972);
	ck_assert_uint_eq(s.segment_size, 1 << 20);
	ck_assert_uint_eq(s.block_size, 8192);
	ck_assert_msg(check("000000010000000000000006", 0, &e) == 0, "%s", e.text);
	ck_assert_int_eq(check("000000010000000000000006", s.system_identifier, &e), 0);
	ck_assert_int_eq(check("000000010000000000000006.partial", 0, &e), 0);
	/* A later timeline starts in the copy of an older one's segment. */
	ck_assert_int_eq(check("000000050000000000000006", 0, &e), 0);
	ck_assert_int_eq(check("000000010000000000000006", 5, &e), -EEXIST);
	ck_assert_ptr_nonnull(strstr(e.text, "another cluster"));
	ck_assert_int_eq(check("000000010000000000000007", 0, &e), -EBADMSG);
	ck_assert_ptr_nonnull(strstr(e.text, "0/700000"));
	ck_assert_int_eq(check("000000010000000000001000", 0, &e), -EBADMSG);
	ck_assert_int_eq(check("00000001000000000000000a", 0, &e), -EINVAL);
	ck_assert_int_eq(check("000000010000000000000006.part", 0, &e), -EINVAL);
	ck_assert_int_eq(check("000000010000000000000006.00000028.backup", 0, &e), -EINVAL);
	ck_assert_int_eq(check("", 0, &e), -EINVAL);
}
END_TEST

START_TEST(segments_that_are_none)
{
	struct wal_make w = wal_make_at(17, 1 << 20, 8192, 5 << 20);
	const char *name = "000000010000000000000005";
	struct wal_segment s = {0};
	struct err e = {0};

	wal_make_page(&w, 0);
	w.out.data[4] = 2;
	ck_assert_int_eq(wal_segment_check(w.out.data, 40, name, 24, 0, &s, &e), -EBADMSG);
	ck_assert_ptr_nonnull(strstr(e.text, "later timeline 2"));
	w.out.data[4] = 1;
	ck_assert_int_eq(wal_segment_check(w.out.data, 40, name, 24, 0, &s, &e), 0);
	w.out.data[2] = 0;
	ck_assert_int_eq(wal_segment_check(w.out.data, 40, name, 24, 0, &s, &e), -EBADMSG);
	w.out.data[2] = 2;
	w.out.data[9] = 0x20;
	ck_assert_int_eq(wal_segment_check(w.out.data, 40, name, 24, 0, &s, &e), -EBADMSG);
	ck_assert_ptr_nonnull(strstr(e.text, "not where"));
	buf_free(&w.out);
}
END_TEST

/* Every bit of a first page but those of no meaning here: rem_len, padding, the flags about records. */
START_TEST(bit_flips_are_noticed)
{
	const char *name = "000000010000000000000006";
	struct wal_segment good = {0}, s;

	ck_assert_int_eq(wal_segment_check(real_15, 40, name, 24, 0, &good, NULL), 0);
	for (size_t bit = 0; bit < 8 * sizeof(real_15); bit++) {
		size_t at = bit / 8;
		uint8_t copy[sizeof(real_15)];
		int r;

		memcpy(copy, real_15, sizeof(copy));
		copy[at] ^= (uint8_t)(1 << bit % 8);
		r = wal_segment_check(copy, sizeof(copy), name, 24, good.system_identifier, &s, NULL);
		if ((at == 2 && bit % 8 != 1 && bit % 8 < 4) || (at >= 16 && at < 24))
			ck_assert_int_eq(r, 0);
		else if (r == 0) /* another release's magic number, another size that could be */
			ck_assert(s.pg_major != 15 || s.block_size != 8192);
		else
			ck_assert_msg(r < 0, "bit %zu", bit);
	}
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("pg_wal_page");
	TCase *t = tcase_create("all");

	tcase_add_test(t, headers_of_all_releases);
	tcase_add_test(t, no_headers);
	tcase_add_test(t, segments_and_their_names);
	tcase_add_test(t, segments_that_are_none);
	tcase_add_test(t, bit_flips_are_noticed);
	suite_add_tcase(s, t);
	return s;
}

CHECK_MAIN(suite)
