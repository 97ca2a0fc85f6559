/* WAL files into the archive and out of it. See archive.h. */
#include "src/capture/archive.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "src/base/clean.h"
#include "src/base/io.h"
#include "src/base/pool.h"
#include "src/capture/ahead.h"
#include "src/capture/pushed.h"
#include "src/capture/wal_take.h"
#include "src/pg/lsn.h"
#include "src/pg/wal_page.h"
#include "store/wal.h"
#include "store/wal_partial.h"

/* So many segments are archived by one call when the server is behind. Few, for the call returns when all of them are
 * through; and starting a program costs less than one. */
#define AHEAD 8
/* So many are read ahead of recovery. */
#define READ_AHEAD 4
#define PIECE (256u << 10)

CLEANUP_DEFINE(struct file, file_free)

/* One file that is being archived. */
struct push {
	const struct wal_taker *taker;
	const char *notes; /* where to remember it; NULL: not */
	char *path;
	const char *name;
	struct stat st;
	int fd;
	bool known;
	int r;
	struct err e;
};

static int push_open(struct push *p, struct err *e)
{
	/* O_NONBLOCK: a fifo must not hang the archiver. */
	p->fd = open(p->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (p->fd < 0 || fstat(p->fd, &p->st) < 0)
		return err_sys(e, -errno, "%s", p->path);
	if (!S_ISREG(p->st.st_mode))
		return err_set(e, -EINVAL, "%s is not a regular file", p->path);
	return 0;
}

static void push_run(void *arg, unsigned worker)
{
	struct push *p = arg;
	struct wal_input in = {.fd = p->fd, .size = (uint64_t)p->st.st_size};
	size_t size = (size_t)in.size;
	void *map = MAP_FAILED;

	(void)worker;
	/* Mapped rather than read: neither 16 MiB of fresh memory nor a copy into them. The server does not touch a segment that
	 * waits to be archived; if somebody cut it off just now, this process would die of SIGBUS with nothing archived. */
	if (size)
		map = mmap(NULL, size, PROT_READ, MAP_SHARED, p->fd, 0);
	if (map != MAP_FAILED)
		in.bytes = map;
	p->r = wal_take(p->taker, p->path, p->name, &in, &p->known, &p->e);
	if (map != MAP_FAILED)
		munmap(map, size);
	if (p->notes && !p->r)
		pushed_note(p->taker->store, p->taker->cluster, p->notes, p->name, &p->st);
}

static void push_release(struct push *p)
{
	if (p->path && p->fd >= 0)
		close(p->fd);
	free(p->path);
}

/* The segment i after this one in its folder, when the server has marked it as ready to be archived
 * (StatusFilePath, src/include/access/xlog_internal.h). NULL: it is not, or nobody can tell. */
static char *ready_after(const struct push *own, unsigned i)
{
	const char *name = own->name;
	int folder = (int)(name - own->path);
	_cleanup_(freep) char *ready = NULL;
	uint8_t head[WAL_PAGE_HEAD_LONG];
	char next[WAL_NAME_TEXT], *path = NULL;
	struct wal_segment seg;
	struct segno no;
	struct tli t;

	if (wal_kind_of(name, strlen(name)) != WAL_KIND_SEGMENT ||
		io_pread(own->fd, head, sizeof(head), 0) != sizeof(head) ||
		wal_segment_parse(head, sizeof(head), &seg, NULL) < 0 ||
		!wal_name_parse(name, strlen(name), seg.segment_size, &t, &no))
		return NULL;
	no.v += i;
	wal_name(t, no, seg.segment_size, next);
	if (asprintf(&ready, "%.*sarchive_status/%s.ready", folder, own->path, next) < 0) {
		ready = NULL;
		return NULL;
	}
	if (access(ready, F_OK) < 0 || asprintf(&path, "%.*s%s", folder, own->path, next) < 0)
		return NULL;
	return path;
}

/* Archives all that is in v, the first of which is what was asked for, and as many as there are threads at a time. */
static int push_all(struct push *v, unsigned n, unsigned threads, struct err *e)
{
	struct pool *pool;
	int r = pool_new(threads < n ? threads : n, n, &pool);

	if (r < 0)
		return err_sys(e, r, "%s", v->path);
	for (unsigned i = 0; i < n; i++)
		pool_submit(pool, push_run, &v[i]);
	pool_free(pool);
	return 0;
}

static int push_ahead(struct wal_taker *t, const struct wal_push *o, struct push *own, struct err *e)
{
	struct push v[AHEAD] = {*own};
	unsigned n = 1;
	int r = 0;

	for (unsigned i = 1; i < AHEAD; i++) {
		struct push *p = &v[n];

		*p = (struct push){.taker = t, .notes = o->notes, .fd = -1};
		p->path = ready_after(own, i);
		if (!p->path)
			break;
		p->name = strrchr(p->path, '/') ? strrchr(p->path, '/') + 1 : p->path;
		/* Its own call tells what is wrong with it. */
		if (push_open(p, NULL) < 0)
			push_release(p);
		else
			n++;
	}
	if (n == 1) {
		push_run(own, 0);
		return 0;
	}
	/* One thread each: segments beside each other need no threads within. */
	t->threads = 1;
	r = push_all(v, n, o->threads ? o->threads : pool_cpus(), e);
	for (unsigned i = 1; i < n; i++) {
		if (!r && v[i].r < 0)
			log_msg(o->log, LOG_LEVEL_DEBUG, "not archived ahead: %s", v[i].e.text);
		push_release(&v[i]);
	}
	*own = v[0];
	return r;
}

int capture_archive_push(struct store *s, const char *cluster, const char *path, const struct wal_push *o,
	bool *ret_known, struct err *e)
{
	struct wal_taker t = {.store = s, .cluster = cluster, .threads = o->threads, .log = o->log};
	_cleanup_(push_release) struct push own = {.taker = &t, .fd = -1, .path = strdup(path)};
	int r = own.path ? push_open(&own, e) : err_sys(e, -ENOMEM, "%s", path);

	if (r < 0)
		return r;
	own.name = strrchr(own.path, '/') ? strrchr(own.path, '/') + 1 : own.path;
	if (o->ahead && o->notes && pushed_before(s, cluster, o->notes, own.name, &own.st)) {
		*ret_known = true;
		return 0;
	}
	if (o->ahead)
		r = push_ahead(&t, o, &own, e);
	else
		push_run(&own, 0);
	if (r < 0)
		return r;
	*ret_known = own.known;
	return own.r < 0 ? err_set(e, own.r, "%s", own.e.text) : 0;
}

/* ---- out ---- */

/* The name of the segment i after this one; false: this is no segment. */
static bool segment_after(const char *name, uint64_t size, unsigned i, char out[WAL_NAME_TEXT])
{
	struct segno no;
	struct tli t;

	if (wal_kind_of(name, strlen(name)) != WAL_KIND_SEGMENT || size > UINT32_MAX ||
		!wal_name_parse(name, strlen(name), (uint32_t)size, &t, &no))
		return false;
	no.v += i;
	wal_name(t, no, (uint32_t)size, out);
	return true;
}

/* Recovery asks for one segment after the other, a process each: the disk reads the next ones while this one is
 * unpacked and replayed. */
static void read_ahead(struct store *s, const char *cluster, const char *name, uint64_t size)
{
	char next[WAL_NAME_TEXT];

	for (unsigned i = 1; i <= READ_AHEAD && segment_after(name, size, i, next); i++)
		wal_advise(s, cluster, next);
}

/* A file that is there. A destination that is missing is no sign that the archive ends: nothing here is -ENOENT. */
static int unpack_to(struct store *s, const char *cluster, const char *name, const char *dir,
	const char *dest_name, struct err *e)
{
	_cleanup_(newfile_close) struct newfile to = NEWFILE_NONE;
	int r = ahead_unpack(s, cluster, name, dir, &to, e);

	r = r ? r : newfile_rename(&to, dest_name, e);
	return r == -ENOENT ? -ENOTDIR : r;
}

/* What a receiver has of a segment so far. */
static int copy_growing(struct store *s, const char *cluster, const char *segment, const char *dir,
	const char *dest_name, struct err *e)
{
	_cleanup_(newfile_close) struct newfile to = NEWFILE_NONE;
	_cleanup_(file_freep) struct file *f = NULL;
	_cleanup_(freep) uint8_t *piece = malloc(PIECE);
	int r = piece ? wal_partial_open(s, cluster, segment, &f, NULL, e)
		      : err_sys(e, -ENOMEM, "%s", segment);

	if (r < 0)
		return r;
	r = newfile_open(dir, 0600, &to, e);
	for (uint64_t off = 0; !r && off < file_size(f);) {
		ssize_t n = file_read(f, off, piece, PIECE, e);

		r = n < 0 ? (int)n : newfile_write(&to, piece, (size_t)n, e);
		off += n > 0 ? (uint64_t)n : 0;
	}
	r = r ? r : newfile_rename(&to, dest_name, e);
	return r == -ENOENT ? -ENOTDIR : r;
}

/* -ENOENT: nothing of it is there, or all of it by now. */
static int take_partial(struct store *s, const char *cluster, const char *segment, const char *dir,
	const char *dest_name, struct err *e)
{
	char name[WAL_FILE_NAME_MAX + 1];
	struct wal_info info;
	int r;

	snprintf(name, sizeof(name), "%s.partial", segment);
	r = wal_stat(s, cluster, name, &info, e);
	if (r == -ENOENT)
		return copy_growing(s, cluster, segment, dir, dest_name, e);
	return r ? r : unpack_to(s, cluster, name, dir, dest_name, e);
}

/* A file that is in the archive. */
static int take_whole(struct store *s, const char *cluster, const char *name, const struct wal_info *info,
	const char *dir, const char *dest, bool with_next, struct err *e)
{
	_cleanup_(ahead_leave) struct ahead ahead = AHEAD_NONE;
	const char *slash = strrchr(dest, '/');
	char next[WAL_NAME_TEXT];
	bool taken = false;
	int r = 0;

	/* History files come between segments, and are not followed by any. */
	with_next = with_next && segment_after(name, info->size, 1, next);
	if (with_next) {
		ahead_enter(dir, &ahead);
		taken = ahead.fd >= 0 && ahead_take(&ahead, &info->digest, dest);
	}
	read_ahead(s, cluster, name, info->size);
	if (!taken)
		r = unpack_to(s, cluster, name, dir, slash ? slash + 1 : dest, e);
	if (!r && with_next)
		ahead_start(&ahead, s, cluster, next);
	return r;
}

int capture_archive_get(struct store *s, const char *cluster, const char *name, const char *dest,
	const struct wal_get *o, struct err *e)
{
	const char *slash = strrchr(dest, '/');
	_cleanup_(freep) char *dir =
		!slash ? strdup(".") : strndup(dest, slash == dest ? 1 : (size_t)(slash - dest));
	struct wal_info info;
	int r;

	if (!dir)
		return err_sys(e, -ENOMEM, "%s", dest);
	r = wal_stat(s, cluster, name, &info, e);
	if (r == -ENOENT && o->partial && wal_kind_of(name, strlen(name)) == WAL_KIND_SEGMENT) {
		r = take_partial(s, cluster, name, dir, slash ? slash + 1 : dest, e);
		/* What grew goes when it is archived whole: that may have been just now. */
		if (r != -ENOENT)
			return r;
		r = wal_stat(s, cluster, name, &info, e);
	}
	return r ? r : take_whole(s, cluster, name, &info, dir, dest, o->ahead, e);
}
