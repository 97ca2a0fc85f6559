/* Reading and writing headers and entries. See dump_toc.h.
 *
 * Every count in the archive is an opinion: entries and strings take memory as they come. */
#include "src/pg/dump_toc.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define OLDEST_MINOR 12
#define NEWEST_MINOR 16
#define INT_SIZE 4
#define BLOCK_BYTES (64u << 10)

struct dump_block {
	struct dump_block *next;
	size_t used, cap;
	char bytes[];
};

char *dump_toc_keep(struct dump_toc *t, const char *text, size_t n)
{
	struct dump_block *b = t->blocks;
	char *p;

	if (!b || b->cap - b->used <= n) {
		size_t cap = n + 1 > BLOCK_BYTES ? n + 1 : BLOCK_BYTES;

		b = malloc(sizeof(*b) + cap);
		if (!b)
			return NULL;
		b->used = 0;
		b->cap = cap;
		b->next = t->blocks;
		t->blocks = b;
	}
	p = b->bytes + b->used;
	if (n)
		memcpy(p, text, n);
	p[n] = '\0';
	b->used += n + 1;
	return p;
}

void dump_toc_release(struct dump_toc *t)
{
	while (t->blocks) {
		struct dump_block *b = t->blocks;

		t->blocks = b->next;
		free(b);
	}
	for (size_t i = 0; i < t->n; i++)
		free(t->entries[i].deps);
	free(t->entries);
	free(t->by_id);
	*t = (struct dump_toc){0};
}

struct scan {
	struct dump_reader *r;
	struct dump_toc *t;
	struct buf text; /* the string being read */
};

static int read_str(struct scan *s, char **ret, struct err *e)
{
	bool null = false;
	int r = dump_reader_str(s->r, &s->text, &null, e);

	if (r < 0)
		return r;
	*ret = NULL;
	if (null)
		return 0;
	*ret = dump_toc_keep(s->t, (const char *)s->text.data, s->text.len);
	return *ret ? 0 : err_sys(e, -ENOMEM, "%s", s->r->name);
}

static int read_strs(struct scan *s, char **const *where, size_t n, struct err *e)
{
	int r = 0;

	for (size_t i = 0; i < n && !r; i++)
		r = read_str(s, where[i], e);
	return r;
}

static int read_ints(struct scan *s, int32_t *const *where, size_t n, struct err *e)
{
	int r = 0;

	for (size_t i = 0; i < n && !r; i++)
		r = dump_reader_int(s->r, where[i], e);
	return r;
}

/* Magic, versions, sizes, format: WriteHead. */
static int read_start(struct scan *s, struct dump_head *h, struct err *e)
{
	uint8_t b[DUMP_MAGIC_LEN + 6];
	const uint8_t *v = b + DUMP_MAGIC_LEN;
	int r = dump_reader_bytes(s->r, b, sizeof(b), e);

	if (r < 0)
		return r;
	if (memcmp(b, DUMP_MAGIC, DUMP_MAGIC_LEN))
		return dump_reader_bad(s->r, e, "this is no archive of pg_dump");
	if (v[0] != 1 || v[1] < OLDEST_MINOR || v[1] > NEWEST_MINOR)
		return err_set(e, -EOPNOTSUPP,
			"%s is an archive of version %u.%u; 1.%d to 1.%d are known (pg_dump 9.6 to 18)",
			s->r->name, v[0], v[1], OLDEST_MINOR, NEWEST_MINOR);
	if (v[3] != INT_SIZE || (v[4] != 4 && v[4] != 8))
		return err_set(e, -EOPNOTSUPP,
			"%s has integers of %u and offsets of %u bytes; 4, and 4 or 8, are known", s->r->name,
			v[3], v[4]);
	if (v[5] != DUMP_CUSTOM && v[5] != DUMP_TAR && v[5] != DUMP_DIRECTORY)
		return err_set(e, -EOPNOTSUPP, "%s is an archive of format %u, which is not known",
			s->r->name, v[5]);
	h->vmajor = v[0];
	h->vminor = v[1];
	h->vrev = v[2];
	h->offset_size = v[4];
	h->format = v[5];
	return 0;
}

/* From 1.15 on an algorithm, before it a level of zlib's. */
static int read_compression(struct scan *s, struct dump_head *h, struct err *e)
{
	uint8_t algorithm;
	int r;

	if (!dump_head_since(h, 15)) {
		r = dump_reader_int(s->r, &h->level, e);
		h->compression = h->level ? DUMP_GZIP : DUMP_NONE;
		return r;
	}
	r = dump_reader_u8(s->r, &algorithm, e);
	if (r < 0)
		return r;
	if (algorithm > DUMP_ZSTD)
		return dump_reader_bad(s->r, e, "compression algorithm %u", algorithm);
	h->compression = algorithm;
	return 0;
}

static int read_head(struct scan *s, struct dump_head *h, struct err *e)
{
	int32_t *const when[] = {&h->sec, &h->min, &h->hour, &h->mday, &h->month, &h->year, &h->isdst};
	char **const texts[] = {&h->database, &h->server_version, &h->dump_version};
	int r = read_start(s, h, e);

	if (!r)
		r = read_compression(s, h, e);
	if (!r)
		r = read_ints(s, when, sizeof(when) / sizeof(when[0]), e);
	if (!r)
		r = read_strs(s, texts, sizeof(texts) / sizeof(texts[0]), e);
	return r;
}

/* Texts until a NULL. */
static int read_deps(struct scan *s, struct dump_entry *en, struct err *e)
{
	for (size_t cap = 0;;) {
		char *dep;
		int r = read_str(s, &dep, e);

		if (r < 0 || !dep)
			return r;
		if (en->n_deps == cap) {
			char **more;

			cap = cap ? 2 * cap : 4;
			more = realloc(en->deps, cap * sizeof(*more));
			if (!more)
				return err_sys(e, -ENOMEM, "%s", s->r->name);
			en->deps = more;
		}
		en->deps[en->n_deps++] = dep;
	}
}

/* ReadOffset: a state and an offset, low byte first. */
static int read_offset(struct scan *s, const struct dump_head *h, struct dump_entry *en, struct err *e)
{
	uint8_t b[9];
	int r = dump_reader_bytes(s->r, b, 1u + h->offset_size, e);

	if (r < 0)
		return r;
	if (b[0] < DUMP_OFFSET_NOT_SET || b[0] > DUMP_OFFSET_NO_DATA)
		return dump_reader_bad(s->r, e, "a data offset of kind %u", b[0]);
	en->offset_state = b[0];
	for (unsigned i = 0; i < h->offset_size; i++)
		en->offset |= (uint64_t)b[1 + i] << (8 * i);
	return 0;
}

/* The members of WriteToc, and what WriteExtraTocPtr of the format adds. */
static int read_entry(struct scan *s, const struct dump_head *h, struct dump_entry *en, struct err *e)
{
	char **const names[] = {&en->class_oid, &en->oid, &en->tag, &en->desc};
	char **const texts[] = {&en->defn, &en->drop, &en->copy, &en->schema, &en->tablespace};
	char **const owner[] = {&en->owner, &en->with_oids};
	int32_t data;
	int r = dump_reader_int(s->r, &en->id, e);

	if (!r && en->id <= 0)
		return dump_reader_bad(s->r, e, "an entry with number %d", en->id);
	if (!r)
		r = dump_reader_int(s->r, &data, e);
	if (!r) {
		en->has_data = data != 0;
		r = read_strs(s, names, 4, e);
	}
	if (!r && (!en->tag || !en->desc))
		return dump_reader_bad(s->r, e, "entry %d has no name or no kind", en->id);
	if (!r)
		r = dump_reader_int(s->r, &en->section, e);
	if (!r)
		r = read_strs(s, texts, 5, e);
	if (!r && dump_head_since(h, 14))
		r = read_str(s, &en->access_method, e);
	if (!r && dump_head_since(h, 16))
		r = dump_reader_int(s->r, &en->relkind, e);
	if (!r)
		r = read_strs(s, owner, 2, e);
	if (!r)
		r = read_deps(s, en, e);
	if (!r)
		r = h->format == DUMP_CUSTOM ? read_offset(s, h, en, e) : read_str(s, &en->file, e);
	return r;
}

static int read_entries(struct scan *s, struct err *e)
{
	struct dump_toc *t = s->t;
	int32_t count;
	int r = dump_reader_int(s->r, &count, e);

	if (!r && count < 0)
		return dump_reader_bad(s->r, e, "%d entries", count);
	for (size_t cap = 0; !r && t->n < (size_t)count;) {
		if (t->n == cap) {
			struct dump_entry *more;

			cap = cap ? 2 * cap : 64;
			more = realloc(t->entries, cap * sizeof(*more));
			if (!more)
				return err_sys(e, -ENOMEM, "%s", s->r->name);
			t->entries = more;
		}
		t->entries[t->n] = (struct dump_entry){0};
		r = read_entry(s, &t->head, &t->entries[t->n++], e);
	}
	return r;
}

static int cmp_ids(const void *a, const void *b, void *arg)
{
	const struct dump_entry *entries = arg;
	int32_t x = entries[*(const uint32_t *)a].id, y = entries[*(const uint32_t *)b].id;

	return x < y ? -1 : x > y;
}

int dump_toc_sort(struct dump_toc *t, struct err *e)
{
	uint32_t *by_id = realloc(t->by_id, (t->n + 1) * sizeof(*by_id));

	if (!by_id)
		return err_sys(e, -ENOMEM, "the contents of a dump");
	t->by_id = by_id;
	for (size_t i = 0; i < t->n; i++)
		t->by_id[i] = (uint32_t)i;
	qsort_r(t->by_id, t->n, sizeof(*t->by_id), cmp_ids, t->entries);
	return 0;
}

/* Numbers are unique. */
static int sort_ids(struct scan *s, struct err *e)
{
	struct dump_toc *t = s->t;
	int r = dump_toc_sort(t, e);

	if (r < 0)
		return r;
	for (size_t i = 1; i < t->n; i++)
		if (t->entries[t->by_id[i]].id == t->entries[t->by_id[i - 1]].id)
			return dump_reader_bad(
				s->r, e, "two entries have number %d", t->entries[t->by_id[i]].id);
	return 0;
}

int dump_toc_read(struct dump_reader *r, struct dump_toc *ret, struct err *e)
{
	struct dump_toc t = {0};
	struct scan s = {.r = r, .t = &t};
	int res = read_head(&s, &t.head, e);

	if (!res)
		res = read_entries(&s, e);
	if (!res)
		res = sort_ids(&s, e);
	buf_free(&s.text);
	if (res < 0)
		dump_toc_release(&t);
	else
		*ret = t;
	return res;
}

static void write_head(const struct dump_head *h, struct buf *b)
{
	const int32_t when[] = {h->sec, h->min, h->hour, h->mday, h->month, h->year, h->isdst};

	buf_put(b, DUMP_MAGIC, DUMP_MAGIC_LEN);
	buf_put_u8(b, h->vmajor);
	buf_put_u8(b, h->vminor);
	buf_put_u8(b, h->vrev);
	buf_put_u8(b, INT_SIZE);
	buf_put_u8(b, h->offset_size);
	buf_put_u8(b, (uint8_t)h->format);
	if (dump_head_since(h, 15))
		buf_put_u8(b, (uint8_t)h->compression);
	else
		dump_put_int(b, h->level);
	for (size_t i = 0; i < sizeof(when) / sizeof(when[0]); i++)
		dump_put_int(b, when[i]);
	dump_put_str(b, h->database);
	dump_put_str(b, h->server_version);
	dump_put_str(b, h->dump_version);
}

static void write_entry(const struct dump_head *h, const struct dump_entry *en, struct buf *b)
{
	dump_put_int(b, en->id);
	dump_put_int(b, en->has_data);
	dump_put_str(b, en->class_oid);
	dump_put_str(b, en->oid);
	dump_put_str(b, en->tag);
	dump_put_str(b, en->desc);
	dump_put_int(b, en->section);
	dump_put_str(b, en->defn);
	dump_put_str(b, en->drop);
	dump_put_str(b, en->copy);
	dump_put_str(b, en->schema);
	dump_put_str(b, en->tablespace);
	if (dump_head_since(h, 14))
		dump_put_str(b, en->access_method);
	if (dump_head_since(h, 16))
		dump_put_int(b, en->relkind);
	dump_put_str(b, en->owner);
	dump_put_str(b, en->with_oids);
	for (size_t i = 0; i < en->n_deps; i++)
		dump_put_str(b, en->deps[i]);
	dump_put_str(b, NULL);
	if (h->format != DUMP_CUSTOM) {
		dump_put_str(b, en->file);
		return;
	}
	buf_put_u8(b, (uint8_t)en->offset_state);
	for (unsigned i = 0; i < h->offset_size; i++)
		buf_put_u8(b, (uint8_t)(en->offset >> (8 * i)));
}

void dump_toc_write(const struct dump_toc *t, struct buf *b)
{
	write_head(&t->head, b);
	dump_put_int(b, (int64_t)t->n);
	for (size_t i = 0; i < t->n; i++)
		write_entry(&t->head, &t->entries[i], b);
}

struct dump_entry *dump_toc_find(const struct dump_toc *t, int32_t id)
{
	size_t lo = 0, hi = t->n;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;
		struct dump_entry *en = &t->entries[t->by_id[mid]];

		if (en->id == id)
			return en;
		if (en->id < id)
			lo = mid + 1;
		else
			hi = mid;
	}
	return NULL;
}

bool dump_entry_is_table(const struct dump_entry *en)
{
	return !strcmp(en->desc, "TABLE DATA");
}

bool dump_entry_is_blobs(const struct dump_entry *en)
{
	return !strcmp(en->desc, "BLOBS");
}
