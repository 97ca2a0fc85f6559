/* Looking into an inventory. See inventory.h; how it is made: shelf.c. */
#include "src/pit/inventory.h"

#include <stdlib.h>

void inventory_unref(struct inventory *i)
{
	if (!i || atomic_fetch_sub(&i->refs, 1) > 1)
		return;
	for (size_t k = 0; k < i->n_timelines; k++)
		free(i->timelines[k].v);
	free(i->timelines);
	free(i->backups);
	free(i->partials);
	free(i);
}

const struct timeline *inventory_timeline(const struct inventory *i, struct tli t)
{
	for (size_t k = 0; k < i->n_timelines; k++)
		if (i->timelines[k].tli.v == t.v)
			return &i->timelines[k];
	return NULL;
}

/* The first stretch that ends at or after the segment. */
static const struct stretch *reaching(const struct inventory *i, struct tli t, struct segno no)
{
	const struct timeline *l = inventory_timeline(i, t);
	size_t a = 0, b = l ? l->n : 0;

	while (a < b) {
		size_t mid = a + (b - a) / 2;

		if (l->v[mid].last < no.v)
			a = mid + 1;
		else
			b = mid;
	}
	return l && a < l->n ? &l->v[a] : NULL;
}

const struct stretch *inventory_find(const struct inventory *i, struct tli t, struct segno no)
{
	const struct stretch *s = reaching(i, t, no);

	return s && s->first <= no.v ? s : NULL;
}

const struct stretch *inventory_after(const struct inventory *i, struct tli t, struct segno no)
{
	const struct stretch *s = reaching(i, t, no);
	const struct timeline *l = inventory_timeline(i, t);

	if (s && s->first < no.v)
		s = s + 1 < l->v + l->n ? s + 1 : NULL;
	return s;
}

const struct partial *inventory_partial(const struct inventory *i, struct tli t, struct segno no)
{
	for (size_t k = 0; k < i->n_partials; k++)
		if (i->partials[k].tli.v == t.v && i->partials[k].no.v == no.v)
			return &i->partials[k];
	return NULL;
}
