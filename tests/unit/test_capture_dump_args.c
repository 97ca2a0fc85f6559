/* pg_dump's options sorted: what is refused, what every process of a dump gets, when one has to do all. */
#include "tests/unit/check_main.h"

#include <errno.h>

#include "src/capture/dump_args.h"

#define MOST 8

struct row {
	const char *extra[MOST];
	const char *all[MOST];	/* for the first process */
	const char *data[MOST]; /* for the others */
	const char *alone;
	bool deferrable, lacks_data;
	const char *role, *encoding, *lock_wait;
};

static const struct row rows[] = {
	{.extra = {NULL}},
	{.extra = {"-t", "x", "-n", "-a"}, .all = {"-t", "x", "-n", "-a"}},
	{.extra = {"-tx", "--table=y", "-T", "z"}, .all = {"-tx", "--table=y", "-T", "z"}},
	{.extra = {"--inserts", "--rows-per-insert", "5"},
		.all = {"--inserts", "--rows-per-insert", "5"},
		.data = {"--inserts", "--rows-per-insert=5"}},
	{.extra = {"-OvE", "LATIN1", "-x"},
		.all = {"-OvE", "LATIN1", "-x"},
		.data = {"--verbose", "--encoding=LATIN1"},
		.encoding = "LATIN1"},
	{.extra = {"-EUTF8", "--encoding=EUC_JP"},
		.all = {"-EUTF8", "--encoding=EUC_JP"},
		.data = {"--encoding=UTF8", "--encoding=EUC_JP"},
		.encoding = "EUC_JP"},
	{.extra = {"--role=me", "--lock-wait", "5s"},
		.all = {"--role=me", "--lock-wait", "5s"},
		.data = {"--role=me", "--lock-wait-timeout=5s"},
		.role = "me",
		.lock_wait = "5s"},
	/* The shorter name is a beginning of the longer one, and a name all the same. */
	{.extra = {"--exclude-table-data=a*"},
		.all = {"--exclude-table-data=a*"},
		.data = {"--exclude-table-data=a*"},
		.lacks_data = true},
	{.extra = {"--exclude-table", "x"}, .all = {"--exclude-table", "x"}},
	{.extra = {"--no-unlogged-table-data"},
		.all = {"--no-unlogged-table-data"},
		.data = {"--no-unlogged-table-data"},
		.lacks_data = true},
	{.extra = {"-a"}, .all = {"-a"}, .alone = "data-only"},
	{.extra = {"-Oas"}, .all = {"-Oas"}, .alone = "schema-only"},
	{.extra = {"--section", "data"}, .all = {"--section", "data"}, .alone = "section"},
	{.extra = {"--snapshot=1-2"}, .all = {"--snapshot=1-2"}, .alone = "snapshot"},
	{.extra = {"--serial", "-c"}, .all = {"-c"}, .deferrable = true},
	{.extra = {"--from-the-future", "-c"},
		.all = {"--from-the-future", "-c"},
		.alone = "--from-the-future"},
	{.extra = {"-y"}, .all = {"-y"}, .alone = "-y"},
	/* Of several options. */
	{.extra = {"--no-p"}, .all = {"--no-p"}, .alone = "--no-p"},
	/* A value is missing: pg_dump says so. */
	{.extra = {"-t"}, .all = {"-t"}},
	{.extra = {"--role"}, .all = {"--role"}, .data = {"--role"}},
	{.extra = {"word", "-", "--"}, .all = {"word", "-", "--"}},
};

static void same_text(const char *a, const char *b)
{
	ck_assert_str_eq(a ? a : "(none)", b ? b : "(none)");
}

START_TEST(sorts)
{
	const struct row *r = &rows[_i];
	struct dump_args a;
	struct err e = {0};
	size_t n = 0;

	ck_assert_msg(dump_args_read(r->extra, &a, &e) == 0, "%s", e.text);
	for (; r->all[n]; n++)
		same_text(a.all[n], r->all[n]);
	ck_assert_uint_eq(a.n_all, n);
	ck_assert_ptr_null(a.all[n]);
	for (n = 0; r->data[n]; n++)
		same_text(n < a.n_data ? a.data[n] : NULL, r->data[n]);
	ck_assert_uint_eq(a.n_data, n);
	same_text(a.alone, r->alone);
	same_text(a.role, r->role);
	same_text(a.encoding, r->encoding);
	same_text(a.lock_wait, r->lock_wait);
	ck_assert_int_eq(a.deferrable, r->deferrable);
	ck_assert_int_eq(a.lacks_data, r->lacks_data);
	dump_args_release(&a);
}
END_TEST

static const char *const ours[][3] = {
	{"-Fp"},
	{"-F", "p"},
	{"--format=plain"},
	{"--form", "d"},
	{"-cOFp"},
	{"-vj4"},
	{"--jobs=2"},
	{"-f/tmp/x"},
	{"--file", "x"},
	{"-Z9"},
	{"--compress=0"},
	{"-d", "other"},
	{"--dbname=other"},
	{"-h", "host"},
	{"-p1"},
	{"-U", "me"},
	{"-W"},
	{"-tx", "-W"},
};

START_TEST(refuses)
{
	struct dump_args a;
	struct err e = {0};

	ck_assert_int_eq(dump_args_read(ours[_i], &a, &e), -EINVAL);
	ck_assert_ptr_nonnull(strstr(e.text, "cannot be given here"));
}
END_TEST

START_TEST(nothing_at_all)
{
	struct dump_args a;

	ck_assert_int_eq(dump_args_read(NULL, &a, NULL), 0);
	ck_assert_uint_eq(a.n_all + a.n_data, 0);
	dump_args_release(&a);
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("capture/dump_args");
	TCase *t = tcase_create("dump_args");

	tcase_add_loop_test(t, sorts, 0, sizeof(rows) / sizeof(rows[0]));
	tcase_add_loop_test(t, refuses, 0, sizeof(ours) / sizeof(ours[0]));
	tcase_add_test(t, nothing_at_all);
	suite_add_tcase(s, t);
	return s;
}

CHECK_MAIN(suite)
