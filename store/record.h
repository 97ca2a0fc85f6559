/* Records: how one chunk, map node or tree node lies in a pack. Format: store/README.md, "Record".
 *
 * Pure functions over bytes, thread-safe. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "src/base/buf.h"
#include "src/base/err.h"
#include "store/codec.h"
#include "store/digest.h"

#define RECORD_HEAD 28
#define RECORD_HEAD_MAX (RECORD_HEAD + DIGEST_LEN)
#define RECORD_RAW_MAX (16u << 20) /* unpacked bytes of one record */

enum record_kind { RECORD_CHUNK = 1, RECORD_MAP = 2, RECORD_NODE = 3 };

enum record_seal { SEAL_NONE = 0 /* 1: AES-256-GCM, to come */ };

struct record {
	enum record_kind kind;
	enum codec_kind codec;
	uint8_t depth; /* deltas between this and a standalone record; 0 for a standalone one */
	uint32_t raw_len;
	uint32_t raw_crc;   /* CRC-32C of the unpacked bytes */
	struct digest base; /* with depth > 0: the chunk it is a delta against */
	const uint8_t *payload;
	uint32_t payload_len;
};

/* Length of the whole record with that head and payload. */
static inline size_t record_size(const struct record *r)
{
	return RECORD_HEAD + (r->depth ? DIGEST_LEN : 0) + (size_t)r->payload_len;
}

/* Writes head and base of a record named id into out (record_size - payload_len bytes, at most
 * RECORD_HEAD_MAX); the payload follows it. Returns the length. */
size_t record_head(const struct record *r, const struct digest *id, uint8_t out[RECORD_HEAD_MAX]);

/* Reads the record that fills exactly the n bytes at p and checks that it is id's and undamaged. ret points
 * into p. -EBADMSG, -EOPNOTSUPP (sealed, or an unknown kind or codec). */
int record_parse(const void *p, size_t n, const struct digest *id, struct record *ret, struct err *e);

/* The base that a delta's record names, from its first n bytes alone (RECORD_HEAD_MAX suffice): not checked against the
 * record's checksum, only for being id's and a delta. -EBADMSG. */
int record_base(const void *p, size_t n, const struct digest *id, struct digest *ret, struct err *e);
