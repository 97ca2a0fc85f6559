/* Checking base backups by what they are. See base_check.h.
 *
 * One thread walks a snapshot's tree and hands each file to the pool; a file is read once, for its checksum and for its
 * pages. */
#include "src/capture/base_check.h"

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
#include "src/capture/base_sink.h"
#include "src/capture/checksum.h"
#include "src/capture/manifest_file.h"
#include "src/pg/control.h"
#include "src/pg/datadir.h"
#include "src/pg/page.h"
#include "src/pit/pit.h"
#include "store/digestset.h"
#include "store/file.h"
#include "store/snapshot.h"

#define QUEUE 4 /* files a thread that wait */

CLEANUP_DEFINE(struct snapshot, snapshot_free)
CLEANUP_DEFINE(struct file, file_free)

struct check {
	struct store *s;
	const struct base_check_options *o;
	struct pool *pool;
	base_check_fn *fn;
	void *arg;

	/* The snapshot under way; set while no job runs. */
	const struct snapshot *snap;
	struct manifest_check *manifest; /* NULL: not asked for, or there is none */
	bool pages;
	uint32_t block_size, segment_blocks;
	struct lsn from, to;

	pthread_mutex_t lock; /* rank: leaf; guards what follows, and calls of fn */
	struct base_check_report report;
	struct digestset sound; /* what was read and found to be right: see key_of */
	int r;
	struct err e;
};

/* A file to be read. */
struct job {
	struct check *c;
	struct entry *en;
	char *path;		    /* in the snapshot */
	char local[BASE_LOCAL_MAX]; /* in the data directory */
	struct manifest_file listed;
	struct manifest_scratch scratch;
	bool compare, pages;
	struct datadir_rel rel;
	/* Damaged pages that follow each other, not told yet. */
	uint32_t first, n;
	struct err why;
};

/* What a job's file is read with. */
struct reading {
	uint32_t crc;
	struct checksum *sum; /* NULL: the CRC is enough */
	uint64_t off, pages, replaced;
	uint8_t page[PAGE_SIZE_MAX]; /* that lies across two pieces */
	size_t have;
};

static bool stopped(const struct check *c)
{
	return c->o->stop && *c->o->stop;
}

static void fail(struct check *c, int r, const struct err *e)
{
	pthread_mutex_lock(&c->lock);
	if (!c->r) {
		c->r = r;
		c->e = *e;
	}
	pthread_mutex_unlock(&c->lock);
}

static bool failed(struct check *c)
{
	int r;

	pthread_mutex_lock(&c->lock);
	r = c->r;
	pthread_mutex_unlock(&c->lock);
	return r || stopped(c);
}

/* ---- telling ---- */

static void tell_file(struct check *c, const char *path, const char *why)
{
	struct base_check_finding f = {.kind = BASE_CHECK_FILE,
		.cluster = c->snap->cluster,
		.snapshot = c->snap->id,
		.path = path,
		.why = why};

	pthread_mutex_lock(&c->lock);
	c->report.bad_files++;
	c->fn(c->arg, &f);
	pthread_mutex_unlock(&c->lock);
}

static void tell_pages(struct job *j)
{
	struct check *c = j->c;
	uint64_t in_file = j->first - (uint64_t)j->rel.segment * c->segment_blocks;
	struct base_check_finding f = {.kind = BASE_CHECK_PAGES,
		.cluster = c->snap->cluster,
		.snapshot = c->snap->id,
		.path = j->path,
		.why = j->why.text,
		.block = j->first,
		.blocks = j->n,
		.from = in_file * c->block_size,
		.to = (in_file + j->n) * c->block_size};

	if (!j->n)
		return;
	pthread_mutex_lock(&c->lock);
	c->report.bad_pages += j->n;
	c->fn(c->arg, &f);
	pthread_mutex_unlock(&c->lock);
	j->n = 0;
}

/* Called by the manifest's check with its lock held; ours is below it. */
static void on_difference(void *arg, const char *path, const char *what)
{
	char in_snapshot[BASE_PATH_MAX];

	tell_file(arg, base_snapshot_path(path, in_snapshot), what);
}

/* ---- what is known already ---- */

/* Names a content together with all that its being right depends on: where its blocks count from, and what the manifest says of
 * it. Zero: it has no name. */
static struct digest key_of(const struct job *j)
{
	const struct content *f = &j->en->file;
	struct {
		uint64_t size;
		uint32_t shift, segment, pages, compare, algorithm, height;
		struct digest map;
		uint8_t listed[MANIFEST_DIGEST_MAX];
	} k;

	if (f->inlined || !f->size)
		return (struct digest){0};
	memset(&k, 0, sizeof(k));
	k.size = f->size;
	k.shift = f->chunk_shift;
	k.height = f->height;
	k.map = f->map;
	k.pages = j->pages;
	k.segment = j->pages ? j->rel.segment : 0;
	k.compare = j->compare;
	if (j->compare) {
		k.algorithm = j->listed.algorithm;
		memcpy(k.listed, j->listed.digest, manifest_digest_len(j->listed.algorithm));
	}
	return digest_of(&k, sizeof(k));
}

static bool is_known(struct check *c, const struct digest *key)
{
	bool r;

	pthread_mutex_lock(&c->lock);
	r = !digest_is_zero(key) && digestset_has(&c->sound, key);
	pthread_mutex_unlock(&c->lock);
	return r;
}

static int know(struct check *c, const struct digest *key)
{
	int r = 0;

	pthread_mutex_lock(&c->lock);
	if (!digest_is_zero(key))
		r = digestset_add(&c->sound, key);
	pthread_mutex_unlock(&c->lock);
	return r < 0 ? r : 0;
}

/* ---- pages ---- */

static void one_page(struct job *j, struct reading *rd, const uint8_t *p)
{
	struct check *c = j->c;
	struct blkno block = {(uint32_t)(j->rel.segment * (uint64_t)c->segment_blocks + rd->pages)};
	struct page_facts facts;
	char lsn[LSN_TEXT];
	enum page_state state = page_check(p, c->block_size, block, c->from, c->to, &facts);

	rd->pages++;
	rd->replaced += state == PAGE_REPLACED;
	if (state != PAGE_DAMAGED) {
		tell_pages(j);
		return;
	}
	if (!j->n) {
		j->first = block.v;
		err_set(&j->why, -EBADMSG, "checksum %04X instead of %04X, LSN %s", facts.stored,
			facts.computed, lsn_text(facts.lsn, lsn));
	}
	j->n++;
}

/* A page that the file's end cuts is being added, and the WAL has it. */
static void pages_of(struct job *j, struct reading *rd, const uint8_t *p, size_t n)
{
	size_t size = j->c->block_size;

	if (rd->have) {
		size_t take = size - rd->have < n ? size - rd->have : n;

		memcpy(rd->page + rd->have, p, take);
		rd->have += take;
		p += take;
		n -= take;
		if (rd->have < size)
			return;
		one_page(j, rd, rd->page);
		rd->have = 0;
	}
	for (; n >= size; p += size, n -= size)
		one_page(j, rd, p);
	memcpy(rd->page, p, n);
	rd->have = n;
}

/* ---- files ---- */

static int read_all(struct job *j, struct file *f, struct reading *rd, struct err *e)
{
	uint64_t size = file_size(f);
	int r = 0;

	while (rd->off < size && !r) {
		struct slice sl;
		unsigned n = 1;

		if (failed(j->c))
			return -EINTR;
		r = file_slices(f, rd->off, file_chunk_size(f), &sl, &n, e);
		if (r < 0)
			break;
		if (j->compare && !rd->sum)
			rd->crc = crc32c(rd->crc, sl.p, sl.len);
		else if (rd->sum)
			r = checksum_update(rd->sum, sl.p, sl.len, e);
		if (j->pages)
			pages_of(j, rd, sl.p, sl.len);
		rd->off += sl.len;
		meter_add(j->c->o->meter, sl.len, 0);
		slice_release(&sl);
	}
	return r;
}

/* What was read, against the manifest. *ret: it is right. */
static int compare(struct job *j, struct reading *rd, bool *ret, struct err *e)
{
	struct manifest_check *mc = j->c->manifest;
	uint8_t digest[MANIFEST_DIGEST_MAX] = {0};
	size_t n = strlen(j->local);
	int r = 0;

	if (!j->compare)
		return 0;
	if (!rd->sum) {
		*ret = j->listed.size == rd->off &&
		       (j->listed.algorithm == MANIFEST_NONE || manifest_crc32c_is(&j->listed, rd->crc));
		return manifest_check_crc(mc, j->local, n, rd->off, rd->crc, e);
	}
	r = checksum_final(rd->sum, digest, e);
	if (r < 0)
		return r;
	*ret = j->listed.size == rd->off &&
	       !memcmp(digest, j->listed.digest, manifest_digest_len(j->listed.algorithm));
	return manifest_check_sha(mc, j->local, n, rd->off, digest, e);
}

static int check_file(struct job *j, struct reading *rd, struct err *e)
{
	_cleanup_(file_freep) struct file *f = NULL;
	struct check *c = j->c;
	struct digest key = key_of(j);
	bool right = true;
	int r = 0;

	if (is_known(c, &key)) {
		meter_add(c->o->meter, j->en->file.size, 0);
		return j->compare ? manifest_check_known(
					    c->manifest, j->local, strlen(j->local), j->en->file.size, e)
				  : 0;
	}
	if (j->compare && manifest_is_sha(j->listed.algorithm))
		r = checksum_new(j->listed.algorithm, &rd->sum, e);
	if (!r)
		r = file_open(c->s, &j->en->file, &f, e);
	if (!r)
		r = read_all(j, f, rd, e);
	tell_pages(j);
	if (r == -EBADMSG || r == -ENODATA || r == -EIO) {
		tell_file(c, j->path, e->text);
		return j->compare ? manifest_check_known(
					    c->manifest, j->local, strlen(j->local), j->en->file.size, e)
				  : 0;
	}
	if (!r)
		r = compare(j, rd, &right, e);
	pthread_mutex_lock(&c->lock);
	c->report.files++;
	c->report.pages += rd->pages;
	c->report.replaced += rd->replaced;
	right = right && !j->why.code && !rd->replaced;
	pthread_mutex_unlock(&c->lock);
	if (!r && right && know(c, &key) < 0)
		r = err_sys(e, -ENOMEM, "%s", j->path);
	return r;
}

static void job_free(struct job *j)
{
	free(j->en);
	free(j->path);
	free(j);
}

static void run(void *arg, unsigned worker)
{
	struct job *j = arg;
	struct reading rd = {0};
	struct err e = {0};
	int r;

	(void)worker;
	r = failed(j->c) ? 0 : check_file(j, &rd, &e);
	if (r < 0 && r != -EINTR)
		fail(j->c, r, &e);
	checksum_free(rd.sum);
	job_free(j);
}

/* ---- a snapshot ---- */

struct level {
	struct check *c;
	const char *path; /* "" at the root */
	struct err *e;
};

/* What is to be asked of this file: nothing is submitted when that is nothing. */
static int on_file(const struct level *l, char *path, const struct entry *en)
{
	struct check *c = l->c;
	struct job *j = calloc(1, sizeof(*j));
	int r;

	if (!j || !(j->en = entry_dup(en))) {
		free(j);
		free(path);
		return err_sys(l->e, -ENOMEM, "verify");
	}
	j->c = c;
	j->path = path;
	if (!base_local_path(path, j->local)) {
		job_free(j);
		return 0;
	}
	j->pages = c->pages && datadir_is_relation(j->local, strlen(j->local), &j->rel) && !j->rel.temporary;
	if (c->manifest && !datadir_verify_ignores(j->local, strlen(j->local))) {
		j->compare = true;
		r = manifest_check_find(
			c->manifest, j->local, strlen(j->local), &j->scratch, &j->listed, l->e);
		if (r < 0) {
			job_free(j);
			return r;
		}
	}
	if (!j->compare && !j->pages) {
		meter_add(c->o->meter, en->file.size, 0);
		job_free(j);
		return 0;
	}
	pool_submit(c->pool, run, j);
	return 0;
}

static int on_entry(void *arg, const struct entry *en)
{
	const struct level *l = arg;
	char *path = *l->path ? io_join(l->path, en->name) : strdup(en->name);
	struct level below = {l->c, path, l->e};
	int r = 0;

	if (!path)
		return err_sys(l->e, -ENOMEM, "verify");
	if (failed(l->c)) {
		free(path);
		return -EINTR;
	}
	switch (en->type) {
	case ENTRY_FILE:
		return on_file(l, path, en);
	case ENTRY_DIR:
		r = tree_walk(l->c->s, &en->dir, 0, on_entry, &below, l->e);
		/* Which files there are is not known: that is lost, and the rest goes on. */
		if (r == -EBADMSG || r == -ENODATA || r == -EIO) {
			tell_file(l->c, path, l->e->text);
			*l->e = (struct err){0};
			r = 0;
		}
		break;
	case ENTRY_SYMLINK:
		break;
	}
	free(path);
	return r;
}

/* The bytes of a file of the snapshot, into a nameless file: a manifest can be large. 1, or 0: it is not there. */
static int open_manifest(struct check *c, struct manifest_source **ret, struct err *e)
{
	_cleanup_(manifest_source_freep) struct manifest_source *m = NULL;
	_cleanup_(file_freep) struct file *f = NULL;
	_cleanup_(freep) struct entry *en = NULL;
	int r = tree_find(c->s, &c->snap->root, BASE_DATA "/" MANIFEST_PATH, &en, e);

	if (r == -ENOENT)
		return 0;
	if (!r)
		r = file_open(c->s, &en->file, &f, e);
	if (!r)
		r = manifest_source_begin(store_scratch(c->s), MANIFEST_PATH, &m, e);
	for (uint64_t off = 0; !r && off < file_size(f);) {
		struct slice sl;
		unsigned n = 1;

		r = file_slices(f, off, file_chunk_size(f), &sl, &n, e);
		if (r < 0)
			break;
		r = manifest_source_append(m, sl.p, sl.len, e);
		off += sl.len;
		slice_release(&sl);
	}
	if (!r)
		r = manifest_source_end(m, e);
	if (r < 0)
		return r;
	*ret = MOVE(m);
	return 1;
}

static int read_control(struct check *c, struct control *ret, struct err *e)
{
	_cleanup_(file_freep) struct file *f = NULL;
	_cleanup_(freep) struct entry *en = NULL;
	uint8_t p[CONTROL_FILE_SIZE];
	ssize_t n;
	int r = tree_find(c->s, &c->snap->root, BASE_DATA "/" CONTROL_PATH, &en, e);

	if (!r)
		r = file_open(c->s, &en->file, &f, e);
	if (r < 0)
		return r;
	n = file_read(f, 0, p, sizeof(p), e);
	return n < 0 ? (int)n : control_parse(p, (size_t)n, ret, e);
}

/* Damage keeps one thing of one snapshot from being checked, which is told; other errors end it all. */
static int or_tell(struct check *c, int r, const char *path, struct err *e)
{
	if (r != -EBADMSG && r != -ENODATA && r != -EIO && r != -ENOENT && r != -EOPNOTSUPP)
		return r;
	tell_file(c, path, e->text);
	*e = (struct err){0};
	return 0;
}

static int begin_pages(struct check *c, struct err *e)
{
	struct control control;
	int r;

	c->pages = false;
	if (!c->o->pages)
		return 0;
	r = read_control(c, &control, e);
	if (r < 0)
		return or_tell(c, r, BASE_DATA "/" CONTROL_PATH, e);
	c->pages = control.data_checksum_version != 0;
	c->report.no_checksums += !c->pages;
	c->block_size = control.block_size;
	c->segment_blocks = control.relseg_blocks;
	c->from = pit_lsn_of(c->snap, "start_lsn");
	c->to = pit_lsn_of(c->snap, "stop_lsn");
	return 0;
}

static int check_tree(struct check *c, struct err *e)
{
	struct level top = {c, "", e};
	struct err why = {0};
	int r = tree_walk(c->s, &c->snap->root, 0, on_entry, &top, e);

	pool_drain(c->pool);
	r = or_tell(c, r, "", e);
	if (r || c->r || stopped(c) || !c->manifest)
		return r;
	/* What is missing; each difference was told. */
	r = manifest_check_finish(c->manifest, &why);
	return r == -EBADMSG ? 0 : r < 0 ? err_set(e, r, "%s", why.text) : 0;
}

static int check_snapshot(struct check *c, struct err *e)
{
	_cleanup_(manifest_source_freep) struct manifest_source *source = NULL;
	_cleanup_(manifest_check_freep) struct manifest_check *mc = NULL;
	int r = begin_pages(c, e);

	if (!r && c->o->manifest) {
		r = open_manifest(c, &source, e);
		c->report.no_manifest += r == 0;
		if (r > 0)
			r = manifest_check_new(MANIFEST_PATH, manifest_source_bytes(source),
				manifest_source_len(source), &mc, e);
		r = or_tell(c, r, BASE_DATA "/" MANIFEST_PATH, e);
	}
	if (r < 0)
		return r;
	if (mc)
		manifest_check_tell(mc, on_difference, c);
	c->manifest = mc;
	c->report.snapshots++;
	if (mc || c->pages)
		r = check_tree(c, e);
	else
		meter_add(c->o->meter, c->snap->logical_bytes, 0);
	c->manifest = NULL;
	return r;
}

/* ---- all of them ---- */

typedef int each_fn(struct check *c, struct err *e);

static int each(struct check *c, const struct snapshot_list *l, each_fn *fn, struct err *e)
{
	int r = 0;

	for (size_t i = 0; i < l->n && !r && !c->r && !stopped(c); i++) {
		_cleanup_(snapshot_freep) struct snapshot *snap = NULL;

		/* One that is damaged was told by whoever verified the repository; or it was pruned meanwhile. */
		r = snapshot_load(c->s, l->refs[i].cluster, l->refs[i].kind, l->refs[i].id, &snap, e);
		if (r == -ENOMEM)
			return r;
		if (r < 0 || (c->o->since.sec && tstamp_cmp(snap->created, c->o->since) < 0)) {
			*e = (struct err){0};
			r = 0;
			continue;
		}
		c->snap = snap;
		r = fn(c, e);
	}
	return r;
}

static int add_bytes(struct check *c, struct err *e)
{
	(void)e;
	if (c->o->meter)
		meter_total(c->o->meter, atomic_load_explicit(&c->o->meter->total, memory_order_relaxed) +
						 c->snap->logical_bytes);
	return 0;
}

int base_check(struct store *s, const struct base_check_options *o, base_check_fn *fn, void *arg,
	struct base_check_report *ret, struct err *e)
{
	struct check c = {.s = s, .o = o, .fn = fn, .arg = arg};
	unsigned threads = o->threads ? o->threads : pool_cpus();
	struct snapshot_list l = {0};
	struct err why = {0};
	int r;

	pthread_mutex_init(&c.lock, NULL);
	r = snapshot_list(s, o->cluster, SNAPSHOT_BASE, &l, &why);
	if (!r && pool_new(threads, threads * QUEUE, &c.pool) < 0)
		r = err_sys(&why, -ENOMEM, "verify");
	if (!r)
		r = each(&c, &l, add_bytes, &why);
	if (!r)
		r = each(&c, &l, check_snapshot, &why);
	pool_free(c.pool);
	if (c.r) {
		r = c.r;
		why = c.e;
	} else if (stopped(&c)) {
		r = err_set(&why, -EINTR, "stopped");
	}
	snapshot_list_free(&l);
	digestset_release(&c.sound);
	pthread_mutex_destroy(&c.lock);
	*ret = c.report;
	return r < 0 ? err_set(e, r, "%s", why.text) : 0;
}
