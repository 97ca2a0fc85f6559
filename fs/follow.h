/* The file that is read after this one (ns_ops.next), given to the kernel before anybody asks for it.
 *
 * Recovery copies one segment of WAL, replays it, and copies the next. While it replays, the next segment is unpacked and
 * put into the kernel's page cache: by opening it through the mount itself and asking for its bytes, so that the copy
 * then finds all of it in memory and the daemon is not in its way. The segment that was copied leaves the page cache: there
 * it would push out what recovery works on. What can go wrong costs that and nothing else.
 *
 * A server on a branch reads the segment itself, through a link; what tells early that it wants it is that it syncs it
 * (ns_ops.opens_for_sync).
 * Thread-safe. */
#pragma once

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "fs/node.h"

#define FOLLOW_KEEP 4

struct follow {
	const char *mountpoint; /* NULL: no mount; files are unpacked only */
	size_t unpacked_max;	/* of one file: the cache has other readers */
	atomic_size_t request;	/* how much the kernel reads ahead at once; set by who changes that */
	atomic_bool busy;	/* one file at a time */
	atomic_int thread;	/* which opens a file of the mount just now; 0: none */
	pthread_mutex_t lock;	/* rank: leaf; guards what follows */
	uint64_t given[FOLLOW_KEEP];
	unsigned n_given;
};

void follow_init(struct follow *f, const char *mountpoint, size_t unpacked_max);
void follow_release(struct follow *f);

/* n was read to its end, or is going to be (then `read` is false, and it stays in memory): sees to the file after it. On a
 * thread that serves no requests. */
void follow_run(struct follow *f, const struct node *n, bool read);

/* Is it follow_run that opens a file, as far as the kernel tells who does? */
bool follow_is_self(struct follow *f, pid_t thread);
/* Was that file given to the kernel? Once: of who reads it the daemon may see nothing but that it is opened. */
bool follow_took(struct follow *f, uint64_t ino);
