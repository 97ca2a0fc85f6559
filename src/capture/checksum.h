/* The checksums that a backup manifest may use for its files, computed over bytes as they come. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "src/base/err.h"
#include "src/pg/manifest.h"

struct checksum;

/* -EOPNOTSUPP when the cryptographic library refuses the algorithm. MANIFEST_NONE has an empty digest. */
int checksum_new(enum manifest_algorithm a, struct checksum **ret, struct err *e);
void checksum_free(struct checksum *c); /* fine on NULL */

int checksum_update(struct checksum *c, const void *p, size_t n, struct err *e);
/* Writes manifest_digest_len(a) bytes and makes it ready for the next file. */
int checksum_final(struct checksum *c, uint8_t out[MANIFEST_DIGEST_MAX], struct err *e);
