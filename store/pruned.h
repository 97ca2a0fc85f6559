/* Marks of what was removed on purpose: who removes a snapshot or files of WAL for good says so first, so that verify, which
 * knows what it saw, can tell a prune from a loss. Format: store/README.md, "Mark of a removal".
 *
 * A mark that is there for something that is there, too, says nothing: the removal did not come to it, or it came back. */
#pragma once

#include <stdbool.h>

#include "src/base/err.h"
#include "store/snapshot.h"

/* Durable on return; one that is there already is fine. */
int pruned_put_snapshot(struct store *s, const struct snapshot_ref *ref, struct err *e);
/* Of files of WAL whose names lie from `first` through `last` and begin with the same 8 bytes, the timeline. */
int pruned_put_wal(struct store *s, const char *cluster, const char *first, const char *last, struct err *e);
/* Either, by the object's name, "snapshots/…" or "wal/…"; other names are passed over. */
int pruned_put_object(struct store *s, const char *object, struct err *e);

/* Is there a mark for the object "snapshots/…" or "wal/…"? 1, 0, or an error. */
int pruned_has(struct store *s, const char *object, struct err *e);

/* Removes the marks that are older than a year and a month: whoever verifies has seen them. */
int pruned_expire(struct store *s, struct err *e);
