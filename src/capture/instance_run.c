/* Starting a server, waiting for it, ending it. See instance.h.
 *
 * The server is started by itself and not by pg_ctl, which looks only ten times a second; where it is in its start is read
 * from where pg_ctl reads it, the last line of postmaster.pid. A process that is not our child is held by a pidfd, so that
 * its number cannot come to mean another one between a look and a signal. */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "src/base/io.h"
#include "src/capture/confine.h"
#include "src/capture/instance.h"
#include "src/capture/replication.h"

#define PID_FILE_MAX 8192
#define LOG_TAIL 65536
#define GROUPS_MAX 256
#define POLL_FIRST_MS 5
#define POLL_LAST_MS 50

/* ---- start ---- */

/* Restore commands need a path; the locale of the databases is in them, and the messages shall be English. */
static char *const environment[] = {
	(char *)"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", (char *)"LC_ALL=C",
	NULL};

struct launch {
	char *const *argv;
	const struct instance_owner *owner;
	const char *log;
	gid_t groups[GROUPS_MAX];
	int n_groups;
	int rules;  /* confine.h; -1: none */
	int report; /* an errno goes there when the program could not be started; closed by exec */
};

/* Between fork and exec: only what a signal handler may do, since other threads may have held locks. */
static __attribute__((noreturn)) void become_server(const struct launch *l)
{
	static const int reset[] = {
		SIGINT, SIGTERM, SIGHUP, SIGPIPE, SIGQUIT, SIGCHLD, SIGUSR1, SIGUSR2, SIGALRM};
	sigset_t none;
	int in, out, err;

	setsid();
	umask(0077);
	for (size_t i = 0; i < sizeof(reset) / sizeof(*reset); i++)
		signal(reset[i], SIG_DFL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	if (geteuid() == 0 && (setgroups((size_t)l->n_groups, l->groups) < 0 || setgid(l->owner->gid) < 0 ||
				      setuid(l->owner->uid) < 0))
		goto failed;
	in = open("/dev/null", O_RDONLY);
	out = open(l->log, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_NOFOLLOW, 0600);
	if (in < 0 || out < 0 || dup2(in, 0) < 0 || dup2(out, 1) < 0 || dup2(out, 2) < 0 || chdir("/") < 0)
		goto failed;
	if (in > 2)
		close(in);
	if (out > 2)
		close(out);
	if (l->rules >= 0 && (err = confine_self(l->rules)) < 0) {
		errno = -err;
		goto failed;
	}
	execve(l->argv[0], l->argv, environment);
failed:
	err = errno;
	(void)!write(l->report, &err, sizeof(err));
	_exit(127);
}

/* Field 22 of /proc/PID/stat; the second one is the program's name in brackets and may hold anything (proc(5)). */
static bool ticks_of(pid_t pid, uint64_t *ret)
{
	char path[48], text[1024], *at;
	unsigned long long ticks;
	ssize_t n;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	n = io_read(fd, text, sizeof(text) - 1);
	close(fd);
	text[n > 0 ? n : 0] = '\0';
	at = strrchr(text, ')');
	if (!at ||
		sscanf(at + 1,
			" %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %*d %*d %llu",
			&ticks) != 1)
		return false;
	*ret = ticks;
	return true;
}

int instance_start(char *const *argv, const struct instance_owner *o, const char *log, int rules,
	struct instance_process *ret, struct err *e)
{
	struct launch l = {.argv = argv, .owner = o, .log = log, .rules = rules, .n_groups = GROUPS_MAX};
	struct instance_process p = {0};
	int fds[2], why = 0;
	ssize_t n;

	if (!*o->name || getgrouplist(o->name, o->gid, l.groups, &l.n_groups) < 0) {
		l.groups[0] = o->gid;
		l.n_groups = 1;
	}
	if (pipe2(fds, O_CLOEXEC) < 0)
		return err_sys(e, -errno, "starting %s", argv[0]);
	l.report = fds[1];
	p.pid = fork();
	if (p.pid == 0)
		become_server(&l);
	close(fds[1]);
	if (p.pid < 0) {
		close(fds[0]);
		return err_sys(e, -errno, "starting %s", argv[0]);
	}
	n = io_read(fds[0], &why, sizeof(why));
	close(fds[0]);
	if (n == sizeof(why)) {
		while (waitpid(p.pid, NULL, 0) < 0 && errno == EINTR)
			;
		return err_sys(e, -why, "starting %s as %s, with its log in %s", argv[0],
			*o->name ? o->name : "the data directory's owner", log);
	}
	ticks_of(p.pid, &p.ticks); /* as long as it is not waited for, also of one that ended */
	*ret = p;
	return 0;
}

/* ---- where it is ---- */

/* Line n of the text, from 1 on, without its end. */
static bool line_of(const char *text, size_t len, unsigned n, const char **ret, size_t *ret_len)
{
	const char *end = text + len, *nl;

	for (;; text = nl + 1) {
		nl = memchr(text, '\n', (size_t)(end - text));
		if (!nl)
			return false; /* also one that is being written */
		if (--n == 0)
			break;
	}
	*ret = text;
	*ret_len = (size_t)(nl - text);
	return true;
}

/* LOCK_FILE_LINE_PID and _PM_STATUS and the words: src/include/utils/pidfile.h. */
enum instance_status instance_status_parse(const char *text, size_t n, pid_t pid)
{
	static const struct {
		const char *word;
		enum instance_status status;
	} words[] = {
		{"starting", INSTANCE_STARTING},
		{"standby", INSTANCE_STANDBY},
		{"ready", INSTANCE_READY},
		{"stopping", INSTANCE_STOPPING},
	};
	char mine[16];
	const char *line;
	size_t len;

	snprintf(mine, sizeof(mine), "%d", (int)pid);
	if (!line_of(text, n, 1, &line, &len) || len != strlen(mine) || memcmp(line, mine, len) != 0)
		return INSTANCE_NONE;
	if (!line_of(text, n, 8, &line, &len))
		return INSTANCE_NONE;
	while (len && line[len - 1] == ' ')
		len--;
	for (size_t i = 0; i < sizeof(words) / sizeof(*words); i++)
		if (len == strlen(words[i].word) && !memcmp(line, words[i].word, len))
			return words[i].status;
	return INSTANCE_NONE;
}

enum instance_status instance_status(const char *data, pid_t pid)
{
	_cleanup_(freep) char *path = io_join(data, "postmaster.pid");
	_cleanup_(freep) void *text = NULL;
	size_t n;

	if (!path || io_read_file(path, PID_FILE_MAX, &text, &n, NULL) < 0)
		return INSTANCE_NONE;
	return instance_status_parse(text, n, pid);
}

/* ---- its log ---- */

size_t instance_log_tail(const char *log, char *out, size_t n)
{
	int fd = open(log, O_RDONLY | O_CLOEXEC);
	struct stat st;
	ssize_t got = 0;

	if (fd >= 0 && fstat(fd, &st) == 0)
		got = io_pread(
			fd, out, n - 1, st.st_size > (off_t)(n - 1) ? (uint64_t)st.st_size - (n - 1) : 0);
	if (fd >= 0)
		close(fd);
	out[got > 0 ? got : 0] = '\0';
	return got > 0 ? (size_t)got : 0;
}

/* Does the line [at, end) have this severity behind its prefix? */
static bool is_of(const char *at, const char *end, const char *severity)
{
	const char *bracket = memchr(at, ']', (size_t)(end - at));
	const char *from = bracket && end - bracket > 2 ? bracket + 2 : at;
	size_t n = strlen(severity);

	return (size_t)(end - from) > n && !memcmp(from, severity, n) && from[n] == ':';
}

static bool ends_server(const char *at, const char *end)
{
	return is_of(at, end, "FATAL") || is_of(at, end, "PANIC");
}

void instance_last_words(const char *text, size_t len, char *out, size_t n)
{
	const char *end = text + len, *from = NULL, *first = text, *prev = NULL, *cut = NULL;

	/* The last line that says FATAL or PANIC, with what it has of DETAIL and CONTEXT, and one line before it: what
	 * recovery was at, or what its restore_command said. What follows is only how the others end. */
	for (const char *at = text; at < end;) {
		const char *nl = memchr(at, '\n', (size_t)(end - at)), *stop = nl ? nl : end;

		if (ends_server(at, stop)) {
			from = prev && (is_of(prev, at, "LOG") || is_of(prev, at, "ERROR") ||
					       !memchr(prev, ']', (size_t)(at - prev)))
				       ? prev
				       : at;
			cut = NULL;
		} else if (from && !cut && is_of(at, stop, "LOG")) {
			cut = at;
		}
		prev = at;
		at = nl ? nl + 1 : end;
	}
	if (cut)
		end = cut;
	if (from)
		first = from;
	else if ((size_t)(end - first) >= n)
		first = end - n + 1;
	len = (size_t)(end - first);
	if (len >= n)
		len = n - 1;
	while (len && first[len - 1] == '\n')
		len--;
	memcpy(out, first, len);
	out[len] = '\0';
}

/* "restored log file "X" from archive" (RestoreArchivedFile, src/backend/access/transam/xlogarchive.c). */
static bool restored_file(const char *log, char *tail, char out[64])
{
	static const char words[] = "restored log file \"";
	const char *last = NULL;

	instance_log_tail(log, tail, LOG_TAIL);
	for (const char *at = tail; (at = strstr(at, words)); at++)
		last = at + strlen(words);
	if (!last)
		return false;
	snprintf(out, 64, "%.*s", (int)strcspn(last, "\"\n"), last);
	return true;
}

/* ---- waiting ---- */

static void sleep_ms(unsigned ms)
{
	struct timespec t = {.tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000};

	nanosleep(&t, NULL); /* a signal ends it early, which is wanted */
}

static int ended(int status, const char *log, char *tail, struct err *e)
{
	char words[400];
	size_t n = instance_log_tail(log, tail, LOG_TAIL);

	instance_last_words(tail, n, words, sizeof(words));
	if (WIFSIGNALED(status))
		return err_set(e, -EREMOTEIO, "PostgreSQL was ended by signal %d while it started:\n%s",
			WTERMSIG(status), words);
	return err_set(e, -EREMOTEIO, "PostgreSQL ended while it started:\n%s", words);
}

int instance_wait(const struct instance_process *p, const char *data, const char *log,
	instance_progress_fn *progress, void *arg, const volatile sig_atomic_t *stop, struct err *e)
{
	_cleanup_(freep) char *tail = malloc(LOG_TAIL);
	unsigned ms = POLL_FIRST_MS;
	char file[64];
	int status;

	if (!tail)
		return err_sys(e, -ENOMEM, "waiting for PostgreSQL");
	for (;; ms = ms * 2 < POLL_LAST_MS ? ms * 2 : POLL_LAST_MS) {
		pid_t got = waitpid(p->pid, &status, WNOHANG);
		enum instance_status now;

		if (got == p->pid)
			return ended(status, log, tail, e);
		if (got < 0 && errno != EINTR)
			return err_sys(e, -errno, "waiting for PostgreSQL, process %d", (int)p->pid);
		now = instance_status(data, p->pid);
		/* "standby" is said only by servers that let nobody in before their promotion; with hot standby it is
		 * "ready" at once (sigusr1_handler, src/backend/postmaster/postmaster.c; process_pm_pmsignal since
		 * 16). */
		if (now == INSTANCE_READY)
			return 0;
		if (replication_stopped(stop))
			return err_set(e, -EINTR, "stopped while PostgreSQL started");
		if (progress)
			progress(arg, restored_file(log, tail, file) ? file : NULL);
		sleep_ms(ms);
	}
}

/* ---- ending ---- */

/* A descriptor for the process, or -ESRCH: it is gone, and the number may be another's. */
static int hold(const struct instance_process *p)
{
	int fd = p->pid > 0 ? (int)syscall(SYS_pidfd_open, p->pid, 0) : (errno = ESRCH, -1);
	uint64_t ticks;

	if (fd < 0)
		return -errno;
	if (!ticks_of(p->pid, &ticks) || ticks != p->ticks) {
		close(fd);
		return -ESRCH;
	}
	return fd;
}

/* Readable when it has ended, whoever waits for it. */
static bool gone(int fd, int ms)
{
	struct pollfd w = {.fd = fd, .events = POLLIN};
	int r;

	do
		r = poll(&w, 1, ms);
	while (r < 0 && errno == EINTR);
	return r > 0;
}

struct instance_process instance_self(void)
{
	struct instance_process p = {.pid = getpid()};

	ticks_of(p.pid, &p.ticks);
	return p;
}

bool instance_runs(const struct instance_process *p)
{
	_cleanup_(closep) int fd = hold(p);

	return fd >= 0 && !gone(fd, 0);
}

#define QUIT_MS \
	30000 /* more than the 5 s after which a postmaster kills what does not go (SIGKILL_CHILDREN_AFTER_SECS) */

int instance_stop(const struct instance_process *p, bool checkpoint, unsigned patience_ms, struct err *e)
{
	_cleanup_(closep) int fd = hold(p);

	if (fd == -ESRCH)
		return 0;
	if (fd < 0)
		return err_sys(e, fd, "PostgreSQL, process %d", (int)p->pid);
	if (checkpoint && syscall(SYS_pidfd_send_signal, fd, SIGINT, NULL, 0) < 0 && errno != ESRCH)
		return err_sys(e, -errno, "stopping PostgreSQL, process %d", (int)p->pid);
	if (!checkpoint || !gone(fd, (int)patience_ms)) {
		if (syscall(SYS_pidfd_send_signal, fd, SIGQUIT, NULL, 0) < 0 && errno != ESRCH)
			return err_sys(e, -errno, "stopping PostgreSQL, process %d", (int)p->pid);
		if (!gone(fd, QUIT_MS))
			return err_set(e, -ETIMEDOUT,
				"PostgreSQL, process %d, does not stop: end it, then try again", (int)p->pid);
	}
	waitpid(p->pid, NULL, WNOHANG); /* where it was our child */
	return 0;
}
