/* Records from hostile bytes, with their CRC made right, and their payloads through the codec. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/crc32c.h"
#include "store/record.h"

#define OUT (256u << 10)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct codec *codec;
	static uint8_t out[OUT], base[1000];
	struct digest id = {{0}};
	struct record r;
	struct err e = {0};
	uint8_t *copy;
	uint32_t crc;

	if (!codec && codec_new(3, &codec) < 0)
		abort();
	if (size < RECORD_HEAD)
		return 0;
	memcpy(id.b, data + 20, 8);
	record_parse(data, size, &id, &r, &e);
	copy = malloc(size);
	if (!copy)
		abort();
	memcpy(copy, data, size);
	crc = crc32c(0, copy + 4, size - 4);
	for (int i = 0; i < 4; i++)
		copy[i] = (uint8_t)(crc >> 8 * i);
	if (record_parse(copy, size, &id, &r, &e) == 0) {
		if (record_size(&r) != size || r.payload + r.payload_len != copy + size)
			abort();
		if (r.raw_len <= OUT)
			codec_unpack(
				codec, r.codec, r.payload, r.payload_len, base, sizeof(base), out, r.raw_len);
	}
	free(copy);
	return 0;
}
