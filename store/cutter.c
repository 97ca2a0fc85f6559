/* Content-defined cutting. See cutter.h. */
#include "store/cutter.h"

#define SEED 0x7067737472617461u /* "pgstrata" */
#define WINDOW 64		 /* bytes that the sum remembers: each is shifted out after as many steps */
#define CUT_BITS 18		 /* behind the least length one in 2^18 places is a cut: 320 KiB on average */
#define LEAF_BITS 4		 /* one in 16 cuts ends a node */

void cutter_init(struct cutter *c)
{
	uint64_t state = SEED;

	/* SplitMix64 (Steele, Lea, Flood, 2014): 256 numbers without pattern. */
	for (unsigned i = 0; i < 256; i++) {
		uint64_t z = state += 0x9e3779b97f4a7c15u;

		z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
		z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
		c->gear[i] = z ^ (z >> 31);
	}
}

size_t cutter_cut(const struct cutter *c, const uint8_t *p, size_t n, bool *leaf)
{
	const uint64_t cut = ~(uint64_t)0 << (64 - CUT_BITS);
	const uint64_t end = (((uint64_t)1 << LEAF_BITS) - 1) << (64 - CUT_BITS - LEAF_BITS);
	uint64_t sum = 0;
	size_t i;

	*leaf = false;
	if (n > CUTTER_MAX)
		n = CUTTER_MAX;
	if (n <= CUTTER_MIN)
		return n;
	for (i = CUTTER_MIN - WINDOW; i < CUTTER_MIN; i++)
		sum = (sum << 1) + c->gear[p[i]];
	while (i < n) {
		sum = (sum << 1) + c->gear[p[i++]];
		if (!(sum & cut))
			break;
	}
	*leaf = !(sum & end);
	return i;
}
