/* A snapshot object from hostile bytes. The first byte says whether its checksum is made to fit. What is read can be
 * shown as JSON and written again; written again and read it is the same. */
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/crc32c.h"
#include "store/snapshot_format.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	size_t n = size ? size - 1 : 0;
	uint8_t *p = malloc(n + 1);
	struct snapshot *s = NULL, *t = NULL;
	struct buf json = {0}, one = {0}, two = {0};
	struct err e = {0};
	int r;

	memcpy(p, data + (size != 0), n);
	if (n >= 4 && data[0] & 1) {
		uint32_t crc = crc32c(0, p, n - 4);

		for (int i = 0; i < 4; i++)
			p[n - 4 + (size_t)i] = (uint8_t)(crc >> (8 * i));
	}
	r = snapshot_decode(p, n, &s, &e);
	if (r < 0 && ((r != -EBADMSG && r != -EOPNOTSUPP) || !e.text[0] || s))
		abort();
	if (!r) {
		if (snapshot_json(s, 2, &json) < 0 || snapshot_encode(s, &one) < 0)
			abort();
		if (one.len < SNAPSHOT_MAX &&
			(snapshot_decode(one.data, one.len, &t, &e) < 0 || snapshot_encode(t, &two) < 0 ||
				one.len != two.len || memcmp(one.data, two.data, one.len) != 0))
			abort();
	}
	snapshot_free(s);
	snapshot_free(t);
	buf_free(&json);
	buf_free(&one);
	buf_free(&two);
	free(p);
	return 0;
}
