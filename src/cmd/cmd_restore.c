/* pgstrata restore: a base backup copied out, without a mount. */
#include "src/cmd/cmd.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/clean.h"
#include "src/base/clock.h"
#include "src/capture/restore.h"
#include "src/cmd/progress.h"

CLEANUP_DEFINE(struct store, store_free)
CLEANUP_DEFINE(struct snapshot, snapshot_free)

/* "16385=/srv/ts": false when it is not of this form. */
static bool parse_map(const char *text, struct restore_map *ret)
{
	uint64_t oid = 0;
	const char *s = text;

	for (; *s >= '0' && *s <= '9'; s++) {
		oid = oid * 10 + (uint64_t)(*s - '0');
		if (oid > UINT32_MAX)
			return false;
	}
	if (s == text || !oid || s[0] != '=' || !s[1])
		return false;
	*ret = (struct restore_map){.oid = {(uint32_t)oid}, .dir = s + 1};
	return true;
}

/* The maps of all --map options; the exit status when one is wrong. */
static int parse_maps(
	struct cmd_context *c, const struct cmd_usage *u, const struct cmd_list *l, struct restore_map **ret)
{
	_cleanup_(freep) struct restore_map *maps = calloc(l->n + 1, sizeof(*maps));
	struct err e = {0};

	if (!maps) {
		err_sys(&e, -ENOMEM, "--map");
		return cmd_fail(c, &e);
	}
	for (size_t i = 0; i < l->n; i++) {
		if (!parse_map(l->v[i], &maps[i]))
			return cmd_usage_error(c, u,
				"--map: \"%s\" is not of the form OID=DIR, like 16385=/srv/ts", l->v[i]);
		for (size_t j = 0; j < i; j++)
			if (maps[j].oid.v == maps[i].oid.v)
				return cmd_usage_error(
					c, u, "--map: tablespace %u is mapped twice", maps[i].oid.v);
	}
	*ret = MOVE(maps);
	return CMD_OK;
}

static int restore(struct cmd_context *c, const struct cmd_usage *u, struct restore_options *o)
{
	_cleanup_(store_freep) struct store *s = NULL;
	_cleanup_(snapshot_freep) struct snapshot *snap = NULL;
	uint64_t began = clock_mono_ns();
	struct progress *p;
	struct err e = {0};
	int r, status = cmd_open_store(c, u, 0, c->log, &s);
	char size[SIZE_TEXT];

	if (status != CMD_OK)
		return status;
	if (snapshot_resolve(s, c->cluster, SNAPSHOT_BASE, c->args[0], &snap, &e) < 0)
		return cmd_fail(c, &e);
	p = progress_start(c, "restoring", o->meter);
	r = capture_restore(s, snap, c->args[1], o, &e);
	progress_stop(p);
	if (r < 0) {
		if (atomic_load(&o->meter->done))
			err_wrap(&e, r, "restore of %s stopped, %s is incomplete", snap->id, c->args[1]);
		return cmd_fail(c, &e);
	}
	if (c->env.out_tty)
		printf("Restored %s/%s to %s: %s in %llu files, %.1f s.\nNext: pg_ctl start -D %s\n",
			snap->cluster, snap->id, c->args[1], cmd_size_text(snap->logical_bytes, size),
			(unsigned long long)snap->files, (double)(clock_mono_ns() - began) / 1e9, c->args[1]);
	return CMD_OK;
}

int cmd_restore(struct cmd_context *c, int argc, char **argv)
{
	struct cmd_list map_texts = {0};
	uint64_t threads = 0;
	const struct cmd_option options[] = {
		{"map", 'm', "OID=DIR", OPTION_LIST, &map_texts,
			"where a tablespace goes (default: DIR.tablespaces/OID);\nmay be given several "
			"times"},
		{"threads", 'j', "N", OPTION_COUNT, &threads, "threads that copy (default: one a processor)"},
		{0},
	};
	const struct cmd_usage usage = {
		.verb = "restore",
		.args = "ID DIR",
		.min_args = 2,
		.max_args = 2,
		.takes = TAKES_CLUSTER,
		.about = "Copies a base backup out, in parallel. DIR becomes the data directory itself; it "
			 "is made, or\n"
			 "must be empty. ID is as in \"pgstrata list\", or \"latest\". When the command is "
			 "done,\n"
			 "everything is on stable storage. When it is interrupted, DIR is incomplete: remove "
			 "it.",
		.example = "  pgstrata restore -r /srv/pgstrata latest /var/lib/postgresql/15/restored",
		.options = options,
	};
	_cleanup_(freep) struct restore_map *maps = NULL;
	struct meter meter = {0};
	struct restore_options o = {.owners = c->env.root, .meter = &meter};
	int status;

	if (!cmd_parse(c, &usage, argc, argv)) {
		cmd_list_free(&map_texts);
		return c->status;
	}
	status = threads > 1024 ? cmd_usage_error(c, &usage, "--threads must be from 1 to 1024")
				: parse_maps(c, &usage, &map_texts, &maps);
	if (status == CMD_OK) {
		o.threads = (unsigned)threads;
		o.maps = maps;
		o.n_maps = map_texts.n;
		o.log = c->log;
		status = restore(c, &usage, &o);
	}
	cmd_list_free(&map_texts);
	return status;
}
