/* src/pit/target: every form is read, named, and read back; what is none is refused. */
#include "tests/unit/check_main.h"

#include <errno.h>
#include <string.h>

#include "src/pit/target.h"

START_TEST(names)
{
	static const struct {
		const char *text, *name;
	} t[] = {
		{"latest", "latest"},
		{"latest@3", "latest@3"},
		{"2026-11-20T14:14:59Z", "2026-11-20T14-14-59Z"},
		{"2026-11-20T14-14-59Z", "2026-11-20T14-14-59Z"},
		{"2026-11-20 15:14:59.250+01", "2026-11-20T14-14-59.25Z"},
		{"2026-11-20T14:14:59.000001Z@12", "2026-11-20T14-14-59.000001Z@12"},
		{"2026-11-20T14:14:59.0000019Z", "2026-11-20T14-14-59.000001Z"},
		{"lsn-0-3000148", "lsn-0-3000148"},
		{"lsn-1a/3000148@2", "lsn-1A-3000148@2"},
		{"xid-742", "xid-742"},
		{"xid-4294967295", "xid-4294967295"},
		{"name-before drop", "name-before drop"},
		{"name-a%2Fb%25", "name-a%2Fb%25"},
		{"name-a@b", "name-a%40b"},
		{"name-a%402", "name-a%402"},
		{"name-a@2", "name-a@2"},
		{"name-%C3%A9", "name-\xc3\xa9"},
	};

	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		struct target a, b;
		char name[TARGET_TEXT], again[TARGET_TEXT];

		ck_assert_msg(target_parse(t[i].text, &a, NULL) == 0, "%s", t[i].text);
		ck_assert_str_eq(target_name(&a, name), t[i].name);
		ck_assert_int_eq(target_parse(name, &b, NULL), 0);
		ck_assert_str_eq(target_name(&b, again), name);
		ck_assert_int_eq(a.tli.v, b.tli.v);
		ck_assert_str_eq(a.name, b.name);
		ck_assert_int_eq(tstamp_cmp(a.time, b.time), 0);
	}
}
END_TEST

START_TEST(a_name_that_must_be_escaped_throughout_fits)
{
	struct target a = {.kind = TARGET_NAME, .tli = {UINT32_MAX}}, b;
	char name[TARGET_TEXT];

	memset(a.name, '/', WAL_NAME_MAX);
	ck_assert_int_eq(target_parse(target_name(&a, name), &b, NULL), 0);
	ck_assert_str_eq(a.name, b.name);
}
END_TEST

START_TEST(no_targets)
{
	static const char *const t[] = {"", "late", "latest@", "latest@0", "latest@x", "lsn-", "lsn-0-0",
		"lsn-1", "lsn-1-2-3", "lsn-123456789-0", "xid-", "xid-0", "xid--1", "xid-4294967296",
		"xid-99999999999", "name-", "name-%", "name-%0", "name-%00", "name-%zz", "2026-11-20",
		"2026-13-20T00:00:00Z",
		"name-1234567890123456789012345678901234567890123456789012345678901234"};
	struct target a = {.xid = 7};
	struct err e = {0};

	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		ck_assert_msg(target_parse(t[i], &a, &e) == -EINVAL, "%s", t[i]);
		ck_assert_ptr_nonnull(strstr(e.text, "is no target"));
		ck_assert_int_eq(a.xid, 7);
	}
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("pit_target");
	TCase *t = tcase_create("all");

	tcase_add_test(t, names);
	tcase_add_test(t, a_name_that_must_be_escaped_throughout_fits);
	tcase_add_test(t, no_targets);
	suite_add_tcase(s, t);
	return s;
}

CHECK_MAIN(suite)
