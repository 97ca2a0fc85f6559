/* What a cluster has, by names alone: stretches of segments a timeline, histories, base backups.
 *
 * An inventory is made at one moment and never changed; it is shared by counting. The shelf keeps what need not be
 * read twice: groups of the archive that are full, histories, snapshots. Thread-safe. */
#pragma once

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "src/base/clean.h"
#include "src/base/err.h"
#include "src/base/log.h"
#include "src/pg/lsn.h"
#include "src/pg/timeline_history.h"
#include "src/pg/wal_summary.h"
#include "store/snapshot.h"
#include "store/store.h"

/* Where names and summaries come from: the store, or a test. */
struct pit_source {
	int (*groups)(struct store *s, const char *cluster, char ***ret, struct err *e);
	int (*names)(struct store *s, const char *cluster, const char *group, char ***ret, struct err *e);
	int (*summary)(struct store *s, const char *cluster, const char *name, struct wal_summary **ret,
		struct err *e);
	/* Without making it: negative when it is not there. */
	int (*noted)(struct store *s, const char *cluster, const char *name, struct wal_summary **ret);
};
extern const struct pit_source pit_source_store;

/* Segments first to last, all of them there. */
struct stretch {
	uint64_t first, last;
};

struct timeline {
	struct tli tli;
	struct stretch *v; /* rising, never touching */
	size_t n;
	const struct timeline_history *history; /* NULL: history_why says why not */
	int history_r;
	const char *history_why;
};

/* A base backup, by the properties that src/capture/backup_verdict.c gave it. */
struct backup {
	const struct snapshot *snap;
	struct tli tli;
	struct lsn start; /* redo */
	struct lsn stop;  /* its first consistent point; 0: nothing tells */
	unsigned pg_major;
	uint32_t segment_size;
	bool own_wal; /* its data/pg_wal holds start to stop */
};

/* A segment that is being streamed: so much of it is there. */
struct partial {
	struct tli tli;
	struct segno no;
	uint64_t length;
	struct tstamp put;
};

struct inventory {
	atomic_uint refs;
	uint32_t segment_size;	    /* 0: neither backup nor segment */
	struct timeline *timelines; /* rising */
	size_t n_timelines;
	const struct backup **backups; /* oldest first */
	size_t n_backups;
	struct partial *partials; /* of segments that are not in the archive */
	size_t n_partials;
};

struct shelf;
int shelf_new(struct store *s, const char *cluster, struct log *log, const struct pit_source *source,
	struct shelf **ret, struct err *e);
void shelf_free(struct shelf *s); /* fine on NULL; no inventory may be held */
CLEANUP_DEFINE(struct shelf, shelf_free)

/* The newest inventory, at most a second old. Give it back with inventory_unref; what it points to lives as long
 * as the shelf. */
int shelf_inventory(struct shelf *s, struct inventory **ret, struct err *e);
void inventory_unref(struct inventory *i); /* fine on NULL */
CLEANUP_DEFINE(struct inventory, inventory_unref)

/* The stretch that holds this segment on exactly this timeline, or NULL. */
const struct stretch *inventory_find(const struct inventory *i, struct tli t, struct segno no);
/* The first stretch of the timeline that begins at or after this segment, or NULL. */
const struct stretch *inventory_after(const struct inventory *i, struct tli t, struct segno no);
/* The partial of this segment on exactly this timeline, or NULL. */
const struct partial *inventory_partial(const struct inventory *i, struct tli t, struct segno no);
const struct timeline *inventory_timeline(const struct inventory *i, struct tli t); /* or NULL */
