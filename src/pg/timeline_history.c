/* Timeline history files. See timeline_history.h. */
#include "src/pg/timeline_history.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char suffix[] = ".history";

char *timeline_history_name(struct tli t, char out[TIMELINE_HISTORY_TEXT])
{
	snprintf(out, TIMELINE_HISTORY_TEXT, "%08X%s", t.v, suffix);
	return out;
}

bool timeline_history_name_parse(const char *p, size_t n, struct tli *ret)
{
	char segment[WAL_NAME_LEN];
	struct segno s;
	struct tli t;

	if (n != TIMELINE_HISTORY_TEXT - 1 || memcmp(p + 8, suffix, sizeof(suffix) - 1) != 0)
		return false;
	/* Its digits are those that a segment's name starts with. */
	memset(segment, '0', sizeof(segment));
	memcpy(segment, p, 8);
	if (!wal_name_parse(segment, sizeof(segment), 1u << 20, &t, &s) || t.v < 2)
		return false;
	*ret = t;
	return true;
}

void timeline_history_free(struct timeline_history *h)
{
	free(h);
}

static bool is_space(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\f' || c == '\v';
}

static const char *skip_spaces(const char *p, const char *end)
{
	while (p < end && is_space(*p))
		p++;
	return p;
}

/* A number of at most ten digits, and at most 2^32 - 1. NULL when there is none. */
static const char *get_number(const char *p, const char *end, uint32_t *ret)
{
	const char *start = p;
	uint64_t v = 0;

	for (; p < end && *p >= '0' && *p <= '9' && p - start < 10; p++)
		v = v * 10 + (uint64_t)(*p - '0');
	if (p == start || v > UINT32_MAX || (p < end && !is_space(*p)))
		return NULL;
	*ret = (uint32_t)v;
	return p;
}

/* One line without its end. 1: *ret is what it says, its reason starts at *ret_reason; 0: it says nothing. */
static int get_line(const char *p, const char *end, struct timeline_step *ret, const char **ret_reason)
{
	const char *word;

	p = skip_spaces(p, end);
	if (p == end || *p == '#')
		return 0;
	p = get_number(p, end, &ret->tli.v);
	if (!p || !ret->tli.v)
		return -EBADMSG;
	word = p = skip_spaces(p, end);
	while (p < end && !is_space(*p))
		p++;
	if (!lsn_parse(word, (size_t)(p - word), &ret->end) || !ret->end.v)
		return -EBADMSG;
	*ret_reason = skip_spaces(p, end);
	return 1;
}

/* How many lines there are room for; checked before anything is allocated. */
static size_t count_lines(const char *p, size_t n)
{
	size_t lines = 1;

	for (size_t i = 0; i < n; i++)
		lines += p[i] == '\n';
	return lines;
}

int timeline_history_parse(
	const void *buf, size_t n, struct tli t, struct timeline_history **ret, struct err *e)
{
	_cleanup_(timeline_history_freep) struct timeline_history *h = NULL;
	const char *p = buf, *end = n ? p + n : p, *reason = NULL;
	char name[TIMELINE_HISTORY_TEXT], *text;
	size_t lines = count_lines(p, n), size;
	unsigned number = 0;

	timeline_history_name(t, name);
	if (n && memchr(p, 0, n))
		return err_set(e, -EBADMSG, "%s: it has a zero byte", name);
	if (lines > TIMELINE_HISTORY_STEPS || n > (size_t)TIMELINE_HISTORY_STEPS * 1024)
		return err_set(e, -EBADMSG, "%s: it is too long for a history", name);
	/* The reasons' text lies behind the steps. */
	size = sizeof(*h) + lines * sizeof(*h->steps);
	h = malloc(size + n + 1);
	if (!h)
		return err_sys(e, -ENOMEM, "%s", name);
	text = (char *)h + size;
	*h = (struct timeline_history){.tli = t};
	while (p < end) {
		const char *eol = memchr(p, '\n', (size_t)(end - p));
		struct timeline_step s = {0}, last = h->n ? h->steps[h->n - 1] : s;
		int c;

		number++;
		if (!eol)
			eol = end;
		c = get_line(p, eol, &s, &reason);
		if (c < 0)
			return err_set(e, c, "%s: line %u is not \"TIMELINE LSN REASON\"", name, number);
		p = eol < end ? eol + 1 : end;
		if (!c)
			continue;
		if (s.tli.v <= last.tli.v || s.tli.v >= t.v)
			return err_set(e, -EBADMSG,
				"%s: line %u: timeline %u cannot come after %u and before %u", name, number,
				s.tli.v, last.tli.v, t.v);
		if (lsn_cmp(s.end, last.end) < 0)
			return err_set(e, -EBADMSG, "%s: line %u: timeline %u ends before it begins", name,
				number, s.tli.v);
		memcpy(text, reason, (size_t)(eol - reason));
		s.reason = text;
		text += eol - reason;
		*text++ = 0;
		h->steps[h->n++] = s;
	}
	*ret = MOVE(h);
	return 0;
}

struct tli timeline_of_lsn(const struct timeline_history *h, struct lsn l)
{
	for (size_t i = 0; i < h->n; i++)
		if (lsn_cmp(l, h->steps[i].end) < 0)
			return h->steps[i].tli;
	return h->tli;
}

struct tli timeline_of_segment(const struct timeline_history *h, struct segno s, uint32_t segment_size)
{
	for (size_t i = h->n; i; i--)
		if (wal_segno(h->steps[i - 1].end, segment_size).v <= s.v)
			return i < h->n ? h->steps[i].tli : h->tli;
	return h->n ? h->steps[0].tli : h->tli;
}

bool timeline_end(const struct timeline_history *h, struct tli t, struct lsn *ret)
{
	if (t.v == h->tli.v) {
		*ret = (struct lsn){0};
		return true;
	}
	for (size_t i = 0; i < h->n; i++)
		if (h->steps[i].tli.v == t.v) {
			*ret = h->steps[i].end;
			return true;
		}
	return false;
}

bool timeline_passes(const struct timeline_history *h, struct tli t, struct lsn l)
{
	struct lsn end;

	return timeline_end(h, t, &end) && (!end.v || lsn_cmp(l, end) <= 0);
}
