/* See ns_names.h. */
#include "fs/ns_names.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LATEST "latest"

struct listing_source ns_names_source(struct ns_names *d)
{
	return (struct listing_source){
		.fetch = d->kind->fetch, .make = d->kind->make, .same = d->kind->same, .arg = d};
}

static uint64_t first(const struct ns_names *d)
{
	return d->kind->latest ? 1 : 0;
}

uint32_t ns_names_position(const struct ns_names *d, uint32_t position)
{
	return (uint32_t)first(d) + position;
}

/* The names as they are now, or as they were when the repository does not answer. */
static void update(struct ns_names *d)
{
	const struct listing_source src = ns_names_source(d);
	struct err e = {0};

	if (listing_refresh(&d->names, &src, &e) < 0)
		complain(d->obj.fs->complaints, d->cluster, &e);
}

/* What `latest` points to, or NULL. */
static const struct listing_item *newest(struct ns_names *d)
{
	return d->kind->latest ? listing_last(&d->names, snapshot_id_cmp) : NULL;
}

static void refresh(struct ns_object *o, struct node *n)
{
	struct ns_names *d = (struct ns_names *)o;
	const struct listing_item *last;
	struct node dir;

	update(d);
	last = newest(d);
	if (!last)
		return;
	/* A listing is as old as the newest thing in it: the same on every mount of the repository. */
	last->obj->ops->self(last->obj, &dir);
	n->mtime = dir.mtime;
	n->mtime_ns = dir.mtime_ns;
}

static void self(struct ns_object *o, struct node *ret)
{
	struct ns_names *d = (struct ns_names *)o;

	*ret = ns_made_dir(o, d->ino, d->parent, d->position);
	ret->flags |= d->name ? NODE_BRIEF_NAME : 0;
	if (!d->kind->latest)
		return;
	ret->flags |= NODE_BRIEF_ATTR;
	refresh(o, ret);
}

static void entry_node(struct ns_object *entry, struct node *ret)
{
	entry->ops->self(entry, ret);
	ret->flags |= NODE_BRIEF_NAME;
}

static int absent(const struct ns_names *d, const char *name, struct err *e)
{
	return err_set(e, -ENOENT, "%s %s has no %s %s", d->name ? "database" : "cluster",
		d->name ? d->name : d->cluster, d->kind->what, name);
}

static int lookup(
	struct ns_object *o, const struct node *dir, const char *name, struct node *ret, struct err *e)
{
	struct ns_names *d = (struct ns_names *)o;
	const struct listing_item *last;
	struct ns_object *found;

	(void)dir;
	update(d);
	last = newest(d);
	if (last && !strcmp(name, LATEST)) {
		ns_snapshot_latest(last->obj, ret);
		return 0;
	}
	found = listing_find(&d->names, name);
	if (!found)
		return absent(d, name, e);
	entry_node(found, ret);
	return 0;
}

static int list(struct ns_object *o, const struct node *dir, uint64_t position, ns_emit *emit, void *arg,
	struct err *e)
{
	struct ns_names *d = (struct ns_names *)o;
	const struct listing_item *it;
	struct node n;
	int r;

	(void)dir;
	(void)e;
	update(d);
	if (position < first(d)) {
		position = first(d);
		it = newest(d);
		if (it) {
			ns_snapshot_latest(it->obj, &n);
			r = emit(arg, LATEST, position, &n);
			if (r)
				return r;
		}
	}
	for (uint64_t i = position - first(d); (it = listing_at(&d->names, &i)); i++) {
		entry_node(it->obj, &n);
		r = emit(arg, it->name, i + 1 + first(d), &n);
		if (r)
			return r;
	}
	return 0;
}

static char *path(struct ns_object *o, const struct node *n)
{
	struct ns_names *d = (struct ns_names *)o;
	char *p = NULL;

	(void)n;
	return asprintf(&p, "%s/%s%s%s", d->cluster, d->kind->folder, d->name ? "/" : "",
		       d->name ? d->name : "") < 0
		       ? NULL
		       : p;
}

static void names_free(struct ns_object *o)
{
	struct ns_names *d = (struct ns_names *)o;

	listing_release(&d->names);
	if (d->kind->release)
		d->kind->release(d);
	free(d->cluster);
	free(d->name);
	free(d);
}

static const struct ns_ops names_ops = {
	.name = "names",
	.self = self,
	.lookup = lookup,
	.list = list,
	.refresh = refresh,
	.path = path,
	.free = names_free,
};

int ns_names_new(struct fs *fs, const struct ns_names_kind *kind, size_t size, const char *cluster,
	const char *name, uint64_t parent, uint32_t position, struct ns_names **ret, struct err *e)
{
	struct ns_names *d = calloc(1, size);
	int r;

	if (!d)
		return err_set(e, -ENOMEM, "no memory for %s of cluster %s", kind->folder, cluster);
	d->obj = (struct ns_object){.ops = &names_ops, .fs = fs};
	d->kind = kind;
	d->parent = parent;
	d->position = position;
	listing_init(&d->names);
	d->cluster = strdup(cluster);
	d->name = name ? strdup(name) : NULL;
	r = d->cluster && (d->name || !name)
		    ? inode_range(fs->inodes, 1, &d->ino, e)
		    : err_set(e, -ENOMEM, "no memory for %s of cluster %s", kind->folder, cluster);
	if (r < 0) {
		/* The provider has not set up its own part yet. */
		d->kind = &(const struct ns_names_kind){0};
		names_free(&d->obj);
		return r;
	}
	*ret = d;
	return 0;
}
