/* Base backups against their manifests and their pages' checksums (src/capture/base_check.h): what is wrong is named with
 * its place, what is right or will be written anew by recovery is not, in every snapshot that has it. */
#include "src/capture/base_check.h"

#include "src/base/crc32c.h"
#include "src/capture/checksum.h"
#include "src/pg/page.h"
#include "tests/unit/store_fixture.h"

#define PAGE 8192
#define SEGMENT_BLOCKS 131072
#define START "0/2000028"
#define STOP "0/2000100"

struct told {
	char *lines[40];
	size_t n;
};

static void on_finding(void *arg, const struct base_check_finding *f)
{
	struct told *t = arg;

	ck_assert_uint_lt(t->n, 40);
	ck_assert_str_eq(f->cluster, "main");
	if (f->kind == BASE_CHECK_FILE)
		ck_assert_int_gt(asprintf(&t->lines[t->n++], "%s %s", f->path, f->why), 0);
	else
		ck_assert_int_gt(asprintf(&t->lines[t->n++], "%s %u+%u %" PRIu64 "-%" PRIu64, f->path,
					 f->block, f->blocks, f->from, f->to),
			0);
}

static void told_free(struct told *t)
{
	for (size_t i = 0; i < t->n; i++)
		free(t->lines[i]);
	*t = (struct told){0};
}

static unsigned times(const struct told *t, const char *line)
{
	unsigned n = 0;

	for (size_t i = 0; i < t->n; i++)
		n += !strcmp(t->lines[i], line);
	return n;
}

/* n pages from that block on; the LSN is the backup's own when `late`. */
static struct fx_entry *add_pages(struct fx_tree *t, const char *path, uint32_t block, unsigned n, bool late)
{
	uint8_t *p = calloc(n + 1, PAGE);
	uint64_t rng = block + strlen(path);
	struct fx_entry *en;

	for (unsigned i = 0; i < n; i++) {
		uint32_t halves[2] = {0, late ? 0x2000080 : 0x1000080};
		uint8_t *at = p + (size_t)i * PAGE;
		uint16_t sum;

		check_rand_fill(&rng, at, PAGE);
		memcpy(at, halves, sizeof(halves));
		sum = page_checksum(at, PAGE, (struct blkno){block + i});
		memcpy(at + 8, &sum, sizeof(sum));
	}
	en = fx_add(t, path, ENTRY_FILE);
	en->data = p; /* with room for one more */
	en->size = (uint64_t)n * PAGE;
	return en;
}

/* A file's line of the manifest. */
static void list(struct buf *b, const char *path, const uint8_t *p, uint64_t n, enum manifest_algorithm a)
{
	uint8_t digest[MANIFEST_DIGEST_MAX];
	struct checksum *c;
	struct err e;

	ck_assert_int_eq(checksum_new(a, &c, &e), 0);
	ck_assert_int_eq(checksum_update(c, p, n, &e), 0);
	ck_assert_int_eq(checksum_final(c, digest, &e), 0);
	checksum_free(c);
	buf_printf(b,
		"%s{ \"Path\": \"%s\", \"Size\": %" PRIu64 ", \"Last-Modified\": \"2026-11-20 02:15:07 GMT\"",
		b->len > 60 ? ",\n" : "", path, n);
	if (a != MANIFEST_NONE) {
		buf_printf(
			b, ", \"Checksum-Algorithm\": \"%s\", \"Checksum\": \"", manifest_algorithm_name(a));
		for (size_t i = 0; i < manifest_digest_len(a); i++)
			buf_printf(b, "%02x", digest[i]);
		buf_printf(b, "\"");
	}
	buf_printf(b, " }");
}

static void add_manifest(struct fx_tree *t, enum manifest_algorithm a)
{
	struct buf b = {0};
	char hex[DIGEST_HEX];
	struct digest d;

	buf_printf(&b, "{ \"PostgreSQL-Backup-Manifest-Version\": 1,\n\"Files\": [\n");
	for (size_t i = 0; i < t->n; i++) {
		const char *path = t->v[i].path;
		char local[300];

		if (!strncmp(path, "tablespaces/", 12))
			snprintf(local, sizeof(local), "pg_tblspc/%s", path + 12);
		else
			snprintf(local, sizeof(local), "%s", path + strlen("data/"));
		if (strcmp(local, "unlisted") != 0)
			list(&b, local, t->v[i].data, t->v[i].size, a);
	}
	list(&b, "gone", (const uint8_t *)"x", 1, a);
	buf_printf(&b,
		"\n],\n\"WAL-Ranges\": [\n{ \"Timeline\": 1, \"Start-LSN\": \"%s\", \"End-LSN\": \"%s\" "
		"}\n],\n",
		START, STOP);
	d = digest_of(b.data, b.len);
	buf_printf(&b, "\"Manifest-Checksum\": \"%s\"}\n", digest_hex(&d, hex));
	ck_assert(!b.bad);
	fx_add_file(t, "data/backup_manifest", b.data, b.len);
	buf_free(&b);
}

/* What is right, what the manifest says otherwise, and pages that are damaged, torn, new, cut off, in a second segment. */
static struct fx_tree make_tree(enum manifest_algorithm a)
{
	struct fx_tree t = {0};
	struct fx_entry *en;
	size_t n;
	uint8_t *control = fx_read_file(PGSTRATA_TEST_DATA, "control-13-production.bin", &n);

	fx_add_file(&t, "data/global/pg_control", control, n);
	free(control);
	fx_add_file(&t, "data/PG_VERSION", "13\n", 3);
	en = add_pages(&t, "data/base/1/1259", 0, 40, false);
	en->size += PAGE / 2; /* zeroes, of a page that is being added */
	add_pages(&t, "data/base/1/1259.1", SEGMENT_BLOCKS, 20, false);
	en = add_pages(&t, "data/base/1/1249", 0, 20, false);
	memset(en->data + (size_t)3 * PAGE, 0, PAGE); /* new */
	en = add_pages(&t, "data/base/1/1255.2", 2 * SEGMENT_BLOCKS, 20, false);
	en->data[7 * PAGE + 100] ^= 1;
	en->data[8 * PAGE + 100] ^= 1;
	en->data[19 * PAGE + PAGE - 1] ^= 1;
	en = add_pages(&t, "data/base/1/1260", 0, 2, true);
	en->data[PAGE + 100] ^= 1; /* torn */
	en = add_pages(&t, "tablespaces/16400/PG_13_202007201/5/16401_fsm", 0, 3, false);
	en->data[100] ^= 1;
	/* Not made of pages. */
	fx_add_file(&t, "data/base/1/PG_VERSION", "13\n", 3);
	fx_add_file(&t, "data/global/1262_x", "no relation", 11);
	fx_add_file(&t, "data/unlisted", "a", 1);
	add_manifest(&t, a);
	/* After the manifest was written. */
	for (size_t i = 0; i < t.n; i++) {
		if (!strcmp(t.v[i].path, "data/base/1/PG_VERSION"))
			t.v[i].data[0] = '2';
		if (!strcmp(t.v[i].path, "data/global/1262_x"))
			t.v[i].size--;
	}
	fx_sort(&t);
	return t;
}

static void publish(struct fixture *f, const struct fx_tree *t)
{
	struct snapshot *snap = snapshot_new();
	uint64_t rng = 1;
	struct ingest *in;
	struct err e = {0};

	fx_ok(ingest_new(f->s, "main", SNAPSHOT_BASE, NULL, &in, &e), &e);
	for (size_t i = 0; i < t->n; i++)
		fx_ok(fx_ingest_one(in, &t->v[i], 0, &rng, &e), &e);
	snap->stop = (struct tstamp){1800000000, 0};
	ck_assert(!snapshot_put_text(snap, "start_lsn", START) && !snapshot_put_text(snap, "stop_lsn", STOP));
	fx_ok(ingest_publish(in, snap, &e), &e);
	ingest_free(in);
	snapshot_free(snap);
}

static struct base_check_report run(struct fixture *f, bool manifest, bool pages, struct told *t)
{
	const struct base_check_options o = {.manifest = manifest, .pages = pages, .threads = 2};
	struct base_check_report r;
	struct err e = {0};

	told_free(t);
	fx_ok(base_check(f->s, &o, on_finding, t, &r, &e), &e);
	return r;
}

static const char *const bad_pages[] = {
	"data/base/1/1255.2 262151+2 57344-73728",
	"data/base/1/1255.2 262163+1 155648-163840",
	"tablespaces/16400/PG_13_202007201/5/16401_fsm 0+1 0-8192",
};
#define BAD_PAGES 4
#define PAGES (40 + 20 + 20 + 20 + 2 + 3)

static void check_pages(const struct told *t, const struct base_check_report *r, unsigned snapshots)
{
	for (size_t i = 0; i < sizeof(bad_pages) / sizeof(*bad_pages); i++)
		ck_assert_msg(times(t, bad_pages[i]) == snapshots, "%s: %u times", bad_pages[i],
			times(t, bad_pages[i]));
	ck_assert_uint_eq(r->bad_pages, BAD_PAGES * snapshots);
	ck_assert_uint_eq(r->replaced, snapshots);
	ck_assert_uint_eq(r->no_checksums, 0);
}

static void check_files(const struct told *t, const struct base_check_report *r, unsigned snapshots,
	enum manifest_algorithm a)
{
	unsigned sums = a == MANIFEST_NONE ? 0 : snapshots;

	ck_assert_uint_eq(times(t, "data/base/1/PG_VERSION has another checksum"), sums);
	ck_assert_uint_eq(times(t, "data/global/1262_x has 10 bytes instead of 11"), snapshots);
	ck_assert_uint_eq(times(t, "data/unlisted is not listed"), snapshots);
	ck_assert_uint_eq(times(t, "data/gone is missing"), snapshots);
	ck_assert_uint_eq(r->bad_files, 3 * snapshots + sums);
	ck_assert_uint_eq(r->no_manifest, 0);
}

START_TEST(what_is_wrong_is_named)
{
	static const enum manifest_algorithm algorithms[] = {
		MANIFEST_NONE, MANIFEST_CRC32C, MANIFEST_SHA256, MANIFEST_SHA512};
	enum manifest_algorithm a = algorithms[_i];
	struct fixture f = fx_make(NULL);
	struct fx_tree t = make_tree(a);
	struct base_check_report r, again;
	struct told told = {0};

	publish(&f, &t);
	r = run(&f, false, true, &told);
	check_pages(&told, &r, 1);
	ck_assert_uint_eq(told.n, 3);
	ck_assert_uint_eq(r.pages, PAGES);
	r = run(&f, true, false, &told);
	check_files(&told, &r, 1, a);
	ck_assert_uint_eq(told.n, r.bad_files);
	ck_assert_uint_eq(r.pages, 0);
	r = run(&f, true, true, &told);
	check_pages(&told, &r, 1);
	check_files(&told, &r, 1, a);
	/* Another snapshot with the same content: what is wrong is told of it, too, what is right is not read again. */
	publish(&f, &t);
	again = run(&f, true, true, &told);
	check_pages(&told, &again, 2);
	check_files(&told, &again, 2, a);
	ck_assert_uint_eq(again.snapshots, 2);
	ck_assert_uint_lt(again.files, 2 * r.files);
	/* What differs, is torn or damaged, and no more. */
	ck_assert_uint_eq(again.pages, PAGES + 20 + 2 + 3);
	told_free(&told);
	fx_tree_free(&t);
	fx_free(&f);
}
END_TEST

/* What the repository has lost is told, and the rest is looked at. */
START_TEST(what_cannot_be_read_is_told)
{
	struct fixture f = fx_make(NULL);
	struct fx_tree t = make_tree(MANIFEST_CRC32C);
	struct base_check_report r;
	struct told told = {0};
	struct digest id;
	struct entry *en;
	struct snapshot *snap;
	struct place at;
	char name[PACK_NAME_MAX];
	struct err e = {0};
	uint8_t *p;
	size_t n;

	publish(&f, &t);
	fx_ok(snapshot_resolve(f.s, "main", SNAPSHOT_BASE, "latest", &snap, &e), &e);
	fx_ok(tree_find(f.s, &snap->root, "data/base/1/1259.1", &en, &e), &e);
	id = en->file.map;
	if (en->file.height) {
		struct file *file;

		fx_ok(file_open(f.s, &en->file, &file, &e), &e);
		fx_ok(file_chunk_ref(file, 1, &id, &e), &e);
		file_free(file);
	}
	ck_assert(index_find(f.s->index, &id, &at));
	index_object_name(f.s->index, &at, name);
	p = fx_read_file(f.repo, name, &n);
	p[at.off + at.len - 1] ^= 1;
	fx_replace(f.repo, name, p, n);
	free(p);
	free(en);
	snapshot_free(snap);
	fx_close(&f);
	fx_open(&f);
	r = run(&f, true, true, &told);
	check_pages(&told, &r, 1);
	ck_assert_uint_eq(r.bad_files, 5);
	n = 0;
	for (size_t i = 0; i < told.n; i++)
		n += !strncmp(told.lines[i], "data/base/1/1259.1 ", 19);
	ck_assert_uint_eq(n, 1);
	told_free(&told);
	fx_tree_free(&t);
	fx_free(&f);
}
END_TEST

START_TEST(without_manifest_or_checksums)
{
	struct fixture f = fx_make(NULL);
	struct fx_tree t = {0};
	struct base_check_report r;
	struct told told = {0};

	fx_add_file(&t, "data/PG_VERSION", "13\n", 3);
	publish(&f, &t);
	r = run(&f, true, false, &told);
	ck_assert_uint_eq(told.n, 0);
	ck_assert_uint_eq(r.no_manifest, 1);
	/* Nor is it a backup: nothing tells whether there are checksums. */
	r = run(&f, false, true, &told);
	ck_assert_uint_eq(told.n, 1);
	told_free(&told);
	fx_tree_free(&t);
	fx_free(&f);
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("capture_base_check");
	TCase *t = tcase_create("all");

	tcase_add_loop_test(t, what_is_wrong_is_named, 0, 4);
	tcase_add_test(t, what_cannot_be_read_is_told);
	tcase_add_test(t, without_manifest_or_checksums);
	suite_add_tcase(s, t);
	return s;
}

CHECK_MAIN(suite)
