/* Tree nodes as bytes: golden, cut at every byte, bent at random, and everything that must be refused. */
#include "store/node.h"
#include "tests/unit/store_fixture.h"

#define D32(b) b b b b b b b b b b b b b b b b b b b b b b b b b b b b b b b b

static const char leaf_hex[] =
	"00 "
	"02 "				     /* two owners */
	"1a 1b 08 'postgres' 00 02 'pg' 00 " /* 26, 27 */
	"ffffffff0f 00 00 00 00 00 "	     /* 4294967295, 0, nameless */
	"04 "				     /* four entries */
	"01 'a' 00 01 8003 00 80c49fd50c 959aef3a 03 00 'xyz' "
	"03 'big' 00 01 ff1f 01 00 00 e0a712 01 87ad4b 10 01 " D32(
		"5a") " 01 'd' 00 02 ed03 01 09 00 02 09 " D32("6b") " 01 'l' 00 03 00 00 09 00 04 '../x' 00";

static const char inner_hex[] = "01 02 "
				"01 'a' 00 " D32("11") " 03 07 "
						       "02 'b' ff 00 " D32("22") " 01 01";

static void golden_entries(struct entry en[4])
{
	struct meta m = {.uid = 26, .gid = 27, .user = "postgres", .group = "pg"}, n = {.uid = UINT32_MAX};

	en[0] = (struct entry){.name = "a", .type = ENTRY_FILE, .meta = m};
	en[0].meta.mode = 0600;
	en[0].meta.mtime = (struct tstamp){1700000000, 123456789};
	en[0].file.size = 3;
	en[0].file.inlined = (const uint8_t *)"xyz";
	en[1] = (struct entry){.name = "big", .type = ENTRY_FILE, .meta = n};
	en[1].meta.mode = 07777;
	en[1].file = (struct content){.size = 300000, .stored = 1234567, .height = 1, .chunk_shift = 16};
	memset(en[1].file.map.b, 0x5a, DIGEST_LEN);
	en[2] = (struct entry){.name = "d", .type = ENTRY_DIR, .meta = n};
	en[2].meta.mode = 0755;
	en[2].meta.mtime.sec = -5;
	en[2].dir = (struct dir_ref){.entries = 2, .descendants = 9};
	memset(en[2].dir.node.b, 0x6b, DIGEST_LEN);
	en[3] = (struct entry){.name = "l", .type = ENTRY_SYMLINK, .meta = m, .target = "../x"};
	en[3].meta.mtime.sec = -5;
}

START_TEST(writes_golden)
{
	struct entry en[4];
	struct leaf l = {0};
	struct inner in = {0};
	struct node_child c = {.first = "a", .entries = 3, .descendants = 7};
	struct buf b = {0};
	size_t n;
	uint8_t *p = fx_hex(leaf_hex, &n);

	golden_entries(en);
	for (int round = 0; round < 2; round++) {
		for (int i = 0; i < 4; i++)
			ck_assert_int_eq(leaf_add(&l, &en[i]), 0);
		ck_assert_uint_eq(l.n, 4);
		ck_assert_uint_eq(l.descendants, 13);
		ck_assert_str_eq((char *)l.first.data, "a");
		buf_clear(&b);
		leaf_write(&l, &b);
		fx_same("leaf", b.data, b.len, p, n);
		leaf_clear(&l);
	}
	leaf_free(&l);
	free(p);
	p = fx_hex(inner_hex, &n);
	memset(c.id.b, 0x11, DIGEST_LEN);
	ck_assert_int_eq(inner_add(&in, &c), 0);
	c = (struct node_child){.first = "b\xff", .entries = 1, .descendants = 1};
	memset(c.id.b, 0x22, DIGEST_LEN);
	ck_assert_int_eq(inner_add(&in, &c), 0);
	buf_clear(&b);
	inner_write(&in, 1, &b);
	fx_same("inner", b.data, b.len, p, n);
	ck_assert_uint_eq(in.entries, 4);
	ck_assert_uint_eq(in.descendants, 8);
	inner_free(&in);
	buf_free(&b);
	free(p);
}
END_TEST

/* Reads a node to its end: the count of entries or children, or the error. */
static int read_all(const uint8_t *p, size_t n, struct err *e)
{
	struct node node;
	struct entry en;
	struct node_child c;
	int r = node_open(&node, p, n, e), count = 0;

	if (r < 0)
		return r;
	while ((r = node.level ? node_child(&node, &c, e) : node_entry(&node, &en, e)) > 0) {
		count++;
		if (node.level) {
			ck_assert_uint_le(c.entries, c.descendants);
			continue;
		}
		ck_assert_uint_le(strlen(en.name), TREE_NAME_MAX);
		ck_assert(en.meta.mode <= 07777 && en.meta.mtime.nsec < 1000000000);
		if (en.type == ENTRY_FILE && en.file.inlined)
			ck_assert_uint_le(en.file.size, TREE_INLINE_MAX);
		free(entry_dup(&en));
	}
	node_done(&node);
	return r < 0 ? r : count;
}

START_TEST(reads_golden)
{
	struct entry want[4], en;
	struct node_child c;
	struct node node;
	struct err e = {0};
	size_t n;
	uint8_t *p = fx_hex(leaf_hex, &n), *exact = check_exact(p, n);

	golden_entries(want);
	fx_ok(node_open(&node, exact, n, &e), &e);
	for (int i = 0; i < 4; i++) {
		const struct entry *w = &want[i];
		struct entry *copy;

		ck_assert_int_eq(node_entry(&node, &en, &e), 1);
		copy = entry_dup(&en);
		for (const struct entry *g = &en; g; g = g == &en ? copy : NULL) {
			ck_assert_str_eq(g->name, w->name);
			ck_assert_int_eq(g->type, w->type);
			ck_assert_uint_eq(g->meta.mode, w->meta.mode);
			ck_assert_uint_eq(g->meta.uid, w->meta.uid);
			ck_assert_uint_eq(g->meta.gid, w->meta.gid);
			ck_assert_str_eq(g->meta.user, w->meta.user ? w->meta.user : "");
			ck_assert_str_eq(g->meta.group, w->meta.group ? w->meta.group : "");
			ck_assert_int_eq(tstamp_cmp(g->meta.mtime, w->meta.mtime), 0);
			if (g->type == ENTRY_SYMLINK) {
				ck_assert_str_eq(g->target, w->target);
			} else if (g->type == ENTRY_DIR) {
				ck_assert(digest_eq(&g->dir.node, &w->dir.node));
				ck_assert_uint_eq(g->dir.entries, 2);
				ck_assert_uint_eq(g->dir.descendants, 9);
			} else if (w->file.inlined) {
				fx_same("inlined", g->file.inlined, g->file.size, "xyz", 3);
			} else {
				ck_assert_ptr_null(g->file.inlined);
				ck_assert(digest_eq(&g->file.map, &w->file.map));
				ck_assert_uint_eq(g->file.size, 300000);
				ck_assert_uint_eq(g->file.stored, 1234567);
				ck_assert_uint_eq(g->file.height, 1);
				ck_assert_uint_eq(g->file.chunk_shift, 16);
			}
		}
		free(copy);
	}
	ck_assert_int_eq(node_entry(&node, &en, &e), 0);
	ck_assert_int_eq(node_entry(&node, &en, &e), 0);
	node_done(&node);
	free(exact);
	free(p);
	p = fx_hex(inner_hex, &n);
	exact = check_exact(p, n);
	fx_ok(node_open(&node, exact, n, &e), &e);
	ck_assert_uint_eq(node.level, 1);
	ck_assert_int_eq(node_child(&node, &c, &e), 1);
	ck_assert_str_eq(c.first, "a");
	ck_assert_uint_eq(c.id.b[31], 0x11);
	ck_assert_uint_eq(c.entries, 3);
	ck_assert_uint_eq(c.descendants, 7);
	ck_assert_int_eq(node_child(&node, &c, &e), 1);
	ck_assert_str_eq(c.first, "b\xff");
	ck_assert_int_eq(node_child(&node, &c, &e), 0);
	node_done(&node);
	free(exact);
	free(p);
}
END_TEST

START_TEST(cut)
{
	const char *hex = _i ? inner_hex : leaf_hex;
	size_t n;
	uint8_t *p = fx_hex(hex, &n);

	for (size_t k = 0; k <= n + 1; k++) {
		uint8_t *q = calloc(1, k ? k : 1);
		struct err e = {0};

		memcpy(q, p, k < n ? k : n);
		if (k == n)
			ck_assert_int_eq(read_all(q, k, &e), _i ? 2 : 4);
		else
			fx_fails(read_all(q, k, &e), -EBADMSG, &e);
		free(q);
	}
	free(p);
}
END_TEST

/* A flip may give another well-formed node (its name then says so); it must never be worse than that. */
START_TEST(bent)
{
	const char *hex = _i ? inner_hex : leaf_hex;
	uint64_t rng = check_seed();
	size_t n;
	uint8_t *p = fx_hex(hex, &n);

	for (size_t bit = 0; bit < 8 * n; bit++) {
		uint8_t *q = check_exact(p, n);
		struct err e = {0};
		int r;

		q[bit / 8] ^= (uint8_t)(1u << (bit % 8));
		r = read_all(q, n, &e);
		ck_assert_msg(r >= 0 || r == -EBADMSG, "%d", r);
		free(q);
	}
	for (int i = 0; i < 5000; i++) {
		uint8_t *q = check_exact(p, n);
		int r;

		for (int k = 0; k < 4; k++)
			q[check_rand_below(&rng, n)] = (uint8_t)check_rand(&rng);
		r = read_all(q, n, NULL);
		if (r < 0 && r != -EBADMSG)
			ck_abort_msg("%d", r);
		free(q);
	}
	free(p);
}
END_TEST

#define OWNER "00 01 00 00 00 00 00 00 01 "

static const struct {
	const char *what, *hex;
} refused[] = {
	{"nothing", ""},
	{"level 12", "0c 00"},
	{"more owners than bytes", "00 ffffffff0f 00"},
	{"a uid of 33 bits", "00 01 ffffffff1f 00 00 00 00 00 00"},
	{"a user with NUL", "00 01 00 00 01 00 00 00 00 00"},
	{"an owner without its NUL", "00 01 00 00 01 'xy' 00 00 00"},
	{"bytes after the end", "00 00 00 00"},
	{"children after the end", "01 00 00"},
	{"more entries than there are", "00 00 01"},
	{"an empty name", OWNER "00 00 03 00 00 00 00 01 'x' 00"},
	{"the name .", OWNER "01 '.' 00 03 00 00 00 00 01 'x' 00"},
	{"the name ..", OWNER "02 '..' 00 03 00 00 00 00 01 'x' 00"},
	{"a name with /", OWNER "03 'a/b' 00 03 00 00 00 00 01 'x' 00"},
	{"a name with NUL", OWNER "03 'a' 00 'b' 00 03 00 00 00 00 01 'x' 00"},
	{"a name without its NUL", OWNER "01 'ab' 03 00 00 00 00 01 'x' 00"},
	{"type 0", OWNER "01 'a' 00 00 00 00 00 00 01 'x' 00"},
	{"type 4", OWNER "01 'a' 00 04 00 00 00 00 01 'x' 00"},
	{"mode 010000", OWNER "01 'a' 00 03 8020 00 00 00 01 'x' 00"},
	{"owner 1 of 1", OWNER "01 'a' 00 03 00 01 00 00 01 'x' 00"},
	{"a second of nanoseconds", OWNER "01 'a' 00 03 00 00 00 8094ebdc03 01 'x' 00"},
	{"a target with NUL", OWNER "01 'a' 00 03 00 00 00 00 02 'x' 00 00"},
	{"form 2", OWNER "01 'a' 00 01 00 00 00 00 00 02"},
	{"chunks of 2 KiB", OWNER "01 'a' 00 01 00 00 00 00 01 01 00 0b 00 " D32("11")},
	{"chunks of 32 MiB", OWNER "01 'a' 00 01 00 00 00 00 01 01 00 19 00 " D32("11")},
	{"height 9", OWNER "01 'a' 00 01 00 00 00 00 01 01 00 10 09 " D32("11")},
	{"2^63 bytes", OWNER "01 'a' 00 01 00 00 00 00 80808080808080808001 01 00 10 07 " D32("11")},
	{"fewer descendants than entries", OWNER "01 'a' 00 02 00 00 00 00 02 01 " D32("11")},
	{"2^62 descendants", OWNER "01 'a' 00 02 00 00 00 00 02 808080808080808040 " D32("11")},
	{"1025 bytes inside", OWNER "01 'a' 00 01 00 00 00 00 8108 00"},
	{"names that fall", "01 02 01 'b' 00 " D32("11") " 01 01 01 'a' 00 " D32("11") " 01 01"},
	{"names that repeat", "01 02 01 'b' 00 " D32("11") " 01 01 01 'b' 00 " D32("11") " 01 01"},
	{"a child without descendants", "01 01 01 'b' 00 " D32("11") " 01 00"},
	{"a child whose name is none", "01 01 02 '..' 00 " D32("11") " 01 01"},
};

START_TEST(refuses)
{
	size_t n;
	uint8_t *p = fx_hex(refused[_i].hex, &n), *exact = check_exact(p, n);
	struct err e = {0};
	int r = read_all(exact, n, &e);

	ck_assert_msg(r == -EBADMSG && e.text[0], "%s: %d %s", refused[_i].what, r, e.text);
	free(exact);
	free(p);
}
END_TEST

/* Long names are whole, longer ones are refused. */
START_TEST(name_limits)
{
	for (size_t len = 254; len < 258; len++) {
		struct entry en = {.type = ENTRY_SYMLINK, .target = "x"};
		struct leaf l = {0};
		struct buf b = {0};
		char name[300] = {0};
		struct err e = {0};

		memset(name, 'n', len);
		en.name = name;
		ck_assert_int_eq(leaf_add(&l, &en), 0);
		leaf_write(&l, &b);
		ck_assert_int_eq(read_all(b.data, b.len, &e), len <= TREE_NAME_MAX ? 1 : -EBADMSG);
		leaf_free(&l);
		buf_free(&b);
	}
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("store/node");
	TCase *t = tcase_create("all");

	tcase_add_test(t, writes_golden);
	tcase_add_test(t, reads_golden);
	tcase_add_loop_test(t, cut, 0, 2);
	tcase_add_loop_test(t, bent, 0, 2);
	tcase_add_loop_test(t, refuses, 0, sizeof(refused) / sizeof(*refused));
	tcase_add_test(t, name_limits);
	suite_add_tcase(s, t);
	return s;
}
CHECK_MAIN(suite)
