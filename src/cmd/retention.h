/* Which snapshots stay: the policy, pure over what is known of them.
 *
 * Rules work on series: the snapshots of one cluster and kind, for dumps of one database. A snapshot stays when any
 * rule keeps it. Days, weeks (of ISO 8601, from Monday on), months and years are those of UTC, and the newest snapshot in
 * each counts. Besides the rules: what cannot be read stays, since nobody knows what it is; what ends in the future
 * stays and takes no other's place, since some clock was wrong; a series without rules stays; and the newest base
 * backup of a cluster stays unless forced. Not here: WAL (retention_wal.h). */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "src/base/clock.h"
#include "src/cmd/retention_rules.h"
#include "src/pg/lsn.h"
#include "store/snapshot.h"

#define RETENTION_REASON 320

/* A snapshot, and what becomes of it. Texts are the caller's. */
struct retention_item {
	const char *cluster;
	enum snapshot_kind kind;
	const char *id;
	const char *database; /* of a dump; or NULL */
	const char *tags;     /* parted by spaces; or NULL */
	const char *damage;   /* why it cannot be read; else NULL */
	struct tstamp stop;
	/* Of a base backup; 0: unknown. */
	struct tli tli;
	struct lsn start_lsn, stop_lsn;
	uint32_t segment_size;
	/* The decision. */
	bool drop;
	bool future; /* it ends in the future */
	char reason[RETENTION_REASON];
};

/* Zero is the default. */
struct retention_options {
	const struct retention_sets *sets;
	enum snapshot_kind kind; /* only these are dropped; 0: any */
	const char *cluster;	 /* only of this one; NULL: of any */
	struct tstamp now;
	bool force; /* the newest base backup is like any other */
};

/* Does this choice include the snapshot at all? The others stay, with no reason told. */
bool retention_chosen(const struct retention_options *o, const struct retention_item *i);
/* Decides on all. Sorts them by series, newest first. 0 or -ENOMEM. */
int retention_decide(const struct retention_options *o, struct retention_item *v, size_t n);
