/* What a dump's snapshot has: definitions from schema.sql, data from tables/ and blobs/, positions of sequences from an archive's
 * contents. See dump_diff_priv.h. */
#include "src/capture/dump_diff_priv.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/clean.h"
#include "src/pg/dump_sections.h"
#include "src/pg/dump_text.h"
#include "store/file.h"

#define BLOCK (256u << 10)

CLEANUP_DEFINE(struct file, file_free)

static void item_release(struct diff_item *it)
{
	free(it->database);
	free(it->schema);
	free(it->name);
	free(it->type);
	free(it->file);
}

void diff_list_release(struct diff_list *l)
{
	for (size_t i = 0; i < l->n; i++)
		item_release(&l->v[i]);
	free(l->v);
	*l = (struct diff_list){0};
}

static bool is_blobs(const struct diff_item *it)
{
	return it->what == DIFF_DATA && !strncmp(it->type, "large object", strlen("large object"));
}

bool diff_list_drop_blobs(struct diff_list *l)
{
	size_t n = 0, all = l->n;

	for (size_t i = 0; i < all; i++) {
		if (is_blobs(&l->v[i]))
			item_release(&l->v[i]);
		else
			l->v[n++] = l->v[i];
	}
	l->n = n;
	return n < all;
}

/* Adds an item, whose strings it takes over. */
static int add(struct diff_list *l, struct diff_item it, struct err *e)
{
	bool ok = it.database && it.schema && it.name && it.type;

	if (ok && l->n == l->cap) {
		size_t cap = l->cap ? 2 * l->cap : 256;
		struct diff_item *more = realloc(l->v, cap * sizeof(*more));

		ok = more != NULL;
		l->v = more ? more : l->v;
		l->cap = more ? cap : l->cap;
	}
	if (!ok) {
		item_release(&it);
		return err_sys(e, -ENOMEM, "comparing dumps");
	}
	l->v[l->n++] = it;
	return 0;
}

/* The objects of SQL on their way into the list: the last one's text is being digested. */
struct collect {
	struct diff_list *l;
	struct diff_item it;
	bool any;
	struct digester *d;
};

/* An object without any text is as good as none: formats differ in whether they mention it. */
static int end_section(struct collect *c, struct err *e)
{
	struct diff_item it = c->it;

	c->it = (struct diff_item){0};
	if (!c->d)
		return 0;
	it.digest = digester_end(c->d);
	digester_free(MOVE(c->d));
	if (!c->any) {
		item_release(&it);
		return 0;
	}
	return add(c->l, it, e);
}

static void collect_release(struct collect *c)
{
	item_release(&c->it);
	digester_free(c->d);
}

/* "MATERIALIZED VIEW": "materialized view"; rows are their table's, positions their sequence's. */
static char *type_text(const struct dump_section *sec)
{
	char *text = strdup(sec->kind == SECTION_DEFINITION	 ? sec->type
			    : !strcmp(sec->type, "BLOBS")	 ? "large objects"
			    : !strcmp(sec->type, "SEQUENCE SET") ? "sequence"
								 : "table");

	for (char *p = text; p && *p; p++)
		*p = (char)tolower((unsigned char)*p);
	return text;
}

static int on_section(void *arg, const struct dump_section *sec, struct err *e)
{
	struct collect *c = arg;
	int r = end_section(c, e);

	if (r < 0)
		return r;
	c->any = false;
	c->it = (struct diff_item){.database = strdup(sec->database),
		.schema = strdup(sec->schema),
		.name = strdup(sec->name),
		.type = type_text(sec),
		.what = sec->kind == SECTION_DATA ? DIFF_DATA : DIFF_DEFINITION,
		.inserts = sec->kind == SECTION_DATA};
	c->d = digester_new();
	return c->d ? 0 : err_sys(e, -ENOMEM, "comparing dumps");
}

static int on_text(void *arg, const void *p, size_t n, struct err *e)
{
	struct collect *c = arg;

	(void)e;
	c->any = true;
	digester_add(c->d, p, n);
	return 0;
}

static const struct dump_sections_ops ops = {.section = on_section, .text = on_text};

static int push_file(struct store *s, const struct content *content, struct dump_sections *to, struct err *e)
{
	_cleanup_(file_freep) struct file *f = NULL;
	_cleanup_(freep) uint8_t *block = malloc(BLOCK);
	int r = block ? file_open(s, content, &f, e) : err_sys(e, -ENOMEM, "comparing dumps");

	for (uint64_t at = 0; !r && at < content->size;) {
		ssize_t n = file_read(f, at, block, BLOCK, e);

		r = n < 0 ? (int)n : dump_sections_push(to, block, (size_t)n, e);
		at += n > 0 ? (uint64_t)n : 0;
	}
	return r;
}

int diff_inserts_digest(struct store *s, const struct content *content, struct digest *ret, struct err *e)
{
	static const char head[] = "-- Data for Name: t; Type: TABLE DATA; Schema: s; Owner: o\n";
	_cleanup_(collect_release) struct collect c = {0};
	_cleanup_(dump_sections_release) struct dump_sections sec;
	int r;

	dump_sections_init(&sec, false, &ops, &c);
	r = dump_sections_push(&sec, (const uint8_t *)head, sizeof(head) - 1, e);
	if (!r)
		r = push_file(s, content, &sec, e);
	if (!r) {
		*ret = digester_end(c.d);
		digester_free(MOVE(c.d));
	}
	return r;
}

/* ---- where an archive's sequences stand ---- */

/* A file of the store as an archive's bytes. */
struct archive {
	struct file *file;
	uint64_t at;
	struct dump_reader reader;
};

static ssize_t read_archive(void *arg, void *p, size_t n, struct err *e)
{
	struct archive *a = arg;
	ssize_t got = file_read(a->file, a->at, p, n, e);

	a->at += got > 0 ? (uint64_t)got : 0;
	return got;
}

/* The archive's contents; of a tar file they are the first member, behind a head of 512 bytes (pg_backup_tar.c). */
static int read_toc(struct store *s, const struct snapshot *snap, struct dump_toc *ret, struct err *e)
{
	static const struct {
		const char *path;
		uint64_t at;
	} forms[] = {{"dump.pgdump", 0}, {"dump.dir/toc.dat", 0}, {"dump.tar", 512}};
	_cleanup_(freep) struct entry *en = NULL;
	_cleanup_(file_freep) struct file *f = NULL;
	_cleanup_(freep) struct archive *a = calloc(1, sizeof(*a));
	size_t i = 0;
	int r = a ? -ENOENT : err_sys(e, -ENOMEM, "comparing dumps");

	for (; r == -ENOENT && i < sizeof(forms) / sizeof(forms[0]); i++)
		r = tree_find(s, &snap->root, forms[i].path, &en, e);
	if (r == -ENOENT || (!r && en->type != ENTRY_FILE))
		return err_set(e, -EBADMSG, "%s has no dump in it", snap->id);
	if (!r)
		r = file_open(s, &en->file, &f, e);
	if (r < 0)
		return r;
	a->file = f;
	a->at = forms[i - 1].at;
	dump_reader_init(&a->reader, read_archive, a, forms[i - 1].path);
	return dump_toc_read(&a->reader, ret, e);
}

static int read_positions(struct store *s, const struct snapshot *snap, struct diff_list *l, struct err *e)
{
	_cleanup_(dump_toc_release) struct dump_toc toc = {0};
	_cleanup_(buf_free) struct buf sql = {0};
	_cleanup_(collect_release) struct collect c = {.l = l};
	_cleanup_(dump_sections_release) struct dump_sections sec;
	int r = read_toc(s, snap, &toc, e);

	dump_sections_init(&sec, false, &ops, &c);
	if (r < 0)
		return r;
	dump_text_positions(&toc, &sql);
	r = sql.bad ? err_sys(e, -ENOMEM, "comparing dumps") : dump_sections_push(&sec, sql.data, sql.len, e);
	return r < 0 ? r : end_section(&c, e);
}

/* ---- all that a dump has ---- */

static int read_schema(struct store *s, const struct snapshot *snap, struct diff_list *l, struct err *e)
{
	_cleanup_(freep) struct entry *en = NULL;
	_cleanup_(collect_release) struct collect c = {.l = l};
	_cleanup_(dump_sections_release) struct dump_sections sec;
	const struct property *p = snapshot_get(snap, "pg_dumpall");
	int r = tree_lookup(s, &snap->root, "schema.sql", &en, e);

	dump_sections_init(&sec, p && p->type == PROPERTY_BOOL && p->number, &ops, &c);
	if (r < 0 || en->type != ENTRY_FILE)
		return err_set(e, -EBADMSG, "%s has no schema.sql in it", snap->id);
	r = push_file(s, &en->file, &sec, e);
	return r < 0 ? r : end_section(&c, e);
}

/* The name that n bytes of a file's name stand for (dump_text_escape), with spaces for line ends, as SQL comments have it. */
static char *unescape(const char *text, size_t n)
{
	char *out = malloc(n + 1), *to = out;

	for (size_t i = 0; out && i < n; i++) {
		char hex[3] = {0};

		*to = text[i];
		if (text[i] == '%' && i + 2 < n) {
			memcpy(hex, text + i + 1, 2);
			*to = (char)strtoul(hex, NULL, 16);
			i += 2;
		}
		if (*to == '\n' || *to == '\r')
			*to = ' ';
		to++;
	}
	if (out)
		*to = '\0';
	return out;
}

struct walk {
	struct store *s;
	struct diff_list *l;
	struct err *e;
	const char *database, *schema; /* of the directory, escaped; schema NULL: file names have it */
};

static int on_table(void *arg, const struct entry *en);

static int below(struct walk *w, const struct entry *en)
{
	size_t n = strlen(en->name);
	struct walk sub = *w;

	/* A schema's directory ends in a dot, which no escaped name has. */
	if (en->name[n - 1] == '.')
		sub.schema = en->name;
	else
		sub.database = en->name;
	return tree_walk(w->s, &en->dir, 0, on_table, &sub, w->e);
}

/* [DATABASE/]SCHEMA.TABLE.copy, or [DATABASE/]SCHEMA./TABLE.copy (dump_text_table_path) */
static int on_table(void *arg, const struct entry *en)
{
	struct walk *w = arg;
	const char *ending = strrchr(en->name, '.'), *table = en->name, *schema = w->schema;
	size_t schema_len;

	if (en->type == ENTRY_DIR)
		return below(w, en);
	if (!schema) {
		schema = en->name;
		table = strchr(en->name, '.');
		table = table ? table + 1 : NULL;
	}
	schema_len = strcspn(schema, ".");
	/* An empty table's INSERT commands: plain SQL has nothing for it. */
	if (ending && !strcmp(ending, ".sql") && en->file.size < sizeof("INSERT"))
		return 0;
	if (!table || !ending || ending < table)
		return err_set(w->e, -EBADMSG, "the dump has a file %s in tables/, which is no table's name",
			en->name);
	return add(w->l,
		(struct diff_item){.database = unescape(w->database, strlen(w->database)),
			.schema = unescape(schema, schema_len),
			.name = unescape(table, (size_t)(ending - table)),
			.type = strdup("table"),
			.what = DIFF_DATA,
			.inserts = !strcmp(ending, ".sql"),
			.file = entry_dup(en)},
		w->e);
}

static int on_blob(void *arg, const struct entry *en)
{
	struct walk *w = arg;

	if (en->type != ENTRY_FILE)
		return 0;
	return add(w->l,
		(struct diff_item){.database = strdup(""),
			.schema = strdup(""),
			.name = strdup(en->name),
			.type = strdup("large object"),
			.what = DIFF_DATA,
			.file = entry_dup(en)},
		w->e);
}

static int read_dir(struct store *s, const struct snapshot *snap, const char *name, tree_fn *fn,
	struct diff_list *l, struct err *e)
{
	_cleanup_(freep) struct entry *en = NULL;
	struct walk w = {.s = s, .l = l, .e = e, .database = ""};
	int r = tree_lookup(s, &snap->root, name, &en, e);

	if (r == -ENOENT)
		return 0;
	if (!r && en->type == ENTRY_DIR)
		r = tree_walk(s, &en->dir, 0, fn, &w, e);
	return r;
}

int diff_list_read(struct store *s, const struct snapshot *snap, struct diff_list *ret, struct err *e)
{
	_cleanup_(diff_list_release) struct diff_list l = {0};
	_cleanup_(freep) struct entry *sql = NULL;
	int r = tree_lookup(s, &snap->root, "dump.sql", &sql, e);

	if (r < 0 && r != -ENOENT)
		return r;
	l.plain = !r;
	r = read_schema(s, snap, &l, e);
	if (!r && !l.plain)
		r = read_positions(s, snap, &l, e);
	if (!r)
		r = read_dir(s, snap, "tables", on_table, &l, e);
	if (!r)
		r = read_dir(s, snap, "blobs", on_blob, &l, e);
	if (!r) {
		*ret = l;
		l = (struct diff_list){0};
	}
	return r;
}
