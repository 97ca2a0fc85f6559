/* Which files count as WAL by their names, and what the name is that the server gave them. */
#include <string.h>

#include "src/capture/import_wal.h"
#include "src/capture/wal_take.h"
#include "tests/unit/check_main.h"

#define SEG "00000001000000A900000066"
#define SHA1 "-0123456789abcdef0123456789abcdef01234567"

START_TEST(names)
{
	static const struct {
		const char *name;
		enum wal_kind kind;
		const char *server; /* NULL: no WAL */
	} all[] = {
		{SEG, WAL_KIND_SEGMENT, SEG},
		{SEG ".partial", WAL_KIND_PARTIAL, SEG ".partial"},
		{"00000002.history", WAL_KIND_HISTORY, "00000002.history"},
		{SEG ".00000028.backup", WAL_KIND_BACKUP, SEG ".00000028.backup"},
		{SEG ".gz", WAL_KIND_NONE, SEG},
		{SEG ".lz4", WAL_KIND_NONE, SEG},
		{SEG ".xz", WAL_KIND_NONE, SEG},
		{SEG SHA1, WAL_KIND_NONE, SEG},
		{SEG SHA1 ".zst", WAL_KIND_NONE, SEG},
		{SEG ".partial" SHA1 ".bz2", WAL_KIND_NONE, SEG ".partial"},
		{"00000002.history.gz", WAL_KIND_NONE, "00000002.history"},
		{"00000001.history", WAL_KIND_NONE, NULL}, /* timeline 1 has none */
		{"0000000200000000000000a1", WAL_KIND_NONE, NULL},
		{SEG "0", WAL_KIND_NONE, NULL},
		{SEG ".gz.partial", WAL_KIND_NONE, NULL}, /* pg_receivewal has not ended it */
		{SEG ".gz.gz", WAL_KIND_NONE, NULL},
		{SEG "-0123", WAL_KIND_NONE, NULL},
		{SEG ".ready", WAL_KIND_NONE, NULL},
		{".gz", WAL_KIND_NONE, NULL},
		{"", WAL_KIND_NONE, NULL},
		{"archive.info", WAL_KIND_NONE, NULL},
	};

	for (size_t i = 0; i < sizeof(all) / sizeof(*all); i++) {
		const char *name = all[i].name;
		size_t want = all[i].server ? strlen(all[i].server) : 0;

		ck_assert_msg(wal_kind_of(name, strlen(name)) == all[i].kind, "%s", name);
		ck_assert_msg(import_wal_name(name) == want, "%s", name);
		ck_assert_msg(!want || !memcmp(name, all[i].server, want), "%s", name);
	}
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("capture wal names");
	TCase *t = tcase_create("names");

	tcase_add_test(t, names);
	suite_add_tcase(s, t);
	return s;
}

CHECK_MAIN(suite)
