/* Undoing the compression of data in pg_dump's archives, as a stream that is pulled. */
#pragma once

#include "src/base/err.h"
#include "src/pg/dump_reader.h"
#include "src/pg/dump_toc.h"

struct dump_inflate;

/* Compressed bytes come from read(arg). DUMP_GZIP takes a zlib stream (custom format) and gzip files (directory format). name
 * is for messages and must outlive the result. */
int dump_inflate_new(enum dump_compression kind, dump_read_fn *read, void *arg, const char *name,
	struct dump_inflate **ret, struct err *e);
void dump_inflate_free(struct dump_inflate *d); /* fine on NULL */

/* A dump_read_fn: up to n plain bytes, 0 at the end, -EBADMSG when the stream is damaged, ends early or has more behind its
 * end. Behind the end, read(arg) has been read to its end, too. */
ssize_t dump_inflate_read(void *d, void *p, size_t n, struct err *e);
