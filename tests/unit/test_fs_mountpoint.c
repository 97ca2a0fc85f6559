/* Mount points seen from outside: mountinfo lines, and what is refused as a mount point. */
#include "tests/unit/check_main.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "fs/mountpoint.h"
#include "src/base/io.h"

START_TEST(lines_of_mountinfo_are_read)
{
	/* The examples of proc(5), and one as FUSE makes it, with a space and a backslash in the path. */
	static const struct {
		const char *line, *path, *fstype, *source;
		unsigned dev_major, dev_minor;
	} lines[] = {
		{"36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue", "/mnt2",
			"ext3", "/dev/root", 98, 0},
		{"36 35 0:52 / /a\\040b\\134c ro,nosuid,nodev - fuse.pgstrata /srv/re\\011po ro,user_id=0\n",
			"/a b\\c", "fuse.pgstrata", "/srv/re\tpo", 0, 52},
		{"36 35 0:5 / / rw shared:1 master:2 propagate_from:3 unbindable - tmpfs - rw", "/", "tmpfs",
			"-", 0, 5},
	};

	for (size_t i = 0; i < sizeof(lines) / sizeof(*lines); i++) {
		struct mountpoint m = {0};

		ck_assert_int_eq(mountpoint_parse(lines[i].line, &m, NULL), 0);
		ck_assert_str_eq(m.path, lines[i].path);
		ck_assert_str_eq(m.fstype, lines[i].fstype);
		ck_assert_str_eq(m.source, lines[i].source);
		ck_assert_uint_eq(m.dev_major, lines[i].dev_major);
		ck_assert_uint_eq(m.dev_minor, lines[i].dev_minor);
		mountpoint_release(&m);
	}
}
END_TEST

/* Cut anywhere, a line is refused or read; never read beyond its end (the sanitizers watch). */
START_TEST(cut_lines_do_no_harm)
{
	static const char line[] = "36 35 0:52 / /a\\040b\\134c ro,nosuid - fuse.pgstrata /srv/re\\011po ro";

	for (size_t n = 0; n < sizeof(line); n++) {
		char *cut = strndup(line, n);
		struct mountpoint m = {0};

		ck_assert_ptr_nonnull(cut);
		if (mountpoint_parse(cut, &m, NULL) == 0)
			mountpoint_release(&m);
		free(cut);
	}
}
END_TEST

START_TEST(what_is_mounted_is_found)
{
	struct mountpoint m = {0};

	ck_assert_int_eq(mountpoint_find("/proc", &m, NULL), 0);
	ck_assert_str_eq(m.fstype, "proc");
	mountpoint_release(&m);
	ck_assert_int_eq(mountpoint_find("/proc/self", &m, NULL), -ENOENT);
}
END_TEST

static void refused(const char *path, const char *repo, int code, const char *says)
{
	struct err e = {0};

	ck_assert_int_eq(mountpoint_check(path, repo, &e), code);
	ck_assert_msg(strstr(e.text, says) != NULL, "\"%s\" does not say \"%s\"", e.text, says);
}

START_TEST(bad_mount_points_are_refused)
{
	char *dir = check_tempdir(), *repo = io_join(dir, "repo"), *mnt = io_join(dir, "mnt");
	char *below = io_join(repo, "mnt"), *repo2 = io_join(dir, "repo2"), *file = io_join(dir, "file");
	char *inside;

	ck_assert_int_eq(mkdir(repo, 0700), 0);
	ck_assert_int_eq(mkdir(mnt, 0700), 0);
	ck_assert_int_eq(mkdir(below, 0700), 0);
	ck_assert_int_eq(mkdir(repo2, 0700), 0);
	ck_assert_int_eq(close(open(file, O_CREAT | O_WRONLY, 0600)), 0);
	ck_assert_int_eq(mountpoint_check(mnt, repo, NULL), 0);
	/* A name that only begins like the repository's is another directory. */
	ck_assert_int_eq(mountpoint_check(repo2, repo, NULL), 0);
	refused(repo, repo, -EINVAL, "in the repository");
	refused(below, repo, -EINVAL, "in the repository");
	refused(dir, repo, -EINVAL, "would hide it");
	refused("/", repo, -EBUSY, "already mounted");
	refused(file, repo, -ENOTDIR, "not a directory");
	refused("/proc", repo, -EBUSY, "already mounted");
	refused("/nonexistent", repo, -ENOENT, "/nonexistent");
	ck_assert_int_eq(rmdir(below), 0);
	inside = io_join(mnt, "x");
	ck_assert_int_eq(rename(file, inside), 0);
	refused(mnt, repo, -ENOTEMPTY, "not empty");
	check_rmtree(dir);
	free(dir);
	free(repo);
	free(mnt);
	free(below);
	free(repo2);
	free(file);
	free(inside);
}
END_TEST

START_TEST(only_our_mounts_are_unmounted)
{
	struct err e = {0};

	ck_assert_int_eq(mountpoint_unmount("/proc", &e), -EINVAL);
	ck_assert_ptr_nonnull(strstr(e.text, "not a pgstrata mount"));
	ck_assert_int_eq(mountpoint_unmount("/proc/self", &e), -ENOENT);
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("fs_mountpoint");
	TCase *c = tcase_create("mountpoint");

	tcase_add_test(c, lines_of_mountinfo_are_read);
	tcase_add_test(c, cut_lines_do_no_harm);
	tcase_add_test(c, what_is_mounted_is_found);
	tcase_add_test(c, bad_mount_points_are_refused);
	tcase_add_test(c, only_our_mounts_are_unmounted);
	suite_add_tcase(s, c);
	return s;
}

CHECK_MAIN(suite)
