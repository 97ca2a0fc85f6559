/* CRC-32C: published values, the table and the processor against the definition bit by bit, and joining.
 *
 * The source is compiled into this program (and so the box's copy is not linked), for its two ways are static
 * and the processor decides which one runs. */
#include "src/base/crc32c.c"

#include "tests/unit/check_main.h"

/* The definition: reflected division by 0x1EDC6F41, a bit a step. */
static uint32_t slow(uint32_t crc, const uint8_t *p, size_t n)
{
	crc = ~crc;
	while (n--) {
		crc ^= *p++;
		for (int k = 0; k < 8; k++)
			crc = crc & 1 ? crc >> 1 ^ 0x82f63b78u : crc >> 1;
	}
	return ~crc;
}

START_TEST(published_values)
{
	uint8_t b[32];

	/* RFC 3720, appendix B.4. */
	ck_assert_uint_eq(crc32c(0, "123456789", 9), 0xe3069283);
	memset(b, 0, sizeof(b));
	ck_assert_uint_eq(crc32c(0, b, 32), 0x8a9136aa);
	memset(b, 0xff, sizeof(b));
	ck_assert_uint_eq(crc32c(0, b, 32), 0x62a8ab43);
	for (int i = 0; i < 32; i++)
		b[i] = (uint8_t)i;
	ck_assert_uint_eq(crc32c(0, b, 32), 0x46dd794e);
	for (int i = 0; i < 32; i++)
		b[i] = (uint8_t)(31 - i);
	ck_assert_uint_eq(crc32c(0, b, 32), 0x113fdb5c);
	ck_assert_uint_eq(crc32c(0, NULL, 0), 0);
	ck_assert_uint_eq(crc32c(0x12345678, NULL, 0), 0x12345678);
}
END_TEST

#define MOST 40000

START_TEST(every_way_gives_the_same)
{
	static uint8_t data[MOST + 8];
	/* Around the eight bytes a step, the three lanes of 2,048, and twice that. */
	static const size_t around[] = {0, 8, 16, 64, 2048, 4096, 6144, 8192, 12288, 18432, MOST - 9};
	uint64_t rand = check_seed();

	check_rand_fill(&rand, data, sizeof(data));
	crc32c(0, "", 0); /* makes the tables */
	for (size_t k = 0; k < sizeof(around) / sizeof(*around); k++) {
		for (size_t n = around[k] > 9 ? around[k] - 9 : 0; n <= around[k] + 9; n++) {
			size_t shift = check_rand_below(&rand, 8);
			uint32_t start = (uint32_t)check_rand(&rand);
			uint32_t want = slow(start, data + shift, n);

			ck_assert_uint_eq(~soft(~start, data + shift, n), want);
			ck_assert_uint_eq(crc32c(start, data + shift, n), want);
#if defined(__x86_64__)
			ck_assert_msg(have_hw, "this machine has no SSE 4.2, so half of this is untested");
			ck_assert_uint_eq(~hard(~start, data + shift, n), want);
#endif
		}
	}
}
END_TEST

START_TEST(continued_and_joined)
{
	static uint8_t data[MOST];
	uint64_t rand = check_seed() + 1;

	check_rand_fill(&rand, data, sizeof(data));
	for (int k = 0; k < 300; k++) {
		size_t n = check_rand_below(&rand, MOST + 1), cut = check_rand_below(&rand, n + 1);
		uint32_t whole = crc32c(0, data, n), a = crc32c(0, data, cut),
			 b = crc32c(0, data + cut, n - cut);

		ck_assert_uint_eq(crc32c(a, data + cut, n - cut), whole);
		ck_assert_uint_eq(crc32c_combine(a, b, n - cut), whole);
	}
	ck_assert_uint_eq(crc32c_combine(0x12345678, 0, 0), 0x12345678);
	ck_assert_uint_eq(crc32c_combine(0, 0x12345678, 99), 0x12345678);
}
END_TEST

START_TEST(joining_lengths_that_no_memory_holds)
{
	uint32_t zeroes, all = 0;
	uint8_t block[4096] = {0};

	/* Joining associates whatever the lengths. */
	ck_assert_uint_eq(crc32c_combine(crc32c_combine(1, 2, 3ull << 60), 4, 5ull << 59),
		crc32c_combine(1, crc32c_combine(2, 4, 5ull << 59), (3ull << 60) + (5ull << 59)));
	/* And doubling a run of zeroes is the same as reading it. */
	for (int k = 0; k < 256; k++)
		all = crc32c(all, block, sizeof(block));
	zeroes = crc32c(0, block, sizeof(block));
	for (int k = 0; k < 8; k++)
		zeroes = crc32c_combine(zeroes, zeroes, (uint64_t)sizeof(block) << k);
	ck_assert_uint_eq(zeroes, all);
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("base_crc32c");
	TCase *t = tcase_create("base_crc32c");

	tcase_add_test(t, published_values);
	tcase_add_test(t, every_way_gives_the_same);
	tcase_add_test(t, continued_and_joined);
	tcase_add_test(t, joining_lengths_that_no_memory_holds);
	suite_add_tcase(s, t);
	return s;
}

CHECK_MAIN(suite)
