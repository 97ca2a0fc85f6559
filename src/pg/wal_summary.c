/* Making, storing and reading summaries. See wal_summary.h. */
#include "src/pg/wal_summary.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/cur.h"

enum {
	VERSION = 1,
	COMPLETE = 1,
	HEAD_MISSING = 2,
	HAS_TIMES = 4,
	HAS_COMMITS = 8,
	ALL_FLAGS = 15,
};

void wal_summary_free(struct wal_summary *s)
{
	if (!s)
		return;
	free(s->marks);
	free(s);
}

/* TransactionIdPrecedes, src/backend/access/transam/transam.c, for transactions that are no special ones. */
static bool xid_before(uint32_t a, uint32_t b)
{
	return (int32_t)(a - b) < 0;
}

bool wal_summary_may_commit(const struct wal_summary *s, uint32_t xid)
{
	return s->has_commits && !xid_before(xid, s->xid_min) && !xid_before(s->xid_max, xid);
}

static void add_time(struct wal_summary *s, struct tstamp t)
{
	if (!s->has_times || tstamp_cmp(t, s->time_min) < 0)
		s->time_min = t;
	if (!s->has_times || tstamp_cmp(t, s->time_max) > 0)
		s->time_max = t;
	s->has_times = true;
}

static void add_commit(struct wal_summary *s, const struct wal_event *ev)
{
	struct wal_commit c = {.lsn = ev->lsn, .xid = ev->xid, .time = ev->xact.time};

	if (!s->has_commits) {
		s->first_commit = c;
		s->xid_min = s->xid_max = c.xid;
	}
	if (xid_before(c.xid, s->xid_min))
		s->xid_min = c.xid;
	if (xid_before(s->xid_max, c.xid))
		s->xid_max = c.xid;
	s->last_commit = c;
	s->has_commits = true;
	s->dropped_files += ev->xact.dropped.n;
}

/* Room for one more mark, zeroed, or NULL. */
static struct wal_mark *new_mark(struct wal_summary *s)
{
	/* Doubled whenever the number is a power of two. */
	if (!(s->n_marks & (s->n_marks - 1))) {
		size_t room = s->n_marks ? 2 * s->n_marks : 1;
		struct wal_mark *p = realloc(s->marks, room * sizeof(*p));

		if (!p)
			return NULL;
		s->marks = p;
	}
	s->marks[s->n_marks] = (struct wal_mark){0};
	return &s->marks[s->n_marks++];
}

static int add_mark(struct wal_summary *s, const struct wal_mark *m, struct err *e)
{
	struct wal_mark *to;

	if (s->n_marks == WAL_SUMMARY_MARKS) {
		s->marks_left_out++;
		return 0;
	}
	to = new_mark(s);
	if (!to)
		return err_sys(e, -ENOMEM, "WAL summary");
	*to = *m;
	return 0;
}

static int add_event(struct wal_summary *s, const struct wal_event *ev, struct err *e)
{
	struct wal_mark m = {.kind = ev->kind, .lsn = ev->lsn};

	s->counts[ev->kind]++;
	switch (ev->kind) {
	case WAL_EVENT_COMMIT:
	case WAL_EVENT_COMMIT_PREPARED:
		s->cut += ev->xact.cut;
		add_time(s, ev->xact.time);
		add_commit(s, ev);
		return 0;
	case WAL_EVENT_ABORT:
	case WAL_EVENT_ABORT_PREPARED:
		s->cut += ev->xact.cut;
		add_time(s, ev->xact.time);
		return 0;
	case WAL_EVENT_CHECKPOINT_SHUTDOWN:
	case WAL_EVENT_CHECKPOINT_ONLINE:
		m.time = ev->checkpoint.time;
		m.lsn2 = ev->checkpoint.redo;
		m.tli = ev->checkpoint.tli;
		m.prev_tli = ev->checkpoint.prev_tli;
		return add_mark(s, &m, e);
	case WAL_EVENT_END_OF_RECOVERY:
		m.time = ev->recovery.time;
		m.tli = ev->recovery.tli;
		m.prev_tli = ev->recovery.prev_tli;
		return add_mark(s, &m, e);
	case WAL_EVENT_RESTORE_POINT:
		m.time = ev->restore_point.time;
		memcpy(m.name, ev->restore_point.name, sizeof(m.name));
		return add_mark(s, &m, e);
	case WAL_EVENT_BACKUP_END:
		m.lsn2 = ev->backup_start;
		return add_mark(s, &m, e);
	case WAL_EVENT_PREPARE:
	case WAL_EVENT_PARAMETERS:
	case WAL_EVENT_SWITCH:
	case WAL_EVENT_DATABASE_CREATE:
	case WAL_EVENT_DATABASE_DROP:
	case WAL_EVENT_FILE_TRUNCATE:
	case WAL_EVENT_TABLE_TRUNCATE:
		return 0;
	}
	return 0;
}

/* All records up to the reader's limit. */
static int read_all(struct wal_reader *r, struct wal_summary *s, struct err *e)
{
	const struct wal_record *rec = NULL;
	struct wal_event ev;
	int c;

	while ((c = wal_reader_next(r, &rec, e)) > 0) {
		if (!s->records++)
			s->from = rec->lsn;
		c = wal_event_of(rec, &ev, e);
		if (c > 0)
			c = add_event(s, &ev, e);
		if (c < 0)
			return c;
	}
	return c;
}

int wal_summary_make(struct wal_reader *r, struct tli tli, struct segno segno, uint32_t segment_size,
	struct lsn from, struct wal_summary **ret, struct err *e)
{
	_cleanup_(wal_summary_freep) struct wal_summary *s = NULL;
	struct lsn start = wal_segment_start(segno, segment_size), end = {start.v + segment_size};
	struct wal_end stop;
	int c;

	if (from.v > end.v)
		return err_set(e, -EINVAL, "a WAL summary cannot begin behind its segment");
	s = calloc(1, sizeof(*s));
	if (!s)
		return err_sys(e, -ENOMEM, "WAL summary");
	s->tli = tli;
	s->segno = segno;
	s->segment_size = segment_size;
	if (from.v) {
		c = wal_reader_seek(r, from, e);
		if (c < 0)
			return c;
	} else {
		wal_reader_find(r, start);
	}
	wal_reader_limit(r, end);
	c = read_all(r, s, e);
	stop = wal_reader_end(r);
	s->head_missing = !from.v && wal_reader_skipped(r);
	wal_reader_limit(r, (struct lsn){0});
	if (c < 0)
		return c;
	s->complete = stop.missing.v >= end.v;
	s->resume = stop.mid_record ? (struct lsn){0} : stop.at;
	s->system_identifier = wal_reader_system_identifier(r);
	s->pg_major = wal_reader_format(r) ? wal_reader_format(r)->pg_major : 0;
	*ret = MOVE(s);
	return 0;
}

/* ---- the stored form ---- */

static void put_time(struct buf *b, struct tstamp t)
{
	buf_put_svarint(b, t.sec);
	buf_put_varint(b, t.nsec);
}

static void put_commit(struct buf *b, const struct wal_commit *c)
{
	buf_put_u64(b, c->lsn.v);
	buf_put_u32(b, c->xid);
	put_time(b, c->time);
}

void wal_summary_encode(const struct wal_summary *s, struct buf *b)
{
	buf_put_u8(b, VERSION);
	buf_put_u8(b, (uint8_t)s->pg_major);
	buf_put_varint(b, s->tli.v);
	buf_put_varint(b, s->segno.v);
	buf_put_u32(b, s->segment_size);
	buf_put_u64(b, s->system_identifier);
	buf_put_u8(b, (uint8_t)((s->complete ? COMPLETE : 0) | (s->head_missing ? HEAD_MISSING : 0) |
				(s->has_times ? HAS_TIMES : 0) | (s->has_commits ? HAS_COMMITS : 0)));
	buf_put_u64(b, s->from.v);
	buf_put_u64(b, s->resume.v);
	buf_put_varint(b, s->records);
	for (size_t i = 0; i < WAL_EVENT_KINDS; i++)
		buf_put_varint(b, s->counts[i]);
	buf_put_varint(b, s->dropped_files);
	buf_put_varint(b, s->cut);
	if (s->has_times) {
		put_time(b, s->time_min);
		put_time(b, s->time_max);
	}
	if (s->has_commits) {
		put_commit(b, &s->first_commit);
		put_commit(b, &s->last_commit);
		buf_put_u32(b, s->xid_min);
		buf_put_u32(b, s->xid_max);
	}
	buf_put_varint(b, s->marks_left_out);
	buf_put_varint(b, s->n_marks);
	for (size_t i = 0; i < s->n_marks; i++) {
		const struct wal_mark *m = &s->marks[i];

		buf_put_u8(b, (uint8_t)m->kind);
		buf_put_u64(b, m->lsn.v);
		put_time(b, m->time);
		buf_put_u64(b, m->lsn2.v);
		buf_put_varint(b, m->tli.v);
		buf_put_varint(b, m->prev_tli.v);
		buf_put_str(b, m->name, strlen(m->name));
	}
}

static uint32_t get_u32_varint(struct cur *c)
{
	uint64_t v = cur_varint(c);

	if (v > UINT32_MAX)
		c->bad = true;
	return (uint32_t)v;
}

static struct tstamp get_time(struct cur *c)
{
	struct tstamp t = {.sec = cur_svarint(c)};

	t.nsec = get_u32_varint(c);
	if (t.nsec > 999999999)
		c->bad = true;
	return t;
}

static struct wal_commit get_commit(struct cur *c)
{
	struct wal_commit t;

	t.lsn = (struct lsn){cur_u64(c)};
	t.xid = cur_u32(c);
	t.time = get_time(c);
	return t;
}

static void get_mark(struct cur *c, struct wal_mark *m)
{
	const uint8_t *name;
	size_t n = 0;
	uint8_t kind = cur_u8(c);

	m->kind = kind;
	m->lsn = (struct lsn){cur_u64(c)};
	m->time = get_time(c);
	m->lsn2 = (struct lsn){cur_u64(c)};
	m->tli = (struct tli){get_u32_varint(c)};
	m->prev_tli = (struct tli){get_u32_varint(c)};
	name = cur_str(c, &n);
	if (kind >= WAL_EVENT_KINDS || n > WAL_NAME_MAX || (n && memchr(name, 0, n))) {
		c->bad = true;
		return;
	}
	if (n)
		memcpy(m->name, name, n);
}

/* Everything but the marks. */
static void get_fixed(struct cur *c, struct wal_summary *s)
{
	uint8_t flags;

	s->pg_major = cur_u8(c);
	s->tli = (struct tli){get_u32_varint(c)};
	s->segno = (struct segno){cur_varint(c)};
	s->segment_size = cur_u32(c);
	s->system_identifier = cur_u64(c);
	flags = cur_u8(c);
	s->complete = flags & COMPLETE;
	s->head_missing = flags & HEAD_MISSING;
	s->has_times = flags & HAS_TIMES;
	s->has_commits = flags & HAS_COMMITS;
	s->from = (struct lsn){cur_u64(c)};
	s->resume = (struct lsn){cur_u64(c)};
	s->records = cur_varint(c);
	for (size_t i = 0; i < WAL_EVENT_KINDS; i++)
		s->counts[i] = cur_varint(c);
	s->dropped_files = cur_varint(c);
	s->cut = cur_varint(c);
	if (s->has_times) {
		s->time_min = get_time(c);
		s->time_max = get_time(c);
	}
	if (s->has_commits) {
		s->first_commit = get_commit(c);
		s->last_commit = get_commit(c);
		s->xid_min = cur_u32(c);
		s->xid_max = cur_u32(c);
	}
	s->marks_left_out = cur_varint(c);
	if (flags & ~ALL_FLAGS || !wal_segsize_ok(s->segment_size))
		c->bad = true;
}

int wal_summary_decode(const void *p, size_t n, struct wal_summary **ret, struct err *e)
{
	_cleanup_(wal_summary_freep) struct wal_summary *s = NULL;
	struct cur c = cur_of(p, n);
	uint8_t version = cur_u8(&c);
	uint64_t marks;

	if (!c.bad && version != VERSION)
		return err_set(e, -EOPNOTSUPP, "WAL summary: version %u is not known", version);
	s = calloc(1, sizeof(*s));
	if (!s)
		return err_sys(e, -ENOMEM, "WAL summary");
	get_fixed(&c, s);
	marks = cur_varint(&c);
	if (marks > WAL_SUMMARY_MARKS)
		c.bad = true;
	for (uint64_t i = 0; !c.bad && i < marks; i++) {
		struct wal_mark *m = new_mark(s);

		if (!m)
			return err_sys(e, -ENOMEM, "WAL summary");
		get_mark(&c, m);
	}
	if (c.bad || cur_left(&c))
		return err_set(e, -EBADMSG, "WAL summary: it is not whole, or none");
	*ret = MOVE(s);
	return 0;
}
