/* Points in time: which backup and which WAL lead to a moment, and what can be reached at all.
 *
 * A view of one cluster's base backups, WAL archive, partial segment and timeline histories. It reads the
 * archive's names at most once a second, and of the WAL itself only summaries (summaries.h), each once: those between a
 * backup and a time, where they are noted, since clocks step back, and else as few as halving takes. Rules of recovery are the server's
 * (src/backend/access/transam/xlogrecovery.c, PostgreSQL 13 to 18), cited where they are used.
 *
 * Thread-safe. Nothing here writes but the summaries. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "src/base/buf.h"
#include "src/base/clean.h"
#include "src/base/clock.h"
#include "src/base/err.h"
#include "src/base/log.h"
#include "src/pg/lsn.h"
#include "src/pit/target.h"
#include "store/snapshot.h"
#include "store/store.h"

struct pit;

/* The cluster need not have anything yet. log (may be NULL) gets warnings about damaged segments. Both must outlive
 * it. */
int pit_new(struct store *s, const char *cluster, struct log *log, struct pit **ret, struct err *e);
void pit_free(struct pit *p); /* fine on NULL */
CLEANUP_DEFINE(struct pit, pit_free)

/* A property of a base backup that is a position ("start_lsn", "stop_lsn"); 0 when it has none. */
struct lsn pit_lsn_of(const struct snapshot *s, const char *key);
/* A property that is a number, also one written as text ("pg_version"); 0 when it has none. */
uint64_t pit_number_of(const struct snapshot *s, const char *key);

/* How a moment is reached. */
struct pit_point {
	struct target target;	 /* as asked, with the timeline filled in */
	struct snapshot *backup; /* the newest that ends before it, on the way to it */
	unsigned pg_major;
	struct tli tli; /* recovery_target_timeline */
	uint32_t segment_size;
	struct lsn from;       /* the backup's redo position: replay begins */
	struct lsn backup_end; /* consistency */
	struct lsn to;	       /* WAL up to here is replayed, and all of it is there */
	uint64_t replay_bytes; /* to - from */
	char first_wal[WAL_NAME_TEXT], last_wal[WAL_NAME_TEXT]; /* files that replay needs */
	uint64_t segments;
	bool has_time; /* of the last commit that is replayed; else the backup's end */
	struct tstamp time;
	uint32_t xid; /* of that commit; 0: none */
	bool partial; /* the last of it lies in a partial segment */
};
void pit_point_release(struct pit_point *p);

/* Finds the way. -ENOENT with the reason as text: before the first backup's end, after the end of the archived WAL
 * (and where that is), a gap at segment so-and-so, no such restore point, no such transaction, no such timeline.
 * Else what could not be read. Release with pit_point_release. */
int pit_resolve(struct pit *p, const struct target *t, struct pit_point *ret, struct err *e);

/* What the server does when it is there. */
enum pit_action {
	PIT_PROMOTE, /* ends recovery, and takes writes */
	PIT_PAUSE,   /* stays in recovery; queries are answered where hot_standby is on */
};

/* The settings that recovery to this point takes, ready to be appended to postgresql.auto.conf: restore_command
 * (given, with %f and %p in it), recovery_target…, recovery_target_timeline, recovery_target_action. All values quoted
 * as postgresql.conf wants them. free() *ret. */
int pit_settings(const struct pit_point *p, const char *restore_command, enum pit_action action, char **ret,
	struct err *e);
/* The same for the backup itself: recovery ends as soon as it is consistent, on the backup's own timeline. */
int pit_settings_backup(const char *restore_command, enum pit_action action, char **ret, struct err *e);
/* The restore_command that reads from the cluster's wal/ in the mount on `mountpoint`. free() *ret. */
int pit_restore_command(const char *mountpoint, const char *cluster, char **ret, struct err *e);
/* The same for a server on a branch in that mount, which gets links to whole segments instead of copies. */
int pit_link_command(const char *mountpoint, const char *cluster, char **ret, struct err *e);
/* The same without a mount: `program` is pgstrata, `repo` the repository, both by their whole path. */
int pit_archive_command(
	const char *program, const char *repo, const char *cluster, char **ret, struct err *e);
/* Appends one line, NAME = 'VALUE', quoted as postgresql.conf wants it. */
void pit_put_setting(struct buf *b, const char *name, const char *value);

/* One JSON object that tells the point: what at/…/info.json holds and show-target --json prints. Appends to b. */
int pit_point_json(const struct pit_point *p, unsigned indent, struct buf *b);

/* A hole in the archive: segments that are missing between two that are there, on the way of one timeline. What prune took
 * between two backups is none, nor what was written before the archiving began with which the window begins. */
struct pit_gap {
	char first[WAL_NAME_TEXT], last[WAL_NAME_TEXT];
	uint64_t segments;
	bool ends_window; /* what lies behind it leads nowhere before there is another backup */
};

/* What can be recovered, along the newest timeline. */
struct pit_window {
	struct snapshot *last_backup; /* NULL: none */
	size_t backups;
	char last_wal[72];	     /* newest name; "" for none */
	struct tstamp last_wal_put;  /* when it was archived */
	struct tstamp last_wal_time; /* of its last commit, where it has one */
	bool has_last_wal_time;
	struct pit_gap *gaps; /* after the first backup's start */
	size_t n_gaps;
	/* From the end of the oldest backup from which WAL leads on without a gap to `to`. */
	bool open; /* there is a window */
	struct tli tli;
	struct lsn from_lsn, to_lsn;
	struct tstamp from_time, to_time;
};
int pit_window(struct pit *p, struct pit_window *ret, struct err *e);
void pit_window_release(struct pit_window *w);

/* What `ls at/` shows: latest, restore points, the end of each backup, full hours between; each can be reached.
 * Oldest first, `latest` first of all; at most `max`. Called for each; non-zero ends it and is returned. */
typedef int pit_target_fn(void *arg, const struct target *t, struct tstamp time, struct err *e);
int pit_list(struct pit *p, size_t max, pit_target_fn *fn, void *arg, struct err *e);
