/* pgstrata repair: what can be saved after damage. */
#include "src/cmd/cmd.h"

#include "src/base/clean.h"
#include "src/cmd/finding.h"
#include "src/cmd/interrupt.h"
#include "src/cmd/progress.h"
#include "store/repair.h"

CLEANUP_DEFINE(struct store, store_free)

static void on_finding(void *arg, const struct verify_finding *f)
{
	(void)arg;
	if (f->kind == VERIFY_LOST)
		finding_print(f);
}

static void print_report(const struct repair_report *r, bool deleted)
{
	if (!r->packs && !r->wal && !r->snapshots && !r->notes && !r->chunks_taken && !r->wal_taken &&
		!r->snapshots_taken && !r->clusters_taken) {
		puts(r->after.lost ? "Nothing could be repaired." : "Nothing had to be repaired.");
		return;
	}
	printf("%llu damaged packs, %llu files of WAL and %llu snapshots were %s; %llu records of those "
	       "packs were saved.\n",
		(unsigned long long)r->packs, (unsigned long long)r->wal, (unsigned long long)r->snapshots,
		deleted ? "deleted" : "moved to quarantine", (unsigned long long)r->saved);
	if (r->chunks_taken || r->wal_taken || r->snapshots_taken)
		printf("Taken from the other repository: %llu chunks, %llu files of WAL, %llu snapshots.\n",
			(unsigned long long)r->chunks_taken, (unsigned long long)r->wal_taken,
			(unsigned long long)r->snapshots_taken);
	if (r->after.lost)
		printf("%llu files of snapshots stay hurt: a backup that has the same content heals them, "
		       "and so does "
		       "repair --from.\n",
			(unsigned long long)r->after.lost);
	else
		puts("Nothing is lost.");
}

/* The second repository is opened like the first; its index is kept in memory. */
static int open_other(struct cmd_context *c, const char *path, struct store **ret)
{
	const struct store_options o = {.log = c->log};
	struct err e = {0};

	return store_open(path, &o, ret, &e) < 0 ? cmd_fail(c, &e) : CMD_OK;
}

int cmd_repair(struct cmd_context *c, int argc, char **argv)
{
	struct repair_options o = {0};
	const char *from = NULL;
	const struct cmd_option options[] = {
		{"from", 0, "REPO", OPTION_TEXT, &from,
			"takes what is missing from this repository, where it has it"},
		{"delete-damaged", 0, NULL, OPTION_FLAG, &o.delete_damaged,
			"deletes damaged objects instead of moving them to quarantine"},
		CMD_THREADS_OPTION('j', &o.threads, "threads that read"),
		{0},
	};
	const struct cmd_usage usage = {
		.verb = "repair",
		.args = "",
		.about = "Saves what can be saved of a damaged repository: sound records of damaged packs go "
			 "into "
			 "new packs,\n"
			 "damaged objects into quarantine, the index is made anew. What is lost is listed; "
			 "reading "
			 "it is an\n"
			 "error, the rest is served. The next backup that has the same content brings it "
			 "back. Exit "
			 "status\n"
			 "0: nothing is lost, 1: something is.",
		.example = "  pgstrata repair -r /srv/pgstrata --from /mnt/second/pgstrata",
		.options = options,
	};
	_cleanup_(store_freep) struct store *s = NULL, *other = NULL;
	struct meter meter = {0};
	struct repair_report report;
	struct progress *p;
	struct err e = {0};
	int r, status;

	if (!cmd_parse(c, &usage, argc, argv))
		return c->status;
	status = cmd_open_store(c, &usage, 0, c->log, &s);
	if (status == CMD_OK && from)
		status = open_other(c, from, &other);
	if (status != CMD_OK)
		return status;
	o.from = other;
	o.log = c->log;
	o.meter = &meter;
	o.stop = interrupt_catch();
	p = progress_start(c, "repairing", &meter);
	r = store_repair(s, &o, on_finding, NULL, &report, &e);
	progress_stop(p);
	if (r < 0)
		return cmd_fail(c, &e);
	print_report(&report, o.delete_damaged);
	return report.after.lost || report.after.damaged ? CMD_FAILED : CMD_OK;
}
