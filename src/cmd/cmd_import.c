/* pgstrata import: takes in backups that lie on disk. */
#include "src/cmd/cmd.h"

#include <errno.h>
#include <string.h>

#include "src/base/clean.h"
#include "src/capture/import_base.h"
#include "src/cmd/progress.h"

CLEANUP_DEFINE(struct store, store_free)
CLEANUP_DEFINE(struct snapshot, snapshot_free)

int cmd_import(struct cmd_context *c, int argc, char **argv)
{
	uint64_t threads = 0;
	const struct cmd_option options[] = {
		{"threads", 'j', "N", OPTION_COUNT, &threads,
			"threads that compress (default: one a processor)"},
		{0},
	};
	const struct cmd_usage usage = {
		.verb = "import",
		.args = "base PATH",
		.min_args = 2,
		.max_args = 2,
		.takes = TAKES_CLUSTER,
		.about = "Takes in a base backup that pg_basebackup left: PATH is a plain backup's "
			 "directory, a\n"
			 "directory of tar files (base.tar, OID.tar, pg_wal.tar; also .gz, .lz4, .zst), or "
			 "one tar\n"
			 "file as written to standard output. When the backup has a manifest, every file is "
			 "checked\n"
			 "against it, and nothing is imported if one differs.",
		.example = "  pg_basebackup -D /var/tmp/backup -c fast\n"
			   "  pgstrata import base -r /srv/pgstrata /var/tmp/backup",
		.options = options,
	};
	_cleanup_(store_freep) struct store *s = NULL;
	_cleanup_(snapshot_freep) struct snapshot *snap = NULL;
	struct meter meter = {0};
	struct import_options o = {.meter = &meter};
	struct progress *p;
	struct err e = {0};
	int r, status;

	if (!cmd_parse(c, &usage, argc, argv))
		return c->status;
	if (strcmp(c->args[0], "base"))
		return cmd_usage_error(c, &usage, "cannot import \"%s\", only \"base\"", c->args[0]);
	if (threads > 1024)
		return cmd_usage_error(c, &usage, "--threads must be from 1 to 1024");
	status = cmd_open_store(c, &usage, 0, c->log, &s);
	if (status != CMD_OK)
		return status;
	o.threads = (unsigned)threads;
	o.log = c->log;
	p = progress_start(c, "importing", &meter);
	r = capture_import_base(s, c->args[1], c->cluster, &o, &snap, &e);
	progress_stop(p);
	if (r < 0)
		return cmd_fail(c, &e);
	cmd_print_taken(c, "Imported", snap);
	return CMD_OK;
}
