/* Branches on disk. See branch_dir.h.
 *
 * A branch is there when its branch.json is. It is made in place, under its lock, and branch.json is linked last. It goes by
 * one rename to a name that no branch can have (".gone-…"); what a crash leaves of such is deleted by whoever makes or
 * removes the next one in that cluster.
 *
 * The lock is a file of the directory that it guards, so that whoever waited for it has to look whether the directory is
 * still the one with the name.
 *
 * Non-goal: what is in log and files/ (fs/branch_log), and whether anybody uses the branch now. */
#include "fs/branch_dir.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "src/base/buf.h"
#include "src/base/clean.h"
#include "src/base/io.h"

#define SPEC "branch.json"
#define SPEC_MAX 65536
#define GONE ".gone-"

void branch_spec_release(struct branch_spec *s)
{
	free(s->name);
	free(s->cluster);
	free(s->backup);
	free(s->target);
	*s = (struct branch_spec){0};
}

int branch_check_name(const char *name, struct err *e)
{
	static const char good[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.";
	size_t n = strlen(name);

	if (n == 0 || n > BRANCH_NAME_MAX || strspn(name, good) != n || *name == '.' || *name == '-')
		return err_set(e, -EINVAL,
			"\"%s\" cannot be a branch's name: 1 to %d of a-z A-Z 0-9 _ . -, the first neither . "
			"nor "
			"-",
			name, BRANCH_NAME_MAX);
	return 0;
}

/* ---- where ---- */

int branch_scratch(const char *scratch, const char *repo_id, char **ret, struct err *e)
{
	_cleanup_(freep) char *here = NULL, *abs = NULL;
	size_t n;

	if (*scratch != '/') {
		here = getcwd(NULL, 0);
		if (!here)
			return err_sys(e, -errno, "the current directory");
	}
	abs = here ? io_join(here, scratch) : strdup(scratch);
	for (n = abs ? strlen(abs) : 0; n > 1 && abs[n - 1] == '/'; n--)
		abs[n - 1] = '\0';
	*ret = abs ? io_join(abs, repo_id) : NULL;
	return *ret ? 0 : err_sys(e, -ENOMEM, "%s", scratch);
}

int branch_path(const char *dir, const char *cluster, const char *name, char **ret, struct err *e)
{
	_cleanup_(freep) char *above = io_join(dir, cluster);

	*ret = above ? io_join(above, name) : NULL;
	return *ret ? 0 : err_sys(e, -ENOMEM, "branch \"%s\"", name);
}

/* A directory that others may pass through, whatever the umask says; its parents exist. One that is there already stays as
 * it is. */
static int make_dir(const char *path, mode_t mode, struct err *e)
{
	struct stat st;
	int r;

	if (lstat(path, &st) == 0 && S_ISDIR(st.st_mode))
		return 0;
	r = io_mkdirs(path, mode, e);
	if (r < 0)
		return r;
	return chmod(path, mode) < 0 ? err_sys(e, -errno, "chmod %s", path) : 0;
}

/* ---- trees ---- */

/* Calls fn for all below the directory fd, what is in a directory before itself, following no link; takes over fd. What goes
 * away meanwhile is passed over. */
typedef int tree_fn(void *arg, int dir, const char *name, const struct stat *st);

static int walk(int fd, tree_fn *fn, void *arg)
{
	DIR *d = fdopendir(fd);
	struct dirent *de;
	int r = 0;

	if (!d) {
		r = -errno;
		close(fd);
		return r;
	}
	while (r == 0 && (de = readdir(d))) {
		struct stat st;

		if (!strcmp(de->d_name, ".") || !strcmp(de->d_name, ".."))
			continue;
		if (fstatat(fd, de->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0) {
			r = errno == ENOENT ? 0 : -errno;
			continue;
		}
		if (S_ISDIR(st.st_mode)) {
			int below = openat(fd, de->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

			r = below >= 0 ? walk(below, fn, arg) : errno == ENOENT ? 0 : -errno;
		}
		if (r == 0)
			r = fn(arg, fd, de->d_name, &st);
	}
	closedir(d);
	return r;
}

static int walk_path(const char *path, tree_fn *fn, void *arg)
{
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	return fd < 0 ? -errno : walk(fd, fn, arg);
}

static int remove_one(void *arg, int dir, const char *name, const struct stat *st)
{
	(void)arg;
	if (unlinkat(dir, name, S_ISDIR(st->st_mode) ? AT_REMOVEDIR : 0) < 0 && errno != ENOENT)
		return -errno;
	return 0;
}

static int remove_all_but_lock(void *arg, int dir, const char *name, const struct stat *st)
{
	return strcmp(name, "lock") ? remove_one(arg, dir, name, st) : 0;
}

static int add_usage(void *arg, int dir, const char *name, const struct stat *st)
{
	(void)dir;
	(void)name;
	*(uint64_t *)arg += (uint64_t)st->st_blocks * 512; /* stat(2): of 512 bytes, always */
	return 0;
}

static int remove_tree(const char *path)
{
	int r = walk_path(path, remove_one, NULL);

	if (r == 0 && rmdir(path) < 0)
		r = -errno;
	return r == -ENOENT ? 0 : r;
}

/* What a removal left that did not come to its end. Whoever else deletes it now does no harm. */
static void sweep(const char *above)
{
	DIR *d = opendir(above);
	struct dirent *de;

	while (d && (de = readdir(d)))
		if (!strncmp(de->d_name, GONE, strlen(GONE))) {
			_cleanup_(freep) char *path = io_join(above, de->d_name);

			if (path)
				remove_tree(path);
		}
	if (d)
		closedir(d);
}

/* ---- the lock ---- */

/* The lock of the directory `path`, which need not hold a branch: the descriptor, or -ENOENT, -EBUSY. */
static int lock_dir(const char *path, const char *name, struct err *e)
{
	_cleanup_(freep) char *file = io_join(path, "lock");
	struct stat ours, there;

	if (!file)
		return err_sys(e, -ENOMEM, "branch \"%s\"", name);
	for (;;) {
		_cleanup_(closep) int fd = open(file, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

		if (fd < 0)
			return errno == ENOENT ? err_set(e, -ENOENT, "there is no branch \"%s\"", name)
					       : err_sys(e, -errno, "%s", file);
		if (flock(fd, LOCK_EX | LOCK_NB) < 0)
			return errno == EWOULDBLOCK ? err_set(e, -EBUSY, "branch \"%s\" is in use", name)
						    : err_sys(e, -errno, "locking %s", file);
		if (fstat(fd, &ours) < 0)
			return err_sys(e, -errno, "%s", file);
		/* It may have been removed, and made anew, between the two. */
		if (stat(file, &there) == 0 && there.st_ino == ours.st_ino && there.st_dev == ours.st_dev)
			return MOVE_FD(fd);
	}
}

int branch_lock(const char *dir, const char *cluster, const char *name, struct err *e)
{
	_cleanup_(freep) char *path = NULL, *spec = NULL;
	_cleanup_(closep) int fd = -1;
	int r = branch_path(dir, cluster, name, &path, e);

	if (r < 0)
		return r;
	spec = io_join(path, SPEC);
	if (!spec)
		return err_sys(e, -ENOMEM, "branch \"%s\"", name);
	/* First, so that nothing is made where there is none. */
	if (access(spec, F_OK) < 0)
		return err_set(e, -ENOENT, "there is no branch \"%s\"", name);
	fd = lock_dir(path, name, e);
	if (fd < 0)
		return fd;
	if (access(spec, F_OK) < 0)
		return err_set(e, -ENOENT, "there is no branch \"%s\"", name);
	return MOVE_FD(fd);
}

/* ---- branch.json ---- */

static int append(const char *p, size_t n, void *arg)
{
	buf_put(arg, p, n);
	return 0;
}

/* JSON is UTF-8; a restore point's name need not be. */
static json_t *text_json(const char *s)
{
	json_t *j = s ? json_string(s) : json_null();
	_cleanup_(freep) char *ascii = NULL;

	if (j || !(ascii = strdup(s)))
		return j;
	for (char *p = ascii; *p; p++)
		if ((unsigned char)*p >= 0x80)
			*p = '?';
	return json_string(ascii);
}

static int spec_render(const struct branch_spec *s, struct buf *b, struct err *e)
{
	char created[TSTAMP_TEXT];
	json_t *o = json_object();
	int r = o ? 0 : -1;

	r |= json_object_set_new(o, "version", json_integer(1));
	r |= json_object_set_new(o, "name", json_string(s->name));
	r |= json_object_set_new(o, "cluster", json_string(s->cluster));
	r |= json_object_set_new(o, "backup", json_string(s->backup));
	r |= json_object_set_new(o, "target", text_json(s->target));
	r |= json_object_set_new(o, "max_bytes", json_integer((json_int_t)s->max_bytes));
	r |= json_object_set_new(o, "durable", json_boolean(s->durable));
	r |= json_object_set_new(o, "created", json_string(tstamp_rfc3339(s->created, created)));
	if (!r)
		r = json_dump_callback(o, append, b, JSON_INDENT(2));
	json_decref(o);
	buf_put_u8(b, '\n');
	return r || b->bad ? err_sys(e, -ENOMEM, "branch \"%s\"", s->name) : 0;
}

static bool take_text(const json_t *o, const char *key, char **ret)
{
	const char *s = json_string_value(json_object_get(o, key));

	return s && (*ret = strdup(s));
}

static bool spec_parse(
	const void *p, size_t n, const char *cluster, const char *name, struct branch_spec *ret)
{
	json_t *o = json_loadb(p, n, JSON_REJECT_DUPLICATES, NULL);
	const json_t *max = json_object_get(o, "max_bytes"), *durable = json_object_get(o, "durable");
	const char *created = json_string_value(json_object_get(o, "created"));
	struct branch_spec s = {0};
	bool good = json_integer_value(json_object_get(o, "version")) == 1 && take_text(o, "name", &s.name) &&
		    take_text(o, "cluster", &s.cluster) && take_text(o, "backup", &s.backup) &&
		    (json_is_null(json_object_get(o, "target")) || take_text(o, "target", &s.target)) &&
		    json_is_integer(max) && json_integer_value(max) >= 0 && json_is_boolean(durable) &&
		    created && tstamp_parse(created, &s.created, NULL) == 0 && !strcmp(s.name, name) &&
		    !strcmp(s.cluster, cluster);

	if (good) {
		s.max_bytes = (uint64_t)json_integer_value(max);
		s.durable = json_is_true(durable);
		*ret = s;
	} else {
		branch_spec_release(&s);
	}
	json_decref(o);
	return good;
}

int branch_load(
	const char *dir, const char *cluster, const char *name, struct branch_spec *ret, struct err *e)
{
	_cleanup_(freep) char *path = NULL, *file = NULL;
	_cleanup_(freep) void *p = NULL;
	size_t n;
	int r = branch_path(dir, cluster, name, &path, e);

	if (r < 0)
		return r;
	file = io_join(path, SPEC);
	if (!file)
		return err_sys(e, -ENOMEM, "branch \"%s\"", name);
	r = io_read_file(file, SPEC_MAX, &p, &n, e);
	if (r == -ENOENT || r == -ENOTDIR)
		return err_set(e, -ENOENT, "there is no branch \"%s\" of cluster \"%s\"", name, cluster);
	if (r < 0)
		return r;
	if (!spec_parse(p, n, cluster, name, ret))
		return err_set(e, -EBADMSG, "%s does not describe branch \"%s\" of cluster \"%s\"", file,
			name, cluster);
	return 0;
}

/* ---- coming and going ---- */

/* What the directory of a branch has from the start, when the lock is ours. */
static int fill(const char *path, const struct branch_spec *s, struct err *e)
{
	_cleanup_(freep) char *spec = io_join(path, SPEC), *files = io_join(path, "files");
	_cleanup_(buf_free) struct buf b = {0};
	int r;

	if (!spec || !files)
		return err_sys(e, -ENOMEM, "branch \"%s\"", s->name);
	if (access(spec, F_OK) == 0)
		return err_set(e, -EEXIST, "there is a branch \"%s\" of cluster \"%s\" already", s->name,
			s->cluster);
	r = walk_path(path, remove_all_but_lock, NULL);
	if (r < 0)
		return err_sys(e, r, "%s, left by a branch that was never finished", path);
	r = make_dir(files, 0700, e);
	if (r >= 0)
		r = spec_render(s, &b, e);
	return r < 0 ? r : io_create_file(path, SPEC, b.data, b.len, 0600, e);
}

static int make_above(const char *dir, const char *above, struct err *e)
{
	_cleanup_(freep) char *scratch = strdup(dir);
	char *slash = scratch ? strrchr(scratch, '/') : NULL;
	int r;

	if (!slash)
		return err_sys(e, -ENOMEM, "%s", dir);
	if (slash != scratch)
		*slash = '\0';
	r = make_dir(scratch, 0711, e);
	if (r >= 0)
		r = make_dir(dir, 0711, e);
	return r < 0 ? r : make_dir(above, 0711, e);
}

int branch_create(const char *dir, const struct branch_spec *s, struct err *e)
{
	_cleanup_(freep) char *above = io_join(dir, s->cluster), *path = NULL;
	int r = branch_check_name(s->name, e);

	if (r < 0)
		return r;
	if (s->max_bytes > INT64_MAX)
		return err_set(
			e, -EINVAL, "branch \"%s\": more than 2^63 bytes cannot be its limit", s->name);
	r = above ? branch_path(dir, s->cluster, s->name, &path, e) : err_sys(e, -ENOMEM, "%s", dir);
	if (r >= 0)
		r = make_above(dir, above, e);
	if (r < 0)
		return r;
	sweep(above);
	for (;;) {
		_cleanup_(closep) int lock = -1;
		_cleanup_(freep) char *spec = io_join(path, SPEC);

		/* One that is in use is locked. */
		if (spec && access(spec, F_OK) == 0)
			return err_set(e, -EEXIST, "there is a branch \"%s\" of cluster \"%s\" already",
				s->name, s->cluster);
		r = make_dir(path, 0711, e);
		/* Removed by somebody else in between; and so below. */
		if (r == -ENOENT && access(above, F_OK) == 0)
			continue;
		if (r < 0)
			return r;
		lock = lock_dir(path, s->name, e);
		if (lock == -ENOENT)
			continue;
		return lock < 0 ? lock : fill(path, s, e);
	}
}

static int by_name(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static void names_free(char **v, size_t n)
{
	while (n)
		free(v[--n]);
	free(v);
}

static int add_name(char ***v, size_t *n, const char *name)
{
	char **bigger = realloc(*v, (*n + 1) * sizeof(**v));

	if (!bigger)
		return -ENOMEM;
	*v = bigger;
	bigger[*n] = strdup(name);
	return bigger[*n] ? (++*n, 0) : -ENOMEM;
}

int branch_names(const char *dir, const char *cluster, char ***ret, size_t *ret_n, struct err *e)
{
	_cleanup_(freep) char *above = io_join(dir, cluster);
	DIR *d = above ? opendir(above) : NULL;
	struct dirent *de;
	char **v = NULL;
	size_t n = 0;
	int r = 0;

	if (!above)
		return err_sys(e, -ENOMEM, "%s", dir);
	if (!d && errno != ENOENT)
		return err_sys(e, -errno, "%s", above);
	while (r == 0 && d && (de = readdir(d))) {
		char spec[NAME_MAX + sizeof("/" SPEC)];

		if (branch_check_name(de->d_name, NULL) < 0)
			continue;
		snprintf(spec, sizeof(spec), "%s/" SPEC, de->d_name);
		if (faccessat(dirfd(d), spec, F_OK, 0) == 0)
			r = add_name(&v, &n, de->d_name);
	}
	if (d)
		closedir(d);
	if (r < 0) {
		names_free(v, n);
		return err_sys(e, r, "branches in %s", above);
	}
	if (n)
		qsort(v, n, sizeof(*v), by_name);
	*ret = v;
	*ret_n = n;
	return 0;
}

int branch_usage(const char *dir, const char *cluster, const char *name, uint64_t *ret, struct err *e)
{
	_cleanup_(freep) char *path = NULL;
	uint64_t bytes = 0;
	int r = branch_path(dir, cluster, name, &path, e);

	if (r < 0)
		return r;
	r = walk_path(path, add_usage, &bytes);
	if (r == -ENOENT)
		return err_set(e, r, "there is no branch \"%s\" of cluster \"%s\"", name, cluster);
	if (r < 0)
		return err_sys(e, r, "%s", path);
	*ret = bytes;
	return 0;
}

int branch_remove_locked(const char *dir, const char *cluster, const char *name, struct err *e)
{
	_cleanup_(freep) char *above = io_join(dir, cluster), *path = NULL, *gone = NULL;
	uint64_t salt;
	int r = above ? branch_path(dir, cluster, name, &path, e) : err_sys(e, -ENOMEM, "%s", dir);

	if (r < 0)
		return r;
	if (getrandom(&salt, sizeof(salt), 0) != sizeof(salt))
		return err_sys(e, -errno, "getrandom");
	if (asprintf(&gone, "%s/" GONE "%016llx", above, (unsigned long long)salt) < 0)
		return err_sys(e, -ENOMEM, "%s", path);
	if (rename(path, gone) < 0)
		return errno == ENOENT ? 0 : err_sys(e, -errno, "removing %s", path);
	r = io_sync_dir(above, e);
	if (r < 0)
		return r;
	r = remove_tree(gone);
	if (r < 0)
		return err_sys(e, r, "deleting %s, which was branch \"%s\"", gone, name);
	sweep(above);
	return 0;
}

int branch_remove(const char *dir, const char *cluster, const char *name, struct err *e)
{
	_cleanup_(freep) char *path = NULL;
	_cleanup_(closep) int lock = -1;
	int r = branch_path(dir, cluster, name, &path, e);

	if (r < 0)
		return r;
	lock = lock_dir(path, name, e);
	if (lock < 0)
		return lock == -ENOENT ? 0 : lock;
	return branch_remove_locked(dir, cluster, name, e);
}
