/* pgstrata backup: a base backup of a running server. */
#include "src/cmd/cmd.h"

#include <errno.h>
#include <string.h>

#include "src/base/clean.h"
#include "src/capture/backup.h"
#include "src/cmd/interrupt.h"
#include "src/cmd/progress.h"
#include "src/cmd/server_options.h"
#include "src/cmd/tags.h"

CLEANUP_DEFINE(struct store, store_free)
CLEANUP_DEFINE(struct snapshot, snapshot_free)

/* What the options say in words; false: they were wrong, and that was said. */
static bool settle(struct cmd_context *c, const struct cmd_usage *u, struct backup_options *o,
	const char *checkpoint, uint64_t rate)
{
	uint64_t kib = rate >> 10;

	if (strcmp(checkpoint, "fast") && strcmp(checkpoint, "spread"))
		c->status = cmd_usage_error(c, u, "--checkpoint must be fast or spread");
	else if (rate && (kib < BACKUP_RATE_MIN || kib > BACKUP_RATE_MAX))
		c->status = cmd_usage_error(c, u, "--max-rate must be from 32K to 1G (bytes a second)");
	else
		c->status = CMD_OK;
	o->spread = !strcmp(checkpoint, "spread");
	o->max_rate_kib = (uint32_t)kib;
	return c->status == CMD_OK;
}

/* The progress line is the one use of the total, which costs the server a walk over all files. */
static int back_up(struct cmd_context *c, struct store *s, struct backup_options *o)
{
	_cleanup_(snapshot_freep) struct snapshot *snap = NULL;
	struct meter meter = {0};
	struct progress *p;
	struct err e = {0};
	int r;

	p = progress_start(c, "backing up", &meter);
	o->meter = p ? &meter : NULL;
	r = capture_backup(s, c->cluster, o, &snap, &e);
	progress_stop(p);
	if (r < 0)
		return cmd_fail(c, &e);
	cmd_print_taken(c, "Backed up", snap);
	return CMD_OK;
}

int cmd_backup(struct cmd_context *c, int argc, char **argv)
{
	_cleanup_(cmd_list_free) struct cmd_list tags = {0};
	const char *checkpoint = "fast";
	uint64_t rate = 0;
	struct backup_options o = {0};
	const struct cmd_option options[] = {
		CMD_SERVER_OPTIONS(o.server),
		{"label", 'l', "TEXT", OPTION_TEXT, &o.label, "the backup's label (default: pgstrata)"},
		CMD_TAG_OPTION(tags),
		{"checkpoint", 0, "HOW", OPTION_TEXT, &checkpoint,
			"the checkpoint that it starts with: fast (default), or spread over time"},
		{"max-rate", 0, "SIZE", OPTION_SIZE, &rate, "bytes a second at most, from 32K to 1G"},
		{"no-verify-checksums", 0, NULL, OPTION_FLAG, &o.no_verify_checksums,
			"the server does not verify data pages; without it a damaged page fails the backup"},
		CMD_THREADS_OPTION('j', &o.threads, "threads that compress"),
		{0},
	};
	const struct cmd_usage usage = {
		.verb = "backup",
		.args = "",
		.takes = TAKES_CLUSTER,
		.about =
			"Takes a base backup of a running server (13 to 18) straight into the repository, "
			"with the WAL\nthat it needs, and checks every file against the server's manifest. "
			"Needs two connections\nfor replication (max_wal_senders) and a replication slot for "
			"as long as it runs. Ctrl-C ends\nit, and nothing is published then.",
		.example = "  pgstrata backup -r /srv/pgstrata -d 'host=db1 user=backup'",
		.options = options,
	};
	_cleanup_(store_freep) struct store *s = NULL;
	_cleanup_(freep) char *tags_text = NULL;
	struct err e = {0};
	int status;

	if (!cmd_parse(c, &usage, argc, argv) || !settle(c, &usage, &o, checkpoint, rate))
		return c->status;
	if (tags_join(&tags, &tags_text, &e) < 0)
		return cmd_usage_error(c, &usage, "--tag: %s", e.text);
	o.tags = tags_text;
	o.server.application = "pgstrata backup";
	o.server.stop = interrupt_catch();
	o.log = o.server.log = c->log;
	status = cmd_open_store(c, &usage, 0, c->log, &s);
	return status == CMD_OK ? back_up(c, s, &o) : status;
}
