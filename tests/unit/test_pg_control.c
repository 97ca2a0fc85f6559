/* pg_control: files of real servers against what their own pg_controldata says of them, a file built from
 * offsets for each release, and damage at every bit. */
#include "tests/unit/check_main.h"

#include <errno.h>

#include "src/base/buf.h"
#include "src/base/clean.h"
#include "src/base/crc32c.h"
#include "src/base/io.h"
#include "src/pg/control.h"

static void load(const char *name, const char *suffix, void **ret, size_t *ret_len)
{
	struct err e = {0};
	char path[512];

	snprintf(path, sizeof(path), "%s/control-%s.%s", PGSTRATA_TEST_DATA, name, suffix);
	ck_assert_msg(io_read_file(path, 1 << 16, ret, ret_len, &e) == 0, "%s", e.text);
}

/* ---- as pg_controldata prints it (src/bin/pg_controldata/pg_controldata.c) ---- */

static void put_line(struct buf *b, const char *name, const char *value)
{
	buf_printf(b, "%-38s%s\n", name, value);
}

#define PUT(b, name, ...)                                      \
	do {                                                   \
		char _value[128];                              \
		snprintf(_value, sizeof(_value), __VA_ARGS__); \
		put_line(b, name, _value);                     \
	} while (0)

static void put_lsn(struct buf *b, const char *name, struct lsn l)
{
	char text[LSN_TEXT];

	put_line(b, name, lsn_text(l, text));
}

static void put_time(struct buf *b, const char *name, int64_t at)
{
	char text[64];
	time_t t = (time_t)at;
	struct tm tm;

	strftime(text, sizeof(text), "%a %b %e %H:%M:%S %Y", gmtime_r(&t, &tm));
	put_line(b, name, text);
}

static void put_bool(struct buf *b, const char *name, bool v)
{
	put_line(b, name, v ? "on" : "off");
}

static void print(struct buf *b, const struct control *c)
{
	char name[WAL_NAME_TEXT];

	PUT(b, "pg_control version number:", "%u", c->control_version);
	PUT(b, "Catalog version number:", "%u", c->catalog_version);
	PUT(b, "Database system identifier:", "%" PRIu64, c->system_identifier);
	put_line(b, "Database cluster state:", control_state_name(c->state));
	put_time(b, "pg_control last modified:", c->time);
	put_lsn(b, "Latest checkpoint location:", c->checkpoint);
	put_lsn(b, "Latest checkpoint's REDO location:", c->copy.redo);
	put_line(b, "Latest checkpoint's REDO WAL file:",
		wal_name(c->copy.tli, wal_segno(c->copy.redo, c->wal_segment_size), c->wal_segment_size,
			name));
	PUT(b, "Latest checkpoint's TimeLineID:", "%u", c->copy.tli.v);
	PUT(b, "Latest checkpoint's PrevTimeLineID:", "%u", c->copy.prev_tli.v);
	put_bool(b, "Latest checkpoint's full_page_writes:", c->copy.full_page_writes);
	PUT(b, "Latest checkpoint's NextXID:", "%u:%u", (uint32_t)(c->copy.next_xid >> 32),
		(uint32_t)c->copy.next_xid);
	PUT(b, "Latest checkpoint's NextOID:", "%u", c->copy.next_oid.v);
	PUT(b, "Latest checkpoint's NextMultiXactId:", "%u", c->copy.next_multi);
	PUT(b, "Latest checkpoint's NextMultiOffset:", "%u", c->copy.next_multi_offset);
	PUT(b, "Latest checkpoint's oldestXID:", "%u", c->copy.oldest_xid);
	PUT(b, "Latest checkpoint's oldestXID's DB:", "%u", c->copy.oldest_xid_db.v);
	PUT(b, "Latest checkpoint's oldestActiveXID:", "%u", c->copy.oldest_active_xid);
	PUT(b, "Latest checkpoint's oldestMultiXid:", "%u", c->copy.oldest_multi);
	PUT(b, "Latest checkpoint's oldestMulti's DB:", "%u", c->copy.oldest_multi_db.v);
	PUT(b, "Latest checkpoint's oldestCommitTsXid:", "%u", c->copy.oldest_commit_ts_xid);
	PUT(b, "Latest checkpoint's newestCommitTsXid:", "%u", c->copy.newest_commit_ts_xid);
	put_time(b, "Time of latest checkpoint:", c->copy.time);
	put_lsn(b, "Fake LSN counter for unlogged rels:", c->unlogged_lsn);
	put_lsn(b, "Minimum recovery ending location:", c->min_recovery_point);
	PUT(b, "Min recovery ending loc's timeline:", "%u", c->min_recovery_tli.v);
	put_lsn(b, "Backup start location:", c->backup_start);
	put_lsn(b, "Backup end location:", c->backup_end);
	put_line(b, "End-of-backup record required:", c->backup_end_required ? "yes" : "no");
	put_line(b, "wal_level setting:", control_wal_level_name(c->wal_level));
	put_bool(b, "wal_log_hints setting:", c->wal_log_hints);
	PUT(b, "max_connections setting:", "%u", c->max_connections);
	PUT(b, "max_worker_processes setting:", "%u", c->max_worker_processes);
	PUT(b, "max_wal_senders setting:", "%u", c->max_wal_senders);
	PUT(b, "max_prepared_xacts setting:", "%u", c->max_prepared_xacts);
	PUT(b, "max_locks_per_xact setting:", "%u", c->max_locks_per_xact);
	put_bool(b, "track_commit_timestamp setting:", c->track_commit_timestamp);
	PUT(b, "Maximum data alignment:", "%u", c->max_align);
	PUT(b, "Database block size:", "%u", c->block_size);
	PUT(b, "Blocks per segment of large relation:", "%u", c->relseg_blocks);
	PUT(b, "WAL block size:", "%u", c->wal_block_size);
	PUT(b, "Bytes per WAL segment:", "%u", c->wal_segment_size);
	PUT(b, "Maximum length of identifiers:", "%u", c->name_data_len);
	PUT(b, "Maximum columns in an index:", "%u", c->index_max_keys);
	PUT(b, "Maximum size of a TOAST chunk:", "%u", c->toast_max_chunk_size);
	PUT(b, "Size of a large-object chunk:", "%u", c->large_object_chunk_size);
	put_line(b, "Date/time type storage:", "64-bit integers");
	put_line(b, "Float8 argument passing:", c->float8_by_value ? "by value" : "by reference");
	PUT(b, "Data page checksum version:", "%u", c->data_checksum_version);
	if (c->has_char_signedness)
		put_line(b, "Default char data signedness:", c->default_char_signed ? "signed" : "unsigned");
	buf_printf(b, "%-38s", "Mock authentication nonce:");
	for (size_t i = 0; i < sizeof(c->mock_nonce); i++)
		buf_printf(b, "%02x", c->mock_nonce[i]);
	buf_printf(b, "\n");
}

static const struct {
	const char *name;
	unsigned major;
} real[] = {
	{"13-production", 13},
	{"15-recovery", 15},
	{"15-standby-backup", 15},
	{"17-shutdown", 17},
	{"18-production", 18},
};

#define REAL_COUNT (int)(sizeof(real) / sizeof(*real))

START_TEST(real_files_read_as_pg_controldata_reads_them)
{
	_cleanup_(freep) void *file = NULL;
	_cleanup_(freep) void *said = NULL;
	_cleanup_(freep) char *ours = NULL;
	_cleanup_(buf_free) struct buf b = {0};
	struct control c;
	struct err e = {0};
	size_t n, said_n;

	load(real[_i].name, "bin", &file, &n);
	load(real[_i].name, "txt", &said, &said_n);
	ck_assert_msg(control_parse(file, n, &c, &e) == 0, "%s", e.text);
	ck_assert_uint_eq(c.pg_major, real[_i].major);
	print(&b, &c);
	ours = buf_steal_str(&b);
	ck_assert_str_eq(ours, (char *)said);
}
END_TEST

START_TEST(a_file_is_8192_bytes_of_which_few_matter)
{
	uint8_t whole[CONTROL_FILE_SIZE] = {0};
	_cleanup_(freep) void *file = NULL;
	struct control c;
	size_t n;

	load(real[_i].name, "bin", &file, &n);
	memcpy(whole, file, n);
	ck_assert_int_eq(control_parse(whole, sizeof(whole), &c, NULL), 0);
	whole[n] ^= 1;
	ck_assert_int_eq(control_parse(whole, sizeof(whole), &c, NULL), 0);
}
END_TEST

static size_t crc_end(unsigned major)
{
	return major >= 18 ? 296 : 292;
}

START_TEST(truncated_anywhere_is_an_error)
{
	_cleanup_(freep) void *file = NULL;
	size_t n;

	load(real[_i].name, "bin", &file, &n);
	for (size_t cut = 0; cut <= n; cut++) {
		_cleanup_(freep) void *part = check_exact(file, cut);
		struct control c = {.system_identifier = 77};
		struct err e = {0};
		int r = control_parse(part, cut, &c, &e);

		if (cut >= crc_end(real[_i].major)) {
			ck_assert_int_eq(r, 0);
			continue;
		}
		ck_assert_int_eq(r, -EBADMSG);
		ck_assert_int_eq(e.code, r);
		ck_assert_uint_eq(c.system_identifier, 77);
	}
}
END_TEST

START_TEST(every_flipped_bit_is_found)
{
	_cleanup_(freep) void *file = NULL;
	uint8_t *bytes;
	size_t n;

	load(real[_i].name, "bin", &file, &n);
	bytes = file;
	for (size_t bit = 0; bit < 8 * crc_end(real[_i].major); bit++) {
		struct control c = {.system_identifier = 77};

		bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
		ck_assert_msg(control_parse(bytes, n, &c, NULL) < 0, "bit %zu", bit);
		ck_assert_uint_eq(c.system_identifier, 77);
		bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
	}
}
END_TEST

/* ---- a file built by offset: offsetof(ControlFileData, …) as a compiler gives it for each release ---- */

static void at32(uint8_t *f, size_t at, uint32_t v)
{
	for (int i = 0; i < 4; i++)
		f[at + i] = (uint8_t)(v >> 8 * i);
}

static void at64(uint8_t *f, size_t at, uint64_t v)
{
	at32(f, at, (uint32_t)v);
	at32(f, at + 4, (uint32_t)(v >> 32));
}

static const struct {
	unsigned major;
	uint32_t version, catalog;
	size_t nonce_at, crc_at;
} releases[] = {
	{13, 1300, 202007201, 256, 288},
	{14, 1300, 202107181, 256, 288},
	{15, 1300, 202209061, 256, 288},
	{16, 1300, 202307071, 256, 288},
	{17, 1700, 202406281, 256, 288},
	{18, 1800, 202506291, 257, 292},
};

#define RELEASE_COUNT (int)(sizeof(releases) / sizeof(*releases))

static void seal(uint8_t *f, size_t crc_at)
{
	at32(f, crc_at, crc32c(0, f, crc_at));
}

static void build(int k, uint8_t f[CONTROL_FILE_SIZE])
{
	memset(f, 0, CONTROL_FILE_SIZE);
	at64(f, 0, 0x1122334455667788);
	at32(f, 8, releases[k].version);
	at32(f, 12, releases[k].catalog);
	at32(f, 16, 6);
	at64(f, 24, 1700000001);
	at64(f, 32, 0xA00000001);
	at64(f, 40, 0xA00000002);
	at32(f, 48, 7);
	at32(f, 52, 6);
	f[56] = 1;
	if (releases[k].major >= 17)
		at32(f, 60, 2);
	at64(f, 64, 0x300000005);
	at32(f, 72, 24576);
	at32(f, 76, 11);
	at32(f, 80, 12);
	at32(f, 84, 13);
	at32(f, 88, 14);
	at32(f, 92, 15);
	at32(f, 96, 16);
	at64(f, 104, 1700000002);
	at32(f, 112, 17);
	at32(f, 116, 18);
	at32(f, 120, 19);
	at64(f, 128, 1000);
	at64(f, 136, 0xA00000003);
	at32(f, 144, 8);
	at64(f, 152, 0xA00000004);
	at64(f, 160, 0xA00000005);
	f[168] = 1;
	at32(f, 172, 1);
	f[176] = 1;
	at32(f, 180, 101);
	at32(f, 184, 102);
	at32(f, 188, 103);
	at32(f, 192, 104);
	at32(f, 196, 105);
	f[200] = 1;
	at32(f, 204, 8);
	at64(f, 208, 0x4132d68700000000);
	at32(f, 216, 16384);
	at32(f, 220, 65536);
	at32(f, 224, 4096);
	at32(f, 228, 64 << 20);
	at32(f, 232, 64);
	at32(f, 236, 32);
	at32(f, 240, 1996);
	at32(f, 244, 2048);
	f[248] = 1;
	at32(f, 252, 1);
	if (releases[k].major >= 18)
		f[256] = 1;
	for (int i = 0; i < 32; i++)
		f[releases[k].nonce_at + i] = (uint8_t)(200 + i);
	seal(f, releases[k].crc_at);
}

START_TEST(each_release_reads_field_by_field)
{
	uint8_t f[CONTROL_FILE_SIZE];
	struct err e = {0};
	struct control c;

	build(_i, f);
	ck_assert_msg(control_parse(f, sizeof(f), &c, &e) == 0, "%s", e.text);
	ck_assert_uint_eq(c.system_identifier, 0x1122334455667788);
	ck_assert_uint_eq(c.control_version, releases[_i].version);
	ck_assert_uint_eq(c.catalog_version, releases[_i].catalog);
	ck_assert_uint_eq(c.pg_major, releases[_i].major);
	ck_assert_int_eq(c.state, CONTROL_IN_PRODUCTION);
	ck_assert_int_eq(c.time, 1700000001);
	ck_assert_uint_eq(c.checkpoint.v, 0xA00000001);
	ck_assert_uint_eq(c.copy.redo.v, 0xA00000002);
	ck_assert_uint_eq(c.copy.tli.v, 7);
	ck_assert_uint_eq(c.copy.prev_tli.v, 6);
	ck_assert(c.copy.full_page_writes);
	ck_assert(c.copy.has_wal_level == (releases[_i].major >= 17));
	ck_assert_int_eq(c.copy.wal_level, releases[_i].major >= 17 ? CONTROL_WAL_LOGICAL : 0);
	ck_assert_uint_eq(c.copy.next_xid, 0x300000005);
	ck_assert_uint_eq(c.copy.next_oid.v, 24576);
	ck_assert_uint_eq(c.copy.next_multi, 11);
	ck_assert_uint_eq(c.copy.next_multi_offset, 12);
	ck_assert_uint_eq(c.copy.oldest_xid, 13);
	ck_assert_uint_eq(c.copy.oldest_xid_db.v, 14);
	ck_assert_uint_eq(c.copy.oldest_multi, 15);
	ck_assert_uint_eq(c.copy.oldest_multi_db.v, 16);
	ck_assert_int_eq(c.copy.time, 1700000002);
	ck_assert_uint_eq(c.copy.oldest_commit_ts_xid, 17);
	ck_assert_uint_eq(c.copy.newest_commit_ts_xid, 18);
	ck_assert_uint_eq(c.copy.oldest_active_xid, 19);
	ck_assert_uint_eq(c.unlogged_lsn.v, 1000);
	ck_assert_uint_eq(c.min_recovery_point.v, 0xA00000003);
	ck_assert_uint_eq(c.min_recovery_tli.v, 8);
	ck_assert_uint_eq(c.backup_start.v, 0xA00000004);
	ck_assert_uint_eq(c.backup_end.v, 0xA00000005);
	ck_assert(c.backup_end_required);
	ck_assert_int_eq(c.wal_level, CONTROL_WAL_REPLICA);
	ck_assert(c.wal_log_hints);
	ck_assert_uint_eq(c.max_connections, 101);
	ck_assert_uint_eq(c.max_worker_processes, 102);
	ck_assert_uint_eq(c.max_wal_senders, 103);
	ck_assert_uint_eq(c.max_prepared_xacts, 104);
	ck_assert_uint_eq(c.max_locks_per_xact, 105);
	ck_assert(c.track_commit_timestamp);
	ck_assert_uint_eq(c.max_align, 8);
	ck_assert_uint_eq(c.block_size, 16384);
	ck_assert_uint_eq(c.relseg_blocks, 65536);
	ck_assert_uint_eq(c.wal_block_size, 4096);
	ck_assert_uint_eq(c.wal_segment_size, 64 << 20);
	ck_assert_uint_eq(c.name_data_len, 64);
	ck_assert_uint_eq(c.index_max_keys, 32);
	ck_assert_uint_eq(c.toast_max_chunk_size, 1996);
	ck_assert_uint_eq(c.large_object_chunk_size, 2048);
	ck_assert(c.float8_by_value);
	ck_assert_uint_eq(c.data_checksum_version, 1);
	ck_assert(c.has_char_signedness == (releases[_i].major >= 18));
	ck_assert(c.default_char_signed == (releases[_i].major >= 18));
	for (int i = 0; i < 32; i++)
		ck_assert_uint_eq(c.mock_nonce[i], 200 + i);
}
END_TEST

START_TEST(fields_that_no_server_writes_are_refused)
{
	static const struct {
		size_t at;
		uint32_t value;
		int code;
		const char *says;
	} wrong[] = {
		{16, 7, -EBADMSG, "state 7"},
		{60, 3, -EBADMSG, "WAL level"},
		{172, 3, -EBADMSG, "WAL level"},
		{212, 0, -EOPNOTSUPP, "floating-point"},
		{216, 0, -EBADMSG, "block size 0"},
		{216, 12288, -EBADMSG, "block size 12288"},
		{216, 65536, -EBADMSG, "block size 65536"},
		{224, 131072, -EBADMSG, "WAL block size 131072"},
		{228, 0, -EBADMSG, "WAL segment size 0"},
		{228, 1u << 31, -EBADMSG, "WAL segment size"},
		{228, 3u << 20, -EBADMSG, "WAL segment size"},
	};
	uint8_t f[CONTROL_FILE_SIZE];
	struct control c;
	struct err e;

	for (size_t k = 0; k < sizeof(wrong) / sizeof(*wrong); k++) {
		build(5, f);
		at32(f, wrong[k].at, wrong[k].value);
		seal(f, releases[5].crc_at);
		e = (struct err){0};
		ck_assert_int_eq(control_parse(f, sizeof(f), &c, &e), wrong[k].code);
		ck_assert_msg(strstr(e.text, wrong[k].says), "%s", e.text);
	}
	build(5, f);
	at64(f, 0, 0);
	seal(f, releases[5].crc_at);
	ck_assert_int_eq(control_parse(f, sizeof(f), &c, NULL), -EBADMSG);
}
END_TEST

START_TEST(other_versions_and_byte_orders_are_told_apart)
{
	static const uint32_t unknown[] = {0, 1, 942, 1201, 1299, 1301, 1900, 1902, 65535, 65537, 0xffffffff};
	uint8_t f[CONTROL_FILE_SIZE];
	struct err e = {0};
	struct control c;

	for (size_t k = 0; k < sizeof(unknown) / sizeof(*unknown); k++) {
		char says[80];

		build(0, f);
		at32(f, 8, unknown[k]);
		ck_assert_int_eq(control_parse(f, sizeof(f), &c, &e), -EOPNOTSUPP);
		snprintf(says, sizeof(says), "pg_control version %u is not known (13 to 18 are read)",
			unknown[k]);
		ck_assert_str_eq(e.text, says);
	}
	for (int k = 0; k < RELEASE_COUNT; k++) {
		build(k, f);
		at32(f, 8, __builtin_bswap32(releases[k].version));
		ck_assert_int_eq(control_parse(f, sizeof(f), &c, &e), -EOPNOTSUPP);
		ck_assert_msg(strstr(e.text, "big-endian"), "%s", e.text);
	}
}
END_TEST

START_TEST(a_catalog_of_no_release_has_no_major)
{
	uint8_t f[CONTROL_FILE_SIZE];
	struct control c;

	build(2, f);
	at32(f, 12, 202209060);
	seal(f, 288);
	ck_assert_int_eq(control_parse(f, sizeof(f), &c, NULL), 0);
	ck_assert_uint_eq(c.pg_major, 0);
}
END_TEST

START_TEST(all_zero_and_random_files_are_refused)
{
	uint8_t f[CONTROL_FILE_SIZE] = {0};
	uint64_t rand = check_seed();
	struct control c;

	ck_assert_int_lt(control_parse(f, sizeof(f), &c, NULL), 0);
	ck_assert_int_lt(control_parse(NULL, 0, &c, NULL), 0);
	for (int k = 0; k < 2000; k++) {
		check_rand_fill(&rand, f, 512);
		at32(f, 8, releases[k % RELEASE_COUNT].version);
		ck_assert_int_eq(control_parse(f, sizeof(f), &c, NULL), -EBADMSG);
	}
}
END_TEST

START_TEST(names_are_those_of_pg_controldata)
{
	static const char *const states[] = {"starting up", "shut down", "shut down in recovery",
		"shutting down", "in crash recovery", "in archive recovery", "in production",
		"unrecognized status code"};

	for (unsigned k = 0; k < 8; k++)
		ck_assert_str_eq(control_state_name(k), states[k]);
	ck_assert_str_eq(control_wal_level_name(CONTROL_WAL_MINIMAL), "minimal");
	ck_assert_str_eq(control_wal_level_name(3), "unrecognized \"wal_level\"");
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("pg_control");
	TCase *t = tcase_create("pg_control");

	tcase_add_loop_test(t, real_files_read_as_pg_controldata_reads_them, 0, REAL_COUNT);
	tcase_add_loop_test(t, a_file_is_8192_bytes_of_which_few_matter, 0, REAL_COUNT);
	tcase_add_loop_test(t, truncated_anywhere_is_an_error, 0, REAL_COUNT);
	tcase_add_loop_test(t, every_flipped_bit_is_found, 0, REAL_COUNT);
	tcase_add_loop_test(t, each_release_reads_field_by_field, 0, RELEASE_COUNT);
	tcase_add_test(t, fields_that_no_server_writes_are_refused);
	tcase_add_test(t, other_versions_and_byte_orders_are_told_apart);
	tcase_add_test(t, a_catalog_of_no_release_has_no_major);
	tcase_add_test(t, all_zero_and_random_files_are_refused);
	tcase_add_test(t, names_are_those_of_pg_controldata);
	suite_add_tcase(s, t);
	return s;
}

CHECK_MAIN(suite)
