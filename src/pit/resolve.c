/* From a target to the backup and the WAL that lead there, on one way. See pit.h.
 *
 * Where recovery stops is the server's rule, src/backend/access/transam/xlogrecovery.c of PostgreSQL 15 (the same in 13
 * to 18; before 15 in xlog.c):
 *
 *	time	before the first commit or abort that is later (recoveryStopsBefore, inclusive)
 *	lsn	after the first record that starts there or behind (recoveryStopsAfter, inclusive)
 *	xid	after the commit or abort of just this transaction (recoveryStopsAfter, inclusive)
 *	name	after the first restore point of the name (recoveryStopsAfter)
 *
 * Without such a record it fails: "recovery ended before configured recovery target was reached". It compares every
 * record from the backup's redo on, and fails when it would stop before the backup is consistent: "requested recovery
 * stop point is before consistent recovery point". */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "src/pit/pit_priv.h"

#define STOP_SEGMENTS 65536 /* a backup that took longer, and does not tell its end, has none */

struct search {
	const struct way *w;
	const struct target *t;
	const struct backup *b; /* looked at now */
	struct lsn b_end;
	struct lsn upper; /* WAL from here on was searched for a newer backup */
	struct answer *ret;
};

/* ---- backups ---- */

static int take_backup_end(void *arg, const struct wal_event *ev, struct err *e)
{
	struct found *f = arg;

	(void)e;
	if (ev->kind != WAL_EVENT_BACKUP_END || ev->backup_start.v != f->lsn.v)
		return 0;
	f->end = ev->end;
	return 1;
}

int backup_end(const struct way *w, const struct backup *b, struct lsn *ret, struct err *e)
{
	struct lsn reach = way_reach(w, b->start);

	*ret = b->stop;
	if (b->stop.v || reach.v <= b->start.v)
		return 0;
	/* Its end is a record that names its start (XLOG_BACKUP_END, pg_backup_stop). */
	for (uint64_t k = way_segno(w, b->start).v, n = 0;
		n < STOP_SEGMENTS && way_start(w, (struct segno){k}).v < reach.v; k++, n++) {
		_cleanup_(recent_unrefp) struct recent_summary *s = NULL;
		struct found f = {.lsn = b->start};
		int r = way_summary(w, (struct segno){k}, &s, e);

		if (r < 0)
			return r;
		if (!s->s->counts[WAL_EVENT_BACKUP_END])
			continue;
		r = way_events(w, s->s->from, way_start(w, (struct segno){k + 1}), take_backup_end, &f, e);
		if (r < 0)
			return r;
		if (f.end.v) {
			*ret = f.end;
			return 0;
		}
	}
	return 0;
}

bool backup_leads(const struct way *w, const struct backup *b, struct lsn end)
{
	return timeline_passes(w->h, b->tli, end) && (b->own_wal || way_reach(w, b->start).v >= end.v);
}

/* Is all WAL of the backup in the archive, to be searched? */
static bool archived(const struct search *s)
{
	return way_reach(s->w, s->b->start).v >= s->b_end.v;
}

/* ---- why not ---- */

static int no_backup(
	const struct search *s, size_t led, const struct backup *oldest, struct lsn oldest_end, struct err *e)
{
	char name[TARGET_TEXT], lsn[LSN_TEXT], when[TSTAMP_TEXT];

	target_name(s->t, name);
	if (!s->w->inv->n_backups)
		return err_set(e, -ENOENT, "cluster \"%s\" has no base backup", s->w->cluster);
	if (!led)
		return err_set(e, -ENOENT,
			"no base backup of cluster \"%s\" leads to timeline %u: those there are lie on other "
			"timelines, "
			"do not say where their WAL ends, or that WAL is missing",
			s->w->cluster, s->w->h->tli.v);
	return err_set(e, -ENOENT,
		"%s lies before the end of the oldest base backup on the way to timeline %u, %s (which ended "
		"at %s, %s)",
		name, s->w->h->tli.v, oldest->snap->id, lsn_text(oldest_end, lsn),
		tstamp_rfc3339(oldest->snap->stop, when));
}

/* The WAL that is read from the backup on ends before the target. */
static int not_reached(const struct search *s, struct lsn end, struct err *e)
{
	struct segno missing, next;
	char name[TARGET_TEXT], wal[WAL_NAME_TEXT], lsn[LSN_TEXT], when[TSTAMP_TEXT],
		last[TSTAMP_TEXT + 40] = "";
	struct wal_commit c;
	int r;

	target_name(s->t, name);
	if (way_gap(s->w, s->b_end, &missing, &next))
		return err_set(e, -ENOENT,
			"%s cannot be reached from backup %s: the archive has a gap at segment %s (%" PRIu64
			" missing); the WAL before it ends at %s",
			name, s->b->snap->id, way_wanted(s->w, missing, wal), next.v - missing.v,
			lsn_text(end, lsn));
	r = last_commit(s->w, s->b->start, end, &c, e);
	if (r < 0)
		return r;
	if (r)
		snprintf(last, sizeof(last), ", its last commit is of %s", tstamp_rfc3339(c.time, when));
	return err_set(e, -ENOENT,
		"%s lies after the end of the archived WAL of timeline %u, which is at %s%s", name,
		s->w->h->tli.v, lsn_text(end, lsn), last);
}

/* ---- the kinds of targets; 1: found, 0: look at an older backup, -ENOENT: none can ---- */

static int answer(struct search *s, struct lsn to, struct lsn need)
{
	*s->ret = (struct answer){.backup = s->b, .backup_end = s->b_end, .to = to, .need = need};
	return 1;
}

static int try_latest(struct search *s, struct lsn end, struct err *e)
{
	(void)e;
	return answer(s, end, end);
}

static int try_lsn(struct search *s, struct lsn end, struct err *e)
{
	struct lsn to = {0};
	int r;

	if (s->t->lsn.v < s->b_end.v)
		return 0;
	r = s->t->lsn.v < end.v ? way_record(s->w, s->t->lsn, &to, e) : 0;
	if (r < 0)
		return r;
	return r && to.v <= end.v ? answer(s, to, to) : not_reached(s, end, e);
}

static int try_time(struct search *s, struct lsn end, struct err *e)
{
	bool known = archived(s);
	struct tstamp since = known && s->b->snap->start.sec ? s->b->snap->start : s->b->snap->stop;
	struct found f;
	int r;

	/* A commit within the backup that is later would stop recovery too early; one before it is in the backup's files.
	 * When its start is after the target there may be such. */
	if (tstamp_cmp(s->t->time, since) < 0)
		return 0;
	r = find_later(s->w, known ? s->b->start : s->b_end, end, s->t->time, &f, e);
	if (r < 0)
		return r;
	if (!r)
		return not_reached(s, end, e);
	return f.lsn.v >= s->b_end.v ? answer(s, f.lsn, f.end) : 0;
}

static int try_xid(struct search *s, struct lsn end, struct err *e)
{
	struct lsn until = s->upper.v && s->upper.v < end.v ? s->upper : end;
	struct found f;
	int r = find_xid(s->w, s->b_end, until, s->t->xid, &f, e);

	s->upper = s->b_end;
	return r > 0 ? answer(s, f.end, f.end) : r;
}

static int try_name(struct search *s, struct lsn end, struct err *e)
{
	struct lsn until = s->upper.v && s->upper.v < end.v ? s->upper : end;
	struct found f;
	int r = archived(s) ? find_name(s->w, s->b->start, s->b_end, s->t->name, &f, e) : 0;

	/* Recovery would stop there, before the backup is consistent. */
	if (r)
		return r < 0 ? r : 0;
	r = find_name(s->w, s->b_end, until, s->t->name, &f, e);
	s->upper = s->b_end;
	return r > 0 ? answer(s, f.end, f.end) : r;
}

static int try_backup(struct search *s, struct err *e)
{
	struct lsn end = {0};
	int r = way_end(s->w, s->b_end, &end, e);

	if (r < 0)
		return r;
	switch (s->t->kind) {
	case TARGET_LATEST:
		return try_latest(s, end, e);
	case TARGET_TIME:
		return try_time(s, end, e);
	case TARGET_LSN:
		return try_lsn(s, end, e);
	case TARGET_XID:
		return try_xid(s, end, e);
	case TARGET_NAME:
		return try_name(s, end, e);
	}
	return -EINVAL;
}

static int not_found(const struct search *s, const char *what, struct err *e)
{
	char name[TARGET_TEXT];

	return err_set(e, -ENOENT,
		"%s: there is no such %s in the archived WAL of timeline %u that can be replayed from a base "
		"backup",
		target_name(s->t, name), what, s->w->h->tli.v);
}

int resolve_on(const struct way *w, const struct target *t, struct answer *ret, struct err *e)
{
	struct search s = {.w = w, .t = t, .ret = ret};
	const struct backup *oldest = NULL;
	struct lsn oldest_end = {0};
	size_t led = 0;

	/* With no backup and no WAL the segment size is not known. */
	for (size_t i = w->inv->segment_size ? w->inv->n_backups : 0; i-- > 0;) {
		int r;

		s.b = w->inv->backups[i];
		if (!s.b->start.v || !s.b->tli.v)
			continue;
		r = backup_end(w, s.b, &s.b_end, e);
		if (r < 0)
			return r;
		if (!s.b_end.v || !backup_leads(w, s.b, s.b_end))
			continue;
		oldest = s.b;
		oldest_end = s.b_end;
		led++;
		r = try_backup(&s, e);
		if (r)
			return r < 0 ? r : 0;
	}
	if (led && t->kind == TARGET_XID)
		return not_found(&s, "transaction", e);
	if (led && t->kind == TARGET_NAME)
		return not_found(&s, "restore point", e);
	return no_backup(&s, led, oldest, oldest_end, e);
}
