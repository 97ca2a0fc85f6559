/* A file on its way in: cut into jobs of whole chunks for the pool, whose last one hands the finished map to the sorter.
 * Either the pool reads it from a descriptor (ingest_file), or its bytes are pushed (ingest_open, _write, _close).
 *
 * Invariant: the last of a file's jobs completes and frees it, so that nobody waits for a file. Content that is not cut into
 * chunks of one size is ingest_rope.c's. */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "src/base/clean.h"
#include "src/base/crc32c.h"
#include "src/base/io.h"
#include "src/base/pool.h"
#include "store/chunker.h"
#include "store/file.h"
#include "store/ingest_priv.h"
#include "store/map.h"
#include "store/mapwriter.h"
#include "store/node.h"
#include "store/sorter.h"

#define JOB_CHUNKS 16		/* chunks of a file that one job reads */
#define PUSH_BYTES (256u << 10) /* bytes that a pushed file collects before they become a job */

struct ingest_file {
	struct ingest *ingest;
	struct ingest_file *next_open, *prev_open; /* pushed files between open and close */
	char *path;
	struct meta meta; /* user and group are ours */
	int fd;		  /* -1: pushed */
	uint64_t size;	  /* of a pushed file: so far */
	struct file *home;
	uint64_t home_size, home_stored;
	struct mapwriter *map;
	atomic_uint pending; /* jobs, and one for the side that makes them, which hands it to the last job */
	atomic_ullong stored, at_home;
	uint8_t *buf; /* pushed bytes that are not a job yet */
	size_t buffered;
	uint8_t *inlined; /* set by the one job of a small file */
	uint32_t inlined_crc;
};

struct job {
	struct ingest_file *file;
	uint64_t off;
	size_t len;
	uint8_t *data; /* of a pushed file, ours */
	bool whole;    /* it has all of the file */
};

static void file_destroy(struct ingest_file *f)
{
	if (f->fd >= 0)
		close(f->fd);
	file_free(f->home);
	mapwriter_free(f->map);
	free((char *)f->meta.user);
	free((char *)f->meta.group);
	free(f->path);
	free(f->buf);
	free(f->inlined);
	free(f);
}

void ingest_files_abandon(struct ingest *in)
{
	while (in->open) {
		struct ingest_file *f = in->open;

		in->open = f->next_open;
		file_destroy(f);
	}
}

const char *ingest_file_path(const struct ingest_file *f)
{
	return f->path;
}

/* A parent's file of the same path, by whose chunks this one's are stored. */
static bool take_home(void *arg, const struct content *c)
{
	struct ingest_file *f = arg;

	if (c->inlined || c->chunk_shift != f->ingest->chunk_shift ||
		file_open(f->ingest->store, c, &f->home, NULL) < 0)
		return false;
	f->home_size = c->size;
	f->home_stored = c->stored;
	return true;
}

static int file_make(struct ingest *in, const char *path, const struct meta *m, int fd,
	struct ingest_file **ret, struct err *e)
{
	struct ingest_file *f = calloc(1, sizeof(*f));
	int r = ingest_check_entry(path, m, e);

	if (!f) {
		if (fd >= 0)
			close(fd);
		return err_sys(e, -ENOMEM, "%s", path);
	}
	f->ingest = in;
	f->fd = fd;
	f->path = strdup(path);
	f->meta = *m;
	f->meta.user = strdup(m->user ? m->user : "");
	f->meta.group = strdup(m->group ? m->group : "");
	atomic_store(&f->pending, 1);
	if (!r && (!f->path || !f->meta.user || !f->meta.group || mapwriter_new(in->chunk, &f->map) < 0))
		r = err_sys(e, -ENOMEM, "%s", path);
	if (!r)
		ingest_home(in, path, take_home, f);
	if (r < 0) {
		file_destroy(f);
		return r;
	}
	*ret = f;
	return 0;
}

struct emit_arg {
	struct ingest *ingest;
	struct worker *worker;
};

static void count(struct ingest *in, const struct chunk_result *res, size_t n)
{
	if (res->fresh)
		atomic_fetch_add(&in->unique, n);
	if (res->delta)
		atomic_fetch_add(&in->deltas, 1);
}

/* Map nodes: a node of nothing but zero references is a zero reference itself. */
static int emit_map(void *arg, const void *node, size_t n, struct digest *ret, struct err *e)
{
	struct emit_arg *a = arg;
	const uint8_t *p = node;
	struct chunk_result res;
	int r;

	if (!p[0] && !memcmp(p, p + 1, n - 1)) {
		*ret = (struct digest){{0}};
		return 0;
	}
	r = chunker_store(a->worker->chunker, RECORD_MAP, node, n, NULL, &res, e);
	if (!r)
		*ret = res.id;
	return r;
}

/* All chunks are in: the map's rest, the entry, and word to the caller. Frees the file. */
static void file_complete(struct ingest_file *f, struct worker *w)
{
	struct ingest *in = f->ingest;
	struct emit_arg a = {in, w};
	struct entry en = {.type = ENTRY_FILE, .meta = f->meta};
	struct err why = {0};
	uint32_t crc = 0;
	unsigned height = 0;
	int r = atomic_load(&in->failed);

	en.file.size = f->size;
	if (f->inlined || !f->size) {
		en.file.inlined = f->inlined ? f->inlined : (const uint8_t *)"";
		crc = f->inlined_crc;
	} else if (!r) {
		uint64_t at_home = atomic_load(&f->at_home);

		r = mapwriter_finish(f->map, map_chunks(f->size, in->chunk_shift), emit_map, &a, &en.file.map,
			&height, &crc, &why);
		en.file.height = (uint8_t)height;
		en.file.chunk_shift = (uint8_t)in->chunk_shift;
		/* Chunks that are as in the parent were not looked up: they take their share of what that
		 * took. */
		en.file.stored = atomic_load(&f->stored);
		if (at_home)
			en.file.stored +=
				(uint64_t)((double)f->home_stored * (double)at_home / (double)f->home_size);
	}
	if (!r)
		r = ingest_sort_entry(in, f->path, &en, &why);
	if (!r) {
		atomic_fetch_add(&in->files, 1);
		if (in->options.on_file)
			r = in->options.on_file(in->options.arg, f->path, f->size, crc, &why);
	}
	if (r < 0)
		ingest_stick(in, r, &why);
	file_destroy(f);
}

/* The last of the jobs, or the side that makes them, completes the file. */
static void file_unref(struct ingest_file *f, struct worker *w)
{
	if (atomic_fetch_sub(&f->pending, 1) == 1)
		file_complete(f, w);
}

/* One chunk into the store and the map. */
static int store_one(
	struct ingest_file *f, struct worker *w, uint64_t n, const uint8_t *p, size_t len, struct err *e)
{
	struct ingest *in = f->ingest;
	struct emit_arg a = {in, w};
	struct chunk_result res;
	struct digest home = {{0}};
	int r;

	if (f->home && n * in->chunk < f->home_size && file_chunk_ref(f->home, n, &home, NULL) < 0)
		home = (struct digest){{0}};
	r = chunker_store(w->chunker, RECORD_CHUNK, p, len, &home, &res, e);
	if (r < 0)
		return r;
	count(in, &res, len);
	atomic_fetch_add(&in->logical, len);
	atomic_fetch_add(&f->stored, res.stored);
	if (res.at_home)
		atomic_fetch_add(&f->at_home, len);
	return mapwriter_put(f->map, n, len, &res.id, res.crc, emit_map, &a, e);
}

/* A file that fits in the tree itself. */
static int store_inline(struct ingest_file *f, const uint8_t *p, size_t len, struct err *e)
{
	f->inlined = malloc(len);
	if (!f->inlined)
		return err_sys(e, -ENOMEM, "%s", f->path);
	memcpy(f->inlined, p, len);
	f->inlined_crc = crc32c(0, p, len);
	atomic_fetch_add(&f->ingest->logical, len);
	return 0;
}

/* Bytes of a file behind a descriptor; they must all be there, and none after the end. */
static int read_exactly(struct ingest_file *f, uint64_t off, uint8_t *p, size_t len, struct err *e)
{
	ssize_t n = io_pread(f->fd, p, len, off);
	uint8_t beyond;

	if (n < 0)
		return err_sys(e, (int)n, "reading %s", f->path);
	if ((size_t)n < len)
		return err_set(
			e, -EIO, "%s became shorter while it was read: is something writing to it?", f->path);
	if (off + len == f->size && io_pread(f->fd, &beyond, 1, f->size) > 0)
		return err_set(
			e, -EIO, "%s became longer while it was read: is something writing to it?", f->path);
	return 0;
}

static void run_job(void *arg, unsigned number)
{
	struct job *j = arg;
	struct ingest_file *f = j->file;
	struct ingest *in = f->ingest;
	struct worker *w = &in->workers[number];
	struct err why = {0};
	int r = atomic_load(&in->failed);

	if (!r && (r = packing_renew(in->packing, &why)) < 0)
		ingest_stick(in, r, &why);
	for (size_t done = 0; done < j->len && !r;) {
		size_t len = j->len - done < in->chunk ? j->len - done : in->chunk;
		const uint8_t *p = j->data ? j->data + done : w->buf;

		if (!j->data)
			r = read_exactly(f, j->off + done, w->buf, len, &why);
		if (!r)
			r = j->whole && j->len <= TREE_INLINE_MAX
				    ? store_inline(f, p, len, &why)
				    : store_one(f, w, (j->off + done) / in->chunk, p, len, &why);
		done += len;
		if (!r)
			r = atomic_load(&in->failed);
		if (r < 0)
			ingest_stick(in, r, &why);
	}
	free(j->data);
	free(j);
	file_unref(f, w);
}

/* Queues a job. The last one takes over the maker's count in `pending`, so that a file is always completed by
 * a thread of the pool, which has a chunker of its own for the map's nodes. */
static int submit(struct ingest_file *f, uint64_t off, size_t len, uint8_t *data, bool last, struct err *e)
{
	struct job *j = malloc(sizeof(*j));

	if (!j) {
		free(data);
		return err_sys(e, -ENOMEM, "%s", f->path);
	}
	*j = (struct job){f, off, len, data, last && off == 0};
	if (!last)
		atomic_fetch_add(&f->pending, 1);
	pool_submit(f->ingest->pool, run_job, j);
	return 0;
}

/* The maker's side ends without a last job: the file is empty, or something failed. Neither needs a chunker.
 */
static int abandon_or_complete(struct ingest_file *f, int r, const struct err *why, struct err *e)
{
	struct ingest *in = f->ingest;

	if (r < 0)
		ingest_stick(in, r, why);
	file_unref(f, NULL);
	return ingest_failed(in, e);
}

int ingest_file(
	struct ingest *in, const char *path, const struct meta *m, int fd, uint64_t size, struct err *e)
{
	struct ingest_file *f;
	struct err why = {0};
	int r = ingest_failed(in, e);

	if (r < 0) {
		close(fd);
		return r;
	}
	r = file_make(in, path, m, fd, &f, &why);
	if (r < 0)
		return ingest_fail(in, r, &why, e);
	f->size = size;
	/* An empty file has no job to find this out. */
	if (!size)
		r = read_exactly(f, 0, NULL, 0, &why);
	for (uint64_t off = 0; off < size;) {
		uint64_t left = size - off, most = (uint64_t)in->chunk * JOB_CHUNKS;
		size_t len = (size_t)(left < most ? left : most);

		r = submit(f, off, len, NULL, len == left, &why);
		if (!r && len == left)
			return 0;
		off += len;
		if (!r)
			r = atomic_load(&in->failed);
		if (r < 0)
			break;
	}
	return abandon_or_complete(f, r, &why, e);
}

int ingest_open(
	struct ingest *in, const char *path, const struct meta *m, struct ingest_file **ret, struct err *e)
{
	struct ingest_file *f;
	struct err why = {0};
	int r = ingest_failed(in, e);

	if (r < 0)
		return r;
	r = file_make(in, path, m, -1, &f, &why);
	if (r < 0)
		return ingest_fail(in, r, &why, e);
	pthread_mutex_lock(&in->open_lock);
	f->next_open = in->open;
	if (in->open)
		in->open->prev_open = f;
	in->open = f;
	pthread_mutex_unlock(&in->open_lock);
	*ret = f;
	return 0;
}

/* What was collected becomes a job. */
static int push(struct ingest_file *f, bool last, struct err *e)
{
	uint64_t off = f->size - f->buffered;
	size_t len = f->buffered;

	f->buffered = 0;
	return submit(f, off, len, MOVE(f->buf), last, e);
}

int ingest_write(struct ingest_file *f, const void *p, size_t n, struct err *e)
{
	struct ingest *in = f->ingest;
	/* A multiple of the chunk size, so that chunks never straddle jobs. */
	size_t cap = in->chunk > PUSH_BYTES ? in->chunk : PUSH_BYTES;
	const uint8_t *from = p;
	struct err why = {0};
	int r = ingest_failed(in, e);

	while (n && !r) {
		size_t part = n < cap - f->buffered ? n : cap - f->buffered;

		if (!f->buf && !(f->buf = malloc(cap))) {
			err_sys(&why, -ENOMEM, "%s", f->path);
			return ingest_fail(in, -ENOMEM, &why, e);
		}
		memcpy(f->buf + f->buffered, from, part);
		f->buffered += part;
		f->size += part;
		from += part;
		n -= part;
		if (f->buffered == cap) {
			r = push(f, false, &why);
			if (r < 0)
				return ingest_fail(in, r, &why, e);
			r = ingest_failed(in, e);
		}
	}
	return r;
}

int ingest_close(struct ingest_file *f, struct err *e)
{
	struct ingest *in = f->ingest;
	struct err why = {0};
	bool any = f->size != 0;
	int r = 0;

	pthread_mutex_lock(&in->open_lock);
	*(f->prev_open ? &f->prev_open->next_open : &in->open) = f->next_open;
	if (f->next_open)
		f->next_open->prev_open = f->prev_open;
	pthread_mutex_unlock(&in->open_lock);
	/* The last job owns the file; it has no bytes when there are none left. */
	if (any)
		r = push(f, true, &why);
	return any && !r ? ingest_failed(in, e) : abandon_or_complete(f, r, &why, e);
}
