/* Connecting to a server for replication, and commands with small answers. See replication.h.
 *
 * Not here: WAL (replication_stream.c), base backups (replication_backup.c), refusals (replication_error.c). */
#include "src/capture/replication.h"

#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <libpq-fe.h>

#include "src/base/fault.h"
#include "src/capture/late.h"
#include "src/capture/replication_priv.h"

#define TIMEOUT_S 60
#define LOOK_MS 200 /* how often a wait looks at the stop flag; a signal may arrive at another thread */
#define OLDEST 130000
#define NEWEST_BELOW 190000
#define SETTINGS_MAX 96 /* libpq has about 45 */

void repl_result_freep(struct pg_result **res)
{
	PQclear(*res);
}

void repl_drop_message(struct replication *c)
{
	PQfreemem(c->message);
	c->message = NULL;
}

/* ---- waiting ---- */

uint64_t repl_deadline(const struct replication *c)
{
	return clock_mono_ns() + c->options.timeout_s * 1000000000ull;
}

int repl_wait(struct replication *c, short events, uint64_t deadline_ns, struct err *e)
{
	for (;;) {
		struct pollfd p = {.fd = PQsocket(c->conn), .events = events};
		uint64_t now = clock_mono_ns(), left = deadline_ns > now ? deadline_ns - now : 0;
		int n;

		if (replication_stopped(c->options.stop))
			return err_set(e, -EINTR, "stopped");
		if (p.fd < 0)
			return repl_lost(c, "waiting", e);
		n = poll(&p, 1, left / 1000000 < LOOK_MS ? (int)((left + 999999) / 1000000) : LOOK_MS);
		if (n > 0)
			return 1;
		if (n < 0 && errno != EINTR)
			return err_sys(e, -errno, "%s: waiting", c->where);
		if (!left)
			return 0;
	}
}

int repl_consume(struct replication *c, struct err *e)
{
	int r = fault_at("network-receive");

	if (r < 0)
		return err_sys(e, r, "%s: receiving", c->where);
	if (!PQconsumeInput(c->conn))
		return repl_lost(c, "receiving", e);
	c->heard_ns = clock_mono_ns();
	c->asked = false;
	return 0;
}

/* Input is read meanwhile: the server may wait for us to take it before it reads on. */
int repl_flush(struct replication *c, struct err *e)
{
	uint64_t deadline = repl_deadline(c);
	int r = fault_at("network-send");

	if (r < 0)
		return err_sys(e, r, "%s: sending", c->where);
	for (;;) {
		int n = PQflush(c->conn);

		if (n == 0)
			return 0;
		if (n < 0)
			return repl_lost(c, "sending", e);
		r = repl_wait(c, POLLIN | POLLOUT, deadline, e);
		if (r < 0)
			return r;
		if (!r)
			return repl_silent(c, e);
		r = repl_consume(c, e);
		if (r < 0)
			return r;
	}
}

int repl_send(struct replication *c, const char *command, struct err *e)
{
	if (c->state != REPL_READY)
		return err_set(e, -EBUSY, "%s is in the middle of a stream", c->where);
	if (!PQsendQuery(c->conn, command))
		return repl_lost(c, "sending a command", e);
	return repl_flush(c, e);
}

int repl_result(struct replication *c, bool patient, struct pg_result **ret, struct err *e)
{
	uint64_t deadline = repl_deadline(c);

	while (PQisBusy(c->conn)) {
		int r = repl_wait(c, POLLIN, patient ? UINT64_MAX : deadline, e);

		if (r > 0)
			r = repl_consume(c, e);
		else if (!r)
			r = repl_silent(c, e);
		if (r < 0)
			return r;
	}
	*ret = PQgetResult(c->conn);
	return 0;
}

int repl_finish(struct replication *c, struct err *e)
{
	int failed = 0;

	for (;;) {
		_cleanup_(repl_result_freep) struct pg_result *res = NULL;
		int r = repl_result(c, false, &res, e);

		if (r < 0)
			return r;
		if (!res)
			break;
		if (PQresultStatus(res) != PGRES_COMMAND_OK && PQresultStatus(res) != PGRES_TUPLES_OK &&
			!failed)
			failed = repl_refused(c, res, "ending a command", e);
		/* libpq gives the same error for ever when the connection is gone. */
		if (PQstatus(c->conn) == CONNECTION_BAD)
			return failed ? failed : repl_lost(c, "ending a command", e);
	}
	c->state = REPL_READY;
	return failed;
}

/* ---- commands ---- */

static int give_row(struct replication *c, const struct pg_result *res, replication_column_fn *fn, void *arg,
	struct err *e)
{
	int r = 0;

	if (PQntuples(res) > 1)
		return err_set(
			e, -EREMOTEIO, "%s: %d rows where one was asked for", c->where, PQntuples(res));
	for (int i = 0; fn && PQntuples(res) && i < PQnfields(res) && !r; i++)
		r = fn(arg, (unsigned)i, PQgetvalue(res, 0, i), (size_t)PQgetlength(res, 0, i),
			PQgetisnull(res, 0, i) != 0, e);
	return r;
}

static int run(
	struct replication *c, const char *command, replication_column_fn *fn, void *arg, struct err *e)
{
	_cleanup_(repl_result_freep) struct pg_result *res = NULL;
	char doing[80];
	int r = repl_send(c, command, e);

	if (!r)
		r = repl_result(c, false, &res, e);
	if (r < 0)
		return r;
	/* The command's first words; what follows may be long. */
	snprintf(doing, sizeof(doing), "%.60s", command);
	if (PQresultStatus(res) == PGRES_TUPLES_OK)
		r = give_row(c, res, fn, arg, e);
	else if (PQresultStatus(res) != PGRES_COMMAND_OK)
		r = repl_refused(c, res, doing, e);
	if (r < 0) {
		repl_finish(c, NULL);
		return r;
	}
	return repl_finish(c, e);
}

int replication_command(
	struct replication *c, replication_column_fn *fn, void *arg, struct err *e, const char *fmt, ...)
{
	_cleanup_(freep) char *command = NULL;
	va_list ap;

	va_start(ap, fmt);
	if (vasprintf(&command, fmt, ap) < 0)
		command = NULL;
	va_end(ap);
	return command ? run(c, command, fn, arg, e) : err_sys(e, -ENOMEM, "%s", c->where);
}

static char *take_quoted(char *quoted)
{
	char *mine = quoted ? strdup(quoted) : NULL;

	PQfreemem(quoted);
	return mine;
}

char *replication_identifier(struct replication *c, const char *text)
{
	return take_quoted(PQescapeIdentifier(c->conn, text, strlen(text)));
}

char *replication_literal(struct replication *c, const char *text)
{
	return take_quoted(PQescapeLiteral(c->conn, text, strlen(text)));
}

/* ---- whom did we reach ---- */

static int take_identity(void *arg, unsigned column, const char *value, size_t len, bool null, struct err *e)
{
	struct replication_server *s = arg;
	char *end = (char *)value;

	if (null)
		return column > 2 ? 0 : err_set(e, -EREMOTEIO, "IDENTIFY_SYSTEM: column %u is empty", column);
	errno = 0;
	if (column == 0)
		s->system_identifier = strtoull(value, &end, 10);
	else if (column == 1)
		s->tli.v = (uint32_t)strtoul(value, &end, 10);
	else if (column == 2 && lsn_parse(value, len, &s->at))
		end += len;
	else if (column > 2)
		return 0;
	return end != value && !*end && !errno
		       ? 0
		       : err_set(e, -EREMOTEIO, "IDENTIFY_SYSTEM: column %u is \"%.40s\"", column, value);
}

/* "16MB", "1GB": SHOW writes it in the largest unit that divides it (convert_int_from_base_unit, src/backend/utils/misc/guc.c). */
static int take_segment_size(
	void *arg, unsigned column, const char *value, size_t len, bool null, struct err *e)
{
	struct replication_server *s = arg;
	unsigned long n;
	char *unit;

	(void)len;
	if (column || null)
		return err_set(e, -EREMOTEIO, "SHOW wal_segment_size: an answer of another form");
	n = strtoul(value, &unit, 10);
	if (n > 0 && n <= 1024 && (!strcmp(unit, "MB") || !strcmp(unit, "GB")))
		n <<= *unit == 'G' ? 30 : 20;
	else
		n = 0;
	if (n > UINT32_MAX || !wal_segsize_ok((uint32_t)n))
		return err_set(e, -EREMOTEIO, "SHOW wal_segment_size: \"%.40s\"", value);
	s->segment_size = (uint32_t)n;
	return 0;
}

static int take_recovery(void *arg, unsigned column, const char *value, size_t len, bool null, struct err *e)
{
	struct replication_server *s = arg;

	(void)column;
	(void)len;
	(void)e;
	s->in_recovery = !null && !strcmp(value, "on");
	return 0;
}

static int identify(struct replication *c, struct err *e)
{
	struct replication_server *s = &c->server;
	int r;

	s->version = PQserverVersion(c->conn);
	if (s->version < OLDEST)
		return err_set(e, -EOPNOTSUPP,
			"%s is PostgreSQL %d.%d; pgstrata works with 13 to 18: upgrade the server, or back "
			"it "
			"up with its own pg_basebackup and use \"pgstrata import\"",
			c->where, s->version / 10000,
			s->version >= 100000 ? s->version % 10000 : s->version / 100 % 100);
	if (s->version >= NEWEST_BELOW)
		return err_set(e, -EOPNOTSUPP,
			"%s is PostgreSQL %d; pgstrata works with 13 to 18: a newer pgstrata is needed",
			c->where, s->version / 10000);
	r = run(c, "IDENTIFY_SYSTEM", take_identity, s, e);
	if (!r && (!s->system_identifier || !s->tli.v))
		r = err_set(e, -EREMOTEIO, "%s does not say which system it is", c->where);
	if (!r)
		r = run(c, "SHOW wal_segment_size", take_segment_size, s, e);
	if (!r && !s->segment_size)
		r = err_set(e, -EREMOTEIO, "%s does not say its wal_segment_size", c->where);
	/* Before 14 there is no in_hot_standby, but a standby's transactions are read-only. */
	if (!r)
		r = run(c, s->version >= 140000 ? "SHOW in_hot_standby" : "SHOW transaction_read_only",
			take_recovery, s, e);
	return r;
}

/* ---- connecting ---- */

struct settings {
	const char *keys[SETTINGS_MAX], *values[SETTINGS_MAX];
	size_t n;
};

static void set(struct settings *s, const char *key, const char *value)
{
	if (!value || s->n + 1 >= SETTINGS_MAX)
		return;
	s->keys[s->n] = key;
	s->values[s->n++] = value;
}

/* Later ones win (PQconnectdbParams). The database's name only finds a line of .pgpass, as with pg_basebackup. */
static void collect(struct settings *s, const struct replication_options *o, const PQconninfoOption *given)
{
	set(s, "keepalives_idle", "30");
	set(s, "keepalives_interval", "10");
	set(s, "keepalives_count", "3");
	set(s, "fallback_application_name", o->application ? o->application : "pgstrata");
	for (; given && given->keyword; given++)
		set(s, given->keyword, given->val);
	set(s, "host", o->host);
	set(s, "port", o->port);
	set(s, "user", o->user);
	set(s, "dbname", "replication");
	set(s, "replication", "true");
}

static void on_notice(void *arg, const PGresult *res)
{
	struct replication *c = arg;
	const char *severity = PQresultErrorField(res, PG_DIAG_SEVERITY_NONLOCALIZED);
	const char *text = PQresultErrorField(res, PG_DIAG_MESSAGE_PRIMARY);

	if (text)
		log_msg(c->options.log,
			severity && !strcmp(severity, "WARNING") ? LOG_LEVEL_WARNING : LOG_LEVEL_INFO,
			"%s: %s", c->where, text);
}

static int start(struct replication *c, struct err *e)
{
	const struct replication_options *o = &c->options;
	PQconninfoOption *given = NULL;
	struct settings s = {0};
	int r = late_libpq(e);

	if (r < 0)
		return r;
	if (o->conninfo) {
		/* libpq's own text would repeat pieces of it, and they may be secret. */
		given = PQconninfoParse(o->conninfo, NULL);
		if (!given)
			return err_set(e, -EINVAL,
				"the connection string is not one: it takes \"key=value ...\" or "
				"\"postgresql://...\"");
	}
	collect(&s, o, given);
	r = fault_at("network-connect");
	if (!r)
		c->conn = PQconnectStartParams(s.keys, s.values, 0);
	PQconninfoFree(given);
	if (r < 0)
		return err_sys(e, r, "connecting");
	if (!c->conn)
		return err_sys(e, -ENOMEM, "connecting");
	/* Verbose, because a refused connection tells its SQLSTATE only in its text. */
	PQsetErrorVerbosity(c->conn, PQERRORS_VERBOSE);
	PQsetNoticeReceiver(c->conn, on_notice, c);
	return 0;
}

/* A server that nobody answers for is -ECONNREFUSED, whatever kept it from it. */
static int not_reached(struct replication *c, struct err *e)
{
	int r = repl_lost(c, "connecting", e);

	if (r == -ECONNRESET) {
		r = -ECONNREFUSED;
		if (e)
			e->code = r;
	}
	return r;
}

static void name_server(struct replication *c)
{
	const char *host = PQhost(c->conn), *port = PQport(c->conn);

	snprintf(c->where, sizeof(c->where), "server %.150s port %.20s", host && *host ? host : "(default)",
		port && *port ? port : "(default)");
}

static int connect_it(struct replication *c, struct err *e)
{
	PostgresPollingStatusType want = PGRES_POLLING_WRITING;
	uint64_t deadline = repl_deadline(c);
	int r = start(c, e);

	if (!r)
		name_server(c);
	while (!r && PQstatus(c->conn) != CONNECTION_BAD && want != PGRES_POLLING_OK &&
		want != PGRES_POLLING_FAILED) {
		r = repl_wait(c, want == PGRES_POLLING_READING ? POLLIN : POLLOUT, deadline, e);
		if (!r)
			return err_set(e, -ETIMEDOUT, "%s: connecting: no answer for %u seconds", c->where,
				c->options.timeout_s);
		r = r > 0 ? 0 : r;
		want = PQconnectPoll(c->conn);
	}
	if (r < 0)
		return r;
	if (want != PGRES_POLLING_OK)
		return not_reached(c, e);
	/* Of several hosts, this one answered. */
	name_server(c);
	if (PQsetnonblocking(c->conn, 1))
		return repl_lost(c, "connecting", e);
	c->heard_ns = clock_mono_ns();
	return identify(c, e);
}

static int copy_options(struct replication_options *to, const struct replication_options *from)
{
	const char *const in[] = {from->conninfo, from->host, from->port, from->user, from->application};
	const char **const out[] = {&to->conninfo, &to->host, &to->port, &to->user, &to->application};
	int r = 0;

	*to = (struct replication_options){
		.timeout_s = from->timeout_s ? from->timeout_s : TIMEOUT_S,
		.stop = from->stop,
		.log = from->log,
	};
	for (size_t i = 0; i < sizeof(in) / sizeof(in[0]); i++) {
		if (in[i] && !(*out[i] = strdup(in[i])))
			r = -ENOMEM;
	}
	return r;
}

int replication_open(const struct replication_options *o, struct replication **ret, struct err *e)
{
	_cleanup_(replication_closep) struct replication *c = calloc(1, sizeof(*c));
	int r = c ? copy_options(&c->options, o) : -ENOMEM;

	if (r < 0)
		return err_sys(e, r, "connecting");
	r = connect_it(c, e);
	if (!r)
		*ret = MOVE(c);
	return r;
}

int replication_again(const struct replication *c, struct replication **ret, struct err *e)
{
	return replication_open(&c->options, ret, e);
}

const struct replication_server *replication_server(const struct replication *c)
{
	return &c->server;
}

static void cancel(struct replication *c)
{
	PGcancel *it = PQgetCancel(c->conn);
	char text[256];

	if (it)
		PQcancel(it, text, sizeof(text));
	PQfreeCancel(it);
}

void replication_close(struct replication *c)
{
	if (!c)
		return;
	/* Only a base backup that waits for its checkpoint would not notice that nobody listens. */
	if (c->cancel && c->conn && PQstatus(c->conn) == CONNECTION_OK)
		cancel(c);
	repl_drop_message(c);
	PQclear(c->end);
	PQfinish(c->conn);
	free((char *)c->options.conninfo);
	free((char *)c->options.host);
	free((char *)c->options.port);
	free((char *)c->options.user);
	free((char *)c->options.application);
	free(c);
}
