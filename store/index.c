/* The set of runs and the packs they cover.
 *
 * Runs are kept in tiers: when two neighbours in size differ by no more than two times they are merged, so
 * there are at most about log2(n) of them and each entry is merged about as often. Only the holder of
 * `changing` alters the set; merges run outside of `lock`, which is taken for writing just to swap. See
 * index.h. */
#include "store/index.h"

#include <dirent.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/clean.h"
#include "src/base/io.h"
#include "store/run.h"

#define OPEN_MAX 256	 /* pack handles kept open */
#define BATCH (1u << 20) /* entries of footers collected before they become a run */
#define NONE UINT32_MAX

struct packfile {
	struct digest name;
	uint64_t size;
	bool alive;   /* its object exists */
	bool shunned; /* but not for long */
	bool covered; /* a run has its entries */
	bool broken;  /* its footer could not be read: said once */
	bool seen;    /* by the listing under way */
};

/* An open pack, for reading. */
struct handle {
	struct object *object;
	uint32_t pack;
	unsigned users;
	uint64_t tick;
};

struct tier {
	struct run *run;
	uint32_t *pack; /* run's pack number -> ours */
};

struct index {
	struct backend *backend;
	struct log *log;
	char *dir;
	uint8_t repo_id[16];
	bool loaded;	   /* the cached runs were taken in; guarded by changing */
	atomic_bool lossy; /* see index_is_whole */

	pthread_mutex_t changing; /* rank 1; the right to alter the set of runs and packs */
	pthread_rwlock_t lock;	  /* rank 2; guards tiers, packs, table for readers */
	struct tier *tiers;	  /* largest first */
	size_t n_tiers;
	struct packfile *packs;
	uint32_t n_packs, cap_packs;
	uint32_t *table; /* open addressing: hash of a pack's name -> number, NONE: free */
	uint32_t table_size;

	pthread_mutex_t handles_lock; /* rank 3; guards handles, ticks */
	struct handle handles[OPEN_MAX];
	unsigned n_handles;
	uint64_t ticks;
};

int index_new(struct backend *b, const char *dir, const uint8_t repo_id[16], struct log *log,
	struct index **ret, struct err *e)
{
	struct index *ix = calloc(1, sizeof(*ix));

	if (!ix || (dir && !(ix->dir = strdup(dir)))) {
		free(ix);
		return err_sys(e, -ENOMEM, "the index");
	}
	ix->backend = b;
	ix->log = log;
	memcpy(ix->repo_id, repo_id, 16);
	pthread_mutex_init(&ix->changing, NULL);
	pthread_rwlock_init(&ix->lock, NULL);
	pthread_mutex_init(&ix->handles_lock, NULL);
	*ret = ix;
	return 0;
}

static void tier_free(struct tier *t)
{
	run_free(t->run);
	free(t->pack);
	*t = (struct tier){0};
}

void index_free(struct index *ix)
{
	if (!ix)
		return;
	for (size_t i = 0; i < ix->n_tiers; i++)
		tier_free(&ix->tiers[i]);
	for (unsigned i = 0; i < ix->n_handles; i++)
		object_close(ix->handles[i].object);
	pthread_mutex_destroy(&ix->changing);
	pthread_rwlock_destroy(&ix->lock);
	pthread_mutex_destroy(&ix->handles_lock);
	free(ix->tiers);
	free(ix->packs);
	free(ix->table);
	free(ix->dir);
	free(ix);
}

/* ---- packs by name; the caller holds `changing` ---- */

static uint32_t name_hash(const struct digest *d)
{
	return (uint32_t)d->b[0] | (uint32_t)d->b[1] << 8 | (uint32_t)d->b[2] << 16 | (uint32_t)d->b[3] << 24;
}

static uint32_t pack_number(const struct index *ix, const struct digest *name)
{
	if (!ix->table_size)
		return NONE;
	for (uint32_t i = name_hash(name) % ix->table_size;; i = (i + 1) % ix->table_size) {
		if (ix->table[i] == NONE)
			return NONE;
		if (digest_eq(&ix->packs[ix->table[i]].name, name))
			return ix->table[i];
	}
}

static void table_put(uint32_t *table, uint32_t size, const struct digest *name, uint32_t number)
{
	uint32_t i = name_hash(name) % size;

	while (table[i] != NONE)
		i = (i + 1) % size;
	table[i] = number;
}

static int grow_packs(struct index *ix)
{
	uint32_t cap = ix->cap_packs ? 2 * ix->cap_packs : 64, size = 2 * cap;
	uint32_t *table = malloc(size * sizeof(*table));
	struct packfile *packs = table ? reallocarray(ix->packs, cap, sizeof(*packs)) : NULL;

	if (!packs) {
		free(table);
		return -ENOMEM;
	}
	memset(table, 0xff, size * sizeof(*table));
	for (uint32_t i = 0; i < ix->n_packs; i++)
		table_put(table, size, &packs[i].name, i);
	free(ix->table);
	ix->packs = packs;
	ix->cap_packs = cap;
	ix->table = table;
	ix->table_size = size;
	return 0;
}

/* The pack's number, new or known; NONE without memory. Takes `lock` itself. */
static uint32_t pack_intern(struct index *ix, const struct digest *name)
{
	uint32_t n = pack_number(ix, name);

	if (n != NONE)
		return n;
	pthread_rwlock_wrlock(&ix->lock);
	if (ix->n_packs < ix->cap_packs || grow_packs(ix) == 0) {
		n = ix->n_packs++;
		ix->packs[n] = (struct packfile){.name = *name};
		table_put(ix->table, ix->table_size, name, n);
	}
	pthread_rwlock_unlock(&ix->lock);
	return n;
}

/* ---- the set of runs; the caller holds `changing` ---- */

static int tier_make(struct index *ix, struct run *run, struct tier *ret)
{
	struct tier t = {.run = run, .pack = calloc(run_packs(run) + 1, sizeof(*t.pack))};

	if (!t.pack)
		return -ENOMEM;
	for (uint32_t i = 0; i < run_packs(run); i++) {
		struct digest d = run_pack(run, i);

		t.pack[i] = pack_intern(ix, &d);
		if (t.pack[i] == NONE) {
			free(t.pack);
			return -ENOMEM;
		}
	}
	*ret = t;
	return 0;
}

static bool pack_alive(void *arg, const struct digest *name)
{
	const struct index *ix = arg;
	uint32_t n = pack_number(ix, name);

	return n != NONE && ix->packs[n].alive;
}

/* Puts a tier in its place by size, for which the array has room. The caller holds `lock` for writing. */
static void tier_place(struct index *ix, struct tier t)
{
	size_t at;

	for (at = ix->n_tiers; at > 0 && run_entries(ix->tiers[at - 1].run) < run_entries(t.run); at--)
		ix->tiers[at] = ix->tiers[at - 1];
	ix->tiers[at] = t;
	ix->n_tiers++;
	for (uint32_t i = 0; i < run_packs(t.run); i++)
		ix->packs[t.pack[i]].covered = true;
}

/* The same with making room. Takes `lock`. */
static int tier_insert(struct index *ix, struct tier t)
{
	struct tier *more;

	pthread_rwlock_wrlock(&ix->lock);
	more = reallocarray(ix->tiers, ix->n_tiers + 1, sizeof(*more));
	if (more) {
		ix->tiers = more;
		tier_place(ix, t);
	}
	pthread_rwlock_unlock(&ix->lock);
	return more ? 0 : -ENOMEM;
}

/* The smallest pair of neighbours that are of a size: the number of its second, 0 for none. */
static size_t mergeable(const struct index *ix)
{
	for (size_t i = ix->n_tiers; i-- > 1;)
		if (run_entries(ix->tiers[i - 1].run) <= 2 * run_entries(ix->tiers[i].run))
			return i;
	return 0;
}

/* Merges neighbours that are of a size. A merge that fails leaves what was there, and that is good enough. */
static void compact(struct index *ix)
{
	for (size_t at; (at = mergeable(ix));) {
		struct tier old[2] = {ix->tiers[at - 1], ix->tiers[at]}, t;
		struct run *pair[2] = {old[0].run, old[1].run}, *run;
		struct err why = {0};

		if (run_merge(ix->dir, ix->repo_id, pair, 2, pack_alive, ix, &run, &why) < 0) {
			log_msg(ix->log, LOG_LEVEL_WARNING, "%s; the index stays in pieces", why.text);
			return;
		}
		if (tier_make(ix, run, &t) < 0) {
			run_unlink(run);
			run_free(run);
			return;
		}
		pthread_rwlock_wrlock(&ix->lock);
		ix->n_tiers -= 2;
		memmove(ix->tiers + at - 1, ix->tiers + at + 1,
			(ix->n_tiers - (at - 1)) * sizeof(*ix->tiers));
		tier_place(ix, t);
		pthread_rwlock_unlock(&ix->lock);
		for (int i = 0; i < 2; i++) {
			run_unlink(old[i].run);
			tier_free(&old[i]);
		}
	}
}

/* A run in the cache folder, or in memory when the folder cannot take it: a full disk there must not fail a
 * backup. */
static int make_run(struct index *ix, const struct run_input *in, size_t n, struct run **ret, struct err *e)
{
	struct err why = {0};
	int r = run_build(ix->dir, ix->repo_id, in, n, ret, &why);

	if (r < 0 && ix->dir) {
		log_msg(ix->log, LOG_LEVEL_WARNING, "%s; this part of the index is kept in memory", why.text);
		return run_build(NULL, ix->repo_id, in, n, ret, e);
	}
	if (r < 0 && e)
		*e = why;
	return r;
}

static int add_run(struct index *ix, struct run *run, struct err *e)
{
	struct tier t;
	int r = tier_make(ix, run, &t);

	if (r < 0) {
		run_free(run);
		return err_sys(e, r, "the index");
	}
	r = tier_insert(ix, t);
	if (r < 0) {
		tier_free(&t);
		return err_sys(e, r, "the index");
	}
	compact(ix);
	return 0;
}

static void closedirp(DIR **d)
{
	if (*d)
		closedir(*d);
}

static int larger_first(const void *a, const void *b)
{
	uint64_t x = run_entries(*(struct run *const *)a), y = run_entries(*(struct run *const *)b);

	return x < y ? 1 : x > y ? -1 : 0;
}

/* True when every pack of the run is covered by the runs that were taken before it. */
static bool is_redundant(const struct index *ix, const struct run *run)
{
	for (uint32_t i = 0; i < run_packs(run); i++) {
		struct digest d = run_pack(run, i);
		uint32_t n = pack_number(ix, &d);

		if (n == NONE || !ix->packs[n].covered)
			return false;
	}
	return true;
}

static void remove_cached(const struct index *ix, const char *name)
{
	_cleanup_(freep) char *path = io_join(ix->dir, name);

	if (path)
		io_unlink(path);
}

/* Takes in the run files of the cache folder; bad, foreign and superfluous ones are removed: it is a cache.
 */
static int load_cached(struct index *ix, struct err *e)
{
	_cleanup_(closedirp) DIR *d = ix->dir ? opendir(ix->dir) : NULL;
	struct run **runs = NULL, **more;
	size_t n = 0;
	struct dirent *de;
	int r = 0;

	while (d && (de = readdir(d))) {
		struct err why = {0};
		struct run *run;

		if (strncmp(de->d_name, "run-", 4))
			continue;
		if (run_open(ix->dir, de->d_name, ix->repo_id, &run, &why) < 0) {
			log_msg(ix->log, LOG_LEVEL_INFO, "%s: removed and made anew", why.text);
			remove_cached(ix, de->d_name);
			continue;
		}
		more = reallocarray(runs, n + 1, sizeof(*more));
		if (!more) {
			run_free(run);
			r = err_sys(e, -ENOMEM, "the index");
			break;
		}
		runs = more;
		runs[n++] = run;
	}
	if (n)
		qsort(runs, n, sizeof(*runs), larger_first);
	for (size_t i = 0; i < n; i++) {
		struct tier t;

		if (r < 0 || is_redundant(ix, runs[i])) {
			if (!r)
				run_unlink(runs[i]);
			run_free(runs[i]);
			continue;
		}
		r = tier_make(ix, runs[i], &t);
		if (!r)
			r = tier_insert(ix, t);
		if (r < 0)
			run_free(runs[i]);
	}
	free(runs);
	return r < 0 ? err_sys(e, r, "the index") : 0;
}

struct listing {
	struct index *ix;
	int r;
};

static int list_pack(void *arg, const char *name, const struct object_info *info)
{
	struct listing *l = arg;
	struct digest d;
	uint32_t n;

	if (strncmp(name, "packs/", 6) || !digest_parse(name + 6, &d))
		return 0; /* not ours to judge; verify will name it */
	n = pack_intern(l->ix, &d);
	if (n == NONE)
		return l->r = -ENOMEM;
	l->ix->packs[n].seen = true;
	if (l->ix->packs[n].size != info->size) {
		pthread_rwlock_wrlock(&l->ix->lock);
		l->ix->packs[n].size = info->size;
		pthread_rwlock_unlock(&l->ix->lock);
	}
	return 0;
}

/* A batch of footers on its way to a run. */
struct batch {
	struct run_input *in;
	size_t n, cap, entries;
};

static void batch_free(struct batch *b)
{
	for (size_t i = 0; i < b->n; i++)
		free((void *)b->in[i].entries);
	free(b->in);
	*b = (struct batch){0};
}

static int batch_flush(struct index *ix, struct batch *b, struct err *e)
{
	struct run *run;
	int r = b->n ? make_run(ix, b->in, b->n, &run, e) : 0;

	if (!r && b->n)
		r = add_run(ix, run, e);
	batch_free(b);
	return r;
}

static int cover_packs(struct index *ix, struct err *e)
{
	_cleanup_(batch_free) struct batch b = {0};

	for (uint32_t i = 0; i < ix->n_packs; i++) {
		struct packfile *p = &ix->packs[i];
		struct pack_entry *entries;
		struct err why = {0};
		size_t n;
		int r;

		if (!p->alive || p->covered || p->broken)
			continue;
		r = pack_load_footer(ix->backend, &p->name, p->size, &entries, &n, &why);
		if (r == -ENOENT)
			continue; /* removed since it was listed */
		if (r == -EBADMSG) {
			log_msg(ix->log, LOG_LEVEL_ERROR, "%s; what only this pack holds cannot be read",
				why.text);
			p->broken = true;
			continue;
		}
		if (r < 0) {
			if (e)
				*e = why;
			return r;
		}
		if (b.n == b.cap) {
			size_t cap = b.cap ? 2 * b.cap : 16;
			struct run_input *more = reallocarray(b.in, cap, sizeof(*more));

			if (!more) {
				free(entries);
				return err_sys(e, -ENOMEM, "the index");
			}
			b.in = more;
			b.cap = cap;
		}
		b.in[b.n++] = (struct run_input){p->name, entries, n};
		b.entries += n;
		if (b.entries >= BATCH) {
			r = batch_flush(ix, &b, e);
			if (r < 0)
				return r;
		}
	}
	return batch_flush(ix, &b, e);
}

static int sync_locked(struct index *ix, struct err *e)
{
	struct listing l = {.ix = ix};
	bool lossy = false;
	int r = 0;

	if (!ix->loaded) {
		r = load_cached(ix, e);
		if (r < 0)
			return r;
		ix->loaded = true;
	}
	for (uint32_t i = 0; i < ix->n_packs; i++)
		ix->packs[i].seen = false;
	r = backend_list(ix->backend, "packs", list_pack, &l, e);
	if (l.r < 0)
		return err_sys(e, l.r, "the index");
	if (r < 0)
		return r;
	pthread_rwlock_wrlock(&ix->lock);
	for (uint32_t i = 0; i < ix->n_packs; i++)
		ix->packs[i].alive = ix->packs[i].seen;
	pthread_rwlock_unlock(&ix->lock);
	r = cover_packs(ix, e);
	for (uint32_t i = 0; i < ix->n_packs; i++)
		lossy |= ix->packs[i].broken || (ix->packs[i].covered && !ix->packs[i].alive);
	atomic_store(&ix->lossy, lossy);
	return r;
}

bool index_is_whole(struct index *ix)
{
	return !atomic_load(&ix->lossy);
}

int index_sync(struct index *ix, struct err *e)
{
	int r;

	pthread_mutex_lock(&ix->changing);
	r = sync_locked(ix, e);
	pthread_mutex_unlock(&ix->changing);
	return r;
}

int index_rebuild(struct index *ix, struct err *e)
{
	struct tier *old;
	size_t n;
	int r;

	pthread_mutex_lock(&ix->changing);
	pthread_rwlock_wrlock(&ix->lock);
	old = ix->tiers;
	n = ix->n_tiers;
	ix->tiers = NULL;
	ix->n_tiers = 0;
	for (uint32_t i = 0; i < ix->n_packs; i++)
		ix->packs[i].covered = ix->packs[i].broken = false;
	pthread_rwlock_unlock(&ix->lock);
	for (size_t i = 0; i < n; i++) {
		run_unlink(old[i].run);
		tier_free(&old[i]);
	}
	free(old);
	ix->loaded = true;
	r = sync_locked(ix, e);
	pthread_mutex_unlock(&ix->changing);
	return r;
}

int index_add(struct index *ix, const struct index_pack *packs, size_t n, struct err *e)
{
	struct run_input *in = calloc(n + 1, sizeof(*in));
	struct run *run;
	int r = 0;

	if (!in)
		return err_sys(e, -ENOMEM, "the index");
	pthread_mutex_lock(&ix->changing);
	for (size_t i = 0; i < n && !r; i++) {
		uint32_t number = pack_intern(ix, &packs[i].name);

		in[i] = (struct run_input){packs[i].name, packs[i].entries, packs[i].n};
		if (number == NONE) {
			r = err_sys(e, -ENOMEM, "the index");
			break;
		}
		pthread_rwlock_wrlock(&ix->lock);
		ix->packs[number].size = packs[i].size;
		ix->packs[number].alive = true;
		pthread_rwlock_unlock(&ix->lock);
	}
	if (!r)
		r = make_run(ix, in, n, &run, e);
	if (!r)
		r = add_run(ix, run, e);
	pthread_mutex_unlock(&ix->changing);
	free(in);
	return r;
}

static bool find(struct index *ix, const struct digest *id, bool lasting, struct place *ret)
{
	uint64_t before = 0; /* entries of the tiers passed */
	bool found = false;

	pthread_rwlock_rdlock(&ix->lock);
	for (size_t t = 0; t < ix->n_tiers && !found; t++) {
		struct run_place at;

		/* A place in a pack that is gone is no place: the next one may do. */
		for (unsigned nth = 0; !found && run_find(ix->tiers[t].run, id, nth, &at); nth++) {
			uint32_t pack = ix->tiers[t].pack[at.pack];

			if (!ix->packs[pack].alive || (lasting && ix->packs[pack].shunned))
				continue;
			*ret = (struct place){pack, at.off, at.len, at.kind, at.depth, before + at.entry};
			found = true;
		}
		before += run_entries(ix->tiers[t].run);
	}
	pthread_rwlock_unlock(&ix->lock);
	return found;
}

bool index_find(struct index *ix, const struct digest *id, struct place *ret)
{
	return find(ix, id, false, ret);
}

bool index_find_lasting(struct index *ix, const struct digest *id, struct place *ret)
{
	return find(ix, id, true, ret);
}

void index_shun(struct index *ix, const struct digest *pack)
{
	uint32_t n;

	pthread_mutex_lock(&ix->changing);
	n = pack_number(ix, pack);
	if (n != NONE) {
		pthread_rwlock_wrlock(&ix->lock);
		ix->packs[n].shunned = true;
		pthread_rwlock_unlock(&ix->lock);
	}
	pthread_mutex_unlock(&ix->changing);
}

bool index_pack_number(struct index *ix, const struct digest *pack, uint32_t *ret)
{
	bool known;
	uint32_t n;

	pthread_mutex_lock(&ix->changing);
	n = pack_number(ix, pack);
	known = n != NONE && ix->packs[n].covered;
	pthread_mutex_unlock(&ix->changing);
	if (known)
		*ret = n;
	return known;
}

uint32_t index_packs(struct index *ix)
{
	uint32_t n;

	pthread_rwlock_rdlock(&ix->lock);
	n = ix->n_packs;
	pthread_rwlock_unlock(&ix->lock);
	return n;
}

/* ---- reading ---- */

static struct digest pack_name(struct index *ix, uint32_t pack)
{
	struct digest d;

	pthread_rwlock_rdlock(&ix->lock);
	d = ix->packs[pack].name;
	pthread_rwlock_unlock(&ix->lock);
	return d;
}

char *index_object_name(struct index *ix, const struct place *at, char out[PACK_NAME_MAX])
{
	struct digest d = pack_name(ix, at->pack);

	return pack_object_name(&d, out);
}

/* Takes an open handle, opening the pack when none is. */
static int handle_take(struct index *ix, const struct place *at, struct handle **ret, struct err *e)
{
	char name[PACK_NAME_MAX];
	struct handle *h = NULL, *idle = NULL;
	struct object *o;
	int r = 0;

	index_object_name(ix, at, name);
	pthread_mutex_lock(&ix->handles_lock);
	for (unsigned i = 0; i < ix->n_handles && !h; i++) {
		struct handle *k = &ix->handles[i];

		if (k->object && k->pack == at->pack)
			h = k;
		else if (!k->users && (!idle || k->tick < idle->tick))
			idle = k;
	}
	if (!h) {
		if (ix->n_handles < OPEN_MAX)
			idle = &ix->handles[ix->n_handles];
		if (!idle) {
			r = err_set(e, -EMFILE, "all %d pack handles are in use", OPEN_MAX);
			goto out;
		}
		r = backend_open(ix->backend, name, &o, e);
		if (r < 0)
			goto out;
		if (idle == &ix->handles[ix->n_handles])
			ix->n_handles++;
		object_close(idle->object);
		*idle = (struct handle){.object = o, .pack = at->pack};
		h = idle;
	}
	h->users++;
	h->tick = ++ix->ticks;
	*ret = h;
out:
	pthread_mutex_unlock(&ix->handles_lock);
	return r;
}

static void handle_drop(struct index *ix, struct handle *h)
{
	pthread_mutex_lock(&ix->handles_lock);
	h->users--;
	pthread_mutex_unlock(&ix->handles_lock);
}

int index_read(struct index *ix, const struct place *at, void *p, struct err *e)
{
	struct handle *h = NULL;
	char name[PACK_NAME_MAX];
	ssize_t n;
	int r = handle_take(ix, at, &h, e);

	/* Another process may have removed the pack after putting its records elsewhere. */
	if (r == -ENOENT)
		return err_set(e, -ESTALE, "object %s is gone", index_object_name(ix, at, name));
	if (r < 0)
		return r;
	n = object_read(h->object, at->off, p, at->len, e);
	handle_drop(ix, h);
	if (n < 0)
		return (int)n;
	if ((size_t)n != at->len)
		return err_set(e, -EBADMSG, "object %s ends before %llu: it was truncated",
			index_object_name(ix, at, name), (unsigned long long)at->off + at->len);
	return 0;
}

void index_advise(struct index *ix, const struct place *at)
{
	struct handle *h;

	if (handle_take(ix, at, &h, NULL) < 0)
		return;
	object_advise(h->object, at->off, at->len);
	handle_drop(ix, h);
}

uint64_t index_entries(struct index *ix)
{
	uint64_t n = 0;

	pthread_rwlock_rdlock(&ix->lock);
	for (size_t i = 0; i < ix->n_tiers; i++)
		n += run_entries(ix->tiers[i].run);
	pthread_rwlock_unlock(&ix->lock);
	return n;
}

uint64_t index_pack_bytes(struct index *ix)
{
	uint64_t n = 0;

	pthread_rwlock_rdlock(&ix->lock);
	for (uint32_t i = 0; i < ix->n_packs; i++)
		n += ix->packs[i].alive ? ix->packs[i].size : 0;
	pthread_rwlock_unlock(&ix->lock);
	return n;
}
