/* A server on a branch: the parts that need none. Which libraries may stay, which settings it gets, what postmaster.pid and a
 * log say, where a socket fits, what is kept of it. Starting one is tests/mount/open.sh's. */
#include "tests/unit/check_main.h"

#include <errno.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "src/capture/instance.h"

static char *dir;

static void setup(void)
{
	dir = check_tempdir();
}

static void teardown(void)
{
	check_rmtree(dir);
	free(dir);
}

static bool has_all_but_x(void *arg, const char *library)
{
	(void)arg;
	return *library != 'x';
}

START_TEST(a_missing_server_is_named_with_its_package)
{
	_cleanup_(freep) char *program = NULL, *found = NULL;
	struct err e = {0};
	FILE *f;

	ck_assert_int_eq(instance_find(NULL, 99, &found, &e), -EOPNOTSUPP);
	ck_assert_ptr_nonnull(strstr(e.text, "package postgresql-99,"));
	ck_assert_int_eq(instance_find(dir, 99, &found, &e), -EOPNOTSUPP);
	ck_assert_ptr_nonnull(strstr(e.text, "cannot be run"));

	ck_assert_int_gt(asprintf(&program, "%s/postgres", dir), 0);
	f = fopen(program, "w");
	ck_assert_ptr_nonnull(f);
	fputs("#!/bin/sh\necho 'postgres (PostgreSQL) 99.1 (here)'\n", f);
	ck_assert_int_eq(fclose(f), 0);
	ck_assert_int_eq(chmod(program, 0755), 0);
	ck_assert_int_eq(instance_find(dir, 98, &found, &e), -EOPNOTSUPP);
	ck_assert_ptr_nonnull(strstr(e.text, "is of version 99, and the backup of version 98"));
	ck_assert_int_eq(instance_find(dir, 99, &found, &e), 0);
	ck_assert_str_eq(found, dir);
}
END_TEST

START_TEST(what_may_not_be_loaded_is_left_out)
{
	static const struct {
		const char *list, *want, *left_out;
	} cases[] = {
		{"", "", NULL},
		{"a", "a", NULL},
		{" a , b,c ", "a, b, c", NULL},
		{"a,x1,b,x2", "a, b", "x1, x2"},
		{"x", "", "x"},
		{"pg_cron,pg_stat_statements", "pg_stat_statements", "pg_cron"},
		{"$libdir/pg_cron.so", "", "$libdir/pg_cron.so"},
		{"pg_cronx", "pg_cronx", NULL},
		{"\"With Space\", \"a\"\"b\"", "\"With Space\", \"a\"\"b\"", NULL},
		{"\"x, y\",a", "a", "\"x, y\""},
		{"Upper", "\"Upper\"", NULL},
		{",,a,,", "a", NULL},
		{"\"open", "open", NULL},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		char *got, *left_out;

		ck_assert_int_eq(
			instance_preload(cases[i].list, has_all_but_x, NULL, &got, &left_out, NULL), 0);
		ck_assert_str_eq(got, cases[i].want);
		ck_assert_pstr_eq(left_out, cases[i].left_out);
		free(got);
		free(left_out);
	}
}
END_TEST

START_TEST(libraries_are_found_as_the_server_finds_them)
{
	char path[100];
	FILE *f;

	snprintf(path, sizeof(path), "%s/here.so", dir);
	f = fopen(path, "w");
	ck_assert_ptr_nonnull(f);
	fclose(f);
	ck_assert(instance_has_library(dir, "here"));
	ck_assert(instance_has_library(dir, "here.so"));
	ck_assert(instance_has_library(dir, "$libdir/here"));
	ck_assert(instance_has_library(NULL, path));
	ck_assert(!instance_has_library(NULL, "here"));
	ck_assert(!instance_has_library(dir, "there"));
	ck_assert(!instance_has_library(dir, "sub/here"));
	ck_assert(!instance_has_library(dir, ".")); /* a directory */
}
END_TEST

static struct control control(unsigned major)
{
	return (struct control){.pg_major = major,
		.max_connections = 123,
		.max_worker_processes = 8,
		.max_wal_senders = 10,
		.max_prepared_xacts = 7,
		.max_locks_per_xact = 64};
}

static struct instance_facts facts(const struct control *c)
{
	return (struct instance_facts){
		.control = c, .data = "/d", .hba = "/h", .ident = "/i", .socket_dir = "/s", .port = 6543};
}

/* Of a name, the one value; NULL: it is not set. */
static const char *value_of(const struct instance_settings *s, const char *name)
{
	const char *found = NULL;

	for (size_t i = 0; i < s->n; i++)
		if (!strcmp(s->v[i].name, name)) {
			ck_assert_ptr_null(found);
			found = s->v[i].value;
		}
	return found;
}

START_TEST(settings_of_each_version)
{
	for (unsigned major = 12; major <= 19; major++) {
		struct control c = control(major);
		struct instance_facts f = facts(&c);
		struct instance_settings s = {0};
		struct err e = {0};

		if (major < 13 || major > 18) {
			ck_assert_int_eq(instance_settings(&f, &s, &e), -EOPNOTSUPP);
			ck_assert_ptr_nonnull(strstr(e.text, "13 to 18"));
			continue;
		}
		ck_assert_int_eq(instance_settings(&f, &s, NULL), 0);
		ck_assert_str_eq(value_of(&s, "archive_mode"), "off");
		ck_assert_str_eq(value_of(&s, "primary_conninfo"), "");
		ck_assert_str_eq(value_of(&s, "listen_addresses"), "");
		ck_assert_str_eq(value_of(&s, "port"), "6543");
		ck_assert_str_eq(value_of(&s, "max_connections"), "123");
		ck_assert_str_eq(value_of(&s, "max_prepared_transactions"), "7");
		ck_assert_str_eq(value_of(&s, "hot_standby"), "off");
		ck_assert_str_eq(value_of(&s, "fsync"), "off");
		ck_assert_str_eq(value_of(&s, "synchronous_commit"), "on");
		ck_assert_str_eq(value_of(&s, "shared_preload_libraries"), "");
		ck_assert_int_eq(value_of(&s, "stats_temp_directory") != NULL, major <= 14);
		ck_assert_int_eq(value_of(&s, "promote_trigger_file") != NULL, major <= 15);
		ck_assert_int_eq(value_of(&s, "archive_library") != NULL, major >= 15);
		ck_assert_int_eq(value_of(&s, "sync_replication_slots") != NULL, major >= 17);
		ck_assert_int_eq(value_of(&s, "io_method") != NULL, major >= 18);
		instance_settings_release(&s);
	}
}
END_TEST

START_TEST(bounds_are_raised_by_what_the_server_says)
{
	static const struct {
		const char *log;
		bool raised;
		uint32_t v[INSTANCE_BOUNDS];
	} cases[] = {
		{"", false, {0}},
		{"LOG:  max_connections = 5 is what it is\n", false, {0}},
		/* 14 to 18 */
		{"WARNING:  hot standby is not possible because of insufficient parameter settings\n"
		 "DETAIL:  max_connections = 100 is a lower setting than on the primary server, where its "
		 "value was "
		 "150.\n"
		 "LOG:  recovery has paused\n",
			true, {150}},
		/* 13 */
		{"x\nFATAL:  hot standby is not possible because max_wal_senders = 10 is a lower setting "
		 "than on the "
		 "master server (its value was 20)\n",
			true, {0, 0, 20}},
		{"DETAIL:  max_worker_processes = 8 is a lower setting than on the primary server, where its "
		 "value "
		 "was 9.\n"
		 "y\nDETAIL:  max_locks_per_transaction = 64 is a lower setting than on the primary server, "
		 "where its "
		 "value was 99.\n",
			true, {0, 9, 0, 0, 99}},
		{"FATAL:  maximum number of prepared transactions reached\n", true, {0, 0, 0, 64}},
		{"DETAIL:  max_connections = 1 is a lower setting than on the primary server\nvalue was 7\n",
			false, {0}},
		{"DETAIL:  max_connections = 1 is a lower setting than on the x, value was "
		 "99999999999999999999\n",
			false, {0}},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct instance_bounds b = {0};

		ck_assert_int_eq(instance_bounds_raise(&b, cases[i].log), cases[i].raised);
		ck_assert_mem_eq(b.v, cases[i].v, sizeof(b.v));
	}
}
END_TEST

/* What is known twice counts with its larger value; each time that it is not enough there are twice as many. */
START_TEST(bounds_only_grow)
{
	static const char full[] = "FATAL:  maximum number of prepared transactions reached";
	struct control c = control(15);
	struct instance_facts f = facts(&c);
	struct instance_settings s;
	struct err e = {0};

	f.bounds = (struct instance_bounds){{100, 9, 11, 0, 65}};
	ck_assert_int_eq(instance_settings(&f, &s, &e), 0);
	ck_assert_str_eq(value_of(&s, "max_connections"), "123");
	ck_assert_str_eq(value_of(&s, "max_worker_processes"), "9");
	ck_assert_str_eq(value_of(&s, "max_wal_senders"), "11");
	ck_assert_str_eq(value_of(&s, "max_prepared_transactions"), "7");
	ck_assert_str_eq(value_of(&s, "max_locks_per_transaction"), "65");
	instance_settings_release(&s);
	ck_assert(instance_bounds_raise(&f.bounds, full));
	ck_assert(instance_bounds_raise(&f.bounds, full));
	ck_assert_uint_eq(f.bounds.v[3], 128);
	ck_assert(!instance_bounds_raise(&f.bounds, "max_connections = 4 is a lower setting than on the "
						    "primary server, where its value was 100."));
}
END_TEST

START_TEST(what_is_asked_for_is_set)
{
	static const char *const bad[] = {"lc_monetary", "lc_time", NULL};
	struct control c = control(15);
	struct instance_facts f = facts(&c);
	struct instance_settings s;

	f.read_only = f.durable = true;
	f.listen = "localhost";
	f.preload = "a, b";
	f.bad_locales = bad;
	ck_assert_int_eq(instance_settings(&f, &s, NULL), 0);
	ck_assert_str_eq(value_of(&s, "hot_standby"), "on");
	ck_assert_str_eq(value_of(&s, "fsync"), "on");
	ck_assert_str_eq(value_of(&s, "full_page_writes"), "on");
	ck_assert_str_eq(value_of(&s, "synchronous_commit"), "on");
	ck_assert_str_eq(value_of(&s, "listen_addresses"), "localhost");
	ck_assert_str_eq(value_of(&s, "shared_preload_libraries"), "a, b");
	ck_assert_str_eq(value_of(&s, "lc_monetary"), "C");
	ck_assert_str_eq(value_of(&s, "lc_time"), "C");
	instance_settings_release(&s);
}
END_TEST

START_TEST(settings_as_text_and_as_arguments)
{
	struct control c = control(15);
	struct instance_facts f = facts(&c);
	struct instance_settings s;
	struct buf b = {0};
	char *text, **argv;
	size_t n = 0;
	bool data = false, port = false;

	f.hba = "/it's";
	ck_assert_int_eq(instance_settings(&f, &s, NULL), 0);
	instance_settings_text(&s, &b);
	text = buf_steal_str(&b);
	ck_assert_ptr_nonnull(strstr(text, "\nhba_file = '/it''s'\n"));
	ck_assert_ptr_nonnull(strstr(text, "\nport = '6543'\n"));
	/* The file cannot say where it is itself. */
	ck_assert_ptr_null(strstr(text, "data_directory"));
	argv = instance_arguments("/bin", "/d", &s);
	ck_assert_str_eq(argv[0], "/bin/postgres");
	ck_assert_str_eq(argv[1], "-D");
	ck_assert_str_eq(argv[2], "/d");
	for (n = 3; argv[n]; n += 2) {
		ck_assert_str_eq(argv[n], "-c");
		data |= !strcmp(argv[n + 1], "data_directory=/d");
		port |= !strcmp(argv[n + 1], "port=6543");
	}
	ck_assert(data && port);
	ck_assert_uint_eq(n, 3 + 2 * s.n);
	instance_arguments_free(argv);
	instance_settings_release(&s);
	free(text);
}
END_TEST

START_TEST(postmaster_pid_is_read)
{
	static const char head[] = "77\n/d\n1700000000\n5432\n/s\n\n  1234 5678\n";
	static const struct {
		const char *last;
		enum instance_status want;
	} cases[] = {
		{"", INSTANCE_NONE},
		{"ready   ", INSTANCE_NONE}, /* being written */
		{"starting\n", INSTANCE_STARTING},
		{"standby \n", INSTANCE_STANDBY},
		{"ready   \n", INSTANCE_READY},
		{"stopping\n", INSTANCE_STOPPING},
		{"readying\n", INSTANCE_NONE},
		{"\n", INSTANCE_NONE},
	};
	char text[200];

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		snprintf(text, sizeof(text), "%s%s", head, cases[i].last);
		ck_assert_int_eq(instance_status_parse(text, strlen(text), 77), cases[i].want);
	}
	snprintf(text, sizeof(text), "%sready   \n", head);
	/* Of another server: one that was copied with the directory. */
	ck_assert_int_eq(instance_status_parse(text, strlen(text), 7), INSTANCE_NONE);
	ck_assert_int_eq(instance_status_parse(text, strlen(text), 777), INSTANCE_NONE);
	for (size_t n = 0; n < strlen(text); n++)
		ck_assert_int_eq(instance_status_parse(text, n, 77), INSTANCE_NONE);
}
END_TEST

#define P "2026-11-20 02:15:07.000 UTC [77] "

START_TEST(last_words)
{
	static const struct {
		const char *log, *want;
	} cases[] = {
		{"", ""},
		{P "LOG:  starting\n" P "LOG:  redo starts\n" P "FATAL:  no such file\n" P
		   "LOG:  startup process exited\n",
			P "LOG:  redo starts\n" P "FATAL:  no such file"},
		{P "LOG:  redo starts\ncp: x\n" P "FATAL:  no\n" P "CONTEXT:  y\n" P "LOG:  exited\n",
			"cp: x\n" P "FATAL:  no\n" P "CONTEXT:  y"},
		{P "FATAL:  first\n" P "LOG:  x\n" P "PANIC:  second\n", P "LOG:  x\n" P "PANIC:  second"},
		{P "HINT:  x\n" P "FATAL:  y\n" P "HINT:  z\n", P "FATAL:  y\n" P "HINT:  z"},
		{"postgres: cannot do that\n", "postgres: cannot do that"},
		{P "FATAL:  cut", P "FATAL:  cut"},
	};
	char out[400], small[8], big[1000];

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		instance_last_words(cases[i].log, strlen(cases[i].log), out, sizeof(out));
		ck_assert_str_eq(out, cases[i].want);
	}
	/* Without a FATAL the end, with one its beginning: that is where the words are. */
	instance_last_words("0123456789", 10, small, sizeof(small));
	ck_assert_str_eq(small, "3456789");
	memset(big, 'x', sizeof(big));
	memcpy(big, P "FATAL:  ", strlen(P "FATAL:  "));
	instance_last_words(big, sizeof(big), out, sizeof(out));
	ck_assert_uint_eq(strlen(out), sizeof(out) - 1);
	ck_assert_ptr_nonnull(strstr(out, "FATAL"));
}
END_TEST

START_TEST(a_socket_has_to_fit)
{
	struct instance_owner o = {.uid = geteuid(), .gid = getegid()};
	char path[300], *got;
	bool made;
	struct stat st;
	size_t room = INSTANCE_SOCKET_MAX - strlen("/.s.PGSQL.5432");

	memset(path, 'a', sizeof(path));
	path[0] = '/';
	path[room] = '\0';
	ck_assert(instance_socket_fits(path, 5432));
	ck_assert(!instance_socket_fits(path, 54321));
	ck_assert_int_eq(instance_socket_dir(path, 5432, &o, &got, &made, NULL), 0);
	ck_assert_str_eq(got, path);
	ck_assert(!made);
	free(got);
	path[room] = 'a';
	path[room + 1] = '\0';
	ck_assert(!instance_socket_fits(path, 5432));
	ck_assert_int_eq(instance_socket_dir(path, 5432, &o, &got, &made, NULL), 0);
	ck_assert(made && instance_socket_fits(got, 65535));
	ck_assert_int_eq(stat(got, &st), 0);
	ck_assert_int_eq(st.st_mode & 07777, 0700);
	ck_assert_int_eq(rmdir(got), 0);
	free(got);
}
END_TEST

static struct instance_record record(void)
{
	return (struct instance_record){.stage = INSTANCE_SERVES,
		.process = {77, 123456789},
		.socket_dir = "/s",
		.user = "postgres",
		.database = "template1",
		.mount = "/m \"x\"",
		.port = 5432,
		.read_only = true};
}

START_TEST(what_is_kept_is_read_back)
{
	struct instance_record r = record(), got;

	ck_assert_int_eq(instance_record_load(dir, &got, NULL), -ENOENT);
	ck_assert_int_eq(instance_record_save(dir, &r, NULL), 0);
	ck_assert_int_eq(instance_record_load(dir, &got, NULL), 0);
	ck_assert_int_eq(got.stage, INSTANCE_SERVES);
	ck_assert_int_eq(got.process.pid, 77);
	ck_assert_uint_eq(got.process.ticks, 123456789);
	ck_assert_str_eq(got.socket_dir, "/s");
	ck_assert_str_eq(got.user, "postgres");
	ck_assert_str_eq(got.database, "template1");
	ck_assert_str_eq(got.mount, r.mount);
	ck_assert_uint_eq(got.port, 5432);
	ck_assert(got.read_only && !got.made_socket_dir);
	instance_record_release(&got);
	r.mount = "/\xff";
	ck_assert_int_eq(instance_record_save(dir, &r, NULL), -EINVAL);
}
END_TEST

START_TEST(damaged_records_are_refused)
{
	struct instance_record r = record(), got;
	char path[100], text[1000];
	size_t n;
	FILE *f;

	ck_assert_int_eq(instance_record_save(dir, &r, NULL), 0);
	snprintf(path, sizeof(path), "%s/" INSTANCE_RECORD, dir);
	f = fopen(path, "r");
	n = fread(text, 1, sizeof(text), f);
	fclose(f);
	while (n && text[n - 1] != '}')
		n--;
	while (n--) {
		f = fopen(path, "w");
		ck_assert_uint_eq(fwrite(text, 1, n, f), n);
		fclose(f);
		ck_assert_int_eq(instance_record_load(dir, &got, NULL), -EBADMSG);
	}
}
END_TEST

/* What is started and ended here is a shell that stands for a server. */
static struct instance_process start_shell(const char *script)
{
	char *argv[] = {"/bin/sh", "-c", (char *)script, NULL};
	struct instance_owner o = {.uid = geteuid(), .gid = getegid()};
	struct instance_process p;
	struct err e = {0};
	char log[100];

	snprintf(log, sizeof(log), "%s/log", dir);
	ck_assert_msg(instance_start(argv, &o, log, -1, &p, &e) == 0, "%s", e.text);
	ck_assert_uint_gt(p.ticks, 0);
	return p;
}

START_TEST(a_server_that_ends_tells_why)
{
	struct instance_process p;
	struct err e = {0};
	char log[100];

	p = start_shell("echo '" P "FATAL:  earlier'; exit 1");
	ck_assert_int_eq(waitpid(p.pid, NULL, 0), p.pid);
	p = start_shell("echo '" P "FATAL:  no'; exit 1");
	snprintf(log, sizeof(log), "%s/log", dir);
	ck_assert_int_eq(instance_wait(&p, dir, log, NULL, NULL, NULL, &e), -EREMOTEIO);
	ck_assert_ptr_nonnull(strstr(e.text, "FATAL:  no"));
	ck_assert_ptr_null(strstr(e.text, "earlier"));
	ck_assert(!instance_runs(&p));
	ck_assert_int_eq(instance_stop(&p, false, 0, NULL), 0);
}
END_TEST

START_TEST(a_program_that_is_not_there)
{
	char *argv[] = {"/nowhere/postgres", NULL};
	struct instance_owner o = {.uid = geteuid(), .gid = getegid()};
	struct instance_process p;
	struct err e = {0};
	char log[100];

	snprintf(log, sizeof(log), "%s/log", dir);
	ck_assert_int_eq(instance_start(argv, &o, log, -1, &p, &e), -ENOENT);
	ck_assert_ptr_nonnull(strstr(e.text, "/nowhere/postgres"));
}
END_TEST

/* A server that says "standby" lets nobody in yet. */
START_TEST(waits_until_it_takes_connections)
{
	char script[500], log[100];
	struct instance_process p;

	snprintf(log, sizeof(log), "%s/log", dir);
	snprintf(script, sizeof(script),
		"cd %s; for s in starting 'standby ' 'ready   '; do printf '%%s\n' $$ d t p s l k \"$s\" > "
		"new; "
		"mv new postmaster.pid; sleep 0.2; done; exec sleep 600",
		dir);
	p = start_shell(script);
	ck_assert_int_eq(instance_wait(&p, dir, log, NULL, NULL, NULL, NULL), 0);
	ck_assert_int_eq(instance_status(dir, p.pid), INSTANCE_READY);
	ck_assert(instance_runs(&p));
	ck_assert_int_eq(instance_stop(&p, true, 30000, NULL), 0);
	ck_assert(!instance_runs(&p));
}
END_TEST

/* One that does not listen to the first signal gets the second one; another process of the same number gets none. */
START_TEST(stops_the_right_one)
{
	struct instance_process p = start_shell("trap '' INT; echo up; while :; do sleep 0.1; done"),
				other = p;
	char log[100], text[8] = "";

	snprintf(log, sizeof(log), "%s/log", dir);
	while (strncmp(text, "up", 2) != 0) {
		FILE *f = fopen(log, "r");

		if (f) {
			(void)!fread(text, 1, 2, f);
			fclose(f);
		}
		usleep(1000);
	}
	other.ticks++;
	ck_assert(!instance_runs(&other));
	ck_assert_int_eq(instance_stop(&other, false, 0, NULL), 0);
	ck_assert(instance_runs(&p));
	ck_assert_int_eq(instance_stop(&p, true, 10, NULL), 0);
	ck_assert(!instance_runs(&p));
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("capture instance");
	TCase *t = tcase_create("instance");

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, a_missing_server_is_named_with_its_package);
	tcase_add_test(t, what_may_not_be_loaded_is_left_out);
	tcase_add_test(t, libraries_are_found_as_the_server_finds_them);
	tcase_add_test(t, settings_of_each_version);
	tcase_add_test(t, what_is_asked_for_is_set);
	tcase_add_test(t, bounds_are_raised_by_what_the_server_says);
	tcase_add_test(t, bounds_only_grow);
	tcase_add_test(t, settings_as_text_and_as_arguments);
	tcase_add_test(t, postmaster_pid_is_read);
	tcase_add_test(t, last_words);
	tcase_add_test(t, a_socket_has_to_fit);
	tcase_add_test(t, what_is_kept_is_read_back);
	tcase_add_test(t, damaged_records_are_refused);
	tcase_add_test(t, a_server_that_ends_tells_why);
	tcase_add_test(t, a_program_that_is_not_there);
	tcase_add_test(t, waits_until_it_takes_connections);
	tcase_add_test(t, stops_the_right_one);
	suite_add_tcase(s, t);
	return s;
}

CHECK_MAIN(suite)
