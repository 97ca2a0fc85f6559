/* The objects of the WAL archive. See wal.h; format: store/README.md, "WAL file".
 *
 * Frames are compressed by all threads, a batch at a time, and written in order; the table of frames follows
 * them, so that memory does not grow with the segment size. */
#include "store/wal.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/buf.h"
#include "src/base/clean.h"
#include "src/base/crc32c.h"
#include "src/base/cur.h"
#include "src/base/io.h"
#include "src/base/pool.h"
#include "store/codec.h"
#include "store/repo.h"
#include "store/wal_object.h"

#define MAGIC_HEAD "pgstWALF"
#define MAGIC_END 0x444e4557u /* "WEND" */
#define VERSION 1
#define HEAD 32
#define TRAILER 64
#define FRAME (64u << 10)
#define FRAME_MAX (1u << 20)
#define FRAME_ENTRY 16
#define TREE "wal"
#define BATCH 64 /* frames compressed at a time: 4 MiB in, at most as much out */

CLEANUP_DEFINE(struct upload, upload_free)
CLEANUP_DEFINE(struct pool, pool_free)

struct frame {
	uint32_t len, crc; /* in the object */
	uint32_t raw_crc;
	uint8_t codec;
};

/* ---- writing ---- */

struct slot {
	struct putter *putter;
	uint8_t *raw, *packed;
	size_t raw_len;
	struct frame frame;
	int r;
};

struct putter {
	int fd;
	int level;
	struct codec **codecs; /* one a thread */
	size_t cap;
	struct slot slots[BATCH];
};

static void putter_done(struct putter *p)
{
	for (unsigned i = 0; i < BATCH; i++) {
		free(p->slots[i].raw);
		free(p->slots[i].packed);
	}
}

static void pack_slot(void *arg, unsigned worker)
{
	struct slot *s = arg;
	struct putter *p = s->putter;
	size_t len =
		codec_pack(p->codecs[worker], CODEC_ZSTD, s->raw, s->raw_len, NULL, 0, s->packed, p->cap);

	s->frame.codec = CODEC_ZSTD;
	s->frame.raw_crc = crc32c(0, s->raw, s->raw_len);
	if (!len || len >= s->raw_len) {
		s->frame.codec = CODEC_RAW;
		len = s->raw_len;
		memcpy(s->packed, s->raw, len);
	}
	s->frame.len = (uint32_t)len;
	s->frame.crc = crc32c(0, s->packed, len);
}

/* Reads up to BATCH frames from off and sends them to be packed. Gives their number. */
static int read_batch(struct putter *p, struct pool *pool, struct digester *d, uint64_t off, uint64_t size,
	unsigned *ret, const char *name, struct err *e)
{
	unsigned n = 0;

	for (; n < BATCH && off < size; n++) {
		struct slot *s = &p->slots[n];
		size_t len = size - off < FRAME ? (size_t)(size - off) : FRAME;
		ssize_t got;

		if (!s->raw && !(s->raw = malloc(FRAME)))
			return err_sys(e, -ENOMEM, "%s", name);
		if (!s->packed && !(s->packed = malloc(p->cap)))
			return err_sys(e, -ENOMEM, "%s", name);
		got = io_pread(p->fd, s->raw, len, off);
		if (got < 0)
			return err_sys(e, (int)got, "reading %s", name);
		if ((size_t)got < len)
			return err_set(e, -EIO, "%s became shorter while it was read", name);
		s->putter = p;
		s->raw_len = len;
		pool_submit(pool, pack_slot, s);
		off += len;
		/* Hashed here while the threads compress what was submitted. */
		digester_add(d, s->raw, len);
	}
	*ret = n;
	return 0;
}

static int write_frames(struct putter *p, struct pool *pool, struct upload *u, uint64_t size,
	struct buf *table, struct digest *digest, const char *name, struct err *e)
{
	struct digester *d = digester_new();
	int r = d ? 0 : err_sys(e, -ENOMEM, "%s", name);

	for (uint64_t off = 0; off < size && !r; off += (uint64_t)BATCH * FRAME) {
		unsigned n = 0;

		r = read_batch(p, pool, d, off, size, &n, name, e);
		pool_drain(pool);
		for (unsigned i = 0; i < n && !r; i++) {
			const struct frame *f = &p->slots[i].frame;

			buf_put_u32(table, f->len);
			buf_put_u32(table, f->crc);
			buf_put_u32(table, f->raw_crc);
			buf_put_u32(table, f->codec);
			r = upload_write(u, p->slots[i].packed, f->len, e);
		}
	}
	if (!r)
		*digest = digester_end(d);
	digester_free(d);
	return r;
}

static int write_head(struct store *s, struct upload *u, struct err *e)
{
	_cleanup_(buf_free) struct buf b = {0};

	buf_put(&b, MAGIC_HEAD, 8);
	buf_put_u32(&b, VERSION);
	buf_put_u32(&b, 0);
	buf_put(&b, s->id, 16);
	return b.bad ? err_sys(e, -ENOMEM, "a WAL file") : upload_write(u, b.data, b.len, e);
}

static int write_tail(
	struct upload *u, struct buf *table, uint64_t size, const struct digest *digest, struct err *e)
{
	size_t frames = table->len / FRAME_ENTRY, at;
	uint32_t crc = table->bad ? 0 : crc32c(0, table->data, table->len);

	at = table->len;
	buf_put_u64(table, size);
	buf_put_u32(table, FRAME);
	buf_put_u32(table, (uint32_t)frames);
	buf_put(table, digest->b, DIGEST_LEN);
	buf_put_u32(table, crc);
	buf_put_u32(table, MAGIC_END);
	buf_put_u32(table, 0);
	if (!table->bad)
		buf_put_u32(table, crc32c(0, table->data + at, TRAILER - 4));
	return table->bad ? err_sys(e, -ENOMEM, "a WAL file") : upload_write(u, table->data, table->len, e);
}

static int write_object(struct store *s, struct putter *p, struct pool *pool, const char *object,
	uint64_t size, const char *name, struct err *e)
{
	_cleanup_(upload_freep) struct upload *u = NULL;
	_cleanup_(buf_free) struct buf table = {0};
	_cleanup_(freep) char *folder = strndup(object, (size_t)(strrchr(object, '/') - object));
	struct digest digest;
	int r = folder ? upload_begin(s->backend, folder, &u, e) : err_sys(e, -ENOMEM, "%s", name);

	if (!r)
		r = write_head(s, u, e);
	if (!r)
		r = write_frames(p, pool, u, size, &table, &digest, name, e);
	if (!r)
		r = write_tail(u, &table, size, &digest, e);
	if (!r)
		r = upload_commit(u, object, e);
	return r ? r : backend_barrier(s->backend, e);
}

/* 1 when the object's bytes are those of fd, -EEXIST when they differ. */
static int compare(
	struct store *s, const char *cluster, const char *name, int fd, uint64_t size, struct err *e)
{
	_cleanup_(freep) uint8_t *p = malloc(FRAME);
	struct digester *d = digester_new();
	struct wal_info info;
	struct digest mine;
	int r = p && d ? wal_stat(s, cluster, name, &info, e) : err_sys(e, -ENOMEM, "%s", name);

	for (uint64_t off = 0; off < size && !r;) {
		ssize_t n = io_pread(fd, p, FRAME, off);

		if (n <= 0)
			r = err_sys(e, n < 0 ? (int)n : -EIO, "reading %s", name);
		else
			digester_add(d, p, (size_t)n);
		off += n > 0 ? (uint64_t)n : 0;
	}
	if (!r) {
		mine = digester_end(d);
		r = info.size == size && digest_eq(&mine, &info.digest)
			    ? 1
			    : err_set(e, -EEXIST,
				      "%s is in the archive of cluster \"%s\" already, with other content; "
				      "what is there stays",
				      name, cluster);
	}
	digester_free(d);
	return r;
}

static int put_new(struct store *s, const char *object, const char *name, int fd, uint64_t size,
	unsigned threads, struct err *e)
{
	_cleanup_(freep) struct putter *p = calloc(1, sizeof(*p));
	_cleanup_(freep) struct codec **codecs = calloc(threads, sizeof(*codecs));
	_cleanup_(pool_freep) struct pool *pool = NULL;
	int r = p && codecs ? pool_new(threads, BATCH, &pool) : -ENOMEM;

	for (unsigned i = 0; i < threads && !r; i++)
		r = codec_new(s->settings.level, &codecs[i]);
	if (!r) {
		p->fd = fd;
		p->codecs = codecs;
		p->cap = codec_bound(FRAME);
		r = write_object(s, p, pool, object, size, name, e);
	} else {
		err_sys(e, r, "%s", name);
	}
	for (unsigned i = 0; codecs && i < threads; i++)
		codec_free(codecs[i]);
	if (p)
		putter_done(p);
	return r;
}

int wal_put(struct store *s, const char *cluster, const char *name, int fd, uint64_t size, unsigned threads,
	bool *ret_known, struct err *e)
{
	char object[WAL_OBJECT_NAME];
	struct object_info there;
	int r = wal_object_name(object, TREE, cluster, name, e);

	if (r < 0)
		return r;
	if (size > WAL_FILE_MAX)
		return err_set(e, -EFBIG, "%s has %llu bytes: no WAL file is that large", name,
			(unsigned long long)size);
	*ret_known = false;
	r = backend_stat(s->backend, object, &there, e);
	if (r == -ENOENT)
		r = put_new(s, object, name, fd, size, threads ? threads : pool_cpus(), e);
	else if (!r)
		r = -EEXIST;
	if (r != -EEXIST)
		return r;
	r = compare(s, cluster, name, fd, size, e);
	*ret_known = r == 1;
	return r == 1 ? 0 : r;
}

/* ---- reading ---- */

struct walfile {
	struct object *object;
	char name[WAL_OBJECT_NAME];
	struct wal_info info;
	uint32_t frame, n;
	struct frame *frames;
	uint64_t *offs; /* n + 1 of them */
};

static void walfile_free(void *arg)
{
	struct walfile *w = arg;

	if (!w)
		return;
	object_close(w->object);
	free(w->frames);
	free(w->offs);
	free(w);
}

static void walfile_freep(struct walfile **w)
{
	walfile_free(*w);
}

static int parse_tail(struct walfile *w, const uint8_t *p, uint64_t size, struct err *e)
{
	struct cur c = cur_of(p, TRAILER);
	const uint8_t *digest;
	uint32_t magic, crc;

	w->info.size = cur_u64(&c);
	w->frame = cur_u32(&c);
	w->n = cur_u32(&c);
	digest = cur_bytes(&c, DIGEST_LEN);
	memcpy(w->info.digest.b, digest, DIGEST_LEN);
	cur_u32(&c); /* the table's CRC, checked with the table */
	magic = cur_u32(&c);
	cur_u32(&c);
	crc = cur_u32(&c);
	if (magic != MAGIC_END || crc != crc32c(0, p, TRAILER - 4))
		return err_set(e, -EBADMSG, "object %s: truncated or damaged", w->name);
	if (w->frame < 4096 || w->frame > FRAME_MAX || (w->frame & (w->frame - 1)) ||
		w->info.size > WAL_FILE_MAX || w->n != (w->info.size + w->frame - 1) / w->frame ||
		size < HEAD + (uint64_t)w->n * FRAME_ENTRY + TRAILER)
		return err_set(e, -EBADMSG, "object %s: its trailer contradicts its length", w->name);
	w->info.stored = size;
	return 0;
}

static int read_exactly(struct walfile *w, uint64_t off, void *p, size_t n, struct err *e)
{
	ssize_t got = object_read(w->object, off, p, n, e);

	if (got < 0)
		return (int)got;
	return (size_t)got == n ? 0 : err_set(e, -EBADMSG, "object %s is shorter than it was", w->name);
}

/* Opens the object and reads its trailer. */
static int open_tail(struct store *s, const char *cluster, const char *name, uint8_t tail[TRAILER],
	struct walfile **ret, struct err *e)
{
	_cleanup_(walfile_freep) struct walfile *w = calloc(1, sizeof(*w));
	struct object_info object;
	int r = w ? wal_object_name(w->name, TREE, cluster, name, e) : err_sys(e, -ENOMEM, "%s", name);

	if (!r)
		r = backend_stat(s->backend, w->name, &object, e);
	if (r == -ENOENT)
		return err_set(e, r, "%s is not in the archive of cluster \"%s\"", name, cluster);
	if (!r && object.size < HEAD + TRAILER)
		r = err_set(e, -EBADMSG, "object %s has %llu bytes: not a WAL file", w->name,
			(unsigned long long)object.size);
	if (!r)
		r = backend_open(s->backend, w->name, &w->object, e);
	if (!r)
		r = read_exactly(w, object.size - TRAILER, tail, TRAILER, e);
	if (!r)
		r = parse_tail(w, tail, object.size, e);
	if (!r) {
		w->info.put = object.put;
		*ret = MOVE(w);
	}
	return r;
}

int wal_stat(struct store *s, const char *cluster, const char *name, struct wal_info *ret, struct err *e)
{
	_cleanup_(walfile_freep) struct walfile *w = NULL;
	uint8_t tail[TRAILER];
	int r = open_tail(s, cluster, name, tail, &w, e);

	if (!r)
		*ret = w->info;
	return r;
}

static int load_table(struct walfile *w, const uint8_t tail[TRAILER], struct err *e)
{
	size_t len = (size_t)w->n * FRAME_ENTRY;
	_cleanup_(freep) uint8_t *table = malloc(len + 1);
	struct cur crc = cur_of(tail + 48, 4), c;
	uint64_t end = w->info.stored - TRAILER - len, off = HEAD;
	int r;

	w->frames = calloc((size_t)w->n + 1, sizeof(*w->frames));
	w->offs = calloc((size_t)w->n + 1, sizeof(*w->offs));
	if (!table || !w->frames || !w->offs)
		return err_sys(e, -ENOMEM, "object %s", w->name);
	r = read_exactly(w, end, table, len, e);
	if (r < 0)
		return r;
	if (crc32c(0, table, len) != cur_u32(&crc))
		return err_set(e, -EBADMSG, "object %s: its table of frames is damaged", w->name);
	/* Whoever opens a segment reads all of it. */
	object_advise(w->object, 0, (size_t)end);
	c = cur_of(table, len);
	for (uint32_t i = 0; i < w->n; i++) {
		struct frame *f = &w->frames[i];
		uint32_t codec;

		f->len = cur_u32(&c);
		f->crc = cur_u32(&c);
		f->raw_crc = cur_u32(&c);
		codec = cur_u32(&c);
		f->codec = (uint8_t)codec;
		w->offs[i] = off;
		off += f->len;
		if (codec > CODEC_ZSTD)
			return err_set(e, -EOPNOTSUPP,
				"object %s: frame %u has codec %u, which needs a newer pgstrata", w->name, i,
				codec);
		if (f->len > codec_bound(w->frame))
			off = UINT64_MAX / 2;
	}
	w->offs[w->n] = off;
	return off == end ? 0 : err_set(e, -EBADMSG, "object %s: its frames do not fill it", w->name);
}

struct frame_load {
	struct walfile *w;
	struct store *store;
	uint32_t n;
};

static int load_frame(void *arg, const struct digest *id, uint8_t **ret, size_t *ret_len, struct err *e)
{
	struct frame_load *l = arg;
	struct walfile *w = l->w;
	const struct frame *f = &w->frames[l->n];
	size_t raw_len = l->n + 1 == w->n ? (size_t)(w->info.size - (uint64_t)l->n * w->frame) : w->frame;
	_cleanup_(freep) uint8_t *packed = malloc((size_t)f->len + 1), *raw = malloc(raw_len + 1);
	struct decoder *d;
	int r;

	(void)id;
	if (!packed || !raw)
		return err_sys(e, -ENOMEM, "object %s", w->name);
	r = read_exactly(w, w->offs[l->n], packed, f->len, e);
	if (r < 0)
		return r;
	if (crc32c(0, packed, f->len) != f->crc)
		return err_set(e, -EBADMSG, "object %s: frame %u is damaged", w->name, l->n);
	d = repo_take_decoder(l->store);
	if (!d)
		return err_sys(e, -ENOMEM, "object %s", w->name);
	r = codec_unpack(decoder_codec(d), f->codec, packed, f->len, NULL, 0, raw, raw_len);
	repo_give_decoder(l->store, d);
	if (r < 0 || crc32c(0, raw, raw_len) != f->raw_crc)
		return err_set(
			e, -EBADMSG, "object %s: frame %u does not unpack to what it was", w->name, l->n);
	*ret = MOVE(raw);
	*ret_len = raw_len;
	return 0;
}

/* The cache knows a frame by the file's digest and its number: equal files share it, whatever they are
 * called. */
static int get_frame(
	void *arg, struct store *s, uint64_t n, struct digest *id, struct blob **ret, struct err *e)
{
	struct frame_load l = {.w = arg, .store = s, .n = (uint32_t)n};
	struct {
		struct digest file;
		uint64_t frame, size;
	} key = {l.w->info.digest, n, l.w->frame};

	*id = digest_of(&key, sizeof(key));
	return cache_get(s->cache, id, false, load_frame, &l, ret, e);
}

static const struct file_source wal_source = {.get = get_frame, .free = walfile_free};

int wal_open(struct store *s, const char *cluster, const char *name, struct file **ret, struct err *e)
{
	_cleanup_(walfile_freep) struct walfile *w = NULL;
	uint8_t tail[TRAILER];
	int r = open_tail(s, cluster, name, tail, &w, e);

	if (!r)
		r = load_table(w, tail, e);
	if (!r)
		r = file_open_source(s, w->info.size, w->frame, &wal_source, w, ret, e);
	if (!r)
		w = NULL;
	return r;
}

/* ---- listing ---- */

struct lister {
	struct wal_list list;
	size_t skip; /* bytes of a prefix that is not part of the name */
};

static int add_name(void *arg, const char *name, const struct object_info *info)
{
	struct lister *l = arg;
	struct wal_name *more;

	name += l->skip;
	if (!wal_object_name_is_safe(name))
		return 0;
	if (!(l->list.n & (l->list.n - 1))) {
		more = reallocarray(l->list.v, l->list.n ? l->list.n * 2 : 1, sizeof(*more));
		if (!more)
			return -ENOMEM;
		l->list.v = more;
	}
	l->list.v[l->list.n] = (struct wal_name){strdup(name), info->size, info->put};
	return l->list.v[l->list.n++].name ? 0 : -ENOMEM;
}

static int by_name(const void *a, const void *b)
{
	return strcmp(((const struct wal_name *)a)->name, ((const struct wal_name *)b)->name);
}

static int finish_list(int r, struct lister *l, struct wal_list *ret, struct err *e)
{
	if (r < 0) {
		wal_list_free(&l->list);
		return r == -ENOMEM ? err_sys(e, r, "listing the WAL archive") : r;
	}
	if (l->list.n)
		qsort(l->list.v, l->list.n, sizeof(*l->list.v), by_name);
	*ret = l->list;
	return 0;
}

int wal_list(struct store *s, const char *cluster, const char *group, struct wal_list *ret, struct err *e)
{
	struct lister l = {0};
	char prefix[WAL_OBJECT_NAME];
	int r = store_check_cluster_name(cluster, e);

	if (!r && !wal_object_name_is_safe(group))
		r = err_set(e, -EINVAL, "\"%.80s\" is no group of the WAL archive", group);
	l.skip = (size_t)snprintf(prefix, sizeof(prefix), TREE "/%.63s/%.63s", cluster, group) + 1;
	if (!r)
		r = backend_list(s->backend, prefix, add_name, &l, e);
	return finish_list(r, &l, ret, e);
}

void wal_list_free(struct wal_list *l)
{
	for (size_t i = 0; i < l->n; i++)
		free(l->v[i].name);
	free(l->v);
	*l = (struct wal_list){0};
}

/* The names alone, taken out of the list. */
static int names_of(struct wal_list *l, char ***ret, struct err *e)
{
	char **v = calloc(l->n + 1, sizeof(*v));

	for (size_t i = 0; v && i < l->n; i++)
		v[i] = MOVE(l->v[i].name);
	wal_list_free(l);
	if (!v)
		return err_sys(e, -ENOMEM, "listing the WAL archive");
	*ret = v;
	return 0;
}

int wal_groups(struct store *s, const char *cluster, char ***ret, struct err *e)
{
	struct lister l = {0};
	char prefix[WAL_OBJECT_NAME];
	int r = store_check_cluster_name(cluster, e);

	snprintf(prefix, sizeof(prefix), TREE "/%.63s", cluster);
	if (!r)
		r = backend_folders(s->backend, prefix, add_name, &l, e);
	r = finish_list(r, &l, &l.list, e);
	return r ? r : names_of(&l.list, ret, e);
}

int wal_names(struct store *s, const char *cluster, const char *group, char ***ret, struct err *e)
{
	struct wal_list l = {0};
	int r = wal_list(s, cluster, group, &l, e);

	return r ? r : names_of(&l, ret, e);
}
