/* What records mean for points in time: ends of transactions, checkpoints, restore points, changes of timeline,
 * databases and files that come and go. All other records are no events.
 *
 * Numbers and layouts: src/include/access/xact.h, catalog/pg_control.h, access/xlog_internal.h,
 * commands/dbcommands_xlog.h, catalog/storage_xlog.h and access/heapam_xlog.h of PostgreSQL 13 to 18; what
 * differs is in wal_format.h. Pure; thread-safe but for the reader. Not here: names of relations and databases,
 * which the WAL does not have. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "src/base/clock.h"
#include "src/base/err.h"
#include "src/pg/lsn.h"
#include "src/pg/wal_reader.h"

#define WAL_NAME_MAX 63 /* a restore point's: MAXFNAMELEN - 1, xlog_internal.h */
#define WAL_GID_MAX 199 /* a prepared transaction's: GIDSIZE - 1, xact.h */

enum wal_event_kind {
	WAL_EVENT_COMMIT,	       /* xact */
	WAL_EVENT_COMMIT_PREPARED,     /* xact */
	WAL_EVENT_ABORT,	       /* xact */
	WAL_EVENT_ABORT_PREPARED,      /* xact */
	WAL_EVENT_PREPARE,	       /* xact */
	WAL_EVENT_CHECKPOINT_SHUTDOWN, /* checkpoint */
	WAL_EVENT_CHECKPOINT_ONLINE,   /* checkpoint */
	WAL_EVENT_END_OF_RECOVERY,     /* recovery */
	WAL_EVENT_RESTORE_POINT,       /* restore_point */
	WAL_EVENT_BACKUP_END,	       /* backup_start */
	WAL_EVENT_PARAMETERS,	       /* parameters */
	WAL_EVENT_SWITCH,	       /* nothing more: the segment's rest is unused */
	WAL_EVENT_DATABASE_CREATE,     /* database */
	WAL_EVENT_DATABASE_DROP,       /* database */
	WAL_EVENT_FILE_TRUNCATE,       /* file: cut at a block, by VACUUM or by a rolled-back TRUNCATE */
	WAL_EVENT_TABLE_TRUNCATE,      /* tables: told with wal_level = logical only */
};
#define WAL_EVENT_KINDS 16

/* An array as it lies in the record; read it with wal_oids_at and wal_relfiles_at. */
struct wal_array {
	const uint8_t *p;
	uint32_t n;
};

struct wal_event {
	enum wal_event_kind kind;
	struct lsn lsn; /* of the record */
	struct lsn end; /* WAL up to here contains it */
	struct tli tli;
	uint32_t xid; /* the transaction's, also when another session ends it; 0: none */
	union {
		struct {
			struct tstamp time;
			struct oid database; /* 0: not told */
			uint32_t subxacts;
			/* Files that go with it: with a commit those dropped or replaced (DROP, TRUNCATE, VACUUM
			 * FULL …), with an abort those made in vain. Not for PREPARE, which only counts them. */
			struct wal_array dropped;
			char gid[WAL_GID_MAX + 1]; /* "" when not prepared */
			bool cut; /* the reader kept too little: what follows subxacts may be missing */
		} xact;
		struct {
			struct lsn redo;
			struct tli prev_tli; /* another one: here a new timeline starts */
			struct tli tli;
			bool full_page_writes;
			uint64_t next_xid; /* epoch in the high half */
			struct tstamp time;
		} checkpoint;
		struct {
			struct tstamp time;
			struct tli tli, prev_tli;
		} recovery;
		struct {
			struct tstamp time;
			char name[WAL_NAME_MAX + 1];
		} restore_point;
		struct lsn backup_start; /* redo of the backup's checkpoint: tells which backup */
		struct {
			uint32_t max_connections, max_worker_processes, max_wal_senders, max_prepared_xacts;
			uint32_t max_locks_per_xact;
			uint32_t wal_level; /* enum control_wal_level */
			bool wal_log_hints, track_commit_timestamp;
		} parameters;
		struct {
			struct oid oid;
			bool by_wal;		      /* CREATE: its pages follow in the WAL, since 15 */
			struct oid source;	      /* CREATE by copying files */
			struct oid source_tablespace; /* likewise */
			struct wal_array tablespaces; /* one with CREATE, one or more with DROP */
		} database;
		struct {
			struct relfile rel;
			struct blkno blocks; /* what is left */
			uint32_t forks;	     /* SMGR_TRUNCATE_…, storage_xlog.h: 1 main, 2 vm, 4 fsm */
		} file;
		struct {
			struct oid database;
			bool cascade, restart_seqs;
			struct wal_array oids; /* relations', not files' */
		} tables;
	};
};

struct oid wal_oids_at(struct wal_array a, uint32_t i);
struct relfile wal_relfiles_at(struct wal_array a, uint32_t i);

/* Does this record tell of an event? 1 and *ret, whose arrays lie in the record; or 0. The reader must keep main
 * data. -EBADMSG: a record with a right checksum and contents that no server writes. Thread-safe. */
int wal_event_of(const struct wal_record *rec, struct wal_event *ret, struct err *e);

/* One event, valid during the call. Not 0: stop, and return that. */
typedef int wal_event_fn(void *arg, const struct wal_event *ev, struct err *e);

/* Tells all events from the reader's position to the end of WAL: 0 (wal_reader_end says why it ended), or what
 * fn, wal_reader_next or wal_event_of returned. */
int wal_events(struct wal_reader *r, wal_event_fn *fn, void *arg, struct err *e);

/* pg_waldump's word for it: "COMMIT", "CHECKPOINT_ONLINE" … */
const char *wal_event_name(enum wal_event_kind k);
