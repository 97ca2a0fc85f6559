/* A listing: names that other processes may add to while the mount lives, each with the object it stands for.
 *
 * The backend is asked at most once a second. A name keeps its position for the life of the mount, so that a
 * reader of the directory neither misses nor sees twice what was there all the time; what is new comes at the
 * end; a name that went and came back is a new entry. Embedded in a provider; thread-safe. */
#pragma once

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "fs/ns.h"

struct listing_item {
	char *name;
	struct ns_object *obj;
	uint64_t round; /* of the last answer that had it */
};

struct listing {
	pthread_mutex_t lock; /* rank: above the inode table and the log; guards all below; held while the
			       * backend is asked, so that one thread asks and the others wait for it */
	struct listing_item **items; /* by position; only appended to */
	size_t n, cap;
	struct listing_item **sorted; /* by name: the newest item of each */
	size_t n_sorted;
	uint64_t round; /* of the last answer */
	uint64_t asked; /* clock_mono_ns, 0: never */
};

void listing_init(struct listing *l);
void listing_release(struct listing *l); /* with the objects */

/* Asks, when the last answer is older than a second. `fetch` calls listing_put for every name there is, which
 * calls `make` for those that are new. When it fails, what was known stays; the error is returned. */
struct listing_source {
	int (*fetch)(void *arg, struct listing *l, struct err *e);
	int (*make)(void *arg, const char *name, uint32_t position, struct ns_object **ret, struct err *e);
	/* Does the name still stand for this object? If not, it went and came back unseen. NULL: always. */
	bool (*same)(const struct ns_object *o);
	void *arg;
};
int listing_refresh(struct listing *l, const struct listing_source *src, struct err *e);
/* The last answer counts as old. */
void listing_expire(struct listing *l);
int listing_put(struct listing *l, const struct listing_source *src, const char *name, struct err *e);

/* The object with that name, or NULL. */
struct ns_object *listing_find(struct listing *l, const char *name);
/* The first one at or after *position that is there, or NULL; *position becomes its own. */
const struct listing_item *listing_at(struct listing *l, uint64_t *position);
/* The last one in the order of cmp, or NULL. */
const struct listing_item *listing_last(struct listing *l, int (*cmp)(const char *a, const char *b));
