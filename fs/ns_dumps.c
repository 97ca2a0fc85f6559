/* dumps/ of a cluster: a directory for each database, in it one for each of its dumps, and `latest`.
 *
 * Which database a dump is of its snapshot says, so each is loaded once, when it is first seen. Databases are named like
 * tables are: what a file cannot be called is percent-encoded (src/pg/dump_text.h). */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fs/fs.h"
#include "fs/listing.h"
#include "src/base/buf.h"
#include "src/base/clean.h"
#include "src/pg/dump_text.h"

#define LATEST "latest"
#define FIRST_DUMP 1

CLEANUP_DEFINE(struct snapshot, snapshot_free)

struct known {
	char *id;
	char *database; /* as the directory is named */
};

struct ns_dumps {
	struct ns_object obj;
	char *cluster;
	uint64_t ino, parent;
	uint32_t position;
	struct listing databases;

	pthread_mutex_t lock; /* rank: below a listing's, above the inode table's; guards what follows */
	struct known *known;  /* by id */
	size_t n;
};

/* One database. */
struct ns_database {
	struct ns_object obj;
	struct ns_dumps *dumps;
	char *name;
	uint64_t ino;
	uint32_t position;
	struct listing ids;
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

	if (snapshot_load(d->obj.fs->store, d->cluster, SNAPSHOT_DUMP, id, &snap, e) < 0)
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
	int r = snapshot_list(d->obj.fs->store, d->cluster, SNAPSHOT_DUMP, &l, e);

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
			complain(d->obj.fs->complaints, d->cluster, &why);
		free(v[n].id);
		free(v[n].database);
		v[n] = (struct known){0};
	}
	snapshot_list_free(&l);
	if (!v)
		return err_set(e, -ENOMEM, "no memory for the dumps of cluster %s", d->cluster);
	release_known(d->known, d->n);
	d->known = v;
	d->n = n;
	return 0;
}

/* ---- a database's directory ---- */

static int make_dump(void *arg, const char *name, uint32_t position, struct ns_object **ret, struct err *e)
{
	struct ns_database *b = arg;

	return ns_snapshot_new(
		b->obj.fs, b->dumps->cluster, SNAPSHOT_DUMP, name, b->ino, position + FIRST_DUMP, ret, e);
}

static int fetch_dumps(void *arg, struct listing *l, struct err *e)
{
	struct ns_database *b = arg;
	const struct listing_source src = {.fetch = fetch_dumps, .make = make_dump, .arg = b};
	int r;

	pthread_mutex_lock(&b->dumps->lock);
	r = learn(b->dumps, e);
	for (size_t i = 0; r >= 0 && i < b->dumps->n; i++)
		if (!strcmp(b->dumps->known[i].database, b->name))
			r = listing_put(l, &src, b->dumps->known[i].id, e);
	pthread_mutex_unlock(&b->dumps->lock);
	return r;
}

/* As they are now, or as they were when the repository does not answer. */
static void update_database(struct ns_database *b)
{
	const struct listing_source src = {.fetch = fetch_dumps, .make = make_dump, .arg = b};
	struct err e = {0};

	if (listing_refresh(&b->ids, &src, &e) < 0)
		complain(b->obj.fs->complaints, b->dumps->cluster, &e);
}

static void refresh_database(struct ns_object *o, struct node *n)
{
	struct ns_database *b = (struct ns_database *)o;
	const struct listing_item *last;
	struct node dir;

	update_database(b);
	last = listing_last(&b->ids, snapshot_id_cmp);
	if (!last)
		return;
	last->obj->ops->self(last->obj, &dir);
	n->mtime = dir.mtime;
	n->mtime_ns = dir.mtime_ns;
}

static void database_self(struct ns_object *o, struct node *ret)
{
	struct ns_database *b = (struct ns_database *)o;

	*ret = ns_made_dir(o, b->ino, b->dumps->ino, b->position);
	ret->flags |= NODE_BRIEF_ATTR | NODE_BRIEF_NAME;
	refresh_database(o, ret);
}

static void dump_node(struct ns_object *snapshot, struct node *ret)
{
	snapshot->ops->self(snapshot, ret);
	ret->flags |= NODE_BRIEF_NAME;
}

static int database_lookup(
	struct ns_object *o, const struct node *dir, const char *name, struct node *ret, struct err *e)
{
	struct ns_database *b = (struct ns_database *)o;
	const struct listing_item *last;
	struct ns_object *found;

	(void)dir;
	update_database(b);
	last = listing_last(&b->ids, snapshot_id_cmp);
	if (last && !strcmp(name, LATEST)) {
		ns_snapshot_latest(last->obj, ret);
		return 0;
	}
	found = listing_find(&b->ids, name);
	if (!found)
		return err_set(e, -ENOENT, "database %s has no dump %s", b->name, name);
	dump_node(found, ret);
	return 0;
}

static int database_list(struct ns_object *o, const struct node *dir, uint64_t position, ns_emit *emit,
	void *arg, struct err *e)
{
	struct ns_database *b = (struct ns_database *)o;
	const struct listing_item *it;
	struct node n;
	int r;

	(void)dir;
	(void)e;
	update_database(b);
	it = listing_last(&b->ids, snapshot_id_cmp);
	if (position < FIRST_DUMP && it) {
		ns_snapshot_latest(it->obj, &n);
		r = emit(arg, LATEST, FIRST_DUMP, &n);
		if (r)
			return r;
	}
	if (position < FIRST_DUMP)
		position = FIRST_DUMP;
	for (uint64_t i = position - FIRST_DUMP; (it = listing_at(&b->ids, &i)); i++) {
		dump_node(it->obj, &n);
		r = emit(arg, it->name, i + 1 + FIRST_DUMP, &n);
		if (r)
			return r;
	}
	return 0;
}

static char *database_path(struct ns_object *o, const struct node *n)
{
	struct ns_database *b = (struct ns_database *)o;
	char *p = NULL;

	(void)n;
	return asprintf(&p, "%s/dumps/%s", b->dumps->cluster, b->name) < 0 ? NULL : p;
}

static void database_free(struct ns_object *o)
{
	struct ns_database *b = (struct ns_database *)o;

	listing_release(&b->ids);
	free(b->name);
	free(b);
}

static const struct ns_ops database_ops = {
	.name = "dumps of a database",
	.self = database_self,
	.lookup = database_lookup,
	.list = database_list,
	.refresh = refresh_database,
	.path = database_path,
	.free = database_free,
};

/* ---- dumps/ ---- */

static int make_database(
	void *arg, const char *name, uint32_t position, struct ns_object **ret, struct err *e)
{
	struct ns_dumps *d = arg;
	struct ns_database *b = calloc(1, sizeof(*b));
	int r;

	if (!b)
		return err_set(e, -ENOMEM, "no memory for database %s", name);
	b->obj = (struct ns_object){.ops = &database_ops, .fs = d->obj.fs};
	b->dumps = d;
	b->position = position;
	listing_init(&b->ids);
	b->name = strdup(name);
	r = b->name ? inode_range(d->obj.fs->inodes, 1, &b->ino, e)
		    : err_set(e, -ENOMEM, "no memory for database %s", name);
	if (r < 0) {
		database_free(&b->obj);
		return r;
	}
	*ret = &b->obj;
	return 0;
}

static int fetch_databases(void *arg, struct listing *l, struct err *e)
{
	struct ns_dumps *d = arg;
	const struct listing_source src = {.fetch = fetch_databases, .make = make_database, .arg = d};
	int r;

	pthread_mutex_lock(&d->lock);
	r = learn(d, e);
	for (size_t i = 0; r >= 0 && i < d->n; i++)
		r = listing_put(l, &src, d->known[i].database, e);
	pthread_mutex_unlock(&d->lock);
	return r;
}

static void update(struct ns_dumps *d)
{
	const struct listing_source src = {.fetch = fetch_databases, .make = make_database, .arg = d};
	struct err e = {0};

	if (listing_refresh(&d->databases, &src, &e) < 0)
		complain(d->obj.fs->complaints, d->cluster, &e);
}

static void self(struct ns_object *o, struct node *ret)
{
	struct ns_dumps *d = (struct ns_dumps *)o;

	*ret = ns_made_dir(o, d->ino, d->parent, d->position);
}

static int lookup(
	struct ns_object *o, const struct node *dir, const char *name, struct node *ret, struct err *e)
{
	struct ns_dumps *d = (struct ns_dumps *)o;
	struct ns_object *found;

	(void)dir;
	update(d);
	found = listing_find(&d->databases, name);
	if (!found)
		return err_set(e, -ENOENT, "cluster %s has no dumps of a database %s", d->cluster, name);
	found->ops->self(found, ret);
	return 0;
}

static int list(struct ns_object *o, const struct node *dir, uint64_t position, ns_emit *emit, void *arg,
	struct err *e)
{
	struct ns_dumps *d = (struct ns_dumps *)o;
	const struct listing_item *it;

	(void)dir;
	(void)e;
	update(d);
	for (; (it = listing_at(&d->databases, &position)); position++) {
		struct node n;
		int r;

		it->obj->ops->self(it->obj, &n);
		r = emit(arg, it->name, position + 1, &n);
		if (r)
			return r;
	}
	return 0;
}

static char *path(struct ns_object *o, const struct node *n)
{
	char *p = NULL;

	(void)n;
	return asprintf(&p, "%s/dumps", ((struct ns_dumps *)o)->cluster) < 0 ? NULL : p;
}

static void dumps_free(struct ns_object *o)
{
	struct ns_dumps *d = (struct ns_dumps *)o;

	listing_release(&d->databases);
	release_known(d->known, d->n);
	pthread_mutex_destroy(&d->lock);
	free(d->cluster);
	free(d);
}

static const struct ns_ops dumps_ops = {
	.name = "dumps",
	.self = self,
	.lookup = lookup,
	.list = list,
	.path = path,
	.free = dumps_free,
};

int ns_dumps_new(struct fs *fs, const char *cluster, uint64_t parent, uint32_t position,
	struct ns_object **ret, struct err *e)
{
	struct ns_dumps *d = calloc(1, sizeof(*d));
	int r;

	if (!d)
		return err_set(e, -ENOMEM, "no memory for cluster %s", cluster);
	d->obj = (struct ns_object){.ops = &dumps_ops, .fs = fs};
	d->parent = parent;
	d->position = position;
	pthread_mutex_init(&d->lock, NULL);
	listing_init(&d->databases);
	d->cluster = strdup(cluster);
	r = d->cluster ? inode_range(fs->inodes, 1, &d->ino, e)
		       : err_set(e, -ENOMEM, "no memory for cluster %s", cluster);
	if (r < 0) {
		dumps_free(&d->obj);
		return r;
	}
	*ret = &d->obj;
	return 0;
}
