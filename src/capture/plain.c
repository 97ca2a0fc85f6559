/* The walk over a plain base backup. See plain.h.
 *
 * Directories are streamed, never listed whole: one may hold ten million files. Everything is opened relative
 * to its directory and without following links, so that nothing outside is read by accident; the links that
 * are followed on purpose are those that PostgreSQL itself follows. Descriptors: one a level of depth, one a
 * file that waits in the ingest's bounded queue. */
#include "src/capture/plain.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "src/base/clean.h"
#include "src/capture/account.h"

#define DEPTH_MAX 64 /* a server's own files lie at most five deep */
#define PATH_ROOM 4300

struct plain {
	struct base_sink *k;
	struct log *log;
	struct accounts *accounts;
	/* The entry at hand: where it is on disk, and where it goes. Levels append and take away. */
	char from[PATH_ROOM], to[PATH_ROOM];
	size_t from_len, to_len;
};

/* Lengths to go back to. */
struct mark {
	size_t from, to;
};

static struct mark mark(const struct plain *p)
{
	return (struct mark){.from = p->from_len, .to = p->to_len};
}

static void back(struct plain *p, struct mark m)
{
	p->from[p->from_len = m.from] = 0;
	p->to[p->to_len = m.to] = 0;
}

static int append(char path[PATH_ROOM], size_t *len, const char *name, struct err *e)
{
	size_t n = strlen(name);

	if (*len + 1 + n >= PATH_ROOM)
		return err_set(e, -ENAMETOOLONG, "%.200s…/%.200s: the path is too long", path, name);
	if (*len && path[*len - 1] != '/')
		path[(*len)++] = '/';
	memcpy(path + *len, name, n + 1);
	*len += n;
	return 0;
}

static int enter(struct plain *p, const char *name, struct err *e)
{
	int r = append(p->from, &p->from_len, name, e);

	return r == 0 ? append(p->to, &p->to_len, name, e) : r;
}

static struct meta meta_of(struct plain *p, const struct stat *st)
{
	return (struct meta){
		.mode = st->st_mode & 07777,
		.uid = st->st_uid,
		.gid = st->st_gid,
		.user = account_user(p->accounts, st->st_uid),
		.group = account_group(p->accounts, st->st_gid),
		.mtime = {.sec = st->st_mtim.tv_sec, .nsec = (uint32_t)st->st_mtim.tv_nsec},
	};
}

/* What a link says, without its end being looked at. */
static int read_link(struct plain *p, int dir, const char *name, char out[TREE_TARGET_MAX + 1], struct err *e)
{
	ssize_t n = readlinkat(dir, name, out, TREE_TARGET_MAX + 1);

	if (n < 0)
		return err_sys(e, -errno, "%s", p->from);
	if (n > TREE_TARGET_MAX)
		return err_set(e, -ENAMETOOLONG, "%s: the link's target is too long", p->from);
	out[n] = 0;
	return 0;
}

/* An OID as a directory's name: digits without a leading zero; 0 when it is none. */
static struct oid oid_of(const char *name)
{
	uint64_t v = 0;

	if (*name == '0' || strlen(name) > 10)
		return (struct oid){0};
	for (const char *s = name; *s; s++) {
		if (*s < '0' || *s > '9')
			return (struct oid){0};
		v = v * 10 + (uint64_t)(*s - '0');
	}
	return (struct oid){v > UINT32_MAX ? 0 : (uint32_t)v};
}

static int walk(struct plain *p, int fd, unsigned depth, struct err *e);

/* Opens a directory, without following a link unless told, tells the sink of it, and walks it. fd of the
 * parent, or AT_FDCWD with the whole path. */
static int take_dir(struct plain *p, int dir, const char *name, bool follow, unsigned depth, struct err *e)
{
	_cleanup_(closep) int fd = -1;
	struct stat st;
	struct meta m;
	int r;

	if (depth > DEPTH_MAX)
		return err_set(e, -ELOOP, "%s: more than %d directories deep", p->from, DEPTH_MAX);
	fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | (follow ? 0 : O_NOFOLLOW));
	if (fd < 0)
		return err_sys(e, -errno, "%s", p->from);
	if (fstat(fd, &st) < 0)
		return err_sys(e, -errno, "%s", p->from);
	m = meta_of(p, &st);
	r = base_sink_dir(p->k, p->to, &m, e);
	return r == 0 ? walk(p, MOVE_FD(fd), depth, e) : r;
}

/* pg_tblspc/OID: the link as such, then what it leads to as tablespaces/OID. */
static int take_tablespace(struct plain *p, int dir, const char *name, struct oid oid, const struct stat *st,
	unsigned depth, struct err *e)
{
	char target[TREE_TARGET_MAX + 1], to[sizeof(p->to)];
	struct meta m = meta_of(p, st);
	struct stat end;
	size_t to_len = p->to_len;
	int r = read_link(p, dir, name, target, e);

	if (r == 0)
		r = base_sink_tablespace_link(p->k, oid, &m, target, e);
	if (r < 0)
		return r;
	if (fstatat(dir, name, &end, 0) < 0)
		return err_sys(
			e, -errno, "%s leads to %s, where the tablespace's files should be", p->from, target);
	memcpy(to, p->to, to_len + 1);
	p->to_len = (size_t)snprintf(p->to, sizeof(p->to), BASE_TABLESPACES "/%s", name);
	r = take_dir(p, dir, name, true, depth, e);
	memcpy(p->to, to, to_len + 1);
	p->to_len = to_len;
	return r;
}

static int take_link(
	struct plain *p, int dir, const char *name, const struct stat *st, unsigned depth, struct err *e)
{
	char target[TREE_TARGET_MAX + 1];
	struct meta m;
	int r;

	if (!strncmp(p->to, BASE_DATA "/pg_tblspc/", sizeof(BASE_DATA "/pg_tblspc/") - 1) &&
		!strchr(p->to + sizeof(BASE_DATA "/pg_tblspc/") - 1, '/') && oid_of(name).v)
		return take_tablespace(p, dir, name, oid_of(name), st, depth, e);
	/* initdb --waldir, pg_basebackup --waldir: the WAL must be where the mount's reader finds it. */
	if (!strcmp(p->to, BASE_DATA "/pg_wal"))
		return take_dir(p, dir, name, true, depth, e);
	r = read_link(p, dir, name, target, e);
	if (r < 0)
		return r;
	m = meta_of(p, st);
	return base_sink_symlink(p->k, p->to, &m, target, e);
}

static int take_file(struct plain *p, int dir, const char *name, struct err *e)
{
	_cleanup_(closep) int fd = -1;
	struct stat st;
	struct meta m;

	/* O_NONBLOCK: should it have become a fifo since it was looked at, opening must not hang. */
	fd = openat(dir, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (fd < 0)
		return err_sys(e, -errno, "%s", p->from);
	if (fstat(fd, &st) < 0)
		return err_sys(e, -errno, "%s", p->from);
	if (!S_ISREG(st.st_mode))
		return err_set(e, -EINVAL, "%s changed while it was read", p->from);
	m = meta_of(p, &st);
	return base_sink_file(p->k, p->to, &m, MOVE_FD(fd), (uint64_t)st.st_size, p->from, e);
}

static int take_entry(struct plain *p, int dir, const struct dirent *d, unsigned depth, struct err *e)
{
	struct stat st;

	/* Most entries are regular files and readdir says so: they are looked at once, when they are open. */
	if (d->d_type == DT_REG)
		return take_file(p, dir, d->d_name, e);
	if (fstatat(dir, d->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return err_sys(e, -errno, "%s", p->from);
	switch (st.st_mode & S_IFMT) {
	case S_IFREG:
		return take_file(p, dir, d->d_name, e);
	case S_IFDIR:
		return take_dir(p, dir, d->d_name, false, depth + 1, e);
	case S_IFLNK:
		return take_link(p, dir, d->d_name, &st, depth + 1, e);
	default:
		log_msg(p->log, LOG_LEVEL_WARNING,
			"%s is neither file, directory nor symbolic link: passed over", p->from);
		return 0;
	}
}

static int walk_stream(struct plain *p, DIR *stream, unsigned depth, struct err *e)
{
	for (;;) {
		struct mark m = mark(p);
		struct dirent *d;
		int r;

		errno = 0;
		d = readdir(stream);
		if (!d)
			return errno ? err_sys(e, -errno, "%s", p->from) : 0;
		if (!strcmp(d->d_name, ".") || !strcmp(d->d_name, ".."))
			continue;
		r = enter(p, d->d_name, e);
		if (r == 0)
			r = take_entry(p, dirfd(stream), d, depth, e);
		back(p, m);
		if (r < 0)
			return r;
	}
}

/* Takes fd. */
static int walk(struct plain *p, int fd, unsigned depth, struct err *e)
{
	DIR *stream = fdopendir(fd);
	int r;

	if (!stream) {
		r = err_sys(e, -errno, "%s", p->from);
		close(fd);
		return r;
	}
	r = walk_stream(p, stream, depth, e);
	closedir(stream);
	return r;
}

int plain_import(const char *path, struct base_sink *k, struct log *log, struct err *e)
{
	struct plain *p = calloc(1, sizeof(*p));
	int r;

	if (!p)
		return err_sys(e, -ENOMEM, "%s", path);
	p->k = k;
	p->log = log;
	p->accounts = accounts_new();
	r = p->accounts ? 0 : err_sys(e, -ENOMEM, "%s", path);
	if (r == 0)
		r = append(p->from, &p->from_len, path, e);
	if (r == 0)
		r = append(p->to, &p->to_len, BASE_DATA, e);
	if (r == 0)
		r = take_dir(p, AT_FDCWD, path, true, 0, e);
	accounts_free(p->accounts);
	free(p);
	return r;
}
