/* backup_label, backup history files and tablespace_map: texts of real servers, every line wrong once, cut at
 * every byte, every bit flipped. */
#include "tests/unit/check_main.h"

#include <errno.h>

#include "src/base/buf.h"
#include "src/base/clean.h"
#include "src/pg/backup_label.h"

#define START "START WAL LOCATION: 0/1100028 (file 000000010000000000000011)\n"
#define STOP "STOP WAL LOCATION: 0/1100100 (file 000000010000000000000011)\n"
#define CHECKPOINT "CHECKPOINT LOCATION: 0/1100060\n"
#define METHOD "BACKUP METHOD: streamed\n"
#define FROM "BACKUP FROM: primary\n"
#define TIME "START TIME: 2026-11-20 14:43:57 +0330\n"
#define LABEL "LABEL: first label\n"
#define TIMELINE "START TIMELINE: 1\n"
#define STOP_TIME "STOP TIME: 2026-11-20 14:43:58 +0330\n"
#define STOP_TIMELINE "STOP TIMELINE: 1\n"
#define INCREMENTAL "INCREMENTAL FROM LSN: 0/3000028\nINCREMENTAL FROM TLI: 1\n"
#define HEAD START CHECKPOINT METHOD FROM TIME
#define WHOLE HEAD LABEL TIMELINE
#define HISTORY START STOP CHECKPOINT METHOD FROM TIME LABEL TIMELINE STOP_TIME STOP_TIMELINE

static int parse(const char *text, size_t n, bool history, struct backup_label *ret, struct err *e)
{
	char *exact = check_exact(text, n);
	int r = history ? backup_history_parse(exact, n, ret, e) : backup_label_parse(exact, n, ret, e);

	free(exact);
	return r;
}

static void must(const char *text, bool history, struct backup_label *ret)
{
	struct err e = {0};

	ck_assert_msg(parse(text, strlen(text), history, ret, &e) == 0, "%s", e.text);
}

/* 2026-11-20T11:13:57Z, which is 14:43:57 in Tehran. */
#define AT 1795173237

START_TEST(a_label_of_15)
{
	struct backup_label l;

	must(WHOLE, false, &l);
	ck_assert_uint_eq(l.start.v, 0x1100028);
	ck_assert_str_eq(l.start_file, "000000010000000000000011");
	ck_assert_uint_eq(l.checkpoint.v, 0x1100060);
	ck_assert(l.streamed);
	ck_assert(!l.from_standby);
	ck_assert_str_eq(l.start_time.text, "2026-11-20 14:43:57 +0330");
	ck_assert(l.start_time.resolved);
	ck_assert_int_eq(l.start_time.at.sec, AT);
	ck_assert_str_eq(l.label, "first label");
	ck_assert_uint_eq(l.tli.v, 1);
	ck_assert(!l.is_history);
}
END_TEST

START_TEST(words_of_other_releases_and_roles)
{
	struct backup_label l;

	must(START CHECKPOINT METHOD "BACKUP FROM: master\n" TIME LABEL TIMELINE, false, &l);
	ck_assert(!l.from_standby);
	must(START CHECKPOINT METHOD "BACKUP FROM: standby\n" TIME LABEL TIMELINE, false, &l);
	ck_assert(l.from_standby);
	must(START CHECKPOINT "BACKUP METHOD: pg_start_backup\n" FROM TIME LABEL TIMELINE, false, &l);
	ck_assert(!l.streamed);
	must("START WAL LOCATION: 1A/FF000028 (file 0000002A0000001A000000FF)\nCHECKPOINT LOCATION: "
	     "1A/FF000060\n" METHOD FROM TIME LABEL "START TIMELINE: 42\n",
		false, &l);
	ck_assert_uint_eq(l.start.v, 0x1AFF000028);
	ck_assert_uint_eq(l.tli.v, 42);
}
END_TEST

START_TEST(a_history_file_of_15)
{
	struct backup_label l;

	must(HISTORY, true, &l);
	ck_assert(l.is_history);
	ck_assert(!l.incremental);
	ck_assert_uint_eq(l.stop.v, 0x1100100);
	ck_assert_str_eq(l.stop_file, "000000010000000000000011");
	ck_assert(l.stop_time.resolved);
	ck_assert_int_eq(l.stop_time.at.sec, AT + 1);
	ck_assert_uint_eq(l.stop_tli.v, 1);
	ck_assert_int_eq(parse(HISTORY, strlen(HISTORY), false, &l, NULL), -EBADMSG);
	ck_assert_int_eq(parse(WHOLE, strlen(WHOLE), true, &l, NULL), -EBADMSG);
}
END_TEST

START_TEST(an_incremental_backup_is_refused_with_advice)
{
	struct backup_label l = {.tli.v = 77};
	struct err e = {0};

	ck_assert_int_eq(parse(WHOLE INCREMENTAL, strlen(WHOLE INCREMENTAL), false, &l, &e), -EOPNOTSUPP);
	ck_assert_msg(strstr(e.text, "pg_combinebackup"), "%s", e.text);
	ck_assert_uint_eq(l.tli.v, 77);
	must(HISTORY INCREMENTAL, true, &l);
	ck_assert(l.incremental);
	ck_assert_uint_eq(l.incremental_from.v, 0x3000028);
	ck_assert_uint_eq(l.incremental_tli.v, 1);
}
END_TEST

START_TEST(times)
{
	static const struct {
		const char *text;
		bool resolved;
		int64_t at;
	} cases[] = {
		{"2026-11-20 11:13:57 UTC", true, AT},
		{"2026-11-20 11:13:57 GMT", true, AT},
		{"2026-11-20 14:43:57 +0330", true, AT},
		{"2026-11-20 08:13:57 -03", true, AT},
		{"2026-11-20 12:13:57 +01", true, AT},
		{"2026-11-20 12:13:57 CET", false, AT + 3600},
		{"2026-11-20 13:13:57 CEST", false, AT + 7200},
		{"2026-11-20 06:13:57 EST", false, AT - 5 * 3600},
		/* No zone at all: an abbreviation may be empty, and nothing is known then. */
		{"2026-11-20 11:13:57 ", false, AT},
		{"2026-11-20 11:13:57", false, AT},
	};

	for (size_t k = 0; k < sizeof(cases) / sizeof(*cases); k++) {
		_cleanup_(buf_free) struct buf b = {0};
		_cleanup_(freep) char *text = NULL;
		struct backup_label l;

		buf_printf(&b, "%sSTART TIME: %s\n%s%s", START CHECKPOINT METHOD FROM, cases[k].text, LABEL,
			TIMELINE);
		text = buf_steal_str(&b);
		must(text, false, &l);
		ck_assert_str_eq(l.start_time.text, cases[k].text);
		ck_assert_msg(l.start_time.resolved == cases[k].resolved, "%s", cases[k].text);
		ck_assert_int_eq(l.start_time.at.sec, cases[k].at);
	}
}
END_TEST

START_TEST(a_label_may_hold_line_breaks_and_be_empty)
{
	struct backup_label l;

	must(HEAD "LABEL: two\nlines \"q\" \\ \xc3\xa9\n" TIMELINE, false, &l);
	ck_assert_str_eq(l.label, "two\nlines \"q\" \\ \xc3\xa9");
	must(HEAD "LABEL: \n" TIMELINE, false, &l);
	ck_assert_str_eq(l.label, "");
	must(HEAD "LABEL: LABEL: x\n\n\n" TIMELINE, false, &l);
	ck_assert_str_eq(l.label, "LABEL: x\n\n");
	/* Looks like the next line, so it is taken for it, and then there is one line too many. */
	ck_assert_int_lt(
		parse(HEAD "LABEL: x\nSTART TIMELINE: 1\nSTART TIMELINE: 1\n",
			strlen(HEAD "LABEL: x\nSTART TIMELINE: 1\nSTART TIMELINE: 1\n"), false, &l, NULL),
		0);
}
END_TEST

START_TEST(long_values)
{
	for (int n = BACKUP_LABEL_MAX - 1; n <= BACKUP_LABEL_MAX + 1; n++) {
		_cleanup_(buf_free) struct buf b = {0};
		_cleanup_(freep) char *text = NULL;
		struct backup_label l;

		buf_printf(&b, "%sLABEL: %0*d\n%s", HEAD, n, 0, TIMELINE);
		text = buf_steal_str(&b);
		ck_assert_int_eq(
			parse(text, strlen(text), false, &l, NULL), n <= BACKUP_LABEL_MAX ? 0 : -EBADMSG);
		if (n <= BACKUP_LABEL_MAX)
			ck_assert_uint_eq(strlen(l.label), n);
	}
	for (int n = BACKUP_TIME_MAX - 20; n <= BACKUP_TIME_MAX - 18; n++) {
		_cleanup_(buf_free) struct buf b = {0};
		_cleanup_(freep) char *text = NULL;
		struct backup_label l;

		buf_printf(&b, "%sSTART TIME: 2026-11-20 11:13:57 %0*d\n%s%s", START CHECKPOINT METHOD FROM,
			n, 0, LABEL, TIMELINE);
		text = buf_steal_str(&b);
		ck_assert_int_eq(
			parse(text, strlen(text), false, &l, NULL), n + 20 <= BACKUP_TIME_MAX ? 0 : -EBADMSG);
	}
}
END_TEST

START_TEST(wrong_lines_are_named)
{
	static const struct {
		const char *text;
		const char *says;
	} cases[] = {
		{"", "line 1 "},
		{"\n", "line 1 "},
		{CHECKPOINT METHOD FROM TIME LABEL TIMELINE, "line 1 "},
		{START METHOD, "line 2 "},
		{START CHECKPOINT FROM, "line 3 "},
		{START CHECKPOINT METHOD TIME, "line 4 "},
		{START CHECKPOINT METHOD FROM LABEL, "line 5 "},
		{HEAD TIMELINE, "line 6 "},
		{HEAD LABEL, "START TIMELINE"},
		{HEAD "LABEL: a\nb\nSTART TIMELINE: x\n", "line 8:"},
		{WHOLE "\n", "line 8 "},
		{WHOLE "MORE: x\n", "line 8 "},
		{WHOLE STOP_TIME, "line 8 "},
		{WHOLE " ", "line 8 "},
		{" " WHOLE, "line 1 "},
		{"START WAL LOCATION: 0/1100028\n", "line 1:"},
		{"START WAL LOCATION: (file 000000010000000000000011)\n", "line 1:"},
		{"START WAL LOCATION:  (file 000000010000000000000011)\n", "line 1:"},
		{"START WAL LOCATION: 0/1100028 (file 00000001000000000000001)\n", "line 1:"},
		{"START WAL LOCATION: 0/1100028 (file 00000001000000000000001g)\n", "line 1:"},
		{"START WAL LOCATION: 0/1100028 (file 000000010000000000000011\n", "line 1:"},
		{"START WAL LOCATION: 0/1100028  (file 000000010000000000000011)\n", "line 1:"},
		{"START WAL LOCATION: 0/1100028 (file 000000010000000000000011) \n", "line 1:"},
		{"START WAL LOCATION: 0/1100028 (file 000000010000000000000011)\r\n", "line 1:"},
		{"START WAL LOCATION:0/1100028 (file 000000010000000000000011)\n", "line 1 "},
		{START "CHECKPOINT LOCATION: 0\n", "line 2:"},
		{START CHECKPOINT "BACKUP METHOD: \n", "line 3:"},
		{START CHECKPOINT "BACKUP METHOD: streamed2\n", "line 3:"},
		{START CHECKPOINT METHOD "BACKUP FROM: replica\n", "line 4:"},
		{START CHECKPOINT METHOD FROM "START TIME: \n", "line 5:"},
		{START CHECKPOINT METHOD FROM "START TIME: 2026-11-20\n", "line 5:"},
		{START CHECKPOINT METHOD FROM "START TIME: 2026-13-20 11:13:57 UTC\n", "line 5:"},
		{START CHECKPOINT METHOD FROM "START TIME: 2026-11-20 11:13:57CET\n", "line 5:"},
		{HEAD LABEL "START TIMELINE: \n", "line 7:"},
		{HEAD LABEL "START TIMELINE: 0\n", "line 7:"},
		{HEAD LABEL "START TIMELINE: -1\n", "line 7:"},
		{HEAD LABEL "START TIMELINE: 1 \n", "line 7:"},
		{HEAD LABEL "START TIMELINE: 4294967296\n", "line 7:"},
		{HEAD LABEL "START TIMELINE: 11111111111\n", "line 7:"},
		{HEAD LABEL "START TIMELINE: 2\n",
			"start timeline 2, but the WAL file is 000000010000000000000011"},
	};

	for (size_t k = 0; k < sizeof(cases) / sizeof(*cases); k++) {
		struct backup_label l = {.tli.v = 77};
		struct err e = {0};

		ck_assert_msg(parse(cases[k].text, strlen(cases[k].text), false, &l, &e) == -EBADMSG, "%s",
			cases[k].text);
		ck_assert_int_eq(e.code, -EBADMSG);
		ck_assert_msg(strstr(e.text, cases[k].says), "%s\nwants: %s\n%s", e.text, cases[k].says,
			cases[k].text);
		ck_assert_uint_eq(l.tli.v, 77);
	}
}
END_TEST

START_TEST(cut_at_every_byte)
{
	static const char *const texts[] = {WHOLE, HISTORY, HISTORY INCREMENTAL};

	for (int k = 0; k < 3; k++) {
		size_t full = strlen(texts[k]);

		for (size_t n = 0; n < full; n++) {
			struct backup_label l;
			/* The incremental lines are optional in a history file. */
			bool whole = k == 2 && n == strlen(HISTORY);

			ck_assert_int_eq(parse(texts[k], n, k > 0, &l, NULL), whole ? 0 : -EBADMSG);
		}
	}
}
END_TEST

START_TEST(every_bit_flipped)
{
	char text[] = HISTORY INCREMENTAL;

	for (size_t bit = 0; bit < 8 * strlen(HISTORY INCREMENTAL); bit++) {
		struct backup_label l = {0};
		struct err e = {0};
		int r;

		text[bit / 8] ^= (char)(1 << bit % 8);
		r = parse(text, sizeof(text) - 1, true, &l, &e);
		ck_assert_int_eq(r, e.code);
		if (!r) {
			ck_assert_uint_lt(strnlen(l.label, sizeof(l.label)), sizeof(l.label));
			ck_assert_uint_eq(strlen(l.start_file), WAL_NAME_LEN);
			ck_assert_uint_eq(strlen(l.stop_file), WAL_NAME_LEN);
			ck_assert_uint_ne(l.tli.v, 0);
		}
		text[bit / 8] ^= (char)(1 << bit % 8);
	}
}
END_TEST

START_TEST(a_nul_stands_nowhere)
{
	char text[] = WHOLE;

	for (size_t k = 0; k < sizeof(text) - 1; k++) {
		struct backup_label l;
		char was = text[k];

		text[k] = 0;
		ck_assert_int_eq(parse(text, sizeof(text) - 1, false, &l, NULL), -EBADMSG);
		text[k] = was;
	}
}
END_TEST

START_TEST(history_names)
{
	static const struct {
		const char *name;
		bool want;
	} cases[] = {
		{"000000010000000000000011.00000028.backup", true},
		{"0000002A0000001A000000FF.00ABCDEF.backup", true},
		{"000000010000000000000011", false},
		{"000000010000000000000011.00000028.backu", false},
		{"000000010000000000000011.00000028.backup2", false},
		{"000000010000000000000011.0000028.backup", false},
		{"000000010000000000000011.0000002g.backup", false},
		{"000000010000000000000011-00000028.backup", false},
		{"00000001000000000000001x.00000028.backup", false},
		{"", false},
	};

	for (size_t k = 0; k < sizeof(cases) / sizeof(*cases); k++) {
		char *name = check_exact(cases[k].name, strlen(cases[k].name));

		ck_assert(backup_history_name_looks(name, strlen(cases[k].name)) == cases[k].want);
		free(name);
	}
}
END_TEST

/* ---- tablespace_map ---- */

static int collect(void *arg, struct oid oid, const char *path, struct err *e)
{
	(void)e;
	buf_printf(arg, "%u=%s;", oid.v, path);
	return 0;
}

static int map(const char *text, size_t n, unsigned major, struct buf *b, struct err *e)
{
	char *exact = check_exact(text, n);
	int r = tablespace_map_parse(exact, n, major, collect, b, e);

	free(exact);
	return r;
}

START_TEST(maps)
{
	static const struct {
		const char *text;
		unsigned major;
		const char *want;
	} cases[] = {
		{"", 15, ""},
		/* As a 15 wrote it, of directories `ts a`, `ts<line break>nl` and `ts\b`. */
		{"16384 /pg/ts a\n16386 /pg/ts\\\nnl\n16385 /pg/ts\\\\b\n", 15,
			"16384=/pg/ts a;16386=/pg/ts\nnl;16385=/pg/ts\\b;"},
		{"16384 /pg/ts a\n16386 /pg/ts\\\nnl\n16385 /pg/ts\\\\b\n", 0,
			"16384=/pg/ts a;16386=/pg/ts\nnl;16385=/pg/ts\\b;"},
		/* As a 13 wrote the same. */
		{"16384 /pg/ts a\n16386 /pg/ts\\\nnl\n16385 /pg/ts\\b\n", 13,
			"16384=/pg/ts a;16386=/pg/ts\nnl;16385=/pg/ts\\b;"},
		{"1 /a\\\\\n", 13, "1=/a\\\n" /* 13 can't tell a backslash at the end */},
		{"1 /a\\\r\n", 15, "1=/a\r;"},
		{"1 /a\r\n2 /b\r\n", 15, "1=/a;2=/b;"},
		{"\n\n1 /a\n\n", 15, "1=/a;"},
		{"4294967295 /\n", 15, "4294967295=/;"},
		{"1 /a\n1 /a\n", 15, "1=/a;1=/a;"},
	};

	for (size_t k = 0; k < sizeof(cases) / sizeof(*cases); k++) {
		_cleanup_(buf_free) struct buf b = {0};
		_cleanup_(freep) char *got = NULL;
		struct err e = {0};
		int r = map(cases[k].text, strlen(cases[k].text), cases[k].major, &b, &e);

		if (cases[k].want[0] && cases[k].want[strlen(cases[k].want) - 1] != ';') {
			ck_assert_int_eq(r, -EBADMSG);
			continue;
		}
		ck_assert_msg(r == 0, "%s", e.text);
		got = buf_steal_str(&b);
		ck_assert_str_eq(got, cases[k].want);
	}
}
END_TEST

START_TEST(wrong_maps)
{
	static const struct {
		const char *text;
		const char *says;
	} cases[] = {
		{"1 /a", "line 1 is cut off"},
		{"1 /a\n2 /b", "line 2 is cut off"},
		{"1 /a\\\n", "line 1 is cut off"},
		{"1 /a\\", "line 1 is cut off"},
		{"0 /a\n", "line 1 does not start"},
		{"x /a\n", "line 1 does not start"},
		{"-1 /a\n", "line 1 does not start"},
		{" 1 /a\n", "line 1 does not start"},
		{"1/a\n", "line 1 does not start"},
		{"1\n", "line 1 does not start"},
		{"4294967296 /a\n", "line 1 does not start"},
		{"11111111111 /a\n", "line 1 does not start"},
		{"1 \n", "line 1 has no"},
		{"1 a\n", "line 1 has no"},
		{"1  /a\n", "line 1 has no"},
		{"1 ../a\n", "line 1 has no"},
	};

	for (size_t k = 0; k < sizeof(cases) / sizeof(*cases); k++) {
		_cleanup_(buf_free) struct buf b = {0};
		struct err e = {0};

		ck_assert_msg(map(cases[k].text, strlen(cases[k].text), 15, &b, &e) == -EBADMSG, "%s",
			cases[k].text);
		ck_assert_msg(strstr(e.text, cases[k].says), "%s", e.text);
	}
	for (size_t at = 0; at < 7; at++) {
		char text[] = "12 /ab\n";
		_cleanup_(buf_free) struct buf b = {0};

		text[at] = 0;
		ck_assert_int_eq(map(text, 7, 15, &b, NULL), -EBADMSG);
	}
}
END_TEST

START_TEST(long_paths)
{
	for (int n = TABLESPACE_PATH_MAX - 1; n <= TABLESPACE_PATH_MAX + 1; n++) {
		_cleanup_(buf_free) struct buf b = {0}, out = {0};

		buf_printf(&b, "4294967295 /%0*d\n", n - 1, 0);
		ck_assert_int_eq(
			map((char *)b.data, b.len, 15, &out, NULL), n <= TABLESPACE_PATH_MAX ? 0 : -EBADMSG);
		b.len = 0;
		buf_printf(&b, "1 /%0*d\n", n - 1, 0);
		ck_assert_int_eq(
			map((char *)b.data, b.len, 15, &out, NULL), n <= TABLESPACE_PATH_MAX ? 0 : -EBADMSG);
	}
}
END_TEST

static int stop_at_second(void *arg, struct oid oid, const char *path, struct err *e)
{
	(void)oid;
	(void)path;
	return ++*(int *)arg == 2 ? err_set(e, -ECANCELED, "enough") : 0;
}

START_TEST(the_callers_no_ends_it)
{
	struct err e = {0};
	int calls = 0;

	ck_assert_int_eq(
		tablespace_map_parse("1 /a\n2 /b\n3 /c\n", 15, 15, stop_at_second, &calls, &e), -ECANCELED);
	ck_assert_int_eq(calls, 2);
	ck_assert_str_eq(e.text, "enough");
}
END_TEST

START_TEST(random_maps)
{
	static const char alphabet[] = "0123 /\\\n\ra";
	uint64_t rand = check_seed();

	for (int k = 0; k < 100000; k++) {
		_cleanup_(buf_free) struct buf b = {0};
		char text[24];
		size_t n = check_rand_below(&rand, sizeof(text));

		for (size_t i = 0; i < n; i++)
			text[i] = alphabet[check_rand_below(&rand, sizeof(alphabet) - 1)];
		map(text, n, k % 2 ? 13 : 15, &b, NULL);
	}
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("pg_backup_label");
	TCase *t = tcase_create("backup_label"), *m = tcase_create("tablespace_map");

	tcase_add_test(t, a_label_of_15);
	tcase_add_test(t, words_of_other_releases_and_roles);
	tcase_add_test(t, a_history_file_of_15);
	tcase_add_test(t, an_incremental_backup_is_refused_with_advice);
	tcase_add_test(t, times);
	tcase_add_test(t, a_label_may_hold_line_breaks_and_be_empty);
	tcase_add_test(t, long_values);
	tcase_add_test(t, wrong_lines_are_named);
	tcase_add_test(t, cut_at_every_byte);
	tcase_add_test(t, every_bit_flipped);
	tcase_add_test(t, a_nul_stands_nowhere);
	tcase_add_test(t, history_names);
	tcase_add_test(m, maps);
	tcase_add_test(m, wrong_maps);
	tcase_add_test(m, long_paths);
	tcase_add_test(m, the_callers_no_ends_it);
	tcase_add_test(m, random_maps);
	suite_add_tcase(s, t);
	suite_add_tcase(s, m);
	return s;
}

CHECK_MAIN(suite)
