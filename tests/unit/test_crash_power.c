/* Power loss: what a verb writes, syncs and names is recorded (src/base/fault.h, the journal); then, for each prefix of
 * that record, the repository is made anew as a disk could have it on the next start, and looked at like after a crash
 * (tests/unit/crash.h): it opens and is sound, what was there before is there, and so is what was acknowledged.
 * The states of the disk are those of tests/unit/power_disk.h.
 *
 * The index cache beside it is as it was after the whole verb, which is the furthest ahead of the repository it can be,
 * or not there. */
#include "tests/unit/crash.h"
#include "tests/unit/power_disk.h"

static void try_state(struct crash *c, const struct scenario *s, struct disk *d, enum variant how, bool done,
	unsigned prefix, struct tried *tried)
{
	_cleanup_(freep) char *repo = crash_path(c, "work/repo"), *work = crash_path(c, "work");
	_cleanup_(freep) char *cache = crash_path(c, "work/cache"), *ahead = crash_path(c, "after/cache");
	uint64_t seed = check_seed() * 1000003 + prefix;
	struct state st = {.d = d, .how = how, .rng = seed, .newest = changes, .print = 0xcbf29ce484222325u};
	char what[120];

	snprintf(what, sizeof(what), "%s, power lost after step %u, %s", s->name, prefix, variant_names[how]);
	if (!d->root)
		return;
	restore_dir(&st, d->root, repo, true);
	mix(&st, &done, sizeof(done));
	if (d->acks)
		mix(&st, d->acks, strlen(d->acks));
	if (!is_new(tried, st.print))
		return;
	check_rmtree(work);
	ck_assert(!mkdir(work, 0700) && !mkdir(repo, 0700));
	if (prefix % 3)
		crash_copy(ahead, cache);
	else
		ck_assert_int_eq(mkdir(cache, 0700), 0);
	st.rng = seed;
	restore_dir(&st, d->root, repo, false);
	if (d->acks)
		crash_check_pieces(c, what, d->acks);
	crash_check(c, s, what, done);
}

/* ---- the journal ---- */

static void replay(struct crash *c, const struct scenario *s, uint64_t *prefixes, uint64_t *states)
{
	_cleanup_(freep) char *journal = crash_path(c, "journal"), *repo = crash_path(c, "work/repo");
	_cleanup_(freep) char *base = crash_path(c, "base/repo"), *work = crash_path(c, "work");
	_cleanup_(freep) char *after = crash_path(c, "after"), *env = NULL;
	struct disk d = {.prefix = repo};
	struct tried tried = {0};
	struct crash_run r;
	unsigned steps = 0, every = getenv("PGSTRATA_CRASH_STEP")
					    ? (unsigned)atoi(getenv("PGSTRATA_CRASH_STEP"))
					    : PART(15, 60);
	size_t n;

	crash_begin(c, s);
	unlink(journal);
	crash_fresh(c);
	ck_assert_int_gt(asprintf(&env, "PGSTRATA_FAULT_JOURNAL=%s", journal), 0);
	r = crash_run(c, s, s->verb, env);
	ck_assert_msg(r.done, "%s: %s", s->name, r.err);
	check_rmtree(after);
	ck_assert_int_eq(rename(work, after), 0);
	if (!access(base, F_OK)) {
		d.root = inode_new(&d, 0, true);
		load(&d, d.root, base);
	}
	uint8_t *p = fx_read_file(c->top, "journal", &n);
	for (size_t at = 0; at < n;) {
		at += happen_next(&d, p + at, n - at);
		/* When the last step is done the verb has told so. */
		if (++steps % every && at < n)
			continue;
		++*prefixes;
		for (unsigned how = 0; how < VARIANTS; how++)
			try_state(c, s, &d, (enum variant)how, at == n, steps, &tried);
	}
	fprintf(stderr, "power: %-26s %4u steps, %4zu states\n", s->name, steps, tried.n);
	ck_assert_uint_gt(steps, 0);
	*states += tried.n;
	free(tried.v);
	free(p);
	disk_free(&d);
}

START_TEST(power_is_lost_after_every_step)
{
	struct crash c = crash_new();
	uint64_t prefixes = 0, states = 0;

	for (size_t i = 0; i < N_SCENARIOS; i++)
		if (crash_wanted(&scenarios[i]))
			replay(&c, &scenarios[i], &prefixes, &states);
	fprintf(stderr,
		"power: %" PRIu64 " prefixes of what %zu verbs wrote, %" PRIu64 " states of the disk\n",
		prefixes, N_SCENARIOS, states);
	if (!getenv("PGSTRATA_CRASH_ONLY"))
		ck_assert_uint_ge(states, prefixes / 4);
	crash_free(&c);
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("crash/power");
	TCase *t = tcase_create("all");

	tcase_add_test(t, power_is_lost_after_every_step);
	suite_add_tcase(s, t);
	return s;
}

CRASH_MAIN(suite)
