/* The summaries that were asked for last, in memory, so that a question asked again costs nothing and a summary that
 * cannot be noted is not made twice; and the latest time of many more segments, for a question about a time goes through all
 * of them. Thread-safe; a summary is shared by counting and never changed. */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "src/base/clean.h"
#include "src/base/clock.h"
#include "src/base/err.h"
#include "src/pg/wal_summary.h"

struct recent_summary {
	atomic_uint refs;
	struct tli tli;
	struct segno no;
	struct lsn valid; /* it counts what lies before this */
	struct wal_summary *s;
};

struct recent;
struct recent *recent_new(void);    /* NULL without memory */
void recent_free(struct recent *r); /* fine on NULL */
CLEANUP_DEFINE(struct recent, recent_free)

/* Finds one, or NULL. Give it back with recent_unref. */
struct recent_summary *recent_get(struct recent *r, struct tli t, struct segno no, struct lsn valid);
/* Keeps s, which it takes in any case; *ret is the caller's share. -ENOMEM. */
int recent_put(struct recent *r, struct tli t, struct segno no, struct lsn valid, struct wal_summary *s,
	struct recent_summary **ret, struct err *e);
/* How many segments from this one on, up to `most` and to the end of its block, are known to have no time later than
 * `time`. A segment is known by a summary of all of it that was put. */
uint64_t recent_none_later(
	struct recent *r, struct tli t, struct segno no, uint64_t most, struct tstamp time);
void recent_unref(struct recent_summary *s); /* fine on NULL */
CLEANUP_DEFINE(struct recent_summary, recent_unref)
