/* A pack's trailer and footer from hostile bytes. The first 24 are the trailer, as it is and with its CRC made right. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/crc32c.h"
#include "store/pack.h"

static void trailer(const uint8_t *p, uint64_t size)
{
	struct err e = {0};
	uint64_t off;
	uint32_t len;

	if (pack_parse_trailer(p, PACK_TRAILER, size, &off, &len, &e) == 0 &&
		(off < PACK_HEAD || off + len + PACK_TRAILER != size))
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct pack_entry *entries;
	struct err e = {0};
	uint8_t copy[PACK_TRAILER];
	uint32_t crc;
	size_t n;

	if (size < PACK_TRAILER)
		return 0;
	memcpy(copy, data, PACK_TRAILER);
	trailer(copy, size + PACK_HEAD);
	crc = crc32c(0, copy, PACK_TRAILER - 4);
	for (int i = 0; i < 4; i++)
		copy[PACK_TRAILER - 4 + i] = (uint8_t)(crc >> 8 * i);
	for (uint64_t s = 0; s < 70000; s += 977)
		trailer(copy, s);
	if (pack_parse_footer(data + PACK_TRAILER, size - PACK_TRAILER, &entries, &n, &e) == 0) {
		uint64_t end = PACK_HEAD;

		for (size_t i = 0; i < n; i++) {
			if (entries[i].off != end || entries[i].len < RECORD_HEAD)
				abort();
			end += entries[i].len;
		}
		free(entries);
	}
	return 0;
}
