/* open/ and its branches over a real repository, without a mount: the backup's tree under numbers that stay, moving, being in
 * use, removal and what is still known then, other mounts, many threads. */
#include "tests/unit/check_main.h"

#include <errno.h>
#include <pthread.h>

#include "fs/ns_branch.h"
#include "tests/unit/ns_fixture.h"

#define BACKUP "2001-09-09T01-46-40Z"
#define DATA "main/backups/" BACKUP "/data"

static void make_branch(struct world *w, const char *name, const char *backup, uint64_t max_bytes)
{
	const struct branch_spec s = {.name = (char *)name,
		.cluster = "main",
		.backup = (char *)backup,
		.max_bytes = max_bytes,
		.durable = false,
		.created = {1, 0}};
	struct err e = {0};
	int r = branch_create(w->scratch, &s, &e);

	ck_assert_msg(r == 0, "%s", e.text);
}

/* As walk, but gives what a lookup says of the last name. */
static int look(struct fs *fs, const char *path, struct node *ret)
{
	char *copy = strdup(path), *save = NULL;
	struct err e = {0};
	int r = 0;

	ck_assert(inode_get(fs->inodes, INODE_ROOT, ret));
	for (char *name = strtok_r(copy, "/", &save); r == 0 && name; name = strtok_r(NULL, "/", &save)) {
		struct node dir = *ret;

		r = dir.obj->ops->lookup(dir.obj, &dir, name, ret, &e);
		if (r < 0)
			break;
		ck_assert_int_eq(inode_learn(fs->inodes, ret, &e), 0);
		if (ret->flags & NODE_HELD)
			ns_drop(ret->obj);
	}
	free(copy);
	return r;
}

static struct node found(struct world *w, const char *path)
{
	struct node n;

	ck_assert_msg(look(&w->fs, path, &n) == 0, "%s", path);
	return n;
}

static char *content(const struct node *n, size_t size)
{
	char *p = calloc(1, size + 1);
	struct branch_open *o;
	uint64_t number;
	struct branch *b = ns_branch_of(n, &number);

	ck_assert_ptr_nonnull(b);
	ck_assert_int_eq(branch_open(b, number, &o, NULL), 0);
	ck_assert_int_eq(branch_read(o, 0, p, size + 1, NULL), (ssize_t)size);
	branch_open_drop(o);
	return p;
}

START_TEST(the_backups_tree)
{
	struct world *w = world_new(true);
	struct node big, small, dir, n;
	struct file *f;
	char *p, *want = malloc(300000), *target;
	struct stat st;

	make_branch(w, "b", BACKUP, 0);
	ck_assert_int_eq(look(&w->fs, "main/open/c", &n), -ENOENT);
	ck_assert_int_eq(look(&w->fs, "main/open/b/info.json", &n), -ENOENT);
	ck_assert_int_eq(look(&w->fs, "main/open/b/data/none", &n), -ENOENT);
	small = found(w, "main/open/b/data/deep/er/small");
	p = content(&small, 5);
	ck_assert_str_eq(p, "small");
	free(p);
	n = found(w, "main/open/b/data/deep/link");
	ck_assert_int_eq(n.obj->ops->target(n.obj, &n, &target, NULL), 0);
	ck_assert_str_eq(target, "er/small");
	free(target);
	big = found(w, DATA "/big");
	ck_assert_int_eq(big.obj->ops->open(big.obj, &big, &f, NULL), 0);
	ck_assert_int_eq(file_read(f, 0, want, 300000, NULL), 300000);
	file_free(f);
	big = found(w, "main/open/b/data/big");
	p = content(&big, 300000);
	ck_assert_mem_eq(p, want, 300000);
	free(p);
	free(want);
	ck_assert_int_eq(big.obj->ops->stat(big.obj, &big, &st, NULL), 0);
	ck_assert_uint_eq(st.st_mode, S_IFREG | 0640);
	ck_assert_uint_eq(st.st_uid, 4242);
	ck_assert_int_eq(st.st_size, 300000);
	ck_assert_int_eq(st.st_mtim.tv_nsec, 5);
	ck_assert_uint_eq(st.st_ino, big.ino);
	/* By number alone, and again after it was forgotten. */
	for (int i = 0; i < FILES; i += 100) {
		char path[64];

		snprintf(path, sizeof(path), "main/open/b/data/many/f%d", i);
		dir = found(w, path);
		inode_forget(w->fs.inodes, dir.ino, 1);
		n = found(w, path);
		ck_assert_uint_eq(n.ino, dir.ino);
		p = content(&dir, strlen(path) - strlen("main/open/b/"));
		ck_assert_str_eq(p, path + strlen("main/open/b/"));
		free(p);
	}
	p = fs_path(&small);
	ck_assert_ptr_nonnull(strstr(p, "main/open/b"));
	free(p);
	world_free(w);
}
END_TEST

struct names {
	unsigned n;
	uint64_t ino[8];
	char name[8][300];
};

static int take_name(void *arg, const char *name, uint64_t next, const struct node *n)
{
	struct names *l = arg;

	(void)next;
	ck_assert_uint_lt(l->n, 8);
	l->ino[l->n] = n->ino;
	snprintf(l->name[l->n++], sizeof(l->name[0]), "%s", name);
	return 0;
}

static struct names names_in(struct world *w, const char *path)
{
	struct node dir = found(w, path);
	struct names l = {0};

	ck_assert_int_eq(dir.obj->ops->list(dir.obj, &dir, 0, take_name, &l, NULL), 0);
	return l;
}

START_TEST(listed_at_once_under_the_number_it_has)
{
	struct world *w = world_new(true);
	struct names l;

	ck_assert_uint_eq(names_in(w, "main/open").n, 0);
	make_branch(w, "b", BACKUP, 0);
	l = names_in(w, "main/open");
	ck_assert_uint_eq(l.n, 1);
	ck_assert_str_eq(l.name[0], "b");
	ck_assert_uint_eq(l.ino[0], found(w, "main/open/b").ino);
	l = names_in(w, "main/open/b");
	ck_assert_uint_eq(l.n, 1);
	ck_assert_str_eq(l.name[0], "data");
	ck_assert_uint_eq(l.ino[0], found(w, "main/open/b/data").ino);
	world_free(w);
}
END_TEST

START_TEST(a_file_keeps_its_number_when_it_moves)
{
	struct world *w = world_new(true);
	struct node from, to, file, again;
	uint64_t a, b, number;
	struct branch *branch;

	make_branch(w, "b", BACKUP, 0);
	from = found(w, "main/open/b/data");
	to = found(w, "main/open/b/data/deep");
	file = found(w, "main/open/b/data/big");
	branch = ns_branch_of(&from, &a);
	ck_assert_ptr_eq(ns_branch_of(&to, &b), branch);
	ck_assert_int_eq(branch_rename(branch, a, "big", b, "moved", false, NULL), 0);
	again = found(w, "main/open/b/data/deep/moved");
	ck_assert_uint_eq(again.ino, file.ino);
	ck_assert_uint_eq(again.parent, to.ino);
	/* Nothing of a backup moves: that would be a damaged tree. */
	file = found(w, DATA "/big");
	file.parent++;
	ck_assert_int_eq(inode_learn(w->fs.inodes, &file, NULL), -EBADMSG);
	ck_assert_ptr_null(ns_branch_of(&file, &number));
	world_free(w);
}
END_TEST

START_TEST(removed)
{
	struct world *w = world_new(true);
	struct node open_dir, top, data, n;
	struct stat st;
	struct err e = {0};
	uint64_t number;

	make_branch(w, "b", BACKUP, 0);
	open_dir = found(w, "main/open");
	top = found(w, "main/open/b");
	data = found(w, "main/open/b/data");
	ck_assert_int_eq(ns_branch_enter(data.obj, &e), 0);
	ck_assert_int_eq(open_dir.obj->ops->remove(open_dir.obj, &open_dir, "b", &e), -EBUSY);
	ns_branch_leave(data.obj);
	ck_assert_int_eq(look(&w->fs, "main/open/b/data/big", &n), 0);
	ck_assert_int_eq(open_dir.obj->ops->remove(open_dir.obj, &open_dir, "c", &e), -ENOENT);
	ck_assert_int_eq(open_dir.obj->ops->remove(open_dir.obj, &open_dir, "b", &e), 0);
	ck_assert_int_eq(look(&w->fs, "main/open/b", &n), -ENOENT);
	ck_assert_uint_eq(names_in(w, "main/open").n, 0);
	/* What is known of it answers, but not with what a new one of that name has. */
	make_branch(w, "b", BACKUP, 0);
	ck_assert_int_eq(data.obj->ops->stat(data.obj, &data, &st, &e), -ESTALE);
	ck_assert_int_eq(data.obj->ops->lookup(data.obj, &data, "big", &n, &e), -ESTALE);
	ck_assert_int_eq(ns_branch_enter(data.obj, &e), -ESTALE);
	ck_assert_ptr_null(ns_branch_of(&data, &number));
	n = found(w, "main/open/b/data");
	ck_assert_uint_ne(n.ino, data.ino);
	/* The last one who knows of it ends it. */
	inode_forget(w->fs.inodes, top.ino, UINT64_MAX);
	n = found(w, "main/open/b/data/deep");
	inode_forget(w->fs.inodes, data.ino, UINT64_MAX);
	n = found(w, "main/open/b/data/big");
	ck_assert_int_eq(n.obj->ops->stat(n.obj, &n, &st, &e), 0);
	world_free(w);
}
END_TEST

START_TEST(one_mount_at_a_time)
{
	struct world *w = world_new(true);
	struct fs other;
	struct node n;
	const struct fs_options fo = {.threads = 1, .scratch = w->scratch};

	make_branch(w, "b", BACKUP, 0);
	found(w, "main/open/b");
	ck_assert_int_eq(fs_init(&other, w->store, &fo, NULL), 0);
	ck_assert_int_eq(look(&other, "main/open/b", &n), -EBUSY);
	ck_assert_int_eq(look(&other, "main/open", &n), 0);
	ck_assert_int_eq(complaint_errno_branch(-EBUSY), EBUSY);
	fs_release(&w->fs);
	ck_assert_int_eq(look(&other, "main/open/b/data", &n), 0);
	fs_release(&other);
	world_free(w);
}
END_TEST

START_TEST(without_its_backup)
{
	struct world *w = world_new(true);
	struct node n;

	make_branch(w, "b", "2001-09-09T01-46-41Z", 0);
	ck_assert_int_eq(look(&w->fs, "main/open/b", &n), -EBADMSG);
	add_snapshot(w, "main", 1000000001);
	ck_assert_int_eq(look(&w->fs, "main/open/b/data", &n), 0);
	world_free(w);
}
END_TEST

START_TEST(the_smaller_limit_counts)
{
	static const struct {
		uint64_t branch, mount, limit;
	} cases[] = {{0, 0, 0}, {5, 0, 5}, {0, 7, 7}, {5, 7, 5}, {7, 5, 5}};
	struct world *w = world_new(true);

	for (unsigned i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		char name[16], path[40];
		uint64_t number, used, max;
		struct node n;

		snprintf(name, sizeof(name), "b%u", i);
		snprintf(path, sizeof(path), "main/open/%s", name);
		make_branch(w, name, BACKUP, cases[i].branch);
		w->fs.max_bytes = cases[i].mount;
		n = found(w, path);
		branch_used(ns_branch_of(&n, &number), &used, &max);
		ck_assert_uint_eq(max, cases[i].limit);
	}
	world_free(w);
}
END_TEST

struct worker {
	struct world *w;
	unsigned id;
};

static int skip_name(void *arg, const char *name, uint64_t next, const struct node *n)
{
	(void)arg, (void)name, (void)next, (void)n;
	return 0;
}

/* Names of its own in a directory that all share, and what all share in between. */
static void *work(void *arg)
{
	struct worker *k = arg;
	const struct branch_make m = {.mode = S_IFREG | 0600};

	for (unsigned i = 0; i < 60; i++) {
		struct node dir = found(k->w, "main/open/b/data/deep"), n;
		uint64_t number;
		struct branch *b = ns_branch_of(&dir, &number);
		struct branch_stat st;
		struct branch_open *o;
		char name[16], other[16], path[64];

		snprintf(name, sizeof(name), "n%u", k->id);
		snprintf(other, sizeof(other), "o%u", k->id);
		snprintf(path, sizeof(path), "main/open/b/data/deep/%s", other);
		ck_assert_int_eq(branch_make(b, number, name, &m, &st, NULL), 0);
		ck_assert_int_eq(branch_rename(b, number, name, number, other, false, NULL), 0);
		n = found(k->w, path);
		ck_assert_int_eq(branch_open(b, st.number, &o, NULL), 0);
		ck_assert_int_eq(branch_write(o, 9000, "x", 1, NULL), 0);
		ck_assert_int_eq(branch_unlink(b, number, other, false, NULL), 0);
		branch_open_drop(o);
		inode_forget(k->w->fs.inodes, n.ino, 1);
		n = found(k->w, "main/open/b/data/big");
		ck_assert_int_eq(branch_open(b, n.ino - dir.ino + number, &o, NULL), 0);
		ck_assert_int_eq(branch_write(o, 8192 * k->id, "xyz", 3, NULL), 0);
		ck_assert_int_eq(branch_fsync(o, NULL), 0);
		branch_open_drop(o);
		inode_forget(k->w->fs.inodes, n.ino, 1);
		ck_assert_int_eq(dir.obj->ops->list(dir.obj, &dir, 0, skip_name, NULL, NULL), 0);
	}
	return NULL;
}

START_TEST(threads)
{
	struct world *w = world_new(true);
	struct worker k[4];
	pthread_t t[4];
	struct node n;
	char *p;

	make_branch(w, "b", BACKUP, 0);
	for (unsigned i = 0; i < 4; i++) {
		k[i] = (struct worker){w, i};
		ck_assert_int_eq(pthread_create(&t[i], NULL, work, &k[i]), 0);
	}
	for (unsigned i = 0; i < 4; i++)
		pthread_join(t[i], NULL);
	n = found(w, "main/open/b/data/big");
	p = content(&n, 300000);
	for (unsigned i = 0; i < 4; i++)
		ck_assert_mem_eq(p + 8192 * i, "xyz", 3);
	free(p);
	world_free(w);
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("fs_ns_branch");
	TCase *c = tcase_create("branches");

	tcase_add_test(c, the_backups_tree);
	tcase_add_test(c, listed_at_once_under_the_number_it_has);
	tcase_add_test(c, a_file_keeps_its_number_when_it_moves);
	tcase_add_test(c, removed);
	tcase_add_test(c, one_mount_at_a_time);
	tcase_add_test(c, without_its_backup);
	tcase_add_test(c, the_smaller_limit_counts);
	tcase_add_test(c, threads);
	suite_add_tcase(s, c);
	return s;
}

CHECK_MAIN(suite)
