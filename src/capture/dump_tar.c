/* The tar format: toc.dat first, then a member for each entry's data and each large object, restore.sql last, each with a head
 * of 512 bytes and filled up to 512 (pg_backup_tar.c, tarCreateHeader in src/port/tar.c). See dump_archive.h.
 *
 * Heads and filling are kept as they are, so that the file in the snapshot has the same bytes. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/clean.h"
#include "src/capture/dump_archive.h"

#define BLOCK 512
#define NAME_BYTES 100
#define SIZE_AT 124
#define SUM_AT 148
#define TYPE_AT 156
#define TOC_MAX (1u << 30)
#define STEP 65536

struct head {
	uint8_t bytes[BLOCK];
	char name[NAME_BYTES + 1];
	uint64_t size;
	bool end; /* a block of zeroes */
};

/* Octal digits, or where those are too few, 0x80 and a number with its high byte first (print_tar_number). */
static bool tar_number(const uint8_t *p, size_t n, uint64_t *ret)
{
	uint64_t v = 0;

	if (p[0] == 0x80) {
		for (size_t i = n - 8; i < n; i++)
			v = v << 8 | p[i];
		*ret = v;
		return v <= INT64_MAX;
	}
	for (size_t i = 0; i < n && p[i] && p[i] != ' '; i++) {
		if (p[i] < '0' || p[i] > '7')
			return false;
		v = v << 3 | (uint64_t)(p[i] - '0');
	}
	*ret = v;
	return true;
}

static int read_head(struct dump_reader *r, struct head *ret, struct err *e)
{
	struct head h = {0};
	uint64_t want = 0, sum = 0;
	int res = dump_reader_bytes(r, h.bytes, BLOCK, e);

	if (res < 0)
		return res;
	for (size_t i = 0; i < BLOCK; i++)
		sum += i >= SUM_AT && i < SUM_AT + 8 ? ' ' : h.bytes[i];
	h.end = sum == (uint64_t)8 * ' ' && !h.bytes[SUM_AT];
	if (!h.end && (!tar_number(h.bytes + SUM_AT, 8, &want) || want != sum ||
			      !tar_number(h.bytes + SIZE_AT, 12, &h.size)))
		return dump_reader_bad(r, e, "the head of a tar member has a wrong sum");
	if (!h.end && h.bytes[TYPE_AT] != '0' && h.bytes[TYPE_AT])
		return dump_reader_bad(r, e, "a tar member that is no file");
	memcpy(h.name, h.bytes, NAME_BYTES);
	*ret = h;
	return 0;
}

/* A member's bytes: a reader of their own, within the tar file's. */
struct member {
	struct dump_reader *r;
	uint64_t left;
};

static ssize_t read_member(void *arg, void *p, size_t n, struct err *e)
{
	struct member *m = arg;
	ssize_t got;

	if (!m->left)
		return 0;
	got = dump_reader_some(m->r, p, n < m->left ? n : (size_t)m->left, e);
	if (!got)
		return err_set(
			e, -EBADMSG, "%s is cut off at byte %llu", m->r->name, (unsigned long long)m->r->pos);
	if (got > 0)
		m->left -= (uint64_t)got;
	return got;
}

struct part {
	uint8_t head[BLOCK];
	struct dump_part part;
	uint64_t size;
};

struct tar {
	struct dump_archive *a;
	struct dump_reader *r;
	const struct dump_entry **files; /* entries with data, by file name */
	bool *seen;
	size_t n_files;
	struct part *parts;
	size_t n, cap;
	struct buf tail; /* what follows the last member */
};

static void tar_release(struct tar *t)
{
	free(t->files);
	free(t->seen);
	free(t->parts);
	buf_free(&t->tail);
}

static int cmp_files(const void *a, const void *b)
{
	const struct dump_entry *x = *(const struct dump_entry *const *)a,
				*y = *(const struct dump_entry *const *)b;

	return strcmp(x->file, y->file);
}

static int sort_files(struct tar *t, struct err *e)
{
	const struct dump_toc *toc = &t->a->toc;

	t->files = calloc(toc->n + 1, sizeof(*t->files));
	t->seen = calloc(toc->n + 1, 1);
	if (!t->files || !t->seen)
		return err_sys(e, -ENOMEM, "%s", t->a->name);
	for (size_t i = 0; i < toc->n; i++)
		/* Large objects are members of their own, listed in one that no entry names (_StartLOs). */
		if (toc->entries[i].file && *toc->entries[i].file && !dump_entry_is_blobs(&toc->entries[i]))
			t->files[t->n_files++] = &toc->entries[i];
	qsort(t->files, t->n_files, sizeof(*t->files), cmp_files);
	return 0;
}

static struct part *new_part(struct tar *t)
{
	if (t->n == t->cap) {
		size_t cap = t->cap ? 2 * t->cap : 64;
		struct part *more = realloc(t->parts, cap * sizeof(*more));

		if (!more)
			return NULL;
		t->parts = more;
		t->cap = cap;
	}
	t->parts[t->n] = (struct part){0};
	return &t->parts[t->n++];
}

static int take_member(struct tar *t, const struct head *h, struct err *e)
{
	struct member m = {t->r, h->size};
	struct dump_entry key = {.file = (char *)h->name}, *pkey = &key;
	const struct dump_entry **found = bsearch(&pkey, t->files, t->n_files, sizeof(*t->files), cmp_files);
	struct part *p = new_part(t);
	char fill[BLOCK];
	unsigned oid;
	int end = 0, r;

	if (!p)
		return err_sys(e, -ENOMEM, "%s", t->a->name);
	memcpy(p->head, h->bytes, BLOCK);
	p->size = h->size;
	if (found) {
		if (t->seen[found - t->files])
			return dump_reader_bad(t->r, e, "%s comes twice", h->name);
		t->seen[found - t->files] = true;
	}
	if (found)
		r = dump_archive_entry(t->a, *found, read_member, &m, &p->part, e);
	else if (sscanf(h->name, "blob_%u.dat%n", &oid, &end) == 1 && end && !h->name[end])
		r = dump_archive_blob(t->a, oid, read_member, &m, &p->part, e);
	else
		r = dump_tree_stream(t->a->tree, h->name, false, read_member, &m, &p->part, e);
	if (!r && m.left)
		r = dump_reader_bad(t->r, e, "%s was not read to its end", h->name);
	if (!r && h->size % BLOCK)
		r = dump_reader_bytes(t->r, fill, (size_t)(BLOCK - h->size % BLOCK), e);
	for (size_t i = 0; !r && h->size % BLOCK && i < BLOCK - h->size % BLOCK; i++)
		if (fill[i])
			r = dump_reader_bad(t->r, e, "bytes behind the end of %s", h->name);
	return r;
}

/* The block of zeroes that was read, and all zeroes that follow. */
static int take_tail(struct tar *t, struct err *e)
{
	uint8_t b[BLOCK];
	ssize_t n;

	memset(b, 0, BLOCK);
	for (n = BLOCK; n > 0; n = dump_reader_some(t->r, b, BLOCK, e)) {
		for (ssize_t i = 0; i < n; i++)
			if (b[i])
				return dump_reader_bad(t->r, e, "bytes behind the archive's end");
		if (t->tail.len > (1u << 20))
			return dump_reader_bad(t->r, e, "a megabyte of zeroes behind the archive's end");
		buf_put(&t->tail, b, (size_t)n);
	}
	if (n == 0 && t->tail.len < 2 * BLOCK)
		return err_set(
			e, -EBADMSG, "%s is cut off at byte %llu", t->a->name, (unsigned long long)t->r->pos);
	return (int)n;
}

static int put_together(struct tar *t, struct err *e)
{
	static const uint8_t zeroes[BLOCK];
	_cleanup_(dump_file_release) struct dump_file f = {0};
	int r = dump_tree_settle(t->a->tree, e);

	for (size_t i = 0; i < t->n; i++) {
		dump_file_literal(&f, t->parts[i].head, BLOCK);
		dump_file_part(&f, &t->parts[i].part, true);
		if (t->parts[i].size % BLOCK)
			dump_file_literal(&f, zeroes, (size_t)(BLOCK - t->parts[i].size % BLOCK));
	}
	dump_file_literal(&f, t->tail.data, t->tail.len);
	return r < 0 ? r : dump_tree_file(t->a->tree, "dump.tar", &f, e);
}

/* toc.dat: its bytes, with the filling, and what they say. */
static int take_toc(struct tar *t, struct head *h, struct buf *bytes, struct err *e)
{
	uint64_t all;
	struct dump_memory m;
	struct dump_reader *in;
	int r = read_head(t->r, h, e);

	if (r < 0)
		return r;
	all = (h->size + BLOCK - 1) / BLOCK * BLOCK;
	if (strcmp(h->name, "toc.dat") != 0 || h->size > TOC_MAX)
		return dump_reader_bad(t->r, e, "a tar file whose first member is not pg_dump's toc.dat");
	while (bytes->len < all && !r) {
		size_t n = all - bytes->len < STEP ? (size_t)(all - bytes->len) : STEP;
		void *to = buf_reserve(bytes, n);

		r = to ? dump_reader_bytes(t->r, to, n, e) : err_sys(e, -ENOMEM, "%s", t->a->name);
		bytes->len += r < 0 ? 0 : n;
	}
	if (r < 0)
		return r;
	m = (struct dump_memory){bytes->data, (size_t)h->size};
	in = malloc(sizeof(*in));
	if (!in)
		return err_sys(e, -ENOMEM, "%s", t->a->name);
	dump_reader_init(in, dump_read_memory, &m, "toc.dat");
	r = dump_toc_read(in, &t->a->toc, e);
	if (!r && in->pos != h->size)
		r = dump_reader_bad(in, e, "bytes behind the last entry");
	if (!r && t->a->toc.head.format == DUMP_CUSTOM)
		r = dump_reader_bad(in, e, "a tar file with contents of the custom format");
	free(in);
	return r < 0 ? err_wrap(e, r, "%s", t->a->name) : 0;
}

static int take_all(struct tar *t, struct head *h, const struct buf *toc, struct err *e)
{
	struct part *p = new_part(t);
	int r;

	if (!p)
		return err_sys(e, -ENOMEM, "%s", t->a->name);
	memcpy(p->head, h->bytes, BLOCK);
	p->size = h->size;
	r = dump_tree_bytes(t->a->tree, "dump.tar", toc->data, (size_t)h->size, &p->part, e);
	if (!r)
		r = sort_files(t, e);
	while (!r && !(r = read_head(t->r, h, e)) && !h->end)
		r = take_member(t, h, e);
	for (size_t i = 0; i < t->n_files && !r; i++)
		if (!t->seen[i])
			r = err_set(e, -EBADMSG,
				"%s is not whole: the data of entry %d (%s %s), %s, is missing", t->a->name,
				t->files[i]->id, t->files[i]->desc, t->files[i]->tag, t->files[i]->file);
	if (!r)
		r = take_tail(t, e);
	return r < 0 ? r : put_together(t, e);
}

int dump_archive_tar(struct dump_archive *a, struct dump_reader *r, int (*known)(void *arg, struct err *e),
	void *arg, struct err *e)
{
	_cleanup_(tar_release) struct tar t = {.a = a, .r = r};
	_cleanup_(buf_free) struct buf toc = {0};
	struct head h;
	int res = take_toc(&t, &h, &toc, e);

	a->compression = DUMP_NONE;
	if (!res)
		res = known(arg, e);
	return res < 0 ? res : take_all(&t, &h, &toc, e);
}
