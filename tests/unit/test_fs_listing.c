/* Listings: names come, go and come back while positions stay. The source here is an array of strings. */
#include "tests/unit/check_main.h"

#include <errno.h>

#include "fs/listing.h"

/* Objects that know nothing but the position they were made with. */
struct thing {
	struct ns_object obj;
	uint32_t position;
};

static void thing_free(struct ns_object *o)
{
	free(o);
}

static const struct ns_ops thing_ops = {.name = "thing", .free = thing_free};

struct world {
	const char *const *names; /* NULL-terminated */
	int fails;
	unsigned asked;
	struct listing l;
};

static int make(void *arg, const char *name, uint32_t position, struct ns_object **ret, struct err *e)
{
	struct thing *t = calloc(1, sizeof(*t));

	(void)arg;
	(void)name;
	(void)e;
	ck_assert_ptr_nonnull(t);
	t->obj.ops = &thing_ops;
	t->position = position;
	*ret = &t->obj;
	return 0;
}

static int fetch(void *arg, struct listing *l, struct err *e);

static struct listing_source source(struct world *w)
{
	return (struct listing_source){.fetch = fetch, .make = make, .arg = w};
}

static int fetch(void *arg, struct listing *l, struct err *e)
{
	struct world *w = arg;
	const struct listing_source src = source(w);

	w->asked++;
	for (size_t i = 0; w->names[i]; i++)
		ck_assert_int_eq(listing_put(l, &src, w->names[i], e), 0);
	return w->fails;
}

/* Asks now, however fresh the last answer is. */
static int update(struct world *w, const char *const *names)
{
	const struct listing_source src = source(w);

	w->names = names;
	w->l.asked = 0;
	return listing_refresh(&w->l, &src, NULL);
}

/* What a reader sees from the beginning, as "name@position name@position". */
static const char *shown(struct world *w)
{
	static char text[512];
	const struct listing_item *it;
	size_t n = 0;

	text[0] = '\0';
	for (uint64_t i = 0; (it = listing_at(&w->l, &i)); i++)
		n += (size_t)snprintf(
			text + n, sizeof(text) - n, "%s%s@%u", n ? " " : "", it->name, (unsigned)i);
	return text;
}

START_TEST(positions_stay)
{
	struct world w = {0};
	struct ns_object *b;

	listing_init(&w.l);
	ck_assert_int_eq(update(&w, (const char *[]){"b", "d", NULL}), 0);
	ck_assert_str_eq(shown(&w), "b@0 d@1");
	b = listing_find(&w.l, "b");
	ck_assert_ptr_nonnull(b);
	/* An older name that appears late comes at the end. */
	ck_assert_int_eq(update(&w, (const char *[]){"a", "b", "c", "d", NULL}), 0);
	ck_assert_str_eq(shown(&w), "b@0 d@1 a@2 c@3");
	ck_assert_ptr_eq(listing_find(&w.l, "b"), b);
	ck_assert_ptr_nonnull(listing_find(&w.l, "a"));
	ck_assert_ptr_null(listing_find(&w.l, "e"));
	listing_release(&w.l);
}
END_TEST

START_TEST(what_goes_is_gone_and_what_returns_is_new)
{
	struct world w = {0};
	struct ns_object *b;

	listing_init(&w.l);
	ck_assert_int_eq(update(&w, (const char *[]){"a", "b", "c", NULL}), 0);
	b = listing_find(&w.l, "b");
	ck_assert_int_eq(update(&w, (const char *[]){"a", "c", NULL}), 0);
	ck_assert_str_eq(shown(&w), "a@0 c@2");
	ck_assert_ptr_null(listing_find(&w.l, "b"));
	ck_assert_int_eq(update(&w, (const char *[]){"a", "c", NULL}), 0);
	ck_assert_int_eq(update(&w, (const char *[]){"a", "b", "c", NULL}), 0);
	ck_assert_str_eq(shown(&w), "a@0 c@2 b@3");
	ck_assert_ptr_nonnull(listing_find(&w.l, "b"));
	ck_assert_ptr_ne(listing_find(&w.l, "b"), b);
	ck_assert_uint_eq(((struct thing *)listing_find(&w.l, "b"))->position, 3);
	listing_release(&w.l);
}
END_TEST

START_TEST(a_failed_answer_takes_nothing_away)
{
	struct world w = {0};

	listing_init(&w.l);
	ck_assert_int_eq(update(&w, (const char *[]){"a", "b", NULL}), 0);
	ck_assert_int_eq(update(&w, (const char *[]){"b", NULL}), 0);
	w.fails = -EIO;
	ck_assert_int_eq(update(&w, (const char *[]){"c", NULL}), -EIO);
	ck_assert_str_eq(shown(&w), "b@1 c@2");
	w.fails = 0;
	ck_assert_int_eq(update(&w, (const char *[]){"c", NULL}), 0);
	ck_assert_str_eq(shown(&w), "c@2");
	listing_release(&w.l);
}
END_TEST

START_TEST(the_source_is_asked_once_a_second)
{
	struct world w = {0};
	const struct listing_source src = source(&w);

	listing_init(&w.l);
	ck_assert_int_eq(update(&w, (const char *[]){"a", NULL}), 0);
	for (int i = 0; i < 1000; i++)
		ck_assert_int_eq(listing_refresh(&w.l, &src, NULL), 0);
	ck_assert_uint_le(w.asked, 3);
	listing_release(&w.l);
}
END_TEST

static int backwards(const char *a, const char *b)
{
	return strcmp(b, a);
}

START_TEST(the_last_one_follows_the_order_asked_for)
{
	struct world w = {0};

	listing_init(&w.l);
	ck_assert_ptr_null(listing_last(&w.l, strcmp));
	ck_assert_int_eq(update(&w, (const char *[]){"b", "c", "a", NULL}), 0);
	ck_assert_str_eq(listing_last(&w.l, strcmp)->name, "c");
	ck_assert_str_eq(listing_last(&w.l, backwards)->name, "a");
	listing_release(&w.l);
}
END_TEST

START_TEST(many_names_are_found)
{
	enum { MANY = 5000 };
	char *names[MANY + 1] = {0};
	struct world w = {0};

	listing_init(&w.l);
	for (int i = 0; i < MANY; i++) {
		ck_assert_int_gt(asprintf(&names[i], "n%d", i * 7919 % MANY), 0);
		if (i % 1000 == 999)
			ck_assert_int_eq(update(&w, (const char *const *)names), 0);
	}
	for (int i = 0; i < MANY; i++)
		ck_assert_uint_eq(((struct thing *)listing_find(&w.l, names[i]))->position, i);
	listing_release(&w.l);
	for (int i = 0; i < MANY; i++)
		free(names[i]);
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("fs_listing");
	TCase *c = tcase_create("listing");

	tcase_add_test(c, positions_stay);
	tcase_add_test(c, what_goes_is_gone_and_what_returns_is_new);
	tcase_add_test(c, a_failed_answer_takes_nothing_away);
	tcase_add_test(c, the_source_is_asked_once_a_second);
	tcase_add_test(c, the_last_one_follows_the_order_asked_for);
	tcase_add_test(c, many_names_are_found);
	suite_add_tcase(s, c);
	return s;
}

CHECK_MAIN(suite)
