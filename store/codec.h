/* Compression: zstd, alone or against an earlier version of the same place (delta). Knows bytes only.
 *
 * A codec is one thread's set of contexts; make one a thread. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "src/base/err.h"

enum codec_kind { CODEC_RAW = 0, CODEC_ZSTD = 1, CODEC_DELTA = 2 };

struct codec;

int codec_new(int level, struct codec **ret);
void codec_free(struct codec *c); /* fine on NULL */

/* Room that any result of n bytes fits in. */
size_t codec_bound(size_t n);

/* Compresses n bytes into out (cap >= codec_bound(n)); prefix NULL: standalone. Returns the length, or 0 when zstd
 * gives up: the caller then stores the bytes raw. */
size_t codec_pack(struct codec *c, const void *p, size_t n, const void *prefix, size_t prefix_len, void *out, size_t cap);

/* Unpacks exactly raw_len bytes into out. prefix as at packing. -EBADMSG for anything else. */
int codec_unpack(struct codec *c, const void *p, size_t n, const void *prefix, size_t prefix_len, void *out,
	size_t raw_len);
