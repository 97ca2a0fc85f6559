/* Sizes as people write and read them. See cmd.h. */
#include "src/cmd/cmd.h"

#include <ctype.h>
#include <errno.h>
#include <string.h>

/* The power of 1024 that a suffix stands for, or -1. */
static int suffix_power(const char *s)
{
	static const char letters[] = "kmgtp";
	const char *l;

	if (!*s || !strcasecmp(s, "b"))
		return 0;
	l = strchr(letters, tolower((unsigned char)*s));
	if (!l)
		return -1;
	s++;
	if (*s && strcasecmp(s, "b") && strcasecmp(s, "ib"))
		return -1;
	return (int)(l - letters) + 1;
}

int cmd_parse_size(const char *text, uint64_t *ret, struct err *e)
{
	const char *s = text;
	uint64_t whole = 0, unit = 1, part;
	uint64_t tenths = 0, scale = 1; /* the decimals are tenths/scale */
	int power;

	if (!isdigit((unsigned char)*s))
		goto bad;
	for (; isdigit((unsigned char)*s); s++)
		if (__builtin_mul_overflow(whole, 10u, &whole) ||
			__builtin_add_overflow(whole, (uint64_t)(*s - '0'), &whole))
			goto range;
	if (*s == '.') {
		s++;
		if (!isdigit((unsigned char)*s))
			goto bad;
		for (; isdigit((unsigned char)*s); s++) {
			if (scale >= 1000)
				continue;
			tenths = tenths * 10 + (uint64_t)(*s - '0');
			scale *= 10;
		}
	}
	while (*s == ' ')
		s++;
	power = suffix_power(s);
	if (power < 0 || (power == 0 && scale > 1))
		goto bad;
	unit <<= 10 * power;
	part = scale > 1 ? unit / scale * tenths + unit % scale * tenths / scale : 0;
	if (__builtin_mul_overflow(whole, unit, &whole) || __builtin_add_overflow(whole, part, &whole))
		goto range;
	*ret = whole;
	return 0;
bad:
	return err_set(e, -EINVAL, "\"%s\" is not a size like 65536, 64K, 256M or 1.5G", text);
range:
	return err_set(e, -ERANGE, "%s is too large a size", text);
}

char *cmd_size_text(uint64_t bytes, char out[SIZE_TEXT])
{
	static const char *const units[] = {"B", "kB", "MB", "GB", "TB", "PB", "EB"};
	unsigned power = 0;
	double v = (double)bytes;

	/* 999.5 would be printed as 1000. */
	while (v >= 999.5 && power < 6) {
		v /= 1024;
		power++;
	}
	snprintf(out, SIZE_TEXT, power && v < 9.95 ? "%.1f %s" : "%.0f %s", v, units[power]);
	return out;
}
