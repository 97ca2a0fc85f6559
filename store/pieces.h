/* A text put together of stretches of memory that belongs to others: what several plans (linediff.h) make one after the other is
 * worked out as such, so that its bytes are moved once at the end instead of once a plan.
 *
 * The memory has to stay as long as the pieces point to it. One thread. */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct piece_of {
	const uint8_t *p;
	size_t len, start; /* start: in the text */
};

/* Zero is an empty text. */
struct pieces {
	struct piece_of *v;
	size_t n, cap;
	size_t len; /* of the text */
};

void pieces_release(struct pieces *t);
void pieces_clear(struct pieces *t); /* keeps its memory */

/* Both append, or -ENOMEM. [off, off + n) must be in `from`, which is another text. */
int pieces_add(struct pieces *t, const uint8_t *p, size_t n);
int pieces_add_from(struct pieces *t, const struct pieces *from, size_t off, size_t n);

/* Writes the text to out, t->len bytes. */
void pieces_copy(const struct pieces *t, uint8_t *out);
