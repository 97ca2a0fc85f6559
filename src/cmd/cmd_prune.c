/* pgstrata prune: removes what the rules of retention do not keep, and collects what nobody needs any more. */
#include "src/cmd/cmd.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/clean.h"
#include "src/cmd/interrupt.h"
#include "src/cmd/progress.h"
#include "src/cmd/prune_plan.h"
#include "src/cmd/table.h"
#include "src/cmd/tags.h"
#include "store/prune.h"

CLEANUP_DEFINE(struct store, store_free)

/* What was done; with --dry-run, what would be. */
struct prune_done {
	uint64_t snapshots, wal_files, wal_bytes;
	struct prune_report packs;
};

/* ---- results for people ---- */

static void add_decision(
	struct table *t, bool drop, const char *what, const char *files, const char *size, const char *reason)
{
	table_add(t, drop ? "drop" : "keep");
	table_add(t, what);
	table_add(t, files);
	table_add(t, size);
	table_add(t, reason);
}

static void add_range(struct table *t, const struct plan_range *r)
{
	char what[3 * WAL_FILE_NAME_MAX + 32], files[24], size[SIZE_TEXT];

	snprintf(what, sizeof(what), "%s/wal/%s%s%s", r->cluster, r->first, r->files > 1 ? " to " : "",
		r->files > 1 ? r->last : "");
	snprintf(files, sizeof(files), "%" PRIu64, r->files);
	add_decision(t, r->drop, what, files, cmd_size_text(r->bytes, size), r->reason);
}

/* The decisions; only those to drop unless all are wanted. */
static int print_decisions(const struct retention_options *o, const struct prune_plan *p, bool all)
{
	static const bool right[] = {false, false, true, true, false};
	static const char *const heading[] = {"", "what", "files", "size", "why"};
	size_t shown = 0;
	struct table t;
	int r = 0;

	table_init(&t, sizeof(right) / sizeof(*right), right);
	for (size_t i = 0; i < sizeof(heading) / sizeof(*heading); i++)
		table_add(&t, heading[i]);
	for (size_t i = 0; i < p->n_items; i++) {
		const struct retention_item *it = &p->items[i];
		char what[200];

		if (!retention_chosen(o, it) || (!all && !it->drop))
			continue;
		snprintf(what, sizeof(what), "%s/%s/%s", it->cluster, snapshot_kind_name(it->kind), it->id);
		add_decision(&t, it->drop, what, "", "", it->reason);
		shown++;
	}
	for (size_t i = 0; i < p->n_ranges; i++)
		if (all || p->ranges[i].drop) {
			add_range(&t, &p->ranges[i]);
			shown++;
		}
	if (shown)
		r = table_print(&t, stdout);
	table_release(&t);
	return r;
}

static void print_sum(const struct prune_done *d, bool dry)
{
	const struct prune_report *k = &d->packs;
	uint64_t freed = k->removed_bytes + d->wal_bytes;
	char wal[SIZE_TEXT], removed[SIZE_TEXT], rewritten[SIZE_TEXT], size[SIZE_TEXT];

	printf("%s %" PRIu64 " snapshots, %" PRIu64 " files of WAL (%s) and %" PRIu64 " of %" PRIu64
	       " packs (%s).\n",
		dry ? "Would remove" : "Removed", d->snapshots, d->wal_files,
		cmd_size_text(d->wal_bytes, wal), k->removed, k->packs,
		cmd_size_text(k->removed_bytes, removed));
	if (k->rewritten)
		printf("%s out of %" PRIu64 " packs that hold little else %s copied.\n",
			cmd_size_text(k->rewritten_bytes, rewritten), k->rewritten,
			dry ? "would be" : "were");
	if (freed >= k->rewritten_bytes)
		printf("%s: %s.\n", dry ? "That would free" : "Freed",
			cmd_size_text(freed - k->rewritten_bytes, size));
}

/* ---- results for programs ---- */

static json_t *snapshots_json(const struct retention_options *o, const struct prune_plan *p)
{
	json_t *a = json_array();

	for (size_t i = 0; i < p->n_items; i++) {
		const struct retention_item *it = &p->items[i];
		char stop[TSTAMP_TEXT];
		json_t *one;

		if (!retention_chosen(o, it))
			continue;
		one = json_pack("{s:s, s:s, s:s, s:b, s:s}", "cluster", it->cluster, "kind",
			snapshot_kind_name(it->kind), "id", it->id, "keep", !it->drop, "reason", it->reason);
		json_object_set_new(one, "stop_time",
			it->damage ? json_null() : json_string(tstamp_rfc3339(it->stop, stop)));
		json_array_append_new(a, one);
	}
	return a;
}

static json_t *wal_json(const struct prune_plan *p)
{
	json_t *a = json_array();

	for (size_t i = 0; i < p->n_ranges; i++) {
		const struct plan_range *r = &p->ranges[i];

		json_array_append_new(
			a, json_pack("{s:s, s:s, s:s, s:I, s:I, s:b, s:s}", "cluster", r->cluster, "first",
				   r->first, "last", r->last, "files", (json_int_t)r->files, "bytes",
				   (json_int_t)r->bytes, "keep", !r->drop, "reason", r->reason));
	}
	return a;
}

static int print_json(
	const struct retention_options *o, const struct prune_plan *p, const struct prune_done *d, bool dry)
{
	const struct prune_report *k = &d->packs;
	json_t *packs = json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:s}", "packs",
		(json_int_t)k->packs, "bytes", (json_int_t)k->bytes, "live_bytes", (json_int_t)k->live_bytes,
		"removed", (json_int_t)k->removed, "removed_bytes", (json_int_t)k->removed_bytes, "rewritten",
		(json_int_t)k->rewritten, "rewritten_bytes", (json_int_t)k->rewritten_bytes, "waiting",
		(json_int_t)k->waiting, "waiting_bytes", (json_int_t)k->waiting_bytes, "waiting_for",
		k->waiting_for);
	json_t *j = json_pack("{s:b, s:o, s:o, s:I, s:I, s:I, s:o}", "dry_run", dry, "snapshots",
		snapshots_json(o, p), "wal", wal_json(p), "snapshots_removed", (json_int_t)d->snapshots,
		"wal_files_removed", (json_int_t)d->wal_files, "wal_bytes_removed", (json_int_t)d->wal_bytes,
		"packs", packs);
	char *text = j ? json_dumps(j, JSON_INDENT(2)) : NULL;

	json_decref(j);
	if (!text)
		return -ENOMEM;
	puts(text);
	free(text);
	return 0;
}

/* ---- the work ---- */

static int remove_wal(struct cmd_context *c, struct store *s, const struct prune_plan *p,
	struct prune_done *d, const volatile sig_atomic_t *stop, struct err *e)
{
	struct meter meter = {0};
	struct progress *show = progress_start(c, "removing WAL", &meter);
	int r = prune_plan_remove_wal(s, p, c->log, &meter, stop, &d->wal_files, &d->wal_bytes, e);

	progress_stop(show);
	return r;
}

static int collect(
	struct cmd_context *c, struct store *s, struct prune_options *o, struct prune_done *d, struct err *e)
{
	struct meter meter = {0};
	struct progress *show = progress_start(c, o->dry_run ? "counting" : "collecting", &meter);
	int r;

	o->meter = &meter;
	r = store_prune(s, o, &d->packs, e);
	progress_stop(show);
	return r;
}

/* Snapshots first: what is left over by a kill at any later moment is found again. */
static int carry_out(struct cmd_context *c, struct store *s, const struct prune_plan *p,
	struct prune_options *o, struct prune_done *d, struct err *e)
{
	int r = store_remove_snapshots(s, p->drop, p->n_drop, e);

	if (r < 0)
		return r;
	d->snapshots = p->n_drop;
	r = remove_wal(c, s, p, d, o->stop, e);
	return r < 0 ? r : collect(c, s, o, d, e);
}

static int prune(struct cmd_context *c, struct store *s, const struct retention_options *ro,
	struct prune_options *o, struct err *e)
{
	_cleanup_(prune_plan_release) struct prune_plan p = {0};
	struct prune_done d = {0};
	int r = prune_plan_make(s, ro, &p, e);

	if (r < 0)
		return r;
	if (!c->json && (o->dry_run || !c->quiet) && print_decisions(ro, &p, o->dry_run || c->verbose) < 0)
		return err_sys(e, -ENOMEM, "table");
	for (size_t i = 0; i < p.n_items; i++)
		if (p.items[i].damage && retention_chosen(ro, &p.items[i]))
			log_msg(c->log, LOG_LEVEL_WARNING, "%s/%s/%s is kept: it cannot be read: %s",
				p.items[i].cluster, snapshot_kind_name(p.items[i].kind), p.items[i].id,
				p.items[i].damage);
	if (o->dry_run) {
		d.snapshots = o->n_drop = p.n_drop;
		d.wal_files = p.wal_files;
		d.wal_bytes = p.wal_bytes;
		o->drop = p.drop;
		r = collect(c, s, o, &d, e);
	} else {
		fflush(stdout);
		r = carry_out(c, s, &p, o, &d, e);
	}
	if (r < 0)
		return r;
	if (c->json && print_json(ro, &p, &d, o->dry_run) < 0)
		return err_sys(e, -ENOMEM, "prune");
	if (!c->json && (o->dry_run || !c->quiet))
		print_sum(&d, o->dry_run);
	if (d.packs.waiting) {
		char size[SIZE_TEXT];

		fprintf(stderr, "pgstrata: %" PRIu64 " packs (%s) wait to be removed by a later run: %s\n",
			d.packs.waiting, cmd_size_text(d.packs.waiting_bytes, size), d.packs.waiting_for);
	}
	return 0;
}

/* ---- the command line ---- */

/* The command line's rules; none when it has none. */
static int rules_of_options(const char *const values[RULES], const struct cmd_list *tags,
	struct retention_sets *ret, struct err *e)
{
	struct retention_set *set;
	int r = 0;

	for (enum rule i = 0; i < RULES && !r; i++)
		if (values[i]) {
			r = retention_section(ret, "retention", &set, e);
			if (!r)
				r = retention_add(&set->rules, rule_name(i), values[i], e);
		}
	for (size_t i = 0; i < tags->n && !r; i++) {
		r = retention_section(ret, "retention", &set, e);
		if (!r)
			r = retention_add(&set->rules, rule_name(RULE_TAG), tags->v[i], e);
	}
	return r;
}

/* Is there a rule for anything that was chosen? */
static bool has_rules(const struct retention_options *o)
{
	for (size_t i = 0; i < o->sets->n; i++) {
		const struct retention_set *s = &o->sets->v[i];

		if ((!s->cluster || !o->cluster || !strcmp(s->cluster, o->cluster)) &&
			(!s->kind || !o->kind || s->kind == o->kind))
			return true;
	}
	return false;
}

static int run(struct cmd_context *c, const struct cmd_usage *u, struct retention_options *ro,
	struct prune_options *o)
{
	_cleanup_(store_freep) struct store *s = NULL;
	struct err e = {0};
	int status = cmd_open_store(c, u, 0, c->log, &s);

	if (status != CMD_OK)
		return status;
	ro->now = clock_now();
	o->stop = interrupt_catch();
	return prune(c, s, ro, o, &e) < 0 ? cmd_fail(c, &e) : CMD_OK;
}

int cmd_prune(struct cmd_context *c, int argc, char **argv)
{
	_cleanup_(retention_sets_release) struct retention_sets given = {0};
	_cleanup_(cmd_list_free) struct cmd_list tags = {0};
	const char *values[RULES] = {0};
	struct retention_options ro = {0};
	struct prune_options o = {0};
	uint64_t grace = 0;
	const struct cmd_option options[] = {
		{"keep-last", 0, "N", OPTION_TEXT, &values[RULE_LAST], "keeps the newest N"},
		{"keep-days", 0, "N", OPTION_TEXT, &values[RULE_DAYS], "keeps those of the last N days"},
		{"keep-daily", 0, "N", OPTION_TEXT, &values[RULE_DAILY],
			"keeps the newest of each day, for the N newest days that have one"},
		{"keep-weekly", 0, "N", OPTION_TEXT, &values[RULE_WEEKLY],
			"the same for weeks, from Monday on"},
		{"keep-monthly", 0, "N", OPTION_TEXT, &values[RULE_MONTHLY], "the same for months"},
		{"keep-yearly", 0, "N", OPTION_TEXT, &values[RULE_YEARLY], "the same for years (all in UTC)"},
		{"keep-tag", 0, "TAG", OPTION_LIST, &tags,
			"keeps those with this tag (may be given several times)"},
		{"wal-days", 0, "N", OPTION_TEXT, &values[RULE_WAL_DAYS],
			"keeps the WAL from the newest backup on that is N days old\n"
			"(default: from the oldest on that is kept)"},
		{"kind", 'k', "KIND", OPTION_KIND, &ro.kind, "drops only base, dump or globals"},
		{"dry-run", 'n', NULL, OPTION_FLAG, &o.dry_run,
			"removes nothing; prints each decision with its reason, and what would be freed"},
		{"grace", 0, "TIME", OPTION_DURATION, &grace,
			"packs that nobody needs stay that long at least: 90s, 15m, 2h, 7d (default: 0s)"},
		{"force", 0, NULL, OPTION_FLAG, &ro.force,
			"also drops the newest base backup of a cluster, and WAL without a base backup"},
		{0},
	};
	const struct cmd_usage usage = {
		.verb = "prune",
		.args = "",
		.takes = TAKES_CLUSTER | TAKES_JSON,
		.about = "Removes the snapshots that no rule keeps, the WAL that no kept base backup needs, "
			 "and then\nwhat nobody needs any more. A snapshot is kept when any rule keeps it. "
			 "Rules come from the\ncommand line, or, when it has none, from the config file's "
			 "sections [retention]. Of all\nclusters, or the one that -c names. Backups, "
			 "archiving and mounts may go on meanwhile.",
		.example = "  pgstrata prune -r /srv/pgstrata --keep-daily 7 --keep-weekly 4 --wal-days 14 "
			   "--dry-run",
		.options = options,
	};
	struct err e = {0};

	if (!cmd_parse(c, &usage, argc, argv))
		return c->status;
	if (rules_of_options(values, &tags, &given, &e) < 0)
		return cmd_usage_error(c, &usage, "--%s", e.text);
	if (grace > UINT32_MAX)
		return cmd_usage_error(c, &usage, "--grace: that is too long");
	if (values[RULE_WAL_DAYS] && ro.kind && ro.kind != SNAPSHOT_BASE)
		return cmd_usage_error(c, &usage, "--wal-days goes with base backups, not with --kind %s",
			snapshot_kind_name(ro.kind));
	ro.sets = given.n ? &given : &c->retention;
	ro.cluster = c->cluster_given ? c->cluster : NULL;
	if (!has_rules(&ro))
		return cmd_usage_error(c, &usage,
			"what shall be kept? Say it with --keep-last N or another rule, or in the config "
			"file's section [retention]; without a rule nothing is dropped");
	o.grace_s = (uint32_t)grace;
	return run(c, &usage, &ro, &o);
}
