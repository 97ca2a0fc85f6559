/* A bounded little-endian read cursor: the reader's half of every format.
 *
 * Reading past the end, or a varint that is too long, sets `bad` and gives zeroes from then on; a parser
 * reads a whole structure and checks `bad` once, before it acts on what it read. Pointers given out point
 * into the caller's bytes. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct cur {
	const uint8_t *p;
	const uint8_t *end;
	bool bad;
};

static inline struct cur cur_of(const void *p, size_t n)
{
	const uint8_t *b = p;

	return (struct cur){.p = b, .end = n ? b + n : b};
}

static inline size_t cur_left(const struct cur *c)
{
	return c->bad ? 0 : (size_t)(c->end - c->p);
}

/* n bytes, or NULL and bad. n = 0 gives a non-NULL pointer where there is one. */
static inline const uint8_t *cur_bytes(struct cur *c, size_t n)
{
	const uint8_t *p = c->p;

	if (c->bad || n > (size_t)(c->end - c->p)) {
		c->bad = true;
		return NULL;
	}
	c->p += n;
	return p;
}

static inline uint8_t cur_u8(struct cur *c)
{
	const uint8_t *p = cur_bytes(c, 1);

	return p ? *p : 0;
}

static inline uint16_t cur_u16(struct cur *c)
{
	const uint8_t *p = cur_bytes(c, 2);

	return p ? (uint16_t)(p[0] | (unsigned)p[1] << 8) : 0;
}

static inline uint32_t cur_u32(struct cur *c)
{
	const uint8_t *p = cur_bytes(c, 4);

	return p ? (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24 : 0;
}

static inline uint64_t cur_u64(struct cur *c)
{
	uint64_t lo = cur_u32(c);

	return lo | (uint64_t)cur_u32(c) << 32;
}

static inline uint64_t cur_varint(struct cur *c)
{
	uint64_t v = 0;

	for (unsigned shift = 0; shift < 64; shift += 7) {
		uint8_t b = cur_u8(c);

		if (shift == 63 && b > 1)
			break;
		v |= (uint64_t)(b & 0x7f) << shift;
		if (!(b & 0x80))
			return c->bad ? 0 : v;
	}
	c->bad = true;
	return 0;
}

static inline int64_t cur_svarint(struct cur *c)
{
	uint64_t v = cur_varint(c);

	return (int64_t)((v >> 1) ^ (~(v & 1) + 1));
}

/* A varint length and that many bytes; *len is 0 and the result NULL when bad. */
static inline const uint8_t *cur_str(struct cur *c, size_t *len)
{
	uint64_t n = cur_varint(c);
	const uint8_t *p;

	*len = 0;
	if (n > cur_left(c)) {
		c->bad = true;
		return NULL;
	}
	p = cur_bytes(c, (size_t)n);
	*len = p ? (size_t)n : 0;
	return p;
}
