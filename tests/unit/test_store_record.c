/* Records: bytes as store/README.md says, cut at every byte, every bit flipped, fields that contradict each
 * other under a checksum that fits. */
#include "src/base/crc32c.h"
#include "store/record.h"
#include "tests/unit/store_fixture.h"

static const struct {
	const char *what, *hex, *id;
	struct record r;
	const char *payload;
	uint8_t base; /* first byte of a base that counts up; 255: none */
} golden[] = {
	{"raw",
		"6b717093"	    /* crc of all that follows */
		"4cbb719a"	    /* CRC-32C of "hello" */
		"05000000 05000000" /* payload, unpacked */
		"01 00 00 00"	    /* chunk, raw, no seal, depth 0 */
		"2cf24dba5fb0a30e"  /* SHA-256 of "hello" begins */
		"'hello'",
		"2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824",
		{.kind = RECORD_CHUNK,
			.codec = CODEC_RAW,
			.raw_len = 5,
			.raw_crc = 0x9a71bb4c,
			.payload_len = 5},
		"hello", 255},
	{"delta",
		"03e99c59 aa6594c9 03000000 0b000000 01 02 00 03 b94d27b9934d3e08"
		"000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f 'pay'",
		"b94d27b9934d3e08a52e52d7da7dabfac484efe37a5380ee9088f7ace2efcde9",
		{.kind = RECORD_CHUNK,
			.codec = CODEC_PREFIX,
			.depth = 3,
			.raw_len = 11,
			.raw_crc = 0xc99465aa,
			.payload_len = 3},
		"pay", 0},
	{"node", "c5487d64 525dd118 05000000 05000000 03 00 00 00 edd13d72bb7d4860 'node!'",
		"edd13d72bb7d4860a25c0cf9256ca01d8fdef55bb529bfcb573599ec9dfaa991",
		{.kind = RECORD_NODE,
			.codec = CODEC_RAW,
			.raw_len = 5,
			.raw_crc = 0x18d15d52,
			.payload_len = 5},
		"node!", 255},
};
#define N_GOLDEN (sizeof(golden) / sizeof(*golden))

static uint8_t *golden_bytes(int i, size_t *n, struct digest *id, struct record *r)
{
	*r = golden[i].r;
	r->payload = (const uint8_t *)golden[i].payload;
	for (int k = 0; k < DIGEST_LEN && golden[i].base != 255; k++)
		r->base.b[k] = (uint8_t)(golden[i].base + k);
	ck_assert(digest_parse(golden[i].id, id));
	return fx_hex(golden[i].hex, n);
}

START_TEST(writes_golden)
{
	struct digest id;
	struct record r;
	uint8_t head[RECORD_HEAD_MAX], *p;
	size_t n, len;

	p = golden_bytes(_i, &n, &id, &r);
	ck_assert_uint_eq(record_size(&r), n);
	len = record_head(&r, &id, head);
	fx_same(golden[_i].what, head, len, p, n - r.payload_len);
	free(p);
}
END_TEST

START_TEST(reads_golden)
{
	struct digest id;
	struct record r, got;
	struct err e = {0};
	size_t n;
	uint8_t *p = golden_bytes(_i, &n, &id, &r);

	fx_ok(record_parse(p, n, &id, &got, &e), &e);
	ck_assert_int_eq(got.kind, r.kind);
	ck_assert_int_eq(got.codec, r.codec);
	ck_assert_uint_eq(got.depth, r.depth);
	ck_assert_uint_eq(got.raw_len, r.raw_len);
	ck_assert_uint_eq(got.raw_crc, r.raw_crc);
	ck_assert(digest_eq(&got.base, &r.base));
	fx_same("payload", got.payload, got.payload_len, r.payload, r.payload_len);
	ck_assert_ptr_eq(got.payload, p + n - r.payload_len);
	/* It names itself by eight bytes; the rest is the index's word. */
	id.b[7] ^= 1;
	fx_fails(record_parse(p, n, &id, &got, &e), -EBADMSG, &e);
	free(p);
}
END_TEST

START_TEST(cut)
{
	struct digest id;
	struct record r, got = {.raw_len = 77};
	struct err e;
	size_t n;
	uint8_t *p = golden_bytes(_i, &n, &id, &r);

	for (size_t k = 0; k <= n + 3; k++) {
		uint8_t *q = calloc(1, k ? k : 1);

		memcpy(q, p, k < n ? k : n);
		e = (struct err){0};
		if (k != n)
			fx_fails(record_parse(q, k, &id, &got, &e), -EBADMSG, &e);
		ck_assert_uint_eq(got.raw_len, 77);
		free(q);
	}
	free(p);
}
END_TEST

START_TEST(flips)
{
	struct digest id;
	struct record r, got;
	struct err e = {0};
	size_t n;
	uint8_t *p = golden_bytes(_i, &n, &id, &r);

	for (size_t bit = 0; bit < 8 * n; bit++) {
		p[bit / 8] ^= (uint8_t)(1u << (bit % 8));
		fx_fails(record_parse(p, n, &id, &got, &e), -EBADMSG, &e);
		p[bit / 8] ^= (uint8_t)(1u << (bit % 8));
	}
	free(p);
}
END_TEST

/* Fields that are wrong although the checksum fits. */
static const struct {
	const char *what;
	unsigned at;
	uint8_t value;
	int code;
} wrong[] = {
	{"kind 0", 16, 0, -EOPNOTSUPP},
	{"kind 4", 16, 4, -EOPNOTSUPP},
	{"codec 5", 17, 5, -EOPNOTSUPP},
	{"a seal", 18, 1, -EOPNOTSUPP},
	{"a depth without delta", 19, 1, -EBADMSG},
	{"a delta without depth", 17, CODEC_PREFIX, -EBADMSG},
	{"a difference without depth", 17, CODEC_XOR, -EBADMSG},
	{"lines without depth", 17, CODEC_LINES, -EBADMSG},
	{"a longer payload", 8, 6, -EBADMSG},
	{"a shorter payload", 8, 4, -EBADMSG},
	{"a huge payload", 11, 0xff, -EBADMSG},
	{"raw of another length", 12, 6, -EBADMSG},
	{"huge", 15, 0x7f, -EBADMSG},
	{"another's name", 20, 0, -EBADMSG},
};

START_TEST(contradictions)
{
	struct digest id;
	struct record r, got;
	struct err e = {0};
	size_t n;
	uint8_t *p = golden_bytes(0, &n, &id, &r);
	uint32_t crc;

	p[wrong[_i].at] = wrong[_i].value;
	crc = crc32c(0, p + 4, n - 4);
	for (int i = 0; i < 4; i++)
		p[i] = (uint8_t)(crc >> (8 * i));
	ck_assert_msg(record_parse(p, n, &id, &got, &e) == wrong[_i].code, "%s", wrong[_i].what);
	ck_assert(e.text[0]);
	free(p);
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("store/record");
	TCase *t = tcase_create("all");

	tcase_add_loop_test(t, writes_golden, 0, N_GOLDEN);
	tcase_add_loop_test(t, reads_golden, 0, N_GOLDEN);
	tcase_add_loop_test(t, cut, 0, N_GOLDEN);
	tcase_add_loop_test(t, flips, 0, N_GOLDEN);
	tcase_add_loop_test(t, contradictions, 0, sizeof(wrong) / sizeof(*wrong));
	suite_add_tcase(s, t);
	return s;
}
CHECK_MAIN(suite)
