/* Record heads: writing and checking. See record.h and store/README.md. */
#include "store/record.h"

#include <errno.h>
#include <string.h>

#include "src/base/crc32c.h"
#include "src/base/cur.h"

#define CRC_AT 4 /* the CRC covers everything after itself */

static void le32(uint8_t *p, uint32_t v)
{
	for (int i = 0; i < 4; i++)
		p[i] = (uint8_t)(v >> (8 * i));
}

size_t record_head(const struct record *r, const struct digest *id, uint8_t out[RECORD_HEAD_MAX])
{
	size_t len = RECORD_HEAD;

	le32(out + 4, r->raw_crc);
	le32(out + 8, r->payload_len);
	le32(out + 12, r->raw_len);
	out[16] = (uint8_t)r->kind;
	out[17] = (uint8_t)r->codec;
	out[18] = SEAL_NONE;
	out[19] = r->depth;
	memcpy(out + 20, id->b, 8);
	if (r->depth) {
		memcpy(out + RECORD_HEAD, r->base.b, DIGEST_LEN);
		len += DIGEST_LEN;
	}
	le32(out, crc32c(crc32c(0, out + CRC_AT, len - CRC_AT), r->payload, r->payload_len));
	return len;
}

int record_parse(const void *p, size_t n, const struct digest *id, struct record *ret, struct err *e)
{
	struct cur c = cur_of(p, n);
	struct record r = {0};
	uint32_t crc = cur_u32(&c);
	uint8_t kind, codec, seal;
	const uint8_t *name, *base;

	r.raw_crc = cur_u32(&c);
	r.payload_len = cur_u32(&c);
	r.raw_len = cur_u32(&c);
	kind = cur_u8(&c);
	codec = cur_u8(&c);
	seal = cur_u8(&c);
	r.depth = cur_u8(&c);
	name = cur_bytes(&c, 8);
	if (c.bad)
		return err_set(e, -EBADMSG, "record of %zu bytes is too short", n);
	if (crc != crc32c(0, (const uint8_t *)p + CRC_AT, n - CRC_AT))
		return err_set(e, -EBADMSG, "record checksum does not match: the bytes on disk were damaged");
	if (memcmp(name, id->b, 8))
		return err_set(e, -EBADMSG, "record is another chunk's");
	if (kind < RECORD_CHUNK || kind > RECORD_NODE || seal != SEAL_NONE || codec > CODEC_LAST)
		return err_set(e, -EOPNOTSUPP, "record of kind %u, codec %u, seal %u needs a newer pgstrata",
			kind, codec, seal);
	r.kind = (enum record_kind)kind;
	r.codec = (enum codec_kind)codec;
	if (r.depth) {
		base = cur_bytes(&c, DIGEST_LEN);
		if (base)
			memcpy(r.base.b, base, DIGEST_LEN);
	}
	r.payload = cur_bytes(&c, r.payload_len);
	if (c.bad || cur_left(&c) || r.raw_len > RECORD_RAW_MAX || codec_is_delta(codec) != (r.depth > 0) ||
		(r.codec == CODEC_RAW && r.raw_len != r.payload_len))
		return err_set(e, -EBADMSG, "record lengths contradict each other");
	*ret = r;
	return 0;
}

int record_base(const void *p, size_t n, const struct digest *id, struct digest *ret, struct err *e)
{
	const uint8_t *head = p;

	if (n < RECORD_HEAD_MAX || memcmp(head + 20, id->b, 8) || !head[19])
		return err_set(e, -EBADMSG, "the head of a delta is damaged");
	memcpy(ret->b, head + RECORD_HEAD, DIGEST_LEN);
	return 0;
}
