/* What the user gave for pg_dump, sorted by whom it is for when several processes share a dump.
 *
 * The first process gets all of it and writes every definition. The others write nothing but the data of tables that they are
 * told by name, so they get what says how data is written, and not what selects objects. Where that cannot be told apart, one
 * process does all. The options are those of pg_dump 9.6 to 18 (main in src/bin/pg_dump/pg_dump.c). */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "src/base/err.h"

struct dump_args {
	const char **all; /* but --serializable-deferrable; NULL at the end */
	size_t n_all;
	char **data; /* for the other processes */
	size_t n_data;
	const char *alone;		   /* why one process has to do all; NULL: it need not */
	bool deferrable;		   /* --serializable-deferrable */
	bool lacks_data;		   /* not every table's data is wanted */
	char *role, *encoding, *lock_wait; /* values of these options, or NULL */
};

/* extra: NULL at the end; may be NULL; must outlive the result. -EINVAL: it has an option that is ours. */
int dump_args_read(const char *const *extra, struct dump_args *ret, struct err *e);
void dump_args_release(struct dump_args *a); /* fine on a zeroed one */
