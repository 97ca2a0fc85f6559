/* Running pg_dump. See dump_run.h. */
#include "src/capture/dump_run.h"

#include <errno.h>
#include <fcntl.h>
#include <libpq-fe.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "src/base/clean.h"
#include "src/capture/base_publish.h"
#include "src/capture/import_dump.h"
#include "src/capture/late.h"
#include "src/capture/replication.h"

#define NEWEST_MAJOR 30 /* where newer tools are looked for ends */
#define PASSWORD "PGPASSWORD="

extern char **environ;

struct dump_run {
	struct store *store;
	const char *cluster;
	struct dump_run_options o;
	PGconn *conn;
	uint64_t system; /* the server's identifier; 0: it may not be asked */
	char *conninfo;	 /* without the password */
	char *password;	 /* "PGPASSWORD=…", or NULL */
	char *program;	 /* pg_dump */
	char *all;	 /* pg_dumpall beside it */
	char **databases;
};

void dump_run_free(struct dump_run *d)
{
	if (!d)
		return;
	PQfinish(d->conn);
	free(d->conninfo);
	if (d->password)
		explicit_bzero(d->password, strlen(d->password));
	free(d->password);
	free(d->program);
	free(d->all);
	strv_free(d->databases);
	free(d);
}

/* One keyword='value' of a connection string (src/interfaces/libpq/fe-connect.c, conninfo_parse). */
static void put_keyword(struct buf *b, const char *keyword, const char *value)
{
	buf_printf(b, "%s%s='", b->len ? " " : "", keyword);
	for (; *value; value++) {
		if (*value == '\'' || *value == '\\')
			buf_put_u8(b, '\\');
		buf_put_u8(b, (uint8_t)*value);
	}
	buf_put_u8(b, '\'');
}

/* What the user gave, without the password, and with another database unless NULL. */
static char *conninfo_for(const PQconninfoOption *given, const char *database, char **password)
{
	struct buf b = {0};

	for (const PQconninfoOption *o = given; o && o->keyword; o++) {
		if (!o->val || (database && !strcmp(o->keyword, "dbname")))
			continue;
		if (strcmp(o->keyword, "password") != 0)
			put_keyword(&b, o->keyword, o->val);
		else if (password && asprintf(password, PASSWORD "%s", o->val) < 0)
			b.bad = true;
	}
	if (database)
		put_keyword(&b, "dbname", database);
	return buf_steal_str(&b);
}

static PQconninfoOption *parse(const char *conninfo, struct err *e)
{
	const char *text = conninfo ? conninfo : "";
	char *why = NULL, *named = NULL;
	PQconninfoOption *o;

	/* A bare word is a database's name, as for psql. */
	if (*text && !strchr(text, '=') && strncmp(text, "postgresql://", 13) != 0 &&
		strncmp(text, "postgres://", 11) != 0) {
		struct buf b = {0};

		put_keyword(&b, "dbname", text);
		named = buf_steal_str(&b);
		text = named ? named : text;
	}
	o = PQconninfoParse(text, &why);
	/* libpq's words could quote the string, with a password in it. */
	if (!o)
		err_set(e, -EINVAL, "the connection string cannot be understood");
	PQfreemem(why);
	free(named);
	return o;
}

static int connect_to(struct dump_run *d, struct err *e)
{
	const char *keys[] = {"dbname", "fallback_application_name", NULL};
	struct buf full = {0};
	char *text;
	int r = 0;

	buf_printf(&full, "%s", d->conninfo);
	if (d->password)
		put_keyword(&full, "password", d->password + strlen(PASSWORD));
	text = buf_steal_str(&full);
	if (!text)
		return err_sys(e, -ENOMEM, "connecting");
	d->conn = PQconnectdbParams(keys, (const char *[]){text, "pgstrata", NULL}, 1);
	if (PQstatus(d->conn) != CONNECTION_OK) {
		const char *why = d->conn ? PQerrorMessage(d->conn) : "out of memory";

		r = err_set(e, -ENOTCONN, "%.*s", (int)strcspn(why, "\n"), why);
	}
	explicit_bzero(text, strlen(text));
	free(text);
	return r;
}

/* Whose dumps these are. Not every role may ask, and then the cluster stays unbound. */
static int identify(struct dump_run *d, struct err *e)
{
	PGresult *res = PQexec(d->conn, "SELECT system_identifier FROM pg_catalog.pg_control_system()");

	/* A bigint, as a number without a sign everywhere else (pg_controldata.c). */
	if (PQresultStatus(res) == PGRES_TUPLES_OK && PQntuples(res) == 1)
		d->system = (uint64_t)strtoll(PQgetvalue(res, 0, 0), NULL, 10);
	PQclear(res);
	return d->system ? base_check_identity(d->store, d->cluster, d->system, e) : 0;
}

/* The major version that a tool says it has: "pg_dump (PostgreSQL) 15.6 (Debian …)". 0: it says none. */
static unsigned version_of(const char *program)
{
	char *argv[] = {(char *)program, "--version", NULL};
	posix_spawn_file_actions_t actions;
	char text[200];
	unsigned major = 0;
	ssize_t n;
	pid_t pid;
	int p[2], r;

	if (pipe2(p, O_CLOEXEC) < 0)
		return 0;
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_adddup2(&actions, p[1], STDOUT_FILENO);
	r = posix_spawnp(&pid, program, &actions, NULL, argv, environ);
	posix_spawn_file_actions_destroy(&actions);
	close(p[1]);
	n = r ? 0 : read(p[0], text, sizeof(text) - 1);
	close(p[0]);
	while (!r && waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
	text[n > 0 ? n : 0] = '\0';
	return sscanf(text, "%*s (PostgreSQL) %u", &major) == 1 ? major : 0;
}

/* Where distributions put the tools of each major version (Debian, Red Hat). */
static char *installed(unsigned major)
{
	char path[100];

	snprintf(path, sizeof(path), "/usr/lib/postgresql/%u/bin/pg_dump", major);
	if (access(path, X_OK) < 0)
		snprintf(path, sizeof(path), "/usr/pgsql-%u/bin/pg_dump", major);
	return access(path, X_OK) < 0 ? NULL : strdup(path);
}

static int find_program(struct dump_run *d, struct err *e)
{
	unsigned server = (unsigned)PQserverVersion(d->conn) / 10000, found;
	const char *slash;

	if (d->o.program) {
		d->program = strdup(d->o.program);
	} else {
		for (unsigned v = server; v <= NEWEST_MAJOR && !d->program; v++)
			d->program = installed(v);
		if (!d->program)
			d->program = strdup("pg_dump");
	}
	if (!d->program)
		return err_sys(e, -ENOMEM, "pg_dump");
	found = version_of(d->program);
	if (!found)
		return err_set(e, -EOPNOTSUPP,
			"%s cannot be run: install the client tools of PostgreSQL %u (on Debian the package "
			"postgresql-client-%u)",
			d->program, server, server);
	if (found < server)
		return err_set(e, -EOPNOTSUPP,
			"%s is of version %u and cannot dump the server, which is of version %u: install its "
			"client tools (on Debian the package postgresql-client-%u)",
			d->program, found, server, server);
	slash = strrchr(d->program, '/');
	return asprintf(&d->all, "%.*spg_dumpall", slash ? (int)(slash + 1 - d->program) : 0, d->program) < 0
		       ? (d->all = NULL, err_sys(e, -ENOMEM, "pg_dumpall"))
		       : 0;
}

/* Arguments that would change what comes through the pipe. */
static int check_extra(const char *const *extra, struct err *e)
{
	static const char *const ours[] = {"-F", "--format", "-f", "--file", "-Z", "--compress", "-j",
		"--jobs", "-d", "--dbname", "-W", "--password"};

	for (; extra && *extra; extra++)
		for (size_t i = 0; i < sizeof(ours) / sizeof(ours[0]); i++) {
			size_t n = strlen(ours[i]);

			if (!strncmp(*extra, ours[i], n) && (n == 2 || !(*extra)[n] || (*extra)[n] == '='))
				return err_set(e, -EINVAL,
					"pg_dump's %s cannot be given here: the dump goes straight into the "
					"repository",
					ours[i]);
		}
	return 0;
}

int dump_run_new(struct store *s, const char *cluster, const struct dump_run_options *o,
	struct dump_run **ret, struct err *e)
{
	struct dump_run *d = calloc(1, sizeof(*d));
	PQconninfoOption *given;
	int r = check_extra(o->extra, e);

	if (r >= 0)
		r = late_libpq(e);
	if (!d || r < 0) {
		free(d);
		return r < 0 ? r : err_sys(e, -ENOMEM, "dump");
	}
	d->store = s;
	d->cluster = cluster;
	d->o = *o;
	given = parse(o->conninfo, e);
	if (given) {
		d->conninfo = conninfo_for(given, NULL, &d->password);
		PQconninfoFree(given);
	}
	r = !given ? -EINVAL : d->conninfo ? connect_to(d, e) : err_sys(e, -ENOMEM, "dump");
	if (!r)
		r = identify(d, e);
	if (!r)
		r = find_program(d, e);
	if (r < 0) {
		dump_run_free(d);
		return r;
	}
	*ret = d;
	return 0;
}

char **dump_run_databases(struct dump_run *d, struct err *e)
{
	PGresult *res =
		PQexec(d->conn, "SELECT datname FROM pg_catalog.pg_database WHERE datallowconn ORDER BY 1");
	int n = PQntuples(res);

	if (PQresultStatus(res) != PGRES_TUPLES_OK) {
		err_set(e, -EREMOTEIO, "listing the databases: %s", PQerrorMessage(d->conn));
		PQclear(res);
		return NULL;
	}
	strv_free(d->databases);
	d->databases = calloc((size_t)n + 1, sizeof(*d->databases));
	for (int i = 0; d->databases && i < n; i++) {
		d->databases[i] = strdup(PQgetvalue(res, i, 0));
		if (!d->databases[i]) {
			strv_free(d->databases);
			d->databases = NULL;
		}
	}
	PQclear(res);
	if (!d->databases)
		err_sys(e, -ENOMEM, "listing the databases");
	return d->databases;
}

/* Our environment with the password in it. */
static char **environment(const struct dump_run *d)
{
	size_t n = 0, at = 0;
	char **env;

	while (environ[n])
		n++;
	env = calloc(n + 2, sizeof(*env));
	for (size_t i = 0; env && i < n; i++)
		if (!d->password || strncmp(environ[i], PASSWORD, strlen(PASSWORD)) != 0)
			env[at++] = environ[i];
	if (env && d->password)
		env[at] = d->password;
	return env;
}

static int start(const struct dump_run *d, char *const *argv, pid_t *ret_pid, int *ret_fd, struct err *e)
{
	_cleanup_(freep) char **env = environment(d);
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attributes;
	sigset_t pipe_only;
	int p[2], r;

	if (!env || pipe2(p, O_CLOEXEC) < 0)
		return err_sys(e, env ? -errno : -ENOMEM, "starting %s", argv[0]);
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_adddup2(&actions, p[1], STDOUT_FILENO);
	/* We ignore SIGPIPE; pg_dump shall end by it when we no longer read. */
	sigemptyset(&pipe_only);
	sigaddset(&pipe_only, SIGPIPE);
	posix_spawnattr_init(&attributes);
	posix_spawnattr_setsigdefault(&attributes, &pipe_only);
	posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGDEF);
	r = posix_spawnp(ret_pid, argv[0], &actions, &attributes, argv, env);
	posix_spawnattr_destroy(&attributes);
	posix_spawn_file_actions_destroy(&actions);
	close(p[1]);
	if (r) {
		close(p[0]);
		return err_sys(e, -r, "starting %s", argv[0]);
	}
	*ret_fd = p[0];
	return 0;
}

struct child {
	const char *program;
	pid_t pid;
	bool reaped;
	int status;
};

/* Waits; 0 when it ended well. */
static int reap(void *arg, struct err *e)
{
	struct child *c = arg;

	while (!c->reaped) {
		if (waitpid(c->pid, &c->status, 0) == c->pid)
			c->reaped = true;
		else if (errno != EINTR)
			return err_sys(e, -errno, "waiting for %s", c->program);
	}
	if (WIFEXITED(c->status) && !WEXITSTATUS(c->status))
		return 0;
	if (WIFEXITED(c->status))
		return err_set(e, -EREMOTEIO, "%s failed with status %d: its dump is not kept", c->program,
			WEXITSTATUS(c->status));
	return err_set(e, -EREMOTEIO, "%s was ended by signal %d: its dump is not kept", c->program,
		WTERMSIG(c->status));
}

static int run(
	struct dump_run *d, char *const *argv, const char *database, struct snapshot **ret, struct err *e)
{
	struct child c = {.program = argv[0]};
	const struct import_dump_options o = {.threads = d->o.threads,
		.database = database,
		.tags = d->o.tags,
		.meter = d->o.meter,
		.log = d->o.log,
		.system = d->system,
		.stop = d->o.stop,
		.confirm = reap,
		.arg = &c};
	struct err why = {0};
	int fd = -1, r = start(d, argv, &c.pid, &fd, e);

	if (r < 0)
		return r;
	r = capture_import_dump_fd(d->store, fd, argv[0], d->cluster, &o, ret, e);
	close(fd);
	/* A Ctrl-C may have ended pg_dump before we looked. */
	if (r < 0 && replication_stopped(d->o.stop)) {
		if (!c.reaped) {
			kill(c.pid, SIGTERM);
			reap(&c, NULL);
		}
		return err_set(e, -EINTR, "stopped: the dump is not kept");
	}
	/* What is wrong with the archive is mostly what was wrong with pg_dump. */
	if (r < 0 && !c.reaped && reap(&c, &why) < 0 &&
		!(WIFSIGNALED(c.status) && WTERMSIG(c.status) == SIGPIPE))
		r = err_set(e, why.code, "%s", why.text);
	return r;
}

/* The arguments, with the connection and what the user added. */
static int run_with(struct dump_run *d, const char *const *fixed, const char *database, const char *as,
	bool extra, struct snapshot **ret, struct err *e)
{
	PQconninfoOption *given = PQconninfoParse(d->conninfo, NULL);
	_cleanup_(freep) char *conninfo = given ? conninfo_for(given, database, NULL) : NULL;
	_cleanup_(freep) char **argv = NULL;
	size_t n = 0, at = 0;

	PQconninfoFree(given);
	while (fixed[n])
		n++;
	for (size_t i = 0; extra && d->o.extra && d->o.extra[i]; i++)
		n++;
	argv = calloc(n + 2, sizeof(*argv));
	if (!argv || !conninfo)
		return err_sys(e, -ENOMEM, "dump");
	for (; fixed[at]; at++)
		argv[at] = (char *)fixed[at];
	for (size_t i = 0; extra && d->o.extra && d->o.extra[i]; i++)
		argv[at++] = (char *)d->o.extra[i];
	argv[at] = NULL;
	for (size_t i = 0; argv[i]; i++)
		if (!strcmp(argv[i], "-d"))
			argv[i + 1] = conninfo;
	return run(d, argv, as, ret, e);
}

int dump_run_database(struct dump_run *d, const char *database, struct snapshot **ret, struct err *e)
{
	const char *const fixed[] = {d->program, "-Fc", "-Z0", "--no-password", "-d", "", NULL};

	return run_with(d, fixed, database, database ? database : PQdb(d->conn), true, ret, e);
}

int dump_run_globals(struct dump_run *d, struct snapshot **ret, struct err *e)
{
	const char *const fixed[] = {d->all, "--globals-only", "--no-password", "-d", "", NULL};

	return run_with(d, fixed, NULL, NULL, false, ret, e);
}
