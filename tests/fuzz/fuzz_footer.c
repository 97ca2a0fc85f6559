/* The end of a pack from hostile bytes: the last 24 are the trailer of a pack as long as the input, what is before
 * them a footer. */
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>

#include "store/pack.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	size_t tail = size < PACK_TRAILER ? size : PACK_TRAILER, n = 0;
	struct pack_entry *en = NULL;
	struct err e = {0};
	uint64_t off = 0, at = PACK_HEAD;
	uint32_t len = 0;
	int r = pack_parse_trailer(data + size - tail, tail, size, &off, &len, &e);

	if (r < 0 && (r != -EBADMSG || !e.text[0] || off || len))
		abort();
	if (!r && (off < PACK_HEAD || off + len + PACK_TRAILER != size))
		abort();
	r = pack_parse_footer(data, size - tail, &en, &n, &e);
	if (r < 0 && (r != -EBADMSG || en))
		abort();
	for (size_t i = 0; !r && i < n; i++) {
		if (en[i].off != at || en[i].len < RECORD_HEAD)
			abort();
		at += en[i].len;
		if (at > PACK_MAX)
			abort();
	}
	free(en);
	return 0;
}
