/* A map node from hostile bytes; the first eight are the number that is asked for. */
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "store/map.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint64_t ask = 0;
	struct digest d;
	struct err e = {0};
	uint8_t *node;

	if (size < 8)
		return 0;
	memcpy(&ask, data, 8);
	data += 8;
	size -= 8;
	node = malloc(size ? size : 1);
	memcpy(node, data, size);
	for (uint64_t i = 0; i < MAP_FANOUT + 2; i++) {
		uint64_t at = i < MAP_FANOUT + 1 ? i : ask;
		int r = map_ref(node, size, at, &d, &e);

		if (r < 0 ? r != -EBADMSG || !e.text[0]
			  : at >= MAP_FANOUT || (at + 1) * DIGEST_LEN > size ||
					memcmp(d.b, node + at * DIGEST_LEN, DIGEST_LEN) != 0)
			abort();
	}
	free(node);
	return 0;
}
