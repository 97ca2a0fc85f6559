/* Taking in a logical dump that pg_dump or pg_dumpall left, or writes into a pipe.
 *
 * The snapshot's tree is the dump itself (dump.pgdump, dump.dir/, dump.tar or dump.sql), toc.txt, schema.sql, tables/… and
 * blobs/…; of pg_dumpall --globals-only it is globals.sql. See src/README.md, "Dumps". */
#pragma once

#include <signal.h>

#include "src/base/err.h"
#include "src/base/log.h"
#include "src/base/meter.h"
#include "store/snapshot.h"
#include "store/store.h"

struct dump_others; /* dump_archive.h */

/* Zero is the default. */
struct import_dump_options {
	unsigned threads;     /* default: all processors */
	const char *database; /* NULL: what the dump says */
	const char *tags;     /* the property "tags"; may be NULL */
	struct tstamp time;   /* of the dump; sec 0: what the dump says, else its file's time */
	struct meter *meter;
	struct log *log;
	/* Identifier of the system that the dump is of, which the cluster is bound to; 0: not known. */
	uint64_t system;
	const volatile sig_atomic_t *stop; /* set: -EINTR, and nothing is published. May be NULL */
	/* Called when all was read and before anything is published; not 0: nothing is, and that is returned. NULL: none. */
	int (*confirm)(void *arg, struct err *e);
	void *arg;
	/* Of a pipe in custom format: who gives the rest of the data. NULL: nobody. */
	const struct dump_others *others;
};

/* Imports what lies at path: a custom, tar or plain dump, perhaps compressed with gzip, lz4 or zstd, or a directory. What it
 * is is told by its content. 0 with the published snapshot (free it). On an error nothing is published: -EINVAL: no dump, or
 * no name for its database; -EBADMSG: damaged or cut off, with the place; -EOPNOTSUPP: of an unknown version. */
int capture_import_dump(struct store *s, const char *path, const char *cluster,
	const struct import_dump_options *o, struct snapshot **ret, struct err *e);

/* The same from a descriptor (its present position; a pipe will do), not of a directory. name is for messages. */
int capture_import_dump_fd(struct store *s, int fd, const char *name, const char *cluster,
	const struct import_dump_options *o, struct snapshot **ret, struct err *e);
