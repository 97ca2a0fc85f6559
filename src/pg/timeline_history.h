/* Timeline history files, <timeline>.history: through which older timelines a timeline descends, and where it
 * left each.
 *
 *	file = { line }
 *	line = parent "\t" lsn "\t" reason "\n"	| "#" anything "\n" | white space "\n"
 *
 * parent in decimal, rising; lsn as PostgreSQL prints it: the first byte that is no longer the parent's. Oldest
 * first (readTimeLineHistory and writeTimeLineHistory, src/backend/access/transam/timeline.c, PostgreSQL 13
 * to 18). Timeline 1 has no file.
 *
 * Invariant: parents rise and stay below the timeline itself, switch points never fall. Pure; a history that is
 * made is not changed any more, and may be shared by threads. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "src/base/clean.h"
#include "src/base/err.h"
#include "src/pg/lsn.h"

#define TIMELINE_HISTORY_TEXT 17    /* "0000002A.history" with its NUL */
#define TIMELINE_HISTORY_STEPS 4096 /* more switches than any file that is taken for one has */

/* A timeline left behind. */
struct timeline_step {
	struct tli tli;
	struct lsn end;	    /* its first byte that does not belong to the next one's past */
	const char *reason; /* NUL-terminated; e.g. "no recovery target specified" */
};

struct timeline_history {
	struct tli tli; /* whose history it is */
	size_t n;
	struct timeline_step steps[]; /* oldest first */
};

/* "0000002A.history" (TLHistoryFileName, src/include/access/xlog_internal.h). Returns out. */
char *timeline_history_name(struct tli t, char out[TIMELINE_HISTORY_TEXT]);

/* Reads such a name of n bytes back. False, and *ret untouched, when it is none or the timeline is below 2. */
bool timeline_history_name_parse(const char *p, size_t n, struct tli *ret);

/* Reads the history file of timeline t; no bytes at all are timeline 1's, which needs no file. -EBADMSG with the
 * line's number: a line of another form, timelines that do not rise or reach t, a switch point before the last
 * one, a NUL; or too many lines. -ENOMEM. Free *ret with timeline_history_free. */
int timeline_history_parse(
	const void *p, size_t n, struct tli t, struct timeline_history **ret, struct err *e);
void timeline_history_free(struct timeline_history *h);
CLEANUP_DEFINE(struct timeline_history, timeline_history_free)

/* On which timeline was this byte of WAL written, as history h has it? At a switch point it is the newer one. Past
 * the last switch point it is h's own, however far it got (tliOfPointInHistory, timeline.c). */
struct tli timeline_of_lsn(const struct timeline_history *h, struct lsn l);

/* Which timeline's file of this segment does recovery along h want first: the newest that was begun before the
 * segment ends. (The server falls back on older ones: XLogFileReadAnyTLI, xlogrecovery.c.) */
struct tli timeline_of_segment(const struct timeline_history *h, struct segno s, uint32_t segment_size);

/* Where t ends within h: true and its switch point, 0 for h's own timeline, which has not ended. False, and *ret
 * untouched: t is no part of h (tliInHistory and tliSwitchPoint, timeline.c). */
bool timeline_end(const struct timeline_history *h, struct tli t, struct lsn *ret);

/* Does the way along h lead through this position on timeline t, so that a backup that ended there can be rolled
 * forward to h's timeline? */
bool timeline_passes(const struct timeline_history *h, struct tli t, struct lsn l);
