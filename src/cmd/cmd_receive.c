/* pgstrata receive: a running server's WAL, as it is written. */
#include "src/cmd/cmd.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/clean.h"
#include "src/capture/receive.h"
#include "src/cmd/interrupt.h"
#include "src/cmd/server_options.h"

#define INTERVAL_MAX_S 3600

CLEANUP_DEFINE(struct store, store_free)

/* Seconds, also with a fraction, as milliseconds. False: they are not. */
static bool parse_interval(const char *text, unsigned *ret)
{
	char *end;
	double s;

	if (!text)
		return true;
	s = strtod(text, &end);
	if (end == text || *end || !(s >= 0.001 && s <= INTERVAL_MAX_S))
		return false;
	*ret = (unsigned)(s * 1000);
	return true;
}

/* What the options say in words; false: they were wrong, and that was said. */
static bool settle(struct cmd_context *c, const struct cmd_usage *u, struct receive_options *o,
	const char *interval, const char *until)
{
	c->status = CMD_OK;
	if (!parse_interval(interval, &o->flush_ms))
		c->status = cmd_usage_error(c, u, "--flush-interval must be seconds, from 0.001 to 3600");
	else if (until && !lsn_parse(until, strlen(until), &o->until))
		c->status = cmd_usage_error(c, u, "--until-lsn must be a position such as 1/2A000000");
	else if (o->no_slot && o->slot)
		c->status = cmd_usage_error(c, u, "--slot and --no-slot exclude each other");
	return c->status == CMD_OK;
}

int cmd_receive(struct cmd_context *c, int argc, char **argv)
{
	const char *interval = NULL, *until = NULL;
	struct receive_options o = {0};
	const struct cmd_option options[] = {
		CMD_SERVER_OPTIONS(o.server),
		{"slot", 'S', "NAME", OPTION_TEXT, &o.slot,
			"the replication slot, made when it is missing (default: pgstrata_CLUSTER)"},
		{"no-slot", 0, NULL, OPTION_FLAG, &o.no_slot,
			"no slot: the server may remove WAL that was not received yet"},
		{"flush-interval", 0, "SECONDS", OPTION_TEXT, &interval,
			"what came is durable after that (default: 1)"},
		{"synchronous", 0, NULL, OPTION_FLAG, &o.synchronous,
			"what came is durable at once, for a server whose commits wait for it (found out "
			"where\nsynchronous_standby_names has \"pgstrata receive\" or *)"},
		{"skip-gap", 0, NULL, OPTION_FLAG, &o.skip_gap,
			"where the server has removed WAL that is missing here, goes on behind the gap"},
		{"until-lsn", 0, "LSN", OPTION_TEXT, &until, "ends when everything before that is durable"},
		{0},
	};
	const struct cmd_usage usage = {
		.verb = "receive",
		.args = "",
		.takes = TAKES_CLUSTER,
		.about =
			"Receives a server's WAL (13 to 18) as it is written, and archives each segment when "
			"it is\ncomplete. Runs until it is ended by a signal; goes on where the repository's "
			"WAL ends, follows\ntimelines, and connects again when the server was away. Needs a "
			"connection for replication\n(max_wal_senders) and a replication slot, which keeps "
			"WAL on the server while nobody receives.",
		.example = "  pgstrata receive -r /srv/pgstrata -d 'host=db1 user=backup'",
		.options = options,
	};
	_cleanup_(store_freep) struct store *s = NULL;
	struct err e = {0};
	int status;

	if (!cmd_parse(c, &usage, argc, argv) || !settle(c, &usage, &o, interval, until))
		return c->status;
	o.server.application = "pgstrata receive";
	o.server.stop = interrupt_catch();
	o.server.log = c->log;
	status = cmd_open_store(c, &usage, 0, c->log, &s);
	if (status != CMD_OK)
		return status;
	return capture_receive(s, c->cluster, &o, &e) < 0 ? cmd_fail(c, &e) : CMD_OK;
}
