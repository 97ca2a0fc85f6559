/* A growable byte buffer, and the writer's half of every format: little-endian integers and varints.
 *
 * An allocation that fails sets `bad` and later puts do nothing, so a writer checks once, at its end.
 * Not thread-safe; the owner frees with buf_free. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct buf {
	uint8_t *data;
	size_t len;
	size_t cap;
	bool bad;
};

void buf_free(struct buf *b);  /* frees the memory and zeroes the struct; fine on a zeroed one */
void buf_clear(struct buf *b); /* length and bad to zero, memory kept */

/* Makes room for n more bytes and returns where they go, or NULL (and bad). Does not change len. */
void *buf_reserve(struct buf *b, size_t n);

void buf_put(struct buf *b, const void *p, size_t n);
void buf_put_u8(struct buf *b, uint8_t v);
void buf_put_u16(struct buf *b, uint16_t v);
void buf_put_u32(struct buf *b, uint32_t v);
void buf_put_u64(struct buf *b, uint64_t v);
/* LEB128: seven bits a byte, low first, at most ten bytes. */
void buf_put_varint(struct buf *b, uint64_t v);
/* Zigzag, then varint. */
void buf_put_svarint(struct buf *b, int64_t v);
/* varint length, then the bytes. */
void buf_put_str(struct buf *b, const void *p, size_t n);
/* printf at the end; no terminating NUL is counted. */
void buf_printf(struct buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Memory for n bytes, in huge pages where the system has them, since touching megabytes by small ones costs as much as
 * copying them does. NULL without memory; free(). */
void *buf_large(size_t n);

/* NUL-terminates (the NUL is not counted) and hands the memory over; the buffer is empty after it.
 * NULL when the buffer is bad. Free with free(). */
char *buf_steal_str(struct buf *b);
