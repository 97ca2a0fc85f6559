/* A connection to the server that is dumped, for what is asked of it beside the dump itself, and the same connection as words
 * for pg_dump. Not thread-safe. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "src/base/buf.h"
#include "src/base/err.h"

struct dump_conn;

/* conninfo: a database's name, keywords or a URI; NULL or "": the environment's. database: instead of the one in it; may be
 * NULL. -EINVAL: it cannot be understood; -ENOTCONN: what libpq says. */
int dump_conn_open(const char *conninfo, const char *database, struct dump_conn **ret, struct err *e);
void dump_conn_free(struct dump_conn *c); /* fine on NULL */

/* What pg_dump is told with -d: the conninfo without its password, and (database not NULL) of another database. Free it. */
char *dump_conn_words(const struct dump_conn *c, const char *database);
/* "PGPASSWORD=…" for its environment, NULL when the conninfo has none. The connection's. */
const char *dump_conn_password(const struct dump_conn *c);

const char *dump_conn_database(const struct dump_conn *c);
unsigned dump_conn_version(const struct dump_conn *c); /* the server's, major */

/* Rows as texts, "" for NULL. */
struct dump_rows {
	char **v; /* row by row */
	size_t rows, columns;
};
static inline const char *dump_rows_at(const struct dump_rows *r, size_t row, size_t column)
{
	return r->v[row * r->columns + column];
}
void dump_rows_release(struct dump_rows *r); /* fine on a zeroed one */

/* what: for messages ("listing the databases"). ret NULL: rows are not wanted. -EREMOTEIO with the server's words. */
int dump_conn_ask(
	struct dump_conn *c, const char *what, const char *sql, struct dump_rows *ret, struct err *e);
/* Appends a name, a text, as SQL has them. */
void dump_conn_put_name(struct dump_conn *c, const char *name, struct buf *b);
void dump_conn_put_text(struct dump_conn *c, const char *text, struct buf *b);
