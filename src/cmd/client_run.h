/* Running a command against a server: libpq's programs in it connect there by themselves. */
#pragma once

#include <signal.h>

#include "src/capture/instance.h"

/* Runs it in the shell, with PGHOST, PGPORT, PGUSER and PGDATABASE set, without the other variables that would lead elsewhere,
 * and with `bindir` first in PATH, so that pg_dump is the server's. Returns its exit status as a shell gives it (128 and the
 * signal's number when it was ended by one), or -errno when it could not be run. When `stop` is set meanwhile, it is ended
 * first. Call from the main thread. */
int client_run(const char *command, const struct instance_record *server, const char *bindir,
	const volatile sig_atomic_t *stop, struct err *e);
