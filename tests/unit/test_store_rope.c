/* Ropes: streams cut by content, files put together from them, read at any offset, and nodes that are damaged. */
#include "tests/unit/store_fixture.h"

#include "store/cutter.h"
#include "store/ingest_rope.h"
#include "store/prune.h"
#include "store/rope.h"
#include "store/verify.h"

static const struct meta meta = {.mode = 0644, .user = "", .group = ""};

/* Rows like those of a table; seed and row determine each. */
static void fill_rows(struct buf *b, uint64_t seed, unsigned rows)
{
	for (unsigned i = 0; i < rows; i++) {
		uint64_t state = seed * 1000003u + i;

		buf_printf(b, "%u\t%016" PRIx64 "\t%u\n", i, check_rand(&state), i % 17);
	}
	ck_assert(!b->bad);
}

static struct rope *cut_stream(struct ingest *in, const char *path, const void *p, size_t n, size_t step)
{
	struct ingest_cut *c;
	struct rope *r = NULL;
	struct err e = {0};

	fx_ok(ingest_cut_open(in, path, &c, &e), &e);
	for (size_t i = 0; i < n; i += step)
		fx_ok(ingest_cut_write(c, (const uint8_t *)p + i, n - i < step ? n - i : step, &e), &e);
	fx_ok(ingest_cut_close(c, &r, &e), &e);
	ck_assert_uint_eq(rope_size(r), n);
	return r;
}

static size_t parts_of(const struct rope *r)
{
	size_t n = 0;

	while (rope_part_len(r, n))
		n++;
	return n;
}

/* The file has these bytes, whichever way they are asked for. */
static void check_file(
	struct fixture *f, const struct snapshot *s, const char *path, const void *want, size_t n)
{
	uint64_t rng = check_seed();
	uint8_t *got = malloc(n + 1);
	struct entry *en;
	struct file *file;
	struct err e = {0};

	fx_ok(tree_find(f->s, &s->root, path, &en, &e), &e);
	ck_assert_uint_eq(en->file.size, n);
	fx_ok(file_open(f->s, &en->file, &file, &e), &e);
	ck_assert_int_eq(file_read(file, 0, got, n + 1, &e), (ssize_t)n);
	fx_same(path, got, n, want, n);
	for (int i = 0; i < 200; i++) {
		uint64_t off = check_rand_below(&rng, n), len = 1 + check_rand_below(&rng, 100000);
		size_t most = len < n - off ? (size_t)len : (size_t)(n - off);

		file_advise(file, off, (size_t)len);
		ck_assert_int_eq(file_read(file, off, got, (size_t)len, &e), (ssize_t)most);
		ck_assert_int_eq(memcmp(got, (const uint8_t *)want + off, most), 0);
	}
	ck_assert_int_eq(file_read(file, n, got, 1, &e), 0);
	file_free(file);
	free(en);
	free(got);
}

/* A table alone, and the same table in an archive with a frame around each of its pieces. */
static struct snapshot *take(struct fixture *f, const struct buf *rows, struct buf *framed, size_t step)
{
	struct snapshot *snap = snapshot_new();
	struct rope_part *parts;
	struct ingest *in;
	struct rope *r;
	struct err e = {0};
	uint64_t at = 0;
	size_t n;

	fx_ok(ingest_new(f->s, "main", SNAPSHOT_DUMP, NULL, &in, &e), &e);
	r = cut_stream(in, "tables/t", rows->data, rows->len, step);
	fx_ok(ingest_drain(in, &e), &e);
	n = parts_of(r);
	parts = calloc(2 * n + 1, sizeof(*parts));
	for (size_t i = 0; i < n; i++) {
		parts[2 * i] = (struct rope_part){.literal = "frame", .len = 5};
		parts[2 * i + 1] = (struct rope_part){.rope = r, .first = i, .n = 1};
		buf_put(framed, "frame", 5);
		buf_put(framed, rows->data + at, (size_t)rope_part_len(r, i));
		at += rope_part_len(r, i);
	}
	parts[2 * n] = (struct rope_part){.literal = "end", .len = 3};
	buf_put(framed, "end", 3);
	ck_assert_uint_eq(at, rows->len);
	fx_ok(ingest_compose(in, "archive", &meta, parts, 2 * n + 1, &e), &e);
	fx_ok(ingest_compose(in, "tables/t", &meta, &(struct rope_part){.rope = r, .n = n}, 1, &e), &e);
	snap->stop.sec = 1700000000;
	fx_ok(ingest_publish(in, snap, &e), &e);
	ingest_free(in);
	free(parts);
	return snap;
}

static void on_finding(void *arg, const struct verify_finding *f)
{
	(void)arg;
	ck_abort_msg("%s %s: %s", f->object, f->path ? f->path : "", f->why);
}

static void verify_all(struct fixture *f)
{
	struct verify_report report = {0};
	struct verify_options o = {0};
	struct err e = {0};

	ck_assert_msg(store_verify(f->s, &o, on_finding, NULL, &report, &e) == 0, "%s", e.text);
	ck_assert_uint_gt(report.files, 0);
	ck_assert_uint_eq(report.damaged + report.lost, 0);
}

static void prune_all_but(struct fixture *f, const char *id)
{
	struct prune_options o = {.rewrite_percent = 100};
	struct prune_report report = {0};
	struct snapshot_list l;
	struct err e = {0};
	uint64_t removed = 0;

	fx_ok(snapshot_list(f->s, "main", 0, &l, &e), &e);
	for (size_t i = 0; i < l.n; i++)
		if (strcmp(l.refs[i].id, id))
			fx_ok(store_remove_snapshots(f->s, &l.refs[i], 1, &e), &e);
	snapshot_list_free(&l);
	/* Condemned by the first, removed by the next. */
	for (int i = 0; i < 3; i++) {
		fx_ok(store_prune(f->s, &o, &report, &e), &e);
		removed += report.removed;
	}
	ck_assert_uint_gt(removed, 0);
	fx_close(f);
	fx_open(f);
}

/* The same rows in two files are kept once; those of tomorrow's table are found again though rows were put in between; and
 * where each chunk has changed a little, all become deltas. */
START_TEST(shared_and_deltas)
{
	struct fixture f = fx_make(NULL);
	struct buf rows = {0}, framed = {0}, changed = {0}, framed2 = {0}, all = {0}, framed3 = {0};
	struct snapshot *first, *second, *third;
	size_t line = 0;

	fill_rows(&rows, 1, 200000);
	first = take(&f, &rows, &framed, 7777);
	check_file(&f, first, "archive", framed.data, framed.len);
	check_file(&f, first, "tables/t", rows.data, rows.len);
	/* Both files: the bytes once, and nodes. */
	ck_assert_uint_le(first->unique_bytes, rows.len + 64 * 1024);
	ck_assert_uint_ge(first->unique_bytes, rows.len);

	/* Some rows more in the middle. */
	while (line < rows.len / 2 || rows.data[line - 1] != '\n')
		line++;
	buf_put(&changed, rows.data, line);
	fill_rows(&changed, 2, 5);
	buf_put(&changed, rows.data + line, rows.len - line);
	second = take(&f, &changed, &framed2, 100000);
	check_file(&f, second, "archive", framed2.data, framed2.len);
	check_file(&f, second, "tables/t", changed.data, changed.len);
	ck_assert_uint_lt(second->unique_bytes, 3 * CUTTER_MAX);
	ck_assert_uint_lt(second->stored_bytes, 60000);
	ck_assert_uint_lt(second->stored_bytes * 10, first->stored_bytes);

	/* One row in a hundred has another number: all chunks change. */
	buf_put(&all, changed.data, changed.len);
	for (size_t i = 0, n = 0; i < all.len; i++)
		if (all.data[i] == '\n' && n++ % 100 == 0)
			all.data[i - 1] = all.data[i - 1] == '9' ? '0' : (uint8_t)(all.data[i - 1] + 1);
	third = take(&f, &all, &framed3, 1 << 20);
	check_file(&f, third, "tables/t", all.data, all.len);
	check_file(&f, third, "archive", framed3.data, framed3.len);
	ck_assert_uint_gt(third->unique_bytes, rows.len / 2);
	ck_assert_uint_lt(third->stored_bytes * 10, first->stored_bytes);
	/* Nothing changed: nothing but a tree node or two. */
	snapshot_free(second);
	buf_clear(&framed2);
	second = take(&f, &all, &framed2, 4096);
	ck_assert_uint_eq(second->unique_bytes, 0);
	verify_all(&f);
	/* What others need of the first one stays, also where it is needed as the base of a delta only. */
	prune_all_but(&f, second->id);
	verify_all(&f);
	check_file(&f, second, "archive", framed2.data, framed2.len);
	check_file(&f, second, "tables/t", all.data, all.len);
	snapshot_free(first);
	snapshot_free(second);
	snapshot_free(third);
	buf_free(&rows);
	buf_free(&framed);
	buf_free(&changed);
	buf_free(&framed2);
	buf_free(&all);
	buf_free(&framed3);
	fx_free(&f);
}
END_TEST

/* Sizes around those where another form begins: in the tree, a literal, one chunk, many. */
START_TEST(all_sizes)
{
	static const size_t sizes[] = {0, 1, 511, 512, 513, 1023, 1024, 1025, CUTTER_MIN - 1, CUTTER_MIN,
		CUTTER_MIN + 1, CUTTER_MAX - 1, CUTTER_MAX, CUTTER_MAX + 1, (4u << 20) - 1, 4u << 20,
		(4u << 20) + 1};
	const size_t n = sizeof(sizes) / sizeof(sizes[0]);
	struct fixture f = fx_make(NULL);
	struct snapshot *snap = snapshot_new();
	struct rope *ropes[sizeof(sizes) / sizeof(sizes[0])];
	struct buf rows = {0}, zeroes = {0};
	struct ingest *in;
	struct rope *zero;
	struct err e = {0};
	char path[40];

	fill_rows(&rows, 3, 200000);
	ck_assert_ptr_nonnull(buf_reserve(&zeroes, 3000000));
	memset(zeroes.data, 0, 3000000);
	fx_ok(ingest_new(f.s, "main", SNAPSHOT_DUMP, NULL, &in, &e), &e);
	for (size_t i = 0; i < n; i++)
		ropes[i] = cut_stream(in, "x", rows.data, sizes[i], 500);
	zero = cut_stream(in, "z", zeroes.data, 3000000, 65536);
	fx_ok(ingest_drain(in, &e), &e);
	for (size_t i = 0; i < n; i++) {
		struct rope_part p[] = {{.literal = "<", .len = 1},
			{.rope = ropes[i], .n = parts_of(ropes[i])}, {.literal = ">", .len = 1}};

		snprintf(path, sizeof(path), "alone-%zu", sizes[i]);
		fx_ok(ingest_compose(in, path, &meta, &p[1], 1, &e), &e);
		snprintf(path, sizeof(path), "framed-%zu", sizes[i]);
		fx_ok(ingest_compose(in, path, &meta, p, 3, &e), &e);
	}
	fx_ok(ingest_compose(
		      in, "zeroes", &meta, &(struct rope_part){.rope = zero, .n = parts_of(zero)}, 1, &e),
		&e);
	snap->stop.sec = 1700000000;
	fx_ok(ingest_publish(in, snap, &e), &e);
	ck_assert_uint_eq(snap->files, 2 * n + 1);
	ingest_free(in);
	for (size_t i = 0; i < n; i++) {
		struct buf framed = {0};

		if (sizes[i]) {
			snprintf(path, sizeof(path), "alone-%zu", sizes[i]);
			check_file(&f, snap, path, rows.data, sizes[i]);
		}
		buf_put(&framed, "<", 1);
		buf_put(&framed, rows.data, sizes[i]);
		buf_put(&framed, ">", 1);
		snprintf(path, sizeof(path), "framed-%zu", sizes[i]);
		check_file(&f, snap, path, framed.data, framed.len);
		buf_free(&framed);
	}
	check_file(&f, snap, "zeroes", zeroes.data, 3000000);
	verify_all(&f);
	snapshot_free(snap);
	buf_free(&rows);
	buf_free(&zeroes);
	fx_free(&f);
}
END_TEST

/* Cuts depend on the bytes before them and on nothing else. */
START_TEST(cuts)
{
	struct cutter c;
	struct buf rows = {0};
	size_t at = 0, n = 0, shifted, same = 0, i;
	size_t *ends = calloc(10000, sizeof(*ends));
	bool leaf;

	cutter_init(&c);
	fill_rows(&rows, 4, 300000);
	for (; at < rows.len; n++) {
		size_t len = cutter_cut(&c, rows.data + at, rows.len - at, &leaf);

		ck_assert_uint_le(len, CUTTER_MAX);
		ck_assert(len >= CUTTER_MIN || at + len == rows.len);
		at += len;
		ends[n] = at;
	}
	ck_assert_uint_gt(rows.len / n, 160 * 1024);
	ck_assert_uint_lt(rows.len / n, 520 * 1024);
	/* From another start the ends are soon the same. */
	for (at = shifted = 12345, i = 0; at < rows.len;) {
		at += cutter_cut(&c, rows.data + at, rows.len - at, &leaf);
		while (i < n && ends[i] < at)
			i++;
		same += i < n && ends[i] == at;
	}
	ck_assert_uint_ge(same, n - 8);
	free(ends);
	buf_free(&rows);
}
END_TEST

static const struct {
	const char *node; /* hex */
	const char *text;
} bad_nodes[] = {
	{"", "no items"},
	{"00", "no items"},
	{"0000", "no items"},
	{"0901 0361", "no items"},
	{"0001 03", "malformed"},
	{"0001 01", "malformed"},
	{"0001 00 0000000000000000000000000000000000000000000000000000000000000000", "malformed"},
	{"0001 02 00000000000000000000000000000000000000000000000000000000000000", "malformed"},
	{"0001 8280808010 0000000000000000000000000000000000000000000000000000000000000000", "malformed"},
	{"0001 8310 61", "malformed"},
	{"0001 0361 00", "behind"},
	{"0002 0361", "malformed"},
};

START_TEST(malformed_nodes)
{
	struct rope_node n;
	struct rope_item it;
	struct err e = {0};
	size_t len;
	uint8_t *p = fx_hex(bad_nodes[_i].node, &len), *exact = check_exact(p, len);
	int r = rope_node_open(&n, exact, len, &e);

	while (!r || r == 1)
		if ((r = rope_node_next(&n, &it, &e)) == 0)
			break;
	ck_assert_int_eq(r, -EBADMSG);
	ck_assert_msg(strstr(e.text, bad_nodes[_i].text) != NULL, "%s", e.text);
	free(exact);
	free(p);
}
END_TEST

START_TEST(nodes_both_ways)
{
	struct buf b = {0};
	struct rope_item in[3] = {{.len = 3, .literal = (const uint8_t *)"abc"}, {.len = 70000, .id = {{7}}},
		{.len = 1, .literal = (const uint8_t *)"x"}};
	struct rope_node n;
	struct rope_item it;
	struct err e = {0};

	rope_node_start(&b, 2, 3);
	for (int i = 0; i < 3; i++)
		rope_node_put(&b, &in[i]);
	fx_ok(rope_node_open(&n, b.data, b.len, &e), &e);
	ck_assert_uint_eq(n.level, 2);
	for (int i = 0; i < 3; i++) {
		ck_assert_int_eq(rope_node_next(&n, &it, &e), 1);
		ck_assert_uint_eq(it.len, in[i].len);
		ck_assert_int_eq(it.literal != NULL, in[i].literal != NULL);
		ck_assert(digest_eq(&it.id, &in[i].id));
	}
	ck_assert_int_eq(rope_node_next(&n, &it, &e), 0);
	buf_free(&b);
}
END_TEST

/* A tree that claims another length or height than the rope has: an error that names the node, never other bytes. */
START_TEST(false_claims)
{
	struct fixture f = fx_make(NULL);
	struct buf rows = {0}, framed = {0};
	struct snapshot *snap;
	struct entry *en;
	struct err e = {0};
	uint8_t byte;

	fill_rows(&rows, 5, 100000);
	snap = take(&f, &rows, &framed, 5000);
	fx_ok(tree_find(f.s, &snap->root, "archive", &en, &e), &e);
	ck_assert_uint_ge(en->file.height, 1);
	for (int i = 0; i < 3; i++) {
		struct content c = en->file;
		struct file *file;

		if (i == 0)
			c.size += 10;
		else
			c.height = (uint8_t)(c.height + (i == 1 ? 1 : -1));
		fx_ok(file_open(f.s, &c, &file, &e), &e);
		fx_fails((int)file_read(file, c.size - 1, &byte, 1, &e), -EBADMSG, &e);
		ck_assert_ptr_nonnull(strstr(e.text, "rope node"));
		file_free(file);
	}
	free(en);
	snapshot_free(snap);
	buf_free(&rows);
	buf_free(&framed);
	fx_free(&f);
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("store/rope");
	TCase *t = tcase_create("rope");

	tcase_add_test(t, shared_and_deltas);
	tcase_add_test(t, all_sizes);
	tcase_add_test(t, cuts);
	tcase_add_loop_test(t, malformed_nodes, 0, sizeof(bad_nodes) / sizeof(bad_nodes[0]));
	tcase_add_test(t, nodes_both_ways);
	tcase_add_test(t, false_claims);
	suite_add_tcase(s, t);
	return s;
}

CHECK_MAIN(suite)
