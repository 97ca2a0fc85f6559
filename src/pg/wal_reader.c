/* The record reader. See wal_reader.h.
 *
 * The position `pos` is where the next record starts: behind the last one, or at a page's start when its header
 * comes first. It moves only when a record is whole, so that every failure and every end can be tried again.
 * What is checked, and what counts as the end, follows the server's own reader
 * (src/backend/access/transam/xlogreader.c, PostgreSQL 13 to 18). */
#include "src/pg/wal_reader.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "src/base/buf.h"
#include "src/base/crc32c.h"
#include "src/pg/wal_page.h"

#define KEEP_MAX_DEFAULT ((size_t)16 << 20)
#define CRC_AT 20 /* offsetof(XLogRecord, xl_crc) */
#define ALIGN 8	  /* MAXIMUM_ALIGNOF: records start at multiples of it */

/* What the steps below return besides 0 (the end) and -errno. */
enum {
	GOT = 1,
	LOST = 2, /* the record's rest was lost in a crash, and the page says so */
};

struct wal_reader {
	struct wal_reader_opts o;
	wal_read_fn *fn;
	void *arg;
	struct lsn limit;

	struct lsn pos;
	struct lsn from; /* records before this are not wanted */
	struct lsn last; /* the record before pos; 0: not known */
	bool skipping;	 /* pos is a page that may start with the rest of a record */
	bool skipped;

	uint8_t *buf;	      /* room for one page */
	const uint8_t *data;  /* the page: there, or in o.mem */
	size_t have;	      /* bytes of it; 0: none is loaded */
	struct wal_page page; /* its header */
	const struct wal_format *format;
	uint64_t system_identifier;
	struct tli tli; /* the latest seen since the last seek, on the page tli_at */
	struct lsn tli_at;

	struct lsn at; /* the next byte of the record that is being read */
	uint32_t left; /* bytes of it still to come */
	bool partial;  /* its length has been read */
	uint32_t crc;
	uint8_t fixed[WAL_RECORD_FIXED];
	uint8_t head[WAL_RECORD_HEAD_MAX];
	struct buf kept;
	struct wal_record rec;
	struct wal_end end;
};

int wal_reader_new(const struct wal_reader_opts *opts, wal_read_fn *fn, void *arg, struct wal_reader **ret,
	struct err *e)
{
	_cleanup_(wal_reader_freep) struct wal_reader *r = NULL;
	struct wal_reader_opts o = *opts;

	if (!o.block_size)
		o.block_size = WAL_BLOCK_SIZE;
	if (!o.rel_block_size)
		o.rel_block_size = 8192;
	if (!o.keep_max)
		o.keep_max = KEEP_MAX_DEFAULT;
	if (!wal_segsize_ok(o.segment_size))
		return err_set(e, -EINVAL, "a WAL segment size of %u cannot be", o.segment_size);
	/* BLCKSZ has the same bounds, but for its upper one: 32 KiB. */
	if (!wal_block_size_ok(o.block_size) || !wal_block_size_ok(o.rel_block_size))
		return err_set(
			e, -EINVAL, "a block size of %u or %u cannot be", o.block_size, o.rel_block_size);
	if (o.pg_major && !wal_format_of_major(o.pg_major))
		return err_set(e, -EOPNOTSUPP, "WAL of PostgreSQL %u is not known; 13 to 18 is", o.pg_major);
	r = calloc(1, sizeof(*r));
	if (!r)
		return err_sys(e, -ENOMEM, "WAL reader");
	r->buf = malloc(o.block_size);
	if (!r->buf)
		return err_sys(e, -ENOMEM, "WAL reader");
	r->o = o;
	r->fn = fn;
	r->arg = arg;
	r->format = wal_format_of_major(o.pg_major);
	r->system_identifier = o.system_identifier;
	*ret = MOVE(r);
	return 0;
}

void wal_reader_free(struct wal_reader *r)
{
	if (!r)
		return;
	buf_free(&r->kept);
	free(r->buf);
	free(r);
}

static void move_to(struct wal_reader *r, struct lsn pos, bool skipping)
{
	r->pos = pos;
	r->skipping = skipping;
	r->skipped = false;
	r->from = r->last = r->tli_at = (struct lsn){0};
	r->have = 0;
	r->tli = (struct tli){0};
}

int wal_reader_seek(struct wal_reader *r, struct lsn at, struct err *e)
{
	char text[LSN_TEXT];
	uint64_t in_page = at.v % r->o.block_size;

	if (at.v % ALIGN || (in_page && in_page < WAL_PAGE_HEAD))
		return err_set(e, -EINVAL, "no WAL record can start at %s", lsn_text(at, text));
	move_to(r, at, false);
	return 0;
}

void wal_reader_find(struct wal_reader *r, struct lsn at)
{
	move_to(r, (struct lsn){at.v - at.v % r->o.block_size}, true);
	r->from = at;
}

void wal_reader_limit(struct wal_reader *r, struct lsn end)
{
	r->limit = end;
	r->have = 0;
}

struct wal_end wal_reader_end(const struct wal_reader *r)
{
	return r->end;
}

struct lsn wal_reader_at(const struct wal_reader *r)
{
	return r->pos;
}

bool wal_reader_skipped(const struct wal_reader *r)
{
	return r->skipped;
}

uint64_t wal_reader_system_identifier(const struct wal_reader *r)
{
	return r->system_identifier;
}

const struct wal_format *wal_reader_format(const struct wal_reader *r)
{
	return r->format;
}

/* The end of WAL, found at `missing`. */
static int end_at(struct wal_reader *r, enum wal_end_why why, struct lsn missing)
{
	r->end = (struct wal_end){.why = why,
		.at = r->pos,
		.missing = missing,
		.partial = r->partial,
		.mid_record = r->skipping};
	return 0;
}

/* ---- pages ---- */

__attribute__((format(printf, 3, 4))) static int bad_page(struct lsn at, struct err *e, const char *fmt, ...)
{
	char text[LSN_TEXT], why[200];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(why, sizeof(why), fmt, ap);
	va_end(ap);
	return err_set(e, -EBADMSG, "WAL page %s: %s", lsn_text(at, text), why);
}

/* Is this header the one that belongs at `at`? */
static int check_page(struct wal_reader *r, const struct wal_page *p, struct lsn at, struct err *e)
{
	char text[LSN_TEXT];

	if (r->format && p->format != r->format)
		return bad_page(at, e, "it is of PostgreSQL %u, the WAL before it of %u", p->format->pg_major,
			r->format->pg_major);
	if (p->addr.v < at.v)
		return end_at(r, WAL_END_OLD_PAGE, at);
	if (p->addr.v > at.v)
		return bad_page(at, e, "it is the one of %s", lsn_text(p->addr, text));
	if (!(p->info & WAL_PAGE_LONG) != !!(at.v % r->o.segment_size))
		return bad_page(at, e, "its header has the wrong length for its place in the segment");
	if (p->info & WAL_PAGE_LONG) {
		if (p->segment_size != r->o.segment_size || p->block_size != r->o.block_size)
			return bad_page(at, e,
				"it is from segments of %u and pages of %u bytes, not %u and %u",
				p->segment_size, p->block_size, r->o.segment_size, r->o.block_size);
		if (r->system_identifier && p->system_identifier != r->system_identifier)
			return bad_page(at, e,
				"it is of another cluster: system identifier %" PRIu64 ", not %" PRIu64,
				p->system_identifier, r->system_identifier);
	}
	if (at.v > r->tli_at.v && p->tli.v < r->tli.v)
		return bad_page(at, e, "its timeline %u is older than %u before it", p->tli.v, r->tli.v);
	if (r->o.tli.v && p->tli.v > r->o.tli.v)
		return bad_page(at, e, "it is of timeline %u, later than %u", p->tli.v, r->o.tli.v);
	if (p->info & WAL_PAGE_CONTINUES && (!p->rem_len || p->rem_len > WAL_RECORD_MAX))
		return bad_page(at, e, "%u bytes of a record cannot be left", p->rem_len);
	return GOT;
}

/* Points r->data at up to n bytes of the page at `at`. How many there are. */
static int fetch(struct wal_reader *r, struct lsn at, size_t n, struct err *e)
{
	uint64_t off = at.v - r->o.mem_at.v;

	if (r->o.mem && at.v >= r->o.mem_at.v && off < r->o.mem_len) {
		r->data = r->o.mem + off;
		return (int)(r->o.mem_len - off < n ? r->o.mem_len - off : n);
	}
	r->data = r->buf;
	return r->fn(r->arg, at, r->buf, n, e);
}

/* Has the page at `at` in r->data, with its header. */
static int load(struct wal_reader *r, struct lsn at, struct err *e)
{
	size_t want = r->o.block_size, head = at.v % r->o.segment_size ? WAL_PAGE_HEAD : WAL_PAGE_HEAD_LONG;
	static const uint8_t zeroes[WAL_PAGE_HEAD];
	struct wal_page p;
	char text[LSN_TEXT];
	int n;

	if (r->have && r->page.addr.v == at.v)
		return GOT;
	r->have = 0;
	if (r->limit.v && at.v >= r->limit.v)
		return end_at(r, WAL_END_NO_DATA, at);
	if (r->limit.v && r->limit.v - at.v < want)
		want = (size_t)(r->limit.v - at.v);
	n = fetch(r, at, want, e);
	if (n < 0)
		return n;
	if ((size_t)n < head)
		return end_at(r, WAL_END_NO_DATA, (struct lsn){at.v + (uint64_t)n});
	if (!memcmp(r->data, zeroes, sizeof(zeroes)))
		return end_at(r, WAL_END_ZEROS, at);
	n = (size_t)n < want ? n : (int)want;
	int c = wal_page_parse(r->data, (size_t)n, &p, e);
	if (c < 0)
		return err_wrap(e, c, "WAL page %s", lsn_text(at, text));
	c = check_page(r, &p, at, e);
	if (c <= 0)
		return c;
	r->page = p;
	r->have = (size_t)n;
	r->format = p.format;
	if (at.v >= r->tli_at.v) {
		r->tli = p.tli;
		r->tli_at = at;
	}
	if (p.info & WAL_PAGE_LONG)
		r->system_identifier = p.system_identifier;
	return GOT;
}

static struct lsn page_of(const struct wal_reader *r, struct lsn at)
{
	return (struct lsn){at.v - at.v % r->o.block_size};
}

/* ---- records ---- */

static int bad_record(const struct wal_reader *r, int code, struct err *e)
{
	char text[LSN_TEXT];

	return err_wrap(e, code, "WAL record at %s", lsn_text(r->rec.lsn, text));
}

/* The bytes of the record at r->at, as far as this page has them, and on to the next page where it ends. */
static int more(struct wal_reader *r, const uint8_t **ret, size_t *ret_n, struct err *e)
{
	size_t in_page = r->at.v % r->o.block_size;
	int c;

	if (!in_page) {
		c = load(r, r->at, e);
		if (c <= 0)
			return c;
		if (r->page.info & WAL_PAGE_OVERWRITES && !(r->page.info & WAL_PAGE_CONTINUES))
			return LOST;
		if (!(r->page.info & WAL_PAGE_CONTINUES) || r->page.rem_len != r->left)
			return bad_page(r->at, e,
				"it should continue the record at 0x%" PRIx64
				" with %u bytes, but has %u bytes of a record",
				r->rec.lsn.v, r->left,
				r->page.info & WAL_PAGE_CONTINUES ? r->page.rem_len : 0);
		in_page = r->page.head;
		r->at.v += in_page;
	}
	if (in_page >= r->have)
		return end_at(r, WAL_END_NO_DATA, (struct lsn){r->page.addr.v + r->have});
	*ret = r->data + in_page;
	*ret_n = r->have - in_page < r->left ? r->have - in_page : r->left;
	return GOT;
}

static void consume(struct wal_reader *r, size_t n)
{
	r->at.v += n;
	r->left -= (uint32_t)n;
}

/* The next n bytes of the record, n <= left. */
static int take(struct wal_reader *r, uint8_t *to, size_t n, struct err *e)
{
	const uint8_t *p = NULL;
	size_t got = 0;

	while (n) {
		int c = more(r, &p, &got, e);

		if (c != GOT)
			return c;
		if (got > n)
			got = n;
		memcpy(to, p, got);
		to += got;
		n -= got;
		consume(r, got);
	}
	return GOT;
}

/* Keeps what of n bytes of data, which lie `at` bytes from its start, is wanted. */
static int keep(struct wal_reader *r, const uint8_t *p, size_t n, uint64_t at, uint64_t from, struct err *e)
{
	size_t room = r->o.keep_max - r->kept.len;

	if (r->o.keep == WAL_KEEP_NONE || at + n <= from)
		return GOT;
	if (at < from) {
		p += from - at;
		n -= (size_t)(from - at);
	}
	buf_put(&r->kept, p, n < room ? n : room);
	if (!r->kept.bad)
		return GOT;
	return err_sys(e, -ENOMEM, "%zu bytes of a WAL record", r->kept.len);
}

/* Says where in the kept bytes, which start `from` bytes into the data, everything lies. */
static void point(struct wal_reader *r, uint64_t main_at, uint64_t from)
{
	struct wal_record *rec = &r->rec;
	uint64_t at = 0, till = from + r->kept.len;
	bool all = r->o.keep == WAL_KEEP_ALL;

	for (unsigned i = 0; i < rec->n_blocks; i++) {
		struct wal_block *b = &rec->blocks[i];

		if (all && b->has_image && at + b->image_len <= till)
			b->image = r->kept.data + at;
		at += b->image_len;
		if (all && b->data_len && at + b->data_len <= till)
			b->data = r->kept.data + at;
		at += b->data_len;
	}
	rec->main = NULL;
	rec->main_kept = 0;
	if (r->o.keep != WAL_KEEP_NONE && rec->main_len && till > main_at) {
		rec->main = r->kept.data + (main_at - from);
		rec->main_kept = (size_t)(till - main_at);
	}
}

/* The record's head and data, with its CRC. */
static int body(struct wal_reader *r, struct err *e)
{
	size_t at_hand = r->left < sizeof(r->head) ? r->left : sizeof(r->head), head = 0, main_at = 0, n = 0;
	const uint8_t *p = NULL;
	uint64_t from, at;
	int c = take(r, r->head, at_hand, e);

	if (c != GOT)
		return c;
	c = wal_record_head(r->head, at_hand, r->format, r->o.rel_block_size, &r->rec, &head, &main_at, e);
	if (c < 0)
		return bad_record(r, c, e);
	from = r->o.keep == WAL_KEEP_ALL ? 0 : main_at;
	buf_clear(&r->kept);
	r->crc = crc32c(0, r->head, at_hand);
	c = keep(r, r->head + head, at_hand - head, 0, from, e);
	for (at = at_hand - head; c == GOT && r->left; at += n) {
		c = more(r, &p, &n, e);
		if (c != GOT)
			break;
		r->crc = crc32c(r->crc, p, n);
		consume(r, n);
		c = keep(r, p, n, at, from, e);
	}
	if (c != GOT)
		return c;
	if (crc32c(r->crc, r->fixed, CRC_AT) != r->rec.crc)
		return bad_record(r, err_set(e, -EBADMSG, "its checksum is wrong"), e);
	point(r, main_at, from);
	return GOT;
}

static int check_link(const struct wal_reader *r, struct err *e)
{
	char got[LSN_TEXT], want[LSN_TEXT];

	if (r->last.v ? r->rec.prev.v == r->last.v : r->rec.prev.v < r->rec.lsn.v)
		return 0;
	return err_set(e, -EBADMSG, "it follows the one at %s, not at %s", lsn_text(r->rec.prev, got),
		r->last.v ? lsn_text(r->last, want) : "a place before it");
}

static bool is_switch(uint8_t rmid, uint8_t info)
{
	/* XLOG_SWITCH, src/include/catalog/pg_control.h */
	return rmid == RMGR_XLOG && (info & WAL_INFO_RMGR_MASK) == 0x40;
}

static struct lsn next_segment(const struct wal_reader *r, struct lsn at)
{
	return (struct lsn){at.v + (r->o.segment_size - at.v % r->o.segment_size) % r->o.segment_size};
}

/* The length of the record at r->at, from the page that holds it; 0 with GOT: there is none. */
static int length_at(struct wal_reader *r, uint32_t *ret)
{
	size_t in_page = r->at.v % r->o.block_size;
	struct cur c;

	if (r->have < in_page + 4)
		return end_at(r, WAL_END_NO_DATA, (struct lsn){r->page.addr.v + r->have});
	c = cur_of(r->data + in_page, 4);
	*ret = cur_u32(&c);
	return GOT;
}

/* Reads the record at r->pos into r->rec. */
static int record(struct wal_reader *r, struct err *e)
{
	struct lsn page = page_of(r, r->pos);
	uint32_t len = 0;
	int c = load(r, page, e);

	if (c <= 0)
		return c;
	r->at = r->pos;
	if (r->pos.v == page.v) {
		if (r->page.info & WAL_PAGE_CONTINUES)
			return bad_page(page, e, "a record should start on it, but it continues another");
		r->at.v += r->page.head;
	}
	if (r->at.v - page.v < r->page.head)
		return bad_page(page, e, "no record can start in its header");
	c = length_at(r, &len);
	if (c <= 0)
		return c;
	if (!len)
		return end_at(r, WAL_END_ZEROS, r->at);
	r->rec.lsn = r->at;
	r->rec.tli = r->page.tli;
	if (len < WAL_RECORD_FIXED || len > WAL_RECORD_MAX)
		return bad_record(r, err_set(e, -EBADMSG, "it cannot have %u bytes", len), e);
	r->left = len;
	r->partial = true;
	c = take(r, r->fixed, WAL_RECORD_FIXED, e);
	if (c != GOT)
		return c;
	c = wal_record_fixed(r->fixed, r->format, &r->rec, e);
	if (c == 0)
		c = check_link(r, e);
	if (c < 0)
		return bad_record(r, c, e);
	c = body(r, e);
	if (c != GOT)
		return c;
	r->rec.end.v = (r->at.v + ALIGN - 1) & ~(uint64_t)(ALIGN - 1);
	if (is_switch(r->rec.rmid, r->rec.info))
		r->rec.end = next_segment(r, r->rec.end);
	return GOT;
}

/* Did a log switch just end at r->at, where nothing follows? Its record, a fixed header alone, ends in this page
 * with 8 or 16 bytes, in which its info and rmid lie, and the segment's rest is empty. */
static bool ends_switch(const struct wal_reader *r, size_t rest)
{
	const uint8_t *p = r->data + r->at.v % r->o.block_size;

	return (rest == 8 || rest == 16) && is_switch(p[-7], p[-8]);
}

/* From a page's start to the first record that starts on it or on a later one. */
static int skip(struct wal_reader *r, struct err *e)
{
	for (;;) {
		uint64_t rest;
		uint32_t len = 0;
		int c = load(r, r->pos, e);

		if (c <= 0)
			return c;
		if (!(r->page.info & WAL_PAGE_CONTINUES))
			break;
		r->skipped = true;
		rest = (r->page.rem_len + (uint64_t)ALIGN - 1) & ~(uint64_t)(ALIGN - 1);
		if (rest >= r->o.block_size - r->page.head) {
			r->pos.v += r->o.block_size;
			continue;
		}
		r->at.v = r->pos.v + r->page.head + rest;
		c = length_at(r, &len);
		if (c <= 0)
			return c;
		r->pos = !len && ends_switch(r, r->page.rem_len) ? next_segment(r, r->at) : r->at;
		break;
	}
	r->skipping = false;
	return GOT;
}

int wal_reader_next(struct wal_reader *r, const struct wal_record **ret, struct err *e)
{
	for (;;) {
		int c;

		r->partial = false;
		c = r->skipping ? skip(r, e) : GOT;
		if (c == GOT)
			c = record(r, e);
		if (c == LOST) {
			/* Its link names the record before the lost one, which r->last still is. */
			r->pos = page_of(r, r->at);
			continue;
		}
		if (c <= 0) {
			/* When asked again, the page may have grown or be mended. */
			r->have = 0;
			return c;
		}
		r->last = r->rec.lsn;
		r->pos = r->rec.end;
		if (r->rec.lsn.v >= r->from.v)
			break;
	}
	*ret = &r->rec;
	return 1;
}
