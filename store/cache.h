/* The cache of decoded chunks, map nodes and tree nodes: bounded in bytes, each loaded once at a time (single
 * flight).
 *
 * A blob is immutable and pinned while somebody holds it; pinned blobs are never evicted, so the limit can be
 * passed by what is in use. Map and tree nodes are evicted after chunks as long as they take less than half
 * of the limit: one of them leads to hundreds of chunks. Thread-safe. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "src/base/err.h"
#include "store/digest.h"

struct cache;
struct blob;

/* Memory for a blob's bytes, for a load function to fill. NULL: there is none. */
uint8_t *cache_alloc(struct cache *c, size_t n);
void cache_dealloc(struct cache *c, uint8_t *p); /* of a load that failed; fine on NULL */

/* Makes the bytes of id: memory from cache_alloc (or malloc), which the cache takes. */
typedef int cache_load_fn(void *arg, const struct digest *id, uint8_t **ret, size_t *ret_len, struct err *e);

int cache_new(size_t limit, struct cache **ret);
void cache_free(struct cache *c); /* no blob may be held; fine on NULL */

/* Finds or loads; the caller releases with blob_release. meta: a map or tree node. */
int cache_get(struct cache *c, const struct digest *id, bool meta, cache_load_fn *load, void *arg,
	struct blob **ret, struct err *e);
/* True when it is there (or on its way). */
bool cache_has(struct cache *c, const struct digest *id);

void blob_release(struct blob *b); /* fine on NULL */
const uint8_t *blob_data(const struct blob *b);
size_t blob_len(const struct blob *b);
