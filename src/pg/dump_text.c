/* Lists, SQL and names from a table of contents. See dump_text.h. */
#include "src/pg/dump_text.h"

#include <string.h>

#define NAME_BYTES 255

void dump_text_escape(const char *name, struct buf *b)
{
	for (const unsigned char *p = (const unsigned char *)name; *p; p++) {
		if (*p < 0x20 || *p == 0x7f || *p == '/' || *p == '.' || *p == '%')
			buf_printf(b, "%%%02X", *p);
		else
			buf_put_u8(b, *p);
	}
}

void dump_text_table_path(const char *schema, const char *table, const char *ending, struct buf *b)
{
	struct buf first = {0}, second = {0};
	bool fits;

	dump_text_escape(schema ? schema : "", &first);
	dump_text_escape(table, &second);
	fits = first.len + 1 + second.len + strlen(ending) <= NAME_BYTES;
	buf_printf(b, "tables/%.*s%s%.*s%s", (int)first.len, (const char *)first.data, fits ? "." : "./",
		(int)second.len, (const char *)second.data, ending);
	b->bad = b->bad || first.bad || second.bad;
	buf_free(&first);
	buf_free(&second);
}

/* Line ends in names would end a comment (sanitize_line, pg_backup_archiver.c). */
static void put_clean(struct buf *b, const char *s)
{
	for (; *s; s++)
		buf_put_u8(b, *s == '\n' || *s == '\r' ? ' ' : (uint8_t)*s);
}

/* Entries that are settings of the archive, which pg_restore does not list; nor, without -C, the database itself. */
static bool is_setting(const struct dump_entry *en)
{
	return !strcmp(en->desc, "ENCODING") || !strcmp(en->desc, "STDSTRINGS") ||
	       !strcmp(en->desc, "SEARCHPATH");
}

static bool is_one_of(const char *desc, const char *const *list)
{
	for (; *list; list++)
		if (!strcmp(desc, *list))
			return true;
	return false;
}

static const char *text_or(const char *s, const char *other)
{
	return s && *s ? s : other;
}

void dump_text_toc(const struct dump_toc *t, const char *format, struct buf *b)
{
	const struct dump_head *h = &t->head;

	buf_printf(b, ";\n; Archive created at %04d-%02d-%02d %02d:%02d:%02d\n;     dbname: ", h->year + 1900,
		h->month + 1, h->mday, h->hour, h->min, h->sec);
	put_clean(b, text_or(h->database, ""));
	buf_printf(b,
		"\n;     TOC Entries: %zu\n;     Compression: none\n;     Dump Version: %u.%u-%u\n;     "
		"Format: %s\n"
		";     Integer: 4 bytes\n;     Offset: %u bytes\n",
		t->n, h->vmajor, h->vminor, h->vrev, format, h->offset_size);
	buf_printf(b, ";     Dumped from database version: %s\n;     Dumped by pg_dump version: %s\n;\n;\n",
		text_or(h->server_version, "unknown"), text_or(h->dump_version, "unknown"));
	buf_printf(b, "; Selected TOC Entries:\n;\n");
	for (size_t i = 0; i < t->n; i++) {
		const struct dump_entry *en = &t->entries[i];

		if (is_setting(en) || !strcmp(en->desc, "DATABASE") ||
			!strcmp(en->desc, "DATABASE PROPERTIES"))
			continue;
		buf_printf(b, "%d; %s %s %s ", en->id, text_or(en->class_oid, "0"), text_or(en->oid, "0"),
			en->desc);
		put_clean(b, text_or(en->schema, "-"));
		buf_put_u8(b, ' ');
		put_clean(b, en->tag);
		buf_put_u8(b, ' ');
		put_clean(b, en->owner ? en->owner : "");
		buf_put_u8(b, '\n');
	}
}

/* "name" where quotes are needed or could be. */
static void put_identifier(struct buf *b, const char *s)
{
	buf_put_u8(b, '"');
	for (; *s; s++) {
		if (*s == '"')
			buf_put_u8(b, '"');
		buf_put_u8(b, (uint8_t)*s);
	}
	buf_put_u8(b, '"');
}

/* Kinds with an owner of their own: _getObjectDescription, pg_backup_archiver.c. */
static const char *const owned[] = {"AGGREGATE", "COLLATION", "CONVERSION", "DOMAIN", "EVENT TRIGGER",
	"FOREIGN DATA WRAPPER", "FOREIGN TABLE", "FUNCTION", "MATERIALIZED VIEW", "OPERATOR",
	"OPERATOR CLASS", "OPERATOR FAMILY", "PROCEDURAL LANGUAGE", "PROCEDURE", "PUBLICATION", "SCHEMA",
	"SEQUENCE", "SERVER", "STATISTICS", "SUBSCRIPTION", "TABLE", "TEXT SEARCH CONFIGURATION",
	"TEXT SEARCH DICTIONARY", "TYPE", "VIEW", NULL};

/* The DROP command says just what the object is called. */
static void put_owner(const struct dump_entry *en, struct buf *b)
{
	const char *what = en->drop;
	size_t n;

	if (!en->owner || !*en->owner || !what || strncmp(what, "DROP ", 5) != 0 ||
		!is_one_of(en->desc, owned))
		return;
	what += 5;
	n = strlen(what);
	while (n && (what[n - 1] == '\n' || what[n - 1] == ';'))
		n--;
	buf_printf(b, "ALTER ");
	buf_put(b, what, n);
	buf_printf(b, " OWNER TO ");
	put_identifier(b, en->owner);
	buf_printf(b, ";\n\n\n");
}

enum pass { PASS_MAIN, PASS_ACL, PASS_LAST, PASS_NONE };

/* _tocEntryRestorePass, pg_backup_archiver.c; what is no definition has no pass. */
static enum pass pass_of(const struct dump_entry *en)
{
	static const char *const none[] = {"TABLE DATA", "BLOBS", "BLOB", "BLOB METADATA", "SEQUENCE SET",
		"DATABASE", "DATABASE PROPERTIES", "MATERIALIZED VIEW DATA", "STATISTICS DATA", NULL};

	if (!en->defn || !*en->defn || is_one_of(en->desc, none))
		return PASS_NONE;
	if (!strcmp(en->desc, "ACL") || !strcmp(en->desc, "ACL LANGUAGE") || !strcmp(en->desc, "DEFAULT ACL"))
		return !strncmp(en->tag, "LARGE OBJECT", 12) ? PASS_NONE : PASS_ACL;
	if (!strcmp(en->desc, "EVENT TRIGGER"))
		return PASS_LAST;
	return PASS_MAIN;
}

/* The comment before an object (_printTocEntry, pg_backup_archiver.c). */
static void put_comment(const struct dump_entry *en, struct buf *b)
{
	buf_printf(b, "--\n-- Name: ");
	put_clean(b, en->tag);
	buf_printf(b, "; Type: %s; Schema: ", en->desc);
	put_clean(b, text_or(en->schema, "-"));
	buf_printf(b, "; Owner: ");
	put_clean(b, text_or(en->owner, "-"));
	buf_printf(b, "\n--\n\n");
}

static void put_definition(
	const struct dump_entry *en, const char **space, const char **method, struct buf *b)
{
	put_comment(en, b);
	/* NULL: the object has no tablespace; "": the database's. */
	if (en->tablespace && strcmp(en->tablespace, *space) != 0) {
		*space = en->tablespace;
		buf_printf(b, "SET default_tablespace = ");
		if (*en->tablespace)
			put_identifier(b, en->tablespace);
		else
			buf_printf(b, "''");
		buf_printf(b, ";\n\n");
	}
	if (en->access_method && *en->access_method && strcmp(en->access_method, *method) != 0) {
		*method = en->access_method;
		buf_printf(b, "SET default_table_access_method = ");
		put_identifier(b, en->access_method);
		buf_printf(b, ";\n\n");
	}
	buf_put(b, en->defn, strlen(en->defn));
	buf_printf(b, "\n\n");
	put_owner(en, b);
}

void dump_text_schema(const struct dump_toc *t, struct buf *b)
{
	const char *space = "", *method = "";

	/* _doSetFixedOutputState, pg_backup_archiver.c */
	buf_printf(b,
		"SET statement_timeout = 0;\nSET lock_timeout = 0;\nSET check_function_bodies = false;\n"
		"SET client_min_messages = warning;\nSET row_security = off;\n");
	for (size_t i = 0; i < t->n; i++)
		if (is_setting(&t->entries[i]) && t->entries[i].defn)
			buf_put(b, t->entries[i].defn, strlen(t->entries[i].defn));
	buf_put_u8(b, '\n');
	for (enum pass p = PASS_MAIN; p < PASS_NONE; p++)
		for (size_t i = 0; i < t->n; i++)
			if (!is_setting(&t->entries[i]) && pass_of(&t->entries[i]) == p)
				put_definition(&t->entries[i], &space, &method, b);
}

void dump_text_positions(const struct dump_toc *t, struct buf *b)
{
	for (size_t i = 0; i < t->n; i++) {
		const struct dump_entry *en = &t->entries[i];

		if (strcmp(en->desc, "SEQUENCE SET") != 0 || !en->defn)
			continue;
		put_comment(en, b);
		buf_printf(b, "%s\n\n", en->defn);
	}
}
