/* Readahead policy: who gets a window, how it grows, and who gets nothing. */
#include "tests/unit/check_main.h"

#include "fs/readahead.h"

#define KIB 1024u
#define MIB (1024u * KIB)
#define NO_LIMIT (64u * MIB)

/* Reads a file through in requests of n bytes; everything must be asked for once, in order, in time. */
static void read_through(uint64_t size, size_t n, uint64_t limit)
{
	struct readahead ra = {0};
	uint64_t asked = 0, widest = 0;

	for (uint64_t off = 0; off < size; off += n) {
		struct span s = readahead_note(&ra, off, n, size, limit);
		uint64_t end = off + n < size ? off + n : size;

		if (!s.len)
			continue;
		ck_assert_uint_ge(s.off, end > asked ? end : asked);
		if (asked)
			ck_assert_uint_eq(s.off, asked > end ? asked : end);
		ck_assert_uint_le(s.off + s.len, size);
		asked = s.off + s.len;
		ck_assert_uint_le(asked - end, limit < READAHEAD_MAX ? limit : READAHEAD_MAX);
		if (asked - end > widest)
			widest = asked - end;
	}
	if (size > 16 * MIB) {
		ck_assert_uint_eq(asked, size);
		ck_assert_uint_eq(widest, limit < READAHEAD_MAX ? limit : READAHEAD_MAX);
	}
}

START_TEST(a_sequential_reader_is_followed_to_the_end)
{
	static const size_t requests[] = {4 * KIB, 8 * KIB, 64 * KIB, 128 * KIB, 1 * MIB};
	static const uint64_t sizes[] = {1, 8 * KIB, 100000, 1 * MIB, 16 * MIB + 1, 64 * MIB};

	for (size_t i = 0; i < sizeof(requests) / sizeof(*requests); i++)
		for (size_t k = 0; k < sizeof(sizes) / sizeof(*sizes); k++) {
			read_through(sizes[k], requests[i], NO_LIMIT);
			read_through(sizes[k], requests[i], 1 * MIB);
		}
}
END_TEST

START_TEST(a_copy_is_recognised_by_its_first_read)
{
	struct readahead ra = {0};
	struct span s = readahead_note(&ra, 0, 128 * KIB, 64 * MIB, NO_LIMIT);

	ck_assert_uint_eq(s.off, 128 * KIB);
	ck_assert_uint_ge(s.len, READAHEAD_START);
}
END_TEST

START_TEST(random_readers_get_nothing)
{
	struct readahead ra = {0};
	uint64_t r = check_seed(), spans = 0;

	for (int i = 0; i < 100000; i++) {
		uint64_t off = check_rand_below(&r, 128 * 1024) * 8 * KIB;

		spans += readahead_note(&ra, off, 8 * KIB, 1024 * MIB, NO_LIMIT).len != 0;
	}
	ck_assert_uint_eq(spans, 0);
}
END_TEST

START_TEST(two_reads_in_a_row_are_not_a_sequence)
{
	struct readahead ra = {0};

	for (uint64_t off = 10 * MIB; off < 1000 * MIB; off += 10 * MIB) {
		ck_assert_uint_eq(readahead_note(&ra, off, 8 * KIB, 1024 * MIB, NO_LIMIT).len, 0);
		ck_assert_uint_eq(readahead_note(&ra, off + 8 * KIB, 8 * KIB, 1024 * MIB, NO_LIMIT).len, 0);
	}
}
END_TEST

/* As the kernel's own readahead arrives when several threads take requests. */
START_TEST(requests_out_of_order_are_still_a_sequence)
{
	struct readahead ra = {0};
	uint64_t spans = 0, size = 64 * MIB;

	for (uint64_t off = 0; off + 256 * KIB <= size; off += 256 * KIB) {
		spans += readahead_note(&ra, off + 128 * KIB, 128 * KIB, size, NO_LIMIT).len != 0;
		spans += readahead_note(&ra, off, 128 * KIB, size, NO_LIMIT).len != 0;
	}
	ck_assert_uint_gt(spans, 8);
	ck_assert_uint_eq(ra.ahead, size);
}
END_TEST

START_TEST(a_stray_read_ends_the_sequence)
{
	struct readahead ra = {0};

	for (uint64_t off = 0; off < 4 * MIB; off += 128 * KIB)
		readahead_note(&ra, off, 128 * KIB, 64 * MIB, NO_LIMIT);
	ck_assert_uint_gt(ra.window, 0);
	ck_assert_uint_eq(readahead_note(&ra, 40 * MIB, 8 * KIB, 64 * MIB, NO_LIMIT).len, 0);
	ck_assert_uint_eq(ra.window, 0);
}
END_TEST

START_TEST(a_small_cache_means_no_readahead)
{
	struct readahead ra = {0};

	for (uint64_t off = 0; off < 4 * MIB; off += 128 * KIB)
		ck_assert_uint_eq(readahead_note(&ra, off, 128 * KIB, 64 * MIB, READAHEAD_START - 1).len, 0);
}
END_TEST

/* The disk hears of everything once, in order, and several windows ahead. */
START_TEST(the_disk_is_told_further_ahead)
{
	static const uint64_t sizes[] = {1 * MIB, 16 * MIB + 1, 256 * MIB};

	for (size_t i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
		struct readahead ra = {0};
		uint64_t told = 0, furthest = 0;

		for (uint64_t off = 0; off < sizes[i]; off += 128 * KIB) {
			struct span s = readahead_note(&ra, off, 128 * KIB, sizes[i], NO_LIMIT), disk;

			disk = readahead_disk(&ra, sizes[i]);
			if (disk.len) {
				ck_assert_uint_eq(disk.off, told ? told : ra.next);
				told = disk.off + disk.len;
				ck_assert_uint_le(told, sizes[i]);
			}
			/* Never less far than what is decoded. */
			ck_assert(!s.len || told >= s.off + s.len);
			if (told > ra.next && told - ra.next > furthest)
				furthest = told - ra.next;
		}
		ck_assert_uint_eq(told, sizes[i]);
		ck_assert_uint_le(furthest, READAHEAD_MAX * READAHEAD_DISK);
		ck_assert(sizes[i] < 256 * MIB || furthest == READAHEAD_MAX * READAHEAD_DISK);
	}
}
END_TEST

START_TEST(a_random_reader_leaves_the_disk_alone)
{
	struct readahead ra = {0};
	uint64_t r = check_seed();

	for (int i = 0; i < 100000; i++) {
		uint64_t off = check_rand_below(&r, 128 * 1024) * 8 * KIB;

		readahead_note(&ra, off, 8 * KIB, 1024 * MIB, NO_LIMIT);
		ck_assert_uint_eq(readahead_disk(&ra, 1024 * MIB).len, 0);
	}
}
END_TEST

/* Any arguments: nothing beyond the end, nothing wraps. */
START_TEST(spans_stay_inside_the_file)
{
	uint64_t r = check_seed();

	for (int i = 0; i < 200000 / PART(1, 10); i++) {
		struct readahead ra = {0};
		uint64_t size = check_rand(&r) >> check_rand_below(&r, 64), off = 0;

		for (int k = 0; k < 8; k++) {
			size_t n = (size_t)check_rand_below(&r, 2 * MIB);
			struct span s, disk;

			if (check_rand_below(&r, 4) == 0)
				off = check_rand(&r) >> check_rand_below(&r, 64);
			s = readahead_note(&ra, off, n, size, NO_LIMIT);
			ck_assert(s.len == 0 || (s.off < size && s.len <= size - s.off));
			disk = readahead_disk(&ra, size);
			ck_assert(disk.len == 0 || (disk.off < size && disk.len <= size - disk.off));
			off += n;
		}
	}
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("fs_readahead");
	TCase *c = tcase_create("policy");

	tcase_add_test(c, a_sequential_reader_is_followed_to_the_end);
	tcase_add_test(c, a_copy_is_recognised_by_its_first_read);
	tcase_add_test(c, random_readers_get_nothing);
	tcase_add_test(c, two_reads_in_a_row_are_not_a_sequence);
	tcase_add_test(c, requests_out_of_order_are_still_a_sequence);
	tcase_add_test(c, a_stray_read_ends_the_sequence);
	tcase_add_test(c, a_small_cache_means_no_readahead);
	tcase_add_test(c, the_disk_is_told_further_ahead);
	tcase_add_test(c, a_random_reader_leaves_the_disk_alone);
	tcase_add_test(c, spans_stay_inside_the_file);
	suite_add_tcase(s, c);
	return s;
}

CHECK_MAIN(suite)
