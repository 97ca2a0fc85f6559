/* A dump dealt out: which tables' data other pg_dump processes take, and the transaction that lets all of them see the same
 * moment.
 *
 * The transaction exports its snapshot (pg_dump --snapshot), as pg_dump -j does among its own connections. It also holds a lock
 * on each table that is dealt out for as long as anybody reads: the first process, which locks everything, may end before the
 * others. Not thread-safe. */
#pragma once

#include <stdbool.h>

#include "src/capture/dump_args.h"
#include "src/capture/dump_conn.h"

struct dump_deal_table {
	char *oid;     /* as pg_dump writes it */
	char *name;    /* quoted, for SQL */
	char *pattern; /* quoted, for pg_dump */
	unsigned to;   /* which process takes its data: from 1 on */
	bool wanted;   /* the first process dumps its definition */
};

struct dump_deal {
	struct dump_conn *conn;
	char *snapshot;
	struct dump_deal_table *tables; /* by oid, byte for byte */
	size_t n;
};

/* Begins the transaction on a connection of its own and deals the large tables out among jobs processes (2 or more), such
 * that all have about as many bytes. The first process keeps the rest, perhaps everything. */
int dump_deal_new(const char *conninfo, const char *database, const struct dump_args *args, unsigned jobs,
	struct dump_deal **ret, struct err *e);
void dump_deal_free(struct dump_deal *d); /* fine on NULL; ends the transaction */

/* Locks the tables that are wanted, which the first process has locked and still holds. Fails rather than waits, like pg_dump
 * -j: somebody who waits for an exclusive lock would wait for us, and we for them. */
int dump_deal_lock(struct dump_deal *d, struct err *e);
/* The transaction was there all the time. */
int dump_deal_end(struct dump_deal *d, struct err *e);

struct dump_deal_table *dump_deal_find(const struct dump_deal *d, const char *oid); /* or NULL */
