/* The next segment, unpacked before recovery asks for it.
 *
 * Recovery asks for one segment after the other, a process each, and replays it before it asks for the next one. Meanwhile a
 * process of its own unpacks that one into the folder where it will be wanted, so that it then takes no more than its name.
 * It is called by what it holds, so one that is not wanted after all is never taken for another. */
#pragma once

#include <stdbool.h>

#include "src/base/err.h"
#include "src/base/io.h"
#include "store/digest.h"
#include "store/store.h"

/* One at a time works in a folder; whoever comes waits until the one before is through. */
struct ahead {
	int fd; /* of the folder, locked; -1: not */
	const char *dir;
};
#define AHEAD_NONE ((struct ahead){.fd = -1})

/* dir must outlive it. Where folders cannot be locked, nothing is done ahead. */
void ahead_enter(const char *dir, struct ahead *ret);
void ahead_leave(struct ahead *a); /* fine on AHEAD_NONE and twice */

/* Renames to dest what was unpacked with this content, if there is such a file. Every other one is removed. */
bool ahead_take(const struct ahead *a, const struct digest *content, const char *dest);

/* Unpacks a file of the archive into a new one in dir that has no name yet, nor is it synced: what recovery replays it has in
 * the repository, and what it keeps it syncs itself. Returns wal_copy's errors; newfile_close releases *ret in any case. */
int ahead_unpack(struct store *s, const char *cluster, const char *name, const char *dir, struct newfile *ret,
	struct err *e);

/* Starts a process that unpacks this file of the archive. For a program that is about to end: it has one thread, and does not
 * wait for the process. */
void ahead_start(const struct ahead *a, struct store *s, const char *cluster, const char *name);
