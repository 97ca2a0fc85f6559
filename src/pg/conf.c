/* postgresql.conf, line by line. See conf.h. */
#include "src/pg/conf.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/buf.h"

void conf_line_release(struct conf_line *l)
{
	free(l->name);
	free(l->value);
	*l = (struct conf_line){0};
}

/* LETTER and LETTER_OR_DIGIT of guc-file.l, without regard to the locale. */
static bool is_letter(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || (unsigned char)c >= 0x80;
}

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static const char *skip_space(const char *p, const char *end)
{
	while (p < end && (*p == ' ' || *p == '\t' || *p == '\r'))
		p++;
	return p;
}

/* A setting's name, maybe with dots. NULL: none. */
static const char *take_name(const char *p, const char *end, struct buf *name)
{
	if (p == end || !is_letter(*p))
		return NULL;
	for (; p < end && (is_letter(*p) || is_digit(*p) || *p == '.' || *p == '$'); p++)
		buf_put_u8(name, (uint8_t)(*p >= 'A' && *p <= 'Z' ? *p - 'A' + 'a' : *p));
	return p;
}

/* What stands behind a backslash (DeescapeQuotedString). */
static const char *take_escape(const char *p, const char *end, struct buf *value)
{
	static const char letters[] = "bfnrt", bytes[] = "\b\f\n\r\t";
	const char *letter = memchr(letters, *p, sizeof(letters) - 1);
	unsigned octal = 0;
	size_t n = 0;

	while (n < 3 && p + n < end && p[n] >= '0' && p[n] <= '7')
		octal = octal * 8 + (unsigned)(p[n++] - '0');
	if (n) {
		buf_put_u8(value, (uint8_t)octal);
		return p + n;
	}
	buf_put_u8(value, (uint8_t)(letter ? bytes[letter - letters] : *p));
	return p + 1;
}

static const char *take_quoted(const char *p, const char *end, struct buf *value)
{
	for (p++; p < end;) {
		if (*p == '\\' && p + 1 < end) {
			p = take_escape(p + 1, end, value);
		} else if (*p == '\'' && !(p + 1 < end && p[1] == '\'')) {
			return p + 1;
		} else {
			buf_put_u8(value, (uint8_t)*p);
			p += *p == '\'' ? 2 : 1;
		}
	}
	return NULL;
}

/* Numbers with units, and words: all that UNQUOTED_STRING, INTEGER and REAL have in common. */
static const char *take_bare(const char *p, const char *end, struct buf *value)
{
	const char *from = p;

	for (; p < end && (is_letter(*p) || is_digit(*p) || (*p && strchr("+-._:/", *p))); p++)
		buf_put_u8(value, (uint8_t)*p);
	return p == from ? NULL : p;
}

static bool is_end(const char *p, const char *end)
{
	return p == end || *p == '#';
}

static bool take_setting(const char *p, const char *end, struct buf *name, struct buf *value)
{
	p = take_name(p, end, name);
	if (!p)
		return false;
	p = skip_space(p, end);
	if (p < end && *p == '=')
		p = skip_space(p + 1, end);
	if (p == end)
		return false;
	p = *p == '\'' ? take_quoted(p, end, value) : take_bare(p, end, value);
	return p && is_end(skip_space(p, end), end);
}

const char *conf_next(const char **at, const char *end, struct conf_line *ret)
{
	struct buf name = {0}, value = {0};
	struct conf_line l = {.text = *at};
	const char *nl, *p;

	if (*at == end)
		return NULL;
	nl = memchr(*at, '\n', (size_t)(end - *at));
	l.len = (size_t)((nl ? nl : end) - *at);
	*at = nl ? nl + 1 : end;
	p = skip_space(l.text, l.text + l.len);
	if (!is_end(p, l.text + l.len)) {
		bool good = take_setting(p, l.text + l.len, &name, &value);

		l.name = good ? buf_steal_str(&name) : NULL;
		l.value = good ? buf_steal_str(&value) : NULL;
		l.kind = l.name && l.value ? CONF_SETTING : CONF_BAD;
		buf_free(&name);
		buf_free(&value);
	}
	*ret = l;
	return l.text;
}
