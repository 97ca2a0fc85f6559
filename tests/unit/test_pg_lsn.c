/* LSN text and WAL segment names: known pairs, everything that is none, and the round trip. */
#include "tests/unit/check_main.h"

#include "src/pg/lsn.h"

#define MIB (1u << 20)

START_TEST(lsn_text_is_postgresqls)
{
	static const struct {
		uint64_t v;
		const char *text;
	} pairs[] = {
		{0, "0/0"},
		{0x2000028, "0/2000028"},
		{0x16B374D848, "16/B374D848"},
		{0x100000000, "1/0"},
		{UINT64_MAX, "FFFFFFFF/FFFFFFFF"},
	};

	for (size_t k = 0; k < sizeof(pairs) / sizeof(*pairs); k++) {
		char text[LSN_TEXT];
		struct lsn l;

		ck_assert_str_eq(lsn_text((struct lsn){pairs[k].v}, text), pairs[k].text);
		ck_assert(lsn_parse(text, strlen(text), &l));
		ck_assert_uint_eq(l.v, pairs[k].v);
	}
}
END_TEST

START_TEST(lsn_parse_takes_other_spellings_and_no_others)
{
	static const char *const wrong[] = {"", "/", "0/", "/0", "0", "0/0/0", " 0/0", "0/0 ", "0/0\n",
		"-1/0", "+1/0", "0x1/0", "123456789/0", "0/123456789", "G/0", "0/g", "0 /0"};
	struct lsn l = {77};

	ck_assert(lsn_parse("16/b374d848", 11, &l));
	ck_assert_uint_eq(l.v, 0x16B374D848);
	/* As 19 prints it. */
	ck_assert(lsn_parse("00000016/00000028", 17, &l));
	ck_assert_uint_eq(l.v, 0x1600000028);
	l.v = 77;
	for (size_t k = 0; k < sizeof(wrong) / sizeof(*wrong); k++)
		ck_assert_msg(!lsn_parse(wrong[k], strlen(wrong[k]), &l), "\"%s\"", wrong[k]);
	ck_assert(!lsn_parse("0/0\0", 4, &l));
	ck_assert(!lsn_parse(NULL, 0, &l));
	ck_assert_uint_eq(l.v, 77);
}
END_TEST

START_TEST(segment_sizes)
{
	static const uint32_t no[] = {0, 1, 512 * 1024, MIB + 1, 3 * MIB, 1u << 31, UINT32_MAX};

	for (uint32_t size = MIB; size <= 1024 * MIB; size *= 2)
		ck_assert(wal_segsize_ok(size));
	for (size_t k = 0; k < sizeof(no) / sizeof(*no); k++)
		ck_assert(!wal_segsize_ok(no[k]));
}
END_TEST

START_TEST(names_of_known_segments)
{
	static const struct {
		uint64_t lsn;
		uint32_t tli, size;
		const char *name;
	} pairs[] = {
		{0x2000028, 1, 16 * MIB, "000000010000000000000002"},
		{0x1600028, 1, MIB, "000000010000000000000016"},
		{0x16B374D848, 0x2A, 16 * MIB, "0000002A00000016000000B3"},
		{0xFFFFFFFF, 1, 16 * MIB, "0000000100000000000000FF"},
		{0x100000000, 1, 16 * MIB, "000000010000000100000000"},
		{0x5C0000000, 3, 1024 * MIB, "000000030000000500000003"},
		{0x5FFFFFFFF, 3, MIB, "000000030000000500000FFF"},
		{UINT64_MAX, UINT32_MAX, 16 * MIB, "FFFFFFFFFFFFFFFF000000FF"},
	};

	for (size_t k = 0; k < sizeof(pairs) / sizeof(*pairs); k++) {
		struct segno s = wal_segno((struct lsn){pairs[k].lsn}, pairs[k].size), back;
		struct lsn start = wal_segment_start(s, pairs[k].size);
		char name[WAL_NAME_TEXT];
		struct tli t;

		ck_assert_str_eq(wal_name((struct tli){pairs[k].tli}, s, pairs[k].size, name), pairs[k].name);
		ck_assert(wal_name_looks(name, WAL_NAME_LEN));
		ck_assert(wal_name_parse(name, WAL_NAME_LEN, pairs[k].size, &t, &back));
		ck_assert_uint_eq(t.v, pairs[k].tli);
		ck_assert_uint_eq(back.v, s.v);
		ck_assert_uint_eq(start.v % pairs[k].size, 0);
		ck_assert(start.v <= pairs[k].lsn && pairs[k].lsn - start.v < pairs[k].size);
	}
}
END_TEST

START_TEST(names_that_are_none)
{
	static const struct {
		const char *name;
		uint32_t size;
		bool looks;
	} wrong[] = {
		{"", 16 * MIB, false},
		{"00000001000000000000000", 16 * MIB, false},
		{"0000000100000000000000022", 16 * MIB, false},
		{"00000001000000000000000G", 16 * MIB, false},
		{"00000001000000000000000a", 16 * MIB, false},
		{"00000001 00000000000000A", 16 * MIB, false},
		{"000000000000000000000001", 16 * MIB, true}, /* timeline 0 */
		{"000000010000000000000100", 16 * MIB, true}, /* 256 segments of 16 MiB are 4 GiB */
		{"000000010000000000001000", MIB, true},
		{"000000010000000000000004", 1024 * MIB, true},
		{"000000010000000000000001", 0, true},
		{"000000010000000000000001", 3 * MIB, true},
	};

	for (size_t k = 0; k < sizeof(wrong) / sizeof(*wrong); k++) {
		size_t n = strlen(wrong[k].name);
		struct tli t = {77};
		struct segno s = {78};

		ck_assert(wal_name_looks(wrong[k].name, n) == wrong[k].looks);
		ck_assert_msg(!wal_name_parse(wrong[k].name, n, wrong[k].size, &t, &s), "%s", wrong[k].name);
		ck_assert_uint_eq(t.v, 77);
		ck_assert_uint_eq(s.v, 78);
	}
}
END_TEST

START_TEST(round_trip_of_random_segments)
{
	uint64_t rand = check_seed();

	for (int k = 0; k < 20000; k++) {
		uint32_t size = MIB << check_rand_below(&rand, 11);
		struct lsn l = {check_rand(&rand)}, parsed;
		struct tli t = {(uint32_t)check_rand_below(&rand, UINT32_MAX) + 1}, t2;
		struct segno s = wal_segno(l, size), s2;
		char name[WAL_NAME_TEXT], text[LSN_TEXT];

		wal_name(t, s, size, name);
		ck_assert(wal_name_parse(name, WAL_NAME_LEN, size, &t2, &s2));
		ck_assert(t.v == t2.v && s.v == s2.v);
		lsn_text(l, text);
		ck_assert(lsn_parse(text, strlen(text), &parsed));
		ck_assert_int_eq(lsn_cmp(l, parsed), 0);
	}
	ck_assert_int_eq(lsn_cmp((struct lsn){1}, (struct lsn){2}), -1);
	ck_assert_int_eq(lsn_cmp((struct lsn){UINT64_MAX}, (struct lsn){0}), 1);
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("pg_lsn");
	TCase *t = tcase_create("pg_lsn");

	tcase_add_test(t, lsn_text_is_postgresqls);
	tcase_add_test(t, lsn_parse_takes_other_spellings_and_no_others);
	tcase_add_test(t, segment_sizes);
	tcase_add_test(t, names_of_known_segments);
	tcase_add_test(t, names_that_are_none);
	tcase_add_test(t, round_trip_of_random_segments);
	suite_add_tcase(s, t);
	return s;
}

CHECK_MAIN(suite)
