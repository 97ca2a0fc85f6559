/* wal/ as a provider over a real store, without a mount: names, sizes and numbers of what is archived and of what grows, in
 * whatever order they come; archives with two segment sizes; many names. And the restore_command that reads from it. */
#include "tests/unit/check_main.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/wait.h>

#include "fs/fs.h"
#include "src/pit/pit.h"
#include "store/wal.h"
#include "store/wal_partial.h"
#include "tests/unit/store_fixture.h"

#define MIB (1u << 20)
#define FIRST "000000010000000000000001"

static struct fixture fx;
static struct fs fs;
static struct err why;
static uint8_t *bytes;
static uint64_t rng;
static struct node dir;

static void look_up(const struct node *in, const char *name, struct node *ret)
{
	int r = in->obj->ops->lookup(in->obj, in, name, ret, &why);

	ck_assert_msg(r == 0, "%s: %s", name, why.text);
	ck_assert_int_eq(inode_learn(fs.inodes, ret, &why), 0);
}

static void set_up(void)
{
	const struct fs_options fo = {.threads = 1, .mountpoint = "/mnt"};
	struct node root, cluster;

	rng = check_seed();
	fx = fx_make(NULL);
	bytes = fx_bytes(&rng, 2 * MIB);
	fx_ok(store_bind_cluster(fx.s, "main", "1", &why), &why);
	fx_ok(fs_init(&fs, fx.s, &fo, &why), &why);
	ck_assert(inode_get(fs.inodes, INODE_ROOT, &root));
	look_up(&root, "main", &cluster);
	look_up(&cluster, "wal", &dir);
}

static void tear_down(void)
{
	fs_release(&fs);
	fx_free(&fx);
	free(bytes);
}

static void archive(const char *name, size_t n)
{
	char path[] = "/tmp/test-fs-wal.XXXXXX";
	int fd = mkstemp(path);
	bool known;

	ck_assert_int_ge(fd, 0);
	unlink(path);
	ck_assert_int_eq(write(fd, bytes, n), n);
	fx_ok(wal_put(fx.s, "main", name, fd, n, 1, &known, &why), &why);
	close(fd);
}

static void grow(const char *segment, uint64_t from, uint64_t to)
{
	fx_ok(wal_partial_append(fx.s, "main", segment, MIB, from, bytes + from, to - from, &why), &why);
}

static int absent(const char *name)
{
	struct node n;

	return dir.obj->ops->lookup(dir.obj, &dir, name, &n, &why);
}

static void check_content(const struct node *n, size_t len, size_t zeroes)
{
	uint8_t *got = calloc(1, len + zeroes + 1);
	struct file *f;

	fx_ok(n->obj->ops->open(n->obj, n, &f, &why), &why);
	ck_assert_uint_eq(file_size(f), len + zeroes);
	ck_assert_int_eq(file_read(f, 0, got, len + zeroes, &why), len + zeroes);
	fx_same("content", got, len, bytes, len);
	for (size_t i = len; i < len + zeroes; i++)
		ck_assert_int_eq(got[i], 0);
	file_free(f);
	free(got);
}

/* ---- listing ---- */

struct listed {
	char name[WAL_FILE_NAME_MAX + 1];
	struct node node;
	uint64_t next;
};

struct listing_of {
	struct listed *v;
	size_t n, most;
};

static int take(void *arg, const char *name, uint64_t next, const struct node *n)
{
	struct listing_of *l = arg;

	if (l->n == l->most)
		return 1;
	snprintf(l->v[l->n].name, sizeof(l->v[l->n].name), "%s", name);
	l->v[l->n].node = *n;
	l->v[l->n++].next = next;
	return 0;
}

/* Adds up to `most` entries from where l ends. False: there are no more. */
static bool go_on(struct listing_of *l, size_t most)
{
	size_t before = l->n;
	int r;

	l->v = realloc(l->v, (l->n + most) * sizeof(*l->v));
	l->most = l->n + most;
	r = dir.obj->ops->list(dir.obj, &dir, l->n ? l->v[l->n - 1].next : 0, take, l, &why);
	ck_assert_msg(r >= 0, "%s", why.text);
	return l->n > before;
}

static struct listing_of list_all(size_t at_a_time)
{
	struct listing_of l = {0};

	while (go_on(&l, at_a_time))
		;
	return l;
}

/* What is listed is what is found, with the same number, and nothing is there twice. */
static void check_listing(const struct listing_of *l)
{
	for (size_t i = 0; i < l->n; i++) {
		struct node n;

		look_up(&dir, l->v[i].name, &n);
		ck_assert_uint_eq(n.ino, l->v[i].node.ino);
		ck_assert_uint_eq(n.position, l->v[i].node.position);
		if (!(l->v[i].node.flags & NODE_NAME_ONLY)) {
			ck_assert_uint_eq(n.size, l->v[i].node.size);
			ck_assert_int_eq(n.mtime, l->v[i].node.mtime);
		}
		for (size_t k = 0; k < i; k++) {
			ck_assert_str_ne(l->v[i].name, l->v[k].name);
			ck_assert_uint_ne(l->v[i].node.ino, l->v[k].node.ino);
		}
	}
}

static const char *const all[] = {"000000010000000000000001", "0000000100000000000000FE",
	"000000010000000100000000", "0000000100000001000000FF.partial",
	"000000010000000100000000.00000028.backup", "00000002.history", "000000020000000100000001",
	"FFFFFFFFFFFFFFFF00000FFF", "000000020000000100001000", "x"};
#define ALL (sizeof(all) / sizeof(*all))

START_TEST(names_of_every_kind)
{
	struct listing_of l;

	for (size_t i = 0; i < ALL; i++)
		archive(all[i], MIB);
	for (size_t step = 1; step < ALL + 2; step += 3) {
		l = list_all(step);
		ck_assert_uint_eq(l.n, ALL);
		check_listing(&l);
		free(l.v);
	}
	for (size_t i = 0; i < ALL; i++) {
		struct node n;
		char *path, want[100];

		look_up(&dir, all[i], &n);
		check_content(&n, MIB, 0);
		path = fs_path(&n);
		snprintf(want, sizeof(want), "main/wal/%s", all[i]);
		ck_assert_str_eq(path, want);
		free(path);
	}
}
END_TEST

START_TEST(what_is_not_there)
{
	archive(FIRST, MIB);
	ck_assert_int_eq(absent("000000010000000000000002"), -ENOENT);
	ck_assert_int_eq(absent(FIRST ".partial"), -ENOENT);
	ck_assert_int_eq(absent(".hidden"), -ENOENT);
	ck_assert_int_eq(absent("a b"), -ENOENT);
	ck_assert_int_eq(
		absent("0123456789012345678901234567890123456789012345678901234567890123456789"), -ENOENT);
}
END_TEST

/* Who lists while segments come sees what was there, each once. */
START_TEST(listing_goes_on_while_segments_come)
{
	struct listing_of l = {0};
	char name[32];

	for (int i = 0; i < 20; i += 2) {
		snprintf(name, sizeof(name), "00000003%08X%08X", i / 8, i % 8);
		archive(name, MIB);
	}
	ck_assert(go_on(&l, 3));
	for (int i = 1; i < 20; i += 2) {
		snprintf(name, sizeof(name), "00000003%08X%08X", i / 8, i % 8);
		archive(name, MIB);
	}
	archive("000000010000000000000001", MIB);
	while (go_on(&l, 3))
		;
	check_listing(&l);
	for (int i = 0; i < 20; i += 2) {
		size_t found = 0;

		snprintf(name, sizeof(name), "00000003%08X%08X", i / 8, i % 8);
		for (size_t k = 0; k < l.n; k++)
			found += !strcmp(l.v[k].name, name);
		ck_assert_uint_eq(found, 1);
	}
	free(l.v);
}
END_TEST

/* Segments of two sizes in one group: what cannot be told is not, and what is told wrong is noticed by open. */
START_TEST(two_segment_sizes)
{
	struct listing_of l;
	struct node n;
	struct file *f;

	archive("000000010000000000000001", MIB);
	archive("000000010000000000000002", 2 * MIB);
	l = list_all(10);
	ck_assert_uint_eq(l.n, 2);
	ck_assert(l.v[0].node.flags & NODE_NAME_ONLY);
	check_listing(&l);
	free(l.v);
	archive("000000010000000000000003", MIB);
	l = list_all(10);
	ck_assert_uint_eq(l.v[1].node.size, MIB);
	n = l.v[1].node;
	ck_assert_int_eq(n.obj->ops->open(n.obj, &n, &f, &why), -ESTALE);
	look_up(&dir, l.v[1].name, &n);
	ck_assert_uint_eq(n.ino, l.v[1].node.ino);
	check_content(&n, 2 * MIB, 0);
	ck_assert(inode_get(fs.inodes, n.ino, &n));
	ck_assert_uint_eq(n.size, 2 * MIB);
	free(l.v);
}
END_TEST

START_TEST(what_grows)
{
	struct listing_of l;
	struct node n, again;
	struct file *f;
	uint8_t got[8];

	grow(FIRST, 0, 1000);
	ck_assert_int_eq(absent(FIRST), -ENOENT);
	look_up(&dir, FIRST ".partial", &n);
	ck_assert(n.flags & NODE_GROWING);
	ck_assert_uint_eq(n.size, MIB);
	check_content(&n, 1000, MIB - 1000);
	l = list_all(10);
	ck_assert_uint_eq(l.n, 1);
	check_listing(&l);
	free(l.v);
	/* What was opened stays as it was; what is opened now has grown. */
	fx_ok(n.obj->ops->open(n.obj, &n, &f, &why), &why);
	grow(FIRST, 1000, 3000);
	ck_assert_int_eq(file_read(f, 1000, got, 8, &why), 8);
	ck_assert_int_eq(got[0], 0);
	check_content(&n, 3000, MIB - 3000);
	look_up(&dir, FIRST ".partial", &again);
	ck_assert_uint_eq(again.ino, n.ino);
	/* The segment takes its place, at once. */
	archive(FIRST, MIB);
	ck_assert_int_eq(absent(FIRST ".partial"), -ENOENT);
	look_up(&dir, FIRST, &again);
	ck_assert(!(again.flags & NODE_GROWING));
	l = list_all(10);
	ck_assert_uint_eq(l.n, 1);
	ck_assert_str_eq(l.v[0].name, FIRST);
	free(l.v);
	ck_assert_int_eq(file_read(f, 0, got, 8, &why), 8);
	file_free(f);
}
END_TEST

/* The one that was archived counts. */
START_TEST(a_partial_of_both_kinds)
{
	struct listing_of l;
	struct node n;

	grow(FIRST, 0, 1000);
	archive(FIRST ".partial", MIB);
	look_up(&dir, FIRST ".partial", &n);
	ck_assert(!(n.flags & NODE_GROWING));
	check_content(&n, MIB, 0);
	l = list_all(10);
	ck_assert_uint_eq(l.n, 1);
	check_listing(&l);
	free(l.v);
}
END_TEST

START_TEST(the_next_segment)
{
	struct node n, next, same;

	archive("000000010000000000000FFF", MIB);
	archive("000000010000000100000000", MIB);
	archive("00000002.history", 100);
	look_up(&dir, "000000010000000000000FFF", &n);
	fx_ok(n.obj->ops->next(n.obj, &n, &next, &why), &why);
	look_up(&dir, "000000010000000100000000", &same);
	ck_assert_uint_eq(next.ino, same.ino);
	ck_assert_uint_eq(next.size, MIB);
	ck_assert_int_eq(n.obj->ops->next(n.obj, &same, &next, &why), -ENOENT);
	look_up(&dir, "00000002.history", &n);
	ck_assert_int_eq(n.obj->ops->next(n.obj, &n, &next, &why), -ENOENT);
}
END_TEST

/* Several threads list, look up, open and forget while segments come. */
static void *use(void *arg)
{
	struct err e = {0};

	(void)arg;
	for (int round = 0; round < 30; round++) {
		struct listing_of l = {.v = calloc(100, sizeof(*l.v)), .most = 100};

		ck_assert_int_ge(dir.obj->ops->list(dir.obj, &dir, 0, take, &l, &e), 0);
		for (size_t i = 0; i < l.n; i++) {
			struct node n;
			struct file *f;
			int r = dir.obj->ops->lookup(dir.obj, &dir, l.v[i].name, &n, &e);

			/* A partial may have become whole meanwhile. */
			if (r == -ENOENT && strstr(l.v[i].name, ".partial"))
				continue;
			ck_assert_msg(r == 0, "%s: %s", l.v[i].name, e.text);
			ck_assert_int_eq(inode_learn(fs.inodes, &n, &e), 0);
			if (n.obj->ops->open(n.obj, &n, &f, &e) == 0)
				file_free(f);
			inode_forget(fs.inodes, n.ino, 1);
		}
		free(l.v);
	}
	return NULL;
}

START_TEST(threads)
{
	pthread_t t[4];
	char name[32];

	archive("00000002.history", 10);
	for (int i = 0; i < 4; i++)
		ck_assert_int_eq(pthread_create(&t[i], NULL, use, NULL), 0);
	for (int i = 0; i < 20; i++) {
		snprintf(name, sizeof(name), "00000001%08X%08X", i / 4, i % 4);
		grow(name, 0, 1000);
		archive(name, MIB);
		fx_ok(wal_partial_remove(fx.s, "main", name, &why), &why);
	}
	for (int i = 0; i < 4; i++)
		pthread_join(t[i], NULL);
	ck_assert_uint_eq(dir.obj->held, 1);
}
END_TEST

START_TEST(held_as_long_as_known)
{
	struct node n;

	archive(FIRST, MIB);
	ck_assert_uint_eq(dir.obj->held, 1);
	look_up(&dir, FIRST, &n);
	look_up(&dir, FIRST, &n);
	ck_assert_uint_eq(dir.obj->held, 2);
	inode_forget(fs.inodes, n.ino, 2);
	ck_assert_uint_eq(dir.obj->held, 1);
}
END_TEST

/* ---- restore_command ---- */

static const char *const mounts[] = {
	"plain", "a b", "it's", "\"x\"", "$HOME `id`", "100%", "%f", "back\\slash", "a;b&c|d"};

/* As the server does it: %f, %p and %% are replaced, then the shell runs it. Anything else after % is an error since 16. */
static int run_command(const char *command, const char *f, const char *p)
{
	struct buf b = {0};
	char *text;
	int status;

	buf_printf(&b, "exec 2>/dev/null; ");
	for (const char *s = command; *s; s++) {
		if (*s != '%') {
			buf_put_u8(&b, (uint8_t)*s);
			continue;
		}
		s++;
		ck_assert_msg(*s == 'f' || *s == 'p' || *s == '%', "%s", command);
		buf_printf(&b, "%s", *s == 'f' ? f : *s == 'p' ? p : "%");
	}
	text = buf_steal_str(&b);
	status = system(text);
	free(text);
	ck_assert(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static void put_text(const char *path, const char *text)
{
	FILE *f = fopen(path, "w");

	ck_assert_ptr_nonnull(f);
	fputs(text, f);
	fclose(f);
}

/* What looks like a mount of one cluster; wal is its archive. */
static void make_wal(const char *mnt, char wal[400])
{
	ck_assert_int_eq(mkdir(mnt, 0700), 0);
	snprintf(wal, 400, "%s/main", mnt);
	ck_assert_int_eq(mkdir(wal, 0700), 0);
	snprintf(wal, 400, "%s/main/wal", mnt);
	ck_assert_int_eq(mkdir(wal, 0700), 0);
}

START_TEST(restore_command)
{
	char *top = check_tempdir(), mnt[300], wal[400], path[500], got[500], text[10] = "";
	char *command;
	FILE *f;

	snprintf(mnt, sizeof(mnt), "%s/%s", top, mounts[_i]);
	snprintf(got, sizeof(got), "%s/got", top);
	ck_assert_int_eq(pit_restore_command(mnt, "main", &command, NULL), 0);
	/* No mount: the server must stop. */
	ck_assert_int_gt(run_command(command, "SEG", got), 125);
	make_wal(mnt, wal);
	/* Nothing there: 1, and no file. Then the partial one, then the whole one. */
	ck_assert_int_eq(run_command(command, "SEG", got), 1);
	ck_assert_int_ne(access(got, F_OK), 0);
	snprintf(path, sizeof(path), "%s/SEG.partial", wal);
	put_text(path, "part");
	ck_assert_int_eq(run_command(command, "SEG", got), 0);
	snprintf(path, sizeof(path), "%s/SEG", wal);
	put_text(path, "whole");
	ck_assert_int_eq(run_command(command, "SEG", got), 0);
	f = fopen(got, "r");
	ck_assert_ptr_nonnull(fgets(text, sizeof(text), f));
	fclose(f);
	ck_assert_str_eq(text, "whole");
	/* There, but it cannot be copied: the server must stop. */
	snprintf(path, sizeof(path), "%s/none/got", top);
	ck_assert_int_gt(run_command(command, "SEG", path), 125);
	free(command);
	check_rmtree(top);
	free(top);
}
END_TEST

/* What a server on a branch gets: a link to what it may open for writing, a copy of anything else. */
START_TEST(link_command)
{
	char *top = check_tempdir(), mnt[300], wal[400], path[500], got[500], to[500] = "", *command;
	char self[500] = "";
	struct stat st;

	snprintf(mnt, sizeof(mnt), "%s/%s", top, mounts[_i]);
	snprintf(got, sizeof(got), "%s/got", top);
	ck_assert_int_eq(pit_link_command(mnt, "main", &command, NULL), 0);
	ck_assert_int_gt(run_command(command, "SEG", got), 125);
	make_wal(mnt, wal);
	ck_assert_int_eq(run_command(command, "SEG", got), 1);
	/* Asking whether it can be opened must not make it. */
	snprintf(path, sizeof(path), "%s/SEG", wal);
	ck_assert_int_ne(access(path, F_OK), 0);
	/* A partial one grows and goes. */
	snprintf(path, sizeof(path), "%s/SEG.partial", wal);
	put_text(path, "part");
	ck_assert_int_eq(run_command(command, "SEG", got), 0);
	ck_assert(lstat(got, &st) == 0 && S_ISREG(st.st_mode) && st.st_size == 4);
	ck_assert_int_eq(unlink(got), 0);
	snprintf(path, sizeof(path), "%s/SEG", wal);
	put_text(path, "whole");
	ck_assert_int_eq(run_command(command, "SEG", got), 0);
	ck_assert_int_gt(readlink(got, to, sizeof(to) - 1), 0);
	ck_assert_str_eq(to, path);
	ck_assert_int_eq(stat(path, &st), 0);
	ck_assert_int_eq(st.st_size, 5);
	ck_assert_int_eq(unlink(got), 0);
	ck_assert_int_eq(unlink(path), 0);
	/* A program that runs cannot be opened for writing, by nobody. */
	ck_assert_int_gt(readlink("/proc/self/exe", self, sizeof(self) - 1), 0);
	ck_assert_int_eq(symlink(self, path), 0);
	ck_assert_int_eq(run_command(command, "SEG", got), 0);
	ck_assert(lstat(got, &st) == 0 && S_ISREG(st.st_mode));
	free(command);
	check_rmtree(top);
	free(top);
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("fs_wal");
	TCase *t = tcase_create("wal"), *c = tcase_create("restore_command");

	tcase_add_checked_fixture(t, set_up, tear_down);
	tcase_add_test(t, names_of_every_kind);
	tcase_add_test(t, what_is_not_there);
	tcase_add_test(t, listing_goes_on_while_segments_come);
	tcase_add_test(t, two_segment_sizes);
	tcase_add_test(t, what_grows);
	tcase_add_test(t, a_partial_of_both_kinds);
	tcase_add_test(t, the_next_segment);
	tcase_add_test(t, threads);
	tcase_add_test(t, held_as_long_as_known);
	suite_add_tcase(s, t);
	tcase_add_loop_test(c, restore_command, 0, sizeof(mounts) / sizeof(*mounts));
	tcase_add_loop_test(c, link_command, 0, sizeof(mounts) / sizeof(*mounts));
	suite_add_tcase(s, c);
	return s;
}

CHECK_MAIN(suite)
