/* The 32 bytes that packs and the WAL archive's objects begin with: what it is, the format's version, a word of the object's
 * own, the repository's id. Format: store/README.md. Not here: where the bytes come from, and what follows them. */
#pragma once

#include <stdint.h>

#include "src/base/buf.h"
#include "src/base/cur.h"
#include "src/base/err.h"

#define OBJECT_HEAD 32

void object_head_put(struct buf *b, const char magic[8], uint32_t word, const uint8_t repo_id[16]);

/* Takes it from c, of which there must be enough. what: "a note", for messages, which name the object. -EBADMSG: another
 * thing's, or another repository's; -EOPNOTSUPP: a later version. */
int object_head_take(struct cur *c, const char magic[8], const uint8_t repo_id[16], const char *object,
	const char *what, uint32_t *ret_word, struct err *e);
