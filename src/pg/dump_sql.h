/* Where the rows are in a plain SQL dump: a reader that is pushed bytes and tells which of them are SQL and which are rows, of
 * COPY … FROM stdin or as INSERT commands.
 *
 * It knows the quoting of SQL (src/backend/parser/scan.l: '…', E'…', "…", $tag$…$tag$, -- and nested comments), psql's
 * backslash commands at the start of a statement, and where psql takes a semicolon for the end of one (src/fe_utils/psqlscan.l:
 * not within parentheses, nor in the body of a function after BEGIN ATOMIC), so what looks like COPY or INSERT within a string, a
 * rule or a function's body is not taken for one. Not thread-safe; holds a statement's first 64 KiB at most. */
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
	/* Rows begin as commands INSERT INTO schema.table, at the start of a line each; they end behind the last one's line. NULL:
	 * such commands are SQL. */
	int (*insert)(void *arg, const char *schema, const char *table, struct err *e);
	/* The rows have ended. Those of COPY: the SQL goes on with the line of "\.". */
	int (*rows_end)(void *arg, struct err *e);
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
	struct buf statement;	    /* its beginning, without comments */
	char *schema;		    /* of the last search_path; may be NULL */
	char *to_schema, *to_table; /* of the last COPY or INSERT */
	enum {
		INSERT_NONE,
		INSERT_MAYBE, /* a statement that could be one begins; it is held back */
		INSERT_IN,
		INSERT_LINE, /* behind the semicolon, to the line's end */
	} insert;
	bool inserts; /* insert was told, rows_end was not */
	struct buf held;
	/* The statement's shape. */
	char word[12]; /* the word that goes on, in small letters; what is longer does not matter */
	size_t word_len;
	bool begin;	/* the word before was BEGIN */
	unsigned words; /* so far */
	/* First letters of the first words that could be CREATE [OR REPLACE] FUNCTION | PROCEDURE. */
	char first[4];
	unsigned parens; /* open */
	unsigned blocks; /* BEGIN ATOMIC and CASE that await their END */
};

void dump_sql_init(struct dump_sql *s, const struct dump_sql_ops *ops, void *arg);
void dump_sql_release(struct dump_sql *s);
int dump_sql_push(struct dump_sql *s, const uint8_t *p, size_t n, struct err *e);
/* True when the bytes so far end between two statements. */
bool dump_sql_at_rest(const struct dump_sql *s);
