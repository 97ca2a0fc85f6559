/* What is made of a backup's small files (src/capture/backup_facts.h). pg_control comes from real servers. */
#include "src/capture/backup_facts.h"

#include <errno.h>

#include "src/base/io.h"
#include "src/capture/account.h"
#include "tests/unit/check_main.h"

#define SEG (16u << 20)

static const struct tstamp now = {.sec = 2000000000};

static const char label_utc[] = "START WAL LOCATION: 0/2000028 (file 000000010000000000000002)\n"
				"CHECKPOINT LOCATION: 0/2000060\n"
				"BACKUP METHOD: streamed\n"
				"BACKUP FROM: primary\n"
				"START TIME: 2026-11-20 02:15:07 UTC\n"
				"LABEL: caf\xc3\xa9 \xff\n"
				"START TIMELINE: 1\n";

static const char history[] = "START WAL LOCATION: 0/2000028 (file 000000010000000000000002)\n"
			      "STOP WAL LOCATION: 0/4000100 (file 000000010000000000000004)\n"
			      "CHECKPOINT LOCATION: 0/2000060\n"
			      "BACKUP METHOD: streamed\n"
			      "BACKUP FROM: primary\n"
			      "START TIME: 2026-11-20 02:15:07 UTC\n"
			      "LABEL: x\n"
			      "START TIMELINE: 1\n"
			      "STOP TIME: 2026-11-20 02:16:00 UTC\n"
			      "STOP TIMELINE: 1\n";

static int take(struct backup_facts *f, const char *path, const void *p, size_t n, struct err *e)
{
	*e = (struct err){0};
	ck_assert_uint_ge(backup_facts_want(f, path, strlen(path)), n);
	return backup_facts_take(f, path, p, n, e);
}

static void take_ok(struct backup_facts *f, const char *path, const char *text)
{
	struct err e;

	ck_assert_msg(take(f, path, text, strlen(text), &e) == 0, "%s", e.text);
}

static void take_control(struct backup_facts *f, const char *name)
{
	char *path = io_join(PGSTRATA_TEST_DATA, name);
	void *p;
	size_t n;
	struct err e = {0};

	ck_assert_int_eq(io_read_file(path, CONTROL_FILE_SIZE, &p, &n, &e), 0);
	ck_assert_msg(take(f, CONTROL_PATH, p, n, &e) == 0, "%s", e.text);
	free(p);
	free(path);
}

static void file(struct backup_facts *f, const char *path, uint64_t size, int64_t sec)
{
	struct err e;

	ck_assert_int_eq(backup_facts_file(f, path, strlen(path), size, (struct tstamp){.sec = sec}, &e), 0);
}

/* A PostgreSQL 13 backup, but for its WAL. */
static struct backup_facts *make(const char *label)
{
	struct backup_facts *f = backup_facts_new(NULL);

	take_ok(f, "PG_VERSION", "13\n");
	take_ok(f, "backup_label", label);
	take_control(f, "control-13-production.bin");
	return f;
}

static const char *text(const struct snapshot *s, const char *key)
{
	const struct property *p = snapshot_get(s, key);

	ck_assert_msg(p && p->type == PROPERTY_TEXT, "no %s", key);
	return p->text;
}

static void settle_fails(struct backup_facts *f, int code, const char *word)
{
	struct snapshot *s = snapshot_new();
	struct err e = {0};

	ck_assert_int_eq(backup_facts_settle(f, NULL, now, s, &e), code);
	ck_assert_msg(strstr(e.text, word) != NULL, "\"%s\" does not say \"%s\"", e.text, word);
	snapshot_free(s);
	backup_facts_free(f);
}

static struct snapshot *settle(struct backup_facts *f)
{
	struct snapshot *s = snapshot_new();
	struct err e = {0};

	ck_assert_msg(backup_facts_settle(f, NULL, now, s, &e) == 0, "%s", e.text);
	backup_facts_free(f);
	return s;
}

START_TEST(test_properties)
{
	struct backup_facts *f = make(label_utc);
	struct snapshot *s;
	char id[24];
	struct err e;

	ck_assert_int_eq(backup_facts_link(f, (struct oid){16385}, "/mnt/copy", &e), 0);
	ck_assert_int_eq(backup_facts_link(f, (struct oid){16390}, "/mnt/other", &e), 0);
	take_ok(f, "tablespace_map", "16385 /srv/origin\n");
	ck_assert_int_eq(backup_facts_read_map(f, &e), 0);
	file(f, "pg_wal/000000010000000000000002", SEG, 1000);
	file(f, "base/1/1259", 8192, 1795140960);
	snprintf(id, sizeof(id), "%llu", (unsigned long long)backup_facts_control(f)->system_identifier);
	s = settle(f);
	ck_assert_str_eq(text(s, "pg_version"), "13");
	ck_assert_str_eq(text(s, "system_identifier"), id);
	ck_assert_str_eq(text(s, "start_lsn"), "0/2000028");
	ck_assert_str_eq(text(s, "checkpoint_lsn"), "0/2000060");
	ck_assert_ptr_null(snapshot_get(s, "stop_lsn"));
	ck_assert_str_eq(text(s, "label"), "caf\xc3\xa9 \\xff");
	ck_assert_str_eq(text(s, "backup_method"), "streamed");
	ck_assert_str_eq(text(s, "backup_from"), "primary");
	ck_assert_str_eq(text(s, "manifest"), "absent");
	ck_assert_str_eq(text(s, "tablespaces"), "16385=/srv/origin\n16390=/mnt/other");
	ck_assert_uint_eq(snapshot_get(s, "timeline")->number, 1);
	ck_assert_uint_eq(snapshot_get(s, "wal_segment_size")->number, SEG);
	ck_assert_uint_eq(snapshot_get(s, "block_size")->number, 8192);
	ck_assert_uint_eq(snapshot_get(s, "wal_included")->number, 1);
	ck_assert_int_eq(s->start.sec, 1795140907);
	ck_assert_int_eq(s->stop.sec, 1795140960);
	snapshot_free(s);
}
END_TEST

/* History file, then manifest, then the newest file, then now; never before the start. */
START_TEST(test_stop_time)
{
	struct backup_facts *f = make(label_utc);
	struct snapshot *s;

	for (char n = '2'; n <= '4'; n++) {
		char path[] = "pg_wal/00000001000000000000000?";

		path[sizeof(path) - 2] = n;
		file(f, path, SEG, 5);
	}
	take_ok(f, "pg_wal/000000010000000000000002.00000028.backup", history);
	backup_facts_manifest_time(f, (struct tstamp){.sec = 1795141000});
	s = settle(f);
	ck_assert_int_eq(s->stop.sec, 1795140960);
	ck_assert_str_eq(text(s, "stop_lsn"), "0/4000100");
	snapshot_free(s);

	f = make(label_utc);
	backup_facts_manifest_time(f, (struct tstamp){.sec = 1795141000});
	file(f, "x", 1, 1795142000);
	s = settle(f);
	ck_assert_int_eq(s->stop.sec, 1795141000);
	snapshot_free(s);

	f = make(label_utc);
	file(f, "x", 1, 1795142000);
	file(f, "y", 1, 5);
	s = settle(f);
	ck_assert_int_eq(s->stop.sec, 1795142000);
	snapshot_free(s);

	f = make(label_utc);
	file(f, "y", 1, 5);
	s = settle(f);
	ck_assert_int_eq(s->stop.sec, 1795140907);
	snapshot_free(s);

	f = make(label_utc);
	file(f, "y", 1, 0);
	s = settle(f);
	ck_assert_int_eq(s->stop.sec, now.sec);
	snapshot_free(s);

	/* A file from the future does not make the backup the latest for ever. */
	f = make(label_utc);
	file(f, "y", 1, now.sec + 1000000);
	s = settle(f);
	ck_assert_int_eq(s->stop.sec, now.sec);
	snapshot_free(s);
}
END_TEST

START_TEST(test_other_history)
{
	struct backup_facts *f = make(label_utc);
	char other[sizeof(history)];
	struct snapshot *s;

	memcpy(other, history, sizeof(history));
	memcpy(strstr(other, "0/2000028"), "0/2000030", 9);
	file(f, "pg_wal/000000010000000000000002", SEG, 5);
	take_ok(f, "pg_wal/000000010000000000000002.00000030.backup", other);
	/* One that is none is passed over. */
	take_ok(f, "pg_wal/000000010000000000000002.00000031.backup", "hello");
	s = settle(f);
	ck_assert_ptr_null(snapshot_get(s, "stop_lsn"));
	snapshot_free(s);
}
END_TEST

START_TEST(test_missing)
{
	struct backup_facts *f = backup_facts_new(NULL);

	settle_fails(f, -EBADMSG, "no PG_VERSION");
	f = backup_facts_new(NULL);
	take_ok(f, "PG_VERSION", "13\n");
	settle_fails(f, -EBADMSG, "no backup_label");
	f = backup_facts_new(NULL);
	take_ok(f, "PG_VERSION", "13\n");
	take_ok(f, "backup_label", label_utc);
	settle_fails(f, -EBADMSG, "no global/pg_control");
	f = make(label_utc);
	take_ok(f, "PG_VERSION", "14\n");
	settle_fails(f, -EBADMSG, "PG_VERSION says 14, but global/pg_control is of PostgreSQL 13");
}
END_TEST

START_TEST(test_wal)
{
	struct backup_facts *f = make(label_utc);

	file(f, "pg_wal/000000010000000000000003", SEG, 5);
	settle_fails(f, -EBADMSG, "pg_wal/000000010000000000000002 is missing");

	f = make(label_utc);
	file(f, "pg_wal/000000010000000000000002", SEG - 1, 5);
	settle_fails(f, -EBADMSG, "pg_wal/000000010000000000000002 has 16777215 bytes");

	/* A gap in the middle, and one at the end. */
	f = make(label_utc);
	file(f, "pg_wal/000000010000000000000002", SEG, 5);
	file(f, "pg_wal/000000010000000000000004", SEG, 5);
	take_ok(f, "pg_wal/000000010000000000000002.00000028.backup", history);
	settle_fails(f, -EBADMSG, "pg_wal/000000010000000000000003 is missing");
	f = make(label_utc);
	file(f, "pg_wal/000000010000000000000003", SEG, 5);
	file(f, "pg_wal/000000010000000000000002", SEG, 5);
	take_ok(f, "pg_wal/000000010000000000000002.00000028.backup", history);
	settle_fails(f, -EBADMSG, "pg_wal/000000010000000000000004 is missing");

	/* A newer timeline's segment has what the older one's had; an older one's has not. Below pg_wal is not in it. */
	f = make(label_utc);
	file(f, "pg_wal/000000020000000000000002", SEG, 5);
	snapshot_free(settle(f));
	f = make(label_utc);
	file(f, "pg_wal/archive_status/000000010000000000000002", SEG, 5);
	file(f, "pg_wal/000000010000000000000001", SEG, 5);
	settle_fails(f, -EBADMSG, "000000010000000000000002 is missing");

	/* None at all is a warning. */
	f = make(label_utc);
	file(f, "pg_wal/archive_status/000000010000000000000002.done", 0, 5);
	snapshot_free(settle(f));
}
END_TEST

START_TEST(test_damaged)
{
	static const struct {
		const char *path, *text;
		int code;
	} bad[] = {
		{"PG_VERSION", "fifteen\n", -EBADMSG},
		{"PG_VERSION", "9.6\n", -EOPNOTSUPP},
		{"backup_label", "hello\n", -EBADMSG},
		{"global/pg_control", "short", -EBADMSG},
	};
	struct err e;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct backup_facts *f = backup_facts_new(NULL);

		ck_assert_int_eq(take(f, bad[i].path, bad[i].text, strlen(bad[i].text), &e), bad[i].code);
		ck_assert_ptr_nonnull(strstr(e.text, bad[i].path));
		backup_facts_free(f);
	}
}
END_TEST

START_TEST(test_incremental)
{
	struct backup_facts *f = backup_facts_new(NULL);
	char label[sizeof(label_utc) + 64];
	struct err e;
	struct tstamp t = {0};

	snprintf(label, sizeof(label), "%sINCREMENTAL FROM LSN: 0/1000028\nINCREMENTAL FROM TLI: 1\n",
		label_utc);
	ck_assert_int_eq(take(f, "backup_label", label, strlen(label), &e), -EOPNOTSUPP);
	ck_assert_ptr_nonnull(strstr(e.text, "pg_combinebackup"));
	ck_assert_int_eq(backup_facts_file(f, "base/5/INCREMENTAL.16384", 24, 1, t, &e), -EOPNOTSUPP);
	ck_assert_ptr_nonnull(strstr(e.text, "base/5/INCREMENTAL.16384"));
	ck_assert_int_eq(backup_facts_file(f, "INCREMENTAL.md", 14, 1, t, &e), 0);
	backup_facts_free(f);
}
END_TEST

START_TEST(test_want)
{
	struct backup_facts *f = backup_facts_new(NULL);

	ck_assert_uint_gt(backup_facts_want(f, "PG_VERSION", 10), 0);
	ck_assert_uint_eq(backup_facts_want(f, "base/1/PG_VERSION", 17), 0);
	ck_assert_uint_eq(backup_facts_want(f, "backup_label.old", 16), 0);
	ck_assert_uint_eq(backup_facts_want(f, "pg_wal/000000010000000000000002", 31), 0);
	ck_assert_uint_gt(backup_facts_want(f, "pg_wal/000000010000000000000002.00000028.backup", 47), 0);
	ck_assert_uint_eq(backup_facts_want(f, "x/000000010000000000000002.00000028.backup", 42), 0);
	backup_facts_free(f);
}
END_TEST

START_TEST(test_accounts)
{
	struct accounts *a = accounts_new();

	ck_assert_str_eq(account_user(a, 0), "root");
	ck_assert_str_eq(account_group(a, 0), "root");
	ck_assert_str_eq(account_user(a, 0), "root");
	ck_assert_str_eq(account_user(a, 3999999999u), "");
	ck_assert_uint_eq(account_uid(a, "root", 7), 0);
	ck_assert_uint_eq(account_gid(a, "root", 7), 0);
	ck_assert_uint_eq(account_uid(a, "", 7), 7);
	/* More names than are remembered, none of them known. */
	for (unsigned i = 0; i < 600; i++) {
		char name[32];

		snprintf(name, sizeof(name), "nobody-has-this-%u", i);
		ck_assert_uint_eq(account_uid(a, name, i), i);
	}
	ck_assert_uint_eq(account_uid(a, "root", 7), 0);
	accounts_free(a);
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("capture_facts");
	TCase *c = tcase_create("facts");

	tcase_add_test(c, test_properties);
	tcase_add_test(c, test_stop_time);
	tcase_add_test(c, test_other_history);
	tcase_add_test(c, test_missing);
	tcase_add_test(c, test_wal);
	tcase_add_test(c, test_damaged);
	tcase_add_test(c, test_incremental);
	tcase_add_test(c, test_want);
	tcase_add_test(c, test_accounts);
	suite_add_tcase(s, c);
	return s;
}

CHECK_MAIN(suite)
