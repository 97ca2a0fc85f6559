/* Prints WAL as pg_waldump does, as far as src/pg reads it, for tests/mount/wal_scan.sh to compare:
 *
 *	wal_dump DIR TIMELINE SEGMENT_SIZE START|find:START [END]
 *	wal_dump DIR TIMELINE SEGMENT_SIZE sum:START
 *
 * DIR holds segments. A record's line is pg_waldump's; where the record is no event its description is "-".
 * Page images are told, as pg_waldump does without --bkp-details. The last line says how the WAL ended.
 * With sum: it makes the summaries of all segments from START on, each from where the last one ended, stores each
 * and reads it back, and prints their sums. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "src/pg/wal_event.h"
#include "src/pg/wal_summary.h"

struct dir {
	const char *path;
	struct tli tli;
	uint32_t segment_size;
	int fd; /* of the segment read last, -1 for none */
	struct segno no;
};

static int read_page(void *arg, struct lsn at, void *page, size_t n, struct err *e)
{
	struct dir *d = arg;
	struct segno no = wal_segno(at, d->segment_size);
	char name[WAL_NAME_TEXT], path[4096];
	ssize_t got;

	if (d->fd < 0 || d->no.v != no.v) {
		if (d->fd >= 0)
			close(d->fd);
		snprintf(path, sizeof(path), "%s/%s", d->path, wal_name(d->tli, no, d->segment_size, name));
		d->fd = open(path, O_RDONLY | O_CLOEXEC);
		if (d->fd < 0)
			return errno == ENOENT ? 0 : err_sys(e, -errno, "%s", path);
		d->no = no;
	}
	got = pread(d->fd, page, n, (off_t)(at.v % d->segment_size));
	return got < 0 ? err_sys(e, -errno, "%s", d->path) : (int)got;
}

static void put_lsn(const char *before, struct lsn l)
{
	printf("%s%X/%08X", before, (uint32_t)(l.v >> 32), (uint32_t)l.v);
}

/* As descriptions have them, without leading zeroes. */
static void put_short_lsn(const char *before, struct lsn l)
{
	char text[LSN_TEXT];

	printf("%s%s", before, lsn_text(l, text));
}

static void put_time(struct tstamp t)
{
	time_t sec = (time_t)t.sec;
	char text[64];
	struct tm tm;

	strftime(text, sizeof(text), "%Y-%m-%d %H:%M:%S", gmtime_r(&sec, &tm));
	printf("%s.%06u UTC", text, t.nsec / 1000);
}

/* relpathperm, src/include/common/relpath.h; the directory's version is left out. */
static void put_rel(struct relfile f)
{
	if (f.tablespace.v == 1664)
		printf("global/%u", f.file);
	else if (f.tablespace.v == 1663)
		printf("base/%u/%u", f.database.v, f.file);
	else
		printf("pg_tblspc/%u/PG/%u/%u", f.tablespace.v, f.database.v, f.file);
}

static void put_xact(const struct wal_event *ev)
{
	bool prepared = ev->kind == WAL_EVENT_COMMIT_PREPARED || ev->kind == WAL_EVENT_ABORT_PREPARED;

	if (prepared)
		printf("%u: ", ev->xid);
	if (ev->kind == WAL_EVENT_PREPARE)
		printf("gid %s: ", ev->xact.gid);
	put_time(ev->xact.time);
	if (ev->kind == WAL_EVENT_PREPARE)
		return;
	for (uint32_t i = 0; i < ev->xact.dropped.n; i++) {
		printf(i ? " " : "; rels: ");
		put_rel(wal_relfiles_at(ev->xact.dropped, i));
	}
	if (ev->xact.subxacts)
		printf("; subxacts: %u", ev->xact.subxacts);
	if (ev->xact.cut)
		printf("; cut");
}

static void put_event(const struct wal_event *ev)
{
	printf("%s ", wal_event_name(ev->kind));
	switch (ev->kind) {
	case WAL_EVENT_COMMIT:
	case WAL_EVENT_COMMIT_PREPARED:
	case WAL_EVENT_ABORT:
	case WAL_EVENT_ABORT_PREPARED:
	case WAL_EVENT_PREPARE:
		put_xact(ev);
		break;
	case WAL_EVENT_CHECKPOINT_SHUTDOWN:
	case WAL_EVENT_CHECKPOINT_ONLINE:
		put_short_lsn("redo ", ev->checkpoint.redo);
		printf("; tli %u; prev tli %u; fpw %s; xid %u:%u", ev->checkpoint.tli.v,
			ev->checkpoint.prev_tli.v, ev->checkpoint.full_page_writes ? "true" : "false",
			(uint32_t)(ev->checkpoint.next_xid >> 32), (uint32_t)ev->checkpoint.next_xid);
		break;
	case WAL_EVENT_END_OF_RECOVERY:
		printf("tli %u; prev tli %u; time ", ev->recovery.tli.v, ev->recovery.prev_tli.v);
		put_time(ev->recovery.time);
		break;
	case WAL_EVENT_RESTORE_POINT:
		printf("%s", ev->restore_point.name);
		break;
	case WAL_EVENT_BACKUP_END:
		put_short_lsn("", ev->backup_start);
		break;
	case WAL_EVENT_PARAMETERS:
		printf("max_connections=%u max_worker_processes=%u max_wal_senders=%u max_prepared_xacts=%u "
		       "max_locks_per_xact=%u wal_level=%s wal_log_hints=%s track_commit_timestamp=%s",
			ev->parameters.max_connections, ev->parameters.max_worker_processes,
			ev->parameters.max_wal_senders, ev->parameters.max_prepared_xacts,
			ev->parameters.max_locks_per_xact,
			ev->parameters.wal_level == 2	? "logical"
			: ev->parameters.wal_level == 1 ? "replica"
							: "minimal",
			ev->parameters.wal_log_hints ? "on" : "off",
			ev->parameters.track_commit_timestamp ? "on" : "off");
		break;
	case WAL_EVENT_SWITCH:
		break;
	case WAL_EVENT_DATABASE_CREATE:
		if (ev->database.by_wal)
			printf("create dir %u/%u", wal_oids_at(ev->database.tablespaces, 0).v,
				ev->database.oid.v);
		else
			printf("copy dir %u/%u to %u/%u", ev->database.source_tablespace.v,
				ev->database.source.v, wal_oids_at(ev->database.tablespaces, 0).v,
				ev->database.oid.v);
		break;
	case WAL_EVENT_DATABASE_DROP:
		printf("dir");
		for (uint32_t i = 0; i < ev->database.tablespaces.n; i++)
			printf(" %u/%u", wal_oids_at(ev->database.tablespaces, i).v, ev->database.oid.v);
		break;
	case WAL_EVENT_FILE_TRUNCATE:
		put_rel(ev->file.rel);
		printf(" to %u blocks flags %u", ev->file.blocks.v, ev->file.forks);
		break;
	case WAL_EVENT_TABLE_TRUNCATE:
		printf("%s%snrelids %u relids", ev->tables.cascade ? "cascade " : "",
			ev->tables.restart_seqs ? "restart_seqs " : "", ev->tables.oids.n);
		for (uint32_t i = 0; i < ev->tables.oids.n; i++)
			printf(" %u", wal_oids_at(ev->tables.oids, i).v);
		break;
	}
}

static void put_blocks(const struct wal_record *rec)
{
	static const char *const forks[] = {"main", "fsm", "vm", "init"};

	for (unsigned i = 0; i < rec->n_blocks; i++) {
		const struct wal_block *b = &rec->blocks[i];

		printf(", blkref #%u: rel %u/%u/%u ", b->id, b->rel.tablespace.v, b->rel.database.v,
			b->rel.file);
		if (b->fork)
			printf("fork %s ", b->fork < 4 ? forks[b->fork] : "?");
		printf("blk %u", b->block.v);
		if (b->has_image)
			printf(b->apply ? " FPW" : " FPW for WAL verification");
	}
}

static int put_record(const struct wal_record *rec, struct err *e)
{
	uint32_t images = 0;
	struct wal_event ev;
	int c = wal_event_of(rec, &ev, e);

	if (c < 0)
		return c;
	for (unsigned i = 0; i < rec->n_blocks; i++)
		images += rec->blocks[i].image_len;
	printf("rmgr: %-11s len (rec/tot): %6u/%6u, tx: %10u, ", wal_rmgr_name(rec->rmid),
		rec->tot_len - images, rec->tot_len, rec->xid);
	put_lsn("lsn: ", rec->lsn);
	put_lsn(", prev ", rec->prev);
	printf(", desc: ");
	if (c)
		put_event(&ev);
	else
		putchar('-');
	put_blocks(rec);
	putchar('\n');
	return 0;
}

/* One segment's summary, from its stored form. */
static int summary_of(struct wal_reader *r, const struct dir *d, struct segno no, struct lsn from,
	struct wal_summary **ret, struct err *e)
{
	_cleanup_(wal_summary_freep) struct wal_summary *s = NULL;
	_cleanup_(buf_free) struct buf b = {0};
	int c = wal_summary_make(r, d->tli, no, d->segment_size, from, &s, e);

	if (c < 0)
		return c;
	wal_summary_encode(s, &b);
	return wal_summary_decode(b.data, b.len, ret, e);
}

static int summaries(struct wal_reader *r, const struct dir *d, struct lsn start, struct err *e)
{
	uint64_t records = 0, counts[WAL_EVENT_KINDS] = {0};
	struct segno no = wal_segno(start, d->segment_size);
	struct lsn from = {0};
	bool complete;

	do {
		_cleanup_(wal_summary_freep) struct wal_summary *s = NULL;
		int c = summary_of(r, d, no, from, &s, e);

		if (c < 0)
			return c;
		records += s->records;
		for (int k = 0; k < WAL_EVENT_KINDS; k++)
			counts[k] += s->counts[k];
		from = s->resume;
		complete = s->complete;
		no.v++;
	} while (complete);
	printf("records %" PRIu64, records);
	for (int k = 0; k < WAL_EVENT_KINDS; k++)
		printf(" %s %" PRIu64, wal_event_name((enum wal_event_kind)k), counts[k]);
	put_lsn(" end ", from);
	putchar('\n');
	return 0;
}

int main(int argc, char **argv)
{
	static const char *const why[] = {"no data", "zeroes", "old page"};
	struct dir d = {.fd = -1};
	struct wal_reader_opts o = {0};
	_cleanup_(wal_reader_freep) struct wal_reader *r = NULL;
	const struct wal_record *rec = NULL;
	struct err e = {0};
	struct lsn start, end = {0};
	struct wal_end stop;
	bool find, sum;
	int c;

	if (argc < 5)
		return 2;
	find = !strncmp(argv[4], "find:", 5);
	sum = !strncmp(argv[4], "sum:", 4);
	argv[4] += find ? 5 : sum ? 4 : 0;
	if (!lsn_parse(argv[4], strlen(argv[4]), &start) ||
		(argc > 5 && !lsn_parse(argv[5], strlen(argv[5]), &end)))
		return 2;
	d.path = argv[1];
	d.tli.v = (uint32_t)strtoul(argv[2], NULL, 10);
	d.segment_size = o.segment_size = (uint32_t)strtoul(argv[3], NULL, 10);
	o.tli = d.tli;
	c = wal_reader_new(&o, read_page, &d, &r, &e);
	if (c < 0)
		goto out;
	if (sum) {
		c = summaries(r, &d, start, &e);
		goto out;
	}
	if (find)
		wal_reader_find(r, start);
	else if ((c = wal_reader_seek(r, start, &e)) < 0)
		goto out;
	while ((c = wal_reader_next(r, &rec, &e)) > 0) {
		if (end.v && rec->lsn.v >= end.v)
			break;
		if ((c = put_record(rec, &e)) < 0)
			goto out;
	}
	if (c == 0) {
		stop = wal_reader_end(r);
		printf("end: %s", why[stop.why]);
		put_lsn(" at ", stop.at);
		put_lsn(" missing ", stop.missing);
		putchar('\n');
	}
out:
	if (c < 0)
		fprintf(stderr, "wal_dump: %s\n", e.text);
	return c < 0;
}
