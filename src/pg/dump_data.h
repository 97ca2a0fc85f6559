/* The data of the custom format, which follows its table of contents: sections, each of one entry, in any order.
 *
 *	section = 0x01 int entry stream                        BLK_DATA
 *	        | 0x03 int entry { int oid≠0 stream } int 0    BLK_BLOBS
 *	stream  = { int n≠0, n bytes } int 0                   the bytes as the header's compression left them
 *
 * (src/bin/pg_dump/pg_backup_custom.c: _StartData, _StartLOs, _CustomWriteFunc.) Not here: undoing the compression. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "src/pg/dump_reader.h"

#define DUMP_BLOCK_DATA 1
#define DUMP_BLOCK_BLOBS 3

struct dump_section {
	bool blobs;
	int32_t id; /* of the entry */
};

/* The next section's start: 1, 0 where the archive ends, or -errno. */
int dump_section_next(struct dump_reader *r, struct dump_section *ret, struct err *e);
/* The next large object of a section of them: 1, 0 behind the last, or -errno. */
int dump_blob_next(struct dump_reader *r, uint32_t *ret_oid, struct err *e);

/* A stream of blocks being read. */
struct dump_stream {
	struct dump_reader *r;
	uint32_t left; /* of the present block */
	bool ended;
};
struct dump_stream dump_stream_start(struct dump_reader *r);
/* Up to n bytes (n > 0): the count, 0 behind the last one, or -errno. */
ssize_t dump_stream_read(struct dump_stream *s, void *p, size_t n, struct err *e);
