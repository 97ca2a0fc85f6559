/* pgstrata branches: what is open on this machine, as a table or as JSON. */
#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "fs/branch_dir.h"
#include "src/base/clean.h"
#include "src/cmd/branch_place.h"
#include "src/cmd/branch_server.h"
#include "src/cmd/cmd.h"
#include "src/cmd/table.h"

CLEANUP_DEFINE(struct store, store_free)

struct listing {
	struct cmd_context *c;
	const struct branch_place *place;
	struct table table;
	json_t *array; /* NULL: a table */
	struct tstamp now;
};

static int add_json(struct listing *l, const struct branch_spec *s, const char *state, uint64_t bytes,
	const char *conninfo, const struct instance_record *rec)
{
	char created[TSTAMP_TEXT];
	json_t *o = json_object();
	int r = o ? 0 : -1;

	r |= json_object_set_new(o, "name", json_string(s->name));
	r |= json_object_set_new(o, "cluster", json_string(s->cluster));
	r |= json_object_set_new(o, "state", json_string(state));
	r |= json_object_set_new(o, "backup", json_string(s->backup));
	r |= json_object_set_new(o, "target", s->target ? json_string(s->target) : json_null());
	r |= json_object_set_new(o, "created", json_string(tstamp_rfc3339(s->created, created)));
	r |= json_object_set_new(o, "bytes", json_integer((json_int_t)bytes));
	r |= json_object_set_new(o, "max_bytes", json_integer((json_int_t)s->max_bytes));
	r |= json_object_set_new(o, "durable", json_boolean(s->durable));
	r |= json_object_set_new(o, "read_only", json_boolean(rec->read_only));
	r |= json_object_set_new(o, "mount", rec->mount ? json_string(rec->mount) : json_null());
	r |= json_object_set_new(o, "conninfo", conninfo ? json_string(conninfo) : json_null());
	return r | json_array_append_new(l->array, o);
}

static void add_row(struct listing *l, const struct branch_spec *s, const char *state, uint64_t bytes,
	const char *conninfo)
{
	char size[SIZE_TEXT], age[DURATION_TEXT];
	int64_t sec = l->now.sec - s->created.sec;

	table_add(&l->table, s->cluster);
	table_add(&l->table, s->name);
	table_add(&l->table, state);
	table_add(&l->table, s->target ? s->target : s->backup);
	table_add(&l->table, cmd_size_text(bytes, size));
	table_add(&l->table, cmd_duration_text(sec > 0 ? (uint64_t)sec : 0, age));
	table_add(&l->table, conninfo ? conninfo : "-");
}

static int add_branch(struct listing *l, const char *cluster, const char *name, struct err *e)
{
	_cleanup_(branch_spec_release) struct branch_spec spec = {0};
	_cleanup_(instance_record_release) struct instance_record rec = {0};
	_cleanup_(freep) char *conninfo = NULL;
	uint64_t bytes = 0;
	const char *state;
	bool has_record;
	int r = branch_load(l->place->dir, cluster, name, &spec, e);

	r = r ? r : branch_usage(l->place->dir, cluster, name, &bytes, e);
	if (r == -ENOENT)
		return 0; /* closed meanwhile */
	if (r < 0)
		return r;
	r = branch_place_record(l->place, cluster, name, &rec, e);
	has_record = r == 0;
	if (r < 0 && r != -ENOENT)
		return r;
	state = branch_server_state(has_record ? &rec : NULL);
	if (!strcmp(state, "running") && *rec.user)
		conninfo = branch_server_conninfo(&rec);
	if (!l->array) {
		add_row(l, &spec, state, bytes, conninfo);
		return 0;
	}
	return add_json(l, &spec, state, bytes, conninfo, &rec) ? err_sys(e, -ENOMEM, "%s", name) : 0;
}

static int add_cluster(struct listing *l, const char *cluster, struct err *e)
{
	char **names = NULL;
	size_t n = 0;
	int r;

	if (l->c->cluster_given && strcmp(cluster, l->c->cluster) != 0)
		return 0;
	r = branch_names(l->place->dir, cluster, &names, &n, e);
	for (size_t i = 0; i < n; i++) {
		r = r ? r : add_branch(l, cluster, names[i], e);
		free(names[i]);
	}
	free(names);
	return r;
}

static int add_all(struct listing *l, struct err *e)
{
	char **clusters = NULL;
	size_t n = 0;
	int r = branch_place_clusters(l->place, &clusters, &n, e);

	for (size_t i = 0; i < n; i++) {
		r = r ? r : add_cluster(l, clusters[i], e);
		free(clusters[i]);
	}
	free(clusters);
	return r;
}

static int print_json(struct listing *l, struct err *e)
{
	json_t *o = json_pack("{s:O}", "branches", l->array);
	_cleanup_(freep) char *text = o ? json_dumps(o, JSON_INDENT(2)) : NULL;

	json_decref(o);
	if (!text)
		return err_sys(e, -ENOMEM, "branches");
	puts(text);
	return 0;
}

static int print_table(struct listing *l, struct err *e)
{
	if (l->table.n <= l->table.columns && l->c->env.out_tty) {
		puts("No branch is open. Next: pgstrata open --target latest");
		return 0;
	}
	return table_print(&l->table, stdout) < 0 ? err_sys(e, -ENOMEM, "branches") : 0;
}

static int list(struct cmd_context *c, const struct branch_place *place, struct err *e)
{
	static const bool right[] = {false, false, false, false, true, true, false};
	static const char *const names[] = {"cluster", "name", "state", "at", "size", "age", "connection"};
	struct listing l = {.c = c, .place = place, .now = clock_now()};
	int r;

	table_init(&l.table, sizeof(right) / sizeof(*right), right);
	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
		table_add(&l.table, names[i]);
	l.array = c->json ? json_array() : NULL;
	r = c->json && !l.array ? err_sys(e, -ENOMEM, "branches") : add_all(&l, e);
	r = r ? r : c->json ? print_json(&l, e) : print_table(&l, e);
	json_decref(l.array);
	table_release(&l.table);
	return r;
}

int cmd_branches(struct cmd_context *c, int argc, char **argv)
{
	const char *scratch = NULL;
	const struct cmd_option options[] = {
		{"scratch", 0, "DIR", OPTION_TEXT, &scratch,
			"where branches are (default: beside the cache)"},
		{0},
	};
	const struct cmd_usage usage = {
		.verb = "branches",
		.args = "",
		.takes = TAKES_CLUSTER | TAKES_JSON,
		.about = "Lists the branches of the repository on this machine, of all clusters or of the "
			 "one that -c\n"
			 "names: running, opening, closed (kept by \"close --keep\"), without a server, or "
			 "crashed, mount died.\n"
			 "A crashed or closed one is started again by \"open --resume NAME\", removed by "
			 "\"close "
			 "NAME\".",
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
	if (branch_place_find(c, scratch, s, &place, &e) < 0 || list(c, &place, &e) < 0)
		return cmd_fail(c, &e);
	return CMD_OK;
}
