/* One piece of a segment that still grows: its name and its bytes. Format: store/README.md, "WAL piece". Pure; what
 * pieces make together is wal_partial.h's. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "src/base/buf.h"
#include "src/base/err.h"
#include "store/codec.h"

#define WAL_PIECE_HEAD 64
#define WAL_PIECE_MAX (1u << 20) /* of a segment's bytes; a piece lies within one aligned block of so many */
#define WAL_PIECE_SUFFIX 18	 /* ".00000000-00002000" */

struct wal_piece {
	uint32_t segment_size;
	uint32_t start, end; /* which bytes of the segment */
	uint32_t raw_crc;    /* CRC-32C of those */
	uint8_t codec;
	const uint8_t *payload;
	uint32_t payload_len;
};

/* Could [start, end) be a piece? */
bool wal_piece_range_ok(uint64_t start, uint64_t end);

/* The suffix of a piece's name, with its NUL; and back from a name of n bytes, whose first bytes are the segment's:
 * false, and nothing set, when it is none. */
char *wal_piece_suffix(uint32_t start, uint32_t end, char out[WAL_PIECE_SUFFIX + 1]);
bool wal_piece_name_parse(
	const char *name, size_t n, size_t *ret_segment_len, uint32_t *ret_start, uint32_t *ret_end);

/* Appends the object's bytes for [start, end) at p. -ENOMEM. */
int wal_piece_pack(struct codec *c, const uint8_t repo_id[16], uint32_t segment_size, uint32_t start,
	uint32_t end, const void *p, struct buf *out, struct err *e);

/* Reads the head alone, of WAL_PIECE_HEAD bytes; payload is NULL. `object` is for texts. -EBADMSG; -EOPNOTSUPP: made
 * by a newer pgstrata. */
int wal_piece_parse_head(const void *p, size_t n, const uint8_t repo_id[16], const char *object,
	struct wal_piece *ret, struct err *e);
/* Reads a whole object; the payload points into it. Its checksum was verified. */
int wal_piece_parse(const void *p, size_t n, const uint8_t repo_id[16], const char *object,
	struct wal_piece *ret, struct err *e);
/* Into end - start bytes. -EBADMSG. */
int wal_piece_unpack(
	struct codec *c, const struct wal_piece *piece, const char *object, uint8_t *out, struct err *e);
