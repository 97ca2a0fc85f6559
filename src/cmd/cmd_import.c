/* pgstrata import: takes in backups and archived WAL that lie on disk. */
#include "src/cmd/cmd.h"

#include <errno.h>
#include <string.h>

#include "src/base/clean.h"
#include "src/base/meter.h"
#include "src/capture/import_base.h"
#include "src/capture/import_dump.h"
#include "src/capture/import_wal.h"
#include "src/cmd/interrupt.h"
#include "src/cmd/progress.h"
#include "src/cmd/tags.h"

CLEANUP_DEFINE(struct store, store_free)
CLEANUP_DEFINE(struct snapshot, snapshot_free)

static int import_base(struct cmd_context *c, struct store *s, unsigned threads, const char *tags)
{
	_cleanup_(snapshot_freep) struct snapshot *snap = NULL;
	struct meter meter = {0};
	const struct import_options o = {.threads = threads, .meter = &meter, .log = c->log, .tags = tags};
	struct progress *p = progress_start(c, "importing", &meter);
	struct err e = {0};
	int r = capture_import_base(s, c->args[1], c->cluster, &o, &snap, &e);

	progress_stop(p);
	if (r < 0)
		return cmd_fail(c, &e);
	cmd_print_taken(c, "Imported", snap);
	return CMD_OK;
}

static int import_dump(
	struct cmd_context *c, struct store *s, unsigned threads, const char *tags, const char *database)
{
	_cleanup_(snapshot_freep) struct snapshot *snap = NULL;
	struct meter meter = {0};
	const struct import_dump_options o = {.threads = threads,
		.meter = &meter,
		.log = c->log,
		.tags = tags,
		.database = database,
		.stop = interrupt_catch()};
	struct progress *p = progress_start(c, "importing", &meter);
	struct err e = {0};
	int r = capture_import_dump(s, c->args[1], c->cluster, &o, &snap, &e);

	progress_stop(p);
	if (r < 0)
		return cmd_fail(c, &e);
	cmd_print_taken(c, "Imported", snap);
	return CMD_OK;
}

static int import_wal(struct cmd_context *c, struct store *s, unsigned threads)
{
	struct meter meter = {0};
	const struct import_wal_options o = {
		.threads = threads, .meter = &meter, .log = c->log, .stop = interrupt_catch()};
	struct progress *p = progress_start(c, "importing", &meter);
	struct import_wal_result done = {0};
	char bytes[SIZE_TEXT];
	struct err e = {0};
	int r = capture_import_wal(s, c->cluster, c->args[1], &o, &done, &e);

	progress_stop(p);
	if (!c->quiet)
		printf("%llu files archived (%s), %llu were there before, %llu refused, %llu passed over\n",
			(unsigned long long)done.taken, cmd_size_text(done.bytes, bytes),
			(unsigned long long)done.known, (unsigned long long)done.refused,
			(unsigned long long)done.passed_over);
	return r < 0 ? cmd_fail(c, &e) : CMD_OK;
}

int cmd_import(struct cmd_context *c, int argc, char **argv)
{
	_cleanup_(cmd_list_free) struct cmd_list tags = {0};
	unsigned threads = 0;
	const char *database = NULL;
	const struct cmd_option options[] = {
		CMD_TAG_OPTION(tags),
		CMD_THREADS_OPTION('j', &threads, "threads that compress"),
		{"database", 0, "NAME", OPTION_TEXT, &database,
			"dump: the database's name (default: what the dump says)"},
		{0},
	};
	const struct cmd_usage usage = {
		.verb = "import",
		.args = "base|dump|wal PATH",
		.min_args = 2,
		.max_args = 2,
		.takes = TAKES_CLUSTER,
		.about =
			"base: takes in a base backup that pg_basebackup left. PATH is a plain backup's "
			"directory, a\n"
			"directory of tar files (base.tar, OID.tar, pg_wal.tar; also .gz, .lz4, .zst), or "
			"one tar\n"
			"file as written to standard output. When the backup has a manifest, every file is "
			"checked\n"
			"against it, and nothing is imported if one differs.\n\n"
			"dump: takes in what pg_dump or pg_dumpall left: plain SQL, custom, directory or tar "
			"format,\n"
			"perhaps compressed; what it is is told by its content. Data that pg_dump compressed "
			"is "
			"stored\n"
			"without that compression; pg_restore takes the dump from the mount all the same.\n\n"
			"wal: takes in an archive directory: segments and history files, plain or compressed "
			"(gzip,\n"
			"lz4, zstd, bzip2, xz), in PATH or in directories in it that are named by 16 digits. "
			"A file\n"
			"whose content denies its name is refused, and the others are taken.",
		.example = "  pg_basebackup -D /var/tmp/backup -c fast\n"
			   "  pgstrata import base -r /srv/pgstrata /var/tmp/backup\n"
			   "  pgstrata import dump -r /srv/pgstrata /var/tmp/shop.pgdump\n"
			   "  pgstrata import wal -r /srv/pgstrata /var/lib/postgresql/archive",
		.options = options,
	};
	_cleanup_(store_freep) struct store *s = NULL;
	_cleanup_(freep) char *tags_text = NULL;
	struct err e = {0};
	bool wal, dump;
	int status;

	if (!cmd_parse(c, &usage, argc, argv))
		return c->status;
	wal = !strcmp(c->args[0], "wal");
	dump = !strcmp(c->args[0], "dump");
	if (!wal && !dump && strcmp(c->args[0], "base"))
		return cmd_usage_error(
			c, &usage, "cannot import \"%s\", only \"base\", \"dump\" and \"wal\"", c->args[0]);
	if (database && !dump)
		return cmd_usage_error(c, &usage, "--database is for dumps");
	if (wal && tags.n)
		return cmd_usage_error(c, &usage, "--tag is for backups, not for WAL");
	if (tags_join(&tags, &tags_text, &e) < 0)
		return cmd_usage_error(c, &usage, "--tag: %s", e.text);
	status = cmd_open_store(c, &usage, 0, c->log, &s);
	if (status != CMD_OK)
		return status;
	if (dump)
		return import_dump(c, s, threads, tags_text, database);
	return wal ? import_wal(c, s, threads) : import_base(c, s, threads, tags_text);
}
