/* One log line for each object that cannot be read, and not many more. See complain.h. */
#include "fs/complain.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/clock.h"

#define SECOND UINT64_C(1000000000)
#define QUIET (60 * SECOND) /* how long the same line is not repeated */
#define BURST 50	    /* lines a second, of whatever text */
#define SETS 256	    /* of the lines that are remembered, by hash */
#define WAYS 4

struct slot {
	uint64_t hash;
	uint64_t since;
};

struct complaints {
	struct log *log;
	pthread_mutex_t lock; /* rank: leaf; guards all below */
	struct slot slots[SETS][WAYS];
	uint64_t second; /* the one that `lines` counts */
	unsigned lines;
	uint64_t held_back; /* since `told` */
	uint64_t told;	    /* when it was last said how many were held back */
};

int complaints_new(struct log *l, struct complaints **ret)
{
	struct complaints *c = calloc(1, sizeof(*c));

	if (!c)
		return -ENOMEM;
	c->log = l;
	pthread_mutex_init(&c->lock, NULL);
	*ret = c;
	return 0;
}

void complaints_free(struct complaints *c)
{
	if (!c)
		return;
	if (c->held_back)
		log_msg(c->log, LOG_LEVEL_WARNING, "%llu more errors were not logged, most of them repeated",
			(unsigned long long)c->held_back);
	pthread_mutex_destroy(&c->lock);
	free(c);
}

int complaint_errno(int code)
{
	switch (-code) {
	case ENOENT:
	case ENOTDIR:
	case EISDIR:
	case EINVAL:
	case ENOMEM:
	case ENAMETOOLONG:
	case ENXIO:
	case ESTALE:
	case EINTR:
		return -code;
	}
	return EIO;
}

int complaint_errno_branch(int code)
{
	switch (-code) {
	case EBUSY:
	case EDQUOT:
	case EEXIST:
	case EFBIG:
	case EMLINK:
	case ENOSPC:
	case ENOTEMPTY:
	case EOPNOTSUPP:
	case EPERM:
	case EXDEV:
		return -code;
	}
	return complaint_errno(code);
}

/* FNV-1a, 64 bits. */
static uint64_t hash_of(const char *a, const char *b)
{
	uint64_t h = UINT64_C(0xcbf29ce484222325);

	for (; *a; a++)
		h = (h ^ (uint8_t)*a) * UINT64_C(0x100000001b3);
	for (; *b; b++)
		h = (h ^ (uint8_t)*b) * UINT64_C(0x100000001b3);
	return h;
}

/* Whether the line with hash h was logged within the last minute; if not, it counts as logged now, in place
 * of the oldest of its set. The lock is held. */
static bool was_logged(struct complaints *c, uint64_t h, uint64_t now)
{
	struct slot *set = c->slots[h % SETS], *oldest = set;

	for (unsigned i = 0; i < WAYS; i++) {
		if (set[i].hash == h && set[i].since && now - set[i].since < QUIET)
			return true;
		if (set[i].since < oldest->since)
			oldest = &set[i];
	}
	*oldest = (struct slot){h, now};
	return false;
}

void complain(struct complaints *c, const char *object, const struct err *e)
{
	uint64_t now = clock_mono_ns(), h = hash_of(object, e->text), held_back = 0;
	bool quiet;

	pthread_mutex_lock(&c->lock);
	if (now / SECOND != c->second) {
		c->second = now / SECOND;
		c->lines = 0;
	}
	quiet = c->lines >= BURST || was_logged(c, h, now);
	if (quiet) {
		c->held_back++;
	} else {
		c->lines++;
		if (now - c->told >= QUIET) {
			held_back = c->held_back;
			c->held_back = 0;
			c->told = now;
		}
	}
	pthread_mutex_unlock(&c->lock);
	if (quiet)
		return;
	if (held_back)
		log_msg(c->log, LOG_LEVEL_WARNING, "%llu more errors were not logged, most of them repeated",
			(unsigned long long)held_back);
	log_msg(c->log, LOG_LEVEL_ERROR, "%s: %s", object, e->text[0] ? e->text : strerror(-e->code));
}
