/* Looking at mounts from outside. See mountpoint.h.
 *
 * Nothing here touches the mount itself but where the comment says so: a mount whose daemon died or hangs
 * must still be recognised and removed. */
#include "fs/mountpoint.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

#include "src/base/clean.h"
#include "src/base/io.h"

#define BUSY_TRIES 25
#define BUSY_PAUSE_MS 20
#define DAEMON_WAIT_MS 30000
#define PID_ATTRIBUTE "user.pgstrata.pid" /* of the mount's root: fs/attr.c */

extern char **environ;

void mountpoint_release(struct mountpoint *m)
{
	free(m->path);
	free(m->fstype);
	free(m->source);
	*m = (struct mountpoint){0};
}

static bool octal(char c)
{
	return c >= '0' && c <= '7';
}

/* The next field of *line, which is advanced; space, tab, newline and backslash come as \ooo. */
static char *take_field(const char **line)
{
	const char *p = *line;
	size_t n = strcspn(p, " \n");
	char *out = malloc(n + 1), *o = out;

	if (!out)
		return NULL;
	*line = p + n + (p[n] == ' ');
	for (const char *end = p + n; p < end;) {
		if (*p == '\\' && end - p >= 4 && octal(p[1]) && octal(p[2]) && octal(p[3])) {
			*o++ = (char)((p[1] - '0') << 6 | (p[2] - '0') << 3 | (p[3] - '0'));
			p += 4;
		} else {
			*o++ = *p++;
		}
	}
	*o = '\0';
	return out;
}

int mountpoint_parse(const char *line, struct mountpoint *ret, struct err *e)
{
	struct mountpoint m = {0};
	int at = 0;
	const char *dash;

	/* id, parent id, major:minor, root, mount point, options, optional fields, "-", type, source, … */
	if (sscanf(line, "%*u %*u %u:%u %*s %n", &m.dev_major, &m.dev_minor, &at) < 2 || !at)
		return err_set(e, -EINVAL, "not a line of mountinfo: %s", line);
	line += at;
	dash = strstr(line, " - ");
	if (!dash)
		return err_set(e, -EINVAL, "not a line of mountinfo: %s", line);
	m.path = take_field(&line);
	line = dash + 3;
	m.fstype = take_field(&line);
	m.source = take_field(&line);
	if (!m.path || !m.fstype || !m.source) {
		mountpoint_release(&m);
		return err_set(e, -ENOMEM, "no memory for a mount point");
	}
	*ret = m;
	return 0;
}

int mountpoint_find(const char *path, struct mountpoint *ret, struct err *e)
{
	_cleanup_(freep) char *line = NULL;
	struct mountpoint found = {0}, m;
	size_t cap = 0;
	FILE *f = fopen("/proc/self/mountinfo", "re");

	if (!f)
		return err_sys(e, -errno, "/proc/self/mountinfo");
	while (getline(&line, &cap, f) > 0) {
		if (mountpoint_parse(line, &m, NULL) < 0)
			continue;
		if (strcmp(m.path, path)) {
			mountpoint_release(&m);
			continue;
		}
		mountpoint_release(&found);
		found = m;
	}
	fclose(f);
	if (!found.path)
		return err_set(e, -ENOENT, "nothing is mounted on %s", path);
	*ret = found;
	return 0;
}

int mountpoint_resolve(const char *path, char **ret, struct err *e)
{
	_cleanup_(freep) char *copy = NULL, *parent = NULL;
	char *name, *p = realpath(path, NULL);
	size_t n;

	if (p) {
		*ret = p;
		return 0;
	}
	/* A dead mount answers ENOTCONN, another user's EACCES: then the name itself is not looked at. */
	if (errno != ENOTCONN && errno != EACCES)
		return err_sys(e, -errno, "%s", path);
	copy = strdup(path);
	if (!copy)
		return err_set(e, -ENOMEM, "no memory for a path");
	for (n = strlen(copy); n > 1 && copy[n - 1] == '/'; n--)
		copy[n - 1] = '\0';
	name = strrchr(copy, '/');
	if (name)
		*name++ = '\0';
	parent = realpath(!name ? "." : *copy ? copy : "/", NULL);
	if (!parent)
		return err_sys(e, -errno, "%s", path);
	p = io_join(strcmp(parent, "/") ? parent : "", name ? name : copy);
	if (!p)
		return err_set(e, -ENOMEM, "no memory for a path");
	*ret = p;
	return 0;
}

/* Whether path is dir or lies below it; both absolute and clean. */
static bool within(const char *path, const char *dir)
{
	size_t n = strlen(dir);

	return !strcmp(dir, "/") || (!strncmp(path, dir, n) && (!path[n] || path[n] == '/'));
}

static int check_empty(const char *path, struct err *e)
{
	DIR *d = opendir(path);
	struct dirent *de;
	int r = 0;

	if (!d)
		return err_sys(e, -errno, "mount point %s", path);
	while (r == 0 && (de = readdir(d)))
		if (strcmp(de->d_name, ".") && strcmp(de->d_name, ".."))
			r = err_set(e, -ENOTEMPTY,
				"mount point %s is not empty (it has \"%s\"): make a directory of its own",
				path, de->d_name);
	closedir(d);
	return r;
}

int mountpoint_check(const char *path, const char *repo, struct err *e)
{
	struct mountpoint m;
	struct stat st;
	bool ours;
	int r;

	if (mountpoint_find(path, &m, NULL) == 0) {
		ours = !strcmp(m.fstype, MOUNT_FSTYPE);
		/* The kernel may still know the attributes, so they do not tell; this it must ask for. */
		r = ours && getxattr(path, PID_ATTRIBUTE, NULL, 0) < 0 && errno == ENOTCONN
			    ? err_set(e, -EBUSY,
				      "%s is a pgstrata mount whose daemon has died: clear it with "
				      "\"pgstrata "
				      "umount %s\"",
				      path, path)
			    : err_set(e, -EBUSY, "%s is already mounted (%s of %s)", path, m.fstype,
				      m.source);
		mountpoint_release(&m);
		return r;
	}
	if (within(path, repo))
		return err_set(e, -EINVAL,
			"mount point %s lies in the repository: choose a directory outside of it", path);
	if (within(repo, path))
		return err_set(e, -EINVAL,
			"the repository %s lies below the mount point %s, which would hide it", repo, path);
	if (stat(path, &st) < 0)
		return err_sys(e, -errno, "mount point %s", path);
	if (!S_ISDIR(st.st_mode))
		return err_set(e, -ENOTDIR, "mount point %s is not a directory", path);
	return check_empty(path, e);
}

/* A descriptor of the daemon's process, or -1: the mount itself tells who serves it. A dead one does not
 * answer, nor does one that is another user's. */
static int daemon_of(const char *path)
{
	char text[32];
	ssize_t n = getxattr(path, PID_ATTRIBUTE, text, sizeof(text) - 1);
	long pid;

	if (n <= 0)
		return -1;
	text[n] = '\0';
	pid = strtol(text, NULL, 10);
	return pid > 0 ? (int)syscall(SYS_pidfd_open, (pid_t)pid, 0) : -1;
}

/* fusermount3 -u as the kernel lets only root call umount(2). What it says goes into the error. */
static int call_fusermount(const char *path, struct err *e)
{
	char *argv[] = {"fusermount3", "-u", "--", (char *)path, NULL};
	posix_spawn_file_actions_t actions;
	char said[300];
	int fds[2], status = 0, r;
	ssize_t n;
	pid_t pid;

	if (pipe2(fds, O_CLOEXEC) < 0)
		return err_sys(e, -errno, "pipe");
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_adddup2(&actions, fds[1], STDERR_FILENO);
	r = -posix_spawnp(&pid, argv[0], &actions, NULL, argv, environ);
	posix_spawn_file_actions_destroy(&actions);
	close(fds[1]);
	if (r < 0) {
		close(fds[0]);
		return err_sys(e, r, "fusermount3 (Debian package fuse3)");
	}
	n = io_read(fds[0], said, sizeof(said) - 1);
	close(fds[0]);
	said[n > 0 ? n : 0] = '\0';
	while (n > 0 && said[n - 1] == '\n')
		said[--n] = '\0';
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return 0;
	return err_set(
		e, strstr(said, "busy") ? -EBUSY : -EPERM, "%s", said[0] ? said : "fusermount3 failed");
}

static int unmount(const char *path, struct err *e)
{
	if (geteuid() != 0)
		return call_fusermount(path, e);
	return umount2(path, UMOUNT_NOFOLLOW) < 0 ? err_sys(e, -errno, "unmounting %s", path) : 0;
}

int mountpoint_unmount(const char *path, struct err *e)
{
	const struct timespec pause = {.tv_nsec = BUSY_PAUSE_MS * 1000000};
	_cleanup_(closep) int daemon = -1;
	struct mountpoint m;
	struct pollfd p;
	bool ours;
	int r;

	r = mountpoint_find(path, &m, e);
	if (r < 0)
		return r;
	ours = !strcmp(m.fstype, MOUNT_FSTYPE);
	if (!ours)
		r = err_set(e, -EINVAL, "%s is not a pgstrata mount but %s of %s", path, m.fstype, m.source);
	mountpoint_release(&m);
	if (!ours)
		return r;
	daemon = daemon_of(path);
	/* The daemon itself uses the mount for moments (fs/follow.h). */
	r = unmount(path, e);
	for (int i = 0; r == -EBUSY && i < BUSY_TRIES; i++) {
		nanosleep(&pause, NULL);
		r = unmount(path, e);
	}
	if (r == -EBUSY)
		return err_set(e, r,
			"%s is in use: \"fuser -vm %s\" shows by whom (a shell whose directory it is counts)",
			path, path);
	if (r < 0 || daemon < 0)
		return r;
	p = (struct pollfd){.fd = daemon, .events = POLLIN};
	do
		r = poll(&p, 1, DAEMON_WAIT_MS);
	while (r < 0 && errno == EINTR);
	if (r == 0)
		return err_set(e, -ETIMEDOUT,
			"%s is unmounted, but its daemon has not ended: a request may still wait for the "
			"disk",
			path);
	return 0;
}
