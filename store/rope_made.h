/* What a stream became, between the cutting and the putting together. */
#pragma once

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include "store/digest.h"

#define ROPE_SMALL 512 /* a rope of so many bytes is kept as it is, and becomes a literal */

struct rope_leaf {
	atomic_uint pending;  /* chunks under way, and one for the maker */
	atomic_ullong stored; /* what its chunks take */
	unsigned n;
	uint64_t len;
	struct digest id; /* of its node, when pending is 0 */
	uint32_t lens[256];
	struct digest ids[]; /* as many */
};

struct rope {
	struct rope *next; /* of the ingest's */
	uint64_t size;
	uint8_t *small; /* all of it, or NULL */
	struct rope_leaf **leaves;
	size_t n, cap;
};
