/* zstd frames (RFC 8878). A prefix delta is a frame made with the reference as raw content prefix
 * (ZSTD_CCtx_refPrefix): its matches reach back into bytes that both sides have. See codec.h.
 *
 * Measured on 16,427 changed chunks of 64 KiB (20 s of pgbench and a VACUUM between two backups,
 * tools/bench): alone 154.8 MB; prefix at level 3 (dfast) 12.9 MB in 1.1 s, at level 6 (lazy) 5.2 MB in 3.6
 * s; difference at any level about 14.5 MB in 0.65 s, of which nine tenths lie in the third of the chunks
 * where rows had moved. */
#include "store/codec.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <zstd.h>

#include "src/base/buf.h"
#include "src/base/cur.h"
#include "store/linediff.h"

#define PREFIX_LEVEL 6 /* the least level whose match finder sees all of the prefix */
#define XOR_LEVEL 1    /* zeroes and short repeats: more effort finds no more */

#define PLAN_LEVEL 12 /* plans are short */
#define PLAN_SHARE 4  /* a plan of more than this part of the bytes is no gain over a prefix */
#define PLAN_HEAD 4   /* its length */

/* What WAL repeats lies close by: zstd's fast match finder with a table of 32 KiB finds as much as level 3 does with
 * three tables ten times as large, and the processor's innermost cache holds it. */
#define WAL_LEVEL 3
#define WAL_WINDOW_LOG 20
#define WAL_HASH_LOG 13
#define WAL_MIN_MATCH 5

struct codec {
	ZSTD_CCtx *alone, *prefix, *xor, *plan;
	ZSTD_DCtx *unpack;
	uint8_t *diff; /* the difference under way */
	size_t diff_cap;
	struct linediff *lines;
	struct buf unpacked; /* a plan */
};

void codec_free(struct codec *c)
{
	if (!c)
		return;
	ZSTD_freeCCtx(c->alone);
	ZSTD_freeCCtx(c->prefix);
	ZSTD_freeCCtx(c->xor);
	ZSTD_freeCCtx(c->plan);
	ZSTD_freeDCtx(c->unpack);
	free(c->diff);
	linediff_free(c->lines);
	buf_free(&c->unpacked);
	free(c);
}

/* The record around a frame knows its size and has its checksum. */
static int set_up(ZSTD_CCtx *z, int level)
{
	if (ZSTD_isError(ZSTD_CCtx_setParameter(z, ZSTD_c_compressionLevel, level)) ||
		ZSTD_isError(ZSTD_CCtx_setParameter(z, ZSTD_c_checksumFlag, 0)) ||
		ZSTD_isError(ZSTD_CCtx_setParameter(z, ZSTD_c_contentSizeFlag, 0)))
		return -EINVAL;
	return 0;
}

int codec_new(int level, struct codec **ret)
{
	struct codec *c = calloc(1, sizeof(*c));

	if (!c)
		return -ENOMEM;
	c->alone = ZSTD_createCCtx();
	c->prefix = ZSTD_createCCtx();
	c->xor = ZSTD_createCCtx();
	c->plan = ZSTD_createCCtx();
	c->unpack = ZSTD_createDCtx();
	if (!c->alone || !c->prefix || !c->xor || !c->plan || !c->unpack || set_up(c->alone, level) < 0 ||
		set_up(c->prefix, level > PREFIX_LEVEL ? level : PREFIX_LEVEL) < 0 ||
		set_up(c->xor, XOR_LEVEL) < 0 || set_up(c->plan, PLAN_LEVEL) < 0 ||
		linediff_new(&c->lines) < 0) {
		codec_free(c);
		return -ENOMEM;
	}
	*ret = c;
	return 0;
}

int codec_new_wal(struct codec **ret)
{
	struct codec *c = NULL;
	int r = codec_new(WAL_LEVEL, &c);

	if (r < 0)
		return r;
	if (ZSTD_isError(ZSTD_CCtx_setParameter(c->alone, ZSTD_c_strategy, ZSTD_fast)) ||
		ZSTD_isError(ZSTD_CCtx_setParameter(c->alone, ZSTD_c_windowLog, WAL_WINDOW_LOG)) ||
		ZSTD_isError(ZSTD_CCtx_setParameter(c->alone, ZSTD_c_hashLog, WAL_HASH_LOG)) ||
		ZSTD_isError(ZSTD_CCtx_setParameter(c->alone, ZSTD_c_minMatch, WAL_MIN_MATCH))) {
		codec_free(c);
		return -EINVAL;
	}
	*ret = c;
	return 0;
}

size_t codec_bound(size_t n)
{
	return ZSTD_compressBound(n);
}

/* to = a ^ b as far as both go, then the rest of a. The loop is one that compilers make wide. */
static void difference(
	const uint8_t *restrict a, size_t n, const uint8_t *restrict b, size_t n_b, uint8_t *restrict to)
{
	size_t both = n < n_b ? n : n_b;

	for (size_t i = 0; i < both; i++)
		to[i] = a[i] ^ b[i];
	memcpy(to + both, a + both, n - both);
}

/* Length and frame. */
static size_t pack_lines(
	struct codec *c, const void *p, size_t n, const void *ref, size_t ref_len, uint8_t *out, size_t cap)
{
	const uint8_t *plan;
	size_t len = linediff_make(c->lines, p, n, ref, ref_len, n / PLAN_SHARE, &plan), packed;

	if (!len)
		return 0;
	for (unsigned i = 0; i < PLAN_HEAD; i++)
		out[i] = (uint8_t)(len >> (8 * i));
	packed = ZSTD_compress2(c->plan, out + PLAN_HEAD, cap - PLAN_HEAD, plan, len);
	return ZSTD_isError(packed) ? 0 : PLAN_HEAD + packed;
}

size_t codec_plan_len(const void *p, size_t n, size_t raw_len)
{
	struct cur c = cur_of(p, n);
	uint32_t len = cur_u32(&c);

	return c.bad || len > raw_len ? 0 : len;
}

int codec_plan(struct codec *c, const void *p, size_t n, void *out, size_t len)
{
	size_t got = ZSTD_decompressDCtx(c->unpack, out, len, (const uint8_t *)p + PLAN_HEAD, n - PLAN_HEAD);

	return ZSTD_isError(got) || got != len ? -EBADMSG : 0;
}

static int unpack_lines(struct codec *c, const void *p, size_t n, const void *ref, size_t ref_len,
	uint8_t *out, size_t raw_len)
{
	size_t len = codec_plan_len(p, n, raw_len);
	void *plan;
	int r;

	if (!len)
		return -EBADMSG;
	buf_clear(&c->unpacked);
	plan = buf_reserve(&c->unpacked, len);
	if (!plan)
		return -ENOMEM;
	r = codec_plan(c, p, n, plan, len);
	return r ? r : linediff_apply(plan, len, ref, ref_len, out, raw_len);
}

size_t codec_pack(struct codec *c, enum codec_kind kind, const void *p, size_t n, const void *ref,
	size_t ref_len, void *out, size_t cap)
{
	ZSTD_CCtx *z = c->alone;
	size_t len;

	switch (kind) {
	case CODEC_RAW:
		return 0;
	case CODEC_ZSTD:
		break;
	case CODEC_PREFIX:
		z = c->prefix;
		if (ZSTD_isError(ZSTD_CCtx_refPrefix(z, ref, ref_len)))
			return 0;
		break;
	case CODEC_XOR:
		z = c->xor ;
		if (c->diff_cap < n) {
			free(c->diff);
			c->diff = malloc(n);
			c->diff_cap = c->diff ? n : 0;
			if (!c->diff)
				return 0;
		}
		difference(p, n, ref, ref_len, c->diff);
		p = c->diff;
		break;
	case CODEC_LINES:
		return pack_lines(c, p, n, ref, ref_len, out, cap);
	}
	len = ZSTD_compress2(z, out, cap, p, n);
	return ZSTD_isError(len) ? 0 : len;
}

int codec_unpack(struct codec *c, enum codec_kind kind, const void *p, size_t n, const void *ref,
	size_t ref_len, void *out, size_t raw_len)
{
	size_t len;
	uint8_t *to = out;
	const uint8_t *from = ref;

	if (kind == CODEC_RAW) {
		if (n != raw_len)
			return -EBADMSG;
		memcpy(out, p, n);
		return 0;
	}
	if (kind == CODEC_LINES)
		return unpack_lines(c, p, n, ref, ref_len, out, raw_len);
	if (kind == CODEC_PREFIX && ZSTD_isError(ZSTD_DCtx_refPrefix(c->unpack, ref, ref_len)))
		return -EBADMSG;
	len = ZSTD_decompressDCtx(c->unpack, out, raw_len, p, n);
	if (ZSTD_isError(len) || len != raw_len)
		return -EBADMSG;
	if (kind == CODEC_XOR)
		for (size_t i = 0; i < (raw_len < ref_len ? raw_len : ref_len); i++)
			to[i] ^= from[i];
	return 0;
}
