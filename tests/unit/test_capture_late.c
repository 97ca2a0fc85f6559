/* Libraries that are loaded late: found once, missing, too old. */
#include <errno.h>
#include <string.h>

#include "src/capture/late.h"
#include "src/capture/late_priv.h"
#include "tests/unit/check_main.h"

START_TEST(both_are_there)
{
	struct err e = {0};

	for (int i = 0; i < 2; i++) {
		ck_assert_msg(late_libpq(&e) == 0, "%s", e.text);
		ck_assert_msg(late_libarchive(&e) == 0, "%s", e.text);
	}
}
END_TEST

START_TEST(a_missing_one_is_named_with_its_package)
{
	bool loaded = false;
	struct err e = {0};

	ck_assert_int_eq(late_load("libnosuch.so.1", "package libnosuch1", NULL, 0, &loaded, &e), -ELIBACC);
	ck_assert(!loaded);
	ck_assert_ptr_nonnull(strstr(e.text, "libnosuch.so.1"));
	ck_assert_ptr_nonnull(strstr(e.text, "package libnosuch1"));
}
END_TEST

START_TEST(a_missing_function_is_named)
{
	void *there = NULL, *missing = NULL;
	const struct late_symbol symbols[] = {
		{"archive_version_number", &there}, {"archive_no_such", &missing}};
	bool loaded = false;
	struct err e = {0};

	ck_assert_int_eq(late_load("libarchive.so.13", "package x", symbols, 2, &loaded, &e), -ELIBACC);
	ck_assert(!loaded);
	ck_assert_ptr_nonnull(there);
	ck_assert_ptr_null(missing);
	ck_assert_ptr_nonnull(strstr(e.text, "archive_no_such"));
	/* Asked again with what it has, it is there. */
	ck_assert_int_eq(late_load("libarchive.so.13", "package x", symbols, 1, &loaded, &e), 0);
	ck_assert(loaded);
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("capture_late");
	TCase *t = tcase_create("capture_late");

	tcase_add_test(t, both_are_there);
	tcase_add_test(t, a_missing_one_is_named_with_its_package);
	tcase_add_test(t, a_missing_function_is_named);
	suite_add_tcase(s, t);
	return s;
}

CHECK_MAIN(suite)
