/* One function for each request of the kernel: find the node, ask its provider, reply.
 *
 * Every request is answered exactly once, on the thread that took it, with no lock held. Valid replies are
 * those that libfuse's fuse_lowlevel.h (3.14) names for the operation.
 *
 * Everything below a snapshot is immutable, so the kernel may keep names, attributes, directories and bytes
 * as long as it likes; nodes with NODE_BRIEF_* flags are the exceptions. What is of a branch changes, but only by
 * the kernel's own requests (driver_write.c). Operations that are in neither file are answered with ENOSYS by
 * libfuse, after which the kernel stops asking and does the right thing by itself: access (the kernel checks
 * permissions where they are checked at all), flush, locks, copy_file_range, and lseek, where the kernel takes a
 * file for one piece of data. See fs/README.md for what was measured. */
#define FUSE_USE_VERSION FUSE_MAKE_VERSION(3, 14)
#include <fuse_lowlevel.h>

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>

#include "fs/attr.h"
#include "fs/driver.h"
#include "fs/driver_core.h"
#include "fs/fs.h"
#include "fs/handle.h"
#include "src/base/buf.h"
#include "src/base/clean.h"

#define LONG DRIVER_LONG
#define BRIEF 1.0 /* what other processes may add to */
/* A reply of 1 MiB, the kernel's largest, out of the smallest chunks (8 KiB) that begins within one. */
#define SLICES 129

static struct fs *fs_of(fuse_req_t req)
{
	return fuse_req_userdata(req);
}

bool driver_get(void *req, uint64_t ino, struct node *ret)
{
	if (inode_get(fs_of(req)->inodes, ino, ret))
		return true;
	fuse_reply_err(req, ESTALE);
	return false;
}

static void reply_failed(fuse_req_t req, const struct node *n, int code, struct err *e)
{
	fuse_reply_err(req, fs_failed(fs_of(req), n, code, e));
}

static void driver_init(void *userdata, struct fuse_conn_info *conn)
{
	(void)userdata;
	/* Nothing that is cached ever becomes stale by itself: no asking for attributes on reads. */
	conn->want &= ~(unsigned)FUSE_CAP_AUTO_INVAL_DATA;
	/* The second version of it is asked for in driver_channel.c. */
	conn->want &= ~(unsigned)FUSE_CAP_HANDLE_KILLPRIV;
	conn->want |= conn->capable & (FUSE_CAP_ASYNC_READ | FUSE_CAP_PARALLEL_DIROPS | FUSE_CAP_READDIRPLUS |
					      FUSE_CAP_CACHE_SYMLINKS | FUSE_CAP_EXPLICIT_INVAL_DATA);
	/* Who lists a large directory mostly wants the attributes of all of it (find, ls -l, cp, rsync), but
	 * reads far ahead before asking for the first; the kernel's guess then sends a lookup for each entry.
	 */
	conn->want &= ~(unsigned)FUSE_CAP_READDIRPLUS_AUTO;
	conn->max_background = 64;
	conn->congestion_threshold = 48;
	conn->time_gran = 1;
}

/* ---- names and attributes ---- */

struct unwanted {
	struct fs *fs;
	uint64_t parent;
	char name[];
};

/* Not within a request: the kernel may hold the directory's lock for that, and wants it here. */
static void let_go(void *arg, unsigned worker)
{
	struct unwanted *u = arg;

	(void)worker;
	fuse_lowlevel_notify_inval_entry(u->fs->session, u->parent, u->name, strlen(u->name));
	free(u);
}

void driver_let_go(struct fs *fs, uint64_t parent, const char *name)
{
	struct unwanted *u = fs->session ? malloc(sizeof(*u) + strlen(name) + 1) : NULL;

	if (!u)
		return;
	u->fs = fs;
	u->parent = parent;
	strcpy(u->name, name);
	if (!handles_try_submit(fs->handles, let_go, u))
		free(u);
}

/* For how long the kernel may keep what the flag `brief` is about. */
static double timeout(const struct node *n, enum node_flag brief)
{
	if (n->flags & NODE_GROWING)
		return 0;
	return n->flags & brief ? BRIEF : LONG;
}

static int stat_of(const struct node *n, struct stat *ret, struct err *e)
{
	if (n->obj->ops->stat)
		return n->obj->ops->stat(n->obj, n, ret, e);
	attr_stat(n, ret);
	return 0;
}

static int entry_of(const struct node *n, struct fuse_entry_param *ret, struct err *e)
{
	*ret = (struct fuse_entry_param){
		.ino = n->ino,
		.attr_timeout = timeout(n, NODE_BRIEF_ATTR),
		.entry_timeout = timeout(n, NODE_BRIEF_NAME),
	};
	return stat_of(n, &ret->attr, e);
}

/* That there is no such name may be remembered where names are fixed, as in a snapshot, or change through this mount
 * alone. */
static void reply_absent(fuse_req_t req, const struct node *dir)
{
	const struct fuse_entry_param absent = {.entry_timeout = LONG};

	if (dir->obj->ops->snapshot || dir->flags & NODE_MOVES)
		fuse_reply_entry(req, &absent);
	else
		fuse_reply_err(req, ENOENT);
}

static void driver_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct fs *fs = fs_of(req);
	struct fuse_entry_param entry;
	struct node dir, n;
	struct err e = {0};
	int r;

	if (!driver_get(req, parent, &dir))
		return;
	if (dir.type != ENTRY_DIR) {
		fuse_reply_err(req, ENOTDIR);
		return;
	}
	r = dir.obj->ops->lookup(dir.obj, &dir, name, &n, &e);
	if (r == -ENOENT) {
		reply_absent(req, &dir);
		return;
	}
	if (r >= 0) {
		r = entry_of(&n, &entry, &e);
		if (r >= 0)
			r = inode_learn(fs->inodes, &n, &e);
		if (n.flags & NODE_HELD)
			ns_drop(n.obj);
	}
	if (r < 0) {
		reply_failed(req, &dir, r, &e);
		return;
	}
	/* A reply that did not get through has taught the kernel nothing. */
	if (fuse_reply_entry(req, &entry) < 0)
		inode_forget(fs->inodes, n.ino, 1);
}

static void driver_forget(fuse_req_t req, fuse_ino_t ino, uint64_t count)
{
	inode_forget(fs_of(req)->inodes, ino, count);
	fuse_reply_none(req);
}

static void driver_forget_multi(fuse_req_t req, size_t count, struct fuse_forget_data *forgets)
{
	for (size_t i = 0; i < count; i++)
		inode_forget(fs_of(req)->inodes, forgets[i].ino, forgets[i].nlookup);
	fuse_reply_none(req);
}

static void driver_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct node n;
	struct stat st;
	struct err e = {0};
	int r;

	(void)fi;
	if (!driver_get(req, ino, &n))
		return;
	if (n.flags & NODE_BRIEF_ATTR && n.obj->ops->refresh)
		n.obj->ops->refresh(n.obj, &n);
	r = stat_of(&n, &st, &e);
	if (r < 0)
		reply_failed(req, &n, r, &e);
	else
		fuse_reply_attr(req, &st, timeout(&n, NODE_BRIEF_ATTR));
}

static void driver_readlink(fuse_req_t req, fuse_ino_t ino)
{
	_cleanup_(freep) char *target = NULL;
	struct node n;
	struct err e = {0};
	int r;

	if (!driver_get(req, ino, &n))
		return;
	if (n.type != ENTRY_SYMLINK || !n.obj->ops->target) {
		fuse_reply_err(req, EINVAL);
		return;
	}
	r = n.obj->ops->target(n.obj, &n, &target, &e);
	if (r < 0)
		reply_failed(req, &n, r, &e);
	else
		fuse_reply_readlink(req, target);
}

/* `size` 0 asks for the length. */
static void reply_xattr(fuse_req_t req, const struct buf *b, size_t size)
{
	if (b->bad)
		fuse_reply_err(req, ENOMEM);
	else if (!size)
		fuse_reply_xattr(req, b->len);
	else if (b->len > size)
		fuse_reply_err(req, ERANGE);
	else
		fuse_reply_buf(req, (const char *)b->data, b->len);
}

static void driver_getxattr(fuse_req_t req, fuse_ino_t ino, const char *name, size_t size)
{
	_cleanup_(buf_free) struct buf b = {0};
	struct node n;
	struct err e = {0};
	int r;

	if (!driver_get(req, ino, &n))
		return;
	r = attr_get(fs_of(req), &n, name, &b, &e);
	if (r == -ENODATA && !e.code)
		fuse_reply_err(req, ENODATA);
	else if (r < 0)
		reply_failed(req, &n, r, &e);
	else
		reply_xattr(req, &b, size);
}

static void driver_listxattr(fuse_req_t req, fuse_ino_t ino, size_t size)
{
	_cleanup_(buf_free) struct buf b = {0};
	struct node n;

	if (!driver_get(req, ino, &n))
		return;
	attr_list(&n, &b);
	reply_xattr(req, &b, size);
}

static void driver_statfs(fuse_req_t req, fuse_ino_t ino)
{
	struct fs *fs = fs_of(req);
	struct statvfs below, st = {.f_bsize = 4096, .f_frsize = 4096, .f_namemax = TREE_NAME_MAX};
	struct err e = {0};
	struct node root;
	uint64_t used;
	int r;

	if (inode_get(fs->inodes, ino, &root) && root.flags & NODE_MOVES) {
		driver_branch_statfs(req, &root);
		return;
	}
	r = store_usage(fs->store, &used, &e);
	if (r < 0) {
		fs->root->ops->self(fs->root, &root);
		reply_failed(req, &root, r, &e);
		return;
	}
	/* The repository, and the room it has left: used = blocks - bfree, as df computes it. */
	if (statvfs(store_path(fs->store), &below) < 0)
		below = (struct statvfs){.f_frsize = st.f_frsize};
	st.f_bfree = (fsblkcnt_t)((double)below.f_bfree * (double)below.f_frsize / (double)st.f_frsize);
	st.f_bavail = (fsblkcnt_t)((double)below.f_bavail * (double)below.f_frsize / (double)st.f_frsize);
	st.f_blocks = st.f_bfree + used / st.f_frsize + (used % st.f_frsize != 0);
	st.f_files = inode_known(fs->inodes);
	st.f_flag = ST_RDONLY;
	fuse_reply_statfs(req, &st);
}

/* ---- directories ---- */

static void driver_opendir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct node n;

	if (!driver_get(req, ino, &n))
		return;
	/* Positions need no state, hence no handle. Only a snapshot's directories never change. */
	fi->cache_readdir = fi->keep_cache = n.obj->ops->snapshot != NULL;
	fuse_reply_open(req, fi);
}

static void driver_releasedir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	(void)ino;
	(void)fi;
	fuse_reply_err(req, 0);
}

/* A reply to readdir being filled. The offset that goes with an entry says where to continue after it: 1
 * after
 * ".", 2 after "..", 2 + position for the rest. */
struct filler {
	fuse_req_t req;
	char *p;
	size_t len, cap;
	bool plus;
	struct err e;
};

static int fill(struct filler *f, const char *name, const struct node *n, bool dot, uint64_t next)
{
	struct fuse_entry_param entry;
	size_t room = f->cap - f->len, need;
	off_t off = (off_t)next;
	bool counted;
	int r;

	r = entry_of(n, &entry, &f->e);
	if (r < 0)
		return r == -ESTALE ? 0 : r; /* went just now */
	if (!f->plus) {
		need = fuse_add_direntry(f->req, f->p + f->len, room, name, &entry.attr, off);
		if (need > room)
			return 1;
		f->len += need;
		return 0;
	}
	/* The kernel takes no lookup for these two and knows what they are; nor for what it is to look up itself. */
	counted = !dot && !(n->flags & NODE_NAME_ONLY);
	if (!counted) {
		entry = (struct fuse_entry_param){.attr = entry.attr};
		entry.attr.st_ino = n->ino;
	}
	need = fuse_add_direntry_plus(f->req, f->p + f->len, room, name, &entry, off);
	if (need > room)
		return 1;
	if (counted) {
		r = inode_learn(fs_of(f->req)->inodes, n, &f->e);
		if (r < 0)
			return r;
	}
	f->len += need;
	return 0;
}

static int fill_entry(void *arg, const char *name, uint64_t next, const struct node *n)
{
	return fill(arg, name, n, false, next + 2);
}

static void read_directory(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, bool plus)
{
	_cleanup_(freep) char *p = malloc(size);
	struct filler f = {.req = req, .p = p, .cap = size, .plus = plus};
	struct node dir, up;
	int r = 0;

	if (!driver_get(req, ino, &dir))
		return;
	if (!p) {
		fuse_reply_err(req, ENOMEM);
		return;
	}
	if (dir.type != ENTRY_DIR || off < 0) {
		fuse_reply_err(req, dir.type != ENTRY_DIR ? ENOTDIR : EINVAL);
		return;
	}
	if (off == 0)
		r = fill(&f, ".", &dir, true, 1);
	if (off <= 1 && r == 0) {
		up = dir; /* only its number is looked at */
		up.obj = fs_of(req)->root;
		up.ino = dir.parent;
		r = fill(&f, "..", &up, true, 2);
	}
	if (r == 0)
		r = dir.obj->ops->list(dir.obj, &dir, off < 2 ? 0 : (uint64_t)off - 2, fill_entry, &f, &f.e);
	/* What was read before an error is good; the error comes back with the next request. */
	if (r < 0 && !f.len)
		reply_failed(req, &dir, r, &f.e);
	else
		fuse_reply_buf(req, f.p, f.len);
}

static void driver_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi)
{
	(void)fi;
	read_directory(req, ino, size, off, false);
}

static void driver_readdirplus(
	fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi)
{
	(void)fi;
	read_directory(req, ino, size, off, true);
}

/* ---- files ---- */

/* Gives the kernel a small file's bytes with the first open, so that it need not ask for them: half of the round
 * trips of a client that reads many small files. A chunk at most, which the first read would decode anyway. What
 * cannot be read is left to the read, and its error. */
static void push_small(struct fs *fs, const struct node *n, struct file *f)
{
	struct fuse_bufvec bytes = FUSE_BUFVEC_INIT(n->size);
	struct slice slice;
	unsigned count = 1;

	if (!n->size || n->size > file_chunk_size(f) || !fs->session || !inode_first_open(fs->inodes, n->ino))
		return;
	if (file_slices(f, 0, (size_t)n->size, &slice, &count, NULL) < 0)
		return;
	if (count == 1 && slice.len == n->size) {
		bytes.buf[0].mem = (void *)slice.p;
		fuse_lowlevel_notify_store(fs->session, n->ino, 0, &bytes, 0);
	}
	if (count)
		slice_release(&slice);
}

static void driver_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct fs *fs = fs_of(req);
	struct handle *h = NULL;
	struct file *f = NULL;
	struct node n;
	struct err e = {0};
	bool writes;
	int r;

	if (!driver_get(req, ino, &n))
		return;
	if (n.flags & NODE_MOVES) {
		driver_branch_open(req, &n, fi);
		return;
	}
	writes = (fi->flags & O_ACCMODE) != O_RDONLY;
	if ((writes && !n.obj->ops->opens_for_sync) || fi->flags & O_TRUNC) {
		fuse_reply_err(req, EROFS);
		return;
	}
	if (n.type != ENTRY_FILE || !n.obj->ops->open) {
		fuse_reply_err(req, n.type == ENTRY_DIR ? EISDIR : EINVAL);
		return;
	}
	r = n.obj->ops->open(n.obj, &n, &f, &e);
	if (r >= 0)
		r = handle_new(fs->handles, &n, f, fuse_req_ctx(req)->pid, writes, &h);
	if (r < 0) {
		reply_failed(req, &n, r, &e);
		return;
	}
	/* What is written must come here to be refused, and no page of it be left in the kernel. */
	fi->direct_io = n.flags & NODE_GROWING || writes;
	if (!fi->direct_io)
		push_small(fs, &n, handle_file(h));
	fi->fh = (uintptr_t)h;
	fi->keep_cache = !(n.flags & NODE_GROWING);
	/* A reply that did not get through is not followed by a release. */
	if (fuse_reply_open(req, fi) < 0)
		handle_close(h);
}

static struct handle *handle_of(const struct fuse_file_info *fi)
{
	return (struct handle *)(uintptr_t)fi->fh;
}

static void driver_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	(void)ino;
	handle_close(handle_of(fi));
	fuse_reply_err(req, 0);
}

/* For what does not fit into slices, which no kernel asks for today: through memory. */
static void read_copy(fuse_req_t req, struct handle *h, uint64_t off, size_t size)
{
	_cleanup_(freep) char *p = malloc(size);
	struct err e = {0};
	ssize_t got;

	if (!p) {
		fuse_reply_err(req, ENOMEM);
		return;
	}
	got = file_read(handle_file(h), off, p, size, &e);
	if (got < 0)
		reply_failed(req, handle_node(h), (int)got, &e);
	else
		fuse_reply_buf(req, p, (size_t)got);
}

bool driver_read_slices(void *req, struct handle *h, struct file *f, uint64_t off, size_t size)
{
	struct slice slices[SLICES];
	struct iovec iov[SLICES];
	unsigned count = SLICES;
	size_t total = 0;
	struct err e = {0};
	int r = file_slices(f, off, size, slices, &count, &e);

	if (r < 0) {
		reply_failed(req, handle_node(h), r, &e);
		return true;
	}
	for (unsigned i = 0; i < count; i++) {
		iov[i] = (struct iovec){.iov_base = (void *)slices[i].p, .iov_len = slices[i].len};
		total += slices[i].len;
	}
	/* A short reply means the end of the file to the kernel, so it must not be one by chance. */
	if (total == size)
		fuse_reply_iov(req, iov, (int)count);
	for (unsigned i = 0; i < count; i++)
		slice_release(&slices[i]);
	return total == size;
}

static void driver_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi)
{
	struct handle *h = handle_of(fi);
	uint64_t end = handle_node(h)->size, left = off < 0 || (uint64_t)off >= end ? 0 : end - (uint64_t)off;

	(void)ino;
	if (handle_branch(h)) {
		driver_branch_read(req, h, (uint64_t)off, size);
		return;
	}
	if (size > left)
		size = (size_t)left;
	if (!size) {
		fuse_reply_buf(req, NULL, 0);
		return;
	}
	handle_hold(h);
	handle_note_read(h, (uint64_t)off, size);
	if (!driver_read_slices(req, h, handle_file(h), (uint64_t)off, size))
		read_copy(req, h, (uint64_t)off, size);
	handle_drop(h);
}

static struct fuse_lowlevel_ops ops = {
	.init = driver_init,
	.lookup = driver_lookup,
	.forget = driver_forget,
	.forget_multi = driver_forget_multi,
	.getattr = driver_getattr,
	.readlink = driver_readlink,
	.getxattr = driver_getxattr,
	.listxattr = driver_listxattr,
	.statfs = driver_statfs,
	.opendir = driver_opendir,
	.readdir = driver_readdir,
	.readdirplus = driver_readdirplus,
	.releasedir = driver_releasedir,
	.open = driver_open,
	.read = driver_read,
	.release = driver_release,
};

const void *driver_ops(size_t *ret_size)
{
	driver_write_ops(&ops);
	*ret_size = sizeof(ops);
	return &ops;
}
