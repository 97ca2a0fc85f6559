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
#include "src/pit/pit.h"

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
	const char *id, *dest;
	const char *database, *target;
	struct target at; /* what `target` says */
};

/* The way to the target, and the settings by which a copy of its backup goes there. */
static int find_point(struct cmd_context *c, struct store *s, const struct target *t, struct pit_point *ret,
	char **ret_settings, struct err *e)
{
	_cleanup_(freep) char *program = realpath("/proc/self/exe", NULL), *repo = realpath(c->repo, NULL);
	_cleanup_(freep) char *command = NULL;
	_cleanup_(pit_freep) struct pit *p = NULL;
	int r;

	if (!program || !repo)
		return err_sys(e, -errno, "%s", program ? c->repo : "/proc/self/exe");
	r = pit_new(s, c->cluster, c->log, &p, e);
	r = r ? r : pit_resolve(p, t, ret, e);
	r = r ? r : pit_archive_command(program, repo, c->cluster, &command, e);
	return r ? r : pit_settings(ret, command, PIT_PROMOTE, ret_settings, e);
}

/* point: where it will recover to, or NULL. */
static void print_done(const struct cmd_context *c, const struct snapshot *snap,
	const struct pit_point *point, const char *path, uint64_t began)
{
	char size[SIZE_TEXT], name[TARGET_TEXT];
	double took = (double)(clock_mono_ns() - began) / 1e9;

	if (!c->env.out_tty)
		return;
	if (snap->kind != SNAPSHOT_BASE) {
		printf("Restored %s/%s to %s, %.1f s.\n", snap->cluster, snap->id, path, took);
		return;
	}
	printf("Restored %s/%s to %s: %s in %llu files, %.1f s.\n", snap->cluster, snap->id, path,
		cmd_size_text(snap->logical_bytes, size), (unsigned long long)snap->files, took);
	if (point)
		printf("When it is started, it replays %s of WAL to %s and is then ready for use.\n",
			cmd_size_text(point->replay_bytes, size), target_name(&point->target, name));
	printf("Next: pg_ctl start -D %s\n", path);
}

static int copy_out(struct cmd_context *c, const struct cmd_usage *u, struct store *s,
	const struct snapshot *snap, const struct pit_point *point, struct wish *w)
{
	_cleanup_(freep) char *path = NULL;
	uint64_t began = clock_mono_ns();
	struct progress *p;
	struct err e = {0};
	int r;

	if (snap->kind != SNAPSHOT_BASE && w->o.n_maps)
		return cmd_usage_error(c, u, "--map is for base backups, and %s is a dump", snap->id);
	p = progress_start(c, "restoring", w->o.meter);
	r = snap->kind == SNAPSHOT_BASE ? capture_restore(s, snap, w->dest, &w->o, &e)
					: capture_restore_dump(s, snap, w->dest, &w->o, &path, &e);
	progress_stop(p);
	if (r < 0) {
		if (snap->kind == SNAPSHOT_BASE && atomic_load(&w->o.meter->done))
			err_wrap(&e, r, "restore of %s stopped, %s is incomplete", snap->id, w->dest);
		return cmd_fail(c, &e);
	}
	print_done(c, snap, point, path ? path : w->dest, began);
	return CMD_OK;
}

static int restore(struct cmd_context *c, const struct cmd_usage *u, struct wish *w)
{
	_cleanup_(store_freep) struct store *s = NULL;
	_cleanup_(snapshot_freep) struct snapshot *snap = NULL;
	_cleanup_(pit_point_release) struct pit_point point = {0};
	_cleanup_(freep) char *settings = NULL;
	struct err e = {0};
	int r, status = cmd_open_store(c, u, 0, c->log, &s);

	if (status != CMD_OK)
		return status;
	if (w->target)
		r = find_point(c, s, &w->at, &point, &settings, &e);
	else
		r = cmd_choose(s, c->cluster, w->id, w->kind, w->database, &snap, &e);
	if (r < 0)
		return cmd_fail(c, &e);
	w->o.recovery = settings;
	return copy_out(c, u, s, snap ? snap : point.backup, snap ? NULL : &point, w);
}

/* What the options say together. */
static int check_wish(struct cmd_context *c, const struct cmd_usage *u, struct wish *w)
{
	struct err e = {0};

	if (!w->target && c->n_args < 2)
		return cmd_usage_error(c, u, "something is missing: pgstrata restore wants %s", u->args);
	if (w->target && c->n_args > 1)
		return cmd_usage_error(
			c, u, "--target finds the backup itself: leave \"%s\" out", c->args[0]);
	if (w->target && (w->database || (w->kind && w->kind != SNAPSHOT_BASE)))
		return cmd_usage_error(c, u, "--target is for base backups");
	if (w->target && target_parse(w->target, &w->at, &e) < 0)
		return cmd_usage_error(c, u, "%s", e.text);
	if (w->database && w->kind && w->kind != SNAPSHOT_DUMP)
		return cmd_usage_error(c, u, "--database is for dumps");
	w->id = w->target ? NULL : c->args[0];
	w->dest = c->args[c->n_args - 1];
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
		{"target", 't', "TARGET", OPTION_TEXT, &w.target,
			"instead of ID: the backup that leads to this moment, made to recover to it"},
		{"map", 'm', "OID=DIR", OPTION_LIST, &map_texts,
			"where a tablespace goes (default: DIR.tablespaces/OID);\nmay be given several "
			"times"},
		CMD_THREADS_OPTION('j', &w.o.threads, "threads that copy"),
		{0},
	};
	const struct cmd_usage usage = {
		.verb = "restore",
		.args = "ID|--target TARGET DEST",
		.min_args = 1,
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
			 "ID is as in \"pgstrata list\", or \"latest\". With --target the copy recovers to "
			 "that moment when it\n"
			 "is started, with WAL that pgstrata gives it: \"latest\", a time, lsn-X/X, xid-N or "
			 "name-RESTORE_POINT,\n"
			 "with @TIMELINE after it if need be. When the command is done, everything is on "
			 "stable storage. When\n"
			 "it is interrupted, a directory is incomplete: remove it.",
		.example = "  pgstrata restore -r /srv/pgstrata latest /var/lib/postgresql/15/restored\n"
			   "  pgstrata restore -r /srv/pgstrata --target '2026-11-20 14:14:59+01' /srv/copy\n"
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
	if (status == CMD_OK)
		status = check_wish(c, &usage, &w);
	if (status == CMD_OK) {
		w.o.maps = maps;
		w.o.n_maps = map_texts.n;
		w.o.log = c->log;
		status = restore(c, &usage, &w);
	}
	cmd_list_free(&map_texts);
	return status;
}
