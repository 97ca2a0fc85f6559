/* Running pg_dump. See dump_run.h. */
#include "src/capture/dump_run.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "src/base/clean.h"
#include "src/capture/base_publish.h"
#include "src/capture/dump_args.h"
#include "src/capture/dump_conn.h"
#include "src/capture/dump_process.h"
#include "src/capture/dump_team.h"
#include "src/capture/import_dump.h"
#include "src/capture/replication.h"

CLEANUP_DEFINE(struct dump_run, dump_run_free)
CLEANUP_DEFINE(struct dump_team, dump_team_free)

struct dump_run {
	struct store *store;
	const char *cluster;
	struct dump_run_options o;
	struct dump_args args;
	struct dump_conn *conn;
	uint64_t system; /* the server's identifier; 0: it may not be asked */
	char *program;	 /* pg_dump */
	char *all;	 /* pg_dumpall beside it */
	char **databases;
};

static void free_databases(struct dump_run *d)
{
	for (size_t i = 0; d->databases && d->databases[i]; i++)
		free(d->databases[i]);
	free(d->databases);
	d->databases = NULL;
}

void dump_run_free(struct dump_run *d)
{
	if (!d)
		return;
	dump_conn_free(d->conn);
	dump_args_release(&d->args);
	free(d->program);
	free(d->all);
	free_databases(d);
	free(d);
}

/* Whose dumps these are. Not every role may ask, and then the cluster stays unbound. */
static int identify(struct dump_run *d, struct err *e)
{
	struct dump_rows rows = {0};

	/* A bigint, as a number without a sign everywhere else (pg_controldata.c). */
	if (!dump_conn_ask(d->conn, "asking for the system's identifier",
		    "SELECT system_identifier FROM pg_catalog.pg_control_system()", &rows, NULL) &&
		rows.rows == 1)
		d->system = (uint64_t)strtoll(dump_rows_at(&rows, 0, 0), NULL, 10);
	dump_rows_release(&rows);
	return d->system ? base_check_identity(d->store, d->cluster, d->system, e) : 0;
}

static int find_programs(struct dump_run *d, struct err *e)
{
	const char *slash;
	int r = dump_program_find(d->o.program, dump_conn_version(d->conn), &d->program, e);

	if (r < 0)
		return r;
	slash = strrchr(d->program, '/');
	if (asprintf(&d->all, "%.*spg_dumpall", slash ? (int)(slash + 1 - d->program) : 0, d->program) >= 0)
		return 0;
	d->all = NULL;
	return err_sys(e, -ENOMEM, "pg_dumpall");
}

int dump_run_new(struct store *s, const char *cluster, const struct dump_run_options *o,
	struct dump_run **ret, struct err *e)
{
	_cleanup_(dump_run_freep) struct dump_run *d = calloc(1, sizeof(*d));
	int r = d ? dump_args_read(o->extra, &d->args, e) : err_sys(e, -ENOMEM, "dump");

	if (r < 0)
		return r;
	d->store = s;
	d->cluster = cluster;
	d->o = *o;
	r = dump_conn_open(o->conninfo, NULL, &d->conn, e);
	if (!r)
		r = identify(d, e);
	if (!r)
		r = find_programs(d, e);
	if (!r)
		*ret = MOVE(d);
	return r;
}

char **dump_run_databases(struct dump_run *d, struct err *e)
{
	struct dump_rows rows = {0};
	bool ok;

	if (dump_conn_ask(d->conn, "listing the databases",
		    "SELECT datname FROM pg_catalog.pg_database WHERE datallowconn ORDER BY 1", &rows, e) < 0)
		return NULL;
	free_databases(d);
	d->databases = calloc(rows.rows + 1, sizeof(*d->databases));
	ok = d->databases != NULL;
	for (size_t i = 0; ok && i < rows.rows; i++)
		ok = (d->databases[i] = strdup(dump_rows_at(&rows, i, 0))) != NULL;
	dump_rows_release(&rows);
	if (!ok) {
		free_databases(d);
		err_sys(e, -ENOMEM, "listing the databases");
	}
	return d->databases;
}

static int confirm(void *arg, struct err *e)
{
	return dump_process_wait(arg, e);
}

/* Runs a program and takes in what it writes; with a team, what others write, too. as: the database, NULL: globals. */
static int run(struct dump_run *d, char *const *argv, const char *as, struct dump_team *team,
	struct snapshot **ret, struct err *e)
{
	struct dump_process p;
	const struct import_dump_options o = {.threads = d->o.threads,
		.database = as,
		.tags = d->o.tags,
		.meter = d->o.meter,
		.log = d->o.log,
		.system = d->system,
		.stop = d->o.stop,
		.confirm = confirm,
		.arg = &p,
		.others = team ? dump_team_others(team) : NULL};
	int r = dump_process_start(argv, dump_conn_password(d->conn), &p, e);

	if (r < 0)
		return r;
	if (team)
		dump_team_started(team, &p);
	r = capture_import_dump_fd(d->store, p.fd, argv[0], d->cluster, &o, ret, e);
	/* A Ctrl-C may have ended pg_dump before we looked. */
	if (r < 0 && replication_stopped(d->o.stop)) {
		dump_process_stop(&p);
		dump_process_blame(&p, 0, NULL);
		return err_set(e, -EINTR, "stopped: the dump is not kept");
	}
	if (r < 0 && team && dump_team_failed(team)) {
		dump_process_blame(&p, 0, NULL);
		return r;
	}
	return r < 0 ? dump_process_blame(&p, r, e) : (close(p.fd), 0);
}

/* The arguments: the program's own, the team's, the user's. */
static char **arguments(const char *program, const char *const *fixed, const char *words, char *const *team,
	const char *const *extra)
{
	const char *const *const lists[] = {fixed, (const char *const *)team, extra};
	size_t n = 3, at = 0;
	char **argv;

	for (size_t i = 0; i < 3; i++)
		for (size_t k = 0; lists[i] && lists[i][k]; k++)
			n++;
	argv = calloc(n + 1, sizeof(*argv));
	if (!argv)
		return NULL;
	argv[at++] = (char *)program;
	argv[at++] = (char *)"-d";
	argv[at++] = (char *)words;
	for (size_t i = 0; i < 3; i++)
		for (size_t k = 0; lists[i] && lists[i][k]; k++)
			argv[at++] = (char *)lists[i][k];
	return argv;
}

/* Who shares the work, if that was asked for and can be. */
static int new_team(
	struct dump_run *d, const char *database, const char *words, struct dump_team **ret, struct err *e)
{
	const struct dump_team_options o = {.conninfo = d->o.conninfo,
		.database = database,
		.words = words,
		.password = dump_conn_password(d->conn),
		.program = d->program,
		.args = &d->args,
		.jobs = d->o.jobs,
		.meter = d->o.meter,
		.stop = d->o.stop};

	if (d->o.jobs < 2)
		return 0;
	if (!d->args.alone)
		return dump_team_new(&o, ret, e);
	log_msg(d->o.log, LOG_LEVEL_WARNING, "%s: one pg_dump does all the work", d->args.alone);
	return 0;
}

int dump_run_database(struct dump_run *d, const char *database, struct snapshot **ret, struct err *e)
{
	static const char *const fixed[] = {"-Fc", "-Z0", "--no-password", NULL};
	static const char *const deferrable[] = {
		"-Fc", "-Z0", "--no-password", "--serializable-deferrable", NULL};
	_cleanup_(dump_team_freep) struct dump_team *team = NULL;
	_cleanup_(freep) char *words = dump_conn_words(d->conn, database);
	_cleanup_(freep) char **argv = NULL;
	int r = words ? new_team(d, database, words, &team, e) : err_sys(e, -ENOMEM, "dump");

	if (r < 0)
		return r;
	/* The team's transaction is the deferrable one. */
	argv = arguments(d->program, d->args.deferrable && !team ? deferrable : fixed, words,
		team ? dump_team_first(team) : NULL, d->args.all);
	if (!argv)
		return err_sys(e, -ENOMEM, "dump");
	return run(d, argv, database ? database : dump_conn_database(d->conn), team, ret, e);
}

int dump_run_globals(struct dump_run *d, struct snapshot **ret, struct err *e)
{
	static const char *const fixed[] = {"--globals-only", "--no-password", NULL};
	_cleanup_(freep) char *words = dump_conn_words(d->conn, NULL);
	_cleanup_(freep) char **argv = words ? arguments(d->all, fixed, words, NULL, NULL) : NULL;

	return argv ? run(d, argv, NULL, NULL, ret, e) : err_sys(e, -ENOMEM, "dump");
}
