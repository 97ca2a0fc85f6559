/* Where messages go: standard error, a file, or syslog. Libraries below src/cmd return errors instead; only
 * long-running parts (the mount) and warnings that must not stop the work are logged. Thread-safe. */
#pragma once

#include "src/base/err.h"

enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARNING, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };

struct log;

/* Lines to standard error as "pgstrata: warning: …". Messages above `max` are dropped. */
int log_new_stderr(enum log_level max, struct log **ret);
/* Lines appended to a file, each with its UTC time. */
int log_new_file(const char *path, enum log_level max, struct log **ret, struct err *e);
/* To syslog, facility daemon, identity "pgstrata". */
int log_new_syslog(enum log_level max, struct log **ret);
void log_free(struct log *l); /* fine on NULL */

/* l may be NULL: nothing is logged. */
void log_msg(struct log *l, enum log_level level, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
