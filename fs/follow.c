/* Gives the kernel the next file. See follow.h.
 *
 * The mount must not be kept from ending: the file is open for as long as it takes to ask for its bytes, not until they are
 * there, and what this thread waits for ends with the mount. */
#include "fs/follow.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fs/ns.h"
#include "src/base/clean.h"

#define GIVEN_MAX (64u << 20) /* most of a file that is given */
#define REQUEST (128u << 10)  /* what the kernel reads ahead at once unless it is told to read more */

CLEANUP_DEFINE(struct file, file_free)

void follow_init(struct follow *f, const char *mountpoint, size_t unpacked_max)
{
	*f = (struct follow){.mountpoint = mountpoint, .unpacked_max = unpacked_max, .request = REQUEST};
	pthread_mutex_init(&f->lock, NULL);
}

void follow_release(struct follow *f)
{
	pthread_mutex_destroy(&f->lock);
}

bool follow_is_self(struct follow *f, pid_t thread)
{
	return thread && atomic_load(&f->thread) == thread;
}

/* Whether it was given; then it is forgotten, if the caller takes it. */
static bool is_given(struct follow *f, uint64_t ino, bool take)
{
	bool yes = false;

	pthread_mutex_lock(&f->lock);
	for (unsigned i = 0; i < FOLLOW_KEEP && !yes; i++) {
		yes = f->given[i] == ino;
		if (yes && take)
			f->given[i] = 0;
	}
	pthread_mutex_unlock(&f->lock);
	return yes;
}

bool follow_took(struct follow *f, uint64_t ino)
{
	return is_given(f, ino, true);
}

static void remember(struct follow *f, uint64_t ino)
{
	pthread_mutex_lock(&f->lock);
	f->given[f->n_given++ % FOLLOW_KEEP] = ino;
	pthread_mutex_unlock(&f->lock);
}

/* n opened through the mount; -1 when that cannot be: it may be somewhere else by now, or closed to this user. */
static int open_self(struct follow *f, const struct node *n)
{
	_cleanup_(freep) char *name = n->obj->ops->path(n->obj, n);
	_cleanup_(freep) char *path = NULL;
	_cleanup_(closep) int fd = -1;
	struct stat st;

	if (!name || asprintf(&path, "%s/%s", f->mountpoint, name) < 0)
		return -1;
	atomic_store(&f->thread, (int)gettid());
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	atomic_store(&f->thread, 0);
	return fd >= 0 && fstat(fd, &st) == 0 && st.st_ino == n->ino ? MOVE_FD(fd) : -1;
}

/* Has the kernel read the file, of which nothing is waited for but the opening. */
static void give(struct follow *f, const struct node *n)
{
	_cleanup_(closep) int fd = open_self(f, n);
	off_t end = n->size < GIVEN_MAX ? (off_t)n->size : GIVEN_MAX, step = (off_t)atomic_load(&f->request);

	if (fd < 0)
		return;
	remember(f, n->ino);
	/* The kernel takes no more than one request's bytes at a time. */
	for (off_t off = 0; off < end; off += step)
		posix_fadvise(fd, off, step, POSIX_FADV_WILLNEED);
}

/* Whoever read the file has a copy: the memory is worth more to the next one. */
static void take_back(struct follow *f, const struct node *n)
{
	_cleanup_(closep) int fd = open_self(f, n);

	if (fd >= 0)
		posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
}

static void give_next(struct follow *f, const struct node *next)
{
	_cleanup_(file_freep) struct file *file = NULL;
	struct ns_object *o = next->obj;

	if (is_given(f, next->ino, false) || o->ops->open(o, next, &file, NULL) < 0)
		return;
	/* By this thread alone, first: those that serve requests would take all processors, and recovery has work for
	 * one. */
	file_prefetch(file, 0, f->unpacked_max);
	if (f->mountpoint)
		give(f, next);
}

void follow_run(struct follow *f, const struct node *n, bool read)
{
	struct ns_object *o = n->obj;
	struct node next;

	if (atomic_exchange(&f->busy, true))
		return;
	if (o->ops->next(o, n, &next, NULL) >= 0) {
		give_next(f, &next);
		if (read && f->mountpoint)
			take_back(f, n);
	}
	atomic_store(&f->busy, false);
}
