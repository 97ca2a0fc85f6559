/* Requests that change something, and all that are about the files of a branch. See driver.c for the rest.
 *
 * Only branches can be written; for everything else the answer is EROFS. A mount without branches is read-only to the kernel
 * (`ro`), which answers these itself; they arrive there only after somebody has remounted it rw.
 *
 * What a branch has changes by these requests alone, so the kernel may keep names, attributes and pages: each answer tells it
 * what is new, and it drops by itself what its own request has made old (a directory's times, say). It orders requests on
 * one directory, and on one file's size. Permissions are checked by it (default_permissions) or not at all. */
#define FUSE_USE_VERSION FUSE_MAKE_VERSION(3, 14)
#include <fuse_lowlevel.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>

#include "fs/driver_core.h"
#include "fs/fs.h"
#include "fs/ns_branch.h"
#include "src/base/clean.h"
#include "src/base/clock.h"

/* A node that may be changed. */
struct place {
	struct node n;
	struct branch *b;
	uint64_t number;
};

static struct fs *fs_of(fuse_req_t req)
{
	return fuse_req_userdata(req);
}

static void reply_failed(fuse_req_t req, const struct node *n, int code, struct err *e)
{
	fuse_reply_err(req, fs_failed(fs_of(req), n, code, e));
}

/* Says 0 or what went wrong. */
static void reply_done(fuse_req_t req, const struct node *n, int code, struct err *e)
{
	if (code < 0)
		reply_failed(req, n, code, e);
	else
		fuse_reply_err(req, 0);
}

/* Finds the node, or answers: EROFS where nothing can be changed. */
static bool writable(fuse_req_t req, fuse_ino_t ino, struct place *ret)
{
	if (!driver_get(req, ino, &ret->n))
		return false;
	ret->b = ns_branch_of(&ret->n, &ret->number);
	if (!ret->b)
		fuse_reply_err(req, ret->n.flags & NODE_MOVES ? ESTALE : EROFS);
	return ret->b != NULL;
}

/* The kernel is to learn of the file. */
static int learn(fuse_req_t req, struct ns_object *o, const struct branch_stat *st,
	struct fuse_entry_param *ret, struct err *e)
{
	struct node n;

	ns_branch_node(o, st, &n);
	*ret = (struct fuse_entry_param){
		.ino = n.ino, .attr_timeout = DRIVER_LONG, .entry_timeout = DRIVER_LONG};
	ns_branch_attr(o, st, &ret->attr);
	return inode_learn(fs_of(req)->inodes, &n, e);
}

static void reply_entry(fuse_req_t req, const struct place *dir, const struct branch_stat *st)
{
	struct fuse_entry_param entry;
	struct err e = {0};
	int r = learn(req, dir->n.obj, st, &entry, &e);

	if (r < 0)
		reply_failed(req, &dir->n, r, &e);
	else if (fuse_reply_entry(req, &entry) < 0)
		inode_forget(fs_of(req)->inodes, entry.ino, 1);
}

/* To be called before what the request does to the file. */
static int drop_privileges(const struct node *n, struct err *e)
{
	uint64_t number;
	struct branch *b = driver_kills_privileges() ? ns_branch_of(n, &number) : NULL;

	return b ? branch_drop_privileges(b, number, e) : 0;
}

/* ---- names ---- */

static void make(fuse_req_t req, fuse_ino_t parent, const char *name, struct branch_make *m)
{
	const struct fuse_ctx *who = fuse_req_ctx(req);
	struct branch_stat st;
	struct err e = {0};
	struct place dir;
	int r;

	if (!writable(req, parent, &dir))
		return;
	m->uid = who->uid;
	m->gid = who->gid;
	r = branch_make(dir.b, dir.number, name, m, &st, &e);
	if (r < 0)
		reply_failed(req, &dir.n, r, &e);
	else
		reply_entry(req, &dir, &st);
}

static void driver_mknod(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, dev_t rdev)
{
	struct branch_make m = {.mode = mode};

	(void)rdev;
	/* The mount is `nodev`: nobody could use one. */
	if (S_ISCHR(mode) || S_ISBLK(mode))
		fuse_reply_err(req, EPERM);
	else
		make(req, parent, name, &m);
}

static void driver_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode)
{
	struct branch_make m = {.mode = S_IFDIR | (mode & 07777)};

	make(req, parent, name, &m);
}

static void driver_symlink(fuse_req_t req, const char *target, fuse_ino_t parent, const char *name)
{
	struct branch_make m = {.mode = S_IFLNK | 0777, .target = target};

	if (strlen(target) > TREE_TARGET_MAX)
		fuse_reply_err(req, ENAMETOOLONG);
	else
		make(req, parent, name, &m);
}

static void driver_link(fuse_req_t req, fuse_ino_t ino, fuse_ino_t parent, const char *name)
{
	struct branch_stat st;
	struct place dir, file;
	struct err e = {0};
	int r;

	if (!writable(req, parent, &dir) || !writable(req, ino, &file))
		return;
	r = dir.b == file.b ? branch_link(dir.b, file.number, dir.number, name, &st, &e) : -EXDEV;
	if (r < 0)
		reply_failed(req, &dir.n, r, &e);
	else
		reply_entry(req, &dir, &st);
}

static void driver_unlink(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct err e = {0};
	struct place dir;

	if (writable(req, parent, &dir))
		reply_done(req, &dir.n, branch_unlink(dir.b, dir.number, name, false, &e), &e);
}

static void driver_rmdir(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct err e = {0};
	struct place dir;
	struct node n;
	int r;

	if (!driver_get(req, parent, &n))
		return;
	if (n.obj->ops->remove) {
		r = n.obj->ops->remove(n.obj, &n, name, &e);
		reply_done(req, &n, r, &e);
	} else if (writable(req, parent, &dir)) {
		reply_done(req, &dir.n, branch_unlink(dir.b, dir.number, name, true, &e), &e);
	}
}

static void driver_rename(fuse_req_t req, fuse_ino_t parent, const char *name, fuse_ino_t new_parent,
	const char *new_name, unsigned flags)
{
	struct place from, to;
	struct err e = {0};
	int r;

	if (!writable(req, parent, &from) || !writable(req, new_parent, &to))
		return;
	if (flags & ~(unsigned)RENAME_NOREPLACE) {
		fuse_reply_err(req, EINVAL);
		return;
	}
	r = from.b == to.b ? branch_rename(from.b, from.number, name, to.number, new_name,
				     flags & RENAME_NOREPLACE, &e)
			   : -EXDEV;
	reply_done(req, &from.n, r, &e);
}

/* ---- attributes ---- */

static struct tstamp time_from(const struct timespec *t, bool now)
{
	return now ? clock_now() : (struct tstamp){t->tv_sec, (uint32_t)t->tv_nsec};
}

static void driver_setattr(
	fuse_req_t req, fuse_ino_t ino, struct stat *attr, int to_set, struct fuse_file_info *fi)
{
	const struct branch_change c = {
		.set_mode = to_set & FUSE_SET_ATTR_MODE,
		.set_uid = to_set & FUSE_SET_ATTR_UID,
		.set_gid = to_set & FUSE_SET_ATTR_GID,
		.set_size = to_set & FUSE_SET_ATTR_SIZE,
		.set_atime = to_set & (FUSE_SET_ATTR_ATIME | FUSE_SET_ATTR_ATIME_NOW),
		.set_mtime = to_set & (FUSE_SET_ATTR_MTIME | FUSE_SET_ATTR_MTIME_NOW),
		.mode = attr->st_mode,
		.uid = attr->st_uid,
		.gid = attr->st_gid,
		.size = (uint64_t)attr->st_size,
		.atime = time_from(&attr->st_atim, to_set & FUSE_SET_ATTR_ATIME_NOW),
		.mtime = time_from(&attr->st_mtim, to_set & FUSE_SET_ATTR_MTIME_NOW),
	};
	struct branch_stat st;
	struct stat shown;
	struct place file;
	struct err e = {0};
	int r;

	(void)fi;
	if (!writable(req, ino, &file))
		return;
	r = drop_privileges(&file.n, &e);
	if (r >= 0)
		r = branch_setattr(file.b, file.number, &c, &st, &e);
	if (r < 0) {
		reply_failed(req, &file.n, r, &e);
		return;
	}
	ns_branch_attr(file.n.obj, &st, &shown);
	fuse_reply_attr(req, &shown, DRIVER_LONG);
}

static void driver_setxattr(
	fuse_req_t req, fuse_ino_t ino, const char *name, const char *value, size_t size, int flags)
{
	struct place file;

	(void)name, (void)value, (void)size, (void)flags;
	if (writable(req, ino, &file))
		fuse_reply_err(req, EOPNOTSUPP);
}

static void driver_removexattr(fuse_req_t req, fuse_ino_t ino, const char *name)
{
	struct place file;

	(void)name;
	if (writable(req, ino, &file))
		fuse_reply_err(req, ENODATA);
}

void driver_branch_statfs(void *req, const struct node *n)
{
	struct statvfs disk,
		st = {.f_bsize = BRANCH_BLOCK, .f_frsize = BRANCH_BLOCK, .f_namemax = TREE_NAME_MAX};
	uint64_t number, used, max, left, avail;
	struct branch *b = ns_branch_of(n, &number);

	if (!b) {
		fuse_reply_err(req, ESTALE);
		return;
	}
	branch_used(b, &used, &max);
	if (statvfs(ns_branch_path(n->obj), &disk) < 0)
		disk = (struct statvfs){.f_frsize = BRANCH_BLOCK};
	left = (uint64_t)disk.f_bfree * disk.f_frsize;
	avail = (uint64_t)disk.f_bavail * disk.f_frsize;
	/* What may still be written to the branch: to its limit, or as much as the disk takes. */
	if (max && (max < used || max - used < left))
		left = max < used ? 0 : max - used;
	st.f_bfree = left / st.f_frsize;
	st.f_bavail = (avail < left ? avail : left) / st.f_frsize;
	st.f_blocks = st.f_bfree + (used + st.f_frsize - 1) / st.f_frsize;
	st.f_files = inode_known(fs_of(req)->inodes);
	fuse_reply_statfs(req, &st);
}

/* ---- files ---- */

/* Opens a file that the kernel knows, or is about to. */
static int open_number(fuse_req_t req, const struct place *file, struct fuse_file_info *fi,
	struct handle **ret, struct err *e)
{
	struct branch_open *o;
	int r = ns_branch_enter(file->n.obj, e);

	if (r < 0)
		return r;
	r = branch_open(file->b, file->number, &o, e);
	if (r < 0) {
		ns_branch_leave(file->n.obj);
		return r;
	}
	r = handle_new_branch(fs_of(req)->handles, &file->n, o, ret);
	if (r < 0)
		return r;
	fi->fh = (uintptr_t)*ret;
	/* What the kernel has of the file is what was read and written through it. */
	fi->keep_cache = 1;
	return 0;
}

void driver_branch_open(void *req, const struct node *n, void *fi)
{
	const struct branch_change cut = {.set_size = true};
	const struct fuse_file_info *how = fi;
	struct place file = {.n = *n};
	struct branch_stat st;
	struct handle *h = NULL;
	struct err e = {0};
	int r;

	file.b = ns_branch_of(n, &file.number);
	r = file.b ? 0 : -ESTALE;
	if (r >= 0 && how->flags & O_TRUNC)
		r = drop_privileges(n, &e);
	if (r >= 0 && how->flags & O_TRUNC)
		r = branch_setattr(file.b, file.number, &cut, &st, &e);
	if (r >= 0)
		r = open_number(req, &file, fi, &h, &e);
	if (r < 0)
		reply_failed(req, n, r, &e);
	/* A reply that did not get through is not followed by a release. */
	else if (fuse_reply_open(req, fi) < 0)
		handle_close(h);
}

static void driver_create(
	fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, struct fuse_file_info *fi)
{
	const struct fuse_ctx *who = fuse_req_ctx(req);
	const struct branch_make m = {.mode = S_IFREG | (mode & 07777), .uid = who->uid, .gid = who->gid};
	struct fuse_entry_param entry;
	struct place dir, file;
	struct branch_stat st;
	struct handle *h = NULL;
	struct err e = {0};
	int r;

	if (!writable(req, parent, &dir))
		return;
	r = branch_make(dir.b, dir.number, name, &m, &st, &e);
	if (r >= 0) {
		file = (struct place){.b = dir.b, .number = st.number};
		ns_branch_node(dir.n.obj, &st, &file.n);
		r = open_number(req, &file, fi, &h, &e);
	}
	if (r >= 0) {
		r = learn(req, dir.n.obj, &st, &entry, &e);
		if (r < 0)
			handle_close(h);
	}
	if (r < 0) {
		reply_failed(req, &dir.n, r, &e);
	} else if (fuse_reply_create(req, &entry, fi) < 0) {
		handle_close(h);
		inode_forget(fs_of(req)->inodes, entry.ino, 1);
	}
}

/* Through memory: what comes from several places. */
static void read_copy(fuse_req_t req, struct handle *h, uint64_t off, size_t size)
{
	_cleanup_(freep) char *p = malloc(size);
	struct err e = {0};
	ssize_t got;

	if (!p) {
		fuse_reply_err(req, ENOMEM);
		return;
	}
	got = branch_read(handle_branch(h), off, p, size, &e);
	if (got < 0)
		reply_failed(req, handle_node(h), (int)got, &e);
	else
		fuse_reply_buf(req, p, (size_t)got);
}

void driver_branch_read(void *req, struct handle *h, uint64_t off, size_t size)
{
	struct branch_share share;
	struct file *below;

	handle_hold(h);
	handle_note_read(h, off, size);
	below = handle_below(h, off, size, &share);
	if (!below || !share.all || !driver_read_slices(req, h, below, off, (size_t)share.n))
		read_copy(req, h, off, size);
	handle_drop(h);
}

static struct handle *handle_of(const struct fuse_file_info *fi)
{
	return (struct handle *)(uintptr_t)fi->fh;
}

static void driver_write(
	fuse_req_t req, fuse_ino_t ino, const char *p, size_t size, off_t off, struct fuse_file_info *fi)
{
	struct handle *h = handle_of(fi);
	struct err e = {0};
	int r;

	(void)ino;
	if (!handle_branch(h)) {
		fuse_reply_err(req, EROFS);
		return;
	}
	r = drop_privileges(handle_node(h), &e);
	if (r >= 0)
		r = branch_write(handle_branch(h), (uint64_t)off, p, size, &e);
	if (r < 0)
		reply_failed(req, handle_node(h), r, &e);
	else
		fuse_reply_write(req, size);
}

static void driver_fallocate(
	fuse_req_t req, fuse_ino_t ino, int mode, off_t off, off_t len, struct fuse_file_info *fi)
{
	struct handle *h = handle_of(fi);
	struct err e = {0};
	int r;

	(void)ino;
	if (!handle_branch(h)) {
		fuse_reply_err(req, EROFS);
		return;
	}
	r = drop_privileges(handle_node(h), &e);
	if (r >= 0)
		r = branch_allocate(handle_branch(h), mode, (uint64_t)off, (uint64_t)len, &e);
	reply_done(req, handle_node(h), r, &e);
}

static void driver_fsync(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi)
{
	struct handle *h = handle_of(fi);
	struct branch_open *o = handle_branch(h);
	struct err e = {0};

	(void)ino;
	/* What cannot be written is on disk. */
	if (!o)
		fuse_reply_err(req, 0);
	else
		reply_done(req, handle_node(h), datasync ? branch_fdatasync(o, &e) : branch_fsync(o, &e), &e);
}

static void driver_fsyncdir(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi)
{
	struct err e = {0};
	struct node n;
	uint64_t number;
	struct branch *b;

	(void)datasync, (void)fi;
	if (!driver_get(req, ino, &n))
		return;
	b = ns_branch_of(&n, &number);
	reply_done(req, &n, b ? branch_fsync_dir(b, number, &e) : 0, &e);
}

void driver_write_ops(void *ops)
{
	struct fuse_lowlevel_ops *o = ops;

	o->mknod = driver_mknod;
	o->mkdir = driver_mkdir;
	o->symlink = driver_symlink;
	o->link = driver_link;
	o->unlink = driver_unlink;
	o->rmdir = driver_rmdir;
	o->rename = driver_rename;
	o->setattr = driver_setattr;
	o->setxattr = driver_setxattr;
	o->removexattr = driver_removexattr;
	o->create = driver_create;
	o->write = driver_write;
	o->fallocate = driver_fallocate;
	o->fsync = driver_fsync;
	o->fsyncdir = driver_fsyncdir;
}
