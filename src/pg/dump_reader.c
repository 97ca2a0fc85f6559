/* Integers and strings of archives, out of a stream. See dump_reader.h. */
#include "src/pg/dump_reader.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define INT_BYTES 5
#define STEP (64u << 10)

ssize_t dump_read_memory(void *arg, void *p, size_t n, struct err *e)
{
	struct dump_memory *m = arg;

	(void)e;
	if (n > m->n)
		n = m->n;
	if (n)
		memcpy(p, m->p, n);
	m->p = (const uint8_t *)m->p + n;
	m->n -= n;
	return (ssize_t)n;
}

void dump_reader_init(struct dump_reader *r, dump_read_fn *read, void *arg, const char *name)
{
	r->read = read;
	r->arg = arg;
	r->name = name;
	r->pos = 0;
	r->at = r->have = 0;
}

int dump_reader_bad(const struct dump_reader *r, struct err *e, const char *fmt, ...)
{
	char what[200];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(what, sizeof(what), fmt, ap);
	va_end(ap);
	return err_set(e, -EBADMSG, "%s is damaged at byte %" PRIu64 ": %s", r->name, r->pos, what);
}

ssize_t dump_reader_some(struct dump_reader *r, void *p, size_t n, struct err *e)
{
	size_t left = r->have - r->at;
	ssize_t got;

	if (!n)
		return 0;
	if (!left && n >= sizeof(r->ahead)) {
		got = r->read(r->arg, p, n, e);
		if (got > 0)
			r->pos += (uint64_t)got;
		return got;
	}
	if (!left) {
		got = r->read(r->arg, r->ahead, sizeof(r->ahead), e);
		if (got <= 0)
			return got;
		r->at = 0;
		r->have = left = (size_t)got;
	}
	if (n > left)
		n = left;
	memcpy(p, r->ahead + r->at, n);
	r->at += n;
	r->pos += n;
	return (ssize_t)n;
}

int dump_reader_bytes(struct dump_reader *r, void *p, size_t n, struct err *e)
{
	uint8_t *to = p;

	while (n) {
		ssize_t got = dump_reader_some(r, to, n, e);

		if (got < 0)
			return (int)got;
		if (!got)
			return err_set(e, -EBADMSG, "%s is cut off at byte %" PRIu64, r->name, r->pos);
		to += got;
		n -= (size_t)got;
	}
	return 0;
}

int dump_reader_byte_or_end(struct dump_reader *r, uint8_t *ret, struct err *e)
{
	return (int)dump_reader_some(r, ret, 1, e);
}

int dump_reader_u8(struct dump_reader *r, uint8_t *ret, struct err *e)
{
	return dump_reader_bytes(r, ret, 1, e);
}

static int sign_and_magnitude(struct dump_reader *r, uint8_t *sign, uint32_t *ret, struct err *e)
{
	uint8_t b[INT_BYTES];
	int res = dump_reader_bytes(r, b, sizeof(b), e);

	if (res < 0)
		return res;
	if (b[0] > 1)
		return dump_reader_bad(r, e, "an integer with sign %u", b[0]);
	*sign = b[0];
	*ret = (uint32_t)b[1] | (uint32_t)b[2] << 8 | (uint32_t)b[3] << 16 | (uint32_t)b[4] << 24;
	return 0;
}

int dump_reader_int(struct dump_reader *r, int32_t *ret, struct err *e)
{
	uint8_t sign = 0;
	uint32_t v = 0;
	int res = sign_and_magnitude(r, &sign, &v, e);

	if (res < 0)
		return res;
	if (v > INT32_MAX)
		return dump_reader_bad(r, e, "an integer of %u", v);
	*ret = sign ? -(int32_t)v : (int32_t)v;
	return 0;
}

/* OIDs from 2^31 on pass through an int and come as negative numbers: -1 is 4294967295. */
int dump_reader_oid(struct dump_reader *r, uint32_t *ret, struct err *e)
{
	uint8_t sign = 0;
	uint32_t v = 0;
	int res = sign_and_magnitude(r, &sign, &v, e);

	if (!res)
		*ret = sign ? 0 - v : v;
	return res;
}

int dump_reader_str(struct dump_reader *r, struct buf *b, bool *null, struct err *e)
{
	int32_t len;
	int res = dump_reader_int(r, &len, e);

	buf_clear(b);
	if (res < 0)
		return res;
	*null = len < 0;
	for (size_t left = len < 0 ? 0 : (size_t)len; left;) {
		size_t n = left < STEP ? left : STEP;
		uint8_t *to = buf_reserve(b, n);

		if (!to)
			return err_sys(e, -ENOMEM, "%s: a string of %d bytes", r->name, len);
		res = dump_reader_bytes(r, to, n, e);
		if (res < 0)
			return res;
		if (memchr(to, 0, n))
			return dump_reader_bad(r, e, "a string with a NUL in it");
		b->len += n;
		left -= n;
	}
	return 0;
}

void dump_put_int(struct buf *b, int64_t v)
{
	buf_put_u8(b, v < 0);
	buf_put_u32(b, (uint32_t)(v < 0 ? -v : v));
}

void dump_put_str(struct buf *b, const char *s)
{
	size_t n = s ? strlen(s) : 0;

	dump_put_int(b, s ? (int64_t)n : -1);
	buf_put(b, s, n);
}
