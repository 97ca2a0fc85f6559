/* Reading page headers, and checking the first one of a segment. See wal_page.h. */
#include "src/pg/wal_page.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "src/base/cur.h"

bool wal_block_size_ok(uint32_t block_size)
{
	return block_size >= 1u << 10 && block_size <= 1u << 16 && !(block_size & (block_size - 1));
}

static bool all_zero(const uint8_t *p, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (p[i])
			return false;
	return true;
}

/* The magic numbers of releases had 0xD0 or 0xD1 in their high byte for as long as anybody remembers. */
static bool some_magic(unsigned magic)
{
	return magic >> 9 == 0xd0 >> 1;
}

static int bad_magic(uint16_t magic, struct err *e)
{
	if (some_magic(magic))
		return err_set(e, -EOPNOTSUPP,
			"this WAL (page magic 0x%04X) is of a PostgreSQL release that is not known; 13 to 18 "
			"are",
			magic);
	if (some_magic((magic & 0xffu) << 8 | magic >> 8))
		return err_set(e, -EOPNOTSUPP, "this WAL is from a big-endian machine");
	return err_set(e, -EBADMSG, "0x%04X is no WAL page's magic number", magic);
}

int wal_page_parse(const void *p, size_t n, struct wal_page *ret, struct err *e)
{
	struct cur c = cur_of(p, n);
	struct wal_page t = {0};
	uint16_t magic;

	if (n < WAL_PAGE_HEAD)
		return err_set(e, -EBADMSG, "the page header is cut off after %zu bytes", n);
	if (all_zero(p, WAL_PAGE_HEAD))
		return err_set(e, -EBADMSG, "the page is empty (all zero)");
	magic = cur_u16(&c);
	t.format = wal_format_of_magic(magic);
	if (!t.format)
		return bad_magic(magic, e);
	t.info = cur_u16(&c);
	t.tli = (struct tli){cur_u32(&c)};
	t.addr = (struct lsn){cur_u64(&c)};
	t.rem_len = cur_u32(&c);
	cur_bytes(&c, 4);
	t.head = WAL_PAGE_HEAD;
	if (t.info & ~WAL_PAGE_ALL_FLAGS)
		return err_set(e, -EBADMSG, "page flags 0x%04X are not known", t.info);
	if (!t.tli.v)
		return err_set(e, -EBADMSG, "the page's timeline is 0");
	if (t.addr.v % (1u << 10))
		return err_set(e, -EBADMSG, "a page cannot be at address 0x%" PRIx64, t.addr.v);
	if (t.info & WAL_PAGE_LONG) {
		t.head = WAL_PAGE_HEAD_LONG;
		t.system_identifier = cur_u64(&c);
		t.segment_size = cur_u32(&c);
		t.block_size = cur_u32(&c);
		if (c.bad)
			return err_set(e, -EBADMSG, "the page header is cut off after %zu bytes", n);
		if (!t.system_identifier)
			return err_set(e, -EBADMSG, "the page's system identifier is 0");
		if (!wal_segsize_ok(t.segment_size))
			return err_set(e, -EBADMSG, "a segment size of %u cannot be", t.segment_size);
		if (!wal_block_size_ok(t.block_size))
			return err_set(e, -EBADMSG, "a WAL block size of %u cannot be", t.block_size);
	}
	*ret = t;
	return 0;
}

int wal_segment_parse(const void *p, size_t n, struct wal_segment *ret, struct err *e)
{
	struct wal_page page;
	char at[LSN_TEXT];
	int r = wal_page_parse(p, n, &page, e);

	if (r < 0)
		return err_wrap(e, r, "no WAL segment");
	if (!(page.info & WAL_PAGE_LONG))
		return err_set(e, -EBADMSG, "no WAL segment: its first page is not the first of a segment");
	if (page.addr.v % page.segment_size)
		return err_set(e, -EBADMSG, "no WAL segment: %s is not where one of %u bytes starts",
			lsn_text(page.addr, at), page.segment_size);
	*ret = (struct wal_segment){
		.pg_major = page.format->pg_major,
		.system_identifier = page.system_identifier,
		.page_tli = page.tli,
		.start = page.addr,
		.segment_size = page.segment_size,
		.block_size = page.block_size,
	};
	return 0;
}

int wal_segment_check(const void *p, size_t n, const char *name, size_t name_len, uint64_t system_identifier,
	struct wal_segment *ret, struct err *e)
{
	static const char partial[] = ".partial"; /* IsPartialXLogFileName, xlog_internal.h */
	struct wal_segment s;
	struct tli t;
	struct segno no;
	char want[LSN_TEXT], got[LSN_TEXT];
	int r;

	if (name_len == WAL_NAME_LEN + sizeof(partial) - 1 &&
		!memcmp(name + WAL_NAME_LEN, partial, sizeof(partial) - 1))
		name_len = WAL_NAME_LEN;
	if (!wal_name_looks(name, name_len))
		return err_set(e, -EINVAL, "this is not the name of a WAL segment");
	r = wal_segment_parse(p, n, &s, e);
	if (r < 0)
		return err_wrap(e, r, "%.24s", name);
	if (system_identifier && s.system_identifier != system_identifier)
		return err_set(e, -EEXIST,
			"%.24s is WAL of another cluster: its system identifier is %" PRIu64 ", not %" PRIu64,
			name, s.system_identifier, system_identifier);
	if (!wal_name_parse(name, name_len, s.segment_size, &t, &no))
		return err_set(e, -EBADMSG, "%.24s cannot be the name of a segment of %u bytes", name,
			s.segment_size);
	if (wal_segment_start(no, s.segment_size).v != s.start.v)
		return err_set(e, -EBADMSG, "%.24s should start at %s, but its first page is the one at %s",
			name, lsn_text(wal_segment_start(no, s.segment_size), want), lsn_text(s.start, got));
	if (s.page_tli.v > t.v)
		return err_set(
			e, -EBADMSG, "%.24s starts with a page of the later timeline %u", name, s.page_tli.v);
	*ret = s;
	return 0;
}
