/* The progress line: what a meter says, on a terminal's standard error, from a thread of its own. */
#pragma once

#include <stdbool.h>

#include "src/base/meter.h"
#include "src/cmd/cmd.h"

struct progress;

/* Starts showing m under that title, or nothing at all (NULL) when standard error is no terminal, or with -q.
 * The thread only reads the meter. */
struct progress *progress_start(struct cmd_context *c, const char *title, struct meter *m);
/* Takes the line away and ends the thread. Fine on NULL. */
void progress_stop(struct progress *p);
