/* The WAL archive: what goes in comes out, twice is once, and nothing damaged is believed. */
#include <errno.h>
#include <fcntl.h>

#include "src/base/buf.h"
#include "src/base/clean.h"
#include "src/base/io.h"
#include "store/wal.h"
#include "tests/unit/check_main.h"

#define SEGMENT (1u << 20)
#define NAME "000000010000000000000003"

static char *top, *repo, *input;
static struct store *store;
static struct err why;

static void set_up(void)
{
	struct store_options o = {0};
	char id[STORE_ID_TEXT];

	top = check_tempdir();
	repo = io_join(top, "repo");
	input = io_join(top, "input");
	ck_assert_msg(store_init(repo, NULL, id, &why) == 0, "%s", why.text);
	ck_assert_msg(store_open(repo, &o, &store, &why) == 0, "%s", why.text);
}

static void tear_down(void)
{
	store_free(store);
	check_rmtree(top);
	free(top);
	free(repo);
	free(input);
}

/* Half compressible, half not, and an odd tail. */
static uint8_t *make(size_t n, uint64_t seed)
{
	uint8_t *p = malloc(n + 1);

	ck_assert_ptr_nonnull(p);
	check_rand_fill(&seed, p, n);
	for (size_t i = 0; i < n / 2; i++)
		p[i] = (uint8_t)(i / 100);
	return p;
}

static int put(const char *name, const uint8_t *p, size_t n, bool *known)
{
	int fd = open(input, O_RDWR | O_CREAT | O_TRUNC, 0600), r;

	ck_assert(fd >= 0 && io_write(fd, p, n) == 0);
	r = wal_put(store, "main", name, fd, n, 2, known, &why);
	close(fd);
	return r;
}

struct seen {
	const uint8_t *p;
	size_t at, end; /* a call beyond end fails */
};

static int see(void *arg, const void *p, size_t n, struct err *e)
{
	struct seen *s = arg;

	(void)e;
	if (s->at >= s->end)
		return -ECANCELED;
	ck_assert_mem_eq(p, s->p + s->at, n);
	s->at += n;
	return 0;
}

static void check_content(const char *name, const uint8_t *p, size_t n)
{
	struct file *f;
	uint8_t *out = malloc(n + 1);
	uint64_t seed = check_seed();

	ck_assert_msg(wal_open(store, "main", name, &f, &why) == 0, "%s", why.text);
	ck_assert_uint_eq(file_size(f), n);
	ck_assert_int_eq(file_read(f, 0, out, n + 1, &why), (ssize_t)n);
	ck_assert_mem_eq(out, p, n);
	for (int i = 0; i < 200 && n; i++) {
		size_t off = check_rand_below(&seed, n), len = check_rand_below(&seed, 200000);
		size_t want = len < n - off ? len : n - off;

		ck_assert_int_eq(file_read(f, off, out, want, &why), (ssize_t)want);
		ck_assert_mem_eq(out, p + off, want);
	}
	file_free(f);
	free(out);
	struct seen s = {p, 0, SIZE_MAX};
	wal_advise(store, "main", name);
	ck_assert_int_eq(wal_copy(store, "main", name, see, &s, &why), 0);
	ck_assert_uint_eq(s.at, n);
	s = (struct seen){p, 0, 1};
	ck_assert_int_eq(wal_copy(store, "main", name, see, &s, &why), n > SEGMENT ? -ECANCELED : 0);
}

START_TEST(sizes)
{
	static const size_t all[] = {
		0, 1, 41, 65535, SEGMENT - 1, SEGMENT, SEGMENT + 1, 16 * SEGMENT, 21 * SEGMENT + 17};
	size_t n = all[_i];
	uint8_t *p = make(n, check_seed());
	struct wal_info info;
	struct digest d = digest_of(p, n);
	bool known = true;

	ck_assert_msg(put(NAME, p, n, &known) == 0, "%s", why.text);
	ck_assert(!known);
	ck_assert_int_eq(wal_stat(store, "main", NAME, &info, &why), 0);
	ck_assert_uint_eq(info.size, n);
	ck_assert(digest_eq(&info.digest, &d));
	check_content(NAME, p, n);
	free(p);
}
END_TEST

/* From memory, and kept while it is read from a file; by one thread and by more. */
START_TEST(inputs)
{
	const size_t n = 7 * SEGMENT + 333;
	uint8_t *p = make(n, check_seed()), *keep = buf_large(n);
	int fd = open(input, O_RDWR | O_CREAT | O_TRUNC, 0600);
	struct wal_input in = {.bytes = p, .fd = -1, .size = n};
	unsigned threads = _i & 1 ? 1 : 3;
	bool known = true;

	ck_assert(fd >= 0 && io_write(fd, p, n) == 0);
	if (_i & 2)
		in = (struct wal_input){.fd = fd, .keep = keep, .size = n};
	ck_assert_int_eq(wal_put_input(store, "main", NAME, &in, threads, &known, &why), 0);
	ck_assert(!known);
	check_content(NAME, p, n);
	if (_i & 2) {
		ck_assert_mem_eq(keep, p, n);
		memset(keep, 0, n);
	}
	ck_assert_int_eq(wal_put_input(store, "main", NAME, &in, threads, &known, &why), 0);
	ck_assert(known);
	if (_i & 2)
		ck_assert_mem_eq(keep, p, n);
	close(fd);
	free(keep);
	free(p);
}
END_TEST

/* A file that is shorter than was said is an error, and nothing is archived. */
START_TEST(shorter)
{
	const size_t n = 3 * SEGMENT;
	uint8_t *p = make(n, 1);
	int fd = open(input, O_RDWR | O_CREAT | O_TRUNC, 0600);
	struct wal_info info;
	bool known;

	ck_assert(fd >= 0 && io_write(fd, p, n) == 0);
	ck_assert_int_eq(wal_put(store, "main", NAME, fd, n + 1, 2, &known, &why), -EIO);
	ck_assert_ptr_nonnull(strstr(why.text, "became shorter"));
	ck_assert_int_eq(wal_stat(store, "main", NAME, &info, &why), -ENOENT);
	close(fd);
	free(p);
}
END_TEST

START_TEST(twice)
{
	uint8_t *p = make(SEGMENT, 1);
	bool known = false;

	ck_assert_int_eq(put(NAME, p, SEGMENT, &known), 0);
	ck_assert_int_eq(put(NAME, p, SEGMENT, &known), 0);
	ck_assert(known);
	p[SEGMENT - 1] ^= 1;
	ck_assert_int_eq(put(NAME, p, SEGMENT, &known), -EEXIST);
	ck_assert(!known);
	ck_assert_ptr_nonnull(strstr(why.text, NAME));
	ck_assert_int_eq(put(NAME, p, SEGMENT / 2, &known), -EEXIST);
	p[SEGMENT - 1] ^= 1;
	check_content(NAME, p, SEGMENT);
	free(p);
}
END_TEST

START_TEST(refused_names)
{
	static const char *const names[] = {"", ".", "..", ".hidden", "-x", "a/b", "../config", "a b",
		"0123456789012345678901234567890123456789012345678901234567890123"};
	bool known;

	ck_assert_int_eq(put(names[_i], (const uint8_t *)"x", 1, &known), -EINVAL);
}
END_TEST

START_TEST(absent)
{
	struct wal_info info;
	struct file *f;
	char **v;

	ck_assert_int_eq(wal_stat(store, "main", NAME, &info, &why), -ENOENT);
	ck_assert_int_eq(wal_open(store, "main", NAME, &f, &why), -ENOENT);
	ck_assert_int_eq(wal_copy(store, "main", NAME, see, NULL, &why), -ENOENT);
	wal_advise(store, "main", NAME);
	ck_assert_int_eq(wal_groups(store, "main", &v, &why), 0);
	ck_assert_ptr_null(v[0]);
	strv_free(v);
}
END_TEST

/* Groups and the names in them, one after the other, are the sorted archive. */
START_TEST(listing)
{
	static const char *const names[] = {"000000010000000000000001", "0000000100000000000000FE",
		"000000010000000100000000", "000000010000000100000000.00000028.backup", "00000002.history",
		"000000020000000100000001", "000000020000000100000002.partial"};
	const size_t n = sizeof(names) / sizeof(*names);
	size_t at = 0;
	char **groups;
	bool known;

	for (size_t i = n; i-- > 0;)
		ck_assert_msg(put(names[i], (const uint8_t *)"abc", 3, &known) == 0, "%s", why.text);
	ck_assert_int_eq(wal_groups(store, "main", &groups, &why), 0);
	for (size_t g = 0; groups[g]; g++) {
		char **found;

		ck_assert_int_eq(wal_names(store, "main", groups[g], &found, &why), 0);
		for (size_t i = 0; found[i]; i++)
			ck_assert_str_eq(found[i], names[at++]);
		strv_free(found);
	}
	ck_assert_uint_eq(at, n);
	strv_free(groups);
}
END_TEST

/* Any changed, lost or added byte of the object is an error that names it, or does not matter; never other bytes. */
/* A file goes with its note, others stay, and who has it open reads on. */
START_TEST(removing)
{
	uint8_t *p = make(SEGMENT, 7), *out = malloc(SEGMENT);
	struct wal_list l = {0};
	struct file *f;
	void *note;
	size_t len;
	bool known;

	ck_assert_int_eq(put(NAME, p, SEGMENT, &known), 0);
	ck_assert_int_eq(put(NAME ".partial", p, SEGMENT, &known), 0);
	ck_assert_int_eq(put("00000002.history", p, 100, &known), 0);
	ck_assert_int_eq(wal_note_put(store, "main", NAME, "x", 1, &why), 0);
	ck_assert_int_eq(wal_note_put(store, "main", NAME ".partial", "y", 1, &why), 0);
	ck_assert_int_eq(wal_open(store, "main", NAME, &f, &why), 0);
	ck_assert_msg(wal_remove(store, "main", NAME, &why) == 0, "%s", why.text);
	ck_assert_int_eq(wal_stat(store, "main", NAME, &(struct wal_info){0}, &why), -ENOENT);
	ck_assert_int_eq(wal_note_get(store, "main", NAME, &note, &len, &why), -ENOENT);
	ck_assert_int_eq(file_read(f, 0, out, SEGMENT, &why), SEGMENT);
	ck_assert_mem_eq(out, p, SEGMENT);
	file_free(f);
	ck_assert_int_eq(wal_list(store, "main", "0000000100000000", &l, &why), 0);
	ck_assert_uint_eq(l.n, 1);
	ck_assert_str_eq(l.v[0].name, NAME ".partial");
	wal_list_free(&l);
	ck_assert_int_eq(wal_note_get(store, "main", NAME ".partial", &note, &len, &why), 0);
	free(note);
	ck_assert_int_eq(wal_remove(store, "main", "00000002.history", &why), 0);
	/* Again, with a note that was left alone; another cluster's; no name at all. */
	ck_assert_int_eq(wal_note_put(store, "main", NAME, "x", 1, &why), 0);
	ck_assert_int_eq(wal_remove(store, "main", NAME, &why), -ENOENT);
	ck_assert_ptr_nonnull(strstr(why.text, NAME));
	ck_assert_int_eq(wal_note_get(store, "main", NAME, &note, &len, &why), -ENOENT);
	ck_assert_int_eq(wal_remove(store, "other", NAME ".partial", &why), -ENOENT);
	ck_assert_int_eq(wal_remove(store, "main", "../x", &why), -EINVAL);
	/* What is gone can come again, with other content. */
	p[0] ^= 1;
	ck_assert_int_eq(put(NAME, p, SEGMENT, &known), 0);
	check_content(NAME, p, SEGMENT);
	free(p);
	free(out);
}
END_TEST

START_TEST(damage)
{
	enum { ROUNDS = 300 / PART(1, 5) };
	const size_t n = 2200000;
	uint8_t *p = make(n, 2), *out = malloc(n);
	char *dir = io_join(repo, "wal/main/0000000100000000"), *path = io_join(dir, NAME);
	uint64_t seed = check_seed();
	unsigned caught = 0;
	bool known;
	uint8_t *was;
	size_t len;

	ck_assert_int_eq(put(NAME, p, n, &known), 0);
	ck_assert_int_eq(io_read_file(path, 1 << 24, (void **)&was, &len, &why), 0);
	for (int i = 0; i < ROUNDS; i++) {
		uint8_t *now = malloc(len + 1);
		size_t now_len = len;
		struct file *f;
		ssize_t r;

		memcpy(now, was, len);
		if (i % 3 == 0)
			now_len = check_rand_below(&seed, len);
		else
			now[check_rand_below(&seed, len)] ^= (uint8_t)(1u << check_rand_below(&seed, 8));
		ck_assert_int_eq(io_replace_file(dir, NAME, now, now_len, 0600, &why), 0);
		free(now);
		/* A handle of its own, so that the cache knows nothing yet. */
		store_free(store);
		ck_assert_int_eq(store_open(repo, NULL, &store, &why), 0);
		r = wal_open(store, "main", NAME, &f, &why);
		if (r == 0) {
			r = file_read(f, 0, out, n, &why);
			file_free(f);
		}
		struct seen s = {p, 0, SIZE_MAX};
		ck_assert_int_eq(wal_copy(store, "main", NAME, see, &s, &why), r == (ssize_t)n ? 0 : r);
		if (r == (ssize_t)n) {
			ck_assert_mem_eq(out, p, n);
			continue;
		}
		ck_assert_msg(r == -EBADMSG || r == -EOPNOTSUPP, "%zd %s", r, why.text);
		ck_assert_ptr_nonnull(strstr(why.text, NAME));
		caught++;
	}
	/* Only the 32 bytes of the head are not needed for reading. */
	ck_assert_uint_ge(caught, ROUNDS - ROUNDS / 60);
	free(was);
	free(out);
	free(p);
	free(dir);
	free(path);
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("store wal");
	TCase *t = tcase_create("wal");

	tcase_add_checked_fixture(t, set_up, tear_down);
	tcase_add_loop_test(t, sizes, 0, 9);
	tcase_add_loop_test(t, inputs, 0, 4);
	tcase_add_test(t, shorter);
	tcase_add_test(t, twice);
	tcase_add_loop_test(t, refused_names, 0, 9);
	tcase_add_test(t, absent);
	tcase_add_test(t, listing);
	tcase_add_test(t, removing);
	tcase_add_test(t, damage);
	suite_add_tcase(s, t);
	return s;
}

CHECK_MAIN(suite)
