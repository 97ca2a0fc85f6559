/* zstd frames (RFC 8878). A delta is a frame made with the reference as raw content prefix (ZSTD_CCtx_refPrefix): its
 * matches reach back into bytes that both sides have. See codec.h. */
#include "store/codec.h"

#include <errno.h>
#include <stdlib.h>
#include <zstd.h>

struct codec {
	ZSTD_CCtx *pack;
	ZSTD_CCtx *delta;
	ZSTD_DCtx *unpack;
};

void codec_free(struct codec *c)
{
	if (!c)
		return;
	ZSTD_freeCCtx(c->pack);
	ZSTD_freeCCtx(c->delta);
	ZSTD_freeDCtx(c->unpack);
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
	c->pack = ZSTD_createCCtx();
	c->delta = ZSTD_createCCtx();
	c->unpack = ZSTD_createDCtx();
	if (!c->pack || !c->delta || !c->unpack || set_up(c->pack, level) < 0 || set_up(c->delta, level) < 0) {
		codec_free(c);
		return -ENOMEM;
	}
	*ret = c;
	return 0;
}

size_t codec_bound(size_t n)
{
	return ZSTD_compressBound(n);
}

size_t codec_pack(struct codec *c, const void *p, size_t n, const void *prefix, size_t prefix_len, void *out, size_t cap)
{
	ZSTD_CCtx *z = prefix ? c->delta : c->pack;
	size_t len;

	if (prefix && ZSTD_isError(ZSTD_CCtx_refPrefix(z, prefix, prefix_len)))
		return 0;
	len = ZSTD_compress2(z, out, cap, p, n);
	return ZSTD_isError(len) ? 0 : len;
}

int codec_unpack(struct codec *c, const void *p, size_t n, const void *prefix, size_t prefix_len, void *out,
	size_t raw_len)
{
	size_t len;

	if (prefix && ZSTD_isError(ZSTD_DCtx_refPrefix(c->unpack, prefix, prefix_len)))
		return -EBADMSG;
	len = ZSTD_decompressDCtx(c->unpack, out, raw_len, p, n);
	return ZSTD_isError(len) || len != raw_len ? -EBADMSG : 0;
}
