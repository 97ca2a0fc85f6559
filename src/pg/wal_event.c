/* Decoding events. See wal_event.h. Each function reads one record's main data, field by field in the order of
 * the server's struct, and tells whether it is whole. */
#include "src/pg/wal_event.h"

#include <errno.h>
#include <string.h>

#define PG_EPOCH \
	946684800 /* 2000-01-01, from which timestamps count in µs (src/include/datatype/timestamp.h) */

enum {
	/* xl_info of RMGR_XACT, xact.h */
	XACT_OPMASK = 0x70,
	XACT_COMMIT = 0x00,
	XACT_PREPARE = 0x10,
	XACT_ABORT = 0x20,
	XACT_COMMIT_PREPARED = 0x30,
	XACT_ABORT_PREPARED = 0x40,
	XACT_HAS_INFO = 0x80,
	/* xinfo, same file */
	XINFO_DBINFO = 1 << 0,
	XINFO_SUBXACTS = 1 << 1,
	XINFO_RELFILES = 1 << 2,
	XINFO_INVALS = 1 << 3,
	XINFO_TWOPHASE = 1 << 4,
	XINFO_GID = 1 << 7,
	XINFO_DROPPED_STATS = 1 << 8,
	INVAL_SIZE = 16, /* sizeof(SharedInvalidationMessage), src/include/storage/sinval.h */

	/* RMGR_XLOG, pg_control.h */
	XLOG_CHECKPOINT_SHUTDOWN = 0x00,
	XLOG_CHECKPOINT_ONLINE = 0x10,
	XLOG_SWITCH = 0x40,
	XLOG_BACKUP_END = 0x50,
	XLOG_PARAMETER_CHANGE = 0x60,
	XLOG_RESTORE_POINT = 0x70,
	XLOG_END_OF_RECOVERY = 0x90,

	SMGR_TRUNCATE = 0x20, /* RMGR_SMGR, storage_xlog.h */

	HEAP_OPMASK = 0x70, /* RMGR_HEAP, heapam_xlog.h */
	HEAP_TRUNCATE = 0x30,
	TRUNCATE_CASCADE = 1 << 0,
	TRUNCATE_RESTART_SEQS = 1 << 1,
};

static struct tstamp get_time(struct cur *c)
{
	int64_t us = (int64_t)cur_u64(c), sec = us / 1000000;

	us %= 1000000;
	if (us < 0) {
		us += 1000000;
		sec--;
	}
	return (struct tstamp){.sec = sec + PG_EPOCH, .nsec = (uint32_t)us * 1000};
}

static struct lsn get_lsn(struct cur *c)
{
	return (struct lsn){cur_u64(c)};
}

static struct tli get_tli(struct cur *c)
{
	return (struct tli){cur_u32(c)};
}

static struct oid get_oid(struct cur *c)
{
	return (struct oid){cur_u32(c)};
}

/* n elements of `size` bytes. */
static struct wal_array get_array(struct cur *c, uint32_t n, size_t size)
{
	struct wal_array a = {0};

	if (n > cur_left(c) / size) {
		c->bad = true;
		return a;
	}
	a.p = cur_bytes(c, n * size);
	a.n = a.p ? n : 0;
	return a;
}

/* A text of at most n bytes that ends with a NUL among them, into room for n. */
static void get_text(struct cur *c, size_t n, char *ret)
{
	size_t left = cur_left(c), most = n < left ? n : left;
	const uint8_t *end = most ? memchr(c->p, 0, most) : NULL;

	if (!end) {
		c->bad = true;
		return;
	}
	memcpy(ret, c->p, (size_t)(end - c->p) + 1);
	cur_bytes(c, (size_t)(end - c->p) + 1);
}

struct oid wal_oids_at(struct wal_array a, uint32_t i)
{
	struct cur c = cur_of(a.p + 4 * (size_t)i, 4);

	return get_oid(&c);
}

struct relfile wal_relfiles_at(struct wal_array a, uint32_t i)
{
	struct cur c = cur_of(a.p + RELFILE_SIZE * (size_t)i, RELFILE_SIZE);

	return relfile_read(&c);
}

/* ---- transactions ---- */

/* xl_xact_commit and xl_xact_abort: the same, but an abort has no invalidation messages. */
static void get_xact_end(struct cur *c, const struct wal_record *rec, struct wal_event *ev)
{
	const struct wal_format *f = wal_format_of_major(rec->pg_major);
	uint32_t xinfo = 0;

	ev->xact.time = get_time(c);
	if (rec->info & XACT_HAS_INFO)
		xinfo = cur_u32(c);
	if (xinfo & XINFO_DBINFO) {
		ev->xact.database = get_oid(c);
		cur_u32(c); /* its tablespace */
	}
	if (xinfo & XINFO_SUBXACTS) {
		uint32_t n = cur_u32(c);

		get_array(c, n, 4);
		ev->xact.subxacts = n;
	}
	if (xinfo & XINFO_RELFILES)
		ev->xact.dropped = get_array(c, cur_u32(c), RELFILE_SIZE);
	if (xinfo & XINFO_DROPPED_STATS && f->dropped_stat)
		get_array(c, cur_u32(c), f->dropped_stat);
	if (xinfo & XINFO_INVALS)
		get_array(c, cur_u32(c), INVAL_SIZE);
	if (xinfo & XINFO_TWOPHASE) {
		ev->xid = cur_u32(c);
		if (xinfo & XINFO_GID)
			get_text(c, sizeof(ev->xact.gid), ev->xact.gid);
	}
	/* The origin follows. */
}

/* xl_xact_prepare, MAXALIGN'ed, and the name behind it. */
static void get_prepare(struct cur *c, const struct wal_record *rec, struct wal_event *ev)
{
	const struct wal_format *f = wal_format_of_major(rec->pg_major);
	const uint8_t *gid;
	uint16_t n;

	cur_bytes(c, 8); /* magic, total_len */
	ev->xid = cur_u32(c);
	ev->xact.database = get_oid(c);
	ev->xact.time = get_time(c);
	cur_u32(c); /* owner */
	ev->xact.subxacts = cur_u32(c);
	cur_bytes(c, f->dropped_stat ? 20 : 12); /* numbers of relations, statistics and invalidations */
	cur_bytes(c, 2);			 /* initfileinval */
	n = cur_u16(c);				 /* with the NUL */
	cur_bytes(c, 16);			 /* origin */
	gid = cur_bytes(c, n);
	if (!gid || !n || n > sizeof(ev->xact.gid) || gid[n - 1])
		c->bad = true;
	else
		memcpy(ev->xact.gid, gid, n);
}

static bool xact_event(const struct wal_record *rec, struct cur *c, struct wal_event *ev)
{
	switch (rec->info & XACT_OPMASK) {
	case XACT_COMMIT:
		ev->kind = WAL_EVENT_COMMIT;
		break;
	case XACT_COMMIT_PREPARED:
		ev->kind = WAL_EVENT_COMMIT_PREPARED;
		break;
	case XACT_ABORT:
		ev->kind = WAL_EVENT_ABORT;
		break;
	case XACT_ABORT_PREPARED:
		ev->kind = WAL_EVENT_ABORT_PREPARED;
		break;
	case XACT_PREPARE:
		ev->kind = WAL_EVENT_PREPARE;
		break;
	default: /* assignments, invalidations */
		return false;
	}
	if (ev->kind == WAL_EVENT_PREPARE)
		get_prepare(c, rec, ev);
	else
		get_xact_end(c, rec, ev);
	/* What the reader left out is no damage, as long as the time is there. */
	if (c->bad && rec->main_kept < rec->main_len && rec->main_kept >= 64) {
		c->bad = false;
		ev->xact.cut = true;
	}
	return true;
}

/* ---- the rest ---- */

/* CheckPoint, pg_control.h */
static void get_checkpoint(struct cur *c, struct wal_event *ev)
{
	ev->checkpoint.redo = get_lsn(c);
	ev->checkpoint.tli = get_tli(c);
	ev->checkpoint.prev_tli = get_tli(c);
	ev->checkpoint.full_page_writes = cur_u8(c);
	cur_bytes(c, 3);
	cur_bytes(c, 4); /* padding, since 17 wal_level */
	ev->checkpoint.next_xid = cur_u64(c);
	cur_bytes(c, 32); /* next OID and multixact, oldest transaction and multixact, padding */
	/* pg_time_t: seconds since 1970 */
	ev->checkpoint.time = (struct tstamp){.sec = (int64_t)cur_u64(c)};
	if (!ev->checkpoint.tli.v || !ev->checkpoint.prev_tli.v)
		c->bad = true;
}

/* xl_parameter_change, xlog_internal.h */
static void get_parameters(struct cur *c, struct wal_event *ev)
{
	ev->parameters.max_connections = cur_u32(c);
	ev->parameters.max_worker_processes = cur_u32(c);
	ev->parameters.max_wal_senders = cur_u32(c);
	ev->parameters.max_prepared_xacts = cur_u32(c);
	ev->parameters.max_locks_per_xact = cur_u32(c);
	ev->parameters.wal_level = cur_u32(c);
	ev->parameters.wal_log_hints = cur_u8(c);
	ev->parameters.track_commit_timestamp = cur_u8(c);
}

static bool xlog_event(const struct wal_record *rec, struct cur *c, struct wal_event *ev)
{
	switch (rec->info & WAL_INFO_RMGR_MASK) {
	case XLOG_CHECKPOINT_SHUTDOWN:
		ev->kind = WAL_EVENT_CHECKPOINT_SHUTDOWN;
		get_checkpoint(c, ev);
		return true;
	case XLOG_CHECKPOINT_ONLINE:
		ev->kind = WAL_EVENT_CHECKPOINT_ONLINE;
		get_checkpoint(c, ev);
		return true;
	case XLOG_SWITCH:
		ev->kind = WAL_EVENT_SWITCH;
		return true;
	case XLOG_BACKUP_END:
		ev->kind = WAL_EVENT_BACKUP_END;
		ev->backup_start = get_lsn(c);
		return true;
	case XLOG_PARAMETER_CHANGE:
		ev->kind = WAL_EVENT_PARAMETERS;
		get_parameters(c, ev);
		return true;
	case XLOG_RESTORE_POINT: /* xl_restore_point, xlog_internal.h */
		ev->kind = WAL_EVENT_RESTORE_POINT;
		ev->restore_point.time = get_time(c);
		get_text(c, sizeof(ev->restore_point.name), ev->restore_point.name);
		return true;
	case XLOG_END_OF_RECOVERY: /* xl_end_of_recovery, same file */
		ev->kind = WAL_EVENT_END_OF_RECOVERY;
		ev->recovery.time = get_time(c);
		ev->recovery.tli = get_tli(c);
		ev->recovery.prev_tli = get_tli(c);
		if (!ev->recovery.tli.v || !ev->recovery.prev_tli.v)
			c->bad = true;
		return true;
	default: /* page images, OIDs, full_page_writes */
		return false;
	}
}

static bool database_event(const struct wal_record *rec, struct cur *c, struct wal_event *ev)
{
	const struct wal_format *f = wal_format_of_major(rec->pg_major);
	uint8_t op = rec->info & WAL_INFO_RMGR_MASK;

	if (op != f->dbase_copy && op != f->dbase_log && op != f->dbase_drop)
		return false;
	ev->kind = op == f->dbase_drop ? WAL_EVENT_DATABASE_DROP : WAL_EVENT_DATABASE_CREATE;
	ev->database.oid = get_oid(c);
	ev->database.by_wal = op == f->dbase_log;
	ev->database.tablespaces = get_array(c, op == f->dbase_drop ? cur_u32(c) : 1, 4);
	if (op == f->dbase_copy) {
		ev->database.source = get_oid(c);
		ev->database.source_tablespace = get_oid(c);
	}
	return true;
}

/* xl_smgr_truncate, storage_xlog.h */
static bool file_event(const struct wal_record *rec, struct cur *c, struct wal_event *ev)
{
	if ((rec->info & WAL_INFO_RMGR_MASK) != SMGR_TRUNCATE)
		return false;
	ev->kind = WAL_EVENT_FILE_TRUNCATE;
	ev->file.blocks = (struct blkno){cur_u32(c)};
	ev->file.rel = relfile_read(c);
	ev->file.forks = cur_u32(c);
	return true;
}

/* xl_heap_truncate, heapam_xlog.h */
static bool heap_event(const struct wal_record *rec, struct cur *c, struct wal_event *ev)
{
	uint32_t n;
	uint8_t flags;

	if ((rec->info & HEAP_OPMASK) != HEAP_TRUNCATE)
		return false;
	ev->kind = WAL_EVENT_TABLE_TRUNCATE;
	ev->tables.database = get_oid(c);
	n = cur_u32(c);
	flags = cur_u8(c);
	cur_bytes(c, 3);
	ev->tables.cascade = flags & TRUNCATE_CASCADE;
	ev->tables.restart_seqs = flags & TRUNCATE_RESTART_SEQS;
	ev->tables.oids = get_array(c, n, 4);
	return true;
}

int wal_event_of(const struct wal_record *rec, struct wal_event *ret, struct err *e)
{
	struct wal_event ev = {.lsn = rec->lsn, .end = rec->end, .tli = rec->tli, .xid = rec->xid};
	struct cur c = cur_of(rec->main, rec->main_kept);
	char at[LSN_TEXT];
	bool is = false;

	if (!wal_format_of_major(rec->pg_major))
		return err_set(e, -EINVAL, "a WAL record of PostgreSQL %u", rec->pg_major);
	if (rec->rmid == RMGR_XACT)
		is = xact_event(rec, &c, &ev);
	else if (rec->rmid == RMGR_XLOG)
		is = xlog_event(rec, &c, &ev);
	else if (rec->rmid == RMGR_DBASE)
		is = database_event(rec, &c, &ev);
	else if (rec->rmid == RMGR_SMGR)
		is = file_event(rec, &c, &ev);
	else if (rec->rmid == RMGR_HEAP)
		is = heap_event(rec, &c, &ev);
	if (!is)
		return 0;
	if (c.bad)
		return err_set(e, -EBADMSG, "WAL record at %s: what it says (%s) cannot be",
			lsn_text(rec->lsn, at), wal_event_name(ev.kind));
	*ret = ev;
	return 1;
}

int wal_events(struct wal_reader *r, wal_event_fn *fn, void *arg, struct err *e)
{
	const struct wal_record *rec = NULL;
	struct wal_event ev;
	int c;

	while ((c = wal_reader_next(r, &rec, e)) > 0) {
		c = wal_event_of(rec, &ev, e);
		if (c > 0)
			c = fn(arg, &ev, e);
		if (c)
			return c;
	}
	return c;
}

const char *wal_event_name(enum wal_event_kind k)
{
	switch (k) {
	case WAL_EVENT_COMMIT:
		return "COMMIT";
	case WAL_EVENT_COMMIT_PREPARED:
		return "COMMIT_PREPARED";
	case WAL_EVENT_ABORT:
		return "ABORT";
	case WAL_EVENT_ABORT_PREPARED:
		return "ABORT_PREPARED";
	case WAL_EVENT_PREPARE:
		return "PREPARE";
	case WAL_EVENT_CHECKPOINT_SHUTDOWN:
		return "CHECKPOINT_SHUTDOWN";
	case WAL_EVENT_CHECKPOINT_ONLINE:
		return "CHECKPOINT_ONLINE";
	case WAL_EVENT_END_OF_RECOVERY:
		return "END_OF_RECOVERY";
	case WAL_EVENT_RESTORE_POINT:
		return "RESTORE_POINT";
	case WAL_EVENT_BACKUP_END:
		return "BACKUP_END";
	case WAL_EVENT_PARAMETERS:
		return "PARAMETER_CHANGE";
	case WAL_EVENT_SWITCH:
		return "SWITCH";
	case WAL_EVENT_DATABASE_CREATE:
		return "CREATE";
	case WAL_EVENT_DATABASE_DROP:
		return "DROP";
	case WAL_EVENT_FILE_TRUNCATE:
	case WAL_EVENT_TABLE_TRUNCATE:
		return "TRUNCATE";
	}
	return "unknown";
}
