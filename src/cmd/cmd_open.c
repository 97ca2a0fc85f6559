/* pgstrata open: a backup or a point in time as a running database. */
#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "src/base/clean.h"
#include "src/cmd/opened.h"
#include "src/cmd/client_run.h"
#include "src/cmd/cmd.h"
#include "src/cmd/interrupt.h"
#include "src/cmd/progress.h"

CLEANUP_DEFINE(struct store, store_free)

struct request {
	struct cmd_context *c;
	const struct cmd_usage *usage;
	struct open_wish wish;
	const char *command;
	struct meter meter;
	struct opened opened;
};

/* How far WAL is replayed, as the bytes before the segment that recovery asked for last. */
static void on_progress(void *arg, const char *file)
{
	struct request *q = arg;
	const struct pit_point *p = &q->opened.point;
	struct segno segment;
	struct tli tli;
	uint64_t at;

	if (!q->opened.has_point || !file ||
		!wal_name_parse(file, strlen(file), p->segment_size, &tli, &segment))
		return;
	at = wal_segment_start(segment, p->segment_size).v;
	atomic_store(&q->meter.done, at > p->from.v ? at - p->from.v : 0);
	meter_total(&q->meter, p->replay_bytes);
}

/* ---- telling ---- */

#define STEPS 6

struct step {
	const char *name;
	double sec;
};

static double seconds(uint64_t from, uint64_t to)
{
	return to > from ? (double)(to - from) / 1e9 : 0;
}

/* What took how long; the number of steps. */
static size_t steps_of(const struct opened *o, bool served, struct step out[STEPS])
{
	const struct branch_server *s = &o->server;
	size_t n = 0;

	out[n++] = (struct step){"choose", seconds(o->began, o->chosen)};
	out[n++] = (struct step){"mount", seconds(o->chosen, o->mounted)};
	out[n++] = (struct step){"prepare", seconds(o->mounted, s->prepared)};
	if (served) {
		out[n++] = (struct step){"recover", seconds(s->prepared, s->started)};
		out[n++] = (struct step){"answer", seconds(s->started, s->answered)};
	}
	out[n++] = (struct step){"total", seconds(o->began, o->done)};
	return n;
}

static void print_steps(const struct opened *o, bool served, FILE *to)
{
	struct step steps[STEPS];
	size_t n = steps_of(o, served, steps);

	for (size_t i = 0; i < n; i++)
		fprintf(to, "%s%s %.2f s", i ? ", " : "", steps[i].name, steps[i].sec);
	fputs("\n", to);
}

static void print_text(const struct request *q, const char *conninfo)
{
	const struct opened *o = &q->opened;
	const struct instance_state *st = &o->server.state;
	char at[LSN_TEXT];

	printf("Opened %s as branch %s of backup %s.\n", o->target ? o->target : o->backup, o->name,
		o->backup);
	if (conninfo)
		printf("%s at %s%s%s.\nConnect: psql \"%s\"\n",
			st->in_recovery ? "Recovered and read-only," : "Recovered and writable,",
			lsn_text(st->at, at), *st->last_commit ? ", last commit " : "", st->last_commit,
			conninfo);
	printf("Files:   %s\nClose:   pgstrata close %s\n", o->tree, o->name);
	print_steps(o, conninfo != NULL, stdout);
}

static int print_json(const struct request *q, const char *conninfo, struct err *e)
{
	const struct opened *o = &q->opened;
	const struct instance_record *rec = &o->server.record;
	_cleanup_(freep) char *text = NULL;
	struct step steps[STEPS];
	size_t n = steps_of(o, conninfo != NULL, steps);
	json_t *j = json_object(), *times = json_object();
	char at[LSN_TEXT];
	int r = j && times ? 0 : -1;

	for (size_t i = 0; i < n; i++)
		r |= json_object_set_new(times, steps[i].name, json_real(steps[i].sec));
	r |= json_object_set_new(j, "name", json_string(o->name));
	r |= json_object_set_new(j, "cluster", json_string(q->c->cluster));
	r |= json_object_set_new(j, "backup", json_string(o->backup));
	r |= json_object_set_new(j, "target", o->target ? json_string(o->target) : json_null());
	r |= json_object_set_new(j, "tree", json_string(o->tree));
	if (conninfo) {
		r |= json_object_set_new(j, "conninfo", json_string(conninfo));
		r |= json_object_set_new(j, "socket_dir", json_string(rec->socket_dir));
		r |= json_object_set_new(j, "port", json_integer(rec->port));
		r |= json_object_set_new(j, "user", json_string(rec->user));
		r |= json_object_set_new(j, "database", json_string(rec->database));
		r |= json_object_set_new(j, "read_only", json_boolean(rec->read_only));
		r |= json_object_set_new(j, "lsn", json_string(lsn_text(o->server.state.at, at)));
		r |= json_object_set_new(j, "last_commit", json_string(o->server.state.last_commit));
	}
	r |= json_object_set_new(j, "seconds", times);
	text = r ? NULL : json_dumps(j, JSON_INDENT(2));
	json_decref(j);
	if (!text)
		return err_sys(e, -ENOMEM, "branch %s", o->name);
	puts(text);
	return 0;
}

/* On a terminal what people want to know; in a pipe the connection alone, or the directory where no server was wanted. */
static int tell(struct request *q, struct err *e)
{
	_cleanup_(freep) char *conninfo = NULL;

	if (!q->wish.no_start && !(conninfo = branch_server_conninfo(&q->opened.server.record)))
		return err_sys(e, -ENOMEM, "branch %s", q->opened.name);
	if (q->c->json)
		return print_json(q, conninfo, e);
	if (q->c->env.out_tty)
		print_text(q, conninfo);
	else
		puts(conninfo ? conninfo : q->opened.tree);
	if (!q->c->env.out_tty && q->c->verbose)
		print_steps(&q->opened, conninfo != NULL, stderr);
	return 0;
}

/* ---- doing ---- */

/* The command's exit status; the branch goes whatever it was. */
static int run_command(struct request *q, const volatile sig_atomic_t *stop)
{
	struct opened *o = &q->opened;
	struct err e = {0}, closing = {0};
	int status;

	if (q->c->verbose)
		print_steps(o, true, stderr);
	status = client_run(q->command, &o->server.record, o->server.bindir, stop, &e);
	if (status < 0)
		status = cmd_fail(q->c, &e);
	if (opened_close(&o->place, q->c->cluster, o->name, false, &closing) < 0) {
		cmd_fail(q->c, &closing);
		status = status ? status : CMD_FAILED;
	}
	return status;
}

static int run(struct request *q)
{
	const volatile sig_atomic_t *stop = interrupt_catch();
	_cleanup_(store_freep) struct store *s = NULL;
	struct progress *p;
	struct err e = {0};
	int r, status = cmd_open_store(q->c, q->usage, 0, q->c->log, &s);

	if (status != CMD_OK)
		return status;
	p = progress_start(q->c, "recovering", &q->meter);
	r = opened_run(q->c, s, &q->wish, on_progress, q, stop, &q->opened, &e);
	progress_stop(p);
	if (r < 0)
		return cmd_fail(q->c, &e);
	if (q->command)
		return run_command(q, stop);
	return tell(q, &e) < 0 ? cmd_fail(q->c, &e) : CMD_OK;
}

static int check(struct request *q, uint64_t port)
{
	const struct open_wish *w = &q->wish;
	struct target t;
	struct err e = {0};

	if (w->target && w->backup)
		return cmd_usage_error(q->c, q->usage, "--target and --backup exclude each other");
	if (w->resume && (w->target || w->backup || w->name || w->max_bytes || w->durable))
		return cmd_usage_error(q->c, q->usage,
			"--resume goes on with a branch as it is: without --target, --backup, --name, "
			"--max-size, "
			"--durable");
	if (w->no_start && q->command)
		return cmd_usage_error(q->c, q->usage, "--exec wants a server, and --no-start none");
	if (port > 65535)
		return cmd_usage_error(q->c, q->usage, "--port: there is no port %" PRIu64, port);
	if (w->target && target_parse(w->target, &t, &e) < 0)
		return cmd_usage_error(q->c, q->usage, "%s", e.text);
	q->wish.port = (unsigned)port;
	return CMD_OK;
}

int cmd_open(struct cmd_context *c, int argc, char **argv)
{
	struct request q = {.c = c};
	struct open_wish *w = &q.wish;
	uint64_t port = 0;
	const struct cmd_option options[] = {
		{"target", 't', "TARGET", OPTION_TEXT, &w->target,
			"the moment: \"latest\" (default), a time, lsn-X/X, xid-N or\nname-RESTORE_POINT"},
		{"backup", 'b', "ID", OPTION_TEXT, &w->backup,
			"a base backup as it was at its end; \"latest\""},
		{"exec", 'e', "COMMAND", OPTION_TEXT, &q.command,
			"runs it in the shell with PGHOST, PGPORT, PGUSER, PGDATABASE set,\nthen closes the "
			"branch; "
			"its exit status is ours"},
		{"name", 'n', "NAME", OPTION_TEXT, &w->name,
			"the branch's name (default: made from the target)"},
		{"resume", 0, "NAME", OPTION_TEXT, &w->resume,
			"starts the server of a branch that crashed or was kept"},
		{"read-only", 0, NULL, OPTION_FLAG, &w->read_only,
			"stays in recovery at the target; nothing can be written"},
		{"no-start", 0, NULL, OPTION_FLAG, &w->no_start,
			"makes only the branch, ready to be started"},
		{"durable", 0, NULL, OPTION_FLAG, &w->durable,
			"what is committed on the branch survives a crash of this machine"},
		{"max-size", 0, "SIZE", OPTION_SIZE, &w->max_bytes, "how much may be written to the branch"},
		{"port", 'p', "PORT", OPTION_COUNT, &port,
			"listens on localhost, too; roles need their passwords there"},
		{"username", 'U', "ROLE", OPTION_TEXT, &w->role,
			"the role to connect as (default: postgres)"},
		{"dbname", 'd', "DATABASE", OPTION_TEXT, &w->database,
			"the database to connect to (default: postgres)"},
		{"bindir", 0, "DIR", OPTION_TEXT, &w->bindir,
			"where PostgreSQL's programs of the backup's version are"},
		{"run-as", 0, "USER", OPTION_TEXT, &w->run_as,
			"the user that the server runs as (default: whose the files are)"},
		{"scratch", 0, "DIR", OPTION_TEXT, &w->scratch,
			"where branches are kept (default: beside the cache)"},
		{0},
	};
	const struct cmd_usage usage = {
		.verb = "open",
		.args = "",
		.takes = TAKES_CLUSTER | TAKES_JSON,
		.about = "Opens a backup or a point in time as a running PostgreSQL, without restoring it: a "
			 "writable\n"
			 "branch in a mount, on which a server of the backup's version recovers to the "
			 "target. Prints\n"
			 "how to connect. What is written goes to this machine's disk and is gone with "
			 "\"close\"; the\n"
			 "repository stays as it is.",
		.example = "  pgstrata open -r /srv/pgstrata --target '2026-11-20 14:14:59+00'\n"
			   "  pgstrata open -r /srv/pgstrata -d shop --exec 'pg_dump -t orders' | psql shop",
		.options = options,
	};
	int status;

	q.usage = &usage;
	if (!cmd_parse(c, &usage, argc, argv))
		return c->status;
	status = check(&q, port);
	if (status == CMD_OK)
		status = run(&q);
	opened_release(&q.opened);
	return status;
}
