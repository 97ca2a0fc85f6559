/* pg_control from hostile bytes: as they are, and once more with their CRC made right, so that what lies
 * behind it is reached too. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/crc32c.h"
#include "src/pg/control.h"

static void parse(const void *p, size_t n)
{
	struct control c = {.system_identifier = 77};
	struct err e = {0};

	if (control_parse(p, n, &c, &e) < 0) {
		if (!e.code || !e.text[0] || c.system_identifier != 77)
			abort();
		return;
	}
	if (!wal_segsize_ok(c.wal_segment_size) || !control_state_name(c.state) ||
		!control_wal_level_name(c.wal_level))
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const size_t crc_at[] = {288, 292};

	parse(data, size);
	for (int k = 0; k < 2; k++) {
		uint8_t *copy;
		uint32_t crc;

		if (size < crc_at[k] + 4)
			break;
		copy = malloc(size);
		if (!copy)
			abort();
		memcpy(copy, data, size);
		crc = crc32c(0, copy, crc_at[k]);
		for (int i = 0; i < 4; i++)
			copy[crc_at[k] + (size_t)i] = (uint8_t)(crc >> 8 * i);
		parse(copy, size);
		free(copy);
	}
	return 0;
}
