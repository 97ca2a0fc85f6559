/* Texts in pieces. See pieces.h. */
#include "store/pieces.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

void pieces_release(struct pieces *t)
{
	free(t->v);
	*t = (struct pieces){0};
}

void pieces_clear(struct pieces *t)
{
	t->n = 0;
	t->len = 0;
}

int pieces_add(struct pieces *t, const uint8_t *p, size_t n)
{
	if (!n)
		return 0;
	if (t->n && t->v[t->n - 1].p + t->v[t->n - 1].len == p) {
		t->v[t->n - 1].len += n;
		t->len += n;
		return 0;
	}
	if (t->n == t->cap) {
		size_t cap = t->cap ? 2 * t->cap : 256;
		struct piece_of *more = reallocarray(t->v, cap, sizeof(*more));

		if (!more)
			return -ENOMEM;
		t->v = more;
		t->cap = cap;
	}
	t->v[t->n++] = (struct piece_of){p, n, t->len};
	t->len += n;
	return 0;
}

/* The piece that has the byte at off. */
static size_t find(const struct pieces *t, size_t off)
{
	size_t low = 0, high = t->n;

	while (high - low > 1) {
		size_t middle = low + (high - low) / 2;

		if (t->v[middle].start <= off)
			low = middle;
		else
			high = middle;
	}
	return low;
}

int pieces_add_from(struct pieces *t, const struct pieces *from, size_t off, size_t n)
{
	for (size_t i = n ? find(from, off) : 0; n; i++) {
		const struct piece_of *p = &from->v[i];
		size_t skip = off - p->start, part = p->len - skip < n ? p->len - skip : n;
		int r = pieces_add(t, p->p + skip, part);

		if (r < 0)
			return r;
		off += part;
		n -= part;
	}
	return 0;
}

void pieces_copy(const struct pieces *t, uint8_t *out)
{
	for (size_t i = 0; i < t->n; i++)
		memcpy(out + t->v[i].start, t->v[i].p, t->v[i].len);
}
