/* Timeline history files: real ones, odd ones, wrong ones, and which timeline holds what. */
#include "tests/unit/check_main.h"

#include <errno.h>

#include "src/pg/timeline_history.h"

#define SEG (16u << 20)

/* As PostgreSQL 13 to 18 write it: the parent's file, an empty line, the new line. */
static const char three[] = "1\t0/5000000\tno recovery target specified\n\n"
			    "2\t1/A0B0C0\tbefore transaction 756 at 2026-01-01 00:00:00+00\n";

static struct timeline_history *parse(const char *text, uint32_t tli)
{
	struct timeline_history *h = NULL;
	struct err e = {0};

	ck_assert_msg(
		timeline_history_parse(text, strlen(text), (struct tli){tli}, &h, &e) == 0, "%s", e.text);
	ck_assert_uint_eq(h->tli.v, tli);
	return h;
}

START_TEST(a_real_file)
{
	_cleanup_(timeline_history_freep) struct timeline_history *h = parse(three, 3);

	ck_assert_uint_eq(h->n, 2);
	ck_assert_uint_eq(h->steps[0].tli.v, 1);
	ck_assert_uint_eq(h->steps[0].end.v, 0x5000000);
	ck_assert_str_eq(h->steps[0].reason, "no recovery target specified");
	ck_assert_uint_eq(h->steps[1].tli.v, 2);
	ck_assert_uint_eq(h->steps[1].end.v, 0x100A0B0C0);
	ck_assert_str_eq(h->steps[1].reason, "before transaction 756 at 2026-01-01 00:00:00+00");
}
END_TEST

START_TEST(other_spellings)
{
	static const char *const same[] = {
		"# a comment\n  # another\n\n1\t0/100\tx\n\t\n5\t0/200\ty",
		"1 0/100\tx\r\n5 0/200\ty\n",
		"  1\t0/00000100 x\n5\t0/200\ty\n\n\n",
	};

	for (size_t k = 0; k < sizeof(same) / sizeof(*same); k++) {
		_cleanup_(timeline_history_freep) struct timeline_history *h = parse(same[k], 9);

		ck_assert_uint_eq(h->n, 2);
		ck_assert_uint_eq(h->steps[1].tli.v, 5);
		ck_assert_uint_eq(h->steps[1].end.v, 0x200);
		ck_assert_str_eq(h->steps[1].reason, "y");
	}
}
END_TEST

START_TEST(wrong_files)
{
	static const struct {
		const char *text, *why;
	} wrong[] = {
		{"x\t0/100\ty\n", "line 1"},
		{"1\n", "line 1"},
		{"1\t0/100\tx\n0\t0/200\ty\n", "line 2"},
		{"1\t100\tx\n", "line 1"},
		{"1\t0/0\tx\n", "line 1"},
		{"1\t0/100x\n", "line 1"},
		{"-1\t0/100\tx\n", "line 1"},
		{"99999999999\t0/100\tx\n", "line 1"},
		{"4294967297\t0/100\tx\n", "line 1"},
		{"2\t0/100\tx\n1\t0/200\ty\n", "line 2: timeline 1 cannot come after 2"},
		{"2\t0/100\tx\n2\t0/200\ty\n", "timeline 2 cannot come after 2"},
		{"9\t0/100\tx\n", "before 9"},
		{"1\t0/200\tx\n2\t0/100\ty\n", "line 2: timeline 2 ends before it begins"},
	};
	struct timeline_history *h = NULL;
	char many[2 * TIMELINE_HISTORY_STEPS];
	struct err e = {0};

	for (size_t k = 0; k < sizeof(wrong) / sizeof(*wrong); k++) {
		const char *t = wrong[k].text;

		ck_assert_int_eq(timeline_history_parse(t, strlen(t), (struct tli){9}, &h, &e), -EBADMSG);
		ck_assert_msg(
			strstr(e.text, wrong[k].why) && strstr(e.text, "00000009.history"), "%s", e.text);
	}
	ck_assert_int_eq(timeline_history_parse("1\t0/1\t\0\n", 8, (struct tli){9}, &h, &e), -EBADMSG);
	memset(many, '\n', sizeof(many));
	ck_assert_int_eq(timeline_history_parse(many, sizeof(many), (struct tli){9}, &h, &e), -EBADMSG);
	ck_assert_ptr_null(h);
	timeline_history_free(h);
}
END_TEST

START_TEST(truncated_and_flipped)
{
	for (size_t n = 0; n < sizeof(three); n++) {
		char *cut = check_exact(three, n);
		struct timeline_history *h = NULL;

		if (timeline_history_parse(cut, n, (struct tli){3}, &h, NULL) == 0)
			ck_assert_uint_le(h->n, 2);
		timeline_history_free(h);
		free(cut);
	}
	for (size_t bit = 0; bit < 8 * (sizeof(three) - 1); bit++) {
		struct timeline_history *h = NULL;
		char copy[sizeof(three)];

		memcpy(copy, three, sizeof(copy));
		copy[bit / 8] ^= (char)(1 << bit % 8);
		if (timeline_history_parse(copy, sizeof(copy) - 1, (struct tli){3}, &h, NULL) == 0)
			ck_assert_uint_le(h->n, 2);
		timeline_history_free(h);
	}
}
END_TEST

START_TEST(which_timeline)
{
	_cleanup_(timeline_history_freep) struct timeline_history *h = parse(three, 7);
	_cleanup_(timeline_history_freep) struct timeline_history *first = parse("", 1);
	static const struct {
		uint64_t lsn;
		uint32_t tli;
	} of[] = {
		{0, 1}, {0x4ffffff, 1}, {0x5000000, 2}, {0x100A0B0BF, 2}, {0x100A0B0C0, 7}, {UINT64_MAX, 7}};
	static const struct {
		uint64_t segno;
		uint32_t tli;
	} segments[] = {{0, 1}, {4, 1}, {5, 2}, {0xff, 2}, {0x100, 7}, {0x101, 7}};
	struct lsn end = {77};

	for (size_t k = 0; k < sizeof(of) / sizeof(*of); k++) {
		ck_assert_uint_eq(timeline_of_lsn(h, (struct lsn){of[k].lsn}).v, of[k].tli);
		ck_assert_uint_eq(
			timeline_of_segment(h, (struct segno){segments[k].segno}, SEG).v, segments[k].tli);
		ck_assert_uint_eq(timeline_of_lsn(first, (struct lsn){of[k].lsn}).v, 1);
		ck_assert_uint_eq(timeline_of_segment(first, (struct segno){segments[k].segno}, SEG).v, 1);
	}
	ck_assert(!timeline_end(h, (struct tli){3}, &end) && end.v == 77);
	ck_assert(timeline_end(h, (struct tli){2}, &end) && end.v == 0x100A0B0C0);
	ck_assert(timeline_end(h, (struct tli){7}, &end) && end.v == 0);
	ck_assert(timeline_passes(h, (struct tli){1}, (struct lsn){0x5000000}));
	ck_assert(!timeline_passes(h, (struct tli){1}, (struct lsn){0x5000001}));
	ck_assert(!timeline_passes(h, (struct tli){3}, (struct lsn){1}));
	ck_assert(timeline_passes(h, (struct tli){7}, (struct lsn){UINT64_MAX}));
}
END_TEST

START_TEST(names)
{
	static const char *const wrong[] = {"00000001.history", "00000000.history", "0000000a.history",
		"0000000A.histori", "0000000A.history2", "000000A.history", "0000000G.history", ""};
	char name[TIMELINE_HISTORY_TEXT];
	struct tli t = {77};

	ck_assert_str_eq(timeline_history_name((struct tli){42}, name), "0000002A.history");
	for (size_t k = 0; k < sizeof(wrong) / sizeof(*wrong); k++)
		ck_assert(!timeline_history_name_parse(wrong[k], strlen(wrong[k]), &t));
	ck_assert_uint_eq(t.v, 77);
	ck_assert(timeline_history_name_parse(name, strlen(name), &t));
	ck_assert_uint_eq(t.v, 42);
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("pg_timeline_history");
	TCase *t = tcase_create("all");

	tcase_add_test(t, a_real_file);
	tcase_add_test(t, other_spellings);
	tcase_add_test(t, wrong_files);
	tcase_add_test(t, truncated_and_flipped);
	tcase_add_test(t, which_timeline);
	tcase_add_test(t, names);
	suite_add_tcase(s, t);
	return s;
}

CHECK_MAIN(suite)
