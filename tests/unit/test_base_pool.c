/* The thread pool: every item once, in order on one thread, a full queue waits, draining and ending. */
#include "tests/unit/check_main.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>

#include "src/base/pool.h"

#define ITEMS 5000

struct item {
	atomic_uint runs;
	atomic_uint worker;
};

static void count(void *arg, unsigned worker)
{
	struct item *it = arg;

	it->worker = worker;
	atomic_fetch_add(&it->runs, 1);
}

START_TEST(every_item_runs_once)
{
	static const unsigned threads[] = {1, 2, 8}, queues[] = {1, 3, 64};
	static struct item items[ITEMS];
	struct pool *p;

	memset(items, 0, sizeof(items));
	ck_assert_int_eq(pool_new(threads[_i % 3], queues[_i / 3], &p), 0);
	ck_assert_uint_eq(pool_threads(p), threads[_i % 3]);
	for (int k = 0; k < ITEMS; k++)
		pool_submit(p, count, &items[k]);
	pool_drain(p);
	for (int k = 0; k < ITEMS; k++) {
		ck_assert_uint_eq(items[k].runs, 1);
		ck_assert_uint_lt(items[k].worker, threads[_i % 3]);
	}
	pool_drain(p);
	for (int k = 0; k < ITEMS / 2; k++)
		pool_submit(p, count, &items[k]);
	pool_free(p); /* drains */
	for (int k = 0; k < ITEMS; k++)
		ck_assert_uint_eq(items[k].runs, k < ITEMS / 2 ? 2 : 1);
}
END_TEST

struct list {
	pthread_mutex_t lock;
	unsigned n;
	unsigned order[1000];
	unsigned next;
};

static void append(void *arg, unsigned worker)
{
	struct list *l = arg;

	(void)worker;
	pthread_mutex_lock(&l->lock);
	l->order[l->n++] = l->next++;
	pthread_mutex_unlock(&l->lock);
}

struct numbered {
	struct list *list;
	unsigned number;
};

static void append_number(void *arg, unsigned worker)
{
	struct numbered *x = arg;

	(void)worker;
	x->list->order[x->list->n++] = x->number;
}

START_TEST(one_thread_keeps_the_order)
{
	static struct list l;
	static struct numbered x[1000];
	struct pool *p;

	ck_assert_int_eq(pool_new(1, 7, &p), 0);
	for (unsigned k = 0; k < 1000; k++) {
		x[k] = (struct numbered){.list = &l, .number = k};
		pool_submit(p, append_number, &x[k]);
	}
	pool_free(p);
	ck_assert_uint_eq(l.n, 1000);
	for (unsigned k = 0; k < 1000; k++)
		ck_assert_uint_eq(l.order[k], k);
}
END_TEST

struct gate {
	pthread_mutex_t lock;
	pthread_cond_t moved;
	bool open;
	unsigned waiting;
};

static void wait_at(void *arg, unsigned worker)
{
	struct gate *g = arg;

	(void)worker;
	pthread_mutex_lock(&g->lock);
	g->waiting++;
	pthread_cond_broadcast(&g->moved);
	while (!g->open)
		pthread_cond_wait(&g->moved, &g->lock);
	pthread_mutex_unlock(&g->lock);
}

START_TEST(a_full_queue_says_so)
{
	struct gate g = {.lock = PTHREAD_MUTEX_INITIALIZER, .moved = PTHREAD_COND_INITIALIZER};
	struct item it = {0};
	struct pool *p;

	ck_assert_int_eq(pool_new(2, 3, &p), 0);
	pool_submit(p, wait_at, &g);
	pool_submit(p, wait_at, &g);
	pthread_mutex_lock(&g.lock);
	while (g.waiting < 2)
		pthread_cond_wait(&g.moved, &g.lock);
	pthread_mutex_unlock(&g.lock);
	/* Both threads are busy: three fit, no fourth. */
	for (int k = 0; k < 3; k++)
		ck_assert(pool_try_submit(p, count, &it));
	ck_assert(!pool_try_submit(p, count, &it));
	ck_assert_uint_eq(it.runs, 0);
	pthread_mutex_lock(&g.lock);
	g.open = true;
	pthread_cond_broadcast(&g.moved);
	pthread_mutex_unlock(&g.lock);
	pool_drain(p);
	ck_assert_uint_eq(it.runs, 3);
	ck_assert(pool_try_submit(p, count, &it));
	pool_free(p);
	ck_assert_uint_eq(it.runs, 4);
}
END_TEST

struct from_within {
	struct pool *pool;
	struct item later;
	bool took;
};

static void submit_more(void *arg, unsigned worker)
{
	struct from_within *f = arg;

	(void)worker;
	f->took = pool_try_submit(f->pool, count, &f->later);
}

START_TEST(an_item_may_try_to_submit_another)
{
	struct from_within f = {0};

	ck_assert_int_eq(pool_new(1, 1, &f.pool), 0);
	pool_submit(f.pool, submit_more, &f);
	pool_drain(f.pool);
	ck_assert(f.took);
	ck_assert_uint_eq(f.later.runs, 1);
	pool_free(f.pool);
}
END_TEST

static void *submit_many(void *arg)
{
	static struct list l = {.lock = PTHREAD_MUTEX_INITIALIZER};

	for (int k = 0; k < 200; k++)
		pool_submit(arg, append, &l);
	pool_drain(arg);
	return &l;
}

START_TEST(many_threads_submit)
{
	pthread_t t[5];
	struct list *l = NULL;
	struct pool *p;

	ck_assert_int_eq(pool_new(3, 4, &p), 0);
	for (int k = 0; k < 5; k++)
		ck_assert_int_eq(pthread_create(&t[k], NULL, submit_many, p), 0);
	for (int k = 0; k < 5; k++)
		pthread_join(t[k], (void **)&l);
	pool_free(p);
	ck_assert_uint_eq(l->n, 1000);
}
END_TEST

START_TEST(ends_of_the_range)
{
	struct pool *p;

	pool_free(NULL);
	ck_assert_int_eq(pool_new(1, 1, &p), 0);
	pool_free(p);
	ck_assert_uint_ge(pool_cpus(), 1);
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("base_pool");
	TCase *t = tcase_create("base_pool");

	tcase_add_loop_test(t, every_item_runs_once, 0, 9);
	tcase_add_test(t, one_thread_keeps_the_order);
	tcase_add_test(t, a_full_queue_says_so);
	tcase_add_test(t, an_item_may_try_to_submit_another);
	tcase_add_test(t, many_threads_submit);
	tcase_add_test(t, ends_of_the_range);
	suite_add_tcase(s, t);
	return s;
}

CHECK_MAIN(suite)
