/* The inode table: counts of lookups, numbers that come back, many threads, and what a damaged tree may
 * claim. */
#include "tests/unit/check_main.h"

#include <errno.h>
#include <malloc.h>
#include <pthread.h>

#include "fs/inode.h"

static struct node node(uint64_t ino)
{
	return (struct node){
		.ino = ino, .parent = 1, .position = (uint32_t)ino, .type = ENTRY_FILE, .size = ino};
}

static struct inode_table *table(void)
{
	struct inode_table *t;

	ck_assert_int_eq(inode_table_new(&t), 0);
	return t;
}

START_TEST(a_node_lives_as_long_as_its_lookups)
{
	struct inode_table *t = table();
	struct node n = node(100), got;

	ck_assert(!inode_get(t, 100, &got));
	for (int i = 0; i < 5; i++)
		ck_assert_int_eq(inode_learn(t, &n, NULL), 0);
	inode_forget(t, 100, 3);
	ck_assert(inode_get(t, 100, &got));
	ck_assert_uint_eq(got.size, 100);
	inode_forget(t, 100, 1);
	ck_assert(inode_get(t, 100, &got));
	inode_forget(t, 100, 1);
	ck_assert(!inode_get(t, 100, &got));
	ck_assert_uint_eq(inode_known(t), 0);
	/* Of what it does not know the table forgets nothing. */
	inode_forget(t, 100, 1);
	inode_table_free(t);
}
END_TEST

START_TEST(forgetting_too_much_drops_the_node_once)
{
	struct inode_table *t = table();
	struct node n = node(7);

	ck_assert_int_eq(inode_learn(t, &n, NULL), 0);
	inode_forget(t, 7, UINT64_MAX);
	ck_assert_uint_eq(inode_known(t), 0);
	ck_assert_int_eq(inode_learn(t, &n, NULL), 0);
	ck_assert_uint_eq(inode_known(t), 1);
	inode_table_free(t);
}
END_TEST

START_TEST(the_root_is_never_forgotten)
{
	struct inode_table *t = table();
	struct node n = node(INODE_ROOT), got;

	ck_assert_int_eq(inode_learn(t, &n, NULL), 0);
	inode_forget(t, INODE_ROOT, 10);
	ck_assert(inode_get(t, INODE_ROOT, &got));
	inode_table_free(t);
}
END_TEST

START_TEST(two_entries_with_one_number_are_told_apart)
{
	struct inode_table *t = table();
	struct node n = node(50), other = n;
	struct err e = {0};

	ck_assert_int_eq(inode_learn(t, &n, NULL), 0);
	other.position++;
	ck_assert_int_eq(inode_learn(t, &other, &e), -EBADMSG);
	ck_assert_ptr_nonnull(strstr(e.text, "50"));
	other = n;
	other.parent++;
	ck_assert_int_eq(inode_learn(t, &other, NULL), -EBADMSG);
	other = n;
	other.type = ENTRY_DIR;
	ck_assert_int_eq(inode_learn(t, &other, NULL), -EBADMSG);
	ck_assert_int_eq(inode_learn(t, &n, NULL), 0);
	inode_table_free(t);
}
END_TEST

START_TEST(the_first_open_counts_from_the_last_forgetting)
{
	struct inode_table *t = table();
	struct node n = node(9);

	ck_assert(!inode_first_open(t, 9));
	ck_assert_int_eq(inode_learn(t, &n, NULL), 0);
	ck_assert(inode_first_open(t, 9));
	ck_assert(!inode_first_open(t, 9));
	ck_assert_int_eq(inode_learn(t, &n, NULL), 0);
	ck_assert(!inode_first_open(t, 9));
	inode_forget(t, 9, 2);
	ck_assert_int_eq(inode_learn(t, &n, NULL), 0);
	ck_assert(inode_first_open(t, 9));
	inode_table_free(t);
}
END_TEST

START_TEST(ranges_do_not_meet)
{
	struct inode_table *t = table();
	uint64_t a, b, c;

	ck_assert_int_eq(inode_range(t, 10, &a, NULL), 0);
	ck_assert_int_eq(inode_range(t, 0, &b, NULL), 0);
	ck_assert_int_eq(inode_range(t, 1, &c, NULL), 0);
	ck_assert_uint_gt(a, INODE_README);
	ck_assert_uint_eq(c, a + 10);
	inode_table_free(t);
}
END_TEST

START_TEST(an_absurd_range_is_damage)
{
	static const uint64_t absurd[] = {UINT64_MAX, UINT64_MAX - 20, UINT64_C(1) << 63, UINT64_C(1) << 62};
	struct inode_table *t = table();
	uint64_t first = 5;
	struct err e = {0};

	for (size_t i = 0; i < sizeof(absurd) / sizeof(*absurd); i++)
		ck_assert_int_eq(inode_range(t, absurd[i], &first, &e), -EBADMSG);
	ck_assert_uint_eq(first, 5);
	ck_assert_int_eq(inode_range(t, UINT64_C(1) << 61, &first, NULL), 0);
	inode_table_free(t);
}
END_TEST

/* What the mount pays for a tree of a million files that somebody walked through. */
START_TEST(a_million_inodes_take_at_most_150_bytes_each)
{
	struct inode_table *t = table();
	struct node got;
	size_t before = mallinfo2().uordblks, used;
	uint64_t n = 1000000 / PART(1, 10);

	for (uint64_t i = 0; i < n; i++) {
		struct node in = node(1000 + i);

		ck_assert_int_eq(inode_learn(t, &in, NULL), 0);
	}
	used = mallinfo2().uordblks + mallinfo2().hblkhd - before;
	/* Their allocators answer otherwise. */
	if (!SANITIZED)
		ck_assert_uint_le(used, 150 * n);
	for (uint64_t i = 0; i < n; i++) {
		ck_assert(inode_get(t, 1000 + i, &got));
		ck_assert_uint_eq(got.ino, 1000 + i);
	}
	for (uint64_t i = 0; i < n; i++)
		inode_forget(t, 1000 + i, 1);
	ck_assert_uint_eq(inode_known(t), 0);
	inode_table_free(t);
}
END_TEST

#define THREADS 4
#define ROUNDS 20000
#define NUMBERS 500

struct hammer {
	struct inode_table *t;
	uint64_t seed;
};

/* Learns and forgets the same numbers as the others; what this thread has learned must be there until it
 * forgets. */
static void *hammer(void *arg)
{
	struct hammer *h = arg;
	uint64_t r = h->seed;

	for (int i = 0; i < ROUNDS; i++) {
		struct node n = node(1000 + check_rand_below(&r, NUMBERS)), got;

		if (inode_learn(h->t, &n, NULL) < 0 || !inode_get(h->t, n.ino, &got) || got.size != n.ino)
			return h;
		inode_forget(h->t, n.ino, 1);
	}
	return NULL;
}

START_TEST(threads_keep_their_counts)
{
	struct inode_table *t = table();
	struct hammer h[THREADS];
	pthread_t th[THREADS];
	void *bad;

	for (unsigned i = 0; i < THREADS; i++) {
		h[i] = (struct hammer){t, check_seed() + i};
		ck_assert_int_eq(pthread_create(&th[i], NULL, hammer, &h[i]), 0);
	}
	for (unsigned i = 0; i < THREADS; i++) {
		pthread_join(th[i], &bad);
		ck_assert_ptr_null(bad);
	}
	ck_assert_uint_eq(inode_known(t), 0);
	inode_table_free(t);
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("fs_inode");
	TCase *c = tcase_create("table");

	tcase_add_test(c, a_node_lives_as_long_as_its_lookups);
	tcase_add_test(c, forgetting_too_much_drops_the_node_once);
	tcase_add_test(c, the_root_is_never_forgotten);
	tcase_add_test(c, two_entries_with_one_number_are_told_apart);
	tcase_add_test(c, the_first_open_counts_from_the_last_forgetting);
	tcase_add_test(c, ranges_do_not_meet);
	tcase_add_test(c, an_absurd_range_is_damage);
	tcase_add_test(c, a_million_inodes_take_at_most_150_bytes_each);
	tcase_add_test(c, threads_keep_their_counts);
	suite_add_tcase(s, c);
	return s;
}

CHECK_MAIN(suite)
