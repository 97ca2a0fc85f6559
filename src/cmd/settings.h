/* The settings that all verbs share: command line over environment over config file over default. */
#pragma once

#include <stdbool.h>

#include "src/cmd/cmd.h"

/* What the command line said; NULL: nothing. */
struct settings {
	const char *repo, *cluster, *cache_dir, *config;
	bool help;
};

/* Reads the config files and fills c's repo, cluster, cache_dir and log. A config file that was named but is
 * not there is -ENOENT; a cluster name that cannot be one is -EINVAL. */
int settings_apply(struct cmd_context *c, const struct settings *s, struct err *e);
