/* Which WAL of a cluster stays: what kept base backups need, pure over their positions.
 *
 *	window	all segments from a number on, that recovery can go on from kept backups. It begins with the oldest kept
 *		base backup; with wal-days N, with the newest that ended at least N days ago (or the oldest, where none
 *		did), and before it never with less than what backups that ended later need.
 *	own	what a kept backup before the window needs to become consistent: its start to its stop, no further
 *
 * Segments are compared by number alone, on every timeline, since timelines share the numbers: so what any
 * timeline's recovery needs stays. Timeline histories stay for ever, and so does what is no name of WAL; .partial
 * and .backup go the way of their segment. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "src/base/err.h"
#include "src/cmd/retention.h"

struct retention_own {
	uint64_t first, last; /* segments */
	char reason[96];
};

/* Zero keeps nothing but histories. */
struct retention_wal {
	bool all; /* everything stays; why: window_reason */
	uint32_t segment_size;
	uint64_t window; /* the first segment; UINT64_MAX: none */
	char window_reason[RETENTION_REASON];
	char drop_reason[128];
	struct retention_own *own;
	size_t n_own;
};

/* Plans for one cluster by items on which retention_decide has decided. rules may be NULL: nothing of it goes. -ENOMEM. */
int retention_wal_plan(const struct retention_item *v, size_t n, const char *cluster,
	const struct retention_rules *rules, struct tstamp now, bool force, struct retention_wal *ret,
	struct err *e);
void retention_wal_release(struct retention_wal *w);

/* Does this file of the archive stay? *reason lives as long as w. */
bool retention_wal_keeps(const struct retention_wal *w, const char *name, const char **reason);
