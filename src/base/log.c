/* The log. One write(2) a line, so that lines of several threads never mix. See log.h. */
#include "src/base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>
#include <unistd.h>

#include "src/base/clock.h"

struct log {
	int fd; /* -1: syslog */
	enum log_level max;
	int owns_fd;
};

static const char *const words[] = {"error", "warning", "info", "debug"};
static const int priorities[] = {LOG_ERR, LOG_WARNING, LOG_INFO, LOG_DEBUG};

static int make(int fd, int owns, enum log_level max, struct log **ret)
{
	struct log *l = malloc(sizeof(*l));

	if (!l)
		return -ENOMEM;
	*l = (struct log){.fd = fd, .max = max, .owns_fd = owns};
	*ret = l;
	return 0;
}

int log_new_stderr(enum log_level max, struct log **ret)
{
	return make(STDERR_FILENO, 0, max, ret);
}

int log_new_file(const char *path, enum log_level max, struct log **ret, struct err *e)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0640), r;

	if (fd < 0)
		return err_sys(e, -errno, "log file %s", path);
	r = make(fd, 1, max, ret);
	if (r < 0) {
		close(fd);
		return err_sys(e, r, "log file %s", path);
	}
	return 0;
}

int log_new_syslog(enum log_level max, struct log **ret)
{
	openlog("pgstrata", LOG_PID, LOG_DAEMON);
	return make(-1, 0, max, ret);
}

void log_free(struct log *l)
{
	if (l && l->owns_fd)
		close(l->fd);
	free(l);
}

void log_msg(struct log *l, enum log_level level, const char *fmt, ...)
{
	char line[1024], when[TSTAMP_TEXT];
	va_list ap;
	int n = 0;

	if (!l || level > l->max)
		return;
	va_start(ap, fmt);
	if (l->fd < 0) {
		vsyslog(priorities[level], fmt, ap);
		va_end(ap);
		return;
	}
	if (l->owns_fd)
		n = snprintf(line, sizeof(line), "%s ", tstamp_rfc3339(clock_now(), when));
	n += snprintf(line + n, sizeof(line) - (size_t)n, "pgstrata: %s: ", words[level]);
	n += vsnprintf(line + n, sizeof(line) - (size_t)n, fmt, ap);
	va_end(ap);
	if (n > (int)sizeof(line) - 2)
		n = (int)sizeof(line) - 2;
	line[n++] = '\n';
	if (write(l->fd, line, (size_t)n) < 0) {
		/* A log that cannot be written has nowhere to complain to. */
	}
}
