/* Asking a server on a branch how far it is. See instance.h. */
#include <errno.h>
#include <libpq-fe.h>
#include <stdio.h>
#include <string.h>

#include "src/capture/instance.h"
#include "src/capture/late.h"

/* SQLSTATEs as servers send them before there is a session, where libpq gives only the text: a role or a database that is not
 * there (InitializeSessionUserId, src/backend/utils/init/miscinit.c; InitPostgres, postinit.c), with lc_messages C. */
static bool says(const PGconn *conn, const char *words)
{
	const char *text = PQerrorMessage(conn);

	return strstr(text, words) != NULL;
}

static PGconn *connect_as(const struct instance_where *w, const char *user, const char *database)
{
	char port[16];
	const char *const keys[] = {"host", "port", "user", "dbname", "fallback_application_name",
		"client_encoding", "options", NULL};
	const char *const values[] = {
		w->socket_dir, port, user, database, "pgstrata", "SQL_ASCII", "-c statement_timeout=0", NULL};

	snprintf(port, sizeof(port), "%u", w->port);
	return PQconnectdbParams(keys, values, 0);
}

static int query(PGconn *conn, struct instance_state *st, struct err *e)
{
	/* In recovery the one function works, after it the other. */
	static const char sql[] =
		"SELECT r, CASE WHEN r THEN pg_catalog.pg_is_wal_replay_paused() ELSE false END,"
		" CASE WHEN r THEN coalesce(pg_catalog.pg_last_wal_replay_lsn(), '0/0')"
		" ELSE pg_catalog.pg_current_wal_lsn() END,"
		" coalesce(pg_catalog.pg_last_xact_replay_timestamp()::text, '')"
		" FROM (SELECT pg_catalog.pg_is_in_recovery() AS r) q";
	PGresult *res = PQexec(conn, sql);
	int r = 0;

	if (PQresultStatus(res) != PGRES_TUPLES_OK || PQntuples(res) != 1) {
		const char *why = PQerrorMessage(conn);

		r = err_set(
			e, -EREMOTEIO, "asking the server where it is: %.*s", (int)strcspn(why, "\n"), why);
	} else {
		st->in_recovery = *PQgetvalue(res, 0, 0) == 't';
		st->paused = *PQgetvalue(res, 0, 1) == 't';
		if (!lsn_parse(PQgetvalue(res, 0, 2), strlen(PQgetvalue(res, 0, 2)), &st->at))
			r = err_set(
				e, -EREMOTEIO, "the server's position is no LSN: %s", PQgetvalue(res, 0, 2));
		snprintf(st->last_commit, sizeof(st->last_commit), "%s", PQgetvalue(res, 0, 3));
	}
	PQclear(res);
	return r;
}

/* 0, or the connection's error: -EACCES: no such role; -ENOENT: no such database. */
static int ask_as(const struct instance_where *w, const char *user, const char *database,
	struct instance_state *ret, struct err *e)
{
	PGconn *conn = connect_as(w, user, database);
	struct instance_state st = {0};
	int r;

	if (PQstatus(conn) == CONNECTION_OK) {
		snprintf(st.user, sizeof(st.user), "%s", user);
		snprintf(st.database, sizeof(st.database), "%s", database);
		r = query(conn, &st, e);
		if (r == 0)
			*ret = st;
	} else {
		const char *why = conn ? PQerrorMessage(conn) : "out of memory";

		r = says(conn, "role \"") &&
				    (says(conn, "does not exist") || says(conn, "not permitted to log in"))
			    ? -EACCES
		    : says(conn, "database \"") ? -ENOENT
						: -ENOTCONN;
		err_set(e, r, "%.*s", (int)strcspn(why, "\n"), why);
	}
	PQfinish(conn);
	return r;
}

int instance_ask(
	const struct instance_where *w, const char *const *users, struct instance_state *ret, struct err *e)
{
	const char *const given[] = {w->database, NULL}, *const usual[] = {"postgres", "template1", NULL};
	int r = late_libpq(e);

	if (r < 0)
		return r;
	r = err_set(e, -EACCES, "no role to connect as");
	for (; *users; users++) {
		for (const char *const *d = w->database ? given : usual; *d; d++) {
			r = ask_as(w, *users, *d, ret, e);
			if (r != -ENOENT)
				break;
		}
		if (r != -EACCES)
			return r;
	}
	return r;
}
