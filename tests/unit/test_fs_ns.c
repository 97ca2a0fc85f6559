/* The providers over a real repository, without a mount: what they list is what they find, numbers are unique and stable,
 * links and small files are read again by number when their directory is forgotten. */
#include "tests/unit/check_main.h"

#include <errno.h>

#include "fs/attr.h"
#include "tests/unit/ns_fixture.h"

#define DATA "main/backups/2001-09-09T01-46-40Z/data"

static char *read_all(const struct node *n)
{
	struct file *f;
	char *p = calloc(1, n->size + 1);

	ck_assert_int_eq(n->obj->ops->open(n->obj, n, &f, NULL), 0);
	ck_assert_int_eq(file_read(f, 0, p, n->size, NULL), (ssize_t)n->size);
	file_free(f);
	return p;
}

struct collected {
	struct world *w;
	const struct node *dir;
	uint64_t *inos;
	size_t n;
	int stop_after;
};

static int collect(void *arg, const char *name, uint64_t next, const struct node *n)
{
	struct collected *c = arg;
	struct node found;

	(void)next;
	ck_assert_int_eq(c->dir->obj->ops->lookup(c->dir->obj, c->dir, name, &found, NULL), 0);
	ck_assert_uint_eq(found.ino, n->ino);
	ck_assert_uint_eq(found.position, n->position);
	ck_assert_uint_eq(found.size, n->size);
	c->inos = realloc(c->inos, (c->n + 1) * sizeof(*c->inos));
	c->inos[c->n++] = n->ino;
	if (n->type == ENTRY_DIR) {
		struct collected below = {.w = c->w, .dir = n, .inos = c->inos, .n = c->n};

		ck_assert_int_eq(inode_learn(c->w->fs.inodes, n, NULL), 0);
		ck_assert_int_eq(n->obj->ops->list(n->obj, n, 0, collect, &below, NULL), 0);
		c->inos = below.inos;
		c->n = below.n;
	}
	return 0;
}

static int by_number(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

START_TEST(what_is_listed_is_found_and_numbers_are_unique)
{
	struct world *w = world_new(false);
	struct node root = walk(w, "");
	struct collected c = {.w = w, .dir = &root};

	ck_assert_int_eq(root.obj->ops->list(root.obj, &root, 0, collect, &c, NULL), 0);
	/* README.txt; main, backups, latest, <id>, info.json, dumps, globals, wal, at; data, big, deep, er, small, link, empty, many. */
	ck_assert_uint_eq(c.n, 18 + FILES);
	qsort(c.inos, c.n, sizeof(*c.inos), by_number);
	for (size_t i = 1; i < c.n; i++)
		ck_assert_uint_ne(c.inos[i - 1], c.inos[i]);
	free(c.inos);
	world_free(w);
}
END_TEST

START_TEST(numbers_return_after_forgetting)
{
	struct world *w = world_new(false);
	struct node a = walk(w, DATA "/many/f77"), b;

	inode_forget(w->fs.inodes, a.ino, 1);
	inode_forget(w->fs.inodes, a.parent, 1);
	b = walk(w, DATA "/many/f77");
	ck_assert_uint_eq(a.ino, b.ino);
	ck_assert_uint_eq(walk(w, "main/backups/latest").obj == a.obj, true);
	world_free(w);
}
END_TEST

START_TEST(small_files_and_links_do_without_their_directory)
{
	struct world *w = world_new(false);
	struct node small = walk(w, DATA "/deep/er/small"), link = walk(w, DATA "/deep/link");
	struct node dir = walk(w, DATA "/deep/er"), f = walk(w, DATA "/many/f1234");
	char *target, *p;

	for (int forgotten = 0; forgotten < 2; forgotten++) {
		p = read_all(&small);
		ck_assert_str_eq(p, "small");
		free(p);
		p = read_all(&f);
		ck_assert_str_eq(p, "data/many/f1234");
		free(p);
		ck_assert_int_eq(link.obj->ops->target(link.obj, &link, &target, NULL), 0);
		ck_assert_str_eq(target, "er/small");
		free(target);
		inode_forget(w->fs.inodes, dir.ino, UINT64_MAX);
		inode_forget(w->fs.inodes, f.parent, UINT64_MAX);
		inode_forget(w->fs.inodes, link.parent, UINT64_MAX);
	}
	world_free(w);
}
END_TEST

START_TEST(paths_are_told_from_numbers)
{
	static const char *const paths[] = {"README.txt", "main", "main/backups",
		"main/backups/2001-09-09T01-46-40Z", "main/backups/2001-09-09T01-46-40Z/info.json", DATA,
		DATA "/deep/er/small", DATA "/many/f2999"};
	struct world *w = world_new(false);

	for (size_t i = 0; i < sizeof(paths) / sizeof(*paths); i++) {
		struct node n = walk(w, paths[i]);
		char *path = fs_path(&n);

		ck_assert_str_eq(path, paths[i]);
		free(path);
	}
	world_free(w);
}
END_TEST

START_TEST(made_up_files_have_the_size_they_say)
{
	struct world *w = world_new(false);
	struct node info = walk(w, "main/backups/2001-09-09T01-46-40Z/info.json"),
		    readme = walk(w, "README.txt");
	char *p = read_all(&info);

	ck_assert_ptr_nonnull(strstr(p, "2001-09-09T01-46-40Z"));
	ck_assert_uint_eq(strlen(p), info.size);
	ck_assert_int_eq(p[info.size - 1], '\n');
	free(p);
	p = read_all(&readme);
	ck_assert_uint_eq(strlen(p), readme.size);
	free(p);
	world_free(w);
}
END_TEST

START_TEST(a_new_snapshot_appears_and_latest_is_another_link)
{
	struct world *w = world_new(false);
	struct node before = walk(w, "main/backups/latest"), after, found, dir = walk(w, "main/backups");

	add_snapshot(w, "main", 1000000001);
	ck_assert_int_eq(store_bind_cluster(w->store, "other", "2", NULL), 0);
	usleep(1100000);
	after = walk(w, "main/backups/latest");
	ck_assert_uint_ne(before.ino, after.ino);
	ck_assert_int_eq(after.mtime, 1000000001);
	ck_assert_int_eq(dir.obj->ops->lookup(dir.obj, &dir, "2001-09-09T01-46-41Z", &found, NULL), 0);
	ck_assert_int_eq(dir.obj->ops->lookup(dir.obj, &dir, "2001-09-09T01-46-42Z", &found, NULL), -ENOENT);
	dir.obj->ops->refresh(dir.obj, &dir);
	ck_assert_int_eq(dir.mtime, 1000000001);
	walk(w, "other/backups");
	world_free(w);
}
END_TEST

START_TEST(attributes)
{
	struct world *w = world_new(false);
	struct node big = walk(w, DATA "/big"), small = walk(w, DATA "/deep/er/small"), dir = walk(w, DATA);
	struct digest d = digest_of("small", 5);
	char want[DIGEST_HEX + 2], hex[DIGEST_HEX];
	struct buf b = {0};
	struct stat st;

	attr_stat(&big, &st);
	ck_assert_uint_eq(st.st_mode, S_IFREG | 0640);
	ck_assert_uint_eq(st.st_uid, 4242);
	ck_assert_uint_eq(st.st_gid, 4343);
	ck_assert_int_eq(st.st_size, 300000);
	ck_assert_int_eq(st.st_mtim.tv_nsec, 5);
	/* Random bytes do not get smaller. */
	ck_assert_int_ge(st.st_blocks, 300000 / 512);
	attr_stat(&dir, &st);
	ck_assert_uint_eq(st.st_nlink, 2);
	ck_assert_int_eq(st.st_size, 4);

	ck_assert_int_eq(attr_get(&w->fs, &small, "user.pgstrata.digest", &b, NULL), 0);
	snprintf(want, sizeof(want), "0:%s", digest_hex(&d, hex));
	ck_assert_uint_eq(b.len, strlen(want));
	ck_assert_mem_eq(b.data, want, b.len);
	buf_clear(&b);
	ck_assert_int_eq(attr_get(&w->fs, &big, "user.pgstrata.digest", &b, NULL), 0);
	ck_assert_mem_eq(b.data, "1:", 2);
	buf_clear(&b);
	ck_assert_int_eq(attr_get(&w->fs, &big, "user.pgstrata.snapshot", &b, NULL), 0);
	ck_assert_uint_eq(b.len, strlen("2001-09-09T01-46-40Z"));
	buf_free(&b);
	ck_assert_int_eq(attr_get(&w->fs, &big, "user.pgstrata.pid", &b, NULL), -ENODATA);
	ck_assert_int_eq(attr_get(&w->fs, &dir, "user.pgstrata.digest", &b, NULL), -ENODATA);
	ck_assert_int_eq(attr_get(&w->fs, &big, "security.selinux", &b, NULL), -ENODATA);
	attr_list(&big, &b);
	ck_assert_uint_eq(b.len, 0);
	world_free(w);
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("fs_ns");
	TCase *c = tcase_create("providers");

	tcase_add_test(c, what_is_listed_is_found_and_numbers_are_unique);
	tcase_add_test(c, numbers_return_after_forgetting);
	tcase_add_test(c, small_files_and_links_do_without_their_directory);
	tcase_add_test(c, paths_are_told_from_numbers);
	tcase_add_test(c, made_up_files_have_the_size_they_say);
	tcase_add_test(c, a_new_snapshot_appears_and_latest_is_another_link);
	tcase_add_test(c, attributes);
	suite_add_tcase(s, c);
	return s;
}

CHECK_MAIN(suite)
