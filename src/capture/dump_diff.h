/* Two dumps compared: which objects differ in their definition, which tables and large objects in their data.
 *
 * Works on the snapshots' trees: data that has the same map is the same and is not read. The format of a dump is no
 * difference. Not compared: what dump_sections.h does not tell. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "src/base/err.h"
#include "store/snapshot.h"
#include "store/store.h"

enum dump_change_how { CHANGE_ADDED, CHANGE_DROPPED, CHANGE_CHANGED };

struct dump_change {
	char *object; /* "schema.name"; in pg_dumpall's output "database:schema.name" */
	char *type;   /* "table", "function", …, "large object" */
	enum dump_change_how how;
	bool data, definition; /* what is there, or what changed */
};

struct dump_diff {
	struct dump_change *changes; /* by database, schema, name and type, byte for byte */
	size_t n;
	bool blobs_left_out; /* large objects of a plain dump are commands, which were not compared with others' bytes */
};

/* -EINVAL: one of the two is no dump; -EOPNOTSUPP: rows as COPY text in one, as INSERT commands in the other. */
int capture_dump_diff(struct store *s, const struct snapshot *from, const struct snapshot *to,
	struct dump_diff *ret, struct err *e);
void dump_diff_release(struct dump_diff *d); /* fine on a zeroed one */
