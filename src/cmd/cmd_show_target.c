/* pgstrata show-target: how a point in time is reached, or why it cannot be. */
#include "src/cmd/cmd.h"

#include <errno.h>
#include <inttypes.h>

#include "src/base/clean.h"
#include "src/pit/pit.h"

CLEANUP_DEFINE(struct store, store_free)

static void print_text(const struct pit_point *p)
{
	char name[TARGET_TEXT], from[LSN_TEXT], end[LSN_TEXT], to[LSN_TEXT], size[SIZE_TEXT],
		when[TSTAMP_MICROS_TEXT];

	printf("target     %s\n", target_name(&p->target, name));
	printf("backup     %s (PostgreSQL %u, consistent at %s)\n", p->backup->id, p->pg_major,
		lsn_text(p->backup_end, end));
	printf("timeline   %u\n", p->tli.v);
	printf("replay     %s to %s, %s (%" PRIu64 " bytes)\n", lsn_text(p->from, from), lsn_text(p->to, to),
		cmd_size_text(p->replay_bytes, size), p->replay_bytes);
	printf("WAL        %s to %s, %" PRIu64 " segment%s%s\n", p->first_wal, p->last_wal, p->segments,
		p->segments == 1 ? "" : "s", p->partial ? ", the last one partial" : "");
	if (p->xid)
		printf("last commit %s, transaction %u\n", tstamp_micros(p->time, "Z", when), p->xid);
	else
		printf("last commit none after the backup began\n");
}

static int print_json(const struct pit_point *p, struct err *e)
{
	_cleanup_(buf_free) struct buf b = {0};

	if (pit_point_json(p, 2, &b) < 0)
		return err_sys(e, -ENOMEM, "the target");
	fwrite(b.data, 1, b.len, stdout);
	putchar('\n');
	return 0;
}

static int show(struct cmd_context *c, struct store *s, const struct target *t, struct err *e)
{
	_cleanup_(pit_freep) struct pit *p = NULL;
	_cleanup_(pit_point_release) struct pit_point point = {0};
	int r = pit_new(s, c->cluster, c->log, &p, e);

	if (!r)
		r = pit_resolve(p, t, &point, e);
	if (r < 0)
		return r;
	if (c->json)
		return print_json(&point, e);
	print_text(&point);
	return 0;
}

int cmd_show_target(struct cmd_context *c, int argc, char **argv)
{
	const struct cmd_usage usage = {
		.verb = "show-target",
		.args = "TARGET",
		.min_args = 1,
		.max_args = 1,
		.takes = TAKES_CLUSTER | TAKES_JSON,
		.about = "Shows how a point in time is reached: the backup, the timeline, the WAL to replay; "
			 "or "
			 "says why it\ncannot be. TARGET is \"latest\", a time, lsn-X/X, xid-N or "
			 "name-RESTORE_POINT, "
			 "with @TIMELINE\nafter it if need be.",
		.example = "  pgstrata show-target -r /srv/pgstrata 2026-11-20T14:14:59+01:00",
	};
	_cleanup_(store_freep) struct store *s = NULL;
	struct target t;
	struct err e = {0};
	int status;

	if (!cmd_parse(c, &usage, argc, argv))
		return c->status;
	if (target_parse(c->args[0], &t, &e) < 0)
		return cmd_usage_error(c, &usage, "%s", e.text);
	status = cmd_open_store(c, &usage, 0, c->log, &s);
	if (status != CMD_OK)
		return status;
	return show(c, s, &t, &e) < 0 ? cmd_fail(c, &e) : CMD_OK;
}
