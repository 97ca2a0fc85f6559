/* The external merge sort of a tree's entries. See sorter.h.
 *
 * In memory and in the spill file an entry is: u32 path length with NUL, u32 data length, path, NUL, data.
 * Memory keeps an arena of them and an array of offsets that is sorted; a spilled stretch is the same entries
 * in order. */
#include "store/sorter.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/buf.h"
#include "src/base/clean.h"
#include "src/base/io.h"

#define HEAD 8
#define READ_AHEAD (64u << 10)

/* A sorted stretch: in the file, or (the last one) in memory. */
struct stretch {
	uint64_t pos, end; /* what of it was not read yet; file offsets */
	struct buf window; /* bytes read ahead */
	size_t at;	   /* the current entry in the window */
	size_t index;	   /* in memory: place in `order` */
	bool in_memory, done;
};

struct sorter {
	char *dir;
	size_t memory;
	struct newfile spill;
	uint64_t spilled;
	struct buf arena;
	size_t *order;
	size_t n, cap;
	struct stretch *stretches;
	size_t n_stretches;
	struct stretch *last; /* whose current entry was given out */
};

int sorter_path_cmp(const char *a, const char *b)
{
	const unsigned char *x = (const unsigned char *)a, *y = (const unsigned char *)b;

	while (*x && *x == *y) {
		x++;
		y++;
	}
	/* The end, then '/', then all other bytes. */
	int kx = !*x ? 0 : *x == '/' ? 1 : *x + 1, ky = !*y ? 0 : *y == '/' ? 1 : *y + 1;

	return kx - ky;
}

int sorter_new(const char *dir, size_t memory, struct sorter **ret, struct err *e)
{
	struct sorter *s = calloc(1, sizeof(*s));

	if (!s || !(s->dir = strdup(dir))) {
		free(s);
		return err_sys(e, -ENOMEM, "sorting a tree");
	}
	s->memory = memory;
	s->spill = NEWFILE_NONE;
	*ret = s;
	return 0;
}

void sorter_free(struct sorter *s)
{
	if (!s)
		return;
	for (size_t i = 0; i < s->n_stretches; i++)
		buf_free(&s->stretches[i].window);
	free(s->stretches);
	newfile_close(&s->spill);
	buf_free(&s->arena);
	free(s->order);
	free(s->dir);
	free(s);
}

static uint32_t get32(const uint8_t *p)
{
	return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static size_t entry_size(const uint8_t *p)
{
	return HEAD + (size_t)get32(p) + get32(p + 4);
}

static int by_path(const void *a, const void *b, void *arena)
{
	const uint8_t *base = arena;

	return sorter_path_cmp((const char *)base + *(const size_t *)a + HEAD,
		(const char *)base + *(const size_t *)b + HEAD);
}

static void sort_memory(struct sorter *s)
{
	if (s->n)
		qsort_r(s->order, s->n, sizeof(*s->order), by_path, s->arena.data);
}

static struct stretch *new_stretch(struct sorter *s, struct err *e)
{
	struct stretch *more = reallocarray(s->stretches, s->n_stretches + 1, sizeof(*more));

	if (!more) {
		err_sys(e, -ENOMEM, "sorting a tree");
		return NULL;
	}
	s->stretches = more;
	more[s->n_stretches] = (struct stretch){0};
	return &more[s->n_stretches++];
}

static int spill(struct sorter *s, struct err *e)
{
	_cleanup_(buf_free) struct buf out = {0};
	struct stretch *st;
	int r;

	if (s->spill.fd < 0) {
		r = newfile_open(s->dir, 0600, &s->spill, e);
		if (r < 0)
			return r;
	}
	st = new_stretch(s, e);
	if (!st)
		return -ENOMEM;
	st->pos = s->spilled;
	sort_memory(s);
	for (size_t i = 0; i < s->n; i++) {
		const uint8_t *p = s->arena.data + s->order[i];

		buf_put(&out, p, entry_size(p));
		if (out.len >= READ_AHEAD || i + 1 == s->n) {
			r = out.bad ? err_sys(e, -ENOMEM, "sorting a tree")
				    : newfile_write(&s->spill, out.data, out.len, e);
			if (r < 0)
				return r;
			s->spilled += out.len;
			buf_clear(&out);
		}
	}
	st->end = s->spilled;
	buf_clear(&s->arena);
	s->n = 0;
	return 0;
}

int sorter_add(struct sorter *s, const char *path, const void *data, size_t n, struct err *e)
{
	size_t len = strlen(path) + 1;

	if (s->n && s->arena.len + s->n * sizeof(*s->order) + len + n > s->memory) {
		int r = spill(s, e);

		if (r < 0)
			return r;
	}
	if (s->n == s->cap) {
		size_t cap = s->cap ? 2 * s->cap : 1024;
		size_t *more = reallocarray(s->order, cap, sizeof(*more));

		if (!more)
			return err_sys(e, -ENOMEM, "sorting a tree");
		s->order = more;
		s->cap = cap;
	}
	s->order[s->n++] = s->arena.len;
	buf_put_u32(&s->arena, (uint32_t)len);
	buf_put_u32(&s->arena, (uint32_t)n);
	buf_put(&s->arena, path, len);
	buf_put(&s->arena, data, n);
	return s->arena.bad ? err_sys(e, -ENOMEM, "sorting a tree") : 0;
}

/* Makes the window hold the whole current entry; done at the stretch's end. */
static int fill(struct sorter *s, struct stretch *st, struct err *e)
{
	if (st->in_memory) {
		st->done = st->index == s->n;
		return 0;
	}
	for (;;) {
		size_t have = st->window.len - st->at;
		size_t want = have < HEAD ? HEAD : entry_size(st->window.data + st->at);
		uint64_t left = st->end - st->pos;
		size_t part;
		ssize_t n;
		void *to;

		if (have >= HEAD && have >= want)
			return 0;
		if (!left) {
			st->done = true;
			return 0;
		}
		memmove(st->window.data, st->window.data + st->at, have);
		st->window.len = have;
		st->at = 0;
		part = want - have > READ_AHEAD ? want - have : READ_AHEAD;
		part = left < part ? (size_t)left : part;
		to = buf_reserve(&st->window, part);
		if (!to)
			return err_sys(e, -ENOMEM, "sorting a tree");
		n = io_pread(s->spill.fd, to, part, st->pos);
		if (n < 0 || (size_t)n != part)
			return err_sys(
				e, n < 0 ? (int)n : -EIO, "reading back a sorted stretch in %s", s->dir);
		st->window.len += part;
		st->pos += part;
	}
}

static const uint8_t *current(struct sorter *s, struct stretch *st)
{
	return st->in_memory ? s->arena.data + s->order[st->index] : st->window.data + st->at;
}

int sorter_sort(struct sorter *s, struct err *e)
{
	struct stretch *st = new_stretch(s, e);

	if (!st)
		return -ENOMEM;
	sort_memory(s);
	st->in_memory = true;
	for (size_t i = 0; i < s->n_stretches; i++) {
		int r = buf_reserve(&s->stretches[i].window, HEAD) ? fill(s, &s->stretches[i], e)
								   : err_sys(e, -ENOMEM, "sorting a tree");

		if (r < 0)
			return r;
	}
	return 0;
}

int sorter_next(struct sorter *s, const char **path, const void **data, size_t *n, struct err *e)
{
	struct stretch *least = NULL;
	const uint8_t *p;

	if (s->last) {
		int r;

		if (s->last->in_memory)
			s->last->index++;
		else
			s->last->at += entry_size(current(s, s->last));
		r = fill(s, s->last, e);
		if (r < 0)
			return r;
	}
	for (size_t i = 0; i < s->n_stretches; i++) {
		struct stretch *st = &s->stretches[i];

		if (!st->done && (!least || sorter_path_cmp((const char *)current(s, st) + HEAD,
						    (const char *)current(s, least) + HEAD) < 0))
			least = st;
	}
	s->last = least;
	if (!least)
		return 0;
	p = current(s, least);
	*path = (const char *)p + HEAD;
	*data = p + HEAD + get32(p);
	*n = get32(p + 4);
	return 1;
}
