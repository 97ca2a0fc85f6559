/* The objects of the WAL archive: reading and listing them. See wal.h; format: store/README.md, "WAL file". They are
 * written by wal_put.c. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/clean.h"
#include "src/base/crc32c.h"
#include "src/base/cur.h"
#include "store/codec.h"
#include "store/repo.h"
#include "store/wal_priv.h"

/* ---- reading ---- */

struct walfile {
	struct object *object;
	char name[WAL_OBJECT_NAME];
	struct wal_info info;
	uint32_t frame, n;
	struct wal_frame *frames;
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
	struct cur c = cur_of(p, WAL_TRAILER);
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
	if (magic != WAL_MAGIC_END || crc != crc32c(0, p, WAL_TRAILER - 4))
		return err_set(e, -EBADMSG, "object %s: truncated or damaged", w->name);
	if (w->frame < 4096 || w->frame > WAL_FRAME_MAX || (w->frame & (w->frame - 1)) ||
		w->info.size > WAL_FILE_MAX || w->n != (w->info.size + w->frame - 1) / w->frame ||
		size < WAL_HEAD + (uint64_t)w->n * WAL_FRAME_ENTRY + WAL_TRAILER)
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
static int open_tail(struct store *s, const char *cluster, const char *name, uint8_t tail[WAL_TRAILER],
	struct walfile **ret, struct err *e)
{
	_cleanup_(walfile_freep) struct walfile *w = calloc(1, sizeof(*w));
	struct object_info object;
	int r = w ? wal_object_name(w->name, WAL_TREE, cluster, name, e) : err_sys(e, -ENOMEM, "%s", name);

	if (!r)
		r = backend_stat(s->backend, w->name, &object, e);
	if (r == -ENOENT)
		return err_set(e, r, "%s is not in the archive of cluster \"%s\"", name, cluster);
	if (!r && object.size < WAL_HEAD + WAL_TRAILER)
		r = err_set(e, -EBADMSG, "object %s has %llu bytes: not a WAL file", w->name,
			(unsigned long long)object.size);
	if (!r)
		r = backend_open(s->backend, w->name, &w->object, e);
	if (!r)
		r = read_exactly(w, object.size - WAL_TRAILER, tail, WAL_TRAILER, e);
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
	uint8_t tail[WAL_TRAILER];
	int r = open_tail(s, cluster, name, tail, &w, e);

	if (!r)
		*ret = w->info;
	return r;
}

static int load_table(struct walfile *w, const uint8_t tail[WAL_TRAILER], struct err *e)
{
	size_t len = (size_t)w->n * WAL_FRAME_ENTRY;
	_cleanup_(freep) uint8_t *table = malloc(len + 1);
	struct cur crc = cur_of(tail + 48, 4), c;
	uint64_t end = w->info.stored - WAL_TRAILER - len, off = WAL_HEAD;
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
		struct wal_frame *f = &w->frames[i];
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

static size_t frame_len(const struct walfile *w, uint32_t n)
{
	return n + 1 == w->n ? (size_t)(w->info.size - (uint64_t)n * w->frame) : w->frame;
}

/* Reads frame n by way of packed and unpacks it to raw, where there is room for both. */
static int read_frame(
	struct walfile *w, struct codec *codec, uint32_t n, uint8_t *packed, uint8_t *raw, struct err *e)
{
	const struct wal_frame *f = &w->frames[n];
	size_t raw_len = frame_len(w, n);
	int r = read_exactly(w, w->offs[n], packed, f->len, e);

	if (r < 0)
		return r;
	if (crc32c(0, packed, f->len) != f->crc)
		return err_set(e, -EBADMSG, "object %s: frame %u is damaged", w->name, n);
	if (codec_unpack(codec, f->codec, packed, f->len, NULL, 0, raw, raw_len) < 0 ||
		crc32c(0, raw, raw_len) != f->raw_crc)
		return err_set(e, -EBADMSG, "object %s: frame %u does not unpack to what it was", w->name, n);
	return 0;
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
	_cleanup_(freep) uint8_t *packed = malloc((size_t)w->frames[l->n].len + 1);
	_cleanup_(freep) uint8_t *raw = malloc(frame_len(w, l->n) + 1);
	struct decoder *d = packed && raw ? repo_take_decoder(l->store) : NULL;
	int r;

	(void)id;
	if (!d)
		return err_sys(e, -ENOMEM, "object %s", w->name);
	r = read_frame(w, decoder_codec(d), l->n, packed, raw, e);
	repo_give_decoder(l->store, d);
	if (r < 0)
		return r;
	*ret = MOVE(raw);
	*ret_len = frame_len(w, l->n);
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
	uint8_t tail[WAL_TRAILER];
	int r = open_tail(s, cluster, name, tail, &w, e);

	if (!r)
		r = load_table(w, tail, e);
	if (!r)
		r = file_open_source(s, w->info.size, w->frame, &wal_source, w, ret, e);
	if (!r)
		w = NULL;
	return r;
}

int wal_copy(
	struct store *s, const char *cluster, const char *name, wal_copy_fn *fn, void *arg, struct err *e)
{
	_cleanup_(walfile_freep) struct walfile *w = NULL;
	_cleanup_(freep) uint8_t *packed = NULL, *raw = NULL;
	uint8_t tail[WAL_TRAILER];
	struct decoder *d;
	int r = open_tail(s, cluster, name, tail, &w, e);

	if (!r)
		r = load_table(w, tail, e);
	if (r < 0)
		return r;
	packed = malloc(codec_bound(w->frame));
	raw = malloc(w->frame);
	d = packed && raw ? repo_take_decoder(s) : NULL;
	if (!d)
		return err_sys(e, -ENOMEM, "object %s", w->name);
	for (uint32_t i = 0; i < w->n && !r; i++) {
		r = read_frame(w, decoder_codec(d), i, packed, raw, e);
		if (!r)
			r = fn(arg, raw, frame_len(w, i), e);
	}
	repo_give_decoder(s, d);
	return r;
}

void wal_advise(struct store *s, const char *cluster, const char *name)
{
	char object[WAL_OBJECT_NAME];
	struct object_info info;
	struct object *o;

	if (wal_object_name(object, WAL_TREE, cluster, name, NULL) < 0 ||
		backend_stat(s->backend, object, &info, NULL) < 0 ||
		backend_open(s->backend, object, &o, NULL) < 0)
		return;
	object_advise(o, 0, (size_t)info.size);
	object_close(o);
}

/* ---- removing ---- */

int wal_remove(struct store *s, const char *cluster, const char *name, struct err *e)
{
	char object[WAL_OBJECT_NAME];
	int r = wal_object_name(object, WAL_TREE, cluster, name, e), r2;

	if (r < 0)
		return r;
	/* The note first: nobody would find one without its file again. And afterwards once more: a reader may have
	 * made it anew in between. */
	r = wal_note_remove(s, cluster, name, e);
	if (r < 0 && r != -ENOENT)
		return r;
	r = backend_remove(s->backend, object, e);
	if (r < 0 && r != -ENOENT)
		return r;
	r2 = wal_note_remove(s, cluster, name, e);
	if (r2 < 0 && r2 != -ENOENT)
		return r2;
	return r < 0 ? err_set(e, r, "%s is not in the archive of cluster \"%s\"", name, cluster) : 0;
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
	l.skip = (size_t)snprintf(prefix, sizeof(prefix), WAL_TREE "/%.63s/%.63s", cluster, group) + 1;
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

	snprintf(prefix, sizeof(prefix), WAL_TREE "/%.63s", cluster);
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
