/* Packs: immutable files of many records, with a footer that lists them. Format: store/README.md, "Pack".
 *
 * A pack's name is the SHA-256 of its footer. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "src/base/buf.h"
#include "src/base/err.h"
#include "store/backend.h"
#include "store/digest.h"
#include "store/record.h"

#define PACK_HEAD 32
#define PACK_TRAILER 24
#define PACK_ENTRY 38		/* bytes a record in the footer */
#define PACK_TARGET (64u << 20) /* a pack is closed when its records pass this */
#define PACK_MAX UINT32_MAX	/* offsets are 32 bits */
#define PACK_NAME_MAX 80	/* "packs/" and 64 hex digits, with the NUL */

struct pack_entry {
	struct digest id;
	uint32_t off, len; /* of the whole record */
	uint8_t kind;	   /* enum record_kind */
	uint8_t depth;
};

char *pack_object_name(const struct digest *pack, char out[PACK_NAME_MAX]);

/* A pack being written. Not thread-safe. */
struct packer;
int packer_new(struct backend *b, const uint8_t repo_id[16], struct packer **ret, struct err *e);
/* Appends a record (its payload is copied or written at once) and says where it went. */
int packer_add(struct packer *p, const struct record *r, const struct digest *id, struct err *e);
uint64_t packer_size(const struct packer *p); /* bytes so far */
/* Entries so far, in file order; valid until the next call. */
const struct pack_entry *packer_entries(const struct packer *p, size_t *n);
/* Writes the footer and makes the bytes durable; nothing can be added after it. The object has no name yet.
 */
int packer_seal(struct packer *p, struct err *e);
/* Publishes a sealed pack. The name itself is durable after backend_barrier. */
int packer_publish(struct packer *p, struct err *e);
/* The name of a sealed pack. */
const struct digest *packer_name(const struct packer *p);
void packer_free(struct packer *p); /* fine on NULL; without publish nothing is left */

/* Reads a footer: pure, over its bytes. The caller frees *ret. */
int pack_parse_footer(const void *footer, size_t n, struct pack_entry **ret, size_t *ret_n, struct err *e);
/* The trailer's answer: where the footer lies in a pack of `size` bytes. */
int pack_parse_trailer(const void *trailer, size_t n, uint64_t size, uint64_t *footer_off,
	uint32_t *footer_len, struct err *e);
/* Reads and checks a pack's footer against its name. */
int pack_load_footer(struct backend *b, const struct digest *pack, uint64_t size, struct pack_entry **ret,
	size_t *ret_n, struct err *e);
