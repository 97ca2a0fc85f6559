/* Time stamps: reading the clock, RFC 3339 text, and the form that names files.
 *
 * struct tstamp is seconds and nanoseconds since 1970-01-01T00:00:00Z; nsec is 0 to 999,999,999 also before
 * 1970. All functions are thread-safe and independent of TZ and locale unless they say otherwise. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "src/base/err.h"

struct tstamp {
	int64_t sec;
	uint32_t nsec;
};

#define TSTAMP_TEXT 40 /* room for any text made here, with its NUL */

struct tstamp clock_now(void); /* CLOCK_REALTIME */
uint64_t clock_mono_ns(void);  /* CLOCK_MONOTONIC, for durations */
int tstamp_cmp(struct tstamp a, struct tstamp b);

/* "2026-11-20T02:15:07Z" (whole seconds). */
char *tstamp_rfc3339(struct tstamp t, char out[TSTAMP_TEXT]);
/* "2026-11-20T02:15:07.012345" and the zone's name behind it, at most 5 bytes, which says nothing of t: t is UTC. */
#define TSTAMP_MICROS_TEXT (TSTAMP_TEXT + 16)
char *tstamp_micros(struct tstamp t, const char *zone, char out[TSTAMP_MICROS_TEXT]);
/* "2026-11-20T02-15-07Z": the same without colons, for names in the mount. */
char *tstamp_name(struct tstamp t, char out[TSTAMP_TEXT]);

/* Reads "2026-11-20T02:15:07[.fff][Z|+HH[[:]MM]]" or with a space or `-` instead of T and colons, also with
 * a space before the zone. Without a zone: UTC. "UTC" and "GMT" are zones. -EINVAL on anything else. */
int tstamp_parse(const char *text, struct tstamp *ret, struct err *e);
