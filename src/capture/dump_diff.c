/* Comparing two dumps' items. See dump_diff.h. */
#include "src/capture/dump_diff.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/clean.h"
#include "src/capture/dump_diff_priv.h"
#include "store/file.h"

#define BLOCK (256u << 10)

CLEANUP_DEFINE(struct file, file_free)

void dump_diff_release(struct dump_diff *d)
{
	for (size_t i = 0; i < d->n; i++) {
		free(d->changes[i].object);
		free(d->changes[i].type);
	}
	free(d->changes);
	*d = (struct dump_diff){0};
}

static int cmp_objects(const struct diff_item *a, const struct diff_item *b)
{
	int r = strcmp(a->database, b->database);

	if (!r)
		r = strcmp(a->schema, b->schema);
	if (!r)
		r = strcmp(a->name, b->name);
	return r ? r : strcmp(a->type, b->type);
}

static int cmp_items(const void *pa, const void *pb)
{
	const struct diff_item *a = pa, *b = pb;
	int r = cmp_objects(a, b);

	if (!r)
		r = (int)a->what - (int)b->what;
	return r ? r : digest_cmp(&a->digest, &b->digest);
}

/* Reading both, from the first byte on: sizes are the same. */
static int compare_bytes(
	struct store *s, const struct content *a, const struct content *b, bool *ret, struct err *e)
{
	_cleanup_(file_freep) struct file *fa = NULL;
	_cleanup_(file_freep) struct file *fb = NULL;
	_cleanup_(freep) uint8_t *block = malloc(2 * BLOCK);
	int r = block ? file_open(s, a, &fa, e) : err_sys(e, -ENOMEM, "comparing dumps");

	if (!r)
		r = file_open(s, b, &fb, e);
	*ret = true;
	for (uint64_t at = 0; !r && *ret && at < a->size;) {
		ssize_t na = file_read(fa, at, block, BLOCK, e);
		ssize_t nb = na < 0 ? na : file_read(fb, at, block + BLOCK, BLOCK, e);

		if (nb < 0)
			return (int)nb;
		*ret = na == nb && !memcmp(block, block + BLOCK, (size_t)na);
		at += (uint64_t)na;
	}
	return r;
}

static int same_files(
	struct store *s, const struct content *a, const struct content *b, bool *ret, struct err *e)
{
	*ret = a->size == b->size;
	if (!*ret || !a->size)
		return 0;
	if (!a->inlined && !b->inlined && a->height == b->height && a->chunk_shift == b->chunk_shift &&
		digest_eq(&a->map, &b->map))
		return 0;
	return compare_bytes(s, a, b, ret, e);
}

/* INSERT commands may be in a file of their own (archives) or in the SQL (plain). */
static int inserts_digest(struct store *s, const struct diff_item *it, struct digest *ret, struct err *e)
{
	if (it->file)
		return diff_inserts_digest(s, &it->file->file, ret, e);
	*ret = it->digest;
	return 0;
}

static int same_data(
	struct store *s, const struct diff_item *a, const struct diff_item *b, bool *ret, struct err *e)
{
	struct digest da, db;
	int r;

	if (a->inserts != b->inserts)
		return err_set(e, -EOPNOTSUPP,
			"%s.%s: its rows are COPY text in one dump and INSERT commands in the other, which "
			"cannot be compared: take both dumps with or without --inserts",
			a->schema, a->name);
	if (a->file && b->file) {
		r = same_files(s, &a->file->file, &b->file->file, ret, e);

		/* Files of commands end in empty lines in some formats. */
		if (r < 0 || *ret || !a->inserts)
			return r;
	}
	r = inserts_digest(s, a, &da, e);
	if (!r)
		r = inserts_digest(s, b, &db, e);
	*ret = !r && digest_eq(&da, &db);
	return r;
}

/* The items of one object: [from, to) of a sorted list, definitions before data. */
struct run {
	const struct diff_item *v;
	size_t n, definitions;
};

static struct run run_at(const struct diff_list *l, size_t i)
{
	struct run r = {.v = l->v + i};

	for (; i + r.n < l->n && !cmp_objects(&r.v[0], &r.v[r.n]); r.n++)
		r.definitions += r.v[r.n].what == DIFF_DEFINITION;
	return r;
}

static int compare_runs(
	struct store *s, const struct run *a, const struct run *b, struct dump_change *ret, struct err *e)
{
	ret->definition = a->definitions != b->definitions;
	for (size_t i = 0; i < a->definitions && !ret->definition; i++)
		ret->definition = !digest_eq(&a->v[i].digest, &b->v[i].digest);
	ret->data = a->n - a->definitions != b->n - b->definitions;
	for (size_t i = a->definitions, j = b->definitions; i < a->n && j < b->n && !ret->data; i++, j++) {
		bool same = false;
		int r = same_data(s, &a->v[i], &b->v[j], &same, e);

		if (r < 0)
			return r;
		ret->data = !same;
	}
	return 0;
}

static char *object_text(const struct diff_item *it)
{
	char *text;

	return asprintf(&text, "%s%s%s%s%s", it->database, *it->database ? ":" : "", it->schema,
		       *it->schema ? "." : "", it->name) < 0
		       ? NULL
		       : text;
}

static int note(struct dump_diff *d, const struct diff_item *it, struct dump_change change, struct err *e)
{
	struct dump_change *more = realloc(d->changes, (d->n + 1) * sizeof(*more));

	if (more) {
		d->changes = more;
		change.object = object_text(it);
		change.type = strdup(it->type);
		d->changes[d->n++] = change;
	}
	return more && change.object && change.type ? 0 : err_sys(e, -ENOMEM, "comparing dumps");
}

static int compare_lists(struct store *s, const struct diff_list *a, const struct diff_list *b,
	struct dump_diff *ret, struct err *e)
{
	size_t i = 0, j = 0;
	int r = 0;

	while (!r && (i < a->n || j < b->n)) {
		struct dump_change change = {0};
		int cmp = i == a->n ? 1 : j == b->n ? -1 : cmp_objects(&a->v[i], &b->v[j]);
		struct run ra = {0}, rb = {0}, one;

		if (cmp <= 0)
			ra = run_at(a, i);
		if (cmp >= 0)
			rb = run_at(b, j);
		one = cmp > 0 ? rb : ra;
		if (cmp) {
			change.how = cmp > 0 ? CHANGE_ADDED : CHANGE_DROPPED;
			change.definition = one.definitions > 0;
			change.data = one.n > one.definitions;
		} else {
			change.how = CHANGE_CHANGED;
			r = compare_runs(s, &ra, &rb, &change, e);
		}
		if (!r && (change.data || change.definition))
			r = note(ret, one.v, change, e);
		i += ra.n;
		j += rb.n;
	}
	return r;
}

static int check_kind(const struct snapshot *snap, struct err *e)
{
	if (snap->kind == SNAPSHOT_DUMP)
		return 0;
	return err_set(e, -EINVAL, "%s is %s, and only dumps of databases can be compared", snap->id,
		snap->kind == SNAPSHOT_BASE ? "a base backup" : "a dump of globals");
}

int capture_dump_diff(struct store *s, const struct snapshot *from, const struct snapshot *to,
	struct dump_diff *ret, struct err *e)
{
	_cleanup_(diff_list_release) struct diff_list a = {0}, b = {0};
	_cleanup_(dump_diff_release) struct dump_diff d = {0};
	int r = check_kind(from, e);

	if (!r)
		r = check_kind(to, e);
	if (!r)
		r = diff_list_read(s, from, &a, e);
	if (!r)
		r = diff_list_read(s, to, &b, e);
	if (r < 0)
		return r;
	if (a.plain != b.plain) {
		bool any_a = diff_list_drop_blobs(&a), any_b = diff_list_drop_blobs(&b);

		d.blobs_left_out = any_a || any_b;
	}
	if (a.n)
		qsort(a.v, a.n, sizeof(*a.v), cmp_items);
	if (b.n)
		qsort(b.v, b.n, sizeof(*b.v), cmp_items);
	r = compare_lists(s, &a, &b, &d, e);
	if (!r) {
		*ret = d;
		d = (struct dump_diff){0};
	}
	return r;
}
