/* Calls that fail, move less than they were asked to, or are interrupted, and a clock that steps: for every verb
 * (tests/unit/crash.h), a verb that ends well has done its work, one that does not says why; the repository is sound,
 * holds what it held, and the same verb works when the trouble is over.
 *
 * PGSTRATA_CRASH_STEP=N in the environment takes every Nth case only. */
#include "tests/unit/crash.h"

struct trouble {
	const char *name;
	const char *point, *action; /* of PGSTRATA_FAULT, around the number of the passage */
};

static const struct trouble troubles[] = {
	{"a full disk, once", "*", ":28"},
	{"a full disk from there on", "*", "+:28"},
	{"EIO on write", "*", ":5"},
	{"permission denied from there on", "*", "+:13"},
	{"read-only from there on", "*", "+:30"},
	{"EIO on read", "read", ":5"},
	{"EIO on read from there on", "read", "+:5"},
	{"EIO on open", "read-open", ":5"},
	{"EIO on listing", "read-list", ":5"},
	{"EIO on stat", "read-stat", ":5"},
	{"too many open files", "read-open", ":24"},
};
#define N_TROUBLES (sizeof(troubles) / sizeof(troubles[0]))

/* Prime to the number of points, so that over the verbs each kind of point gets its turn. */
static unsigned step(void)
{
	const char *s = getenv("PGSTRATA_CRASH_STEP");

	return s ? (unsigned)atoi(s) : 29 * PART(6, 13);
}

static void try_one(
	struct crash *c, const struct scenario *s, const char *name, const char *env, unsigned *refused)
{
	struct crash_run k;
	char what[200];

	snprintf(what, sizeof(what), "%s, %s (%s)", s->name, name, env);
	crash_fresh(c);
	k = crash_run(c, s, s->verb, env);
	ck_assert_msg(!k.killed, "%s: killed", what);
	/* Damage is what verify tells on standard output. */
	ck_assert_msg(k.done || *k.err || *k.out, "%s: it failed without a word", what);
	*refused += !k.done;
	if (!s->verb)
		crash_check_pieces(c, what, k.out);
	crash_check(c, s, what, k.done);
}

/* One kind of trouble at the passages of a verb, until it is done without meeting any. */
START_TEST(calls_fail)
{
	const struct trouble *t = &troubles[_i];
	struct crash c = crash_new();
	unsigned cases = 0, refused = 0;

	for (size_t i = 0; i < N_SCENARIOS; i++) {
		const struct scenario *s = &scenarios[i];
		struct crash_run r;
		unsigned most;

		/* Under a sanitizer a verb meets a third of the kinds: making its repository is what costs. */
		if (!crash_wanted(s) || (i + (size_t)_i) % PART(3, 3))
			continue;
		r = crash_begin(&c, s);
		most = crash_passages(&r, t->point);
		/* Where there are few, at least one. As many seeds in a row as a step is long pass all of them. */
		for (unsigned at = 1 + ((unsigned)i + (unsigned)_i + (unsigned)check_seed() - 1) %
					       (most < step() ? most + !most : step());
			at <= most; at += step(), cases++) {
			char env[100];

			snprintf(env, sizeof(env), "PGSTRATA_FAULT=%s:%u%s", t->point, at, t->action);
			try_one(&c, s, t->name, env, &refused);
		}
	}
	ck_assert_uint_gt(cases, 0);
	ck_assert_uint_gt(refused, 0);
	fprintf(stderr, "errors: %-32s %4u cases, %4u told of\n", t->name, cases, refused);
	crash_free(&c);
}
END_TEST

/* Few bytes at a time, every third call interrupted: nobody may notice. */
START_TEST(short_and_interrupted_calls)
{
	struct crash c = crash_new();
	unsigned refused = 0;

	for (size_t i = 0; i < N_SCENARIOS; i++) {
		if (!crash_wanted(&scenarios[i]))
			continue;
		crash_begin(&c, &scenarios[i]);
		try_one(&c, &scenarios[i], "scraps", "PGSTRATA_FAULT=scraps", &refused);
	}
	fprintf(stderr, "errors: short writes, EINTR: %zu verbs\n", N_SCENARIOS);
	ck_assert_uint_eq(refused, 0);
	crash_free(&c);
}
END_TEST

/* The clock steps back before the verb, and between its readings: each verb works. It steps ahead by a year: a verb
 * may find that it took too long, and says so. */
START_TEST(the_clock_steps)
{
	static const char *const steps[] = {"1:-86400", "2:-86400", "4:-86400", "1:-100000000", "2:-7200",
		"3:-7200", "5:-3", "1:31536000", "2:31536000", "4:31536000"};
	struct crash c = crash_new();
	unsigned cases = 0, refused = 0;

	for (size_t i = 0; i < N_SCENARIOS; i++) {
		if (!crash_wanted(&scenarios[i]))
			continue;
		crash_begin(&c, &scenarios[i]);
		for (size_t k = 0; k < sizeof(steps) / sizeof(*steps); k += PART(1, 3), cases++) {
			char env[80];
			unsigned before = refused;

			snprintf(env, sizeof(env), "PGSTRATA_FAULT_CLOCK=%s", steps[k]);
			try_one(&c, &scenarios[i], "the clock steps", env, &refused);
			ck_assert_msg(refused == before || !strchr(steps[k], '-'),
				"%s: refused because the clock went back (%s)", scenarios[i].name, env);
		}
	}
	fprintf(stderr, "errors: the clock steps: %u cases, %u told of\n", cases, refused);
	crash_free(&c);
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("crash/errors");
	TCase *t = tcase_create("all");

	tcase_add_loop_test(t, calls_fail, 0, N_TROUBLES);
	tcase_add_test(t, short_and_interrupted_calls);
	tcase_add_test(t, the_clock_steps);
	suite_add_tcase(s, t);
	return s;
}

CRASH_MAIN(suite)
