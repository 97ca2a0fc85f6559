/* CRC-32C: the processor's instruction where it exists, three streams at a time; else a table of 8 x 256.
 *
 * The polynomial is 0x1EDC6F41, reflected 0x82F63B78. Concatenation (crc32c_combine) multiplies the first
 * CRC by x^(8 len) modulo the polynomial, with the powers x^(2^k) computed once. */
#include "src/base/crc32c.h"

#include <pthread.h>
#include <stdbool.h>
#include <string.h>

#if defined(__x86_64__)
#include <nmmintrin.h>
#endif

#define POLY 0x82f63b78u
#define LANE 2048 /* bytes a stream before the three are joined */

static uint32_t table[8][256];
static uint32_t pow2[64];      /* x^(2^k) mod P */
static uint32_t lane_shift[2]; /* x^(8 LANE), x^(16 LANE) */
static bool have_hw;
static pthread_once_t once = PTHREAD_ONCE_INIT;

/* a times b mod P, both reflected. */
static uint32_t mulmod(uint32_t a, uint32_t b)
{
	uint32_t p = 0;

	for (uint32_t m = 1u << 31; m; m >>= 1) {
		if (a & m)
			p ^= b;
		b = b & 1 ? (b >> 1) ^ POLY : b >> 1;
	}
	return p;
}

static uint32_t x_to_the(uint64_t n)
{
	uint32_t p = 1u << 31;

	for (unsigned k = 0; n; k++, n >>= 1)
		if (n & 1)
			p = mulmod(pow2[k], p);
	return p;
}

static void init(void)
{
	for (uint32_t i = 0; i < 256; i++) {
		uint32_t c = i;

		for (int k = 0; k < 8; k++)
			c = c & 1 ? (c >> 1) ^ POLY : c >> 1;
		table[0][i] = c;
	}
	for (uint32_t i = 0; i < 256; i++)
		for (int t = 1; t < 8; t++)
			table[t][i] = (table[t - 1][i] >> 8) ^ table[0][table[t - 1][i] & 0xff];
	pow2[0] = 1u << 30; /* x^1 */
	for (int k = 1; k < 64; k++)
		pow2[k] = mulmod(pow2[k - 1], pow2[k - 1]);
	lane_shift[0] = x_to_the(8ull * LANE);
	lane_shift[1] = x_to_the(16ull * LANE);
#if defined(__x86_64__)
	have_hw = __builtin_cpu_supports("sse4.2");
#endif
}

static uint32_t soft(uint32_t c, const uint8_t *p, size_t n)
{
	for (; n >= 8; n -= 8, p += 8) {
		uint32_t a = c ^ ((uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 |
					 (uint32_t)p[3] << 24);

		c = table[7][a & 0xff] ^ table[6][a >> 8 & 0xff] ^ table[5][a >> 16 & 0xff] ^
		    table[4][a >> 24] ^ table[3][p[4]] ^ table[2][p[5]] ^ table[1][p[6]] ^ table[0][p[7]];
	}
	while (n--)
		c = (c >> 8) ^ table[0][(c ^ *p++) & 0xff];
	return c;
}

#if defined(__x86_64__)
static uint64_t word(const uint8_t *p)
{
	uint64_t v;

	memcpy(&v, p, 8);
	return v;
}

__attribute__((target("sse4.2"))) static uint32_t hard(uint32_t crc, const uint8_t *p, size_t n)
{
	uint64_t c = crc;

	/* One crc32 instruction can start each cycle but takes three: three lanes keep it busy. */
	while (n >= 3 * LANE) {
		uint64_t a = c, b = 0, d = 0;

		for (size_t i = 0; i < LANE; i += 8) {
			a = _mm_crc32_u64(a, word(p + i));
			b = _mm_crc32_u64(b, word(p + LANE + i));
			d = _mm_crc32_u64(d, word(p + 2 * LANE + i));
		}
		c = mulmod(lane_shift[1], (uint32_t)a) ^ mulmod(lane_shift[0], (uint32_t)b) ^ (uint32_t)d;
		p += 3 * LANE;
		n -= 3 * LANE;
	}
	for (; n >= 8; n -= 8, p += 8)
		c = _mm_crc32_u64(c, word(p));
	while (n--)
		c = _mm_crc32_u8((uint32_t)c, *p++);
	return (uint32_t)c;
}
#endif

uint32_t crc32c(uint32_t crc, const void *p, size_t n)
{
	pthread_once(&once, init);
#if defined(__x86_64__)
	if (have_hw)
		return ~hard(~crc, p, n);
#endif
	return ~soft(~crc, p, n);
}

uint32_t crc32c_shift(uint64_t len_b)
{
	uint32_t s;

	pthread_once(&once, init);
	/* 8 len may pass 2^64 only for lengths no file has; x^(8 len) = (x^len)^8 avoids the question. */
	s = x_to_the(len_b);
	for (int i = 0; i < 3; i++)
		s = mulmod(s, s);
	return s;
}

uint32_t crc32c_join(uint32_t shift, uint32_t crc_a, uint32_t crc_b)
{
	return mulmod(shift, crc_a) ^ crc_b;
}

uint32_t crc32c_combine(uint32_t crc_a, uint32_t crc_b, uint64_t len_b)
{
	return crc32c_join(crc32c_shift(len_b), crc_a, crc_b);
}
