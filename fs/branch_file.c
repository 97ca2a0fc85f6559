/* The open files of a branch, and reading them. See branch.h.
 *
 * A file is blocks of 8 KiB, PostgreSQL's pages. Those that were written lie in files/<number> at their own offsets, whole;
 * all others are the backup's up to lower_size, and zero behind it.
 *
 * Invariant: of a file that somebody has open, or that has what the journal does not, there is one struct branch_open.
 * Non-goal: how blocks come to be written (branch_block.c) and to the disk (branch_disk.c). */
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

#define IDLE_MAX 256 /* files that are closed and not synced: each has a descriptor */

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

int branch_say(struct branch_open *o, struct err *e)
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
			branch_say(o, NULL);
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

struct branch_open *branch_open_next(struct branch *b, struct branch_open *o, size_t bucket)
{
	pthread_mutex_lock(&b->lock);
	o = o ? o->next : b->opens[bucket];
	if (o && !o->refs++)
		b->idle--;
	pthread_mutex_unlock(&b->lock);
	return o;
}

void branch_open_discard(struct branch *b, uint64_t number)
{
	struct branch_open **at = open_at(b, number), *o = *at;

	if (!o || o->refs)
		return;
	*at = o->next;
	b->idle--;
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

int branch_own_fd(struct branch_open *o, const struct branch_node *n, int *ret, struct err *e)
{
	struct branch *b = o->b;
	char name[BRANCH_FILE_NAME];
	bool fresh;
	int r = 0;

	/* Who changes attributes alone writes this, too, and holds no lock of the file's. */
	pthread_mutex_lock(&b->lock);
	fresh = !n->st.blocks;
	pthread_mutex_unlock(&b->lock);
	pthread_mutex_lock(&o->once);
	if (o->fd < 0) {
		r = fault_at("branch-file-open");
		/* What an earlier mount may have left under that number is not this file's. */
		if (r == 0)
			o->fd = openat(b->files, branch_file_name(o->number, name),
				O_RDWR | O_CLOEXEC | O_NOFOLLOW | (fresh ? O_CREAT | O_TRUNC : 0), 0600);
		if (r == 0 && o->fd < 0)
			r = -errno;
		if (r == 0 && fresh)
			note_new(b, name, o->fd);
		if (r < 0)
			err_sys(e, r, "%s/files/%" PRIu64, b->path, o->number);
	}
	*ret = o->fd;
	pthread_mutex_unlock(&o->once);
	if (r == 0 && fresh) {
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

int branch_read_unwritten(
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
	int fd, r = branch_own_fd(o, n, &fd, e);
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

int branch_view(struct branch_open *o, struct branch_node **ret, uint64_t *ret_size, uint64_t *ret_below,
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
	r = branch_view(o, &node, &size, &below, e);
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
			: branch_read_unwritten(o, below, at, (uint8_t *)p + done, len, e);
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
