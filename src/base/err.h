/* An error's text on its way up to the command that will print it.
 *
 * Functions return 0 or -errno; `struct err *` comes last, may be NULL and carries one sentence: what
 * failed, on what object, and where it helps, what to do. It is written by the deepest function that knows
 * the object, and only the command (or the mount's log) prints it. */
#pragma once

#include <stdarg.h>

struct err {
	int code; /* the -errno that went with the text, 0 when unset */
	char text[600];
};

/* Sets the text and returns `code`, so that a failure is one line. e may be NULL. Long texts are cut. */
int err_set(struct err *e, int code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* Like err_set, and adds ": " and the system's words for code. For failed system calls: code is -errno. */
int err_sys(struct err *e, int code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* Puts "prefix: " before a text that is already there; returns code. */
int err_wrap(struct err *e, int code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
