/* Checksums: SHA-2 by OpenSSL's EVP, CRC-32C by ours. See checksum.h. */
#include "src/capture/checksum.h"

#include <errno.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/crc32c.h"

struct checksum {
	enum manifest_algorithm algorithm;
	uint32_t crc;
	const EVP_MD *md; /* SHA-2 only */
	EVP_MD_CTX *ctx;
};

static const EVP_MD *sha2(enum manifest_algorithm a)
{
	switch (a) {
	case MANIFEST_NONE:
	case MANIFEST_CRC32C:
		return NULL;
	case MANIFEST_SHA224:
		return EVP_sha224();
	case MANIFEST_SHA256:
		return EVP_sha256();
	case MANIFEST_SHA384:
		return EVP_sha384();
	case MANIFEST_SHA512:
		return EVP_sha512();
	}
	return NULL;
}

int checksum_new(enum manifest_algorithm a, struct checksum **ret, struct err *e)
{
	struct checksum *c = calloc(1, sizeof(*c));

	if (!c)
		return err_sys(e, -ENOMEM, "checksum");
	c->algorithm = a;
	c->md = sha2(a);
	if (c->md) {
		c->ctx = EVP_MD_CTX_new();
		if (!c->ctx || !EVP_DigestInit_ex(c->ctx, c->md, NULL)) {
			checksum_free(c);
			return err_set(
				e, -EOPNOTSUPP, "OpenSSL does not give %s", manifest_algorithm_name(a));
		}
	}
	*ret = c;
	return 0;
}

void checksum_free(struct checksum *c)
{
	if (!c)
		return;
	EVP_MD_CTX_free(c->ctx);
	free(c);
}

int checksum_update(struct checksum *c, const void *p, size_t n, struct err *e)
{
	if (c->ctx) {
		if (!EVP_DigestUpdate(c->ctx, p, n))
			return err_set(e, -EIO, "OpenSSL failed to hash");
	} else if (c->algorithm == MANIFEST_CRC32C) {
		c->crc = crc32c(c->crc, p, n);
	}
	return 0;
}

int checksum_final(struct checksum *c, uint8_t out[MANIFEST_DIGEST_MAX], struct err *e)
{
	if (c->ctx) {
		if (!EVP_DigestFinal_ex(c->ctx, out, NULL) || !EVP_DigestInit_ex(c->ctx, c->md, NULL))
			return err_set(e, -EIO, "OpenSSL failed to hash");
	} else if (c->algorithm == MANIFEST_CRC32C) {
		/* Lowest byte first, as manifest_crc32c_is explains. */
		for (unsigned i = 0; i < 4; i++)
			out[i] = (uint8_t)(c->crc >> (8 * i));
		c->crc = 0;
	}
	return 0;
}
