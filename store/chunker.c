/* From bytes to a record: zero, at home, known, delta, compressed, raw; in that order. See chunker.h. */
#include "store/chunker.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/crc32c.h"
#include "store/codec.h"
#include "store/decoder.h"

#define CHAIN_OFF UINT32_MAX

struct chunker {
	struct store *store;
	struct packing *packing;
	struct codec *codec;
	struct decoder *decoder;
	size_t cap;
	uint8_t *plain; /* standalone result */
	uint8_t *delta, *other;
};

int chunker_new(struct store *s, struct packing *p, size_t max, struct chunker **ret)
{
	struct chunker *c = calloc(1, sizeof(*c));
	int r = -ENOMEM;

	if (!c)
		return r;
	c->store = s;
	c->packing = p;
	c->cap = codec_bound(max);
	c->plain = malloc(c->cap);
	c->delta = malloc(c->cap);
	c->other = malloc(c->cap);
	if (c->plain && c->delta && c->other)
		r = codec_new(s->settings.level, &c->codec);
	if (!r)
		r = decoder_new(&c->decoder);
	if (r < 0) {
		chunker_free(c);
		return r;
	}
	*ret = c;
	return 0;
}

void chunker_free(struct chunker *c)
{
	if (!c)
		return;
	codec_free(c->codec);
	decoder_free(c->decoder);
	free(c->plain);
	free(c->delta);
	free(c->other);
	free(c);
}

static bool is_zero(const uint8_t *p, size_t n)
{
	return !p[0] && !memcmp(p, p + 1, n - 1);
}

/* The chunk alone: compressed when that makes it smaller. */
static void pack_alone(struct chunker *c, const void *p, size_t n, struct record *rec)
{
	size_t len = codec_pack(c->codec, CODEC_ZSTD, p, n, NULL, 0, c->plain, c->cap);
	bool smaller = len && len < n;

	rec->codec = smaller ? CODEC_ZSTD : CODEC_RAW;
	rec->payload = smaller ? c->plain : p;
	rec->payload_len = (uint32_t)(smaller ? len : n);
}

/* What kind of delta is tried first, of which chains how long. */
struct shape {
	enum codec_kind first;
	unsigned enough; /* a result of this part of the chunk is not worth another try */
	unsigned chains; /* times as long as the setting says */
};
static const struct shape shape_place = {CODEC_XOR, 100, 1};
static const struct shape shape_text = {CODEC_LINES, 64, CHUNKER_TEXT_CHAINS};

/* The better of two deltas. The first takes a fraction of the time, so the other is made only when that leaves too much. The
 * result lies in c->delta; its length, or 0. */
static size_t best_delta(struct chunker *c, const struct shape *shape, const void *p, size_t n,
	const uint8_t *ref, size_t ref_len, enum codec_kind *kind)
{
	size_t first = codec_pack(c->codec, shape->first, p, n, ref, ref_len, c->delta, c->cap), prefix;
	uint8_t *swap = c->delta;

	*kind = shape->first;
	if (first && first <= n / shape->enough)
		return first;
	prefix = codec_pack(c->codec, CODEC_PREFIX, p, n, ref, ref_len, c->other, c->cap);
	if (!prefix || (first && first <= prefix))
		return first;
	c->delta = c->other;
	c->other = swap;
	*kind = CODEC_PREFIX;
	return prefix;
}

/* Tries a delta against home, or the root of its chain when that is as long as may be. True when rec holds
 * one that is at most half of what the chunk takes alone. What the root takes is a good guess of that, so
 * only a doubtful delta is compared with the real thing, which rec then holds when false is returned; *alone
 * tells. */
static bool pack_delta(struct chunker *c, const struct shape *shape, const void *p, size_t n,
	const struct digest *home, struct record *rec, bool *alone)
{
	enum codec_kind kind;
	struct decoded got;
	size_t len;
	bool deep;

	*alone = false;
	if (decoder_load(c->decoder, c->store->index, home, &got, NULL) < 0)
		return false;
	deep = got.depth >= shape->chains * c->store->settings.delta_chain;
	len = best_delta(
		c, shape, p, n, deep ? got.root_raw : got.raw, deep ? got.root_len : got.raw_len, &kind);
	if (!len)
		return false;
	if (2 * (len + DIGEST_LEN) > got.root_stored) {
		pack_alone(c, p, n, rec);
		*alone = true;
		if (2 * (len + DIGEST_LEN) > rec->payload_len)
			return false;
	}
	rec->codec = kind;
	rec->depth = deep ? 1 : (uint8_t)(got.depth + 1);
	rec->base = deep ? got.root : *home;
	rec->payload = c->delta;
	rec->payload_len = (uint32_t)len;
	return true;
}

static int store_chunk(struct chunker *c, enum record_kind kind, const struct shape *shape, const void *p,
	size_t n, const struct digest *home, struct chunk_result *ret, struct err *e)
{
	struct record rec = {.kind = kind, .raw_len = (uint32_t)n};
	struct chunk_result res = {0};
	struct place place;
	bool alone = false;
	int r;

	if (home && digest_is_zero(home))
		home = NULL;
	res.crc = rec.raw_crc = crc32c(0, p, n);
	if (kind == RECORD_CHUNK && is_zero(p, n)) {
		*ret = res;
		return 0;
	}
	res.id = digest_of(p, n);
	/* Where packs were lost, a chunk that is only believed to be there is stored again. */
	if (home && digest_eq(home, &res.id) &&
		(index_is_whole(c->store->index) || index_find(c->store->index, home, &place))) {
		res.at_home = true;
		*ret = res;
		return 0;
	}
	r = packing_claim(c->packing, &res.id, &res.stored);
	if (r == 0) {
		*ret = res;
		return 0;
	}
	if (r != -ENOENT)
		return err_sys(e, r, "storing a chunk");
	res.delta = home && c->store->settings.delta_chain != CHAIN_OFF &&
		    pack_delta(c, shape, p, n, home, &rec, &alone);
	if (!res.delta && !alone)
		pack_alone(c, p, n, &rec);
	r = packing_put(c->packing, &rec, &res.id, e);
	if (r < 0) {
		packing_abandon(c->packing, &res.id);
		return r;
	}
	res.fresh = true;
	res.stored = (uint32_t)record_size(&rec);
	*ret = res;
	return 0;
}

int chunker_store(struct chunker *c, enum record_kind kind, const void *p, size_t n,
	const struct digest *home, struct chunk_result *ret, struct err *e)
{
	return store_chunk(c, kind, &shape_place, p, n, home, ret, e);
}

int chunker_store_text(struct chunker *c, const void *p, size_t n, const struct digest *home,
	struct chunk_result *ret, struct err *e)
{
	return store_chunk(c, RECORD_CHUNK, &shape_text, p, n, home, ret, e);
}
