/* pgstrata status: what can be recovered, and what is wrong with that; made for monitoring. */
#include "src/cmd/cmd.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <string.h>

#include "src/base/clean.h"
#include "src/pit/pit.h"

CLEANUP_DEFINE(struct store, store_free)
CLEANUP_DEFINE(char *, strv_free)

#define PROBLEM_TEXT 700

struct limits {
	uint64_t backup_age, wal_age; /* seconds; 0: any age will do */
	struct tstamp now;
};

/* One cluster's state. */
struct state {
	const char *cluster;
	struct pit_window w;
	char (*problems)[PROBLEM_TEXT];
	size_t n;
};

static void state_release(struct state *s)
{
	pit_window_release(&s->w);
	free(s->problems);
}

__attribute__((format(printf, 2, 3))) static int problem(struct state *s, const char *fmt, ...)
{
	char(*more)[PROBLEM_TEXT] = reallocarray(s->problems, s->n + 1, sizeof(*more));
	va_list ap;

	if (!more)
		return -ENOMEM;
	s->problems = more;
	va_start(ap, fmt);
	vsnprintf(more[s->n++], PROBLEM_TEXT, fmt, ap);
	va_end(ap);
	return 0;
}

static uint64_t age(const struct limits *l, struct tstamp t)
{
	return l->now.sec > t.sec ? (uint64_t)(l->now.sec - t.sec) : 0;
}

static int judge_gaps(struct state *s)
{
	int r = 0;

	for (size_t i = 0; i < s->w.n_gaps && !r; i++) {
		const struct pit_gap *g = &s->w.gaps[i];
		const char *what =
			g->ends_window
				? " What follows cannot be recovered before another base backup is taken."
				: "";

		if (g->segments == 1)
			r = problem(s, "The WAL archive has a gap: segment %s is missing.%s", g->first, what);
		else
			r = problem(s,
				"The WAL archive has a gap: segments %s to %s (%" PRIu64 ") are missing.%s",
				g->first, g->last, g->segments, what);
	}
	return r;
}

static int judge(struct state *s, const struct limits *l)
{
	char is[DURATION_TEXT], may[DURATION_TEXT];
	const struct pit_window *w = &s->w;
	int r = 0;

	if (!w->last_backup)
		r = problem(s, "There is no base backup.");
	else if (l->backup_age && age(l, w->last_backup->stop) > l->backup_age)
		r = problem(s, "The last base backup, %s, is %s old; %s is allowed.", w->last_backup->id,
			cmd_duration_text(age(l, w->last_backup->stop), is),
			cmd_duration_text(l->backup_age, may));
	if (!r)
		r = judge_gaps(s);
	if (!r && l->wal_age && !*w->last_wal)
		r = problem(s, "No WAL is archived.");
	else if (!r && l->wal_age && age(l, w->last_wal_put) > l->wal_age)
		r = problem(s, "The last WAL, %s, was archived %s ago; %s is allowed.", w->last_wal,
			cmd_duration_text(age(l, w->last_wal_put), is), cmd_duration_text(l->wal_age, may));
	if (!r && w->last_backup && !w->open)
		r = problem(s, "Nothing can be recovered on the newest timeline: no base backup leads there, "
			       "or the WAL that "
			       "one needs is missing.");
	return r;
}

static int examine(
	struct cmd_context *c, struct store *store, struct state *s, const struct limits *l, struct err *e)
{
	_cleanup_(pit_freep) struct pit *p = NULL;
	struct err why = {0};
	int r = pit_new(store, s->cluster, c->log, &p, e);

	if (r < 0)
		return r;
	r = pit_window(p, &s->w, &why);
	/* What is broken there is what was asked for. */
	r = r == -ENOMEM ? r : r < 0 ? problem(s, "%s.", why.text) : judge(s, l);
	return r < 0 ? err_sys(e, r, "status") : 0;
}

/* ---- output ---- */

static void print_text(const struct state *s)
{
	const struct pit_window *w = &s->w;
	char a[TSTAMP_TEXT], b[LSN_TEXT];

	printf("cluster      %s: %s\n", s->cluster, s->n ? "PROBLEMS" : "ok");
	if (w->last_backup)
		printf("last backup  %s, of %zu\n", w->last_backup->id, w->backups);
	else
		printf("last backup  none\n");
	if (*w->last_wal)
		printf("last WAL     %s, archived %s\n", w->last_wal, tstamp_rfc3339(w->last_wal_put, a));
	else
		printf("last WAL     none\n");
	if (w->open) {
		printf("recoverable  from %s (%s)\n", tstamp_rfc3339(w->from_time, a),
			lsn_text(w->from_lsn, b));
		printf("             to   %s (%s), timeline %u\n", tstamp_rfc3339(w->to_time, a),
			lsn_text(w->to_lsn, b), w->tli.v);
	} else {
		printf("recoverable  nothing\n");
	}
	for (size_t i = 0; i < s->n; i++)
		printf("problem      %s\n", s->problems[i]);
}

static json_t *time_or_null(bool has, struct tstamp t)
{
	char text[TSTAMP_TEXT];

	return has ? json_string(tstamp_rfc3339(t, text)) : json_null();
}

static json_t *window_json(const struct pit_window *w)
{
	char from[LSN_TEXT], to[LSN_TEXT];

	if (!w->open)
		return json_null();
	return json_pack("{s:o, s:o, s:s, s:s, s:i}", "from_time", time_or_null(true, w->from_time),
		"to_time", time_or_null(true, w->to_time), "from_lsn", lsn_text(w->from_lsn, from), "to_lsn",
		lsn_text(w->to_lsn, to), "timeline", (int)w->tli.v);
}

static json_t *state_json(const struct state *s)
{
	const struct pit_window *w = &s->w;
	json_t *gaps = json_array(), *problems = json_array();
	bool wal = *w->last_wal;

	for (size_t i = 0; i < w->n_gaps; i++)
		json_array_append_new(
			gaps, json_pack("{s:s, s:s, s:I}", "first", w->gaps[i].first, "last", w->gaps[i].last,
				      "segments", (json_int_t)w->gaps[i].segments));
	for (size_t i = 0; i < s->n; i++)
		json_array_append_new(problems, json_string(s->problems[i]));
	return json_pack("{s:s, s:s?, s:o, s:I, s:s?, s:o, s:o, s:o, s:o, s:b, s:o}", "cluster", s->cluster,
		"last_backup", w->last_backup ? w->last_backup->id : NULL, "last_backup_time",
		time_or_null(w->last_backup != NULL, w->last_backup ? w->last_backup->stop : w->to_time),
		"backups", (json_int_t)w->backups, "last_wal", wal ? w->last_wal : NULL, "last_wal_archived",
		time_or_null(wal, w->last_wal_put), "last_wal_time",
		time_or_null(w->has_last_wal_time, w->last_wal_time), "gaps", gaps, "window", window_json(w),
		"ok", s->n == 0, "problems", problems);
}

static int add_json(json_t *all, const struct state *s, struct err *e)
{
	json_t *j = state_json(s);

	return j && !json_array_append_new(all, j) ? 0 : err_sys(e, -ENOMEM, "status");
}

static int print_json(json_t *all, struct err *e)
{
	json_t *top = json_pack("{s:O}", "clusters", all);
	int r = top ? json_dumpf(top, stdout, JSON_COMPACT) : -1;

	json_decref(top);
	putchar('\n');
	return r ? err_sys(e, -ENOMEM, "status") : 0;
}

/* The exit status. */
static int status_of(
	struct cmd_context *c, struct store *s, char *const *clusters, const struct limits *l, struct err *e)
{
	json_t *all = json_array();
	/* Whoever watches a repository wants backups in it. */
	bool problems = !clusters[0];
	int r = all ? 0 : err_sys(e, -ENOMEM, "status");

	for (size_t i = 0; clusters[i] && !r; i++) {
		_cleanup_(state_release) struct state st = {.cluster = clusters[i]};

		r = examine(c, s, &st, l, e);
		problems = problems || st.n;
		if (!r && c->json)
			r = add_json(all, &st, e);
		else if (!r) {
			if (i)
				putchar('\n');
			print_text(&st);
		}
	}
	if (!r && c->json)
		r = print_json(all, e);
	else if (!r && !clusters[0])
		puts("There is no cluster in the repository yet.");
	json_decref(all);
	return r < 0 ? cmd_fail(c, e) : problems ? CMD_FAILED : CMD_OK;
}

int cmd_status(struct cmd_context *c, int argc, char **argv)
{
	struct limits l = {.now = clock_now()};
	const struct cmd_option options[] = {
		{"max-backup-age", 0, "AGE", OPTION_DURATION, &l.backup_age,
			"a last base backup older than this (26h, 8d) is a problem"},
		{"max-wal-age", 0, "AGE", OPTION_DURATION, &l.wal_age,
			"a last segment archived longer ago than this (15m) is a problem"},
		{0},
	};
	const struct cmd_usage usage = {
		.verb = "status",
		.args = "",
		.takes = TAKES_CLUSTER | TAKES_JSON,
		.about = "Shows for all clusters, or for the one that -c names, the last base backup, the "
			 "last WAL, "
			 "gaps, and\nwhat can be recovered. Exit status 0 when all is well, 1 when there are "
			 "problems.",
		.example = "  pgstrata status -r /srv/pgstrata --max-backup-age 26h --max-wal-age 15m",
		.options = options,
	};
	_cleanup_(store_freep) struct store *s = NULL;
	_cleanup_(strv_freep) char **all = NULL;
	char one[64], *only[] = {one, NULL};
	struct err e = {0};
	int status;

	if (!cmd_parse(c, &usage, argc, argv))
		return c->status;
	status = cmd_open_store(c, &usage, 0, c->log, &s);
	if (status != CMD_OK)
		return status;
	snprintf(one, sizeof(one), "%s", c->cluster);
	if (!c->cluster_given && store_clusters(s, &all, &e) < 0)
		return cmd_fail(c, &e);
	return status_of(c, s, c->cluster_given ? only : all, &l, &e);
}
