/* What prune is about to do: every snapshot and every stretch of WAL with its decision, from what the repository holds
 * and the rules. And the part of doing it that is about WAL.
 *
 * A plan is made at one moment. WAL is decided on again by name when it is removed, a group of the archive at a time, so
 * a plan is small whatever the archive's size. Not here: packs (store/prune.h), printing. */
#pragma once

#include <signal.h>

#include "src/base/meter.h"
#include "src/cmd/retention.h"
#include "src/cmd/retention_wal.h"
#include "store/prune.h"
#include "store/store.h"
#include "store/wal.h"

/* Files of the archive that follow each other on one timeline and share their fate. */
struct plan_range {
	const char *cluster;
	char first[WAL_FILE_NAME_MAX + 1], last[WAL_FILE_NAME_MAX + 1];
	uint64_t files, bytes;
	bool drop;
	char reason[RETENTION_REASON];
};

struct plan_cluster {
	char *name;
	struct retention_wal wal;
};

struct prune_plan {
	struct retention_item *items; /* by series, newest first */
	size_t n_items;
	struct snapshot_ref *drop; /* those of them that go; texts are borrowed */
	size_t n_drop;
	struct plan_range *ranges;
	size_t n_ranges;
	uint64_t wal_files, wal_bytes; /* that go */
	struct plan_cluster *clusters; /* whose WAL was decided on */
	size_t n_clusters;
	/* Memory behind the above. */
	struct snapshot_list list;
	char **texts;
	size_t n_texts;
};

/* Nothing is changed. -ENOENT: o->cluster is not in the repository. */
int prune_plan_make(
	struct store *s, const struct retention_options *o, struct prune_plan *ret, struct err *e);
void prune_plan_release(struct prune_plan *p);

/* Removes the WAL that the plan drops. A cluster that got a base backup since the plan was made is left to a later run,
 * with a warning. *files and *bytes count what was removed, also on an error. -EINTR: stopped. */
int prune_plan_remove_wal(struct store *s, const struct prune_plan *p, struct log *log, struct meter *meter,
	const volatile sig_atomic_t *stop, uint64_t *files, uint64_t *bytes, struct err *e);
