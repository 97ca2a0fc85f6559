/* The local folder as a backend: put-if-absent, ranges, listing, removal, ownership, what is not an object.
 */
#include <pthread.h>

#include "store/backend.h"
#include "tests/unit/store_fixture.h"

struct folder {
	char *dir;
	struct backend *b;
};

static struct folder open_folder(void)
{
	struct folder f = {.dir = check_tempdir()};
	struct err e = {0};

	fx_ok(backend_local(f.dir, &f.b, &e), &e);
	return f;
}

static void close_folder(struct folder *f)
{
	backend_free(f->b);
	check_rmtree(f->dir);
	free(f->dir);
}

static const char *const names[] = {"config", "packs/a", "a/b/c/d",
	"snapshots/main/base/2026-11-20T02-15-07Z-2", "clusters/-_.x", "UPPER/lower.9"};

START_TEST(put_get)
{
	struct folder f = open_folder();
	struct err e = {0};
	const char *name = names[_i];
	const struct tstamp before = clock_now();
	struct object_info info;
	void *p = NULL;
	size_t n;

	fx_fails(backend_stat(f.b, name, &info, &e), -ENOENT, &e);
	fx_ok(backend_put(f.b, name, "hello", 5, &e), &e);
	fx_ok(backend_stat(f.b, name, &info, &e), &e);
	ck_assert_uint_eq(info.size, 5);
	/* A file system's clock ticks in hundredths of a second. */
	ck_assert_int_ge(info.put.sec, before.sec - 1);
	ck_assert_int_le(info.put.sec, clock_now().sec);
	fx_ok(backend_get(f.b, name, 5, &p, &n, &e), &e);
	fx_same(name, p, n, "hello", 5);
	free(p);
	fx_fails(backend_get(f.b, name, 4, &p, &n, &e), -EFBIG, &e);
	/* The old one stays. */
	fx_fails(backend_put(f.b, name, "other", 5, &e), -EEXIST, &e);
	fx_ok(backend_get(f.b, name, 100, &p, &n, &e), &e);
	fx_same(name, p, n, "hello", 5);
	ck_assert_int_eq(((char *)p)[n], 0);
	free(p);
	fx_ok(backend_remove(f.b, name, &e), &e);
	fx_fails(backend_remove(f.b, name, &e), -ENOENT, &e);
	ck_assert_ptr_nonnull(strstr(e.text, name));
	fx_ok(backend_barrier(f.b, &e), &e);
	fx_ok(backend_put(f.b, name, "", 0, &e), &e);
	fx_ok(backend_get(f.b, name, 0, &p, &n, &e), &e);
	ck_assert_uint_eq(n, 0);
	free(p);
	close_folder(&f);
}
END_TEST

START_TEST(ranges)
{
	struct folder f = open_folder();
	struct object *o;
	struct err e = {0};
	uint64_t rng = check_seed();
	uint8_t *p = malloc(100000), *q = malloc(100000);

	check_rand_fill(&rng, p, 100000);
	fx_ok(backend_put(f.b, "packs/x", p, 100000, &e), &e);
	fx_fails(backend_open(f.b, "packs/y", &o, &e), -ENOENT, &e);
	fx_ok(backend_open(f.b, "packs/x", &o, &e), &e);
	for (int i = 0; i < 200; i++) {
		uint64_t off = check_rand_below(&rng, 110000), n = check_rand_below(&rng, 100000);
		uint64_t want = off >= 100000 ? 0 : n < 100000 - off ? n : 100000 - off;

		object_advise(o, off, n);
		ck_assert_int_eq(object_read(o, off, q, n, &e), want);
		ck_assert_int_eq(memcmp(q, p + off, want), 0);
	}
	/* An open object outlives its name. */
	fx_ok(backend_remove(f.b, "packs/x", &e), &e);
	ck_assert_int_eq(object_read(o, 0, q, 10, &e), 10);
	object_close(o);
	object_close(NULL);
	free(p);
	free(q);
	close_folder(&f);
}
END_TEST

static int stop_at_two(void *arg, const char *name, const struct object_info *info)
{
	(void)name;
	(void)info;
	return ++*(int *)arg == 2 ? 77 : 0;
}

START_TEST(list)
{
	struct folder f = open_folder();
	struct fx_objects o = {0};
	struct err e = {0};
	char *path;
	int count = 0;

	fx_ok(backend_list(f.b, "packs", fx_object, &o, &e), &e);
	ck_assert_uint_eq(o.n, 0);
	for (int i = 0; i < 300; i++) {
		char name[40];

		snprintf(name, sizeof(name), "packs/%d/%d", i % 7, i);
		fx_ok(backend_put(f.b, name, "12345678", i % 8, &e), &e);
	}
	fx_ok(backend_put(f.b, "packs2/x", "", 0, &e), &e);
	/* What is no object: hidden names, links, fifos. */
	path = io_join(f.dir, "packs/.new-0123");
	close(open(path, O_CREAT | O_WRONLY, 0600));
	free(path);
	path = io_join(f.dir, "packs/link");
	ck_assert_int_eq(symlink("1/1", path), 0);
	free(path);
	path = io_join(f.dir, "packs/fifo");
	ck_assert_int_eq(mkfifo(path, 0600), 0);
	free(path);
	fx_ok(backend_list(f.b, "packs", fx_object, &o, &e), &e);
	ck_assert_uint_eq(o.n, 300);
	for (size_t i = 0; i < o.n; i++) {
		int a, b;

		ck_assert_int_eq(sscanf(o.names[i], "packs/%d/%d", &a, &b), 2);
		ck_assert_int_eq(a, b % 7);
		ck_assert_uint_eq(o.sizes[i], b % 8);
	}
	ck_assert_int_eq(backend_list(f.b, "packs", stop_at_two, &count, &e), 77);
	ck_assert_int_eq(count, 2);
	fx_objects_free(&o);
	close_folder(&f);
}
END_TEST

START_TEST(uploads)
{
	struct folder f = open_folder();
	struct upload *u, *v;
	struct fx_objects o = {0};
	struct err e = {0};
	uint8_t block[50000];
	void *p;
	size_t n;

	memset(block, 'b', sizeof(block));
	fx_ok(upload_begin(f.b, "packs", &u, &e), &e);
	fx_ok(upload_begin(f.b, "packs", &v, &e), &e);
	for (int i = 0; i < 200; i++)
		fx_ok(upload_write(u, block, sizeof(block), &e), &e);
	fx_ok(upload_write(v, "v", 1, &e), &e);
	/* Nothing is seen before the commit, nothing is left without one. */
	fx_ok(backend_list(f.b, "packs", fx_object, &o, &e), &e);
	ck_assert_uint_eq(o.n, 0);
	fx_ok(upload_sync(u, &e), &e);
	fx_ok(upload_write(u, "end", 3, &e), &e);
	fx_ok(upload_commit(u, "packs/u", &e), &e);
	fx_fails(upload_commit(v, "packs/u", &e), -EEXIST, &e);
	upload_free(u);
	upload_free(v);
	upload_free(NULL);
	fx_ok(backend_barrier(f.b, &e), &e);
	fx_ok(backend_list(f.b, "packs", fx_object, &o, &e), &e);
	ck_assert_uint_eq(o.n, 1);
	fx_ok(backend_get(f.b, "packs/u", 1u << 30, &p, &n, &e), &e);
	ck_assert_uint_eq(n, 200 * sizeof(block) + 3);
	ck_assert_int_eq(memcmp((char *)p + n - 4, "bend", 4), 0);
	free(p);
	fx_objects_free(&o);
	close_folder(&f);
}
END_TEST

struct racer {
	struct backend *b;
	int number, won;
	pthread_t thread;
};

static void *race(void *arg)
{
	struct racer *r = arg;
	char text[8], name[32];

	for (int i = 0; i < 50; i++) {
		int n = snprintf(text, sizeof(text), "%d", r->number), rc;

		snprintf(name, sizeof(name), "race/%d", i);
		rc = backend_put(r->b, name, text, n, NULL);
		ck_assert(rc == 0 || rc == -EEXIST);
		r->won += rc == 0;
	}
	return NULL;
}

START_TEST(one_wins)
{
	struct folder f = open_folder();
	struct racer r[4];
	int won = 0;

	for (int i = 0; i < 4; i++) {
		r[i] = (struct racer){.b = f.b, .number = i};
		pthread_create(&r[i].thread, NULL, race, &r[i]);
	}
	for (int i = 0; i < 4; i++) {
		pthread_join(r[i].thread, NULL);
		won += r[i].won;
	}
	ck_assert_int_eq(won, 50);
	close_folder(&f);
}
END_TEST

/* Root writes into somebody's folder: what is new is his. */
START_TEST(gives_away)
{
	struct folder f;
	struct stat st;
	struct err e = {0};
	char *path;

	if (geteuid())
		return; /* only root can give away; as an ordinary user there is nothing to see */
	f.dir = check_tempdir();
	ck_assert_int_eq(chown(f.dir, 1234, 2345), 0);
	fx_ok(backend_local(f.dir, &f.b, &e), &e);
	fx_ok(backend_put(f.b, "a/b/c", "x", 1, &e), &e);
	static const char *const made[] = {"a", "a/b", "a/b/c"};
	for (int i = 0; i < 3; i++) {
		path = io_join(f.dir, made[i]);
		ck_assert_int_eq(stat(path, &st), 0);
		ck_assert_uint_eq(st.st_uid, 1234);
		ck_assert_uint_eq(st.st_gid, 2345);
		/* Nobody may change an object, and others may not read it. */
		ck_assert_uint_eq(st.st_mode & 0227, S_ISDIR(st.st_mode) ? 0200 : 0);
		free(path);
	}
	close_folder(&f);
}
END_TEST

START_TEST(no_folder)
{
	struct backend *b;
	struct err e = {0};
	char *dir = check_tempdir(), *path = io_join(dir, "none");

	fx_fails(backend_local(path, &b, &e), -ENOENT, &e);
	close(open(path, O_CREAT | O_WRONLY, 0600));
	fx_fails(backend_local(path, &b, &e), -ENOTDIR, &e);
	free(path);
	check_rmtree(dir);
	free(dir);
}
END_TEST

/* A folder that was listed and is gone by the time of the barrier has no names to make durable. */
START_TEST(barrier_after_rmdir)
{
	struct folder f = open_folder();
	struct fx_objects o = {0};
	struct err e = {0};
	uint64_t free_bytes = 0, total = 0;
	char *path = io_join(f.dir, "gone");

	fx_ok(backend_put(f.b, "gone/x", "x", 1, &e), &e);
	fx_ok(backend_list(f.b, "gone", fx_object, &o, &e), &e);
	ck_assert_uint_eq(o.n, 1);
	check_rmtree(path);
	fx_ok(backend_barrier(f.b, &e), &e);
	fx_ok(backend_put(f.b, "gone/x", "x", 1, &e), &e);
	fx_ok(backend_space(f.b, &free_bytes, &total, &e), &e);
	ck_assert_uint_gt(free_bytes, 0);
	ck_assert_uint_ge(total, free_bytes);
	free(path);
	fx_objects_free(&o);
	close_folder(&f);
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("store/backend");
	TCase *t = tcase_create("all");

	tcase_add_loop_test(t, put_get, 0, sizeof(names) / sizeof(*names));
	tcase_add_test(t, ranges);
	tcase_add_test(t, list);
	tcase_add_test(t, uploads);
	tcase_add_test(t, one_wins);
	tcase_add_test(t, gives_away);
	tcase_add_test(t, no_folder);
	tcase_add_test(t, barrier_after_rmdir);
	suite_add_tcase(s, t);
	return s;
}
CHECK_MAIN(suite)
