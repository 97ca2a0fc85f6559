/* Ctrl-C and SIGTERM for verbs that have something to end well: the first one sets a flag, a second one ends the
 * program as it always would.
 *
 * The flag is the one thing here that is global: a signal handler can reach nothing else. */
#pragma once

#include <signal.h>

/* Catches SIGINT, SIGTERM and SIGHUP from now on (without restarting what a system call waited for) and ignores
 * SIGPIPE. The flag is not 0 once one came. Call once, from the main thread, before other threads start. */
const volatile sig_atomic_t *interrupt_catch(void);
