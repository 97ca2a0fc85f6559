/* pgstrata archive-push and archive-get: what archive_command and restore_command call. */
#include "src/cmd/cmd.h"

#include <errno.h>

#include "src/base/clean.h"
#include "src/capture/archive.h"

CLEANUP_DEFINE(struct store, store_free)

int cmd_archive_push(struct cmd_context *c, int argc, char **argv)
{
	const struct cmd_usage usage = {
		.verb = "archive-push",
		.args = "PATH",
		.min_args = 1,
		.max_args = 1,
		.takes = TAKES_CLUSTER,
		.about = "Archives one file of WAL: a segment, a .partial one, or a history file. When it "
			 "returns 0 the\nfile is durable in the repository. The same file again is success; "
			 "another one under the\nsame name is an error, and the old one stays.",
		.example = "  archive_command = 'pgstrata archive-push -r /srv/pgstrata -c main %p'",
	};
	_cleanup_(store_freep) struct store *s = NULL;
	struct err e = {0};
	bool known;
	int status;

	if (!cmd_parse(c, &usage, argc, argv))
		return c->status;
	status = cmd_open_store(c, &usage, 0, c->log, &s);
	if (status != CMD_OK)
		return status;
	if (capture_archive_push(s, c->cluster, c->args[0], &known, &e) < 0)
		return cmd_fail(c, &e);
	if (known)
		log_msg(c->log, LOG_LEVEL_INFO, "%s was archived before, with the same content", c->args[0]);
	return CMD_OK;
}

int cmd_archive_get(struct cmd_context *c, int argc, char **argv)
{
	const struct cmd_usage usage = {
		.verb = "archive-get",
		.args = "NAME DEST",
		.min_args = 2,
		.max_args = 2,
		.takes = TAKES_CLUSTER,
		.about = "Copies one file of WAL out of the archive. Exit status 1 when it is not there, "
			 "which is how\nrecovery finds the end of the archive.",
		.example = "  restore_command = 'pgstrata archive-get -r /srv/pgstrata -c main %f %p'",
	};
	_cleanup_(store_freep) struct store *s = NULL;
	struct err e = {0};
	int status;

	if (!cmd_parse(c, &usage, argc, argv))
		return c->status;
	status = cmd_open_store(c, &usage, 0, c->log, &s);
	if (status != CMD_OK)
		return status;
	if (capture_archive_get(s, c->cluster, c->args[0], c->args[1], &e) < 0)
		return cmd_fail(c, &e);
	return CMD_OK;
}
