/* Processes of a server that was killed. See instance.h.
 *
 * Each process of a server has its data directory as working directory (ChangeToDataDir, src/backend/utils/init/miscinit.c), and a
 * session of its own, so that nothing else says whose it is. */
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "src/base/clean.h"
#include "src/capture/instance.h"

#define PATIENCE_MS 30000

/* The link names it also when the mount it lies on is dead. */
static bool works_in(const char *pid, const char *data)
{
	char path[64], cwd[PATH_MAX];
	ssize_t n;

	snprintf(path, sizeof(path), "/proc/%.20s/cwd", pid);
	n = readlink(path, cwd, sizeof(cwd) - 1);
	return n > 0 && (size_t)n == strlen(data) && !memcmp(cwd, data, (size_t)n);
}

/* The descriptor comes first, so that the number cannot come to mean another process between the look and the signal. */
static int end_one(const char *pid, const char *data, struct err *e)
{
	_cleanup_(closep) int fd = (int)syscall(SYS_pidfd_open, atoi(pid), 0);
	struct pollfd w = {.fd = fd, .events = POLLIN};

	if (fd < 0 || !works_in(pid, data))
		return 0;
	if (syscall(SYS_pidfd_send_signal, fd, SIGKILL, NULL, 0) < 0)
		return errno == ESRCH ? 0 : err_sys(e, -errno, "ending process %s, which a server left", pid);
	if (poll(&w, 1, PATIENCE_MS) == 0)
		return err_set(e, -ETIMEDOUT, "process %s, which a server left, does not end", pid);
	return 0;
}

int instance_end_orphans(const char *data, struct err *e)
{
	DIR *d = opendir("/proc");
	struct dirent *de;
	int r = 0;

	if (!d)
		return err_sys(e, -errno, "/proc");
	while (r == 0 && (de = readdir(d)))
		if (isdigit((unsigned char)*de->d_name) && works_in(de->d_name, data))
			r = end_one(de->d_name, data, e);
	closedir(d);
	return r;
}
