/* Compression: zstd, alone or against an earlier version of the same place (delta). Knows bytes only.
 *
 * There are three kinds of delta. CODEC_XOR compresses the bytewise difference with the reference: at once
 * done, and small where bytes changed in place (hint bits, counters, a row updated on its page). CODEC_PREFIX
 * lets zstd find what moved: four times the work, and small in nearly every case. CODEC_LINES is for text: what lines
 * moved, and the rest (linediff.h); half the work of a prefix, and less than half the bytes where few lines are new.
 *
 * A codec is one thread's set of contexts; make one a thread. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "src/base/err.h"

enum codec_kind { CODEC_RAW = 0, CODEC_ZSTD = 1, CODEC_PREFIX = 2, CODEC_XOR = 3, CODEC_LINES = 4 };
#define CODEC_LAST CODEC_LINES

static inline int codec_is_delta(unsigned kind)
{
	return kind == CODEC_PREFIX || kind == CODEC_XOR || kind == CODEC_LINES;
}

struct codec;

int codec_new(int level, struct codec **ret);
/* The same, with codec_pack by CODEC_ZSTD set up for frames of WAL. */
int codec_new_wal(struct codec **ret);
void codec_free(struct codec *c); /* fine on NULL */

/* Room that any result of n bytes fits in. */
size_t codec_bound(size_t n);

/* Compresses n bytes into out (cap >= codec_bound(n)) by CODEC_ZSTD, or a delta against ref. Returns the
 * length, or 0 when zstd gives up, memory is short, or the lines are mostly new: the caller then stores the bytes another
 * way. */
size_t codec_pack(struct codec *c, enum codec_kind kind, const void *p, size_t n, const void *ref,
	size_t ref_len, void *out, size_t cap);

/* Unpacks exactly raw_len bytes into out, which must not overlap ref. kind and ref as at packing; CODEC_RAW
 * copies. -EBADMSG for anything else. */
int codec_unpack(struct codec *c, enum codec_kind kind, const void *p, size_t n, const void *ref,
	size_t ref_len, void *out, size_t raw_len);

/* CODEC_LINES in steps, for who has several to follow (linediff_follow): the length that the plan of a chunk of raw_len bytes
 * unpacks to, 0 when it is damaged; then its bytes. */
size_t codec_plan_len(const void *p, size_t n, size_t raw_len);
int codec_plan(struct codec *c, const void *p, size_t n, void *out, size_t len);
