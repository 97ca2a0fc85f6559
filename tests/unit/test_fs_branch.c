/* A branch against a model in memory: random operations, and the same tree again after it was closed and opened, and as a
 * kill leaves it (the directory is copied while it is open). */
#include "tests/unit/branch_fixture.h"

/* What a killed process leaves. */
static void check_killed(const struct model *m, const char *dir, bool durable)
{
	char *path, *copy, *command, why[200];
	struct branch *again;

	ck_assert(asprintf(&path, "%s/branch", dir) > 0);
	ck_assert(asprintf(&copy, "%s/copy", dir) > 0);
	ck_assert(asprintf(&command, "cp -a '%s' '%s'", path, copy) > 0);
	ck_assert_int_eq(system(command), 0);
	again = open_branch(copy, durable);
	ck_assert_msg(is_like(again, m, durable, why), "after a kill: %s", why);
	ck_assert_int_eq(branch_close(again, NULL), 0);
	check_rmtree(copy);
	free(path);
	free(copy);
	free(command);
}

#define STEPS (3000 / PART(3, 3))

START_TEST(random_operations_and_reopening)
{
	char *dir = check_tempdir(), *path, why[200];
	bool durable = _i == 1;
	struct branch *b;
	struct model m;
	struct err e;

	ck_assert(asprintf(&path, "%s/branch", dir) > 0);
	model_init(&m);
	b = open_branch(path, durable);
	for (unsigned i = 1; i <= STEPS; i++) {
		struct op o = op_choose(&m);
		int r;

		if (o.kind == OP_REOPEN) {
			r = branch_close(b, &e);
			b = open_branch(path, durable);
		} else {
			r = op_branch(b, &o, &e);
		}
		ck_assert_msg(r == 0, "step %u: %s", i, e.text);
		op_model(&m, &o);
		if (i % 20 == 0 || o.kind == OP_REOPEN)
			ck_assert_msg(is_like(b, &m, false, why), "step %u: %s", i, why);
		if (i % 200 == 0)
			check_killed(&m, dir, durable);
		op_release(&o);
	}
	ck_assert_int_eq(branch_close(b, NULL), 0);
	model_release(&m);
	check_rmtree(dir);
	free(dir);
	free(path);
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("fs_branch");
	TCase *c = tcase_create("model");

	tcase_add_loop_test(c, random_operations_and_reopening, 0, 2);
	suite_add_tcase(s, c);
	return s;
}

CHECK_MAIN(suite)
