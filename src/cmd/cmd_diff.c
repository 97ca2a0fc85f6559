/* pgstrata diff: what two dumps of a database differ in. */
#include "src/cmd/cmd.h"

#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/clean.h"
#include "src/capture/dump_diff.h"
#include "src/cmd/choose.h"

CLEANUP_DEFINE(struct store, store_free)
CLEANUP_DEFINE(struct snapshot, snapshot_free)

static const char *const words[] = {"added", "dropped", "changed"};

/* Names of a database that is not in UTF-8 have '?' for what JSON cannot hold; control characters would break lines. */
static json_t *json_name(char *name)
{
	json_t *j = json_string(name);

	for (char *p = name; !j && *p; p++)
		if ((unsigned char)*p >= 0x80)
			*p = '?';
	return j ? j : json_string(name);
}

static int print_json(const struct snapshot *from, const struct snapshot *to, const struct dump_diff *d)
{
	json_t *list = json_array(), *all = NULL;
	int r = list ? 0 : -ENOMEM;

	for (size_t i = 0; i < d->n && !r; i++) {
		const struct dump_change *ch = &d->changes[i];

		r = json_array_append_new(
			list, json_pack("{s:o, s:s, s:s, s:b, s:b}", "object", json_name(ch->object), "type",
				      ch->type, "change", words[ch->how], "data", ch->data, "definition",
				      ch->definition));
	}
	if (!r)
		all = json_pack("{s:s, s:s, s:O}", "from", from->id, "to", to->id, "changes", list);
	if (all && !json_dumpf(all, stdout, JSON_INDENT(2)))
		putchar('\n');
	json_decref(list);
	r = all ? 0 : -ENOMEM;
	json_decref(all);
	return r;
}

static void print_text(const struct dump_diff *d)
{
	static const char signs[] = "+-~";

	for (size_t i = 0; i < d->n; i++) {
		const struct dump_change *ch = &d->changes[i];

		printf("%c %s ", signs[ch->how], ch->type);
		for (const char *p = ch->object; *p; p++)
			putchar((unsigned char)*p < 0x20 || *p == 0x7f ? ' ' : *p);
		if (ch->how == CHANGE_CHANGED)
			printf("  %s%s%s", ch->data ? "data" : "", ch->data && ch->definition ? ", " : "",
				ch->definition ? "definition" : "");
		putchar('\n');
	}
}

/* A dump before anything else of that id, of which the user is told that it is none. */
static int choose(struct store *s, const struct cmd_context *c, const char *id, const char *database,
	struct snapshot **ret, struct err *e)
{
	int r = cmd_choose(s, c->cluster, id, SNAPSHOT_DUMP, database, ret, e);

	if (r == -ENOENT && !database && strcmp(id, "latest") != 0 &&
		!snapshot_resolve(s, c->cluster, 0, id, ret, NULL))
		return 0;
	return r;
}

static int diff(struct cmd_context *c, struct store *s, const char *database, bool *ret, struct err *e)
{
	_cleanup_(snapshot_freep) struct snapshot *from = NULL;
	_cleanup_(snapshot_freep) struct snapshot *to = NULL;
	_cleanup_(dump_diff_release) struct dump_diff d = {0};
	int r = choose(s, c, c->args[0], database, &from, e);

	if (!r)
		r = choose(s, c, c->args[1], database, &to, e);
	if (!r)
		r = capture_dump_diff(s, from, to, &d, e);
	if (r < 0)
		return r;
	if (d.blobs_left_out)
		log_msg(c->log, LOG_LEVEL_WARNING,
			"large objects are not compared: a plain dump has them as commands, the other dump "
			"as "
			"they are");
	*ret = d.n > 0;
	if (!c->json)
		print_text(&d);
	else if (print_json(from, to, &d) < 0)
		return err_sys(e, -ENOMEM, "comparing dumps");
	return 0;
}

int cmd_diff(struct cmd_context *c, int argc, char **argv)
{
	const char *database = NULL;
	const struct cmd_option options[] = {
		{"database", 0, "NAME", OPTION_TEXT, &database,
			"dumps of this database; \"latest\" is its newest"},
		{0},
	};
	const struct cmd_usage usage = {
		.verb = "diff",
		.args = "DUMP1 DUMP2",
		.min_args = 2,
		.max_args = 2,
		.takes = TAKES_CLUSTER | TAKES_JSON,
		.about = "Names what two dumps differ in, of whatever format: \"+\" was added, \"-\" was "
			 "dropped, \"~\" changed:\n"
			 "a table's data, a sequence's position (called its data), any object's definition. "
			 "Both are "
			 "ids as in\n"
			 "\"pgstrata list\", or \"latest\". Ends with status 0 when there is no difference, "
			 "with 3 "
			 "when there is.",
		.example = "  pgstrata diff -r /srv/pgstrata --database shop 2026-11-20T02-15-07Z latest",
		.options = options,
	};
	_cleanup_(store_freep) struct store *s = NULL;
	struct err e = {0};
	bool different = false;
	int status;

	if (!cmd_parse(c, &usage, argc, argv))
		return c->status;
	status = cmd_open_store(c, &usage, 0, c->log, &s);
	if (status != CMD_OK)
		return status;
	if (diff(c, s, database, &different, &e) < 0)
		return cmd_fail(c, &e);
	return different ? CMD_DIFFERENT : CMD_OK;
}
