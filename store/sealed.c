/* See sealed.h. */
#include "store/sealed.h"

#include <stdio.h>
#include <string.h>

#include "src/base/crc32c.h"

void sealed_end(struct buf *b)
{
	if (!b->bad)
		buf_printf(b, "crc32c %08x\n", crc32c(0, b->data, b->len));
}

/* Compared as text, so that there is one spelling only. */
bool sealed_ok(const char *text, size_t len)
{
	char want[SEALED_END + 1];

	if (len <= SEALED_END)
		return false;
	snprintf(want, sizeof(want), "crc32c %08x\n", crc32c(0, text, len - SEALED_END));
	return !memcmp(text + len - SEALED_END, want, SEALED_END);
}
