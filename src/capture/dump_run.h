/* Taking a dump of a running server: pg_dump's output straight into the repository, without a file between.
 *
 * pg_dump runs in the custom format without compression into a pipe; its messages go where ours go; what it is told about the
 * password goes through its environment. A dump is published only when pg_dump ended with status 0 and its archive is whole; of
 * several processes (dump_team.h), each one. */
#pragma once

#include <signal.h>

#include "src/base/err.h"
#include "src/base/log.h"
#include "src/base/meter.h"
#include "store/snapshot.h"
#include "store/store.h"

/* Zero is the default. */
struct dump_run_options {
	const char *conninfo;	  /* keywords or URI, as psql's -d; NULL or "": the environment's */
	const char *program;	  /* pg_dump's path; NULL: found by the server's version */
	const char *const *extra; /* more arguments of pg_dump, NULL at the end; may be NULL */
	unsigned jobs;		  /* pg_dump processes for one database; 0: one */
	unsigned threads;	  /* that compress */
	const char *tags;
	struct meter *meter;
	struct log *log;
	/* Set: pg_dump is ended and waited for, nothing is published, -EINTR. May be NULL. */
	const volatile sig_atomic_t *stop;
};

struct dump_run;

/* Asks the server for its version and finds the pg_dump for it: the oldest one that is not older. -EOPNOTSUPP: there is none,
 * or the one that was named is older; -EINVAL: an argument that is ours (format, file, compression, jobs). */
int dump_run_new(struct store *s, const char *cluster, const struct dump_run_options *o,
	struct dump_run **ret, struct err *e);
void dump_run_free(struct dump_run *d); /* fine on NULL */

/* The databases that can be connected to, sorted, NULL at the end; the result's. */
char **dump_run_databases(struct dump_run *d, struct err *e);

/* Dumps one database (NULL: the connection's). Free the snapshot. */
int dump_run_database(struct dump_run *d, const char *database, struct snapshot **ret, struct err *e);
/* pg_dumpall --globals-only. */
int dump_run_globals(struct dump_run *d, struct snapshot **ret, struct err *e);
