/* Growing segments as pieces: reading. See wal_partial.h; one piece: wal_piece.h; writing: wal_partial_put.c.
 *
 * What is there is listed anew whenever it is needed, since other processes add, merge and remove pieces; their
 * names alone tell how far they reach. Who lists between the putting of a whole and the removal of its parts, and
 * comes late, lists again. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/clean.h"
#include "store/repo.h"
#include "store/wal.h"
#include "store/wal_partial_priv.h"

#define TREE "walpart"
#define TRIES 10 /* listings; each that comes late means that somebody merged meanwhile */
#define BLOCK WAL_PARTIAL_BLOCK
#define OBJECT_MAX (WAL_PIECE_HEAD + WAL_PIECE_MAX)

CLEANUP_DEFINE(struct object, object_close)
CLEANUP_DEFINE(struct file, file_free)

/* ---- names and listings ---- */

int pieces_folder(char out[WAL_OBJECT_NAME], const char *cluster, struct err *e)
{
	int r = store_check_cluster_name(cluster, e);

	if (!r)
		snprintf(out, WAL_OBJECT_NAME, TREE "/%.63s", cluster);
	return r;
}

void piece_name(
	char out[WAL_OBJECT_NAME], const char *cluster, const char *segment, uint32_t start, uint32_t end)
{
	char suffix[WAL_PIECE_SUFFIX + 1];

	snprintf(out, WAL_OBJECT_NAME, TREE "/%.63s/%.63s%s", cluster, segment,
		wal_piece_suffix(start, end, suffix));
}

void pieces_done(struct pieces *l)
{
	free(l->v);
}

static int add_piece(void *arg, const char *name, const struct object_info *info)
{
	struct pieces *l = arg;
	struct piece p = {.info = *info};
	struct piece *more;
	size_t len;

	name += l->skip;
	if (!wal_piece_name_parse(name, strlen(name), &len, &p.start, &p.end) || len != strlen(l->segment) ||
		memcmp(name, l->segment, len) != 0)
		return 0;
	more = reallocarray(l->v, l->n + 1, sizeof(*more));
	if (!more)
		return -ENOMEM;
	l->v = more;
	l->v[l->n++] = p;
	return 0;
}

static int by_place(const void *a, const void *b)
{
	const struct piece *x = a, *y = b;

	if (x->start != y->start)
		return x->start < y->start ? -1 : 1;
	return x->end > y->end ? -1 : x->end < y->end;
}

int pieces_list(struct store *s, const char *cluster, const char *segment, struct pieces *ret, struct err *e)
{
	char folder[WAL_OBJECT_NAME];
	int r = pieces_folder(folder, cluster, e);

	if (!r && !wal_object_name_is_safe(segment))
		r = err_set(e, -EINVAL, "\"%.80s\" cannot name a segment", segment);
	if (r < 0)
		return r;
	pieces_done(ret);
	*ret = (struct pieces){.segment = segment, .skip = strlen(folder) + 1};
	r = backend_list(s->backend, folder, add_piece, ret, e);
	if (r < 0)
		return r == -ENOMEM ? err_sys(e, r, "listing the pieces of %s", segment) : r;
	if (ret->n)
		qsort(ret->v, ret->n, sizeof(*ret->v), by_place);
	return 0;
}

/* Bytes from 0 on, as the names have it. */
static uint64_t reach(const struct pieces *l)
{
	uint64_t at = 0;

	for (size_t i = 0; i < l->n && l->v[i].start <= at; i++)
		at = l->v[i].end > at ? l->v[i].end : at;
	return at;
}

/* ---- one piece ---- */

int piece_read(struct store *s, const char *object, uint32_t start, uint32_t end, uint8_t *out,
	uint32_t *ret_size, struct err *e)
{
	_cleanup_(freep) void *p = NULL;
	struct wal_piece piece;
	struct decoder *d;
	size_t n;
	int r = backend_get(s->backend, object, OBJECT_MAX, &p, &n, e);

	if (r == -EFBIG)
		return err_set(e, -EBADMSG, "object %s is too long for a piece of WAL", object);
	if (!r)
		r = wal_piece_parse(p, n, s->id, object, &piece, e);
	if (r < 0)
		return r;
	if (piece.start != start || piece.end != end)
		return err_set(e, -EBADMSG, "object %s holds bytes %u to %u", object, piece.start, piece.end);
	d = repo_take_decoder(s);
	if (!d)
		return err_sys(e, -ENOMEM, "object %s", object);
	r = wal_piece_unpack(decoder_codec(d), &piece, object, out, e);
	repo_give_decoder(s, d);
	*ret_size = piece.segment_size;
	return r;
}

/* ---- one block ---- */

int pieces_read_block(struct store *s, const char *cluster, const struct pieces *l, uint32_t block,
	uint8_t *out, uint32_t *ret_n, int *ret_bad, struct err *e)
{
	_cleanup_(freep) uint8_t *one = malloc(BLOCK);
	uint32_t base = block * BLOCK, at = base, size;
	int r;

	if (!one)
		return err_sys(e, -ENOMEM, "%s", l->segment);
	*ret_bad = 0;
	for (size_t i = 0; i < l->n && l->v[i].start <= at; i++) {
		const struct piece *p = &l->v[i];
		char object[WAL_OBJECT_NAME];

		if (p->start < base || p->end <= at || p->start - base >= BLOCK)
			continue;
		piece_name(object, cluster, l->segment, p->start, p->end);
		r = piece_read(s, object, p->start, p->end, one, &size, e);
		if (r == -EBADMSG || r == -ENOENT) {
			*ret_bad = r;
			continue;
		}
		if (r < 0)
			return r;
		/* Only what is new: what stands there was good. */
		memcpy(out + (at - base), one + (at - p->start), p->end - at);
		at = p->end;
	}
	*ret_n = at - base;
	return 0;
}

/* At least `want` bytes of a block, with zeroes after them, wherever they are by now: in pieces, in pieces that were merged
 * since, in the archive. */
static int find_block(struct store *s, const char *cluster, const char *segment, uint32_t block,
	uint32_t want, uint8_t *out, struct err *e)
{
	_cleanup_(pieces_done) struct pieces l = {0};
	int bad = -ENOENT;

	for (int i = 0; i < TRIES && bad == -ENOENT; i++) {
		_cleanup_(file_freep) struct file *f = NULL;
		uint32_t n = 0;
		ssize_t got;
		int r = pieces_list(s, cluster, segment, &l, e);

		if (!r)
			r = pieces_read_block(s, cluster, &l, block, out, &n, &bad, e);
		if (r < 0)
			return r;
		if (n >= want)
			return 0;
		/* bad: e tells of a piece, which says more than that the archive does not have it. */
		r = wal_open(s, cluster, segment, &f, bad ? NULL : e);
		if (!r) {
			got = file_read(f, (uint64_t)block * BLOCK, out, want, e);
			return got < 0	     ? (int)got
			       : got == want ? 0
					     : err_set(e, -EBADMSG, "%s is shorter", segment);
		}
		if (r != -ENOENT || !l.n)
			return r;
		if (!bad)
			return err_set(e, -EBADMSG, "%s: its pieces leave a hole at byte %u", segment,
				block * BLOCK + n);
	}
	return bad;
}

/* ---- reading ---- */

struct names {
	size_t skip;
	char **v;
	size_t n;
};

static int add_name(void *arg, const char *name, const struct object_info *info)
{
	struct names *l = arg;
	uint32_t start, end;
	size_t len;
	char **more;

	(void)info;
	name += l->skip;
	if (!wal_piece_name_parse(name, strlen(name), &len, &start, &end))
		return 0;
	for (size_t i = l->n; i > 0; i--) {
		if (!strncmp(l->v[i - 1], name, len) && !l->v[i - 1][len])
			return 0;
	}
	more = reallocarray(l->v, l->n + 2, sizeof(*more));
	if (!more)
		return -ENOMEM;
	l->v = more;
	more[l->n] = strndup(name, len);
	if (!more[l->n])
		return -ENOMEM;
	more[++l->n] = NULL;
	return 0;
}

static int by_name(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

int wal_partial_names(struct store *s, const char *cluster, char ***ret, struct err *e)
{
	struct names l = {.v = calloc(1, sizeof(char *))};
	char folder[WAL_OBJECT_NAME];
	int r = pieces_folder(folder, cluster, e);

	l.skip = r < 0 ? 0 : strlen(folder) + 1;
	if (!r)
		r = l.v ? backend_list(s->backend, folder, add_name, &l, e) : -ENOMEM;
	if (r < 0) {
		strv_free(l.v);
		return r == -ENOMEM ? err_sys(e, r, "listing partial segments") : r;
	}
	qsort(l.v, l.n, sizeof(*l.v), by_name);
	*ret = l.v;
	return 0;
}

/* The segment's size, from the first head that can be read. -ENOENT: they were merged or removed meanwhile. */
static int read_segment_size(
	struct store *s, const char *cluster, const struct pieces *l, uint32_t *ret, struct err *e)
{
	int r = -ENOENT;

	for (size_t i = 0; i < l->n; i++) {
		_cleanup_(object_closep) struct object *o = NULL;
		char object[WAL_OBJECT_NAME];
		uint8_t head[WAL_PIECE_HEAD];
		struct wal_piece piece;
		ssize_t n = 0;

		piece_name(object, cluster, l->segment, l->v[i].start, l->v[i].end);
		r = backend_open(s->backend, object, &o, e);
		if (!r)
			n = object_read(o, 0, head, sizeof(head), e);
		if (!r)
			r = n < 0 ? (int)n : wal_piece_parse_head(head, (size_t)n, s->id, object, &piece, e);
		if (!r) {
			*ret = piece.segment_size;
			return 0;
		}
		if (r != -EBADMSG)
			return r;
	}
	return r;
}

int wal_partial_stat(struct store *s, const char *cluster, const char *segment, struct wal_partial_info *ret,
	struct err *e)
{
	_cleanup_(pieces_done) struct pieces l = {0};
	struct wal_partial_info info;
	int r = -ENOENT;

	for (int i = 0; i < TRIES && r == -ENOENT; i++) {
		r = pieces_list(s, cluster, segment, &l, e);
		if (r < 0)
			return r;
		if (!l.n)
			return err_set(
				e, -ENOENT, "there is no partial %s in cluster \"%s\"", segment, cluster);
		info = (struct wal_partial_info){.length = reach(&l), .pieces = (unsigned)l.n};
		r = read_segment_size(s, cluster, &l, &info.segment_size, e);
		for (size_t k = 0; k < l.n; k++) {
			info.stored += l.v[k].info.size;
			if (tstamp_cmp(l.v[k].info.put, info.put) > 0)
				info.put = l.v[k].info.put;
		}
	}
	if (!r && info.length > info.segment_size)
		r = err_set(e, -EBADMSG, "%s: its pieces reach beyond its end", segment);
	if (!r)
		*ret = info;
	return r;
}

int wal_partial_load(struct store *s, const char *cluster, const char *segment, void *p, size_t cap,
	size_t *ret_n, struct err *e)
{
	_cleanup_(pieces_done) struct pieces l = {0};
	_cleanup_(freep) uint8_t *block = malloc(BLOCK);
	int r = block ? pieces_list(s, cluster, segment, &l, e) : err_sys(e, -ENOMEM, "%s", segment);
	uint64_t end = reach(&l) < cap ? reach(&l) : cap, at = 0;

	if (!r && !l.n)
		r = err_set(e, -ENOENT, "there is no partial %s in cluster \"%s\"", segment, cluster);
	while (!r && at < end) {
		uint32_t want = end - at < BLOCK ? (uint32_t)(end - at) : BLOCK;

		r = find_block(s, cluster, segment, (uint32_t)(at / BLOCK), want, block, e);
		if (r < 0)
			break;
		memcpy((uint8_t *)p + at, block, want);
		at += want;
	}
	*ret_n = (size_t)at;
	return r == -EBADMSG && at ? 0 : r;
}

/* ---- as a file ---- */

struct partial {
	char *cluster, *segment;
	uint32_t segment_size;
	uint64_t length; /* when it was opened; what came later is not shown */
};

static void partial_free(void *arg)
{
	struct partial *p = arg;

	if (!p)
		return;
	free(p->cluster);
	free(p->segment);
	free(p);
}

static void partial_freep(struct partial **p)
{
	partial_free(*p);
}

struct block_load {
	struct store *store;
	const struct partial *p;
	uint32_t block, want;
};

static int load_block(void *arg, const struct digest *id, uint8_t **ret, size_t *ret_len, struct err *e)
{
	struct block_load *l = arg;
	uint8_t *out = cache_alloc(l->store->cache, BLOCK);
	int r = 0;

	(void)id;
	if (!out)
		return err_sys(e, -ENOMEM, "%s", l->p->segment);
	if (l->want)
		r = find_block(l->store, l->p->cluster, l->p->segment, l->block, l->want, out, e);
	if (r < 0) {
		cache_dealloc(l->store->cache, out);
		return r;
	}
	memset(out + l->want, 0, BLOCK - l->want);
	*ret = out;
	*ret_len = BLOCK;
	return 0;
}

/* The cache knows a block by whose it is and how much of it there was; blocks of zeroes are one. */
static int get_block(
	void *arg, struct store *s, uint64_t n, struct digest *id, struct blob **ret, struct err *e)
{
	const struct partial *p = arg;
	uint64_t off = n * BLOCK, have = p->length > off ? p->length - off : 0;
	struct block_load l = {
		.store = s,
		.p = p,
		.block = (uint32_t)n,
		.want = have < BLOCK ? (uint32_t)have : BLOCK,
	};
	char key[256];

	snprintf(key, sizeof(key), TREE " %s %s %u %u", l.want ? p->cluster : "", l.want ? p->segment : "",
		l.want ? l.block : 0, l.want);
	*id = digest_of(key, strlen(key));
	return cache_get(s->cache, id, false, load_block, &l, ret, e);
}

static const struct file_source partial_source = {.get = get_block, .free = partial_free};

int wal_partial_open(struct store *s, const char *cluster, const char *segment, struct file **ret,
	struct wal_partial_info *ret_info, struct err *e)
{
	_cleanup_(partial_freep) struct partial *p = calloc(1, sizeof(*p));
	struct wal_partial_info info;
	int r = p ? wal_partial_stat(s, cluster, segment, &info, e) : err_sys(e, -ENOMEM, "%s", segment);

	if (r < 0)
		return r;
	p->cluster = strdup(cluster);
	p->segment = strdup(segment);
	p->segment_size = info.segment_size;
	p->length = info.length;
	if (!p->cluster || !p->segment)
		return err_sys(e, -ENOMEM, "%s", segment);
	r = file_open_source(s, info.segment_size, BLOCK, &partial_source, p, ret, e);
	if (r < 0)
		return r;
	p = NULL;
	if (ret_info)
		*ret_info = info;
	return 0;
}
