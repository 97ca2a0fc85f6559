/* Fault points. The one place below src/cmd that looks at the environment, in test builds only. */
#include "src/base/fault.h"

#ifdef PGSTRATA_FAULTS

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#define POINTS 64 /* kinds of points; there are about a dozen */

static struct {
	pthread_mutex_t lock; /* rank: leaf; guards everything here */
	bool loaded, count, scraps;
	char name[64]; /* "": no plan */
	long at;
	bool from_there_on;
	long passed;
	int action; /* 0 kill, else errno */
	struct {
		const char *name;
		long passed;
	} points[POINTS];
	unsigned long calls; /* of fault_scrap and fault_interrupted */
	long clock_at, clock_read;
	int64_t clock_s;
	int journal; /* -1: none */
} plan = {.lock = PTHREAD_MUTEX_INITIALIZER, .journal = -1};

static void parse_plan(const char *s)
{
	const char *c1 = strchr(s, ':'), *c2 = c1 ? strchr(c1 + 1, ':') : NULL;

	plan.count = !strcmp(s, "count");
	plan.scraps = !strcmp(s, "scraps");
	if (!c2 || (size_t)(c1 - s) >= sizeof(plan.name))
		return;
	memcpy(plan.name, s, (size_t)(c1 - s));
	plan.at = strtol(c1 + 1, NULL, 10);
	plan.from_there_on = c2[-1] == '+';
	plan.action = strcmp(c2 + 1, "kill") ? (int)strtol(c2 + 1, NULL, 10) : 0;
}

/* Call with the lock held. */
static void load(void)
{
	const char *s;
	char *rest;

	if (plan.loaded)
		return;
	plan.loaded = true;
	if ((s = getenv("PGSTRATA_FAULT")))
		parse_plan(s);
	if ((s = getenv("PGSTRATA_FAULT_CLOCK"))) {
		plan.clock_at = strtol(s, &rest, 10);
		plan.clock_s = *rest == ':' ? strtoll(rest + 1, NULL, 10) : 0;
	}
	if ((s = getenv("PGSTRATA_FAULT_JOURNAL")))
		plan.journal = open(s, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
}

/* Which passage of its own point this is. */
static long passage(const char *name)
{
	unsigned i = 0;

	while (i < POINTS - 1 && plan.points[i].name && strcmp(plan.points[i].name, name) != 0)
		i++;
	plan.points[i].name = name;
	return ++plan.points[i].passed;
}

static bool is_planned(const char *name)
{
	if (strcmp(plan.name, "*") ? strcmp(plan.name, name) != 0 : !strncmp(name, "read", 4))
		return false;
	plan.passed++;
	return plan.from_there_on ? plan.passed >= plan.at : plan.passed == plan.at;
}

int fault_at(const char *name)
{
	long own;
	int r = 0;

	pthread_mutex_lock(&plan.lock);
	load();
	own = passage(name);
	if (plan.count)
		dprintf(2, "fault-%s %s\n", strncmp(name, "read", 4) ? "point" : "read", name);
	if (is_planned(name)) {
		if (!plan.action) {
			dprintf(2, "fault-kill %s %ld\n", name, own);
			kill(getpid(), SIGKILL);
		}
		r = -plan.action;
	}
	pthread_mutex_unlock(&plan.lock);
	return r;
}

size_t fault_scrap(size_t n)
{
	size_t some = n;

	pthread_mutex_lock(&plan.lock);
	load();
	if (plan.scraps && n > 1)
		some = 1 + (++plan.calls * 7919) % (n < 5000 ? n : 5000);
	pthread_mutex_unlock(&plan.lock);
	return some;
}

bool fault_interrupted(void)
{
	bool is;

	pthread_mutex_lock(&plan.lock);
	load();
	is = plan.scraps && ++plan.calls % 3 == 0;
	pthread_mutex_unlock(&plan.lock);
	if (is)
		errno = EINTR;
	return is;
}

int64_t fault_clock_s(void)
{
	int64_t s;

	pthread_mutex_lock(&plan.lock);
	load();
	s = ++plan.clock_read >= plan.clock_at ? plan.clock_s : 0;
	pthread_mutex_unlock(&plan.lock);
	return s;
}

/* ---- the journal ---- */

static void note(struct fault_entry en, const char *a, const void *b, size_t len_b)
{
	struct iovec v[3] = {{&en, sizeof(en)}};

	en.thread = (uint32_t)gettid();
	en.len_a = a ? (uint32_t)strlen(a) : 0;
	en.len_b = (uint32_t)len_b;
	v[1] = (struct iovec){(void *)a, en.len_a};
	v[2] = (struct iovec){(void *)b, len_b};
	/* A test that has only half of its journal must not go on. */
	if (writev(plan.journal, v, 3) != (ssize_t)(sizeof(en) + en.len_a + len_b))
		abort();
}

static bool journal_is_open(void)
{
	bool is;

	pthread_mutex_lock(&plan.lock);
	load();
	is = plan.journal >= 0;
	pthread_mutex_unlock(&plan.lock);
	return is;
}

void fault_note_fd(enum fault_op op, int fd, const char *path)
{
	struct stat st;

	if (!journal_is_open() || fstat(fd, &st) < 0)
		return;
	pthread_mutex_lock(&plan.lock);
	note((struct fault_entry){.op = op, .inode = st.st_ino}, path, NULL, 0);
	pthread_mutex_unlock(&plan.lock);
}

void fault_note_write(int fd, uint64_t off, const void *p, size_t n)
{
	struct stat st;

	if (!journal_is_open() || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
		return;
	if (off == UINT64_MAX)
		off = (uint64_t)lseek(fd, 0, SEEK_CUR) - n;
	pthread_mutex_lock(&plan.lock);
	note((struct fault_entry){.op = FAULT_WRITE, .inode = st.st_ino, .off = off}, NULL, p, n);
	pthread_mutex_unlock(&plan.lock);
}

void fault_note_truncate(int fd, uint64_t size)
{
	struct stat st;

	if (!journal_is_open() || fstat(fd, &st) < 0)
		return;
	pthread_mutex_lock(&plan.lock);
	note((struct fault_entry){.op = FAULT_TRUNCATE, .inode = st.st_ino, .off = size}, NULL, NULL, 0);
	pthread_mutex_unlock(&plan.lock);
}

void fault_note_path(enum fault_op op, const char *a, const char *b)
{
	if (!journal_is_open())
		return;
	pthread_mutex_lock(&plan.lock);
	note((struct fault_entry){.op = op}, a, b, b ? strlen(b) : 0);
	pthread_mutex_unlock(&plan.lock);
}

#else
typedef int fault_c_is_empty_without_faults;
#endif
