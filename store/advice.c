/* Layers of records asked from the disk. See advice.h. */
#include "store/advice.h"

#include <stdlib.h>

#include "store/repo.h"

#define MOST 512   /* records a layer */
#define LAYERS 256 /* as long as a chain may be (decoder.c) */
#define GAP \
	(32u << 10) /* records closer than this are fetched as one: reading the gap costs less than a second read */

struct wanted {
	struct digest id;
	struct place at;
};

struct advice {
	struct store *store;
	size_t n;
	struct wanted v[MOST];
};

struct advice *advice_new(struct store *s)
{
	struct advice *a = malloc(sizeof(*a));

	if (!a)
		return NULL;
	a->store = s;
	a->n = 0;
	return a;
}

void advice_free(struct advice *a)
{
	free(a);
}

static int by_place(const void *pa, const void *pb)
{
	const struct place *a = &((const struct wanted *)pa)->at, *b = &((const struct wanted *)pb)->at;

	if (a->pack != b->pack)
		return a->pack < b->pack ? -1 : 1;
	return (a->off > b->off) - (a->off < b->off);
}

/* Sorts the layer and asks for all of it. */
static void ask(struct advice *a)
{
	struct place run;

	qsort(a->v, a->n, sizeof(a->v[0]), by_place);
	run = a->v[0].at;
	for (size_t i = 1; i < a->n; i++) {
		const struct place *at = &a->v[i].at;
		uint64_t end = (uint64_t)at->off + at->len;

		if (at->pack != run.pack || at->off > (uint64_t)run.off + run.len + GAP) {
			index_advise(a->store->index, &run);
			run = *at;
		} else if (end > (uint64_t)run.off + run.len) {
			run.len = (uint32_t)(end - run.off);
		}
	}
	index_advise(a->store->index, &run);
}

/* The base of a delta, and where it is. */
static bool find_base(struct store *s, const struct wanted *w, struct wanted *ret)
{
	uint8_t head[RECORD_HEAD_MAX];
	struct place at = w->at;
	struct wanted base;

	if (at.len < sizeof(head))
		return false;
	at.len = sizeof(head);
	if (index_read(s->index, &at, head, NULL) < 0 ||
		record_base(head, sizeof(head), &w->id, &base.id, NULL) < 0 ||
		!index_find(s->index, &base.id, &base.at))
		return false;
	*ret = base;
	return true;
}

/* The layer becomes that of its bases. Neighbours often have the same one. */
static void descend(struct advice *a)
{
	size_t n = 0;

	for (size_t i = 0; i < a->n; i++) {
		struct wanted base;

		if (a->v[i].at.depth && find_base(a->store, &a->v[i], &base) &&
			!(n && digest_eq(&a->v[n - 1].id, &base.id)))
			a->v[n++] = base;
	}
	a->n = n;
}

void advice_give(struct advice *a)
{
	for (unsigned layer = 0; a->n && layer < LAYERS; layer++) {
		ask(a);
		descend(a);
	}
	a->n = 0;
}

void advice_note(struct advice *a, const struct digest *id)
{
	struct wanted w = {.id = *id};

	if (cache_has(a->store->cache, id) || !index_find(a->store->index, id, &w.at))
		return;
	a->v[a->n++] = w;
	if (a->n == MOST)
		advice_give(a);
}
