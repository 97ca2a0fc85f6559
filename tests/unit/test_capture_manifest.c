/* Comparing files with a manifest (src/capture/manifest_check.h). */
#include "src/capture/manifest_check.h"

#include <errno.h>
#include <pthread.h>

#include "src/base/buf.h"
#include "src/base/crc32c.h"
#include "src/capture/checksum.h"
#include "store/digest.h"
#include "tests/unit/check_main.h"

/* A manifest being written. */
struct maker {
	struct buf b;
	bool any;
};

static void maker_begin(struct maker *m)
{
	*m = (struct maker){0};
	buf_printf(&m->b, "{ \"PostgreSQL-Backup-Manifest-Version\": 1,\n\"Files\": [\n");
}

/* The digest of the path's own bytes, which stand for the file's. */
static void maker_file(struct maker *m, const char *path, enum manifest_algorithm a)
{
	uint8_t digest[MANIFEST_DIGEST_MAX];
	struct checksum *c;
	struct err e;

	ck_assert_int_eq(checksum_new(a, &c, &e), 0);
	ck_assert_int_eq(checksum_update(c, path, strlen(path), &e), 0);
	ck_assert_int_eq(checksum_final(c, digest, &e), 0);
	checksum_free(c);
	buf_printf(&m->b,
		"%s{ \"Path\": \"%s\", \"Size\": %zu, \"Last-Modified\": \"2026-11-20 02:15:07 GMT\"",
		m->any ? ",\n" : "", path, strlen(path));
	if (a != MANIFEST_NONE) {
		buf_printf(&m->b, ", \"Checksum-Algorithm\": \"%s\", \"Checksum\": \"",
			manifest_algorithm_name(a));
		for (size_t i = 0; i < manifest_digest_len(a); i++)
			buf_printf(&m->b, "%02x", digest[i]);
		buf_printf(&m->b, "\"");
	}
	buf_printf(&m->b, " }");
	m->any = true;
}

static void maker_end(struct maker *m)
{
	char hex[DIGEST_HEX];
	struct digest d;

	buf_printf(&m->b, "\n],\n\"WAL-Ranges\": [\n{ \"Timeline\": 3, \"Start-LSN\": \"0/2000028\", "
			  "\"End-LSN\": \"0/2000100\" }\n],\n");
	d = digest_of(m->b.data, m->b.len);
	buf_printf(&m->b, "\"Manifest-Checksum\": \"%s\"}\n", digest_hex(&d, hex));
	ck_assert(!m->b.bad);
}

static struct manifest_check *load(const struct maker *m)
{
	struct manifest_check *mc = NULL;
	struct err e = {0};

	ck_assert_msg(manifest_check_new("M", m->b.data, m->b.len, &mc, &e) == 0, "%s", e.text);
	return mc;
}

/* The file that maker_file described comes. */
static void come(struct manifest_check *mc, const char *path)
{
	enum manifest_algorithm a;
	uint8_t digest[MANIFEST_DIGEST_MAX];
	struct checksum *c;
	struct err e = {0};
	size_t n = strlen(path);

	ck_assert_int_eq(manifest_check_algorithm(mc, path, n, &a, &e), 0);
	ck_assert_int_eq(checksum_new(a, &c, &e), 0);
	checksum_update(c, path, n, &e);
	checksum_final(c, digest, &e);
	checksum_free(c);
	if (a != MANIFEST_NONE && a != MANIFEST_CRC32C)
		ck_assert_int_eq(manifest_check_sha(mc, path, n, n, digest, &e), 0);
	ck_assert_int_eq(manifest_check_crc(mc, path, n, n, crc32c(0, path, n), &e), 0);
}

static void expect(struct manifest_check *mc, const char *text)
{
	struct err e = {0};
	int r = manifest_check_finish(mc, &e);

	if (!text) {
		ck_assert_msg(r == 0, "%s", e.text);
		return;
	}
	ck_assert_int_eq(r, -EBADMSG);
	ck_assert_msg(strstr(e.text, text) != NULL, "\"%s\" does not say \"%s\"", e.text, text);
}

static void make_three(struct maker *m, enum manifest_algorithm a)
{
	maker_begin(m);
	maker_file(m, "PG_VERSION", a);
	maker_file(m, "base/1/1259", a);
	maker_file(m, "pg_tblspc/16385/PG_15_202209061/5/1", a);
	maker_end(m);
}

START_TEST(test_all_well)
{
	struct maker m;
	struct manifest_check *mc;
	const struct manifest_wal_range *w;

	make_three(&m, _i);
	mc = load(&m);
	ck_assert_uint_eq(manifest_check_info(mc)->files, 3);
	ck_assert_uint_eq(manifest_check_wal(mc, &w), 1);
	ck_assert_uint_eq(w->end.v, 0x2000100);
	come(mc, "base/1/1259");
	come(mc, "pg_tblspc/16385/PG_15_202209061/5/1");
	/* Passed over, though none of them is listed. */
	come(mc, "backup_manifest");
	come(mc, "pg_wal/000000010000000000000002");
	come(mc, "postgresql.auto.conf");
	come(mc, "PG_VERSION");
	expect(mc, NULL);
	manifest_check_free(mc);
	buf_free(&m.b);
}
END_TEST

START_TEST(test_differences)
{
	struct maker m;
	struct manifest_check *mc;
	struct err e = {0};
	uint8_t wrong[MANIFEST_DIGEST_MAX] = {0};
	const char *p = "base/1/1259";
	bool sha = _i != MANIFEST_NONE && _i != MANIFEST_CRC32C;

	make_three(&m, _i);

	mc = load(&m);
	come(mc, "PG_VERSION");
	come(mc, p);
	expect(mc, "1 file differs: pg_tblspc/16385/PG_15_202209061/5/1 is missing");
	manifest_check_free(mc);

	mc = load(&m);
	come(mc, "PG_VERSION");
	come(mc, "base/1/1260");
	come(mc, "pg_tblspc/16385/PG_15_202209061/5/1");
	expect(mc, "2 files differ: base/1/1260 is not listed; base/1/1259 is missing");
	manifest_check_free(mc);

	mc = load(&m);
	come(mc, "PG_VERSION");
	come(mc, "pg_tblspc/16385/PG_15_202209061/5/1");
	if (sha)
		manifest_check_sha(mc, p, strlen(p), 4096, wrong, &e);
	manifest_check_crc(mc, p, strlen(p), 4096, 0, &e);
	expect(mc, "1 file differs: base/1/1259 has 4096 bytes instead of 11");
	manifest_check_free(mc);

	mc = load(&m);
	come(mc, "PG_VERSION");
	come(mc, "pg_tblspc/16385/PG_15_202209061/5/1");
	if (sha)
		manifest_check_sha(mc, p, strlen(p), strlen(p), wrong, &e);
	manifest_check_crc(mc, p, strlen(p), strlen(p), 0, &e);
	expect(mc, _i == MANIFEST_NONE ? NULL : "1 file differs: base/1/1259 has another checksum");
	manifest_check_free(mc);

	mc = load(&m);
	come(mc, "PG_VERSION");
	come(mc, p);
	come(mc, p);
	come(mc, "pg_tblspc/16385/PG_15_202209061/5/1");
	expect(mc, "base/1/1259 came twice");
	manifest_check_free(mc);
	buf_free(&m.b);
}
END_TEST

START_TEST(test_own_checksum)
{
	struct maker m;
	struct manifest_check *mc = NULL;
	struct err e;

	make_three(&m, MANIFEST_CRC32C);
	for (size_t i = 0; i < m.b.len; i++) {
		int r;

		m.b.data[i] ^= 1;
		e = (struct err){0};
		r = manifest_check_new("the/manifest", m.b.data, m.b.len, &mc, &e);
		m.b.data[i] ^= 1;
		/* White space that became other white space is still covered; only after the digest it is
		 * not. */
		ck_assert_msg(r < 0, "byte %zu", i);
		ck_assert_ptr_nonnull(strstr(e.text, "the/manifest"));
	}
	buf_free(&m.b);
}
END_TEST

START_TEST(test_twice)
{
	struct maker m;
	struct manifest_check *mc = NULL;
	struct err e = {0};

	maker_begin(&m);
	maker_file(&m, "PG_VERSION", MANIFEST_NONE);
	maker_file(&m, "x", MANIFEST_NONE);
	maker_file(&m, "PG_VERSION", MANIFEST_NONE);
	maker_end(&m);
	ck_assert_int_eq(manifest_check_new("M", m.b.data, m.b.len, &mc, &e), -EBADMSG);
	ck_assert_ptr_nonnull(strstr(e.text, "PG_VERSION twice"));
	buf_free(&m.b);
}
END_TEST

/* Many files, so that hashes collide (24 bits), coming from several threads. */
#define MANY (60000u / PART(1, 4))
#define THREADS 4

struct feeder {
	struct manifest_check *mc;
	unsigned n;
};

static void *feed(void *arg)
{
	struct feeder *f = arg;

	for (unsigned i = f->n; i < MANY; i += THREADS) {
		char path[64];
		struct err e;

		snprintf(path, sizeof(path), "base/%u/%u", i % 7 + 1, i);
		manifest_check_crc(
			f->mc, path, strlen(path), strlen(path), crc32c(0, path, strlen(path)), &e);
	}
	return NULL;
}

START_TEST(test_many)
{
	struct maker m;
	struct manifest_check *mc;
	struct feeder f[THREADS];
	pthread_t threads[THREADS];
	char want[40];

	maker_begin(&m);
	for (unsigned i = 0; i < MANY; i++) {
		char path[64];

		snprintf(path, sizeof(path), "base/%u/%u", i % 7 + 1, i);
		maker_file(&m, path, MANIFEST_CRC32C);
	}
	maker_end(&m);
	mc = load(&m);
	for (unsigned t = 0; t < THREADS; t++) {
		f[t] = (struct feeder){.mc = mc, .n = t};
		ck_assert_int_eq(pthread_create(&threads[t], NULL, feed, &f[t]), 0);
	}
	for (unsigned t = 0; t < THREADS; t++)
		pthread_join(threads[t], NULL);
	expect(mc, NULL);
	manifest_check_free(mc);
	mc = load(&m);
	snprintf(want, sizeof(want), "%u files differ: ", MANY);
	expect(mc, want);
	manifest_check_free(mc);
	buf_free(&m.b);
}
END_TEST

/* Files first, manifest last: the same verdicts. */
static struct manifest_check *later(void)
{
	struct manifest_check *mc = NULL;
	struct err e = {0};

	ck_assert_msg(manifest_check_later("/tmp", &mc, &e) == 0, "%s", e.text);
	return mc;
}

static void come_crc(struct manifest_check *mc, const char *path, uint64_t size, uint32_t crc)
{
	struct err e = {0};

	ck_assert_int_eq(manifest_check_crc(mc, path, strlen(path), size, crc, &e), 0);
}

static void come_well(struct manifest_check *mc, const char *path)
{
	come_crc(mc, path, strlen(path), crc32c(0, path, strlen(path)));
}

static void load_now(struct manifest_check *mc, const struct maker *m)
{
	struct err e = {0};

	ck_assert_msg(manifest_check_load(mc, "M", m->b.data, m->b.len, &e) == 0, "%s", e.text);
}

START_TEST(test_later)
{
	static const char *const all[] = {"PG_VERSION", "base/1/1259", "global/1262"};
	struct manifest_check *mc;
	struct maker m, sha;
	struct err e = {0};

	maker_begin(&m);
	maker_begin(&sha);
	for (size_t i = 0; i < 3; i++) {
		maker_file(&m, all[i], i ? MANIFEST_CRC32C : MANIFEST_NONE);
		maker_file(&sha, all[i], i == 1 ? MANIFEST_SHA256 : MANIFEST_CRC32C);
	}
	maker_end(&m);
	maker_end(&sha);

	mc = later();
	for (size_t i = 3; i-- > 0;)
		come_well(mc, all[i]);
	come_crc(mc, "pg_wal/000000010000000000000001", 5, 5);
	load_now(mc, &m);
	ck_assert_uint_eq(manifest_check_info(mc)->files, 3);
	expect(mc, NULL);
	manifest_check_free(mc);

	mc = later();
	come_well(mc, all[0]);
	come_crc(mc, all[1], strlen(all[1]), 4711);
	come_well(mc, "base/1/1260");
	load_now(mc, &m);
	expect(mc, "3 files differ: base/1/1259 has another checksum; base/1/1260 is not listed; "
		   "global/1262 is missing");
	manifest_check_free(mc);

	mc = later();
	come_well(mc, all[0]);
	come_crc(mc, all[1], 4096, 4711);
	come_well(mc, all[2]);
	come_well(mc, all[2]);
	load_now(mc, &m);
	expect(mc, "2 files differ: base/1/1259 has 4096 bytes instead of 11; global/1262 came twice");
	manifest_check_free(mc);

	/* What was not noted cannot be compared. */
	mc = later();
	for (size_t i = 0; i < 3; i++)
		come_well(mc, all[i]);
	load_now(mc, &sha);
	expect(mc, "1 file differs: base/1/1259 has a SHA256 checksum, which was not asked for");
	manifest_check_free(mc);

	mc = later();
	m.b.data[m.b.len / 2] ^= 1;
	ck_assert_int_eq(manifest_check_load(mc, "M", m.b.data, m.b.len, &e), -EBADMSG);
	manifest_check_free(mc);
	buf_free(&m.b);
	buf_free(&sha.b);
}
END_TEST

/* From several threads, and more than is kept in memory. */
START_TEST(test_many_later)
{
	struct manifest_check *mc = later();
	struct maker m;
	struct feeder f[THREADS];
	pthread_t threads[THREADS];
	char longer[200];

	memset(longer, 'x', sizeof(longer));
	longer[0] = 'g';
	maker_begin(&m);
	for (unsigned i = 0; i < MANY; i++) {
		char path[64];

		snprintf(path, sizeof(path), "base/%u/%u", i % 7 + 1, i);
		maker_file(&m, path, MANIFEST_CRC32C);
		snprintf(longer + 190, 10, "%u", i);
		maker_file(&m, longer, MANIFEST_CRC32C);
	}
	maker_end(&m);
	for (unsigned t = 0; t < THREADS; t++) {
		f[t] = (struct feeder){.mc = mc, .n = t};
		ck_assert_int_eq(pthread_create(&threads[t], NULL, feed, &f[t]), 0);
	}
	for (unsigned i = 0; i < MANY; i++) {
		snprintf(longer + 190, 10, "%u", i);
		come_well(mc, longer);
	}
	for (unsigned t = 0; t < THREADS; t++)
		pthread_join(threads[t], NULL);
	load_now(mc, &m);
	expect(mc, NULL);
	manifest_check_free(mc);
	buf_free(&m.b);
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("capture_manifest");
	TCase *c = tcase_create("manifest");

	tcase_add_loop_test(c, test_all_well, MANIFEST_NONE, MANIFEST_SHA512 + 1);
	tcase_add_loop_test(c, test_differences, MANIFEST_NONE, MANIFEST_SHA512 + 1);
	tcase_add_test(c, test_own_checksum);
	tcase_add_test(c, test_twice);
	tcase_add_test(c, test_many);
	tcase_add_test(c, test_later);
	tcase_add_test(c, test_many_later);
	suite_add_tcase(s, c);
	return s;
}

CHECK_MAIN(suite)
