/* pgstrata list: what the repository holds, as a table or as JSON. */
#include "src/cmd/cmd.h"

#include <errno.h>
#include <string.h>

#include "src/base/clean.h"
#include "src/cmd/table.h"

CLEANUP_DEFINE(struct store, store_free)
CLEANUP_DEFINE(struct snapshot, snapshot_free)

static const char *property_text(const struct snapshot *s, const char *key)
{
	const struct property *p = snapshot_get(s, key);

	return p && p->type == PROPERTY_TEXT ? p->text : "-";
}

static const bool right[] = {false, false, false, false, false, false, true, true, true, false};

static void add_row(struct table *t, const struct snapshot *s)
{
	char stop[TSTAMP_TEXT], logical[SIZE_TEXT], stored[SIZE_TEXT], files[24];

	snprintf(files, sizeof(files), "%llu", (unsigned long long)s->files);
	table_add(t, s->cluster);
	table_add(t, snapshot_kind_name(s->kind));
	table_add(t, property_text(s, "database"));
	table_add(t, s->id);
	table_add(t, tstamp_rfc3339(s->stop, stop));
	table_add(t, property_text(s, "pg_version"));
	table_add(t, files);
	table_add(t, cmd_size_text(s->logical_bytes, logical));
	table_add(t, cmd_size_text(s->stored_bytes, stored));
	table_add(t, property_text(s, "tags"));
}

/* Loads each in turn and hands it on, as a row or as JSON. What was pruned since it was listed is none. */
static int print_list(
	struct store *s, const struct snapshot_list *l, bool json, struct table *t, struct err *e)
{
	const char *sep = "\n";

	for (size_t i = 0; i < l->n; i++) {
		_cleanup_(snapshot_freep) struct snapshot *snap = NULL;
		const struct snapshot_ref *ref = &l->refs[i];
		struct buf b = {0};
		int r = snapshot_load(s, ref->cluster, ref->kind, ref->id, &snap, e);

		if (r == -ENOENT)
			continue;
		if (r < 0)
			return r;
		if (!json) {
			add_row(t, snap);
			continue;
		}
		r = snapshot_json(snap, 0, &b);
		if (r < 0 || b.bad) {
			buf_free(&b);
			return err_sys(e, r < 0 ? r : -ENOMEM, "%s", ref->id);
		}
		while (b.len && b.data[b.len - 1] == '\n')
			b.len--;
		fputs(sep, stdout);
		sep = ",\n";
		fwrite(b.data, 1, b.len, stdout);
		buf_free(&b);
	}
	return 0;
}

static void add_heading(struct table *t)
{
	static const char *const names[] = {
		"cluster", "kind", "database", "id", "end", "version", "files", "size", "added", "tags"};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		table_add(t, names[i]);
}

static int list(struct cmd_context *c, struct store *s, enum snapshot_kind kind, struct err *e)
{
	struct snapshot_list l = {0};
	struct table t;
	int r = snapshot_list(s, c->cluster_given ? c->cluster : NULL, kind, &l, e);

	if (r < 0)
		return r;
	table_init(&t, sizeof(right) / sizeof(right[0]), right);
	if (c->json)
		fputs("{\"snapshots\":[", stdout);
	else
		add_heading(&t);
	r = print_list(s, &l, c->json, &t, e);
	if (r == 0 && c->json) {
		fputs("]}\n", stdout);
	} else if (r == 0 && (l.n || !c->env.out_tty)) {
		r = table_print(&t, stdout);
		if (r < 0)
			err_sys(e, r, "table");
	} else if (r == 0) {
		printf("There are no snapshots yet. Next: pgstrata import base -r %s PATH\n", c->repo);
	}
	table_release(&t);
	snapshot_list_free(&l);
	return r;
}

int cmd_list(struct cmd_context *c, int argc, char **argv)
{
	enum snapshot_kind kind = 0;
	const struct cmd_option options[] = {
		{"kind", 'k', "KIND", OPTION_KIND, &kind, "only base, dump or globals"},
		{0},
	};
	const struct cmd_usage usage = {
		.verb = "list",
		.args = "",
		.takes = TAKES_CLUSTER | TAKES_JSON,
		.about = "Lists the snapshots, oldest first: of all clusters, or of the one that -c names. "
			 "\"size\" is\n"
			 "what the files have, \"added\" what the snapshot added to the repository.",
		.example = "  pgstrata list -r /srv/pgstrata --json | jq -r '.snapshots[-1].id'",
		.options = options,
	};
	_cleanup_(store_freep) struct store *s = NULL;
	struct err e = {0};
	int status;

	if (!cmd_parse(c, &usage, argc, argv))
		return c->status;
	status = cmd_open_store(c, &usage, 0, c->log, &s);
	if (status != CMD_OK)
		return status;
	if (list(c, s, kind, &e) < 0)
		return cmd_fail(c, &e);
	return CMD_OK;
}
