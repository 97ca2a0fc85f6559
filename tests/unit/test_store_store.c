/* Repositories: init and open with their refusals, a config object that is cut or bent, cluster names. */
#include <pthread.h>

#include "src/base/crc32c.h"
#include "tests/unit/store_fixture.h"

static const struct {
	const char *what;
	struct store_settings s;
	int r;
} settings[] = {
	{"defaults", {0}, 0},
	{"least", {.chunk_size = 8192, .delta_chain = 1, .level = 1}, 0},
	{"most", {.chunk_size = 1u << 20, .delta_chain = 64, .level = 19}, 0},
	{"no deltas", {.delta_chain = UINT32_MAX}, 0},
	{"small chunks", {.chunk_size = 4096}, -EINVAL},
	{"large chunks", {.chunk_size = 2u << 20}, -EINVAL},
	{"odd chunks", {.chunk_size = 65535}, -EINVAL},
	{"long chains", {.delta_chain = 65}, -EINVAL},
	{"level 20", {.level = 20}, -EINVAL},
	{"level -1", {.level = -1}, -EINVAL},
};

START_TEST(init)
{
	char *dir = check_tempdir(), *path = io_join(dir, "a/b/repo"), id[STORE_ID_TEXT] = "none";
	struct store_settings want = settings[_i].s;
	struct store *s;
	struct err e = {0};
	int r = store_init(path, &settings[_i].s, id, &e);

	ck_assert_msg(r == settings[_i].r, "%s: %d %s", settings[_i].what, r, e.text);
	if (r < 0) {
		ck_assert_str_eq(id, "none");
		ck_assert_int_ne(access(path, F_OK), 0);
	} else {
		ck_assert_uint_eq(strspn(id, "0123456789abcdef"), 32);
		fx_ok(store_open(path, NULL, &s, &e), &e);
		ck_assert_str_eq(store_id(s), id);
		ck_assert_str_eq(store_path(s), path);
		want.chunk_size = want.chunk_size ? want.chunk_size : 65536;
		want.delta_chain = want.delta_chain ? want.delta_chain : 4;
		ck_assert_uint_eq(store_settings(s)->chunk_size, want.chunk_size);
		ck_assert_uint_eq(store_settings(s)->delta_chain, want.delta_chain);
		if (want.level)
			ck_assert_int_eq(store_settings(s)->level, want.level);
		store_free(s);
		fx_fails(store_init(path, NULL, id, &e), -EEXIST, &e);
	}
	check_rmtree(dir);
	free(dir);
	free(path);
}
END_TEST

START_TEST(refusals)
{
	char *dir = check_tempdir(), *path = io_join(dir, "x"), *file = io_join(dir, "x/y"),
	     id[STORE_ID_TEXT];
	struct store *s;
	struct err e = {0};

	fx_fails(store_open(path, NULL, &s, &e), -ENOENT, &e);
	ck_assert_ptr_nonnull(strstr(e.text, "init")); /* what to do */
	mkdir(path, 0700);
	fx_fails(store_open(path, NULL, &s, &e), -ENOENT, &e);
	close(open(file, O_CREAT | O_WRONLY, 0600));
	fx_fails(store_init(path, NULL, id, &e), -ENOTEMPTY, &e);
	fx_fails(store_init(file, NULL, id, &e), -ENOTDIR, &e);
	fx_fails(store_open(file, NULL, &s, &e), -ENOTDIR, &e);
	store_free(NULL);
	check_rmtree(dir);
	free(dir);
	free(path);
	free(file);
}
END_TEST

/* The config object by hand. */
static int open_config(const char *repo, const char *text, size_t n, struct store **ret, struct err *e)
{
	fx_replace(repo, "config", text, n);
	return store_open(repo, NULL, ret, e);
}

START_TEST(config)
{
	static const char body[] =
		"pgstrata-repository 1\nid 00112233445566778899aabbccddeeff\nchunk-size 16384\n"
		"delta-chain 0\nlevel 7\n";
	struct fixture f = fx_make(NULL);
	char text[300];
	struct store *s;
	struct err e = {0};
	int n = snprintf(text, sizeof(text), "%scrc32c %08x\n", body, crc32c(0, body, strlen(body)));

	fx_close(&f);
	fx_ok(open_config(f.repo, text, n, &s, &e), &e);
	ck_assert_str_eq(store_id(s), "00112233445566778899aabbccddeeff");
	ck_assert_uint_eq(store_settings(s)->chunk_size, 16384);
	ck_assert_uint_eq(store_settings(s)->delta_chain, UINT32_MAX);
	ck_assert_int_eq(store_settings(s)->level, 7);
	store_free(s);
	for (int k = 0; k < n; k++)
		fx_fails(open_config(f.repo, text, k, &s, &e), -EBADMSG, &e);
	for (int i = 0; i < 8 * n; i++) {
		char was = text[i / 8];
		int r;

		text[i / 8] = (char)(was ^ 1 << i % 8);
		r = open_config(f.repo, text, n, &s, &e);
		/* Another version is another's to read; case of the CRC's digits is nobody's. */
		if (!r) {
			ck_assert_msg(i / 8 > n - 10 && strtoul(text + n - 9, NULL, 16) ==
								crc32c(0, body, strlen(body)),
				"bit %d", i);
			store_free(s);
		} else {
			ck_assert_msg(r == -EBADMSG || (r == -EOPNOTSUPP && i / 8 == 20), "bit %d: %d", i, r);
		}
		text[i / 8] = was;
	}
	/* Checksums that fit what does not. */
	static const struct {
		const char *body;
		int r;
	} odd[] = {{"pgstrata-repository 2\n", -EOPNOTSUPP},
		{"pgstrata-repository 1\nid 00112233445566778899aabbccddee\nchunk-size 16384\ndelta-chain "
		 "0\nlevel 7\n",
			-EBADMSG},
		{"pgstrata-repository 1\nid 00112233445566778899aabbccddeeff\nchunk-size 16385\ndelta-chain "
		 "0\nlevel 7\n",
			-EINVAL},
		{"pgstrata-repository 1\nid 00112233445566778899aabbccddeeff\nchunk-size 16384\nlevel 7\n",
			-EBADMSG},
		{"pgstrata-repository 1\nid 00112233445566778899aabbccddeeff\nchunk-size 16384\ndelta-chain "
		 "0\nlevel 7\nmore 1\n",
			-EBADMSG},
		{"", -EBADMSG}, {"\n", -EBADMSG}};
	for (size_t i = 0; i < sizeof(odd) / sizeof(*odd); i++) {
		int len = snprintf(text, sizeof(text), "%scrc32c %08x\n", odd[i].body,
			crc32c(0, odd[i].body, strlen(odd[i].body)));

		fx_fails(open_config(f.repo, text, len, &s, &e), odd[i].r, &e);
	}
	char big[5000];
	memset(big, 'x', sizeof(big));
	fx_fails(open_config(f.repo, big, sizeof(big), &s, &e), -EFBIG, &e);
	fx_free(&f);
}
END_TEST

/* ---- clusters ---- */

static const struct {
	const char *name;
	bool good;
} names[] = {{"main", true}, {"A-z_0.9", true}, {"_x", true}, {"9", true},
	{"aaaaaaaaaabbbbbbbbbbccccccccccddddddddddeeeeeeeeeeffffffffffggg", true},
	{"aaaaaaaaaabbbbbbbbbbccccccccccddddddddddeeeeeeeeeeffffffffffgggg", false}, {"", false},
	{".", false}, {"..", false}, {".x", false}, {"-x", false}, {"a/b", false}, {"a b", false},
	{"\xc3\xbc", false}, {"a\n", false}};

START_TEST(cluster_names)
{
	struct fixture f = fx_make(NULL);
	struct err e = {0};
	char *identity;

	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
		int want = names[i].good ? 0 : -EINVAL;

		e = (struct err){0};
		ck_assert_int_eq(store_check_cluster_name(names[i].name, &e), want);
		ck_assert_int_eq(store_bind_cluster(f.s, names[i].name, "7", &e), want);
		if (!want)
			continue;
		ck_assert(e.text[0]);
		ck_assert_int_eq(store_cluster_identity(f.s, names[i].name, &identity, &e), want);
	}
	fx_free(&f);
}
END_TEST

START_TEST(clusters)
{
	struct fixture f = fx_make(NULL);
	struct err e = {0};
	char *identity, **v;
	static const char *const bad[] = {"", "a b", "a\n", "x\ty"};
	char longest[130];

	fx_ok(store_clusters(f.s, &v, &e), &e);
	ck_assert_ptr_null(v[0]);
	strv_free(v);
	strv_free(NULL);
	ck_assert_int_eq(store_cluster_identity(f.s, "main", &identity, &e), -ENOENT);
	fx_ok(store_bind_cluster(f.s, "main", "7012345678901234567", &e), &e);
	fx_ok(store_bind_cluster(f.s, "main", "7012345678901234567", &e), &e);
	fx_fails(store_bind_cluster(f.s, "main", "7", &e), -EEXIST, &e);
	ck_assert_ptr_nonnull(strstr(e.text, "7012345678901234567"));
	memset(longest, 'i', 129);
	longest[129] = 0;
	fx_fails(store_bind_cluster(f.s, "b", longest, &e), -EINVAL, &e);
	longest[128] = 0;
	fx_ok(store_bind_cluster(f.s, "b", longest, &e), &e);
	fx_ok(store_cluster_identity(f.s, "b", &identity, &e), &e);
	ck_assert_str_eq(identity, longest);
	free(identity);
	fx_ok(store_bind_cluster(f.s, "a", "1", &e), &e);
	for (size_t i = 0; i < 4; i++)
		fx_fails(store_bind_cluster(f.s, "c", bad[i], &e), -EINVAL, &e);
	fx_ok(store_clusters(f.s, &v, &e), &e);
	ck_assert_str_eq(v[0], "a");
	ck_assert_str_eq(v[1], "b");
	ck_assert_str_eq(v[2], "main");
	ck_assert_ptr_null(v[3]);
	strv_free(v);
	/* Its bytes, cut and bent. */
	size_t n;
	uint8_t *p = fx_read_file(f.repo, "clusters/main", &n);
	static const char body[] = "pgstrata-cluster 1\nidentity 7012345678901234567\n";
	char want[200];

	snprintf(want, sizeof(want), "%scrc32c %08x\n", body, crc32c(0, body, strlen(body)));
	fx_same("cluster", p, n, want, strlen(want));
	for (size_t k = 0; k < n; k++) {
		fx_replace(f.repo, "clusters/main", p, k);
		fx_fails(store_cluster_identity(f.s, "main", &identity, &e), -EBADMSG, &e);
	}
	/* The last LF says nothing. */
	for (size_t i = 0; i + 1 < n; i++) {
		p[i] ^= 0x11;
		fx_replace(f.repo, "clusters/main", p, n);
		p[i] ^= 0x11;
		fx_fails(store_cluster_identity(f.s, "main", &identity, &e), -EBADMSG, &e);
		fx_fails(store_bind_cluster(f.s, "main", "7012345678901234567", &e), -EBADMSG, &e);
	}
	free(p);
	fx_free(&f);
}
END_TEST

struct binder {
	struct fixture *f;
	const char *identity;
	int won;
	pthread_t thread;
};

static void *bind_all(void *arg)
{
	struct binder *b = arg;
	char name[16];

	for (int i = 0; i < 40; i++) {
		int r;

		snprintf(name, sizeof(name), "c%d", i);
		r = store_bind_cluster(b->f->s, name, b->identity, NULL);
		if (r && r != -EEXIST)
			abort();
		b->won += !r;
	}
	return NULL;
}

/* Two want each name for another system: one has it. */
START_TEST(bind_race)
{
	struct fixture f = fx_make(NULL);
	struct binder b[2] = {{.f = &f, .identity = "1"}, {.f = &f, .identity = "2"}};

	for (int i = 0; i < 2; i++)
		pthread_create(&b[i].thread, NULL, bind_all, &b[i]);
	for (int i = 0; i < 2; i++)
		pthread_join(b[i].thread, NULL);
	ck_assert_int_eq(b[0].won + b[1].won, 40);
	fx_free(&f);
}
END_TEST

struct init_arg {
	const char *path;
	int r;
	pthread_t thread;
};

static void *init_one(void *arg)
{
	struct init_arg *a = arg;
	char id[STORE_ID_TEXT];

	a->r = store_init(a->path, NULL, id, NULL);
	return NULL;
}

START_TEST(init_race)
{
	for (int round = 0; round < 10; round++) {
		char *dir = check_tempdir(), *path = io_join(dir, "r");
		struct init_arg a[4];
		struct store *s;
		struct err e = {0};
		int won = 0;

		for (int i = 0; i < 4; i++) {
			a[i] = (struct init_arg){.path = path};
			pthread_create(&a[i].thread, NULL, init_one, &a[i]);
		}
		for (int i = 0; i < 4; i++) {
			pthread_join(a[i].thread, NULL);
			ck_assert_msg(a[i].r == 0 || a[i].r == -EEXIST || a[i].r == -ENOTEMPTY, "%d", a[i].r);
			won += !a[i].r;
		}
		ck_assert_int_eq(won, 1);
		fx_ok(store_open(path, NULL, &s, &e), &e);
		store_free(s);
		check_rmtree(dir);
		free(dir);
		free(path);
	}
}
END_TEST

START_TEST(usage)
{
	struct fixture f = fx_make(NULL);
	struct fx_tree t = {0};
	struct fx_objects o;
	uint64_t rng = check_seed(), bytes, sum = 0;
	struct err e = {0};

	fx_ok(store_usage(f.s, &bytes, &e), &e);
	ck_assert_uint_eq(bytes, 0);
	for (int i = 0; i < 5; i++) {
		uint8_t *p = fx_bytes(&rng, 100000);
		char name[8];

		snprintf(name, sizeof(name), "%d", i);
		fx_add_file(&t, name, p, 100000);
		free(p);
	}
	free(fx_ingest(&f, &t, NULL, &rng, NULL));
	fx_ok(store_usage(f.s, &bytes, &e), &e);
	o = fx_objects(f.repo);
	for (size_t i = 0; i < o.n; i++)
		sum += o.sizes[i];
	ck_assert_uint_gt(bytes, 0);
	ck_assert_uint_le(bytes, sum);
	ck_assert_uint_ge(bytes + 4096, sum);
	fx_objects_free(&o);
	fx_tree_free(&t);
	fx_free(&f);
}
END_TEST

/* An index folder that cannot be used is done without. */
START_TEST(no_index_folder)
{
	struct fixture f = fx_make(NULL);
	struct fx_tree t = {0};
	uint64_t rng = check_seed();
	char *id;
	static const char *const dirs[] = {"/proc/none", "/dev/null/x", NULL};
	struct err e = {0};

	fx_add_file(&t, "x", "0123456789", 10);
	id = fx_ingest(&f, &t, NULL, &rng, NULL);
	for (int i = 0; i < 3; i++) {
		struct store_options o = {.index_dir = dirs[i]};

		fx_close(&f);
		fx_ok(store_open(f.repo, &o, &f.s, &e), &e);
		fx_check_snapshot(&f, id, &t);
	}
	free(id);
	fx_tree_free(&t);
	fx_free(&f);
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("store/store");
	TCase *t = tcase_create("all");

	tcase_add_loop_test(t, init, 0, sizeof(settings) / sizeof(*settings));
	tcase_add_test(t, refusals);
	tcase_add_test(t, config);
	tcase_add_test(t, cluster_names);
	tcase_add_test(t, clusters);
	tcase_add_test(t, bind_race);
	tcase_add_test(t, init_race);
	tcase_add_test(t, usage);
	tcase_add_test(t, no_index_folder);
	suite_add_tcase(s, t);
	return s;
}
CHECK_MAIN(suite)
