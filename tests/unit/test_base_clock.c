/* Times as text and back, whatever TZ and locale say. */
#include "tests/unit/check_main.h"

#include <errno.h>

#include "src/base/clock.h"

START_TEST(known_times)
{
	static const struct {
		int64_t sec;
		const char *rfc3339, *name;
	} cases[] = {
		{0, "1970-01-01T00:00:00Z", "1970-01-01T00-00-00Z"},
		{1795173237, "2026-11-20T11:13:57Z", "2026-11-20T11-13-57Z"},
		{951827696, "2000-02-29T12:34:56Z", "2000-02-29T12-34-56Z"},
		{-1, "1969-12-31T23:59:59Z", "1969-12-31T23-59-59Z"},
		{4102444800, "2100-01-01T00:00:00Z", "2100-01-01T00-00-00Z"},
		{253402300799, "9999-12-31T23:59:59Z", "9999-12-31T23-59-59Z"},
	};
	char text[TSTAMP_TEXT];

	for (size_t k = 0; k < sizeof(cases) / sizeof(*cases); k++) {
		struct tstamp t = {.sec = cases[k].sec, .nsec = 999999999}, back;

		ck_assert_str_eq(tstamp_rfc3339(t, text), cases[k].rfc3339);
		ck_assert_int_eq(tstamp_parse(text, &back, NULL), 0);
		ck_assert_int_eq(back.sec, cases[k].sec);
		ck_assert_uint_eq(back.nsec, 0);
		ck_assert_str_eq(tstamp_name(t, text), cases[k].name);
		ck_assert_int_eq(tstamp_parse(text, &back, NULL), 0);
		ck_assert_int_eq(back.sec, cases[k].sec);
	}
}
END_TEST

START_TEST(spellings)
{
	static const struct {
		const char *text;
		int64_t sec;
		uint32_t nsec;
	} cases[] = {
		{"2026-11-20T11:13:57Z", 1795173237, 0},
		{"2026-11-20t11:13:57z", 1795173237, 0},
		{"2026-11-20 11:13:57", 1795173237, 0},
		{"2026-11-20 11:13:57 UTC", 1795173237, 0},
		{"2026-11-20 11:13:57 GMT", 1795173237, 0},
		{"2026-11-20T11-13-57Z", 1795173237, 0},
		{"2026-11-20T12:13:57+01", 1795173237, 0},
		{"2026-11-20T12:13:57 +01", 1795173237, 0},
		{"2026-11-20T14:43:57+03:30", 1795173237, 0},
		{"2026-11-20T14:43:57+0330", 1795173237, 0},
		{"2026-11-20T14-43-57+03-30", 1795173237, 0},
		{"2026-11-20T06:13:57-05:00", 1795173237, 0},
		{"2026-11-21T01:13:57+14", 1795173237, 0},
		{"2026-11-20T11:13:57.5Z", 1795173237, 500000000},
		{"2026-11-20T11:13:57.123456789Z", 1795173237, 123456789},
		{"2026-11-20T11:13:57.1234567899Z", 1795173237, 123456789},
		{"2026-11-20T11:13:57,25+00", 1795173237, 250000000},
		{"1969-12-31T23:59:59.25Z", -1, 250000000},
		{"2000-02-29T00:00:00Z", 951782400, 0},
	};

	for (size_t k = 0; k < sizeof(cases) / sizeof(*cases); k++) {
		struct tstamp t;
		struct err e = {0};

		ck_assert_msg(tstamp_parse(cases[k].text, &t, &e) == 0, "%s", e.text);
		ck_assert_msg(t.sec == cases[k].sec && t.nsec == cases[k].nsec, "%s", cases[k].text);
	}
}
END_TEST

START_TEST(not_times)
{
	static const char *const cases[] = {"", "2026", "2026-11-20", "2026-11-20T11:13",
		"2026-11-20T11:13:5", "2026-13-20T11:13:57Z", "2026-00-20T11:13:57Z", "2026-11-31T11:13:57Z",
		"2026-11-00T11:13:57Z", "2025-02-29T11:13:57Z", "2100-02-29T11:13:57Z",
		"2026-11-20T24:00:00Z", "2026-11-20T11:60:57Z", "2026-11-20T11:13:60Z",
		"2026-11-20T11:13:57CET", "2026-11-20T11:13:57 CEST", "2026-11-20T11:13:57+1",
		"2026-11-20T11:13:57+16", "2026-11-20T11:13:57+01:60", "2026-11-20T11:13:57+01:0",
		"2026-11-20T11:13:57+01:000", "2026-11-20T11:13:57.", "2026-11-20T11:13:57.Z",
		"2026-11-20T11:13:57Z ", " 2026-11-20T11:13:57Z", "26-11-20T11:13:57Z",
		"2026/11/20T11:13:57Z", "2026-11-20_11:13:57Z", "+2026-11-20T11:13:57Z",
		"2026-11-20T11:13:57ZZ", "2026-11-20T11:13:57UTCx", "yesterday"};

	for (size_t k = 0; k < sizeof(cases) / sizeof(*cases); k++) {
		struct tstamp t = {.sec = 77};
		struct err e = {0};

		ck_assert_msg(tstamp_parse(cases[k], &t, &e) == -EINVAL, "%s", cases[k]);
		ck_assert_int_eq(t.sec, 77);
		ck_assert_int_eq(e.code, -EINVAL);
	}
}
END_TEST

START_TEST(the_zone_of_the_process_does_not_matter)
{
	static const char *const zones[] = {"UTC", "Asia/Tehran", "America/New_York", "Pacific/Kiritimati"};
	char text[TSTAMP_TEXT];

	for (size_t k = 0; k < sizeof(zones) / sizeof(*zones); k++) {
		struct tstamp t;

		setenv("TZ", zones[k], 1);
		tzset();
		ck_assert_int_eq(tstamp_parse("2026-07-20T11:13:57Z", &t, NULL), 0);
		ck_assert_int_eq(t.sec, 1784546037);
		ck_assert_str_eq(tstamp_rfc3339(t, text), "2026-07-20T11:13:57Z");
	}
}
END_TEST

START_TEST(years_beyond_four_digits_stay_in_their_room)
{
	static const int64_t far[] = {
		INT64_MAX, INT64_MIN, 253402300800, -62135596801, 1ll << 55, -(1ll << 55)};

	for (size_t k = 0; k < sizeof(far) / sizeof(*far); k++) {
		char text[TSTAMP_TEXT];

		ck_assert_uint_lt(strlen(tstamp_rfc3339((struct tstamp){.sec = far[k]}, text)), TSTAMP_TEXT);
		ck_assert_uint_lt(strlen(tstamp_name((struct tstamp){.sec = far[k]}, text)), TSTAMP_TEXT);
	}
}
END_TEST

START_TEST(round_trip_of_random_times)
{
	uint64_t rand = check_seed();

	for (int k = 0; k < 20000; k++) {
		/* The years 1000 to 9999, those of four digits. */
		struct tstamp t = {.sec = (int64_t)check_rand_below(&rand, 284012524800ull) - 30610224000ll},
			      back;
		char text[TSTAMP_TEXT];

		ck_assert_int_eq(tstamp_parse(tstamp_rfc3339(t, text), &back, NULL), 0);
		ck_assert_msg(back.sec == t.sec, "%s", text);
	}
}
END_TEST

START_TEST(order)
{
	static const struct tstamp rising[] = {
		{INT64_MIN, 0}, {-1, 0}, {-1, 999999999}, {0, 0}, {0, 1}, {1, 0}};

	for (int a = 0; a < 6; a++)
		for (int b = 0; b < 6; b++)
			ck_assert_int_eq(tstamp_cmp(rising[a], rising[b]), a < b ? -1 : a > b);
}
END_TEST

START_TEST(the_clock_goes_forward)
{
	struct tstamp now = clock_now();
	uint64_t before = clock_mono_ns();

	ck_assert_int_gt(now.sec, 1700000000);
	ck_assert_uint_lt(now.nsec, 1000000000);
	usleep(2000);
	ck_assert_uint_ge(clock_mono_ns(), before + 2000000);
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("base_clock");
	TCase *t = tcase_create("base_clock");

	tcase_add_test(t, known_times);
	tcase_add_test(t, spellings);
	tcase_add_test(t, not_times);
	tcase_add_test(t, the_zone_of_the_process_does_not_matter);
	tcase_add_test(t, years_beyond_four_digits_stay_in_their_room);
	tcase_add_test(t, round_trip_of_random_times);
	tcase_add_test(t, order);
	tcase_add_test(t, the_clock_goes_forward);
	suite_add_tcase(s, t);
	return s;
}

CHECK_MAIN(suite)
