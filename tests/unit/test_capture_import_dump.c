/* Dumps that pg_dump 13 to 18 wrote taken in whole, cut off and damaged: what is refused says where, and publishes nothing. */
#include "tests/unit/check_main.h"

#include <dirent.h>
#include <errno.h>
#include <sys/mman.h>

#include "src/capture/import_dump.h"
#include "tests/unit/store_fixture.h"

#define CUTS 50
#define ANY UINT64_MAX

/* All of the same database, but those of version "small". */
struct dump {
	const char *file;
	bool directory;
	const char *database; /* NULL: it says that itself */
	uint64_t tables, blobs;
};

static const struct dump dumps[] = {
	{"dump-15.tar", false, NULL, 3, 3},
	{"dump-18.sql", false, "small", 3, 0},
	{"dump-15-inserts.sql", false, "small", 2, 0},
	{"dump-13-all.sql", false, NULL, 3, 0},
	{"dump-13-gzip.custom", false, NULL, 5, 2},
	{"dump-15-none.custom", false, NULL, 5, 2},
	{"dump-17-zstd.custom", false, NULL, 5, 2},
	{"dump-18-lz4.custom", false, NULL, 5, 2},
	{"dump-15-gzip.dir", true, NULL, 3, 3},
	{"dump-17-lz4.dir", true, NULL, 3, 3},
	{"dump-18-zstd.dir", true, NULL, 3, 3},
};
#define DUMPS (sizeof(dumps) / sizeof(dumps[0]))
#define FILES 8 /* of them are files */

static const char *source(const struct dump *d)
{
	static char path[512];

	snprintf(path, sizeof(path), "%s/%s", PGSTRATA_TEST_DATA, d->file);
	return path;
}

static int take(struct fixture *f, const struct dump *d, const char *path, int fd, struct err *e)
{
	const struct import_dump_options o = {.threads = 1, .database = d->database};
	struct snapshot *snap = NULL;
	int r = fd >= 0 ? capture_import_dump_fd(f->s, fd, "the dump", "main", &o, &snap, e)
			: capture_import_dump(f->s, path, "main", &o, &snap, e);

	if (r >= 0 && d->tables != ANY) {
		ck_assert_uint_eq(snapshot_get(snap, "tables")->number, d->tables);
		ck_assert_uint_eq(snapshot_get(snap, "large_objects")->number, d->blobs);
	}
	snapshot_free(snap);
	return r;
}

/* The same of bytes in memory. */
static int take_bytes(struct fixture *f, const struct dump *d, const void *p, size_t n, struct err *e)
{
	int fd = memfd_create("dump", MFD_CLOEXEC), r;

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(io_write(fd, p, n), 0);
	ck_assert_int_eq(lseek(fd, 0, SEEK_SET), 0);
	r = take(f, d, NULL, fd, e);
	close(fd);
	return r;
}

static size_t published(struct fixture *f)
{
	struct snapshot_list l = {0};
	struct err e = {0};
	size_t n;

	fx_ok(snapshot_list(f->s, "main", SNAPSHOT_DUMP, &l, &e), &e);
	n = l.n;
	snapshot_list_free(&l);
	return n;
}

/* Refused, with a word about what, and where. */
static void check_refusal(int r, const struct err *e, const char *what)
{
	ck_assert_msg(r == -EBADMSG || r == -EINVAL || r == -EOPNOTSUPP, "%s: %d, %s", what, r, e->text);
	ck_assert_msg(strstr(e->text, "cut off") || strstr(e->text, "damaged") ||
			      strstr(e->text, "not whole") || strstr(e->text, "is no dump") ||
			      strstr(e->text, "is no archive") || strstr(e->text, "is known") ||
			      strstr(e->text, "are known") || strstr(e->text, "not known") ||
			      strstr(e->text, "does not say which database"),
		"%s: %s", what, e->text);
}

START_TEST(whole)
{
	const struct dump *d = &dumps[_i];
	struct fixture f = fx_make(NULL);
	struct err e = {0};

	fx_ok(take(&f, d, source(d), -1, &e), &e);
	ck_assert_uint_eq(published(&f), 1);
	fx_free(&f);
}
END_TEST

START_TEST(cut_off)
{
	const struct dump *d = &dumps[_i];
	struct fixture f = fx_make(NULL);
	void *p;
	size_t n;

	ck_assert_int_eq(io_read_file(source(d), 1 << 20, &p, &n, NULL), 0);
	/* What follows the end of SQL is an empty line, and of a tar file more zeroes than it needs. */
	for (unsigned i = 0; i < CUTS; i += PART(2, 5)) {
		size_t len = n * i / CUTS;
		struct err e = {0};
		int r = take_bytes(&f, d, p, len, &e);

		ck_assert_msg(r < 0, "%s cut off at byte %zu of %zu was taken", d->file, len, n);
		check_refusal(r, &e, d->file);
	}
	ck_assert_uint_eq(published(&f), 0);
	free(p);
	fx_free(&f);
}
END_TEST

/* A changed byte is refused or makes other data of it, which not every format can tell: where, and nothing is published. */
START_TEST(changed_bytes)
{
	const struct dump *d = &dumps[_i];
	struct fixture f = fx_make(NULL);
	size_t n, taken = 0, tried = 0;
	uint8_t *p;
	void *bytes;

	ck_assert_int_eq(io_read_file(source(d), 1 << 20, &bytes, &n, NULL), 0);
	p = bytes;
	for (size_t at = 0; at < n; at += n / 25 * PART(1, 2), tried++) {
		struct err e = {0};
		int r;

		p[at] ^= 0x41;
		r = take_bytes(&f, &(struct dump){.database = "small", .tables = ANY}, p, n, &e);
		p[at] ^= 0x41;
		taken += r >= 0;
		if (r < 0)
			check_refusal(r, &e, d->file);
	}
	ck_assert_uint_gt(tried, 9);
	ck_assert_uint_eq(published(&f), taken);
	free(p);
	fx_free(&f);
}
END_TEST

struct names {
	char *v[32];
	size_t n;
};

static struct names copy_directory(const char *from, const char *to)
{
	struct names names = {0};
	DIR *dir = opendir(from);

	ck_assert_ptr_nonnull(dir);
	ck_assert_int_eq(mkdir(to, 0700), 0);
	for (struct dirent *en; (en = readdir(dir));) {
		char *path;
		uint8_t *p;
		size_t n;
		int fd;

		if (en->d_name[0] == '.')
			continue;
		p = fx_read_file(from, en->d_name, &n);
		path = io_join(to, en->d_name);
		fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
		ck_assert_int_ge(fd, 0);
		ck_assert_int_eq(io_write(fd, p, n), 0);
		close(fd);
		free(path);
		free(p);
		names.v[names.n++] = strdup(en->d_name);
	}
	closedir(dir);
	return names;
}

/* Each file of a directory cut off, and gone. */
START_TEST(directory_cut_off)
{
	const struct dump *d = &dumps[FILES + _i];
	struct fixture f = fx_make(NULL);
	char *dir = io_join(f.dir, "dump");
	struct names names = copy_directory(source(d), dir);

	for (size_t k = 0; k < names.n; k++) {
		size_t n;
		uint8_t *p = fx_read_file(dir, names.v[k], &n);
		char *path = io_join(dir, names.v[k]);
		size_t last = SIZE_MAX;

		for (unsigned i = 0; i < CUTS && n; i += n > 500 ? PART(2, 5) : 5) {
			size_t len = n * i / CUTS;
			struct err e = {0};
			int r;

			/* No stream at all is an empty large object's, for some releases. */
			if (len == last || (!len && strstr(names.v[k], "blob_")))
				continue;
			last = len;
			fx_replace(dir, names.v[k], p, len);
			r = take(&f, d, dir, -1, &e);
			ck_assert_msg(r < 0, "%s, %s cut off at byte %zu of %zu was taken", d->file,
				names.v[k], len, n);
			check_refusal(r, &e, names.v[k]);
			ck_assert_msg(strstr(e.text, dir) != NULL, "no place in: %s", e.text);
		}
		fx_replace(dir, names.v[k], p, n);
		if (strcmp(names.v[k], "toc.dat") != 0) {
			struct err e = {0};

			ck_assert_int_eq(unlink(path), 0);
			fx_fails(take(&f, d, dir, -1, &e), -EBADMSG, &e);
			ck_assert_ptr_nonnull(strstr(e.text, "is not whole: it has no file"));
			ck_assert_int_eq(close(open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600)), 0);
			fx_replace(dir, names.v[k], p, n);
		}
		free(path);
		free(p);
		free(names.v[k]);
	}
	ck_assert_uint_eq(published(&f), 0);
	free(dir);
	fx_free(&f);
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("capture/import_dump");
	TCase *t = tcase_create("import_dump");

	tcase_add_loop_test(t, whole, 0, DUMPS);
	tcase_add_loop_test(t, cut_off, 0, FILES);
	tcase_add_loop_test(t, changed_bytes, 0, FILES);
	tcase_add_loop_test(t, directory_cut_off, 0, DUMPS - FILES);
	suite_add_tcase(s, t);
	return s;
}

CHECK_MAIN(suite)
