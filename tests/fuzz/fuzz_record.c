/* A record from hostile bytes, and what its codec makes of the payload. The first byte says whether the checksum is
 * made to fit; the name is taken from the record itself. */
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/crc32c.h"
#include "store/record.h"

#define MOST (1u << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct codec *codec;
	static const uint8_t ref[300] = "the bytes of the base, the bytes of the base, and some more of them";
	size_t n = size ? size - 1 : 0;
	uint8_t *p = malloc(n + 1), *out;
	struct digest id = {{0}};
	struct record r;
	struct err e = {0};
	int ret;

	if (!codec && codec_new(3, &codec) < 0)
		abort();
	memcpy(p, data + (size != 0), n);
	if (n >= RECORD_HEAD) {
		memcpy(id.b, p + 20, 8);
		if (data[0] & 1) {
			uint32_t crc = crc32c(0, p + 4, n - 4);

			for (int i = 0; i < 4; i++)
				p[i] = (uint8_t)(crc >> (8 * i));
		}
	}
	ret = record_parse(p, n, &id, &r, &e);
	if (ret < 0 && ((ret != -EBADMSG && ret != -EOPNOTSUPP) || !e.text[0]))
		abort();
	if (!ret) {
		if (record_size(&r) != n || r.raw_len > RECORD_RAW_MAX || r.payload < p ||
			r.payload + r.payload_len > p + n)
			abort();
		if (r.raw_len <= MOST) {
			out = malloc(r.raw_len ? r.raw_len : 1);
			ret = codec_unpack(
				codec, r.codec, r.payload, r.payload_len, ref, sizeof(ref), out, r.raw_len);
			if (ret && ret != -EBADMSG)
				abort();
			free(out);
		}
	}
	free(p);
	return 0;
}
