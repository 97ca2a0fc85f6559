/* The way of recovery along one timeline: which file serves for each segment, how far the WAL goes without a hole,
 * and what lies in it.
 *
 * A view that borrows everything; any number of threads may use one. It knows names and summaries, and reads the WAL
 * itself only where the caller names the place. Not here: backups and targets. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "src/base/err.h"
#include "src/base/log.h"
#include "src/pg/lsn.h"
#include "src/pg/timeline_history.h"
#include "src/pg/wal_event.h"
#include "src/pg/wal_summary.h"
#include "src/pit/inventory.h"
#include "src/pit/recent.h"

struct way {
	struct store *store;
	const char *cluster;
	struct log *log;
	const struct pit_source *source;
	struct recent *recent;
	const struct inventory *inv;
	const struct timeline_history *h;
	/* So many summaries that are not noted are made, each counted down; NULL: all that are asked for. */
	unsigned *may_make;
};

/* The timeline whose file of this segment recovery takes, and up to where its bytes count: the segment's end; or where
 * that timeline was left when the next one's file is missing; or as far as it was streamed. False: there is none. */
bool way_file(const struct way *w, struct segno no, struct tli *ret, struct lsn *ret_valid);

/* Is it not in the archive, but being streamed? */
bool way_streamed(const struct way *w, struct segno no);

/* The name of that file; of a segment that is missing, the one recovery wants first. Returns out. */
char *way_name(const struct way *w, struct segno no, char out[WAL_NAME_TEXT]);

/* The name of the file that recovery wants first, be it there or not. Returns out. */
char *way_wanted(const struct way *w, struct segno no, char out[WAL_NAME_TEXT]);

/* The first byte at or after `from` that is not there, by names alone. */
struct lsn way_reach(const struct way *w, struct lsn from);

/* The first segment at or after `no` of which there is a file. False: none. */
bool way_next(const struct way *w, struct segno no, struct segno *ret);

/* The first hole behind `from`: from the segment *ret_first, of which at most a part is there, to the one before *ret_next,
 * which is there. False: nothing is there behind where the WAL ends. */
bool way_gap(const struct way *w, struct lsn from, struct segno *ret_first, struct segno *ret_next);

/* Where the last whole record ends that can be read from `from` on without a hole; `from` when there is none.
 * A damaged segment at the end is left out, with a warning. */
int way_end(const struct way *w, struct lsn from, struct lsn *ret, struct err *e);

/* The summary of a segment that is there. Give it back with recent_unref. -EAGAIN: it is not noted, and may_make is used up. */
int way_summary(const struct way *w, struct segno no, struct recent_summary **ret, struct err *e);

/* The first segment at or after `no`, and before `end`, that may have a time later than `time`, as far as is known without
 * reading anything; else `end`. */
struct segno way_may_be_later(const struct way *w, struct segno no, struct segno end, struct tstamp time);

/* Tells the events of all records that start in [from, until) and are whole, in order. */
int way_events(
	const struct way *w, struct lsn from, struct lsn until, wal_event_fn *fn, void *arg, struct err *e);

/* The first whole record that starts at or after `at`: 1 and where it ends, or 0. */
int way_record(const struct way *w, struct lsn at, struct lsn *ret_end, struct err *e);

static inline struct lsn way_start(const struct way *w, struct segno no)
{
	return wal_segment_start(no, w->inv->segment_size);
}

static inline struct segno way_segno(const struct way *w, struct lsn l)
{
	return wal_segno(l, w->inv->segment_size);
}
