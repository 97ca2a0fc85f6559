/* What people call a moment: the names that the mount's at/ and --target take.
 *
 *	target = point [ "@" timeline ]				timeline in decimal
 *	point  = "latest"					the end of the WAL that is there
 *	       | time						RFC 3339 as in src/base/clock.h, any zone
 *	       | "lsn-" X "-" X | "lsn-" X "/" X		a position in the WAL
 *	       | "xid-" number					the end of a transaction
 *	       | "name-" restore point				bytes "/", "%", "@" and control bytes as %XX
 *
 * Pure; thread-safe. Not here: whether such a moment can be reached (pit.h). */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "src/base/clock.h"
#include "src/base/err.h"
#include "src/pg/lsn.h"
#include "src/pg/wal_event.h"

enum target_kind { TARGET_LATEST, TARGET_TIME, TARGET_LSN, TARGET_XID, TARGET_NAME };

struct target {
	enum target_kind kind;
	struct tli tli;		     /* 0: the newest timeline on which it can be reached */
	struct tstamp time;	     /* TARGET_TIME, to the microsecond */
	struct lsn lsn;		     /* TARGET_LSN */
	uint32_t xid;		     /* TARGET_XID; never 0 */
	char name[WAL_NAME_MAX + 1]; /* TARGET_NAME */
};

#define TARGET_TEXT 256

/* -EINVAL with a text that says what a target looks like. */
int target_parse(const char *text, struct target *ret, struct err *e);

/* The one name that the mount lists it by: UTC, dashes for colons, fractions only where there are any, the timeline
 * only where one was given. target_parse reads it back to the same. Returns out. */
char *target_name(const struct target *t, char out[TARGET_TEXT]);
