/* Branches in tests: what lies below one, a model of what it has to be, and random operations on both.
 *
 * Below is a directory with BELOW files. The model keeps, for each file, every version since it was last synced, so that it
 * can tell what may be there after a kill. An operation is chosen from the model alone: two processes with the same seed
 * choose the same ones.
 *
 * Linked into one program only, hence all static. */
#pragma once

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "fs/branch.h"
#include "src/base/io.h"
#include "tests/unit/check_main.h"

#define FX_UNUSED __attribute__((unused))
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

struct version {
	struct version *older;
	size_t size;
	uint8_t bytes[];
};

/* A file; versions from the newest to the one that was last synced. */
struct model_file {
	struct version *now;
};

struct model {
	struct model_file *f[FILES]; /* by name; NULL: there is none */
	uint64_t rand;
};

static struct version *version_new(size_t size, const struct version *like)
{
	struct version *v = calloc(1, sizeof(*v) + SIZE_MAX_MODEL);

	ck_assert_ptr_nonnull(v);
	v->size = size;
	if (like)
		memcpy(v->bytes, like->bytes, like->size < size ? like->size : size);
	return v;
}

static void versions_free(struct version *v)
{
	while (v) {
		struct version *older = v->older;

		free(v);
		v = older;
	}
}

static void model_file_free(struct model_file *f)
{
	if (f)
		versions_free(f->now);
	free(f);
}

static struct model_file *model_file_new(size_t size)
{
	struct model_file *f = calloc(1, sizeof(*f));

	f->now = version_new(size, NULL);
	return f;
}

/* What is there now is what a kill may leave at least. */
static void model_synced(struct model_file *f)
{
	versions_free(f->now->older);
	f->now->older = NULL;
}

/* A new version of that size, for the caller to write into. */
static struct version *model_change(struct model_file *f, size_t size)
{
	struct version *v = version_new(size, f->now);

	v->older = f->now;
	f->now = v;
	return v;
}

FX_UNUSED static void model_init(struct model *m)
{
	*m = (struct model){.rand = check_seed()};
	for (unsigned i = 0; i < BELOW; i++) {
		m->f[i] = model_file_new(LOWER_SIZE(i));
		for (size_t k = 0; k < m->f[i]->now->size; k++)
			m->f[i]->now->bytes[k] = lower_byte(i, k);
	}
}

FX_UNUSED static void model_release(struct model *m)
{
	for (unsigned i = 0; i < FILES; i++)
		model_file_free(m->f[i]);
}

/* ---- operations ---- */

struct op {
	enum {
		OP_MAKE,
		OP_WRITE,
		OP_TRUNCATE,
		OP_PUNCH,
		OP_UNLINK,
		OP_RENAME,
		OP_SYNC,
		OP_DATASYNC,
		OP_REOPEN
	} kind;
	unsigned i, to;
	uint64_t off;
	size_t n;
	uint8_t *p; /* of a write: n bytes, from op_choose; NULL: zeroes */
};

FX_UNUSED static void op_release(struct op *o)
{
	free(o->p);
}

FX_UNUSED static struct op op_choose(struct model *m)
{
	uint64_t *r = &m->rand;
	struct op o = {.i = (unsigned)check_rand_below(r, FILES)};
	unsigned kind = (unsigned)check_rand_below(r, 40);

	if (kind == 39) {
		o.kind = OP_REOPEN;
	} else if (!m->f[o.i]) {
		o.kind = OP_MAKE;
	} else if (kind < 18) {
		o.kind = OP_WRITE;
		o.n = 1 + check_rand_below(r, check_rand_below(r, 3) ? 9000 : 39999);
		o.off = check_rand_below(r, SIZE_MAX_MODEL - o.n);
		if (check_rand_below(r, 3) == 0)
			o.off = o.off / BRANCH_BLOCK * BRANCH_BLOCK;
		if (check_rand_below(r, 6)) {
			o.p = malloc(o.n);
			check_rand_fill(r, o.p, o.n);
		}
	} else if (kind < 23) {
		o.kind = OP_TRUNCATE;
		o.n = check_rand_below(r, SIZE_MAX_MODEL);
	} else if (kind < 26) {
		o.kind = OP_PUNCH;
		o.off = check_rand_below(r, SIZE_MAX_MODEL);
		o.n = 1 + check_rand_below(r, 30000);
	} else if (kind < 29) {
		o.kind = OP_UNLINK;
	} else if (kind < 32) {
		o.kind = OP_RENAME;
		o.to = (unsigned)check_rand_below(r, FILES);
	} else {
		o.kind = kind < 37 ? OP_SYNC : OP_DATASYNC;
	}
	return o;
}

FX_UNUSED static void op_model(struct model *m, const struct op *o)
{
	struct model_file *f = m->f[o->i];
	size_t was = f ? f->now->size : 0, end = (size_t)o->off + o->n;
	struct version *v;

	switch (o->kind) {
	case OP_MAKE:
		m->f[o->i] = model_file_new(0);
		break;
	case OP_WRITE:
		v = model_change(f, end > was ? end : was);
		if (o->p)
			memcpy(v->bytes + o->off, o->p, o->n);
		else
			memset(v->bytes + o->off, 0, o->n);
		break;
	case OP_TRUNCATE:
		model_change(f, o->n);
		break;
	case OP_PUNCH:
		v = model_change(f, was);
		if (o->off < was)
			memset(v->bytes + o->off, 0, (end < was ? end : was) - o->off);
		break;
	case OP_UNLINK:
		model_file_free(f);
		m->f[o->i] = NULL;
		break;
	case OP_RENAME:
		if (o->to == o->i)
			break;
		model_file_free(m->f[o->to]);
		m->f[o->to] = f;
		m->f[o->i] = NULL;
		break;
	case OP_SYNC:
	case OP_DATASYNC:
		model_synced(f);
		break;
	case OP_REOPEN:
		for (unsigned i = 0; i < FILES; i++)
			if (m->f[i])
				model_synced(m->f[i]);
		break;
	}
}

static const char *name_of(unsigned i, char name[8])
{
	snprintf(name, 8, "f%u", i);
	return name;
}

/* 0 with *ret NULL: there is no such name. */
static int open_file(struct branch *b, unsigned i, struct branch_open **ret, struct err *e)
{
	struct branch_stat st;
	char name[8];
	int r = branch_lookup(b, BRANCH_ROOT, name_of(i, name), &st, e);

	*ret = NULL;
	return r < 0 ? r == -ENOENT ? 0 : r : branch_open(b, st.number, ret, e);
}

static int do_truncate(struct branch *b, const struct op *o, struct err *e)
{
	const struct branch_change c = {.set_size = true, .size = o->n};
	struct branch_stat st;
	char name[8];
	int r = branch_lookup(b, BRANCH_ROOT, name_of(o->i, name), &st, e);

	return r < 0 ? r : branch_setattr(b, st.number, &c, &st, e);
}

/* Takes a name away, as the kernel does: when nobody has the file any more, it is forgotten. */
static int do_unlink(struct branch *b, const struct op *o, struct err *e)
{
	struct branch_stat st;
	char name[8];
	int r = branch_lookup(b, BRANCH_ROOT, name_of(o->i, name), &st, e);

	if (r >= 0)
		r = branch_unlink(b, BRANCH_ROOT, name, false, e);
	if (r >= 0)
		branch_forget(b, st.number);
	return r;
}

static int do_rename(struct branch *b, const struct op *o, struct err *e)
{
	struct branch_stat st;
	char from[8], to[8];
	bool replaced = branch_lookup(b, BRANCH_ROOT, name_of(o->to, to), &st, NULL) == 0;
	int r = branch_rename(b, BRANCH_ROOT, name_of(o->i, from), BRANCH_ROOT, to, false, e);

	if (r >= 0 && replaced && o->to != o->i)
		branch_forget(b, st.number);
	return r;
}

static int do_open_file(struct branch *b, const struct op *o, struct err *e)
{
	static const uint8_t zero[SIZE_MAX_MODEL];
	struct branch_open *f;
	int r = open_file(b, o->i, &f, e);

	ck_assert(r < 0 || f);
	if (r < 0)
		return r;
	switch (o->kind) {
	case OP_WRITE:
		r = branch_write(f, o->off, o->p ? o->p : zero, o->n, e);
		break;
	case OP_PUNCH:
		r = branch_allocate(f, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, o->off, o->n, e);
		break;
	case OP_SYNC:
		r = branch_fsync(f, e);
		break;
	default:
		r = branch_fdatasync(f, e);
	}
	branch_open_drop(f);
	return r;
}

/* All but OP_REOPEN. */
FX_UNUSED static int op_branch(struct branch *b, const struct op *o, struct err *e)
{
	const struct branch_make m = {.mode = S_IFREG | 0600};
	struct branch_stat st;
	char name[8];

	switch (o->kind) {
	case OP_MAKE:
		return branch_make(b, BRANCH_ROOT, name_of(o->i, name), &m, &st, e);
	case OP_TRUNCATE:
		return do_truncate(b, o, e);
	case OP_UNLINK:
		return do_unlink(b, o, e);
	case OP_RENAME:
		return do_rename(b, o, e);
	case OP_WRITE:
	case OP_PUNCH:
	case OP_SYNC:
	case OP_DATASYNC:
		return do_open_file(b, o, e);
	case OP_REOPEN:
		break;
	}
	return -EINVAL;
}

/* ---- comparing ---- */

FX_UNUSED static struct branch *open_branch_max(const char *path, bool durable, uint64_t max)
{
	const struct branch_options o = {.lower = &lower, .durable = durable, .max_bytes = max};
	struct branch *b = NULL;
	struct err e = {0};
	int r = branch_new(path, &o, &b, &e);

	ck_assert_msg(r == 0, "%s: %s", path, e.text);
	return b;
}

FX_UNUSED static struct branch *open_branch(const char *path, bool durable)
{
	return open_branch_max(path, durable, 0);
}

/* A kill leaves one of the sizes since the last sync, and for each byte one of its values since then; zero counts where
 * the file was once shorter. *ret_why has room for 120 bytes. */
static bool is_possible(const struct model_file *f, const uint8_t *got, size_t size, char *ret_why)
{
	bool known = false;

	for (const struct version *v = f->now; v; v = v->older)
		known |= v->size == size;
	for (size_t k = 0; known && k < size; k++) {
		bool may = false;

		for (const struct version *v = f->now; v && !may; v = v->older)
			may = k < v->size ? v->bytes[k] == got[k] : !got[k];
		if (!may) {
			snprintf(ret_why, 120, "byte %zu of %zu is %u, not %u", k, size, got[k],
				f->now->bytes[k]);
			return false;
		}
	}
	if (!known)
		snprintf(ret_why, 120, "%zu bytes, not %zu", size, f->now->size);
	return known;
}

static int count_entry(void *arg, const char *name, uint64_t next, const struct branch_stat *st)
{
	(void)name, (void)next, (void)st;
	++*(unsigned *)arg;
	return 0;
}

/* Whether the branch is what the model says: as it is now, or (`killed`) as a kill may leave it. ret_why: 200 bytes. */
FX_UNUSED static bool is_like(struct branch *b, const struct model *m, bool killed, char *ret_why)
{
	static uint8_t got[SIZE_MAX_MODEL + 1];
	unsigned listed = 0, there = 0;
	struct err e = {0};
	char why[120] = "";

	for (unsigned i = 0; i < FILES; i++) {
		const struct version *v = m->f[i] ? m->f[i]->now : NULL;
		struct branch_open *o;
		ssize_t n = 0;
		int r = open_file(b, i, &o, &e);

		if (o)
			n = branch_read(o, 0, got, sizeof(got), &e);
		branch_open_drop(o);
		there += v != NULL;
		if (r < 0 || n < 0)
			snprintf(why, sizeof(why), "%.110s", e.text);
		else if ((o != NULL) != (v != NULL))
			snprintf(why, sizeof(why), "%s", o ? "is there" : "is not there");
		else if (o && killed)
			is_possible(m->f[i], got, (size_t)n, why);
		else if (o && (size_t)n != v->size)
			snprintf(why, sizeof(why), "%zd bytes, not %zu", n, v->size);
		else if (o && memcmp(got, v->bytes, v->size) != 0)
			snprintf(why, sizeof(why), "other bytes");
		if (*why) {
			snprintf(ret_why, 200, "f%u: %s", i, why);
			return false;
		}
	}
	ck_assert_int_eq(branch_list(b, BRANCH_ROOT, 0, count_entry, &listed, &e), 0);
	snprintf(ret_why, 200, "%u names are listed, not %u", listed, there);
	return listed == there;
}
