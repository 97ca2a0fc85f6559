/* Objects as files of a local folder: name = path below it.
 *
 * An object is written to an unnamed file and linked when its bytes are on disk (src/base/io.h), so a crash
 * leaves no half object and, on file systems with O_TMPFILE, no litter. Folders whose names changed since the
 * last barrier are remembered and synced there. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "src/base/clean.h"
#include "src/base/fault.h"
#include "src/base/io.h"
#include "store/backend.h"

#define DIR_MODE 0750
#define OBJECT_MODE 0440

/* So much is handed to the disk at a time while an object is still being written, which leaves little for the
 * fsync. A segment of WAL becomes some 3 MiB. */
#define WRITEBACK_STEP (1u << 20)
#define PAGE 4096 /* one that is still being filled would be written twice */

struct local {
	struct backend base;
	char *root;
	uid_t uid; /* who new files go to when we are root */
	gid_t gid;
	bool give;
	pthread_mutex_t barrier; /* rank: above lock; one barrier at a time, so that none returns before what
				  * it found already taken by another is synced */
	pthread_mutex_t lock;	 /* rank: leaf; guards dirty */
	char **dirty;		 /* folders, by path, to sync at the next barrier */
	size_t n_dirty;
};

struct local_object {
	struct object base;
	int fd;
	char *name;
};

struct local_upload {
	struct upload base;
	struct newfile file;
	uint64_t written, flushed;
	bool synced; /* nothing was written since the last sync */
};

static void local_free(struct backend *b)
{
	struct local *l = (struct local *)b;

	for (size_t i = 0; i < l->n_dirty; i++)
		free(l->dirty[i]);
	free(l->dirty);
	pthread_mutex_destroy(&l->lock);
	pthread_mutex_destroy(&l->barrier);
	free(l->root);
	free(l);
}

static char *path_of(struct backend *b, const char *name)
{
	return io_join(((struct local *)b)->root, name);
}

/* Remembers a folder for the barrier. Takes dir; NULL is -ENOMEM. */
static int mark_dirty(struct local *l, char *dir)
{
	int r = 0;

	if (!dir)
		return -ENOMEM;
	pthread_mutex_lock(&l->lock);
	for (size_t i = 0; i < l->n_dirty; i++)
		if (!strcmp(l->dirty[i], dir)) {
			free(dir);
			goto out;
		}
	char **more = realloc(l->dirty, (l->n_dirty + 1) * sizeof(*more));
	if (!more) {
		free(dir);
		r = -ENOMEM;
		goto out;
	}
	l->dirty = more;
	l->dirty[l->n_dirty++] = dir;
out:
	pthread_mutex_unlock(&l->lock);
	return r;
}

static int local_barrier(struct backend *b, struct err *e)
{
	struct local *l = (struct local *)b;
	char **dirty;
	size_t n;
	int r = 0;

	pthread_mutex_lock(&l->barrier);
	pthread_mutex_lock(&l->lock);
	dirty = l->dirty;
	n = l->n_dirty;
	l->dirty = NULL;
	l->n_dirty = 0;
	pthread_mutex_unlock(&l->lock);
	for (size_t i = 0; i < n; i++) {
		if (!r)
			r = io_sync_dir(dirty[i], e);
		if (r == -ENOENT)
			r = 0; /* no folder, no names */
		/* What was not synced stays to be. */
		if (r < 0)
			mark_dirty(l, dirty[i]);
		else
			free(dirty[i]);
	}
	free(dirty);
	pthread_mutex_unlock(&l->barrier);
	return r;
}

static char *parent_of(const char *path)
{
	return strndup(path, (size_t)(strrchr(path, '/') - path));
}

static int local_settle(struct backend *b, const char *name, struct err *e)
{
	_cleanup_(freep) char *path = path_of(b, name);
	_cleanup_(freep) char *dir = path ? parent_of(path) : NULL;

	return dir ? io_sync_dir(dir, e) : err_sys(e, -ENOMEM, "object %s", name);
}

static int local_open(struct backend *b, const char *name, struct object **ret, struct err *e)
{
	_cleanup_(freep) char *path = path_of(b, name);
	struct local_object *o = malloc(sizeof(*o));
	int fault;

	if (!path || !o) {
		free(o);
		return err_sys(e, -ENOMEM, "object %s", name);
	}
	*o = (struct local_object){.base.backend = b, .name = strdup(name)};
	fault = fault_at("read-open");
	o->fd = fault < 0 ? -1 : open(path, O_RDONLY | O_CLOEXEC);
	if (o->fd < 0 || !o->name) {
		int r = fault < 0 ? fault : o->fd < 0 ? -errno : -ENOMEM;

		if (o->fd >= 0)
			close(o->fd);
		free(o->name);
		free(o);
		return err_sys(e, r, "object %s", path);
	}
	/* Chunks are read by range; guessing what follows is the mount's work, which knows the files. */
	posix_fadvise(o->fd, 0, 0, POSIX_FADV_RANDOM);
	*ret = &o->base;
	return 0;
}

static ssize_t local_read(struct object *base, uint64_t off, void *p, size_t n, struct err *e)
{
	struct local_object *o = (struct local_object *)base;
	ssize_t r = io_pread(o->fd, p, n, off);

	return r < 0 ? err_sys(e, (int)r, "reading object %s at %llu", o->name, (unsigned long long)off) : r;
}

static void local_advise(struct object *base, uint64_t off, size_t n)
{
	posix_fadvise(((struct local_object *)base)->fd, (off_t)off, (off_t)n, POSIX_FADV_WILLNEED);
}

static void local_close(struct object *base)
{
	struct local_object *o = (struct local_object *)base;

	close(o->fd);
	free(o->name);
	free(o);
}

/* An object is linked right after its last byte was written. */
static struct object_info info_of(const struct stat *st)
{
	return (struct object_info){
		.size = (uint64_t)st->st_size,
		.put = {st->st_mtim.tv_sec, (uint32_t)st->st_mtim.tv_nsec},
	};
}

static void closedirp(DIR **d)
{
	if (*d)
		closedir(*d);
}

static int list_dir(struct local *l, const char *name, backend_list_fn *fn, void *arg, struct err *e)
{
	_cleanup_(freep) char *path = io_join(l->root, name);
	_cleanup_(closedirp) DIR *d = path ? opendir(path) : NULL;
	struct dirent *de;
	bool marked = false;
	int fault = fault_at("read-list");

	if (!path)
		return err_sys(e, -ENOMEM, "listing %s", name);
	if (fault < 0)
		return err_sys(e, fault, "listing %s", path);
	if (!d)
		return errno == ENOENT ? 0 : err_sys(e, -errno, "listing %s", path);
	for (errno = 0; (de = readdir(d)); errno = 0) {
		_cleanup_(freep) char *child = NULL;
		struct object_info info;
		struct stat st;
		int r = 0;

		/* ".new-…" is an unfinished object on a file system without O_TMPFILE. */
		if (de->d_name[0] == '.')
			continue;
		child = *name ? io_join(name, de->d_name) : strdup(de->d_name);
		if (!child)
			return err_sys(e, -ENOMEM, "listing %s", path);
		if (fstatat(dirfd(d), de->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0) {
			if (errno == ENOENT)
				continue;
			return err_sys(e, -errno, "object %s/%s", path, de->d_name);
		}
		if (S_ISDIR(st.st_mode)) {
			r = list_dir(l, child, fn, arg, e);
		} else if (S_ISREG(st.st_mode)) {
			/* Whoever put it may have been killed before his barrier, and the caller may build
			 * on it. */
			if (!marked && (r = mark_dirty(l, strdup(path))) < 0)
				return err_sys(e, r, "listing %s", path);
			marked = true;
			info = info_of(&st);
			r = fn(arg, child, &info);
		}
		if (r)
			return r;
	}
	return errno ? err_sys(e, -errno, "listing %s", path) : 0;
}

static int local_list(struct backend *b, const char *prefix, backend_list_fn *fn, void *arg, struct err *e)
{
	return list_dir((struct local *)b, prefix, fn, arg, e);
}

static int local_folders(struct backend *b, const char *prefix, backend_list_fn *fn, void *arg, struct err *e)
{
	_cleanup_(freep) char *path = path_of(b, prefix);
	_cleanup_(closedirp) DIR *d = path ? opendir(path) : NULL;
	const struct object_info none = {0};
	struct dirent *de;

	if (!path)
		return err_sys(e, -ENOMEM, "listing %s", prefix);
	if (!d)
		return errno == ENOENT ? 0 : err_sys(e, -errno, "listing %s", path);
	for (errno = 0; (de = readdir(d)); errno = 0) {
		struct stat st;
		int r;

		if (de->d_name[0] == '.' || fstatat(dirfd(d), de->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0 ||
			!S_ISDIR(st.st_mode))
			continue;
		r = fn(arg, de->d_name, &none);
		if (r)
			return r;
	}
	return errno ? err_sys(e, -errno, "listing %s", path) : 0;
}

static int local_stat(struct backend *b, const char *name, struct object_info *ret, struct err *e)
{
	_cleanup_(freep) char *path = path_of(b, name);
	struct stat st;
	int r = fault_at("read-stat");

	if (!path)
		return err_sys(e, -ENOMEM, "object %s", name);
	if (!r && stat(path, &st) < 0)
		r = -errno;
	if (r < 0)
		return err_sys(e, r, "object %s", path);
	*ret = info_of(&st);
	return 0;
}

static int local_remove(struct backend *b, const char *name, struct err *e)
{
	_cleanup_(freep) char *path = path_of(b, name);
	char *dir;
	int r;

	if (!path)
		return err_sys(e, -ENOMEM, "object %s", name);
	r = io_unlink(path);
	if (r < 0)
		return err_sys(e, r, "removing object %s", path);
	dir = parent_of(path);
	if (mark_dirty((struct local *)b, dir) < 0)
		return err_sys(e, -ENOMEM, "object %s", name);
	return 0;
}

/* The folder for new objects: made, with its parents below the root, when it is missing. */
static int need_dir(struct local *l, const char *dir, struct err *e)
{
	struct stat st;
	_cleanup_(freep) char *up = NULL;
	int r;

	if (stat(dir, &st) == 0)
		return 0;
	up = parent_of(dir);
	if (!up)
		return err_sys(e, -ENOMEM, "folder %s", dir);
	if (strlen(up) > strlen(l->root)) {
		r = need_dir(l, up, e);
		if (r < 0)
			return r;
	}
	r = io_mkdirs(dir, DIR_MODE, e);
	if (!r && l->give && chown(dir, l->uid, l->gid) < 0)
		r = err_sys(e, -errno, "giving folder %s to the repository's owner", dir);
	return r;
}

static int local_upload_begin(struct backend *b, const char *prefix, struct upload **ret, struct err *e)
{
	struct local *l = (struct local *)b;
	_cleanup_(freep) char *dir = *prefix ? path_of(b, prefix) : strdup(l->root);
	struct local_upload *u = calloc(1, sizeof(*u));
	int r = dir && u ? need_dir(l, dir, e) : err_sys(e, -ENOMEM, "a new object in %s", prefix);

	if (!r)
		r = newfile_open(dir, OBJECT_MODE, &u->file, e);
	if (r < 0) {
		free(u);
		return r;
	}
	u->base.backend = b;
	if (l->give && fchown(u->file.fd, l->uid, l->gid) < 0) {
		r = err_sys(e, -errno, "giving a new object in %s to the repository's owner", dir);
		newfile_close(&u->file);
		free(u);
		return r;
	}
	*ret = &u->base;
	return 0;
}

static int local_upload_write(struct upload *base, const void *p, size_t n, struct err *e)
{
	struct local_upload *u = (struct local_upload *)base;
	int r = newfile_write(&u->file, p, n, e);

	if (r < 0)
		return r;
	u->synced = false;
	u->written += n;
	if (u->written - u->flushed >= WRITEBACK_STEP) {
		uint64_t whole = u->written - u->written % PAGE;

		/* Only starts the writing; a file system without it loses nothing but time. */
		sync_file_range(
			u->file.fd, (off_t)u->flushed, (off_t)(whole - u->flushed), SYNC_FILE_RANGE_WRITE);
		u->flushed = whole;
	}
	return 0;
}

static int local_upload_sync(struct upload *base, struct err *e)
{
	struct local_upload *u = (struct local_upload *)base;
	int r = u->synced ? 0 : newfile_sync(&u->file, e);

	u->synced = r == 0;
	return r;
}

static int local_upload_commit(struct upload *base, const char *name, struct err *e)
{
	struct local_upload *u = (struct local_upload *)base;
	struct local *l = (struct local *)base->backend;
	const char *slash = strrchr(name, '/');
	char *dir;
	int r = local_upload_sync(base, e);

	if (!r)
		r = newfile_link(&u->file, slash ? slash + 1 : name, e);
	if (r < 0)
		return r;
	dir = strdup(u->file.dir);
	if (mark_dirty(l, dir) < 0)
		return err_sys(e, -ENOMEM, "object %s", name);
	return 0;
}

static void local_upload_free(struct upload *base)
{
	struct local_upload *u = (struct local_upload *)base;

	newfile_close(&u->file);
	free(u);
}

static int local_space(struct backend *b, uint64_t *free_bytes, uint64_t *total_bytes, struct err *e)
{
	struct local *l = (struct local *)b;
	struct statvfs v;

	if (statvfs(l->root, &v) < 0)
		return err_sys(e, -errno, "repository %s", l->root);
	*free_bytes = (uint64_t)v.f_bavail * v.f_frsize;
	*total_bytes = (uint64_t)v.f_blocks * v.f_frsize;
	return 0;
}

static const struct backend_ops ops = {
	.free = local_free,
	.open = local_open,
	.read = local_read,
	.advise = local_advise,
	.close = local_close,
	.list = local_list,
	.folders = local_folders,
	.stat = local_stat,
	.remove = local_remove,
	.upload_begin = local_upload_begin,
	.upload_write = local_upload_write,
	.upload_sync = local_upload_sync,
	.upload_commit = local_upload_commit,
	.upload_free = local_upload_free,
	.barrier = local_barrier,
	.settle = local_settle,
	.space = local_space,
};

int backend_local(const char *path, struct backend **ret, struct err *e)
{
	struct local *l;
	struct stat st;
	char *root = realpath(path, NULL);

	if (!root)
		return err_sys(e, -errno, "repository %s", path);
	if (stat(root, &st) < 0 || !S_ISDIR(st.st_mode)) {
		free(root);
		return err_set(e, -ENOTDIR, "repository %s is not a directory", path);
	}
	l = calloc(1, sizeof(*l));
	if (!l) {
		free(root);
		return err_sys(e, -ENOMEM, "repository %s", path);
	}
	l->base.ops = &ops;
	l->root = root;
	l->uid = st.st_uid;
	l->gid = st.st_gid;
	l->give = geteuid() == 0 && (st.st_uid || st.st_gid);
	pthread_mutex_init(&l->lock, NULL);
	pthread_mutex_init(&l->barrier, NULL);
	*ret = &l->base;
	return 0;
}
