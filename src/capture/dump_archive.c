/* What the archive formats share: streams and their views, texts. See dump_archive.h. */
#include "src/capture/dump_archive.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/clean.h"
#include "src/pg/dump_text.h"

void dump_archive_release(struct dump_archive *a)
{
	for (size_t i = 0; i < a->n_views; i++)
		free(a->views[i].path);
	free(a->views);
	dump_toc_release(&a->toc);
}

static int add_view(struct dump_archive *a, char *path, const struct dump_part *part, struct err *e)
{
	if (a->n_views == a->cap_views) {
		size_t cap = a->cap_views ? 2 * a->cap_views : 64;
		struct dump_view *more = realloc(a->views, cap * sizeof(*more));

		if (!more) {
			free(path);
			return err_sys(e, -ENOMEM, "%s", a->name);
		}
		a->views = more;
		a->cap_views = cap;
	}
	a->views[a->n_views++] = (struct dump_view){path, *part};
	return 0;
}

int dump_archive_view(struct dump_archive *a, char *path, const struct dump_part *part, struct err *e)
{
	int r;

	pthread_mutex_lock(&a->lock);
	r = add_view(a, path, part, e);
	pthread_mutex_unlock(&a->lock);
	return r;
}

/* What a dump's data is made of. */
static void count(struct dump_archive *a, const struct dump_part *part, unsigned tables, unsigned blobs)
{
	pthread_mutex_lock(&a->lock);
	a->data_bytes += rope_size(part->rope);
	a->tables += tables;
	a->blobs += blobs;
	pthread_mutex_unlock(&a->lock);
}

/* One stream and its view; takes path. */
static int take(struct dump_archive *a, char *path, bool rows, dump_read_fn *read, void *arg,
	struct dump_part *ret, struct err *e)
{
	_cleanup_(freep) char *own = path;
	int r;

	if (!path)
		return err_sys(e, -ENOMEM, "%s", a->name);
	r = dump_tree_stream(a->tree, path, rows, read, arg, ret, e);
	if (r < 0)
		return r;
	if (rows && !ret->end_len)
		return err_set(e, -EBADMSG, "%s is damaged: the data of %s does not end as COPY data does",
			a->name, path);
	return dump_archive_view(a, MOVE(own), ret, e);
}

int dump_archive_entry(struct dump_archive *a, const struct dump_entry *en, dump_read_fn *read, void *arg,
	struct dump_part *ret, struct err *e)
{
	struct buf path = {0};
	bool rows = en->copy && *en->copy;
	int r;

	/* Data of another kind has no view, but is data all the same. */
	if (!dump_entry_is_table(en)) {
		r = dump_tree_stream(a->tree, "data", false, read, arg, ret, e);
	} else {
		dump_text_table_path(en->schema, en->tag, rows ? ".copy" : ".sql", &path);
		r = take(a, buf_steal_str(&path), rows, read, arg, ret, e);
	}
	if (!r)
		count(a, ret, dump_entry_is_table(en), 0);
	return r;
}

int dump_archive_blob(struct dump_archive *a, uint32_t oid, dump_read_fn *read, void *arg,
	struct dump_part *ret, struct err *e)
{
	char *path = NULL;
	int r = take(a, asprintf(&path, "blobs/%u", oid) < 0 ? NULL : path, false, read, arg, ret, e);

	if (!r)
		count(a, ret, 0, 1);
	return r;
}

/* Large objects that an entry defines: before 1.16 each has one, then there is a list, one number a line (dumpLO in pg_dump.c). */
static uint64_t blobs_of(const struct dump_entry *en)
{
	uint64_t n = 0;

	if (!strcmp(en->desc, "BLOB"))
		return 1;
	if (strcmp(en->desc, "BLOB METADATA") != 0)
		return 0;
	for (const char *p = en->defn; p && *p; p++)
		n += *p == '\n';
	return n;
}

int dump_archive_check_blobs(const struct dump_archive *a, struct err *e)
{
	uint64_t defined = 0;
	bool data = false;

	for (size_t i = 0; i < a->toc.n; i++) {
		defined += blobs_of(&a->toc.entries[i]);
		data = data || dump_entry_is_blobs(&a->toc.entries[i]);
	}
	if (!data || a->blobs >= defined)
		return 0;
	return err_set(e, -EBADMSG, "%s is not whole: it has the data of %llu of %llu large objects", a->name,
		(unsigned long long)a->blobs, (unsigned long long)defined);
}

static int add_text(
	struct dump_archive *a, const char *path, struct buf *text, struct dump_part *ret, struct err *e)
{
	int r = text->bad ? err_sys(e, -ENOMEM, "%s", path)
			  : dump_tree_bytes(a->tree, path, text->data, text->len, ret, e);

	buf_free(text);
	return r;
}

int dump_archive_texts(struct dump_archive *a, const char *format, struct err *e)
{
	struct buf toc = {0}, schema = {0};
	struct dump_part parts[2];
	int r;

	dump_text_toc(&a->toc, format, &toc);
	dump_text_schema(&a->toc, &schema);
	r = add_text(a, "toc.txt", &toc, &parts[0], e);
	if (r < 0) {
		buf_free(&schema);
		return r;
	}
	r = add_text(a, "schema.sql", &schema, &parts[1], e);
	if (!r)
		r = dump_tree_settle(a->tree, e);
	if (!r)
		r = dump_tree_view(a->tree, "toc.txt", &parts[0], e);
	if (!r)
		r = dump_tree_view(a->tree, "schema.sql", &parts[1], e);
	return r;
}

static int cmp_views(const void *a, const void *b)
{
	const struct dump_view *x = *(const struct dump_view *const *)a,
			       *y = *(const struct dump_view *const *)b;
	int r = strcmp(x->path, y->path);

	return r ? r : (x > y) - (x < y);
}

int dump_archive_views(struct dump_archive *a, struct err *e)
{
	_cleanup_(freep) const struct dump_view **by = calloc(a->n_views + 1, sizeof(*by));
	int r = by ? 0 : err_sys(e, -ENOMEM, "%s", a->name);

	for (size_t i = 0; i < a->n_views && !r; i++)
		by[i] = &a->views[i];
	if (!r)
		qsort(by, a->n_views, sizeof(*by), cmp_views);
	/* With --load-via-partition-root the rows of each partition come as the root's: one file has all of them. */
	for (size_t i = 0; i < a->n_views && !r;) {
		_cleanup_(dump_file_release) struct dump_file f = {0};
		const char *path = by[i]->path;

		for (; i < a->n_views && !strcmp(by[i]->path, path); i++)
			dump_file_part(&f, &by[i]->part, false);
		r = dump_tree_file(a->tree, path, &f, e);
	}
	return r;
}
