/* The FUSE session: mount options, libfuse's loop, signals. See mount.h.
 *
 * Permissions. A private mount belongs to one user: the kernel lets nobody else in, and that user may read
 * all of it whatever the modes say, for it is a backup of files that belong to others (postgres, 0600), and
 * whoever can read the repository can read them. With allow_other others come in, and the modes must hold
 * again: default_permissions makes the kernel enforce them. */
#define FUSE_USE_VERSION FUSE_MAKE_VERSION(3, 14)
#include <fuse_lowlevel.h>

#include <ctype.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fs/branch_dir.h"
#include "fs/driver.h"
#include "fs/fs.h"
#include "fs/handle.h"
#include "fs/mount.h"
#include "fs/mountpoint.h"
#include "src/base/buf.h"
#include "src/base/clean.h"

#define READAHEAD_KB 2048 /* two of the largest requests: one is on its way while the other is read */

/* libfuse's log function has no argument to find ours by. Set by the one mount_run of the process before its
 * threads start, and reset after they ended. */
static struct {
	struct log *log;
	bool serving;	/* before that, messages become the error's text */
	char text[400]; /* the first message so far: the cause; what follows is its echo */
} session_log;

__attribute__((format(printf, 2, 0))) static void take_message(
	enum fuse_log_level level, const char *fmt, va_list ap)
{
	char line[400];
	size_t n;

	vsnprintf(line, sizeof(line), fmt, ap);
	n = strlen(line);
	while (n && isspace((unsigned char)line[n - 1]))
		line[--n] = '\0';
	if (level >= FUSE_LOG_DEBUG)
		fprintf(stderr, "%s\n", line);
	else if (session_log.serving)
		log_msg(session_log.log, level <= FUSE_LOG_ERR ? LOG_LEVEL_ERROR : LOG_LEVEL_WARNING, "%s",
			line);
	else if (!session_log.text[0])
		memcpy(session_log.text, line, n + 1);
}

/* The value of a comma-separated option: commas and backslashes in it are escaped, as libfuse reads them. */
static void put_escaped(struct buf *b, const char *value)
{
	for (; *value; value++) {
		if (*value == ',' || *value == '\\')
			buf_put_u8(b, '\\');
		buf_put_u8(b, (uint8_t)*value);
	}
}

static struct fuse_session *session_new(struct fs *fs, const struct mount_options *o)
{
	_cleanup_(freep) char *options = NULL;
	_cleanup_(buf_free) struct buf b = {0};
	char *argv[] = {"pgstrata", "-o", NULL, "-d", NULL};
	struct fuse_args args = FUSE_ARGS_INIT(o->debug ? 4 : 3, argv);
	struct fuse_session *se = NULL;
	size_t size;
	const struct fuse_lowlevel_ops *ops = driver_ops(&size);

	buf_printf(&b, "%snosuid,nodev,subtype=pgstrata", fs->scratch ? "" : "ro,");
	if (o->allow_other)
		buf_printf(&b, ",allow_other,default_permissions");
	buf_printf(&b, ",fsname=");
	put_escaped(&b, store_path(fs->store));
	argv[2] = options = buf_steal_str(&b);
	if (options)
		se = fuse_session_new(&args, ops, size, fs);
	fuse_opt_free_args(&args);
	return se;
}

/* With the kernel's default of 128 KiB a sequential reader makes eight times the requests. The setting is the
 * administrator's; an ordinary user's mount does without. */
static void widen_readahead(struct fs *fs, const char *mountpoint)
{
	struct mountpoint m;
	char path[80];
	FILE *f;

	if (mountpoint_find(mountpoint, &m, NULL) < 0)
		return;
	snprintf(path, sizeof(path), "/sys/class/bdi/%u:%u/read_ahead_kb", m.dev_major, m.dev_minor);
	mountpoint_release(&m);
	f = fopen(path, "we");
	if (!f)
		return;
	fprintf(f, "%d\n", READAHEAD_KB);
	if (fclose(f) == 0)
		handles_set_request(fs->handles, (size_t)READAHEAD_KB << 10);
}

struct greeter {
	struct fs *fs;
	const struct mount_options *o;
	mount_ready_fn *ready;
	void *arg;
};

/* A thread that asks the mount for its root while the loop begins to serve: what it does then must come after the
 * kernel's first request, which sets the readahead, and only now it is true that the mount answers. */
static void *greet(void *arg)
{
	struct greeter *g = arg;
	struct stat st;

	if (stat(g->o->mountpoint, &st) < 0)
		return NULL; /* ended before it began */
	widen_readahead(g->fs, g->o->mountpoint);
	g->ready(g->arg);
	return NULL;
}

/* The three signals go to this thread alone, where the handlers find the loop waiting. */
static void let_signals_through(int how)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP);
	pthread_sigmask(how, &set, NULL);
}

static int serve(struct fuse_session *se, const struct mount_options *o, struct greeter *g)
{
	struct fuse_loop_config *cfg = fuse_loop_cfg_create();
	/* Requests wait for the disk, so there are more threads than processors; all stay, for starting one
	 * costs more than keeping it. */
	unsigned threads = o->threads ? o->threads : 2 * pool_cpus() + 2;
	pthread_t greeting;
	int r;

	if (!cfg)
		return -ENOMEM;
	r = -pthread_create(&greeting, NULL, greet, g);
	if (r < 0) {
		fuse_loop_cfg_destroy(cfg);
		return r;
	}
	let_signals_through(SIG_UNBLOCK);
	fuse_loop_cfg_set_clone_fd(cfg, 1);
	fuse_loop_cfg_set_max_threads(cfg, threads);
	fuse_loop_cfg_set_idle_threads(cfg, threads);
	r = fuse_session_loop_mt(se, cfg);
	let_signals_through(SIG_BLOCK);
	fuse_loop_cfg_destroy(cfg);
	/* Without a server the greeting would wait for ever. */
	fuse_session_unmount(se);
	pthread_join(greeting, NULL);
	/* A positive value is the signal that ended it. */
	return r < 0 ? r : 0;
}

int mount_run(struct store *s, const struct mount_options *o, mount_ready_fn *ready, void *arg, struct err *e)
{
	_cleanup_(freep) char *scratch = NULL;
	struct fs_options fo = {
		.owner = {o->have_uid, o->have_gid, o->uid, o->gid},
		.log = o->log,
		.mountpoint = o->mountpoint,
		.cache_bytes = o->cache_bytes,
		.max_bytes = o->max_bytes,
	};
	struct fs fs;
	struct greeter g = {&fs, o, ready, arg};
	struct fuse_session *se;
	int r = o->scratch ? branch_scratch(o->scratch, store_id(s), &scratch, e) : 0;

	fo.scratch = scratch;
	if (r >= 0)
		r = fs_init(&fs, s, &fo, e);
	if (r < 0)
		return r;
	session_log.log = o->log;
	session_log.serving = false;
	session_log.text[0] = '\0';
	fuse_set_log_func(take_message);
	se = fs.session = session_new(&fs, o);
	if (!se || fuse_set_signal_handlers(se) < 0) {
		r = err_set(e, -EIO, "cannot set up FUSE: %s", session_log.text);
	} else if (fuse_session_mount(se, o->mountpoint) < 0) {
		r = err_set(e, -EIO, "cannot mount on %s: %s", o->mountpoint,
			session_log.text[0] ? session_log.text : "fusermount3 failed");
	} else {
		session_log.serving = true;
		/* Without branches nothing is written. */
		r = scratch ? driver_channel(se) : 0;
		if (r >= 0)
			r = serve(se, o, &g);
		if (r < 0)
			err_sys(e, r, "serving %s", o->mountpoint);
		fuse_session_unmount(se); /* unless it is done */
	}
	if (se)
		fuse_remove_signal_handlers(se);
	/* Its threads may still talk to the session. */
	fs_release(&fs);
	if (se)
		fuse_session_destroy(se);
	fuse_set_log_func(NULL);
	return r;
}

/* Whether /etc/fuse.conf has the line user_allow_other (fusermount3(1)). */
static bool conf_allows_other(void)
{
	char line[256];
	FILE *f = fopen("/etc/fuse.conf", "re");
	bool yes = false;

	while (f && !yes && fgets(line, sizeof(line), f)) {
		char *p = line + strspn(line, " \t");

		p[strcspn(p, " \t\r\n#")] = '\0';
		yes = !strcmp(p, "user_allow_other");
	}
	if (f)
		fclose(f);
	return yes;
}

static bool in_path(const char *program)
{
	const char *path = getenv("PATH");
	_cleanup_(freep) char *copy = strdup(path && *path ? path : "/usr/bin:/bin");
	char *save = NULL;

	for (char *dir = copy ? strtok_r(copy, ":", &save) : NULL; dir; dir = strtok_r(NULL, ":", &save)) {
		char full[4096];

		snprintf(full, sizeof(full), "%s/%s", dir, program);
		if (access(full, X_OK) == 0)
			return true;
	}
	return false;
}

int mount_allowed(bool allow_other, struct err *e)
{
	if (access("/dev/fuse", F_OK) < 0)
		return err_set(e, -ENODEV,
			"there is no /dev/fuse: the kernel's fuse module is not loaded (modprobe fuse), or "
			"this "
			"container was not given the device");
	if (geteuid() == 0)
		return 0;
	if (access("/dev/fuse", R_OK | W_OK) < 0)
		return err_sys(e, -errno,
			"/dev/fuse may not be opened by this user; it usually has mode 0666 (package fuse3)");
	if (!in_path("fusermount3"))
		return err_set(e, -ENOENT,
			"fusermount3 is not installed; an ordinary user needs it to mount (Debian package "
			"fuse3)");
	if (allow_other && !conf_allows_other())
		return err_set(e, -EPERM,
			"allow_other is forbidden to ordinary users here: the administrator permits it with "
			"the "
			"line user_allow_other in /etc/fuse.conf");
	return 0;
}
