/* What a branch has to get right in particular: the size limit, files without a name, many threads at once. */
#include "tests/unit/branch_fixture.h"

#include <dirent.h>
#include <pthread.h>

#define MIB (1u << 20)

struct place {
	char *dir, *branch;
};

static struct place place_new(void)
{
	struct place p = {.dir = check_tempdir()};

	p.branch = io_join(p.dir, "branch");
	return p;
}

static void place_free(struct place *p)
{
	check_rmtree(p->dir);
	free(p->dir);
	free(p->branch);
}

static struct branch_open *make_file(struct branch *b, const char *name, uint64_t *ret_number)
{
	const struct branch_make make = {.mode = S_IFREG | 0600};
	struct branch_open *o;
	struct branch_stat st;
	struct err e = {0};

	ck_assert_msg(branch_make(b, BRANCH_ROOT, name, &make, &st, &e) == 0, "%s: %s", name, e.text);
	ck_assert_int_eq(branch_open(b, st.number, &o, &e), 0);
	*ret_number = st.number;
	return o;
}

/* Bytes that the files of blocks take. */
static uint64_t room_taken(const struct place *p)
{
	char *files = io_join(p->branch, "files");
	DIR *d = opendir(files);
	struct dirent *de;
	uint64_t sum = 0;

	ck_assert_ptr_nonnull(d);
	while ((de = readdir(d))) {
		struct stat st;

		if (fstatat(dirfd(d), de->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st.st_mode))
			sum += (uint64_t)st.st_blocks * 512;
	}
	closedir(d);
	free(files);
	return sum;
}

START_TEST(size_limit)
{
	static uint8_t mib[MIB];
	struct place p = place_new();
	struct branch *b = open_branch_max(p.branch, _i == 1, 4 * MIB);
	struct branch_change cut = {.set_size = true, .size = 0}, mode = {.set_mode = true, .mode = 0640};
	const struct branch_make make = {.mode = S_IFREG | 0600};
	uint64_t number, off = 0, used, max;
	struct branch_open *o = make_file(b, "big", &number);
	struct branch_stat st;
	struct err e = {0};
	uint8_t got;
	int r;

	memset(mib, 'x', sizeof(mib));
	while ((r = branch_write(o, off, mib, 8192, &e)) == 0)
		off += 8192;
	ck_assert_int_eq(r, -ENOSPC);
	ck_assert(e.text[0]);
	ck_assert_uint_ge(off, 3 * MIB);
	ck_assert_uint_le(off, 4 * MIB);
	branch_used(b, &used, &max);
	ck_assert_uint_le(used, max);
	ck_assert_uint_eq(max, 4 * MIB);
	ck_assert_int_eq(branch_getattr(b, number, &st, &e), 0);
	ck_assert_uint_eq(st.size, off);
	/* A write that does not fit leaves nothing of itself. */
	ck_assert_int_eq(branch_write(o, 8 * MIB, mib, MIB, &e), -ENOSPC);
	ck_assert_int_eq(branch_getattr(b, number, &st, &e), 0);
	ck_assert_uint_eq(st.size, off);
	/* What needs no room goes on: reading, writing over, zeroes, fsync, names, attributes. */
	ck_assert_int_eq(branch_read(o, off - 1, &got, 1, &e), 1);
	ck_assert_uint_eq(got, 'x');
	ck_assert_int_eq(branch_write(o, 0, mib, MIB, &e), 0);
	memset(mib, 0, sizeof(mib));
	/* Written zeroes take room where fsync reaches the disk, so that what follows them has its place. */
	ck_assert_int_eq(branch_write(o, 100 * MIB, mib, MIB, &e), _i == 1 ? -ENOSPC : 0);
	ck_assert_int_eq(branch_allocate(o, FALLOC_FL_ZERO_RANGE, 100 * MIB, MIB, &e), 0);
	ck_assert_int_eq(branch_fsync(o, &e), 0);
	ck_assert_int_eq(branch_rename(b, BRANCH_ROOT, "f0", BRANCH_ROOT, "f0.old", false, &e), 0);
	ck_assert_int_eq(branch_setattr(b, number, &mode, &st, &e), 0);
	/* Room that is given up can be used. */
	ck_assert_int_eq(branch_setattr(b, number, &cut, &st, &e), 0);
	ck_assert_int_eq(branch_make(b, BRANCH_ROOT, "more", &make, &st, &e), 0);
	memset(mib, 'y', sizeof(mib));
	ck_assert_int_eq(branch_write(o, 0, mib, MIB, &e), 0);
	branch_open_drop(o);
	ck_assert_int_eq(branch_close(b, &e), 0);
	/* The limit may be another one next time, and less than there is. */
	b = open_branch_max(p.branch, _i == 1, MIB / 2);
	ck_assert_int_eq(branch_open(b, number, &o, &e), 0);
	ck_assert_int_eq(branch_write(o, MIB, mib, 8192, &e), -ENOSPC);
	ck_assert_int_eq(branch_read(o, 0, &got, 1, &e), 1);
	ck_assert_uint_eq(got, 'y');
	ck_assert_int_eq(branch_setattr(b, number, &cut, &st, &e), 0);
	ck_assert_int_eq(branch_write(o, 0, mib, 8192, &e), 0);
	branch_open_drop(o);
	ck_assert_int_eq(branch_close(b, &e), 0);
	place_free(&p);
}
END_TEST

/* A file that lost its name is there for who has it; then its room is free, at once or with the next branch_close. */
START_TEST(unlinked_but_open)
{
	static uint8_t mib[MIB];
	bool durable = _i == 1;
	struct place p = place_new();
	struct branch *b = open_branch(p.branch, durable);
	uint64_t number, below = 16 + 2;
	struct branch_open *o = make_file(b, "gone", &number), *lower_file;
	struct branch_stat st;
	struct err e = {0};
	uint8_t got;

	memset(mib, 'x', sizeof(mib));
	ck_assert_int_eq(branch_write(o, 0, mib, MIB, &e), 0);
	ck_assert_int_eq(branch_unlink(b, BRANCH_ROOT, "gone", false, &e), 0);
	ck_assert_int_eq(branch_lookup(b, BRANCH_ROOT, "gone", &st, &e), -ENOENT);
	ck_assert_int_eq(branch_getattr(b, number, &st, &e), 0);
	ck_assert_uint_eq(st.nlink, 0);
	ck_assert_uint_eq(st.size, MIB);
	ck_assert_int_eq(branch_write(o, MIB, mib, MIB, &e), 0);
	ck_assert_int_eq(branch_fsync(o, &e), 0);
	ck_assert_int_eq(branch_read(o, 2 * MIB - 1, &got, 1, &e), 1);
	ck_assert_uint_eq(got, 'x');
	ck_assert_int_eq(branch_link(b, number, BRANCH_ROOT, "again", &st, &e), -ENOENT);
	/* Another file of that name is another file. */
	ck_assert_int_eq(branch_open(b, below, &lower_file, &e), 0);
	ck_assert_int_eq(branch_rename(b, BRANCH_ROOT, "f1", BRANCH_ROOT, "f2", false, &e), 0);
	ck_assert_int_eq(branch_read(lower_file, 20000, &got, 1, &e), 1);
	ck_assert_uint_eq(got, lower_byte(2, 20000));
	ck_assert_int_eq(branch_write(lower_file, 20000, "!", 1, &e), 0);
	ck_assert_int_eq(branch_read(lower_file, 20000, &got, 1, &e), 1);
	ck_assert_uint_eq(got, '!');
	branch_open_drop(lower_file);
	branch_forget(b, below);
	ck_assert_uint_gt(room_taken(&p), 2 * MIB - 1);
	branch_open_drop(o);
	branch_forget(b, number);
	ck_assert_int_eq(branch_getattr(b, number, &st, &e), -ESTALE);
	if (!durable)
		ck_assert_uint_lt(room_taken(&p), 65536);
	ck_assert_int_eq(branch_close(b, &e), 0);
	ck_assert_uint_lt(room_taken(&p), 65536);
	/* A mount that dies forgets nobody: the next one does. */
	b = open_branch(p.branch, durable);
	ck_assert_int_eq(branch_getattr(b, number, &st, &e), -ESTALE);
	ck_assert_int_eq(branch_lookup(b, BRANCH_ROOT, "f2", &st, &e), 0);
	ck_assert_uint_eq(st.number, 16 + 1);
	o = make_file(b, "left", &number);
	ck_assert_int_eq(branch_write(o, 0, mib, MIB, &e), 0);
	branch_open_drop(o);
	ck_assert_int_eq(branch_unlink(b, BRANCH_ROOT, "left", false, &e), 0);
	ck_assert_int_eq(branch_close(b, &e), 0);
	ck_assert_int_eq(branch_close(open_branch(p.branch, durable), &e), 0);
	ck_assert_uint_lt(room_taken(&p), 65536);
	place_free(&p);
}
END_TEST

/* A file that was cut gives its room back also when nobody has it open. */
START_TEST(room_of_what_was_cut)
{
	static uint8_t mib[MIB];
	struct place p = place_new();
	struct branch *b = open_branch(p.branch, _i == 1);
	struct branch_change cut = {.set_size = true, .size = 5000};
	struct branch_stat st;
	struct err e = {0};
	uint64_t number;
	struct branch_open *o = make_file(b, "f", &number);
	char got[4];

	memset(mib, 'x', sizeof(mib));
	ck_assert_int_eq(branch_write(o, 0, mib, MIB, &e), 0);
	branch_open_drop(o);
	ck_assert_int_eq(branch_close(b, &e), 0);
	b = open_branch(p.branch, _i == 1);
	ck_assert_int_eq(branch_setattr(b, number, &cut, &st, &e), 0);
	ck_assert_uint_eq(st.size, 5000);
	ck_assert_int_eq(branch_fsync_dir(b, number, &e), 0);
	ck_assert_uint_lt(room_taken(&p), 65536);
	/* What was behind the end does not come back. */
	cut.size = 5004;
	ck_assert_int_eq(branch_setattr(b, number, &cut, &st, &e), 0);
	ck_assert_int_eq(branch_open(b, number, &o, &e), 0);
	ck_assert_int_eq(branch_read(o, 5000, got, 4, &e), 4);
	ck_assert(!memcmp(got, "\0\0\0\0", 4));
	ck_assert_int_eq(branch_read(o, 4999, got, 1, &e), 1);
	ck_assert_int_eq(got[0], 'x');
	branch_open_drop(o);
	ck_assert_int_eq(branch_close(b, &e), 0);
	place_free(&p);
}
END_TEST

START_TEST(refusals)
{
	struct place p = place_new();
	struct branch *b = open_branch(p.branch, false);
	struct branch_make make = {.mode = S_IFDIR | 0700};
	struct branch_change huge = {.set_size = true, .size = BRANCH_SIZE_MAX + 1};
	struct branch_stat st, dir;
	struct branch_open *o;
	struct err e = {0};
	char name[300];

	memset(name, 'n', sizeof(name));
	name[256] = '\0';
	ck_assert_int_eq(branch_make(b, BRANCH_ROOT, "d", &make, &dir, &e), 0);
	ck_assert_int_eq(branch_make(b, BRANCH_ROOT, "f0", &make, &st, &e), -EEXIST);
	ck_assert_int_eq(branch_make(b, BRANCH_ROOT, name, &make, &st, &e), -ENAMETOOLONG);
	ck_assert_int_eq(branch_rename(b, BRANCH_ROOT, "d", BRANCH_ROOT, name, false, &e), -ENAMETOOLONG);
	name[255] = '\0';
	ck_assert_int_eq(branch_make(b, dir.number, name, &make, &st, &e), 0);
	make.mode = S_IFBLK | 0600;
	ck_assert_int_eq(branch_make(b, BRANCH_ROOT, "dev", &make, &st, &e), -EPERM);
	ck_assert_int_eq(branch_unlink(b, BRANCH_ROOT, "d", true, &e), -ENOTEMPTY);
	ck_assert_int_eq(branch_unlink(b, BRANCH_ROOT, "d", false, &e), -EISDIR);
	ck_assert_int_eq(branch_unlink(b, BRANCH_ROOT, "f0", true, &e), -ENOTDIR);
	ck_assert_int_eq(branch_unlink(b, BRANCH_ROOT, "none", false, &e), -ENOENT);
	ck_assert_int_eq(branch_rename(b, BRANCH_ROOT, "f0", BRANCH_ROOT, "d", false, &e), -EISDIR);
	ck_assert_int_eq(branch_rename(b, BRANCH_ROOT, "d", BRANCH_ROOT, "f0", false, &e), -ENOTDIR);
	ck_assert_int_eq(branch_rename(b, BRANCH_ROOT, "f0", BRANCH_ROOT, "f1", true, &e), -EEXIST);
	ck_assert_int_eq(branch_link(b, dir.number, BRANCH_ROOT, "d2", &st, &e), -EPERM);
	ck_assert_int_eq(branch_open(b, dir.number, &o, &e), -EISDIR);
	ck_assert_int_eq(branch_setattr(b, 16, &huge, &st, &e), -EFBIG);
	ck_assert_int_eq(branch_open(b, 16, &o, &e), 0);
	ck_assert_int_eq(branch_write(o, BRANCH_SIZE_MAX, "x", 1, &e), -EFBIG);
	ck_assert_int_eq(branch_allocate(o, FALLOC_FL_COLLAPSE_RANGE, 0, 8192, &e), -EOPNOTSUPP);
	branch_open_drop(o);
	/* Nobody makes something in a directory that went while he was in it. */
	ck_assert_int_eq(branch_unlink(b, dir.number, name, true, &e), 0);
	ck_assert_int_eq(branch_unlink(b, BRANCH_ROOT, "d", true, &e), 0);
	make.mode = S_IFREG | 0600;
	ck_assert_int_eq(branch_make(b, dir.number, "late", &make, &st, &e), -ENOENT);
	ck_assert_int_eq(branch_rename(b, BRANCH_ROOT, "f0", dir.number, "late", false, &e), -ENOENT);
	branch_forget(b, dir.number);
	ck_assert_int_eq(branch_close(b, &e), 0);
	/* No refusal left a record that cannot be read. */
	b = open_branch(p.branch, false);
	ck_assert_int_eq(branch_lookup(b, BRANCH_ROOT, "f0", &st, &e), 0);
	ck_assert_uint_eq(st.size, LOWER_SIZE(0));
	ck_assert_int_eq(branch_close(b, &e), 0);
	place_free(&p);
}
END_TEST

/* ---- many at once ---- */

#define THREADS 6
#define ROUNDS (400 / PART(4, 8))
#define OWN 16384u

struct worker {
	struct branch *b;
	struct branch_open *shared;
	unsigned i;
};

/* Each writes its own part of one file, reads all parts (in each, all bytes of a block are from one write), and has files of
 * its own that come and go. */
static void *work(void *arg)
{
	struct worker *w = arg;
	uint64_t rand = check_seed() + w->i, own;
	uint8_t p[OWN], got[OWN];
	char name[16];
	struct err e = {0};

	for (unsigned i = 0; i < ROUNDS; i++) {
		const struct branch_change cut = {.set_size = true, .size = check_rand_below(&rand, 30000)};
		unsigned other = (unsigned)check_rand_below(&rand, THREADS);
		struct branch_open *o;
		struct branch_stat st;

		memset(p, (int)(1 + i % 250), sizeof(p));
		ck_assert_int_eq(branch_write(w->shared, w->i * OWN, p, OWN, &e), 0);
		ck_assert_int_eq(branch_read(w->shared, w->i * OWN, got, OWN, &e), OWN);
		ck_assert(!memcmp(p, got, OWN));
		ck_assert_int_ge(branch_read(w->shared, other * OWN, got, BRANCH_BLOCK, &e), 0);
		for (unsigned k = 1; k < BRANCH_BLOCK; k++)
			if (got[k] != got[0])
				ck_abort_msg("half of a write");
		if (i % 16 == 0)
			ck_assert_int_eq(branch_fsync(w->shared, &e), 0);
		snprintf(name, sizeof(name), "own%u", w->i);
		o = make_file(w->b, name, &own);
		ck_assert_int_eq(branch_write(o, check_rand_below(&rand, 20000), p, 9000, &e), 0);
		ck_assert_int_eq(branch_setattr(w->b, own, &cut, &st, &e), 0);
		if (i % 8 == 0)
			ck_assert_int_eq(branch_fdatasync(o, &e), 0);
		ck_assert_int_eq(branch_unlink(w->b, BRANCH_ROOT, name, false, &e), 0);
		branch_open_drop(o);
		branch_forget(w->b, own);
		ck_assert_int_eq(branch_getattr(w->b, 16, &st, &e), 0);
		ck_assert_int_eq(branch_list(w->b, BRANCH_ROOT, 0, count_entry, &other, &e), 0);
	}
	return NULL;
}

START_TEST(many_at_once)
{
	struct place p = place_new();
	bool durable = _i == 1;
	struct branch *b = open_branch(p.branch, durable);
	struct worker w[THREADS];
	pthread_t t[THREADS];
	struct branch_stat st;
	uint64_t number;
	struct branch_open *o = make_file(b, "shared", &number);
	static uint8_t zero[THREADS * OWN];
	struct err e = {0};

	ck_assert_int_eq(branch_write(o, 0, zero, sizeof(zero), &e), 0);
	for (unsigned i = 0; i < THREADS; i++) {
		w[i] = (struct worker){b, o, i};
		ck_assert_int_eq(pthread_create(&t[i], NULL, work, &w[i]), 0);
	}
	/* Attributes of the same file, meanwhile. */
	for (unsigned i = 0; i < ROUNDS; i++) {
		const struct branch_change c = {.set_mode = true, .mode = 0600 | (i & 077)};

		ck_assert_int_eq(branch_setattr(b, number, &c, &st, &e), 0);
		ck_assert_uint_eq(st.size, sizeof(zero));
	}
	for (unsigned i = 0; i < THREADS; i++)
		pthread_join(t[i], NULL);
	branch_open_drop(o);
	ck_assert_int_eq(branch_close(b, &e), 0);
	b = open_branch(p.branch, durable);
	ck_assert_int_eq(branch_lookup(b, BRANCH_ROOT, "shared", &st, &e), 0);
	ck_assert_uint_eq(st.size, sizeof(zero));
	ck_assert_int_eq(branch_open(b, st.number, &o, &e), 0);
	ck_assert_int_eq(branch_read(o, 0, zero, sizeof(zero), &e), sizeof(zero));
	for (unsigned i = 0; i < sizeof(zero); i++)
		if (zero[i] != 1 + (ROUNDS - 1) % 250)
			ck_abort_msg("byte %u", i);
	branch_open_drop(o);
	ck_assert_int_eq(branch_close(b, &e), 0);
	place_free(&p);
}
END_TEST

/* What of n bytes at off comes from below, after a read, which opens that. */
static struct branch_share share_of(struct branch_open *o, uint64_t off, uint64_t n)
{
	struct branch_share share;
	struct err e = {0};
	uint8_t byte;

	ck_assert_int_ge(branch_read(o, off, &byte, 1, &e), 0);
	ck_assert_ptr_nonnull(branch_open_below(o, off, n, &share));
	return share;
}

#define SHARE(o, off, count, below_, n_, some_, all_)                                                        \
	do {                                                                                                 \
		struct branch_share got_ = share_of(o, off, count);                                          \
		ck_assert_uint_eq(got_.below, below_);                                                       \
		ck_assert_uint_eq(got_.n, n_);                                                               \
		ck_assert_msg(                                                                               \
			got_.some == (some_) && got_.all == (all_), "some %d, all %d", got_.some, got_.all); \
	} while (0)

START_TEST(what_comes_from_below)
{
	const uint64_t whole = LOWER_SIZE(3), block = BRANCH_BLOCK;
	struct branch_change size = {.set_size = true, .size = whole + 3 * block};
	struct place p = place_new();
	struct branch *b = open_branch(p.branch, _i == 1);
	struct branch_share share;
	struct branch_open *o, *fresh;
	struct branch_stat st;
	struct err e = {0};
	uint64_t number;

	ck_assert_int_eq(open_file(b, 3, &o, &e), 0);
	ck_assert_ptr_null(branch_open_below(o, 0, 1, &share));
	SHARE(o, 0, 100 * block, whole, whole, true, true);
	SHARE(o, whole - 5, block, whole, 5, true, true);
	SHARE(o, whole, block, whole, 0, false, false);
	ck_assert_int_eq(branch_write(o, 2 * block + 5, "x", 1, &e), 0);
	SHARE(o, block, block, whole, block, true, true);
	SHARE(o, 2 * block, block, whole, block, false, false);
	SHARE(o, 2 * block - 1, 2, whole, 2, true, false);
	SHARE(o, 3 * block - 1, 2, whole, 2, true, false);
	/* Behind what is below there are zeroes, which are not in it. */
	ck_assert_int_eq(branch_lookup(b, BRANCH_ROOT, "f3", &st, &e), 0);
	ck_assert_int_eq(branch_setattr(b, st.number, &size, &st, &e), 0);
	SHARE(o, whole - 5, 100, whole, 100, true, false);
	SHARE(o, whole + block, 100, whole, 100, false, false);
	size.size = 3 * block + 7;
	ck_assert_int_eq(branch_setattr(b, st.number, &size, &st, &e), 0);
	size.size = whole;
	ck_assert_int_eq(branch_setattr(b, st.number, &size, &st, &e), 0);
	SHARE(o, 3 * block, 7, 3 * block + 7, 7, true, true);
	SHARE(o, 3 * block, 8, 3 * block + 7, 8, true, false);
	branch_open_drop(o);
	fresh = make_file(b, "new", &number);
	ck_assert_int_eq(branch_write(fresh, 0, "x", 1, &e), 0);
	ck_assert_ptr_null(branch_open_below(fresh, 0, 1, &share));
	ck_assert(!share.some && !share.all && share.n == 1);
	branch_open_drop(fresh);
	ck_assert_int_eq(branch_close(b, &e), 0);
	place_free(&p);
}
END_TEST

/* What it takes, and what it is called wherever it went. */
START_TEST(blocks_and_paths)
{
	const struct branch_make dir = {.mode = S_IFDIR | 0700};
	struct branch_change cut = {.set_size = true, .size = 3 * BRANCH_BLOCK + 1};
	struct place p = place_new();
	struct branch *b = open_branch(p.branch, _i == 1);
	struct branch_stat st, sub;
	struct branch_open *o;
	struct err e = {0};
	char *path;

	ck_assert_int_eq(open_file(b, 2, &o, &e), 0);
	ck_assert_int_eq(branch_lookup(b, BRANCH_ROOT, "f2", &st, &e), 0);
	ck_assert_uint_eq(st.blocks, 0);
	ck_assert_int_eq(branch_write(o, BRANCH_BLOCK - 1, "ab", 2, &e), 0);
	ck_assert_int_eq(branch_write(o, 4 * BRANCH_BLOCK, "c", 1, &e), 0);
	ck_assert_int_eq(branch_getattr(b, st.number, &st, &e), 0);
	ck_assert_uint_eq(st.blocks, 3);
	ck_assert_int_eq(branch_setattr(b, st.number, &cut, &st, &e), 0);
	ck_assert_uint_eq(st.blocks, 2);
	branch_open_drop(o);
	path = branch_path_of(b, st.number);
	ck_assert_str_eq(path, "f2");
	free(path);
	ck_assert_int_eq(branch_make(b, BRANCH_ROOT, "d", &dir, &sub, &e), 0);
	ck_assert_int_eq(branch_make(b, sub.number, "e", &dir, &sub, &e), 0);
	ck_assert_int_eq(branch_rename(b, BRANCH_ROOT, "f2", sub.number, "g", false, &e), 0);
	ck_assert_int_eq(branch_close(b, &e), 0);
	b = open_branch(p.branch, _i == 1);
	ck_assert_int_eq(branch_getattr(b, st.number, &st, &e), 0);
	ck_assert_uint_eq(st.blocks, 2);
	path = branch_path_of(b, st.number);
	ck_assert_str_eq(path, "d/e/g");
	free(path);
	ck_assert_int_eq(branch_unlink(b, sub.number, "g", false, &e), 0);
	ck_assert_ptr_null(branch_path_of(b, st.number));
	branch_forget(b, st.number);
	ck_assert_ptr_null(branch_path_of(b, st.number));
	ck_assert_int_eq(branch_close(b, &e), 0);
	place_free(&p);
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("fs_branch_cases");
	TCase *c = tcase_create("cases");

	tcase_add_loop_test(c, size_limit, 0, 2);
	tcase_add_loop_test(c, unlinked_but_open, 0, 2);
	tcase_add_loop_test(c, room_of_what_was_cut, 0, 2);
	tcase_add_loop_test(c, what_comes_from_below, 0, 2);
	tcase_add_loop_test(c, blocks_and_paths, 0, 2);
	tcase_add_test(c, refusals);
	tcase_add_loop_test(c, many_at_once, 0, 2);
	suite_add_tcase(s, c);
	return s;
}

CHECK_MAIN(suite)
