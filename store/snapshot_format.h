/* The bytes of a snapshot object, apart from where it is kept: for snapshot.c and its tests. */
#pragma once

#include <stddef.h>

#include "src/base/buf.h"
#include "src/base/err.h"
#include "store/snapshot.h"

#define SNAPSHOT_MAX (4u << 20) /* bytes of the object */

/* Appends the object's bytes. -ENOMEM. */
int snapshot_encode(const struct snapshot *s, struct buf *b);
/* Pure over the bytes. -EBADMSG, -EOPNOTSUPP. The caller frees with snapshot_free. */
int snapshot_decode(const void *p, size_t n, struct snapshot **ret, struct err *e);
