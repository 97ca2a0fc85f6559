/* Durations as people write and read them. See cmd.h. */
#include "src/cmd/cmd.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>

/* Seconds in a unit, or 0. */
static uint64_t unit(char c)
{
	switch (c) {
	case 's':
		return 1;
	case 'm':
		return 60;
	case 'h':
		return 3600;
	case 'd':
		return 86400;
	case 'w':
		return 604800;
	}
	return 0;
}

int cmd_parse_duration(const char *text, uint64_t *ret, struct err *e)
{
	uint64_t sum = 0;
	const char *s = text;

	do {
		uint64_t n = 0;

		if (!isdigit((unsigned char)*s))
			goto bad;
		for (; isdigit((unsigned char)*s); s++)
			if (__builtin_mul_overflow(n, 10u, &n) ||
				__builtin_add_overflow(n, (uint64_t)(*s - '0'), &n))
				goto bad;
		if (!unit(*s) || __builtin_mul_overflow(n, unit(*s), &n) ||
			__builtin_add_overflow(sum, n, &sum))
			goto bad;
		s++;
	} while (*s);
	*ret = sum;
	return 0;
bad:
	return err_set(e, -EINVAL, "\"%s\" is not a duration like 90s, 15m, 26h, 7d or 1h30m", text);
}

char *cmd_duration_text(uint64_t sec, char out[DURATION_TEXT])
{
	static const char units[] = "dhms";

	for (const char *u = units; *u; u++) {
		uint64_t n = sec / unit(*u), rest = sec % unit(*u);

		if (!n && u[1])
			continue;
		/* Two units say enough. */
		if (u[1] && rest / unit(u[1]))
			snprintf(out, DURATION_TEXT, "%" PRIu64 "%c%" PRIu64 "%c", n, *u, rest / unit(u[1]),
				u[1]);
		else
			snprintf(out, DURATION_TEXT, "%" PRIu64 "%c", n, *u);
		break;
	}
	return out;
}
