/* Contents of several archives joined: place, order, numbers, and what is refused. */
#include "tests/unit/check_main.h"

#include <errno.h>

#include "src/pg/dump_join.h"

#define PRE 2
#define DATA 3
#define POST 4

struct line {
	int32_t id, section;
	const char *desc, *schema, *tag, *oid, *dep;
};

static void add(struct dump_toc *t, const struct line *l, size_t n)
{
	t->entries = calloc(n + 1, sizeof(*t->entries));
	for (size_t i = 0; i < n; i++) {
		struct dump_entry *en = &t->entries[t->n++];

		*en = (struct dump_entry){.id = l[i].id,
			.section = l[i].section,
			.desc = (char *)l[i].desc,
			.schema = (char *)l[i].schema,
			.tag = (char *)l[i].tag,
			.oid = (char *)l[i].oid,
			.class_oid = (char *)"0",
			.copy = (char *)"COPY",
			.owner = (char *)"me",
			.has_data = l[i].section == DATA};
		if (l[i].dep) {
			en->deps = calloc(1, sizeof(*en->deps));
			en->deps[0] = (char *)l[i].dep;
			en->n_deps = 1;
		}
	}
	t->head.vmajor = 1;
	t->head.vminor = 16;
	t->head.format = DUMP_CUSTOM;
	ck_assert_int_eq(dump_toc_sort(t, NULL), 0);
}

static const struct line first[] = {
	{1, PRE, "ENCODING", NULL, "ENCODING", "0", NULL},
	{10, PRE, "TABLE", "a", "big", "100", NULL},
	{11, PRE, "TABLE", "a", "kept", "101", NULL},
	{12, PRE, "TABLE", "b", "big", "102", NULL},
	{13, PRE, "TABLE", "b", "zz", "103", "99"},
	{20, DATA, "TABLE DATA", "a", "kept", "101", "11"},
	{21, DATA, "SEQUENCE SET", "a", "s", "0", NULL},
	{22, DATA, "BLOBS", NULL, "BLOBS", "0", NULL},
	{30, POST, "INDEX", "a", "i", "0", "10"},
};
static const struct line others[] = {
	{5, DATA, "TABLE DATA", "b", "zz", "103", "4"},
	{6, DATA, "TABLE DATA", "a", "big", "100", "3"},
	{7, DATA, "TABLE DATA", "b", "big", "102", "2"},
};
#define OTHERS 3

START_TEST(joins)
{
	static const char *const order[] = {
		"ENCODING", "big", "kept", "big", "zz", "big", "kept", "big", "zz", "s", "BLOBS", "i"};
	struct dump_toc t = {0}, o = {0};
	struct dump_join v[OTHERS];
	struct buf b = {0};

	add(&t, first, sizeof(first) / sizeof(first[0]));
	add(&o, others, OTHERS);
	for (size_t i = 0; i < OTHERS; i++)
		v[i] = (struct dump_join){&o.entries[i], 0};
	ck_assert_int_eq(dump_join(&t, v, OTHERS, NULL), 0);
	ck_assert_uint_eq(t.n, sizeof(order) / sizeof(order[0]));
	for (size_t i = 0; i < t.n; i++)
		ck_assert_str_eq(t.entries[i].tag, order[i]);
	/* Numbers above all that are used (99 is, by a dependency), found by them, hanging on the definition. */
	for (size_t i = 0; i < OTHERS; i++) {
		const struct dump_entry *en = dump_toc_find(&t, v[i].id);

		ck_assert_int_gt(v[i].id, 99);
		ck_assert_ptr_nonnull(en);
		ck_assert_str_eq(en->oid, others[i].oid);
		ck_assert_str_eq(en->schema, others[i].schema);
		ck_assert_uint_eq(en->n_deps, 1);
		ck_assert_str_eq(dump_toc_find(&t, atoi(en->deps[0]))->oid, others[i].oid);
		ck_assert_str_eq(dump_toc_find(&t, atoi(en->deps[0]))->desc, "TABLE");
		ck_assert_int_eq(en->offset_state, DUMP_OFFSET_NOT_SET);
	}
	/* It is its own: the others may go. */
	dump_toc_release(&o);
	dump_toc_write(&t, &b);
	ck_assert(!b.bad);
	buf_free(&b);
	dump_toc_release(&t);
}
END_TEST

struct refusal {
	struct line other;
	const char *text;
};

static const struct refusal refusals[] = {
	{{5, DATA, "TABLE DATA", "a", "kept", "101", "4"}, "twice"},
	{{5, DATA, "TABLE DATA", "c", "new", "105", "4"}, "does not have"},
	{{5, DATA, "TABLE DATA", "a", "big", NULL, "4"}, "does not have"},
	{{5, DATA, "BLOBS", NULL, "BLOBS", "100", NULL}, "does not have"},
};

START_TEST(refuses)
{
	struct dump_toc t = {0}, o = {0};
	struct dump_join v;
	struct err e = {0};

	add(&t, first, sizeof(first) / sizeof(first[0]));
	add(&o, &refusals[_i].other, 1);
	v.from = &o.entries[0];
	ck_assert_int_eq(dump_join(&t, &v, 1, &e), -EBADMSG);
	ck_assert_msg(strstr(e.text, refusals[_i].text) != NULL, "%s", e.text);
	ck_assert_uint_eq(t.n, sizeof(first) / sizeof(first[0]));
	dump_toc_release(&o);
	dump_toc_release(&t);
}
END_TEST

/* One table from two processes. */
START_TEST(refuses_what_comes_twice)
{
	struct dump_toc t = {0}, o = {0};
	struct dump_join v[2];
	struct err e = {0};

	add(&t, first, sizeof(first) / sizeof(first[0]));
	add(&o, others, OTHERS);
	v[0].from = v[1].from = &o.entries[1];
	ck_assert_int_eq(dump_join(&t, v, 2, &e), -EBADMSG);
	ck_assert_ptr_nonnull(strstr(e.text, "twice"));
	dump_toc_release(&o);
	dump_toc_release(&t);
}
END_TEST

/* No data of tables, or no data at all, in the first one's. */
START_TEST(finds_the_place)
{
	for (size_t left = 5; left < sizeof(first) / sizeof(first[0]); left++) {
		struct dump_toc t = {0}, o = {0};
		struct dump_join v;
		struct line some[9];

		memcpy(some, first, 5 * sizeof(some[0]));
		memcpy(some + 5, first + left + 1, (8 - left) * sizeof(some[0]));
		add(&t, some, 13 - left);
		add(&o, others, 1);
		v.from = &o.entries[0];
		ck_assert_int_eq(dump_join(&t, &v, 1, NULL), 0);
		ck_assert_str_eq(t.entries[5].desc, "TABLE DATA");
		ck_assert_uint_eq(t.n, 14 - left);
		dump_toc_release(&o);
		dump_toc_release(&t);
	}
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("pg/dump_join");
	TCase *t = tcase_create("dump_join");

	tcase_add_test(t, joins);
	tcase_add_loop_test(t, refuses, 0, sizeof(refusals) / sizeof(refusals[0]));
	tcase_add_test(t, refuses_what_comes_twice);
	tcase_add_test(t, finds_the_place);
	suite_add_tcase(s, t);
	return s;
}

CHECK_MAIN(suite)
