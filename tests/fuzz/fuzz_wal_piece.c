/* A piece of a growing segment from hostile bytes, and what its codec makes of the payload. The first byte says whether the
 * checksums are made to fit; the repository's id is taken from the piece itself. */
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/crc32c.h"
#include "store/wal_piece.h"

static void put_u32(uint8_t *p, uint32_t v)
{
	for (int i = 0; i < 4; i++)
		p[i] = (uint8_t)(v >> (8 * i));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct codec *codec;
	size_t n = size ? size - 1 : 0;
	uint8_t *p = malloc(n + 1), *out, id[16] = {0};
	struct wal_piece piece = {0};
	struct err e = {0};
	int r;

	if (!codec && codec_new(3, &codec) < 0)
		abort();
	memcpy(p, data + (size != 0), n);
	if (n >= WAL_PIECE_HEAD) {
		memcpy(id, p + 16, 16);
		if (data[0] & 1) {
			put_u32(p + 56, crc32c(0, p + WAL_PIECE_HEAD, n - WAL_PIECE_HEAD));
			put_u32(p + 60, crc32c(0, p, 60));
		}
	}
	r = wal_piece_parse(p, n, id, "object", &piece, &e);
	if (r < 0 && ((r != -EBADMSG && r != -EOPNOTSUPP) || !e.text[0]))
		abort();
	if (!r) {
		if (!wal_piece_range_ok(piece.start, piece.end) || piece.end > piece.segment_size ||
			piece.payload != p + WAL_PIECE_HEAD || piece.payload_len != n - WAL_PIECE_HEAD)
			abort();
		out = malloc(piece.end - piece.start);
		r = wal_piece_unpack(codec, &piece, "object", out, &e);
		if (r && r != -EBADMSG)
			abort();
		free(out);
	}
	free(p);
	return 0;
}
