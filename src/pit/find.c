/* Finding a record in the archived WAL by what it says: through summaries to the segment, then through its records.
 *
 * Times and transaction numbers rise nearly, but not quite, with the WAL: clocks step back, and long transactions commit
 * late. So a place is found by halving, and what lies before it is looked at all the same, as far as its summaries are noted.
 * Where notes are missing on a way of more than EXACT segments, what an earlier stretch says whose clock was ahead may be
 * overlooked: making a summary takes a thousand times as long as reading one. */
#include <errno.h>
#include <string.h>

#include "src/pit/pit_priv.h"

#define EXACT 1024    /* segments that are looked at one by one */
#define NEIGHBOURS 64 /* segments before a place found by halving that are looked at in any case */
#define MISSING 256   /* when so many before that have no notes, those between are not looked at */
#define ABORT_NEAR 32 /* segments around a transaction's likely place whose aborts are read */

/* One question: which summaries may hold the answer, and which event is it. */
struct query {
	const struct way *w;
	struct lsn from, until;
	struct tstamp time;
	uint32_t xid;
	const char *name;
	bool (*is)(const struct query *q, const struct wal_event *ev);
	struct found *found;
	bool hit;
};

static struct tstamp event_time(const struct wal_event *ev)
{
	return ev->kind == WAL_EVENT_RESTORE_POINT ? ev->restore_point.time : ev->xact.time;
}

static int take(void *arg, const struct wal_event *ev, struct err *e)
{
	struct query *q = arg;

	(void)e;
	if (ev->lsn.v < q->from.v || ev->lsn.v >= q->until.v || !q->is(q, ev))
		return 0;
	*q->found = (struct found){ev->lsn, ev->end, ev->xid, event_time(ev)};
	q->hit = true;
	return 1;
}

/* Looks through the records of one segment, those that end in it. 1: found. */
static int look_in(struct query *q, struct segno no, struct err *e)
{
	_cleanup_(recent_unrefp) struct recent_summary *s = NULL;
	struct lsn end = {way_start(q->w, no).v + q->w->inv->segment_size};
	int r = way_summary(q->w, no, &s, e);

	if (r < 0)
		return r;
	if (!s->s->from.v)
		return 0;
	r = way_events(q->w, s->s->from, q->until.v < end.v ? q->until : end, take, q, e);
	return r < 0 ? r : q->hit;
}

static struct segno last_of(const struct query *q)
{
	return way_segno(q->w, (struct lsn){q->until.v - 1});
}

/* ---- times ---- */

/* recoveryStopsBefore, src/backend/access/transam/xlogrecovery.c: commits and aborts, prepared ones too. */
static bool ends_xact(const struct wal_event *ev)
{
	return ev->kind == WAL_EVENT_COMMIT || ev->kind == WAL_EVENT_COMMIT_PREPARED ||
	       ev->kind == WAL_EVENT_ABORT || ev->kind == WAL_EVENT_ABORT_PREPARED;
}

static bool is_later(const struct query *q, const struct wal_event *ev)
{
	return ends_xact(ev) && tstamp_cmp(ev->xact.time, q->time) > 0;
}

/* 1: it has a later time; 0: all of its times are earlier or the same; -ENODATA: it has none. */
static int segment_later(const struct query *q, const struct way *w, struct segno no, struct err *e)
{
	_cleanup_(recent_unrefp) struct recent_summary *s = NULL;
	int r = way_summary(w, no, &s, e);

	if (r < 0)
		return r;
	if (!s->s->has_times)
		return -ENODATA;
	return tstamp_cmp(s->s->time_max, q->time) > 0;
}

/* Halving over [a, z]: a segment with a later time before which there is, as times rise, none; z + 1: none. */
static int halve_times(const struct query *q, uint64_t a, uint64_t z, uint64_t *ret, struct err *e)
{
	uint64_t lo = a, hi = z + 1;

	*ret = z + 1;
	while (lo < hi) {
		uint64_t mid = lo + (hi - lo) / 2, k = mid;
		int r = -ENODATA;

		for (; k < hi && r == -ENODATA; k++)
			r = segment_later(q, q->w, (struct segno){k}, e);
		if (r == -ENODATA) {
			hi = mid;
			continue;
		}
		/* Damage is looked at when it turns out to be the place. */
		if (r < 0 && r != -EBADMSG)
			return r;
		if (r) {
			*ret = k - 1;
			hi = mid;
		} else {
			lo = k;
		}
	}
	return 0;
}

int find_later(const struct way *w, struct lsn from, struct lsn until, struct tstamp time, struct found *ret,
	struct err *e)
{
	struct query q = {.w = w, .from = from, .until = until, .time = time, .is = is_later, .found = ret};
	struct way noted = *w;
	unsigned none = 0, missing = 0;
	uint64_t a = way_segno(w, from).v, z, sure = a;
	int r;

	if (from.v >= until.v)
		return 0;
	z = last_of(&q).v;
	noted.may_make = &none;
	if (z - a > EXACT) {
		r = halve_times(&q, a, z, &sure, e);
		if (r < 0)
			return r;
		sure = sure - a > NEIGHBOURS ? sure - NEIGHBOURS : a;
	}
	for (uint64_t k = a; (k = way_may_be_later(w, (struct segno){k}, (struct segno){z + 1}, time).v) <= z;
		k++) {
		r = segment_later(&q, k < sure ? &noted : w, (struct segno){k}, e);
		if (r == -EAGAIN && k < sure) {
			if (++missing == MISSING)
				k = sure - 1;
			continue;
		}
		/* The first segment may have later times only before `from`. */
		if (r == 1)
			r = look_in(&q, (struct segno){k}, e);
		if (r && r != -ENODATA)
			return r;
	}
	return 0;
}

/* ---- transactions ---- */

static bool is_xid(const struct query *q, const struct wal_event *ev)
{
	return ends_xact(ev) && ev->xid == q->xid;
}

static uint64_t aborts(const struct wal_summary *s)
{
	return s->counts[WAL_EVENT_ABORT] + s->counts[WAL_EVENT_ABORT_PREPARED];
}

/* Reads the segment if its summary admits the transaction. near: also for the sake of its aborts, whose numbers no
 * summary has. 1: found. */
static int xid_in(struct query *q, struct segno no, bool near, struct err *e)
{
	_cleanup_(recent_unrefp) struct recent_summary *s = NULL;
	int r = way_summary(q->w, no, &s, e);

	if (r < 0)
		return r;
	if (!wal_summary_may_commit(s->s, q->xid) && !(near && aborts(s->s)))
		return 0;
	return look_in(q, no, e);
}

/* As xids rise: the first segment with a commit at or after this one. */
static int halve_xids(const struct query *q, uint64_t a, uint64_t z, uint64_t *ret, struct err *e)
{
	uint64_t lo = a, hi = z + 1;

	while (lo < hi) {
		uint64_t mid = lo + (hi - lo) / 2, k;
		bool known = false, below = false;

		for (k = mid; k < hi && !known; k++) {
			_cleanup_(recent_unrefp) struct recent_summary *s = NULL;
			int r = way_summary(q->w, (struct segno){k}, &s, e);

			if (r < 0 && r != -EBADMSG)
				return r;
			known = r == 0 && s->s->has_commits;
			/* TransactionIdPrecedes, src/backend/access/transam/transam.c */
			below = known && (int32_t)(s->s->xid_max - q->xid) < 0;
		}
		if (below)
			lo = k;
		else
			hi = mid;
	}
	*ret = lo;
	return 0;
}

int find_xid(const struct way *w, struct lsn from, struct lsn until, uint32_t xid, struct found *ret,
	struct err *e)
{
	struct query q = {.w = w, .from = from, .until = until, .xid = xid, .is = is_xid, .found = ret};
	uint64_t a = way_segno(w, from).v, z, at = 0, most;
	int r;

	if (from.v >= until.v)
		return 0;
	z = last_of(&q).v;
	r = halve_xids(&q, a, z, &at, e);
	if (r < 0)
		return r;
	at = at > z ? z : at;
	most = at - a > z - at ? at - a : z - at;
	/* Outwards from the likely place: most transactions end near where they began. */
	for (uint64_t d = 0; d <= most; d++) {
		r = at + d <= z ? xid_in(&q, (struct segno){at + d}, d <= ABORT_NEAR, e) : 0;
		if (!r && d && at >= a + d)
			r = xid_in(&q, (struct segno){at - d}, d <= ABORT_NEAR, e);
		if (r)
			return r;
	}
	return 0;
}

/* ---- restore points ---- */

static bool is_named(const struct query *q, const struct wal_event *ev)
{
	return ev->kind == WAL_EVENT_RESTORE_POINT && !strcmp(ev->restore_point.name, q->name);
}

static bool may_name(const struct query *q, const struct wal_summary *s)
{
	if (!s->counts[WAL_EVENT_RESTORE_POINT])
		return false;
	for (size_t i = 0; i < s->n_marks; i++)
		if (s->marks[i].kind == WAL_EVENT_RESTORE_POINT && !strcmp(s->marks[i].name, q->name))
			return true;
	return s->marks_left_out > 0;
}

int find_name(const struct way *w, struct lsn from, struct lsn until, const char *name, struct found *ret,
	struct err *e)
{
	struct query q = {.w = w, .from = from, .until = until, .name = name, .is = is_named, .found = ret};

	if (from.v >= until.v)
		return 0;
	for (uint64_t k = way_segno(w, from).v; k <= last_of(&q).v; k++) {
		_cleanup_(recent_unrefp) struct recent_summary *s = NULL;
		int r = way_summary(w, (struct segno){k}, &s, e);

		if (!r && may_name(&q, s->s))
			r = look_in(&q, (struct segno){k}, e);
		if (r)
			return r;
	}
	return 0;
}

/* ---- the last commit ---- */

static int take_commit(void *arg, const struct wal_event *ev, struct err *e)
{
	struct query *q = arg;

	(void)e;
	if ((ev->kind != WAL_EVENT_COMMIT && ev->kind != WAL_EVENT_COMMIT_PREPARED) ||
		ev->lsn.v < q->from.v || ev->lsn.v >= q->until.v)
		return 0;
	*q->found = (struct found){ev->lsn, ev->end, ev->xid, ev->xact.time};
	q->hit = true;
	return 0;
}

int last_commit(const struct way *w, struct lsn from, struct lsn until, struct wal_commit *ret, struct err *e)
{
	struct found f = {{0}, {0}, 0, {0}};
	struct query q = {.w = w, .from = from, .until = until, .found = &f};
	uint64_t k;

	if (from.v >= until.v)
		return 0;
	/* A commit before `until` may end in the segment after it. */
	k = way_segno(w, until).v;
	for (;; k--) {
		_cleanup_(recent_unrefp) struct recent_summary *s = NULL;
		int r = way_summary(w, (struct segno){k}, &s, e);

		/* The segment of `until` need not be there, nor that of `from`, which a backup may carry itself. */
		if (r < 0 && r != -ENOENT)
			return r;
		if (!r && s->s->has_commits && s->s->last_commit.lsn.v < until.v) {
			*ret = s->s->last_commit;
			return ret->lsn.v >= from.v;
		}
		if (!r && s->s->has_commits && s->s->first_commit.lsn.v < until.v) {
			r = way_events(w, s->s->from, until, take_commit, &q, e);
			if (r < 0)
				return r;
			if (q.hit) {
				*ret = (struct wal_commit){f.lsn, f.xid, f.time};
				return 1;
			}
		}
		if (k <= way_segno(w, from).v)
			return 0;
	}
}
