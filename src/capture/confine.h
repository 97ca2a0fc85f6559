/* A process that can write only where it was told, whatever it is asked to do: enforced by the kernel (Landlock, since Linux
 * 5.13; landlock(7)).
 *
 * A server on a branch needs that: replayed WAL names places of the server that wrote it. A CREATE TABLESPACE makes the server
 * empty and take the directory of that name (create_tablespace_directories, src/backend/commands/tablespace.c), which on the
 * same machine is the production server's own.
 *
 * Not restricted: reading, running programs, and what is done through sockets. */
#pragma once

#include "src/base/err.h"

/* A descriptor of the rules: writing below `dirs` (NULL at the end; those that are not there are passed over) and to devices,
 * and to the files that there are below `opened` (may be NULL).
 * -EOPNOTSUPP: this kernel has no such thing, or it is switched off. Close it. Thread-safe. */
int confine_new(const char *const *dirs, const char *opened, struct err *e);
/* From now on, for this process and what it starts. Only what may be called between fork and exec. 0 or -errno. */
int confine_self(int rules);
