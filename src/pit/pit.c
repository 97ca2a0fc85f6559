/* The handle, and targets among timelines. See pit.h. */
#include "src/pit/pit.h"

#include <errno.h>
#include <string.h>

#include "src/pit/pit_priv.h"

int pit_new_with(struct store *s, const char *cluster, struct log *log, const struct pit_source *source,
	struct pit **ret, struct err *e)
{
	_cleanup_(pit_freep) struct pit *p = calloc(1, sizeof(*p));
	int r;

	if (!p || !(p->cluster = strdup(cluster)) || !(p->recent = recent_new()))
		return err_sys(e, -ENOMEM, "cluster %s", cluster);
	p->store = s;
	p->log = log;
	p->source = source;
	r = shelf_new(s, cluster, log, source, &p->shelf, e);
	if (!r)
		*ret = MOVE(p);
	return r;
}

int pit_new(struct store *s, const char *cluster, struct log *log, struct pit **ret, struct err *e)
{
	return pit_new_with(s, cluster, log, &pit_source_store, ret, e);
}

void pit_free(struct pit *p)
{
	if (!p)
		return;
	shelf_free(p->shelf);
	recent_free(p->recent);
	free(p->cluster);
	free(p);
}

int pit_way(
	struct pit *p, const struct inventory *i, const struct timeline *t, struct way *ret, struct err *e)
{
	if (!t->history)
		return err_set(e, t->history_r, "%s", t->history_why);
	*ret = (struct way){.store = p->store,
		.cluster = p->cluster,
		.log = p->log,
		.source = p->source,
		.recent = p->recent,
		.inv = i,
		.h = t->history};
	return 0;
}

void pit_point_release(struct pit_point *p)
{
	snapshot_free(p->backup);
	*p = (struct pit_point){0};
}

/* What the last commit that is replayed is, else the backup's end. */
static int settle_time(const struct way *w, const struct answer *a, struct pit_point *ret, struct err *e)
{
	struct wal_commit c;
	int r = last_commit(w, a->backup->start, a->to, &c, e);

	if (r < 0)
		return r;
	ret->has_time = r > 0 || a->backup->snap->stop.sec;
	ret->time = r > 0 ? c.time : a->backup->snap->stop;
	ret->xid = r > 0 ? c.xid : 0;
	return 0;
}

static int make_point(const struct way *w, const struct target *t, const struct answer *a,
	struct pit_point *ret, struct err *e)
{
	struct pit_point p = {.target = *t,
		.pg_major = a->backup->pg_major,
		.tli = w->h->tli,
		.segment_size = w->inv->segment_size,
		.from = a->backup->start,
		.backup_end = a->backup_end,
		.to = a->to,
		.replay_bytes = a->to.v - a->backup->start.v};
	struct segno first = way_segno(w, a->backup->start);
	struct segno last = way_segno(w, (struct lsn){(a->need.v > a->to.v ? a->need.v : a->to.v) - 1});
	int r;

	p.target.tli = w->h->tli;
	way_name(w, first, p.first_wal);
	way_name(w, last, p.last_wal);
	p.segments = last.v - first.v + 1;
	p.partial = way_streamed(w, last);
	r = settle_time(w, a, &p, e);
	/* The caller's own copy; ours belong to the shelf. */
	if (!r)
		r = snapshot_load(w->store, w->cluster, SNAPSHOT_BASE, a->backup->snap->id, &p.backup, e);
	if (!r)
		*ret = p;
	return r;
}

static int resolve_timeline(struct pit *p, const struct inventory *i, const struct timeline *l,
	const struct target *t, unsigned *may_make, struct pit_point *ret, struct err *e)
{
	struct answer a = {0};
	struct way w;
	int r = pit_way(p, i, l, &w, e);

	if (!r) {
		w.may_make = may_make;
		r = resolve_on(&w, t, &a, e);
	}
	return r < 0 ? r : make_point(&w, t, &a, ret, e);
}

int resolve_making(
	struct pit *p, const struct target *t, unsigned *may_make, struct pit_point *ret, struct err *e)
{
	_cleanup_(inventory_unrefp) struct inventory *i = NULL;
	struct err why = {0}, first = {0};
	int r = shelf_inventory(p->shelf, &i, e);

	if (r < 0)
		return r;
	if (!i->n_backups)
		return err_set(e, -ENOENT, "cluster \"%s\" has no base backup", p->cluster);
	if (t->tli.v) {
		const struct timeline *l = inventory_timeline(i, t->tli);

		return l ? resolve_timeline(p, i, l, t, may_make, ret, e)
			 : err_set(e, -ENOENT, "cluster \"%s\" has no timeline %u", p->cluster, t->tli.v);
	}
	for (size_t k = i->n_timelines; k-- > 0;) {
		r = resolve_timeline(p, i, &i->timelines[k], t, may_make, ret, &why);
		/* What cannot be read may be the very timeline that is wanted. */
		if (r != -ENOENT || !i->timelines[k].history)
			return r < 0 ? err_set(e, r, "%s", why.text) : 0;
		if (!first.code)
			first = why;
	}
	return err_set(e, -ENOENT, "%s", first.code ? first.text : "there is no timeline");
}

int pit_resolve(struct pit *p, const struct target *t, struct pit_point *ret, struct err *e)
{
	return resolve_making(p, t, NULL, ret, e);
}
