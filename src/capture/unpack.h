/* A compressed file as a stream of plain bytes: gzip, lz4, zstd, bzip2 and xz by their magic
 * numbers, all else as it is. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "src/base/err.h"
#include "src/base/meter.h"

struct unpack;

/* fd stays the caller's and must be at the file's start. name is for messages and must outlive the result.
 * meter (may be NULL) counts bytes read from fd. */
int unpack_new(int fd, const char *name, struct meter *meter, struct unpack **ret, struct err *e);
void unpack_free(struct unpack *u); /* fine on NULL */

/* Is the file compressed in one of these ways? */
bool unpack_is_compressed(const struct unpack *u);

/* The next piece, valid until the next call: its length, 0 at the end, or -errno: -EBADMSG for a stream that
 * is damaged or cut off. */
ssize_t unpack_next(struct unpack *u, const void **ret, struct err *e);

/* Passes over up to n bytes without reading them, where the file allows it; returns how many, 0 when it does
 * not. */
uint64_t unpack_skip(struct unpack *u, uint64_t n);
