/* Plain SQL dumps on their way into a snapshot.
 *
 * The file keeps its bytes. The rows of COPY … FROM stdin are streams of their own, found by a reader that knows SQL's
 * quoting, so that a COPY in a function's body is none; all else is schema.sql (in which each COPY has no rows). */
#pragma once

#include "src/capture/dump_archive.h"

/* What the beginning of a plain dump says. Texts are "" when it does not. */
struct dump_plain_facts {
	bool cluster;	   /* pg_dumpall */
	bool globals;	   /* pg_dumpall without any database; told only when all of it was looked at */
	char database[64]; /* from \connect, of a single database's dump */
	char server_version[100], dump_version[100];
};
/* False: it is no dump of pg_dump or pg_dumpall. whole: p is all of it. */
bool dump_plain_looks(const uint8_t *p, size_t n, bool whole, struct dump_plain_facts *ret);

/* Takes all that read(arg) gives. file: dump.sql, or globals.sql, which becomes nothing else. -EBADMSG: it has no end. */
int dump_plain_take(struct dump_archive *a, bool globals, dump_read_fn *read, void *arg, struct err *e);
