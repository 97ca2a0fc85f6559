/* archive_command and restore_command: one file of WAL into the repository's archive, and out of it.
 *
 * Thread-safe. Only files that a server archives are taken: segments, .partial segments, timeline history files and backup
 * history files (src/include/access/xlog_internal.h). */
#pragma once

#include <stdbool.h>

#include "src/base/err.h"
#include "store/store.h"

/* Archives the file at path under its own name; durable on return. A segment must belong to its name and to the cluster's
 * system; the first one that comes binds the cluster's name. *ret_known: the same file was there already.
 *
 * -EINVAL: not a file that a server archives; -EBADMSG: the segment's header denies its name or size; -EEXIST: another
 * system's, or other content under the same name. */
int capture_archive_push(
	struct store *s, const char *cluster, const char *path, bool *ret_known, struct err *e);

/* Copies name out of the archive to dest, which appears whole or not at all. -ENOENT: it is not in the archive. */
int capture_archive_get(
	struct store *s, const char *cluster, const char *name, const char *dest, struct err *e);
