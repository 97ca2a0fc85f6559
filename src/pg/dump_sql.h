/* Where the rows are in a plain SQL dump: a reader that is pushed bytes and tells which of them are SQL and which are rows of
 * COPY … FROM stdin.
 *
 * It knows the quoting of SQL (src/backend/parser/scan.l: '…', E'…', "…", $tag$…$tag$, -- and nested comments) and psql's
 * backslash commands at the start of a statement, so what looks like COPY within a string or a function's body is not taken
 * for one. Not thread-safe; holds a statement's first 64 KiB at most. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "src/base/buf.h"
#include "src/base/err.h"

struct dump_sql_ops {
	/* SQL, or rows, go on. */
	int (*sql)(void *arg, const void *p, size_t n, struct err *e);
	int (*rows)(void *arg, const void *p, size_t n, struct err *e);
	/* Rows begin: COPY schema.table. schema is "" when neither the command nor a search_path before it tells. */
	int (*copy)(void *arg, const char *schema, const char *table, struct err *e);
	/* The rows have ended; the SQL goes on with the line of "\.". */
	int (*copy_end)(void *arg, struct err *e);
	/* \connect: another database from here on. */
	int (*connect)(void *arg, const char *database, struct err *e);
};

struct dump_sql {
	const struct dump_sql_ops *ops;
	void *arg;
	enum {
		SQL_PLAIN,
		SQL_STRING,    /* '…' */
		SQL_ESCAPED,   /* E'…' */
		SQL_NAME,      /* "…" */
		SQL_TAG,       /* $ta */
		SQL_DOLLAR,    /* $tag$… */
		SQL_LINE,      /* --… */
		SQL_BLOCK,     /* a nested comment */
		SQL_COMMAND,   /* \… to the line's end */
		SQL_COPY_LINE, /* behind COPY …;, to the line's end */
		SQL_ROWS,
	} state;
	uint8_t last, before; /* the two bytes before */
	bool skip;	      /* the next byte is escaped, or ended a two-byte mark */
	unsigned depth;	      /* of block comments */
	struct buf tag;	      /* "$tag$" */
	size_t matched;	      /* bytes of the tag, or of "\.\n" at a row's start */
	bool row_start;
	struct buf statement;		/* its beginning, without comments */
	char *schema;			/* of the last search_path; may be NULL */
	char *copy_schema, *copy_table; /* of the last COPY */
};

void dump_sql_init(struct dump_sql *s, const struct dump_sql_ops *ops, void *arg);
void dump_sql_release(struct dump_sql *s);
int dump_sql_push(struct dump_sql *s, const uint8_t *p, size_t n, struct err *e);
/* True when the bytes so far end between two statements. */
bool dump_sql_at_rest(const struct dump_sql *s);
