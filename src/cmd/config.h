/* The config file: where the repository is, when nobody says so on the command line, and what prune keeps.
 *
 *	[pgstrata]
 *	repo = /srv/pgstrata
 *	cluster = main
 *	cache-dir = /var/cache/pgstrata
 *	[retention]
 *	keep-daily = 7
 *
 * Sections of retention: retention_rules.h. */
#pragma once

#include <stdbool.h>

#include "src/base/err.h"
#include "src/cmd/retention_rules.h"

/* Strings are malloc'ed or NULL. */
struct config {
	char *repo;
	char *cluster;
	char *cache_dir;
	struct retention_sets retention;
};

/* Reads a file over what *c has: a value that the file gives replaces the one there, a section of retention the whole
 * section there. A section, key or line
 * that is not known is -EINVAL with file and line; so is an empty value. -ENOENT without a text when the
 * file is not there. */
int config_read(const char *path, struct config *c, struct err *e);
void config_release(struct config *c);
