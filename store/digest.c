/* SHA-256 through libcrypto, which uses the processor's instructions. See digest.h. */
#include "store/digest.h"

#include <stdlib.h>
#include <openssl/evp.h>
#include <openssl/sha.h>

struct digest digest_of(const void *p, size_t n)
{
	struct digest d;

	/* The one-shot call cannot fail: it allocates nothing and fetches nothing. */
	SHA256(p, n, d.b);
	return d;
}

struct digester {
	EVP_MD_CTX *md;
};

struct digester *digester_new(void)
{
	struct digester *d = malloc(sizeof(*d));

	if (!d)
		return NULL;
	d->md = EVP_MD_CTX_new();
	if (!d->md || EVP_DigestInit_ex(d->md, EVP_sha256(), NULL) != 1) {
		digester_free(d);
		return NULL;
	}
	return d;
}

void digester_add(struct digester *d, const void *p, size_t n)
{
	/* Cannot fail once initialised: EVP_DigestUpdate(3) of SHA-256 only buffers and computes. */
	EVP_DigestUpdate(d->md, p, n);
}

struct digest digester_end(struct digester *d)
{
	struct digest ret;

	EVP_DigestFinal_ex(d->md, ret.b, NULL);
	return ret;
}

void digester_free(struct digester *d)
{
	if (d)
		EVP_MD_CTX_free(d->md);
	free(d);
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
