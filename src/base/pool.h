/* A thread pool with a bounded queue: the engine of ingest, readahead and restore.
 *
 * Work items run in the order in which they were submitted, each on one of the pool's threads. Submitting to
 * a full queue waits, which is what bounds the memory of a pipeline. */
#pragma once

#include <stdbool.h>

struct pool;

/* worker is 0 … threads-1 and names the thread, for per-thread contexts. */
typedef void pool_fn(void *arg, unsigned worker);

/* threads >= 1, queue >= 1 waiting items. -ENOMEM, -EAGAIN (no more threads). */
int pool_new(unsigned threads, unsigned queue, struct pool **ret);
unsigned pool_threads(const struct pool *p);
/* Waits for room. Must not be called from the pool's own threads. */
void pool_submit(struct pool *p, pool_fn *fn, void *arg);
/* The same without waiting: false when the queue is full, and nothing was queued. From any thread. */
bool pool_try_submit(struct pool *p, pool_fn *fn, void *arg);
/* Waits until everything submitted so far, by any thread, has run. */
void pool_drain(struct pool *p);
/* Drains, ends the threads, frees. Fine on NULL. */
void pool_free(struct pool *p);

/* The processors this process may run on, at least 1. */
unsigned pool_cpus(void);
