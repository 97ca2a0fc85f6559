/* The JSON reader. See jscan.h. */
#include "src/pg/jscan.h"

#include <errno.h>
#include <string.h>

int jscan_bad(const struct jscan *j, size_t at, const char *why)
{
	return err_set(j->e, -EBADMSG, "%s: at byte %zu: %s", j->what, at, why);
}

/* The byte here, or -1 at the end. */
static int peek(const struct jscan *j)
{
	return j->i < j->n ? j->base[j->i] : -1;
}

size_t jscan_space(struct jscan *j)
{
	while (j->i < j->n) {
		uint8_t c = j->base[j->i];

		if (c != ' ' && c != '\n' && c != '\t' && c != '\r')
			break;
		j->i++;
	}
	return j->i;
}

int jscan_expect(struct jscan *j, char c)
{
	static const char *const missing[128] = {
		['{'] = "expected {",
		['['] = "expected [",
		[':'] = "expected :",
		['"'] = "expected a string",
	};

	jscan_space(j);
	if (peek(j) != c)
		return jscan_bad(j, j->i, missing[(unsigned char)c]);
	j->i++;
	return 0;
}

int jscan_more(struct jscan *j, char close)
{
	jscan_space(j);
	if (peek(j) == ',') {
		j->i++;
		return 1;
	}
	if (peek(j) != close)
		return jscan_bad(j, j->i, close == '}' ? "expected , or }" : "expected , or ]");
	j->i++;
	return 0;
}

bool jscan_empty(struct jscan *j, char close)
{
	jscan_space(j);
	if (peek(j) != close)
		return false;
	j->i++;
	return true;
}

static int hex_value(int c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

/* The four digits of \uXXXX, or -1. */
static int32_t get_u16(struct jscan *j)
{
	int32_t v = 0;

	if (j->n - j->i < 4)
		return -1;
	for (int k = 0; k < 4; k++) {
		int h = hex_value(j->base[j->i + (size_t)k]);

		if (h < 0)
			return -1;
		v = v << 4 | h;
	}
	j->i += 4;
	return v;
}

/* UTF-8 of a code point that is no surrogate (RFC 3629, section 3). */
static size_t encode_utf8(uint32_t c, uint8_t out[4])
{
	if (c < 0x80) {
		out[0] = (uint8_t)c;
		return 1;
	}
	if (c < 0x800) {
		out[0] = (uint8_t)(0xc0 | c >> 6);
		out[1] = (uint8_t)(0x80 | (c & 0x3f));
		return 2;
	}
	if (c < 0x10000) {
		out[0] = (uint8_t)(0xe0 | c >> 12);
		out[1] = (uint8_t)(0x80 | (c >> 6 & 0x3f));
		out[2] = (uint8_t)(0x80 | (c & 0x3f));
		return 3;
	}
	out[0] = (uint8_t)(0xf0 | c >> 18);
	out[1] = (uint8_t)(0x80 | (c >> 12 & 0x3f));
	out[2] = (uint8_t)(0x80 | (c >> 6 & 0x3f));
	out[3] = (uint8_t)(0x80 | (c & 0x3f));
	return 4;
}

/* The length of the valid UTF-8 sequence here, 0 when there is none: no overlong ones, no surrogates, nothing
 * past U+10FFFF (RFC 3629, section 4). */
static size_t utf8_len(const uint8_t *p, size_t n)
{
	uint8_t lead = p[0], low = 0x80, high = 0xbf;
	size_t len;

	if (lead < 0x80)
		return 1;
	if (lead >= 0xc2 && lead <= 0xdf)
		len = 2;
	else if (lead >= 0xe0 && lead <= 0xef)
		len = 3;
	else if (lead >= 0xf0 && lead <= 0xf4)
		len = 4;
	else
		return 0;
	if (lead == 0xe0)
		low = 0xa0;
	else if (lead == 0xed)
		high = 0x9f;
	else if (lead == 0xf0)
		low = 0x90;
	else if (lead == 0xf4)
		high = 0x8f;
	if (n < len || p[1] < low || p[1] > high)
		return 0;
	for (size_t k = 2; k < len; k++)
		if ((p[k] & 0xc0) != 0x80)
			return 0;
	return len;
}

/* What stands behind a backslash, as UTF-8 (RFC 8259, section 7). Returns its length or an error. */
static int escape(struct jscan *j, uint8_t out[4])
{
	static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
	size_t at = j->i - 1;
	int c = peek(j);
	const char *simple = c > 0 ? strchr(from, c) : NULL;
	int32_t hi, lo;

	if (c < 0)
		return jscan_bad(j, j->i, "the text ends within a string");
	j->i++;
	if (simple) {
		out[0] = (uint8_t)to[simple - from];
		return 1;
	}
	hi = c == 'u' ? get_u16(j) : -1;
	/* U+0000 can stand in no path, and PostgreSQL's reader refuses it as well. */
	if (hi <= 0 || (hi >= 0xdc00 && hi <= 0xdfff))
		return jscan_bad(j, at, "invalid escape");
	if (hi < 0xd800 || hi > 0xdbff)
		return (int)encode_utf8((uint32_t)hi, out);
	if (j->n - j->i < 2 || j->base[j->i] != '\\' || j->base[j->i + 1] != 'u')
		return jscan_bad(j, at, "half of a surrogate pair");
	j->i += 2;
	lo = get_u16(j);
	if (lo < 0xdc00 || lo > 0xdfff)
		return jscan_bad(j, at, "half of a surrogate pair");
	return (int)encode_utf8(0x10000 + ((uint32_t)(hi - 0xd800) << 10) + (uint32_t)(lo - 0xdc00), out);
}

/* Does this byte of a string stand for itself? */
static bool plain(int c)
{
	return c >= 0x20 && c < 0x80 && c != '"' && c != '\\';
}

int jscan_string(struct jscan *j, char *out, size_t room, size_t *ret_len)
{
	size_t n = 0, start;
	int r = jscan_expect(j, '"');

	if (r < 0)
		return r;
	start = j->i;
	for (;;) {
		uint8_t code[4];
		const uint8_t *from = j->base + j->i;
		size_t len;
		int c = peek(j);

		if (c < 0)
			return jscan_bad(j, j->i, "the text ends within a string");
		if (c == '"')
			break;
		if (plain(c)) {
			/* Nearly every byte of a real text: the run is measured, then copied at once. */
			for (len = 1; len < j->n - j->i && plain(from[len]);)
				len++;
			j->i += len;
		} else if (c == '\\') {
			j->i++;
			r = escape(j, code);
			if (r < 0)
				return r;
			from = code;
			len = (size_t)r;
		} else {
			len = c < 0x20 ? 0 : utf8_len(from, j->n - j->i);
			if (!len)
				return jscan_bad(j, j->i,
					c < 0x20 ? "a control character in a string" : "invalid UTF-8");
			j->i += len;
		}
		if (len >= room - n)
			return jscan_bad(j, start, "the string is too long");
		memcpy(out + n, from, len);
		n += len;
	}
	j->i++;
	out[n] = 0;
	*ret_len = n;
	return 0;
}

int jscan_number(struct jscan *j, uint64_t *ret)
{
	uint64_t v = 0;
	size_t start = jscan_space(j), digits = 0;

	for (; peek(j) >= '0' && peek(j) <= '9'; j->i++, digits++)
		if (__builtin_mul_overflow(v, (uint64_t)10, &v) ||
			__builtin_add_overflow(v, (uint64_t)(peek(j) - '0'), &v))
			return jscan_bad(j, start, "the number is too large");
	if (!digits || (digits > 1 && j->base[start] == '0') || peek(j) == '.' || peek(j) == 'e' ||
		peek(j) == 'E')
		return jscan_bad(j, start, "expected a whole number");
	*ret = v;
	return 0;
}

int jscan_key(struct jscan *j, const char *const *names, int count, unsigned *seen)
{
	char name[40];
	size_t n, at = jscan_space(j);
	int r = jscan_string(j, name, sizeof(name), &n);

	if (r < 0)
		return r;
	for (int k = 0; k < count; k++) {
		if (strcmp(name, names[k]) != 0)
			continue;
		if (*seen & 1u << k)
			return jscan_bad(j, at, "this key is here for the second time");
		*seen |= 1u << k;
		r = jscan_expect(j, ':');
		return r < 0 ? r : k;
	}
	return jscan_bad(j, at, "unknown key");
}

/* The next byte of the string that we are in, any escape decoded, as a hexadecimal digit. */
static int hex_digit(struct jscan *j)
{
	uint8_t code[4];
	int c = peek(j), len = 1, v;

	if (c < 0)
		return jscan_bad(j, j->i, "the text ends within a string");
	j->i++;
	code[0] = (uint8_t)c;
	if (c == '\\')
		len = escape(j, code);
	if (len < 0)
		return len;
	v = len == 1 ? hex_value(code[0]) : -1;
	return v >= 0 ? v : jscan_bad(j, j->i - 1, "expected pairs of hexadecimal digits");
}

int jscan_hex(struct jscan *j, uint8_t *out, size_t room, size_t *ret_len)
{
	size_t n = 0, start;
	int r = jscan_expect(j, '"');

	if (r < 0)
		return r;
	start = j->i;
	while (peek(j) != '"') {
		int hi = hex_digit(j), lo = hi < 0 ? hi : hex_digit(j);

		if (lo < 0)
			return lo;
		if (n == room)
			return jscan_bad(j, start, "the string is too long");
		out[n++] = (uint8_t)(hi << 4 | lo);
	}
	j->i++;
	*ret_len = n;
	return 0;
}
