/* Reading rules, and finding those that count. See retention_rules.h. */
#include "src/cmd/retention_rules.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/cmd/tags.h"
#include "store/store.h"

const char *rule_name(enum rule r)
{
	switch (r) {
	case RULE_LAST:
		return "keep-last";
	case RULE_DAYS:
		return "keep-days";
	case RULE_DAILY:
		return "keep-daily";
	case RULE_WEEKLY:
		return "keep-weekly";
	case RULE_MONTHLY:
		return "keep-monthly";
	case RULE_YEARLY:
		return "keep-yearly";
	case RULE_WAL_DAYS:
		return "wal-days";
	case RULE_TAG:
		return "keep-tag";
	}
	return "";
}

static int add_tag(struct retention_rules *r, const char *value, struct err *e)
{
	char **more;
	int c = tag_check(value, e);

	if (c < 0)
		return err_wrap(e, c, "%s", rule_name(RULE_TAG));
	more = reallocarray(r->tags, r->n_tags + 1, sizeof(*more));
	if (!more)
		return err_sys(e, -ENOMEM, "tag %s", value);
	r->tags = more;
	more[r->n_tags] = strdup(value);
	if (!more[r->n_tags])
		return err_sys(e, -ENOMEM, "tag %s", value);
	r->n_tags++;
	return 0;
}

int retention_add(struct retention_rules *r, const char *name, const char *value, struct err *e)
{
	enum rule rule = RULE_LAST;
	uint64_t n = 0;

	while (strcmp(name, rule_name(rule)))
		if (++rule == RULES)
			return err_set(e, -EINVAL,
				"there is no rule \"%s\" (there are keep-last, keep-days, keep-daily, "
				"keep-weekly, keep-monthly, keep-yearly, keep-tag and wal-days)",
				name);
	if (rule == RULE_TAG)
		return add_tag(r, value, e);
	if (r->n[rule])
		return err_set(e, -EINVAL, "%s is given twice", name);
	for (const char *s = value; *s; s++) {
		if (*s < '0' || *s > '9' || n > RULE_NUMBER_MAX)
			n = RULE_NUMBER_MAX + 1;
		else
			n = n * 10 + (uint64_t)(*s - '0');
	}
	/* 0 would say "keep none of them": leaving the rule out says the same without looking like a limit. */
	if (n == 0 || n > RULE_NUMBER_MAX)
		return err_set(
			e, -EINVAL, "%s: \"%s\" is not a number from 1 to %d", name, value, RULE_NUMBER_MAX);
	r->n[rule] = (uint32_t)n;
	return 0;
}

bool retention_keeps_snapshots(const struct retention_rules *r)
{
	for (enum rule i = 0; i < RULES; i++)
		if (r->n[i] && i != RULE_WAL_DAYS)
			return true;
	return r->n_tags > 0;
}

bool retention_is_empty(const struct retention_rules *r)
{
	return !r->n[RULE_WAL_DAYS] && !retention_keeps_snapshots(r);
}

void retention_rules_release(struct retention_rules *r)
{
	for (size_t i = 0; i < r->n_tags; i++)
		free(r->tags[i]);
	free(r->tags);
	*r = (struct retention_rules){0};
}

/* ---- sections ---- */

/* The set for exactly this, or NULL. */
static struct retention_set *find_set(
	const struct retention_sets *s, const char *cluster, enum snapshot_kind kind)
{
	for (size_t i = 0; i < s->n; i++) {
		const char *c = s->v[i].cluster;

		if (s->v[i].kind == kind && !c == !cluster && (!c || !strcmp(c, cluster)))
			return &s->v[i];
	}
	return NULL;
}

int retention_put(struct retention_sets *s, struct retention_set *set)
{
	struct retention_set *there = find_set(s, set->cluster, set->kind), *more;

	if (there) {
		free(there->cluster);
		retention_rules_release(&there->rules);
	} else {
		more = reallocarray(s->v, s->n + 1, sizeof(*more));
		if (!more)
			return -ENOMEM;
		s->v = more;
		there = &more[s->n++];
	}
	*there = *set;
	*set = (struct retention_set){0};
	return 0;
}

int retention_section(
	struct retention_sets *s, const char *section, struct retention_set **ret, struct err *e)
{
	char cluster[80] = "", kind_text[16] = "", more[2] = "";
	enum snapshot_kind kind = 0;
	const char *c = NULL;
	int words = sscanf(section, "retention %79s %15s %1s", cluster, kind_text, more), r;

	if (strncmp(section, "retention", 9) || (section[9] && section[9] != ' ') || words > 2)
		return err_set(e, -EINVAL,
			"[%s] is not [retention], [retention CLUSTER] or [retention CLUSTER KIND]", section);
	if (words >= 1 && strcmp(cluster, "*")) {
		r = store_check_cluster_name(cluster, e);
		if (r < 0)
			return r;
		c = cluster;
	}
	if (words == 2)
		kind = snapshot_kind_of(kind_text);
	if (words == 2 && !kind)
		return err_set(e, -EINVAL, "[%s]: \"%s\" is not base, dump or globals", section, kind_text);
	if (!find_set(s, c, kind)) {
		struct retention_set new = {.cluster = c ? strdup(c) : NULL, .kind = kind};

		if ((c && !new.cluster) || retention_put(s, &new) < 0) {
			free(new.cluster);
			return err_sys(e, -ENOMEM, "[%s]", section);
		}
	}
	*ret = find_set(s, c, kind);
	return 0;
}

const struct retention_rules *retention_for(
	const struct retention_sets *s, const char *cluster, enum snapshot_kind kind)
{
	const struct retention_rules *found = NULL;
	int best = -1;

	for (size_t i = 0; i < s->n; i++) {
		const struct retention_set *set = &s->v[i];
		int special = (set->cluster ? 2 : 0) + (set->kind ? 1 : 0);

		if ((set->cluster && strcmp(set->cluster, cluster)) || (set->kind && set->kind != kind) ||
			special <= best)
			continue;
		best = special;
		found = &set->rules;
	}
	return found;
}

void retention_sets_release(struct retention_sets *s)
{
	for (size_t i = 0; i < s->n; i++) {
		free(s->v[i].cluster);
		retention_rules_release(&s->v[i].rules);
	}
	free(s->v);
	*s = (struct retention_sets){0};
}
