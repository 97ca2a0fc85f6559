/* Entries of one archive's table of contents taken over into another's: how the dump of several pg_dump processes that see the
 * same moment becomes one archive.
 *
 * One archive has every definition and lacks the data of some tables, the others have nothing but such data. Numbers of
 * entries mean something within one archive only, so what is taken over gets new ones, and hangs on the table's definition as
 * dumpTableData in pg_dump.c has it. Not here: the data itself. */
#pragma once

#include "src/pg/dump_toc.h"

/* "TABLE DATA" that is taken over, and the number that it got. */
struct dump_join {
	const struct dump_entry *from;
	int32_t id;
};

/* The entry of a table's definition by the table's OID, as pg_dump writes it; NULL: it has none. */
struct dump_tables;
int dump_tables_new(const struct dump_toc *t, struct dump_tables **ret, struct err *e);
void dump_tables_free(struct dump_tables *d); /* fine on NULL */
const struct dump_entry *dump_tables_find(const struct dump_tables *d, const char *oid);

/* Adds the n entries to t, in the place where and the order in which pg_dump has the data of tables: behind all that comes
 * before data, by schema and name. Entries of t move. -EBADMSG: one is no table's data, has no definition in t, or is there
 * already. */
int dump_join(struct dump_toc *t, struct dump_join *v, size_t n, struct err *e);
