/* Texts made from an archive's table of contents: the list that pg_restore -L takes, the SQL of all definitions, and the names
 * of files that stand for tables. */
#pragma once

#include "src/base/buf.h"
#include "src/pg/dump_toc.h"

/* As `pg_restore -l` prints it (PrintTOCSummary, pg_backup_archiver.c); format: "CUSTOM" and so on. */
void dump_text_toc(const struct dump_toc *t, const char *format, struct buf *b);

/* What `pg_restore -s -f -` prints in essence: settings, definitions with owners, privileges, then what comes last
 * (refreshing materialized views is data and left out). Large objects and the database itself are left out. */
void dump_text_schema(const struct dump_toc *t, struct buf *b);

/* The commands that set sequences, as plain SQL has them. */
void dump_text_positions(const struct dump_toc *t, struct buf *b);

/* A name as (part of) a file's name: '/', '.', '%', control characters become %XX (two upper-case hexadecimal digits), the
 * rest stays, so that decoding %XX gives the name back. */
void dump_text_escape(const char *name, struct buf *b);

/* "tables/SCHEMA.TABLE<ending>", both escaped; where that is longer than a file's name may be (255 bytes),
 * "tables/SCHEMA./TABLE<ending>". */
void dump_text_table_path(const char *schema, const char *table, const char *ending, struct buf *b);
