/* Pages of archived WAL. See pages.h. */
#include "src/pit/pages.h"

#include <errno.h>
#include <string.h>

#include "src/base/clean.h"
#include "store/wal.h"
#include "store/wal_partial.h"

#define HISTORY_MAX ((size_t)TIMELINE_HISTORY_STEPS * 1024)

CLEANUP_DEFINE(struct file, file_free)

bool pages_candidate(const struct timeline_history *h, struct segno no, uint32_t segment_size, unsigned n,
	struct tli *ret_tli, struct lsn *ret_valid)
{
	struct lsn start = wal_segment_start(no, segment_size), end = {start.v + segment_size};

	for (size_t i = h->n + 1; i-- > 0;) {
		struct lsn begun = i ? h->steps[i - 1].end : (struct lsn){0};
		struct lsn left = i < h->n ? h->steps[i].end : end;

		if (wal_segno(begun, segment_size).v > no.v || left.v <= start.v)
			continue;
		if (n--)
			continue;
		*ret_tli = i < h->n ? h->steps[i].tli : h->tli;
		*ret_valid = left.v < end.v ? left : end;
		return true;
	}
	return false;
}

static void close_file(struct pages *p)
{
	if (p->slice.p)
		slice_release(&p->slice);
	p->slice = (struct slice){0};
	file_free(p->file);
	p->file = NULL;
}

void pages_release(struct pages *p)
{
	close_file(p);
}

/* -ENOENT: neither archived nor being streamed. */
static int open_name(struct pages *p, struct tli t, struct segno no, struct lsn valid, struct err *e)
{
	_cleanup_(file_freep) struct file *f = NULL;
	struct wal_partial_info info;
	char name[WAL_NAME_TEXT];
	int r = wal_open(p->store, p->cluster, wal_name(t, no, p->segment_size, name), &f, e);

	if (r == -ENOENT && p->partial) {
		struct lsn start = wal_segment_start(no, p->segment_size);

		r = wal_partial_open(p->store, p->cluster, name, &f, &info, e);
		if (!r && start.v + info.length < valid.v)
			valid.v = start.v + info.length;
	}
	if (r < 0)
		return r;
	if (file_size(f) != p->segment_size)
		return err_set(e, -EBADMSG,
			"%s has %llu bytes in the archive; segments of this cluster have %u", name,
			(unsigned long long)file_size(f), p->segment_size);
	p->file = MOVE(f);
	p->no = no;
	p->valid = valid;
	return 1;
}

/* Has the file of segment `no` open. 0: there is none. */
static int open_segment(struct pages *p, struct segno no, struct err *e)
{
	struct lsn valid = {wal_segment_start(no, p->segment_size).v + p->segment_size};
	struct tli t;
	int r;

	if (p->file && p->no.v == no.v)
		return 1;
	close_file(p);
	if (p->has_own && p->own.v == no.v)
		return open_name(p, p->own_tli, no, valid, e);
	for (unsigned i = 0; pages_candidate(p->history, no, p->segment_size, i, &t, &valid); i++) {
		r = open_name(p, t, no, valid, e);
		if (r != -ENOENT)
			return r;
	}
	return 0;
}

/* Copies n bytes at off of the open file, which lie in one frame as pages do. */
static int copy(struct pages *p, uint64_t off, void *to, size_t n, struct err *e)
{
	while (n) {
		size_t in;

		if (!p->slice.p || off < p->slice_at || off - p->slice_at >= p->slice.len) {
			uint64_t frame = off - off % file_chunk_size(p->file);
			unsigned count = 1;
			int r;

			if (p->slice.p)
				slice_release(&p->slice);
			p->slice = (struct slice){0};
			r = file_slices(p->file, frame, file_chunk_size(p->file), &p->slice, &count, e);
			if (r < 0)
				return r;
			p->slice_at = frame;
			if (!count || off - frame >= p->slice.len)
				return err_set(e, -EBADMSG, "a segment ends before its size");
		}
		in = p->slice.len - (size_t)(off - p->slice_at);
		in = in < n ? in : n;
		memcpy(to, p->slice.p + (off - p->slice_at), in);
		to = (uint8_t *)to + in;
		off += in;
		n -= in;
	}
	return 0;
}

int pages_read(void *arg, struct lsn at, void *page, size_t n, struct err *e)
{
	struct pages *p = arg;
	struct segno no = wal_segno(at, p->segment_size);
	uint64_t off = at.v % p->segment_size;
	int r;

	if (p->limit.v) {
		if (at.v >= p->limit.v)
			return 0;
		n = p->limit.v - at.v < n ? (size_t)(p->limit.v - at.v) : n;
	}
	if (p->mem && p->has_own && p->own.v == no.v) {
		if (off >= p->mem_len)
			return 0;
		n = p->mem_len - off < n ? (size_t)(p->mem_len - off) : n;
		memcpy(page, p->mem + off, n);
		return (int)n;
	}
	r = open_segment(p, no, e);
	if (r <= 0)
		return r;
	if (at.v >= p->valid.v)
		return 0;
	n = p->valid.v - at.v < n ? (size_t)(p->valid.v - at.v) : n;
	r = copy(p, off, page, n, e);
	return r < 0 ? r : (int)n;
}

int pages_history(
	struct store *s, const char *cluster, struct tli t, struct timeline_history **ret, struct err *e)
{
	_cleanup_(file_freep) struct file *f = NULL;
	_cleanup_(freep) char *p = NULL;
	char name[TIMELINE_HISTORY_TEXT];
	ssize_t n;
	int r;

	if (t.v < 2)
		return timeline_history_parse(NULL, 0, t, ret, e);
	r = wal_open(s, cluster, timeline_history_name(t, name), &f, e);
	if (r == -ENOENT)
		return err_set(e, r,
			"%s is not in the archive of cluster \"%s\", so nothing tells where timeline %u "
			"began; "
			"archive it, or name another timeline with @",
			name, cluster, t.v);
	if (r < 0)
		return r;
	if (file_size(f) > HISTORY_MAX || !file_size(f))
		return err_set(e, -EBADMSG, "%s has %llu bytes: it is no history", name,
			(unsigned long long)file_size(f));
	p = malloc((size_t)file_size(f));
	if (!p)
		return err_sys(e, -ENOMEM, "%s", name);
	n = file_read(f, 0, p, (size_t)file_size(f), e);
	return n < 0 ? (int)n : timeline_history_parse(p, (size_t)n, t, ret, e);
}
