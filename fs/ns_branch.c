/* open/<name>/: the tree of a branch. See ns_branch.h.
 *
 * Invariant: while the object lives its branch can be asked; from ns_branch_remove on nothing is answered, so that a name
 * that is used again cannot be mixed up with what it was. Attributes and names change only through this mount, which has the
 * branch's lock: the kernel may keep what it knows.
 *
 * Non-goal: what a change means (fs/branch.h), and where branches come from (ns_open). */
#include "fs/ns_branch.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fs/branch_dir.h"
#include "fs/branch_lower.h"
#include "fs/fs.h"
#include "src/base/clean.h"

#define IO_SIZE (128u << 10) /* st_blksize */

struct ns_branch {
	struct ns_object obj;
	char *cluster, *name, *path;
	uint64_t first_ino, parent;
	struct branch_below *below;
	struct branch *branch;
	int lock_fd;

	atomic_bool gone; /* set under the lock */

	pthread_mutex_t lock; /* rank: above the branch's; guards all below */
	unsigned entered;
};

static const struct ns_ops branch_ops;

struct branch *ns_branch_of(const struct node *n, uint64_t *ret_number)
{
	struct ns_branch *b = (struct ns_branch *)n->obj;

	if (n->obj->ops != &branch_ops || atomic_load(&b->gone))
		return NULL;
	*ret_number = n->ino - b->first_ino;
	return b->branch;
}

void ns_branch_node(struct ns_object *o, const struct branch_stat *st, struct node *ret)
{
	struct ns_branch *b = (struct ns_branch *)o;

	*ret = (struct node){
		.ino = b->first_ino + st->number,
		.parent = st->number == BRANCH_ROOT ? b->parent : b->first_ino + st->parent,
		.obj = o,
		.mtime = st->mtime.sec,
		.mtime_ns = st->mtime.nsec,
		.uid = st->uid,
		.gid = st->gid,
		.mode = st->mode & 07777,
		/* What is neither is opened by the kernel itself. */
		.type = S_ISDIR(st->mode)   ? ENTRY_DIR
			: S_ISLNK(st->mode) ? ENTRY_SYMLINK
					    : ENTRY_FILE,
		.flags = NODE_MOVES | (st->number == BRANCH_ROOT ? NODE_BRIEF_NAME : 0),
	};
	if (ret->type != ENTRY_DIR)
		ret->size = st->size;
}

static struct timespec time_of(struct tstamp t)
{
	return (struct timespec){.tv_sec = t.sec, .tv_nsec = t.nsec};
}

void ns_branch_attr(struct ns_object *o, const struct branch_stat *st, struct stat *ret)
{
	struct ns_branch *b = (struct ns_branch *)o;

	*ret = (struct stat){
		.st_ino = b->first_ino + st->number,
		.st_mode = st->mode,
		.st_uid = st->uid,
		.st_gid = st->gid,
		.st_nlink = st->nlink,
		.st_rdev = st->rdev,
		.st_size = (off_t)st->size,
		.st_blocks = (blkcnt_t)(st->blocks * (BRANCH_BLOCK / 512)),
		.st_blksize = IO_SIZE,
		.st_atim = time_of(st->atime),
		.st_mtim = time_of(st->mtime),
		.st_ctim = time_of(st->ctime),
	};
}

const char *ns_branch_path(struct ns_object *o)
{
	return ((struct ns_branch *)o)->path;
}

/* ---- what the kernel asks ---- */

static int stale(struct err *e)
{
	return err_set(e, -ESTALE, "the branch was removed");
}

static int branch_stat_of(struct ns_object *o, const struct node *n, struct stat *ret, struct err *e)
{
	uint64_t number;
	struct branch *b = ns_branch_of(n, &number);
	struct branch_stat st;
	int r = b ? branch_getattr(b, number, &st, e) : stale(e);

	if (r >= 0)
		ns_branch_attr(o, &st, ret);
	return r;
}

static void self(struct ns_object *o, struct node *ret)
{
	struct ns_branch *b = (struct ns_branch *)o;
	struct branch_stat st = {.number = BRANCH_ROOT, .mode = S_IFDIR | 0755, .nlink = 2};

	/* Without its attributes it is still the directory. */
	(void)branch_getattr(b->branch, BRANCH_ROOT, &st, NULL);
	ns_branch_node(o, &st, ret);
}

static int lookup(
	struct ns_object *o, const struct node *dir, const char *name, struct node *ret, struct err *e)
{
	uint64_t number;
	struct branch *b = ns_branch_of(dir, &number);
	struct branch_stat st;
	int r = b ? branch_lookup(b, number, name, &st, e) : stale(e);

	if (r >= 0)
		ns_branch_node(o, &st, ret);
	return r;
}

struct lister {
	struct ns_object *o;
	ns_emit *emit;
	void *arg;
};

static int list_entry(void *arg, const char *name, uint64_t next, const struct branch_stat *st)
{
	struct lister *l = arg;
	struct node n;

	ns_branch_node(l->o, st, &n);
	return l->emit(l->arg, name, next, &n);
}

static int list(struct ns_object *o, const struct node *dir, uint64_t position, ns_emit *emit, void *arg,
	struct err *e)
{
	struct lister l = {o, emit, arg};
	uint64_t number;
	struct branch *b = ns_branch_of(dir, &number);

	return b ? branch_list(b, number, position, list_entry, &l, e) : stale(e);
}

static int target(struct ns_object *o, const struct node *n, char **ret, struct err *e)
{
	uint64_t number;
	struct branch *b = ns_branch_of(n, &number);

	(void)o;
	return b ? branch_target(b, number, ret, e) : stale(e);
}

static void forget(struct ns_object *o, const struct node *n)
{
	uint64_t number;
	struct branch *b = ns_branch_of(n, &number);

	(void)o;
	if (b)
		branch_forget(b, number);
}

static char *path(struct ns_object *o, const struct node *n)
{
	struct ns_branch *b = (struct ns_branch *)o;
	uint64_t number = n->ino - b->first_ino;
	_cleanup_(freep) char *below = b->gone ? NULL : branch_path_of(b->branch, number);
	char *p = NULL;
	int len = number == BRANCH_ROOT ? asprintf(&p, "%s/open/%s", b->cluster, b->name)
		  : below		? asprintf(&p, "%s/open/%s/%s", b->cluster, b->name, below)
			  : asprintf(&p, "%s/open/%s (file %" PRIu64 ", which has no name)", b->cluster,
				    b->name, number);

	return len < 0 ? NULL : p;
}

/* ---- coming and going ---- */

int ns_branch_enter(struct ns_object *o, struct err *e)
{
	struct ns_branch *b = (struct ns_branch *)o;
	bool gone;

	pthread_mutex_lock(&b->lock);
	gone = b->gone;
	if (!gone)
		b->entered++;
	pthread_mutex_unlock(&b->lock);
	return gone ? stale(e) : 0;
}

void ns_branch_leave(struct ns_object *o)
{
	struct ns_branch *b = (struct ns_branch *)o;

	pthread_mutex_lock(&b->lock);
	b->entered--;
	pthread_mutex_unlock(&b->lock);
}

int ns_branch_remove(struct ns_object *o, struct err *e)
{
	struct ns_branch *b = (struct ns_branch *)o;
	unsigned entered;
	int r;

	pthread_mutex_lock(&b->lock);
	entered = b->entered;
	if (!entered)
		b->gone = true;
	pthread_mutex_unlock(&b->lock);
	if (entered)
		return err_set(e, -EBUSY, "branch \"%s\": %u files of it are open", b->name, entered);
	r = branch_remove_locked(o->fs->scratch, b->cluster, b->name, e);
	/* Only now may somebody make another of that name. */
	close(b->lock_fd);
	b->lock_fd = -1;
	return r;
}

static void branch_object_free(struct ns_object *o)
{
	struct ns_branch *b = (struct ns_branch *)o;
	struct err e = {0};

	if (branch_close(b->branch, &e) < 0 && !b->gone)
		log_msg(o->fs->log, LOG_LEVEL_ERROR, "%s/open/%s: %s", b->cluster, b->name, e.text);
	branch_below_free(b->below);
	if (b->lock_fd >= 0)
		close(b->lock_fd);
	pthread_mutex_destroy(&b->lock);
	free(b->cluster);
	free(b->name);
	free(b->path);
	free(b);
}

static const struct ns_ops branch_ops = {
	.name = "branch",
	.self = self,
	.lookup = lookup,
	.list = list,
	.target = target,
	.path = path,
	.stat = branch_stat_of,
	.forget = forget,
	.free = branch_object_free,
};

/* The tree of the branch's backup, which must be readable before anything is asked of the branch. */
static int below_of(struct ns_branch *b, const char *backup, struct err *e)
{
	struct ns_object *snapshot = NULL;
	struct branch_stat st;
	struct err why = {0};
	int r = ns_snapshot_new(b->obj.fs, b->cluster, SNAPSHOT_BASE, backup, 0, 0, &snapshot, e);

	if (r >= 0)
		r = branch_below_new(snapshot, &b->below, e);
	if (r < 0)
		return r;
	r = branch_below_ops.lookup(b->below, BRANCH_ROOT, "data", &st, &why);
	if (r < 0)
		return err_set(e, -EBADMSG, "branch \"%s\": its backup %s cannot be read: %s", b->name,
			backup, why.text);
	return 0;
}

static uint64_t smaller_limit(uint64_t a, uint64_t b)
{
	return !a || (b && b < a) ? b : a;
}

static int open_branch(struct ns_branch *b, struct err *e)
{
	_cleanup_(branch_spec_release) struct branch_spec spec = {0};
	const char *dir = b->obj.fs->scratch;
	struct branch_options bo = {.lower = &branch_below_ops};
	int r = branch_lock(dir, b->cluster, b->name, e);

	if (r < 0)
		return r;
	b->lock_fd = r;
	r = branch_load(dir, b->cluster, b->name, &spec, e);
	if (r >= 0)
		r = branch_path(dir, b->cluster, b->name, &b->path, e);
	if (r >= 0)
		r = below_of(b, spec.backup, e);
	if (r < 0)
		return r;
	bo.lower_arg = b->below;
	bo.durable = spec.durable;
	bo.max_bytes = smaller_limit(spec.max_bytes, b->obj.fs->max_bytes);
	return branch_new(b->path, &bo, &b->branch, e);
}

int ns_branch_new(struct fs *fs, const char *cluster, const char *name, uint64_t first_ino, uint64_t parent,
	struct ns_object *keeper, struct ns_object **ret, struct err *e)
{
	struct ns_branch *b = calloc(1, sizeof(*b));
	int r = 0;

	if (!b)
		return err_set(e, -ENOMEM, "no memory for branch \"%s\"", name);
	b->obj = (struct ns_object){.ops = &branch_ops, .fs = fs, .keeper = keeper};
	b->first_ino = first_ino;
	b->parent = parent;
	b->lock_fd = -1;
	pthread_mutex_init(&b->lock, NULL);
	b->cluster = strdup(cluster);
	b->name = strdup(name);
	if (!b->cluster || !b->name)
		r = err_set(e, -ENOMEM, "no memory for branch \"%s\"", name);
	if (r >= 0)
		r = open_branch(b, e);
	if (r < 0) {
		branch_object_free(&b->obj);
		return r;
	}
	*ret = &b->obj;
	return 0;
}
