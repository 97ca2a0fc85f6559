/* What is soon to be decoded, told to the disk: chunks are noted one after the other, then asked for together, those that lie
 * by each other as one; and so are the bases of those that are deltas, the bases of these, and so on, a whole layer at a time.
 * A reader who comes to them one by one would wait for the disk once a base.
 *
 * Best effort: what cannot be found or read is left to the reader, and his error. Decodes nothing. One thread. */
#pragma once

#include "store/digest.h"
#include "store/store.h"

struct advice;

struct advice *advice_new(struct store *s); /* NULL without memory */
void advice_free(struct advice *a);	    /* fine on NULL */

/* Notes a chunk, unless it is decoded already. May give all that was noted so far. */
void advice_note(struct advice *a, const struct digest *id);
/* Waits for the disk where a base's name has to be read. */
void advice_give(struct advice *a);
