/* See branch_place.h. The mount of our own is "pgstrata mount", run as it would be by hand: it is a process of its own, which
 * outlives whoever opened the first branch. */
#include "src/cmd/branch_place.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

#include "fs/branch_dir.h"
#include "fs/mountpoint.h"
#include "src/base/clean.h"
#include "src/base/io.h"

#define SCRATCH_ATTRIBUTE "user.pgstrata.scratch" /* of the mount's root: fs/attr.c */
#define MOUNT_PREFIX ".mount-"
#define BUSY_TRIES 250 /* of 20 ms: files of a server that was ended close a little later */

extern char **environ;

void branch_place_release(struct branch_place *p)
{
	free(p->scratch);
	free(p->dir);
	*p = (struct branch_place){0};
}

int branch_place_scratch(const struct cmd_context *c, const char *given, char **ret, struct err *e)
{
	if (!given && !c->cache_dir)
		return err_set(e, -EINVAL, "where shall branches be kept? Name a directory with --scratch");
	if (given)
		*ret = strdup(given);
	else if (asprintf(ret, "%s-branches", c->cache_dir) < 0)
		*ret = NULL;
	return *ret ? 0 : err_sys(e, -ENOMEM, "--scratch");
}

int branch_place_find(const struct cmd_context *c, const char *given, const struct store *s,
	struct branch_place *ret, struct err *e)
{
	struct branch_place p = {0};
	int r = branch_place_scratch(c, given, &p.scratch, e);

	if (r == 0)
		r = branch_scratch(p.scratch, store_id(s), &p.dir, e);
	if (r < 0) {
		branch_place_release(&p);
		return r;
	}
	*ret = p;
	return 0;
}

/* A directory that others pass through and only the owner lists. */
static int make_dir(const char *path, mode_t mode, struct err *e)
{
	struct stat st;
	int r;

	/* A mount whose daemon died is there, too. */
	if (lstat(path, &st) == 0 || errno == ENOTCONN)
		return 0;
	r = io_mkdirs(path, mode, e);
	if (r == 0 && chmod(path, mode) < 0)
		r = err_sys(e, -errno, "chmod %s", path);
	return r;
}

int branch_place_lock(const struct branch_place *p, struct err *e)
{
	_cleanup_(freep) char *path = io_join(p->dir, ".lock"), *above = strdup(p->dir);
	_cleanup_(closep) int fd = -1;
	int r;

	if (!path || !above)
		return err_sys(e, -ENOMEM, "%s", p->dir);
	*strrchr(above, '/') = '\0';
	r = make_dir(above, 0711, e);
	if (r == 0)
		r = make_dir(p->dir, 0711, e);
	if (r < 0)
		return r;
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0)
		return err_sys(e, -errno, "%s", path);
	while (flock(fd, LOCK_EX) < 0)
		if (errno != EINTR)
			return err_sys(e, -errno, "locking %s", path);
	return MOVE_FD(fd);
}

/* ---- mounts ---- */

/* Does the mount on `path` show these branches? */
static bool shows(const char *path, const char *dir)
{
	size_t n = strlen(dir);
	_cleanup_(freep) char *text = malloc(n + 2);

	return text && getxattr(path, SCRATCH_ATTRIBUTE, text, n + 1) == (ssize_t)n && !memcmp(text, dir, n);
}

/* The kernel may still know the attributes, so that stat(2) does not tell; this it must ask for. */
bool branch_place_mount_died(const char *path)
{
	/* ECONNABORTED: it died while it was asked. */
	return getxattr(path, SCRATCH_ATTRIBUTE, NULL, 0) < 0 &&
	       (errno == ENOTCONN || errno == ECONNABORTED || errno == ENOENT);
}

/* Whoever runs the server gets in: anybody, or whoever mounted, which is us. */
static bool lets_in(const char *line)
{
	char user[32];

	snprintf(user, sizeof(user), "user_id=%u,", (unsigned)geteuid());
	return geteuid() == 0 ? strstr(line, "allow_other") != NULL : strstr(line, user) != NULL;
}

/* Calls fn for the path of each mount of pgstrata that this process can use, until it gives true. */
typedef bool place_mount_fn(void *arg, const char *path);

static bool each_mount(place_mount_fn *fn, void *arg)
{
	FILE *f = fopen("/proc/self/mountinfo", "re");
	_cleanup_(freep) char *line = NULL;
	struct mountpoint m;
	bool done = false;
	size_t cap = 0;

	while (f && !done && getline(&line, &cap, f) > 0) {
		if (!lets_in(line) || mountpoint_parse(line, &m, NULL) < 0)
			continue;
		done = !strcmp(m.fstype, MOUNT_FSTYPE) && fn(arg, m.path);
		mountpoint_release(&m);
	}
	if (f)
		fclose(f);
	return done;
}

struct search {
	const char *dir;
	const struct branch_view *view;
	char *found;
};

static bool is_wanted(void *arg, const char *path)
{
	struct search *s = arg;
	_cleanup_(freep) char *data = NULL;
	struct stat st;

	if (!shows(path, s->dir) ||
		asprintf(&data, "%s/%s/backups/%s/data", path, s->view->cluster, s->view->backup) < 0)
		return false;
	return stat(data, &st) == 0 && st.st_uid == s->view->uid && (s->found = strdup(path));
}

/* ---- a mount of our own ---- */

/* What it said, without who said it. */
static int failed(const char *path, char *said, struct err *e)
{
	static const char who[] = "pgstrata: error: ";
	const char *text = strstr(said, who);

	text = text ? text + strlen(who) : said;
	return err_set(
		e, -EIO, "mounting on %s: %.*s", path, (int)strcspn(text, "\n"), *text ? text : "it failed");
}

/* In a process group of its own: Ctrl-C is for us, and what came of the mount is then taken away in order. */
static int run_mount(char *const *argv, const char *path, struct err *e)
{
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attr;
	sigset_t defaults;
	char said[600] = "";
	int fds[2], status = 0, r;
	ssize_t n;
	pid_t pid;

	if (pipe2(fds, O_CLOEXEC) < 0)
		return err_sys(e, -errno, "pipe");
	sigemptyset(&defaults);
	sigaddset(&defaults, SIGPIPE);
	posix_spawnattr_init(&attr);
	posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGDEF);
	posix_spawnattr_setsigdefault(&attr, &defaults);
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_adddup2(&actions, fds[1], STDERR_FILENO);
	posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
	posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
	r = -posix_spawn(&pid, "/proc/self/exe", &actions, &attr, argv, environ);
	posix_spawn_file_actions_destroy(&actions);
	posix_spawnattr_destroy(&attr);
	close(fds[1]);
	if (r < 0) {
		close(fds[0]);
		return err_sys(e, r, "starting pgstrata mount");
	}
	n = io_read(fds[0], said, sizeof(said) - 1);
	said[n > 0 ? n : 0] = '\0';
	close(fds[0]);
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	return WIFEXITED(status) && WEXITSTATUS(status) == CMD_OK ? 0 : failed(path, said, e);
}

static int make_mount(struct cmd_context *c, const struct branch_place *p, const char *path,
	const struct branch_view *v, struct err *e)
{
	_cleanup_(freep) char *log = io_join(p->dir, ".log");
	char owner[64];
	char *argv[] = {(char *)"pgstrata", (char *)"mount", (char *)"-r", (char *)c->repo,
		(char *)"--scratch", p->scratch, (char *)"--log", log, (char *)"-o", owner, (char *)path,
		c->cache_dir ? (char *)"--cache-dir" : NULL, (char *)c->cache_dir, NULL};
	int r = log ? make_dir(path, 0700, e) : err_sys(e, -ENOMEM, "%s", path);

	snprintf(owner, sizeof(owner), "uid=%u,gid=%u%s", (unsigned)v->uid, (unsigned)v->gid,
		geteuid() == 0 ? ",allow_other" : "");
	return r < 0 ? r : run_mount(argv, path, e);
}

int branch_place_mount(struct cmd_context *c, const struct branch_place *p, const struct branch_view *v,
	char **ret, struct err *e)
{
	struct search s = {.dir = p->dir, .view = v};
	_cleanup_(freep) char *path = NULL;
	struct mountpoint m;
	int r;

	if (asprintf(&path, "%s/" MOUNT_PREFIX "%u", p->dir, (unsigned)v->uid) < 0) {
		path = NULL;
		return err_sys(e, -ENOMEM, "%s", p->dir);
	}
	if (mountpoint_find(path, &m, NULL) == 0) {
		mountpoint_release(&m);
		if (shows(path, p->dir)) {
			*ret = MOVE(path);
			return 0;
		}
		r = mountpoint_unmount(path, e);
		if (r == -EBUSY)
			return err_set(e, r,
				"the mount on %s died, and servers on it are left: \"pgstrata branches\" "
				"lists them, "
				"close them first",
				path);
		if (r < 0)
			return r;
	}
	if (each_mount(is_wanted, &s)) {
		*ret = s.found;
		return 0;
	}
	r = make_mount(c, p, path, v, e);
	if (r == 0)
		*ret = MOVE(path);
	return r;
}

/* ---- who needs it ---- */

int branch_place_record(const struct branch_place *p, const char *cluster, const char *name,
	struct instance_record *ret, struct err *e)
{
	_cleanup_(freep) char *home = NULL;
	int r = branch_path(p->dir, cluster, name, &home, e);

	return r < 0 ? r : instance_record_load(home, ret, e);
}

static void names_free(char **v, size_t n)
{
	while (n)
		free(v[--n]);
	free(v);
}

int branch_place_clusters(const struct branch_place *p, char ***ret, size_t *ret_n, struct err *e)
{
	DIR *d = opendir(p->dir);
	struct dirent *de;
	char **v = NULL;
	size_t n = 0;
	int r = 0;

	if (!d && errno != ENOENT)
		return err_sys(e, -errno, "%s", p->dir);
	while (d && r == 0 && (de = readdir(d))) {
		char **bigger;

		if (store_check_cluster_name(de->d_name, NULL) < 0)
			continue;
		bigger = realloc(v, (n + 1) * sizeof(*v));
		if (bigger)
			v = bigger;
		if (!bigger || !(v[n] = strdup(de->d_name)))
			r = err_sys(e, -ENOMEM, "%s", p->dir);
		else
			n++;
	}
	if (d)
		closedir(d);
	if (r < 0) {
		names_free(v, n);
		return r;
	}
	*ret = v;
	*ret_n = n;
	return 0;
}

static bool needs_mount(
	const struct branch_place *p, const char *cluster, const char *name, const char *mount)
{
	struct instance_record rec;
	bool needs;

	if (branch_place_record(p, cluster, name, &rec, NULL) < 0)
		return false;
	needs = !strcmp(rec.mount, mount) && (rec.stage == INSTANCE_ALONE || instance_runs(&rec.process));
	instance_record_release(&rec);
	return needs;
}

static bool any_needs_mount(const struct branch_place *p, const char *mount)
{
	char **clusters = NULL, **names = NULL;
	size_t n_clusters = 0, n = 0;
	bool any = false;

	if (branch_place_clusters(p, &clusters, &n_clusters, NULL) < 0)
		return true;
	for (size_t i = 0; !any && i < n_clusters; i++) {
		if (branch_names(p->dir, clusters[i], &names, &n, NULL) < 0)
			continue;
		for (size_t j = 0; !any && j < n; j++)
			any = needs_mount(p, clusters[i], names[j], mount);
		names_free(names, n);
	}
	names_free(clusters, n_clusters);
	return any;
}

static void pause_ms(unsigned ms)
{
	struct timespec t = {.tv_nsec = (long)ms * 1000000};

	nanosleep(&t, NULL);
}

static int tidy_one(const struct branch_place *p, const char *path, struct err *e)
{
	struct mountpoint m;
	int r;

	if (mountpoint_find(path, &m, NULL) < 0)
		return rmdir(path) < 0 && errno != ENOENT ? err_sys(e, -errno, "%s", path) : 0;
	mountpoint_release(&m);
	if (any_needs_mount(p, path))
		return 0;
	for (unsigned i = 0; (r = mountpoint_unmount(path, e)) == -EBUSY && i < BUSY_TRIES; i++)
		pause_ms(20);
	if (r == -EBUSY)
		return 0; /* somebody looks at it; the next one that closes a branch takes it away */
	if (r == 0)
		rmdir(path);
	return r;
}

int branch_place_tidy(const struct branch_place *p, struct err *e)
{
	DIR *d = opendir(p->dir);
	struct dirent *de;
	int r = 0;

	if (!d)
		return errno == ENOENT ? 0 : err_sys(e, -errno, "%s", p->dir);
	while (r == 0 && (de = readdir(d))) {
		_cleanup_(freep) char *path = NULL;

		if (strncmp(de->d_name, MOUNT_PREFIX, strlen(MOUNT_PREFIX)) != 0)
			continue;
		path = io_join(p->dir, de->d_name);
		r = path ? tidy_one(p, path, e) : err_sys(e, -ENOMEM, "%s", p->dir);
	}
	closedir(d);
	return r;
}

/* ---- removal ---- */

struct removal {
	const char *dir, *cluster, *name;
	int r;
};

/* rmdir(2) of a branch in a mount removes it (fs/ns_open.c); EBUSY: files in it are open. */
static bool remove_in(void *arg, const char *path)
{
	struct removal *m = arg;
	_cleanup_(freep) char *branch = NULL;

	if (!shows(path, m->dir) || asprintf(&branch, "%s/%s/open/%s", path, m->cluster, m->name) < 0)
		return false;
	m->r = rmdir(branch) < 0 ? -errno : 0;
	return m->r == 0;
}

int branch_place_remove(const struct branch_place *p, const char *cluster, const char *name, struct err *e)
{
	struct removal m = {p->dir, cluster, name, -ENOENT};
	int r;

	for (unsigned i = 0; (r = branch_remove(p->dir, cluster, name, e)) == -EBUSY && i < BUSY_TRIES; i++) {
		if (each_mount(remove_in, &m))
			return 0;
		pause_ms(20);
	}
	return r;
}
