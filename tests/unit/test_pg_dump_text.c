/* Names, lists and SQL made from archives; rows found in plain SQL, in pieces of any size. */
#include "tests/unit/check_main.h"

#include "src/pg/dump_sql.h"
#include "src/pg/dump_text.h"

static const struct {
	const char *schema, *table, *path;
} paths[] = {
	{"public", "t", "tables/public.t.copy"},
	{"a.b", "c/d", "tables/a%2Eb.c%2Fd.copy"},
	{"a", "b.c", "tables/a.b%2Ec.copy"},
	{"100%", "\n\x7f", "tables/100%25.%0A%7F.copy"},
	{"n\xc3\xa4me", "with \"quotes\" and '", "tables/n\xc3\xa4me.with \"quotes\" and '.copy"},
	{"", "..", "tables/.%2E%2E.copy"},
	{"///////////////////////////////////////////////////////////////",
		"...............................................................",
		"tables/"
		"%2F%2F%2F%2F%2F%2F%2F%2F%2F%2F%2F%2F%2F%2F%2F%2F%2F%2F%2F%2F%2F%2F%2F%2F%2F%2F%2F%2F%2F%2F%"
		"2F%2F%2F%"
		"2F%2F%2F%2F%2F%2F%2F%2F%2F%2F%2F%2F%2F%2F%2F%2F%2F%2F%2F%2F%2F%2F%2F%2F%2F%2F%2F%2F%2F%2F./"
		"%2E%2E%2E%2E%2E%2E%2E%2E%2E%2E%2E%2E%2E%2E%2E%2E%2E%2E%2E%2E%2E%2E%2E%2E%2E%2E%2E%2E%2E%2E%"
		"2E%2E%2E%2E%2E%"
		"2E%2E%2E%2E%2E%2E%2E%2E%2E%2E%2E%2E%2E%2E%2E%2E%2E%2E%2E%2E%2E%2E%2E%2E%2E%2E%2E%2E.copy"},
};

START_TEST(table_paths)
{
	struct buf b = {0};
	char *got;

	dump_text_table_path(paths[_i].schema, paths[_i].table, ".copy", &b);
	got = buf_steal_str(&b);
	ck_assert_str_eq(got, paths[_i].path);
	free(got);
}
END_TEST

/* What the reader tells, as a text: SQL in [], rows in <>. */
struct told {
	struct buf b;
	char in;
};

static void tell(struct told *t, char in, const void *p, size_t n)
{
	if (t->in != in) {
		if (t->in)
			buf_put_u8(&t->b, t->in == '[' ? ']' : '>');
		if (in)
			buf_put_u8(&t->b, (uint8_t)in);
		t->in = in;
	}
	buf_put(&t->b, p, n);
}

static int on_sql(void *arg, const void *p, size_t n, struct err *e)
{
	(void)e;
	tell(arg, '[', p, n);
	return 0;
}

static int on_rows(void *arg, const void *p, size_t n, struct err *e)
{
	(void)e;
	tell(arg, '<', p, n);
	return 0;
}

static int on_copy(void *arg, const char *schema, const char *table, struct err *e)
{
	struct told *t = arg;

	(void)e;
	tell(t, 0, NULL, 0);
	buf_printf(&t->b, "{%s|%s}", schema, table);
	return 0;
}

static int on_insert(void *arg, const char *schema, const char *table, struct err *e)
{
	struct told *t = arg;

	(void)e;
	tell(t, 0, NULL, 0);
	buf_printf(&t->b, "(%s|%s)", schema, table);
	return 0;
}

static int on_rows_end(void *arg, struct err *e)
{
	(void)e;
	tell(arg, 0, NULL, 0);
	return 0;
}

static int on_connect(void *arg, const char *database, struct err *e)
{
	struct told *t = arg;

	(void)e;
	tell(t, 0, NULL, 0);
	buf_printf(&t->b, "@%s@", database);
	return 0;
}

static const struct dump_sql_ops ops = {.sql = on_sql,
	.rows = on_rows,
	.copy = on_copy,
	.insert = on_insert,
	.rows_end = on_rows_end,
	.connect = on_connect};

static const struct {
	const char *sql, *want;
	bool rest;
} scripts[] = {
	{"SELECT 1;\n", "[SELECT 1;\n]", true},
	{"SELECT 1", "[SELECT 1]", false},
	{"COPY s.t (a, b) FROM stdin;\n1\t2\n\\.\nX;",
		"[COPY s.t (a, b) FROM stdin;\n]{s|t}<1\t2\n>[\\.\nX;]", true},
	{"COPY s.t (a) FROM stdin;\n\\.\n", "[COPY s.t (a) FROM stdin;\n]{s|t}[\\.\n]", true},
	{"COPY s.t (a) FROM stdin;\n\\N\n\\..\n\\\\.\nx\\.\n\\.\n",
		"[COPY s.t (a) FROM stdin;\n]{s|t}<\\N\n\\..\n\\\\.\nx\\.\n>[\\.\n]", true},
	{"COPY s.t (a) FROM stdin;\n1", "[COPY s.t (a) FROM stdin;\n]{s|t}<1>", false},
	{"COPY \"a \"\"b\"\".;\"\n.\"c;\nd\" (\"FROM stdin;\n\") FROM stdin;\n\\.\n",
		"[COPY \"a \"\"b\"\".;\"\n.\"c;\nd\" (\"FROM stdin;\n\") FROM stdin;\n]{|a \"b\".;}[\\.\n]",
		true},
	{"SET search_path = old, pg_catalog;\nCOPY t (a) FROM stdin;\n1\n\\.\n",
		"[SET search_path = old, pg_catalog;\nCOPY t (a) FROM stdin;\n]{old|t}<1\n>[\\.\n]", true},
	{"-- COPY s.t FROM stdin;\nX;", "[-- COPY s.t FROM stdin;\nX;]", true},
	{"/* /* */ ;\nCOPY s.t (a) FROM stdin;\n*/X;", "[/* /* */ ;\nCOPY s.t (a) FROM stdin;\n*/X;]", true},
	{"A '; \nCOPY s.t (a) FROM stdin;\n''';\n", "[A '; \nCOPY s.t (a) FROM stdin;\n''';\n]", true},
	{"A E'\\';\nCOPY s.t (a) FROM stdin;\n';\n", "[A E'\\';\nCOPY s.t (a) FROM stdin;\n';\n]", true},
	{"A '\\';\nCOPY s.t (a) FROM stdin;\n\\.\n", "[A '\\';\nCOPY s.t (a) FROM stdin;\n]{s|t}[\\.\n]",
		true},
	{"AS $$;\nCOPY s.t (a) FROM stdin;\n$$;", "[AS $$;\nCOPY s.t (a) FROM stdin;\n$$;]", true},
	{"AS $_$;\nCOPY s.t (a) FROM stdin;\n$x$ $$ $__$ $_$;",
		"[AS $_$;\nCOPY s.t (a) FROM stdin;\n$x$ $$ $__$ $_$;]", true},
	{"P $1;\nCOPY s.t (a) FROM stdin;\n\\.\n", "[P $1;\nCOPY s.t (a) FROM stdin;\n]{s|t}[\\.\n]", true},
	{"A a$b$c;\nCOPY s.t (a) FROM stdin;\n\\.\n", "[A a$b$c;\nCOPY s.t (a) FROM stdin;\n]{s|t}[\\.\n]",
		true},
	{"COPY s.t (a) FROM '/file';\nX;", "[COPY s.t (a) FROM '/file';\nX;]", true},
	{"-- x\n-- y\nCOPY s.t (a) FROM stdin;\n\\.\n",
		"[-- x\n-- y\nCOPY s.t (a) FROM stdin;\n]{s|t}[\\.\n]", true},
	/* pg_dump --inserts, --rows-per-insert, --column-inserts */
	{"X;\n\nINSERT INTO s.t VALUES (1);\nINSERT INTO s.t VALUES (2);\n\n\n--\n",
		"[X;\n\n](s|t)<INSERT INTO s.t VALUES (1);\nINSERT INTO s.t VALUES (2);\n>[\n\n--\n]", true},
	{"INSERT INTO s.t VALUES\n\t(1, ');\nX'),\n\t(E'\\';', 2);\n\nY;",
		"(s|t)<INSERT INTO s.t VALUES\n\t(1, ');\nX'),\n\t(E'\\';', 2);\n>[\nY;]", true},
	{"INSERT INTO s.t (a, \"b ;\") OVERRIDING SYSTEM VALUE VALUES (1, 'x');\n",
		"(s|t)<INSERT INTO s.t (a, \"b ;\") OVERRIDING SYSTEM VALUE VALUES (1, 'x');\n>", true},
	{"INSERT INTO s.t DEFAULT VALUES;\nINSERT INTO s.u DEFAULT VALUES;\nINSERT INTO s.u DEFAULT "
	 "VALUES;\nX;",
		"(s|t)<INSERT INTO s.t DEFAULT VALUES;\n>(s|u)<INSERT INTO s.u DEFAULT VALUES;\nINSERT INTO "
		"s.u "
		"DEFAULT VALUES;\n>[X;]",
		true},
	{"INSERT INTO \"a \"\"b\"\"\".\"c.\n d\" VALUES (1);\nINSERT INTO \"a \"\"b\"\"\".\"c.\n d\" VALUES "
	 "(2);\nINX;",
		"(a \"b\"|c.\n d)<INSERT INTO \"a \"\"b\"\"\".\"c.\n d\" VALUES (1);\nINSERT INTO \"a "
		"\"\"b\"\"\".\"c.\n d\" VALUES (2);\n>[INX;]",
		true},
	{"SET search_path = old, pg_catalog;\nINSERT INTO t VALUES (1);\n",
		"[SET search_path = old, pg_catalog;\n](old|t)<INSERT INTO t VALUES (1);\n>", true},
	{"INSERT INTO s.t VALUES (1); -- x\nINSERT INTO s.t VALUES (2);\r\nX;\n",
		"(s|t)<INSERT INTO s.t VALUES (1); >[-- x\n](s|t)<INSERT INTO s.t VALUES (2);\r\n>[X;\n]",
		true},
	{"I;\nINSERT INTO;\nINSERT INTO s.t;\nINSERT INTO s. VALUES;\nINSERT s VALUES;\n INSERT INTO s.t "
	 "VALUES (1);\n",
		"[I;\nINSERT INTO;\nINSERT INTO s.t;\nINSERT INTO s. VALUES;\nINSERT s VALUES;\n INSERT INTO "
		"s.t "
		"VALUES (1);\n]",
		true},
	{"INSERT INTO s.t VALUES (1);\nINSERT INTO s.t VALUES (2",
		"(s|t)<INSERT INTO s.t VALUES (1);\nINSERT INTO s.t VALUES (2>", false},
	{"COPY s.t (a) FROM stdin;\nINSERT INTO s.t VALUES (1);\n\\.\nINSERT INTO s.t VALUES (1);\n",
		"[COPY s.t (a) FROM stdin;\n]{s|t}<INSERT INTO s.t VALUES (1);\n>[\\.\n](s|t)<INSERT INTO "
		"s.t VALUES (1);\n>",
		true},
	{"INSERT INTO s.t;;", "[INSERT INTO s.t;;]", true},
	/* What is no command of its own. */
	{"CREATE RULE r AS ON INSERT TO s.t DO INSTEAD (\nINSERT INTO s.u VALUES (1);\nINSERT INTO s.v "
	 "VALUES (1);\n);\n",
		"[CREATE RULE r AS ON INSERT TO s.t DO INSTEAD (\nINSERT INTO s.u VALUES (1);\nINSERT INTO "
		"s.v VALUES "
		"(1);\n);\n]",
		true},
	{"CREATE FUNCTION s.f() RETURNS void\nBEGIN ATOMIC\nINSERT INTO s.t VALUES (CASE WHEN true THEN 1 "
	 "END);\n"
	 "INSERT INTO s.t VALUES (2);\nEND;\nINSERT INTO s.t VALUES (3);\n",
		"[CREATE FUNCTION s.f() RETURNS void\nBEGIN ATOMIC\nINSERT INTO s.t VALUES (CASE WHEN true "
		"THEN 1 END);\n"
		"INSERT INTO s.t VALUES (2);\nEND;\n](s|t)<INSERT INTO s.t VALUES (3);\n>",
		true},
	{"create or Replace PROCEDURE s.p()\nbegin atomic\n SELECT case 1 when 1 then 2 end;\nINSERT INTO "
	 "s.t VALUES (2);\nEND;\n"
	 "INSERT INTO s.t VALUES (3);\n",
		"[create or Replace PROCEDURE s.p()\nbegin atomic\n SELECT case 1 when 1 then 2 end;\nINSERT "
		"INTO s.t VALUES "
		"(2);\nEND;\n](s|t)<INSERT INTO s.t VALUES (3);\n>",
		true},
	{"CREATE FUNCTION s.begin() AS $$x$$;\nINSERT INTO s.t VALUES (3);\n",
		"[CREATE FUNCTION s.begin() AS $$x$$;\n](s|t)<INSERT INTO s.t VALUES (3);\n>", true},
	{"CREATE VIEW s.begin AS SELECT atomic;\nINSERT INTO s.t VALUES (3);\n",
		"[CREATE VIEW s.begin AS SELECT atomic;\n](s|t)<INSERT INTO s.t VALUES (3);\n>", true},
};
#define SCRIPTS (sizeof(scripts) / sizeof(scripts[0]))

START_TEST(rows_in_sql)
{
	const char *sql = scripts[_i].sql, *want = scripts[_i].want;
	size_t n = strlen(sql);

	/* Pieces of every size: nothing depends on where one ends. */
	for (size_t step = 1; step <= n; step++) {
		struct told t = {0};
		struct dump_sql s;
		char *got;

		dump_sql_init(&s, &ops, &t);
		for (size_t i = 0; i < n; i += step)
			ck_assert_int_eq(dump_sql_push(&s, (const uint8_t *)sql + i,
						 n - i < step ? n - i : step, NULL),
				0);
		tell(&t, 0, NULL, 0);
		got = buf_steal_str(&t.b);
		ck_assert_msg(!strcmp(got, want), "step %zu: %s instead of %s", step, got, want);
		ck_assert_int_eq(dump_sql_at_rest(&s), scripts[_i].rest);
		dump_sql_release(&s);
		free(got);
	}
}
END_TEST

START_TEST(connects)
{
	static const char sql[] = "\\connect shop\nX;\n\\connect \"a \"\"b\"\nY;\n\\restrict x;y'\nCOPY s.t "
				  "(a) FROM stdin;\n\\.\n";
	struct told t = {0};
	struct dump_sql s;
	char *got;

	dump_sql_init(&s, &ops, &t);
	for (size_t i = 0; i < sizeof(sql) - 1; i++)
		ck_assert_int_eq(dump_sql_push(&s, (const uint8_t *)sql + i, 1, NULL), 0);
	tell(&t, 0, NULL, 0);
	got = buf_steal_str(&t.b);
	ck_assert_ptr_nonnull(strstr(got, "@shop@"));
	ck_assert_ptr_nonnull(strstr(got, "@a \"b@"));
	ck_assert_ptr_nonnull(strstr(got, "{s|t}"));
	dump_sql_release(&s);
	free(got);
}
END_TEST

START_TEST(texts)
{
	struct dump_entry entries[] = {
		{.id = 1, .desc = "ENCODING", .tag = "ENCODING", .defn = "SET client_encoding = 'UTF8';\n"},
		{.id = 2,
			.desc = "TABLE",
			.tag = "t\nDROP",
			.schema = "s",
			.owner = "o \"x",
			.class_oid = "1259",
			.oid = "5",
			.defn = "CREATE TABLE s.t ();\n",
			.drop = "DROP TABLE s.t;\n",
			.tablespace = "",
			.access_method = "heap"},
		{.id = 3, .desc = "ACL", .tag = "t", .schema = "s", .owner = "o", .defn = "GRANT 1;\n"},
		{.id = 4,
			.desc = "INDEX",
			.tag = "i",
			.schema = "s",
			.owner = "o",
			.defn = "CREATE INDEX 1;\n",
			.drop = "DROP INDEX s.i;\n",
			.tablespace = "fast"},
		{.id = 5,
			.desc = "TABLE DATA",
			.tag = "t",
			.schema = "s",
			.owner = "o",
			.copy = "COPY s.t () FROM stdin;\n"},
		{.id = 6,
			.desc = "SEQUENCE SET",
			.tag = "q\n",
			.schema = "s",
			.owner = "o",
			.defn = "SELECT pg_catalog.setval('s.q', 7, true);\n"},
	};
	struct dump_toc t = {
		.head = {.vmajor = 1, .vminor = 14, .format = DUMP_CUSTOM, .offset_size = 8, .database = "d"},
		.entries = entries,
		.n = 6};
	struct buf toc = {0}, schema = {0}, positions = {0};
	char *list, *sql, *set;

	dump_text_toc(&t, "CUSTOM", &toc);
	dump_text_schema(&t, &schema);
	list = buf_steal_str(&toc);
	sql = buf_steal_str(&schema);
	dump_text_positions(&t, &positions);
	set = buf_steal_str(&positions);
	ck_assert_str_eq(set, "--\n-- Name: q ; Type: SEQUENCE SET; Schema: s; Owner: o\n--\n\n"
			      "SELECT pg_catalog.setval('s.q', 7, true);\n\n\n");
	ck_assert_ptr_null(strstr(sql, "setval"));
	ck_assert_ptr_nonnull(strstr(list, ";     dbname: d\n"));
	ck_assert_ptr_nonnull(strstr(list, "\n2; 1259 5 TABLE s t DROP o \"x\n3; 0 0 ACL s t o\n"));
	ck_assert_ptr_null(strstr(list, "ENCODING"));
	ck_assert_ptr_nonnull(strstr(sql, "\n-- Name: t DROP; Type: TABLE; Schema: s; Owner: o \"x\n"));
	ck_assert_ptr_nonnull(strstr(sql, "ALTER TABLE s.t OWNER TO \"o \"\"x\";\n"));
	ck_assert_ptr_nonnull(strstr(sql, "SET default_tablespace = \"fast\";\n\nCREATE INDEX 1;\n"));
	ck_assert_ptr_nonnull(strstr(sql, "SET default_table_access_method = \"heap\";\n"));
	ck_assert_ptr_null(strstr(sql, "ALTER INDEX"));
	/* Privileges come behind everything that they could be for. */
	ck_assert(strstr(sql, "GRANT 1;") > strstr(sql, "CREATE INDEX"));
	ck_assert_ptr_null(strstr(sql, "COPY"));
	free(list);
	free(sql);
	free(set);
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("pg/dump_text");
	TCase *t = tcase_create("dump_text");

	tcase_add_loop_test(t, table_paths, 0, sizeof(paths) / sizeof(paths[0]));
	tcase_add_loop_test(t, rows_in_sql, 0, SCRIPTS);
	tcase_add_test(t, connects);
	tcase_add_test(t, texts);
	suite_add_tcase(s, t);
	return s;
}

CHECK_MAIN(suite)
