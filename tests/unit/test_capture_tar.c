/* Tar reading (src/capture/tar.h): archives made by libarchive, then cut, bent and made hostile. */
#include "src/capture/tar.h"

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "src/base/buf.h"
#include "src/base/crc32c.h"
#include "src/base/io.h"
#include "tests/unit/check_main.h"

#define ARCHIVE_ROOM (4u << 20)

enum filter { PLAIN, GZIP, LZ4, ZSTD, FILTERS };

/* An archive in memory. */
struct made {
	uint8_t *p;
	size_t n;
	struct archive *a;
	struct archive_entry *en;
};

static void made_begin_format(struct made *m, enum filter f, bool pax)
{
	m->p = malloc(ARCHIVE_ROOM);
	m->a = archive_write_new();
	m->en = archive_entry_new();
	if (pax)
		archive_write_set_format_pax_restricted(m->a);
	else
		archive_write_set_format_gnutar(m->a);
	if (f == GZIP)
		archive_write_add_filter_gzip(m->a);
	if (f == LZ4)
		archive_write_add_filter_lz4(m->a);
	if (f == ZSTD)
		archive_write_add_filter_zstd(m->a);
	archive_write_set_bytes_per_block(m->a, 512);
	archive_write_set_bytes_in_last_block(m->a, 1);
	ck_assert_int_eq(archive_write_open_memory(m->a, m->p, ARCHIVE_ROOM, &m->n), ARCHIVE_OK);
}

static void made_begin(struct made *m, enum filter f)
{
	made_begin_format(m, f, false);
}

static struct archive_entry *entry_of(struct made *m, const char *path, int type, size_t size)
{
	archive_entry_clear(m->en);
	archive_entry_set_pathname(m->en, path);
	archive_entry_set_filetype(m->en, type);
	archive_entry_set_perm(m->en, type == AE_IFDIR ? 0700 : 0600);
	archive_entry_set_uid(m->en, 100);
	archive_entry_set_gid(m->en, 200);
	archive_entry_set_uname(m->en, "postgres");
	archive_entry_set_gname(m->en, "staff");
	archive_entry_set_mtime(m->en, 1234567890, 0);
	archive_entry_set_size(m->en, (la_int64_t)size);
	return m->en;
}

static void add_header(struct made *m, struct archive_entry *en)
{
	ck_assert_int_eq(archive_write_header(m->a, en), ARCHIVE_OK);
}

static void add_file(struct made *m, const char *path, const void *p, size_t n)
{
	add_header(m, entry_of(m, path, AE_IFREG, n));
	ck_assert_int_eq(archive_write_data(m->a, p, n), n);
}

static void add_dir(struct made *m, const char *path)
{
	add_header(m, entry_of(m, path, AE_IFDIR, 0));
}

static void made_end(struct made *m)
{
	ck_assert_int_eq(archive_write_close(m->a), ARCHIVE_OK);
	archive_write_free(m->a);
	archive_entry_free(m->en);
}

/* What a reading told, as text. */
struct told {
	struct buf b;
	uint64_t size;
	uint32_t crc;
	const char *stop_at;
};

static int on_member(void *arg, const struct tar_member *m, struct err *e)
{
	struct told *t = arg;

	(void)e;
	buf_printf(&t->b, "%c %s %o %s:%s %lld", "?fds"[m->type], m -> path, m -> meta.mode, m->meta.user,
		m->meta.group, (long long)m->meta.mtime.sec);
	if (m->type == ENTRY_SYMLINK)
		buf_printf(&t->b, " -> %s", m->target);
	if (m->type != ENTRY_FILE)
		buf_printf(&t->b, "\n");
	t->size = 0;
	t->crc = 0;
	if (t->stop_at && strcmp(t->stop_at, m->path))
		return TAR_SKIP;
	return 0;
}

static int on_data(void *arg, const void *p, size_t n, struct err *e)
{
	struct told *t = arg;

	(void)e;
	ck_assert_uint_gt(n, 0);
	t->size += n;
	t->crc = crc32c(t->crc, p, n);
	return 0;
}

static int on_end(void *arg, struct err *e)
{
	struct told *t = arg;

	(void)e;
	buf_printf(&t->b, " %llu %08x\n", (unsigned long long)t->size, t->crc);
	return t->stop_at ? 7 : 0;
}

static const struct tar_ops ops = {.member = on_member, .data = on_data, .end = on_end};

static int fd_of(const void *p, size_t n)
{
	int fd = memfd_create("tar", MFD_CLOEXEC);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(io_pwrite(fd, p, n, 0), 0);
	return fd;
}

static int read_bytes(const void *p, size_t n, const struct tar_options *o, struct told *t, struct err *e)
{
	int fd = fd_of(p, n), r;

	*e = (struct err){0};
	r = tar_read(fd, "x.tar", o, &ops, t, e);
	close(fd);
	return r;
}

static const struct tar_options defaults;

/* Reads, and gives the text in fresh memory. */
static char *read_text(const struct made *m)
{
	struct told t = {0};
	struct err e;
	int r = read_bytes(m->p, m->n, &defaults, &t, &e);

	ck_assert_msg(r == 0, "%s", e.text);
	return buf_steal_str(&t.b);
}

static void expect_error(const struct made *m, int code, const char *word)
{
	struct told t = {0};
	struct err e;
	int r = read_bytes(m->p, m->n, &defaults, &t, &e);

	ck_assert_int_eq(r, code);
	ck_assert_ptr_nonnull(strstr(e.text, "x.tar"));
	ck_assert_msg(strstr(e.text, word) != NULL, "\"%s\" does not say \"%s\"", e.text, word);
	buf_free(&t.b);
}

static void fill_sample(struct made *m, enum filter f)
{
	uint8_t noise[3000], zeros[2048] = {0};
	uint64_t seed = check_seed();

	check_rand_fill(&seed, noise, sizeof(noise));
	made_begin(m, f);
	add_file(m, "backup_label", "START", 5);
	add_dir(m, "./base/");
	add_file(m, "base/1", noise, sizeof(noise));
	add_file(m, "base//./empty", "", 0);
	entry_of(m, "pg_tblspc/1", AE_IFLNK, 0);
	archive_entry_set_symlink(m->en, "/srv/ts");
	add_header(m, m->en);
	add_file(m, "zeros", zeros, sizeof(zeros));
	made_end(m);
}

START_TEST(test_members)
{
	char *first = NULL;

	for (int f = 0; f < FILTERS; f++) {
		struct made m;
		char *text;

		fill_sample(&m, f);
		text = read_text(&m);
		if (!first) {
			first = text;
			ck_assert_ptr_nonnull(
				strstr(text, "f backup_label 600 postgres:staff 1234567890 5 "));
			ck_assert_ptr_nonnull(strstr(text, "d base 700 "));
			ck_assert_ptr_nonnull(strstr(text, "f base/1 600 "));
			ck_assert_ptr_nonnull(
				strstr(text, "f base/empty 600 postgres:staff 1234567890 0 00000000\n"));
			ck_assert_ptr_nonnull(strstr(text, "s pg_tblspc/1 "));
			ck_assert_ptr_nonnull(strstr(text, " -> /srv/ts\n"));
		} else {
			ck_assert_str_eq(text, first);
			free(text);
		}
		free(m.p);
	}
	free(first);
}
END_TEST

/* Wherever an archive is cut, it is an error; also behind the file of zeroes, which looks like an end. */
START_TEST(test_cut)
{
	struct made m;

	fill_sample(&m, _i);
	for (size_t n = 0; n < m.n; n += PART(1, 7)) {
		struct told t = {0};
		struct err e;
		int r = read_bytes(m.p, n, &defaults, &t, &e);

		ck_assert_msg(r < 0, "cut at %zu of %zu (filter %d) was not seen", n, m.n, _i);
		ck_assert_ptr_nonnull(strstr(e.text, "x.tar"));
		buf_free(&t.b);
	}
	free(m.p);
}
END_TEST

START_TEST(test_flips)
{
	struct made m;
	uint64_t seed = check_seed();

	fill_sample(&m, _i);
	for (int i = 0; i < 3000 / PART(1, 10); i++) {
		size_t at = check_rand_below(&seed, m.n);
		uint8_t bit = (uint8_t)(1u << check_rand_below(&seed, 8));
		struct told t = {0};
		struct err e;
		int r;

		m.p[at] ^= bit;
		r = read_bytes(m.p, m.n, &defaults, &t, &e);
		ck_assert(r <= 0);
		ck_assert(r == 0 || e.text[0]);
		buf_free(&t.b);
		m.p[at] ^= bit;
	}
	free(m.p);
}
END_TEST

START_TEST(test_end)
{
	struct made m;
	struct told t = {0};
	struct err e;

	made_begin(&m, PLAIN);
	made_end(&m);
	ck_assert_uint_eq(m.n, 1024);
	ck_assert_int_eq(read_bytes(m.p, m.n, &defaults, &t, &e), 0);
	ck_assert_uint_eq(t.b.len, 0);
	ck_assert_int_lt(read_bytes(m.p, 512, &defaults, &t, &e), 0);
	ck_assert_int_lt(read_bytes(m.p, 0, &defaults, &t, &e), 0);
	/* More zeroes, as GNU tar pads to its record, are fine; other bytes are not. */
	memset(m.p + m.n, 0, 10240);
	ck_assert_int_eq(read_bytes(m.p, 10240, &defaults, &t, &e), 0);
	m.p[9000] = 1;
	ck_assert_int_eq(read_bytes(m.p, 10240, &defaults, &t, &e), -EBADMSG);
	ck_assert_ptr_nonnull(strstr(e.text, "after its end"));
	buf_free(&t.b);
	free(m.p);
}
END_TEST

START_TEST(test_refused)
{
	static const struct {
		const char *path, *word;
	} bad[] = {
		{"/etc/passwd", "member /etc/passwd has an absolute path"},
		{"../x", "member ../x climbs out"},
		{"base/../../x", "climbs out"},
		{"base/..", "climbs out"},
	};
	char longer[300];
	struct made m;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		made_begin(&m, PLAIN);
		add_file(&m, "fine", "x", 1);
		add_file(&m, bad[i].path, "x", 1);
		made_end(&m);
		expect_error(&m, -EBADMSG, bad[i].word);
		free(m.p);
	}
	memset(longer, 'a', sizeof(longer));
	longer[256] = 0;
	made_begin(&m, PLAIN);
	add_file(&m, longer, "x", 1);
	made_end(&m);
	expect_error(&m, -EBADMSG, "more than 255");
	free(m.p);
	longer[255] = 0;
	made_begin(&m, PLAIN);
	add_file(&m, longer, "x", 1);
	made_end(&m);
	free(read_text(&m));
	free(m.p);
}
END_TEST

START_TEST(test_links)
{
	struct made m;

	made_begin(&m, PLAIN);
	add_file(&m, "a", "x", 1);
	entry_of(&m, "b", AE_IFREG, 0);
	archive_entry_set_hardlink(m.en, "a");
	add_header(&m, m.en);
	made_end(&m);
	expect_error(&m, -EOPNOTSUPP, "member b is a hard link");
	free(m.p);
}
END_TEST

START_TEST(test_passed_over)
{
	struct made m;
	char *text;

	made_begin(&m, PLAIN);
	add_header(&m, entry_of(&m, "pipe", AE_IFIFO, 0));
	add_file(&m, "a", "x", 1);
	made_end(&m);
	text = read_text(&m);
	ck_assert_ptr_null(strstr(text, "pipe"));
	ck_assert_ptr_nonnull(strstr(text, "f a "));
	free(text);
	free(m.p);
}
END_TEST

/* Holes come as the zeroes that they stand for. */
START_TEST(test_sparse)
{
	uint8_t data[100000] = {0};
	struct made m;
	char *text, want[64];

	memset(data + 65536, 'x', 4096);
	made_begin_format(&m, PLAIN, true);
	entry_of(&m, "sparse", AE_IFREG, sizeof(data));
	archive_entry_sparse_add_entry(m.en, 65536, 4096);
	add_header(&m, m.en);
	archive_write_data(m.a, data, sizeof(data));
	made_end(&m);
	ck_assert_uint_lt(m.n, 20000);
	text = read_text(&m);
	snprintf(want, sizeof(want), " %zu %08x\n", sizeof(data), crc32c(0, data, sizeof(data)));
	ck_assert_msg(strstr(text, want) != NULL, "%s lacks %s", text, want);
	free(text);
	free(m.p);
}
END_TEST

/* A look inside finds one member without handing on the others, and stops there. */
START_TEST(test_look)
{
	static const struct tar_options look = {.headers_only = true};
	struct made m;

	for (int f = 0; f < FILTERS; f++) {
		struct told t = {.stop_at = "base/1"};
		struct err e;

		fill_sample(&m, f);
		ck_assert_int_eq(read_bytes(m.p, m.n, &look, &t, &e), 7);
		ck_assert_uint_eq(t.size, 3000);
		buf_clear(&t.b);
		t.stop_at = "none";
		ck_assert_int_eq(read_bytes(m.p, m.n, &look, &t, &e), 0);
		buf_free(&t.b);
		free(m.p);
	}
}
END_TEST

/* An archive as a stream, in pieces of any size. */
struct pieces {
	const uint8_t *p;
	size_t n, most;
	uint64_t seed;
};

static ssize_t next_piece(void *arg, const void **ret, struct err *e)
{
	struct pieces *k = arg;
	size_t n = k->n ? 1 + check_rand_below(&k->seed, k->most) : 0;

	(void)e;
	n = n < k->n ? n : k->n;
	*ret = k->p;
	k->p += n;
	k->n -= n;
	return (ssize_t)n;
}

static int read_stream(const void *p, size_t n, size_t most, bool unmarked, struct told *t, struct err *e)
{
	struct pieces k = {p, n, most, check_seed()};
	struct tar_source src = {.next = next_piece, .arg = &k};
	struct tar_options o = {.unmarked = unmarked};

	*e = (struct err){0};
	return tar_read_source(&src, "x.tar", &o, &ops, t, e);
}

START_TEST(test_stream)
{
	static const size_t most[] = {1, 7, 512, 100000};
	struct made m;
	char *want;

	fill_sample(&m, PLAIN);
	want = read_text(&m);
	for (size_t i = 0; i < sizeof(most) / sizeof(most[0]); i++) {
		struct told t = {0};
		struct err e;
		char *text;

		ck_assert_msg(read_stream(m.p, m.n, most[i], i % 2, &t, &e) == 0, "%s", e.text);
		text = buf_steal_str(&t.b);
		ck_assert_str_eq(text, want);
		free(text);
	}
	free(want);
	free(m.p);
}
END_TEST

/* Without the mark an archive may end behind any member, and only there; with it, at no place but its end. */
START_TEST(test_stream_cut)
{
	struct made m;
	unsigned ends = 0;

	fill_sample(&m, PLAIN);
	for (size_t n = 0; n < m.n; n++) {
		struct told t = {0};
		struct err e;

		ck_assert_int_lt(read_stream(m.p, n, 700, false, &t, &e), 0);
		buf_clear(&t.b);
		if (read_stream(m.p, n, 700, true, &t, &e) == 0) {
			ck_assert_uint_eq(n % 512, 0);
			ends++;
		}
		buf_free(&t.b);
	}
	/* Nothing at all, and behind each of the six. */
	ck_assert_uint_eq(ends, 7);
	free(m.p);
}
END_TEST

START_TEST(test_not_tar)
{
	static const struct {
		const char *p;
		size_t n;
	} junk[] = {{"hello", 5}, {"\x1f\x8b", 2}, {"\x28\xb5\x2f\xfd", 4}, {"\x04\x22\x4d\x18", 4}, {"", 0}};

	for (size_t i = 0; i < sizeof(junk) / sizeof(junk[0]); i++) {
		struct told t = {0};
		struct err e;

		ck_assert_int_eq(read_bytes(junk[i].p, junk[i].n, &defaults, &t, &e), -EBADMSG);
		ck_assert_ptr_nonnull(strstr(e.text, "x.tar"));
		buf_free(&t.b);
	}
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("capture_tar");
	TCase *c = tcase_create("tar");

	tcase_add_test(c, test_members);
	tcase_add_loop_test(c, test_cut, 0, FILTERS);
	tcase_add_loop_test(c, test_flips, 0, FILTERS);
	tcase_add_test(c, test_end);
	tcase_add_test(c, test_refused);
	tcase_add_test(c, test_links);
	tcase_add_test(c, test_passed_over);
	tcase_add_test(c, test_sparse);
	tcase_add_test(c, test_look);
	tcase_add_test(c, test_stream);
	tcase_add_test(c, test_stream_cut);
	tcase_add_test(c, test_not_tar);
	suite_add_tcase(s, c);
	return s;
}

CHECK_MAIN(suite)
