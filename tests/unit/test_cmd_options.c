/* The command line, the config file and sizes (src/cmd). */
#include "src/cmd/cmd.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "src/base/io.h"
#include "src/cmd/config.h"
#include "src/cmd/table.h"
#include "tests/unit/check_main.h"

/* ---- sizes ---- */

START_TEST(test_sizes)
{
	static const struct {
		const char *text;
		int r;
		uint64_t value;
	} cases[] = {
		{"0", 0, 0},
		{"65536", 0, 65536},
		{"64K", 0, 65536},
		{"64k", 0, 65536},
		{"64kB", 0, 65536},
		{"64KiB", 0, 65536},
		{"256M", 0, 256u << 20},
		{"1.5G", 0, 3ull << 29},
		{"0.5K", 0, 512},
		{"2T", 0, 2ull << 40},
		{"8 GB", 0, 8ull << 30},
		{"7b", 0, 7},
		{"16383P", 0, 16383ull << 50},
		{"18446744073709551615", 0, UINT64_MAX},
		{"18446744073709551616", -ERANGE, 0},
		{"16384P", -ERANGE, 0},
		{"", -EINVAL, 0},
		{"M", -EINVAL, 0},
		{"-1", -EINVAL, 0},
		{"+1", -EINVAL, 0},
		{" 1", -EINVAL, 0},
		{"1.", -EINVAL, 0},
		{".5K", -EINVAL, 0},
		{"1.5", -EINVAL, 0},
		{"1KK", -EINVAL, 0},
		{"1X", -EINVAL, 0},
		{"0x10", -EINVAL, 0},
		{"1e3", -EINVAL, 0},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		uint64_t v = 0;
		struct err e = {0};
		int r = cmd_parse_size(cases[i].text, &v, &e);

		ck_assert_msg(
			r == cases[i].r && v == cases[i].value, "%s: %d, %" PRIu64, cases[i].text, r, v);
		ck_assert(r == 0 || strstr(e.text, cases[i].text));
	}
}
END_TEST

START_TEST(test_durations)
{
	static const struct {
		const char *text;
		int r;
		uint64_t sec;
		const char *said;
	} cases[] = {
		{"0s", 0, 0, "0s"},
		{"90s", 0, 90, "1m30s"},
		{"15m", 0, 900, "15m"},
		{"26h", 0, 93600, "1d2h"},
		{"7d", 0, 604800, "7d"},
		{"2w", 0, 1209600, "14d"},
		{"1h30m", 0, 5400, "1h30m"},
		{"1d1s", 0, 86401, "1d"},
		{"30500568904943w", 0, 18446744073709526400u, "213503982334601d"},
		{"30500568904944w", -EINVAL, 0, NULL},
		{"18446744073709551616s", -EINVAL, 0, NULL},
		{"", -EINVAL, 0, NULL},
		{"15", -EINVAL, 0, NULL},
		{"m", -EINVAL, 0, NULL},
		{"1h30", -EINVAL, 0, NULL},
		{"-1h", -EINVAL, 0, NULL},
		{" 1h", -EINVAL, 0, NULL},
		{"1 h", -EINVAL, 0, NULL},
		{"1.5h", -EINVAL, 0, NULL},
		{"1y", -EINVAL, 0, NULL},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char text[DURATION_TEXT];
		uint64_t sec = 0;
		struct err e = {0};
		int r = cmd_parse_duration(cases[i].text, &sec, &e);

		ck_assert_msg(
			r == cases[i].r && sec == cases[i].sec, "%s: %d, %" PRIu64, cases[i].text, r, sec);
		ck_assert(r == 0 || strstr(e.text, cases[i].text));
		if (r == 0)
			ck_assert_str_eq(cmd_duration_text(sec, text), cases[i].said);
	}
}
END_TEST

START_TEST(test_size_text)
{
	static const struct {
		uint64_t v;
		const char *text;
	} cases[] = {
		{0, "0 B"},
		{999, "999 B"},
		{1000, "1.0 kB"},
		{1024, "1.0 kB"},
		{10189, "10 kB"},
		{1u << 20, "1.0 MB"},
		{1023u << 10, "1.0 MB"},
		{999u << 10, "999 kB"},
		{1172348323, "1.1 GB"},
		{UINT64_MAX, "16 EB"},
	};
	char out[SIZE_TEXT];

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		ck_assert_str_eq(cmd_size_text(cases[i].v, out), cases[i].text);
}
END_TEST

/* ---- options ---- */

struct parsed {
	bool flag;
	const char *text;
	uint64_t size, count;
	unsigned threads, timeout;
	struct cmd_list list;
};

/* Parses a command line given as one string, cut at spaces; "''" is an empty argument. */
static bool parse(struct cmd_context *c, struct parsed *p, unsigned takes, const char *line, char *room)
{
	const struct cmd_option options[] = {
		{"flag", 'f', NULL, OPTION_FLAG, &p->flag, "a flag"},
		{"text", 't', "TEXT", OPTION_TEXT, &p->text, "a text\nof two lines"},
		{"size", 's', "SIZE", OPTION_SIZE, &p->size, "a size"},
		{"count", 'n', "N", OPTION_COUNT, &p->count, "a number"},
		CMD_THREADS_OPTION('j', &p->threads, "threads"),
		{"timeout", 0, "SECONDS", OPTION_TIMEOUT, &p->timeout, "a time"},
		{"list", 'l', "ITEM", OPTION_LIST, &p->list, "a list"},
		{0},
	};
	const struct cmd_usage usage = {
		.verb = "verb",
		.args = "A [B]",
		.min_args = 1,
		.max_args = 2,
		.takes = takes,
		.about = "does it",
		.options = options,
	};
	static char *argv[32]; /* outlives the call: c->args leads into it */
	int argc = 0;
	char *save = NULL;

	*p = (struct parsed){0};
	/* No config file of the machine's takes part. */
	if (!c->env.config)
		c->env.config = "/dev/null";
	strcpy(room, line);
	argv[argc++] = "verb";
	for (char *s = strtok_r(room, " ", &save); s; s = strtok_r(NULL, " ", &save))
		argv[argc++] = strcmp(s, "''") ? s : "";
	argv[argc] = NULL;
	return cmd_parse(c, &usage, argc, argv);
}

/* What is printed is not looked at here; the shell tests do. */
static void hush(void)
{
	int fd = open("/dev/null", O_WRONLY);

	dup2(fd, 1);
	dup2(fd, 2);
	close(fd);
}

START_TEST(test_forms)
{
	static const char *const lines[] = {
		"a b -f -t x -s 4K -n 7 -l one -l two",
		"-f -t x -s 4K -n 7 -l one -l two a b",
		"-ftx a -s4K -n7 -lone b -ltwo",
		"--flag --text x --size 4K --count 7 --list one --list two a b",
		"--flag --text=x a --size=4K --count=7 b --list=one --list=two",
		"-t y -t x -s 1 -f -f a -s 4K -n 7 -l one -l two -- b",
	};
	char room[200];

	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
		struct cmd_context c = {0};
		struct parsed p;

		ck_assert_msg(parse(&c, &p, TAKES_CLUSTER | TAKES_JSON, lines[i], room), "%s", lines[i]);
		ck_assert_uint_eq(c.n_args, 2);
		ck_assert_str_eq(c.args[0], "a");
		ck_assert_str_eq(c.args[1], "b");
		ck_assert(p.flag);
		ck_assert_str_eq(p.text, "x");
		ck_assert_uint_eq(p.size, 4096);
		ck_assert_uint_eq(p.count, 7);
		ck_assert_uint_eq(p.list.n, 2);
		ck_assert_str_eq(p.list.v[0], "one");
		ck_assert_str_eq(p.list.v[1], "two");
		ck_assert_str_eq(c.cluster, "main");
		ck_assert(!c.cluster_given && !c.json && !c.quiet && !c.verbose);
		cmd_list_free(&p.list);
		cmd_context_release(&c);
	}
}
END_TEST

START_TEST(test_words)
{
	struct cmd_context c = {0};
	struct parsed p;
	char room[200];

	ck_assert(parse(&c, &p, TAKES_CLUSTER | TAKES_JSON, "- -qv --json -c x.y-Z_1 -r /r -- -f", room));
	ck_assert_str_eq(c.args[0], "-");
	ck_assert_str_eq(c.args[1], "-f");
	ck_assert(!p.flag && c.quiet && c.verbose && c.json && c.cluster_given);
	ck_assert_str_eq(c.cluster, "x.y-Z_1");
	ck_assert_str_eq(c.repo, "/r");
	cmd_context_release(&c);
	ck_assert(parse(&c, &p, 0, "-j 1024 --timeout 86400 a", room));
	ck_assert_uint_eq(p.threads, 1024);
	ck_assert_uint_eq(p.timeout, 86400);
	cmd_context_release(&c);
	ck_assert(parse(&c, &p, 0, "-t x --text= a", room));
	ck_assert_str_eq(p.text, "");
	ck_assert_str_eq(c.args[0], "a");
	cmd_context_release(&c);
}
END_TEST

START_TEST(test_wrong)
{
	static const char *const lines[] = {
		"",
		"a b c",
		"''",
		"a ''",
		"a -r ''",
		"--none a",
		"-x a",
		"a -t",
		"a --text",
		"a --flag=1",
		"a -s 4X",
		"a --size=",
		"a -n -1",
		"a -n 1x",
		"a -j 0",
		"a -j 1025",
		"a -j 4294967297",
		"a -j x",
		"a --timeout 0",
		"a --timeout 86401",
		"a -n 99999999999999999999",
		"a -fz",
		"--fla a",
		"a --json",
		"a -c x",
		"a --=",
		"a ---",
	};
	char room[200];

	hush();
	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
		struct cmd_context c = {0};
		struct parsed p;

		ck_assert_msg(!parse(&c, &p, 0, lines[i], room), "%s", lines[i]);
		ck_assert_int_eq(c.status, CMD_USAGE);
		cmd_list_free(&p.list);
		cmd_context_release(&c);
	}
}
END_TEST

START_TEST(test_help)
{
	static const char *const lines[] = {"--help", "-?", "a b --help", "-f -? x"};
	char room[200];

	hush();
	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
		struct cmd_context c = {0};
		struct parsed p;

		ck_assert(!parse(&c, &p, 0, lines[i], room));
		ck_assert_int_eq(c.status, CMD_OK);
		cmd_context_release(&c);
	}
}
END_TEST

/* ---- settings: command line over environment over config file ---- */

static char *put(const char *dir, const char *name, const char *text)
{
	char *path = io_join(dir, name);
	struct err e;

	ck_assert_int_eq(io_replace_file(dir, name, text, strlen(text), 0600, &e), 0);
	return path;
}

START_TEST(test_order)
{
	char *dir = check_tempdir(), room[200];
	char *file =
		put(dir, "c", "[pgstrata]\nrepo = /from/file ; where\ncluster=fc\ncache-dir = /cache/file\n");
	struct cmd_context c = {.env = {.config = file}};
	struct parsed p;

	ck_assert(parse(&c, &p, TAKES_CLUSTER, "a", room));
	ck_assert_str_eq(c.repo, "/from/file");
	ck_assert_str_eq(c.cluster, "fc");
	ck_assert(!c.cluster_given);
	ck_assert_str_eq(c.cache_dir, "/cache/file");
	cmd_context_release(&c);
	c = (struct cmd_context){.env = {.config = file, .repo = "/from/env", .cache_dir = "/cache/env"}};
	ck_assert(parse(&c, &p, TAKES_CLUSTER, "a", room));
	ck_assert_str_eq(c.repo, "/from/env");
	ck_assert_str_eq(c.cache_dir, "/cache/env");
	cmd_context_release(&c);
	ck_assert(parse(&c, &p, TAKES_CLUSTER, "a -r /from/line -c lc --cache-dir /cache/line", room));
	ck_assert_str_eq(c.repo, "/from/line");
	ck_assert_str_eq(c.cluster, "lc");
	ck_assert_str_eq(c.cache_dir, "/cache/line");
	cmd_context_release(&c);
	/* Defaults of the cache. */
	c = (struct cmd_context){.env = {.home = "/home/x"}};
	ck_assert(parse(&c, &p, 0, "a", room));
	ck_assert_str_eq(c.cache_dir, "/home/x/.cache/pgstrata");
	cmd_context_release(&c);
	c = (struct cmd_context){.env = {.home = "/home/x", .cache_home = "/c"}};
	ck_assert(parse(&c, &p, 0, "a", room));
	ck_assert_str_eq(c.cache_dir, "/c/pgstrata");
	cmd_context_release(&c);
	c = (struct cmd_context){.env = {.home = "/root", .root = true}};
	ck_assert(parse(&c, &p, 0, "a", room));
	ck_assert_str_eq(c.cache_dir, "/var/cache/pgstrata");
	cmd_context_release(&c);
	hush();
	c = (struct cmd_context){0};
	ck_assert(!parse(&c, &p, 0, "a -C /does/not/exist", room));
	ck_assert_int_eq(c.status, CMD_FAILED);
	cmd_context_release(&c);
	ck_assert(!parse(&c, &p, TAKES_CLUSTER, "a -c a/b", room));
	ck_assert_int_eq(c.status, CMD_FAILED);
	cmd_context_release(&c);
	free(file);
	check_rmtree(dir);
	free(dir);
}
END_TEST

START_TEST(test_config)
{
	static const struct {
		const char *text, *word;
	} bad[] = {
		{"[pgstrata]\nrepo=/a\nrepos=/b\n", "line 3: unknown key \"repos\""},
		{"repo=/a\n", "line 1: \"repo\" stands before any section"},
		{"[other]\nrepo=/a\n", "line 2: \"repo\" stands in [other]"},
		{"[pgstrata]\n\nrepo=\n", "line 3: \"repo\" has no value"},
		{"[pgstrata]\nrepo\n", "line 2: this is neither"},
		{"[pgstrata\nrepo=/a\n", "line 1: this is neither"},
	};
	char *dir = check_tempdir(), longer[400];
	struct config cfg = {0};
	struct err e = {0};
	char *path = put(dir, "c", "# a comment\n; another\n[pgstrata]\nrepo = /a b/c\n\ncluster: x\n");

	ck_assert_msg(config_read(path, &cfg, &e) == 0, "%s", e.text);
	ck_assert_str_eq(cfg.repo, "/a b/c");
	ck_assert_str_eq(cfg.cluster, "x");
	ck_assert_ptr_null(cfg.cache_dir);
	free(path);
	/* A second file replaces what it gives and leaves the rest. */
	path = put(dir, "d", "[pgstrata]\nrepo=/d\n");
	ck_assert_int_eq(config_read(path, &cfg, &e), 0);
	ck_assert_str_eq(cfg.repo, "/d");
	ck_assert_str_eq(cfg.cluster, "x");
	config_release(&cfg);
	free(path);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		path = put(dir, "bad", bad[i].text);
		ck_assert_int_eq(config_read(path, &cfg, &e), -EINVAL);
		ck_assert_msg(strstr(e.text, bad[i].word) && strstr(e.text, path), "%s", e.text);
		config_release(&cfg);
		free(path);
	}
	memset(longer, 'x', sizeof(longer));
	memcpy(longer, "[pgstrata]\nrepo=/", 17);
	longer[sizeof(longer) - 1] = 0;
	path = put(dir, "long", longer);
	ck_assert_int_eq(config_read(path, &cfg, &e), -EINVAL);
	ck_assert_ptr_nonnull(strstr(e.text, "line 2: more than"));
	config_release(&cfg);
	free(path);
	path = io_join(dir, "none");
	ck_assert_int_eq(config_read(path, &cfg, &e), -ENOENT);
	free(path);
	ck_assert_int_lt(config_read(dir, &cfg, &e), 0);
	check_rmtree(dir);
	free(dir);
}
END_TEST

/* ---- tables ---- */

START_TEST(test_table)
{
	static const bool right[] = {false, true, false};
	static const char *const cells[] = {"name", "n", "end", "a", "100", "x", "\xc3\xa4\xc3\xb6", "7", ""};
	char *text = NULL;
	size_t n;
	FILE *f = open_memstream(&text, &n);
	struct table t;

	table_init(&t, 3, right);
	for (size_t i = 0; i < sizeof(cells) / sizeof(cells[0]); i++)
		table_add(&t, cells[i]);
	ck_assert_int_eq(table_print(&t, f), 0);
	fclose(f);
	ck_assert_str_eq(text, "name    n  end\n"
			       "a     100  x\n"
			       "\xc3\xa4\xc3\xb6      7  \n");
	free(text);
	table_release(&t);
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("cmd_options");
	TCase *c = tcase_create("cmd");

	tcase_add_test(c, test_sizes);
	tcase_add_test(c, test_durations);
	tcase_add_test(c, test_size_text);
	tcase_add_test(c, test_forms);
	tcase_add_test(c, test_words);
	tcase_add_test(c, test_wrong);
	tcase_add_test(c, test_help);
	tcase_add_test(c, test_order);
	tcase_add_test(c, test_config);
	tcase_add_test(c, test_table);
	suite_add_tcase(s, c);
	return s;
}

CHECK_MAIN(suite)
