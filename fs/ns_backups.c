/* backups/ of a cluster: a directory for each base backup, and `latest`.
 *
 * Positions: `latest` has 0, the backups follow as they were seen. `latest` is another link (with another
 * inode number) whenever it points to another backup, so that a link never changes and may be cached for
 * good; only the name is looked up again. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fs/fs.h"
#include "fs/listing.h"

#define LATEST "latest"
#define FIRST_BACKUP 1

struct ns_backups {
	struct ns_object obj;
	char *cluster;
	uint64_t ino, parent;
	uint32_t position;
	struct listing ids;
};

static int fetch(void *arg, struct listing *l, struct err *e);
static int make(void *arg, const char *name, uint32_t position, struct ns_object **ret, struct err *e);

static struct listing_source source_of(struct ns_backups *b)
{
	return (struct listing_source){.fetch = fetch, .make = make, .arg = b};
}

static int fetch(void *arg, struct listing *l, struct err *e)
{
	struct ns_backups *b = arg;
	const struct listing_source src = source_of(b);
	struct snapshot_list ids = {0};
	int r = snapshot_list(b->obj.fs->store, b->cluster, SNAPSHOT_BASE, &ids, e);

	if (r < 0)
		return r;
	for (size_t i = 0; r >= 0 && i < ids.n; i++)
		r = listing_put(l, &src, ids.refs[i].id, e);
	snapshot_list_free(&ids);
	return r;
}

static int make(void *arg, const char *name, uint32_t position, struct ns_object **ret, struct err *e)
{
	struct ns_backups *b = arg;

	return ns_snapshot_new(
		b->obj.fs, b->cluster, SNAPSHOT_BASE, name, b->ino, position + FIRST_BACKUP, ret, e);
}

/* The ids as they are now, or as they were when the repository does not answer. */
static void update(struct ns_backups *b)
{
	const struct listing_source src = source_of(b);
	struct err e = {0};

	if (listing_refresh(&b->ids, &src, &e) < 0)
		complain(b->obj.fs->complaints, b->cluster, &e);
}

static void refresh(struct ns_object *o, struct node *n)
{
	struct ns_backups *b = (struct ns_backups *)o;
	const struct listing_item *last;
	struct node dir;

	update(b);
	last = listing_last(&b->ids, snapshot_id_cmp);
	if (!last)
		return;
	/* A listing is as old as the newest thing in it: the same on every mount of the repository. */
	last->obj->ops->self(last->obj, &dir);
	n->mtime = dir.mtime;
	n->mtime_ns = dir.mtime_ns;
}

static void self(struct ns_object *o, struct node *ret)
{
	struct ns_backups *b = (struct ns_backups *)o;

	*ret = ns_made_dir(o, b->ino, b->parent, b->position);
	ret->flags |= NODE_BRIEF_ATTR;
	refresh(o, ret);
}

static void backup_node(struct ns_object *snapshot, struct node *ret)
{
	snapshot->ops->self(snapshot, ret);
	ret->flags |= NODE_BRIEF_NAME;
}

static int lookup(
	struct ns_object *o, const struct node *dir, const char *name, struct node *ret, struct err *e)
{
	struct ns_backups *b = (struct ns_backups *)o;
	const struct listing_item *last;
	struct ns_object *found;

	(void)dir;
	update(b);
	if (!strcmp(name, LATEST)) {
		last = listing_last(&b->ids, snapshot_id_cmp);
		if (!last)
			return err_set(e, -ENOENT, "cluster %s has no backup", b->cluster);
		ns_snapshot_latest(last->obj, ret);
		return 0;
	}
	found = listing_find(&b->ids, name);
	if (!found)
		return err_set(e, -ENOENT, "cluster %s has no backup %s", b->cluster, name);
	backup_node(found, ret);
	return 0;
}

static int list(struct ns_object *o, const struct node *dir, uint64_t position, ns_emit *emit, void *arg,
	struct err *e)
{
	struct ns_backups *b = (struct ns_backups *)o;
	const struct listing_item *it;
	struct node n;
	int r;

	(void)dir;
	(void)e;
	update(b);
	if (position < FIRST_BACKUP) {
		it = listing_last(&b->ids, snapshot_id_cmp);
		if (!it)
			return 0;
		ns_snapshot_latest(it->obj, &n);
		r = emit(arg, LATEST, FIRST_BACKUP, &n);
		if (r)
			return r;
		position = FIRST_BACKUP;
	}
	for (uint64_t i = position - FIRST_BACKUP; (it = listing_at(&b->ids, &i)); i++) {
		backup_node(it->obj, &n);
		r = emit(arg, it->name, i + 1 + FIRST_BACKUP, &n);
		if (r)
			return r;
	}
	return 0;
}

static char *path(struct ns_object *o, const struct node *n)
{
	struct ns_backups *b = (struct ns_backups *)o;
	char *p = NULL;

	(void)n;
	return asprintf(&p, "%s/backups", b->cluster) < 0 ? NULL : p;
}

static void backups_free(struct ns_object *o)
{
	struct ns_backups *b = (struct ns_backups *)o;

	listing_release(&b->ids);
	free(b->cluster);
	free(b);
}

static const struct ns_ops backups_ops = {
	.name = "backups",
	.self = self,
	.lookup = lookup,
	.list = list,
	.refresh = refresh,
	.path = path,
	.free = backups_free,
};

int ns_backups_new(struct fs *fs, const char *cluster, uint64_t parent, uint32_t position,
	struct ns_object **ret, struct err *e)
{
	struct ns_backups *b = calloc(1, sizeof(*b));
	int r;

	if (!b)
		return err_set(e, -ENOMEM, "no memory for cluster %s", cluster);
	b->obj = (struct ns_object){.ops = &backups_ops, .fs = fs};
	b->parent = parent;
	b->position = position;
	listing_init(&b->ids);
	b->cluster = strdup(cluster);
	r = b->cluster ? inode_range(fs->inodes, 1, &b->ino, e)
		       : err_set(e, -ENOMEM, "no memory for cluster %s", cluster);
	if (r < 0) {
		backups_free(&b->obj);
		return r;
	}
	*ret = &b->obj;
	return 0;
}
