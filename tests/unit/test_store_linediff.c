/* Differences by lines: edits of all kinds there and back, how small they are, plans that are no plans. */
#include <errno.h>

#include "src/base/buf.h"
#include "store/codec.h"
#include "store/linediff.h"
#include "tests/unit/check_main.h"

/* Follows the plan in pieces, of a ref that is in pieces of `step` bytes itself: what linediff_apply says, and its bytes. */
static void in_pieces(const uint8_t *plan, size_t len, const uint8_t *ref, size_t ref_len, size_t step,
	size_t raw_len, int want, const uint8_t *made)
{
	struct pieces from = {0}, to = {0};
	uint8_t *apart = malloc(2 * ref_len + 1), *back = malloc(raw_len + 1);
	size_t used = 0;

	/* With gaps between them, for neighbours would become one. */
	for (size_t at = 0; at < ref_len; at += step) {
		size_t n = ref_len - at < step ? ref_len - at : step;

		memcpy(apart + used, ref + at, n);
		ck_assert_int_eq(pieces_add(&from, apart + used, n), 0);
		used += n + 1;
	}
	ck_assert_uint_eq(from.len, ref_len);
	ck_assert_int_eq(linediff_follow(plan, len, &from, &to, raw_len), want);
	if (!want) {
		ck_assert_uint_eq(to.len, raw_len);
		pieces_copy(&to, back);
		ck_assert_int_eq(memcmp(back, made, raw_len), 0);
	}
	pieces_release(&from);
	pieces_release(&to);
	free(apart);
	free(back);
}

/* Makes the plan and follows it; what is given is the plan's length, 0: there is none. */
static size_t both_ways(
	struct linediff *d, const void *p, size_t n, const void *ref, size_t ref_len, size_t most)
{
	uint8_t *exact_p = check_exact(p, n), *exact_ref = check_exact(ref, ref_len), *back, *copy;
	const uint8_t *plan = NULL;
	size_t len = linediff_make(d, exact_p, n, exact_ref, ref_len, most, &plan);

	if (len) {
		ck_assert_uint_le(len, most);
		copy = check_exact(plan, len);
		back = malloc(n ? n : 1);
		ck_assert_int_eq(linediff_apply(copy, len, exact_ref, ref_len, back, n), 0);
		ck_assert_int_eq(memcmp(back, p, n), 0);
		in_pieces(copy, len, exact_ref, ref_len, 1 + n % 700, n, 0, p);
		in_pieces(copy, len, exact_ref, ref_len, 1 + n % 700, n - 1, -EBADMSG, NULL);
		/* It makes so many bytes and no other number. */
		ck_assert_int_eq(linediff_apply(copy, len, exact_ref, ref_len, back, n - 1), -EBADMSG);
		free(back);
		free(copy);
	}
	free(exact_p);
	free(exact_ref);
	return len;
}

/* most: what the plan may take; 0: there is none within a quarter of the bytes. */
static const struct {
	const char *what, *ref, *now;
	size_t most;
} texts[] = {
	{"the same", "one line\nanother line\n", "one line\nanother line\n", 4},
	{"a line less at the start", "one line\nanother line\nlast\n", "another line\nlast\n", 4},
	{"a line less at the end", "one line\nanother line\nlast\n", "one line\nanother line\n", 4},
	{"a line more at the start", "another line\nlast\n", "one\nanother line\nlast\n", 8},
	{"a line more at the end", "one line\nanother line\n", "one line\nanother line\n1\n", 6},
	{"a line changed in its middle", "one line\nwhat is x in it\nlast line\n",
		"one line\nwhat is y in it\nlast line\n", 8},
	{"the last line changed, without an end", "one line\nanother line and x here",
		"one line\nanother line and yz here", 9},
	{"two lines in turn", "one line is here\nand another is there\n",
		"and another is there\none line is here\n", 8},
	{"the same line many times", "a\na\na\na\na\na\na\na\nb\na\na\na\na\n",
		"a\na\na\na\na\na\na\nb\na\na\na\na\na\n", 13},
	{"lines of nothing", "\n\n\n\n\n\n\n\n", "\n\n\n\n\n\n\n\n\n\n\n\n", 8},
	{"a row that begins as its neighbour does", "123\tab\n123\tac\n123\tad\n123\tae\n",
		"123\tab\n123\tad\n123\tae\n123\tac\n", 13},
	{"nothing in common", "abcdefghijklmnop\n", "qrstuvwxyz012345\n", 0},
	{"one byte", "x", "y", 0},
	{"no line ends", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab",
		"baaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", 0},
};

START_TEST(by_hand)
{
	const char *ref = texts[_i].ref, *now = texts[_i].now;
	size_t n = strlen(now), len;
	struct linediff *d;

	ck_assert_int_eq(linediff_new(&d), 0);
	len = both_ways(d, now, n, ref, strlen(ref), texts[_i].most ? n : n / 4);
	if (texts[_i].most)
		ck_assert_msg(len && len <= texts[_i].most, "%s: %zu bytes", texts[_i].what, len);
	else
		ck_assert_msg(!len, "%s: %zu bytes", texts[_i].what, len);
	linediff_free(d);
	linediff_free(NULL);
}
END_TEST

static void put_row(struct buf *b, uint64_t *rng, unsigned kind)
{
	uint64_t v = check_rand(rng);

	switch (kind) {
	case 0: /* few different ones */
		buf_printf(b, "%" PRIu64 "\t\\N\n", v % 5);
		break;
	case 1: /* pgbench's */
		buf_printf(b, "%" PRIu64 "\t%" PRIu64 "\t%d\t%84s\n", v % 1000000, v % 20,
			(int)(v >> 40) % 5000, "");
		break;
	case 2: /* any length */
		for (uint64_t i = v % 300; i; i--)
			buf_put_u8(b, (uint8_t)(' ' + check_rand_below(rng, 90)));
		buf_put_u8(b, '\n');
		break;
	}
}

/* Rows of ref, one in `every` of them gone, changed, moved, or behind a new one. */
static void edit(uint64_t *rng, const struct buf *ref, unsigned kind, unsigned every, struct buf *now)
{
	size_t end;
	struct buf later = {0};

	for (size_t at = 0; at < ref->len; at = end) {
		const uint8_t *lf = memchr(ref->data + at, '\n', ref->len - at);
		size_t from = now->len;

		end = lf ? (size_t)(lf - ref->data) + 1 : ref->len;
		buf_put(now, ref->data + at, end - at);
		if (check_rand_below(rng, every))
			continue;
		switch (check_rand_below(rng, 4)) {
		case 0:
			now->len = from;
			break;
		case 1:
			now->data[from + check_rand_below(rng, end - at)] = (uint8_t)check_rand(rng);
			break;
		case 2:
			put_row(now, rng, kind);
			break;
		case 3:
			buf_put(&later, now->data + from, end - at);
			now->len = from;
			break;
		}
	}
	buf_put(now, later.data, later.len);
	buf_free(&later);
	ck_assert(!now->bad);
}

START_TEST(random_edits)
{
	uint64_t rng = check_seed() + _i;
	struct linediff *d;

	ck_assert_int_eq(linediff_new(&d), 0);
	for (int round = 0; round < 200; round += PART(4, 20)) {
		struct buf ref = {0}, now = {0};
		unsigned rows = 1 + (unsigned)check_rand_below(&rng, 2000);
		size_t cut;

		for (unsigned i = 0; i < rows; i++)
			put_row(&ref, &rng, _i);
		edit(&rng, &ref, _i, 1 + (unsigned)check_rand_below(&rng, 100), &now);
		/* A chunk begins and ends within a line. */
		cut = check_rand_below(&rng, now.len / 4 + 1);
		now.len -= check_rand_below(&rng, now.len / 4 + 1);
		if (now.len > cut)
			both_ways(d, now.data + cut, now.len - cut, ref.data, ref.len, 2 * now.len + 100);
		buf_free(&ref);
		buf_free(&now);
	}
	linediff_free(d);
}
END_TEST

/* A plan after the other, worked out as pieces and copied once. */
START_TEST(chains)
{
	enum { LINKS = 20 };
	uint64_t rng = check_seed() + _i;
	struct buf versions[LINKS + 1] = {0}, plans[LINKS] = {0};
	struct pieces now = {0}, was = {0};
	struct linediff *d;
	uint8_t *back;

	ck_assert_int_eq(linediff_new(&d), 0);
	for (unsigned i = 0; i < 500; i++)
		put_row(&versions[0], &rng, _i);
	ck_assert_int_eq(pieces_add(&now, versions[0].data, versions[0].len), 0);
	for (unsigned k = 0; k < LINKS; k++) {
		const uint8_t *plan;
		struct pieces older = was;
		size_t len;

		edit(&rng, &versions[k], _i, 50, &versions[k + 1]);
		len = linediff_make(d, versions[k + 1].data, versions[k + 1].len, versions[k].data,
			versions[k].len, 2 * versions[k + 1].len + 100, &plan);
		ck_assert_uint_gt(len, 0);
		buf_put(&plans[k], plan, len);
		was = now;
		now = older;
		pieces_clear(&now);
		ck_assert_int_eq(linediff_follow(plans[k].data, len, &was, &now, versions[k + 1].len), 0);
		ck_assert_uint_eq(now.len, versions[k + 1].len);
		back = malloc(now.len);
		pieces_copy(&now, back);
		ck_assert_int_eq(memcmp(back, versions[k + 1].data, now.len), 0);
		free(back);
	}
	for (unsigned k = 0; k < LINKS; k++) {
		buf_free(&versions[k]);
		buf_free(&plans[k]);
	}
	buf_free(&versions[LINKS]);
	pieces_release(&now);
	pieces_release(&was);
	linediff_free(d);
}
END_TEST

/* One row in a hundred is another: what that may cost, compressed, too. */
START_TEST(small)
{
	uint64_t rng = check_seed();
	struct buf ref = {0}, now = {0};
	struct linediff *d;
	struct codec *c;
	size_t len, packed;
	uint8_t *out, *back;

	for (unsigned i = 0; i < 4000; i++)
		put_row(&ref, &rng, 1);
	edit(&rng, &ref, 1, 100, &now);
	ck_assert_int_eq(linediff_new(&d), 0);
	len = both_ways(d, now.data, now.len, ref.data, ref.len, now.len);
	ck_assert_uint_gt(len, 0);
	ck_assert_uint_lt(len, now.len / 100);
	/* Not when so little is allowed. */
	ck_assert_uint_eq(both_ways(d, now.data, now.len, ref.data, ref.len, len - 1), 0);
	linediff_free(d);
	ck_assert_int_eq(codec_new(3, &c), 0);
	out = malloc(codec_bound(now.len));
	back = malloc(now.len);
	packed = codec_pack(c, CODEC_LINES, now.data, now.len, ref.data, ref.len, out, codec_bound(now.len));
	ck_assert_uint_gt(packed, 0);
	ck_assert_uint_lt(packed, now.len / 300);
	ck_assert_int_eq(codec_unpack(c, CODEC_LINES, out, packed, ref.data, ref.len, back, now.len), 0);
	ck_assert_int_eq(memcmp(back, now.data, now.len), 0);
	codec_free(c);
	free(out);
	free(back);
	buf_free(&ref);
	buf_free(&now);
}
END_TEST

/* Cut off anywhere: refused. Bent anywhere: refused or other bytes, never one beyond either end. */
START_TEST(no_plans)
{
	uint64_t rng = check_seed();
	struct buf ref = {0}, now = {0};
	struct linediff *d;
	const uint8_t *plan;
	uint8_t *exact_ref, *exact, *back;
	size_t len;

	for (unsigned i = 0; i < 60; i++)
		put_row(&ref, &rng, 1);
	edit(&rng, &ref, 1, 6, &now);
	ck_assert_int_eq(linediff_new(&d), 0);
	len = linediff_make(d, now.data, now.len, ref.data, ref.len, now.len, &plan);
	ck_assert_uint_gt(len, 0);
	exact_ref = check_exact(ref.data, ref.len);
	back = malloc(now.len);
	for (size_t n = 0; n < len; n++) {
		exact = check_exact(plan, n);
		ck_assert_int_eq(linediff_apply(exact, n, exact_ref, ref.len, back, now.len), -EBADMSG);
		free(exact);
	}
	for (size_t bit = 0; bit < 8 * len; bit++) {
		int r;

		exact = check_exact(plan, len);
		exact[bit / 8] ^= (uint8_t)(1u << bit % 8);
		r = linediff_apply(exact, len, exact_ref, ref.len, back, now.len);
		ck_assert(r == 0 || r == -EBADMSG);
		in_pieces(exact, len, exact_ref, ref.len, 97, now.len, r, back);
		free(exact);
	}
	/* Against something shorter it reads nothing behind the end. */
	ck_assert_int_eq(linediff_apply(plan, len, exact_ref, 10, back, now.len), -EBADMSG);
	free(back);
	free(exact_ref);
	linediff_free(d);
	buf_free(&ref);
	buf_free(&now);
}
END_TEST

/* Numbers that overflow when they are added. */
START_TEST(far_skips)
{
	static const int64_t skips[] = {-1, INT64_MIN, INT64_MAX, INT32_MAX, 11};
	uint8_t out[4];

	for (size_t i = 0; i < sizeof(skips) / sizeof(*skips); i++) {
		struct buf b = {0};

		buf_put_varint(&b, 1);
		buf_put_varint(&b, 0);
		buf_put_svarint(&b, skips[i]);
		buf_put_varint(&b, 4);
		ck_assert_int_eq(
			linediff_apply(b.data, b.len, (const uint8_t *)"0123456789", 10, out, 4), -EBADMSG);
		buf_free(&b);
	}
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("store/linediff");
	TCase *t = tcase_create("all");

	tcase_add_loop_test(t, by_hand, 0, sizeof(texts) / sizeof(*texts));
	tcase_add_loop_test(t, random_edits, 0, 3);
	tcase_add_loop_test(t, chains, 0, 3);
	tcase_add_test(t, small);
	tcase_add_test(t, no_plans);
	tcase_add_test(t, far_skips);
	suite_add_tcase(s, t);
	return s;
}
CHECK_MAIN(suite)
