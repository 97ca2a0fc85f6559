/* The shelf: makes inventories of what the store names, and keeps what need not be read twice. See inventory.h. */
#include "src/pit/inventory.h"
#include "src/pit/pit.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "src/base/clock.h"
#include "src/pit/pages.h"
#include "src/pit/summaries.h"
#include "store/wal.h"
#include "store/wal_partial.h"

#define FRESH_NS 1000000000ull	     /* so old may an inventory be */
#define FULL_FRESH_NS 60000000000ull /* and so old what is known of a full group: it can only be removed */
#define GROUP_NAME 16		     /* of segments: timeline and the middle third of their names */

CLEANUP_DEFINE(char *, strv_free)

const struct pit_source pit_source_store = {
	.groups = wal_groups,
	.names = wal_names,
	.summary = summaries_get,
	.noted = summaries_noted,
};

struct group {
	char name[GROUP_NAME + 1];
	struct stretch *v;
	size_t n;
	uint64_t segments;
	uint64_t listed_ns;
};

struct kept_history {
	struct tli tli;
	struct timeline_history *h;
};

struct shelf {
	struct store *store;
	char *cluster;
	struct log *log;
	const struct pit_source *source;

	pthread_mutex_t lock; /* rank: above the store's; guards what follows */
	struct inventory *now;
	uint64_t made_ns;
	uint32_t segment_size;
	struct group *groups; /* sorted by name */
	size_t n_groups;
	struct kept_history *histories;
	size_t n_histories;
	struct backup **backups; /* those that were ever seen */
	size_t n_backups;
	char **texts; /* why histories and backups cannot be read */
	size_t n_texts;
};

int shelf_new(struct store *s, const char *cluster, struct log *log, const struct pit_source *source,
	struct shelf **ret, struct err *e)
{
	struct shelf *f;
	int r = store_check_cluster_name(cluster, e);

	if (r < 0)
		return r;
	f = calloc(1, sizeof(*f));
	if (!f || !(f->cluster = strdup(cluster))) {
		free(f);
		return err_sys(e, -ENOMEM, "cluster %s", cluster);
	}
	f->store = s;
	f->log = log;
	f->source = source;
	pthread_mutex_init(&f->lock, NULL);
	*ret = f;
	return 0;
}

static void groups_free(struct group *g, size_t n)
{
	for (size_t i = 0; i < n; i++)
		free(g[i].v);
	free(g);
}

void shelf_free(struct shelf *f)
{
	if (!f)
		return;
	inventory_unref(f->now);
	groups_free(f->groups, f->n_groups);
	for (size_t i = 0; i < f->n_histories; i++)
		timeline_history_free(f->histories[i].h);
	free(f->histories);
	for (size_t i = 0; i < f->n_backups; i++) {
		snapshot_free((struct snapshot *)(uintptr_t)f->backups[i]->snap);
		free(f->backups[i]);
	}
	free(f->backups);
	for (size_t i = 0; i < f->n_texts; i++)
		free(f->texts[i]);
	free(f->texts);
	pthread_mutex_destroy(&f->lock);
	free(f->cluster);
	free(f);
}

/* Makes room for one more element of `size` bytes in the array *v of n. False without memory. */
static bool grow(void *v, size_t n, size_t size)
{
	void **p = v, *more;

	/* Doubled whenever the number is a power of two. */
	if (n & (n - 1))
		return true;
	more = reallocarray(*p, n ? 2 * n : 1, size);
	if (!more)
		return false;
	*p = more;
	return true;
}

static bool add_stretch(struct stretch **v, size_t *n, struct stretch s)
{
	if (*n && (*v)[*n - 1].last + 1 >= s.first) {
		if (s.last > (*v)[*n - 1].last)
			(*v)[*n - 1].last = s.last;
		return true;
	}
	if (!grow(v, *n, sizeof(**v)))
		return false;
	(*v)[(*n)++] = s;
	return true;
}

/* A text that lives as long as the shelf. 1: it is new. */
static int keep_text(struct shelf *f, const char *text, const char **ret)
{
	for (size_t i = 0; i < f->n_texts; i++)
		if (!strcmp(f->texts[i], text)) {
			*ret = f->texts[i];
			return 0;
		}
	if (!grow(&f->texts, f->n_texts, sizeof(*f->texts)) || !(f->texts[f->n_texts] = strdup(text)))
		return -ENOMEM;
	*ret = f->texts[f->n_texts++];
	return 1;
}

/* ---- groups ---- */

static int list_group(struct shelf *f, const char *name, struct group *ret, struct err *e)
{
	_cleanup_(strv_freep) char **names = NULL;
	struct group g = {.listed_ns = clock_mono_ns()};
	int r = f->source->names(f->store, f->cluster, name, &names, e);

	if (r < 0)
		return r;
	snprintf(g.name, sizeof(g.name), "%s", name);
	for (size_t i = 0; names[i]; i++) {
		struct tli t;
		struct segno no;

		if (!wal_name_parse(names[i], strlen(names[i]), f->segment_size, &t, &no))
			continue;
		if (!add_stretch(&g.v, &g.n, (struct stretch){no.v, no.v})) {
			free(g.v);
			return err_sys(e, -ENOMEM, "listing the WAL archive");
		}
		g.segments++;
	}
	*ret = g;
	return 0;
}

static struct group *known_group(struct shelf *f, const char *name)
{
	size_t a = 0, b = f->n_groups;

	while (a < b) {
		size_t mid = a + (b - a) / 2;
		int c = strcmp(f->groups[mid].name, name);

		if (!c)
			return &f->groups[mid];
		if (c < 0)
			a = mid + 1;
		else
			b = mid;
	}
	return NULL;
}

/* The segment size, which names alone do not tell, from the first segment there is. */
static int learn_size(struct shelf *f, char *const *groups, struct err *e)
{
	for (size_t i = 0; groups[i] && !f->segment_size; i++) {
		_cleanup_(strv_freep) char **names = NULL;
		struct wal_info info;
		int r = strlen(groups[i]) == GROUP_NAME
				? f->source->names(f->store, f->cluster, groups[i], &names, e)
				: 0;

		if (r < 0)
			return r;
		for (size_t k = 0; names && names[k] && !f->segment_size; k++)
			if (wal_name_looks(names[k], strlen(names[k])) &&
				!wal_stat(f->store, f->cluster, names[k], &info, NULL) &&
				info.size <= UINT32_MAX && wal_segsize_ok((uint32_t)info.size))
				f->segment_size = (uint32_t)info.size;
	}
	return 0;
}

static int refresh_groups(struct shelf *f, char *const *names, struct err *e)
{
	struct group *next = NULL;
	size_t n = 0;
	uint64_t now = clock_mono_ns(), full = f->segment_size ? (1ull << 32) / f->segment_size : 0;
	int r = 0;

	for (size_t i = 0; names[i] && !r && full; i++) {
		struct group *old = known_group(f, names[i]), g = {0};

		if (strlen(names[i]) != GROUP_NAME)
			continue;
		if (!grow(&next, n, sizeof(*next))) {
			r = err_sys(e, -ENOMEM, "listing the WAL archive");
			break;
		}
		if (old && old->segments == full && now - old->listed_ns < FULL_FRESH_NS) {
			g = *old;
			old->v = NULL;
		} else {
			r = list_group(f, names[i], &g, e);
		}
		if (!r)
			next[n++] = g;
	}
	if (r < 0) {
		/* What was moved into `next` is lost to the old list: start anew. */
		groups_free(next, n);
		groups_free(f->groups, f->n_groups);
		f->groups = NULL;
		f->n_groups = 0;
		return r;
	}
	groups_free(f->groups, f->n_groups);
	f->groups = next;
	f->n_groups = n;
	return 0;
}

/* ---- backups ---- */

uint64_t pit_number_of(const struct snapshot *s, const char *key)
{
	const struct property *p = snapshot_get(s, key);

	if (!p)
		return 0;
	return p->type == PROPERTY_TEXT ? strtoull(p->text, NULL, 10) : p->number;
}

struct lsn pit_lsn_of(const struct snapshot *s, const char *key)
{
	const struct property *p = snapshot_get(s, key);
	struct lsn l = {0};

	if (p && p->type == PROPERTY_TEXT)
		lsn_parse(p->text, strlen(p->text), &l);
	return l;
}

static int load_backup(struct shelf *f, const char *id, const struct backup **ret, struct err *e)
{
	struct snapshot *snap = NULL;
	struct backup *b;
	uint64_t size;
	int r;

	for (size_t i = 0; i < f->n_backups; i++)
		if (!strcmp(f->backups[i]->snap->id, id)) {
			*ret = f->backups[i];
			return 0;
		}
	r = snapshot_load(f->store, f->cluster, SNAPSHOT_BASE, id, &snap, e);
	if (r < 0)
		return r;
	b = grow(&f->backups, f->n_backups, sizeof(*f->backups)) ? calloc(1, sizeof(*b)) : NULL;
	if (!b) {
		snapshot_free(snap);
		return err_sys(e, -ENOMEM, "backup %s", id);
	}
	size = pit_number_of(snap, "wal_segment_size");
	*b = (struct backup){.snap = snap,
		.tli = {(uint32_t)pit_number_of(snap, "timeline")},
		.start = pit_lsn_of(snap, "start_lsn"),
		.stop = pit_lsn_of(snap, "stop_lsn"),
		.pg_major = (unsigned)pit_number_of(snap, "pg_version"),
		.segment_size = size <= UINT32_MAX && wal_segsize_ok((uint32_t)size) ? (uint32_t)size : 0,
		.own_wal = pit_number_of(snap, "wal_included")};
	*ret = f->backups[f->n_backups++] = b;
	return 0;
}

/* Listings come every second. */
static void warn_once(struct shelf *f, const char *id, const char *why)
{
	const char *kept;

	if (keep_text(f, why, &kept) > 0)
		log_msg(f->log, LOG_LEVEL_WARNING, "backup %s is passed over: %s", id, why);
}

/* A snapshot that cannot be read is one backup less, not the end. */
static int add_backups(struct shelf *f, struct inventory *i, struct err *e)
{
	struct snapshot_list l = {0};
	int r = snapshot_list(f->store, f->cluster, SNAPSHOT_BASE, &l, e);

	if (r < 0)
		return r;
	i->backups = calloc(l.n + 1, sizeof(const struct backup *));
	if (!i->backups)
		r = err_sys(e, -ENOMEM, "backups");
	for (size_t k = 0; k < l.n && !r; k++) {
		struct err why = {0};
		int r2 = load_backup(f, l.refs[k].id, &i->backups[i->n_backups], &why);

		if (r2 == -ENOMEM)
			r = err_sys(e, r2, "backups");
		else if (r2 < 0 && r2 != -ENOENT) /* which is: pruned since it was listed */
			warn_once(f, l.refs[k].id, why.text);
		else if (!r2)
			i->n_backups++;
	}
	snapshot_list_free(&l);
	return r;
}

/* ---- timelines ---- */

static int add_history(struct shelf *f, struct timeline *t, struct err *e)
{
	struct timeline_history *h = NULL;
	struct err why = {0};
	int r;

	for (size_t i = 0; i < f->n_histories; i++)
		if (f->histories[i].tli.v == t->tli.v) {
			t->history = f->histories[i].h;
			return 0;
		}
	r = pages_history(f->store, f->cluster, t->tli, &h, &why);
	if (r == -ENOMEM || !grow(&f->histories, f->n_histories, sizeof(*f->histories))) {
		timeline_history_free(h);
		return err_sys(e, -ENOMEM, "timeline histories");
	}
	if (r < 0) {
		t->history_r = r;
		return keep_text(f, why.text, &t->history_why) < 0 ? err_sys(e, -ENOMEM, "timeline histories")
								   : 0;
	}
	f->histories[f->n_histories++] = (struct kept_history){t->tli, h};
	t->history = h;
	return 0;
}

/* The timeline's place, made when it is new. */
static struct timeline *need_timeline(struct inventory *i, struct tli t)
{
	size_t at = 0;

	while (at < i->n_timelines && i->timelines[at].tli.v < t.v)
		at++;
	if (at < i->n_timelines && i->timelines[at].tli.v == t.v)
		return &i->timelines[at];
	if (!grow(&i->timelines, i->n_timelines, sizeof(*i->timelines)))
		return NULL;
	memmove(&i->timelines[at + 1], &i->timelines[at], (i->n_timelines - at) * sizeof(*i->timelines));
	i->timelines[at] = (struct timeline){.tli = t};
	i->n_timelines++;
	return &i->timelines[at];
}

/* The timeline in the first eight digits of a group's name. */
static struct tli group_tli(const char *name)
{
	char digits[9];

	snprintf(digits, sizeof(digits), "%.8s", name);
	return (struct tli){
		strspn(digits, "0123456789ABCDEF") == 8 ? (uint32_t)strtoul(digits, NULL, 16) : 0};
}

static int add_timelines(struct shelf *f, struct inventory *i, char *const *groups, struct err *e)
{
	for (size_t k = 0; k < f->n_groups; k++) {
		const struct group *g = &f->groups[k];
		struct timeline *t = g->n ? need_timeline(i, group_tli(g->name)) : NULL;

		for (size_t j = 0; j < g->n; j++)
			if (!t || !add_stretch(&t->v, &t->n, g->v[j]))
				return err_sys(e, -ENOMEM, "timelines");
	}
	/* Also those of which only the history came, or a backup. */
	for (size_t k = 0; groups[k]; k++)
		if (strlen(groups[k]) == 9 && groups[k][8] == '.' && group_tli(groups[k]).v > 1 &&
			!need_timeline(i, group_tli(groups[k])))
			return err_sys(e, -ENOMEM, "timelines");
	for (size_t k = 0; k < i->n_backups; k++)
		if (i->backups[k]->tli.v && !need_timeline(i, i->backups[k]->tli))
			return err_sys(e, -ENOMEM, "timelines");
	for (size_t k = 0; k < i->n_timelines; k++) {
		int r = add_history(f, &i->timelines[k], e);

		if (r < 0)
			return r;
	}
	return 0;
}

/* What a receiver has of segments that are not archived yet. One that goes meanwhile is in the archive next time. */
static int add_partials(struct shelf *f, struct inventory *i, struct err *e)
{
	_cleanup_(strv_freep) char **names = NULL;
	int r = wal_partial_names(f->store, f->cluster, &names, e);

	for (size_t k = 0; !r && names[k]; k++) {
		struct wal_partial_info info;
		struct partial p = {0};

		if (wal_partial_stat(f->store, f->cluster, names[k], &info, NULL) < 0 || !info.length)
			continue;
		if (!f->segment_size)
			f->segment_size = info.segment_size;
		if (info.segment_size != f->segment_size ||
			!wal_name_parse(names[k], strlen(names[k]), f->segment_size, &p.tli, &p.no))
			continue;
		p.length = info.length;
		p.put = info.put;
		if (!grow(&i->partials, i->n_partials, sizeof(*i->partials)) || !need_timeline(i, p.tli))
			return err_sys(e, -ENOMEM, "partial segments");
		i->partials[i->n_partials++] = p;
	}
	return r;
}

static int refresh(struct shelf *f, struct err *e)
{
	_cleanup_(inventory_unrefp) struct inventory *i = calloc(1, sizeof(*i));
	_cleanup_(strv_freep) char **groups = NULL;
	int r = i ? f->source->groups(f->store, f->cluster, &groups, e) : err_sys(e, -ENOMEM, "inventory");

	if (r < 0)
		return r;
	atomic_init(&i->refs, 1);
	r = add_backups(f, i, e);
	for (size_t k = i->n_backups; k-- > 0 && !f->segment_size;)
		f->segment_size = i->backups[k]->segment_size;
	if (!r)
		r = learn_size(f, groups, e);
	if (!r)
		r = refresh_groups(f, groups, e);
	if (!r)
		r = add_partials(f, i, e);
	if (!r)
		r = add_timelines(f, i, groups, e);
	if (r < 0)
		return r;
	i->segment_size = f->segment_size;
	inventory_unref(f->now);
	f->now = MOVE(i);
	return 0;
}

int shelf_inventory(struct shelf *f, struct inventory **ret, struct err *e)
{
	uint64_t now = clock_mono_ns();
	int r = 0;

	pthread_mutex_lock(&f->lock);
	if (!f->now || now - f->made_ns >= FRESH_NS) {
		r = refresh(f, e);
		/* What a listing that took long found is as old as its beginning. */
		if (!r)
			f->made_ns = now;
	}
	if (!r) {
		*ret = f->now;
		atomic_fetch_add(&f->now->refs, 1);
	}
	pthread_mutex_unlock(&f->lock);
	return r;
}
