/* Compression: every kind there and back, references of other lengths, bytes that are not what was packed. */
#include "src/base/crc32c.h"
#include "store/codec.h"
#include "tests/unit/store_fixture.h"

static const size_t sizes[] = {1, 2, 7, 100, 8191, 8192, 8193, 65536, 1u << 20};

static const enum codec_kind kinds[] = {CODEC_ZSTD, CODEC_PREFIX, CODEC_XOR};

/* Another version of the same bytes: some changed in place, some moved. */
static uint8_t *edit(uint64_t *rng, const uint8_t *p, size_t n, size_t *ret_n)
{
	size_t cut = n > 10 ? check_rand_below(rng, 10) : 0;
	uint8_t *q = malloc(n + 1);

	memcpy(q, p + cut, n - cut);
	for (int i = 0; i < 20; i++)
		q[check_rand_below(rng, n)] = (uint8_t)check_rand(rng);
	*ret_n = n - (check_rand_below(rng, 2) ? cut : 0);
	memset(q + n - cut, 'e', cut);
	return q;
}

START_TEST(there_and_back)
{
	size_t n = sizes[_i], cap = codec_bound(n), ref_n;
	uint64_t rng = check_seed() + _i;
	uint8_t *p = fx_bytes(&rng, n), *ref = edit(&rng, p, n, &ref_n), *out = malloc(cap),
		*back = malloc(n);
	struct codec *c;

	ck_assert_int_eq(codec_new(3, &c), 0);
	for (int round = 0; round < 3; round++)
		for (size_t k = 0; k < 3; k++) {
			enum codec_kind kind = kinds[k];
			bool delta = codec_is_delta(kind);
			size_t len =
				codec_pack(c, kind, p, n, delta ? ref : NULL, delta ? ref_n : 0, out, cap);
			uint8_t *exact;

			ck_assert_uint_gt(len, 0);
			ck_assert_uint_le(len, cap);
			exact = check_exact(out, len);
			memset(back, 0, n);
			ck_assert_int_eq(codec_unpack(c, kind, exact, len, delta ? ref : NULL,
						 delta ? ref_n : 0, back, n),
				0);
			ck_assert_int_eq(memcmp(back, p, n), 0);
			/* Another length than it has. */
			if (n > 1)
				ck_assert_int_eq(
					codec_unpack(c, kind, exact, len, ref, ref_n, back, n - 1), -EBADMSG);
			ck_assert_int_eq(
				codec_unpack(c, kind, exact, len - 1, ref, ref_n, back, n), -EBADMSG);
			free(exact);
		}
	ck_assert_int_eq(codec_unpack(c, CODEC_RAW, p, n, NULL, 0, back, n), 0);
	ck_assert_int_eq(memcmp(back, p, n), 0);
	ck_assert_int_eq(codec_unpack(c, CODEC_RAW, p, n, NULL, 0, back, n - 1), -EBADMSG);
	ck_assert_uint_eq(codec_pack(c, CODEC_RAW, p, n, NULL, 0, out, cap), 0);
	codec_free(c);
	free(p);
	free(ref);
	free(out);
	free(back);
}
END_TEST

/* The reference is part of the message: with another one, other bytes come out, or none. Never the right ones
 * by chance, so the record's CRC over the unpacked bytes finds it. */
START_TEST(wrong_reference)
{
	size_t n = 65536, cap = codec_bound(n), ref_n, found = 0;
	uint64_t rng = check_seed();
	struct codec *c;

	ck_assert_int_eq(codec_new(3, &c), 0);
	for (int i = 0; i < 40; i++) {
		uint8_t *p = fx_bytes(&rng, n), *ref = edit(&rng, p, n, &ref_n), *out = malloc(cap),
			*back = malloc(n);
		enum codec_kind kind = i % 2 ? CODEC_PREFIX : CODEC_XOR;
		size_t len = codec_pack(c, kind, p, n, ref, ref_n, out, cap);

		/* All of it is other than it was. */
		for (size_t k = 0; k < ref_n; k++)
			ref[k] ^= 0x55;
		if (codec_unpack(c, kind, out, len, ref, ref_n, back, n) < 0 ||
			crc32c(0, back, n) != crc32c(0, p, n))
			found++;
		/* And none at all. */
		ck_assert(codec_unpack(c, kind, out, len, NULL, 0, back, n) < 0 ||
			  crc32c(0, back, n) != crc32c(0, p, n));
		/* A failure leaves nothing behind that the next use would feel. */
		for (size_t k = 0; k < ref_n; k++)
			ref[k] ^= 0x55;
		ck_assert_int_eq(codec_unpack(c, kind, out, len, ref, ref_n, back, n), 0);
		ck_assert_int_eq(memcmp(back, p, n), 0);
		len = codec_pack(c, CODEC_ZSTD, p, n, NULL, 0, out, cap);
		ck_assert_int_eq(codec_unpack(c, CODEC_ZSTD, out, len, NULL, 0, back, n), 0);
		ck_assert_int_eq(memcmp(back, p, n), 0);
		free(p);
		free(ref);
		free(out);
		free(back);
	}
	ck_assert_uint_eq(found, 40);
	codec_free(c);
	codec_free(NULL);
}
END_TEST

/* Bent frames: an error or other bytes, never a write past the end (the sanitizer sees). */
START_TEST(bent)
{
	size_t n = 8192, cap = codec_bound(n), ref_n;
	uint64_t rng = check_seed();
	uint8_t *p = fx_bytes(&rng, n), *ref = edit(&rng, p, n, &ref_n), *out = malloc(cap);
	struct codec *c;

	ck_assert_int_eq(codec_new(3, &c), 0);
	for (size_t k = 0; k < 3; k++) {
		size_t len = codec_pack(c, kinds[k], p, n, ref, ref_n, out, cap);

		for (int i = 0; i < 2000; i++) {
			uint8_t *exact = check_exact(out, len), *back = malloc(n);

			exact[check_rand_below(&rng, len)] ^= (uint8_t)(1u << check_rand_below(&rng, 8));
			codec_unpack(
				c, kinds[k], exact, 1 + check_rand_below(&rng, len), ref, ref_n, back, n);
			free(exact);
			free(back);
		}
	}
	codec_free(c);
	free(p);
	free(ref);
	free(out);
}
END_TEST

START_TEST(levels)
{
	uint64_t rng = check_seed();
	uint8_t *p = fx_bytes(&rng, 65536), *out = malloc(codec_bound(65536)), back[65536];

	for (int level = 1; level <= 19; level += 6) {
		struct codec *c;
		size_t len;

		ck_assert_int_eq(codec_new(level, &c), 0);
		len = codec_pack(c, CODEC_ZSTD, p, 65536, NULL, 0, out, codec_bound(65536));
		ck_assert_int_eq(codec_unpack(c, CODEC_ZSTD, out, len, NULL, 0, back, 65536), 0);
		ck_assert_int_eq(memcmp(back, p, 65536), 0);
		/* Without a checksum and a content size: RFC 8878, 3.1.1.1, descriptor bits 2, 6 and 7; the
		 * single segment flag (bit 5) would bring a size, too. */
		ck_assert_uint_eq(out[4] & 0xe4, 0);
		codec_free(c);
	}
	free(p);
	free(out);
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("store/codec");
	TCase *t = tcase_create("all");

	tcase_add_loop_test(t, there_and_back, 0, sizeof(sizes) / sizeof(*sizes));
	tcase_add_test(t, wrong_reference);
	tcase_add_test(t, bent);
	tcase_add_test(t, levels);
	suite_add_tcase(s, t);
	return s;
}
CHECK_MAIN(suite)
