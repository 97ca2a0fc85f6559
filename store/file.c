/* Reading contents. A file keeps the last leaf of its map pinned, so that a sequential read asks the cache
 * for the chunk only. See file.h. */
#include "store/file.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/clean.h"
#include "store/advice.h"
#include "store/map.h"
#include "store/repo.h"
#include "store/rope.h"

CLEANUP_DEFINE(struct advice, advice_free)

#define ZEROES (1u << 20) /* the largest chunk */
static const uint8_t zeroes[ZEROES];
#define ROPE_STEP (64u << 10) /* what a rope, whose pieces have any size, gives for its chunk size */

struct file {
	struct store *store;
	const struct file_source *source; /* NULL: the content's map */
	void *source_arg;
	struct content content;
	uint8_t *inlined; /* our copy */
	uint32_t chunk;	  /* its size */

	pthread_mutex_t lock; /* rank: above the cache's; guards leaf and leaf_no */
	struct blob *leaf;    /* a map node of level 1, or NULL */
	uint64_t leaf_no;
};

int file_open(struct store *s, const struct content *c, struct file **ret, struct err *e)
{
	struct file *f;

	if (!c->inlined && !content_is_rope(c) &&
		(c->chunk_shift < 12 || c->chunk_shift > 20 ||
			(c->size && map_height(map_chunks(c->size, c->chunk_shift)) != c->height)))
		return err_set(e, -EBADMSG,
			"a file map of height %u over chunks of 2^%u cannot hold %llu bytes", c->height,
			c->chunk_shift, (unsigned long long)c->size);
	f = calloc(1, sizeof(*f));
	if (!f)
		return err_sys(e, -ENOMEM, "opening a file");
	f->store = s;
	f->content = *c;
	f->chunk = c->inlined ? ZEROES : content_is_rope(c) ? ROPE_STEP : 1u << c->chunk_shift;
	pthread_mutex_init(&f->lock, NULL);
	if (c->inlined) {
		f->inlined = malloc((size_t)c->size + 1);
		if (!f->inlined) {
			file_free(f);
			return err_sys(e, -ENOMEM, "opening a file");
		}
		memcpy(f->inlined, c->inlined, (size_t)c->size);
		f->content.inlined = f->inlined;
	}
	*ret = f;
	return 0;
}

int file_open_source(struct store *s, uint64_t size, uint32_t chunk, const struct file_source *source,
	void *arg, struct file **ret, struct err *e)
{
	struct file *f = calloc(1, sizeof(*f));

	if (!f)
		return err_sys(e, -ENOMEM, "opening a file");
	f->store = s;
	f->source = source;
	f->source_arg = arg;
	f->content.size = size;
	f->chunk = chunk;
	pthread_mutex_init(&f->lock, NULL);
	*ret = f;
	return 0;
}

void file_free(struct file *f)
{
	if (!f)
		return;
	if (f->source)
		f->source->free(f->source_arg);
	blob_release(f->leaf);
	pthread_mutex_destroy(&f->lock);
	free(f->inlined);
	free(f);
}

uint64_t file_size(const struct file *f)
{
	return f->content.size;
}

uint32_t file_chunk_size(const struct file *f)
{
	return f->chunk;
}

int file_chunk_ref(struct file *f, uint64_t n, struct digest *ret, struct err *e)
{
	struct content leaf = f->content;
	struct blob *b;
	struct digest id;
	int r;

	if (f->content.height == 0) {
		*ret = f->content.map;
		return 0;
	}
	pthread_mutex_lock(&f->lock);
	if (f->leaf && f->leaf_no == n >> MAP_SHIFT) {
		r = map_ref(blob_data(f->leaf), blob_len(f->leaf), n & (MAP_FANOUT - 1), ret, e);
		pthread_mutex_unlock(&f->lock);
		return r;
	}
	pthread_mutex_unlock(&f->lock);
	/* The leaf itself is what the map of one level less calls a chunk. */
	leaf.height--;
	r = map_find(f->store, &leaf, n >> MAP_SHIFT, &id, e);
	if (r < 0)
		return r;
	if (digest_is_zero(&id)) {
		*ret = id;
		return 0;
	}
	r = repo_blob(f->store, &id, RECORD_MAP, &b, e);
	if (r < 0)
		return r;
	r = map_ref(blob_data(b), blob_len(b), n & (MAP_FANOUT - 1), ret, e);
	pthread_mutex_lock(&f->lock);
	struct blob *old = f->leaf;

	f->leaf = b;
	f->leaf_no = n >> MAP_SHIFT;
	pthread_mutex_unlock(&f->lock);
	blob_release(old);
	return r;
}

/* Bytes of chunk n: the chunk size, less for the last one. */
static size_t chunk_len(const struct file *f, uint64_t n)
{
	uint64_t left = f->content.size - n * f->chunk;

	return left < f->chunk ? (size_t)left : f->chunk;
}

/* The whole chunk n as a slice. */
static int chunk_slice(struct file *f, uint64_t n, struct slice *ret, struct err *e)
{
	struct blob *b = NULL;
	struct digest id;
	char hex[DIGEST_HEX];
	int r;

	if (f->inlined) {
		*ret = (struct slice){f->inlined, (size_t)f->content.size, NULL};
		return 0;
	}
	if (f->source) {
		r = f->source->get(f->source_arg, f->store, n, &id, &b, e);
	} else {
		r = file_chunk_ref(f, n, &id, e);
		if (!r && digest_is_zero(&id)) {
			*ret = (struct slice){zeroes, chunk_len(f, n), NULL};
			return 0;
		}
		if (!r)
			r = repo_blob(f->store, &id, RECORD_CHUNK, &b, e);
	}
	if (r < 0)
		return r;
	if (blob_len(b) != chunk_len(f, n)) {
		r = err_set(e, -EBADMSG, "chunk %s has %zu bytes where the file wants %zu",
			digest_hex(&id, hex), blob_len(b), chunk_len(f, n));
		blob_release(b);
		return r;
	}
	*ret = (struct slice){blob_data(b), blob_len(b), b};
	return 0;
}

/* What a rope has from off on, as far as its piece goes. */
static int rope_slice(struct file *f, uint64_t off, struct slice *ret, struct err *e)
{
	struct rope_piece at;
	struct blob *b;
	char hex[DIGEST_HEX];
	uint64_t skip;
	int r = rope_find(f->store, &f->content, off, &at, e);

	if (r < 0)
		return r;
	skip = off - at.start;
	if (at.literal) {
		*ret = (struct slice){at.literal + skip, (size_t)(at.len - skip), at.pin};
		return 0;
	}
	if (digest_is_zero(&at.id)) {
		*ret = (struct slice){
			zeroes, at.len - skip < ZEROES ? (size_t)(at.len - skip) : ZEROES, NULL};
		return 0;
	}
	r = repo_blob(f->store, &at.id, RECORD_CHUNK, &b, e);
	if (r < 0)
		return r;
	if (blob_len(b) != at.len) {
		r = err_set(e, -EBADMSG, "chunk %s has %zu bytes where the file wants %llu",
			digest_hex(&at.id, hex), blob_len(b), (unsigned long long)at.len);
		blob_release(b);
		return r;
	}
	*ret = (struct slice){blob_data(b) + skip, blob_len(b) - (size_t)skip, b};
	return 0;
}

void slice_release(struct slice *sl)
{
	blob_release(sl->pin);
	*sl = (struct slice){0};
}

int file_slices(struct file *f, uint64_t off, size_t n, struct slice *out, unsigned *count, struct err *e)
{
	unsigned used = 0;

	if (off >= f->content.size)
		n = 0;
	else if (n > f->content.size - off)
		n = (size_t)(f->content.size - off);
	while (n && used < *count) {
		bool rope = !f->source && content_is_rope(&f->content);
		size_t skip = rope ? 0 : (size_t)(off & (f->chunk - 1));
		struct slice *sl = &out[used];
		int r = rope ? rope_slice(f, off, sl, e) : chunk_slice(f, off / f->chunk, sl, e);

		if (r < 0) {
			while (used)
				slice_release(&out[--used]);
			return r;
		}
		sl->p += skip;
		sl->len -= skip;
		if (sl->len > n)
			sl->len = n;
		off += sl->len;
		n -= sl->len;
		used++;
	}
	*count = used;
	return 0;
}

ssize_t file_read(struct file *f, uint64_t off, void *p, size_t n, struct err *e)
{
	uint8_t *to = p;

	for (;;) {
		struct slice sl;
		unsigned count = 1;
		int r = file_slices(f, off, n, &sl, &count, e);

		if (r < 0)
			return r;
		if (!count)
			break;
		memcpy(to, sl.p, sl.len);
		to += sl.len;
		off += sl.len;
		n -= sl.len;
		slice_release(&sl);
	}
	return to - (uint8_t *)p;
}

void file_prefetch(struct file *f, uint64_t off, size_t n)
{
	while (n && off < f->content.size) {
		struct slice sl;
		unsigned count = 1;

		if (file_slices(f, off, n, &sl, &count, NULL) < 0 || !count)
			return;
		off += sl.len;
		n -= sl.len;
		slice_release(&sl);
	}
}

/* The name of the chunk that has the byte at off, and where it ends; zeroes for a literal. */
static int chunk_at(struct file *f, uint64_t off, struct digest *ret, uint64_t *end, struct err *e)
{
	struct rope_piece at;
	int r;

	if (!content_is_rope(&f->content)) {
		*end = (off / f->chunk + 1) * f->chunk;
		return file_chunk_ref(f, off / f->chunk, ret, e);
	}
	r = rope_find(f->store, &f->content, off, &at, e);
	if (r < 0)
		return r;
	blob_release(at.pin);
	*ret = at.id;
	*end = at.start + at.len;
	return 0;
}

void file_advise(struct file *f, uint64_t off, size_t n)
{
	uint64_t end = off + n < f->content.size ? off + n : f->content.size, next;
	_cleanup_(advice_freep) struct advice *a = NULL;

	if (f->inlined || f->source || !(a = advice_new(f->store)))
		return;
	for (; off < end; off = next) {
		struct digest id;

		if (chunk_at(f, off, &id, &next, NULL) < 0)
			break;
		if (!digest_is_zero(&id))
			advice_note(a, &id);
	}
	advice_give(a);
}

/* How many chunks from n on, which is zero, its map says to be zero in one word. */
static int zero_span(struct file *f, uint64_t n, uint64_t *ret, struct err *e)
{
	*ret = 1;
	for (unsigned up = f->content.height; up > 0; up--) {
		/* A node `up` levels above the chunks is what a map of so many less calls a chunk. */
		struct content above = f->content;
		uint64_t span = (uint64_t)1 << (MAP_SHIFT * up);
		struct digest id;
		int r;

		above.height = (uint8_t)(above.height - up);
		r = map_find(f->store, &above, n / span, &id, e);
		if (r < 0)
			return r;
		if (digest_is_zero(&id)) {
			*ret = span - n % span;
			return 0;
		}
	}
	return 0;
}

/* The first chunk at or after off that is zero, or is not; the end counts as a hole. */
static int seek(struct file *f, uint64_t off, bool hole, uint64_t *ret, struct err *e)
{
	uint64_t chunks;

	if (off >= f->content.size)
		return -ENXIO;
	if (f->inlined || f->source || content_is_rope(&f->content)) {
		*ret = hole ? f->content.size : off;
		return 0;
	}
	chunks = map_chunks(f->content.size, f->content.chunk_shift);
	for (uint64_t n = off / f->chunk, step; n < chunks; n += step) {
		struct digest id;
		int r = file_chunk_ref(f, n, &id, e);

		if (r < 0)
			return r;
		if (digest_is_zero(&id) == hole) {
			*ret = n * f->chunk > off ? n * f->chunk : off;
			return 0;
		}
		step = 1;
		if (!hole)
			r = zero_span(f, n, &step, e);
		if (r < 0)
			return r;
	}
	if (!hole)
		return -ENXIO;
	*ret = f->content.size;
	return 0;
}

int file_seek_data(struct file *f, uint64_t off, uint64_t *ret, struct err *e)
{
	return seek(f, off, false, ret, e);
}

int file_seek_hole(struct file *f, uint64_t off, uint64_t *ret, struct err *e)
{
	return seek(f, off, true, ret, e);
}
