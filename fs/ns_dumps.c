/* dumps/ of a cluster: a directory for each database, in it one for each of its dumps, and `latest`.
 *
 * Which database a dump is of its snapshot says, so each is loaded once, when it is first seen. Databases are named like
 * tables are: what a file cannot be called is percent-encoded (src/pg/dump_text.h). */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "fs/ns_names.h"
#include "src/base/buf.h"
#include "src/base/clean.h"
#include "src/pg/dump_text.h"

#define FOLDER "dumps"

CLEANUP_DEFINE(struct snapshot, snapshot_free)

struct known {
	char *id;
	char *database; /* as the directory is named */
};

struct ns_dumps {
	struct ns_names dir; /* its names are databases */

	pthread_mutex_t lock; /* rank: below a listing's, above the inode table's; guards what follows */
	struct known *known;  /* by id */
	size_t n;
};

/* One database; its names are ids of dumps. */
struct ns_database {
	struct ns_names dir;
	struct ns_dumps *dumps;
};

/* ---- what is known of the snapshots ---- */

static int cmp_known(const void *key, const void *item)
{
	return snapshot_id_cmp(key, ((const struct known *)item)->id);
}

static char *database_of(struct ns_dumps *d, const char *id, struct err *e)
{
	_cleanup_(snapshot_freep) struct snapshot *snap = NULL;
	const struct property *p;
	struct buf b = {0};
	int r = snapshot_load(d->dir.obj.fs->store, d->dir.cluster, SNAPSHOT_DUMP, id, &snap, e);

	if (r == -ENOENT) /* pruned since it was listed */
		*e = (struct err){0};
	if (r < 0)
		return NULL;
	p = snapshot_get(snap, "database");
	dump_text_escape(p && p->type == PROPERTY_TEXT && *p->text ? p->text : "unknown", &b);
	return buf_steal_str(&b);
}

static void release_known(struct known *v, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		free(v[i].id);
		free(v[i].database);
	}
	free(v);
}

/* Brings `known` up to date; called with the lock. A snapshot that cannot be read is told of and left out. */
static int learn(struct ns_dumps *d, struct err *e)
{
	struct snapshot_list l = {0};
	struct known *v;
	size_t n = 0;
	int r = snapshot_list(d->dir.obj.fs->store, d->dir.cluster, SNAPSHOT_DUMP, &l, e);

	if (r < 0)
		return r;
	v = calloc(l.n + 1, sizeof(*v));
	for (size_t i = 0; v && i < l.n; i++) {
		const char *id = l.refs[i].id;
		struct known *old = d->n ? bsearch(id, d->known, d->n, sizeof(*d->known), cmp_known) : NULL;
		struct err why = {0};

		v[n] = old ? (struct known){strdup(id), strdup(old->database)}
			   : (struct known){strdup(id), database_of(d, id, &why)};
		if (v[n].id && v[n].database) {
			n++;
			continue;
		}
		if (why.code)
			complain(d->dir.obj.fs->complaints, d->dir.cluster, &why);
		free(v[n].id);
		free(v[n].database);
		v[n] = (struct known){0};
	}
	snapshot_list_free(&l);
	if (!v)
		return err_set(e, -ENOMEM, "no memory for the dumps of cluster %s", d->dir.cluster);
	release_known(d->known, d->n);
	d->known = v;
	d->n = n;
	return 0;
}

/* ---- a database's directory ---- */

static int make_dump(void *arg, const char *name, uint32_t position, struct ns_object **ret, struct err *e)
{
	struct ns_names *d = arg;

	return ns_snapshot_new(
		d->obj.fs, d->cluster, SNAPSHOT_DUMP, name, d->ino, ns_names_position(d, position), ret, e);
}

static int fetch_dumps(void *arg, struct listing *l, struct err *e)
{
	struct ns_database *b = arg;
	const struct listing_source src = ns_names_source(&b->dir);
	int r;

	pthread_mutex_lock(&b->dumps->lock);
	r = learn(b->dumps, e);
	for (size_t i = 0; r >= 0 && i < b->dumps->n; i++)
		if (!strcmp(b->dumps->known[i].database, b->dir.name))
			r = listing_put(l, &src, b->dumps->known[i].id, e);
	pthread_mutex_unlock(&b->dumps->lock);
	return r;
}

static const struct ns_names_kind database = {
	.folder = FOLDER,
	.what = "dump",
	.latest = true,
	.fetch = fetch_dumps,
	.make = make_dump,
	.same = ns_snapshot_same,
};

/* ---- dumps/ ---- */

static int make_database(
	void *arg, const char *name, uint32_t position, struct ns_object **ret, struct err *e)
{
	struct ns_dumps *d = arg;
	struct ns_names *b;
	int r = ns_names_new(d->dir.obj.fs, &database, sizeof(struct ns_database), d->dir.cluster, name,
		d->dir.ino, ns_names_position(&d->dir, position), &b, e);

	if (r < 0)
		return r;
	((struct ns_database *)b)->dumps = d;
	*ret = &b->obj;
	return 0;
}

static int cmp_names(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Each database once, however many dumps it has: a listing takes a name that it is told twice for two. */
static int put_databases(struct ns_dumps *d, struct listing *l, struct err *e)
{
	const struct listing_source src = ns_names_source(&d->dir);
	_cleanup_(freep) const char **names = calloc(d->n + 1, sizeof(*names));
	int r = names ? 0 : err_set(e, -ENOMEM, "no memory for the dumps of cluster %s", d->dir.cluster);

	for (size_t i = 0; names && i < d->n; i++)
		names[i] = d->known[i].database;
	if (names)
		qsort(names, d->n, sizeof(*names), cmp_names);
	for (size_t i = 0; r >= 0 && i < d->n; i++)
		if (!i || strcmp(names[i], names[i - 1]) != 0)
			r = listing_put(l, &src, names[i], e);
	return r;
}

static int fetch_databases(void *arg, struct listing *l, struct err *e)
{
	struct ns_dumps *d = arg;
	int r;

	pthread_mutex_lock(&d->lock);
	r = learn(d, e);
	if (r >= 0)
		r = put_databases(d, l, e);
	pthread_mutex_unlock(&d->lock);
	return r;
}

static void release(struct ns_names *dir)
{
	struct ns_dumps *d = (struct ns_dumps *)dir;

	release_known(d->known, d->n);
	pthread_mutex_destroy(&d->lock);
}

static const struct ns_names_kind dumps = {
	.folder = FOLDER,
	.what = "dumps of a database",
	.fetch = fetch_databases,
	.make = make_database,
	.release = release,
};

int ns_dumps_new(struct fs *fs, const char *cluster, uint64_t parent, uint32_t position,
	struct ns_object **ret, struct err *e)
{
	struct ns_names *d;
	int r = ns_names_new(fs, &dumps, sizeof(struct ns_dumps), cluster, NULL, parent, position, &d, e);

	if (r < 0)
		return r;
	pthread_mutex_init(&((struct ns_dumps *)d)->lock, NULL);
	*ret = &d->obj;
	return 0;
}
