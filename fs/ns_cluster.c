/* A cluster's directory: one subdirectory for each kind of thing that is kept of it.
 *
 * A new kind is a provider of its own and one line in `sections`. Where it has nothing to show in this mount it gives no
 * object. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fs/fs.h"
#include "src/base/clock.h"

static const struct {
	const char *name;
	ns_new *make;
} sections[] = {
	{"backups", ns_backups_new},
	{"dumps", ns_dumps_new},
	{"globals", ns_globals_new},
	{"wal", ns_wal_new},
	{"at", ns_at_new},
	{"open", ns_open_new},
};
#define N_SECTIONS (sizeof(sections) / sizeof(sections[0]))

struct ns_cluster {
	struct ns_object obj;
	char *name;
	uint64_t ino, parent;
	uint32_t position;
	struct tstamp born;
	struct ns_object *sections[N_SECTIONS];
};

static void self(struct ns_object *o, struct node *ret)
{
	struct ns_cluster *c = (struct ns_cluster *)o;

	*ret = ns_made_dir(o, c->ino, c->parent, c->position);
	ret->mtime = c->born.sec;
	ret->mtime_ns = c->born.nsec;
}

static int lookup(
	struct ns_object *o, const struct node *dir, const char *name, struct node *ret, struct err *e)
{
	struct ns_cluster *c = (struct ns_cluster *)o;

	(void)dir;
	for (size_t i = 0; i < N_SECTIONS; i++) {
		if (c->sections[i] && !strcmp(name, sections[i].name)) {
			c->sections[i]->ops->self(c->sections[i], ret);
			return 0;
		}
	}
	return err_set(e, -ENOENT, "nothing is called %s here", name);
}

static int list(struct ns_object *o, const struct node *dir, uint64_t position, ns_emit *emit, void *arg,
	struct err *e)
{
	struct ns_cluster *c = (struct ns_cluster *)o;

	(void)dir;
	(void)e;
	for (uint64_t i = position; i < N_SECTIONS; i++) {
		struct node n;
		int r;

		if (!c->sections[i])
			continue;
		c->sections[i]->ops->self(c->sections[i], &n);
		r = emit(arg, sections[i].name, i + 1, &n);
		if (r)
			return r;
	}
	return 0;
}

static char *path(struct ns_object *o, const struct node *n)
{
	(void)n;
	return strdup(((struct ns_cluster *)o)->name);
}

static void cluster_free(struct ns_object *o)
{
	struct ns_cluster *c = (struct ns_cluster *)o;

	for (size_t i = 0; i < N_SECTIONS; i++)
		ns_free(c->sections[i]);
	free(c->name);
	free(c);
}

static const struct ns_ops cluster_ops = {
	.name = "cluster",
	.self = self,
	.lookup = lookup,
	.list = list,
	.path = path,
	.free = cluster_free,
};

int ns_cluster_new(struct fs *fs, const char *cluster, uint64_t parent, uint32_t position,
	struct ns_object **ret, struct err *e)
{
	struct ns_cluster *c = calloc(1, sizeof(*c));
	int r;

	if (!c || !(c->name = strdup(cluster))) {
		free(c);
		return err_set(e, -ENOMEM, "no memory for cluster %s", cluster);
	}
	c->obj = (struct ns_object){.ops = &cluster_ops, .fs = fs};
	c->parent = parent;
	c->position = position;
	c->born = clock_now();
	r = inode_range(fs->inodes, 1, &c->ino, e);
	for (size_t i = 0; r >= 0 && i < N_SECTIONS; i++)
		r = sections[i].make(fs, cluster, c->ino, (uint32_t)i, &c->sections[i], e);
	if (r < 0) {
		cluster_free(&c->obj);
		return r;
	}
	*ret = &c->obj;
	return 0;
}
