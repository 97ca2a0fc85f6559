/* Leases as objects. See lease.h; format: store/README.md, "Lease".
 *
 * An object cannot change, so a lease is renewed by putting its successor, with a later expiry in its name, before the
 * old one is removed: at every moment at least one of the two is there. */
#include "store/lease.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>

#include "src/base/clean.h"
#include "src/base/clock.h"
#include "src/base/io.h"
#include "store/repo.h"
#include "store/sealed.h"

#define NAME_MAX_ 64
#define ID_TEXT 17
#define TEXT_MAX 4096
#define WHAT_MAX 100

/* Where a process number means something: a machine, since one start of it, in one namespace of processes. "-" where that
 * is not known. */
struct place_of {
	char host[65], boot[37];
	uint64_t pids; /* the namespace's inode; 0: not known */
};

struct lease {
	struct store *s;
	char id[ID_TEXT];
	char what[WHAT_MAX + 1];
	struct place_of host;
	uint64_t pid_started; /* of this process, in clock ticks since the boot; 0: not known */
	pthread_mutex_t lock; /* guards what follows */
	int64_t expires;
	char name[NAME_MAX_];
};

static char *object_name(const char *id, int64_t expires, char out[NAME_MAX_])
{
	snprintf(out, NAME_MAX_, "leases/%s-%" PRId64, id, expires);
	return out;
}

/* One word of a small file of /proc or /sys; "-" when there is none. */
static void read_word(const char *path, char *out, size_t n)
{
	_cleanup_(freep) void *p = NULL;
	size_t len;

	snprintf(out, n, "-");
	if (io_read_file(path, TEXT_MAX, &p, &len, NULL) < 0)
		return;
	((char *)p)[strcspn(p, " \n")] = 0;
	if (*(char *)p && strlen(p) < n)
		strcpy(out, p);
}

static struct place_of place_here(void)
{
	struct place_of h = {0};
	struct stat st;

	read_word("/proc/sys/kernel/hostname", h.host, sizeof(h.host));
	read_word("/proc/sys/kernel/random/boot_id", h.boot, sizeof(h.boot));
	if (stat("/proc/self/ns/pid", &st) == 0)
		h.pids = st.st_ino;
	return h;
}

/* When a process began (proc(5), /proc/PID/stat, field 22); 0 when there is no such process. */
static uint64_t process_started(long pid)
{
	_cleanup_(freep) void *p = NULL;
	char path[40], *s;
	uint64_t started = 0;
	size_t len;

	snprintf(path, sizeof(path), "/proc/%ld/stat", pid);
	if (io_read_file(path, TEXT_MAX, &p, &len, NULL) < 0)
		return 0;
	/* The second field is the program's name in parentheses, which may hold anything. */
	s = strrchr(p, ')');
	for (int field = 2; s && field < 22; field++)
		s = strchr(s + 1, ' ');
	if (s)
		started = strtoull(s + 1, NULL, 10);
	return started;
}

static int put(struct lease *l, int64_t expires, struct err *e)
{
	_cleanup_(buf_free) struct buf b = {0};
	char name[NAME_MAX_];
	int r;

	buf_printf(&b, "pgstrata-lease 1\n");
	buf_printf(&b, "host %s\nboot %s\npids %" PRIu64 "\npid %ld\nstarted %" PRIu64 "\n", l->host.host,
		l->host.boot, l->host.pids, (long)getpid(), l->pid_started);
	buf_printf(&b, "what %s\n", l->what);
	sealed_end(&b);
	if (b.bad)
		return err_sys(e, -ENOMEM, "a lease");
	object_name(l->id, expires, name);
	r = backend_put(l->s->backend, name, b.data, b.len, e);
	if (r < 0)
		return err_wrap(e, r, "a lease on the repository");
	if (*l->name)
		backend_remove(l->s->backend, l->name, NULL);
	strcpy(l->name, name);
	l->expires = expires;
	return 0;
}

int lease_take(struct store *s, const char *what, struct lease **ret, struct err *e)
{
	struct lease *l = calloc(1, sizeof(*l));
	uint64_t id;
	int r;

	if (!l)
		return err_sys(e, -ENOMEM, "a lease");
	l->s = s;
	snprintf(l->what, sizeof(l->what), "%s", what);
	l->what[strcspn(l->what, "\r\n")] = 0;
	if (getrandom(&id, sizeof(id), 0) != sizeof(id)) {
		free(l);
		return err_sys(e, -errno, "getrandom");
	}
	snprintf(l->id, sizeof(l->id), "%016" PRIx64, id);
	l->host = place_here();
	l->pid_started = process_started(getpid());
	pthread_mutex_init(&l->lock, NULL);
	r = put(l, clock_now().sec + LEASE_S, e);
	if (r < 0) {
		pthread_mutex_destroy(&l->lock);
		free(l);
		return r;
	}
	*ret = l;
	return 0;
}

int lease_renew(struct lease *l, struct err *e)
{
	int64_t now = clock_now().sec;
	int r = 0;

	pthread_mutex_lock(&l->lock);
	if (now >= l->expires)
		r = err_set(e, -ESTALE,
			"the work stood still for more than %d seconds, and its lease on the repository "
			"ended: what "
			"it relies on may have been pruned; run it again",
			LEASE_S / 2);
	else if (now >= l->expires - LEASE_S / 2)
		r = put(l, now + LEASE_S, e);
	pthread_mutex_unlock(&l->lock);
	return r;
}

void lease_free(struct lease *l)
{
	if (!l)
		return;
	backend_remove(l->s->backend, l->name, NULL);
	pthread_mutex_destroy(&l->lock);
	free(l);
}

/* ---- those of others ---- */

struct names {
	char (*v)[NAME_MAX_];
	size_t n;
};

static int take_name(void *arg, const char *name, const struct object_info *info)
{
	struct names *all = arg;
	void *more = reallocarray(all->v, all->n + 1, NAME_MAX_);

	(void)info;
	if (!more)
		return -ENOMEM;
	all->v = more;
	snprintf(all->v[all->n++], NAME_MAX_, "%s", name);
	return 0;
}

/* Is the process that wrote this text known to be dead? Only one of this very place can be known. */
static bool is_dead(const char *text, const struct place_of *here)
{
	struct place_of its;
	uint64_t started;
	long pid;

	if (sscanf(text, "pgstrata-lease 1 host %64s boot %36s pids %" SCNu64 " pid %ld started %" SCNu64,
		    its.host, its.boot, &its.pids, &pid, &started) != 5)
		return false;
	if (strcmp(here->host, its.host) || strcmp(here->boot, its.boot) || here->pids != its.pids ||
		!strcmp(its.boot, "-") || !its.pids || !started)
		return false;
	return process_started(pid) != started;
}

static int tell(const char *text, int64_t expires, lease_fn *fn, void *arg, struct err *e)
{
	char who[160], host[65] = "?", when[TSTAMP_TEXT];
	const char *line = strstr(text, "\nwhat ");
	_cleanup_(freep) char *what = line ? strndup(line + 6, strcspn(line + 6, "\n")) : strdup("something");
	long pid = 0;

	if (!what)
		return err_sys(e, -ENOMEM, "a lease");
	sscanf(text, "pgstrata-lease 1 host %64s boot %*s pids %*s pid %ld", host, &pid);
	snprintf(who, sizeof(who), "process %ld on %s, until %s at most", pid, host,
		tstamp_rfc3339((struct tstamp){expires, 0}, when));
	return fn(arg, what, who, e);
}

static int look(struct store *s, const char *name, const struct place_of *here, lease_fn *fn, void *arg,
	struct err *e)
{
	_cleanup_(freep) char *text = NULL;
	const char *dash = strrchr(name, '-');
	int64_t expires = dash ? strtoll(dash + 1, NULL, 10) : 0;
	size_t len;
	int r = backend_get(s->backend, name, TEXT_MAX, (void **)&text, &len, e);

	if (r < 0)
		return r;
	if (expires + LEASE_SKEW_S < clock_now().sec || (sealed_ok(text, len) && is_dead(text, here))) {
		backend_remove(s->backend, name, NULL);
		return 0;
	}
	/* A damaged one still counts until it expires. */
	return tell(text, expires, fn, arg, e);
}

int lease_list(struct store *s, const struct lease *mine, lease_fn *fn, void *arg, struct err *e)
{
	struct place_of here = place_here();
	bool again;
	int r;

	/* One that went away between the listing and the look was given back, or renewed, and then a listing may have
	 * missed its successor. */
	do {
		struct names all = {0};

		again = false;
		r = backend_list(s->backend, "leases", take_name, &all, e);
		for (size_t i = 0; i < all.n && !r; i++) {
			if (mine && !strncmp(all.v[i] + strlen("leases/"), mine->id, strlen(mine->id)))
				continue;
			r = look(s, all.v[i], &here, fn, arg, e);
			if (r == -ENOENT) {
				again = true;
				r = 0;
			}
		}
		free(all.v);
	} while (again && !r);
	return r;
}
