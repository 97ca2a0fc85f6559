/* The cache of decoded blobs: its limit, who is evicted first, one load at a time, loads that fail. */
#include <pthread.h>
#include <stdatomic.h>

#include "store/cache.h"
#include "tests/unit/store_fixture.h"

#define SHARDS 8 /* of cache.c; ids here lie in one shard unless a test says otherwise */

struct loads {
	atomic_uint n, running, most;
	atomic_int fail_first; /* so many loads fail */
	size_t len;
	int slow; /* µs */
};

static int load(void *arg, const struct digest *id, uint8_t **ret, size_t *ret_len, struct err *e)
{
	struct loads *l = arg;
	unsigned now = atomic_fetch_add(&l->running, 1) + 1, most = atomic_load(&l->most);

	while (now > most && !atomic_compare_exchange_weak(&l->most, &most, now))
		;
	atomic_fetch_add(&l->n, 1);
	if (l->slow)
		usleep((useconds_t)l->slow);
	atomic_fetch_sub(&l->running, 1);
	if (atomic_fetch_sub(&l->fail_first, 1) > 0)
		return err_set(e, -EBADMSG, "this one failed");
	*ret = malloc(l->len);
	memset(*ret, id->b[0], l->len);
	*ret_len = l->len;
	return 0;
}

static struct digest id_of(unsigned n)
{
	struct digest d = {{0}};

	d.b[0] = (uint8_t)n;
	d.b[1] = (uint8_t)(n >> 8);
	return d;
}

static struct blob *get(struct cache *c, unsigned n, bool meta, struct loads *l)
{
	struct digest id = id_of(n);
	struct blob *b;
	struct err e = {0};

	fx_ok(cache_get(c, &id, meta, load, l, &b, &e), &e);
	ck_assert_uint_eq(blob_len(b), l->len);
	ck_assert_uint_eq(blob_data(b)[0], n & 255);
	ck_assert_uint_eq(blob_data(b)[l->len - 1], n & 255);
	return b;
}

static void touch(struct cache *c, unsigned n, bool meta, struct loads *l)
{
	blob_release(get(c, n, meta, l));
}

static bool has(struct cache *c, unsigned n)
{
	struct digest id = id_of(n);

	return cache_has(c, &id);
}

START_TEST(oldest_goes)
{
	struct cache *c;
	struct loads l = {.len = 10000};

	/* Room for four in the shard, with what a blob takes beside its bytes. */
	ck_assert_int_eq(cache_new(SHARDS * 4 * 10400, &c), 0);
	for (unsigned i = 0; i < 4; i++)
		touch(c, i, false, &l);
	ck_assert_uint_eq(atomic_load(&l.n), 4);
	touch(c, 0, false, &l); /* used again: 1 is the oldest now */
	touch(c, 4, false, &l);
	ck_assert_uint_eq(atomic_load(&l.n), 5);
	ck_assert(has(c, 0) && !has(c, 1) && has(c, 2) && has(c, 3) && has(c, 4));
	cache_free(c);
}
END_TEST

START_TEST(pinned_stay)
{
	struct cache *c;
	struct loads l = {.len = 10000};
	struct blob *held[20];

	ck_assert_int_eq(cache_new(SHARDS * 4 * 10400, &c), 0);
	for (unsigned i = 0; i < 20; i++)
		held[i] = get(c, i, i % 2, &l);
	for (unsigned i = 0; i < 20; i++) {
		ck_assert(has(c, i));
		blob_release(get(c, i, i % 2, &l)); /* held twice */
	}
	ck_assert_uint_eq(atomic_load(&l.n), 20);
	for (unsigned i = 0; i < 20; i++) {
		ck_assert_uint_eq(blob_data(held[i])[5000], i);
		blob_release(held[i]);
	}
	unsigned left = 0;
	for (unsigned i = 0; i < 20; i++)
		left += has(c, i);
	ck_assert_uint_eq(left, 4);
	blob_release(NULL);
	cache_free(c);
}
END_TEST

/* Nodes stay while chunks go, up to half of the limit. */
START_TEST(nodes_stay)
{
	struct cache *c;
	struct loads l = {.len = 10000};
	unsigned nodes = 0;

	ck_assert_int_eq(cache_new(SHARDS * 8 * 10400, &c), 0);
	for (unsigned i = 0; i < 3; i++)
		touch(c, i, true, &l);
	for (unsigned i = 100; i < 140; i++)
		touch(c, i, false, &l);
	ck_assert(has(c, 0) && has(c, 1) && has(c, 2));
	ck_assert(has(c, 139) && !has(c, 100));
	/* Too many of them make room for themselves only. */
	for (unsigned i = 0; i < 40; i++)
		touch(c, 1000 + i, true, &l);
	for (unsigned i = 0; i < 40; i++)
		nodes += has(c, 1000 + i);
	ck_assert_uint_ge(nodes, 4);
	ck_assert_uint_le(nodes, 8);
	for (unsigned i = 200; i < 240; i++)
		touch(c, i, false, &l);
	nodes = 0;
	for (unsigned i = 0; i < 40; i++)
		nodes += has(c, 1000 + i);
	ck_assert_uint_ge(nodes, 3);
	cache_free(c);
}
END_TEST

/* A blob larger than the limit is handed out and not kept. */
START_TEST(too_large)
{
	struct cache *c;
	struct loads l = {.len = 1u << 20};

	ck_assert_int_eq(cache_new(1000, &c), 0);
	for (int i = 0; i < 3; i++) {
		struct blob *b = get(c, 7, false, &l);

		ck_assert(has(c, 7));
		blob_release(b);
		ck_assert(!has(c, 7));
	}
	ck_assert_uint_eq(atomic_load(&l.n), 3);
	cache_free(c);
	cache_free(NULL);
}
END_TEST

START_TEST(failed)
{
	struct cache *c;
	struct loads l = {.len = 100, .fail_first = 2};
	struct digest id = id_of(1);
	struct blob *b = NULL;
	struct err e = {0};

	ck_assert_int_eq(cache_new(1u << 20, &c), 0);
	for (int i = 0; i < 2; i++) {
		fx_fails(cache_get(c, &id, false, load, &l, &b, &e), -EBADMSG, &e);
		ck_assert_ptr_null(b);
		ck_assert(!has(c, 1));
	}
	touch(c, 1, false, &l);
	ck_assert_uint_eq(atomic_load(&l.n), 3);
	cache_free(c);
}
END_TEST

struct crowd {
	struct cache *c;
	struct loads *l;
	uint64_t rng;
	unsigned ids, rounds, errors;
	pthread_t thread;
};

static void *crowd(void *arg)
{
	struct crowd *k = arg;

	for (unsigned i = 0; i < k->rounds; i++) {
		unsigned n = (unsigned)check_rand_below(&k->rng, k->ids);
		struct digest id = id_of(n);
		struct blob *b;

		/* Spread over the shards. */
		id.b[31] = (uint8_t)n;
		if (cache_get(k->c, &id, n % 3 == 0, load, k->l, &b, NULL) < 0) {
			k->errors++;
			continue;
		}
		if (blob_data(b)[blob_len(b) / 2] != (n & 255))
			abort();
		blob_release(b);
	}
	return NULL;
}

static unsigned run_crowd(struct cache *c, struct loads *l, unsigned ids, unsigned rounds)
{
	struct crowd k[16];
	unsigned errors = 0;

	for (int i = 0; i < 16; i++) {
		k[i] = (struct crowd){.c = c, .l = l, .rng = check_seed() + i, .ids = ids, .rounds = rounds};
		ck_assert_int_eq(pthread_create(&k[i].thread, NULL, crowd, &k[i]), 0);
	}
	for (int i = 0; i < 16; i++) {
		pthread_join(k[i].thread, NULL);
		errors += k[i].errors;
	}
	return errors;
}

/* Sixteen threads want one: it is loaded once. */
START_TEST(single_flight)
{
	struct cache *c;
	struct loads l = {.len = 1000, .slow = 30000};

	ck_assert_int_eq(cache_new(1u << 20, &c), 0);
	ck_assert_uint_eq(run_crowd(c, &l, 1, 20), 0);
	ck_assert_uint_eq(atomic_load(&l.n), 1);
	ck_assert_uint_eq(atomic_load(&l.most), 1);
	cache_free(c);
}
END_TEST

/* Loads that fail while others wait for them: each who waited tries again, one at a time. */
START_TEST(failed_flight)
{
	struct cache *c;
	struct loads l = {.len = 1000, .slow = 2000, .fail_first = 10};

	ck_assert_int_eq(cache_new(1u << 20, &c), 0);
	ck_assert_uint_eq(run_crowd(c, &l, 1, 3), 10);
	ck_assert_uint_eq(atomic_load(&l.n), 11);
	ck_assert_uint_eq(atomic_load(&l.most), 1);
	cache_free(c);
}
END_TEST

START_TEST(storm)
{
	struct cache *c;
	struct loads l = {.len = 5000, .fail_first = 300};

	ck_assert_int_eq(cache_new(300000, &c), 0);
	ck_assert_uint_eq(run_crowd(c, &l, 600, 5000), 300);
	cache_free(c);
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("store/cache");
	TCase *t = tcase_create("all");

	tcase_add_test(t, oldest_goes);
	tcase_add_test(t, pinned_stay);
	tcase_add_test(t, nodes_stay);
	tcase_add_test(t, too_large);
	tcase_add_test(t, failed);
	tcase_add_test(t, single_flight);
	tcase_add_test(t, failed_flight);
	tcase_add_test(t, storm);
	suite_add_tcase(s, t);
	return s;
}
CHECK_MAIN(suite)
