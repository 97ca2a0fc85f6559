/* Every verb killed at every step: before each write, sync, link, rename, removal and folder that it makes. What was there
 * stays, what was acknowledged is there, the same verb run again brings the rest (tests/unit/crash.h).
 *
 * PGSTRATA_CRASH_STEP=N in the environment takes every Nth point only. */
#include "tests/unit/crash.h"

#define ENOUGH_POINTS 500

static unsigned step(void)
{
	const char *s = getenv("PGSTRATA_CRASH_STEP");

	return s ? (unsigned)atoi(s) : PART(6, 30);
}

/* Kills at each point, adds the points' names to *seen. */
static void sweep(struct crash *c, const struct scenario *s, char ***seen)
{
	struct crash_run r = crash_begin(c, s);
	unsigned killed = 0, at;

	ck_assert_msg(r.passages > 0, "%s passes no point", s->name);
	/* Threads may pass a point more or less than when they were counted. */
	for (at = 1; at <= r.passages + 3; at += step()) {
		char plan[60], what[200], *text;
		struct crash_run k;

		snprintf(plan, sizeof(plan), "PGSTRATA_FAULT=*:%u:kill", at);
		crash_fresh(c);
		k = crash_run(c, s, s->verb, plan);
		ck_assert_msg(k.killed || k.done, "%s: %s: %s", s->name, plan, k.err);
		snprintf(what, sizeof(what), "%s, killed at %s (%u of %u)", s->name,
			k.killed ? k.point : "no point", at, r.passages);
		if (!s->verb)
			crash_check_pieces(c, what, k.out);
		/* It tells a snapshot's id when that is published, and can still be killed then. */
		crash_check(c, s, what, k.done || (*k.out && s->verb));
		if (!k.killed)
			break;
		killed++;
		ck_assert_int_gt(asprintf(&text, "%s: %s", s->name, k.point), 0);
		if (texts_have(*seen, text))
			free(text);
		else
			texts_add(seen, text);
	}
	ck_assert_msg(
		(killed + 3) * step() >= r.passages, "%s: only %u of %u points", s->name, killed, r.passages);
	fprintf(stderr, "crash: %-26s %4u points\n", s->name, killed);
}

START_TEST(killed_at_every_point)
{
	struct crash c = crash_new();
	char **seen = NULL;
	unsigned n = 0;

	for (size_t i = 0; i < N_SCENARIOS; i++)
		if (crash_wanted(&scenarios[i]))
			sweep(&c, &scenarios[i], &seen);
	while (seen[n])
		n++;
	fprintf(stderr, "crash: %u distinct points in %zu verbs\n", n, N_SCENARIOS);
	if (!getenv("PGSTRATA_CRASH_ONLY"))
		ck_assert_uint_ge(n * step(), ENOUGH_POINTS);
	texts_free(seen);
	crash_free(&c);
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("crash/kill");
	TCase *t = tcase_create("all");

	tcase_add_test(t, killed_at_every_point);
	suite_add_tcase(s, t);
	return s;
}

CRASH_MAIN(suite)
