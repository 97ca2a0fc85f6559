/* pgstrata mount: shows the repository as a directory.
 *
 * The parent checks what can be checked, forks, and waits for one line through a pipe; the child becomes the
 * daemon: it opens the repository (whose threads would not survive the fork), mounts, says that it is ready,
 * and serves. The parent then asks the mount for its root, so that exit status 0 means that the mount
 * answers. */
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fs/mount.h"
#include "fs/mountpoint.h"
#include "src/base/clean.h"
#include "src/base/io.h"
#include "src/cmd/cmd.h"

#define CACHE_MIN (4u << 20)

struct request {
	struct cmd_context *c;
	const struct cmd_usage *usage;
	struct mount_options mount;
	const char *log_path;
	bool foreground;
	int ready_fd; /* where the daemon reports; -1 in the foreground */
};

/* Takes one "name" or "name=value" of -o. */
static int take_option(struct mount_options *m, char *opt, struct err *e)
{
	char *value = strchr(opt, '='), *end = NULL;
	unsigned long id;
	uint64_t size;
	int r;

	if (value)
		*value++ = '\0';
	if (!strcmp(opt, "allow_other") && !value) {
		m->allow_other = true;
	} else if (!strcmp(opt, "ro") && !value) {
		/* It always is. */
	} else if ((!strcmp(opt, "uid") || !strcmp(opt, "gid")) && value) {
		errno = 0;
		id = strtoul(value, &end, 10);
		if (errno || *value < '0' || *value > '9' || *end || id >= UINT32_MAX)
			return err_set(e, -EINVAL, "-o %s=%s: not a number of a user or group", opt, value);
		if (*opt == 'u') {
			m->have_uid = true;
			m->uid = (uint32_t)id;
		} else {
			m->have_gid = true;
			m->gid = (uint32_t)id;
		}
	} else if (!strcmp(opt, "cache") && value) {
		r = cmd_parse_size(value, &size, e);
		if (r < 0)
			return err_wrap(e, r, "-o cache=%s", value);
		if (size < CACHE_MIN || size > SIZE_MAX / 2)
			return err_set(e, -EINVAL, "-o cache=%s: must be at least 4M", value);
		m->cache_bytes = (size_t)size;
	} else {
		return err_set(e, -EINVAL,
			"-o %s: unknown; there are allow_other, uid=NUMBER, gid=NUMBER, cache=SIZE", opt);
	}
	return 0;
}

static int take_options(struct mount_options *m, const struct cmd_list *lists, struct err *e)
{
	for (size_t i = 0; i < lists->n; i++) {
		_cleanup_(freep) char *copy = strdup(lists->v[i]);
		char *save = NULL;

		for (char *opt = copy ? strtok_r(copy, ",", &save) : NULL; opt;
			opt = strtok_r(NULL, ",", &save)) {
			int r = take_option(m, opt, e);

			if (r < 0)
				return r;
		}
	}
	return 0;
}

static void block_signals(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
}

/* Tells the parent; a failed write means that nobody waits any more. */
static void report(struct request *q, const char *text)
{
	if (q->ready_fd < 0)
		return;
	(void)!write(q->ready_fd, text, strlen(text));
	close(q->ready_fd);
	q->ready_fd = -1;
}

/* The mount is there. A daemon lets go of its terminal only now, so that what goes wrong before is seen. */
static void on_ready(void *arg)
{
	struct request *q = arg;
	int null;

	if (!q->foreground) {
		null = open("/dev/null", O_RDWR | O_CLOEXEC);
		if (null >= 0) {
			dup2(null, STDIN_FILENO);
			dup2(null, STDOUT_FILENO);
			dup2(null, STDERR_FILENO);
			close(null);
		}
		report(q, "ready");
	}
	log_msg(q->mount.log, LOG_LEVEL_INFO, "%s: mounted", q->mount.mountpoint);
}

static int open_log(struct request *q, struct log **ret, struct err *e)
{
	enum log_level max = q->c->verbose ? LOG_LEVEL_DEBUG : LOG_LEVEL_INFO;

	if (q->log_path)
		return log_new_file(q->log_path, max, ret, e);
	return q->foreground ? log_new_stderr(q->c->verbose ? max : LOG_LEVEL_WARNING, ret)
			     : log_new_syslog(max, ret);
}

/* Opens everything and serves until the end. Returns the exit status; errors are printed. */
static int serve(struct request *q)
{
	struct store *s = NULL;
	struct log *log = NULL;
	struct err e = {0};
	int r, status;

	/* Before the first thread: signals are for the main thread, see mount_run. And each thread with an
	 * arena of its own would keep what it freed: two arenas hold the decoded chunks as well and bound the
	 * memory. */
	block_signals();
	mallopt(M_ARENA_MAX, 2);
	r = open_log(q, &log, &e);
	if (r < 0)
		return cmd_fail(q->c, &e);
	q->mount.log = log;
	status = cmd_open_store(q->c, q->usage, q->mount.cache_bytes, log, &s);
	if (status == CMD_OK) {
		r = mount_run(s, &q->mount, on_ready, q, &e);
		if (r < 0) {
			/* After it was ready only the log hears it. */
			if (!q->foreground && q->ready_fd < 0)
				log_msg(log, LOG_LEVEL_ERROR, "%s", e.text);
			status = cmd_fail(q->c, &e);
		} else {
			log_msg(log, LOG_LEVEL_INFO, "%s: unmounted", q->mount.mountpoint);
		}
	}
	store_free(s);
	log_free(log);
	return status;
}

/* What the parent sees when the daemon said that it is ready: whether the mount really answers. */
static int check_answers(struct request *q)
{
	struct err e = {0};
	struct stat st;

	if (stat(q->mount.mountpoint, &st) == 0)
		return CMD_OK;
	err_sys(&e, -errno, "the mount on %s does not answer", q->mount.mountpoint);
	return cmd_fail(q->c, &e);
}

static int run_daemon(struct request *q)
{
	struct err e = {0};
	char text[16] = "";
	int fds[2], status = 0;
	pid_t pid;

	if (pipe2(fds, O_CLOEXEC) < 0) {
		err_sys(&e, -errno, "pipe");
		return cmd_fail(q->c, &e);
	}
	pid = fork();
	if (pid < 0) {
		err_sys(&e, -errno, "fork");
		return cmd_fail(q->c, &e);
	}
	if (pid == 0) {
		close(fds[0]);
		q->ready_fd = fds[1];
		setsid();
		(void)!chdir("/");
		return serve(q);
	}
	close(fds[1]);
	/* The end of the file comes when the daemon has reported or died; it has printed why. */
	if (io_read(fds[0], text, sizeof(text) - 1) > 0) {
		close(fds[0]);
		return check_answers(q);
	}
	close(fds[0]);
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	if (WIFSIGNALED(status)) {
		err_set(&e, -EIO, "the mount's process was killed by signal %d", WTERMSIG(status));
		return cmd_fail(q->c, &e);
	}
	return WEXITSTATUS(status) ? WEXITSTATUS(status) : CMD_FAILED;
}

/* A file that may not exist yet, made absolute: the daemon's directory is another one. */
static char *absolute(const char *path)
{
	_cleanup_(freep) char *cwd = NULL;

	if (*path == '/')
		return strdup(path);
	cwd = getcwd(NULL, 0);
	return cwd ? io_join(cwd, path) : NULL;
}

/* Makes what the daemon needs absolute and checks what can be checked while somebody looks. */
static int prepare(struct request *q, char **mountpoint, char **repo, struct err *e)
{
	struct cmd_context *c = q->c;
	int r;

	*repo = realpath(c->repo, NULL);
	if (!*repo)
		return err_sys(e, -errno, "repository %s", c->repo);
	r = mountpoint_resolve(c->args[0], mountpoint, e);
	if (r >= 0)
		r = mountpoint_check(*mountpoint, *repo, e);
	if (r >= 0)
		r = mount_allowed(q->mount.allow_other, e);
	c->repo = *repo;
	q->mount.mountpoint = *mountpoint;
	return r;
}

int cmd_mount(struct cmd_context *c, int argc, char **argv)
{
	_cleanup_(freep) char *mountpoint = NULL, *repo = NULL, *log_path = NULL, *cache_dir = NULL,
			      *scratch = NULL;
	_cleanup_(cmd_list_free) struct cmd_list lists = {0};
	struct request q = {.c = c, .ready_fd = -1};
	const struct cmd_option options[] = {
		{"options", 'o', "OPTIONS", OPTION_LIST, &lists,
			"separated by commas: cache=SIZE (memory for decoded chunks, default 64M),\n"
			"allow_other (every user may enter; the files' permissions hold),\n"
			"uid=NUMBER, gid=NUMBER (whom all files belong to)"},
		{"foreground", 'f', NULL, OPTION_FLAG, &q.foreground, "does not become a daemon"},
		{"scratch", 0, "DIR", OPTION_TEXT, &q.mount.scratch,
			"branches (see \"pgstrata open\") can be written, and what is written goes here"},
		{"max-size", 0, "SIZE", OPTION_SIZE, &q.mount.max_bytes,
			"how much each branch may take of it (default: no limit)"},
		{"log", 0, "FILE", OPTION_TEXT, &q.log_path,
			"where messages go (default: syslog; in the foreground: standard error)"},
		{"debug", 0, NULL, OPTION_FLAG, &q.mount.debug, "prints every request, with --foreground"},
		{0},
	};
	const struct cmd_usage usage = {
		.verb = "mount",
		.args = "MNT",
		.min_args = 1,
		.max_args = 1,
		.about = "Shows the repository as a directory, until \"pgstrata umount MNT\". Only branches "
			 "of\n"
			 "backups (with --scratch) can be written. Returns when the mount answers.",
		.example = "  pgstrata mount -r /srv/backups /mnt/pg\n"
			   "  cp -a /mnt/pg/main/backups/latest/data /var/lib/postgresql/restored",
		.options = options,
	};
	struct err e = {0};

	q.usage = &usage;
	if (!cmd_parse(c, &usage, argc, argv))
		return c->status;
	if (take_options(&q.mount, &lists, &e) < 0)
		return cmd_usage_error(c, &usage, "%s", e.text);
	if (q.mount.max_bytes && !q.mount.scratch)
		return cmd_usage_error(c, &usage, "--max-size is about --scratch, which was not given");
	if (!c->repo)
		return cmd_usage_error(c, &usage,
			"which repository? Name it with -r REPO, PGSTRATA_REPO or repo= in the config file");
	if (prepare(&q, &mountpoint, &repo, &e) < 0)
		return cmd_fail(c, &e);
	if (q.log_path)
		q.log_path = log_path = absolute(q.log_path);
	if (c->cache_dir)
		c->cache_dir = cache_dir = absolute(c->cache_dir);
	if (q.mount.scratch)
		q.mount.scratch = scratch = absolute(q.mount.scratch);
	if (q.foreground)
		return serve(&q);
	return run_daemon(&q);
}
