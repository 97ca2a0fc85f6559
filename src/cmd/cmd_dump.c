/* pgstrata dump: logical dumps of a running server. */
#include "src/cmd/cmd.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/clean.h"
#include "src/capture/dump_run.h"
#include "src/cmd/interrupt.h"
#include "src/cmd/progress.h"
#include "src/cmd/tags.h"

CLEANUP_DEFINE(struct store, store_free)
CLEANUP_DEFINE(struct snapshot, snapshot_free)
CLEANUP_DEFINE(struct dump_run, dump_run_free)

/* One dump, of a database (NULL: the connection's) or the globals. */
static int take(
	struct cmd_context *c, struct dump_run *d, struct meter *meter, const char *database, bool globals)
{
	_cleanup_(snapshot_freep) struct snapshot *snap = NULL;
	struct progress *p = progress_start(c, "dumping", meter);
	struct err e = {0};
	int r = globals ? dump_run_globals(d, &snap, &e) : dump_run_database(d, database, &snap, &e);

	progress_stop(p);
	if (r < 0 && database)
		err_wrap(&e, r, "database %s", database);
	if (r < 0)
		return cmd_fail(c, &e);
	cmd_print_taken(c, "Dumped", snap);
	return CMD_OK;
}

/* Every database, and the globals; one that fails does not keep the others from being dumped. */
static int take_all(
	struct cmd_context *c, struct dump_run *d, struct meter *meter, const volatile sig_atomic_t *stop)
{
	struct err e = {0};
	char **names = dump_run_databases(d, &e);
	int status = CMD_OK;

	if (!names)
		return cmd_fail(c, &e);
	for (; *names && !*stop; names++)
		if (take(c, d, meter, *names, false) != CMD_OK)
			status = CMD_FAILED;
	if (*stop)
		return CMD_FAILED;
	return take(c, d, meter, NULL, true) == CMD_OK ? status : CMD_FAILED;
}

int cmd_dump(struct cmd_context *c, int argc, char **argv)
{
	_cleanup_(cmd_list_free) struct cmd_list tags = {0};
	struct meter meter = {0};
	struct dump_run_options o = {.meter = &meter};
	uint64_t jobs = 1;
	bool all = false;
	const struct cmd_option options[] = {
		{"dbname", 'd', "CONNINFO", OPTION_TEXT, &o.conninfo,
			"the database: a name, keywords or a URI"},
		{"all", 'a', NULL, OPTION_FLAG, &all, "every database, and roles and tablespaces"},
		{"pg-dump", 0, "PATH", OPTION_TEXT, &o.program,
			"which pg_dump (default: the one of the server's version)"},
		CMD_TAG_OPTION(tags),
		{"jobs", 'j', "N", OPTION_COUNT, &jobs, "pg_dump processes for one database (default: 1)"},
		CMD_THREADS_OPTION(0, &o.threads, "threads that compress"),
		{0},
	};
	const struct cmd_usage usage = {
		.verb = "dump",
		.args = "[-- PG_DUMP_OPTION…]",
		.max_args = 1000,
		.takes = TAKES_CLUSTER,
		.about = "Takes a logical dump: pg_dump's output goes straight into the repository. What "
			 "follows -- goes "
			 "to\npg_dump (-t, -n, --schema-only, …). A dump that pg_dump did not finish is not "
			 "kept. "
			 "Passwords\ncome from .pgpass, PGPASSWORD or CONNINFO and are on no command line "
			 "but yours.",
		.example = "  pgstrata dump -r /srv/pgstrata -d shop\n"
			   "  pgstrata dump -r /srv/pgstrata -d shop -j 4\n"
			   "  pgstrata dump -r /srv/pgstrata -d 'host=db1 dbname=postgres' --all\n"
			   "  pgstrata dump -r /srv/pgstrata -d shop -- --exclude-table=log",
		.options = options,
	};
	_cleanup_(store_freep) struct store *s = NULL;
	_cleanup_(dump_run_freep) struct dump_run *d = NULL;
	_cleanup_(freep) char *tags_text = NULL;
	_cleanup_(freep) const char **extra = NULL;
	struct err e = {0};
	int status;

	if (!cmd_parse(c, &usage, argc, argv))
		return c->status;
	if (tags_join(&tags, &tags_text, &e) < 0)
		return cmd_usage_error(c, &usage, "--tag: %s", e.text);
	if (jobs > 100)
		return cmd_usage_error(c, &usage, "--jobs must be from 1 to 100");
	status = cmd_open_store(c, &usage, 0, c->log, &s);
	if (status != CMD_OK)
		return status;
	o.jobs = (unsigned)jobs;
	o.tags = tags_text;
	o.log = c->log;
	o.stop = interrupt_catch();
	extra = calloc(c->n_args + 1, sizeof(*extra));
	if (!extra) {
		err_sys(&e, -ENOMEM, "dump");
		return cmd_fail(c, &e);
	}
	for (unsigned i = 0; i < c->n_args; i++)
		extra[i] = c->args[i];
	o.extra = extra;
	if (dump_run_new(s, c->cluster, &o, &d, &e) < 0)
		return cmd_fail(c, &e);
	return all ? take_all(c, d, &meter, o.stop) : take(c, d, &meter, NULL, false);
}
