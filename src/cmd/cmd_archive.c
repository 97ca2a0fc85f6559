/* pgstrata archive-push and archive-get: what archive_command and restore_command call. */
#include "src/cmd/cmd.h"

#include <errno.h>
#include <stdio.h>

#include "src/base/clean.h"
#include "src/capture/archive.h"

CLEANUP_DEFINE(struct store, store_free)

/* What recovery must not take for the end of the archive. Above 125 the server gives recovery up, any lower status is
 * "not there" to it (RestoreArchivedFile, src/backend/access/transam/xlogarchive.c; wait_result_is_any_signal,
 * src/common/wait_error.c). 126 and 127 would be told as words about the shell, and 128 + n is signal n to it. */
#define GET_FAILED 255

/* Where notes on segments that were archived ahead go. NULL: nowhere. */
static char *notes_folder(const struct cmd_context *c, const struct store *s)
{
	char *p;

	if (!c->cache_dir || asprintf(&p, "%s/%s/pushed/%s", c->cache_dir, store_id(s), c->cluster) < 0)
		return NULL;
	return p;
}

int cmd_archive_push(struct cmd_context *c, int argc, char **argv)
{
	bool async = false;
	struct wal_push o = {.log = c->log};
	const struct cmd_option options[] = {
		{"async", 'a', NULL, OPTION_FLAG, &async,
			"when the server waits with more segments, archive several at a time"},
		CMD_THREADS_OPTION('j', &o.threads, "threads that compress"),
		{0},
	};
	const struct cmd_usage usage = {
		.verb = "archive-push",
		.args = "PATH",
		.min_args = 1,
		.max_args = 1,
		.takes = TAKES_CLUSTER,
		.about = "Archives one file of WAL: a segment, a .partial one, or a history file. When it "
			 "returns 0 the\nfile is durable in the repository. The same file again is success; "
			 "another one under the\nsame name is an error, and the old one stays.",
		.example = "  archive_command = 'pgstrata archive-push -r /srv/pgstrata -c main --async %p'",
		.options = options,
	};
	_cleanup_(store_freep) struct store *s = NULL;
	_cleanup_(freep) char *notes = NULL;
	struct err e = {0};
	bool known;
	int status;

	if (!cmd_parse(c, &usage, argc, argv))
		return c->status;
	status = cmd_open_store(c, &usage, 0, c->log, &s);
	if (status != CMD_OK)
		return status;
	o.log = c->log;
	o.ahead = async;
	o.notes = notes = async ? notes_folder(c, s) : NULL;
	if (capture_archive_push(s, c->cluster, c->args[0], &o, &known, &e) < 0)
		return cmd_fail(c, &e);
	if (known)
		log_msg(c->log, LOG_LEVEL_INFO, "%s was archived before, with the same content", c->args[0]);
	return CMD_OK;
}

/* *absent: the file is not in the archive. */
static int get(struct cmd_context *c, int argc, char **argv, bool *absent)
{
	struct wal_get o = {0};
	const struct cmd_option options[] = {
		{"async", 'a', NULL, OPTION_FLAG, &o.ahead,
			"unpack the next segment beside DEST while recovery replays this one"},
		{"partial", 'p', NULL, OPTION_FLAG, &o.partial,
			"of a segment that is not there whole, what there is of it, and zeroes"},
		{0},
	};
	const struct cmd_usage usage = {
		.verb = "archive-get",
		.args = "NAME DEST",
		.min_args = 2,
		.max_args = 2,
		.takes = TAKES_CLUSTER,
		.about = "Copies one file of WAL out of the archive. Exit status 1 when it is not there, "
			 "which is how\nrecovery finds the end of the archive; 255 for everything else that "
			 "goes wrong, which stops\nrecovery instead of ending it early.",
		.example =
			"  restore_command = 'pgstrata archive-get -r /srv/pgstrata -c main --async %f %p'",
		.options = options,
	};
	_cleanup_(store_freep) struct store *s = NULL;
	struct err e = {0};
	int status, r;

	if (!cmd_parse(c, &usage, argc, argv))
		return c->status;
	status = cmd_open_store(c, &usage, 0, c->log, &s);
	if (status != CMD_OK)
		return status;
	r = capture_archive_get(s, c->cluster, c->args[0], c->args[1], &o, &e);
	*absent = r == -ENOENT;
	return r < 0 ? cmd_fail(c, &e) : CMD_OK;
}

int cmd_archive_get(struct cmd_context *c, int argc, char **argv)
{
	bool absent = false;
	int status = get(c, argc, argv, &absent);

	return status == CMD_OK || absent ? status : GET_FAILED;
}
