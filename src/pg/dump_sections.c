/* Objects in a dump's SQL. See dump_sections.h. */
#include "src/pg/dump_sections.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/clean.h"

#define LINE_MAX_HELD (64u << 10)

static int no_bytes(void *arg, const void *p, size_t n, struct err *e)
{
	(void)arg, (void)p, (void)n, (void)e;
	return 0;
}

static int no_copy(void *arg, const char *schema, const char *table, struct err *e)
{
	(void)arg, (void)schema, (void)table, (void)e;
	return 0;
}

static int no_end(void *arg, struct err *e)
{
	(void)arg, (void)e;
	return 0;
}

/* *old becomes a copy of n bytes of text. */
static int put_string(char **old, const char *text, size_t n, struct err *e)
{
	char *copy = strndup(text, n);

	if (!copy)
		return err_sys(e, -ENOMEM, "reading SQL");
	free(*old);
	*old = copy;
	return 0;
}

static int on_connect(void *arg, const char *database, struct err *e)
{
	struct dump_sections *s = arg;

	if (!s->cluster)
		return 0;
	s->within = WITHIN_NONE;
	return put_string(&s->database, database, strlen(database), e);
}

static const struct dump_sql_ops sql_ops = {
	.sql = no_bytes, .rows = no_bytes, .copy = no_copy, .rows_end = no_end, .connect = on_connect};

void dump_sections_init(struct dump_sections *s, bool cluster, const struct dump_sections_ops *ops, void *arg)
{
	*s = (struct dump_sections){.ops = ops, .arg = arg, .cluster = cluster};
	dump_sql_init(&s->sql, &sql_ops, s);
}

void dump_sections_release(struct dump_sections *s)
{
	dump_sql_release(&s->sql);
	buf_free(&s->line);
	free(s->owner);
	free(s->database);
	free(s->space);
	free(s->method);
}

static bool begins(const char *line, const char *with)
{
	return !strncmp(line, with, strlen(with));
}

static bool is_one_of(const char *text, const char *const *list)
{
	for (; *list; list++)
		if (!strcmp(text, *list))
			return true;
	return false;
}

/* Neither is a definition, or it is not in an archive's schema.sql (pass_of in dump_text.c). */
static bool is_ignored(const char *type, const char *name)
{
	static const char *const none[] = {"BLOB", "BLOB METADATA", "DATABASE", "DATABASE PROPERTIES",
		"MATERIALIZED VIEW DATA", "STATISTICS DATA", NULL};

	static const char *const about[] = {"ACL", "COMMENT", "SECURITY LABEL", NULL};

	/* What is about the database comes with --create only (_tocEntryRequired, pg_backup_archiver.c). */
	return is_one_of(type, none) || (!strcmp(type, "ACL") && begins(name, "LARGE OBJECT")) ||
	       (is_one_of(type, about) && begins(name, "DATABASE "));
}

/* Only of these the settings default_tablespace and default_table_access_method tell something (_selectTablespace and
 * _selectTableAccessMethod, pg_backup_archiver.c); for others they stay what they were. */
static bool has_place(const char *type)
{
	static const char *const placed[] = {"TABLE", "INDEX", "CONSTRAINT", "MATERIALIZED VIEW", NULL};

	return is_one_of(type, placed);
}

/* Cuts text at the last `mark` and gives what is behind it; NULL: there is none. */
static char *cut_at_last(char *text, const char *mark)
{
	char *at = NULL;

	for (char *p = text; (p = strstr(p, mark)); p++)
		at = p;
	if (at)
		*at = '\0';
	return at ? at + strlen(mark) : NULL;
}

static const char *unless_hyphen(const char *text)
{
	return !strcmp(text, "-") ? "" : text;
}

static int tell(struct dump_sections *s, const struct dump_section *sec, struct err *e)
{
	return s->ops->section(s->arg, sec, e);
}

/* "-- Name: n; Type: t; Schema: s; Owner: o[; Tablespace: x]"; taken apart from the right, for a name may have all of this in
 * it. Any other comment says nothing. */
static int comment(struct dump_sections *s, char *line, struct err *e)
{
	static const char name[] = "-- Name: ", data[] = "-- Data for Name: ";
	bool rows = begins(line, data);
	char *text, *owner, *schema, *type;
	struct dump_section sec;
	int r;

	if (!rows && !begins(line, name))
		return 0;
	text = line + (rows ? sizeof(data) : sizeof(name)) - 1;
	text[strcspn(text, "\n")] = '\0';
	owner = cut_at_last(text, "; Owner: ");
	schema = owner ? cut_at_last(text, "; Schema: ") : NULL;
	type = schema ? cut_at_last(text, "; Type: ") : NULL;
	if (!type)
		return 0;
	cut_at_last(owner, "; Tablespace: ");
	owner = (char *)unless_hyphen(owner);
	r = put_string(&s->owner, owner, strlen(owner), e);
	if (r < 0)
		return r;
	s->placed = has_place(type);
	if (!strcmp(type, "BLOBS"))
		s->within = WITHIN_BLOBS;
	else if (rows || !strcmp(type, "TABLE DATA"))
		s->within = WITHIN_DATA;
	else if (!strcmp(type, "SEQUENCE SET"))
		s->within = WITHIN_POSITION;
	else
		s->within = is_ignored(type, text) ? WITHIN_IGNORED : WITHIN_DEFINITION;
	if (s->within == WITHIN_IGNORED)
		return 0;
	sec = (struct dump_section){
		.kind = s->within == WITHIN_DEFINITION ? SECTION_DEFINITION : SECTION_DATA,
		.database = s->database ? s->database : "",
		.schema = unless_hyphen(schema),
		.name = text,
		.type = type};
	return tell(s, &sec, e);
}

/* SET name = value; the value without quotes around it. */
static int setting(char **to, const char *value, struct err *e)
{
	size_t n = strcspn(value, ";\n");

	if (n >= 2 && (*value == '"' || *value == '\'')) {
		value++;
		n -= 2;
	}
	return put_string(to, value, n, e);
}

static int put_words(struct dump_sections *s, const char *what, const char *value, struct err *e)
{
	int r = s->ops->text(s->arg, what, strlen(what), e);

	if (!r)
		r = s->ops->text(s->arg, value, strlen(value), e);
	return r ? r : s->ops->text(s->arg, "\n", 1, e);
}

/* Where pg_dump has put the object: before its first statement. */
static int put_place(struct dump_sections *s, struct err *e)
{
	int r = 0;

	if (s->placed)
		r = put_words(s, "tablespace ", s->space ? s->space : "", e);
	if (!r && s->placed)
		r = put_words(s, "access method ", s->method ? s->method : "heap", e);
	s->placed = false;
	return r;
}

/* "SELECT pg_catalog.setval('s.name', 77, true);" (dumpSequenceData, pg_dump.c): what follows the name, which some releases
 * give without its schema. */
static int position(struct dump_sections *s, const char *line, struct err *e)
{
	const char *value = strrchr(line, '\'');

	if (!begins(line, "SELECT pg_catalog.setval("))
		return 0;
	if (value && begins(value, "', "))
		return put_words(s, "at ", value + strlen("', "), e);
	s->keep = true; /* a name with a line's end in it */
	return 0;
}

/* A statement begins with this line: does it count? Names are quoted in one format and not in another, so that the owner is
 * taken from the comment. */
static int statement(struct dump_sections *s, const char *line, struct err *e)
{
	static const char space[] = "SET default_tablespace = ";
	static const char method[] = "SET default_table_access_method = ";
	static const char *const config = "SELECT pg_catalog.set_config('search_path'";
	static const struct dump_section globals = {
		.database = "", .schema = "", .name = "roles and tablespaces", .type = "GLOBALS"};

	if (begins(line, space))
		return setting(&s->space, line + sizeof(space) - 1, e);
	if (begins(line, method))
		return setting(&s->method, line + sizeof(method) - 1, e);
	if (begins(line, "SET ") || begins(line, config))
		return 0;
	switch (s->within) {
	case WITHIN_IGNORED:
		return 0;
	case WITHIN_DATA:
		s->keep = begins(line, "INSERT ");
		return 0;
	case WITHIN_BLOBS:
		s->keep = true;
		return 0;
	case WITHIN_POSITION:
		return position(s, line, e);
	case WITHIN_NONE:
		s->within = WITHIN_DEFINITION;
		s->placed = false;
		s->keep = true;
		return tell(s, &globals, e);
	case WITHIN_DEFINITION:
		break;
	}
	if (s->owner && *s->owner && begins(line, "ALTER ") && strstr(line, " OWNER TO ") &&
		strstr(line, ";\n"))
		return put_words(s, "OWNER TO ", s->owner, e);
	s->keep = true;
	return put_place(s, e);
}

/* s->line has the beginning of a line, or all of it. */
static int begin_line(struct dump_sections *s, struct err *e)
{
	int r = 0;
	char *line;

	buf_put_u8(&s->line, 0);
	if (s->line.bad)
		return err_sys(e, -ENOMEM, "reading SQL");
	line = (char *)s->line.data;
	if (s->rest) {
		s->keep = false;
		if (begins(line, "--"))
			r = comment(s, line, e);
		else if (*line != '\n' && *line != '\\')
			r = statement(s, line, e);
	}
	if (!r && s->keep)
		r = s->ops->text(s->arg, line, s->line.len - 1, e);
	buf_clear(&s->line);
	return r;
}

int dump_sections_push(struct dump_sections *s, const uint8_t *p, size_t n, struct err *e)
{
	int r = 0;

	while (n && !r) {
		const uint8_t *lf = memchr(p, '\n', n);
		size_t took = lf ? (size_t)(lf - p) + 1 : n;

		if (!s->in_line && !s->line.len)
			s->rest = dump_sql_at_rest(&s->sql);
		if (s->in_line) {
			r = s->keep ? s->ops->text(s->arg, p, took, e) : 0;
			s->in_line = !lf;
		} else {
			buf_put(&s->line, p, took);
			if (lf || s->line.len >= LINE_MAX_HELD) {
				r = begin_line(s, e);
				s->in_line = !lf;
			}
		}
		if (!r)
			r = dump_sql_push(&s->sql, p, took, e);
		p += took;
		n -= took;
	}
	return r;
}
