/* The parent's rope beside the one that is being written: which of its chunks is the reference for the next one.
 *
 * Both are walked forward. Where chunks are the same, their digests tell how far each has come; where everything has changed
 * a little (a table whose rows were updated all over), lengths do: a chunk belongs to the parent's chunk that lies at its
 * place, and a boundary close to one of the parent's is taken for the same boundary. What is kept is a window of the
 * parent's pieces around the present place. Not thread-safe. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "store/rope.h"

struct rope_home;

int rope_home_new(struct store *s, const struct content *c, struct rope_home **ret);
void rope_home_free(struct rope_home *h); /* fine on NULL */

/* The chunk that comes next in the new rope has this digest and length. True: the parent has it here. False: *ref is what
 * lies at its place, zeroes when nothing does. A parent that cannot be read any further has nothing. */
bool rope_home_step(struct rope_home *h, const struct digest *id, size_t len, struct digest *ref);
