/* libpq for dumps. See dump_conn.h. */
#include "src/capture/dump_conn.h"

#include <errno.h>
#include <libpq-fe.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/clean.h"
#include "src/capture/late.h"

#define PASSWORD "PGPASSWORD="

CLEANUP_DEFINE(struct dump_conn, dump_conn_free)

struct dump_conn {
	PGconn *conn;
	PQconninfoOption *given;
	char *password; /* "PGPASSWORD=…", or NULL */
};

void dump_conn_free(struct dump_conn *c)
{
	if (!c)
		return;
	PQfinish(c->conn);
	if (c->given)
		PQconninfoFree(c->given);
	if (c->password)
		explicit_bzero(c->password, strlen(c->password));
	free(c->password);
	free(c);
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

char *dump_conn_words(const struct dump_conn *c, const char *database)
{
	struct buf b = {0};

	for (const PQconninfoOption *o = c->given; o && o->keyword; o++)
		if (o->val && strcmp(o->keyword, "password") != 0 &&
			!(database && !strcmp(o->keyword, "dbname")))
			put_keyword(&b, o->keyword, o->val);
	if (database)
		put_keyword(&b, "dbname", database);
	return buf_steal_str(&b);
}

static int parse(const char *conninfo, struct dump_conn *c, struct err *e)
{
	const char *text = conninfo ? conninfo : "";
	char *why = NULL, *named = NULL;

	/* A bare word is a database's name, as for psql. */
	if (*text && !strchr(text, '=') && strncmp(text, "postgresql://", 13) != 0 &&
		strncmp(text, "postgres://", 11) != 0) {
		struct buf b = {0};

		put_keyword(&b, "dbname", text);
		named = buf_steal_str(&b);
		text = named ? named : text;
	}
	c->given = PQconninfoParse(text, &why);
	PQfreemem(why);
	free(named);
	/* libpq's words could quote the string, with a password in it. */
	if (!c->given)
		return err_set(e, -EINVAL, "the connection string cannot be understood");
	for (const PQconninfoOption *o = c->given; o->keyword; o++)
		if (o->val && !strcmp(o->keyword, "password") &&
			asprintf(&c->password, PASSWORD "%s", o->val) < 0) {
			c->password = NULL;
			return err_sys(e, -ENOMEM, "connecting");
		}
	return 0;
}

static int connect_to(struct dump_conn *c, const char *database, struct err *e)
{
	const char *keys[] = {"dbname", "fallback_application_name", NULL};
	_cleanup_(freep) char *words = dump_conn_words(c, database);
	struct buf full = {0};
	char *text;
	int r = 0;

	if (words)
		buf_printf(&full, "%s", words);
	if (c->password)
		put_keyword(&full, "password", c->password + strlen(PASSWORD));
	text = words ? buf_steal_str(&full) : NULL;
	if (!text)
		return err_sys(e, -ENOMEM, "connecting");
	c->conn = PQconnectdbParams(keys, (const char *[]){text, "pgstrata", NULL}, 1);
	if (PQstatus(c->conn) != CONNECTION_OK) {
		const char *why = c->conn ? PQerrorMessage(c->conn) : "out of memory";

		r = err_set(e, -ENOTCONN, "%.*s", (int)strcspn(why, "\n"), why);
	}
	explicit_bzero(text, strlen(text));
	free(text);
	return r;
}

int dump_conn_open(const char *conninfo, const char *database, struct dump_conn **ret, struct err *e)
{
	_cleanup_(dump_conn_freep) struct dump_conn *c = calloc(1, sizeof(*c));
	int r = c ? late_libpq(e) : err_sys(e, -ENOMEM, "connecting");

	if (!r)
		r = parse(conninfo, c, e);
	if (!r)
		r = connect_to(c, database, e);
	if (!r)
		*ret = MOVE(c);
	return r;
}

const char *dump_conn_password(const struct dump_conn *c)
{
	return c->password;
}

const char *dump_conn_database(const struct dump_conn *c)
{
	return PQdb(c->conn);
}

unsigned dump_conn_version(const struct dump_conn *c)
{
	return (unsigned)PQserverVersion(c->conn) / 10000;
}

void dump_rows_release(struct dump_rows *r)
{
	for (size_t i = 0; r->v && i < r->rows * r->columns; i++)
		free(r->v[i]);
	free(r->v);
	*r = (struct dump_rows){0};
}

static int take_rows(const PGresult *res, struct dump_rows *ret)
{
	struct dump_rows r = {.rows = (size_t)PQntuples(res), .columns = (size_t)PQnfields(res)};

	r.v = calloc(r.rows * r.columns + 1, sizeof(*r.v));
	for (size_t i = 0; r.v && i < r.rows * r.columns; i++) {
		r.v[i] = strdup(PQgetvalue(res, (int)(i / r.columns), (int)(i % r.columns)));
		if (!r.v[i]) {
			dump_rows_release(&r);
			return -ENOMEM;
		}
	}
	if (!r.v)
		return -ENOMEM;
	*ret = r;
	return 0;
}

int dump_conn_ask(
	struct dump_conn *c, const char *what, const char *sql, struct dump_rows *ret, struct err *e)
{
	PGresult *res = PQexec(c->conn, sql);
	ExecStatusType status = PQresultStatus(res);
	int r = 0;

	if (status != PGRES_TUPLES_OK && status != PGRES_COMMAND_OK) {
		const char *why = PQerrorMessage(c->conn);

		r = err_set(e, -EREMOTEIO, "%s: %.*s", what, (int)strcspn(why, "\n"), why);
	} else if (ret && take_rows(res, ret) < 0) {
		r = err_sys(e, -ENOMEM, "%s", what);
	}
	PQclear(res);
	return r;
}

static void put_quoted(char *quoted, struct buf *b)
{
	if (quoted)
		buf_put(b, quoted, strlen(quoted));
	else
		b->bad = true;
	PQfreemem(quoted);
}

void dump_conn_put_name(struct dump_conn *c, const char *name, struct buf *b)
{
	put_quoted(PQescapeIdentifier(c->conn, name, strlen(name)), b);
}

void dump_conn_put_text(struct dump_conn *c, const char *text, struct buf *b)
{
	put_quoted(PQescapeLiteral(c->conn, text, strlen(text)), b);
}
