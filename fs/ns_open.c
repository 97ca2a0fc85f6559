/* open/ of a cluster: its branches in the mount's scratch directory.
 *
 * A branch is opened when it is first looked up, which takes its lock (EBUSY while another mount has it), and stays open
 * until the mount ends or rmdir(2) removes it, with all that was written. The listing gives names only: whoever lists opens
 * nothing. Other processes make branches at any time, so a name is never remembered as absent.
 *
 * Invariant: of the branches with one name at most one is not `gone`. A branch that is gone lives on, answering ESTALE, until
 * the kernel has let go of all that it knew of it. */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fs/branch_dir.h"
#include "fs/fs.h"
#include "fs/listing.h"
#include "fs/ns_branch.h"
#include "src/base/clean.h"
#include "src/base/clock.h"

/* A name of the listing: only its numbers. */
struct listed {
	struct ns_object obj;
	uint64_t first_ino;
};

struct opened {
	char *name;
	uint64_t first_ino;
	struct ns_object *branch;
	bool gone;
};

struct ns_open {
	struct ns_object obj;
	char *cluster;
	uint64_t ino, parent;
	uint32_t position;
	struct tstamp born;
	struct listing listed;

	/* Rank: above those of a branch and the inode table; guards all below; held while a branch is opened or removed. */
	pthread_mutex_t lock;
	struct opened *v;
	size_t n;
};

/* ---- the listing ---- */

static int fetch(void *arg, struct listing *l, struct err *e);
static int make(void *arg, const char *name, uint32_t position, struct ns_object **ret, struct err *e);

static struct listing_source source_of(struct ns_open *w)
{
	return (struct listing_source){.fetch = fetch, .make = make, .arg = w};
}

static int fetch(void *arg, struct listing *l, struct err *e)
{
	struct ns_open *w = arg;
	const struct listing_source src = source_of(w);
	char **names = NULL;
	size_t n = 0;
	int r = branch_names(w->obj.fs->scratch, w->cluster, &names, &n, e);

	for (size_t i = 0; i < n; i++) {
		if (r >= 0)
			r = listing_put(l, &src, names[i], e);
		free(names[i]);
	}
	free(names);
	return r;
}

static void listed_free(struct ns_object *o)
{
	free(o);
}

static int make(void *arg, const char *name, uint32_t position, struct ns_object **ret, struct err *e)
{
	static const struct ns_ops ops = {.name = "listed branch", .free = listed_free};
	struct ns_open *w = arg;
	struct listed *l = calloc(1, sizeof(*l));
	int r;

	(void)position;
	if (!l)
		return err_set(e, -ENOMEM, "no memory for %s", name);
	l->obj = (struct ns_object){.ops = &ops, .fs = w->obj.fs};
	r = inode_range(w->obj.fs->inodes, NS_BRANCH_INODES, &l->first_ino, e);
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
	struct ns_open *w = (struct ns_open *)o;
	const struct listing_source src = source_of(w);
	const struct listing_item *it;
	int r;

	(void)dir;
	/* A directory of this machine: who begins to list it may ask it. */
	if (position == 0)
		listing_expire(&w->listed);
	r = listing_refresh(&w->listed, &src, e);
	if (r < 0)
		return r;
	for (uint64_t i = position; (it = listing_at(&w->listed, &i)); i++) {
		const struct listed *l = (const struct listed *)it->obj;
		struct node n = ns_made_dir(o, l->first_ino + BRANCH_ROOT, w->ino, 0);

		n.flags = NODE_NAME_ONLY;
		r = emit(arg, it->name, i + 1, &n);
		if (r)
			return r;
	}
	return 0;
}

/* ---- branches ---- */

/* The lock is held. */
static struct opened *find(struct ns_open *w, const char *name)
{
	for (size_t i = 0; i < w->n; i++)
		if (!w->v[i].gone && !strcmp(w->v[i].name, name))
			return &w->v[i];
	return NULL;
}

/* Ends what is gone and not held; nothing that is gone is handed out any more. The lock is held. */
static void end_unheld(struct ns_open *w)
{
	size_t kept = 0;

	for (size_t i = 0; i < w->n; i++) {
		if (w->v[i].gone && !atomic_load(&w->v[i].branch->held)) {
			ns_free(w->v[i].branch);
			free(w->v[i].name);
		} else {
			w->v[kept++] = w->v[i];
		}
	}
	w->n = kept;
}

static void sweep(struct ns_object *o)
{
	struct ns_open *w = (struct ns_open *)o;

	pthread_mutex_lock(&w->lock);
	end_unheld(w);
	pthread_mutex_unlock(&w->lock);
}

/* The numbers of a branch: those that the listing shows, unless an earlier one of that name has them. The lock is held. */
static int numbers_of(struct ns_open *w, const char *name, uint64_t *ret, struct err *e)
{
	struct ns_object *o = listing_find(&w->listed, name);
	uint64_t first = o ? ((struct listed *)o)->first_ino : 0;

	for (size_t i = 0; first && i < w->n; i++)
		if (w->v[i].first_ino == first)
			first = 0;
	*ret = first;
	return first ? 0 : inode_range(w->obj.fs->inodes, NS_BRANCH_INODES, ret, e);
}

/* The lock is held. */
static int open_branch(struct ns_open *w, const char *name, struct opened **ret, struct err *e)
{
	_cleanup_(freep) char *copy = strdup(name);
	struct opened *v = realloc(w->v, (w->n + 1) * sizeof(*v));
	struct ns_object *branch = NULL;
	uint64_t first;
	int r;

	if (v)
		w->v = v;
	if (!v || !copy)
		return err_set(e, -ENOMEM, "no memory for branch \"%s\"", name);
	r = numbers_of(w, name, &first, e);
	if (r >= 0)
		r = ns_branch_new(w->obj.fs, w->cluster, name, first, w->ino, &w->obj, &branch, e);
	if (r < 0)
		return r;
	w->v[w->n] = (struct opened){.name = MOVE(copy), .first_ino = first, .branch = branch};
	*ret = &w->v[w->n++];
	return 0;
}

static int lookup(
	struct ns_object *o, const struct node *dir, const char *name, struct node *ret, struct err *e)
{
	struct ns_open *w = (struct ns_open *)o;
	struct opened *b;
	int r = 0;

	(void)dir;
	if (branch_check_name(name, e) < 0)
		return -ENOENT;
	pthread_mutex_lock(&w->lock);
	end_unheld(w);
	b = find(w, name);
	if (!b)
		r = open_branch(w, name, &b, e);
	if (r >= 0) {
		b->branch->ops->self(b->branch, ret);
		ns_hold(b->branch);
		ret->flags |= NODE_HELD;
	}
	pthread_mutex_unlock(&w->lock);
	return r;
}

static int remove_branch(struct ns_object *o, const struct node *dir, const char *name, struct err *e)
{
	struct ns_open *w = (struct ns_open *)o;
	struct opened *b;
	int r = -ENOENT;

	(void)dir;
	pthread_mutex_lock(&w->lock);
	b = find(w, name);
	if (b) {
		r = ns_branch_remove(b->branch, e);
		b->gone = r != -EBUSY;
	}
	pthread_mutex_unlock(&w->lock);
	return r;
}

/* ---- the object ---- */

static void self(struct ns_object *o, struct node *ret)
{
	struct ns_open *w = (struct ns_open *)o;

	*ret = ns_made_dir(o, w->ino, w->parent, w->position);
	ret->mtime = w->born.sec;
	ret->mtime_ns = w->born.nsec;
}

static char *path(struct ns_object *o, const struct node *n)
{
	struct ns_open *w = (struct ns_open *)o;
	char *p = NULL;

	(void)n;
	return asprintf(&p, "%s/open", w->cluster) < 0 ? NULL : p;
}

static void open_free(struct ns_object *o)
{
	struct ns_open *w = (struct ns_open *)o;

	for (size_t i = 0; i < w->n; i++) {
		ns_free(w->v[i].branch);
		free(w->v[i].name);
	}
	free(w->v);
	listing_release(&w->listed);
	pthread_mutex_destroy(&w->lock);
	free(w->cluster);
	free(w);
}

static const struct ns_ops open_ops = {
	.name = "open",
	.self = self,
	.lookup = lookup,
	.list = list,
	.path = path,
	.remove = remove_branch,
	.sweep = sweep,
	.free = open_free,
};

int ns_open_new(struct fs *fs, const char *cluster, uint64_t parent, uint32_t position,
	struct ns_object **ret, struct err *e)
{
	struct ns_open *w;
	int r;

	*ret = NULL;
	if (!fs->scratch)
		return 0;
	w = calloc(1, sizeof(*w));
	if (!w)
		return err_set(e, -ENOMEM, "no memory for cluster %s", cluster);
	w->obj = (struct ns_object){.ops = &open_ops, .fs = fs};
	w->parent = parent;
	w->position = position;
	w->born = clock_now();
	pthread_mutex_init(&w->lock, NULL);
	listing_init(&w->listed);
	w->cluster = strdup(cluster);
	r = w->cluster ? inode_range(fs->inodes, 1, &w->ino, e)
		       : err_set(e, -ENOMEM, "no memory for cluster %s", cluster);
	if (r < 0) {
		open_free(&w->obj);
		return r;
	}
	*ret = &w->obj;
	return 0;
}
