/* at/ of a cluster: points in time.
 *
 * Every well-formed target (src/pit/target.h) is a directory, listed or not; one that cannot be reached is not there, and
 * the log says why. What a target resolves to is found once, when it is first looked up, and stays: only `latest` is asked
 * again after a second, and becomes another directory, with another number, when it leads elsewhere. Another spelling of
 * the same moment is another directory, since a directory can have one name only.
 *
 * Bounds: beyond POINTS_MANY points, each new one sends away the one that was not looked up longest: the kernel is asked to
 * forget it, and when it has, and nobody has anything of it open (ns_object.held), it goes. There are never more than
 * POINTS_MAX. What is listed is remembered for good, by name and number: it
 * grows by a few lines a day. Nothing listed is resolved before it is looked up.
 *
 * Invariant: what is below a target never changes. Non-goal: deciding what can be reached (src/pit). */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fs/driver.h"
#include "fs/fs.h"
#include "fs/listing.h"
#include "fs/ns_point.h"
#include "src/base/clean.h"
#include "src/base/clock.h"

#define LISTED_MAX 300
#define POINTS_MANY 512
#define POINTS_MAX 4096
#define FRESH UINT64_C(1000000000) /* nanoseconds that `latest` is good for */

/* A name of the listing: only its number. */
struct listed {
	struct ns_object obj;
	uint64_t first_ino;
	uint32_t position;
};

/* A target that was resolved. */
struct point {
	char *name;   /* NULL: an older `latest` */
	bool leaving; /* goes as soon as nobody holds it */
	struct ns_object *snapshot;
	uint64_t resolved, used; /* clock_mono_ns */
	/* What tells one `latest` from the next. */
	char *backup;
	struct tli tli;
	struct lsn to;
};

struct ns_at {
	struct ns_object obj;
	char *cluster;
	uint64_t ino, parent;
	uint32_t position;
	struct tstamp born;
	struct pit *pit;
	struct listing listed;

	/* Rank: above the inode table's; guards all below; not held while something is resolved. */
	pthread_mutex_t lock;
	struct point *points;
	size_t n;
};

CLEANUP_DEFINE(struct ns_object, ns_free)

/* ---- the listing ---- */

static int fetch(void *arg, struct listing *l, struct err *e);
static int make(void *arg, const char *name, uint32_t position, struct ns_object **ret, struct err *e);

static struct listing_source source_of(struct ns_at *a)
{
	return (struct listing_source){.fetch = fetch, .make = make, .arg = a};
}

struct fetcher {
	struct ns_at *at;
	struct listing *listing;
};

static int put_target(void *arg, const struct target *t, struct tstamp time, struct err *e)
{
	struct fetcher *f = arg;
	const struct listing_source src = source_of(f->at);
	char name[TARGET_TEXT];

	(void)time;
	return listing_put(f->listing, &src, target_name(t, name), e);
}

static int fetch(void *arg, struct listing *l, struct err *e)
{
	struct fetcher f = {arg, l};

	return pit_list(f.at->pit, LISTED_MAX, put_target, &f, e);
}

static void listed_free(struct ns_object *o)
{
	free(o);
}

static int make(void *arg, const char *name, uint32_t position, struct ns_object **ret, struct err *e)
{
	static const struct ns_ops ops = {.name = "listed", .free = listed_free};
	struct ns_at *a = arg;
	struct listed *l = calloc(1, sizeof(*l));
	int r;

	if (!l)
		return err_set(e, -ENOMEM, "no memory for %s", name);
	l->obj.ops = &ops;
	l->obj.fs = a->obj.fs;
	l->position = position;
	r = inode_range(a->obj.fs->inodes, NS_SNAPSHOT_INODES, &l->first_ino, e);
	if (r < 0) {
		free(l);
		return r;
	}
	*ret = &l->obj;
	return 0;
}

static int list(struct ns_object *o, const struct node *dir, uint64_t position, ns_emit *emit, void *arg,
	struct err *e)
{
	struct ns_at *a = (struct ns_at *)o;
	const struct listing_source src = source_of(a);
	const struct listing_item *it;
	struct err why = {0};

	(void)dir;
	(void)e;
	if (listing_refresh(&a->listed, &src, &why) < 0)
		complain(o->fs->complaints, a->cluster, &why);
	for (uint64_t i = position; (it = listing_at(&a->listed, &i)); i++) {
		const struct listed *l = (const struct listed *)it->obj;
		struct node n = ns_made_dir(o, l->first_ino, a->ino, l->position);
		int r;

		n.flags = NODE_NAME_ONLY;
		r = emit(arg, it->name, i + 1, &n);
		if (r)
			return r;
	}
	return 0;
}

/* ---- points ---- */

static void point_release(struct point *p)
{
	free(p->name);
	free(p->backup);
	ns_free(p->snapshot);
	*p = (struct point){0};
}

/* The point with that name, or NULL. The lock is held. */
static struct point *find(struct ns_at *a, const char *name)
{
	for (size_t i = 0; i < a->n; i++)
		if (a->points[i].name && !strcmp(a->points[i].name, name))
			return &a->points[i];
	return NULL;
}

/* `latest`, or `latest` of a timeline: no other target begins so. */
static bool is_latest(const struct point *p)
{
	return !strncmp(p->name, "latest", 6);
}

/* May it be shown without asking again? */
static bool is_good(const struct point *p)
{
	return !is_latest(p) || clock_mono_ns() - p->resolved < FRESH;
}

static void hand_out(struct point *p, struct node *ret)
{
	p->used = clock_mono_ns();
	p->leaving = false;
	p->snapshot->ops->self(p->snapshot, ret);
	ns_hold(p->snapshot);
	ret->flags |= NODE_HELD | (is_latest(p) ? NODE_BRIEF_NAME : 0);
}

/* Ends what is leaving and not held. The lock is held, and nodes are handed out under it, so that what is not held here
 * cannot be any more. */
static void sweep(struct ns_at *a)
{
	size_t kept = 0;

	for (size_t i = 0; i < a->n; i++) {
		if (a->points[i].leaving && !atomic_load(&a->points[i].snapshot->held))
			point_release(&a->points[i]);
		else
			a->points[kept++] = a->points[i];
	}
	a->n = kept;
}

/* Room for one more. The lock is held. */
static int make_room(struct ns_at *a, struct err *e)
{
	struct point *oldest = NULL;

	for (size_t i = 0; a->n >= POINTS_MANY && i < a->n; i++)
		if (!a->points[i].leaving && (!oldest || a->points[i].used < oldest->used))
			oldest = &a->points[i];
	if (oldest) {
		oldest->leaving = true;
		driver_let_go(a->obj.fs, a->ino, oldest->name);
	}
	sweep(a);
	return a->n < POINTS_MAX
		       ? 0
		       : err_set(e, -ENOMEM, "%u points in time are in use; no more can be", POINTS_MAX);
}

static bool same_way(const struct point *p, const struct pit_point *way)
{
	return !strcmp(p->backup, way->backup->id) && p->tli.v == way->tli.v && p->to.v == way->to.v;
}

/* The number of a new point: that which the listing shows, unless another `latest` has it. The lock is held. */
static int number_of(struct ns_at *a, const char *name, uint64_t *ret, struct err *e)
{
	struct ns_object *o = listing_find(&a->listed, name);
	uint64_t first = o ? ((struct listed *)o)->first_ino : 0;
	struct node top;

	for (size_t i = 0; first && i < a->n; i++) {
		a->points[i].snapshot->ops->self(a->points[i].snapshot, &top);
		if (top.ino == first)
			first = 0;
	}
	*ret = first;
	return first ? 0 : inode_range(a->obj.fs->inodes, NS_SNAPSHOT_INODES, ret, e);
}

/* Adds what was resolved, unless another thread was faster. The lock is held. */
static int add(struct ns_at *a, const char *name, const struct pit_point *way, struct overlay *over,
	struct point **ret, struct err *e)
{
	_cleanup_(ns_freep) struct ns_object *snapshot = NULL;
	_cleanup_(freep) char *copy = strdup(name), *backup = strdup(way->backup->id);
	struct point *p = find(a, name);
	uint64_t first;
	int r;

	if (p && (is_good(p) || same_way(p, way))) {
		p->resolved = clock_mono_ns();
		*ret = p;
		return 0;
	}
	if (p) {
		free(p->name);
		p->name = NULL;
		p->leaving = true;
	}
	if (!copy || !backup)
		return err_set(e, -ENOMEM, "no memory for %s", name);
	r = make_room(a, e);
	if (r >= 0)
		r = number_of(a, name, &first, e);
	if (r >= 0)
		r = ns_snapshot_new_over(
			a->obj.fs, a->cluster, way->backup->id, first, a->ino, over, &snapshot, e);
	if (r < 0)
		return r;
	a->points[a->n] = (struct point){.name = MOVE(copy),
		.backup = MOVE(backup),
		.snapshot = MOVE(snapshot),
		.resolved = clock_mono_ns(),
		.tli = way->tli,
		.to = way->to};
	*ret = &a->points[a->n++];
	return 0;
}

static int resolve(struct ns_at *a, const char *name, const struct target *t, struct node *ret, struct err *e)
{
	_cleanup_(pit_point_release) struct pit_point way = {0};
	_cleanup_(overlay_release) struct overlay over = {0};
	struct point *p = NULL;
	int r = pit_resolve(a->pit, t, &way, e);

	if (r >= 0)
		r = ns_point_overlay(a->obj.fs, a->cluster, name, &way, &over, e);
	if (r < 0)
		return r;
	pthread_mutex_lock(&a->lock);
	r = add(a, name, &way, &over, &p, e);
	if (r >= 0)
		hand_out(p, ret);
	pthread_mutex_unlock(&a->lock);
	return r;
}

static int lookup(
	struct ns_object *o, const struct node *dir, const char *name, struct node *ret, struct err *e)
{
	struct ns_at *a = (struct ns_at *)o;
	struct target t;
	struct point *p;
	char line[TARGET_TEXT + 80];
	struct err why = {0};
	int r;

	(void)dir;
	pthread_mutex_lock(&a->lock);
	p = find(a, name);
	if (p && is_good(p))
		hand_out(p, ret);
	else
		p = NULL;
	pthread_mutex_unlock(&a->lock);
	if (p)
		return 0;
	r = target_parse(name, &t, &why);
	if (r >= 0)
		r = resolve(a, name, &t, ret, &why);
	if (r == -EINVAL || r == -ENOENT) {
		snprintf(line, sizeof(line), "%s/at/%.*s", a->cluster, TARGET_TEXT, name);
		complain(o->fs->complaints, line, &why);
		r = -ENOENT;
	}
	return r < 0 ? err_set(e, r, "%s", why.text) : 0;
}

/* ---- the object ---- */

static void self(struct ns_object *o, struct node *ret)
{
	struct ns_at *a = (struct ns_at *)o;

	*ret = ns_made_dir(o, a->ino, a->parent, a->position);
	ret->mtime = a->born.sec;
	ret->mtime_ns = a->born.nsec;
}

static char *path(struct ns_object *o, const struct node *n)
{
	struct ns_at *a = (struct ns_at *)o;
	char *p = NULL;

	(void)n;
	return asprintf(&p, "%s/at", a->cluster) < 0 ? NULL : p;
}

static void at_free(struct ns_object *o)
{
	struct ns_at *a = (struct ns_at *)o;

	for (size_t i = 0; i < a->n; i++)
		point_release(&a->points[i]);
	listing_release(&a->listed);
	pthread_mutex_destroy(&a->lock);
	pit_free(a->pit);
	free(a->points);
	free(a->cluster);
	free(a);
}

static const struct ns_ops at_ops = {
	.name = "at",
	.self = self,
	.lookup = lookup,
	.list = list,
	.path = path,
	.free = at_free,
};

int ns_at_new(struct fs *fs, const char *cluster, uint64_t parent, uint32_t position, struct ns_object **ret,
	struct err *e)
{
	struct ns_at *a = calloc(1, sizeof(*a));
	int r = 0;

	if (!a)
		return err_set(e, -ENOMEM, "no memory for cluster %s", cluster);
	a->obj.ops = &at_ops;
	a->obj.fs = fs;
	a->parent = parent;
	a->position = position;
	a->born = clock_now();
	pthread_mutex_init(&a->lock, NULL);
	listing_init(&a->listed);
	a->cluster = strdup(cluster);
	a->points = calloc(POINTS_MAX, sizeof(*a->points));
	if (!a->cluster || !a->points)
		r = err_set(e, -ENOMEM, "no memory for cluster %s", cluster);
	if (r >= 0)
		r = inode_range(fs->inodes, 1, &a->ino, e);
	if (r >= 0)
		r = pit_new(fs->store, cluster, fs->log, &a->pit, e);
	if (r < 0) {
		at_free(&a->obj);
		return r;
	}
	*ret = &a->obj;
	return 0;
}
