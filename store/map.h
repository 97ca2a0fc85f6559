/* File maps: the list of a file's chunks, itself cut into nodes of a fixed span. Format: store/README.md,
 * "File map".
 *
 * A node holds up to MAP_FANOUT references; a node of level k spans MAP_FANOUT^k chunks, so a seek is
 * arithmetic and unchanged gigabytes share their nodes. A zero reference stands for zero bytes as far as it
 * spans. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "src/base/err.h"
#include "store/digest.h"
#include "store/tree.h"

#define MAP_FANOUT 256
#define MAP_SHIFT 8
#define MAP_LEVELS 8

/* Chunks of a file of that size. */
static inline uint64_t map_chunks(uint64_t size, unsigned chunk_shift)
{
	return (size >> chunk_shift) + ((size & (((uint64_t)1 << chunk_shift) - 1)) != 0);
}

/* Levels of nodes above that many chunks: the least h with MAP_FANOUT^h >= chunks. */
unsigned map_height(uint64_t chunks);

/* Reference number i of a node's bytes. -EBADMSG when the node is not a list of at most MAP_FANOUT references
 * or i lies behind its end. */
int map_ref(const void *node, size_t len, uint64_t i, struct digest *ret, struct err *e);

/* The chunk number n of a content (zero digest: zero bytes); pinned nodes come from the cache. */
struct store;
int map_find(struct store *s, const struct content *c, uint64_t n, struct digest *ret, struct err *e);
