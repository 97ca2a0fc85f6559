/* Telling SQL from rows. See dump_sql.h. */
#include "src/pg/dump_sql.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/clean.h"

#define STATEMENT_MAX (64u << 10)
#define INSERT "INSERT INTO "
#define INSERT_LEN 12
#define INSERT_HELD_MAX 1024 /* two names of 63 bytes, all of them quotes or not, are shorter */
#define ROWS_END "\\.\n"
#define ROWS_END_LEN 3

void dump_sql_init(struct dump_sql *s, const struct dump_sql_ops *ops, void *arg)
{
	*s = (struct dump_sql){.ops = ops, .arg = arg, .last = '\n'};
}

void dump_sql_release(struct dump_sql *s)
{
	buf_free(&s->tag);
	buf_free(&s->statement);
	buf_free(&s->held);
	free(s->schema);
	free(s->to_schema);
	free(s->to_table);
}

bool dump_sql_at_rest(const struct dump_sql *s)
{
	return s->state == SQL_PLAIN && !s->statement.len;
}

static bool is_word(uint8_t c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
	       c >= 0x80;
}

static bool is_space(uint8_t c)
{
	return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f';
}

static void keep(struct dump_sql *s, uint8_t c)
{
	if (s->insert != INSERT_IN && s->statement.len < STATEMENT_MAX && (s->statement.len || !is_space(c)))
		buf_put_u8(&s->statement, c);
}

/* An identifier at *p, quoted or not, as a string; *p moves behind it. NULL: there is none. */
static char *identifier(const char **p)
{
	struct buf b = {0};
	const char *c = *p;

	if (*c == '"') {
		for (c++; *c && (*c != '"' || c[1] == '"'); c++) {
			if (*c == '"')
				c++;
			buf_put_u8(&b, (uint8_t)*c);
		}
		c += *c == '"';
	} else {
		for (; is_word((uint8_t)*c) || *c == '$'; c++)
			buf_put_u8(&b, (uint8_t)*c);
	}
	*p = c;
	if (!b.len)
		buf_free(&b);
	return b.len ? buf_steal_str(&b) : NULL;
}

/* [schema.]table at p, which becomes s->to_*. Where its text ends, NULL: there is none, or no memory. */
static const char *table_name(struct dump_sql *s, const char *p)
{
	char *first = identifier(&p), *second = NULL;

	if (first && *p == '.') {
		p++;
		second = identifier(&p);
		if (!second) {
			free(first);
			return NULL;
		}
	}
	if (!first)
		return NULL;
	free(s->to_schema);
	free(s->to_table);
	s->to_schema = second ? first : strdup(s->schema ? s->schema : "");
	s->to_table = second ? second : first;
	return s->to_schema ? p : NULL;
}

/* COPY [schema.]table … FROM stdin */
static int copy_begins(struct dump_sql *s, const char *text, size_t n, struct err *e)
{
	static const char end[] = " FROM stdin";

	if (n < 5 + sizeof(end) || strcmp(text + n - (sizeof(end) - 1), end) != 0)
		return 0;
	if (!table_name(s, text + 5))
		return err_set(e, -EBADMSG, "a COPY command without a table: %.80s", text);
	s->state = SQL_COPY_LINE;
	return 0;
}

/* SET search_path = schema, … (pg_dump before 10.3 and 9.6.8) */
static void note_search_path(struct dump_sql *s, const char *text)
{
	static const char set[] = "SET search_path = ";
	const char *p = text + sizeof(set) - 1;

	if (strncmp(text, set, sizeof(set) - 1) != 0)
		return;
	free(s->schema);
	s->schema = identifier(&p);
}

/* {identifier} in psqlscan.l; that asks for BEGIN alone, which may be a function's name. */
static void word_ends(struct dump_sql *s)
{
	static const char *const known[] = {"create", "or", "replace", "function", "procedure"};
	const char *f = s->first;
	bool begin = !strcmp(s->word, "begin");

	for (size_t i = 0; i < sizeof(known) / sizeof(*known) && s->words < sizeof(s->first); i++)
		if (!strcmp(s->word, known[i]))
			s->first[s->words] = s->word[0];
	s->words += s->words < sizeof(s->first);
	if (f[0] == 'c' && !s->parens && (f[1] == 'f' || f[1] == 'p' || (f[1] == 'o' && f[2] == 'r'))) {
		if (s->begin && !strcmp(s->word, "atomic"))
			s->blocks++;
		else if (s->blocks && !strcmp(s->word, "case"))
			s->blocks++;
		else if (s->blocks && !strcmp(s->word, "end"))
			s->blocks--;
	}
	s->begin = begin;
	s->word_len = 0;
}

/* A byte outside of quotes and comments: words and parentheses. */
static void shape(struct dump_sql *s, uint8_t c)
{
	if (is_word(c) || (c == '$' && s->word_len)) {
		if (s->word_len < sizeof(s->word) - 1) {
			s->word[s->word_len++] = (char)(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c);
			s->word[s->word_len] = '\0';
		} else {
			s->word[0] = '\0';
		}
		return;
	}
	if (s->word_len)
		word_ends(s);
	if (c == '(')
		s->parens++;
	else if (c == ')' && s->parens)
		s->parens--;
}

/* A semicolon outside of everything. */
static int statement_ends(struct dump_sql *s, struct err *e)
{
	char *text = buf_steal_str(&s->statement);
	size_t n = text ? strlen(text) : 0;
	int r = text ? 0 : err_sys(e, -ENOMEM, "reading SQL");

	s->words = s->parens = s->blocks = 0;
	s->begin = false;
	memset(s->first, 0, sizeof(s->first));
	if (s->insert == INSERT_IN)
		s->insert = INSERT_LINE;
	if (!r && !strncmp(text, "COPY ", 5))
		r = copy_begins(s, text, n, e);
	else if (!r)
		note_search_path(s, text);
	free(text);
	return r;
}

static int command_ends(struct dump_sql *s, struct err *e)
{
	static const char connect[] = "\\connect ";
	char *text = buf_steal_str(&s->statement), *name;
	const char *p = text + sizeof(connect) - 1;
	int r = 0;

	s->state = SQL_PLAIN;
	if (!text)
		return err_sys(e, -ENOMEM, "reading SQL");
	if (!strncmp(text, connect, sizeof(connect) - 1)) {
		/* -reuse-previous=on "dbname='…'" where the name is odd (appendPsqlMetaConnect, string_utils.c) */
		name = *p == '-' ? NULL : identifier(&p);
		r = s->ops->connect(s->arg, name ? name : text + sizeof(connect) - 1, e);
		free(name);
	}
	free(text);
	return r;
}

static int plain(struct dump_sql *s, uint8_t c, struct err *e)
{
	shape(s, c);
	switch (c) {
	case '\'':
		s->state =
			(s->last == 'E' || s->last == 'e') && !is_word(s->before) ? SQL_ESCAPED : SQL_STRING;
		break;
	case '"':
		s->state = SQL_NAME;
		break;
	case '$':
		if (is_word(s->last))
			break;
		s->state = SQL_TAG;
		buf_clear(&s->tag);
		buf_put_u8(&s->tag, c);
		break;
	case '-':
		if (s->last != '-')
			break;
		s->state = SQL_LINE;
		s->statement.len -= s->statement.len > 0;
		return 0;
	case '*':
		if (s->last != '/')
			break;
		s->state = SQL_BLOCK;
		s->depth = 1;
		s->skip = true;
		s->statement.len -= s->statement.len > 0;
		return 0;
	case '\\':
		if (s->statement.len || s->last != '\n')
			break;
		s->state = SQL_COMMAND;
		break;
	case ';':
		if (s->parens || s->blocks)
			break;
		return statement_ends(s, e);
	default:
		break;
	}
	keep(s, c);
	return 0;
}

static void tag(struct dump_sql *s, uint8_t c)
{
	if (c == '$') {
		buf_put_u8(&s->tag, c);
		s->state = SQL_DOLLAR;
		s->matched = 0;
	} else if (is_word(c) && s->tag.len < STATEMENT_MAX) {
		buf_put_u8(&s->tag, c);
	} else {
		s->state = SQL_PLAIN; /* a parameter like $1, or nothing */
	}
}

/* The tag has its '$' first and last only, so a false start can begin again with nothing but a '$'. */
static void dollar(struct dump_sql *s, uint8_t c)
{
	if (s->matched < s->tag.len && c == s->tag.data[s->matched])
		s->matched++;
	else
		s->matched = c == '$';
	if (s->matched == s->tag.len)
		s->state = SQL_PLAIN;
}

static void block(struct dump_sql *s, uint8_t c)
{
	if (s->skip) {
		s->skip = false;
	} else if (s->last == '*' && c == '/') {
		s->skip = true;
		if (!--s->depth) {
			s->state = SQL_PLAIN;
			s->skip = false;
		}
	} else if (s->last == '/' && c == '*') {
		s->depth++;
		s->skip = true;
	}
}

static int step(struct dump_sql *s, uint8_t c, struct err *e)
{
	int r = 0;

	switch (s->state) {
	case SQL_PLAIN:
		r = plain(s, c, e);
		break;
	case SQL_STRING:
	case SQL_NAME:
		/* A doubled quote ends it and begins it again. */
		keep(s, c);
		if (c == (s->state == SQL_NAME ? '"' : '\''))
			s->state = SQL_PLAIN;
		break;
	case SQL_ESCAPED:
		keep(s, c);
		if (s->skip)
			s->skip = false;
		else if (c == '\\')
			s->skip = true;
		else if (c == '\'')
			s->state = SQL_PLAIN;
		break;
	case SQL_TAG:
		tag(s, c);
		if (s->state == SQL_PLAIN)
			r = plain(s, c, e);
		break;
	case SQL_DOLLAR:
		dollar(s, c);
		break;
	case SQL_LINE:
		if (c == '\n')
			s->state = SQL_PLAIN;
		break;
	case SQL_BLOCK:
		block(s, c);
		break;
	case SQL_COMMAND:
		if (c == '\n')
			r = command_ends(s, e);
		else
			keep(s, c);
		break;
	case SQL_COPY_LINE:
		if (c != '\n')
			break;
		s->state = SQL_ROWS;
		s->row_start = true;
		s->matched = 0;
		break;
	case SQL_ROWS:
		break;
	}
	s->before = s->last;
	s->last = c;
	return r;
}

/* Rows up to the line of "\.": how many bytes they took; *done when it was met, whose bytes are told as SQL. */
static int rows(struct dump_sql *s, const uint8_t *p, size_t n, size_t *ret, bool *done, struct err *e)
{
	size_t i = 0;
	int r = 0;

	*done = false;
	while (i < n && !r) {
		const uint8_t *lf;
		size_t from = i;

		if (s->row_start && p[i] == (uint8_t)ROWS_END[s->matched]) {
			i++;
			if (++s->matched < ROWS_END_LEN)
				continue;
			*ret = i;
			*done = true;
			return 0;
		}
		/* No end after all: what was held back is the row's. */
		if (s->matched)
			r = s->ops->rows(s->arg, ROWS_END, s->matched, e);
		s->matched = 0;
		s->row_start = false;
		/* On to a line that could be the end. */
		do {
			lf = memchr(p + i, '\n', n - i);
			i = lf ? (size_t)(lf - p) + 1 : n;
		} while (lf && i < n && p[i] != '\\');
		s->row_start = lf != NULL;
		if (!r)
			r = s->ops->rows(s->arg, p + from, i - from, e);
	}
	*ret = n;
	return r;
}

/* ---- INSERT commands ---- */

static int inserts_end(struct dump_sql *s, struct err *e)
{
	bool any = s->inserts;

	s->insert = INSERT_NONE;
	s->inserts = false;
	return any ? s->ops->rows_end(s->arg, e) : 0;
}

/* What is held back is no such command. */
static int no_insert(struct dump_sql *s, struct err *e)
{
	int r = inserts_end(s, e);

	if (!r)
		r = s->ops->sql(s->arg, s->held.data, s->held.len, e);
	buf_clear(&s->held);
	return r;
}

/* It is one. Another table than before ends that one's rows. */
static int is_insert(struct dump_sql *s, bool same, struct err *e)
{
	int r = same ? 0 : inserts_end(s, e);

	s->insert = INSERT_IN;
	s->inserts = true;
	if (!r && !same)
		r = s->ops->insert(s->arg, s->to_schema, s->to_table, e);
	if (!r)
		r = s->ops->rows(s->arg, s->held.data, s->held.len, e);
	buf_clear(&s->held);
	return r;
}

/* One more byte of a statement that could be INSERT INTO name, with a space or a line's end behind it (dumpTableData_insert,
 * pg_dump.c). */
static int maybe_insert(struct dump_sql *s, uint8_t c, struct err *e)
{
	size_t n = s->held.len + 1;
	_cleanup_(freep) char *schema = NULL;
	_cleanup_(freep) char *table = NULL;
	char *text;
	const char *end;

	buf_put_u8(&s->held, c);
	if (s->held.bad)
		return err_sys(e, -ENOMEM, "reading SQL");
	if (n <= INSERT_LEN ? c != (uint8_t)INSERT[n - 1] : n > INSERT_HELD_MAX || !s->statement.len)
		return no_insert(s, e);
	/* A name with a space in it is not at its end. */
	if (n <= INSERT_LEN || s->state != SQL_PLAIN || !is_space(c))
		return 0;
	buf_put_u8(&s->held, 0);
	if (s->held.bad)
		return err_sys(e, -ENOMEM, "reading SQL");
	s->held.len--;
	text = (char *)s->held.data;
	schema = MOVE(s->to_schema);
	table = MOVE(s->to_table);
	end = table_name(s, text + INSERT_LEN);
	if (!end || end != text + n - 1)
		return no_insert(s, e);
	return is_insert(s, s->inserts && !strcmp(schema, s->to_schema) && !strcmp(table, s->to_table), e);
}

/* Bytes that were read in the present state. What is held back is told later. */
static int tell(struct dump_sql *s, const uint8_t *p, size_t n, struct err *e)
{
	if (!n || s->insert == INSERT_MAYBE)
		return 0;
	return s->insert == INSERT_IN || s->insert == INSERT_LINE ? s->ops->rows(s->arg, p, n, e)
								  : s->ops->sql(s->arg, p, n, e);
}

/* Before p[i]: does a command end or begin here? What begins at *from is not told yet. */
static int look_for_inserts(struct dump_sql *s, const uint8_t *p, size_t i, size_t *from, struct err *e)
{
	bool line = s->last == '\n', start = line && s->state == SQL_PLAIN && !s->statement.len;
	bool ends = s->insert == INSERT_LINE && (line || !is_space(p[i]));
	bool begins = start && p[i] == (uint8_t)INSERT[0];
	int r = 0;

	if (!ends && !(begins && s->insert == INSERT_NONE))
		return 0;
	r = tell(s, p + *from, i - *from, e);
	*from = i;
	if (!r && begins)
		s->insert = INSERT_MAYBE;
	else if (!r)
		r = inserts_end(s, e);
	return r;
}

/* One byte that is SQL, as far as is known. */
static int sql(struct dump_sql *s, const uint8_t *p, size_t i, size_t *from, struct err *e)
{
	int r = s->ops->insert ? look_for_inserts(s, p, i, from, e) : 0;

	if (!r)
		r = step(s, p[i], e);
	if (!r && s->insert == INSERT_MAYBE) {
		r = maybe_insert(s, p[i], e);
		*from = i + 1;
	}
	return r;
}

int dump_sql_push(struct dump_sql *s, const uint8_t *p, size_t n, struct err *e)
{
	size_t i = 0, from = 0;
	int r = 0;

	while (i < n) {
		size_t took;
		bool done;

		if (s->state != SQL_ROWS) {
			r = sql(s, p, i++, &from, e);
			if (!r && (s->state == SQL_ROWS || i == n)) {
				r = tell(s, p + from, i - from, e);
				from = i;
			}
			if (!r && s->state == SQL_ROWS)
				r = s->ops->copy(s->arg, s->to_schema, s->to_table, e);
			if (r < 0)
				return r;
			continue;
		}
		r = rows(s, p + i, n - i, &took, &done, e);
		if (!r && done)
			r = s->ops->rows_end(s->arg, e);
		if (!r && done)
			r = s->ops->sql(s->arg, ROWS_END, ROWS_END_LEN, e);
		if (r < 0)
			return r;
		i += took;
		from = i;
		if (done) {
			s->state = SQL_PLAIN;
			s->last = '\n';
			s->matched = 0;
		}
	}
	return 0;
}
