/* Notes on segments that were archived before the server asked for it.
 *
 * A note lies outside of the repository, one small file a segment, and says which file (inode, size, times) was archived
 * with which digest. It saves reading the segment again and nothing else: it counts only when the file is still that
 * file and the archive has that digest. Any note may be lost or damaged. */
#pragma once

#include <stdbool.h>
#include <sys/stat.h>

#include "store/store.h"

/* Was this file archived as `name`, as the note in folder dir says? The note is removed: it is asked for once. */
bool pushed_before(
	struct store *s, const char *cluster, const char *dir, const char *name, const struct stat *st);

/* Notes that it was, durably. st: from before it was read. */
void pushed_note(
	struct store *s, const char *cluster, const char *dir, const char *name, const struct stat *st);
