/* postgresql.conf, line by line. */
#include "tests/unit/check_main.h"

#include "src/pg/conf.h"

START_TEST(lines)
{
	static const struct {
		const char *line;
		enum conf_kind kind;
		const char *name, *value;
	} cases[] = {
		{"", CONF_NOTHING, NULL, NULL},
		{" \t\r", CONF_NOTHING, NULL, NULL},
		{"# port = 1", CONF_NOTHING, NULL, NULL},
		{"port = 5432", CONF_SETTING, "port", "5432"},
		{"port=5432#x", CONF_SETTING, "port", "5432"},
		{"  Port  5432  # x\r", CONF_SETTING, "port", "5432"},
		{"shared_buffers = 128MB", CONF_SETTING, "shared_buffers", "128MB"},
		{"a = -1.5e3", CONF_SETTING, "a", "-1.5e3"},
		{"plug.in_x = on", CONF_SETTING, "plug.in_x", "on"},
		{"include 'a b.conf'", CONF_SETTING, "include", "a b.conf"},
		{"a = ''", CONF_SETTING, "a", ""},
		{"a = 'it''s # not \\'over\\' \\\\'", CONF_SETTING, "a", "it's # not 'over' \\"},
		{"a = '\\n\\101\\1011\\q'", CONF_SETTING, "a", "\nAA1q"},
		{"a = 'open", CONF_BAD, NULL, NULL},
		{"a = 'open\\'", CONF_BAD, NULL, NULL},
		{"a = 'open\\", CONF_BAD, NULL, NULL},
		{"a = b c", CONF_BAD, NULL, NULL},
		{"a =", CONF_BAD, NULL, NULL},
		{"a", CONF_BAD, NULL, NULL},
		{"= b", CONF_BAD, NULL, NULL},
		{"1a = b", CONF_BAD, NULL, NULL},
		{"a = ,", CONF_BAD, NULL, NULL},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		size_t n = strlen(cases[i].line);
		char *copy = check_exact(cases[i].line, n);
		const char *at = copy;
		struct conf_line l;

		if (n == 0)
			ck_assert_ptr_null(conf_next(&at, copy, &l));
		else {
			ck_assert_ptr_eq(conf_next(&at, copy + n, &l), copy);
			ck_assert_ptr_eq(at, copy + n);
			ck_assert_uint_eq(l.len, n);
			ck_assert_msg(l.kind == cases[i].kind, "%s", cases[i].line);
			ck_assert_pstr_eq(l.name, cases[i].name);
			ck_assert_pstr_eq(l.value, cases[i].value);
			conf_line_release(&l);
		}
		free(copy);
	}
}
END_TEST

START_TEST(a_file)
{
	static const char text[] = "a = 1\n\n# x\nb = 'two\nc = 3";
	static const enum conf_kind want[] = {
		CONF_SETTING, CONF_NOTHING, CONF_NOTHING, CONF_BAD, CONF_SETTING};
	const char *at = text, *end = text + strlen(text);
	struct conf_line l;
	size_t n = 0, bytes = 0;

	while (conf_next(&at, end, &l)) {
		ck_assert_uint_lt(n, 5);
		ck_assert_int_eq(l.kind, want[n++]);
		bytes += l.len;
		conf_line_release(&l);
	}
	ck_assert_uint_eq(n, 5);
	ck_assert_uint_eq(bytes, strlen(text) - 4);
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("pg conf");
	TCase *t = tcase_create("conf");

	tcase_add_test(t, lines);
	tcase_add_test(t, a_file);
	suite_add_tcase(s, t);
	return s;
}

CHECK_MAIN(suite)
