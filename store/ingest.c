/* One snapshot being written: finished files (ingest_file.c, ingest_rope.c) go to the sorter, the sorted entries become the
 * tree, and the snapshot is published last. See ingest.h. */
#include "store/ingest.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/clean.h"
#include "src/base/pool.h"
#include "store/ingest_priv.h"
#include "store/node.h"
#include "store/repo.h"
#include "store/rope.h"
#include "store/sorter.h"
#include "store/treewriter.h"

#define PARENTS_LOOKED_AT 1000 /* snapshots */
#define QUEUE_PER_THREAD 8     /* jobs that wait: each an open file or PUSH_BYTES of memory */
#define SORT_MEMORY (32u << 20)
#define PATH_BYTES 4095

CLEANUP_DEFINE(struct ingest, ingest_free)

/* ---- errors ---- */

int ingest_stick(struct ingest *in, int r, const struct err *why)
{
	pthread_mutex_lock(&in->error_lock);
	if (!atomic_load(&in->failed)) {
		in->error = *why;
		atomic_store(&in->failed, r);
	}
	pthread_mutex_unlock(&in->error_lock);
	return r;
}

int ingest_failed(struct ingest *in, struct err *e)
{
	int r = atomic_load(&in->failed);

	if (r < 0 && e) {
		pthread_mutex_lock(&in->error_lock);
		*e = in->error;
		pthread_mutex_unlock(&in->error_lock);
	}
	return r;
}

int ingest_fail(struct ingest *in, int r, const struct err *why, struct err *e)
{
	ingest_stick(in, r, why);
	return ingest_failed(in, e);
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
		int r2 = snapshot_load(
			in->store, l.refs[i - 1].cluster, l.refs[i - 1].kind, l.refs[i - 1].id, &s, &why);

		if (r2 == -ENOENT) /* pruned since it was listed */
			continue;
		/* A damaged parent costs deltas, not the backup. */
		if (r2 < 0)
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

void ingest_free(struct ingest *in)
{
	struct err abandoned = {.code = -ECANCELED};

	if (!in)
		return;
	ingest_stick(in, -ECANCELED, &abandoned); /* what is queued is dropped, not done */
	pool_free(in->pool);
	ingest_files_abandon(in);
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

int ingest_check_entry(const char *path, const struct meta *m, struct err *e)
{
	int r = check_path(path, e);

	if (r < 0)
		return r;
	if (m->mode > 07777 || m->mtime.nsec > 999999999)
		return err_set(e, -EINVAL, "%s: mode 0%o or time with %u nanoseconds is impossible", path,
			m->mode, m->mtime.nsec);
	return 0;
}

int ingest_sort_entry(struct ingest *in, const char *path, const struct entry *en, struct err *e)
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
	int r = ingest_failed(in, e);

	if (r < 0)
		return r;
	r = ingest_check_entry(path, &en->meta, &why);
	if (!r)
		r = ingest_sort_entry(in, path, en, &why);
	return r < 0 ? ingest_fail(in, r, &why, e) : 0;
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
		return ingest_fail(in, -EINVAL, &why, e);
	}
	return add_entry(in, path, &en, e);
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

int ingest_drain(struct ingest *in, struct err *e)
{
	pool_drain(in->pool);
	return ingest_failed(in, e);
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

static struct worker *own_worker(struct ingest *in)
{
	return &in->workers[in->n_workers - 1];
}

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
		return err_set(e, -EBUSY, "%s was not closed", ingest_file_path(in->open));
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
		return ingest_fail(in, r, &why, e);
	in->finished = true;
	return 0;
}

int ingest_publish(struct ingest *in, struct snapshot *snap, struct err *e)
{
	struct err why = {0};
	int r = in->finished ? ingest_failed(in, e) : ingest_finish(in, snap, e);

	if (r < 0)
		return r;
	r = packing_publish(in->packing, &why);
	/* After the barrier, which may have taken long: the lease must cover the moment of publishing. */
	if (!r)
		r = packing_renew(in->packing, &why);
	if (!r)
		r = snapshot_publish(in->store, snap, &why);
	return r < 0 ? ingest_fail(in, r, &why, e) : 0;
}
