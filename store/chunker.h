/* Storing one chunk or node: name it, find out whether it is known, compress it, pack it.
 *
 * A chunker is one thread's contexts and buffers; many of them share a packing. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "src/base/err.h"
#include "store/digest.h"
#include "store/packing.h"
#include "store/record.h"

struct chunker;

/* max: bytes of the largest chunk it will be given. */
int chunker_new(struct store *s, struct packing *p, size_t max, struct chunker **ret);
void chunker_free(struct chunker *c); /* fine on NULL */

struct chunk_result {
	struct digest id; /* zero for a chunk of zero bytes */
	uint32_t crc;	  /* CRC-32C of the bytes */
	uint32_t stored;  /* length of its record; 0 when it is at_home or zero */
	bool at_home;	  /* it is what `home` names, nothing was asked or stored */
	bool fresh;	  /* it was new to the repository */
	bool delta;	  /* and became a delta */
};

/* Stores n bytes, 1 to max. home: the chunk that the parent has at this place, or NULL. A home that cannot be
 * read is no reference, and no error. */
int chunker_store(struct chunker *c, enum record_kind kind, const void *p, size_t n,
	const struct digest *home, struct chunk_result *ret, struct err *e);

/* The same for a chunk of a rope, which is most often lines of text that moved. Its chains may be CHUNKER_TEXT_CHAINS times as
 * long: a delta of lines takes little more to unpack than its bytes take to copy. */
#define CHUNKER_TEXT_CHAINS 4
int chunker_store_text(struct chunker *c, const void *p, size_t n, const struct digest *home,
	struct chunk_result *ret, struct err *e);
