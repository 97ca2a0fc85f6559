/* See branch_lower.h.
 *
 * Who asks by number has mostly got that number from a lookup or a listing a moment ago, and a number alone has to be
 * searched from the root down: so what was seen last is kept, a node for each remainder of its number.
 *
 * Invariant: what is made up beside the tree (info.json) is not in it. Non-goal: what the branch changed. */
#include "fs/branch_lower.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

#include "src/base/clean.h"

#define SEEN 4096

struct branch_below {
	struct ns_object *snapshot;
	pthread_mutex_t lock; /* rank: leaf; guards seen */
	struct node *seen;    /* SEEN of them, by number; ino 0: none. Its ino is the branch's number */
};

int branch_below_new(struct ns_object *snapshot, struct branch_below **ret, struct err *e)
{
	struct branch_below *w = calloc(1, sizeof(*w));

	if (!w || !(w->seen = calloc(SEEN, sizeof(*w->seen)))) {
		free(w);
		ns_free(snapshot);
		return err_set(e, -ENOMEM, "no memory for a branch");
	}
	w->snapshot = snapshot;
	pthread_mutex_init(&w->lock, NULL);
	*ret = w;
	return 0;
}

void branch_below_free(struct branch_below *w)
{
	if (!w)
		return;
	ns_free(w->snapshot);
	pthread_mutex_destroy(&w->lock);
	free(w->seen);
	free(w);
}

static int number_of(struct branch_below *w, uint64_t ino, uint64_t *ret, struct err *e)
{
	int r = ns_snapshot_number(w->snapshot, ino, ret, e);

	*ret += BRANCH_ROOT;
	return r;
}

static void keep(struct branch_below *w, uint64_t number, const struct node *n)
{
	pthread_mutex_lock(&w->lock);
	w->seen[number % SEEN] = *n;
	pthread_mutex_unlock(&w->lock);
}

/* The snapshot's node of that number. */
static int node_of(struct branch_below *w, uint64_t number, struct node *ret, struct err *e)
{
	struct node n;
	uint64_t have = 0;
	int r;

	pthread_mutex_lock(&w->lock);
	n = w->seen[number % SEEN];
	pthread_mutex_unlock(&w->lock);
	if (n.ino && number_of(w, n.ino, &have, NULL) >= 0 && have == number) {
		*ret = n;
		return 0;
	}
	r = ns_snapshot_at(w->snapshot, number - BRANCH_ROOT, &n, e);
	if (r < 0)
		return r;
	keep(w, number, &n);
	*ret = n;
	return 0;
}

static int stat_of(
	struct branch_below *w, const struct node *n, uint64_t number, struct branch_stat *ret, struct err *e)
{
	struct branch_stat st = {.number = number,
		.mode = n->mode,
		.uid = n->uid,
		.gid = n->gid,
		.nlink = 1,
		.parent = BRANCH_ROOT};
	int r = 0;

	switch ((enum entry_type)n->type) {
	case ENTRY_FILE:
		st.mode |= S_IFREG;
		st.size = n->size;
		break;
	case ENTRY_DIR:
		st.mode |= S_IFDIR;
		st.nlink = 2;
		st.size = n->entries;
		break;
	case ENTRY_SYMLINK:
		st.mode |= S_IFLNK;
		st.size = n->size;
		break;
	}
	if (number == BRANCH_ROOT)
		st.mode |= S_IWUSR; /* the mount's own directories cannot be written, but this one */
	else
		r = number_of(w, n->parent, &st.parent, e);
	if (r < 0)
		return r;
	st.mtime = (struct tstamp){n->mtime, n->mtime_ns};
	st.atime = st.ctime = st.mtime;
	*ret = st;
	return 0;
}

static int below_stat(void *arg, uint64_t number, struct branch_stat *ret, struct err *e)
{
	struct node n;
	int r = node_of(arg, number, &n, e);

	return r < 0 ? r : stat_of(arg, &n, number, ret, e);
}

/* What a lookup or a listing found. -ENOENT: it is made up. */
static int found(struct branch_below *w, const struct node *n, struct branch_stat *ret, struct err *e)
{
	uint64_t number = 0;
	int r = number_of(w, n->ino, &number, e);

	if (r >= 0 && number >= BRANCH_FIRST_NEW)
		r = err_set(e, -EBADMSG, "damaged tree: more entries than a branch has numbers for");
	if (r < 0)
		return r;
	keep(w, number, n);
	return stat_of(w, n, number, ret, e);
}

static int below_lookup(void *arg, uint64_t dir, const char *name, struct branch_stat *ret, struct err *e)
{
	struct branch_below *w = arg;
	struct node d, n;
	int r = node_of(w, dir, &d, e);

	if (r >= 0)
		r = w->snapshot->ops->lookup(w->snapshot, &d, name, &n, e);
	return r < 0 ? r : found(w, &n, ret, e);
}

struct lister {
	struct branch_below *w;
	branch_list_fn *fn;
	void *arg;
	struct err *e;
};

static int emit(void *arg, const char *name, uint64_t next, const struct node *n)
{
	struct lister *l = arg;
	struct branch_stat st;
	int r = found(l->w, n, &st, l->e);

	if (r == -ENOENT)
		return 0;
	return r < 0 ? r : l->fn(l->arg, name, next, &st);
}

static int below_list(
	void *arg, uint64_t dir, uint64_t position, branch_list_fn *fn, void *fn_arg, struct err *e)
{
	struct branch_below *w = arg;
	struct lister l = {w, fn, fn_arg, e};
	struct node d;
	int r = node_of(w, dir, &d, e);

	return r < 0 ? r : w->snapshot->ops->list(w->snapshot, &d, position, emit, &l, e);
}

static int below_target(void *arg, uint64_t number, char **ret, struct err *e)
{
	struct branch_below *w = arg;
	struct node n;
	int r = node_of(w, number, &n, e);

	return r < 0 ? r : w->snapshot->ops->target(w->snapshot, &n, ret, e);
}

static int below_open(void *arg, uint64_t number, void **ret, struct err *e)
{
	struct branch_below *w = arg;
	struct file *f = NULL;
	struct node n;
	int r = node_of(w, number, &n, e);

	if (r >= 0)
		r = w->snapshot->ops->open(w->snapshot, &n, &f, e);
	if (r >= 0)
		*ret = f;
	return r;
}

static ssize_t below_read(void *file, uint64_t off, void *p, size_t n, struct err *e)
{
	return file_read(file, off, p, n, e);
}

static void below_close(void *file)
{
	file_free(file);
}

const struct branch_lower branch_below_ops = {
	.stat = below_stat,
	.lookup = below_lookup,
	.list = below_list,
	.target = below_target,
	.open = below_open,
	.read = below_read,
	.close = below_close,
};
