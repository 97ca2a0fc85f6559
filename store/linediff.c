/* Differences by lines. See linediff.h.
 *
 * Both texts are walked side by side. As long as they are the same that is a comparison of words; where they part, the new
 * text's line is looked for among the old one's, by a table of their hashes. What is not found is new, but for the middle of a
 * line that stands between the same neighbours as before. Nothing is searched for within lines: bytes without line ends are
 * the business of another codec. */
#include "store/linediff.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/buf.h"
#include "src/base/cur.h"

#define COPY_MIN 32 /* a shorter stretch is worth a copy only when it ends a line */
#define PROBES 8    /* places of the table that are looked at for one line */
#define TABLE_MIN 10
#define TABLE_MAX 20

struct linediff {
	uint32_t *table; /* of the old text: 1 + where a line begins; 0: none */
	unsigned bits, cap_bits;
	struct buf inserts, skips, copies; /* numbers, one a step each */
	struct buf literals, plan;
	size_t steps;
};

/* What is being compared, and how far it is. */
struct walk {
	struct linediff *d;
	const uint8_t *p, *ref;
	size_t n, ref_len;
	size_t at;    /* in the new text: everything before is planned, or to be inserted */
	size_t fresh; /* what is to be inserted begins here */
	size_t from;  /* in the old text: what `at` is compared with */
	size_t used;  /* the last copy ended here */
};

int linediff_new(struct linediff **ret)
{
	struct linediff *d = calloc(1, sizeof(*d));

	if (!d)
		return -ENOMEM;
	*ret = d;
	return 0;
}

void linediff_free(struct linediff *d)
{
	if (!d)
		return;
	free(d->table);
	buf_free(&d->inserts);
	buf_free(&d->skips);
	buf_free(&d->copies);
	buf_free(&d->literals);
	buf_free(&d->plan);
	free(d);
}

static uint64_t word(const uint8_t *p)
{
	uint64_t v;

	memcpy(&v, p, sizeof(v));
	return v;
}

/* How many bytes are the same from there on. */
static size_t same(const uint8_t *a, const uint8_t *b, size_t n)
{
	size_t i = 0;

	while (i + 8 <= n && word(a + i) == word(b + i))
		i += 8;
	while (i < n && a[i] == b[i])
		i++;
	return i;
}

/* Of the n bytes before a and b, how many are the same at the end. */
static size_t same_back(const uint8_t *a, const uint8_t *b, size_t n)
{
	size_t i = 0;

	while (i < n && a[-1 - (ptrdiff_t)i] == b[-1 - (ptrdiff_t)i])
		i++;
	return i;
}

/* Behind the end of the line that has p[at]; n when it does not end. */
static size_t line_end(const uint8_t *p, size_t at, size_t n)
{
	const uint8_t *lf = at < n ? memchr(p + at, '\n', n - at) : NULL;

	return lf ? (size_t)(lf - p) + 1 : n;
}

static uint64_t hash(const uint8_t *p, size_t n)
{
	uint64_t h = n * 0x9e3779b97f4a7c15u;

	for (; n >= 8; p += 8, n -= 8)
		h = ((h ^ word(p)) * 0xff51afd7ed558ccdu) ^ (h >> 29);
	for (; n; p++, n--)
		h = ((h ^ *p) * 0xff51afd7ed558ccdu) ^ (h >> 29);
	return (h ^ (h >> 32)) * 0xc4ceb9fe1a85ec53u;
}

static bool is_line(const uint8_t *ref, size_t ref_len, size_t at, const uint8_t *p, size_t n)
{
	return ref_len - at >= n && !memcmp(ref + at, p, n);
}

/* The slot of a line: its own, or the empty one where it would be; NULL when neither is near. */
static uint32_t *slot(struct linediff *d, const uint8_t *ref, size_t ref_len, const uint8_t *p, size_t n)
{
	size_t mask = ((size_t)1 << d->bits) - 1, i = (size_t)(hash(p, n) >> (64 - d->bits));

	for (unsigned k = 0; k < PROBES; k++) {
		uint32_t *s = &d->table[(i + k) & mask];

		if (!*s || is_line(ref, ref_len, *s - 1, p, n))
			return s;
	}
	return NULL;
}

/* Of equal lines the first is kept. */
static int make_table(struct linediff *d, const uint8_t *ref, size_t ref_len)
{
	size_t lines = 0;

	for (size_t i = 0; i < ref_len; i++)
		lines += ref[i] == '\n';
	for (d->bits = TABLE_MIN; d->bits < TABLE_MAX && (size_t)1 << d->bits < 2 * lines;)
		d->bits++;
	if (d->bits > d->cap_bits) {
		free(d->table);
		d->table = malloc(sizeof(*d->table) << d->bits);
		d->cap_bits = d->table ? d->bits : 0;
		if (!d->table)
			return -ENOMEM;
	}
	memset(d->table, 0, sizeof(*d->table) << d->bits);
	for (size_t at = 0, end; at < ref_len; at = end) {
		uint32_t *s;

		end = line_end(ref, at, ref_len);
		s = ref[end - 1] == '\n' ? slot(d, ref, ref_len, ref + at, end - at) : NULL;
		if (s && !*s)
			*s = (uint32_t)at + 1;
	}
	return 0;
}

/* Where the old text has this line of the new one. */
static bool find(const struct walk *w, size_t at, size_t end, size_t *ret)
{
	const uint32_t *s = NULL;

	if (end > at && w->p[end - 1] == '\n')
		s = slot(w->d, w->ref, w->ref_len, w->p + at, end - at);
	if (!s || !*s)
		return false;
	*ret = *s - 1;
	return true;
}

/* One step of the plan: what is fresh, then n bytes of the old text from w->from on. */
static void step(struct walk *w, size_t n)
{
	struct linediff *d = w->d;

	buf_put_varint(&d->inserts, w->at - w->fresh);
	buf_put_svarint(&d->skips, (int64_t)w->from - (int64_t)w->used);
	buf_put_varint(&d->copies, n);
	buf_put(&d->literals, w->p + w->fresh, w->at - w->fresh);
	d->steps++;
	w->at += n;
	w->from += n;
	w->fresh = w->at;
	w->used = w->from;
}

/* The texts differ at w->at and w->from, or soon behind. Goes on to where they may be the same again: this line elsewhere, the
 * rest of a line of which only the middle changed, or the line behind one that is new. */
static void part(struct walk *w)
{
	size_t end = line_end(w->p, w->at, w->n), old_end = line_end(w->ref, w->from, w->ref_len), found,
	       k = 0;
	size_t next = line_end(w->p, end, w->n);

	while (k < w->at && k < w->from && w->p[w->at - 1 - k] != '\n' &&
		w->p[w->at - 1 - k] == w->ref[w->from - 1 - k])
		k++;
	if (k < w->at && w->p[w->at - 1 - k] != '\n') {
		w->at = end;
		w->from = old_end;
	} else if (find(w, w->at - k, end, &found)) {
		w->from = found + k;
	} else if (find(w, end, next, &found) ? found == old_end : end == w->n && old_end == w->ref_len) {
		size_t fresh = end - w->at, old = old_end - w->from;
		size_t alike = same_back(w->p + end, w->ref + old_end, fresh < old ? fresh : old);

		w->at = end - alike;
		w->from = old_end - alike;
	} else {
		w->at = end;
		w->from -= k;
	}
}

static bool copy_pays(const struct walk *w, size_t n)
{
	return n >= COPY_MIN || (n && (w->at + n == w->n || memchr(w->p + w->at, '\n', n)));
}

size_t linediff_make(struct linediff *d, const uint8_t *p, size_t n, const uint8_t *ref, size_t ref_len,
	size_t most, const uint8_t **ret)
{
	struct walk w = {.d = d, .p = p, .ref = ref, .n = n, .ref_len = ref_len};

	if (n > UINT32_MAX / 2 || ref_len > UINT32_MAX / 2 || make_table(d, ref, ref_len) < 0)
		return 0;
	buf_clear(&d->inserts);
	buf_clear(&d->skips);
	buf_clear(&d->copies);
	buf_clear(&d->literals);
	buf_clear(&d->plan);
	d->steps = 0;
	while (w.at < n && d->literals.len + (w.at - w.fresh) <= most) {
		size_t left = n - w.at, old = ref_len - w.from,
		       k = same(p + w.at, ref + w.from, left < old ? left : old);

		if (copy_pays(&w, k))
			step(&w, k);
		if (w.at < n)
			part(&w);
	}
	buf_put_varint(&d->plan, d->steps);
	buf_put(&d->plan, d->inserts.data, d->inserts.len);
	buf_put(&d->plan, d->skips.data, d->skips.len);
	buf_put(&d->plan, d->copies.data, d->copies.len);
	buf_put(&d->plan, d->literals.data, d->literals.len);
	buf_put(&d->plan, p + w.fresh, n - w.fresh);
	if (d->plan.bad || d->inserts.bad || d->skips.bad || d->copies.bad || d->literals.bad ||
		d->plan.len > most)
		return 0;
	*ret = d->plan.data;
	return d->plan.len;
}

/* A cursor behind n numbers. */
static struct cur behind(struct cur c, size_t n)
{
	while (n-- && !c.bad)
		cur_varint(&c);
	return c;
}

/* A plan being read. */
struct follower {
	struct cur inserts, skips, copies, literals;
	uint64_t steps; /* to come */
	uint64_t used;	/* the place in the old text */
	size_t left;	/* bytes of the new text that are not made yet */
};

/* What comes next in the new text: fresh bytes, then a stretch of the old one. */
struct stretch {
	const uint8_t *fresh;
	size_t fresh_len, from, len;
};

static int follower_init(struct follower *f, const uint8_t *plan, size_t n, size_t raw_len)
{
	*f = (struct follower){.inserts = cur_of(plan, n), .left = raw_len};
	f->steps = cur_varint(&f->inserts);
	if (f->steps > cur_left(&f->inserts))
		return -EBADMSG;
	f->skips = behind(f->inserts, (size_t)f->steps);
	f->copies = behind(f->skips, (size_t)f->steps);
	f->literals = behind(f->copies, (size_t)f->steps);
	return 0;
}

/* 1, 0 behind the last stretch (which is the rest of the fresh bytes), or -EBADMSG. */
static int follower_next(struct follower *f, size_t ref_len, struct stretch *ret)
{
	uint64_t fresh, len;
	const uint8_t *p;

	if (f->literals.bad)
		return -EBADMSG;
	if (!f->steps) {
		if (cur_left(&f->literals) != f->left)
			return -EBADMSG;
		*ret = (struct stretch){.fresh = f->literals.p, .fresh_len = f->left};
		return 0;
	}
	f->steps--;
	fresh = cur_varint(&f->inserts);
	len = cur_varint(&f->copies);
	p = fresh <= f->left ? cur_bytes(&f->literals, (size_t)fresh) : NULL;
	/* Unsigned, so that a skip beyond either end is one that ends too far. */
	f->used += (uint64_t)cur_svarint(&f->skips);
	if (!p || len > f->left - fresh || f->used > ref_len || len > ref_len - f->used)
		return -EBADMSG;
	*ret = (struct stretch){p, (size_t)fresh, (size_t)f->used, (size_t)len};
	f->left -= (size_t)(fresh + len);
	f->used += len;
	return 1;
}

int linediff_apply(
	const uint8_t *plan, size_t n, const uint8_t *ref, size_t ref_len, uint8_t *out, size_t raw_len)
{
	struct follower f;
	struct stretch s;
	int r = follower_init(&f, plan, n, raw_len);

	for (int more = 1; !r && more > 0;) {
		more = follower_next(&f, ref_len, &s);
		if (more < 0)
			return more;
		memcpy(out, s.fresh, s.fresh_len);
		memcpy(out + s.fresh_len, ref + s.from, s.len);
		out += s.fresh_len + s.len;
	}
	return r;
}

int linediff_follow(
	const uint8_t *plan, size_t n, const struct pieces *ref, struct pieces *out, size_t raw_len)
{
	struct follower f;
	struct stretch s;
	int r = follower_init(&f, plan, n, raw_len);

	for (int more = 1; !r && more > 0;) {
		more = follower_next(&f, ref->len, &s);
		if (more < 0)
			return more;
		r = pieces_add(out, s.fresh, s.fresh_len);
		if (!r)
			r = pieces_add_from(out, ref, s.from, s.len);
	}
	return r;
}
