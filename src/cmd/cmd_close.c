/* pgstrata close: ends what "pgstrata open" began. */
#include "src/base/clean.h"
#include "src/cmd/opened.h"
#include "src/cmd/cmd.h"

CLEANUP_DEFINE(struct store, store_free)

int cmd_close(struct cmd_context *c, int argc, char **argv)
{
	const char *scratch = NULL;
	bool keep = false;
	const struct cmd_option options[] = {
		{"keep", 0, NULL, OPTION_FLAG, &keep,
			"stops the server and keeps the branch, for \"open --resume NAME\""},
		{"scratch", 0, "DIR", OPTION_TEXT, &scratch,
			"where branches are (default: beside the cache)"},
		{0},
	};
	const struct cmd_usage usage = {
		.verb = "close",
		.args = "NAME",
		.min_args = 1,
		.max_args = 1,
		.takes = TAKES_CLUSTER,
		.about = "Stops the PostgreSQL that \"pgstrata open\" started, removes its branch with all "
			 "that was\n"
			 "written there, and takes the mount away when it was the last. Clears what is left "
			 "of one\n"
			 "that crashed, too.",
		.options = options,
	};
	_cleanup_(branch_place_release) struct branch_place place = {0};
	_cleanup_(store_freep) struct store *s = NULL;
	struct err e = {0};
	int status;

	if (!cmd_parse(c, &usage, argc, argv))
		return c->status;
	status = cmd_open_store(c, &usage, 0, c->log, &s);
	if (status != CMD_OK)
		return status;
	if (branch_place_find(c, scratch, s, &place, &e) < 0 ||
		opened_close(&place, c->cluster, c->args[0], keep, &e) < 0)
		return cmd_fail(c, &e);
	return CMD_OK;
}
