/* The name of a chunk: SHA-256 over its bytes (FIPS 180-4), or HMAC-SHA-256 (RFC 2104) in a keyed repository.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define DIGEST_LEN 32
#define DIGEST_HEX (2 * DIGEST_LEN + 1) /* text with its NUL */

struct digest {
	uint8_t b[DIGEST_LEN];
};

/* SHA-256 of n bytes. Thread-safe. */
struct digest digest_of(const void *p, size_t n);
/* The same over bytes that come in pieces. One thread at a time. */
struct digester;
struct digester *digester_new(void); /* NULL without memory */
void digester_add(struct digester *d, const void *p, size_t n);
struct digest digester_end(struct digester *d); /* once */
void digester_free(struct digester *d);		/* fine on NULL */

char *digest_hex(const struct digest *d, char out[DIGEST_HEX]);
bool digest_parse(const char *hex, struct digest *ret); /* exactly 64 lower-case hex digits */

static inline int digest_cmp(const struct digest *a, const struct digest *b)
{
	return memcmp(a->b, b->b, DIGEST_LEN);
}

static inline bool digest_eq(const struct digest *a, const struct digest *b)
{
	return digest_cmp(a, b) == 0;
}

/* All zeroes: "no digest". In a file map it stands for a chunk of zero bytes, which is never stored. */
static inline bool digest_is_zero(const struct digest *d)
{
	static const struct digest zero;

	return digest_eq(d, &zero);
}
