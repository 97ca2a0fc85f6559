/* The bytes of a branch's files. See branch.h.
 *
 * A file is blocks of 8 KiB, PostgreSQL's pages. Those that were written lie in files/<number> at their own offsets, whole:
 * what a first write leaves of a block comes from below, or is zero. All others are the backup's up to lower_size, and zero
 * behind it; so a block of zeroes behind that need not be written at all.
 *
 * Order. Bytes are written before the table calls a block written. In the journal it is at once, or (durable) after the
 * bytes and the name of their file are on disk. Room is given back, and written over, only when the journal that no longer
 * has the blocks is on disk (`cut_end`); old bytes may lie behind the end of a file (`tail`), and are zeroed before it
 * grows over them.
 *
 * Lock order: a file's sync, its lock, b->names, b->lock, the log's; `once` is a leaf. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fs/branch_core.h"
#include "src/base/clean.h"
#include "src/base/fault.h"
#include "src/base/io.h"

#define IDLE_MAX 256   /* files that are closed and not synced: each has a descriptor */
#define LEAVING_MAX 64 /* more than that, and the log is synced for the room's sake */
#define RECORD_BYTES (BRANCH_RECORD_MAX / 2)

/* ---- open files ---- */

static struct branch_open **open_at(struct branch *b, uint64_t number)
{
	struct branch_open **at = &b->opens[number % OPEN_BUCKETS];

	while (*at && (*at)->number != number)
		at = &(*at)->next;
	return at;
}

static void open_free(struct branch_open *o)
{
	if (o->fd >= 0)
		close(o->fd);
	if (o->lower)
		o->b->lower->close(o->lower);
	pthread_rwlock_destroy(&o->lock);
	pthread_mutex_destroy(&o->once);
	pthread_mutex_destroy(&o->sync);
	free(o->pending);
	free(o);
}

static struct branch_open *open_new(struct branch *b, uint64_t number)
{
	struct branch_open *o = calloc(1, sizeof(*o));

	if (!o)
		return NULL;
	o->b = b;
	o->number = number;
	o->fd = -1;
	/* Whether there are old bytes is not remembered; zeroing them twice does no harm. */
	o->tail = true;
	pthread_rwlock_init(&o->lock, NULL);
	pthread_mutex_init(&o->once, NULL);
	pthread_mutex_init(&o->sync, NULL);
	return o;
}

int branch_open(struct branch *b, uint64_t number, struct branch_open **ret, struct err *e)
{
	struct branch_open **at, *o;
	struct branch_stat st;
	int r = branch_getattr(b, number, &st, e);

	if (r < 0)
		return r;
	if (!S_ISREG(st.mode))
		return err_set(e, S_ISDIR(st.mode) ? -EISDIR : -EINVAL, "not a file");
	pthread_mutex_lock(&b->lock);
	at = open_at(b, number);
	o = *at;
	if (!o && (o = open_new(b, number)))
		*at = o;
	else if (o && !o->refs)
		b->idle--;
	if (o)
		o->refs++;
	pthread_mutex_unlock(&b->lock);
	if (!o)
		return err_set(e, -ENOMEM, "no memory for an open file");
	*ret = o;
	return 0;
}

/* Sizes and times that the journal does not have. The lock is held. */
static int say(struct branch_open *o, struct err *e)
{
	_cleanup_(buf_free) struct buf rec = {0};
	struct branch_node *n = o->unsaid ? branch_table_node(&o->b->table, o->number) : NULL;
	int r = 0;

	if (n) {
		branch_put_known(&rec, n);
		r = branch_commit(o->b, &rec, e);
	}
	if (r >= 0)
		o->unsaid = false;
	return r;
}

void branch_open_drop(struct branch_open *o)
{
	struct branch *b = o ? o->b : NULL;
	bool flush, gone = false;

	if (!o)
		return;
	pthread_mutex_lock(&b->lock);
	flush = o->refs == 1 && (o->dirty || o->unsaid) && b->idle >= IDLE_MAX;
	pthread_mutex_unlock(&b->lock);
	if (flush)
		branch_fsync(o, NULL); /* if it fails, the next one who syncs the file hears it */
	pthread_mutex_lock(&b->lock);
	if (--o->refs == 0) {
		/* What grew in a file that nobody synced is not in the journal before its bytes are. */
		if (!b->durable)
			say(o, NULL);
		gone = (!o->dirty && !o->unsaid && !o->failed) || !branch_table_node(&b->table, o->number);
		if (gone)
			*open_at(b, o->number) = o->next;
		else
			b->idle++;
	}
	pthread_mutex_unlock(&b->lock);
	if (gone)
		open_free(o);
}

void branch_opens_free(struct branch *b)
{
	for (size_t i = 0; i < OPEN_BUCKETS; i++)
		for (struct branch_open *o = b->opens[i], *next; o; o = next) {
			next = o->next;
			open_free(o);
		}
}

const char *branch_file_name(uint64_t number, char name[BRANCH_FILE_NAME])
{
	snprintf(name, BRANCH_FILE_NAME, "%" PRIu64, number);
	return name;
}

/* For the record that a test keeps (src/base/fault.h). */
static void note_new(struct branch *b, const char *name, int fd)
{
#ifdef PGSTRATA_FAULTS
	_cleanup_(freep) char *path = io_join(b->files_path, name);

	fault_note_fd(FAULT_CREATE, fd, path);
#else
	(void)b, (void)name, (void)fd;
#endif
}

/* The descriptor of the file's own blocks. */
static int own_fd(struct branch_open *o, const struct branch_node *n, int *ret, struct err *e)
{
	struct branch *b = o->b;
	char name[BRANCH_FILE_NAME];
	int r = 0;

	pthread_mutex_lock(&o->once);
	if (o->fd < 0) {
		r = fault_at("branch-file-open");
		/* What an earlier mount may have left under that number is not this file's. */
		if (r == 0)
			o->fd = openat(b->files, branch_file_name(o->number, name),
				O_RDWR | O_CLOEXEC | O_NOFOLLOW | (n->st.blocks ? 0 : O_CREAT | O_TRUNC),
				0600);
		if (r == 0 && o->fd < 0)
			r = -errno;
		if (r == 0 && !n->st.blocks)
			note_new(b, name, o->fd);
		if (r < 0)
			err_sys(e, r, "%s/files/%" PRIu64, b->path, o->number);
	}
	*ret = o->fd;
	pthread_mutex_unlock(&o->once);
	if (r == 0 && !n->st.blocks) {
		pthread_mutex_lock(&b->lock);
		b->new_files = true;
		pthread_mutex_unlock(&b->lock);
	}
	return r;
}

/* ---- reading ---- */

/* n bytes from below, which are there: of `below` bytes. */
static int read_below(
	struct branch_open *o, uint64_t below, uint64_t off, uint8_t *p, size_t n, struct err *e)
{
	ssize_t got;
	int r = 0;

	pthread_mutex_lock(&o->once);
	if (!o->lower) {
		r = o->b->lower->open(o->b->lower_arg, o->number, &o->lower, e);
		o->lower_size = below;
	}
	pthread_mutex_unlock(&o->once);
	if (r < 0)
		return r;
	got = o->b->lower->read(o->lower, off, p, n, e);
	if (got < 0)
		return (int)got;
	return (size_t)got == n ? 0 : err_set(e, -EIO, "the backup's file is shorter than it says");
}

/* n bytes of what the branch does not have. */
static int read_unwritten(
	struct branch_open *o, uint64_t below, uint64_t off, uint8_t *p, size_t n, struct err *e)
{
	size_t from = off >= below ? 0 : n < below - off ? n : (size_t)(below - off);
	int r = from ? read_below(o, below, off, p, from, e) : 0;

	memset(p + from, 0, n - from);
	return r;
}

static int read_own(struct branch_open *o, const struct branch_node *n, uint64_t off, uint8_t *p, size_t len,
	struct err *e)
{
	int fd, r = own_fd(o, n, &fd, e);
	ssize_t got;

	if (r < 0)
		return r;
	got = io_pread(fd, p, len, off);
	if (got < 0)
		return err_sys(e, (int)got, "%s/files/%" PRIu64, o->b->path, o->number);
	if ((size_t)got < len)
		return err_set(e, -EIO, "%s/files/%" PRIu64 " is too short", o->b->path, o->number);
	return 0;
}

/* What a reader needs to know. The file's lock is held, so that blocks and sizes stay. */
static int view(struct branch_open *o, struct branch_node **ret, uint64_t *ret_size, uint64_t *ret_below,
	struct err *e)
{
	struct branch_stat st;
	int r;

	pthread_mutex_lock(&o->b->lock);
	*ret = branch_table_node(&o->b->table, o->number);
	if (*ret) {
		*ret_size = (*ret)->st.size;
		*ret_below = (*ret)->lower_size;
	}
	pthread_mutex_unlock(&o->b->lock);
	if (*ret)
		return 0;
	r = branch_getattr(o->b, o->number, &st, e);
	*ret_size = *ret_below = st.size;
	return r;
}

ssize_t branch_read(struct branch_open *o, uint64_t off, void *p, size_t n, struct err *e)
{
	uint64_t size = 0, below = 0;
	struct branch_node *node;
	size_t done = 0;
	int r;

	pthread_rwlock_rdlock(&o->lock);
	r = view(o, &node, &size, &below, e);
	if (r >= 0 && off >= size)
		n = 0;
	else if (r >= 0 && n > size - off)
		n = (size_t)(size - off);
	while (r >= 0 && done < n) {
		uint64_t at = off + done, block = at / BRANCH_BLOCK;
		bool own = node && branch_node_has(node, block);
		size_t len;

		/* As much as comes from the same place. */
		do
			block++;
		while (block * BRANCH_BLOCK < off + n && (node && branch_node_has(node, block)) == own);
		len = block * BRANCH_BLOCK < off + n ? (size_t)(block * BRANCH_BLOCK - at) : n - done;
		r = own ? read_own(o, node, at, (uint8_t *)p + done, len, e)
			: read_unwritten(o, below, at, (uint8_t *)p + done, len, e);
		done += len;
	}
	pthread_rwlock_unlock(&o->lock);
	return r < 0 ? r : (ssize_t)n;
}

void *branch_open_below(struct branch_open *o, uint64_t off, uint64_t n, struct branch_share *ret)
{
	uint64_t size, own = 0, blocks, end;
	struct branch_node *node;
	void *file;

	pthread_mutex_lock(&o->once);
	file = o->lower;
	size = ret->below = o->lower_size;
	pthread_mutex_unlock(&o->once);
	pthread_mutex_lock(&o->b->lock);
	node = branch_table_node(&o->b->table, o->number);
	if (node) {
		size = node->st.size;
		ret->below = node->lower_size;
	}
	ret->n = off < size ? (n < size - off ? n : size - off) : 0;
	end = off + ret->n < ret->below ? off + ret->n : ret->below;
	blocks = off < end ? (end - 1) / BRANCH_BLOCK + 1 - off / BRANCH_BLOCK : 0;
	for (uint64_t i = 0; node && i < blocks; i++)
		own += branch_node_has(node, off / BRANCH_BLOCK + i);
	pthread_mutex_unlock(&o->b->lock);
	ret->some = own < blocks;
	ret->all = blocks && !own && end == off + ret->n;
	return file;
}

/* ---- writing ---- */

static int put_own(struct branch_open *o, const struct branch_node *n, uint64_t off, const void *p,
	size_t len, struct err *e)
{
	int fd, r = own_fd(o, n, &fd, e);

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
	r = read_unwritten(o, below, t->block * BRANCH_BLOCK, whole, sizeof(whole), e);
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
		pthread_mutex_lock(&o->b->lock);
		o->dirty = true;
		pthread_mutex_unlock(&o->b->lock);
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
	if (!o->b->durable && (fresh || size != n->st.size))
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

void branch_relieve(struct branch *b)
{
	bool now;

	pthread_mutex_lock(&b->lock);
	now = b->n_leaving && (!b->durable || b->n_leaving > LEAVING_MAX);
	pthread_mutex_unlock(&b->lock);
	if (now)
		branch_sync_log(b, branch_log_end(b->log), NULL);
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
	r = view(o, &n, &size, &below, e);
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

/* ---- to the disk ---- */

/* The blocks of `taken` that are still the file's and were not written again since. The lock is held. */
static int say_blocks(
	struct branch_open *o, const uint64_t *taken, size_t words, struct branch_node *n, struct err *e)
{
	_cleanup_(buf_free) struct buf rec = {0};
	int r = 0;

	branch_put_known(&rec, n);
	for (uint64_t i = 0; i < (uint64_t)words * 64; i++) {
		uint64_t first = i;

		if (!taken[i / 64]) {
			i |= 63;
			continue;
		}
		while (i < (uint64_t)words * 64 && taken[i / 64] >> (i % 64) & 1 && branch_node_has(n, i) &&
			!(i / 64 < o->words && o->pending[i / 64] >> (i % 64) & 1))
			i++;
		if (i > first)
			branch_put_blocks(&rec, o->number, first, i - first);
		if (rec.len > RECORD_BYTES) {
			r = branch_commit(o->b, &rec, e);
			if (r < 0)
				return r;
			buf_clear(&rec);
		}
	}
	if (rec.len)
		r = branch_commit(o->b, &rec, e);
	if (r >= 0)
		o->unsaid = o->grew = false;
	return r;
}

/* What could not be said is to be said again. The lock is held. */
static void take_back(struct branch_open *o, uint64_t **taken, size_t words)
{
	uint64_t *less = *taken;
	size_t n = words;

	if (o->words < words) {
		less = o->pending;
		n = o->words;
		o->pending = *taken;
		o->words = words;
	}
	for (size_t i = 0; i < n; i++)
		o->pending[i] |= less[i];
	*taken = less;
}

/* The names in files/ are on disk. Nobody writes of a block before the name of its file is. */
static int sync_names(struct branch *b, struct err *e)
{
	bool names;
	int r = 0;

	pthread_mutex_lock(&b->names);
	pthread_mutex_lock(&b->lock);
	names = b->new_files;
	b->new_files = false;
	pthread_mutex_unlock(&b->lock);
	if (names) {
		r = fault_at("branch-names-sync");
		if (r == 0)
			fault_note_path(FAULT_SYNC_DIR, b->files_path, NULL);
		if (r == 0 && fsync(b->files) < 0)
			r = -errno;
		if (r == 0)
			fault_note_path(FAULT_SYNCED, NULL, NULL);
	}
	if (r < 0) {
		pthread_mutex_lock(&b->lock);
		b->new_files = true;
		pthread_mutex_unlock(&b->lock);
	}
	pthread_mutex_unlock(&b->names);
	return r < 0 ? err_sys(e, r, "%s/files", b->path) : 0;
}

/* One at a time for a file. */
static int sync_locked(struct branch_open *o, bool data_only, uint64_t *ret_end, struct err *e)
{
	_cleanup_(freep) uint64_t *taken = NULL;
	struct branch *b = o->b;
	struct branch_node *n;
	size_t words;
	bool dirty;
	int r;

	pthread_mutex_lock(&b->lock);
	r = o->failed;
	taken = MOVE(o->pending);
	words = o->words;
	o->words = 0;
	dirty = o->dirty;
	o->dirty = false;
	pthread_mutex_unlock(&b->lock);
	if (r == 0 && dirty && o->fd >= 0) {
		r = io_sync(o->fd, "branch-file-sync");
	}
	if (r == 0 && words)
		r = sync_names(b, e);
	pthread_mutex_lock(&b->lock);
	n = branch_table_node(&b->table, o->number);
	if (r < 0) {
		o->failed = r;
		err_sys(e, r, "%s/files/%" PRIu64 ": what was written is lost", b->path, o->number);
	} else if (n && (words || o->grew || (o->unsaid && !data_only))) {
		r = say_blocks(o, taken, words, n, e);
		if (r < 0)
			take_back(o, &taken, words);
	}
	*ret_end = n ? n->log_end : 0;
	pthread_mutex_unlock(&b->lock);
	return r;
}

static int sync_file(struct branch_open *o, bool data_only, struct err *e)
{
	uint64_t end = 0;
	int r;

	if (!o->b->durable) {
		pthread_mutex_lock(&o->b->lock);
		r = say(o, e);
		pthread_mutex_unlock(&o->b->lock);
		return r;
	}
	pthread_mutex_lock(&o->sync);
	r = sync_locked(o, data_only, &end, e);
	pthread_mutex_unlock(&o->sync);
	return r < 0 ? r : branch_sync_log(o->b, end, e);
}

int branch_fsync(struct branch_open *o, struct err *e)
{
	return sync_file(o, false, e);
}

int branch_fdatasync(struct branch_open *o, struct err *e)
{
	return sync_file(o, true, e);
}

void branch_leave(struct branch *b, uint64_t number)
{
	struct branch_open **at = open_at(b, number), *o = *at;

	if (o && !o->refs && !branch_table_node(&b->table, number)) {
		*at = o->next;
		b->idle--;
		open_free(o);
	}
	if (b->n_leaving == b->cap_leaving) {
		size_t cap = b->cap_leaving ? b->cap_leaving * 2 : 16;
		struct branch_leaving *p = realloc(b->leaving, cap * sizeof(*p));

		if (!p)
			return; /* found again when the branch is opened */
		b->leaving = p;
		b->cap_leaving = cap;
	}
	b->leaving[b->n_leaving++] = (struct branch_leaving){number, branch_log_end(b->log)};
}

/* Where the last block that is in the file ends. */
static uint64_t end_of_blocks(const struct branch_node *n)
{
	uint64_t i = (uint64_t)n->words * 64;

	while (i && !n->blocks[(i - 1) / 64])
		i -= 64;
	while (i && !branch_node_has(n, i - 1))
		i--;
	return i * BRANCH_BLOCK;
}

/* The file behind the last block that is in it. What was cut off since is another's turn: on disk it is still there. */
static void shrink(struct branch *b, uint64_t number, uint64_t synced)
{
	_cleanup_(closep) int own = -1;
	char name[BRANCH_FILE_NAME];
	struct branch_open *o;
	struct branch_node *n;
	uint64_t end = UINT64_MAX;
	struct stat st;
	int fd;

	if (branch_open(b, number, &o, NULL) < 0)
		return;
	pthread_rwlock_wrlock(&o->lock);
	pthread_mutex_lock(&b->lock);
	n = branch_table_node(&b->table, number);
	if (n && n->cut_end <= synced)
		end = end_of_blocks(n);
	pthread_mutex_unlock(&b->lock);
	fd = o->fd;
	if (fd < 0 && end < UINT64_MAX)
		fd = own = openat(b->files, branch_file_name(number, name), O_RDWR | O_CLOEXEC | O_NOFOLLOW);
	/* If it fails, it only takes room. */
	if (fd >= 0 && fstat(fd, &st) == 0 && (uint64_t)st.st_size > end)
		(void)io_truncate(fd, end, "branch-file-cut");
	pthread_rwlock_unlock(&o->lock);
	branch_open_drop(o);
}

void branch_remove_file(struct branch *b, const char *name)
{
	_cleanup_(freep) char *path = io_join(b->files_path, name);

	/* If it fails, it only takes room. */
	if (path && fault_at("branch-file-unlink") == 0 && unlink(path) == 0)
		fault_note_path(FAULT_UNLINK, path, NULL);
}

static void give_back(struct branch *b, uint64_t synced)
{
	for (;;) {
		struct branch_leaving l = {0};
		char name[BRANCH_FILE_NAME];
		bool gone;

		pthread_mutex_lock(&b->lock);
		if (b->n_leaving && b->leaving[b->n_leaving - 1].end <= synced)
			l = b->leaving[--b->n_leaving];
		gone = l.number && !branch_table_node(&b->table, l.number);
		pthread_mutex_unlock(&b->lock);
		if (!l.number)
			return;
		if (!gone)
			shrink(b, l.number, synced);
		else
			branch_remove_file(b, branch_file_name(l.number, name));
	}
}

int branch_sync_log(struct branch *b, uint64_t end, struct err *e)
{
	int r = branch_log_sync(b->log, end, e);

	if (r >= 0)
		give_back(b, b->durable ? branch_log_synced(b->log) : UINT64_MAX);
	return r;
}

/* The file after `o` in its bucket, or the first, held. */
static struct branch_open *next_open(struct branch *b, struct branch_open *o, size_t bucket)
{
	pthread_mutex_lock(&b->lock);
	o = o ? o->next : b->opens[bucket];
	if (o && !o->refs++)
		b->idle--;
	pthread_mutex_unlock(&b->lock);
	return o;
}

int branch_sync_all(struct branch *b, struct err *e)
{
	int r = 0;

	/* Each is held, for giving room back lets go of files. The held one's successor is read while it is held. */
	for (size_t i = 0; i < OPEN_BUCKETS; i++) {
		struct branch_open *o = next_open(b, NULL, i);

		while (o) {
			struct branch_open *next;
			int mine = branch_fsync(o, e);

			r = r < 0 ? r : mine;
			next = next_open(b, o, i);
			branch_open_drop(o);
			o = next;
		}
	}
	return r < 0 ? r : branch_sync_log(b, branch_log_end(b->log), e);
}
