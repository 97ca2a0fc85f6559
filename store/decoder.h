/* Decoding: from a chunk's name to its bytes, through as many deltas as lie between.
 *
 * A decoder is one thread's contexts and scratch memory. Nothing of it is cached: see store/repo.h for that.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "src/base/err.h"
#include "store/codec.h"
#include "store/digest.h"
#include "store/index.h"
#include "store/record.h"

struct decoder;

int decoder_new(struct decoder **ret);
void decoder_free(struct decoder *d); /* fine on NULL */

/* Its codec, for unpacking something else. */
struct codec *decoder_codec(struct decoder *d);

/* What a chain gave. The bytes are the decoder's, until its next use. */
struct decoded {
	const uint8_t *raw; /* the chunk */
	size_t raw_len;
	uint8_t depth;	    /* deltas it took */
	struct digest root; /* the standalone chunk at the end of its chain; itself with depth 0 */
	const uint8_t *root_raw;
	size_t root_len;
	uint32_t root_stored; /* length of the root's record */
};

/* Reads, checks and unpacks id, of whatever kind it was stored as: a file may have the very bytes of a node,
 * and they are kept once. -ENODATA: the index does not have it (or a base); -ESTALE: it
 * is not any more where the index says; -EBADMSG: damaged. Texts name the chunk and the object. */
int decoder_load(
	struct decoder *d, struct index *ix, const struct digest *id, struct decoded *ret, struct err *e);

/* The same in two steps, into memory of the caller's choice: reads and checks the records of id's chain and says how many
 * bytes it unpacks to; then unpacks them into out. Nothing else may use the decoder in between. */
int decoder_read(
	struct decoder *d, struct index *ix, const struct digest *id, size_t *ret_len, struct err *e);
int decoder_unpack(struct decoder *d, struct index *ix, uint8_t *out, struct err *e);

/* A record as it was read, by itself: unpacks it into out, of rec->raw_len bytes, and gives the digest of those, which may or
 * may not be its name. -EBADMSG: it does not unpack to what it was. *ret_base: what was returned is about the chunk that it
 * is a delta against. */
int decoder_record(struct decoder *d, struct index *ix, const struct record *rec, uint8_t *out,
	struct digest *ret, bool *ret_base, struct err *e);
