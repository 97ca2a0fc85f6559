/* Trees of every size against a simple model: by name, by position, in order; what the writer refuses; what two
 * versions of a directory share. And the sorter that feeds the writer. */
#include "store/chunker.h"
#include "store/node.h"
#include "store/sorter.h"
#include "store/treewriter.h"
#include "tests/unit/store_fixture.h"

/* A repository that takes nodes. */
struct grove {
	struct fixture f;
	struct packing *packing;
	struct chunker *chunker;
	unsigned nodes, fresh;
	size_t largest;
};

static int emit(void *arg, const void *node, size_t n, struct digest *ret, struct err *e)
{
	struct grove *g = arg;
	struct chunk_result res;
	int r = chunker_store(g->chunker, RECORD_NODE, node, n, NULL, &res, e);

	*ret = res.id;
	g->nodes++;
	g->fresh += res.fresh;
	g->largest = n > g->largest ? n : g->largest;
	return r;
}

static struct grove grow(void)
{
	struct grove g = {.f = fx_make(NULL)};
	struct err e = {0};

	fx_ok(store_refresh(g.f.s, &e), &e);
	fx_ok(packing_new(g.f.s, "test", &g.packing, &e), &e);
	ck_assert_int_eq(chunker_new(g.f.s, g.packing, NODE_MAX, &g.chunker), 0);
	return g;
}

static void settle(struct grove *g)
{
	struct err e = {0};

	fx_ok(packing_publish(g->packing, &e), &e);
	chunker_free(g->chunker);
	packing_free(g->packing);
	g->chunker = NULL;
	g->packing = NULL;
}

static void fell(struct grove *g)
{
	chunker_free(g->chunker);
	packing_free(g->packing);
	fx_free(&g->f);
}

/* ---- one directory ---- */

/* Name i of n, rising; every seventh entry is a directory with i % 5 links in it. */
static char *name_of(unsigned i, unsigned n)
{
	char *s;

	ck_assert_int_gt(asprintf(&s, "%0*u%.*s", n > 1000 ? 7 : 3, i, (int)(i % 40),
				 "........................................"),
		0);
	return s;
}

static unsigned children_of(unsigned i)
{
	return i % 7 == 3 ? i % 5 : 0;
}

static struct dir_ref write_dir(struct grove *g, unsigned n, unsigned skip)
{
	struct treewriter *t;
	struct tree_totals totals;
	struct dir_ref root;
	struct err e = {0};
	unsigned dirs = 0, links = 0;

	ck_assert_int_eq(treewriter_new(emit, g, &t), 0);
	for (unsigned i = 0; i < n; i++) {
		char *name = name_of(i, n), *path;
		struct entry en = {
			.type = i % 7 == 3 ? ENTRY_DIR : ENTRY_SYMLINK, .meta = fx_meta, .target = "t"};

		if (en.type == ENTRY_DIR)
			en.dir = (struct dir_ref){0};
		en.meta.uid = i / 1000;
		if (i != skip) {
			fx_ok(treewriter_add(t, name, &en, &e), &e);
			dirs += en.type == ENTRY_DIR;
			links += en.type == ENTRY_SYMLINK;
			en.type = ENTRY_SYMLINK;
			en.target = "t";
			for (unsigned k = 0; k < children_of(i); k++, links++) {
				ck_assert_int_gt(asprintf(&path, "%s/%u", name, k), 0);
				fx_ok(treewriter_add(t, path, &en, &e), &e);
				free(path);
			}
		}
		free(name);
	}
	fx_ok(treewriter_finish(t, &root, &totals, &e), &e);
	ck_assert_uint_eq(totals.dirs, dirs);
	ck_assert_uint_eq(totals.symlinks, links);
	ck_assert_uint_eq(totals.files, 0);
	treewriter_free(t);
	return root;
}

struct walker {
	unsigned n, next;
	uint64_t number, stop;
	uint64_t *numbers;
};

static int step(void *arg, const struct entry *en)
{
	struct walker *w = arg;
	char *name = name_of(w->next, w->n);

	if (strcmp(en->name, name) || en->position != w->next || en->number != w->numbers[w->next])
		ck_abort_msg("\"%s\" at %" PRIu64 ", number %" PRIu64 "; wanted \"%s\" at %u, %" PRIu64,
			en->name, en->position, en->number, name, w->next, w->numbers[w->next]);
	free(name);
	return ++w->next == w->stop ? 5 : 0;
}

static const unsigned counts[] = {0, 1, 2, 31, 32, 33, 127, 512, 513, 1024, 20000, 100000};

START_TEST(one_directory)
{
	unsigned n = counts[_i];
	struct grove g = grow();
	struct dir_ref dir = write_dir(&g, n, UINT32_MAX);
	uint64_t *numbers = calloc(n + 1, sizeof(*numbers)), rng = check_seed();
	struct walker w;
	struct err e = {0};

	settle(&g);
	for (unsigned i = 0; i < n; i++)
		numbers[i + 1] = numbers[i] + 1 + children_of(i);
	ck_assert_uint_eq(dir.entries, n);
	ck_assert_uint_eq(dir.descendants, numbers[n]);
	ck_assert_int_eq(digest_is_zero(&dir.node), n == 0);
	ck_assert_uint_lt(g.largest, 256u << 10);
	/* From every position, or some of them. */
	for (unsigned i = 0; i < 1100; i++) {
		uint64_t from = n <= 1024 ? i : i < 3 ? i : i == 3 ? n - 1 : check_rand_below(&rng, n);

		if (from > n + 1u)
			break;
		w = (struct walker){.n = n, .next = (unsigned)from, .numbers = numbers};
		w.stop = n <= 1024 || i == 0 ? UINT64_MAX : from + 300;
		int r = tree_walk(g.f.s, &dir, from, step, &w, &e);
		if (from >= n) {
			ck_assert_int_eq(r, 0);
			ck_assert_uint_eq(w.next, from);
		} else if (w.stop <= n) {
			ck_assert_int_eq(r, 5);
		} else {
			fx_ok(r, &e);
			ck_assert_uint_eq(w.next, n);
		}
		if (n > 1024 && i > 100)
			break;
	}
	/* By name, and names that are not there on either side of one. */
	for (unsigned i = 0; i < (n < 3000 ? n : 3000); i += PART(1, 10)) {
		unsigned k = n < 3000 ? i : (unsigned)check_rand_below(&rng, n);
		char *name = name_of(k, n), *other;
		struct entry *en;

		fx_ok(tree_lookup(g.f.s, &dir, name, &en, &e), &e);
		if (strcmp(en->name, name) || en->position != k || en->number != numbers[k] ||
			(k % 7 == 3 &&
				(en->dir.entries != children_of(k) || en->dir.descendants != children_of(k))))
			ck_abort_msg("\"%s\" is wrong", name);
		free(en);
		ck_assert_int_gt(asprintf(&other, "%s!", name), 0);
		if (tree_lookup(g.f.s, &dir, other, &en, &e) != -ENOENT)
			ck_abort_msg("\"%s\" was found", other);
		other[strlen(name) - 1]--;
		if (tree_lookup(g.f.s, &dir, other, &en, &e) != -ENOENT)
			ck_abort_msg("\"%s\" was found", other);
		free(other);
		free(name);
	}
	static const char *const none[] = {"", "\x01", "\xff\xff", "zzz", "."};
	for (int i = 0; i < 5; i++) {
		struct entry *en;

		ck_assert_int_eq(tree_lookup(g.f.s, &dir, none[i], &en, &e), -ENOENT);
	}
	free(numbers);
	fell(&g);
}
END_TEST

/* An insertion changes one leaf and the nodes above it. */
START_TEST(shares)
{
	struct grove g = grow();
	unsigned all, rest;

	write_dir(&g, 20000, UINT32_MAX);
	all = g.nodes;
	for (unsigned skip = 0; skip < 20000; skip += 1777) {
		g.fresh = 0;
		write_dir(&g, 20000, skip);
		rest = g.fresh;
		ck_assert_msg(rest >= 1 && rest <= 8, "without %u: %u new nodes of %u", skip, rest, all);
	}
	g.fresh = 0;
	write_dir(&g, 20000, UINT32_MAX);
	ck_assert_uint_eq(g.fresh, 0);
	fell(&g);
}
END_TEST

/* ---- what the writer takes ---- */

static const struct {
	const char *what;
	const char *paths[6]; /* a trailing '/' is a directory */
	int code;
	uint64_t entries, descendants, dirs;
} writes[] = {
	{"nothing", {NULL}, 0, 0, 0, 0},
	{"implied parents", {"a/b/c/d", "a/b/e", "a/f"}, 0, 1, 6, 3},
	{"an implied one beside", {"a", "a.b/c", "b/c/"}, 0, 3, 5, 3},
	{"empty directories", {"a/", "b/", "b/c/", "b/c/d/"}, 0, 2, 4, 4},
	{"a directory, then what is in it", {"a/", "a/b", "a/b.c", "ab"}, 0, 2, 4, 1},
	{"hostile names", {" ", "*", "-rf", "\\n", "\xc3\xbc", "\xff"}, 0, 6, 6, 0},
	{"a file twice", {"a", "a"}, -EEXIST, 0, 0, 0},
	{"a directory twice", {"a/", "a/"}, -EEXIST, 0, 0, 0},
	{"a directory and a file", {"a/", "a"}, -EEXIST, 0, 0, 0},
	{"a file as a directory", {"a", "a/b"}, -EEXIST, 0, 0, 0},
	{"one twice, deep", {"a/b/c", "a/b/c"}, -EEXIST, 0, 0, 0},
	{"out of order", {"b", "a"}, -EINVAL, 0, 0, 0},
	{"back to a closed directory", {"a/b", "c", "a/d"}, -EINVAL, 0, 0, 0},
	{"in a directory", {"a/c", "a/b"}, -EINVAL, 0, 0, 0},
};

START_TEST(writer)
{
	struct grove g = grow();
	struct treewriter *t;
	struct tree_totals totals;
	struct dir_ref root;
	struct err e = {0};
	int r = 0;

	ck_assert_int_eq(treewriter_new(emit, &g, &t), 0);
	for (int i = 0; i < 6 && writes[_i].paths[i] && !r; i++) {
		char *path = strdup(writes[_i].paths[i]);
		size_t len = strlen(path);
		struct entry en = {.type = ENTRY_FILE, .meta = fx_meta};

		en.file.inlined = (const uint8_t *)"";
		if (path[len - 1] == '/') {
			path[len - 1] = 0;
			en = (struct entry){.type = ENTRY_DIR, .meta = fx_meta};
		}
		r = treewriter_add(t, path, &en, &e);
		free(path);
	}
	if (writes[_i].code) {
		fx_fails(r, writes[_i].code, &e);
	} else {
		fx_ok(r, &e);
		fx_ok(treewriter_finish(t, &root, &totals, &e), &e);
		ck_assert_uint_eq(root.entries, writes[_i].entries);
		ck_assert_uint_eq(root.descendants, writes[_i].descendants);
		ck_assert_uint_eq(totals.dirs, writes[_i].dirs);
		ck_assert_uint_eq(totals.dirs + totals.files, writes[_i].descendants);
	}
	treewriter_free(t);
	treewriter_free(NULL);
	fell(&g);
}
END_TEST

START_TEST(implied_parent)
{
	struct grove g = grow();
	struct treewriter *t;
	struct tree_totals totals;
	struct dir_ref root;
	struct entry en = {.type = ENTRY_SYMLINK, .meta = fx_meta, .target = "x"}, *got;
	struct err e = {0};

	ck_assert_int_eq(treewriter_new(emit, &g, &t), 0);
	fx_ok(treewriter_add(t, "a/b/c", &en, &e), &e);
	fx_ok(treewriter_finish(t, &root, &totals, &e), &e);
	treewriter_free(t);
	settle(&g);
	fx_ok(tree_find(g.f.s, &root, "a/b", &got, &e), &e);
	ck_assert_int_eq(got->type, ENTRY_DIR);
	ck_assert_uint_eq(got->meta.mode, 0700);
	ck_assert_uint_eq(got->meta.uid, 26);
	ck_assert_str_eq(got->meta.user, "postgres");
	free(got);
	static const struct {
		const char *path;
		int r;
	} finds[] = {{"a", 0}, {"a/b/c", 0}, {"/a//b/c/", 0}, {"", -EINVAL}, {"/", -EINVAL}, {"b", -ENOENT},
		{"a/x/c", -ENOENT}, {"a/b/c/d", -ENOTDIR}, {"a/./b", -ENOENT}, {"a/../a", -ENOENT}};
	for (size_t i = 0; i < sizeof(finds) / sizeof(*finds); i++) {
		int r = tree_find(g.f.s, &root, finds[i].path, &got, &e);

		ck_assert_msg(r == finds[i].r, "%s: %d", finds[i].path, r);
		if (!r)
			free(got);
	}
	fell(&g);
}
END_TEST

/* As deep as a path can be, and deeper. */
START_TEST(depth)
{
	struct grove g = grow();
	struct treewriter *t;
	struct tree_totals totals;
	struct dir_ref root;
	struct entry en = {.type = ENTRY_SYMLINK, .meta = fx_meta, .target = "x"}, *got;
	struct err e = {0};
	char path[4096];

	for (int n = 500; n < 520; n += 19) {
		int r;

		for (int i = 0; i < n; i++)
			memcpy(path + 2 * i, "d/", 2);
		strcpy(path + 2 * n, "x");
		ck_assert_int_eq(treewriter_new(emit, &g, &t), 0);
		r = treewriter_add(t, path, &en, &e);
		if (n < 511) {
			fx_ok(r, &e);
			fx_ok(treewriter_finish(t, &root, &totals, &e), &e);
			ck_assert_uint_eq(root.descendants, n + 1);
		} else {
			fx_fails(r, -ENAMETOOLONG, &e);
		}
		treewriter_free(t);
	}
	settle(&g);
	for (int i = 0; i < 500; i++)
		memcpy(path + 2 * i, "d/", 2);
	strcpy(path + 1000, "x");
	fx_ok(tree_find(g.f.s, &root, path, &got, &e), &e);
	ck_assert_int_eq(got->type, ENTRY_SYMLINK);
	free(got);
	fell(&g);
}
END_TEST

/* ---- the sorter ---- */

START_TEST(path_order)
{
	static const char *const rising[] = {"", "a", "a/a", "a/b/c", "a/b.c", "a/b0", "a!", "a.b", "a.b/c",
		"a0", "aa", "b", "\x7f", "\x80", "\xff"};
	size_t n = sizeof(rising) / sizeof(*rising);

	for (size_t i = 0; i < n; i++)
		for (size_t k = 0; k < n; k++) {
			int c = sorter_path_cmp(rising[i], rising[k]);

			ck_assert_msg((i < k) == (c < 0) && (i == k) == (c == 0), "\"%s\" and \"%s\": %d",
				rising[i], rising[k], c);
		}
}
END_TEST

static const struct {
	unsigned n;
	size_t memory, data;
} sorts[] = {{0, 1000, 10}, {1, 1, 10}, {2, 1, 0}, {1000, 1u << 20, 40}, {1000, 1, 10}, {5000, 20000, 200},
	{3000, 300000, 3000}, {200, 1000, 200000}};

START_TEST(sorts_all)
{
	unsigned n = sorts[_i].n, *seen = calloc(n + 1, sizeof(*seen));
	char *dir = check_tempdir(), *last = NULL;
	struct sorter *s;
	uint64_t rng = check_seed() + _i;
	struct err e = {0};
	const char *path;
	const void *data;
	size_t len;

	fx_ok(sorter_new(dir, sorts[_i].memory, &s, &e), &e);
	for (unsigned i = 0; i < n; i++) {
		size_t k = sorts[_i].data ? check_rand_below(&rng, sorts[_i].data) : 0;
		uint8_t *p = calloc(1, k + 4);
		char name[64];

		/* Two of each name: none is lost. */
		snprintf(name, sizeof(name), "%" PRIu64 "/%" PRIu64 ".%u", check_rand_below(&rng, 10),
			check_rand_below(&rng, 1000), i / 2);
		memcpy(p, &i, 4);
		memset(p + 4, (int)i, k);
		fx_ok(sorter_add(s, name, p, k + 4, &e), &e);
		free(p);
	}
	fx_ok(sorter_sort(s, &e), &e);
	for (unsigned i = 0; i < n; i++) {
		unsigned k;

		if (sorter_next(s, &path, &data, &len, &e) != 1 || (last && sorter_path_cmp(last, path) > 0))
			ck_abort_msg("\"%s\" after \"%s\": %s", path, last, e.text);
		free(last);
		last = strdup(path);
		memcpy(&k, data, 4);
		ck_assert_uint_lt(k, n);
		seen[k]++;
		for (size_t j = 4; j < len; j++)
			if (((const uint8_t *)data)[j] != (uint8_t)k)
				ck_abort_msg("data of %u is another's", k);
	}
	for (int i = 0; i < 2; i++)
		ck_assert_int_eq(sorter_next(s, &path, &data, &len, &e), 0);
	for (unsigned i = 0; i < n; i++)
		if (seen[i] != 1)
			ck_abort_msg("%u came %u times", i, seen[i]);
	sorter_free(s);
	sorter_free(NULL);
	ck_assert_int_eq(rmdir(dir), 0); /* it left nothing */
	free(last);
	free(dir);
	free(seen);
}
END_TEST

/* An entry through the sorter's bytes, whole and cut. */
START_TEST(pending)
{
	uint8_t inlined[] = "inline", map[DIGEST_LEN];
	struct entry in[4] = {{.type = ENTRY_FILE, .meta = fx_meta}, {.type = ENTRY_FILE, .meta = fx_meta},
		{.type = ENTRY_DIR, .meta = fx_meta},
		{.type = ENTRY_SYMLINK, .meta = fx_meta, .target = "to"}};

	memset(map, 0x77, DIGEST_LEN);
	in[0].file.inlined = inlined;
	in[0].file.size = 6;
	in[1].file = (struct content){.size = 1u << 30, .stored = 5, .height = 2, .chunk_shift = 16};
	memcpy(in[1].file.map.b, map, DIGEST_LEN);
	in[3].meta.mtime.sec = -1;
	for (int i = 0; i < 4; i++) {
		struct buf b = {0};
		struct entry got;
		struct err e = {0};

		pending_encode(&in[i], &b);
		for (size_t k = 0; k < b.len; k++) {
			uint8_t *exact = check_exact(b.data, k);

			fx_fails(pending_decode(exact, k, &got, &e), -EBADMSG, &e);
			free(exact);
		}
		fx_ok(pending_decode(b.data, b.len, &got, &e), &e);
		ck_assert_int_eq(got.type, in[i].type);
		ck_assert_uint_eq(got.meta.mode, 0600);
		ck_assert_str_eq(got.meta.group, "pg");
		ck_assert_int_eq(tstamp_cmp(got.meta.mtime, in[i].meta.mtime), 0);
		if (i == 0)
			fx_same("inlined", got.file.inlined, got.file.size, "inline", 6);
		if (i == 1)
			ck_assert(got.file.size == 1u << 30 && got.file.height == 2 &&
				  got.file.map.b[5] == 0x77);
		if (i == 3)
			ck_assert_str_eq(got.target, "to");
		buf_free(&b);
	}
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("store/tree");
	TCase *t = tcase_create("all");

	tcase_add_loop_test(t, one_directory, 0, sizeof(counts) / sizeof(*counts));
	tcase_add_test(t, shares);
	tcase_add_loop_test(t, writer, 0, sizeof(writes) / sizeof(*writes));
	tcase_add_test(t, implied_parent);
	tcase_add_test(t, depth);
	tcase_add_test(t, path_order);
	tcase_add_loop_test(t, sorts_all, 0, sizeof(sorts) / sizeof(*sorts));
	tcase_add_test(t, pending);
	suite_add_tcase(s, t);
	return s;
}
CHECK_MAIN(suite)
