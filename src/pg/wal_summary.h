/* What one segment of WAL holds for points in time, so that a target is found without reading the WAL again.
 *
 * A summary is derived: it can be made anew from the segment at any time. It speaks of the records whose last byte
 * lies in the segment, since those are what recovery can replay once it has the segment; the first of them may
 * have begun before, which is why a summary is made from where the one before it says (`resume`).
 *
 * The stored form, version 1, little-endian, varints as in src/base/buf.h (s: signed):
 *
 *	summary = u8 1, u8 pg_major, varint tli, varint segno, u32 segment_size, u64 system_identifier,
 *		  u8 flags, u64 from, u64 resume, varint records, { varint count }	a kind of event each
 *		  varint dropped_files, varint cut,
 *		  [time min, time max]					with flag 4
 *		  [commit first, commit last, u32 xid_min, u32 xid_max]	with flag 8
 *		  varint marks_left_out, varint n, { mark }
 *	time    = s sec, varint nsec
 *	commit  = u64 lsn, u32 xid, time
 *	mark    = u8 kind, u64 lsn, time, u64 lsn2, varint tli, varint prev_tli, varint len, name
 *	flags   = 1 complete, 2 head_missing, 4 has_times, 8 has_commits
 *
 * Not here: a checksum, which is the store's. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "src/base/buf.h"
#include "src/base/clean.h"
#include "src/base/clock.h"
#include "src/base/err.h"
#include "src/pg/lsn.h"
#include "src/pg/wal_event.h"
#include "src/pg/wal_reader.h"

#define WAL_SUMMARY_MARKS 4096 /* most marks that one keeps; what is left out is counted */

/* A record that people may want to go back to, or that recovery turns on: restore points, checkpoints, ends of
 * recovery, ends of backups. */
struct wal_mark {
	enum wal_event_kind kind;
	struct lsn lsn;
	struct tstamp time;	     /* 0 where the record has none */
	struct lsn lsn2;	     /* a checkpoint's redo, the start of a backup that ends here */
	struct tli tli, prev_tli;    /* of a checkpoint or end of recovery: differ where a timeline starts */
	char name[WAL_NAME_MAX + 1]; /* a restore point's */
};

struct wal_commit {
	struct lsn lsn;
	uint32_t xid;
	struct tstamp time;
};

struct wal_summary {
	unsigned pg_major;
	struct tli tli; /* of the segment's name */
	struct segno segno;
	uint32_t segment_size;
	uint64_t system_identifier;
	bool complete;	   /* read to the segment's end; else `resume` is where its WAL ends */
	bool head_missing; /* begun within a record that is not counted here */
	struct lsn from;   /* the first record counted; 0: none */
	struct lsn resume; /* where the next segment's summary begins; 0: at that segment's first record */
	uint64_t records;
	uint64_t counts[WAL_EVENT_KINDS]; /* by enum wal_event_kind */
	uint64_t dropped_files;		  /* of commits */
	uint64_t cut;			  /* events not decoded to their end, for their size */
	/* Over commits and aborts, prepared or not: what recovery_target_time is compared with
	 * (getRecordTimestamp, src/backend/access/transam/xlogrecovery.c). Clocks step back: in WAL order they need
	 * not rise. */
	bool has_times;
	struct tstamp time_min, time_max;
	/* Commits only. xids are compared as the server does it, modulo 2^32. */
	bool has_commits;
	struct wal_commit first_commit, last_commit;
	uint32_t xid_min, xid_max;
	uint64_t marks_left_out;
	size_t n_marks;
	struct wal_mark *marks;
};

void wal_summary_free(struct wal_summary *s);
CLEANUP_DEFINE(struct wal_summary, wal_summary_free)

/* Summarises segment (tli, segno) of segment_size bytes with a reader made for that size, which keeps main data.
 * from: `resume` of the summary before, whose pages the reader's callback must then be able to give; 0: the first
 * record that starts in the segment. The reader is left at resume, without a limit. Errors are the reader's and
 * wal_event_of's, and -EINVAL: from lies behind the segment. Free *ret with wal_summary_free. */
int wal_summary_make(struct wal_reader *r, struct tli tli, struct segno segno, uint32_t segment_size,
	struct lsn from, struct wal_summary **ret, struct err *e);

/* Appends the stored form; the buffer's `bad` tells of a failure. */
void wal_summary_encode(const struct wal_summary *s, struct buf *b);

/* Reads it back. -EBADMSG: not one of ours, or not all of it; -EOPNOTSUPP: a version that is not known; -ENOMEM. */
int wal_summary_decode(const void *p, size_t n, struct wal_summary **ret, struct err *e);

/* Could the commit of this transaction be in here? */
bool wal_summary_may_commit(const struct wal_summary *s, uint32_t xid);
