/* The inside of the box: the handle, a way with what it borrows, and finding on one way. For the files of this folder
 * and their tests. */
#pragma once

#include "src/pit/inventory.h"
#include "src/pit/pit.h"
#include "src/pit/recent.h"
#include "src/pit/way.h"

struct pit {
	struct store *store;
	char *cluster;
	struct log *log;
	const struct pit_source *source;
	struct shelf *shelf;
	struct recent *recent;
};

int pit_new_with(struct store *s, const char *cluster, struct log *log, const struct pit_source *source,
	struct pit **ret, struct err *e);

/* The way of a timeline of this inventory. -ENOENT, -EBADMSG: its history cannot be had. */
int pit_way(
	struct pit *p, const struct inventory *i, const struct timeline *t, struct way *ret, struct err *e);

/* pit_resolve, with way.h's may_make. -EAGAIN: that was not enough. */
int resolve_making(
	struct pit *p, const struct target *t, unsigned *may_make, struct pit_point *ret, struct err *e);

/* What resolving finds. */
struct answer {
	const struct backup *backup;
	struct lsn backup_end;
	struct lsn to;	 /* replayed up to here */
	struct lsn need; /* read up to here: the record at which recovery stops before has to be there, too */
};

/* Finds the target on this way: -ENOENT with the reason. */
int resolve_on(const struct way *w, const struct target *t, struct answer *ret, struct err *e);

/* Where the backup becomes consistent; 0: nothing tells. */
int backup_end(const struct way *w, const struct backup *b, struct lsn *ret, struct err *e);

/* Does the way lead from the backup's redo through its end, by its own WAL or the archive's? */
bool backup_leads(const struct way *w, const struct backup *b, struct lsn end);

/* The last commit that starts before `until` and not before `from`: 1 and *ret, or 0. */
int last_commit(
	const struct way *w, struct lsn from, struct lsn until, struct wal_commit *ret, struct err *e);

/* ---- finding in the WAL (find.c) ---- */

/* What was looked for: where its record starts and ends. */
struct found {
	struct lsn lsn, end;
	uint32_t xid;
	struct tstamp time;
};

/* The first commit or abort in [from, until) later than `time`. 1, or 0. */
int find_later(const struct way *w, struct lsn from, struct lsn until, struct tstamp time, struct found *ret,
	struct err *e);
/* The commit or abort of exactly this transaction in [from, until). 1, or 0. */
int find_xid(const struct way *w, struct lsn from, struct lsn until, uint32_t xid, struct found *ret,
	struct err *e);
/* The first restore point of this name in [from, until). 1, or 0. */
int find_name(const struct way *w, struct lsn from, struct lsn until, const char *name, struct found *ret,
	struct err *e);
