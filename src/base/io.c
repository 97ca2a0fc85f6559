/* Whole reads and writes, and the durable writer. See io.h for the order of the steps. */
#include "src/base/io.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/random.h>
#include <unistd.h>

#include "src/base/clean.h"
#include "src/base/fault.h"

ssize_t io_read(int fd, void *p, size_t n)
{
	size_t done = 0;
	int fault = fault_at("read");

	if (fault < 0)
		return fault;
	while (done < n) {
		ssize_t r = fault_interrupted() ? -1 : read(fd, (char *)p + done, fault_scrap(n - done));

		if (r < 0 && errno == EINTR)
			continue;
		if (r < 0)
			return -errno;
		if (r == 0)
			break;
		done += (size_t)r;
	}
	return (ssize_t)done;
}

ssize_t io_pread(int fd, void *p, size_t n, uint64_t off)
{
	size_t done = 0;
	int fault = fault_at("read");

	if (fault < 0)
		return fault;
	while (done < n) {
		ssize_t r = fault_interrupted()
				    ? -1
				    : pread(fd, (char *)p + done, fault_scrap(n - done), (off_t)(off + done));

		if (r < 0 && errno == EINTR)
			continue;
		if (r < 0)
			return -errno;
		if (r == 0)
			break;
		done += (size_t)r;
	}
	return (ssize_t)done;
}

int io_write(int fd, const void *p, size_t n)
{
	const char *c = p;
	int r = fault_at("write");

	while (n && !r) {
		ssize_t w = fault_interrupted() ? -1 : write(fd, c, fault_scrap(n));

		if (w < 0 && errno == EINTR)
			continue;
		if (w < 0)
			return -errno;
		fault_note_write(fd, UINT64_MAX, c, (size_t)w);
		c += w;
		n -= (size_t)w;
	}
	return r;
}

int io_pwrite(int fd, const void *p, size_t n, uint64_t off)
{
	const char *c = p;
	int r = fault_at("pwrite");

	while (n && !r) {
		ssize_t w = fault_interrupted() ? -1 : pwrite(fd, c, fault_scrap(n), (off_t)off);

		if (w < 0 && errno == EINTR)
			continue;
		if (w < 0)
			return -errno;
		fault_note_write(fd, off, c, (size_t)w);
		c += w;
		off += (uint64_t)w;
		n -= (size_t)w;
	}
	return r;
}

int io_sync(int fd, const char *point)
{
	int r = fault_at(point);

	if (r < 0)
		return r;
	fault_note_fd(FAULT_SYNC, fd, NULL);
	if (fdatasync(fd) < 0)
		return -errno;
	fault_note_path(FAULT_SYNCED, NULL, NULL);
	return 0;
}

int io_truncate(int fd, uint64_t size, const char *point)
{
	int r = fault_at(point);

	if (r == 0 && ftruncate(fd, (off_t)size) < 0)
		r = -errno;
	if (r == 0)
		fault_note_truncate(fd, size);
	return r;
}

int io_read_file(const char *path, size_t max, void **ret, size_t *ret_len, struct err *e)
{
	_cleanup_(closep) int fd = open(path, O_RDONLY | O_CLOEXEC);
	_cleanup_(freep) char *p = NULL;
	size_t cap = 4096, len = 0;

	if (fd < 0)
		return err_sys(e, -errno, "%s", path);
	for (;;) {
		char *bigger = realloc(p, cap + 1);
		ssize_t n;

		if (!bigger)
			return err_sys(e, -ENOMEM, "%s", path);
		p = bigger;
		n = io_read(fd, p + len, cap - len);
		if (n < 0)
			return err_sys(e, (int)n, "%s", path);
		len += (size_t)n;
		if (len < cap)
			break;
		if (cap > max)
			return err_set(
				e, -EFBIG, "%s is larger than the %zu bytes allowed for it", path, max);
		cap *= 2;
	}
	if (len > max)
		return err_set(e, -EFBIG, "%s is larger than the %zu bytes allowed for it", path, max);
	p[len] = 0;
	*ret = MOVE(p);
	*ret_len = len;
	return 0;
}

int io_sync_dir(const char *path, struct err *e)
{
	_cleanup_(closep) int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	return fd < 0 ? err_sys(e, -errno, "directory %s", path) : io_sync_dir_fd(fd, path, "fsync-dir", e);
}

int io_sync_dir_fd(int fd, const char *path, const char *point, struct err *e)
{
	int r = fault_at(point);

	if (r < 0)
		return err_sys(e, r, "fsync of directory %s", path);
	fault_note_path(FAULT_SYNC_DIR, path, NULL);
	if (fsync(fd) < 0)
		return err_sys(e, -errno, "fsync of directory %s", path);
	fault_note_path(FAULT_SYNCED, NULL, NULL);
	return 0;
}

int io_unlink(const char *path)
{
	int r = fault_at("unlink");

	if (!r && unlink(path) < 0)
		r = -errno;
	if (!r)
		fault_note_path(FAULT_UNLINK, path, NULL);
	return r;
}

static int make_dir(const char *path, mode_t mode)
{
	int r = fault_at("mkdir");

	if (!r && mkdir(path, mode) < 0)
		r = -errno;
	if (!r)
		fault_note_path(FAULT_MKDIR, path, NULL);
	return r;
}

int io_mkdirs(const char *path, mode_t mode, struct err *e)
{
	_cleanup_(freep) char *p = strdup(path);
	_cleanup_(freep) char *parent = NULL;
	char *slash;
	int r;

	if (!p)
		return err_sys(e, -ENOMEM, "%s", path);
	for (size_t n = strlen(p); n > 1 && p[n - 1] == '/'; n--)
		p[n - 1] = 0;
	r = make_dir(p, mode);
	if (!r)
		goto made;
	if (r == -EEXIST) {
		struct stat st;

		if (stat(p, &st) == 0 && !S_ISDIR(st.st_mode))
			return err_set(e, -ENOTDIR, "%s exists and is not a directory", p);
		return 0;
	}
	if (r != -ENOENT)
		return err_sys(e, r, "mkdir %s", p);
	slash = strrchr(p, '/');
	if (!slash || slash == p)
		return err_sys(e, -ENOENT, "mkdir %s", p);
	parent = strndup(p, (size_t)(slash - p));
	if (!parent)
		return err_sys(e, -ENOMEM, "%s", path);
	r = io_mkdirs(parent, mode, e);
	if (r < 0)
		return r;
	r = make_dir(p, mode);
	if (r < 0 && r != -EEXIST)
		return err_sys(e, r, "mkdir %s", p);
made:
	slash = strrchr(p, '/');
	if (!slash)
		return io_sync_dir(".", e);
	slash[slash == p] = 0;
	return io_sync_dir(p, e);
}

char *io_join(const char *a, const char *b)
{
	char *p;

	return asprintf(&p, "%s/%s", a, b) < 0 ? NULL : p;
}

/* A fresh inode with a name, for file systems without O_TMPFILE. */
static int open_named(const char *dir, mode_t mode, struct newfile *f, struct err *e)
{
	for (int tries = 0; tries < 100; tries++) {
		_cleanup_(freep) char *path = NULL;
		uint64_t salt;
		int fd;

		if (getrandom(&salt, sizeof(salt), 0) != sizeof(salt))
			return err_sys(e, -errno, "getrandom");
		if (asprintf(&path, "%s/.new-%016llx", dir, (unsigned long long)salt) < 0)
			return err_sys(e, -ENOMEM, "%s", dir);
		fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, mode);
		if (fd < 0 && errno == EEXIST)
			continue;
		if (fd < 0)
			return err_sys(e, -errno, "a new file in %s", dir);
		f->fd = fd;
		f->temp = MOVE(path);
		return 0;
	}
	return err_set(e, -EEXIST, "no free temporary name in %s", dir);
}

int newfile_open(const char *dir, mode_t mode, struct newfile *ret, struct err *e)
{
	struct newfile f = NEWFILE_NONE;
	int r = fault_at("create");

	if (r < 0)
		return err_sys(e, r, "a new file in %s", dir);
	f.dir = strdup(dir);
	if (!f.dir)
		return err_sys(e, -ENOMEM, "%s", dir);
	f.fd = open(dir, O_TMPFILE | O_RDWR | O_CLOEXEC, mode);
	if (f.fd < 0) {
		/* open(2): EISDIR and EOPNOTSUPP come from kernels and file systems without O_TMPFILE. */
		r = errno == EOPNOTSUPP || errno == EISDIR ? open_named(dir, mode, &f, e)
							   : err_sys(e, -errno, "a new file in %s", dir);
		if (r < 0) {
			newfile_close(&f);
			return r;
		}
	}
	fault_note_fd(FAULT_CREATE, f.fd, f.temp);
	*ret = f;
	return 0;
}

int newfile_write(struct newfile *f, const void *p, size_t n, struct err *e)
{
	int r = io_write(f->fd, p, n);

	return r < 0 ? err_sys(e, r, "writing a new file in %s", f->dir) : 0;
}

int newfile_sync(struct newfile *f, struct err *e)
{
	int r = io_sync(f->fd, "fsync");

	return r < 0 ? err_sys(e, r, "fsync of a new file in %s", f->dir) : 0;
}

/* Links the inode at path; path must not exist. */
static int link_at(struct newfile *f, const char *path)
{
	char proc[32];
	int r = fault_at("link");

	if (r < 0)
		return r;
	/* open(2), O_TMPFILE: AT_EMPTY_PATH wants CAP_DAC_READ_SEARCH, the /proc way does not. */
	snprintf(proc, sizeof(proc), "/proc/self/fd/%d", f->fd);
	if (linkat(AT_FDCWD, f->temp ? f->temp : proc, AT_FDCWD, path, AT_SYMLINK_FOLLOW) < 0)
		return -errno;
	fault_note_fd(FAULT_LINK, f->fd, path);
	return 0;
}

static void drop_temp(struct newfile *f)
{
	if (f->temp)
		io_unlink(f->temp);
	free(f->temp);
	f->temp = NULL;
}

int newfile_link(struct newfile *f, const char *name, struct err *e)
{
	_cleanup_(freep) char *path = io_join(f->dir, name);
	int r = path ? link_at(f, path) : -ENOMEM;

	if (r < 0)
		return err_sys(e, r, "%s/%s", f->dir, name);
	drop_temp(f);
	return 0;
}

int newfile_rename(struct newfile *f, const char *name, struct err *e)
{
	_cleanup_(freep) char *path = io_join(f->dir, name);
	_cleanup_(freep) char *temp = NULL;
	uint64_t salt;
	int r;

	if (!path)
		return err_sys(e, -ENOMEM, "%s/%s", f->dir, name);
	if (!f->temp) {
		/* rename(2) wants a name to start from. */
		if (getrandom(&salt, sizeof(salt), 0) != sizeof(salt))
			return err_sys(e, -errno, "getrandom");
		if (asprintf(&temp, "%s/.new-%016llx", f->dir, (unsigned long long)salt) < 0)
			return err_sys(e, -ENOMEM, "%s", path);
		r = link_at(f, temp);
		if (r < 0)
			return err_sys(e, r, "%s", temp);
		f->temp = MOVE(temp);
	}
	r = fault_at("rename");
	if (!r && rename(f->temp, path) < 0)
		r = -errno;
	if (r < 0)
		return err_sys(e, r, "%s", path);
	fault_note_path(FAULT_RENAME, f->temp, path);
	free(f->temp);
	f->temp = NULL;
	return 0;
}

void newfile_close(struct newfile *f)
{
	drop_temp(f);
	if (f->fd >= 0)
		close(f->fd);
	free(f->dir);
	*f = NEWFILE_NONE;
}

static int put_file(const char *dir, const char *name, const void *p, size_t n, mode_t mode,
	int (*publish)(struct newfile *, const char *, struct err *), struct err *e)
{
	_cleanup_(newfile_close) struct newfile f = NEWFILE_NONE;
	int r = newfile_open(dir, mode, &f, e);

	if (!r)
		r = newfile_write(&f, p, n, e);
	if (!r)
		r = newfile_sync(&f, e);
	if (!r)
		r = publish(&f, name, e);
	return r ? r : io_sync_dir(dir, e);
}

int io_replace_file(const char *dir, const char *name, const void *p, size_t n, mode_t mode, struct err *e)
{
	return put_file(dir, name, p, n, mode, newfile_rename, e);
}

int io_create_file(const char *dir, const char *name, const void *p, size_t n, mode_t mode, struct err *e)
{
	return put_file(dir, name, p, n, mode, newfile_link, e);
}
