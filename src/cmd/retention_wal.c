/* From kept backups to segments. See retention_wal.h. */
#include "src/cmd/retention_wal.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DAY 86400

__attribute__((format(printf, 2, 3))) static int keep_all(struct retention_wal *w, const char *fmt, ...)
{
	va_list ap;

	w->all = true;
	va_start(ap, fmt);
	vsnprintf(w->window_reason, sizeof(w->window_reason), fmt, ap);
	va_end(ap);
	return 0;
}

static bool is_kept_base(const struct retention_item *i, const char *cluster)
{
	return i->kind == SNAPSHOT_BASE && !i->drop && !strcmp(i->cluster, cluster);
}

/* What a backup needs is known when its position is. With force, those of which it is not known do not count. */
static bool is_known(const struct retention_item *i)
{
	return !i->damage && i->start_lsn.v && wal_segsize_ok(i->segment_size);
}

/* The window begins with the oldest backup (days 0), or the newest that ended that long ago. */
static const struct retention_item *window_base(
	const struct retention_item *const *kept, size_t n, uint32_t days, struct tstamp now)
{
	struct tstamp until = {now.sec - (int64_t)days * DAY, now.nsec};
	const struct retention_item *oldest = kept[0], *found = NULL;

	for (size_t i = 0; i < n; i++) {
		if (tstamp_cmp(kept[i]->stop, oldest->stop) < 0)
			oldest = kept[i];
		if (days && tstamp_cmp(kept[i]->stop, until) <= 0 &&
			(!found || tstamp_cmp(kept[i]->stop, found->stop) > 0))
			found = kept[i];
	}
	return found ? found : oldest;
}

static uint64_t first_segment(const struct retention_item *i)
{
	return wal_segno(i->start_lsn, i->segment_size).v;
}

/* The segment of the last byte before the backup's end. */
static uint64_t last_segment(const struct retention_item *i)
{
	struct lsn last = {i->stop_lsn.v > i->start_lsn.v ? i->stop_lsn.v - 1 : i->start_lsn.v};

	return wal_segno(last, i->segment_size).v;
}

static int plan_known(struct retention_wal *w, const struct retention_item *const *kept, size_t n,
	uint32_t days, struct tstamp now, struct err *e)
{
	const struct retention_item *base = window_base(kept, n, days, now), *first = base;

	/* A later backup may have a lower position: on a timeline that branched off before. One whose end is not
	 * known may need anything from its start on. */
	for (size_t i = 0; i < n; i++)
		if ((tstamp_cmp(kept[i]->stop, base->stop) >= 0 || !kept[i]->stop_lsn.v) &&
			first_segment(kept[i]) < first_segment(first))
			first = kept[i];
	w->window = first_segment(first);
	if (days)
		snprintf(w->window_reason, sizeof(w->window_reason), "%u day%s of WAL, from base/%s on", days,
			days == 1 ? "" : "s", first->id);
	else
		snprintf(w->window_reason, sizeof(w->window_reason),
			"from base/%s on, the oldest that is kept", first->id);
	snprintf(w->drop_reason, sizeof(w->drop_reason), "before base/%s, and no kept backup needs it",
		first->id);
	w->own = calloc(n, sizeof(*w->own));
	if (!w->own)
		return err_sys(e, -ENOMEM, "cluster %s", base->cluster);
	for (size_t i = 0; i < n; i++) {
		struct retention_own *own = &w->own[w->n_own];

		if (first_segment(kept[i]) >= w->window)
			continue;
		own->first = first_segment(kept[i]);
		own->last = last_segment(kept[i]);
		snprintf(own->reason, sizeof(own->reason), "for base/%s's own consistency", kept[i]->id);
		w->n_own++;
	}
	return 0;
}

int retention_wal_plan(const struct retention_item *v, size_t n, const char *cluster,
	const struct retention_rules *rules, struct tstamp now, bool force, struct retention_wal *ret,
	struct err *e)
{
	const struct retention_item **kept = calloc(n + 1, sizeof(*kept));
	struct retention_wal w = {.window = UINT64_MAX};
	size_t n_kept = 0;
	int r = 0;

	if (!kept)
		return err_sys(e, -ENOMEM, "cluster %s", cluster);
	for (size_t i = 0; i < n && !w.all; i++) {
		if (!is_kept_base(&v[i], cluster))
			continue;
		if (is_known(&v[i]))
			kept[n_kept++] = &v[i];
		else if (!force)
			keep_all(&w, "base/%s does not tell what WAL it needs", v[i].id);
	}
	for (size_t i = 1; i < n_kept && !w.all; i++)
		if (kept[i]->segment_size != kept[0]->segment_size)
			keep_all(&w, "base/%s and base/%s have segments of different size", kept[0]->id,
				kept[i]->id);
	if (!rules)
		keep_all(&w, "there is no rule for %s/base", cluster);
	else if (!w.all && !n_kept && !force)
		keep_all(&w, "no base backup of %s is kept", cluster);
	else if (!w.all && !n_kept)
		snprintf(w.drop_reason, sizeof(w.drop_reason), "no base backup of %s is kept", cluster);
	else if (!w.all)
		r = plan_known(&w, kept, n_kept, rules->n[RULE_WAL_DAYS], now, e);
	if (!w.all && n_kept)
		w.segment_size = kept[0]->segment_size;
	free(kept);
	if (r < 0)
		retention_wal_release(&w);
	else
		*ret = w;
	return r;
}

void retention_wal_release(struct retention_wal *w)
{
	free(w->own);
	*w = (struct retention_wal){0};
}

/* The names of the archive (src/include/access/xlog_internal.h: IsXLogFileName, IsPartialXLogFileName,
 * IsBackupHistoryFileName): what follows the segment's name. */
static bool is_of_segment(const char *name)
{
	const char *rest = name + WAL_NAME_LEN;

	if (strlen(name) < WAL_NAME_LEN || !wal_name_looks(name, WAL_NAME_LEN))
		return false;
	if (!*rest || !strcmp(rest, ".partial"))
		return true;
	return rest[0] == '.' && strspn(rest + 1, "0123456789ABCDEF") == 8 && !strcmp(rest + 9, ".backup");
}

bool retention_wal_keeps(const struct retention_wal *w, const char *name, const char **reason)
{
	size_t n = strlen(name);
	struct tli tli;
	struct segno no;

	if (w->all) {
		*reason = w->window_reason;
		return true;
	}
	if (n > 8 && !strcmp(name + n - 8, ".history")) {
		*reason = "timeline histories stay";
		return true;
	}
	if (!is_of_segment(name)) {
		*reason = "this is no name of WAL";
		return true;
	}
	*reason = w->drop_reason;
	if (w->window == UINT64_MAX && !w->n_own)
		return false;
	if (!wal_name_parse(name, WAL_NAME_LEN, w->segment_size, &tli, &no)) {
		*reason = "this is no segment of that size";
		return true;
	}
	if (no.v >= w->window) {
		*reason = w->window_reason;
		return true;
	}
	for (size_t i = 0; i < w->n_own; i++)
		if (no.v >= w->own[i].first && no.v <= w->own[i].last) {
			*reason = w->own[i].reason;
			return true;
		}
	return false;
}
