/* The bytes of a pg_dump archive, read forward: its integers and strings, each bounded by what really comes.
 *
 * Numbers and strings are those of WriteInt and WriteStr (src/bin/pg_dump/pg_backup_archiver.c): an integer is a byte that
 * is 1 for negative numbers and four bytes of magnitude, low first; a string is its length, -1 for NULL, and its bytes.
 * Memory for a string grows with the bytes that arrive, not with the length that is claimed. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "src/base/buf.h"
#include "src/base/err.h"

/* Gives up to n bytes: the count, 0 only at the end, or -errno with `e` set. */
typedef ssize_t dump_read_fn(void *arg, void *p, size_t n, struct err *e);

/* Bytes in memory as a source: arg is a struct dump_memory, which moves on. */
struct dump_memory {
	const void *p;
	size_t n;
};
ssize_t dump_read_memory(void *arg, void *p, size_t n, struct err *e);

struct dump_reader {
	dump_read_fn *read;
	void *arg;
	const char *name; /* for messages */
	uint64_t pos;	  /* bytes taken so far */
	size_t at, have;  /* of ahead */
	uint8_t ahead[16384];
};

void dump_reader_init(struct dump_reader *r, dump_read_fn *read, void *arg, const char *name);

/* Exactly n bytes, or -EBADMSG "cut off" with the place. */
int dump_reader_bytes(struct dump_reader *r, void *p, size_t n, struct err *e);
/* Up to n bytes: the count, 0 at the end. */
ssize_t dump_reader_some(struct dump_reader *r, void *p, size_t n, struct err *e);
/* One byte: 1, 0 at the end, or -errno. */
int dump_reader_byte_or_end(struct dump_reader *r, uint8_t *ret, struct err *e);
int dump_reader_u8(struct dump_reader *r, uint8_t *ret, struct err *e);
int dump_reader_int(struct dump_reader *r, int32_t *ret, struct err *e);
/* An OID, which pg_dump writes as an integer of its own (pg_backup_custom.c, _StartLO). */
int dump_reader_oid(struct dump_reader *r, uint32_t *ret, struct err *e);
/* Empties b and reads a string into it, without NUL. *null: it is NULL, not empty. A NUL inside is -EBADMSG. */
int dump_reader_str(struct dump_reader *r, struct buf *b, bool *null, struct err *e);

/* "NAME is damaged at byte N: …" as -EBADMSG. */
int dump_reader_bad(const struct dump_reader *r, struct err *e, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* The writing half. */
void dump_put_int(struct buf *b, int64_t v);
void dump_put_str(struct buf *b, const char *s); /* NULL is one, too */
