/* The blocks of a branch's files as they are written, and the files' sizes. See branch.h.
 *
 * What a first write leaves of a block comes from below, or is zero; so a block of zeroes behind what is below need not be
 * written at all. Bytes are written before the table calls a block written. They are written over what a block was before
 * the file was cut only when the journal that no longer has it is on disk (`cut_end`); old bytes may lie behind the end of a
 * file (`tail`), and are zeroed before it grows over them, on disk if that counts: any record of the file tells its size. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "fs/branch_core.h"
#include "src/base/clean.h"
#include "src/base/fault.h"
#include "src/base/io.h"

/* ---- writing ---- */

static int put_own(struct branch_open *o, const struct branch_node *n, uint64_t off, const void *p,
	size_t len, struct err *e)
{
	int fd, r = branch_own_fd(o, n, &fd, e);

	if (r < 0)
		return r;
	r = fault_at("branch-file-write");
	if (r == 0)
		r = io_pwrite(fd, p, len, off);
	return r < 0 ? err_sys(e, r, "%s/files/%" PRIu64, o->b->path, o->number) : 0;
}

static bool all_zero(const uint8_t *p, size_t n)
{
	return n == 0 || (p[0] == 0 && memcmp(p, p + 1, n - 1) == 0);
}

/* The part of a write that goes to one block. */
struct part {
	uint64_t block;
	size_t at, len; /* in the block */
	const uint8_t *p;
	bool nothing; /* zeroes where there are zeroes */
	bool fresh;   /* the block is not written yet, and will be */
};

/* `holes`: from that byte on zeroes are as good as nothing. */
static struct part part_of(
	const struct branch_node *n, uint64_t holes, uint64_t off, const uint8_t *p, size_t len)
{
	struct part t = {.block = off / BRANCH_BLOCK, .at = (size_t)(off % BRANCH_BLOCK), .p = p};

	t.len = len < BRANCH_BLOCK - t.at ? len : BRANCH_BLOCK - t.at;
	if (!branch_node_has(n, t.block)) {
		t.nothing = t.block * BRANCH_BLOCK >= holes && all_zero(p, t.len);
		t.fresh = !t.nothing;
	}
	return t;
}

static int write_part(struct branch_open *o, const struct branch_node *n, uint64_t below,
	const struct part *t, struct err *e)
{
	uint8_t whole[BRANCH_BLOCK];
	int r;

	if (!t->fresh || t->len == BRANCH_BLOCK)
		return put_own(o, n, t->block * BRANCH_BLOCK + t->at, t->p, t->len, e);
	r = branch_read_unwritten(o, below, t->block * BRANCH_BLOCK, whole, sizeof(whole), e);
	if (r < 0)
		return r;
	memcpy(whole + t->at, t->p, t->len);
	return put_own(o, n, t->block * BRANCH_BLOCK, whole, sizeof(whole), e);
}

/* The file is going to grow: what is behind its end in its last block becomes zero. The file's lock is held. */
static int clean_tail(struct branch_open *o, const struct branch_node *n, uint64_t size, struct err *e)
{
	static const uint8_t zero[BRANCH_BLOCK];
	size_t over = (size_t)(size % BRANCH_BLOCK);
	int r = 0;

	if (!o->tail)
		return 0;
	if (over && branch_node_has(n, size / BRANCH_BLOCK)) {
		/* On disk the file may still be as long as it was. */
		r = branch_log_sync(o->b->log, n->cut_end, e);
		if (r >= 0)
			r = put_own(o, n, size, zero, BRANCH_BLOCK - over, e);
		if (r >= 0 && o->b->durable) {
			r = io_sync(o->fd, "branch-file-sync");
			r = r < 0 ? err_sys(e, r, "%s/files/%" PRIu64, o->b->path, o->number) : 0;
		}
	}
	if (r >= 0)
		o->tail = false;
	return r;
}

static int reserve(struct branch *b, uint64_t blocks, struct err *e)
{
	uint64_t used, max;
	int r;

	if (!blocks)
		return 0;
	pthread_mutex_lock(&b->lock);
	b->reserved += blocks;
	pthread_mutex_unlock(&b->lock);
	branch_used(b, &used, &max);
	r = branch_check_room(b, used, e);
	if (r == 0)
		return 0;
	pthread_mutex_lock(&b->lock);
	b->reserved -= blocks;
	pthread_mutex_unlock(&b->lock);
	return r;
}

static int note_pending(struct branch_open *o, uint64_t block)
{
	size_t need = (size_t)(block / 64 + 1);

	if (need > o->words) {
		size_t words = o->words * 2 > need ? o->words * 2 : need;
		uint64_t *p = realloc(o->pending, words * sizeof(*p));

		if (!p)
			return -ENOMEM;
		memset(p + o->words, 0, (words - o->words) * sizeof(*p));
		o->pending = p;
		o->words = words;
	}
	o->pending[block / 64] |= UINT64_C(1) << (block % 64);
	return 0;
}

/* What was written becomes the file's. The lock is held. */
static int publish(struct branch_open *o, struct branch_node *n, const struct buf *blocks, uint64_t fresh,
	uint64_t size, struct err *e)
{
	_cleanup_(buf_free) struct buf rec = {0};
	struct branch_stat st = n->st;
	uint64_t log_end = n->log_end;
	int r;

	st.mtime = st.ctime = clock_now();
	if (!fresh && size == st.size) {
		n->st = st;
		o->unsaid = true;
		return 0;
	}
	st.size = size;
	branch_put_node(&rec, &st, n->lower, n->lower_size, n->target);
	buf_put(&rec, blocks->data, blocks->len);
	if (rec.bad || blocks->bad)
		return err_set(e, -ENOMEM, "no memory for a write");
	if (!o->b->durable)
		return branch_commit(o->b, &rec, e);
	o->unsaid = true;
	o->grew |= size != n->st.size;
	r = branch_table_apply(&o->b->table, rec.data, rec.len, e);
	n->log_end = log_end; /* no record says this yet */
	return r;
}

/* sparse: zeroes where there are zeroes anyway need not be written. The lock of the file is held for writing. */
static int write_locked(
	struct branch_open *o, uint64_t off, const uint8_t *p, size_t n, bool sparse, struct err *e)
{
	_cleanup_(buf_free) struct buf blocks = {0};
	struct branch *b = o->b;
	struct branch_node *node = NULL;
	uint64_t fresh = 0, end = off + n, size = 0, below = 0, holes, first = 0, count = 0;
	int r;

	if (off > BRANCH_SIZE_MAX || n > BRANCH_SIZE_MAX - off)
		return err_set(e, -EFBIG, "larger than a file of a branch may be");
	pthread_mutex_lock(&b->lock);
	r = branch_adopt(b, o->number, &node, e);
	if (r >= 0) {
		size = node->st.size;
		below = node->lower_size;
	}
	pthread_mutex_unlock(&b->lock);
	if (r >= 0 && end > size)
		r = clean_tail(o, node, size, e);
	if (r < 0)
		return r;
	/* A writer takes it from the node once, under b->lock. */
	holes = sparse ? below : UINT64_MAX;
	for (size_t done = 0; done < n;) {
		struct part t = part_of(node, holes, off + done, p + done, n - done);

		done += t.len;
		if (!t.fresh)
			continue;
		fresh++;
		if (count && first + count == t.block) {
			count++;
			continue;
		}
		if (count)
			branch_put_blocks(&blocks, o->number, first, count);
		first = t.block;
		count = 1;
	}
	if (count)
		branch_put_blocks(&blocks, o->number, first, count);
	/* On disk these blocks may still be what the file had before it was cut. */
	r = fresh ? branch_log_sync(b->log, node->cut_end, e) : 0;
	if (r >= 0)
		r = reserve(b, fresh, e);
	if (r < 0)
		return r;
	for (size_t done = 0; r >= 0 && done < n;) {
		struct part t = part_of(node, holes, off + done, p + done, n - done);
		size_t len = t.len;

		/* Whole blocks that follow each other, and what replaces bytes, go in one call. */
		while (!t.nothing && (!t.fresh || t.len % BRANCH_BLOCK == 0) &&
			t.at + t.len >= BRANCH_BLOCK && done + t.len < n) {
			struct part more =
				part_of(node, holes, off + done + t.len, p + done + t.len, n - done - t.len);

			if (more.nothing || (more.fresh && more.len != BRANCH_BLOCK))
				break;
			t.len += more.len;
		}
		if (t.len > len) {
			len = t.len;
			r = put_own(o, node, off + done, t.p, t.len, e);
		} else if (!t.nothing) {
			r = write_part(o, node, below, &t, e);
		}
		done += len;
	}
	pthread_mutex_lock(&b->lock);
	b->reserved -= fresh;
	o->dirty |= b->durable;
	for (size_t i = 0, done = 0; b->durable && r >= 0 && fresh && done < n; i++) {
		struct part t = part_of(node, holes, off + done, p + done, n - done);

		if (t.fresh && note_pending(o, t.block) < 0)
			r = err_set(e, -ENOMEM, "no memory for a write");
		done += t.len;
	}
	if (r >= 0)
		r = publish(o, node, &blocks, fresh, end > size ? end : size, e);
	o->tail |= r < 0 && end > size; /* it may have written behind the end, where it still is */
	pthread_mutex_unlock(&b->lock);
	return r;
}

int branch_write(struct branch_open *o, uint64_t off, const void *p, size_t n, struct err *e)
{
	int r;

	pthread_rwlock_wrlock(&o->lock);
	/* Who fills a file with zeroes and syncs it, as PostgreSQL does with WAL (xlog.c, XLogFileInitInternal), wants what
	 * comes later to find its place on disk: without that each sync has to bring the journal there, too. */
	r = n ? write_locked(o, off, p, n, !o->b->durable, e) : 0;
	pthread_rwlock_unlock(&o->lock);
	return r;
}

/* ---- sizes ---- */

static int resize_locked(
	struct branch_open *o, const struct branch_change *c, struct branch_stat *ret, struct err *e)
{
	_cleanup_(buf_free) struct buf rec = {0};
	struct branch *b = o->b;
	struct branch_node *n = NULL;
	struct branch_stat st;
	uint64_t size = c->size, had, was = 0;
	int r;

	if (size > BRANCH_SIZE_MAX)
		return err_set(e, -EFBIG, "larger than a file of a branch may be");
	pthread_mutex_lock(&b->lock);
	r = branch_adopt(b, o->number, &n, e);
	was = r >= 0 ? n->st.size : 0;
	pthread_mutex_unlock(&b->lock);
	if (r >= 0 && size > was)
		r = clean_tail(o, n, was, e);
	if (r < 0)
		return r;
	pthread_mutex_lock(&b->lock);
	st = n->st;
	had = n->st.blocks;
	o->tail |= size < st.size;
	st.size = size;
	st.mtime = clock_now();
	branch_change_stat(&st, c);
	branch_put_node(&rec, &st, n->lower, n->lower_size < size ? n->lower_size : size, n->target);
	r = branch_commit(b, &rec, e);
	if (r >= 0 && n->st.blocks < had)
		branch_leave(b, o->number);
	if (r >= 0)
		*ret = n->st;
	pthread_mutex_unlock(&b->lock);
	return r;
}

int branch_resize(
	struct branch_open *o, const struct branch_change *c, struct branch_stat *ret, struct err *e)
{
	int r;

	pthread_rwlock_wrlock(&o->lock);
	r = resize_locked(o, c, ret, e);
	pthread_rwlock_unlock(&o->lock);
	branch_relieve(o->b);
	return r;
}

int branch_allocate(struct branch_open *o, int mode, uint64_t off, uint64_t len, struct err *e)
{
	static const uint8_t zero[8 * BRANCH_BLOCK];
	bool keep = mode & FALLOC_FL_KEEP_SIZE, punch = mode & FALLOC_FL_PUNCH_HOLE,
	     zeroes = punch || mode & FALLOC_FL_ZERO_RANGE;
	uint64_t size = 0, below, end;
	struct branch_node *n;
	struct branch_stat st;
	int r;

	if (mode & ~(FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE) || (punch && !keep))
		return err_set(e, -EOPNOTSUPP, "fallocate mode 0x%x", (unsigned)mode);
	if (!len || off > BRANCH_SIZE_MAX || len > BRANCH_SIZE_MAX - off)
		return err_set(e, len ? -EFBIG : -EINVAL, "fallocate of %" PRIu64 " bytes", len);
	end = off + len;
	pthread_rwlock_wrlock(&o->lock);
	r = branch_view(o, &n, &size, &below, e);
	for (uint64_t at = off; zeroes && r >= 0 && at < end && at < size;) {
		/* Up to a block's end, so that whole blocks behind what is below are left out. */
		uint64_t stop = (at / sizeof(zero) + 1) * sizeof(zero);

		stop = stop < end ? stop : end;
		stop = stop < size ? stop : size;
		r = write_locked(o, at, zero, (size_t)(stop - at), true, e);
		at = stop;
	}
	if (r >= 0 && !keep && end > size)
		r = resize_locked(o, &(struct branch_change){.set_size = true, .size = end}, &st, e);
	pthread_rwlock_unlock(&o->lock);
	return r;
}
