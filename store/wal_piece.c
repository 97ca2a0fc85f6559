/* The bytes of a piece of a growing segment. See wal_piece.h; format: store/README.md, "WAL piece". */
#include "store/wal_piece.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/clean.h"
#include "src/base/crc32c.h"
#include "src/base/cur.h"
#include "store/object_head.h"
#include "store/wal.h"

#define MAGIC "pgstWALP"
#define HEX 8

bool wal_piece_range_ok(uint64_t start, uint64_t end)
{
	return start < end && end <= WAL_FILE_MAX && start / WAL_PIECE_MAX == (end - 1) / WAL_PIECE_MAX;
}

char *wal_piece_suffix(uint32_t start, uint32_t end, char out[WAL_PIECE_SUFFIX + 1])
{
	snprintf(out, WAL_PIECE_SUFFIX + 1, ".%08x-%08x", start, end);
	return out;
}

static bool read_hex(const char *p, uint32_t *ret)
{
	uint32_t v = 0;

	for (int i = 0; i < HEX; i++) {
		if (p[i] >= '0' && p[i] <= '9')
			v = v << 4 | (uint32_t)(p[i] - '0');
		else if (p[i] >= 'a' && p[i] <= 'f')
			v = v << 4 | (uint32_t)(p[i] - 'a' + 10);
		else
			return false;
	}
	*ret = v;
	return true;
}

bool wal_piece_name_parse(
	const char *name, size_t n, size_t *ret_segment_len, uint32_t *ret_start, uint32_t *ret_end)
{
	const char *p = name + n - WAL_PIECE_SUFFIX;
	uint32_t start, end;

	if (n <= WAL_PIECE_SUFFIX || *p != '.' || p[1 + HEX] != '-' || !read_hex(p + 1, &start) ||
		!read_hex(p + 2 + HEX, &end) || !wal_piece_range_ok(start, end))
		return false;
	*ret_segment_len = n - WAL_PIECE_SUFFIX;
	*ret_start = start;
	*ret_end = end;
	return true;
}

int wal_piece_pack(struct codec *c, const uint8_t repo_id[16], uint32_t segment_size, uint32_t start,
	uint32_t end, const void *p, struct buf *out, struct err *e)
{
	size_t n = end - start, cap = codec_bound(n), len;
	_cleanup_(freep) uint8_t *packed = malloc(cap);
	uint32_t codec = CODEC_ZSTD;
	size_t at = out->len;

	if (!packed)
		return err_sys(e, -ENOMEM, "a piece of WAL");
	len = codec_pack(c, CODEC_ZSTD, p, n, NULL, 0, packed, cap);
	if (!len || len >= n) {
		codec = CODEC_RAW;
		len = n;
	}
	object_head_put(out, MAGIC, 0, repo_id);
	buf_put_u32(out, segment_size);
	buf_put_u32(out, start);
	buf_put_u32(out, end);
	buf_put_u32(out, codec);
	buf_put_u32(out, crc32c(0, p, n));
	buf_put_u32(out, (uint32_t)len);
	buf_put_u32(out, crc32c(0, codec == CODEC_RAW ? p : packed, len));
	if (!out->bad)
		buf_put_u32(out, crc32c(0, out->data + at, out->len - at));
	buf_put(out, codec == CODEC_RAW ? p : packed, len);
	return out->bad ? err_sys(e, -ENOMEM, "a piece of WAL") : 0;
}

/* *ret_crc: the payload's checksum. */
static int parse_head(const void *p, size_t n, const uint8_t repo_id[16], const char *object,
	struct wal_piece *ret, uint32_t *ret_crc, struct err *e)
{
	struct cur c = cur_of(p, n < WAL_PIECE_HEAD ? n : WAL_PIECE_HEAD), end;
	uint32_t zero = 0, codec;
	struct wal_piece w = {0};
	int r;

	if (n < WAL_PIECE_HEAD)
		return err_set(e, -EBADMSG, "object %s: truncated", object);
	end = cur_of((const uint8_t *)p + WAL_PIECE_HEAD - 4, 4);
	if (cur_u32(&end) != crc32c(0, p, WAL_PIECE_HEAD - 4))
		return err_set(e, -EBADMSG, "object %s: not a piece of WAL, or damaged", object);
	r = object_head_take(&c, MAGIC, repo_id, object, "a piece of WAL", &zero, e);
	if (r < 0)
		return r;
	w.segment_size = cur_u32(&c);
	w.start = cur_u32(&c);
	w.end = cur_u32(&c);
	codec = cur_u32(&c);
	w.raw_crc = cur_u32(&c);
	w.payload_len = cur_u32(&c);
	*ret_crc = cur_u32(&c);
	if (zero || codec > CODEC_ZSTD)
		return err_set(
			e, -EOPNOTSUPP, "object %s: codec %u, which needs a newer pgstrata", object, codec);
	if (!wal_piece_range_ok(w.start, w.end) || w.end > w.segment_size || w.segment_size > WAL_FILE_MAX ||
		w.segment_size % WAL_PIECE_MAX)
		return err_set(e, -EBADMSG, "object %s: bytes %u to %u of a segment of %u", object, w.start,
			w.end, w.segment_size);
	w.codec = (uint8_t)codec;
	*ret = w;
	return 0;
}

int wal_piece_parse_head(const void *p, size_t n, const uint8_t repo_id[16], const char *object,
	struct wal_piece *ret, struct err *e)
{
	uint32_t crc;

	return parse_head(p, n, repo_id, object, ret, &crc, e);
}

int wal_piece_parse(const void *p, size_t n, const uint8_t repo_id[16], const char *object,
	struct wal_piece *ret, struct err *e)
{
	struct wal_piece w;
	uint32_t crc;
	int r = parse_head(p, n, repo_id, object, &w, &crc, e);

	if (r < 0)
		return r;
	w.payload = (const uint8_t *)p + WAL_PIECE_HEAD;
	if (n - WAL_PIECE_HEAD != w.payload_len || crc != crc32c(0, w.payload, w.payload_len))
		return err_set(e, -EBADMSG, "object %s: truncated or damaged", object);
	*ret = w;
	return 0;
}

int wal_piece_unpack(
	struct codec *c, const struct wal_piece *piece, const char *object, uint8_t *out, struct err *e)
{
	size_t n = piece->end - piece->start;
	int r = codec_unpack(c, piece->codec, piece->payload, piece->payload_len, NULL, 0, out, n);

	if (r < 0 || crc32c(0, out, n) != piece->raw_crc)
		return err_set(e, -EBADMSG, "object %s does not unpack to what it was", object);
	return 0;
}
