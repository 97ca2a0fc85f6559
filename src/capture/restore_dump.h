/* Copying a dump out of the store, in parallel and durable, without a mount. */
#pragma once

#include "src/capture/restore.h"

/* Writes out the dump itself (or the globals), not its views. One of several files (directory format) goes into `to`, which is
 * made, or must be empty. Any other becomes the file `to`, or when that is a directory, a file in it that is named as in the
 * mount; it appears when it is whole and on stable storage, and never takes the place of another. *ret: its path; free() it.
 * Owner and mode are those of a new private file; the time is the dump's. o->maps and o->owners are not looked at.
 *
 * -EINVAL: not a dump; -EEXIST: the file is there already; -ENOTEMPTY: the directory holds something. */
int capture_restore_dump(struct store *s, const struct snapshot *snap, const char *to,
	const struct restore_options *o, char **ret, struct err *e);
