/* An archive for the tests of points in time: WAL that was made (wal_make.h), its segments archived, base backups
 * that have nothing but properties, history files. Segments of 1 MiB, PostgreSQL 15.
 *
 * Linked into one program only, hence all static. */
#pragma once

#include "src/pit/pit_priv.h"
#include "src/pit/summaries.h"
#include "store/wal.h"
#include "store/wal_partial.h"
#include "tests/unit/store_fixture.h"
#include "tests/unit/wal_make.h"

#define PF_SEG (1u << 20)
#define PF_FIRST 16	      /* segment with which the WAL begins */
#define PF_T0 1767225600      /* 2026-01-01T00:00:00Z */
#define PF_PG_EPOCH 946684800 /* 2000-01-01, POSTGRES_EPOCH_JDATE */

FX_UNUSED static struct wal_make pf_wal(void)
{
	return wal_make_at(15, PF_SEG, 8192, (uint64_t)PF_FIRST * PF_SEG);
}

/* The same WAL so far, to go on differently: on timeline tli. */
FX_UNUSED static struct wal_make pf_fork(const struct wal_make *w, uint32_t tli)
{
	struct wal_make c = *w;

	c.out = (struct buf){0};
	buf_put(&c.out, w->out.data, w->out.len);
	c.tli = tli;
	return c;
}

static inline void pf_put_time(struct buf *b, double sec)
{
	buf_put_u64(b, (uint64_t)(int64_t)((sec + PF_T0 - PF_PG_EPOCH) * 1000000));
}

/* A commit at T0 + sec (xl_xact_commit); returns its LSN. */
FX_UNUSED static uint64_t pf_commit(struct wal_make *w, uint32_t xid, double sec)
{
	_cleanup_(buf_free) struct buf b = {0};

	pf_put_time(&b, sec);
	return wal_make_record(w, RMGR_XACT, 0x00, xid, b.data, b.len);
}

FX_UNUSED static uint64_t pf_abort(struct wal_make *w, uint32_t xid, double sec)
{
	_cleanup_(buf_free) struct buf b = {0};

	pf_put_time(&b, sec);
	return wal_make_record(w, RMGR_XACT, 0x20, xid, b.data, b.len);
}

/* xl_restore_point, src/include/access/xlog_internal.h */
FX_UNUSED static uint64_t pf_name(struct wal_make *w, const char *name, double sec)
{
	_cleanup_(buf_free) struct buf b = {0};
	char field[64] = "";

	pf_put_time(&b, sec);
	strcpy(field, name);
	buf_put(&b, field, sizeof(field));
	return wal_make_record(w, RMGR_XLOG, 0x70, 0, b.data, b.len);
}

/* XLOG_BACKUP_END */
FX_UNUSED static uint64_t pf_backup_end(struct wal_make *w, uint64_t start)
{
	_cleanup_(buf_free) struct buf b = {0};

	buf_put_u64(&b, start);
	return wal_make_record(w, RMGR_XLOG, 0x50, 0, b.data, b.len);
}

FX_UNUSED static uint64_t pf_bulk(struct wal_make *w, size_t n)
{
	uint8_t *p = calloc(n, 1);
	uint64_t lsn = wal_make_record(w, RMGR_LOGICALMSG, 0, 0, p, n);

	free(p);
	return lsn;
}

/* Bulk until the next segment has begun; a record lies over the border. */
FX_UNUSED static void pf_next(struct wal_make *w)
{
	uint64_t no = wal_make_pos(w) / PF_SEG;

	while (wal_make_pos(w) / PF_SEG == no)
		pf_bulk(w, 7000);
}

FX_UNUSED static char *pf_segment_name(uint32_t tli, uint64_t no, char out[WAL_NAME_TEXT])
{
	return wal_name((struct tli){tli}, (struct segno){no}, PF_SEG, out);
}

FX_UNUSED static void pf_put(struct store *s, const char *name, const void *p, size_t n)
{
	struct wal_input in = {.bytes = p, .size = n};
	struct err e = {0};
	bool known;

	fx_ok(wal_put_input(s, "main", name, &in, 1, &known, &e), &e);
}

/* Archives segments [from, to) of this WAL, the last one with zeroes behind what there is. */
FX_UNUSED static void pf_archive(struct store *s, const struct wal_make *w, uint64_t from, uint64_t to)
{
	for (uint64_t no = from; no < to; no++) {
		uint8_t *p = calloc(PF_SEG, 1);
		uint64_t at = no * PF_SEG - w->start, n = w->out.len - at;
		char name[WAL_NAME_TEXT];

		ck_assert_uint_lt(at, w->out.len);
		memcpy(p, w->out.data + at, n < PF_SEG ? n : PF_SEG);
		pf_put(s, pf_segment_name(w->tli, no, name), p, PF_SEG);
		free(p);
	}
}

/* All of it. */
FX_UNUSED static void pf_archive_all(struct store *s, const struct wal_make *w)
{
	pf_archive(s, w, w->start / PF_SEG, (wal_make_pos(w) + PF_SEG - 1) / PF_SEG);
}

FX_UNUSED static void pf_lose(struct fixture *f, uint32_t tli, uint64_t no)
{
	char name[WAL_NAME_TEXT], path[300];

	pf_segment_name(tli, no, name);
	snprintf(path, sizeof(path), "%s/wal/main/%.16s/%s", f->repo, name, name);
	ck_assert_int_eq(unlink(path), 0);
}

struct pf_backup {
	uint64_t start, stop; /* stop 0: not told */
	double from, to;      /* times, from T0 */
	uint32_t tli;	      /* 0: 1 */
	bool own_wal;
};

/* Its id, to free. */
FX_UNUSED static char *pf_backup(struct store *s, const struct pf_backup *b)
{
	struct snapshot *snap = snapshot_new();
	struct err e = {0};
	char text[LSN_TEXT], *id;
	int r = 0;

	snap->cluster = strdup("main");
	snap->kind = SNAPSHOT_BASE;
	snap->start = (struct tstamp){PF_T0 + (int64_t)b->from, 0};
	snap->stop = (struct tstamp){PF_T0 + (int64_t)b->to, 0};
	r |= snapshot_put_text(snap, "pg_version", "15");
	r |= snapshot_put_number(snap, "timeline", b->tli ? b->tli : 1);
	r |= snapshot_put_text(snap, "start_lsn", lsn_text((struct lsn){b->start}, text));
	if (b->stop)
		r |= snapshot_put_text(snap, "stop_lsn", lsn_text((struct lsn){b->stop}, text));
	r |= snapshot_put_number(snap, "wal_segment_size", PF_SEG);
	r |= snapshot_put_bool(snap, "wal_included", b->own_wal);
	ck_assert_int_eq(r, 0);
	fx_ok(snapshot_publish(s, snap, &e), &e);
	id = strdup(snap->id);
	snapshot_free(snap);
	return id;
}

FX_UNUSED static void pf_history(struct store *s, uint32_t tli, const char *text)
{
	char name[TIMELINE_HISTORY_TEXT];

	pf_put(s, timeline_history_name((struct tli){tli}, name), text, strlen(text));
}

FX_UNUSED static struct target pf_target(const char *text)
{
	struct target t;
	struct err e = {0};

	fx_ok(target_parse(text, &t, &e), &e);
	return t;
}

/* "2026-01-01T00:…" for T0 + sec. */
FX_UNUSED static struct target pf_time(double sec)
{
	int64_t whole = (int64_t)sec;

	return (struct target){.kind = TARGET_TIME,
		.time = {PF_T0 + whole, (uint32_t)((sec - (double)whole) * 1000000) * 1000}};
}
