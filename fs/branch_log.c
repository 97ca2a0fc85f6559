/* See branch_log.h.
 *
 * Invariant: the file never has a bad record before a good one, but for what a power loss did to its unsynced end. A record
 * that could not be written whole is cut off at once; where even that fails, the log takes no more. */
#include "fs/branch_log.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "src/base/buf.h"
#include "src/base/clean.h"
#include "src/base/crc32c.h"
#include "src/base/cur.h"
#include "src/base/fault.h"
#include "src/base/io.h"

#define VERSION 1
#define ROOM (UINT64_C(1) << 20) /* what is kept ahead of the end, so that a full disk still takes records */
#define SPARE \
	(UINT64_C(1) << 18) /* of that, for those that make room: removals, what has to be said of a file */
static const uint8_t magic[8] = {'P', 'G', 'S', 'B', 'R', 'N', 'C', 'H'};

struct branch_log {
	int fd;
	bool durable;
	pthread_mutex_t lock; /* rank: leaf; guards what follows, and the order of writes */
	uint64_t end, synced;
	uint64_t room;		   /* the disk was asked for space up to here */
	int broken;		   /* -errno: a part of a record could not be taken back */
	pthread_mutex_t sync_lock; /* rank: above lock; one thread syncs, the others find it done */
};

static uint32_t record_crc(uint64_t position, uint32_t len, uint64_t synced, const void *p)
{
	uint8_t head[20];

	for (unsigned i = 0; i < 8; i++) {
		head[i] = (uint8_t)(position >> 8 * i);
		head[12 + i] = (uint8_t)(synced >> 8 * i);
	}
	for (unsigned i = 0; i < 4; i++)
		head[8 + i] = (uint8_t)(len >> 8 * i);
	return crc32c(crc32c(0, head, sizeof(head)), p, len);
}

/* The record at `at`: its payload, or NULL when there is no good one. */
static const uint8_t *record_at(
	const uint8_t *p, size_t n, size_t at, uint32_t *ret_len, uint64_t *ret_synced)
{
	struct cur c = cur_of(p + at, n - at);
	uint32_t len = cur_u32(&c), crc = cur_u32(&c);
	uint64_t synced = cur_u64(&c);
	const uint8_t *payload;

	if (!len || len > BRANCH_RECORD_MAX)
		return NULL;
	payload = cur_bytes(&c, len);
	if (c.bad || record_crc(at, len, synced, payload) != crc)
		return NULL;
	*ret_len = len;
	*ret_synced = synced;
	return payload;
}

/* Whether a good record after `at` says that the byte at `at` was synced. Tries every position, but computes a checksum only
 * where a length and a claim are possible. */
static bool was_synced(const uint8_t *p, size_t n, size_t at)
{
	for (size_t i = at + 1; i + BRANCH_RECORD_HEADER < n; i++) {
		struct cur c = cur_of(p + i, BRANCH_RECORD_HEADER);
		uint32_t len = cur_u32(&c);
		uint64_t synced;

		cur_u32(&c);
		synced = cur_u64(&c);
		if (synced > at && synced <= i && record_at(p, n, i, &len, &synced))
			return true;
	}
	return false;
}

int branch_log_scan(const uint8_t *p, size_t n, branch_log_fn *fn, void *arg, size_t *ret_end, struct err *e)
{
	size_t at = BRANCH_LOG_HEADER;
	static const uint8_t zero[BRANCH_LOG_HEADER];
	struct cur c = cur_of(p, n);

	/* A power loss just after it was made leaves a size and no bytes. */
	if (n < BRANCH_LOG_HEADER || (!memcmp(p, zero, sizeof(zero)) && !was_synced(p, n, 0))) {
		*ret_end = 0;
		return 0;
	}
	if (memcmp(cur_bytes(&c, sizeof(magic)), magic, sizeof(magic)) != 0)
		return err_set(e, -EBADMSG, "the log does not begin as one");
	if (cur_u32(&c) != VERSION)
		return err_set(e, -EOPNOTSUPP, "the log is of a newer version of pgstrata");
	while (at < n) {
		uint32_t len = 0;
		uint64_t synced = 0;
		const uint8_t *payload = record_at(p, n, at, &len, &synced);
		int r;

		if (!payload && was_synced(p, n, at))
			return err_set(e, -EBADMSG, "the log is damaged at byte %zu of %zu", at, n);
		if (!payload)
			break;
		r = fn(arg, payload, len, e);
		if (r)
			return r;
		at += BRANCH_RECORD_HEADER + len;
	}
	*ret_end = at;
	return 0;
}

/* Reads what is there, cuts off what is torn, makes the header of a new one. */
static int load(struct branch_log *l, const char *path, branch_log_fn *fn, void *arg, struct err *e)
{
	_cleanup_(freep) uint8_t *p = NULL;
	_cleanup_(buf_free) struct buf head = {0};
	struct stat st;
	size_t end = 0;
	ssize_t got;
	int r;

	if (fstat(l->fd, &st) < 0)
		return err_sys(e, -errno, "%s", path);
	p = malloc((size_t)st.st_size + 1);
	if (!p)
		return err_set(e, -ENOMEM, "no memory for %s", path);
	got = io_pread(l->fd, p, (size_t)st.st_size, 0);
	if (got < 0)
		return err_sys(e, (int)got, "reading %s", path);
	r = branch_log_scan(p, (size_t)got, fn, arg, &end, e);
	if (r < 0)
		return err_wrap(e, r, "%s", path);
	if (!st.st_size)
		fault_note_fd(FAULT_CREATE, l->fd, path);
	if (end < (size_t)st.st_size)
		r = io_truncate(l->fd, end, "branch-log-cut");
	if (r < 0)
		return err_sys(e, r, "cutting off the torn end of %s", path);
	if (!end) {
		buf_put(&head, magic, sizeof(magic));
		buf_put_u32(&head, VERSION);
		buf_put_u32(&head, 0);
		r = head.bad ? -ENOMEM : io_pwrite(l->fd, head.data, head.len, 0);
		if (r < 0)
			return err_sys(e, r, "writing %s", path);
		end = head.len;
	}
	/* What was read may have been in memory only; from here on records may claim that it is on disk. */
	r = l->durable ? io_sync(l->fd, "branch-log-sync") : 0;
	if (r < 0)
		return err_sys(e, r, "syncing %s", path);
	l->end = l->synced = end;
	return 0;
}

int branch_log_open(
	const char *path, bool durable, branch_log_fn *fn, void *arg, struct branch_log **ret, struct err *e)
{
	struct branch_log *l = calloc(1, sizeof(*l));
	int r;

	if (!l)
		return err_set(e, -ENOMEM, "no memory for %s", path);
	pthread_mutex_init(&l->lock, NULL);
	pthread_mutex_init(&l->sync_lock, NULL);
	l->durable = durable;
	l->fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	r = l->fd < 0 ? err_sys(e, -errno, "%s", path) : load(l, path, fn, arg, e);
	if (r < 0) {
		branch_log_free(l);
		return r;
	}
	*ret = l;
	return 0;
}

void branch_log_free(struct branch_log *l)
{
	if (!l)
		return;
	if (l->fd >= 0)
		close(l->fd);
	pthread_mutex_destroy(&l->lock);
	pthread_mutex_destroy(&l->sync_lock);
	free(l);
}

/* Space ahead of the end; what cannot be had is asked for again. The lock is held. */
static void keep_room(struct branch_log *l, uint64_t end)
{
	for (uint64_t want = ROOM; end + ROOM / 2 > l->room && want >= SPARE; want /= 2) {
		int r = fault_at("branch-log-room");

		if (r == 0 && fallocate(l->fd, FALLOC_FL_KEEP_SIZE, (off_t)end, (off_t)want) < 0)
			r = -errno;
		/* Where a file system does not know of it, the write itself will say. */
		if (r == -EOPNOTSUPP)
			l->room = UINT64_MAX;
		else if (r == 0 && end + want > l->room)
			l->room = end + want;
	}
}

bool branch_log_has_room(struct branch_log *l)
{
	bool yes;

	pthread_mutex_lock(&l->lock);
	keep_room(l, l->end);
	yes = l->room >= l->end + SPARE;
	pthread_mutex_unlock(&l->lock);
	return yes;
}

int branch_log_append(struct branch_log *l, const void *p, size_t n, uint64_t *ret_end, struct err *e)
{
	_cleanup_(buf_free) struct buf b = {0};
	uint64_t synced;
	int r;

	if (!n || n > BRANCH_RECORD_MAX)
		return err_set(e, -EINVAL, "a record of %zu bytes", n);
	pthread_mutex_lock(&l->lock);
	synced = l->durable ? l->synced : l->end;
	buf_put_u32(&b, (uint32_t)n);
	buf_put_u32(&b, record_crc(l->end, (uint32_t)n, synced, p));
	buf_put_u64(&b, synced);
	buf_put(&b, p, n);
	r = l->broken ? l->broken : b.bad ? -ENOMEM : fault_at("branch-log-write");
	if (r >= 0) {
		keep_room(l, l->end + b.len);
		r = io_pwrite(l->fd, b.data, b.len, l->end);
		if (r < 0 && ftruncate(l->fd, (off_t)l->end) < 0)
			l->broken = -EIO;
	}
	if (r >= 0)
		*ret_end = l->end += b.len;
	pthread_mutex_unlock(&l->lock);
	return r < 0 ? err_sys(e, r, "writing the log") : 0;
}

int branch_log_sync(struct branch_log *l, uint64_t end, struct err *e)
{
	uint64_t now;
	int r = 0;

	if (!l->durable || branch_log_synced(l) >= end)
		return 0;
	pthread_mutex_lock(&l->sync_lock);
	pthread_mutex_lock(&l->lock);
	now = l->end;
	/* After a failed fdatasync the kernel may call the pages clean, and the next one would say that all is well. */
	r = l->broken;
	pthread_mutex_unlock(&l->lock);
	if (r == 0 && branch_log_synced(l) < end) {
		r = io_sync(l->fd, "branch-log-sync");
		pthread_mutex_lock(&l->lock);
		if (r == 0)
			l->synced = now;
		else
			l->broken = r;
		pthread_mutex_unlock(&l->lock);
	}
	pthread_mutex_unlock(&l->sync_lock);
	return r < 0 ? err_sys(e, r, "syncing the log") : 0;
}

uint64_t branch_log_end(struct branch_log *l)
{
	uint64_t end;

	pthread_mutex_lock(&l->lock);
	end = l->end;
	pthread_mutex_unlock(&l->lock);
	return end;
}

uint64_t branch_log_synced(struct branch_log *l)
{
	uint64_t synced;

	pthread_mutex_lock(&l->lock);
	synced = l->synced;
	pthread_mutex_unlock(&l->lock);
	return synced;
}
