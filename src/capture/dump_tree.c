/* Streams into ropes, ropes into files, files into a snapshot. See dump_tree.h. */
#include "src/capture/dump_tree.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "src/base/clean.h"
#include "src/capture/replication.h"
#include "store/rope.h"

#define BLOCK (256u << 10)
#define COPY_END "\\.\n\n\n"
#define COPY_END_LEN 5

struct dump_tree {
	struct ingest *ingest;
	struct tstamp time;
	const volatile sig_atomic_t *stop;
};

int dump_tree_new(struct store *s, const char *cluster, enum snapshot_kind kind,
	const struct dump_tree_options *o, struct dump_tree **ret, struct err *e)
{
	const struct ingest_options io = {.threads = o->threads,
		.parent_key = o->database ? "database" : NULL,
		.parent_text = o->database};
	struct dump_tree *t = calloc(1, sizeof(*t));
	int r;

	if (!t)
		return err_sys(e, -ENOMEM, "taking a dump in");
	t->time = o->time;
	t->stop = o->stop;
	r = ingest_new(s, cluster, kind, &io, &t->ingest, e);
	if (r < 0) {
		dump_tree_free(t);
		return r;
	}
	*ret = t;
	return 0;
}

void dump_tree_free(struct dump_tree *t)
{
	if (!t)
		return;
	ingest_free(t->ingest);
	free(t);
}

static int stopped(const struct dump_tree *t, struct err *e)
{
	return replication_stopped(t->stop) ? err_set(e, -EINTR, "stopped: the dump is not kept") : 0;
}

/* Reads on behind the last bytes, which are held back as long as they could be the end of COPY text. */
static int pump(struct dump_tree *t, struct ingest_cut *c, bool rows, dump_read_fn *read, void *arg,
	struct dump_part *ret, struct err *e)
{
	_cleanup_(freep) uint8_t *block = malloc(BLOCK + COPY_END_LEN);
	size_t held = 0;

	if (!block)
		return err_sys(e, -ENOMEM, "taking a dump in");
	for (;;) {
		ssize_t n = read(arg, block + held, BLOCK, e);
		size_t have = held + (n > 0 ? (size_t)n : 0), keep = 0;
		int r = n < 0 ? (int)n : stopped(t, e);

		if (r < 0)
			return r;
		if (n && rows)
			keep = have < COPY_END_LEN ? have : COPY_END_LEN;
		if (!n && rows && held == COPY_END_LEN && !memcmp(block, COPY_END, COPY_END_LEN)) {
			memcpy(ret->end, COPY_END, COPY_END_LEN);
			ret->end_len = COPY_END_LEN;
			return 0;
		}
		r = ingest_cut_write(c, block, have - keep, e);
		if (r < 0 || !n)
			return r;
		memmove(block, block + have - keep, keep);
		held = keep;
	}
}

int dump_tree_stream(struct dump_tree *t, const char *path, bool rows, dump_read_fn *read, void *arg,
	struct dump_part *ret, struct err *e)
{
	struct dump_part part = {0};
	struct ingest_cut *c;
	int r = ingest_cut_open(t->ingest, path, &c, e), closed;

	if (r < 0)
		return r;
	r = pump(t, c, rows, read, arg, &part, e);
	closed = ingest_cut_close(c, &part.rope, r < 0 ? NULL : e);
	if (r < 0 || closed < 0)
		return r < 0 ? r : closed;
	*ret = part;
	return 0;
}

int dump_tree_bytes(
	struct dump_tree *t, const char *path, const void *p, size_t n, struct dump_part *ret, struct err *e)
{
	struct dump_memory m = {p, n};

	return dump_tree_stream(t, path, false, dump_read_memory, &m, ret, e);
}

int dump_tree_cut(struct dump_tree *t, const char *path, struct ingest_cut **ret, struct err *e)
{
	return ingest_cut_open(t->ingest, path, ret, e);
}

static struct rope_part *new_part(struct dump_file *f)
{
	if (f->n == f->cap) {
		size_t cap = f->cap ? 2 * f->cap : 16;
		struct rope_part *more = realloc(f->parts, cap * sizeof(*more));

		if (!more) {
			f->literal.bad = true;
			return NULL;
		}
		f->parts = more;
		f->cap = cap;
	}
	f->parts[f->n] = (struct rope_part){0};
	return &f->parts[f->n++];
}

/* The bytes that are no part yet; their place is known only at the end, so it is kept in `first` until then. */
static void end_literal(struct dump_file *f)
{
	while (f->from < f->literal.len) {
		size_t n = f->literal.len - f->from;
		struct rope_part *p = new_part(f);

		if (!p)
			return;
		p->len = n < ROPE_LITERAL_MAX ? n : ROPE_LITERAL_MAX;
		p->first = f->from;
		f->from += p->len;
	}
}

void dump_file_literal(struct dump_file *f, const void *p, size_t n)
{
	buf_put(&f->literal, p, n);
	f->size += n;
}

void dump_file_rope(struct dump_file *f, const struct rope *r, size_t first, size_t n)
{
	struct rope_part *p;

	end_literal(f);
	p = new_part(f);
	if (!p)
		return;
	p->rope = r;
	p->first = first;
	p->n = n;
	for (size_t i = first; i < first + n; i++)
		f->size += rope_part_len(r, i);
}

void dump_file_part(struct dump_file *f, const struct dump_part *p, bool end)
{
	size_t n = 0;

	while (rope_part_len(p->rope, n))
		n++;
	if (n)
		dump_file_rope(f, p->rope, 0, n);
	if (end)
		dump_file_literal(f, p->end, p->end_len);
}

void dump_file_release(struct dump_file *f)
{
	free(f->parts);
	buf_free(&f->literal);
	*f = (struct dump_file){0};
}

int dump_tree_settle(struct dump_tree *t, struct err *e)
{
	return ingest_drain(t->ingest, e);
}

int dump_tree_file(struct dump_tree *t, const char *path, struct dump_file *f, struct err *e)
{
	const struct meta m = {
		.mode = 0600, .uid = geteuid(), .gid = getegid(), .user = "", .group = "", .mtime = t->time};

	int r = stopped(t, e);

	if (r < 0)
		return r;
	end_literal(f);
	if (f->literal.bad)
		return err_sys(e, -ENOMEM, "%s", path);
	for (size_t i = 0; i < f->n; i++)
		if (!f->parts[i].rope)
			f->parts[i].literal = f->literal.data + f->parts[i].first;
	return ingest_compose(t->ingest, path, &m, f->parts, f->n, e);
}

int dump_tree_view(struct dump_tree *t, const char *path, const struct dump_part *p, struct err *e)
{
	struct dump_file f = {0};
	int r;

	dump_file_part(&f, p, false);
	r = dump_tree_file(t, path, &f, e);
	dump_file_release(&f);
	return r;
}

int dump_tree_publish(struct dump_tree *t, struct snapshot *snap, struct err *e)
{
	snap->start = snap->stop = t->time;
	return ingest_publish(t->ingest, snap, e);
}
