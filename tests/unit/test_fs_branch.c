/* A branch against a model in memory: random operations, and the same tree again after each way of ending: closed, killed
 * (the directory is copied while it is open), with the journal cut at every byte of its end, and damaged. */
#include "tests/unit/check_main.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "fs/branch.h"
#include "fs/branch_log.h"
#include "src/base/io.h"

#define FILES 12
#define BELOW 4 /* of them are in the backup: f0 to f3 */
#define SIZE_MAX_MODEL 120000u
#define LOWER_SIZE(i) (10000u + 17000u * (unsigned)(i))

/* ---- what lies below: a directory with BELOW files; byte at `off` of file i is a function of both ---- */

static uint8_t lower_byte(unsigned i, uint64_t off)
{
	return (uint8_t)((off * 7 + off / 251 + i * 31) | 1);
}

static struct branch_stat lower_stat_of(uint64_t number)
{
	struct branch_stat st = {.number = number, .mode = S_IFREG | 0600, .nlink = 1, .parent = BRANCH_ROOT};

	st.mtime.sec = 1000;
	if (number == BRANCH_ROOT) {
		st.mode = S_IFDIR | 0700;
		st.nlink = 2;
	} else {
		st.size = LOWER_SIZE(number - 16);
	}
	return st;
}

static int lower_stat(void *arg, uint64_t number, struct branch_stat *ret, struct err *e)
{
	(void)arg;
	if (number != BRANCH_ROOT && (number < 16 || number >= 16 + BELOW))
		return err_set(e, -ESTALE, "no number");
	*ret = lower_stat_of(number);
	return 0;
}

static int lower_lookup(void *arg, uint64_t dir, const char *name, struct branch_stat *ret, struct err *e)
{
	(void)arg;
	if (dir == BRANCH_ROOT && name[0] == 'f' && name[1] >= '0' && name[1] < '0' + BELOW && !name[2]) {
		*ret = lower_stat_of(16 + (uint64_t)(name[1] - '0'));
		return 0;
	}
	return err_set(e, -ENOENT, "no name");
}

static int lower_list(
	void *arg, uint64_t dir, uint64_t position, branch_list_fn *fn, void *fn_arg, struct err *e)
{
	(void)arg, (void)e;
	for (uint64_t i = position; dir == BRANCH_ROOT && i < BELOW; i++) {
		char name[3] = {'f', (char)('0' + i), 0};
		struct branch_stat st = lower_stat_of(16 + i);
		int r = fn(fn_arg, name, i + 1, &st);

		if (r)
			return r;
	}
	return 0;
}

static int lower_target(void *arg, uint64_t number, char **ret, struct err *e)
{
	(void)arg, (void)number, (void)ret;
	return err_set(e, -EINVAL, "no link");
}

static int lower_open(void *arg, uint64_t number, void **ret, struct err *e)
{
	uint64_t *p = malloc(sizeof(*p));

	(void)arg, (void)e;
	*p = number;
	*ret = p;
	return 0;
}

static ssize_t lower_read(void *file, uint64_t off, void *p, size_t n, struct err *e)
{
	unsigned i = (unsigned)(*(uint64_t *)file - 16);
	size_t k;

	(void)e;
	for (k = 0; k < n && off + k < LOWER_SIZE(i); k++)
		((uint8_t *)p)[k] = lower_byte(i, off + k);
	return (ssize_t)k;
}

static const struct branch_lower lower = {
	.stat = lower_stat,
	.lookup = lower_lookup,
	.list = lower_list,
	.target = lower_target,
	.open = lower_open,
	.read = lower_read,
	.close = free,
};

/* ---- the model ---- */

struct model_file {
	bool there;
	size_t size;
	uint8_t bytes[SIZE_MAX_MODEL];
};

struct world {
	char *dir, *path;
	struct branch *b;
	bool durable;
	uint64_t rand;
	unsigned copies;
	struct model_file f[FILES];
};

static struct branch *open_branch(const char *path, bool durable)
{
	const struct branch_options o = {.lower = &lower, .durable = durable};
	struct branch *b = NULL;
	struct err e = {0};
	int r = branch_new(path, &o, &b, &e);

	ck_assert_msg(r == 0, "%s: %s", path, e.text);
	return b;
}

static struct world *world_new(bool durable)
{
	struct world *w = calloc(1, sizeof(*w));

	w->dir = check_tempdir();
	ck_assert(asprintf(&w->path, "%s/branch", w->dir) > 0);
	w->durable = durable;
	w->rand = check_seed();
	for (unsigned i = 0; i < BELOW; i++) {
		w->f[i].there = true;
		w->f[i].size = LOWER_SIZE(i);
		for (size_t k = 0; k < w->f[i].size; k++)
			w->f[i].bytes[k] = lower_byte(i, k);
	}
	w->b = open_branch(w->path, durable);
	return w;
}

static void world_free(struct world *w)
{
	ck_assert_int_eq(branch_close(w->b, NULL), 0);
	check_rmtree(w->dir);
	free(w->dir);
	free(w->path);
	free(w);
}

static const char *name_of(unsigned i, char name[8])
{
	snprintf(name, 8, "f%u", i);
	return name;
}

static struct branch_open *open_file(struct branch *b, unsigned i)
{
	struct branch_stat st;
	struct branch_open *o;
	char name[8];
	struct err e = {0};
	int r = branch_lookup(b, BRANCH_ROOT, name_of(i, name), &st, &e);

	ck_assert_msg(r == 0, "%s: %s", name, e.text);
	ck_assert_int_eq(branch_open(b, st.number, &o, &e), 0);
	return o;
}

static int count_entry(void *arg, const char *name, uint64_t next, const struct branch_stat *st)
{
	(void)name, (void)next, (void)st;
	++*(unsigned *)arg;
	return 0;
}

/* The branch is what the model says. */
static void compare(struct world *w, struct branch *b)
{
	static uint8_t got[SIZE_MAX_MODEL + 1];
	unsigned listed = 0, there = 0;
	struct branch_stat st;
	struct err e = {0};
	char name[8];

	for (unsigned i = 0; i < FILES; i++) {
		int r = branch_lookup(b, BRANCH_ROOT, name_of(i, name), &st, &e);
		struct branch_open *o;

		ck_assert_msg(r == (w->f[i].there ? 0 : -ENOENT), "%s: %d %s", name, r, e.text);
		if (!w->f[i].there)
			continue;
		there++;
		ck_assert_uint_eq(st.size, w->f[i].size);
		o = open_file(b, i);
		r = (int)branch_read(o, 0, got, sizeof(got), &e);
		ck_assert_msg(
			r == (int)w->f[i].size, "%s: %d instead of %zu, %s", name, r, w->f[i].size, e.text);
		if (memcmp(got, w->f[i].bytes, w->f[i].size) != 0) {
			size_t k = 0;

			while (got[k] == w->f[i].bytes[k])
				k++;
			ck_abort_msg("%s of %zu: byte %zu", name, w->f[i].size, k);
		}
		branch_open_drop(o);
	}
	ck_assert_int_eq(branch_list(b, BRANCH_ROOT, 0, count_entry, &listed, &e), 0);
	ck_assert_uint_eq(listed, there);
}

static void resize_model(struct model_file *f, size_t size)
{
	if (size > f->size)
		memset(f->bytes + f->size, 0, size - f->size);
	f->size = size;
}

static void do_write(struct world *w, unsigned i)
{
	static uint8_t p[40000];
	size_t n = 1 + check_rand_below(&w->rand, check_rand_below(&w->rand, 3) ? 9000 : sizeof(p) - 1);
	uint64_t off = check_rand_below(&w->rand, SIZE_MAX_MODEL - n);
	struct branch_open *o = open_file(w->b, i);
	struct err e = {0};
	int r;

	if (check_rand_below(&w->rand, 3) == 0)
		off = off / BRANCH_BLOCK * BRANCH_BLOCK;
	if (check_rand_below(&w->rand, 6))
		check_rand_fill(&w->rand, p, n);
	else
		memset(p, 0, n);
	r = branch_write(o, off, p, n, &e);
	ck_assert_msg(r == 0, "%s", e.text);
	branch_open_drop(o);
	if (off + n > w->f[i].size)
		resize_model(&w->f[i], off + n);
	memcpy(w->f[i].bytes + off, p, n);
}

static void do_truncate(struct world *w, unsigned i)
{
	struct branch_open *o = open_file(w->b, i);
	size_t size = check_rand_below(&w->rand, SIZE_MAX_MODEL);
	struct branch_change c = {.set_size = true, .size = size};
	struct branch_stat st;
	char name[8];

	ck_assert_int_eq(branch_lookup(w->b, BRANCH_ROOT, name_of(i, name), &st, NULL), 0);
	ck_assert_int_eq(branch_setattr(w->b, st.number, &c, &st, NULL), 0);
	ck_assert_uint_eq(st.size, size);
	branch_open_drop(o);
	resize_model(&w->f[i], size);
}

static void do_punch(struct world *w, unsigned i)
{
	uint64_t off = check_rand_below(&w->rand, SIZE_MAX_MODEL),
		 len = 1 + check_rand_below(&w->rand, 30000);
	struct branch_open *o = open_file(w->b, i);

	ck_assert_int_eq(branch_allocate(o, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, off, len, NULL), 0);
	branch_open_drop(o);
	for (uint64_t k = off; k < off + len && k < w->f[i].size; k++)
		w->f[i].bytes[k] = 0;
}

static void do_make(struct world *w, unsigned i)
{
	const struct branch_make m = {.mode = S_IFREG | 0600};
	struct branch_stat st;
	char name[8];

	ck_assert_int_eq(branch_make(w->b, BRANCH_ROOT, name_of(i, name), &m, &st, NULL), 0);
	ck_assert_int_eq(branch_make(w->b, BRANCH_ROOT, name, &m, &st, NULL), -EEXIST);
	w->f[i].there = true;
	w->f[i].size = 0;
}

static void do_unlink(struct world *w, unsigned i)
{
	struct branch_stat st;
	char name[8];

	ck_assert_int_eq(branch_lookup(w->b, BRANCH_ROOT, name_of(i, name), &st, NULL), 0);
	ck_assert_int_eq(branch_unlink(w->b, BRANCH_ROOT, name, false, NULL), 0);
	branch_forget(w->b, st.number);
	w->f[i].there = false;
}

static void do_rename(struct world *w, unsigned i, unsigned to)
{
	struct branch_stat st = {0};
	char a[8], b[8];
	bool replaced = w->f[to].there;

	if (i == to)
		return;
	if (replaced)
		ck_assert_int_eq(branch_lookup(w->b, BRANCH_ROOT, name_of(to, b), &st, NULL), 0);
	ck_assert_int_eq(
		branch_rename(w->b, BRANCH_ROOT, name_of(i, a), BRANCH_ROOT, name_of(to, b), false, NULL), 0);
	if (replaced)
		branch_forget(w->b, st.number);
	memcpy(&w->f[to], &w->f[i], sizeof(w->f[to]));
	w->f[i].there = false;
}

static void sync_files(struct world *w)
{
	for (unsigned i = 0; i < FILES; i++) {
		struct branch_open *o;

		if (!w->f[i].there)
			continue;
		o = open_file(w->b, i);
		ck_assert_int_eq(branch_fsync(o, NULL), 0);
		branch_open_drop(o);
	}
}

/* What a killed process leaves. */
static void check_killed(struct world *w)
{
	char *copy, *command;
	struct branch *b;

	if (w->durable)
		sync_files(w);
	ck_assert(asprintf(&copy, "%s/copy%u", w->dir, w->copies++) > 0);
	ck_assert(asprintf(&command, "cp -a '%s' '%s'", w->path, copy) > 0);
	ck_assert_int_eq(system(command), 0);
	b = open_branch(copy, w->durable);
	compare(w, b);
	ck_assert_int_eq(branch_close(b, NULL), 0);
	check_rmtree(copy);
	free(copy);
	free(command);
}

static void step(struct world *w)
{
	unsigned i = (unsigned)check_rand_below(&w->rand, FILES),
		 op = (unsigned)check_rand_below(&w->rand, 16);

	if (!w->f[i].there)
		do_make(w, i);
	else if (op < 9)
		do_write(w, i);
	else if (op < 11)
		do_truncate(w, i);
	else if (op < 12)
		do_punch(w, i);
	else if (op < 13)
		do_unlink(w, i);
	else
		do_rename(w, i, (unsigned)check_rand_below(&w->rand, FILES));
}

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define STEPS 1000
#else
#define STEPS 3000
#endif

START_TEST(random_operations_and_reopening)
{
	struct world *w = world_new(_i == 1);

	for (unsigned i = 1; i <= STEPS; i++) {
		step(w);
		if (i % 50 == 0)
			compare(w, w->b);
		if (i % 200 == 0)
			check_killed(w);
		if (i % 130 == 0) {
			ck_assert_int_eq(branch_close(w->b, NULL), 0);
			w->b = open_branch(w->path, w->durable);
			compare(w, w->b);
		}
	}
	world_free(w);
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("fs_branch");
	TCase *c = tcase_create("model");

	tcase_set_timeout(c, 240);
	tcase_add_loop_test(c, random_operations_and_reopening, 0, 2);
	suite_add_tcase(s, c);
	return s;
}

CHECK_MAIN(suite)
