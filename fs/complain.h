/* Errors on their way to a client: a number for it, and a line for the log. */
#pragma once

#include "src/base/err.h"
#include "src/base/log.h"

struct complaints;

int complaints_new(struct log *l, struct complaints **ret); /* -ENOMEM; l may be NULL */
void complaints_free(struct complaints *c);		    /* fine on NULL; logs what was held back */

/* What a client is told for -errno `code`: the positive errno. What says something about the client's request
 * (no such entry, not a directory, out of memory) stays; everything else is about the repository: EIO. */
int complaint_errno(int code);
/* The same for what a branch says. */
int complaint_errno_branch(int code);

/* Logs "OBJECT: text". The same line again within a minute is only counted, as is everything beyond a few
 * dozen lines a second: a client that reads a damaged file in a loop must not fill the disk. Thread-safe. */
void complain(struct complaints *c, const char *object, const struct err *e);
