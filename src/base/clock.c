/* Time stamps. The civil calendar arithmetic is the proleptic Gregorian one of ISO 8601; glibc's timegm and
 * gmtime_r know it, so they do it here. See clock.h. */
#include "src/base/clock.h"

#include <ctype.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "src/base/fault.h"

struct tstamp clock_now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return (struct tstamp){.sec = ts.tv_sec + fault_clock_s(), .nsec = (uint32_t)ts.tv_nsec};
}

uint64_t clock_mono_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

int tstamp_cmp(struct tstamp a, struct tstamp b)
{
	if (a.sec != b.sec)
		return a.sec < b.sec ? -1 : 1;
	return a.nsec < b.nsec ? -1 : a.nsec > b.nsec;
}

char *tstamp_rfc3339(struct tstamp t, char out[TSTAMP_TEXT])
{
	time_t sec = (time_t)t.sec;
	struct tm tm = {0};

	if (!gmtime_r(&sec, &tm) || !strftime(out, TSTAMP_TEXT, "%4Y-%m-%dT%H:%M:%SZ", &tm))
		snprintf(out, TSTAMP_TEXT, "@%lld", (long long)t.sec);
	return out;
}

char *tstamp_micros(struct tstamp t, const char *zone, char out[TSTAMP_MICROS_TEXT])
{
	char sec[TSTAMP_TEXT];

	tstamp_rfc3339(t, sec);
	snprintf(out, TSTAMP_MICROS_TEXT, "%.*s.%06u%s", (int)strlen(sec) - 1, sec, t.nsec / 1000, zone);
	return out;
}

char *tstamp_name(struct tstamp t, char out[TSTAMP_TEXT])
{
	tstamp_rfc3339(t, out);
	for (char *c = out; (c = strchr(c, ':'));)
		*c = '-';
	return out;
}

/* Exactly n digits, or false. */
static bool digits(const char **s, int n, int *ret)
{
	int v = 0;

	for (int i = 0; i < n; i++) {
		if (!isdigit((unsigned char)(*s)[i]))
			return false;
		v = v * 10 + ((*s)[i] - '0');
	}
	*s += n;
	*ret = v;
	return true;
}

static bool one_of(const char **s, const char *set)
{
	if (!**s || !strchr(set, **s))
		return false;
	(*s)++;
	return true;
}

/* The zone's distance from UTC in seconds; nothing there is UTC. */
static bool zone(const char **s, int *ret)
{
	int hours, minutes = 0, sign;

	*ret = 0;
	if (**s == ' ')
		(*s)++;
	if (!**s)
		return true;
	if (!strcmp(*s, "Z") || !strcmp(*s, "z") || !strcmp(*s, "UTC") || !strcmp(*s, "GMT")) {
		*s += strlen(*s);
		return true;
	}
	if (**s != '+' && **s != '-')
		return false;
	sign = *(*s)++ == '-' ? -1 : 1;
	if (!digits(s, 2, &hours))
		return false;
	if (**s) {
		one_of(s, ":-");
		if (!digits(s, 2, &minutes))
			return false;
	}
	if (hours > 15 || minutes > 59)
		return false;
	*ret = sign * (hours * 3600 + minutes * 60);
	return true;
}

int tstamp_parse(const char *text, struct tstamp *ret, struct err *e)
{
	const char *s = text;
	struct tm tm = {0}, back;
	int off = 0;
	uint32_t nsec = 0;
	time_t sec;

	if (!digits(&s, 4, &tm.tm_year) || !one_of(&s, "-") || !digits(&s, 2, &tm.tm_mon) ||
		!one_of(&s, "-") || !digits(&s, 2, &tm.tm_mday) || !one_of(&s, "Tt ") ||
		!digits(&s, 2, &tm.tm_hour) || !one_of(&s, ":-") || !digits(&s, 2, &tm.tm_min) ||
		!one_of(&s, ":-") || !digits(&s, 2, &tm.tm_sec))
		goto bad;
	if (one_of(&s, ".,")) {
		uint32_t unit = 100000000;

		if (!isdigit((unsigned char)*s))
			goto bad;
		for (; isdigit((unsigned char)*s); s++, unit /= 10)
			nsec += (uint32_t)(*s - '0') * unit;
	}
	if (!zone(&s, &off) || *s)
		goto bad;
	tm.tm_year -= 1900;
	tm.tm_mon -= 1;
	if (tm.tm_hour > 23 || tm.tm_min > 59 || tm.tm_sec > 59)
		goto bad;
	back = tm;
	sec = timegm(&back);
	/* timegm normalizes 31 April to 1 May: a date that moved was none. */
	if (back.tm_mday != tm.tm_mday || back.tm_mon != tm.tm_mon)
		goto bad;
	*ret = (struct tstamp){.sec = (int64_t)sec - off, .nsec = nsec};
	return 0;
bad:
	return err_set(
		e, -EINVAL, "\"%s\" is not a time like 2026-11-20T02:15:07Z or 2026-11-20 02:15:07+01", text);
}
