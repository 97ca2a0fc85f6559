/* Scope-bound cleanup for locals, in the manner of systemd and the kernel's <linux/cleanup.h>.
 *
 *	_cleanup_(freep) char *path = NULL;
 *	...
 *	*ret = MOVE(path);	handed over: the local is NULL now and is not freed
 */
#pragma once

#include <stdlib.h>
#include <unistd.h>

#define _cleanup_(fn) __attribute__((cleanup(fn)))

/* Takes the value out of a pointer variable and leaves NULL behind. */
#define MOVE(p)                             \
	({                                  \
		__typeof__(p) _moved = (p); \
		(p) = NULL;                 \
		_moved;                     \
	})

/* Takes a descriptor out of an int variable and leaves -1 behind. */
#define MOVE_FD(fd)                   \
	({                            \
		int _moved_fd = (fd); \
		(fd) = -1;            \
		_moved_fd;            \
	})

static inline void freep(void *p)
{
	free(*(void **)p);
}

static inline void closep(int *fd)
{
	if (*fd >= 0)
		close(*fd);
}

/* Defines x_freep(struct x **) for a noun that has x_free(struct x *). */
#define CLEANUP_DEFINE(type, fn)           \
	static inline void fn##p(type **p) \
	{                                  \
		fn(*p);                    \
	}
