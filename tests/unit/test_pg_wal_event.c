/* Events from records of all releases, what no server writes, and summaries of segments. */
#include "tests/unit/check_main.h"

#include "src/pg/wal_summary.h"
#include "tests/unit/wal_make.h"

#define SEG (1u << 20)
#define JAN_2026 820540800000000 /* µs from 2000-01-01 to 2026-01-01 */
#define JAN_2026_UNIX 1767225600

static void put_rel(struct buf *b, uint32_t spc, uint32_t db, uint32_t file)
{
	buf_put_u32(b, spc);
	buf_put_u32(b, db);
	buf_put_u32(b, file);
}

/* A commit or abort with everything that it can have. */
static void put_xact(struct buf *b, unsigned major, bool commit, uint32_t twophase)
{
	uint32_t xinfo =
		1 | 2 | 4 | (commit ? 8 : 0) | (twophase ? 16 | 128 : 0) | 32 | (major >= 15 ? 256 : 0);

	buf_put_u64(b, JAN_2026 + 1500000);
	buf_put_u32(b, xinfo);
	buf_put_u32(b, 5);
	buf_put_u32(b, 1663);
	buf_put_u32(b, 3);
	for (uint32_t k = 0; k < 3; k++)
		buf_put_u32(b, 900 + k);
	buf_put_u32(b, 2);
	put_rel(b, 1663, 5, 16384);
	put_rel(b, 1663, 5, 16385);
	if (major >= 15) {
		buf_put_u32(b, 1);
		for (int k = 0; k < (major >= 18 ? 4 : 3); k++)
			buf_put_u32(b, 2);
	}
	if (commit) {
		buf_put_u32(b, 2);
		for (int k = 0; k < 8; k++)
			buf_put_u32(b, 0xffffffff);
	}
	if (twophase) {
		buf_put_u32(b, twophase);
		buf_put(b, "the gid", 8);
	}
	buf_put_u64(b, 1);
	buf_put_u64(b, 2);
}

static struct wal_record record(unsigned major, uint8_t rmid, uint8_t info, const struct buf *b)
{
	return (struct wal_record){.lsn = {0x1000028},
		.end = {0x1000100},
		.tli = {1},
		.pg_major = major,
		.rmid = rmid,
		.info = info,
		.xid = 700,
		.main = b->data,
		.main_len = (uint32_t)b->len,
		.main_kept = b->len};
}

/* The event, which must be there; and no byte of it may be missing: `optional` at the end may. */
static struct wal_event event(
	unsigned major, uint8_t rmid, uint8_t info, const struct buf *b, size_t optional)
{
	struct wal_record rec = record(major, rmid, info, b);
	struct wal_event ev = {.lsn = {77}}, bad = ev;
	struct err e = {0};

	ck_assert_msg(wal_event_of(&rec, &ev, &e) == 1, "%s", e.text);
	ck_assert_uint_eq(ev.lsn.v, 0x1000028);
	ck_assert_uint_eq(ev.end.v, 0x1000100);
	for (size_t n = 0; n < b->len - optional; n++) {
		void *cut = check_exact(b->data, n);

		rec.main = cut;
		rec.main_kept = n;
		rec.main_len = (uint32_t)n;
		ck_assert_msg(wal_event_of(&rec, &bad, &e) == -EBADMSG, "%zu of %zu", n, b->len);
		ck_assert_uint_eq(bad.lsn.v, 77);
		free(cut);
	}
	return ev;
}

START_TEST(ends_of_transactions)
{
	static const struct {
		uint8_t info;
		enum wal_event_kind kind;
		bool commit, prepared;
	} kinds[] = {
		{0x80, WAL_EVENT_COMMIT, true, false},
		{0xa0, WAL_EVENT_ABORT, false, false},
		{0xb0, WAL_EVENT_COMMIT_PREPARED, true, true},
		{0xc0, WAL_EVENT_ABORT_PREPARED, false, true},
	};

	for (unsigned major = 13; major <= 18; major++)
		for (size_t k = 0; k < 4; k++) {
			struct buf b = {0};
			struct wal_event ev;

			put_xact(&b, major, kinds[k].commit, kinds[k].prepared ? 650 : 0);
			ev = event(major, RMGR_XACT, kinds[k].info, &b, 16);
			ck_assert_int_eq(ev.kind, kinds[k].kind);
			ck_assert_uint_eq(ev.xid, kinds[k].prepared ? 650 : 700);
			ck_assert_int_eq(ev.xact.time.sec, JAN_2026_UNIX + 1);
			ck_assert_uint_eq(ev.xact.time.nsec, 500000000);
			ck_assert_uint_eq(ev.xact.database.v, 5);
			ck_assert_uint_eq(ev.xact.subxacts, 3);
			ck_assert_uint_eq(ev.xact.dropped.n, 2);
			ck_assert_uint_eq(wal_relfiles_at(ev.xact.dropped, 1).file, 16385);
			ck_assert_str_eq(ev.xact.gid, kinds[k].prepared ? "the gid" : "");
			ck_assert(!ev.xact.cut);
			buf_free(&b);
		}
}
END_TEST

START_TEST(small_and_cut_commits)
{
	struct buf b = {0};
	struct wal_event ev;
	struct wal_record rec;

	/* Before 2000, to the microsecond. */
	buf_put_u64(&b, (uint64_t)-1);
	ev = event(13, RMGR_XACT, 0x00, &b, 0);
	ck_assert_int_eq(ev.xact.time.sec, 946684799);
	ck_assert_uint_eq(ev.xact.time.nsec, 999999000);
	ck_assert_uint_eq(ev.xact.dropped.n, 0);
	buf_clear(&b);
	/* A million subtransactions, of which the reader kept a little. */
	buf_put_u64(&b, JAN_2026);
	buf_put_u32(&b, 2 | 4);
	buf_put_u32(&b, 1000000);
	for (uint32_t k = 0; k < 30; k++)
		buf_put_u32(&b, k);
	rec = record(16, RMGR_XACT, 0x80, &b);
	ck_assert_int_eq(wal_event_of(&rec, &ev, NULL), -EBADMSG);
	rec.main_len = 4000020;
	ck_assert_int_eq(wal_event_of(&rec, &ev, NULL), 1);
	ck_assert(ev.xact.cut);
	ck_assert_uint_eq(ev.xact.subxacts, 1000000);
	ck_assert_int_eq(ev.xact.time.sec, JAN_2026_UNIX);
	buf_free(&b);
}
END_TEST

START_TEST(prepared_transactions)
{
	for (unsigned major = 13; major <= 18; major++) {
		struct buf b = {0};
		struct wal_event ev;

		buf_put_u32(&b, 0x57F94534);
		buf_put_u32(&b, 1000);
		buf_put_u32(&b, 650);
		buf_put_u32(&b, 5);
		buf_put_u64(&b, JAN_2026);
		buf_put_u32(&b, 10);
		buf_put_u32(&b, 4);
		for (int k = 0; k < (major >= 15 ? 5 : 3); k++)
			buf_put_u32(&b, 1);
		buf_put_u16(&b, 1);
		buf_put_u16(&b, 4);
		buf_put_u64(&b, 0);
		buf_put_u64(&b, 0);
		buf_put(&b, "gid", 4);
		ev = event(major, RMGR_XACT, 0x10, &b, 0);
		ck_assert_int_eq(ev.kind, WAL_EVENT_PREPARE);
		ck_assert_uint_eq(ev.xid, 650);
		ck_assert_uint_eq(ev.xact.subxacts, 4);
		ck_assert_int_eq(ev.xact.time.sec, JAN_2026_UNIX);
		ck_assert_str_eq(ev.xact.gid, "gid");
		buf_free(&b);
	}
}
END_TEST

static void put_checkpoint(struct buf *b, uint32_t tli, uint32_t prev_tli)
{
	buf_put_u64(b, 0x1000000);
	buf_put_u32(b, tli);
	buf_put_u32(b, prev_tli);
	buf_put_u32(b, 1);
	buf_put_u32(b, 1);
	buf_put_u64(b, 0x1000002c0);
	for (int k = 0; k < 8; k++)
		buf_put_u32(b, 9);
	buf_put_u64(b, JAN_2026_UNIX);
}

static void put_restore_point(struct buf *b, const char *name)
{
	buf_put_u64(b, JAN_2026);
	buf_put(b, name, strlen(name) + 1);
	while (b->len < 72)
		buf_put_u8(b, 0);
}

START_TEST(events_of_the_log)
{
	for (unsigned major = 13; major <= 18; major++) {
		struct buf b = {0};
		struct wal_event ev;

		put_checkpoint(&b, 3, 2);
		ev = event(major, RMGR_XLOG, 0x00, &b, 0);
		ck_assert_int_eq(ev.kind, WAL_EVENT_CHECKPOINT_SHUTDOWN);
		ev = event(major, RMGR_XLOG, 0x10, &b, 0);
		ck_assert_int_eq(ev.kind, WAL_EVENT_CHECKPOINT_ONLINE);
		ck_assert_uint_eq(ev.checkpoint.redo.v, 0x1000000);
		ck_assert(ev.checkpoint.tli.v == 3 && ev.checkpoint.prev_tli.v == 2);
		ck_assert_uint_eq(ev.checkpoint.next_xid, 0x1000002c0);
		ck_assert(ev.checkpoint.full_page_writes);
		ck_assert_int_eq(ev.checkpoint.time.sec, JAN_2026_UNIX);
		buf_clear(&b);
		put_restore_point(&b, "before the big import");
		ev = event(major, RMGR_XLOG, 0x70, &b, 72 - 8 - 22);
		ck_assert_int_eq(ev.kind, WAL_EVENT_RESTORE_POINT);
		ck_assert_str_eq(ev.restore_point.name, "before the big import");
		ck_assert_int_eq(ev.restore_point.time.sec, JAN_2026_UNIX);
		buf_clear(&b);
		buf_put_u64(&b, JAN_2026);
		buf_put_u32(&b, 4);
		buf_put_u32(&b, 3);
		ev = event(major, RMGR_XLOG, 0x90, &b, 0);
		ck_assert_int_eq(ev.kind, WAL_EVENT_END_OF_RECOVERY);
		ck_assert(ev.recovery.tli.v == 4 && ev.recovery.prev_tli.v == 3);
		buf_clear(&b);
		buf_put_u64(&b, 0x1000028);
		ev = event(major, RMGR_XLOG, 0x50, &b, 0);
		ck_assert_int_eq(ev.kind, WAL_EVENT_BACKUP_END);
		ck_assert_uint_eq(ev.backup_start.v, 0x1000028);
		buf_clear(&b);
		for (uint32_t k = 0; k < 6; k++)
			buf_put_u32(&b, k < 5 ? 100 + k : 1);
		buf_put_u8(&b, 1);
		buf_put_u8(&b, 0);
		ev = event(major, RMGR_XLOG, 0x60, &b, 0);
		ck_assert_int_eq(ev.kind, WAL_EVENT_PARAMETERS);
		ck_assert_uint_eq(ev.parameters.max_locks_per_xact, 104);
		ck_assert(ev.parameters.wal_level == 1 && ev.parameters.wal_log_hints);
		buf_clear(&b);
		ev = event(major, RMGR_XLOG, 0x40, &b, 0);
		ck_assert_int_eq(ev.kind, WAL_EVENT_SWITCH);
		buf_free(&b);
	}
}
END_TEST

START_TEST(databases_files_and_tables)
{
	for (unsigned major = 13; major <= 18; major++) {
		uint8_t drop = major < 15 ? 0x10 : 0x20;
		struct buf b = {0};
		struct wal_event ev;

		buf_put_u32(&b, 16400);
		buf_put_u32(&b, 1663);
		buf_put_u32(&b, 4);
		buf_put_u32(&b, 1664);
		ev = event(major, RMGR_DBASE, 0x00, &b, 0);
		ck_assert_int_eq(ev.kind, WAL_EVENT_DATABASE_CREATE);
		ck_assert(ev.database.oid.v == 16400 && ev.database.source.v == 4 && !ev.database.by_wal);
		ck_assert_uint_eq(ev.database.source_tablespace.v, 1664);
		ck_assert_uint_eq(wal_oids_at(ev.database.tablespaces, 0).v, 1663);
		buf_clear(&b);
		buf_put_u32(&b, 16400);
		if (major >= 15) {
			buf_put_u32(&b, 1663);
			ev = event(major, RMGR_DBASE, 0x10, &b, 0);
			ck_assert(ev.kind == WAL_EVENT_DATABASE_CREATE && ev.database.by_wal);
			ck_assert_uint_eq(ev.database.oid.v, 16400);
			b.len = 4;
		}
		buf_put_u32(&b, 2);
		buf_put_u32(&b, 1663);
		buf_put_u32(&b, 16399);
		ev = event(major, RMGR_DBASE, drop, &b, 0);
		ck_assert_int_eq(ev.kind, WAL_EVENT_DATABASE_DROP);
		ck_assert_uint_eq(ev.database.tablespaces.n, 2);
		ck_assert_uint_eq(wal_oids_at(ev.database.tablespaces, 1).v, 16399);
		buf_clear(&b);
		buf_put_u32(&b, 12);
		put_rel(&b, 1663, 5, 16390);
		buf_put_u32(&b, 7);
		ev = event(major, RMGR_SMGR, 0x20, &b, 0);
		ck_assert_int_eq(ev.kind, WAL_EVENT_FILE_TRUNCATE);
		ck_assert(ev.file.blocks.v == 12 && ev.file.rel.file == 16390 && ev.file.forks == 7);
		buf_clear(&b);
		buf_put_u32(&b, 5);
		buf_put_u32(&b, 2);
		buf_put_u32(&b, 2);
		buf_put_u32(&b, 16390);
		buf_put_u32(&b, 16391);
		ev = event(major, RMGR_HEAP, 0x30, &b, 0);
		ck_assert_int_eq(ev.kind, WAL_EVENT_TABLE_TRUNCATE);
		ck_assert(ev.tables.restart_seqs && !ev.tables.cascade && ev.tables.oids.n == 2);
		ck_assert_uint_eq(wal_oids_at(ev.tables.oids, 1).v, 16391);
		buf_free(&b);
	}
}
END_TEST

START_TEST(no_events)
{
	struct buf b = {0};
	struct wal_event ev;

	buf_put_u64(&b, 0);
	for (unsigned rmid = 0; rmid < 256; rmid++) {
		struct wal_record rec = record(17, (uint8_t)rmid, 0x60, &b);

		if (rmid != RMGR_XLOG)
			ck_assert_int_eq(wal_event_of(&rec, &ev, NULL), 0);
	}
	buf_free(&b);
}
END_TEST

/* ---- summaries ---- */

/* Three segments and a bit: a commit every second, whose clock once steps back, restore points, a checkpoint that
 * begins a timeline, records that lie over the segments' ends. */
static struct wal_make make_wal(void)
{
	static uint8_t bulk[50000];
	struct wal_make w = wal_make_at(17, SEG, 8192, 7ull * SEG);
	struct buf b = {0};

	for (uint32_t k = 0; wal_make_pos(&w) < 10ull * SEG + 3000; k++) {
		wal_make_record(&w, RMGR_LOGICALMSG, 0, 0, bulk, sizeof(bulk));
		buf_clear(&b);
		buf_put_u64(&b, (uint64_t)(JAN_2026 + (k == 20 ? -60 : (int64_t)k) * 1000000));
		/* The numbers go through the end of their circle. */
		wal_make_record(&w, RMGR_XACT, k % 5 == 4 ? 0x20 : 0x00, 0xfffffff0u + k, b.data, b.len);
		buf_clear(&b);
		put_restore_point(&b, "point");
		if (k % 10 == 0)
			wal_make_record(&w, RMGR_XLOG, 0x70, 0, b.data, b.len);
		buf_clear(&b);
		put_checkpoint(&b, 2, 1);
		if (k == 25) {
			w.tli = 2;
			wal_make_record(&w, RMGR_XLOG, 0x00, 0, b.data, b.len);
		}
	}
	buf_free(&b);
	return w;
}

static struct wal_summary *summary(
	struct wal_reader *r, uint64_t segno, struct lsn from, const struct wal_summary *same_as)
{
	_cleanup_(wal_summary_freep) struct wal_summary *s = NULL;
	struct wal_summary *back = NULL;
	_cleanup_(buf_free) struct buf b = {0};
	struct err e = {0};

	ck_assert_msg(wal_summary_make(r, (struct tli){2}, (struct segno){segno}, SEG, from, &s, &e) == 0,
		"%s", e.text);
	wal_summary_encode(s, &b);
	ck_assert(!b.bad);
	ck_assert_msg(wal_summary_decode(b.data, b.len, &back, &e) == 0, "%s", e.text);
	ck_assert_uint_eq(back->segno.v, segno);
	ck_assert_uint_eq(back->n_marks, s->n_marks);
	ck_assert_mem_eq(&back->first_commit.lsn, &s->first_commit.lsn, sizeof(struct lsn));
	if (same_as)
		ck_assert_mem_eq(back->counts, same_as->counts, sizeof(back->counts));
	return back;
}

START_TEST(summaries_of_segments)
{
	struct wal_make w = make_wal();
	struct wal_source src = wal_make_source(&w);
	struct wal_reader_opts o = {.segment_size = SEG};
	_cleanup_(wal_reader_freep) struct wal_reader *r = NULL;
	struct wal_summary *s[4], *again;
	uint64_t records = 0, commits = 0, points = 0, all = 0;
	const struct wal_record *rec = NULL;

	ck_assert_int_eq(wal_reader_new(&o, wal_source_read, &src, &r, NULL), 0);
	wal_reader_find(r, (struct lsn){w.start});
	while (wal_reader_next(r, &rec, NULL) == 1)
		all++;
	for (int k = 0; k < 4; k++) {
		s[k] = summary(r, 7 + (uint64_t)k, k ? s[k - 1]->resume : (struct lsn){0}, NULL);
		ck_assert_int_eq(s[k]->complete, k < 3);
		ck_assert(!s[k]->head_missing);
		records += s[k]->records;
		commits += s[k]->counts[WAL_EVENT_COMMIT];
		points += s[k]->counts[WAL_EVENT_RESTORE_POINT];
		ck_assert_uint_eq(s[k]->system_identifier, WAL_MAKE_SYSID);
		ck_assert_uint_eq(s[k]->pg_major, 17);
		/* Each record is counted where it ends. */
		if (k)
			ck_assert_uint_lt(s[k]->from.v, (7ull + (uint64_t)k) * SEG + 1);
	}
	ck_assert_uint_eq(records, all);
	ck_assert_uint_gt(commits, 40);
	ck_assert_uint_gt(points, 4);
	ck_assert_uint_eq(s[3]->resume.v, wal_make_pos(&w));
	/* Times: the first segment has about 20 commits, the second the step back. */
	ck_assert_int_eq(s[0]->time_min.sec, JAN_2026_UNIX);
	ck_assert(s[0]->has_commits && s[0]->first_commit.xid == 0xfffffff0u);
	ck_assert_uint_eq(s[0]->xid_min, 0xfffffff0u);
	ck_assert_uint_lt(s[0]->xid_max, 10);
	ck_assert(wal_summary_may_commit(s[0], 0xffffffffu) && wal_summary_may_commit(s[0], 2));
	ck_assert(!wal_summary_may_commit(s[0], 0xffffffefu) && !wal_summary_may_commit(s[0], 100));
	ck_assert_int_eq(s[1]->time_min.sec < JAN_2026_UNIX || s[0]->time_min.sec < JAN_2026_UNIX, 1);
	for (int k = 0; k < 4; k++)
		for (size_t m = 0; m < s[k]->n_marks; m++) {
			const struct wal_mark *mark = &s[k]->marks[m];

			if (mark->kind == WAL_EVENT_RESTORE_POINT)
				ck_assert_str_eq(mark->name, "point");
			else
				ck_assert(mark->tli.v == 2 && mark->prev_tli.v == 1 &&
					  mark->kind == WAL_EVENT_CHECKPOINT_SHUTDOWN);
		}
	/* Without the one before: its first record is missing, and it says so. */
	again = summary(r, 8, (struct lsn){0}, NULL);
	ck_assert(again->head_missing);
	ck_assert_uint_eq(again->records + 1, s[1]->records);
	ck_assert_uint_eq(again->resume.v, s[1]->resume.v);
	wal_summary_free(again);
	ck_assert_int_eq(wal_summary_make(r, (struct tli){1}, (struct segno){7}, SEG, (struct lsn){9 * SEG},
				 &again, NULL),
		-EINVAL);
	for (int k = 0; k < 4; k++)
		wal_summary_free(s[k]);
	buf_free(&w.out);
}
END_TEST

START_TEST(summaries_of_one_record)
{
	/* One record fills three segments: nothing starts in the middle one. */
	struct wal_make w = wal_make_at(15, SEG, 8192, 2 * SEG);
	uint8_t *data = calloc(1, 3 * SEG);
	struct wal_source src;
	struct wal_reader_opts o = {.segment_size = SEG};
	_cleanup_(wal_reader_freep) struct wal_reader *r = NULL;
	struct wal_summary *s, *t;

	wal_make_record(&w, RMGR_LOGICALMSG, 0, 0, data, 3 * SEG);
	src = wal_make_source(&w);
	ck_assert_int_eq(wal_reader_new(&o, wal_source_read, &src, &r, NULL), 0);
	s = summary(r, 2, (struct lsn){0}, NULL);
	ck_assert(s->complete && s->records == 0 && s->resume.v == 2 * SEG);
	t = summary(r, 3, s->resume, NULL);
	ck_assert(t->complete && t->records == 0 && t->resume.v == 2 * SEG && !t->head_missing);
	wal_summary_free(t);
	t = summary(r, 3, (struct lsn){0}, NULL);
	ck_assert(t->complete && t->records == 0 && t->resume.v == 0 && t->head_missing);
	wal_summary_free(t);
	t = summary(r, 5, s->resume, NULL);
	ck_assert(t->records == 1 && t->from.v == 2 * SEG + 40);
	wal_summary_free(t);
	wal_summary_free(s);
	free(data);
	buf_free(&w.out);
}
END_TEST

START_TEST(damaged_summaries)
{
	struct wal_make w = make_wal();
	struct wal_source src = wal_make_source(&w);
	struct wal_reader_opts o = {.segment_size = SEG};
	_cleanup_(wal_reader_freep) struct wal_reader *r = NULL;
	_cleanup_(buf_free) struct buf b = {0};
	struct wal_summary *s = NULL, *t = NULL;

	ck_assert_int_eq(wal_reader_new(&o, wal_source_read, &src, &r, NULL), 0);
	s = summary(r, 8, (struct lsn){0}, NULL);
	wal_summary_encode(s, &b);
	for (size_t n = 0; n < b.len; n++) {
		void *cut = check_exact(b.data, n);

		ck_assert_int_eq(wal_summary_decode(cut, n, &t, NULL), -EBADMSG);
		free(cut);
	}
	for (size_t bit = 0; bit < 8 * b.len; bit++) {
		b.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
		if (wal_summary_decode(b.data, b.len, &t, NULL) == 0)
			wal_summary_free(t);
		b.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
	}
	b.data[0] = 2;
	ck_assert_int_eq(wal_summary_decode(b.data, b.len, &t, NULL), -EOPNOTSUPP);
	wal_summary_free(s);
	wal_summary_free(NULL);
	buf_free(&w.out);
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("pg_wal_event");
	TCase *t = tcase_create("all");

	tcase_add_test(t, ends_of_transactions);
	tcase_add_test(t, small_and_cut_commits);
	tcase_add_test(t, prepared_transactions);
	tcase_add_test(t, events_of_the_log);
	tcase_add_test(t, databases_files_and_tables);
	tcase_add_test(t, no_events);
	tcase_add_test(t, summaries_of_segments);
	tcase_add_test(t, summaries_of_one_record);
	tcase_add_test(t, damaged_summaries);
	suite_add_tcase(s, t);
	return s;
}

CHECK_MAIN(suite)
