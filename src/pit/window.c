/* What can be recovered along the newest timeline: backups, gaps, the window. See pit.h. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "src/pit/pit_priv.h"
#include "store/wal.h"

void pit_window_release(struct pit_window *w)
{
	snapshot_free(w->last_backup);
	free(w->gaps);
	*w = (struct pit_window){0};
}

static int add_gap(const struct way *w, struct segno first, struct segno next, struct pit_window *ret)
{
	struct pit_gap *more = reallocarray(ret->gaps, ret->n_gaps + 1, sizeof(*more)), *g;

	if (!more)
		return -ENOMEM;
	ret->gaps = more;
	g = &more[ret->n_gaps++];
	way_wanted(w, first, g->first);
	way_wanted(w, (struct segno){next.v - 1}, g->last);
	g->segments = next.v - first.v;
	g->ends_window = ret->open && way_segno(w, ret->to_lsn).v <= first.v;
	return 0;
}

/* From the oldest backup on; what it carries itself need not be archived. */
static struct lsn gaps_from(const struct backup *b)
{
	return b->own_wal && b->stop.v ? b->stop : b->start;
}

/* Is there nothing amiss? A hole that begins where a backup ends takes from it what would lead on: WAL was not archived yet,
 * or prune removed it, which leaves to backups older than the window just what they need themselves. It is none when the
 * window begins behind it, or the next backup does. (What was archived and lost looks the same from here; verify tells it.) */
static bool is_no_gap(
	const struct way *w, struct segno first, struct segno next, const struct pit_window *win)
{
	bool begins = false, ends = win->open && win->from_lsn.v >= way_start(w, next).v;

	for (size_t i = 0; i < w->inv->n_backups; i++) {
		const struct backup *b = w->inv->backups[i];

		uint64_t last = b->stop.v ? way_segno(w, (struct lsn){b->stop.v - 1}).v : UINT64_MAX - 1;

		/* The rest of the segment in which a backup ends is nothing that it carries. */
		begins |= last + 1 == first.v || (b->own_wal && last == first.v);
		ends |= b->start.v && way_segno(w, b->start).v == next.v;
	}
	return begins && ends;
}

/* All holes from a position on. */
static int find_gaps(const struct way *w, struct lsn from, struct pit_window *ret, struct err *e)
{
	struct segno first, next;

	for (; way_gap(w, from, &first, &next); from = way_start(w, next))
		if (!is_no_gap(w, first, next, ret) && add_gap(w, first, next, ret) < 0)
			return err_sys(e, -ENOMEM, "gaps of the WAL archive");
	return 0;
}

/* The newest segment of the timeline, or, where it has none yet, of those it comes from. False: there is none. */
static bool newest(const struct way *w, struct tli *ret_tli, struct segno *ret)
{
	for (size_t i = w->h->n + 1; i-- > 0;) {
		struct tli tli = i < w->h->n ? w->h->steps[i].tli : w->h->tli;
		const struct timeline *t = inventory_timeline(w->inv, tli);
		bool found = t && t->n;

		if (found)
			ret->v = t->v[t->n - 1].last;
		for (size_t k = 0; k < w->inv->n_partials; k++) {
			const struct partial *p = &w->inv->partials[k];

			if (p->tli.v != tli.v || (found && p->no.v <= ret->v))
				continue;
			ret->v = p->no.v;
			found = true;
		}
		*ret_tli = tli;
		if (found)
			return true;
	}
	return false;
}

static int last_wal(const struct way *w, struct pit_window *ret, struct err *e)
{
	_cleanup_(recent_unrefp) struct recent_summary *s = NULL;
	const struct partial *p;
	struct wal_info info;
	struct err why = {0};
	struct segno no;
	struct tli t;
	int r;

	if (!newest(w, &t, &no))
		return 0;
	wal_name(t, no, w->inv->segment_size, ret->last_wal);
	p = inventory_find(w->inv, t, no) ? NULL : inventory_partial(w->inv, t, no);
	if (p) {
		ret->last_wal_put = p->put;
		strcat(ret->last_wal, ".partial");
	} else {
		r = wal_stat(w->store, w->cluster, ret->last_wal, &info, e);
		if (r < 0)
			return r;
		ret->last_wal_put = info.put;
	}
	r = way_summary(w, no, &s, &why);
	if (r < 0 && r != -ENOENT && r != -EBADMSG)
		return err_set(e, r, "%s", why.text);
	if (!r && s->s->has_commits) {
		ret->last_wal_time = s->s->last_commit.time;
		ret->has_last_wal_time = true;
	}
	return 0;
}

/* The backup's end and the end of the WAL behind it. 0: it does not lead anywhere. */
static int usable(
	const struct way *w, const struct backup *b, struct lsn *ret_end, struct lsn *ret_to, struct err *e)
{
	int r = b->start.v && b->tli.v ? backup_end(w, b, ret_end, e) : 0;

	if (r < 0 || !b->start.v || !ret_end->v || !backup_leads(w, b, *ret_end))
		return r;
	r = way_end(w, *ret_end, ret_to, e);
	return r < 0 ? r : 1;
}

static int open_window(const struct way *w, struct pit_window *ret, struct err *e)
{
	struct lsn last_to = {0};
	const struct backup *from = NULL;
	struct wal_commit c;
	int r;

	for (size_t i = w->inv->n_backups; i-- > 0;) {
		struct lsn end = {0}, to = {0};

		r = usable(w, w->inv->backups[i], &end, &to, e);
		if (r < 0)
			return r;
		if (!r)
			continue;
		if (!from)
			last_to = to;
		/* Behind a hole older ones lead nowhere near. */
		if (from && to.v < last_to.v)
			break;
		from = w->inv->backups[i];
		ret->from_lsn = end;
	}
	if (!from)
		return 0;
	ret->open = true;
	ret->tli = w->h->tli;
	ret->to_lsn = last_to;
	ret->from_time = from->snap->stop;
	r = last_commit(w, from->start, last_to, &c, e);
	if (r < 0)
		return r;
	ret->to_time = r && tstamp_cmp(c.time, ret->from_time) > 0 ? c.time : ret->from_time;
	return 0;
}

int pit_window(struct pit *p, struct pit_window *ret, struct err *e)
{
	_cleanup_(inventory_unrefp) struct inventory *i = NULL;
	struct pit_window win = {0};
	struct way w;
	int r = shelf_inventory(p->shelf, &i, e);

	if (r < 0)
		return r;
	win.backups = i->n_backups;
	if (i->n_backups)
		r = snapshot_load(p->store, p->cluster, SNAPSHOT_BASE, i->backups[i->n_backups - 1]->snap->id,
			&win.last_backup, e);
	if (!r && i->n_timelines && i->segment_size) {
		r = pit_way(p, i, &i->timelines[i->n_timelines - 1], &w, e);
		if (!r)
			r = last_wal(&w, &win, e);
		if (!r)
			r = open_window(&w, &win, e);
		if (!r && i->n_backups)
			r = find_gaps(&w, gaps_from(i->backups[0]), &win, e);
	}
	if (r < 0) {
		pit_window_release(&win);
		return r;
	}
	*ret = win;
	return 0;
}
