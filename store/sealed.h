/* Sealed text: how small text objects (config, clusters, leases) end, with the line "crc32c XXXXXXXX" over all lines before
 * it. Pure. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "src/base/buf.h"

#define SEALED_END 16 /* bytes of that line, with its LF */

void sealed_end(struct buf *b); /* appends it */
/* Does the text end with the right one? */
bool sealed_ok(const char *text, size_t len);
