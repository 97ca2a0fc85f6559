/* The targets that a listing shows: a useful few, each of which can be reached. See pit.h. */
#include <errno.h>
#include <string.h>

#include "src/pit/pit_priv.h"

#define NAMES_SEGMENTS 4096 /* so many of the newest segments are looked through for restore points */
#define HOUR 3600
/* So many summaries are made for a listing; one takes some 30 ms. An archive whose notes are lost shows more names each time
 * it is listed, instead of none for minutes. */
#define MAKE 32

struct item {
	struct target t;
	struct tstamp time;
};

struct items {
	struct item *v;
	size_t n, max;
	unsigned may_make;
};

static void items_release(struct items *l)
{
	free(l->v);
}

/* Adds a target if it can be reached and there is room. at: its time, when that is known. */
static int offer(
	struct pit *p, struct items *l, const struct target *t, const struct tstamp *at, struct err *e)
{
	struct pit_point point = {0};
	struct err why = {0};
	int r;

	if (l->n == l->max)
		return 0;
	for (size_t i = 0; i < l->n; i++) {
		char a[TARGET_TEXT], b[TARGET_TEXT];

		if (!strcmp(target_name(&l->v[i].t, a), target_name(t, b)))
			return 0;
	}
	r = resolve_making(p, t, &l->may_make, &point, &why);
	if (r == -ENOMEM)
		return err_set(e, r, "%s", why.text);
	if (r < 0)
		return 0;
	l->v[l->n++] = (struct item){*t, at ? *at : point.time};
	pit_point_release(&point);
	return 0;
}

static int add_names(
	struct pit *p, const struct way *w, const struct pit_window *win, struct items *l, struct err *e)
{
	uint64_t first = way_segno(w, win->from_lsn).v, last = way_segno(w, win->to_lsn).v;
	uint64_t least = last - first >= NAMES_SEGMENTS ? last - NAMES_SEGMENTS : first;

	for (uint64_t k = last + 1; k-- > least;) {
		_cleanup_(recent_unrefp) struct recent_summary *s = NULL;
		struct err why = {0};
		int r = way_summary(w, (struct segno){k}, &s, &why);

		if (r == -ENOMEM)
			return err_set(e, r, "%s", why.text);
		if (r < 0)
			continue;
		for (size_t i = s->s->n_marks; i-- > 0;) {
			const struct wal_mark *m = &s->s->marks[i];
			struct target t = {.kind = TARGET_NAME};

			if (m->kind != WAL_EVENT_RESTORE_POINT || !*m->name || m->lsn.v < win->from_lsn.v)
				continue;
			memcpy(t.name, m->name, sizeof(t.name));
			r = offer(p, l, &t, &m->time, e);
			if (r < 0)
				return r;
		}
	}
	return 0;
}

static int add_time(struct pit *p, struct items *l, int64_t sec, struct err *e)
{
	struct target t = {.kind = TARGET_TIME, .time = {sec, 0}};

	return offer(p, l, &t, &t.time, e);
}

static int add_backups(struct pit *p, const struct inventory *inv, struct items *l, struct err *e)
{
	for (size_t i = inv->n_backups; i-- > 0;) {
		struct tstamp stop = inv->backups[i]->snap->stop;
		int r = add_time(p, l, stop.sec + (stop.nsec > 0), e);

		if (r < 0)
			return r;
	}
	return 0;
}

static int add_hours(struct pit *p, const struct pit_window *win, struct items *l, struct err *e)
{
	for (int64_t h = win->to_time.sec - win->to_time.sec % HOUR; h >= win->from_time.sec && l->n < l->max;
		h -= HOUR) {
		int r = add_time(p, l, h, e);

		if (r < 0)
			return r;
	}
	return 0;
}

static int by_time(const void *a, const void *b)
{
	return tstamp_cmp(((const struct item *)a)->time, ((const struct item *)b)->time);
}

static int collect(struct pit *p, const struct pit_window *win, struct items *l, struct err *e)
{
	_cleanup_(inventory_unrefp) struct inventory *inv = NULL;
	const struct timeline *t;
	struct way w;
	int r = shelf_inventory(p->shelf, &inv, e);

	if (r < 0)
		return r;
	t = inventory_timeline(inv, win->tli);
	r = t ? pit_way(p, inv, t, &w, e) : -ENOENT;
	w.may_make = &l->may_make;
	if (!r)
		r = add_names(p, &w, win, l, e);
	if (!r)
		r = add_backups(p, inv, l, e);
	return r ? r : add_hours(p, win, l, e);
}

int pit_list(struct pit *p, size_t max, pit_target_fn *fn, void *arg, struct err *e)
{
	_cleanup_(pit_window_release) struct pit_window win = {0};
	_cleanup_(items_release) struct items l = {.max = max ? max - 1 : 0, .may_make = MAKE};
	struct target latest = {.kind = TARGET_LATEST};
	int r = pit_window(p, &win, e);

	if (r < 0 || !win.open || !max)
		return r;
	l.v = calloc(l.max + 1, sizeof(*l.v));
	if (!l.v)
		return err_sys(e, -ENOMEM, "points in time");
	r = collect(p, &win, &l, e);
	if (r < 0)
		return r;
	qsort(l.v, l.n, sizeof(*l.v), by_time);
	r = fn(arg, &latest, win.to_time, e);
	for (size_t i = 0; i < l.n && !r; i++)
		r = fn(arg, &l.v[i].t, l.v[i].time, e);
	return r;
}
