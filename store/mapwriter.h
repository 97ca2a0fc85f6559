/* Building a file's map and its CRC from chunks that are done in any order.
 *
 * Only the nodes that are being filled are in memory: those of the chunks under way and one a level above.
 * Thread-safe. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "src/base/err.h"
#include "store/digest.h"

struct mapwriter;

/* Stores a map node and gives its name. */
typedef int mapwriter_emit_fn(void *arg, const void *node, size_t n, struct digest *ret, struct err *e);

int mapwriter_new(uint32_t chunk_size, struct mapwriter **ret);
void mapwriter_free(struct mapwriter *m); /* fine on NULL */

/* Chunk n of len bytes (the chunk size, but for the last) with its name and CRC-32C. Emits the nodes that it
 * completes. */
int mapwriter_put(struct mapwriter *m, uint64_t n, size_t len, const struct digest *id, uint32_t crc,
	mapwriter_emit_fn *emit, void *arg, struct err *e);
/* All `chunks` (at least 1) were put: emits what is left and gives the root, its height, and the CRC of the
 * whole file. -EIO when one is missing. */
int mapwriter_finish(struct mapwriter *m, uint64_t chunks, mapwriter_emit_fn *emit, void *arg,
	struct digest *root, unsigned *height, uint32_t *crc, struct err *e);
