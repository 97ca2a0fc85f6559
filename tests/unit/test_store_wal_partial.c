/* Growing segments: what was appended is there to the byte, however it was cut, merged, doubled or damaged. */
#include <pthread.h>

#include "src/base/crc32c.h"
#include "store/wal.h"
#include "store/wal_partial.h"
#include "store/wal_piece.h"
#include "tests/unit/store_fixture.h"

#define SIZE (3u << 20)
#define NAME "000000010000000000000003"
#define OTHER "000000010000000000000004"

static struct fixture fx;
static struct err why;
static uint8_t *wal;
static uint64_t rng;

static void set_up(void)
{
	rng = check_seed();
	fx = fx_make(NULL);
	wal = fx_bytes(&rng, SIZE);
}

static void tear_down(void)
{
	fx_free(&fx);
	free(wal);
}

static void append(uint64_t from, uint64_t to)
{
	fx_ok(wal_partial_append(fx.s, "main", NAME, SIZE, from, wal + from, to - from, &why), &why);
}

static uint64_t length(void)
{
	struct wal_partial_info info;

	fx_ok(wal_partial_stat(fx.s, "main", NAME, &info, &why), &why);
	ck_assert_uint_eq(info.segment_size, SIZE);
	ck_assert_uint_gt(info.stored, 0);
	return info.length;
}

static unsigned pieces(void)
{
	struct wal_partial_info info;

	fx_ok(wal_partial_stat(fx.s, "main", NAME, &info, &why), &why);
	return info.pieces;
}

/* A file of the full size: n bytes of WAL, then zeroes. */
static void check_file(struct file *f, uint64_t n)
{
	uint8_t *got = malloc(SIZE);

	ck_assert_uint_eq(file_size(f), SIZE);
	ck_assert_int_eq(file_read(f, 0, got, SIZE, &why), SIZE);
	fx_same("what is covered", got, n, wal, n);
	for (uint64_t i = n; i < SIZE; i++)
		if (got[i])
			ck_abort_msg("byte %lu after the end is %02x", (unsigned long)i, got[i]);
	free(got);
}

static void check_content(uint64_t n)
{
	uint8_t *got = malloc(SIZE);
	struct wal_partial_info info;
	struct file *f;
	size_t len;

	ck_assert_uint_eq(length(), n);
	fx_ok(wal_partial_load(fx.s, "main", NAME, got, SIZE, &len, &why), &why);
	fx_same("loaded", got, len, wal, n);
	fx_ok(wal_partial_open(fx.s, "main", NAME, &f, &info, &why), &why);
	ck_assert_uint_eq(info.length, n);
	check_file(f, n);
	file_free(f);
	free(got);
}

/* ---- what goes in comes out ---- */

START_TEST(grows)
{
	uint64_t at = 0;

	for (unsigned i = 0; at < SIZE; i++) {
		uint64_t n = 1 + check_rand_below(&rng, i % 3 ? 20000 : 1500000);

		n = n < SIZE - at ? n : SIZE - at;
		append(at, at + n);
		at += n;
		if (i % 16 == 0)
			check_content(at);
		fx_ok(wal_partial_compact(fx.s, "main", NAME, 1 + (unsigned)check_rand_below(&rng, 9), &why),
			&why);
		ck_assert_uint_le(pieces(), 3 + 10);
	}
	check_content(SIZE);
	fx_ok(wal_partial_compact(fx.s, "main", NAME, 1, &why), &why);
	fx_close(&fx);
	fx_open(&fx);
	check_content(SIZE);
}
END_TEST

START_TEST(merged)
{
	for (unsigned i = 0; i < 100; i++)
		append(i * 100, (i + 1) * 100);
	ck_assert_uint_eq(pieces(), 100);
	fx_ok(wal_partial_compact(fx.s, "main", NAME, 0, &why), &why);
	ck_assert_uint_eq(pieces(), 1);
	check_content(10000);
	fx_ok(wal_partial_compact(fx.s, "main", NAME, 0, &why), &why);
	append(10000, 10001);
	ck_assert_uint_eq(pieces(), 2);
	check_content(10001);
}
END_TEST

/* Two receivers cut differently, and one of them lags. */
START_TEST(overlapping)
{
	append(0, 1000);
	append(0, 700);
	append(700, 5000);
	append(1000, 4000);
	append(4000, (1 << 20) + 5);
	append(5000, (1 << 20) + 3);
	check_content((1 << 20) + 5);
	fx_ok(wal_partial_compact(fx.s, "main", NAME, 1, &why), &why);
	ck_assert_uint_le(pieces(), 2);
	check_content((1 << 20) + 5);
}
END_TEST

START_TEST(hole)
{
	append(0, 1000);
	append(1001, 2000);
	check_content(1000);
	append(1000, 1001);
	check_content(2000);
}
END_TEST

START_TEST(not_from_the_start)
{
	append(10, 1000);
	ck_assert_uint_eq(length(), 0);
	append(0, 10);
	check_content(1000);
}
END_TEST

START_TEST(twice)
{
	append(0, 1000);
	append(0, 1000);
	ck_assert_uint_eq(pieces(), 1);
	wal[5] ^= 1;
	fx_fails(wal_partial_append(fx.s, "main", NAME, SIZE, 0, wal, 1000, &why), -EEXIST, &why);
	wal[5] ^= 1;
	check_content(1000);
}
END_TEST

START_TEST(refused)
{
	struct wal_partial_info info;
	struct file *f;
	size_t n;

	fx_fails(wal_partial_append(fx.s, "main", NAME, SIZE, SIZE - 5, wal, 6, &why), -EINVAL, &why);
	fx_fails(wal_partial_append(fx.s, "main", NAME, SIZE, SIZE + 1ull, wal, 0, &why), -EINVAL, &why);
	fx_fails(wal_partial_append(fx.s, "main", NAME, SIZE + 1, 0, wal, 6, &why), -EINVAL, &why);
	fx_fails(wal_partial_append(fx.s, "main", "../x", SIZE, 0, wal, 6, &why), -EINVAL, &why);
	fx_fails(wal_partial_append(fx.s, "a/b", NAME, SIZE, 0, wal, 6, &why), -EINVAL, &why);
	fx_fails(wal_partial_stat(fx.s, "main", NAME, &info, &why), -ENOENT, &why);
	fx_fails(wal_partial_open(fx.s, "main", NAME, &f, NULL, &why), -ENOENT, &why);
	fx_fails(wal_partial_load(fx.s, "main", NAME, wal, SIZE, &n, &why), -ENOENT, &why);
	fx_ok(wal_partial_remove(fx.s, "main", NAME, &why), &why);
}
END_TEST

START_TEST(names)
{
	char **v;

	fx_ok(wal_partial_names(fx.s, "main", &v, &why), &why);
	ck_assert_ptr_null(v[0]);
	strv_free(v);
	fx_ok(wal_partial_append(fx.s, "main", OTHER, SIZE, 0, wal, 10, &why), &why);
	append(0, 10);
	append(10, 20);
	fx_ok(wal_partial_names(fx.s, "main", &v, &why), &why);
	ck_assert_str_eq(v[0], NAME);
	ck_assert_str_eq(v[1], OTHER);
	ck_assert_ptr_null(v[2]);
	strv_free(v);
	fx_ok(wal_partial_remove(fx.s, "main", NAME, &why), &why);
	fx_ok(wal_partial_names(fx.s, "main", &v, &why), &why);
	ck_assert_str_eq(v[0], OTHER);
	ck_assert_ptr_null(v[1]);
	strv_free(v);
	fx_ok(wal_partial_names(fx.s, "other", &v, &why), &why);
	ck_assert_ptr_null(v[0]);
	strv_free(v);
}
END_TEST

/* An open file stays what it was when its pieces are merged, and when the segment was archived. */
START_TEST(stays_open)
{
	struct file *early, *archived;
	bool known;
	int fd;

	for (unsigned i = 0; i < 10; i++)
		append(i * 150000, (i + 1) * 150000);
	fx_ok(wal_partial_open(fx.s, "main", NAME, &early, NULL, &why), &why);
	fx_ok(wal_partial_compact(fx.s, "main", NAME, 1, &why), &why);
	check_file(early, 1500000);
	append(1500000, 1600000);
	fx_ok(wal_partial_open(fx.s, "main", NAME, &archived, NULL, &why), &why);
	append(1600000, SIZE);
	fd = fx_fd(wal, SIZE);
	fx_ok(wal_put(fx.s, "main", NAME, fd, SIZE, 1, &known, &why), &why);
	close(fd);
	fx_ok(wal_partial_remove(fx.s, "main", NAME, &why), &why);
	check_file(archived, 1600000);
	file_free(early);
	file_free(archived);
}
END_TEST

/* Readers never see a hole, whatever is merged, archived and removed meanwhile. */
static void *read_on(void *arg)
{
	uint8_t *got = malloc(SIZE);
	unsigned *opened = arg;
	struct err e = {0};

	for (;;) {
		struct wal_partial_info info;
		struct file *f;
		ssize_t n;
		int r = wal_partial_open(fx.s, "main", NAME, &f, &info, &e);

		/* Not yet there, or archived. */
		if (r == -ENOENT && wal_open(fx.s, "main", NAME, &f, NULL) == 0) {
			file_free(f);
			break;
		}
		if (r == -ENOENT)
			continue;
		ck_assert_msg(r == 0, "%s", e.text);
		n = file_read(f, 0, got, SIZE, &e);
		ck_assert_msg(n == SIZE, "%s", e.text);
		ck_assert(!memcmp(got, wal, info.length));
		file_free(f);
		++*opened;
	}
	free(got);
	return NULL;
}

START_TEST(readers)
{
	enum { READERS = 3, STEP = 30000 };
	unsigned opened[READERS] = {0};
	pthread_t threads[READERS];
	bool known;
	int fd;

	for (int i = 0; i < READERS; i++)
		ck_assert_int_eq(pthread_create(&threads[i], NULL, read_on, &opened[i]), 0);
	for (uint64_t at = 0; at < SIZE; at += STEP) {
		append(at, at + STEP < SIZE ? at + STEP : SIZE);
		fx_ok(wal_partial_compact(fx.s, "main", NAME, 3, &why), &why);
	}
	fd = fx_fd(wal, SIZE);
	fx_ok(wal_put(fx.s, "main", NAME, fd, SIZE, 1, &known, &why), &why);
	close(fd);
	fx_ok(wal_partial_remove(fx.s, "main", NAME, &why), &why);
	for (int i = 0; i < READERS; i++) {
		pthread_join(threads[i], NULL);
		ck_assert_uint_gt(opened[i], 0);
	}
}
END_TEST

/* ---- damage ---- */

static char *object(uint32_t start, uint32_t end)
{
	char suffix[WAL_PIECE_SUFFIX + 1], *name;

	ck_assert_int_gt(asprintf(&name, "walpart/main/" NAME "%s", wal_piece_suffix(start, end, suffix)), 0);
	return name;
}

static void damage(uint32_t start, uint32_t end)
{
	char *name = object(start, end);
	size_t n;
	uint8_t *p = fx_read_file(fx.repo, name, &n);

	p[check_rand_below(&rng, n)] ^= (uint8_t)(1u << check_rand_below(&rng, 8));
	fx_replace(fx.repo, name, p, n);
	free(p);
	free(name);
}

START_TEST(damaged)
{
	uint8_t *got = malloc(SIZE);
	struct file *f;
	size_t n;

	append(0, 1 << 20);
	append(1 << 20, 1100000);
	append(1100000, 1200000);
	damage(1100000, 1200000);
	fx_ok(wal_partial_open(fx.s, "main", NAME, &f, NULL, &why), &why);
	ck_assert_int_eq(file_read(f, 0, got, 1 << 20, &why), 1 << 20);
	fx_fails((int)file_read(f, 1 << 20, got, 10, &why), -EBADMSG, &why);
	ck_assert_ptr_nonnull(strstr(why.text, NAME));
	file_free(f);
	fx_ok(wal_partial_load(fx.s, "main", NAME, got, SIZE, &n, &why), &why);
	fx_same("before the damage", got, n, wal, 1 << 20);
	/* It is left alone by a merge, and goes when the same comes again, or when another piece covers it. */
	append(1200000, 1200001);
	fx_ok(wal_partial_compact(fx.s, "main", NAME, 1, &why), &why);
	append(1100000, 1200000);
	check_content(1200001);
	damage(1100000, 1200000);
	append(1090000, 1250000);
	check_content(1250000);
	free(got);
}
END_TEST

/* The format, byte by byte. */
START_TEST(golden)
{
	static const char head[] = "'pgstWALP' 01000000 00000000 00112233445566778899aabbccddeeff"
				   "00001000 00200000 05200000 00000000";
	static const uint8_t id[16] = {0x00, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88, 0x99, 0xaa, 0xbb,
		0xcc, 0xdd, 0xee, 0xff};
	struct buf got = {0}, want = {0};
	struct codec *c;
	size_t n;
	uint8_t *p = fx_hex(head, &n);

	ck_assert_int_eq(codec_new(3, &c), 0);
	fx_ok(wal_piece_pack(c, id, 1 << 20, 0x2000, 0x2005, "hello", &got, &why), &why);
	buf_put(&want, p, n);
	buf_put_u32(&want, crc32c(0, "hello", 5));
	buf_put_u32(&want, 5);
	buf_put_u32(&want, crc32c(0, "hello", 5));
	buf_put_u32(&want, crc32c(0, want.data, want.len));
	buf_put(&want, "hello", 5);
	fx_same("a piece", got.data, got.len, want.data, want.len);
	ck_assert_uint_eq(got.len, WAL_PIECE_HEAD + 5);
	free(p);
	buf_free(&got);
	buf_free(&want);
	codec_free(c);
}
END_TEST

/* Cut anywhere, or with any bit flipped: refused. */
START_TEST(every_bit)
{
	struct wal_piece piece;
	struct buf b = {0};
	struct codec *c;
	uint8_t id[16] = {1}, out[600];

	ck_assert_int_eq(codec_new(3, &c), 0);
	memset(wal, 'x', 300);
	fx_ok(wal_piece_pack(c, id, 1 << 20, 0, 500, wal, &b, &why), &why);
	fx_ok(wal_piece_parse(b.data, b.len, id, "it", &piece, &why), &why);
	ck_assert_uint_eq(piece.codec, CODEC_ZSTD);
	fx_ok(wal_piece_unpack(c, &piece, "it", out, &why), &why);
	fx_same("unpacked", out, 500, wal, 500);
	for (size_t n = 0; n < b.len; n++) {
		uint8_t *cut = malloc(n + 1);

		memcpy(cut, b.data, n);
		fx_fails(wal_piece_parse(cut, n, id, "it", &piece, &why), -EBADMSG, &why);
		free(cut);
	}
	for (size_t i = 0; i < b.len * 8; i++) {
		b.data[i / 8] ^= (uint8_t)(1u << i % 8);
		fx_fails(wal_piece_parse(b.data, b.len, id, "it", &piece, &why), -EBADMSG, &why);
		b.data[i / 8] ^= (uint8_t)(1u << i % 8);
	}
	id[3] = 9;
	fx_fails(wal_piece_parse(b.data, b.len, id, "it", &piece, &why), -EBADMSG, &why);
	buf_free(&b);
	codec_free(c);
}
END_TEST

START_TEST(piece_names)
{
	static const char *const bad[] = {"", ".00000000-00000001", NAME, NAME ".00000000-00000000",
		NAME ".00000002-00000001", NAME ".000FFFFE-000fffff", NAME ".000ffffe-00100001",
		NAME ".00000000_00000001", NAME "-00000000-00000001", NAME ".40000000-40000001",
		NAME ".00000000-0000000g", NAME ".00000000-00000001x"};
	uint32_t start, end;
	size_t len;
	char suffix[WAL_PIECE_SUFFIX + 1];

	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		ck_assert_msg(
			!wal_piece_name_parse(bad[i], strlen(bad[i]), &len, &start, &end), "%s", bad[i]);
	ck_assert(wal_piece_name_parse(NAME ".3ff00000-40000000", 42, &len, &start, &end));
	ck_assert_uint_eq(len, 24);
	ck_assert_uint_eq(start, 0x3ff00000);
	ck_assert_uint_eq(end, 0x40000000);
	ck_assert_str_eq(wal_piece_suffix(start, end, suffix), ".3ff00000-40000000");
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("store/wal_partial");
	TCase *t = tcase_create("content");

	tcase_add_checked_fixture(t, set_up, tear_down);
	tcase_add_test(t, grows);
	tcase_add_test(t, merged);
	tcase_add_test(t, overlapping);
	tcase_add_test(t, hole);
	tcase_add_test(t, not_from_the_start);
	tcase_add_test(t, twice);
	tcase_add_test(t, refused);
	tcase_add_test(t, names);
	tcase_add_test(t, stays_open);
	tcase_add_test(t, readers);
	suite_add_tcase(s, t);
	t = tcase_create("damage");
	tcase_add_checked_fixture(t, set_up, tear_down);
	tcase_add_test(t, damaged);
	tcase_add_test(t, golden);
	tcase_add_test(t, every_bit);
	tcase_add_test(t, piece_names);
	suite_add_tcase(s, t);
	return s;
}

CHECK_MAIN(suite)
