/* Append-only positions over a set of names that is asked for again and again. See listing.h. */
#include "fs/listing.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/clock.h"

#define FRESH UINT64_C(1000000000) /* nanoseconds that an answer is good for */

void listing_init(struct listing *l)
{
	*l = (struct listing){0};
	pthread_mutex_init(&l->lock, NULL);
}

void listing_release(struct listing *l)
{
	for (size_t i = 0; i < l->n; i++) {
		free(l->items[i]->name);
		ns_free(l->items[i]->obj);
		free(l->items[i]);
	}
	free(l->items);
	free(l->sorted);
	pthread_mutex_destroy(&l->lock);
}

static int by_name(const void *a, const void *b)
{
	const struct listing_item *const *x = a, *const *y = b;

	return strcmp((*x)->name, (*y)->name);
}

/* The lock is held. Items made in the running round are not found yet: an answer has no name twice. */
static struct listing_item **find(struct listing *l, const char *name)
{
	struct listing_item key = {.name = (char *)name}, *k = &key;

	return l->n_sorted ? bsearch(&k, l->sorted, l->n_sorted, sizeof(*l->sorted), by_name) : NULL;
}

int listing_put(struct listing *l, const struct listing_source *src, const char *name, struct err *e)
{
	struct listing_item **known = find(l, name), *it;
	int r;

	/* Seen in the last answer, or already in this one. */
	if (known && (*known)->round + 1 >= l->round && (!src->same || src->same((*known)->obj))) {
		(*known)->round = l->round;
		return 0;
	}
	if (l->n >= UINT32_MAX - 16)
		return err_set(e, -EOVERFLOW, "more names than a directory has positions");
	if (l->n == l->cap) {
		size_t cap = l->cap ? l->cap * 2 : 16;
		struct listing_item **items = realloc(l->items, cap * sizeof(*items)), **sorted;

		if (!items)
			return err_set(e, -ENOMEM, "no memory for a listing");
		l->items = items;
		sorted = realloc(l->sorted, cap * sizeof(*sorted));
		if (!sorted)
			return err_set(e, -ENOMEM, "no memory for a listing");
		l->sorted = sorted;
		l->cap = cap;
		known = find(l, name);
	}
	it = calloc(1, sizeof(*it));
	if (!it || !(it->name = strdup(name))) {
		free(it);
		return err_set(e, -ENOMEM, "no memory for a listing");
	}
	r = src->make(src->arg, name, (uint32_t)l->n, &it->obj, e);
	if (r < 0) {
		free(it->name);
		free(it);
		return r;
	}
	it->round = l->round;
	l->items[l->n++] = it;
	if (known)
		*known = it; /* its name was there before, went, and is back */
	return 0;
}

/* Puts what this round added into its place by name. The lock is held. */
static void settle(struct listing *l, size_t first_new)
{
	size_t sorted = l->n_sorted;

	for (size_t i = first_new; i < l->n; i++) {
		struct listing_item **known = find(l, l->items[i]->name);

		if (!known)
			l->sorted[sorted++] = l->items[i];
	}
	l->n_sorted = sorted;
	qsort(l->sorted, l->n_sorted, sizeof(*l->sorted), by_name);
}

int listing_refresh(struct listing *l, const struct listing_source *src, struct err *e)
{
	uint64_t now = clock_mono_ns();
	size_t first_new;
	int r = 0;

	pthread_mutex_lock(&l->lock);
	if (!l->asked || now - l->asked >= FRESH) {
		l->round++;
		first_new = l->n;
		r = src->fetch(src->arg, l, e);
		/* A backend that does not answer takes nothing away. */
		for (size_t i = 0; r < 0 && i < first_new; i++)
			if (l->items[i]->round + 1 == l->round)
				l->items[i]->round = l->round;
		if (l->n > first_new)
			settle(l, first_new);
		l->asked = now;
	}
	pthread_mutex_unlock(&l->lock);
	return r;
}

void listing_expire(struct listing *l)
{
	pthread_mutex_lock(&l->lock);
	l->asked = 0;
	pthread_mutex_unlock(&l->lock);
}

struct ns_object *listing_find(struct listing *l, const char *name)
{
	struct listing_item **known;
	struct ns_object *o = NULL;

	pthread_mutex_lock(&l->lock);
	known = find(l, name);
	if (known && (*known)->round == l->round)
		o = (*known)->obj;
	pthread_mutex_unlock(&l->lock);
	return o;
}

const struct listing_item *listing_at(struct listing *l, uint64_t *position)
{
	const struct listing_item *it = NULL;

	pthread_mutex_lock(&l->lock);
	for (uint64_t i = *position; i < l->n; i++) {
		if (l->items[i]->round != l->round)
			continue;
		it = l->items[i];
		*position = i;
		break;
	}
	pthread_mutex_unlock(&l->lock);
	return it;
}

const struct listing_item *listing_last(struct listing *l, int (*cmp)(const char *a, const char *b))
{
	const struct listing_item *last = NULL;

	pthread_mutex_lock(&l->lock);
	for (size_t i = 0; i < l->n; i++) {
		if (l->items[i]->round != l->round)
			continue;
		if (!last || cmp(l->items[i]->name, last->name) > 0)
			last = l->items[i];
	}
	pthread_mutex_unlock(&l->lock);
	return last;
}
