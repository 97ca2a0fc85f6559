/* Checksums of data pages. See page.h. */
#include "src/pg/page.h"

#include <stdbool.h>
#include <string.h>

#include "src/base/cur.h"

#define LANES 32 /* N_SUMS, checksum_impl.h: partial sums beside each other, for vector units */
#define PRIME UINT32_C(16777619) /* FNV_PRIME, same file */
#define HEADER 24		 /* SizeOfPageHeaderData, bufpage.h */
#define CHECKSUM_AT 8

/* What the sums start with: checksumBaseOffsets, checksum_impl.h. */
static const uint32_t basis[LANES] = {0x5b1f36e9, 0xb8525960, 0x02ab50aa, 0x1de66d2a, 0x79ff467a, 0x9bb9f8a3,
	0x217e7cd2, 0x83e13d2c, 0xf8d4474f, 0xe39eb970, 0x42c6ae16, 0x993216fa, 0x7b093b5d, 0x98daff3c,
	0xf718902a, 0x0b1c9cdb, 0xe58f764b, 0x187636bc, 0x5d7b3bb1, 0xe73de7de, 0x92bec979, 0xcca6c0b2,
	0x304a0979, 0x85aa43d4, 0x783125bb, 0x6ca8eaa2, 0xe407eac6, 0x4b5cfc3e, 0x9fbf8c76, 0x15ca20be,
	0xf2ca9fd3, 0x959bd756};

/* One word of each lane (CHECKSUM_COMP, checksum_impl.h). */
static inline void mix(uint32_t sums[LANES], const uint32_t words[LANES])
{
	for (unsigned i = 0; i < LANES; i++) {
		uint32_t t = sums[i] ^ words[i];

		sums[i] = t * PRIME ^ t >> 17;
	}
}

static uint32_t sum(const uint8_t *p, size_t n)
{
	uint32_t sums[LANES], words[LANES], all = 0;

	memcpy(sums, basis, sizeof(sums));
	for (size_t off = 0; off < n; off += sizeof(words)) {
		/* Little-endian, as all machines that we read from. */
		memcpy(words, p + off, sizeof(words));
		if (!off) {
			uint8_t *field = (uint8_t *)words + CHECKSUM_AT;

			field[0] = field[1] = 0;
		}
		mix(sums, words);
	}
	memset(words, 0, sizeof(words));
	mix(sums, words);
	mix(sums, words);
	for (unsigned i = 0; i < LANES; i++)
		all ^= sums[i];
	return all;
}

uint16_t page_checksum(const void *p, size_t n, struct blkno block)
{
	return (uint16_t)((sum(p, n) ^ block.v) % 65535 + 1);
}

static bool all_zero(const uint8_t *p, size_t n)
{
	return !p[0] && !memcmp(p, p + 1, n - 1);
}

enum page_state page_check(
	const void *p, size_t n, struct blkno block, struct lsn from, struct lsn to, struct page_facts *ret)
{
	struct cur c = cur_of(p, n);
	uint32_t high = cur_u32(&c), low = cur_u32(&c);
	uint16_t upper;

	*ret = (struct page_facts){.lsn = {(uint64_t)high << 32 | low}, .stored = cur_u16(&c)};
	cur_bytes(&c, 4); /* pd_flags, pd_lower */
	upper = cur_u16(&c);
	if (!upper && all_zero(p, n))
		return PAGE_NEW;
	ret->computed = page_checksum(p, n, block);
	if (upper && ret->stored == ret->computed)
		return PAGE_SOUND;
	/* The header was read before the page was used, the rest after. */
	if (all_zero(p, HEADER))
		return PAGE_REPLACED;
	if (ret->lsn.v >= from.v && (!to.v || ret->lsn.v <= to.v))
		return PAGE_REPLACED;
	return PAGE_DAMAGED;
}
