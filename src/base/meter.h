/* How far long work has come, for whoever wants to show it. Written by the work, read by another thread at
 * any time. */
#pragma once

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

struct meter {
	_Atomic uint64_t done;	     /* bytes */
	_Atomic uint64_t total;	     /* 0: not known */
	_Atomic uint64_t files;	     /* complete */
	_Atomic(const char *) waits; /* what the work waits for, a text that stays; NULL: nothing */
};

static inline void meter_add(struct meter *m, uint64_t bytes, uint64_t files)
{
	if (!m)
		return;
	atomic_fetch_add_explicit(&m->done, bytes, memory_order_relaxed);
	atomic_fetch_add_explicit(&m->files, files, memory_order_relaxed);
}

static inline void meter_waits(struct meter *m, const char *what)
{
	if (m)
		atomic_store_explicit(&m->waits, what, memory_order_relaxed);
}

static inline void meter_total(struct meter *m, uint64_t bytes)
{
	if (m)
		atomic_store_explicit(&m->total, bytes, memory_order_relaxed);
}
