/* Series by series, newest first, each rule counts. See retention.h. */
#include "src/cmd/retention.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "src/cmd/tags.h"

#define DAY 86400

__attribute__((format(printf, 2, 3))) static void because(struct retention_item *i, const char *fmt, ...)
{
	size_t n = strlen(i->reason);
	va_list ap;

	if (n && n + 2 < sizeof(i->reason)) {
		memcpy(i->reason + n, ", ", 3);
		n += 2;
	}
	va_start(ap, fmt);
	vsnprintf(i->reason + n, sizeof(i->reason) - n, fmt, ap);
	va_end(ap);
}

static int cmp_series(const struct retention_item *a, const struct retention_item *b)
{
	int c = strcmp(a->cluster, b->cluster);

	if (!c)
		c = (int)a->kind - (int)b->kind;
	return c ? c : strcmp(a->database ? a->database : "", b->database ? b->database : "");
}

/* Newest first within a series; what cannot be read last, since its time is not known. */
static int cmp_item(const void *pa, const void *pb)
{
	const struct retention_item *a = pa, *b = pb;
	int c = cmp_series(a, b);

	if (!c)
		c = (a->damage != NULL) - (b->damage != NULL);
	if (!c)
		c = tstamp_cmp(b->stop, a->stop);
	return c ? c : snapshot_id_cmp(b->id, a->id);
}

/* ---- periods ---- */

static int64_t floor_div(int64_t a, int64_t b)
{
	return a / b - (a % b < 0);
}

/* The number of the period of this rule that holds the moment; equal numbers are the same period. */
static int64_t period(enum rule rule, struct tstamp t)
{
	int64_t day = floor_div(t.sec, DAY);
	time_t sec = (time_t)t.sec;
	struct tm tm = {0};

	switch (rule) {
	case RULE_DAILY:
		return day;
	case RULE_WEEKLY:
		/* 1970-01-01 was a Thursday; ISO 8601's weeks begin on Mondays. */
		return floor_div(day + 3, 7);
	case RULE_MONTHLY:
		gmtime_r(&sec, &tm);
		return (int64_t)tm.tm_year * 12 + tm.tm_mon;
	case RULE_YEARLY:
		gmtime_r(&sec, &tm);
		return tm.tm_year;
	case RULE_LAST:
	case RULE_DAYS:
	case RULE_WAL_DAYS:
	case RULE_TAG:
		break;
	}
	return 0;
}

/* The items of one series that rules may judge: readable, ended, newest first. */
static void keep_periods(struct retention_item *const *v, size_t n, enum rule rule, uint32_t most)
{
	uint32_t have = 0;
	int64_t last = 0;

	for (size_t i = 0; i < n && have < most; i++) {
		int64_t p = period(rule, v[i]->stop);

		if (have && p == last)
			continue;
		last = p;
		have++;
		/* "keep-daily" is "daily" here. */
		because(v[i], "%s %u of %u", rule_name(rule) + strlen("keep-"), have, most);
	}
}

static void keep_days(struct retention_item *const *v, size_t n, uint32_t days, struct tstamp now)
{
	struct tstamp since = {now.sec - (int64_t)days * DAY, now.nsec};

	for (size_t i = 0; i < n && tstamp_cmp(v[i]->stop, since) >= 0; i++)
		because(v[i], "within %u day%s", days, days == 1 ? "" : "s");
}

static void apply(
	const struct retention_rules *r, struct retention_item *const *v, size_t n, struct tstamp now)
{
	for (size_t i = 0; i < n && i < r->n[RULE_LAST]; i++) {
		if (i == 0)
			because(v[i], "newest");
		else
			because(v[i], "last %zu of %u", i + 1, r->n[RULE_LAST]);
	}
	if (r->n[RULE_DAYS])
		keep_days(v, n, r->n[RULE_DAYS], now);
	for (enum rule rule = RULE_DAILY; rule <= RULE_YEARLY; rule++)
		keep_periods(v, n, rule, r->n[rule]);
	for (size_t i = 0; i < n; i++)
		for (size_t k = 0; k < r->n_tags; k++)
			if (tags_have(v[i]->tags, r->tags[k]))
				because(v[i], "tag %s", r->tags[k]);
}

/* ---- series ---- */

static void decide_series(
	const struct retention_options *o, struct retention_item *v, size_t n, struct retention_item **judged)
{
	const struct retention_rules *r = retention_for(o->sets, v->cluster, v->kind);
	size_t n_judged = 0;

	for (size_t i = 0; i < n; i++) {
		v[i].future = !v[i].damage && tstamp_cmp(v[i].stop, o->now) > 0;
		if (v[i].damage)
			because(&v[i], "it cannot be read: %s", v[i].damage);
		else if (v[i].future)
			because(&v[i], "it ends in the future: look at the clocks");
		else
			judged[n_judged++] = &v[i];
	}
	if (!r || !retention_keeps_snapshots(r)) {
		for (size_t i = 0; i < n_judged; i++)
			because(judged[i], "there is no rule for %s/%s", v->cluster,
				snapshot_kind_name(v->kind));
		return;
	}
	apply(r, judged, n_judged, o->now);
	if (n_judged && v->kind == SNAPSHOT_BASE && !o->force && !judged[0]->reason[0])
		because(judged[0], "the last good backup of %s", v->cluster);
	for (size_t i = 0; i < n_judged; i++)
		if (!judged[i]->reason[0]) {
			judged[i]->drop = true;
			because(judged[i], "no rule keeps it");
		}
}

bool retention_chosen(const struct retention_options *o, const struct retention_item *i)
{
	return (!o->kind || i->kind == o->kind) && (!o->cluster || !strcmp(i->cluster, o->cluster));
}

int retention_decide(const struct retention_options *o, struct retention_item *v, size_t n)
{
	struct retention_item **judged = calloc(n + 1, sizeof(*judged));
	size_t end;

	if (!judged)
		return -ENOMEM;
	if (n)
		qsort(v, n, sizeof(*v), cmp_item);
	for (size_t i = 0; i < n; i = end) {
		for (end = i; end < n && !cmp_series(&v[i], &v[end]); end++) {
			v[end].drop = v[end].future = false;
			v[end].reason[0] = 0;
		}
		if (retention_chosen(o, &v[i]))
			decide_series(o, v + i, end - i, judged);
	}
	free(judged);
	return 0;
}
