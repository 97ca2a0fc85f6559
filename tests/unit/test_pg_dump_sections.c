/* Objects read out of a dump's SQL, in pieces of any size; the same told for plain SQL and for an archive's. */
#include "tests/unit/check_main.h"

#include "src/pg/dump_sections.h"

static int on_section(void *arg, const struct dump_section *s, struct err *e)
{
	(void)e;
	buf_printf(arg, "{%s%s|%s|%s|%s}", s->kind == SECTION_DATA ? "data " : "", s->database, s->schema,
		s->name, s->type);
	return 0;
}

static int on_text(void *arg, const void *p, size_t n, struct err *e)
{
	(void)e;
	buf_put(arg, p, n);
	return 0;
}

static const struct dump_sections_ops ops = {.section = on_section, .text = on_text};

#define HEAD(name, type, owner) "--\n-- Name: " name "; Type: " type "; Schema: s; Owner: " owner "\n--\n\n"
#define TABLE_HEAD(name) HEAD(name, "TABLE", "o")
#define PLACE "tablespace \naccess method heap\n"

static const struct {
	const char *sql, *want;
	bool cluster;
} scripts[] = {
	{"", "", false},
	/* Plain: settings before the comment; an archive's: behind it, and quoted. */
	{"SET statement_timeout = 0;\nSELECT pg_catalog.set_config('search_path', '', false);\n\n"
	 "SET default_tablespace = fast;\n\nSET default_table_access_method = heap;\n\n" TABLE_HEAD(
		 "t") "CREATE TABLE s.t (\n    a int\n);\n\n\nALTER TABLE s.t OWNER TO o;\n\n",
		"{|s|t|TABLE}tablespace fast\naccess method heap\nCREATE TABLE s.t (\n    a int\n);\n"
		"OWNER TO o\n",
		false},
	{TABLE_HEAD(
		 "t") "SET default_tablespace = \"fast\";\n\nSET default_table_access_method = \"heap\";\n\n"
		      "CREATE TABLE s.t (\n    a int\n);\n\n\nALTER TABLE s.t OWNER TO \"o\";\n",
		"{|s|t|TABLE}tablespace fast\naccess method heap\nCREATE TABLE s.t (\n    a int\n);\n"
		"OWNER TO o\n",
		false},
	{"--\n-- Name: t; Type: TABLE; Schema: s; Owner: o; Tablespace: fast\n--\nX;\nALTER TABLE t OWNER TO "
	 "x;\n",
		"{|s|t|TABLE}" PLACE "X;\nOWNER TO o\n", false},
	/* A settings of a table says nothing of a function. */
	{"SET default_tablespace = fast;\n" HEAD("f()", "FUNCTION", "-") "A;\n", "{|s|f()|FUNCTION}A;\n",
		false},
	{"--\n-- Name: x; Type: EXTENSION; Schema: -; Owner: \n--\nA;\n", "{||x|EXTENSION}A;\n", false},
	/* In a body, neither a comment nor an owner nor a setting nor an empty line is the dump's. */
	{HEAD("f()", "FUNCTION", "o") "C AS $$\n" TABLE_HEAD(
		 "no") "SET x = 1;\n\nALTER TABLE a OWNER TO b;\n$$;\n\n",
		"{|s|f()|FUNCTION}C AS $$\n" TABLE_HEAD(
			"no") "SET x = 1;\n\nALTER TABLE a OWNER TO b;\n$$;\n",
		false},
	/* A name with all of a comment's words in it. */
	{TABLE_HEAD("a; Type: VIEW; Schema: b; Owner: c") "X;\n",
		"{|s|a; Type: VIEW; Schema: b; Owner: c|TABLE}" PLACE "X;\n", false},
	{"-- Name: t\n-- Name: t; Type: TABLE\n", "", false},
	{HEAD("d", "DATABASE", "o") "A;\n" HEAD("DATABASE d", "COMMENT", "o") "A;\n" HEAD(
		 "LARGE OBJECT 5", "ACL", "o") "G;\n" HEAD("TABLE t", "ACL", "o") "G;\n",
		"{|s|TABLE t|ACL}G;\n", false},
	/* Where a sequence stands, however it is called. */
	{HEAD("q", "SEQUENCE SET", "o") "SELECT pg_catalog.setval('s.q', 77, true);\n\n\n" TABLE_HEAD(
		 "u") "X;\n",
		"{data |s|q|SEQUENCE SET}at 77, true);\n\n{|s|u|TABLE}" PLACE "X;\n", false},
	{HEAD("q', 1", "SEQUENCE SET", "o") "SELECT pg_catalog.setval('s.\"q'', 1\"', -5, false);\n",
		"{data |s|q', 1|SEQUENCE SET}at -5, false);\n\n", false},
	{HEAD("q r", "SEQUENCE SET",
		 "o") "SELECT pg_catalog.setval('s.\"q\nr\"', 3, true);\n\nSELECT other();\n",
		"{data |s|q r|SEQUENCE SET}SELECT pg_catalog.setval('s.\"q\nr\"', 3, true);\n", false},
	/* Rows are no text; INSERT commands are. */
	{"--\n-- Data for Name: t; Type: TABLE DATA; Schema: s; Owner: o\n--\n\nCOPY s.t (a) FROM "
	 "stdin;\n\\.\n\n\n" TABLE_HEAD("u") "X;\n",
		"{data |s|t|TABLE DATA}{|s|u|TABLE}" PLACE "X;\n", false},
	{"-- Data for Name: t; Type: TABLE DATA; Schema: s; Owner: o\n\nALTER TABLE s.t DISABLE TRIGGER "
	 "ALL;\n"
	 "INSERT INTO s.t VALUES ('a\n\n--b;\n');\n\nALTER TABLE s.t ENABLE TRIGGER ALL;\n",
		"{data |s|t|TABLE DATA}INSERT INTO s.t VALUES ('a\n\n--b;\n');\n", false},
	/* pg_dumpall */
	{"SET a = 1;\n\\restrict q\nCREATE ROLE r;\nALTER ROLE r;\n\\connect shop\nSET a = 1;\n" TABLE_HEAD(
		 "t") "X;\n",
		"{||roles and tablespaces|GLOBALS}CREATE ROLE r;\nALTER ROLE r;\n{shop|s|t|TABLE}" PLACE
		"X;\n",
		true},
	{"\\connect shop\n" TABLE_HEAD("t") "X;\n", "{|s|t|TABLE}" PLACE "X;\n", false},
};
#define SCRIPTS (sizeof(scripts) / sizeof(scripts[0]))

static char *read_in_steps(const char *sql, size_t n, size_t step, bool cluster)
{
	struct dump_sections s;
	struct buf b = {0};

	dump_sections_init(&s, cluster, &ops, &b);
	for (size_t i = 0; i < n; i += step)
		ck_assert_int_eq(
			dump_sections_push(&s, (const uint8_t *)sql + i, n - i < step ? n - i : step, NULL),
			0);
	dump_sections_release(&s);
	return buf_steal_str(&b);
}

START_TEST(objects)
{
	const char *sql = scripts[_i].sql, *want = scripts[_i].want;
	size_t n = strlen(sql);

	for (size_t step = 1; step <= n; step++) {
		char *got = read_in_steps(sql, n, step, scripts[_i].cluster);

		ck_assert_msg(!strcmp(got, want), "step %zu: %s instead of %s", step, got, want);
		free(got);
	}
}
END_TEST

/* A line that is longer than what is held comes in full, once. */
START_TEST(long_lines)
{
	static const char head[] = TABLE_HEAD("t") "CREATE '", want_head[] = "{|s|t|TABLE}" PLACE "CREATE '";
	const size_t len = 200000;
	static const size_t steps[] = {1000, 65536, 70001, 300000};

	for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
		struct buf b = {0};
		char *sql, *got;

		buf_printf(&b, "%s", head);
		memset(buf_reserve(&b, len), 'x', len);
		b.len += len;
		buf_printf(&b, "';\n-- no\n");
		sql = buf_steal_str(&b);
		got = read_in_steps(sql, strlen(sql), steps[i], false);
		ck_assert_int_eq(strlen(got), sizeof(want_head) - 1 + len + 3);
		ck_assert(!strncmp(got, want_head, sizeof(want_head) - 1));
		ck_assert_str_eq(got + strlen(got) - 4, "x';\n");
		free(got);
		free(sql);
	}
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("pg/dump_sections");
	TCase *t = tcase_create("dump_sections");

	tcase_add_loop_test(t, objects, 0, SCRIPTS);
	tcase_add_test(t, long_lines);
	suite_add_tcase(s, t);
	return s;
}

CHECK_MAIN(suite)
