/* pgstrata show: one snapshot in full. */
#include "src/cmd/cmd.h"

#include <errno.h>
#include <string.h>

#include "src/base/clean.h"
#include "src/cmd/choose.h"

CLEANUP_DEFINE(struct store, store_free)
CLEANUP_DEFINE(struct snapshot, snapshot_free)

#define NAME_WIDTH 20

static void line(const char *name, const char *value)
{
	printf("%-*s ", NAME_WIDTH, name);
	/* Values of several lines stand below each other. */
	for (const char *s = value; *s; s++) {
		putchar(*s);
		if (*s == '\n')
			printf("%*s", NAME_WIDTH + 1, "");
	}
	putchar('\n');
}

static void line_time(const char *name, struct tstamp t)
{
	char text[TSTAMP_TEXT];

	line(name, t.sec ? tstamp_rfc3339(t, text) : "unknown");
}

static void line_number(const char *name, uint64_t n)
{
	char text[24];

	snprintf(text, sizeof(text), "%llu", (unsigned long long)n);
	line(name, text);
}

/* People get both: a size to understand, and the number of bytes. */
static void line_size(const char *name, uint64_t n)
{
	char size[SIZE_TEXT], text[64];

	snprintf(text, sizeof(text), "%s (%llu bytes)", cmd_size_text(n, size), (unsigned long long)n);
	line(name, text);
}

static void line_property(const struct property *p)
{
	switch (p->type) {
	case PROPERTY_TEXT:
		line(p->key, p->text);
		return;
	case PROPERTY_NUMBER:
		line_number(p->key, p->number);
		return;
	case PROPERTY_BOOL:
		line(p->key, p->number ? "yes" : "no");
		return;
	}
}

static void print_text(const struct snapshot *s)
{
	line("id", s->id);
	line("cluster", s->cluster);
	line("kind", snapshot_kind_name(s->kind));
	line_time("start_time", s->start);
	line_time("stop_time", s->stop);
	line_time("created", s->created);
	line("parent", s->parent ? s->parent : "none");
	line_number("files", s->files);
	line_number("directories", s->dirs);
	line_number("symlinks", s->symlinks);
	line_size("logical_bytes", s->logical_bytes);
	line_size("unique_bytes", s->unique_bytes);
	line_size("stored_bytes", s->stored_bytes);
	for (size_t i = 0; i < s->n_props; i++)
		line_property(&s->props[i]);
}

static int print_json(const struct snapshot *s, struct err *e)
{
	struct buf b = {0};
	int r = snapshot_json(s, 2, &b);

	if (r == 0 && b.bad)
		r = -ENOMEM;
	if (r == 0) {
		fwrite(b.data, 1, b.len, stdout);
		if (!b.len || b.data[b.len - 1] != '\n')
			putchar('\n');
	}
	buf_free(&b);
	return r < 0 ? err_sys(e, r, "%s", s->id) : 0;
}

/* "latest" is the newest of every kind. */
static int choose(struct store *s, const struct cmd_context *c, enum snapshot_kind kind,
	struct snapshot **ret, struct err *e)
{
	if (!kind && !strcmp(c->args[0], "latest"))
		return snapshot_resolve(s, c->cluster, 0, c->args[0], ret, e);
	return cmd_choose(s, c->cluster, c->args[0], kind, NULL, ret, e);
}

int cmd_show(struct cmd_context *c, int argc, char **argv)
{
	enum snapshot_kind kind = 0;
	const struct cmd_option options[] = {
		{"kind", 'k', "KIND", OPTION_KIND, &kind, "the one of this kind: base, dump or globals"},
		{0},
	};
	const struct cmd_usage usage = {
		.verb = "show",
		.args = "ID",
		.min_args = 1,
		.max_args = 1,
		.takes = TAKES_CLUSTER | TAKES_JSON,
		.about = "Shows one snapshot in full. ID is as in \"pgstrata list\", or \"latest\".",
		.example = "  pgstrata show -r /srv/pgstrata latest",
		.options = options,
	};
	_cleanup_(store_freep) struct store *s = NULL;
	_cleanup_(snapshot_freep) struct snapshot *snap = NULL;
	struct err e = {0};
	int status;

	if (!cmd_parse(c, &usage, argc, argv))
		return c->status;
	status = cmd_open_store(c, &usage, 0, c->log, &s);
	if (status != CMD_OK)
		return status;
	if (choose(s, c, kind, &snap, &e) < 0)
		return cmd_fail(c, &e);
	if (!c->json)
		print_text(snap);
	else if (print_json(snap, &e) < 0)
		return cmd_fail(c, &e);
	return CMD_OK;
}
