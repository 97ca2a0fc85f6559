/* The rules of retention as they are written: on the command line, and in the config file's sections
 *
 *	[retention]			every cluster and kind
 *	[retention CLUSTER]		one cluster; "*" is every cluster
 *	[retention CLUSTER KIND]	and only its base, dump or globals
 *
 * with the same names and values as on the command line. For a cluster and kind the most special section counts, as
 * a whole: rules of several sections are never mixed. Not here: what rules mean (retention.h, retention_wal.h). */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "src/base/err.h"
#include "store/snapshot.h"

/* What a rule counts. Rules without a number: RULE_TAG. */
enum rule {
	RULE_LAST,
	RULE_DAYS,
	RULE_DAILY,
	RULE_WEEKLY,
	RULE_MONTHLY,
	RULE_YEARLY,
	RULE_WAL_DAYS, /* keeps no snapshot */
	RULE_TAG,
};
#define RULES 8
#define RULE_NUMBER_MAX 1000000

/* Zero: no rule. */
struct retention_rules {
	uint32_t n[RULES]; /* by enum rule; 0: not given */
	char **tags;
	size_t n_tags;
};

/* "keep-last" and so on: --keep-last, and the key in the config file. */
const char *rule_name(enum rule r);

/* Adds a rule by its name. -EINVAL with a text: no such rule, no number from 1 on, given before (but for tags). */
int retention_add(struct retention_rules *r, const char *name, const char *value, struct err *e);
bool retention_is_empty(const struct retention_rules *r);	 /* nothing was given at all */
bool retention_keeps_snapshots(const struct retention_rules *r); /* more than wal-days */
void retention_rules_release(struct retention_rules *r);

/* A config section's rules. */
struct retention_set {
	char *cluster;		 /* NULL: every cluster */
	enum snapshot_kind kind; /* 0: every kind */
	struct retention_rules rules;
};
struct retention_sets {
	struct retention_set *v;
	size_t n;
};

/* The set of a section "retention …", made when it is new. -EINVAL with a text for one that is none. *ret lives until
 * the next one is made. */
int retention_section(
	struct retention_sets *s, const char *section, struct retention_set **ret, struct err *e);
/* Moves a set in, in the place of one for the same. -ENOMEM. */
int retention_put(struct retention_sets *s, struct retention_set *set);
/* The rules that count for this cluster and kind, or NULL. */
const struct retention_rules *retention_for(
	const struct retention_sets *s, const char *cluster, enum snapshot_kind kind);
void retention_sets_release(struct retention_sets *s);
