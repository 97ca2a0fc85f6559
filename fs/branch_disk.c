/* What of a branch is on the disk: bytes before the journal that tells of them, and room that is given back. See branch.h.
 *
 * In a durable branch the journal calls a block written after its bytes and the name of its file are on disk. Room is given
 * back only when the journal that no longer has it is there, too. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fs/branch_core.h"
#include "src/base/clean.h"
#include "src/base/fault.h"
#include "src/base/io.h"

#define LEAVING_MAX 64 /* more than that, and the log is synced for the room's sake */
#define RECORD_BYTES (BRANCH_RECORD_MAX / 2)

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
	if (names)
		r = io_sync_dir_fd(b->files, b->files_path, "branch-names-sync", e);
	if (r < 0) {
		pthread_mutex_lock(&b->lock);
		b->new_files = true;
		pthread_mutex_unlock(&b->lock);
	}
	pthread_mutex_unlock(&b->names);
	return r;
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
	if (r == 0 && dirty && o->fd >= 0)
		r = io_sync(o->fd, "branch-file-sync");
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
		r = branch_say(o, e);
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
	if (!branch_table_node(&b->table, number))
		branch_open_discard(b, number);
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

int branch_sync_all(struct branch *b, struct err *e)
{
	int r = 0;

	/* Each is held, for giving room back lets go of files. The held one's successor is read while it is held. */
	for (size_t i = 0; i < OPEN_BUCKETS; i++) {
		struct branch_open *o = branch_open_next(b, NULL, i);

		while (o) {
			struct branch_open *next;
			int mine = branch_fsync(o, e);

			r = r < 0 ? r : mine;
			next = branch_open_next(b, o, i);
			branch_open_drop(o);
			o = next;
		}
	}
	return r < 0 ? r : branch_sync_log(b, branch_log_end(b->log), e);
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
