/* A durable branch whose machine loses power: random operations are recorded; then, after each step of them, the branch's
 * folder is made as the disk could have it (tests/unit/power_disk.h), and opened. It has to open; its names are those that
 * were there after some operation, not older than what was synced by then; each file has what it had when it was last synced,
 * or bytes that were written since; and it can be written to.
 *
 * PGSTRATA_CRASH_STEP=N in the environment takes every Nth step only. */
#include <signal.h>
#include <sys/wait.h>

#include "tests/unit/branch_fixture.h"
#include "tests/unit/power_disk.h"

#define OPERATIONS 80
#define NAMES_EVERY 7 /* operations, and the directory is synced */
#define MARK_DONE "d"
#define MARK_NAMES "n"

/* ---- what is recorded ---- */

static int work(const char *branch)
{
	const struct branch_options options = {.lower = &lower, .durable = true};
	struct branch *b;
	struct model m;
	struct err e;

	if (branch_new(branch, &options, &b, &e) < 0)
		return 1;
	model_init(&m);
	for (unsigned i = 1; i <= OPERATIONS; i++) {
		struct op o = op_choose(&m);
		int r = 0;

		if (o.kind != OP_REOPEN)
			r = op_branch(b, &o, &e);
		else if (branch_close(b, &e) < 0 || branch_new(branch, &options, &b, &e) < 0)
			return 2;
		if (r < 0)
			return 3;
		op_model(&m, &o);
		op_release(&o);
		fault_note_path(FAULT_MARK, MARK_DONE, NULL);
		if (i % NAMES_EVERY)
			continue;
		if (branch_fsync_dir(b, BRANCH_ROOT, &e) < 0)
			return 4;
		fault_note_path(FAULT_MARK, MARK_NAMES, NULL);
	}
	model_release(&m);
	return branch_close(b, &e) < 0 ? 5 : 0;
}

static void record(const char *branch, const char *journal)
{
	int status;
	pid_t pid;

	fflush(NULL);
	pid = fork();
	ck_assert_int_ge(pid, 0);
	if (pid == 0) {
		setenv("PGSTRATA_FAULT_JOURNAL", journal, 1);
		_exit(work(branch));
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 0, "status 0x%x", status);
}

/* ---- what has to be there ---- */

/* A file whatever its name is, with what it had after each operation that changed it. */
struct life {
	struct life *next;
	struct past {
		unsigned at; /* operation */
		size_t size;
		uint8_t *bytes;
	} v[OPERATIONS + 1];
	size_t n;
	unsigned named[OPERATIONS + 1];	 /* by operation: the last one up to it that gave the file a name */
	unsigned synced[OPERATIONS + 1]; /* the same: that synced it, or 0 */
};

struct history {
	struct life *lives;
	struct life *names[OPERATIONS + 1][FILES]; /* after each operation */
};

static void live_on(struct life *l, unsigned at, const struct version *now)
{
	uint8_t *copy = malloc(now->size + 1);

	memcpy(copy, now->bytes, now->size);
	l->v[l->n++] = (struct past){at, now->size, copy};
}

static struct life *life_new(struct history *h, unsigned at, const struct version *now)
{
	struct life *l = calloc(1, sizeof(*l));

	l->next = h->lives;
	h->lives = l;
	live_on(l, at, now);
	return l;
}

/* Operation `at` was done. */
static void tell(struct history *h, const struct model *m, const struct op *o, unsigned at)
{
	struct life **was = h->names[at - 1], **now = h->names[at];

	memcpy(now, was, sizeof(h->names[at]));
	for (struct life *l = h->lives; l; l = l->next) {
		l->named[at] = l->named[at - 1];
		l->synced[at] = l->synced[at - 1];
	}
	switch (o->kind) {
	case OP_MAKE:
		now[o->i] = life_new(h, at, m->f[o->i]->now);
		now[o->i]->named[at] = at;
		break;
	case OP_WRITE:
	case OP_TRUNCATE:
	case OP_PUNCH:
		live_on(now[o->i], at, m->f[o->i]->now);
		break;
	case OP_UNLINK:
		now[o->i] = NULL;
		break;
	case OP_RENAME:
		if (o->to == o->i)
			break;
		now[o->to] = was[o->i];
		now[o->i] = NULL;
		now[o->to]->named[at] = at;
		break;
	case OP_SYNC:
	case OP_DATASYNC:
		now[o->i]->synced[at] = at;
		break;
	case OP_REOPEN:
		for (unsigned i = 0; i < FILES; i++)
			if (now[i])
				now[i]->synced[at] = at;
		break;
	}
}

static void history_make(struct history *h)
{
	struct model m;

	model_init(&m);
	for (unsigned i = 0; i < FILES; i++)
		if (m.f[i])
			h->names[0][i] = life_new(h, 0, m.f[i]->now);
	for (unsigned at = 1; at <= OPERATIONS; at++) {
		struct op o = op_choose(&m);

		op_model(&m, &o);
		tell(h, &m, &o, at);
		op_release(&o);
	}
	model_release(&m);
}

static void history_free(struct history *h)
{
	for (struct life *l = h->lives, *next; l; l = next) {
		next = l->next;
		for (size_t i = 0; i < l->n; i++)
			free(l->v[i].bytes);
		free(l);
	}
}

/* What was read of the branch. */
struct found {
	bool there;
	size_t size;
	uint8_t bytes[SIZE_MAX_MODEL];
};

/* Whether that is a state of the file, `done` operations and perhaps one more having been done. */
static bool may_be(const struct life *l, const struct found *f, unsigned done)
{
	size_t from = 0, to = 0;
	bool size = false;

	for (size_t i = 0; i < l->n; i++) {
		if (l->v[i].at <= l->synced[done])
			from = i;
		if (l->v[i].at <= done + 1)
			to = i;
	}
	for (size_t i = from; i <= to; i++)
		size |= l->v[i].size == f->size;
	for (size_t k = 0; size && k < f->size; k++) {
		bool may = false;

		for (size_t i = from; i <= to && !may; i++)
			may = (k < l->v[i].size ? l->v[i].bytes[k] : 0) == f->bytes[k];
		if (!may)
			return false;
	}
	return size;
}

/* Whether the branch is as after operation `at`. *ret_why: the file that is not. */
static bool is_as_after(
	const struct history *h, unsigned at, unsigned done, const struct found *found, unsigned *ret_why)
{
	for (unsigned i = 0; i < FILES; i++) {
		const struct life *l = h->names[at][i];

		*ret_why = i;
		if (found[i].there != (l != NULL) || (l && !may_be(l, &found[i], done)))
			return false;
	}
	return true;
}

/* Before that operation the names cannot be: of what was synced, the name was, too. */
static unsigned oldest(const struct history *h, unsigned done, unsigned names_synced)
{
	unsigned at = names_synced;

	for (const struct life *l = h->lives; l; l = l->next)
		if (l->named[l->synced[done]] > at)
			at = l->named[l->synced[done]];
	return at;
}

/* ---- one state of the disk ---- */

/* How many operations were done, and after how many of these the names were synced. */
static void read_marks(const char *acks, unsigned *ret_done, unsigned *ret_names)
{
	*ret_done = *ret_names = 0;
	for (; acks && *acks; acks = strchr(acks, '\n') + 1) {
		if (*acks == *MARK_DONE)
			++*ret_done;
		else
			*ret_names = *ret_done;
	}
}

static void look(const struct history *h, const char *branch, const char *acks, const char *what)
{
	static struct found found[FILES];
	const struct branch_make make = {.mode = S_IFREG | 0600};
	unsigned done, names, first, why = 0, listed = 0, there = 0;
	struct branch *b = open_branch(branch, true);
	struct branch_open *o;
	struct branch_stat st;
	struct err e = {0};
	bool fits = false;

	read_marks(acks, &done, &names);
	first = oldest(h, done, names);
	for (unsigned i = 0; i < FILES; i++) {
		ck_assert_msg(open_file(b, i, &o, &e) == 0, "%s: f%u: %s", what, i, e.text);
		found[i].there = o != NULL;
		if (!o)
			continue;
		ssize_t got = branch_read(o, 0, found[i].bytes, sizeof(found[i].bytes), &e);

		ck_assert_msg(got >= 0, "%s: f%u: %s", what, i, e.text);
		found[i].size = (size_t)got;
		branch_open_drop(o);
		there++;
	}
	ck_assert_int_eq(branch_list(b, BRANCH_ROOT, 0, count_entry, &listed, &e), 0);
	ck_assert_msg(listed == there, "%s: %u names are listed of %u", what, listed, there);
	for (unsigned at = first; !fits && at <= done + 1 && at <= OPERATIONS; at++)
		fits = is_as_after(h, at, done, found, &why);
	ck_assert_msg(fits, "%s: after %u operations f%u is neither as after operation %u nor any later",
		what, done, why, first);
	/* It goes on. */
	ck_assert_int_eq(branch_make(b, BRANCH_ROOT, "new", &make, &st, &e), 0);
	ck_assert_int_eq(branch_open(b, st.number, &o, &e), 0);
	ck_assert_int_eq(branch_write(o, 8190, "abcde", 5, &e), 0);
	ck_assert_int_eq(branch_fsync(o, &e), 0);
	branch_open_drop(o);
	ck_assert_int_eq(branch_close(b, &e), 0);
	b = open_branch(branch, true);
	ck_assert_int_eq(branch_getattr(b, st.number, &st, &e), 0);
	ck_assert_uint_eq(st.size, 8195);
	ck_assert_int_eq(branch_close(b, &e), 0);
}

static void try_state(const struct history *h, struct disk *d, enum variant how, unsigned step,
	const char *branch, struct tried *tried)
{
	uint64_t seed = check_seed() * 1000003 + step;
	struct state st = {.d = d, .how = how, .rng = seed, .newest = changes, .print = 0xcbf29ce484222325u};
	char what[80];

	snprintf(what, sizeof(what), "power lost after step %u, %s", step, variant_names[how]);
	restore_dir(&st, d->root, branch, true);
	if (d->acks)
		mix(&st, d->acks, strlen(d->acks));
	if (!is_new(tried, st.print))
		return;
	check_rmtree(branch);
	ck_assert(!mkdir(branch, 0700));
	st.rng = seed;
	restore_dir(&st, d->root, branch, false);
	look(h, branch, d->acks, what);
}

/* The second of them cut a file within a block, let it grow and lost the power before the file was synced. */
static const char *const seeds[] = {NULL, "5"};

START_TEST(power_is_lost_after_every_step)
{
	if (seeds[_i])
		setenv("PGSTRATA_SEED", seeds[_i], 1);
	if (access("/dev/shm", W_OK) == 0)
		setenv("TMPDIR", "/dev/shm", 1); /* what a sync means is asked of the record */
	const char *every_text = getenv("PGSTRATA_CRASH_STEP");
	unsigned every = every_text ? (unsigned)atoi(every_text) : PART(3, 20), steps = 0;
	_cleanup_(freep) char *dir = check_tempdir(), *branch = io_join(dir, "branch");
	_cleanup_(freep) char *journal = io_join(dir, "journal");
	_cleanup_(freep) void *p = NULL;
	struct history *h = calloc(1, sizeof(*h));
	struct disk d = {.prefix = branch};
	struct tried tried = {0};
	struct err e = {0};
	size_t n;

	history_make(h);
	record(branch, journal);
	ck_assert_msg(io_read_file(journal, 1u << 30, &p, &n, &e) == 0, "%s", e.text);
	for (size_t at = 0; at < n;) {
		at += happen_next(&d, (uint8_t *)p + at, n - at);
		if ((++steps % every && at < n) || !d.root)
			continue;
		for (unsigned how = 0; how < VARIANTS; how++)
			try_state(h, &d, (enum variant)how, steps, branch, &tried);
	}
	fprintf(stderr, "power: branch, %u operations: %u steps, %zu states\n", OPERATIONS, steps, tried.n);
	ck_assert_uint_ge(steps, OPERATIONS * 2);
	ck_assert_uint_ge(tried.n, steps / every);
	free(tried.v);
	disk_free(&d);
	history_free(h);
	free(h);
	check_rmtree(dir);
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("crash/branch_power");
	TCase *t = tcase_create("all");

	tcase_add_loop_test(t, power_is_lost_after_every_step, 0, sizeof(seeds) / sizeof(*seeds));
	suite_add_tcase(s, t);
	return s;
}

CHECK_MAIN(suite)
