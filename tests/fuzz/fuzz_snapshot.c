/* Snapshot objects from hostile bytes, as they are and with their CRC made right; what is understood is written again and
 * must be understood as the same. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/crc32c.h"
#include "store/snapshot_format.h"

static void decode(const uint8_t *p, size_t n)
{
	struct buf json = {0}, again = {0}, third = {0};
	struct snapshot *s, *t;
	struct err e = {0};

	if (snapshot_decode(p, n, &s, &e) < 0) {
		if (!e.text[0])
			abort();
		return;
	}
	snapshot_json(s, 0, &json);
	if (snapshot_encode(s, &again) < 0 || snapshot_decode(again.data, again.len, &t, &e) < 0 ||
		snapshot_encode(t, &third) < 0 || again.len != third.len ||
		memcmp(again.data, third.data, again.len))
		abort();
	snapshot_free(s);
	snapshot_free(t);
	buf_free(&json);
	buf_free(&again);
	buf_free(&third);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t *copy;
	uint32_t crc;

	decode(data, size);
	if (size < 4)
		return 0;
	copy = malloc(size);
	if (!copy)
		abort();
	memcpy(copy, data, size);
	crc = crc32c(0, copy, size - 4);
	for (int i = 0; i < 4; i++)
		copy[size - 4 + (size_t)i] = (uint8_t)(crc >> 8 * i);
	decode(copy, size);
	free(copy);
	return 0;
}
