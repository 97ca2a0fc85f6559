/* Buffer and cursor, writer and reader of the same bytes: golden bytes, the round trip, cuts at every byte;
 * and error texts. */
#include "tests/unit/check_main.h"

#include <errno.h>

#include "src/base/buf.h"
#include "src/base/clean.h"
#include "src/base/cur.h"
#include "src/base/err.h"

static void check_bytes(const struct buf *b, const char *hex)
{
	size_t n = strlen(hex) / 2;

	ck_assert(!b->bad);
	ck_assert_uint_eq(b->len, n);
	for (size_t i = 0; i < n; i++) {
		unsigned v;

		sscanf(hex + 2 * i, "%2x", &v);
		ck_assert_uint_eq(b->data[i], v);
	}
}

START_TEST(golden_bytes)
{
	_cleanup_(buf_free) struct buf b = {0};

	buf_put_u8(&b, 0xfe);
	buf_put_u16(&b, 0x0102);
	buf_put_u32(&b, 0x03040506);
	buf_put_u64(&b, 0x0708090a0b0c0d0e);
	buf_put_str(&b, "abc", 3);
	buf_put_str(&b, NULL, 0);
	buf_put(&b, "\0x", 2);
	buf_printf(&b, "%d", -5);
	check_bytes(&b, "fe0201060504030e0d0c0b0a09080703616263"
			"00"
			"0078"
			"2d35");
	buf_clear(&b);
	ck_assert_uint_eq(b.len, 0);
	buf_put_u8(&b, 1);
	check_bytes(&b, "01");
}
END_TEST

START_TEST(golden_varints)
{
	static const struct {
		uint64_t v;
		const char *hex;
	} plain[] = {
		{0, "00"},
		{1, "01"},
		{127, "7f"},
		{128, "8001"},
		{300, "ac02"},
		{16383, "ff7f"},
		{16384, "808001"},
		{UINT32_MAX, "ffffffff0f"},
		{INT64_MAX, "ffffffffffffffff7f"},
		{1ull << 63, "80808080808080808001"},
		{UINT64_MAX, "ffffffffffffffffff01"},
	};
	static const struct {
		int64_t v;
		const char *hex;
	} zigzag[] = {
		{0, "00"},
		{-1, "01"},
		{1, "02"},
		{-2, "03"},
		{63, "7e"},
		{-64, "7f"},
		{64, "8001"},
		{INT64_MAX, "feffffffffffffffff01"},
		{INT64_MIN, "ffffffffffffffffff01"},
	};

	for (size_t k = 0; k < sizeof(plain) / sizeof(*plain); k++) {
		_cleanup_(buf_free) struct buf b = {0};
		struct cur c;

		buf_put_varint(&b, plain[k].v);
		check_bytes(&b, plain[k].hex);
		c = cur_of(b.data, b.len);
		ck_assert_uint_eq(cur_varint(&c), plain[k].v);
		ck_assert(!c.bad && !cur_left(&c));
	}
	for (size_t k = 0; k < sizeof(zigzag) / sizeof(*zigzag); k++) {
		_cleanup_(buf_free) struct buf b = {0};
		struct cur c;

		buf_put_svarint(&b, zigzag[k].v);
		check_bytes(&b, zigzag[k].hex);
		c = cur_of(b.data, b.len);
		ck_assert_int_eq(cur_svarint(&c), zigzag[k].v);
		ck_assert(!c.bad && !cur_left(&c));
	}
}
END_TEST

START_TEST(varints_that_are_too_long)
{
	static const struct {
		const char *bytes;
		size_t n;
	} wrong[] = {
		{"", 0},
		{"\x80", 1},
		{"\xff\xff\xff\xff\xff\xff\xff\xff\xff", 9},
		{"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02", 10},
		{"\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80", 10},
		{"\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01", 11},
		{"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", 12},
	};

	for (size_t k = 0; k < sizeof(wrong) / sizeof(*wrong); k++) {
		void *exact = check_exact(wrong[k].bytes, wrong[k].n);
		struct cur c = cur_of(exact, wrong[k].n);

		ck_assert_uint_eq(cur_varint(&c), 0);
		ck_assert_msg(c.bad, "%zu", k);
		ck_assert_uint_eq(cur_left(&c), 0);
		free(exact);
	}
}
END_TEST

/* Reads what golden order a writer put. */
static void read_all(struct cur *c)
{
	size_t n;

	cur_u8(c);
	cur_u16(c);
	cur_u32(c);
	cur_u64(c);
	cur_varint(c);
	cur_svarint(c);
	cur_str(c, &n);
	cur_bytes(c, 3);
}

START_TEST(cut_at_every_byte)
{
	_cleanup_(buf_free) struct buf b = {0};

	buf_put_u8(&b, 1);
	buf_put_u16(&b, 2);
	buf_put_u32(&b, 3);
	buf_put_u64(&b, 4);
	buf_put_varint(&b, UINT64_MAX);
	buf_put_svarint(&b, INT64_MIN);
	buf_put_str(&b, "hello", 5);
	buf_put(&b, "xyz", 3);
	for (size_t n = 0; n <= b.len; n++) {
		void *exact = check_exact(b.data, n);
		struct cur c = cur_of(exact, n);

		read_all(&c);
		ck_assert(c.bad == (n < b.len));
		ck_assert_uint_eq(cur_left(&c), 0);
		if (c.bad) {
			size_t len = 9;

			/* Bad stays bad, and gives nothing. */
			ck_assert_uint_eq(cur_u8(&c), 0);
			ck_assert_uint_eq(cur_u64(&c), 0);
			ck_assert_ptr_null(cur_bytes(&c, 0));
			ck_assert_ptr_null(cur_str(&c, &len));
			ck_assert_uint_eq(len, 0);
		}
		free(exact);
	}
}
END_TEST

START_TEST(a_string_longer_than_what_is_left)
{
	_cleanup_(buf_free) struct buf b = {0};
	struct cur c;
	size_t n = 9;

	buf_put_varint(&b, UINT64_MAX);
	buf_put(&b, "abc", 3);
	c = cur_of(b.data, b.len);
	ck_assert_ptr_null(cur_str(&c, &n));
	ck_assert(c.bad);
	ck_assert_uint_eq(n, 0);
	c = cur_of(b.data, b.len);
	ck_assert_ptr_null(cur_bytes(&c, SIZE_MAX));
	ck_assert(c.bad);
	c = cur_of(NULL, 0);
	ck_assert_uint_eq(cur_left(&c), 0);
	ck_assert(!c.bad);
	cur_bytes(&c, 0);
	ck_assert(!c.bad);
}
END_TEST

START_TEST(round_trip_of_random_values)
{
	uint64_t rand = check_seed();
	_cleanup_(buf_free) struct buf b = {0};
	uint64_t from = rand;
	struct cur c;

	for (int k = 0; k < 20000; k++) {
		uint64_t v = check_rand(&rand) >> check_rand_below(&rand, 64);

		buf_put_varint(&b, v);
		buf_put_svarint(&b, (int64_t)v);
		buf_put_u64(&b, v);
		buf_put_u32(&b, (uint32_t)v);
		buf_put_u16(&b, (uint16_t)v);
		buf_put_u8(&b, (uint8_t)v);
	}
	ck_assert(!b.bad);
	c = cur_of(b.data, b.len);
	rand = from;
	for (int k = 0; k < 20000; k++) {
		uint64_t v = check_rand(&rand) >> check_rand_below(&rand, 64);

		ck_assert_uint_eq(cur_varint(&c), v);
		ck_assert_int_eq(cur_svarint(&c), (int64_t)v);
		ck_assert_uint_eq(cur_u64(&c), v);
		ck_assert_uint_eq(cur_u32(&c), (uint32_t)v);
		ck_assert_uint_eq(cur_u16(&c), (uint16_t)v);
		ck_assert_uint_eq(cur_u8(&c), (uint8_t)v);
	}
	ck_assert(!c.bad && !cur_left(&c));
}
END_TEST

START_TEST(growth_and_failure)
{
	struct buf b = {0};
	char *s;

	for (int k = 0; k < 100000; k++)
		buf_printf(&b, "%d,", k % 10);
	ck_assert_uint_eq(b.len, 200000);
	s = buf_steal_str(&b);
	ck_assert_uint_eq(strlen(s), 200000);
	ck_assert_ptr_null(b.data);
	ck_assert_uint_eq(b.len + b.cap, 0);
	free(s);

	/* An empty buffer is an empty string. */
	s = buf_steal_str(&b);
	ck_assert_str_eq(s, "");
	free(s);

	buf_put_u8(&b, 7);
	ck_assert_ptr_null(buf_reserve(&b, SIZE_MAX));
	ck_assert(b.bad);
	buf_put_u8(&b, 8);
	buf_printf(&b, "more");
	ck_assert_uint_eq(b.len, 1);
	ck_assert_ptr_null(buf_steal_str(&b));
	buf_clear(&b);
	ck_assert(!b.bad);
	ck_assert_ptr_null(buf_reserve(&b, SIZE_MAX / 2 + 2));
	ck_assert(b.bad);
	buf_free(&b);
	ck_assert(!b.bad);
	buf_free(&b);
}
END_TEST

START_TEST(error_texts)
{
	char longer[2000];
	struct err e = {0};

	ck_assert_int_eq(err_set(&e, -EBADMSG, "pack %s", "x"), -EBADMSG);
	ck_assert_int_eq(e.code, -EBADMSG);
	ck_assert_str_eq(e.text, "pack x");
	ck_assert_int_eq(err_wrap(&e, -EBADMSG, "snapshot %d", 7), -EBADMSG);
	ck_assert_str_eq(e.text, "snapshot 7: pack x");
	ck_assert_int_eq(err_sys(&e, -ENOENT, "%s", "/a/b"), -ENOENT);
	ck_assert_str_eq(e.text, "/a/b: No such file or directory");
	ck_assert_int_eq(e.code, -ENOENT);
	ck_assert_int_eq(err_set(NULL, -EIO, "x"), -EIO);
	ck_assert_int_eq(err_sys(NULL, -EIO, "x"), -EIO);
	ck_assert_int_eq(err_wrap(NULL, -EIO, "x"), -EIO);

	memset(longer, 'a', sizeof(longer) - 1);
	longer[sizeof(longer) - 1] = 0;
	err_set(&e, -EIO, "%s", longer);
	ck_assert_uint_eq(strlen(e.text), sizeof(e.text) - 1);
	err_sys(&e, -EIO, "%s", longer);
	ck_assert_uint_eq(strlen(e.text), sizeof(e.text) - 1);
	err_wrap(&e, -EIO, "%s", longer);
	ck_assert_uint_eq(strlen(e.text), sizeof(e.text) - 1);
}
END_TEST

START_TEST(cleanup_helpers)
{
	_cleanup_(freep) char *p = strdup("x");
	_cleanup_(freep) char *q = NULL;
	_cleanup_(closep) int fd = dup(2);
	int moved;

	q = MOVE(p);
	ck_assert_ptr_null(p);
	ck_assert_str_eq(q, "x");
	moved = MOVE_FD(fd);
	ck_assert_int_eq(fd, -1);
	ck_assert_int_eq(close(moved), 0);
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("base_buf");
	TCase *t = tcase_create("base_buf");

	tcase_add_test(t, golden_bytes);
	tcase_add_test(t, golden_varints);
	tcase_add_test(t, varints_that_are_too_long);
	tcase_add_test(t, cut_at_every_byte);
	tcase_add_test(t, a_string_longer_than_what_is_left);
	tcase_add_test(t, round_trip_of_random_values);
	tcase_add_test(t, growth_and_failure);
	tcase_add_test(t, error_texts);
	tcase_add_test(t, cleanup_helpers);
	suite_add_tcase(s, t);
	return s;
}

CHECK_MAIN(suite)
