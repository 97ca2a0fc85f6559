/* Writing a tree: entries come sorted (store/sorter.h), nodes leave as soon as they are complete. Memory is
 * that of the directories on the current path. Not thread-safe. */
#pragma once

#include <stdint.h>

#include "src/base/buf.h"
#include "src/base/err.h"
#include "store/tree.h"

struct treewriter;

/* Stores a node's bytes and gives its name. */
typedef int treewriter_emit_fn(void *arg, const void *node, size_t n, struct digest *ret, struct err *e);

int treewriter_new(treewriter_emit_fn *emit, void *arg, struct treewriter **ret);
void treewriter_free(struct treewriter *t); /* fine on NULL */

/* The next entry; its name is taken from the path. A directory comes before what is in it; one that does not
 * come is made up with mode 0700 and the owner of its first child. -EEXIST: the path came before; -EINVAL: it
 * is out of order. */
int treewriter_add(struct treewriter *t, const char *path, const struct entry *en, struct err *e);

struct tree_totals {
	uint64_t files, dirs, symlinks, bytes;
};
/* Closes every directory and gives the root. */
int treewriter_finish(struct treewriter *t, struct dir_ref *root, struct tree_totals *totals, struct err *e);

/* An entry as bytes for the sorter, and back; strings of the decoded entry point into p, its name is "". */
void pending_encode(const struct entry *en, struct buf *b);
int pending_decode(const void *p, size_t n, struct entry *ret, struct err *e);
