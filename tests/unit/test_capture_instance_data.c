/* A data directory made ready for a server of ours: what leads out of it goes, what is in it stays, and the kernel keeps a
 * confined process where it was told. */
#include "tests/unit/check_main.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "src/base/clean.h"
#include "src/capture/confine.h"
#include "src/capture/instance_data.h"

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

static const char *at(const char *name)
{
	static char path[4][300];
	static unsigned n;
	char *p = path[n++ % 4];

	snprintf(p, sizeof(path[0]), "%s/%s", dir, name);
	return p;
}

static void put(const char *name, const char *text)
{
	FILE *f = fopen(at(name), "w");

	ck_assert_ptr_nonnull(f);
	ck_assert_int_ge(fputs(text, f), 0);
	ck_assert_int_eq(fclose(f), 0);
}

static const char *text_of(const char *name)
{
	static char text[4096];
	FILE *f = fopen(at(name), "r");
	size_t n;

	ck_assert_ptr_nonnull(f);
	n = fread(text, 1, sizeof(text) - 1, f);
	text[n] = '\0';
	fclose(f);
	return text;
}

static bool is_there(const char *name)
{
	struct stat st;

	return lstat(at(name), &st) == 0;
}

static struct instance_owner me(void)
{
	return (struct instance_owner){.uid = geteuid(), .gid = getegid()};
}

static int prepare(struct err *e)
{
	const struct instance_owner o = me();

	return instance_data_prepare(dir, &o, NULL, e);
}

START_TEST(what_leads_out_goes)
{
	static const char *const gone[] = {
		"postmaster.pid", "postmaster.opts", "standby.signal", "tablespace_map", "pg_replslot/old"};
	struct err e = {0};
	struct stat st;

	ck_assert_int_eq(chmod(dir, 0755), 0);
	put("outside", "x");
	ck_assert_int_eq(mkdir(at("pg_replslot"), 0700), 0);
	ck_assert_int_eq(mkdir(at("pg_replslot/old"), 0700), 0);
	put("pg_replslot/old/state", "x");
	for (size_t i = 0; i < 4; i++)
		put(gone[i], "16385 /srv/ts\n");
	ck_assert_int_eq(symlink("/srv/wal", at("pg_wal")), 0);
	ck_assert_int_eq(mkdir(at("pg_tblspc"), 0700), 0);
	ck_assert_int_eq(symlink("../../tablespaces/16385", at("pg_tblspc/16385")), 0);
	put("postgresql.conf", "work_mem = 1MB\n");
	for (int twice = 0; twice < 2; twice++) {
		ck_assert_msg(prepare(&e) == 0, "%s", e.text);
		for (size_t i = 0; i < sizeof(gone) / sizeof(*gone); i++)
			ck_assert_msg(!is_there(gone[i]), "%s", gone[i]);
		ck_assert_int_eq(lstat(at("pg_wal/archive_status"), &st), 0);
		ck_assert(S_ISDIR(st.st_mode));
		ck_assert_int_eq(lstat(at("pg_wal"), &st), 0);
		ck_assert(S_ISDIR(st.st_mode));
		ck_assert_int_eq(stat(dir, &st), 0);
		ck_assert_int_eq(st.st_mode & 07777, 0700);
		ck_assert(is_there("outside") && is_there("pg_tblspc/16385") && is_there("pg_replslot"));
		ck_assert_str_eq(text_of("postgresql.conf"), "work_mem = 1MB\n");
	}
}
END_TEST

START_TEST(what_cannot_be_replaced_is_refused)
{
	static const char *const targets[] = {
		"/srv/ts", "../../../ts", "../../tablespaces/..", "../../tablespaces/1/../../x"};
	struct err e = {0};

	ck_assert_int_eq(symlink("/srv/base", at("base")), 0);
	ck_assert_int_eq(prepare(&e), -EOPNOTSUPP);
	ck_assert_ptr_nonnull(strstr(e.text, "base is a link"));
	ck_assert_int_eq(unlink(at("base")), 0);
	ck_assert_int_eq(mkdir(at("pg_tblspc"), 0700), 0);
	for (size_t i = 0; i < sizeof(targets) / sizeof(*targets); i++) {
		ck_assert_int_eq(symlink(targets[i], at("pg_tblspc/16385")), 0);
		ck_assert_int_eq(prepare(&e), -EOPNOTSUPP);
		ck_assert_ptr_nonnull(strstr(e.text, "16385"));
		ck_assert_int_eq(unlink(at("pg_tblspc/16385")), 0);
	}
	ck_assert_int_eq(prepare(&e), 0);
}
END_TEST

START_TEST(includes_stay_inside)
{
	struct instance_data d = {0};
	struct err e = {0};

	ck_assert_int_eq(mkdir(at("conf.d"), 0700), 0);
	put("conf.d/b.conf", "shared_preload_libraries = 'b'\ninclude '../outside.conf'\n");
	put("conf.d/a.conf", "shared_preload_libraries = 'a'\n");
	put("conf.d/.c.conf", "shared_preload_libraries = 'c'\n");
	put("inside.conf", "lc_time = 'xx_XX.nothing'\nlc_numeric = 'C'\n");
	ck_assert_int_eq(symlink("/etc/hostname", at("link.conf")), 0);
	put("postgresql.conf", "include 'inside.conf'\n"
			       "include_dir = 'conf.d'\n"
			       "include '/etc/hostname'\n"
			       "INCLUDE 'link.conf'\n"
			       "include 'missing.conf'\n"
			       "include_if_exists 'missing.conf'\n"
			       "include_dir '/etc'\n"
			       "include 'postgresql.conf'\n"
			       "session_preload_libraries = 'first' # not the last word\n");
	put("postgresql.auto.conf", "session_preload_libraries = 'last'\n");
	ck_assert_msg(prepare(&e) == 0, "%s", e.text);
	ck_assert_str_eq(text_of("conf.d/b.conf"),
		"shared_preload_libraries = 'b'\n# left out by pgstrata: include '../outside.conf'\n");
	ck_assert_ptr_nonnull(
		strstr(text_of("postgresql.conf"), "\ninclude_dir = 'conf.d'\n"
						   "# left out by pgstrata: include '/etc/hostname'\n"
						   "# left out by pgstrata: INCLUDE 'link.conf'\n"
						   "# left out by pgstrata: include 'missing.conf'\n"
						   "include_if_exists 'missing.conf'\n"
						   "# left out by pgstrata: include_dir '/etc'\n"));
	ck_assert_int_eq(instance_data_read(dir, &d, &e), -ENOENT);
	ck_assert_ptr_nonnull(strstr(e.text, "pg_control"));
}
END_TEST

/* postgresql.conf of packages is not in the data directory, or a link. */
START_TEST(a_missing_configuration_is_made)
{
	struct err e = {0};

	ck_assert_int_eq(symlink("/etc/hostname", at("postgresql.conf")), 0);
	ck_assert_msg(prepare(&e) == 0, "%s", e.text);
	ck_assert_int_eq(*text_of("postgresql.conf"), '#');
}
END_TEST

START_TEST(settings_and_signals)
{
	const struct instance_owner o = me();
	struct err e = {0};
	char *hba, *ident;

	put("postgresql.auto.conf", "a = 'b'\n");
	ck_assert_int_eq(instance_data_append(dir, &o, "c = 'd'\n", &e), 0);
	ck_assert_str_eq(text_of("postgresql.auto.conf"), "a = 'b'\nc = 'd'\n");
	ck_assert_int_eq(instance_data_signal(dir, &o, &e), 0);
	ck_assert_str_eq(text_of("recovery.signal"), "");
	ck_assert_int_eq(instance_data_access(dir, &o, false, &hba, &ident, &e), 0);
	ck_assert_str_eq(hba, at("pg_hba.conf"));
	ck_assert_str_eq(text_of("pg_hba.conf"), "local all all trust\n");
	ck_assert_str_eq(text_of("pg_ident.conf"), "");
	free(hba);
	free(ident);
	/* Not through a link, wherever it leads. */
	put("outside", "x");
	ck_assert_int_eq(unlink(at("recovery.signal")), 0);
	ck_assert_int_eq(symlink("outside", at("recovery.signal")), 0);
	ck_assert_int_eq(instance_data_signal(dir, &o, &e), -ELOOP);
	ck_assert_str_eq(text_of("outside"), "x");
}
END_TEST

/* What a confined child is able to do, as bits. */
static int as_confined(int rules)
{
	int status, did = 0;
	pid_t pid = fork();

	ck_assert_int_ge(pid, 0);
	if (pid == 0) {
		if (rules >= 0 && confine_self(rules) < 0)
			_exit(99);
		did |= open(at("in/made"), O_WRONLY | O_CREAT, 0600) >= 0 ? 1 : 0;
		did |= open(at("in/null"), O_WRONLY | O_CREAT, 0600) >= 0 &&
				       rename(at("in/null"), at("in/sub/null")) == 0
			       ? 2
			       : 0;
		did |= open(at("out/made"), O_WRONLY | O_CREAT, 0600) >= 0 ? 4 : 0;
		did |= open(at("out/old"), O_WRONLY) >= 0 ? 8 : 0;
		did |= mkdir(at("out/dir"), 0700) == 0 ? 16 : 0;
		did |= unlink(at("out/old")) == 0 ? 32 : 0;
		did |= open("/dev/null", O_WRONLY) >= 0 ? 64 : 0;
		did |= open(at("opened/old"), O_RDWR) >= 0 && unlink(at("opened/old")) < 0 &&
				       open(at("opened/new"), O_WRONLY | O_CREAT, 0600) < 0
			       ? 128
			       : 0;
		_exit(did);
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert(WIFEXITED(status));
	return WEXITSTATUS(status);
}

/* ---- the backup's own WAL ---- */

#define SEGMENT (1u << 20)

static void put_segment(const char *name, char fill)
{
	FILE *f = fopen(at(name), "w");

	ck_assert_ptr_nonnull(f);
	for (size_t i = 0; i < SEGMENT; i++)
		fputc(fill, f);
	ck_assert_int_eq(fclose(f), 0);
}

/* How many bytes of the segment are `fill`, followed by zeroes up to its size. One assertion for all of them: each tells
 * the parent process its line. */
static size_t filled(const char *name, char fill)
{
	FILE *f = fopen(at(name), "r");
	size_t n = 0, all = 0;
	bool sound = true;
	int c;

	ck_assert_ptr_nonnull(f);
	for (; (c = fgetc(f)) != EOF; all++) {
		n += c == fill;
		sound = sound && c == (n > all ? fill : 0);
	}
	fclose(f);
	ck_assert(sound);
	ck_assert_uint_eq(all, SEGMENT);
	return n;
}

static const struct {
	uint64_t to;
	int r;
	size_t last; /* bytes that are left of segment 3 */
} ends[] = {
	{0x300100, 0, 0x100},
	{0x302000, 0, 0x2000},
	{0x3fffff, 0, 0xfffff},
	{0x400000, 0, 0x100000}, /* the end of a segment: the next one is not needed */
	{0x300001, 0, 1},
	{0x500100, -ENOENT, SEGMENT}, /* segment 5 is not there */
	{0x200028, -ENOENT, SEGMENT}, /* ends where it begins */
	{0, -ENOENT, SEGMENT},
};

START_TEST(wal_ends_with_the_backup)
{
	struct instance_wal w = {{1}, SEGMENT, {0x200028}, {ends[_i].to}};
	bool done = ends[_i].r == 0;
	struct err e = {0};

	ck_assert_int_eq(mkdir(at("pg_wal"), 0700), 0);
	put_segment("pg_wal/000000010000000000000002", 'a');
	put_segment("pg_wal/000000010000000000000003", 'b');
	put_segment("pg_wal/000000010000000000000004", 'c');
	put_segment("pg_wal/000000020000000000000003", 'd');
	put("pg_wal/00000002.history", "x");
	put("pg_wal/000000010000000000000003.partial", "x");
	ck_assert_int_eq(instance_data_end_wal(dir, &w, &e), ends[_i].r);
	ck_assert_uint_eq(filled("pg_wal/000000010000000000000002", 'a'), SEGMENT);
	ck_assert_uint_eq(filled("pg_wal/000000010000000000000003", 'b'), ends[_i].last);
	ck_assert_int_eq(is_there("pg_wal/000000010000000000000004"), !done);
	ck_assert_int_eq(is_there("pg_wal/000000020000000000000003"), !done);
	ck_assert(is_there("pg_wal/00000002.history"));
	ck_assert(is_there("pg_wal/000000010000000000000003.partial"));
	/* Once more, as after an earlier call that was cut off. */
	ck_assert_int_eq(instance_data_end_wal(dir, &w, &e), ends[_i].r);
	ck_assert_uint_eq(filled("pg_wal/000000010000000000000003", 'b'), ends[_i].last);
	/* One that is too short is none. */
	put("pg_wal/000000010000000000000002", "x");
	ck_assert_int_eq(instance_data_end_wal(dir, &w, &e), -ENOENT);
}
END_TEST

START_TEST(a_confined_process_stays_where_it_is)
{
	_cleanup_(freep) char *in = strdup(at("in")), *nowhere = strdup(at("nowhere"));
	_cleanup_(freep) char *opened = strdup(at("opened"));
	const char *dirs[] = {in, nowhere, NULL};
	struct err e = {0};
	int rules;

	ck_assert_int_eq(mkdir(at("in"), 0700), 0);
	ck_assert_int_eq(mkdir(at("in/sub"), 0700), 0);
	ck_assert_int_eq(mkdir(at("out"), 0700), 0);
	put("out/old", "x");
	ck_assert_int_eq(mkdir(at("opened"), 0700), 0);
	put("opened/old", "x");
	rules = confine_new(dirs, opened, &e);
	if (rules == -EOPNOTSUPP) {
		/* A kernel without Landlock: then the caller is told so, which is all that there is to test. */
		ck_assert_ptr_nonnull(strstr(e.text, "Landlock"));
		return;
	}
	ck_assert_msg(rules >= 0, "%s", e.text);
	ck_assert_int_eq(as_confined(rules), 1 | 2 | 64 | 128);
	ck_assert(is_there("out/old"));
	close(rules);
	ck_assert_int_eq(as_confined(-1), 127);
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("capture instance data");
	TCase *t = tcase_create("data");

	suite_add_tcase(s, t);
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, what_leads_out_goes);
	tcase_add_test(t, what_cannot_be_replaced_is_refused);
	tcase_add_test(t, includes_stay_inside);
	tcase_add_test(t, a_missing_configuration_is_made);
	tcase_add_test(t, settings_and_signals);
	tcase_add_loop_test(t, wal_ends_with_the_backup, 0, sizeof(ends) / sizeof(*ends));
	tcase_add_test(t, a_confined_process_stays_where_it_is);
	return s;
}

CHECK_MAIN(suite)
