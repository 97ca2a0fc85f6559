/* Collecting what no snapshot needs any more.
 *
 * Snapshots are removed first, by whoever decides (the retention policy); this finds the packs that are dead or mostly
 * dead, copies the living records of the latter into new packs, and removes the old ones. In steps that a kill between
 * any two of them leaves harmless:
 *
 *	1. mark: every snapshot's trees and maps are walked; a bit for each record of the index. Bases of living deltas live.
 *	2. copy: packs with few living records are rewritten. Additions only.
 *	3. condemn: an object condemned/PACK for each pack that is to go. Ingests that begin from now on do not rely on it.
 *	4. wait: while an ingest that began before (store/lease.h) is alive, and before `grace` has passed, this ends here; a
 *	   later run goes on.
 *	5. look again: what snapshots that appeared since step 1 need is pardoned.
 *	6. remove packs, then their condemnations.
 *
 * Readers hold no lease: a mount that reads a removed snapshot gets EIO for what is gone, never other bytes. Memory: three
 * bits a record (needed, walked, to be copied) beside what has a limit; figures: tests/README.md. Nothing is collected while anything that is reachable cannot be
 * read: repair comes first. */
#pragma once

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>

#include "src/base/err.h"
#include "src/base/meter.h"
#include "store/snapshot.h"
#include "store/store.h"

/* Zero is the default. */
struct prune_options {
	bool dry_run;			 /* nothing is written; the result says what would be */
	const struct snapshot_ref *drop; /* dry_run: count as if these were removed */
	size_t n_drop;
	uint32_t grace_s;	  /* how long a condemned pack stays at least */
	unsigned rewrite_percent; /* a pack is rewritten when less than that lives; default 60 */
	struct meter *meter;	  /* packs' bytes looked at */
	const volatile sig_atomic_t *stop;
};

struct prune_report {
	uint64_t packs, bytes;		     /* that are there */
	uint64_t live_bytes;		     /* of records that are needed */
	uint64_t removed, removed_bytes;     /* packs */
	uint64_t rewritten, rewritten_bytes; /* packs copied, and what was copied of them */
	uint64_t waiting, waiting_bytes;     /* condemned, to be removed by a later run */
	char waiting_for[200]; /* why: "a backup of cluster main by host x, process 12, since …"; or "" */
};

/* -EBADMSG, -ENODATA: something reachable cannot be read; nothing was collected. -EINTR: stopped; what was done is
 * done. One prune at a time: -EBUSY when another one is at work (a lease, too). */
int store_prune(struct store *s, const struct prune_options *o, struct prune_report *ret, struct err *e);

/* Removes snapshots, durably, each with a mark that says so (store/pruned.h); the data stays until store_prune. -ENOENT is passed over. */
int store_remove_snapshots(struct store *s, const struct snapshot_ref *refs, size_t n, struct err *e);
