/* One snapshot being written: files are cut into jobs for the pool, finished files go to the sorter, the
 * sorted entries become the tree, and the snapshot is published last. See ingest.h. */
#include "store/ingest.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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
#include "store/repo.h"
#include "store/rope.h"
#include "store/sorter.h"
#include "store/treewriter.h"

#define PARENTS_LOOKED_AT 1000	/* snapshots */
#define JOB_CHUNKS 16		/* chunks of a file that one job reads */
#define PUSH_BYTES (256u << 10) /* bytes that a pushed file collects before they become a job */
#define QUEUE_PER_THREAD 8	/* jobs that wait: each an open file or PUSH_BYTES of memory */
#define SORT_MEMORY (32u << 20)
#define PATH_BYTES 4095

CLEANUP_DEFINE(struct ingest, ingest_free)

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

/* ---- errors ---- */

/* Keeps the first error; later ones are its consequences. Returns r. */
static int fail(struct ingest *in, int r, const struct err *why)
{
	pthread_mutex_lock(&in->error_lock);
	if (!atomic_load(&in->failed)) {
		in->error = *why;
		atomic_store(&in->failed, r);
	}
	pthread_mutex_unlock(&in->error_lock);
	return r;
}

/* The sticky error, for the caller. */
static int failure(struct ingest *in, struct err *e)
{
	int r = atomic_load(&in->failed);

	if (r < 0 && e) {
		pthread_mutex_lock(&in->error_lock);
		*e = in->error;
		pthread_mutex_unlock(&in->error_lock);
	}
	return r;
}

/* Records an error of the caller's thread and hands it back. */
static int give(struct ingest *in, int r, struct err *why, struct err *e)
{
	fail(in, r, why);
	return failure(in, e);
}

int ingest_failed(struct ingest *in, struct err *e)
{
	return failure(in, e);
}

int ingest_fail(struct ingest *in, int r, struct err *why, struct err *e)
{
	return give(in, r, why, e);
}

/* ---- making ---- */

/* Of the asked kind: all, or those with the property that the options name. */
static bool is_parent(const struct ingest *in, const struct snapshot *s)
{
	const struct property *p;

	if (!in->options.parent_key)
		return true;
	p = snapshot_get(s, in->options.parent_key);
	return p && p->type == PROPERTY_TEXT && !strcmp(p->text, in->options.parent_text);
}

static int load_parents(struct ingest *in, struct err *e)
{
	struct snapshot_list l;
	int r = snapshot_list(in->store, in->cluster, in->kind, &l, e);

	if (r < 0)
		return r;
	for (size_t i = l.n; i > 0 && in->n_parents < INGEST_PARENTS && l.n - i < PARENTS_LOOKED_AT; i--) {
		struct err why = {0};
		struct snapshot *s;

		/* A damaged parent costs deltas, not the backup. */
		if (snapshot_load(in->store, l.refs[i - 1].cluster, l.refs[i - 1].kind, l.refs[i - 1].id, &s,
			    &why) < 0)
			log_msg(in->store->log, LOG_LEVEL_WARNING, "%s; it is not used as a parent",
				why.text);
		else if (is_parent(in, s))
			in->parents[in->n_parents++] = s;
		else
			snapshot_free(s);
	}
	snapshot_list_free(&l);
	return 0;
}

static int make_workers(struct ingest *in)
{
	in->n_workers = in->options.threads + 1;
	in->workers = calloc(in->n_workers, sizeof(*in->workers));
	if (!in->workers)
		return -ENOMEM;
	for (unsigned i = 0; i < in->n_workers; i++) {
		int r = chunker_new(in->store, in->packing, in->chunk > NODE_MAX ? in->chunk : NODE_MAX,
			&in->workers[i].chunker);

		if (r < 0)
			return r;
		in->workers[i].buf = malloc(in->chunk);
		if (!in->workers[i].buf)
			return -ENOMEM;
	}
	return 0;
}

int ingest_new(struct store *s, const char *cluster, enum snapshot_kind kind, const struct ingest_options *o,
	struct ingest **ret, struct err *e)
{
	_cleanup_(ingest_freep) struct ingest *in = calloc(1, sizeof(*in));
	char what[100];
	int r = store_check_cluster_name(cluster, e);

	if (r < 0)
		return r;
	if (!in)
		return err_sys(e, -ENOMEM, "starting an ingest");
	in->store = s;
	in->options = o ? *o : (struct ingest_options){0};
	if (!in->options.threads)
		in->options.threads = pool_cpus();
	in->kind = kind;
	in->chunk = s->settings.chunk_size;
	in->chunk_shift = (unsigned)__builtin_ctz(in->chunk);
	pthread_mutex_init(&in->sorter_lock, NULL);
	pthread_mutex_init(&in->error_lock, NULL);
	pthread_mutex_init(&in->open_lock, NULL);
	pthread_mutex_init(&in->at_lock, NULL);
	in->cluster = strdup(cluster);
	if (!in->cluster)
		return err_sys(e, -ENOMEM, "starting an ingest");
	snprintf(what, sizeof(what), "%s backup of cluster %s", snapshot_kind_name(kind), cluster);
	r = packing_new(s, what, &in->packing, e);
	if (!r)
		r = load_parents(in, e);
	if (!r)
		r = sorter_new(s->scratch, SORT_MEMORY, &in->sorter, e);
	if (r < 0)
		return r;
	r = make_workers(in);
	if (!r)
		r = pool_new(in->options.threads, in->options.threads * QUEUE_PER_THREAD, &in->pool);
	if (r < 0)
		return err_sys(e, r, "starting an ingest");
	*ret = MOVE(in);
	return 0;
}

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

void ingest_free(struct ingest *in)
{
	struct err abandoned = {.code = -ECANCELED};

	if (!in)
		return;
	fail(in, -ECANCELED, &abandoned); /* what is queued is dropped, not done */
	pool_free(in->pool);
	while (in->open) {
		struct ingest_file *f = in->open;

		in->open = f->next_open;
		file_destroy(f);
	}
	for (unsigned i = 0; in->workers && i < in->n_workers; i++) {
		chunker_free(in->workers[i].chunker);
		free(in->workers[i].buf);
	}
	free(in->workers);
	packing_free(in->packing);
	sorter_free(in->sorter);
	ropes_free(in->ropes);
	for (unsigned i = 0; i < in->n_parents; i++)
		snapshot_free(in->parents[i]);
	pthread_mutex_destroy(&in->sorter_lock);
	pthread_mutex_destroy(&in->error_lock);
	pthread_mutex_destroy(&in->open_lock);
	pthread_mutex_destroy(&in->at_lock);
	free(in->at);
	free(in->cluster);
	free(in);
}

/* ---- entries ---- */

static int check_path(const char *path, struct err *e)
{
	const char *part = path;

	if (strlen(path) > PATH_BYTES)
		return err_set(e, -ENAMETOOLONG, "path %.60s… has more than %d bytes", path, PATH_BYTES);
	for (;;) {
		size_t len = strcspn(part, "/");

		if (!len || len > TREE_NAME_MAX || (len == 1 && *part == '.') ||
			(len == 2 && part[0] == '.' && part[1] == '.'))
			return err_set(
				e, -EINVAL, "path \"%.200s\" has a part that no file can be called", path);
		if (!part[len])
			return 0;
		part += len + 1;
	}
}

/* What the tree could not hold must not be found when it is read. */
static int check_meta(const char *path, const struct meta *m, struct err *e)
{
	if (m->mode > 07777 || m->mtime.nsec > 999999999)
		return err_set(e, -EINVAL, "%s: mode 0%o or time with %u nanoseconds is impossible", path,
			m->mode, m->mtime.nsec);
	return 0;
}

static int sort_entry(struct ingest *in, const char *path, const struct entry *en, struct err *e)
{
	_cleanup_(buf_free) struct buf b = {0};
	int r;

	pending_encode(en, &b);
	if (b.bad)
		return err_sys(e, -ENOMEM, "%s", path);
	pthread_mutex_lock(&in->sorter_lock);
	r = sorter_add(in->sorter, path, b.data, b.len, e);
	pthread_mutex_unlock(&in->sorter_lock);
	return r;
}

static int add_entry(struct ingest *in, const char *path, const struct entry *en, struct err *e)
{
	struct err why = {0};
	int r = failure(in, e);

	if (r < 0)
		return r;
	r = check_path(path, &why);
	if (!r)
		r = check_meta(path, &en->meta, &why);
	if (!r)
		r = sort_entry(in, path, en, &why);
	return r < 0 ? give(in, r, &why, e) : 0;
}

int ingest_dir(struct ingest *in, const char *path, const struct meta *m, struct err *e)
{
	struct entry en = {.type = ENTRY_DIR, .meta = *m};

	return add_entry(in, path, &en, e);
}

int ingest_symlink(
	struct ingest *in, const char *path, const struct meta *m, const char *target, struct err *e)
{
	struct entry en = {.type = ENTRY_SYMLINK, .meta = *m, .target = target};
	struct err why = {0};

	if (!*target || strlen(target) > TREE_TARGET_MAX) {
		err_set(&why, -EINVAL, "%s: a link target of %zu bytes", path, strlen(target));
		return give(in, -EINVAL, &why, e);
	}
	return add_entry(in, path, &en, e);
}

/* ---- files ---- */

/* The directory of a path in each parent. Files come directory by directory, so the way down is kept. */
static int find_dirs(struct ingest *in, const char *path, struct dir_ref ret[INGEST_PARENTS])
{
	const char *slash = strrchr(path, '/');
	_cleanup_(freep) char *dir = strndup(path, slash ? (size_t)(slash - path) : 0);

	if (!dir)
		return -ENOMEM;
	pthread_mutex_lock(&in->at_lock);
	if (!in->at || strcmp(in->at, dir)) {
		for (unsigned i = 0; i < in->n_parents; i++) {
			_cleanup_(freep) struct entry *en = NULL;

			/* An unreadable parent is no reference: the file is then stored by itself. */
			in->at_parent[i] = (struct dir_ref){0};
			if (!*dir)
				in->at_parent[i] = in->parents[i]->root;
			else if (tree_find(in->store, &in->parents[i]->root, dir, &en, NULL) == 0 &&
				 en->type == ENTRY_DIR)
				in->at_parent[i] = en->dir;
		}
		free(in->at);
		in->at = MOVE(dir);
	}
	memcpy(ret, in->at_parent, sizeof(in->at_parent));
	pthread_mutex_unlock(&in->at_lock);
	return 0;
}

/* What the newest parent that has this path as a file keeps of it. */
static int find_home(struct ingest_file *f)
{
	struct ingest *in = f->ingest;
	const char *slash = strrchr(f->path, '/');
	struct dir_ref dirs[INGEST_PARENTS];

	if (!in->n_parents || find_dirs(in, f->path, dirs) < 0)
		return 0;
	for (unsigned i = 0; i < in->n_parents; i++) {
		_cleanup_(freep) struct entry *en = NULL;

		if (tree_lookup(in->store, &dirs[i], slash ? slash + 1 : f->path, &en, NULL) < 0 ||
			en->type != ENTRY_FILE || en->file.inlined ||
			en->file.chunk_shift != in->chunk_shift || !en->file.size)
			continue;
		if (file_open(in->store, &en->file, &f->home, NULL) < 0)
			continue;
		f->home_size = en->file.size;
		f->home_stored = en->file.stored;
		return 0;
	}
	return 0;
}

static int file_make(struct ingest *in, const char *path, const struct meta *m, int fd,
	struct ingest_file **ret, struct err *e)
{
	struct ingest_file *f = calloc(1, sizeof(*f));
	int r = check_path(path, e);

	if (!r)
		r = check_meta(path, m, e);
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
		r = find_home(f);
	if (r < 0) {
		file_destroy(f);
		return r;
	}
	*ret = f;
	return 0;
}

int ingest_home_rope(struct ingest *in, const char *path, struct content *ret)
{
	const char *slash = strrchr(path, '/');
	struct dir_ref dirs[INGEST_PARENTS];

	if (!in->n_parents || find_dirs(in, path, dirs) < 0)
		return -ENOENT;
	for (unsigned i = 0; i < in->n_parents; i++) {
		_cleanup_(freep) struct entry *en = NULL;

		if (tree_lookup(in->store, &dirs[i], slash ? slash + 1 : path, &en, NULL) < 0 ||
			en->type != ENTRY_FILE || !content_is_rope(&en->file) || !en->file.size)
			continue;
		*ret = en->file;
		return 0;
	}
	return -ENOENT;
}

int ingest_add_file(
	struct ingest *in, const char *path, const struct meta *m, const struct content *c, struct err *e)
{
	struct entry en = {.type = ENTRY_FILE, .meta = *m, .file = *c};
	int r = add_entry(in, path, &en, e);

	if (!r)
		atomic_fetch_add(&in->files, 1);
	return r;
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
		r = sort_entry(in, f->path, &en, &why);
	if (!r) {
		atomic_fetch_add(&in->files, 1);
		if (in->options.on_file)
			r = in->options.on_file(in->options.arg, f->path, f->size, crc, &why);
	}
	if (r < 0)
		fail(in, r, &why);
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
		fail(in, r, &why);
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
			fail(in, r, &why);
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

static struct worker *own_worker(struct ingest *in)
{
	return &in->workers[in->n_workers - 1];
}

/* The maker's side ends without a last job: the file is empty, or something failed. Neither needs a chunker.
 */
static int abandon_or_complete(struct ingest_file *f, int r, const struct err *why, struct err *e)
{
	struct ingest *in = f->ingest;

	if (r < 0)
		fail(in, r, why);
	file_unref(f, NULL);
	return failure(in, e);
}

int ingest_file(
	struct ingest *in, const char *path, const struct meta *m, int fd, uint64_t size, struct err *e)
{
	struct ingest_file *f;
	struct err why = {0};
	int r = failure(in, e);

	if (r < 0) {
		close(fd);
		return r;
	}
	r = file_make(in, path, m, fd, &f, &why);
	if (r < 0)
		return give(in, r, &why, e);
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
	int r = failure(in, e);

	if (r < 0)
		return r;
	r = file_make(in, path, m, -1, &f, &why);
	if (r < 0)
		return give(in, r, &why, e);
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
	int r = failure(in, e);

	while (n && !r) {
		size_t part = n < cap - f->buffered ? n : cap - f->buffered;

		if (!f->buf && !(f->buf = malloc(cap))) {
			err_sys(&why, -ENOMEM, "%s", f->path);
			return give(in, -ENOMEM, &why, e);
		}
		memcpy(f->buf + f->buffered, from, part);
		f->buffered += part;
		f->size += part;
		from += part;
		n -= part;
		if (f->buffered == cap) {
			r = push(f, false, &why);
			if (r < 0)
				return give(in, r, &why, e);
			r = failure(in, e);
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
	return any && !r ? failure(in, e) : abandon_or_complete(f, r, &why, e);
}

int ingest_drain(struct ingest *in, struct err *e)
{
	pool_drain(in->pool);
	return failure(in, e);
}

void ingest_progress(struct ingest *in, struct ingest_stats *ret)
{
	*ret = (struct ingest_stats){
		.files = atomic_load(&in->files),
		.logical = atomic_load(&in->logical),
		.unique = atomic_load(&in->unique),
		.stored = packing_bytes(in->packing),
		.deltas = atomic_load(&in->deltas),
	};
}

/* ---- the end ---- */

static int emit_node(void *arg, const void *node, size_t n, struct digest *ret, struct err *e)
{
	struct ingest *in = arg;
	struct chunk_result res;
	int r = chunker_store(own_worker(in)->chunker, RECORD_NODE, node, n, NULL, &res, e);

	if (!r)
		*ret = res.id;
	return r;
}

static void treewriter_freep(struct treewriter **t)
{
	treewriter_free(*t);
}

static int write_tree(struct ingest *in, struct dir_ref *root, struct tree_totals *totals, struct err *e)
{
	_cleanup_(treewriter_freep) struct treewriter *t = NULL;
	const char *path;
	const void *data;
	size_t n;
	int r = treewriter_new(emit_node, in, &t);

	if (r < 0)
		return err_sys(e, r, "writing a tree");
	r = sorter_sort(in->sorter, e);
	if (r < 0)
		return r;
	while ((r = sorter_next(in->sorter, &path, &data, &n, e)) > 0) {
		struct entry en;

		r = pending_decode(data, n, &en, e);
		if (!r)
			r = treewriter_add(t, path, &en, e);
		if (r < 0)
			return r;
	}
	return r < 0 ? r : treewriter_finish(t, root, totals, e);
}

static int finish(struct ingest *in, struct snapshot *snap, struct err *e)
{
	struct tree_totals totals;
	int r;

	if (in->open)
		return err_set(e, -EBUSY, "%s was not closed", in->open->path);
	r = write_tree(in, &snap->root, &totals, e);
	if (!r)
		r = packing_seal(in->packing, e);
	if (r < 0)
		return r;
	snap->files = totals.files;
	snap->dirs = totals.dirs;
	snap->symlinks = totals.symlinks;
	snap->logical_bytes = totals.bytes;
	snap->unique_bytes = atomic_load(&in->unique);
	snap->stored_bytes = packing_bytes(in->packing);
	snap->kind = in->kind;
	free(snap->cluster);
	free(snap->parent);
	snap->cluster = strdup(in->cluster);
	snap->parent = in->n_parents ? strdup(in->parents[0]->id) : NULL;
	if (!snap->cluster || (in->n_parents && !snap->parent))
		return err_sys(e, -ENOMEM, "finishing a snapshot");
	return 0;
}

int ingest_finish(struct ingest *in, struct snapshot *snap, struct err *e)
{
	struct err why = {0};
	int r = ingest_drain(in, e);

	if (r < 0)
		return r;
	r = finish(in, snap, &why);
	if (r < 0)
		return give(in, r, &why, e);
	in->finished = true;
	return 0;
}

int ingest_publish(struct ingest *in, struct snapshot *snap, struct err *e)
{
	struct err why = {0};
	int r = in->finished ? failure(in, e) : ingest_finish(in, snap, e);

	if (r < 0)
		return r;
	r = packing_publish(in->packing, &why);
	/* After the barrier, which may have taken long: the lease must cover the moment of publishing. */
	if (!r)
		r = packing_renew(in->packing, &why);
	if (!r)
		r = snapshot_publish(in->store, snap, &why);
	return r < 0 ? give(in, r, &why, e) : 0;
}
