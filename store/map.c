/* Reading file maps. See map.h. */
#include "store/map.h"

#include <errno.h>
#include <string.h>

#include "src/base/clean.h"
#include "store/repo.h"

CLEANUP_DEFINE(struct blob, blob_release)

unsigned map_height(uint64_t chunks)
{
	unsigned h = 0;

	for (uint64_t span = 1; span < chunks && h < MAP_LEVELS; h++)
		if (__builtin_mul_overflow(span, MAP_FANOUT, &span))
			return h + 1;
	return h;
}

int map_ref(const void *node, size_t len, uint64_t i, struct digest *ret, struct err *e)
{
	if (!len || len % DIGEST_LEN || len > MAP_FANOUT * DIGEST_LEN || i >= len / DIGEST_LEN)
		return err_set(e, -EBADMSG, "map node of %zu bytes has no reference %llu", len,
			(unsigned long long)i);
	memcpy(ret->b, (const uint8_t *)node + (size_t)i * DIGEST_LEN, DIGEST_LEN);
	return 0;
}

int map_find(struct store *s, const struct content *c, uint64_t n, struct digest *ret, struct err *e)
{
	struct digest id = c->map;

	for (unsigned level = c->height; level > 0 && !digest_is_zero(&id); level--) {
		_cleanup_(blob_releasep) struct blob *b = NULL;
		unsigned shift = MAP_SHIFT * (level - 1);
		char hex[DIGEST_HEX];
		struct digest at = id;
		int r = repo_blob(s, &id, RECORD_MAP, &b, e);

		if (r < 0)
			return r;
		r = map_ref(blob_data(b), blob_len(b), (n >> shift) & (MAP_FANOUT - 1), &id, e);
		if (r < 0)
			return err_wrap(e, r, "map node %s", digest_hex(&at, hex));
	}
	*ret = id;
	return 0;
}
