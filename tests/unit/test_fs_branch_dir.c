/* Branches on disk: made, found, locked, removed, also in bad company. */
#include "tests/unit/check_main.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "fs/branch_dir.h"
#include "src/base/io.h"

static char *base, *dir;

static void setup(void)
{
	base = check_tempdir();
	ck_assert_int_eq(branch_scratch(base, "0123456789abcdef0123456789abcdef", &dir, NULL), 0);
}

static void teardown(void)
{
	check_rmtree(base);
	free(dir);
	free(base);
}

static struct branch_spec spec(const char *name)
{
	return (struct branch_spec){.name = (char *)name,
		.cluster = "main",
		.backup = "2026-11-20T02-15-07Z",
		.target = "2026-11-20 14:14:59+00",
		.max_bytes = UINT64_C(1) << 40,
		.durable = true,
		.created = {1800000000, 0}};
}

static void make(const char *name)
{
	struct branch_spec s = spec(name);
	struct err e = {0};

	ck_assert_msg(branch_create(dir, &s, &e) == 0, "%s", e.text);
}

/* A file of the branch, or the directory itself for "". */
static char *inside(const char *name, const char *file)
{
	char *path = NULL;

	ck_assert_int_gt(asprintf(&path, "%s/main/%s/%s", dir, name, file), 0);
	return path;
}

static bool there(const char *name, const char *file)
{
	char *path = inside(name, file);
	bool yes = access(path, F_OK) == 0;

	free(path);
	return yes;
}

static void put(const char *name, const char *file, const char *text)
{
	char *path = inside(name, file);
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(io_write(fd, text, strlen(text)), 0);
	close(fd);
	free(path);
}

static size_t entries(const char *cluster)
{
	char *path = io_join(dir, cluster);
	struct dirent **list;
	int n = scandir(path, &list, NULL, NULL);

	for (int i = 0; i < n; i++)
		free(list[i]);
	if (n >= 0)
		free(list);
	free(path);
	return n < 2 ? 0 : (size_t)n - 2;
}

START_TEST(what_names_are_good)
{
	static const char *const good[] = {
		"a", "Z9_-.x", "1", "0123456789012345678901234567890123456789012345678901234567890123"};
	static const char *const bad[] = {"", ".", "..", ".x", "-x", "a/b", "a b", "\xc3\xa4", "a\n",
		"01234567890123456789012345678901234567890123456789012345678901234"};

	for (size_t i = 0; i < sizeof(good) / sizeof(*good); i++)
		ck_assert_int_eq(branch_check_name(good[i], NULL), 0);
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		struct branch_spec s = spec(bad[i]);
		struct err e = {0};

		ck_assert_int_eq(branch_check_name(bad[i], &e), -EINVAL);
		ck_assert_ptr_nonnull(strstr(e.text, "cannot be a branch's name"));
		ck_assert_int_eq(branch_create(dir, &s, NULL), -EINVAL);
	}
}
END_TEST

START_TEST(scratch_is_absolute)
{
	char *got, *want, *here = getcwd(NULL, 0);

	ck_assert_int_eq(branch_scratch("/a/b//", "77", &got, NULL), 0);
	ck_assert_str_eq(got, "/a/b/77");
	free(got);
	ck_assert_int_eq(branch_scratch("a", "77", &got, NULL), 0);
	ck_assert_int_gt(asprintf(&want, "%s/a/77", here), 0);
	ck_assert_str_eq(got, want);
	free(got);
	free(want);
	free(here);
}
END_TEST

START_TEST(what_was_said_is_read_back)
{
	struct branch_spec s = spec("one"), got = {0};

	make("one");
	ck_assert_int_eq(branch_load(dir, "main", "one", &got, NULL), 0);
	ck_assert_str_eq(got.name, s.name);
	ck_assert_str_eq(got.cluster, s.cluster);
	ck_assert_str_eq(got.backup, s.backup);
	ck_assert_str_eq(got.target, s.target);
	ck_assert_uint_eq(got.max_bytes, s.max_bytes);
	ck_assert(got.durable);
	ck_assert_int_eq(got.created.sec, s.created.sec);
	branch_spec_release(&got);
	ck_assert(there("one", "files"));

	s = (struct branch_spec){.name = "two", .cluster = "main", .backup = "b", .created = {1, 0}};
	ck_assert_int_eq(branch_create(dir, &s, NULL), 0);
	ck_assert_int_eq(branch_load(dir, "main", "two", &got, NULL), 0);
	ck_assert_ptr_null(got.target);
	ck_assert_uint_eq(got.max_bytes, 0);
	ck_assert(!got.durable);
	branch_spec_release(&got);

	s.name = "three";
	s.target = "name-\xe4";
	ck_assert_int_eq(branch_create(dir, &s, NULL), 0);
	ck_assert_int_eq(branch_load(dir, "main", "three", &got, NULL), 0);
	ck_assert_str_eq(got.target, "name-?");
	branch_spec_release(&got);

	s.name = "four";
	s.max_bytes = UINT64_MAX;
	ck_assert_int_eq(branch_create(dir, &s, NULL), -EINVAL);
}
END_TEST

/* Whoever runs the server has to reach server/, whatever the umask of who made the branch. */
START_TEST(others_may_pass_and_not_look)
{
	mode_t old = umask(0077);
	char *paths[3] = {io_join(dir, "main"), inside("one", ""), inside("one", "files")};
	const mode_t want[] = {0711, 0711, 0700};
	struct stat st;

	make("one");
	umask(old);
	for (size_t i = 0; i < 3; i++) {
		ck_assert_int_eq(stat(paths[i], &st), 0);
		ck_assert_int_eq(st.st_mode & 07777, want[i]);
		free(paths[i]);
	}
	ck_assert_int_eq(stat(dir, &st), 0);
	ck_assert_int_eq(st.st_mode & 07777, 0711);
}
END_TEST

START_TEST(one_name_one_branch)
{
	struct branch_spec s = spec("one"), other;
	struct err e = {0};

	make("one");
	ck_assert_int_eq(branch_create(dir, &s, &e), -EEXIST);
	ck_assert_ptr_nonnull(strstr(e.text, "there is a branch \"one\""));
	/* The same name in another cluster is another branch. */
	other = spec("one");
	other.cluster = "second";
	ck_assert_int_eq(branch_create(dir, &other, NULL), 0);
}
END_TEST

/* Killed before branch.json: whatever is there is no branch, and the next of that name has nothing of it. */
START_TEST(what_was_never_finished_is_replaced)
{
	struct branch_spec s = spec("one"), got;
	char *path = inside("one", "branch.json");
	char **names;
	size_t n;

	make("one");
	put("one", "log", "of another life");
	put("one", "files/7", "data");
	ck_assert_int_eq(unlink(path), 0);
	ck_assert_int_eq(branch_load(dir, "main", "one", &got, NULL), -ENOENT);
	ck_assert_int_eq(branch_lock(dir, "main", "one", NULL), -ENOENT);
	ck_assert_int_eq(branch_names(dir, "main", &names, &n, NULL), 0);
	ck_assert_uint_eq(n, 0);
	free(names);
	ck_assert_int_eq(branch_create(dir, &s, NULL), 0);
	ck_assert(there("one", "branch.json") && there("one", "files"));
	ck_assert(!there("one", "log") && !there("one", "files/7"));
	free(path);
}
END_TEST

START_TEST(damaged_descriptions_are_refused)
{
	static const char whole[] =
		"{\"version\":1,\"name\":\"one\",\"cluster\":\"main\",\"backup\":\"b\",\"target\":null,"
		"\"max_bytes\":0,\"durable\":false,\"created\":\"2026-11-20T02:15:07Z\"}";
	static const char *const changes[][2] = {
		{"\"version\":1", "\"version\":2"},
		{"\"name\":\"one\"", "\"name\":\"two\""},
		{"\"cluster\":\"main\"", "\"cluster\":\"niam\""},
		{"\"backup\":\"b\"", "\"backup\":null"},
		{"\"target\":null", "\"target\":1"},
		{"\"max_bytes\":0", "\"max_bytes\":-1"},
		{"\"max_bytes\":0", "\"max_bytes\":\"0\""},
		{"\"durable\":false", "\"durable\":0"},
		{"\"created\":\"2026", "\"created\":\"x026"},
	};
	struct branch_spec got;
	struct err e = {0};
	char cut[sizeof(whole)];

	make("one");
	put("one", "branch.json", whole);
	ck_assert_int_eq(branch_load(dir, "main", "one", &got, NULL), 0);
	branch_spec_release(&got);
	for (size_t n = 0; n < sizeof(whole) - 1; n++) {
		snprintf(cut, sizeof(cut), "%.*s", (int)n, whole);
		put("one", "branch.json", cut);
		ck_assert_int_eq(branch_load(dir, "main", "one", &got, NULL), -EBADMSG);
	}
	for (size_t i = 0; i < sizeof(changes) / sizeof(*changes); i++) {
		const char *at = strstr(whole, changes[i][0]);
		char text[sizeof(whole) + 16];

		snprintf(text, sizeof(text), "%.*s%s%s", (int)(at - whole), whole, changes[i][1],
			at + strlen(changes[i][0]));
		put("one", "branch.json", text);
		ck_assert_msg(branch_load(dir, "main", "one", &got, &e) == -EBADMSG, "%s", text);
	}
	ck_assert_ptr_nonnull(strstr(e.text, "branch.json does not describe branch \"one\""));
}
END_TEST

START_TEST(names_are_sorted)
{
	static const char *const want[] = {"A", "a", "b", "c"};
	char **names;
	size_t n;

	ck_assert_int_eq(branch_names(dir, "main", &names, &n, NULL), 0);
	ck_assert_uint_eq(n, 0);
	free(names);
	make("c");
	make("A");
	make("b");
	make("a");
	ck_assert_int_eq(branch_names(dir, "main", &names, &n, NULL), 0);
	ck_assert_uint_eq(n, 4);
	for (size_t i = 0; i < n; i++) {
		ck_assert_str_eq(names[i], want[i]);
		free(names[i]);
	}
	free(names);
}
END_TEST

START_TEST(the_lock_is_one_processes)
{
	struct err e = {0};
	int fd, status;
	pid_t pid;

	ck_assert_int_eq(branch_lock(dir, "main", "one", &e), -ENOENT);
	ck_assert(!there("one", ""));
	make("one");
	fd = branch_lock(dir, "main", "one", &e);
	ck_assert_int_ge(fd, 0);
	pid = fork();
	ck_assert_int_ge(pid, 0);
	if (pid == 0) {
		close(fd); /* the lock goes with its last descriptor */
		_exit(branch_lock(dir, "main", "one", NULL) == -EBUSY &&
					branch_remove(dir, "main", "one", NULL) == -EBUSY
				? 0
				: 1);
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_int_eq(status, 0);
	ck_assert(there("one", "branch.json"));
	close(fd);
	fd = branch_lock(dir, "main", "one", &e);
	ck_assert_int_ge(fd, 0);
	close(fd);
}
END_TEST

START_TEST(removed_with_all_that_is_in_it)
{
	char *server = inside("one", "server"), *deep = inside("one", "server/a/b");
	char *link = inside("one", "server/a/link");

	ck_assert_int_eq(branch_remove(dir, "main", "one", NULL), 0);
	make("two");
	make("one");
	put("one", "files/1", "data");
	ck_assert_int_eq(io_mkdirs(deep, 0700, NULL), 0);
	ck_assert_int_eq(symlink("../../../two", link), 0);
	ck_assert_int_eq(branch_remove(dir, "main", "one", NULL), 0);
	ck_assert_uint_eq(entries("main"), 1);
	ck_assert(there("two", "branch.json") && there("two", "files"));
	free(server);
	free(deep);
	free(link);
}
END_TEST

START_TEST(who_has_the_lock_may_remove)
{
	int fd;

	make("one");
	fd = branch_lock(dir, "main", "one", NULL);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(branch_remove_locked(dir, "main", "one", NULL), 0);
	ck_assert_uint_eq(entries("main"), 0);
	/* Another of that name has a lock of its own. */
	make("one");
	close(fd);
	fd = branch_lock(dir, "main", "one", NULL);
	ck_assert_int_ge(fd, 0);
	close(fd);
}
END_TEST

/* A removal that was cut short: the next one ends it, and it is no branch meanwhile. */
START_TEST(what_a_removal_left_goes)
{
	char *from, *to = inside(".gone-0000000000000001", "");
	char **names;
	size_t n;

	make("one");
	put("one", "files/1", "data");
	from = inside("one", "");
	from[strlen(from) - 1] = to[strlen(to) - 1] = '\0';
	ck_assert_int_eq(rename(from, to), 0);
	ck_assert_int_eq(branch_names(dir, "main", &names, &n, NULL), 0);
	ck_assert_uint_eq(n, 0);
	free(names);
	make("two");
	ck_assert_uint_eq(entries("main"), 1);
	free(from);
	free(to);
}
END_TEST

START_TEST(usage_counts_blocks)
{
	char *path = inside("one", "files/1");
	uint64_t empty, sparse, full;
	int fd;

	make("one");
	ck_assert_int_eq(branch_usage(dir, "main", "one", &empty, NULL), 0);
	fd = open(path, O_RDWR | O_CREAT, 0600);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(ftruncate(fd, 1 << 30), 0);
	ck_assert_int_eq(branch_usage(dir, "main", "one", &sparse, NULL), 0);
	ck_assert_uint_lt(sparse, empty + 65536);
	ck_assert_int_eq(posix_fallocate(fd, 0, 1 << 20), 0);
	ck_assert_int_eq(branch_usage(dir, "main", "one", &full, NULL), 0);
	ck_assert_uint_ge(full, sparse + (1 << 20));
	ck_assert_int_eq(branch_usage(dir, "main", "two", &full, NULL), -ENOENT);
	close(fd);
	free(path);
}
END_TEST

#define CONTENDERS 8
#define ROUNDS 50

static atomic_int made;

static void *contend(void *arg)
{
	struct branch_spec s = spec("same");

	(void)arg;
	for (int i = 0; i < ROUNDS; i++) {
		int r = branch_create(dir, &s, NULL);

		ck_assert(r == 0 || r == -EEXIST || r == -EBUSY);
		atomic_fetch_add(&made, r == 0);
		if (r == 0)
			do
				r = branch_remove(dir, "main", "same", NULL);
			while (r == -EBUSY); /* another one looks whether it may replace it */
		ck_assert(r <= 0);
	}
	return NULL;
}

/* Many make and remove the same name: each that was told "made" had one of its own. */
START_TEST(many_at_once)
{
	pthread_t threads[CONTENDERS];

	for (size_t i = 0; i < CONTENDERS; i++)
		ck_assert_int_eq(pthread_create(&threads[i], NULL, contend, NULL), 0);
	for (size_t i = 0; i < CONTENDERS; i++)
		pthread_join(threads[i], NULL);
	ck_assert_int_gt(atomic_load(&made), 0);
	ck_assert(!there("same", "branch.json"));
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("fs branch_dir");
	TCase *t = tcase_create("branch_dir");

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, what_names_are_good);
	tcase_add_test(t, scratch_is_absolute);
	tcase_add_test(t, what_was_said_is_read_back);
	tcase_add_test(t, others_may_pass_and_not_look);
	tcase_add_test(t, one_name_one_branch);
	tcase_add_test(t, what_was_never_finished_is_replaced);
	tcase_add_test(t, damaged_descriptions_are_refused);
	tcase_add_test(t, names_are_sorted);
	tcase_add_test(t, the_lock_is_one_processes);
	tcase_add_test(t, removed_with_all_that_is_in_it);
	tcase_add_test(t, who_has_the_lock_may_remove);
	tcase_add_test(t, what_a_removal_left_goes);
	tcase_add_test(t, usage_counts_blocks);
	tcase_add_test(t, many_at_once);
	suite_add_tcase(s, t);
	return s;
}

CHECK_MAIN(suite)
