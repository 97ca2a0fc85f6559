/* Names and attributes of a branch. See branch.h.
 *
 * A change is a record: it is written to the journal, then applied to the table, both under one lock, so that the order in
 * memory is the order on disk. What is below is asked without the lock, since it may have to wait for a disk; it never
 * changes, and the kernel does not let two requests change one directory at the same time.
 *
 * Invariant: memory is what the journal says, but for sizes, times and blocks of files that were written since their last
 * fsync (branch_block.c). */
#include "fs/branch.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fs/branch_core.h"
#include "src/base/clean.h"
#include "src/base/io.h"

#define OWN_POSITIONS (UINT64_C(1) << 32) /* of listings: what is below comes first */

int branch_commit(struct branch *b, const struct buf *record, struct err *e)
{
	int r = b->broken;

	if (r < 0)
		return err_set(e, r, "the branch was damaged by an earlier error; mount it again");
	if (record->bad)
		return err_set(e, -ENOMEM, "no memory for a change");
	r = branch_log_append(b->log, record->data, record->len, &b->table.log_end, e);
	if (r < 0)
		return r;
	r = branch_table_apply(&b->table, record->data, record->len, e);
	if (r < 0)
		b->broken = -EIO;
	return r;
}

void branch_put_known(struct buf *b, const struct branch_node *n)
{
	branch_put_node(b, &n->st, n->lower, n->lower_size, n->target);
}

/* As it is below, without a lock. */
static int stat_below(struct branch *b, uint64_t number, struct branch_stat *ret, struct err *e)
{
	if (number >= BRANCH_FIRST_NEW)
		return err_set(e, -ESTALE, "no inode %" PRIu64, number);
	return b->lower->stat(b->lower_arg, number, ret, e);
}

int branch_adopt(struct branch *b, uint64_t number, struct branch_node **ret, struct err *e)
{
	_cleanup_(buf_free) struct buf rec = {0};
	struct branch_node *n = branch_table_node(&b->table, number);
	struct branch_stat st;
	int r;

	if (!n) {
		pthread_mutex_unlock(&b->lock);
		r = stat_below(b, number, &st, e);
		pthread_mutex_lock(&b->lock);
		if (r < 0)
			return r;
		n = branch_table_node(&b->table, number);
	}
	if (!n && st.size > BRANCH_SIZE_MAX)
		return err_set(e, -EFBIG, "larger than a file of a branch may be");
	if (!n) {
		branch_put_node(&rec, &st, number, S_ISREG(st.mode) ? st.size : 0, NULL);
		r = branch_commit(b, &rec, e);
		if (r < 0)
			return r;
		n = branch_table_node(&b->table, number);
	}
	*ret = n;
	return 0;
}

/* The times of a directory whose entries change. */
static void put_touched(struct buf *rec, struct branch_node *n, struct tstamp now)
{
	struct branch_stat st = n->st;

	st.mtime = st.ctime = now;
	branch_put_node(rec, &st, n->lower, n->lower_size, n->target);
}

/* ---- looking ---- */

int branch_getattr(struct branch *b, uint64_t number, struct branch_stat *ret, struct err *e)
{
	struct branch_node *n;

	pthread_mutex_lock(&b->lock);
	n = branch_table_node(&b->table, number);
	if (n)
		*ret = n->st;
	pthread_mutex_unlock(&b->lock);
	return n ? 0 : stat_below(b, number, ret, e);
}

/* What is below, as the branch has changed it. */
static void overlay(struct branch *b, struct branch_stat *st)
{
	struct branch_node *n;

	pthread_mutex_lock(&b->lock);
	n = branch_table_node(&b->table, st->number);
	if (n)
		*st = n->st;
	pthread_mutex_unlock(&b->lock);
}

int branch_lookup(struct branch *b, uint64_t dir, const char *name, struct branch_stat *ret, struct err *e)
{
	struct branch_entry *en;
	struct branch_node *d;
	uint64_t number = 0;
	bool below;
	int r;

	pthread_mutex_lock(&b->lock);
	d = branch_table_node(&b->table, dir);
	en = d ? branch_table_entry(&b->table, dir, name) : NULL;
	if (en)
		number = en->number;
	below = !en && (!d || d->lower);
	pthread_mutex_unlock(&b->lock);
	if (number)
		return branch_getattr(b, number, ret, e);
	if (!below)
		return err_set(e, -ENOENT, "no %s", name);
	r = b->lower->lookup(b->lower_arg, dir, name, ret, e);
	if (r >= 0)
		overlay(b, ret);
	return r;
}

struct lister {
	struct branch *b;
	uint64_t dir;
	branch_list_fn *fn;
	void *arg;
};

static int list_below(void *arg, const char *name, uint64_t next, const struct branch_stat *st)
{
	struct lister *l = arg;
	struct branch_stat mine = *st;
	bool hidden;

	pthread_mutex_lock(&l->b->lock);
	hidden = branch_table_entry(&l->b->table, l->dir, name) != NULL;
	pthread_mutex_unlock(&l->b->lock);
	if (hidden)
		return 0;
	overlay(l->b, &mine);
	return l->fn(l->arg, name, next, &mine);
}

/* The branch's own entry from *cookie on: its name is copied, and *cookie is where to go on. */
static bool next_own(struct branch *b, uint64_t dir, uint64_t *cookie, char name[256], uint64_t *ret_number)
{
	const struct branch_node *d;
	const struct branch_entry *en;

	pthread_mutex_lock(&b->lock);
	d = branch_table_node(&b->table, dir);
	en = d ? branch_table_next(d, *cookie) : NULL;
	if (en) {
		strcpy(name, en->name);
		*ret_number = en->number;
		*cookie = en->cookie + 1;
	}
	pthread_mutex_unlock(&b->lock);
	return en != NULL;
}

int branch_list(
	struct branch *b, uint64_t dir, uint64_t position, branch_list_fn *fn, void *arg, struct err *e)
{
	struct lister l = {b, dir, fn, arg};
	struct branch_node *d;
	uint64_t cookie = position < OWN_POSITIONS ? 0 : position - OWN_POSITIONS, number;
	char name[256];
	bool below;
	int r;

	pthread_mutex_lock(&b->lock);
	d = branch_table_node(&b->table, dir);
	below = !d || d->lower;
	pthread_mutex_unlock(&b->lock);
	if (below && position < OWN_POSITIONS) {
		r = b->lower->list(b->lower_arg, dir, position, list_below, &l, e);
		if (r)
			return r;
	}
	while (next_own(b, dir, &cookie, name, &number)) {
		struct branch_stat st;

		r = branch_getattr(b, number, &st, e);
		if (r == -ESTALE)
			continue; /* went in between */
		if (r >= 0)
			r = fn(arg, name, OWN_POSITIONS + cookie, &st);
		if (r)
			return r;
	}
	return 0;
}

int branch_target(struct branch *b, uint64_t number, char **ret, struct err *e)
{
	struct branch_node *n;
	char *target = NULL;
	bool own;

	pthread_mutex_lock(&b->lock);
	n = branch_table_node(&b->table, number);
	own = n && n->target;
	if (own)
		target = strdup(n->target);
	pthread_mutex_unlock(&b->lock);
	if (!own)
		return b->lower->target(b->lower_arg, number, ret, e);
	if (!target)
		return err_set(e, -ENOMEM, "no memory for a link's target");
	*ret = target;
	return 0;
}

struct sought {
	uint64_t number;
	char name[256];
};

static int is_sought(void *arg, const char *name, uint64_t next, const struct branch_stat *st)
{
	struct sought *s = arg;

	(void)next;
	if (st->number != s->number || strlen(name) >= sizeof(s->name))
		return 0;
	strcpy(s->name, name);
	return 1;
}

char *branch_path_of(struct branch *b, uint64_t number)
{
	struct sought s = {.number = number};
	char *path = NULL;

	while (s.number != BRANCH_ROOT) {
		struct branch_stat st;
		char *longer;

		if (branch_getattr(b, s.number, &st, NULL) < 0 ||
			branch_list(b, st.parent, 0, is_sought, &s, NULL) <= 0) {
			free(path);
			return NULL;
		}
		longer = path ? io_join(s.name, path) : strdup(s.name);
		free(path);
		if (!longer)
			return NULL;
		path = longer;
		s.number = st.parent;
	}
	return path;
}

/* ---- changing names ---- */

static int stop(void *arg, const char *name, uint64_t next, const struct branch_stat *st)
{
	(void)arg, (void)name, (void)next, (void)st;
	return 1;
}

static int check_absent(struct branch *b, uint64_t dir, const char *name, struct err *e)
{
	struct branch_stat st;
	int r;

	if (strlen(name) > 255)
		return err_set(e, -ENAMETOOLONG, "%.40s… is too long", name);
	r = branch_lookup(b, dir, name, &st, e);
	return r == -ENOENT ? 0 : r < 0 ? r : err_set(e, -EEXIST, "%s exists", name);
}

/* The directory that gets a name; it may have been removed while somebody was in it. The lock is held. */
static int adopt_dir(struct branch *b, uint64_t dir, struct branch_node **ret, struct err *e)
{
	int r = branch_adopt(b, dir, ret, e);

	return r >= 0 && !(*ret)->st.nlink ? err_set(e, -ENOENT, "the directory was removed") : r;
}

int branch_check_room(struct branch *b, uint64_t used, struct err *e)
{
	if (b->max_bytes && used > b->max_bytes)
		return err_set(e, -ENOSPC, "the branch has reached its size limit");
	if (!branch_log_has_room(b->log))
		return err_set(e, -ENOSPC, "the disk of %s is full", b->path);
	return 0;
}

/* For a name. */
static int has_room(struct branch *b, struct err *e)
{
	uint64_t used, max;

	branch_used(b, &used, &max);
	return branch_check_room(b, used + 1, e);
}

int branch_make(struct branch *b, uint64_t dir, const char *name, const struct branch_make *m,
	struct branch_stat *ret, struct err *e)
{
	_cleanup_(buf_free) struct buf rec = {0};
	struct branch_stat st = {
		.mode = m->mode, .uid = m->uid, .gid = m->gid, .rdev = m->rdev, .parent = dir};
	struct branch_node *d;
	int r = check_absent(b, dir, name, e);

	if (r >= 0 && (S_ISCHR(m->mode) || S_ISBLK(m->mode)))
		r = err_set(e, -EPERM, "a branch has no devices");
	if (r >= 0)
		r = has_room(b, e);
	if (r < 0)
		return r;
	st.atime = st.mtime = st.ctime = clock_now();
	st.nlink = S_ISDIR(m->mode) ? 2 : 1;
	st.size = S_ISLNK(m->mode) ? strlen(m->target) : 0;
	pthread_mutex_lock(&b->lock);
	r = adopt_dir(b, dir, &d, e);
	if (r >= 0) {
		if (d->st.mode & S_ISGID) {
			st.gid = d->st.gid;
			st.mode |= S_ISDIR(st.mode) ? S_ISGID : 0;
		}
		st.number = b->table.next_number;
		branch_put_node(&rec, &st, 0, 0, m->target);
		branch_put_entry(&rec, dir, name, st.number);
		put_touched(&rec, d, st.mtime);
		r = branch_commit(b, &rec, e);
	}
	pthread_mutex_unlock(&b->lock);
	if (r >= 0)
		*ret = st;
	return r;
}

int branch_link(struct branch *b, uint64_t number, uint64_t dir, const char *name, struct branch_stat *ret,
	struct err *e)
{
	_cleanup_(buf_free) struct buf rec = {0};
	struct tstamp now = clock_now();
	struct branch_node *n = NULL, *d;
	struct branch_stat st;
	int r = check_absent(b, dir, name, e);

	if (r >= 0)
		r = has_room(b, e);
	if (r < 0)
		return r;
	pthread_mutex_lock(&b->lock);
	r = adopt_dir(b, dir, &d, e);
	if (r >= 0)
		r = branch_adopt(b, number, &n, e);
	if (r >= 0 && S_ISDIR(n->st.mode))
		r = err_set(e, -EPERM, "directories have one name");
	if (r >= 0 && !n->st.nlink)
		r = err_set(e, -ENOENT, "the file was removed");
	if (r >= 0 && n->st.nlink == UINT32_MAX)
		r = err_set(e, -EMLINK, "too many links");
	if (r >= 0) {
		st = n->st;
		st.nlink++;
		st.ctime = now;
		branch_put_node(&rec, &st, n->lower, n->lower_size, n->target);
		branch_put_entry(&rec, dir, name, number);
		put_touched(&rec, d, now);
		r = branch_commit(b, &rec, e);
	}
	if (r >= 0)
		*ret = st;
	pthread_mutex_unlock(&b->lock);
	return r;
}

/* What is about to lose a name: exists, and is or is not a directory, which must be empty. Sets *ret. */
static int check_victim(struct branch *b, uint64_t dir, const char *name, bool directory,
	struct branch_stat *ret, struct err *e)
{
	int r = branch_lookup(b, dir, name, ret, e);

	if (r < 0)
		return r;
	if (S_ISDIR(ret->mode) != directory)
		return err_set(e, directory ? -ENOTDIR : -EISDIR, "%s", name);
	if (directory)
		r = branch_list(b, ret->number, 0, stop, NULL, e);
	return r > 0 ? err_set(e, -ENOTEMPTY, "%s is not empty", name) : r;
}

/* It has one name less. The lock is held. */
static void put_lost(struct buf *rec, const struct branch_node *n, struct tstamp now)
{
	struct branch_stat st = n->st;

	st.nlink = S_ISDIR(st.mode) ? 0 : st.nlink - 1;
	st.ctime = now;
	branch_put_node(rec, &st, n->lower, n->lower_size, n->target);
}

int branch_unlink(struct branch *b, uint64_t dir, const char *name, bool directory, struct err *e)
{
	_cleanup_(buf_free) struct buf rec = {0};
	struct tstamp now = clock_now();
	struct branch_node *d, *n = NULL;
	struct branch_stat st;
	int r = check_victim(b, dir, name, directory, &st, e);

	if (r < 0)
		return r;
	pthread_mutex_lock(&b->lock);
	r = branch_adopt(b, dir, &d, e);
	if (r >= 0)
		r = branch_adopt(b, st.number, &n, e);
	if (r >= 0) {
		put_lost(&rec, n, now);
		branch_put_entry(&rec, dir, name, 0);
		put_touched(&rec, d, now);
		r = branch_commit(b, &rec, e);
	}
	pthread_mutex_unlock(&b->lock);
	return r;
}

/* What the new name means now: *ret_there false when nothing. */
static int check_replaced(struct branch *b, uint64_t dir, const char *name, const struct branch_stat *moved,
	bool keep, bool *ret_there, struct branch_stat *ret, struct err *e)
{
	int r = branch_lookup(b, dir, name, ret, e);

	*ret_there = r >= 0;
	if (r < 0)
		return r == -ENOENT ? 0 : r;
	if (keep)
		return err_set(e, -EEXIST, "%s exists", name);
	if (ret->number == moved->number)
		return 0;
	return check_victim(b, dir, name, S_ISDIR(moved->mode), ret, e);
}

int branch_rename(struct branch *b, uint64_t dir, const char *name, uint64_t new_dir, const char *new_name,
	bool keep, struct err *e)
{
	_cleanup_(buf_free) struct buf rec = {0};
	struct tstamp now = clock_now();
	struct branch_node *n = NULL, *from, *to = NULL, *victim = NULL;
	struct branch_stat st, old;
	bool there;
	int r = branch_lookup(b, dir, name, &st, e);

	if (r >= 0 && strlen(new_name) > 255)
		r = err_set(e, -ENAMETOOLONG, "%.40s… is too long", new_name);
	if (r >= 0)
		r = check_replaced(b, new_dir, new_name, &st, keep, &there, &old, e);
	if (r < 0)
		return r;
	/* Two names of one file: POSIX wants nothing done. */
	if (there && old.number == st.number)
		return 0;
	pthread_mutex_lock(&b->lock);
	r = branch_adopt(b, dir, &from, e);
	if (r >= 0)
		r = adopt_dir(b, new_dir, &to, e);
	if (r >= 0)
		r = branch_adopt(b, st.number, &n, e);
	if (r >= 0 && there)
		r = branch_adopt(b, old.number, &victim, e);
	if (r >= 0) {
		st = n->st;
		st.ctime = now;
		st.parent = new_dir;
		branch_put_node(&rec, &st, n->lower, n->lower_size, n->target);
		if (victim)
			put_lost(&rec, victim, now);
		branch_put_entry(&rec, dir, name, 0);
		branch_put_entry(&rec, new_dir, new_name, st.number);
		put_touched(&rec, from, now);
		if (to != from)
			put_touched(&rec, to, now);
		r = branch_commit(b, &rec, e);
	}
	pthread_mutex_unlock(&b->lock);
	return r;
}

void branch_forget(struct branch *b, uint64_t number)
{
	struct branch_node *n;

	pthread_mutex_lock(&b->lock);
	n = branch_table_node(&b->table, number);
	if (n && !n->st.nlink) {
		bool file = S_ISREG(n->st.mode);

		branch_table_drop(&b->table, n);
		if (file)
			branch_leave(b, number);
	}
	pthread_mutex_unlock(&b->lock);
	branch_relieve(b);
}

/* ---- attributes ---- */

void branch_change_stat(struct branch_stat *st, const struct branch_change *c)
{
	st->ctime = clock_now();
	if (c->set_mode)
		st->mode = (st->mode & S_IFMT) | (c->mode & 07777);
	if (c->set_uid)
		st->uid = c->uid;
	if (c->set_gid)
		st->gid = c->gid;
	if (c->set_atime)
		st->atime = c->atime;
	if (c->set_mtime)
		st->mtime = c->mtime;
}

int branch_setattr(struct branch *b, uint64_t number, const struct branch_change *c, struct branch_stat *ret,
	struct err *e)
{
	_cleanup_(buf_free) struct buf rec = {0};
	struct branch_open *o = NULL;
	struct branch_node *n;
	struct branch_stat st;
	int r;

	if (c->set_size) {
		r = branch_open(b, number, &o, e);
		if (r >= 0)
			r = branch_resize(o, c, ret, e);
		branch_open_drop(o);
		return r;
	}
	pthread_mutex_lock(&b->lock);
	r = branch_adopt(b, number, &n, e);
	if (r >= 0) {
		st = n->st;
		branch_change_stat(&st, c);
		branch_put_node(&rec, &st, n->lower, n->lower_size, n->target);
		r = branch_commit(b, &rec, e);
	}
	pthread_mutex_unlock(&b->lock);
	if (r >= 0)
		*ret = st;
	return r;
}

int branch_drop_privileges(struct branch *b, uint64_t number, struct err *e)
{
	struct branch_change c = {.set_mode = true};
	struct branch_stat st = {0};
	int r = branch_getattr(b, number, &st, e);

	c.mode = st.mode & ~(uint32_t)(S_ISUID | (st.mode & S_IXGRP ? S_ISGID : 0));
	if (r < 0 || !S_ISREG(st.mode) || c.mode == st.mode)
		return r;
	return branch_setattr(b, number, &c, &st, e);
}

int branch_fsync_dir(struct branch *b, uint64_t number, struct err *e)
{
	struct branch_node *n;
	uint64_t end;

	pthread_mutex_lock(&b->lock);
	n = branch_table_node(&b->table, number);
	end = n ? n->log_end : 0;
	pthread_mutex_unlock(&b->lock);
	return branch_sync_log(b, end, e);
}

void branch_used(struct branch *b, uint64_t *ret_used, uint64_t *ret_max)
{
	pthread_mutex_lock(&b->lock);
	*ret_used = (b->table.n_blocks + b->reserved) * BRANCH_BLOCK + branch_log_end(b->log);
	pthread_mutex_unlock(&b->lock);
	*ret_max = b->max_bytes;
}

/* ---- opening and closing ---- */

static int apply(void *arg, const uint8_t *p, size_t n, struct err *e)
{
	struct branch *b = arg;

	return branch_table_apply(&b->table, p, n, e);
}

/* Who had it open is gone. */
static void sweep(void *arg, struct branch_table *t, struct branch_node *n)
{
	struct branch *b = arg;

	if (!n->st.nlink && n->st.number != BRANCH_ROOT) {
		uint64_t number = n->st.number;
		bool file = S_ISREG(n->st.mode);

		branch_table_drop(t, n);
		if (file)
			branch_leave(b, number);
	}
}

static void branch_free(struct branch *b)
{
	branch_opens_free(b);
	branch_log_free(b->log);
	branch_table_release(&b->table);
	if (b->files >= 0)
		close(b->files);
	pthread_mutex_destroy(&b->lock);
	pthread_mutex_destroy(&b->names);
	free(b->leaving);
	free(b->files_path);
	free(b->path);
	free(b);
}

int branch_new(const char *path, const struct branch_options *o, struct branch **ret, struct err *e)
{
	_cleanup_(freep) char *log = io_join(path, "log");
	struct branch *b = calloc(1, sizeof(*b));
	int r;

	if (!b || !log || !(b->files_path = io_join(path, "files"))) {
		free(b);
		return err_set(e, -ENOMEM, "no memory for a branch");
	}
	b->lower = o->lower;
	b->lower_arg = o->lower_arg;
	b->durable = o->durable;
	b->max_bytes = o->max_bytes;
	b->files = -1;
	pthread_mutex_init(&b->lock, NULL);
	pthread_mutex_init(&b->names, NULL);
	b->path = strdup(path);
	r = !b->path || branch_table_init(&b->table) < 0 ? err_set(e, -ENOMEM, "no memory for a branch") : 0;
	if (r >= 0)
		r = io_mkdirs(b->files_path, 0700, e);
	if (r >= 0 && (b->files = open(b->files_path, O_DIRECTORY | O_CLOEXEC)) < 0)
		r = err_sys(e, -errno, "%s", b->files_path);
	if (r >= 0)
		r = branch_log_open(log, o->durable, apply, b, &b->log, e);
	if (r >= 0 && o->durable)
		r = io_sync_dir(path, e);
	if (r < 0) {
		branch_free(b);
		return r;
	}
	branch_table_each(&b->table, sweep, b);
	/* The log is on disk. */
	r = branch_sync_log(b, branch_log_end(b->log), e);
	if (r >= 0)
		r = branch_tidy(b, e);
	if (r < 0) {
		branch_free(b);
		return r;
	}
	*ret = b;
	return 0;
}

int branch_close(struct branch *b, struct err *e)
{
	int r;

	if (!b)
		return 0;
	r = branch_sync_all(b, e);
	branch_free(b);
	return r;
}
