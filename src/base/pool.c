/* The thread pool: one ring of items under one lock. See pool.h. */
#include "src/base/pool.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>

struct item {
	pool_fn *fn;
	void *arg;
};

struct worker {
	struct pool *pool;
	unsigned number;
	pthread_t thread;
};

struct pool {
	pthread_mutex_t lock; /* rank: leaf; guards all below but `workers` */
	pthread_cond_t has_item, has_room, idle;
	struct item *ring;
	unsigned cap, head, count;
	unsigned running;
	bool closing;
	struct worker *workers;
	unsigned threads;
};

static void *work(void *arg)
{
	struct worker *w = arg;
	struct pool *p = w->pool;

	pthread_mutex_lock(&p->lock);
	for (;;) {
		struct item it;

		while (!p->count && !p->closing)
			pthread_cond_wait(&p->has_item, &p->lock);
		if (!p->count)
			break;
		it = p->ring[p->head];
		p->head = (p->head + 1) % p->cap;
		p->count--;
		p->running++;
		pthread_cond_signal(&p->has_room);
		pthread_mutex_unlock(&p->lock);
		it.fn(it.arg, w->number);
		pthread_mutex_lock(&p->lock);
		p->running--;
		if (!p->running && !p->count)
			pthread_cond_broadcast(&p->idle);
	}
	pthread_mutex_unlock(&p->lock);
	return NULL;
}

int pool_new(unsigned threads, unsigned queue, struct pool **ret)
{
	struct pool *p = calloc(1, sizeof(*p));

	if (!p)
		return -ENOMEM;
	pthread_mutex_init(&p->lock, NULL);
	pthread_cond_init(&p->has_item, NULL);
	pthread_cond_init(&p->has_room, NULL);
	pthread_cond_init(&p->idle, NULL);
	p->cap = queue;
	p->ring = calloc(queue, sizeof(*p->ring));
	p->workers = calloc(threads, sizeof(*p->workers));
	if (!p->ring || !p->workers) {
		pool_free(p);
		return -ENOMEM;
	}
	for (unsigned i = 0; i < threads; i++) {
		p->workers[i] = (struct worker){.pool = p, .number = i};
		if (pthread_create(&p->workers[i].thread, NULL, work, &p->workers[i])) {
			pool_free(p);
			return -EAGAIN;
		}
		p->threads++;
	}
	*ret = p;
	return 0;
}

unsigned pool_threads(const struct pool *p)
{
	return p->threads;
}

static void push(struct pool *p, pool_fn *fn, void *arg)
{
	p->ring[(p->head + p->count) % p->cap] = (struct item){fn, arg};
	p->count++;
	pthread_cond_signal(&p->has_item);
}

void pool_submit(struct pool *p, pool_fn *fn, void *arg)
{
	pthread_mutex_lock(&p->lock);
	while (p->count == p->cap)
		pthread_cond_wait(&p->has_room, &p->lock);
	push(p, fn, arg);
	pthread_mutex_unlock(&p->lock);
}

bool pool_try_submit(struct pool *p, pool_fn *fn, void *arg)
{
	bool room;

	pthread_mutex_lock(&p->lock);
	room = p->count < p->cap;
	if (room)
		push(p, fn, arg);
	pthread_mutex_unlock(&p->lock);
	return room;
}

void pool_drain(struct pool *p)
{
	pthread_mutex_lock(&p->lock);
	while (p->count || p->running)
		pthread_cond_wait(&p->idle, &p->lock);
	pthread_mutex_unlock(&p->lock);
}

void pool_free(struct pool *p)
{
	if (!p)
		return;
	if (p->threads) {
		pthread_mutex_lock(&p->lock);
		p->closing = true;
		pthread_cond_broadcast(&p->has_item);
		pthread_mutex_unlock(&p->lock);
		for (unsigned i = 0; i < p->threads; i++)
			pthread_join(p->workers[i].thread, NULL);
	}
	pthread_cond_destroy(&p->has_item);
	pthread_cond_destroy(&p->has_room);
	pthread_cond_destroy(&p->idle);
	pthread_mutex_destroy(&p->lock);
	free(p->ring);
	free(p->workers);
	free(p);
}

unsigned pool_cpus(void)
{
	cpu_set_t set;
	int n = sched_getaffinity(0, sizeof(set), &set) == 0 ? CPU_COUNT(&set) : 1;

	return n > 0 ? (unsigned)n : 1;
}
