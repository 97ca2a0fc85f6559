/* Where content-defined chunks end: a rolling sum over the last 64 bytes (gear hashing, after Xia et al., "FastCDC", USENIX
 * ATC 2016, 3.2), so that the same bytes are cut in the same places wherever they stand.
 *
 * Where chunks end is no part of the format; but a repository deduplicates only against what was cut the same way. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CUTTER_MIN (64u << 10)
#define CUTTER_MAX (1u << 20)

struct cutter {
	uint64_t gear[256];
};

void cutter_init(struct cutter *c);
/* The length of the chunk that p begins with, n bytes being there; with less than CUTTER_MAX the answer may be n for want of
 * more. *leaf: a rope's node may well end here, too. */
size_t cutter_cut(const struct cutter *c, const uint8_t *p, size_t n, bool *leaf);
