/* See digestset.h. */
#include "store/digestset.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>

#define FIRST 1024

void digestset_release(struct digestset *s)
{
	free(s->slots);
	*s = (struct digestset){0};
}

/* Where d is, or would be. A digest is its own hash. */
static size_t slot_of(const struct digestset *s, const struct digest *d)
{
	uint64_t h;
	size_t i;

	memcpy(&h, d->b, sizeof(h));
	for (i = (size_t)h & (s->cap - 1); !digest_is_zero(&s->slots[i]); i = (i + 1) & (s->cap - 1))
		if (digest_eq(&s->slots[i], d))
			break;
	return i;
}

bool digestset_has(const struct digestset *s, const struct digest *d)
{
	return s->cap && !digest_is_zero(&s->slots[slot_of(s, d)]);
}

static int grow(struct digestset *s)
{
	struct digestset g = {.n = s->n, .cap = s->cap ? 2 * s->cap : FIRST};

	g.slots = calloc(g.cap, sizeof(*g.slots));
	if (!g.slots)
		return -ENOMEM;
	for (size_t i = 0; i < s->cap; i++)
		if (!digest_is_zero(&s->slots[i]))
			g.slots[slot_of(&g, &s->slots[i])] = s->slots[i];
	free(s->slots);
	*s = g;
	return 0;
}

int digestset_add(struct digestset *s, const struct digest *d)
{
	size_t i;

	if (s->n >= s->cap / 2 && grow(s) < 0)
		return -ENOMEM;
	i = slot_of(s, d);
	if (!digest_is_zero(&s->slots[i]))
		return 0;
	s->slots[i] = *d;
	s->n++;
	return 1;
}
