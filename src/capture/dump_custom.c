/* The custom format, read forward in one pass and put together again without compression. See dump_archive.h.
 *
 * What is written is valid for pg_restore of every version that reads this archive version: a stream is blocks of any length
 * (_CustomReadFunc in pg_backup_custom.c takes what the length says), so blocks end where the store's leaves end and share
 * them with the table's view. */
#include <errno.h>
#include <stdlib.h>

#include "src/base/clean.h"
#include "src/capture/dump_inflate.h"
#include "src/capture/dump_share.h"
#include "src/pg/dump_data.h"

void dump_data_release(struct dump_data *d)
{
	free(d->sections);
	free(d->streams);
	*d = (struct dump_data){0};
}

static ssize_t read_blocks(void *arg, void *p, size_t n, struct err *e)
{
	return dump_stream_read(arg, p, n, e);
}

struct dump_data_section *dump_data_section(struct dump_data *d)
{
	if (d->n == d->cap) {
		size_t cap = d->cap ? 2 * d->cap : 64;
		struct dump_data_section *more = realloc(d->sections, cap * sizeof(*more));

		if (!more)
			return NULL;
		d->sections = more;
		d->cap = cap;
	}
	d->sections[d->n] = (struct dump_data_section){.first = d->n_streams};
	return &d->sections[d->n++];
}

struct dump_data_stream *dump_data_stream(struct dump_data *d)
{
	if (d->n_streams == d->cap_streams) {
		size_t cap = d->cap_streams ? 2 * d->cap_streams : 64;
		struct dump_data_stream *more = realloc(d->streams, cap * sizeof(*more));

		if (!more)
			return NULL;
		d->streams = more;
		d->cap_streams = cap;
	}
	d->streams[d->n_streams] = (struct dump_data_stream){0};
	return &d->streams[d->n_streams++];
}

static int take_stream(struct dump_archive *a, const struct dump_toc *toc, struct dump_reader *r,
	struct dump_data *d, struct dump_data_section *s, uint32_t oid, struct err *e)
{
	const struct dump_entry *en = dump_toc_find(toc, s->id);
	struct dump_stream blocks = dump_stream_start(r);
	struct dump_inflate *in = NULL;
	struct dump_data_stream *st = dump_data_stream(d);
	int res;

	if (!st)
		return err_sys(e, -ENOMEM, "%s", a->name);
	st->oid = oid;
	res = dump_inflate_new(toc->head.compression, read_blocks, &blocks, a->name, &in, e);
	if (!res && s->blobs)
		res = dump_archive_blob(a, oid, dump_inflate_read, in, &st->part, e);
	else if (!res)
		res = dump_archive_entry(a, en, dump_inflate_read, in, &st->part, e);
	dump_inflate_free(in);
	s->n++;
	return res == -EBADMSG ? err_wrap(e, res, "at byte %llu", (unsigned long long)r->pos) : res;
}

static int take_section(struct dump_archive *a, const struct dump_toc *toc, struct dump_reader *r,
	struct dump_data *d, const struct dump_section *head, struct err *e)
{
	const struct dump_entry *en = dump_toc_find(toc, head->id);
	struct dump_data_section *s;
	uint32_t oid;
	int res;

	if (!en || !en->has_data)
		return dump_reader_bad(r, e, "data of entry %d, which the contents do not have", head->id);
	if (en->offset_state == DUMP_OFFSET_NO_DATA)
		return dump_reader_bad(r, e, "data of entry %d, which has none by the contents", head->id);
	s = dump_data_section(d);
	if (!s)
		return err_sys(e, -ENOMEM, "%s", a->name);
	s->id = head->id;
	s->blobs = head->blobs;
	if (!head->blobs)
		return take_stream(a, toc, r, d, s, 0, e);
	while ((res = dump_blob_next(r, &oid, e)) > 0) {
		res = take_stream(a, toc, r, d, s, oid, e);
		if (res < 0)
			return res;
	}
	return res;
}

int dump_data_read(struct dump_archive *a, const struct dump_toc *toc, struct dump_reader *r,
	struct dump_data *ret, struct err *e)
{
	struct dump_section head;
	int res;

	while ((res = dump_section_next(r, &head, e)) > 0) {
		res = take_section(a, toc, r, ret, &head, e);
		if (res < 0)
			return res;
	}
	return res;
}

static int cmp_sections(const void *a, const void *b)
{
	const struct dump_data_section *x = a, *y = b;

	return x->en < y->en ? -1 : x->en > y->en;
}

/* Each entry that has data has it once. What came from several processes is put in the order of the entries, as one process
 * has it: pg_restore reads a pipe forward only. */
static int check_all(struct dump_archive *a, struct dump_data *d, bool sort, struct err *e)
{
	_cleanup_(freep) struct dump_data_section *by = calloc(d->n + 1, sizeof(*by));
	size_t at = 0;

	if (!by)
		return err_sys(e, -ENOMEM, "%s", a->name);
	for (size_t i = 0; i < d->n; i++) {
		d->sections[i].en = dump_toc_find(&a->toc, d->sections[i].id);
		by[i] = d->sections[i];
	}
	qsort(by, d->n, sizeof(*by), cmp_sections);
	for (size_t i = 1; i < d->n; i++)
		if (by[i].en == by[i - 1].en)
			return err_set(e, -EBADMSG, "%s is damaged: it has the data of entry %d twice",
				a->name, by[i].id);
	for (size_t i = 0; i < a->toc.n; i++) {
		const struct dump_entry *en = &a->toc.entries[i];

		if (!en->has_data || en->offset_state == DUMP_OFFSET_NO_DATA)
			continue;
		while (at < d->n && by[at].en < en)
			at++;
		if (at == d->n || by[at].en != en)
			return err_set(e, -EBADMSG, "%s is cut off: the data of entry %d (%s %s) is missing",
				a->name, en->id, en->desc, en->tag);
	}
	for (size_t i = 0; sort && i < d->n; i++)
		d->sections[i] = by[i];
	return 0;
}

static void put_int(struct dump_file *f, int64_t v)
{
	struct buf b = {0};

	dump_put_int(&b, v);
	f->literal.bad = f->literal.bad || b.bad;
	dump_file_literal(f, b.data, b.len);
	buf_free(&b);
}

static void put_stream(struct dump_file *f, const struct dump_part *p)
{
	uint64_t len;

	for (size_t i = 0; (len = rope_part_len(p->rope, i)); i++) {
		put_int(f, (int64_t)len);
		dump_file_rope(f, p->rope, i, 1);
	}
	if (p->end_len) {
		put_int(f, (int64_t)p->end_len);
		dump_file_literal(f, p->end, p->end_len);
	}
	put_int(f, 0);
}

static void put_section(struct dump_file *f, const struct dump_data *d, const struct dump_data_section *s)
{
	const uint8_t type = s->blobs ? DUMP_BLOCK_BLOBS : DUMP_BLOCK_DATA;

	dump_file_literal(f, &type, 1);
	put_int(f, s->id);
	for (size_t i = s->first; i < s->first + s->n; i++) {
		if (s->blobs)
			put_int(f, (int32_t)d->streams[i].oid);
		put_stream(f, &d->streams[i].part);
	}
	if (s->blobs)
		put_int(f, 0);
}

/* The contents as they are written: without compression, with the offsets of the data. */
static int write_toc(struct dump_archive *a, const struct dump_data *d, uint64_t data_at,
	const uint64_t *offsets, struct buf *b, struct err *e)
{
	for (size_t i = 0; i < d->n; i++) {
		uint64_t off = data_at + (offsets ? offsets[i] : 0);

		if (a->toc.head.offset_size < 8 && off > UINT32_MAX)
			return err_set(e, -EOPNOTSUPP, "%s has offsets of 4 bytes and more than 4 GB of data",
				a->name);
		d->sections[i].en->offset_state = DUMP_OFFSET_SET;
		d->sections[i].en->offset = off;
	}
	dump_toc_write(&a->toc, b);
	return b->bad ? err_sys(e, -ENOMEM, "%s", a->name) : 0;
}

static int put_together(struct dump_archive *a, const struct dump_data *d, struct err *e)
{
	_cleanup_(freep) uint64_t *offsets = calloc(d->n + 1, sizeof(*offsets));
	_cleanup_(dump_file_release) struct dump_file body = {0}, all = {0};
	_cleanup_(buf_free) struct buf first = {0}, toc = {0};
	struct dump_part head;
	int r;

	if (!offsets)
		return err_sys(e, -ENOMEM, "%s", a->name);
	a->toc.head.compression = DUMP_NONE;
	a->toc.head.level = 0;
	/* Once for its length, which offsets do not change, … */
	r = write_toc(a, d, 0, NULL, &first, e);
	for (size_t i = 0; i < d->n && !r; i++) {
		offsets[i] = body.size;
		put_section(&body, d, &d->sections[i]);
	}
	/* … and once to be kept. */
	if (!r)
		r = write_toc(a, d, first.len, offsets, &toc, e);
	if (!r)
		r = dump_tree_bytes(a->tree, "dump.pgdump", toc.data, toc.len, &head, e);
	if (r < 0)
		return r;
	dump_file_part(&all, &head, false);
	for (size_t i = 0; i < d->n; i++)
		put_section(&all, d, &d->sections[i]);
	r = dump_tree_settle(a->tree, e);
	return r < 0 ? r : dump_tree_file(a->tree, "dump.pgdump", &all, e);
}

/* The others' data; they are waited for in any case, since they work on the same tree. */
static int take_others(struct dump_archive *a, struct dump_data *d, int res, struct err *e)
{
	struct dump_share *const *shares;
	size_t n;

	res = a->others->finish(a->others->arg, res, &shares, &n, e);
	return res < 0 ? res : dump_share_join(a, d, shares, n, e);
}

int dump_archive_custom(struct dump_archive *a, struct dump_reader *r, struct err *e)
{
	_cleanup_(dump_data_release) struct dump_data d = {0};
	int res = a->others ? a->others->start(a->others->arg, a, e) : 0;

	if (res < 0)
		return res;
	a->compression = a->toc.head.compression;
	res = dump_data_read(a, &a->toc, r, &d, e);
	if (a->others)
		res = take_others(a, &d, res, e);
	if (!res)
		res = check_all(a, &d, a->others != NULL, e);
	return res < 0 ? res : put_together(a, &d, e);
}
