/* Names in a data directory: what is a relation's file, what pg_verifybackup passes over, PG_VERSION. */
#include "tests/unit/check_main.h"

#include <errno.h>

#include "src/pg/datadir.h"

START_TEST(relations)
{
	static const struct {
		const char *path;
		struct datadir_rel rel;
	} yes[] = {
		{"base/5/16384", {.spc.v = 1663, .db.v = 5, .filenode = 16384}},
		{"base/5/16384_fsm", {.spc.v = 1663, .db.v = 5, .filenode = 16384, .fork = DATADIR_FORK_FSM}},
		{"base/5/16384_vm", {.spc.v = 1663, .db.v = 5, .filenode = 16384, .fork = DATADIR_FORK_VM}},
		{"base/5/16384_init",
			{.spc.v = 1663, .db.v = 5, .filenode = 16384, .fork = DATADIR_FORK_INIT}},
		{"base/5/16384.1", {.spc.v = 1663, .db.v = 5, .filenode = 16384, .segment = 1}},
		{"base/5/16384_fsm.12", {.spc.v = 1663,
						.db.v = 5,
						.filenode = 16384,
						.fork = DATADIR_FORK_FSM,
						.segment = 12}},
		{"base/4294967295/4294967295.131071",
			{.spc.v = 1663, .db.v = UINT32_MAX, .filenode = UINT32_MAX, .segment = 131071}},
		{"base/5/t3_16400",
			{.spc.v = 1663, .db.v = 5, .filenode = 16400, .temporary = true, .backend = 3}},
		{"base/5/t0_16400_vm.2", {.spc.v = 1663,
						 .db.v = 5,
						 .filenode = 16400,
						 .fork = DATADIR_FORK_VM,
						 .segment = 2,
						 .temporary = true}},
		{"global/1262", {.spc.v = 1664, .filenode = 1262}},
		{"global/1262_fsm", {.spc.v = 1664, .filenode = 1262, .fork = DATADIR_FORK_FSM}},
		{"pg_tblspc/16385/PG_15_202209061/5/16387", {.spc.v = 16385, .db.v = 5, .filenode = 16387}},
		{"pg_tblspc/16385/PG_18_202506291/5/16387_vm.1", {.spc.v = 16385,
									 .db.v = 5,
									 .filenode = 16387,
									 .fork = DATADIR_FORK_VM,
									 .segment = 1}},
	};

	for (size_t k = 0; k < sizeof(yes) / sizeof(*yes); k++) {
		struct datadir_rel r, w = yes[k].rel;

		ck_assert_msg(datadir_is_relation(yes[k].path, strlen(yes[k].path), &r), "%s", yes[k].path);
		ck_assert(datadir_is_relation(yes[k].path, strlen(yes[k].path), NULL));
		ck_assert_msg(r.spc.v == w.spc.v && r.db.v == w.db.v && r.filenode == w.filenode &&
				      r.fork == w.fork && r.segment == w.segment &&
				      r.temporary == w.temporary && r.backend == w.backend,
			"%s", yes[k].path);
	}
}
END_TEST

START_TEST(not_relations)
{
	static const char *const no[] = {"", "base", "base/", "base/5", "base/5/", "base/5/PG_VERSION",
		"base/5/pg_filenode.map", "base/5/pg_internal.init", "base/5/16384_", "base/5/16384_foo",
		"base/5/16384_fsm_vm", "base/5/16384.", "base/5/16384.0", "base/5/16384.01",
		"base/5/16384.1.1", "base/5/016384", "base/5/0", "base/0/16384", "base/05/16384",
		"base/5/4294967296", "base/5/16384 ", "base/5/16384/1", "base//16384", "/base/5/16384",
		"./base/5/16384", "base/5/t_16384", "base/5/t3", "base/5/t3_", "base/5/tt3_16384",
		"base/5/16384.4294967296", "base/pgsql_tmp/pgsql_tmp1.0", "global/pg_control",
		"global/pg_filenode.map", "global/5/1262", "global/", "pg_tblspc/16385",
		"pg_tblspc/16385/5/16387", "pg_tblspc/16385/PG_15/5/16387",
		"pg_tblspc/16385/PG_15_202209061/16387", "pg_tblspc/0/PG_15_202209061/5/16387",
		"pg_tblspc/16385/PG_15_202209061/pgsql_tmp/5", "pg_wal/000000010000000000000001",
		"pg_xact/0000", "base/-5/16384", "base/+5/16384"};

	for (size_t k = 0; k < sizeof(no) / sizeof(*no); k++) {
		struct datadir_rel r = {.filenode = 77};

		ck_assert_msg(!datadir_is_relation(no[k], strlen(no[k]), &r), "%s", no[k]);
		ck_assert_uint_eq(r.filenode, 77);
	}
	ck_assert(!datadir_is_relation(NULL, 0, NULL));
}
END_TEST

START_TEST(a_path_is_its_n_bytes)
{
	static const char whole[] = "pg_tblspc/16385/PG_15_202209061/5/16387_init.25";

	for (size_t n = 0; n <= strlen(whole); n++) {
		char *part = check_exact(whole, n);
		/* From the first digit of the file node on, all but the parts of "_init" and "." name a
		 * relation. */
		bool want = (n >= 35 && n <= 39) || n == 44 || n >= 46;

		ck_assert_msg(datadir_is_relation(part, n, NULL) == want, "%.*s", (int)n, whole);
		free(part);
	}
}
END_TEST

START_TEST(forks)
{
	ck_assert_str_eq(datadir_fork_name(DATADIR_FORK_MAIN), "main");
	ck_assert_str_eq(datadir_fork_name(DATADIR_FORK_FSM), "fsm");
	ck_assert_str_eq(datadir_fork_name(DATADIR_FORK_VM), "vm");
	ck_assert_str_eq(datadir_fork_name(DATADIR_FORK_INIT), "init");
}
END_TEST

START_TEST(what_pg_verifybackup_passes_over)
{
	static const struct {
		const char *path;
		bool want;
	} cases[] = {
		{"backup_manifest", true},
		{"pg_wal", true},
		{"pg_wal/000000010000000000000001", true},
		{"pg_wal/archive_status/x", true},
		{"postgresql.auto.conf", true},
		{"recovery.signal", true},
		{"standby.signal", true},
		{"", false},
		{"backup_manifest.old", false},
		{"pg_walx", false},
		{"pg_wa", false},
		{"base/pg_wal", false},
		{"postgresql.conf", false},
		{"global/pg_control", false},
	};

	for (size_t k = 0; k < sizeof(cases) / sizeof(*cases); k++)
		ck_assert_msg(datadir_verify_ignores(cases[k].path, strlen(cases[k].path)) == cases[k].want,
			"%s", cases[k].path);
}
END_TEST

START_TEST(pg_version)
{
	static const struct {
		const char *text;
		int code;
		unsigned major;
	} cases[] = {
		{"15\n", 0, 15},
		{"15", 0, 15},
		{"18\n", 0, 18},
		{"9.6\n", -EOPNOTSUPP, 0},
		{"9.6", -EOPNOTSUPP, 0},
		{"8.4\n", -EOPNOTSUPP, 0},
		{"", -EBADMSG, 0},
		{"\n", -EBADMSG, 0},
		{"15\n\n", -EBADMSG, 0},
		{"15 \n", -EBADMSG, 0},
		{"15.1\n", -EBADMSG, 0},
		{"15.\n", -EBADMSG, 0},
		{"015\n", -EBADMSG, 0},
		{"0\n", -EBADMSG, 0},
		{"-15\n", -EBADMSG, 0},
		{"1000\n", -EBADMSG, 0},
		{"99999999999999999999\n", -EBADMSG, 0},
		{"devel", -EBADMSG, 0},
	};

	for (size_t k = 0; k < sizeof(cases) / sizeof(*cases); k++) {
		char *text = check_exact(cases[k].text, strlen(cases[k].text));
		unsigned major = 77;
		struct err e = {0};

		ck_assert_msg(datadir_version_parse(text, strlen(cases[k].text), &major, &e) == cases[k].code,
			"\"%s\"", cases[k].text);
		ck_assert_uint_eq(major, cases[k].code ? 77 : cases[k].major);
		ck_assert_int_eq(e.code, cases[k].code);
		free(text);
	}
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("pg_datadir");
	TCase *t = tcase_create("pg_datadir");

	tcase_add_test(t, relations);
	tcase_add_test(t, not_relations);
	tcase_add_test(t, a_path_is_its_n_bytes);
	tcase_add_test(t, forks);
	tcase_add_test(t, what_pg_verifybackup_passes_over);
	tcase_add_test(t, pg_version);
	suite_add_tcase(s, t);
	return s;
}

CHECK_MAIN(suite)
