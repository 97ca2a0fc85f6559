/* The way of recovery along one timeline. See way.h. */
#include "src/pit/way.h"

#include <errno.h>

#include "src/pg/wal_page.h"
#include "src/pit/pages.h"
#include "src/pit/summaries.h"

#define DAMAGED_MAX 16 /* segments at the end of the WAL that way_end leaves out; more is an error */

bool way_file(const struct way *w, struct segno no, struct tli *ret, struct lsn *ret_valid)
{
	for (unsigned i = 0; pages_candidate(w->h, no, w->inv->segment_size, i, ret, ret_valid); i++)
		if (inventory_find(w->inv, *ret, no))
			return true;
	for (unsigned i = 0; pages_candidate(w->h, no, w->inv->segment_size, i, ret, ret_valid); i++) {
		const struct partial *p = inventory_partial(w->inv, *ret, no);

		if (!p)
			continue;
		if (way_start(w, no).v + p->length < ret_valid->v)
			ret_valid->v = way_start(w, no).v + p->length;
		return true;
	}
	return false;
}

bool way_streamed(const struct way *w, struct segno no)
{
	struct lsn valid;
	struct tli t;

	return way_file(w, no, &t, &valid) && !inventory_find(w->inv, t, no);
}

char *way_name(const struct way *w, struct segno no, char out[WAL_NAME_TEXT])
{
	struct lsn valid;
	struct tli t;

	return way_file(w, no, &t, &valid) ? wal_name(t, no, w->inv->segment_size, out)
					   : way_wanted(w, no, out);
}

char *way_wanted(const struct way *w, struct segno no, char out[WAL_NAME_TEXT])
{
	uint32_t size = w->inv->segment_size;

	return wal_name(timeline_of_segment(w->h, no, size), no, size, out);
}

struct lsn way_reach(const struct way *w, struct lsn from)
{
	struct segno no = way_segno(w, from);
	struct lsn valid, left;
	struct tli t;

	while (way_file(w, no, &t, &valid)) {
		const struct stretch *s = inventory_find(w->inv, t, no);
		uint64_t next = s ? s->last + 1 : no.v + 1;

		if (valid.v < way_start(w, no).v + w->inv->segment_size)
			return valid.v > from.v ? valid : from;
		/* From where the next timeline begins, its own files count. */
		if (timeline_end(w->h, t, &left) && left.v && way_segno(w, left).v < next)
			next = way_segno(w, left).v > no.v ? way_segno(w, left).v : no.v + 1;
		no.v = next;
	}
	return way_start(w, no).v > from.v ? way_start(w, no) : from;
}

bool way_next(const struct way *w, struct segno no, struct segno *ret)
{
	bool found = false;

	for (size_t i = 0; i <= w->h->n; i++) {
		struct tli t = i < w->h->n ? w->h->steps[i].tli : w->h->tli;
		struct lsn begun = i ? w->h->steps[i - 1].end : (struct lsn){0};
		uint64_t first = way_segno(w, begun).v > no.v ? way_segno(w, begun).v : no.v;
		const struct stretch *s = inventory_find(w->inv, t, (struct segno){first});
		struct lsn valid;
		struct tli by;

		if (!s && !(s = inventory_after(w->inv, t, (struct segno){first})))
			continue;
		first = s->first > first ? s->first : first;
		/* A file that came after its timeline was left is not on the way. */
		if (!way_file(w, (struct segno){first}, &by, &valid))
			continue;
		if (!found || first < ret->v)
			ret->v = first;
		found = true;
	}
	return found;
}

bool way_gap(const struct way *w, struct lsn from, struct segno *ret_first, struct segno *ret_next)
{
	struct lsn reach = way_reach(w, from);
	struct segno no = way_segno(w, reach), behind = {no.v + (reach.v > way_start(w, no).v)};

	if (!way_next(w, behind, ret_next))
		return false;
	*ret_first = no;
	return true;
}

/* As noted; else made, where that is allowed. */
static int whole_summary(const struct way *w, const char *name, struct wal_summary **ret, struct err *e)
{
	if (w->may_make) {
		if (w->source->noted(w->store, w->cluster, name, ret) >= 0)
			return 0;
		if (!*w->may_make)
			return err_set(e, -EAGAIN, "the summary of %s is not there yet", name);
		--*w->may_make;
	}
	return w->source->summary(w->store, w->cluster, name, ret, e);
}

int way_summary(const struct way *w, struct segno no, struct recent_summary **ret, struct err *e)
{
	struct wal_summary *s = NULL;
	char name[WAL_NAME_TEXT];
	struct lsn valid;
	struct tli t;
	int r;

	if (!way_file(w, no, &t, &valid))
		return err_set(e, -ENOENT, "%s is not in the archive of cluster \"%s\"",
			way_name(w, no, name), w->cluster);
	*ret = recent_get(w->recent, t, no, valid);
	if (*ret)
		return 0;
	wal_name(t, no, w->inv->segment_size, name);
	if (valid.v < way_start(w, no).v + w->inv->segment_size || !inventory_find(w->inv, t, no))
		r = summaries_upto(w->store, w->cluster, name, w->inv->segment_size, w->h, valid, &s, e);
	else
		r = whole_summary(w, name, &s, e);
	return r < 0 ? r : recent_put(w->recent, t, no, valid, s, ret, e);
}

/* The stretch of the timeline whose file of this segment counts whole, or NULL. */
static const struct stretch *whole_file(const struct way *w, struct segno no, struct tli *ret)
{
	struct lsn valid;

	if (!way_file(w, no, ret, &valid) || valid.v < way_start(w, no).v + w->inv->segment_size)
		return NULL;
	return inventory_find(w->inv, *ret, no);
}

struct segno way_may_be_later(const struct way *w, struct segno no, struct segno end, struct tstamp time)
{
	struct tli t = {0}, t2 = {0};

	while (no.v < end.v) {
		const struct stretch *s = whole_file(w, no, &t);
		uint64_t n = s ? recent_none_later(w->recent, t, no, end.v - no.v, time) : 0;

		/* All of them are of this timeline when the last one is. */
		if (n > 1 && (whole_file(w, (struct segno){no.v + n - 1}, &t2) != s || t2.v != t.v))
			n = 1;
		if (!n)
			break;
		no.v += n;
	}
	return no;
}

int way_end(const struct way *w, struct lsn from, struct lsn *ret, struct err *e)
{
	struct lsn reach = way_reach(w, from);

	for (unsigned i = 0; reach.v > from.v; i++) {
		_cleanup_(recent_unrefp) struct recent_summary *s = NULL;
		struct segno last = way_segno(w, (struct lsn){reach.v - 1});
		int r = way_summary(w, last, &s, e);

		if (!r) {
			*ret = s->s->resume.v > from.v ? s->s->resume : from;
			return 0;
		}
		if (r != -EBADMSG || i == DAMAGED_MAX)
			return r;
		log_msg(w->log, LOG_LEVEL_WARNING, "the WAL of cluster \"%s\" is taken to end before %s",
			w->cluster, e ? e->text : "a damaged segment");
		reach = way_start(w, last);
	}
	*ret = from;
	return 0;
}

/* ---- the WAL itself ---- */

/* The size of the WAL's pages, which the first one of each segment tells. */
static int block_size(struct pages *p, struct segno no, uint32_t *ret, struct err *e)
{
	uint8_t head[WAL_PAGE_HEAD_LONG];
	struct wal_segment seg;
	int r = pages_read(p, wal_segment_start(no, p->segment_size), head, sizeof(head), e);

	if (r < (int)sizeof(head)) {
		*ret = WAL_BLOCK_SIZE;
		return r < 0 ? r : 0;
	}
	r = wal_segment_parse(head, sizeof(head), &seg, e);
	if (!r)
		*ret = seg.block_size;
	return r;
}

static int open_reader(
	const struct way *w, struct lsn from, struct pages *p, struct wal_reader **ret, struct err *e)
{
	struct wal_reader_opts o = {.segment_size = w->inv->segment_size, .tli = w->h->tli};
	int r;

	*p = (struct pages){.store = w->store,
		.cluster = w->cluster,
		.history = w->h,
		.segment_size = w->inv->segment_size,
		.partial = true};
	r = block_size(p, way_segno(w, from), &o.block_size, e);
	if (!r)
		r = wal_reader_new(&o, pages_read, p, ret, e);
	if (!r)
		wal_reader_find(*ret, from);
	return r;
}

int way_events(
	const struct way *w, struct lsn from, struct lsn until, wal_event_fn *fn, void *arg, struct err *e)
{
	_cleanup_(pages_release) struct pages p;
	_cleanup_(wal_reader_freep) struct wal_reader *reader = NULL;
	const struct wal_record *rec = NULL;
	struct wal_event ev;
	int r = open_reader(w, from, &p, &reader, e);

	while (!r && (r = wal_reader_next(reader, &rec, e)) > 0 && rec->lsn.v < until.v) {
		r = wal_event_of(rec, &ev, e);
		if (r > 0)
			r = fn(arg, &ev, e);
	}
	return r < 0 ? r : 0;
}

int way_record(const struct way *w, struct lsn at, struct lsn *ret_end, struct err *e)
{
	_cleanup_(pages_release) struct pages p;
	_cleanup_(wal_reader_freep) struct wal_reader *reader = NULL;
	const struct wal_record *rec = NULL;
	int r = open_reader(w, at, &p, &reader, e);

	if (!r)
		r = wal_reader_next(reader, &rec, e);
	if (r > 0)
		*ret_end = rec->end;
	return r;
}
