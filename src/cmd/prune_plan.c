/* Gathering, deciding, and removing WAL. See prune_plan.h. */
#include "src/cmd/prune_plan.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/clean.h"
#include "src/cmd/choose.h"
#include "src/pit/pit.h"
#include "store/pruned.h"
#include "store/wal_partial.h"

CLEANUP_DEFINE(struct snapshot, snapshot_free)
CLEANUP_DEFINE(char *, strv_free)

void prune_plan_release(struct prune_plan *p)
{
	free(p->items);
	free(p->drop);
	free(p->ranges);
	for (size_t i = 0; i < p->n_clusters; i++) {
		free(p->clusters[i].name);
		retention_wal_release(&p->clusters[i].wal);
	}
	free(p->clusters);
	for (size_t i = 0; i < p->n_texts; i++)
		free(p->texts[i]);
	free(p->texts);
	snapshot_list_free(&p->list);
	*p = (struct prune_plan){0};
}

/* ---- snapshots ---- */

static int keep_text(struct prune_plan *p, const char *text, const char **ret)
{
	char **more = reallocarray(p->texts, p->n_texts + 1, sizeof(*more));

	if (!more)
		return -ENOMEM;
	p->texts = more;
	more[p->n_texts] = strdup(text);
	if (!more[p->n_texts])
		return -ENOMEM;
	*ret = more[p->n_texts++];
	return 0;
}

static int text_of(struct prune_plan *p, const struct snapshot *s, const char *key, const char **ret)
{
	const struct property *have = snapshot_get(s, key);

	return have && have->type == PROPERTY_TEXT ? keep_text(p, have->text, ret) : 0;
}

/* 1: it is gone by now. */
static int load_item(struct store *s, struct prune_plan *p, const struct snapshot_ref *ref,
	struct retention_item *i, struct err *e)
{
	_cleanup_(snapshot_freep) struct snapshot *snap = NULL;
	struct err why = {0};
	int r = snapshot_load(s, ref->cluster, ref->kind, ref->id, &snap, &why);

	*i = (struct retention_item){.cluster = ref->cluster, .kind = ref->kind, .id = ref->id};
	if (r == -ENOENT)
		return 1;
	if (r < 0) {
		r = r == -ENOMEM ? r : keep_text(p, why.text, &i->damage);
		return r < 0 ? err_sys(e, r, "%s/%s", ref->cluster, ref->id) : 0;
	}
	i->stop = snap->stop;
	i->tli = (struct tli){(uint32_t)pit_number_of(snap, "timeline")};
	i->start_lsn = pit_lsn_of(snap, "start_lsn");
	i->stop_lsn = pit_lsn_of(snap, "stop_lsn");
	i->segment_size = (uint32_t)pit_number_of(snap, "wal_segment_size");
	r = text_of(p, snap, "database", &i->database);
	if (!r)
		r = text_of(p, snap, "tags", &i->tags);
	return r < 0 ? err_sys(e, r, "%s/%s", ref->cluster, ref->id) : 0;
}

static int plan_snapshots(
	struct store *s, const struct retention_options *o, struct prune_plan *p, struct err *e)
{
	/* All kinds, whichever are chosen: WAL is decided by the base backups. */
	int r = snapshot_list(s, o->cluster, 0, &p->list, e);

	if (r < 0)
		return r;
	p->items = calloc(p->list.n + 1, sizeof(*p->items));
	p->drop = calloc(p->list.n + 1, sizeof(*p->drop));
	if (!p->items || !p->drop)
		return err_sys(e, -ENOMEM, "list of snapshots");
	for (size_t i = 0; i < p->list.n; i++) {
		r = load_item(s, p, &p->list.refs[i], &p->items[p->n_items], e);
		if (r < 0)
			return r;
		p->n_items += r == 0;
	}
	r = retention_decide(o, p->items, p->n_items);
	if (r < 0)
		return err_sys(e, r, "list of snapshots");
	for (size_t i = 0; i < p->n_items; i++)
		if (p->items[i].drop)
			p->drop[p->n_drop++] = (struct snapshot_ref){.cluster = (char *)p->items[i].cluster,
				.kind = p->items[i].kind,
				.id = (char *)p->items[i].id};
	return 0;
}

/* ---- WAL ---- */

struct wal_walk {
	const struct plan_cluster *cluster;
	/* Called for each file, in the order of names; pieces of segments that still grow come last. */
	int (*fn)(struct wal_walk *w, const struct wal_name *f, bool piece, bool drop, const char *reason,
		struct err *e);
	struct store *store;
	struct prune_plan *plan;
	/* Of prune_plan_remove_wal. */
	struct meter *meter;
	const volatile sig_atomic_t *stop;
	uint64_t *files, *bytes;
};

static int tell(struct wal_walk *w, const struct wal_name *f, bool piece, struct err *e)
{
	const char *reason;
	bool keep = retention_wal_keeps(&w->cluster->wal, f->name, &reason);

	return w->fn(w, f, piece, !keep, reason, e);
}

static int walk_group(struct wal_walk *w, const char *group, struct err *e)
{
	struct wal_list l = {0};
	int r = wal_list(w->store, w->cluster->name, group, &l, e);

	for (size_t i = 0; i < l.n && !r; i++)
		r = tell(w, &l.v[i], false, e);
	wal_list_free(&l);
	return r;
}

static int walk_pieces(struct wal_walk *w, struct err *e)
{
	_cleanup_(strv_freep) char **names = NULL;
	int r = wal_partial_names(w->store, w->cluster->name, &names, e);

	for (size_t i = 0; !r && names[i]; i++) {
		struct wal_partial_info info = {0};
		struct wal_name f = {.name = names[i]};

		/* Archived meanwhile, or damaged: then its size is not told, and that is all. */
		if (!wal_partial_stat(w->store, w->cluster->name, names[i], &info, NULL))
			f.stored = info.stored;
		r = tell(w, &f, true, e);
	}
	return r;
}

static int walk(struct wal_walk *w, struct err *e)
{
	_cleanup_(strv_freep) char **groups = NULL;
	int r = wal_groups(w->store, w->cluster->name, &groups, e);

	for (size_t i = 0; !r && groups[i]; i++)
		r = walk_group(w, groups[i], e);
	return r ? r : walk_pieces(w, e);
}

static bool joins(const struct plan_range *a, const struct plan_range *b)
{
	/* The first eight digits are the timeline. */
	return a->drop == b->drop && !strcmp(a->reason, b->reason) && !strcmp(a->cluster, b->cluster) &&
	       !strncmp(a->first, b->first, 8);
}

static int add_to_plan(struct wal_walk *w, const struct wal_name *f, bool piece, bool drop,
	const char *reason, struct err *e)
{
	struct prune_plan *p = w->plan;
	struct plan_range one = {.cluster = w->cluster->name, .files = 1, .bytes = f->stored, .drop = drop};
	struct plan_range *last = p->n_ranges ? &p->ranges[p->n_ranges - 1] : NULL, *more;

	(void)piece;
	snprintf(one.first, sizeof(one.first), "%s", f->name);
	snprintf(one.last, sizeof(one.last), "%s", f->name);
	snprintf(one.reason, sizeof(one.reason), "%s", reason);
	p->wal_files += drop;
	p->wal_bytes += drop ? f->stored : 0;
	if (last && joins(last, &one)) {
		memcpy(last->last, one.last, sizeof(last->last));
		last->files++;
		last->bytes += f->stored;
		return 0;
	}
	more = reallocarray(p->ranges, p->n_ranges + 1, sizeof(*more));
	if (!more)
		return err_sys(e, -ENOMEM, "list of WAL");
	p->ranges = more;
	more[p->n_ranges++] = one;
	return 0;
}

static int plan_wal(struct store *s, const struct retention_options *o, struct prune_plan *p, struct err *e)
{
	_cleanup_(strv_freep) char **names = NULL;
	size_t n = 0;
	int r = store_clusters(s, &names, e);

	if (r < 0)
		return r;
	while (names[n])
		n++;
	p->clusters = calloc(n + 1, sizeof(*p->clusters));
	if (!p->clusters)
		return err_sys(e, -ENOMEM, "list of clusters");
	for (size_t i = 0; i < n && !r; i++) {
		struct plan_cluster *c = &p->clusters[p->n_clusters];
		struct wal_walk w = {.cluster = c, .fn = add_to_plan, .store = s, .plan = p};

		if (o->cluster && strcmp(o->cluster, names[i]))
			continue;
		r = retention_wal_plan(p->items, p->n_items, names[i],
			retention_for(o->sets, names[i], SNAPSHOT_BASE), o->now, o->force, &c->wal, e);
		if (r < 0)
			break;
		p->n_clusters++;
		c->name = strdup(names[i]);
		r = c->name ? walk(&w, e) : err_sys(e, -ENOMEM, "list of clusters");
	}
	return r;
}

/* ---- all ---- */

int prune_plan_make(struct store *s, const struct retention_options *o, struct prune_plan *ret, struct err *e)
{
	struct prune_plan p = {0};
	int r = plan_snapshots(s, o, &p, e);

	if (!r && o->cluster && !p.list.n)
		r = cmd_check_cluster(s, o->cluster, e);
	/* The WAL belongs to the base backups. */
	if (!r && (!o->kind || o->kind == SNAPSHOT_BASE))
		r = plan_wal(s, o, &p, e);
	if (r < 0)
		prune_plan_release(&p);
	else
		*ret = p;
	return r;
}

static int remove_dropped(struct wal_walk *w, const struct wal_name *f, bool piece, bool drop,
	const char *reason, struct err *e)
{
	int r;

	(void)reason;
	if (!drop)
		return 0;
	if (w->stop && *w->stop)
		return err_set(
			e, -EINTR, "interrupted: what is removed is removed, and the next run goes on");
	r = piece ? wal_partial_remove(w->store, w->cluster->name, f->name, e)
		  : wal_remove(w->store, w->cluster->name, f->name, e);
	if (r == -ENOENT)
		return 0;
	if (r < 0)
		return r;
	++*w->files;
	*w->bytes += f->stored;
	meter_add(w->meter, f->stored, 1);
	return 0;
}

static bool planned(const struct prune_plan *p, const struct snapshot_ref *ref)
{
	for (size_t i = 0; i < p->n_items; i++)
		if (p->items[i].kind == ref->kind && !strcmp(p->items[i].id, ref->id) &&
			!strcmp(p->items[i].cluster, ref->cluster))
			return true;
	return false;
}

/* 1: there is a base backup that the plan does not know. */
static int has_news(struct store *s, const struct prune_plan *p, const char *cluster, struct err *e)
{
	struct snapshot_list l = {0};
	int r = snapshot_list(s, cluster, SNAPSHOT_BASE, &l, e);

	for (size_t i = 0; i < l.n && !r; i++)
		r = !planned(p, &l.refs[i]);
	snapshot_list_free(&l);
	return r;
}

/* Each stretch that goes is marked before its first file does. */
static int mark_wal(struct store *s, const struct prune_plan *p, const char *cluster, struct err *e)
{
	int r = 0;

	for (size_t i = 0; i < p->n_ranges && !r; i++)
		if (p->ranges[i].drop && !strcmp(p->ranges[i].cluster, cluster))
			r = pruned_put_wal(s, cluster, p->ranges[i].first, p->ranges[i].last, e);
	return r;
}

int prune_plan_remove_wal(struct store *s, const struct prune_plan *p, struct log *log, struct meter *meter,
	const volatile sig_atomic_t *stop, uint64_t *files, uint64_t *bytes, struct err *e)
{
	int r = 0;

	*files = *bytes = 0;
	meter_total(meter, p->wal_bytes);
	for (size_t i = 0; i < p->n_clusters && r >= 0; i++) {
		struct wal_walk w = {.cluster = &p->clusters[i],
			.fn = remove_dropped,
			.store = s,
			.meter = meter,
			.stop = stop,
			.files = files,
			.bytes = bytes};

		if (p->clusters[i].wal.all)
			continue;
		r = has_news(s, p, p->clusters[i].name, e);
		if (r == 1)
			log_msg(log, LOG_LEVEL_WARNING,
				"the WAL of %s is left to the next run: a base backup came meanwhile",
				p->clusters[i].name);
		if (r == 0)
			r = mark_wal(s, p, p->clusters[i].name, e);
		if (r == 0)
			r = walk(&w, e);
	}
	return r < 0 ? r : 0;
}
