/* See import_wal.h.
 *
 * Files are taken in the order of their names, some at a time. A summary wants the segment before its own, so each
 * waits with its summary until all files before it are in.
 *
 * Invariant: a file is never unpacked beyond the size that its first bytes claim, and those claim at most 1 GiB. */
#include "src/capture/import_wal.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "src/base/buf.h"
#include "src/base/clean.h"
#include "src/base/io.h"
#include "src/base/pool.h"
#include "src/capture/unpack.h"
#include "src/capture/wal_take.h"
#include "src/pg/lsn.h"
#include "src/pg/wal_page.h"

#define GROUP_DIGITS 16
#define SHA1_DIGITS 40
/* Larger segments are unpacked to a file without a name. */
#define MEMORY_MAX (64u << 20)

CLEANUP_DEFINE(struct unpack, unpack_free)

struct import_file {
	char *path;
	char *name; /* as the server named it */
	uint64_t size;
};

struct import {
	const struct import_wal_options *options;
	struct wal_taker taker;
	struct import_file *entries;
	size_t n;
	struct import_wal_result result;

	pthread_mutex_t lock; /* rank: leaf; guards what follows, and result while the pool runs */
	pthread_cond_t moved;
	bool *in;	  /* which entries are through, in the archive or not */
	size_t in_front;  /* all before this one are */
	int failed;	  /* the repository takes nothing more */
	struct err first; /* why the first was refused */
	size_t first_at;  /* which it was */
};

struct job {
	struct import *im;
	size_t at;
};

/* ---- names ---- */

size_t import_wal_name(const char *name)
{
	static const char *const endings[] = {".gz", ".lz4", ".zst", ".bz2", ".xz", ".lzma", ".br"};
	size_t n = strlen(name);

	/* Which way it is compressed its content tells; the ending only has to go. */
	for (size_t i = 0; i < sizeof(endings) / sizeof(*endings); i++) {
		size_t len = strlen(endings[i]);

		if (n > len && !strcmp(name + n - len, endings[i])) {
			n -= len;
			break;
		}
	}
	/* pgBackRest puts the content's SHA-1 behind a segment's name. */
	if (n > SHA1_DIGITS + 1 && name[n - SHA1_DIGITS - 1] == '-' &&
		strspn(name + n - SHA1_DIGITS, "0123456789abcdef") >= SHA1_DIGITS)
		n -= SHA1_DIGITS + 1;
	return wal_kind_of(name, n) == WAL_KIND_NONE ? 0 : n;
}

/* A folder of segments that share their first 16 digits, as several tools keep them. */
static bool is_group(const char *name)
{
	return strlen(name) == GROUP_DIGITS && strspn(name, "0123456789ABCDEF") == GROUP_DIGITS;
}

static int add(struct import *im, const char *path, const char *name, size_t name_len, uint64_t size)
{
	struct import_file *more;

	if (!(im->n & (im->n - 1))) {
		more = reallocarray(im->entries, im->n ? 2 * im->n : 1, sizeof(*more));
		if (!more)
			return -ENOMEM;
		im->entries = more;
	}
	im->entries[im->n] = (struct import_file){strdup(path), strndup(name, name_len), size};
	return im->entries[im->n].path && im->entries[im->n++].name ? 0 : -ENOMEM;
}

static void closedirp(DIR **d)
{
	if (*d)
		closedir(*d);
}

static int scan(struct import *im, const char *dir, bool below, struct err *e)
{
	_cleanup_(closedirp) DIR *d = opendir(dir);
	struct dirent *de;
	int r = 0;

	if (!d)
		return err_sys(e, -errno, "%s", dir);
	for (errno = 0; !r && (de = readdir(d)); errno = 0) {
		_cleanup_(freep) char *path = NULL;
		struct stat st;
		size_t n;

		if (!strcmp(de->d_name, ".") || !strcmp(de->d_name, ".."))
			continue;
		path = io_join(dir, de->d_name);
		if (!path)
			return err_sys(e, -ENOMEM, "%s", dir);
		if (stat(path, &st) < 0)
			return err_sys(e, -errno, "%s", path);
		n = import_wal_name(de->d_name);
		if (S_ISREG(st.st_mode) && n) {
			if (add(im, path, de->d_name, n, (uint64_t)st.st_size) < 0)
				return err_sys(e, -ENOMEM, "%s", path);
		} else if (S_ISDIR(st.st_mode) && !below && is_group(de->d_name)) {
			r = scan(im, path, true, e);
		} else {
			im->result.passed_over++;
		}
	}
	return r || !errno ? r : err_sys(e, -errno, "%s", dir);
}

/* ---- one file ---- */

/* What a file unpacks to: in memory, or behind a descriptor. */
struct unpacked {
	struct buf head; /* as much as says how large it will be */
	void *bytes;
	struct newfile file;
	uint64_t size;
};

static void unpacked_release(struct unpacked *c)
{
	buf_free(&c->head);
	free(c->bytes);
	newfile_close(&c->file);
}

/* How many bytes it may have. */
static int limit_of(const struct import_file *en, const struct unpacked *c, uint64_t *ret, struct err *e)
{
	enum wal_kind kind = wal_kind_of(en->name, strlen(en->name));
	struct wal_segment seg;
	int r;

	*ret = WAL_SMALL_MAX;
	if (kind != WAL_KIND_SEGMENT && kind != WAL_KIND_PARTIAL)
		return 0;
	r = wal_segment_parse(c->head.data, c->head.len, &seg, e);
	if (r < 0)
		return err_wrap(e, r, "%s is not archived", en->path);
	*ret = seg.segment_size;
	return 0;
}

static int keep(struct unpacked *c, const void *p, size_t n, uint64_t limit, const struct import_file *en,
	struct err *e)
{
	if (n > limit - c->size)
		return err_set(e, -EFBIG,
			"%s is not archived: it unpacks to more than the %llu bytes of its file", en->path,
			(unsigned long long)limit);
	c->size += n;
	if (!c->bytes)
		return newfile_write(&c->file, p, n, e);
	memcpy((uint8_t *)c->bytes + c->size - n, p, n);
	return 0;
}

/* Reads on after the head, which is the content's beginning. */
static int unpack_rest(struct unpack *u, struct unpacked *c, const struct import_file *en, struct err *e)
{
	uint64_t limit = 0;
	const void *p = c->head.data;
	ssize_t n = (ssize_t)c->head.len;
	int r = limit_of(en, c, &limit, e);

	if (!r && limit > MEMORY_MAX)
		r = newfile_open("/var/tmp", 0600, &c->file, e);
	else if (!r && !(c->bytes = buf_large((size_t)limit)))
		r = err_sys(e, -ENOMEM, "%s", en->path);
	while (!r && n > 0) {
		r = keep(c, p, (size_t)n, limit, en, e);
		if (!r)
			n = unpack_next(u, &p, e);
	}
	return r || n >= 0 ? r : (int)n;
}

static int unpack_all(struct unpack *u, struct unpacked *c, const struct import_file *en, struct err *e)
{
	while (c->head.len < WAL_PAGE_HEAD_LONG) {
		const void *p;
		ssize_t n = unpack_next(u, &p, e);

		if (n < 0)
			return (int)n;
		if (n == 0)
			break;
		buf_put(&c->head, p, (size_t)n);
	}
	return c->head.bad ? err_sys(e, -ENOMEM, "%s", en->path) : unpack_rest(u, c, en, e);
}

/* Puts it into the archive; what its summary is made from is left in *ret_bytes. */
static int take(const struct import *im, const struct import_file *en, uint64_t *ret_size, bool *ret_known,
	void **ret_bytes, struct err *e)
{
	_cleanup_(unpacked_release) struct unpacked c = {.file = NEWFILE_NONE};
	_cleanup_(unpack_freep) struct unpack *u = NULL;
	_cleanup_(closep) int fd = open(en->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	struct meter *m = im->options->meter;
	struct wal_input in = {.fd = fd};
	struct stat st;
	int r;

	if (fd < 0 || fstat(fd, &st) < 0)
		return err_sys(e, -errno, "%s", en->path);
	r = unpack_new(fd, en->path, NULL, &u, e);
	in.size = (uint64_t)st.st_size;
	if (!r && unpack_is_compressed(u)) {
		r = unpack_all(u, &c, en, e);
		in = (struct wal_input){.fd = c.file.fd, .bytes = c.bytes, .size = c.size};
	}
	if (!r)
		r = wal_take_put(&im->taker, en->path, en->name, &in, ret_known, ret_bytes, e);
	*ret_size = in.size;
	if (!r && *ret_bytes == c.bytes)
		c.bytes = NULL;
	meter_add(m, en->size, 1);
	return r;
}

/* Errors that no file is to blame for, and that the next one will meet as well. */
static bool is_fatal(int r)
{
	return r == -ENOSPC || r == -EDQUOT || r == -EROFS || r == -ENOMEM;
}

/* Waits until all files before this one are through. */
static void wait_turn(struct import *im, size_t at)
{
	pthread_mutex_lock(&im->lock);
	while (im->in_front < at)
		pthread_cond_wait(&im->moved, &im->lock);
	pthread_mutex_unlock(&im->lock);
}

static void count(struct import *im, size_t at, int r, bool known, uint64_t size, const struct err *why)
{
	pthread_mutex_lock(&im->lock);
	if (r < 0) {
		if (is_fatal(r))
			im->failed = r;
		else
			im->result.refused++;
		if (at < im->first_at) {
			im->first_at = at;
			im->first = *why;
		}
	} else if (known) {
		im->result.known++;
	} else {
		im->result.taken++;
		im->result.bytes += size;
	}
	im->in[at] = true;
	while (im->in_front < im->n && im->in[im->in_front])
		im->in_front++;
	pthread_cond_broadcast(&im->moved);
	pthread_mutex_unlock(&im->lock);
}

static void run(void *arg, unsigned worker)
{
	_cleanup_(freep) struct job *j = arg;
	_cleanup_(freep) void *bytes = NULL;
	struct import *im = j->im;
	const struct import_file *en = &im->entries[j->at];
	struct err why = {0};
	uint64_t size = 0;
	bool known = false;
	int r = take(im, en, &size, &known, &bytes, &why);

	(void)worker;
	if (r < 0 && !is_fatal(r))
		log_msg(im->options->log, LOG_LEVEL_ERROR, "%s", why.text);
	count(im, j->at, r, known, size, &why);
	if (!bytes)
		return;
	wait_turn(im, j->at);
	wal_take_note(&im->taker, en->name, bytes, size);
}

/* ---- all of them ---- */

static int by_name(const void *a, const void *b)
{
	const struct import_file *x = a, *y = b;
	int c = strcmp(x->name, y->name);

	return c ? c : strcmp(x->path, y->path);
}

static bool has_failed(struct import *im)
{
	bool yes;

	pthread_mutex_lock(&im->lock);
	yes = im->failed != 0;
	pthread_mutex_unlock(&im->lock);
	return yes;
}

static int take_all(struct import *im, struct err *e)
{
	const struct import_wal_options *o = im->options;
	unsigned threads = o->threads ? o->threads : pool_cpus();
	struct pool *pool;
	size_t begun = 0;
	int r = pool_new(threads, 1, &pool);

	if (r < 0)
		return err_sys(e, r, "the import");
	for (; begun < im->n && !(o->stop && *o->stop) && !has_failed(im); begun++) {
		struct job *j = malloc(sizeof(*j));

		if (!j) {
			r = err_sys(e, -ENOMEM, "the import");
			break;
		}
		*j = (struct job){im, begun};
		pool_submit(pool, run, j);
	}
	pool_free(pool);
	if (im->failed)
		return err_set(e, im->failed, "%s", im->first.text);
	if (!r && begun < im->n)
		r = err_set(
			e, -EINTR, "stopped after %zu of %zu files; what was taken in stays", begun, im->n);
	return r;
}

static int import(struct import *im, const char *dir, struct err *e)
{
	uint64_t total = 0;
	int r = scan(im, dir, false, e);

	if (r < 0)
		return r;
	if (!im->n)
		return err_set(e, -ENOENT,
			"no WAL in %s: looked for files that are named as segments or history files, there "
			"and in "
			"folders named by 16 digits",
			dir);
	qsort(im->entries, im->n, sizeof(*im->entries), by_name);
	for (size_t i = 0; i < im->n; i++)
		total += im->entries[i].size;
	meter_total(im->options->meter, total);
	im->in = calloc(im->n, sizeof(*im->in));
	im->first_at = im->n;
	r = im->in ? take_all(im, e) : err_sys(e, -ENOMEM, "%s", dir);
	if (!r && im->result.refused)
		r = err_set(e, -EBADMSG, "%llu of %zu files in %s were not archived, the first because: %s",
			(unsigned long long)im->result.refused, im->n, dir, im->first.text);
	return r;
}

int capture_import_wal(struct store *s, const char *cluster, const char *dir,
	const struct import_wal_options *o, struct import_wal_result *ret, struct err *e)
{
	struct import im = {.options = o,
		/* Files beside each other need no threads within. */
		.taker = {.store = s, .cluster = cluster, .threads = 1, .log = o->log},
		.lock = PTHREAD_MUTEX_INITIALIZER,
		.moved = PTHREAD_COND_INITIALIZER};
	int r = import(&im, dir, e);

	*ret = im.result;
	for (size_t i = 0; i < im.n; i++) {
		free(im.entries[i].path);
		free(im.entries[i].name);
	}
	free(im.entries);
	free(im.in);
	return r;
}
