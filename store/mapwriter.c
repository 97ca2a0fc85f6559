/* Map nodes under construction. See mapwriter.h and map.h. */
#include "store/mapwriter.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/crc32c.h"
#include "store/map.h"

/* A node of level `level` (1: its references are chunks). */
struct seg {
	struct seg *next;
	unsigned level;
	uint64_t number; /* among the nodes of its level */
	unsigned filled;
	unsigned top;	  /* greatest reference number + 1 */
	uint64_t top_len; /* bytes under the greatest one; all others span the full width */
	struct digest refs[MAP_FANOUT];
	uint32_t crcs[MAP_FANOUT];
};

struct mapwriter {
	pthread_mutex_t lock; /* rank: leaf; guards the rest */
	struct seg *segs;
	uint64_t span[MAP_LEVELS + 2];	/* bytes under one reference of a node of level k */
	uint32_t shift[MAP_LEVELS + 2]; /* crc32c_shift of it */
};

int mapwriter_new(uint32_t chunk_size, struct mapwriter **ret)
{
	struct mapwriter *m = calloc(1, sizeof(*m));

	if (!m)
		return -ENOMEM;
	pthread_mutex_init(&m->lock, NULL);
	m->span[1] = chunk_size;
	for (int k = 2; k < MAP_LEVELS + 2; k++)
		if (__builtin_mul_overflow(m->span[k - 1], MAP_FANOUT, &m->span[k]))
			m->span[k] = UINT64_MAX;
	*ret = m;
	return 0;
}

void mapwriter_free(struct mapwriter *m)
{
	if (!m)
		return;
	for (struct seg *s = m->segs, *next; s; s = next) {
		next = s->next;
		free(s);
	}
	pthread_mutex_destroy(&m->lock);
	free(m);
}

/* Finds or makes a node; NULL without memory. The caller holds the lock. */
static struct seg *seg_at(struct mapwriter *m, unsigned level, uint64_t number)
{
	struct seg *s = m->segs;

	while (s && (s->level != level || s->number != number))
		s = s->next;
	if (!s && (s = malloc(sizeof(*s)))) {
		*s = (struct seg){.next = m->segs, .level = level, .number = number};
		m->segs = s;
	}
	return s;
}

static void detach(struct mapwriter *m, struct seg *s)
{
	struct seg **at = &m->segs;

	while (*at != s)
		at = &(*at)->next;
	*at = s->next;
}

/* The CRC of the bytes under a node and their count. */
static void seg_sum(struct mapwriter *m, const struct seg *s, uint32_t *crc, uint64_t *len)
{
	uint32_t c = s->crcs[0];

	if (!m->shift[s->level] && s->top > 1)
		m->shift[s->level] = crc32c_shift(m->span[s->level]);
	for (unsigned i = 1; i < s->top; i++)
		c = i + 1 < s->top || s->top_len == m->span[s->level]
			    ? crc32c_join(m->shift[s->level], c, s->crcs[i])
			    : crc32c_combine(c, s->crcs[i], s->top_len);
	*crc = c;
	*len = (s->top - 1) * m->span[s->level] + s->top_len;
}

/* Puts a reference; a node that is full leaves for the level above, and so on. Emitting happens outside of
 * the lock. */
static int put(struct mapwriter *m, unsigned level, uint64_t n, uint64_t len, const struct digest *id,
	uint32_t crc, mapwriter_emit_fn *emit, void *arg, struct err *e)
{
	struct digest ref = *id;

	for (;; level++, n >>= MAP_SHIFT) {
		unsigned i = (unsigned)(n & (MAP_FANOUT - 1));
		struct seg *s;
		int r = 0;

		if (level > MAP_LEVELS + 1)
			return err_set(e, -EFBIG, "a file with more chunks than a map can hold");
		pthread_mutex_lock(&m->lock);
		s = seg_at(m, level, n >> MAP_SHIFT);
		if (!s) {
			pthread_mutex_unlock(&m->lock);
			return err_sys(e, -ENOMEM, "a file map");
		}
		s->refs[i] = ref;
		s->crcs[i] = crc;
		s->filled++;
		if (i + 1 > s->top) {
			s->top = i + 1;
			s->top_len = len;
		}
		if (s->filled < MAP_FANOUT) {
			pthread_mutex_unlock(&m->lock);
			return 0;
		}
		detach(m, s);
		seg_sum(m, s, &crc, &len);
		pthread_mutex_unlock(&m->lock);
		r = emit(arg, s->refs, s->top * sizeof(*s->refs), &ref, e);
		free(s);
		if (r < 0)
			return r;
	}
}

int mapwriter_put(struct mapwriter *m, uint64_t n, size_t len, const struct digest *id, uint32_t crc,
	mapwriter_emit_fn *emit, void *arg, struct err *e)
{
	return put(m, 1, n, len, id, crc, emit, arg, e);
}

int mapwriter_finish(struct mapwriter *m, uint64_t chunks, mapwriter_emit_fn *emit, void *arg,
	struct digest *root, unsigned *height, uint32_t *crc, struct err *e)
{
	unsigned h = map_height(chunks);
	struct seg *s;

	/* What is not full is the last node of its level. */
	for (unsigned level = 1; level <= h; level++) {
		uint64_t number = (chunks - 1) >> (MAP_SHIFT * level), len;
		struct digest ref;
		uint32_t sum;
		int r;

		for (s = m->segs; s && (s->level != level || s->number != number); s = s->next)
			;
		if (!s)
			continue; /* it was full and has gone up by itself */
		if (s->filled != ((chunks - 1) >> (MAP_SHIFT * (level - 1)) & (MAP_FANOUT - 1)) + 1)
			break;
		detach(m, s);
		seg_sum(m, s, &sum, &len);
		r = emit(arg, s->refs, s->top * sizeof(*s->refs), &ref, e);
		free(s);
		if (!r)
			r = put(m, level + 1, number, len, &ref, sum, emit, arg, e);
		if (r < 0)
			return r;
	}
	/* What else is left has a chunk missing. */
	s = m->segs;
	if (!s || s->next || s->level != h + 1 || s->filled != 1)
		return err_set(e, -EIO, "a file map does not come to one root");
	*root = s->refs[0];
	*height = h;
	*crc = s->crcs[0];
	return 0;
}
