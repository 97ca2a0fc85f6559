/* Sorting paths outside of memory: entries come in any order and leave depth first, each directory before
 * what is in it and its children by name. Not thread-safe. */
#pragma once

#include <stddef.h>

#include "src/base/err.h"

struct sorter;

/* memory: bytes kept before a sorted stretch is spilled to a nameless file in dir. */
int sorter_new(const char *dir, size_t memory, struct sorter **ret, struct err *e);
void sorter_free(struct sorter *s); /* fine on NULL */

/* Copies a path and its data. */
int sorter_add(struct sorter *s, const char *path, const void *data, size_t n, struct err *e);
/* Ends the adding. */
int sorter_sort(struct sorter *s, struct err *e);
/* 1 and the next entry, valid until the next call; 0 at the end. */
int sorter_next(struct sorter *s, const char **path, const void **data, size_t *n, struct err *e);

/* The order: '/' before every other byte, so that a directory's tree stays together. */
int sorter_path_cmp(const char *a, const char *b);
