/* SHA-256 through libcrypto, which uses the processor's instructions. See digest.h. */
#include "store/digest.h"

#include <openssl/sha.h>

struct digest digest_of(const void *p, size_t n)
{
	struct digest d;

	/* The one-shot call cannot fail: it allocates nothing and fetches nothing. */
	SHA256(p, n, d.b);
	return d;
}

char *digest_hex(const struct digest *d, char out[DIGEST_HEX])
{
	static const char hex[] = "0123456789abcdef";

	for (int i = 0; i < DIGEST_LEN; i++) {
		out[2 * i] = hex[d->b[i] >> 4];
		out[2 * i + 1] = hex[d->b[i] & 15];
	}
	out[2 * DIGEST_LEN] = 0;
	return out;
}

static int nibble(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return -1;
}

bool digest_parse(const char *hex, struct digest *ret)
{
	struct digest d;

	for (int i = 0; i < DIGEST_LEN; i++) {
		int hi = nibble(hex[2 * i]), lo = hi < 0 ? -1 : nibble(hex[2 * i + 1]);

		if (lo < 0)
			return false;
		d.b[i] = (uint8_t)(hi << 4 | lo);
	}
	if (hex[2 * DIGEST_LEN])
		return false;
	*ret = d;
	return true;
}
