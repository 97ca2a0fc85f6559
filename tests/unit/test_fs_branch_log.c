/* The journal of a branch: torn at every byte it gives the records before, damaged where it was synced it says so, and what
 * it says many times is written anew. */
#include "tests/unit/branch_fixture.h"

#include "fs/branch_log.h"

#define RECORDS 40

struct log_place {
	char *dir, *path;
};

static struct log_place place_new(void)
{
	struct log_place p = {.dir = check_tempdir()};

	p.path = io_join(p.dir, "log");
	return p;
}

static void place_free(struct log_place *p)
{
	check_rmtree(p->dir);
	free(p->dir);
	free(p->path);
}

/* Record number i: its length, and every byte of it. */
static size_t record_len(unsigned i)
{
	return 1 + i * 7 % 90;
}

struct heard {
	unsigned n;
};

static int hear(void *arg, const uint8_t *p, size_t n, struct err *e)
{
	struct heard *h = arg;

	(void)e;
	/* Check's own assertions cost a write each. */
	if (n != record_len(h->n))
		ck_abort_msg("record %u has %zu bytes", h->n, n);
	for (size_t i = 0; i < n; i++)
		if (p[i] != (uint8_t)(h->n + i))
			ck_abort_msg("record %u, byte %zu", h->n, i);
	h->n++;
	return 0;
}

/* Appends records from..to-1; ends[i] is where record i ends. */
static void append(struct branch_log *l, unsigned from, unsigned to, uint64_t *ends)
{
	for (unsigned i = from; i < to; i++) {
		uint8_t p[128];

		for (size_t k = 0; k < record_len(i); k++)
			p[k] = (uint8_t)(i + k);
		ck_assert_int_eq(branch_log_append(l, p, record_len(i), &ends[i], NULL), 0);
	}
}

static struct branch_log *open_log(const char *path, bool durable, unsigned *ret_n)
{
	struct branch_log *l = NULL;
	struct heard h = {0};
	struct err e = {0};
	int r = branch_log_open(path, durable, hear, &h, &l, &e);

	ck_assert_msg(r == 0, "%s", e.text);
	*ret_n = h.n;
	return l;
}

/* Its bytes, in memory of exactly that size. */
static uint8_t *bytes_of(const char *path, size_t *ret_n)
{
	void *p = NULL;
	uint8_t *exact;

	ck_assert_int_eq(io_read_file(path, 1 << 20, &p, ret_n, NULL), 0);
	exact = check_exact(p, *ret_n);
	free(p);
	return exact;
}

static unsigned whole_records(const uint64_t *ends, size_t n)
{
	unsigned whole = 0;

	while (whole < RECORDS && ends[whole] <= n)
		whole++;
	return whole;
}

START_TEST(torn_at_every_byte)
{
	struct log_place p = place_new();
	uint64_t ends[RECORDS];
	struct branch_log *l;
	unsigned had;
	size_t n;
	uint8_t *all;

	l = open_log(p.path, _i == 1, &had);
	append(l, 0, RECORDS, ends);
	branch_log_free(l);
	all = bytes_of(p.path, &n);
	ck_assert_uint_eq(n, ends[RECORDS - 1]);
	for (size_t cut = 0; cut <= n; cut++) {
		uint8_t *part = check_exact(all, cut);
		struct heard h = {0};
		size_t end = 1;

		ck_assert_int_eq(branch_log_scan(part, cut, hear, &h, &end, NULL), 0);
		ck_assert_uint_eq(h.n, whole_records(ends, cut));
		ck_assert_uint_eq(end, h.n ? ends[h.n - 1] : cut < BRANCH_LOG_HEADER ? 0 : BRANCH_LOG_HEADER);
		free(part);
	}
	fprintf(stderr, "branch log: torn at %zu places\n", n + 1);
	/* It goes on from there. */
	ck_assert_int_eq(truncate(p.path, (off_t)ends[20] - 1), 0);
	l = open_log(p.path, _i == 1, &had);
	ck_assert_uint_eq(had, 20);
	append(l, 20, RECORDS, ends);
	branch_log_free(l);
	l = open_log(p.path, _i == 1, &had);
	ck_assert_uint_eq(had, RECORDS);
	branch_log_free(l);
	free(all);
	place_free(&p);
}
END_TEST

/* Half of it was synced, and the record after that says so. A bit that flips before is damage; one that flips behind ends the
 * log, like a power loss. */
START_TEST(every_bit_flipped)
{
	struct log_place p = place_new();
	uint64_t ends[RECORDS];
	struct branch_log *l;
	unsigned had, half = RECORDS / 2, flips = 0;
	size_t n;
	uint8_t *all;

	l = open_log(p.path, true, &had);
	append(l, 0, half, ends);
	ck_assert_int_eq(branch_log_sync(l, ends[half - 1], NULL), 0);
	ck_assert_uint_eq(branch_log_synced(l), ends[half - 1]);
	append(l, half, RECORDS, ends);
	branch_log_free(l);
	all = bytes_of(p.path, &n);
	for (size_t bit = 0; bit < n * 8; bit += PART(7, 30)) {
		struct heard h = {0};
		struct err e = {0};
		size_t end = 0, at = bit / 8;
		int r;

		all[at] ^= (uint8_t)(1 << bit % 8);
		r = branch_log_scan(all, n, hear, &h, &end, &e);
		if (at >= 12 && at < BRANCH_LOG_HEADER)
			ck_assert_int_eq(r, 0); /* not used yet */
		else if (at >= 8 && at < 12)
			ck_assert_int_eq(r, -EOPNOTSUPP);
		else if (at < ends[half - 1])
			ck_assert_int_eq(r, -EBADMSG);
		else
			ck_assert_int_eq(r, 0);
		if (r < 0)
			ck_assert(e.text[0]);
		else if (at >= BRANCH_LOG_HEADER)
			ck_assert_uint_eq(end, ends[whole_records(ends, at) - 1]);
		all[at] ^= (uint8_t)(1 << bit % 8);
		flips++;
	}
	fprintf(stderr, "branch log: %u bits flipped\n", flips);
	free(all);
	place_free(&p);
}
END_TEST

/* The file has its length, and none of its bytes. */
START_TEST(power_lost_when_new)
{
	struct log_place p = place_new();
	uint64_t ends[RECORDS];
	struct branch_log *l;
	unsigned had;
	int fd = open(p.path, O_RDWR | O_CREAT, 0600);

	ck_assert(fd >= 0 && ftruncate(fd, 700) == 0);
	close(fd);
	l = open_log(p.path, true, &had);
	ck_assert_uint_eq(had, 0);
	append(l, 0, 2, ends);
	branch_log_free(l);
	l = open_log(p.path, true, &had);
	ck_assert_uint_eq(had, 2);
	branch_log_free(l);
	place_free(&p);
}
END_TEST

static off_t size_of(const char *path)
{
	struct stat st = {0};

	ck_assert_int_eq(stat(path, &st), 0);
	return st.st_size;
}

/* A file of blocks whose branch was told to forget it comes from nowhere. */
START_TEST(made_anew_when_opened)
{
	bool durable = _i == 1;
	struct log_place p = place_new();
	char *branch = io_join(p.dir, "branch"), *log = io_join(branch, "log"),
	     *stray = io_join(branch, "files/1099511999999"), *other = io_join(branch, "files/README");
	struct branch_stat st, dir;
	struct branch_change c = {.set_mode = true};
	struct branch_make make = {.mode = S_IFDIR | 0700};
	struct branch *b = open_branch(branch, durable);
	struct branch_open *o;
	struct err e;
	off_t was;
	char got[3];

	ck_assert_int_eq(branch_make(b, BRANCH_ROOT, "d", &make, &dir, &e), 0);
	make = (struct branch_make){.mode = S_IFLNK | 0777, .target = "over there"};
	ck_assert_int_eq(branch_make(b, dir.number, "link", &make, &st, &e), 0);
	ck_assert_int_eq(branch_unlink(b, BRANCH_ROOT, "f3", false, &e), 0);
	ck_assert_int_eq(branch_lookup(b, BRANCH_ROOT, "f1", &st, &e), 0);
	ck_assert_int_eq(branch_open(b, st.number, &o, &e), 0);
	ck_assert_int_eq(branch_write(o, 100000, "end", 3, &e), 0);
	branch_open_drop(o);
	for (unsigned i = 0; i < 30000; i++) {
		c.mode = 0600 | (i & 077);
		if (branch_setattr(b, st.number, &c, &st, &e) < 0)
			ck_abort_msg("%s", e.text);
	}
	ck_assert_int_eq(branch_close(b, &e), 0);
	was = size_of(log);
	ck_assert_int_gt(was, 1 << 20);
	ck_assert_int_eq(io_create_file(branch, "log.new", "torn", 4, 0600, &e), 0);
	close(open(stray, O_CREAT | O_WRONLY, 0600));
	close(open(other, O_CREAT | O_WRONLY, 0600));
	for (unsigned i = 0; i < 2; i++) {
		char *target;

		b = open_branch(branch, durable);
		ck_assert_int_lt(size_of(log), 4096);
		ck_assert_int_ne(access(stray, F_OK), 0);
		ck_assert_int_eq(access(other, F_OK), 0);
		ck_assert_int_eq(branch_lookup(b, BRANCH_ROOT, "f3", &st, &e), -ENOENT);
		ck_assert_int_eq(branch_lookup(b, BRANCH_ROOT, "f1", &st, &e), 0);
		ck_assert_uint_eq(st.mode, S_IFREG | 0600 | (29999 & 077));
		ck_assert_uint_eq(st.size, 100003);
		ck_assert_int_eq(branch_open(b, st.number, &o, &e), 0);
		ck_assert_int_eq(branch_read(o, 100000, got, 3, &e), 3);
		ck_assert(!memcmp(got, "end", 3));
		branch_open_drop(o);
		ck_assert_int_eq(branch_lookup(b, dir.number, "link", &st, &e), 0);
		ck_assert_int_eq(branch_target(b, st.number, &target, &e), 0);
		ck_assert_str_eq(target, "over there");
		free(target);
		ck_assert_int_eq(branch_close(b, &e), 0);
	}
	free(branch);
	free(log);
	free(stray);
	free(other);
	place_free(&p);
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("fs_branch_log");
	TCase *c = tcase_create("log");

	tcase_add_loop_test(c, torn_at_every_byte, 0, 2);
	tcase_add_test(c, every_bit_flipped);
	tcase_add_test(c, power_lost_when_new);
	tcase_add_loop_test(c, made_anew_when_opened, 0, 2);
	suite_add_tcase(s, c);
	return s;
}

CHECK_MAIN(suite)
