/* Whole reads and writes, and files that appear in one step or not at all. */
#include "tests/unit/check_main.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "src/base/clean.h"
#include "src/base/io.h"

static char *dir;

static void set_up(void)
{
	dir = check_tempdir();
}

static void tear_down(void)
{
	check_rmtree(dir);
	free(dir);
}

static unsigned count_entries(void)
{
	DIR *d = opendir(dir);
	unsigned n = 0;

	ck_assert_ptr_nonnull(d);
	while (readdir(d))
		n++;
	closedir(d);
	return n - 2;
}

static void check_content(const char *name, const char *want)
{
	_cleanup_(freep) char *path = io_join(dir, name);
	_cleanup_(freep) void *p = NULL;
	struct err e = {0};
	size_t n;

	ck_assert_msg(io_read_file(path, 1000, &p, &n, &e) == 0, "%s", e.text);
	ck_assert_uint_eq(n, strlen(want));
	ck_assert_str_eq(p, want);
}

START_TEST(a_file_appears_when_it_is_linked)
{
	struct newfile f = NEWFILE_NONE;
	struct stat st;
	_cleanup_(freep) char *path = io_join(dir, "a");

	ck_assert_int_eq(newfile_open(dir, 0600, &f, NULL), 0);
	ck_assert_int_eq(newfile_write(&f, "hello ", 6, NULL), 0);
	ck_assert_int_eq(newfile_write(&f, "you", 3, NULL), 0);
	ck_assert_int_eq(newfile_sync(&f, NULL), 0);
	ck_assert_int_eq(access(path, F_OK), -1);
	ck_assert_int_eq(newfile_link(&f, "a", NULL), 0);
	check_content("a", "hello you");
	newfile_close(&f);
	ck_assert_int_eq(f.fd, -1);
	newfile_close(&f);
	ck_assert_uint_eq(count_entries(), 1);
	ck_assert_int_eq(stat(path, &st), 0);
	ck_assert_uint_eq(st.st_mode & 0777, 0600);
	ck_assert_int_eq(io_sync_dir(dir, NULL), 0);
}
END_TEST

START_TEST(a_taken_name_is_not_overwritten)
{
	struct newfile f = NEWFILE_NONE;
	struct err e = {0};

	ck_assert_int_eq(io_create_file(dir, "a", "old", 3, 0644, NULL), 0);
	ck_assert_int_eq(io_create_file(dir, "a", "new", 3, 0644, &e), -EEXIST);
	ck_assert_int_eq(e.code, -EEXIST);
	ck_assert_msg(strstr(e.text, "/a"), "%s", e.text);
	check_content("a", "old");

	/* The file that lost can still have another name. */
	ck_assert_int_eq(newfile_open(dir, 0644, &f, NULL), 0);
	ck_assert_int_eq(newfile_write(&f, "new", 3, NULL), 0);
	ck_assert_int_eq(newfile_link(&f, "a", NULL), -EEXIST);
	ck_assert_int_eq(newfile_link(&f, "b", NULL), 0);
	newfile_close(&f);
	check_content("a", "old");
	check_content("b", "new");
	ck_assert_uint_eq(count_entries(), 2);
}
END_TEST

START_TEST(a_name_is_replaced_in_one_step)
{
	_cleanup_(freep) char *path = io_join(dir, "a");
	_cleanup_(closep) int fd = -1;
	char was[4] = "";

	ck_assert_int_eq(io_replace_file(dir, "a", "old", 3, 0644, NULL), 0);
	fd = open(path, O_RDONLY);
	ck_assert_int_eq(io_replace_file(dir, "a", "newer", 5, 0644, NULL), 0);
	check_content("a", "newer");
	ck_assert_int_eq(io_read(fd, was, 4), 3);
	ck_assert_str_eq(was, "old");
	ck_assert_uint_eq(count_entries(), 1);
}
END_TEST

START_TEST(what_is_not_published_leaves_nothing)
{
	struct newfile f = NEWFILE_NONE;

	ck_assert_int_eq(newfile_open(dir, 0644, &f, NULL), 0);
	ck_assert_int_eq(newfile_write(&f, "x", 1, NULL), 0);
	newfile_close(&f);
	ck_assert_uint_eq(count_entries(), 0);
	ck_assert_int_eq(newfile_open(dir, 0644, &f, NULL), 0);
	ck_assert_int_eq(newfile_rename(&f, "no/such/dir", NULL), -ENOENT);
	newfile_close(&f);
	ck_assert_uint_eq(count_entries(), 0);
	newfile_close(&NEWFILE_NONE);
}
END_TEST

START_TEST(no_directory_no_file)
{
	_cleanup_(freep) char *gone = io_join(dir, "gone");
	struct newfile f = NEWFILE_NONE;
	struct err e = {0};

	ck_assert_int_eq(newfile_open(gone, 0644, &f, &e), -ENOENT);
	ck_assert_msg(strstr(e.text, gone), "%s", e.text);
	ck_assert_int_eq(f.fd, -1);
	ck_assert_int_eq(io_create_file(gone, "a", "x", 1, 0644, NULL), -ENOENT);
	ck_assert_int_eq(io_sync_dir(gone, NULL), -ENOENT);
}
END_TEST

START_TEST(read_file_within_its_bound)
{
	_cleanup_(freep) char *path = io_join(dir, "a");
	static char big[70000];
	static const size_t sizes[] = {0, 1, 4095, 4096, 4097, 8191, 8192, 8193, 65536, 70000};

	memset(big, 'x', sizeof(big));
	for (size_t k = 0; k < sizeof(sizes) / sizeof(*sizes); k++) {
		_cleanup_(freep) void *p = NULL;
		struct err e = {0};
		size_t n = 77;

		ck_assert_int_eq(io_replace_file(dir, "a", big, sizes[k], 0644, NULL), 0);
		ck_assert_msg(io_read_file(path, sizes[k], &p, &n, &e) == 0, "%s", e.text);
		ck_assert_uint_eq(n, sizes[k]);
		ck_assert_mem_eq(p, big, n);
		ck_assert_int_eq(((char *)p)[n], 0);
		if (sizes[k]) {
			void *q = NULL;

			ck_assert_int_eq(io_read_file(path, sizes[k] - 1, &q, &n, &e), -EFBIG);
			ck_assert_ptr_null(q);
		}
	}
	ck_assert_int_eq(io_read_file(dir, 10, &(void *){NULL}, &(size_t){0}, NULL), -EISDIR);
}
END_TEST

START_TEST(reads_and_writes_at_offsets)
{
	_cleanup_(freep) char *path = io_join(dir, "a");
	_cleanup_(closep) int fd = open(path, O_RDWR | O_CREAT, 0600);
	char b[16] = "";

	ck_assert_int_eq(io_pwrite(fd, "world", 5, 6), 0);
	ck_assert_int_eq(io_pwrite(fd, "hello ", 6, 0), 0);
	ck_assert_int_eq(io_pread(fd, b, sizeof(b), 0), 11);
	ck_assert_str_eq(b, "hello world");
	ck_assert_int_eq(io_pread(fd, b, 5, 6), 5);
	ck_assert_int_eq(io_pread(fd, b, 5, 11), 0);
	ck_assert_int_eq(io_pread(fd, b, 5, 1000), 0);
	ck_assert_int_eq(io_pread(-1, b, 5, 0), -EBADF);
	ck_assert_int_eq(io_read(-1, b, 5), -EBADF);
	ck_assert_int_eq(io_write(-1, b, 5), -EBADF);
	ck_assert_int_eq(io_pwrite(-1, b, 5, 0), -EBADF);
	ck_assert_int_eq(io_write(fd, b, 0), 0);
	close(fd);
	fd = open("/dev/full", O_WRONLY);
	ck_assert_int_eq(io_write(fd, b, 5), -ENOSPC);
}
END_TEST

START_TEST(a_pipe_is_read_until_its_end)
{
	int ends[2];
	char b[10];

	ck_assert_int_eq(pipe(ends), 0);
	if (!fork()) {
		close(ends[0]);
		for (int k = 0; k < 5; k++) {
			io_write(ends[1], "x", 1);
			usleep(1000);
		}
		_exit(0);
	}
	close(ends[1]);
	ck_assert_int_eq(io_read(ends[0], b, sizeof(b)), 5);
	close(ends[0]);
}
END_TEST

START_TEST(directories_with_their_parents)
{
	_cleanup_(freep) char *deep = io_join(dir, "a/b/c");
	_cleanup_(freep) char *slashes = io_join(dir, "a//b/d///");
	_cleanup_(freep) char *file = io_join(dir, "f");
	_cleanup_(freep) char *below = io_join(dir, "f/g");
	struct stat st;

	ck_assert_int_eq(io_mkdirs(deep, 0700, NULL), 0);
	ck_assert_int_eq(stat(deep, &st), 0);
	ck_assert(S_ISDIR(st.st_mode));
	ck_assert_int_eq(io_mkdirs(deep, 0700, NULL), 0);
	ck_assert_int_eq(io_mkdirs(slashes, 0700, NULL), 0);
	ck_assert_int_eq(stat(slashes, &st), 0);
	ck_assert_int_eq(io_mkdirs("/", 0700, NULL), 0);
	ck_assert_int_eq(io_create_file(dir, "f", "", 0, 0600, NULL), 0);
	ck_assert_int_eq(io_mkdirs(file, 0700, NULL), -ENOTDIR);
	ck_assert_int_eq(io_mkdirs(below, 0700, NULL), -ENOTDIR);
	ck_assert_int_eq(chdir(dir), 0);
	ck_assert_int_eq(io_mkdirs("rel", 0700, NULL), 0);
	ck_assert_int_eq(io_mkdirs("rel/x/y", 0700, NULL), 0);
	ck_assert_int_eq(stat("rel/x/y", &st), 0);
}
END_TEST

START_TEST(only_one_of_many_gets_the_name)
{
	int winners = 0;

	for (int k = 0; k < 8; k++) {
		if (!fork()) {
			char text[2] = {(char)('0' + k), 0};
			int r = io_create_file(dir, "a", text, 1, 0644, NULL);

			_exit(r == 0 ? 0 : r == -EEXIST ? 1 : 2);
		}
	}
	for (int k = 0; k < 8; k++) {
		int status;

		wait(&status);
		ck_assert(WIFEXITED(status) && WEXITSTATUS(status) < 2);
		winners += WEXITSTATUS(status) == 0;
	}
	ck_assert_int_eq(winners, 1);
	ck_assert_uint_eq(count_entries(), 1);
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("base_io");
	TCase *t = tcase_create("base_io");

	tcase_add_checked_fixture(t, set_up, tear_down);
	tcase_add_test(t, a_file_appears_when_it_is_linked);
	tcase_add_test(t, a_taken_name_is_not_overwritten);
	tcase_add_test(t, a_name_is_replaced_in_one_step);
	tcase_add_test(t, what_is_not_published_leaves_nothing);
	tcase_add_test(t, no_directory_no_file);
	tcase_add_test(t, read_file_within_its_bound);
	tcase_add_test(t, reads_and_writes_at_offsets);
	tcase_add_test(t, a_pipe_is_read_until_its_end);
	tcase_add_test(t, directories_with_their_parents);
	tcase_add_test(t, only_one_of_many_gets_the_name);
	suite_add_tcase(s, t);
	return s;
}

CHECK_MAIN(suite)
