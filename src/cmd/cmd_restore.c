/* pgstrata restore: a base backup or a dump copied out, without a mount. */
#include "src/cmd/cmd.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/clean.h"
#include "src/base/clock.h"
#include "src/capture/restore.h"
#include "src/capture/restore_dump.h"
#include "src/cmd/choose.h"
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

/* What is wanted of a restore, from the command line. */
struct wish {
	struct restore_options o;
	enum snapshot_kind kind;
	const char *database;
};

static void print_done(
	const struct cmd_context *c, const struct snapshot *snap, const char *path, uint64_t began)
{
	char size[SIZE_TEXT];
	double took = (double)(clock_mono_ns() - began) / 1e9;

	if (!c->env.out_tty)
		return;
	if (snap->kind == SNAPSHOT_BASE)
		printf("Restored %s/%s to %s: %s in %llu files, %.1f s.\nNext: pg_ctl start -D %s\n",
			snap->cluster, snap->id, path, cmd_size_text(snap->logical_bytes, size),
			(unsigned long long)snap->files, took, path);
	else
		printf("Restored %s/%s to %s, %.1f s.\n", snap->cluster, snap->id, path, took);
}

static int restore(struct cmd_context *c, const struct cmd_usage *u, struct wish *w)
{
	_cleanup_(store_freep) struct store *s = NULL;
	_cleanup_(snapshot_freep) struct snapshot *snap = NULL;
	_cleanup_(freep) char *path = NULL;
	uint64_t began = clock_mono_ns();
	struct progress *p;
	struct err e = {0};
	int r, status = cmd_open_store(c, u, 0, c->log, &s);

	if (status != CMD_OK)
		return status;
	if (cmd_choose(s, c->cluster, c->args[0], w->kind, w->database, &snap, &e) < 0)
		return cmd_fail(c, &e);
	if (snap->kind != SNAPSHOT_BASE && w->o.n_maps)
		return cmd_usage_error(c, u, "--map is for base backups, and %s is a dump", snap->id);
	p = progress_start(c, "restoring", w->o.meter);
	r = snap->kind == SNAPSHOT_BASE ? capture_restore(s, snap, c->args[1], &w->o, &e)
					: capture_restore_dump(s, snap, c->args[1], &w->o, &path, &e);
	progress_stop(p);
	if (r < 0) {
		if (snap->kind == SNAPSHOT_BASE && atomic_load(&w->o.meter->done))
			err_wrap(&e, r, "restore of %s stopped, %s is incomplete", snap->id, c->args[1]);
		return cmd_fail(c, &e);
	}
	print_done(c, snap, path ? path : c->args[1], began);
	return CMD_OK;
}

int cmd_restore(struct cmd_context *c, int argc, char **argv)
{
	struct cmd_list map_texts = {0};
	struct meter meter = {0};
	struct wish w = {.o = {.owners = c->env.root, .meter = &meter}};
	const struct cmd_option options[] = {
		{"database", 0, "NAME", OPTION_TEXT, &w.database,
			"a dump of this database; \"latest\" is its newest"},
		{"kind", 'k', "KIND", OPTION_KIND, &w.kind,
			"base, dump or globals (default for \"latest\": base)"},
		{"map", 'm', "OID=DIR", OPTION_LIST, &map_texts,
			"where a tablespace goes (default: DIR.tablespaces/OID);\nmay be given several "
			"times"},
		CMD_THREADS_OPTION('j', &w.o.threads, "threads that copy"),
		{0},
	};
	const struct cmd_usage usage = {
		.verb = "restore",
		.args = "ID DEST",
		.min_args = 2,
		.max_args = 2,
		.takes = TAKES_CLUSTER,
		.about = "Copies a base backup or a dump out, in parallel. A base backup's DEST becomes the "
			 "data "
			 "directory\n"
			 "itself; it is made, or must be empty. So is that of a dump in directory format. "
			 "Any other "
			 "dump, and\n"
			 "globals, become the file DEST, or a file in it when it is a directory; nothing is "
			 "overwritten.\n"
			 "ID is as in \"pgstrata list\", or \"latest\". When the command is done, everything "
			 "is on "
			 "stable\n"
			 "storage. When it is interrupted, a directory is incomplete: remove it.",
		.example = "  pgstrata restore -r /srv/pgstrata latest /var/lib/postgresql/15/restored\n"
			   "  pgstrata restore -r /srv/pgstrata --database shop latest /var/tmp/shop.pgdump",
		.options = options,
	};
	_cleanup_(freep) struct restore_map *maps = NULL;
	int status;

	if (!cmd_parse(c, &usage, argc, argv)) {
		cmd_list_free(&map_texts);
		return c->status;
	}
	status = parse_maps(c, &usage, &map_texts, &maps);
	if (status == CMD_OK && w.database && w.kind && w.kind != SNAPSHOT_DUMP)
		status = cmd_usage_error(c, &usage, "--database is for dumps");
	if (status == CMD_OK) {
		w.o.maps = maps;
		w.o.n_maps = map_texts.n;
		w.o.log = c->log;
		status = restore(c, &usage, &w);
	}
	cmd_list_free(&map_texts);
	return status;
}
