/* Summaries, made and noted. See summaries.h.
 *
 * Where a segment's first record begins is found from the pages before it, going back until one has a record's
 * start: a few pages as a rule, and at most what the longest record takes. So no summary waits for the one before
 * it, and a hole far back costs nothing here. */
#include "src/pit/summaries.h"

#include <errno.h>
#include <string.h>

#include "src/base/buf.h"
#include "src/base/clean.h"
#include "src/pg/wal_page.h"
#include "src/pit/pages.h"
#include "store/wal.h"

/* The longest record with its pages' headers, rounded up. */
#define BACK_MAX ((uint64_t)WAL_RECORD_MAX + (64u << 20))
#define BACK_FIRST 4 /* pages tried first */

/* What is asked for. */
struct job {
	struct store *store;
	const char *cluster;
	const char *name;
	struct tli tli;
	struct segno no;
	uint32_t segment_size;
	uint32_t block_size;
	uint64_t system_identifier;
	bool reaches_in; /* a record from before goes on in its first page */
	struct timeline_history *history;
	struct pages pages;
};

static void job_release(struct job *j)
{
	pages_release(&j->pages);
	timeline_history_free(j->history);
}

/* Reads the segment's header, and settles what its name and size mean. */
static int begin(struct job *j, struct err *e)
{
	uint8_t head[WAL_PAGE_HEAD_LONG];
	struct wal_segment seg;
	struct wal_page page;
	int r = wal_name_parse(j->name, strlen(j->name), j->segment_size, &j->tli, &j->no)
			? 0
			: err_set(e, -EINVAL, "%s is no segment of %u bytes", j->name, j->segment_size);

	if (r < 0)
		return r;
	j->pages = (struct pages){.store = j->store,
		.cluster = j->cluster,
		.segment_size = j->segment_size,
		.has_own = true,
		.own = j->no,
		.own_tli = j->tli,
		.mem = j->pages.mem,
		.mem_len = j->pages.mem_len,
		.history = j->pages.history,
		.limit = j->pages.limit,
		.partial = j->pages.partial};
	r = pages_read(&j->pages, wal_segment_start(j->no, j->segment_size), head, sizeof(head), e);
	if (r < 0)
		return r;
	r = wal_segment_check(head, (size_t)r, j->name, strlen(j->name), 0, &seg, e);
	if (!r && seg.segment_size != j->segment_size)
		r = err_set(e, -EBADMSG, "its header says %u bytes, but it has %u", seg.segment_size,
			j->segment_size);
	if (!r)
		r = wal_page_parse(head, sizeof(head), &page, e);
	if (r < 0)
		return err_wrap(e, r, "%s", j->name);
	j->block_size = seg.block_size;
	j->system_identifier = seg.system_identifier;
	j->reaches_in = page.info & WAL_PAGE_CONTINUES;
	return 0;
}

static int new_reader(struct job *j, struct wal_reader **ret, struct err *e)
{
	struct wal_reader_opts o = {.segment_size = j->segment_size,
		.block_size = j->block_size,
		.system_identifier = j->system_identifier,
		.tli = j->tli,
		.mem = j->pages.mem,
		.mem_at = wal_segment_start(j->no, j->segment_size),
		.mem_len = j->pages.mem_len};

	return wal_reader_new(&o, pages_read, &j->pages, ret, e);
}

/* Does a record start in [from, until)? 1, 0: all of it lies within one; -ENODATA: it is not all there. */
static int has_start(struct wal_reader *r, struct lsn from, struct lsn until, struct err *e)
{
	const struct wal_record *rec = NULL;
	struct wal_end end;
	int c;

	wal_reader_find(r, from);
	wal_reader_limit(r, until);
	c = wal_reader_next(r, &rec, e);
	end = wal_reader_end(r);
	wal_reader_limit(r, (struct lsn){0});
	if (c || !end.mid_record)
		return c < 0 ? c : 1;
	return end.missing.v < until.v ? -ENODATA : 0;
}

/* A place at or before the start of the record that reaches into the segment, and behind that of the one before: going
 * back by pages, each looked at once. -ENODATA: it is not at hand. */
static int go_back(const struct job *j, struct wal_reader *r, struct lsn *ret, struct err *e)
{
	const uint64_t start = wal_segment_start(j->no, j->segment_size).v;
	uint64_t step = (uint64_t)BACK_FIRST * j->block_size;

	for (uint64_t at = start; at && start - at < BACK_MAX; step *= 2) {
		/* Within one segment: the one before it may be missing. */
		uint64_t first = (at - 1) - (at - 1) % j->segment_size;
		uint64_t from = at - first > step ? at - step : first;
		int c = has_start(r, (struct lsn){from}, (struct lsn){at}, e);

		if (c) {
			*ret = (struct lsn){from};
			return c < 0 ? c : 0;
		}
		at = from;
	}
	return -ENODATA;
}

/* The start of the record that goes on in the segment's first page; 0: it is not at hand. */
static int find_start(struct job *j, struct wal_reader *r, struct lsn *ret, struct err *e)
{
	struct lsn start = wal_segment_start(j->no, j->segment_size), from = {0};
	const struct wal_record *rec = NULL;
	struct wal_end end;
	int c = go_back(j, r, &from, e);

	*ret = (struct lsn){0};
	if (!c) {
		wal_reader_find(r, from);
		wal_reader_limit(r, start);
		while ((c = wal_reader_next(r, &rec, e)) > 0)
			;
		end = wal_reader_end(r);
		wal_reader_limit(r, (struct lsn){0});
		/* A reader that stopped earlier met a hole, or an end that is none here. */
		if (!c && !end.mid_record && end.missing.v >= start.v && end.at.v < start.v)
			*ret = end.at;
	}
	/* Damage before the segment is no damage of it. */
	return c == -EBADMSG || c == -EOPNOTSUPP || c == -ENODATA ? 0 : c;
}

static int history_of(struct job *j, struct err *e)
{
	int r;

	if (j->pages.history)
		return 0;
	r = pages_history(j->store, j->cluster, j->tli, &j->history, e);
	/* Without its history a timeline begins with its own first segment. */
	if (r == -ENOENT || r == -EBADMSG)
		r = timeline_history_parse(NULL, 0, j->tli, &j->history, e);
	j->pages.history = j->history;
	return r;
}

struct wal_note *summaries_stage(struct store *s, const char *cluster, const struct wal_summary *w)
{
	_cleanup_(buf_free) struct buf b = {0};
	struct wal_note *note = NULL;
	char name[WAL_NAME_TEXT];

	if (w->head_missing)
		return NULL;
	wal_summary_encode(w, &b);
	/* A repository that cannot be written to makes it anew next time. */
	if (!b.bad && b.len <= WAL_NOTE_MAX)
		wal_note_stage(s, cluster, wal_name(w->tli, w->segno, w->segment_size, name), b.data, b.len,
			&note, NULL);
	return note;
}

void summaries_keep(struct store *s, const char *cluster, const struct wal_summary *w)
{
	struct wal_note *note = summaries_stage(s, cluster, w);

	if (note)
		wal_note_publish(note, NULL);
	wal_note_free(note);
}

static int make(struct job *j, struct wal_summary **ret, struct err *e)
{
	_cleanup_(wal_reader_freep) struct wal_reader *r = NULL;
	struct lsn from = {0};
	int c = begin(j, e);

	if (!c)
		c = history_of(j, e);
	if (!c)
		c = new_reader(j, &r, e);
	if (!c && j->reaches_in)
		c = find_start(j, r, &from, e);
	if (c < 0)
		return c;
	c = wal_summary_make(r, j->tli, j->no, j->segment_size, from, ret, e);
	return c < 0 ? err_wrap(e, c, "%s", j->name) : 0;
}

static int read_note(
	struct store *s, const char *cluster, const char *name, struct wal_summary **ret, struct err *e)
{
	_cleanup_(wal_summary_freep) struct wal_summary *w = NULL;
	_cleanup_(freep) void *p = NULL;
	char text[WAL_NAME_TEXT];
	size_t n;
	int r = wal_note_get(s, cluster, name, &p, &n, e);

	if (!r)
		r = wal_summary_decode(p, n, &w, e);
	/* Somebody else's note under this name is no note of it. */
	if (!r && strcmp(wal_name(w->tli, w->segno, w->segment_size, text), name) != 0)
		r = err_set(e, -EBADMSG, "the note on %s is about %s", name, text);
	if (!r)
		*ret = MOVE(w);
	return r;
}

int summaries_noted(struct store *s, const char *cluster, const char *name, struct wal_summary **ret)
{
	return wal_name_looks(name, strlen(name)) ? read_note(s, cluster, name, ret, NULL) : -ENOENT;
}

static int segment_size_of(
	struct store *s, const char *cluster, const char *name, uint32_t *ret, struct err *e)
{
	struct wal_info info;
	int r = wal_name_looks(name, strlen(name)) ? wal_stat(s, cluster, name, &info, e)
						   : err_set(e, -EINVAL, "%.80s names no segment", name);

	if (r < 0)
		return r;
	if (info.size > UINT32_MAX || !wal_segsize_ok((uint32_t)info.size))
		return err_set(e, -EBADMSG, "%s has %llu bytes: no segment is that long", name,
			(unsigned long long)info.size);
	*ret = (uint32_t)info.size;
	return 0;
}

int summaries_get(
	struct store *s, const char *cluster, const char *name, struct wal_summary **ret, struct err *e)
{
	_cleanup_(job_release) struct job j = {.store = s, .cluster = cluster, .name = name};
	int r = summaries_noted(s, cluster, name, ret);

	if (!r || r == -ENOMEM)
		return r ? err_sys(e, r, "%s", name) : 0;
	r = segment_size_of(s, cluster, name, &j.segment_size, e);
	if (!r)
		r = make(&j, ret, e);
	if (!r)
		summaries_keep(s, cluster, *ret);
	return r;
}

int summaries_upto(struct store *s, const char *cluster, const char *name, uint32_t segment_size,
	const struct timeline_history *h, struct lsn limit, struct wal_summary **ret, struct err *e)
{
	_cleanup_(job_release) struct job j = {
		.store = s, .cluster = cluster, .name = name, .segment_size = segment_size};

	j.pages.history = h;
	j.pages.limit = limit;
	j.pages.partial = true;
	return make(&j, ret, e);
}

int summaries_make(struct store *s, const char *cluster, const char *name, const void *bytes, size_t n,
	struct wal_summary **ret, struct err *e)
{
	_cleanup_(job_release) struct job j = {.store = s, .cluster = cluster, .name = name};

	if (n > UINT32_MAX || !wal_segsize_ok((uint32_t)n))
		return err_set(e, -EINVAL, "%.80s has %zu bytes: no segment is that long", name, n);
	j.segment_size = (uint32_t)n;
	j.pages.mem = bytes;
	j.pages.mem_len = n;
	return make(&j, ret, e);
}
