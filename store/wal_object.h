/* How objects of the WAL archive are named: one tree a purpose ("wal", "walnote"), the same groups in each.
 *
 *	object = tree "/" cluster "/" group "/" name		group: store/README.md, "WAL file"
 *
 * For the files of this folder only. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "src/base/err.h"

#define WAL_OBJECT_NAME 192

/* [A-Za-z0-9._-], 1 to WAL_FILE_NAME_MAX of them, starting with a letter or digit. */
bool wal_object_name_is_safe(const char *name);

/* The bytes of a note in its object's n, which belong to the repository `id`. object is for texts. -EBADMSG, -EOPNOTSUPP;
 * *ret points into p. */
int wal_note_decode(const uint8_t id[16], const char *object, const void *p, size_t n, const uint8_t **ret,
	size_t *ret_len, struct err *e);

/* -EINVAL with a text: a cluster or a file that cannot be called so. */
int wal_object_name(
	char out[WAL_OBJECT_NAME], const char *tree, const char *cluster, const char *name, struct err *e);
