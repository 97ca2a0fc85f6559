/* The options of verbs that connect to a server, named as in PostgreSQL's own programs: rows for a verb's table of
 * struct cmd_option. `o` is its struct replication_options. */
#pragma once

#include "src/capture/replication.h"
#include "src/cmd/cmd.h"

/* clang-format off */
#define CMD_SERVER_OPTIONS(o) \
	{"dbname", 'd', "CONNINFO", OPTION_TEXT, &(o).conninfo, \
		"the server, as \"host=… port=…\" or a URI (else libpq's environment variables)"}, \
	{"host", 'h', "HOST", OPTION_TEXT, &(o).host, "its host or socket directory"}, \
	{"port", 'p', "PORT", OPTION_TEXT, &(o).port, "its port"}, \
	{"username", 'U', "NAME", OPTION_TEXT, &(o).user, \
		"a role with the REPLICATION attribute; passwords come from .pgpass"}, \
	{"timeout", 0, "SECONDS", OPTION_TIMEOUT, &(o).timeout_s, \
		"a server that says nothing for so long counts as lost (default: 60)"}
/* clang-format on */
