/* What stat and getfattr show of a node. */
#pragma once

#include <stdbool.h>
#include <sys/stat.h>

#include "fs/node.h"
#include "src/base/buf.h"
#include "src/base/err.h"

struct fs;

/* Block counts tell what the repository stores, not what a copy will take. */
void attr_stat(const struct node *n, struct stat *ret);

/* Appends the value of an extended attribute. -ENODATA when n has none of that name; an error of reading the
 * file whose digest is asked for. */
int attr_get(struct fs *fs, const struct node *n, const char *name, struct buf *ret, struct err *e);

/* Appends the names that listing shows, each with its NUL. */
void attr_list(const struct node *n, struct buf *ret);
