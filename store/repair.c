/* Repair, in rounds: verify, save, take, quarantine; until a round finds nothing more to do. A round can uncover what the next
 * one handles: a snapshot that was taken back has a tree of its own, a base that is gone makes its deltas unreadable. */
#include "store/repair.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "src/base/clean.h"
#include "src/base/io.h"
#include "store/chunker.h"
#include "store/lease.h"
#include "store/packing.h"
#include "store/pruned.h"
#include "store/salvage.h"
#include "store/verify_priv.h"
#include "store/wal.h"

#define QUARANTINE "quarantine/"
#define PIECE (1u << 20)
#define ROUNDS 1000 /* more than any chain of deltas or path of directories is long */

CLEANUP_DEFINE(struct packing, packing_free)
CLEANUP_DEFINE(struct chunker, chunker_free)
CLEANUP_DEFINE(struct object, object_close)
CLEANUP_DEFINE(struct upload, upload_free)
CLEANUP_DEFINE(struct file, file_free)

struct names {
	char **v; /* sorted, each once, when they are used */
	size_t n, cap;
};

struct missing {
	struct digest id;
	int kind;
};

struct repair {
	struct store *s;
	const struct repair_options *o;
	struct repair_report *report;
	/* Of the round under way. */
	struct names damaged;
	/* Sound, but for deltas whose bases cannot be had: which may be about to come back. */
	struct names orphaned;
	struct digestset known; /* of missing */
	struct missing *missing;
	size_t n_missing, cap_missing;
	bool no_memory;
	struct names gone; /* snapshots and files of WAL that this run put away */
	/* Set when a round changed something. */
	bool progress;
};

static void names_clear(struct names *all)
{
	for (size_t i = 0; i < all->n; i++)
		free(all->v[i]);
	free(all->v);
	*all = (struct names){0};
}

static int names_add(struct names *all, const char *name)
{
	if (all->n && !strcmp(all->v[all->n - 1], name))
		return 0;
	if (all->n == all->cap) {
		size_t cap = all->cap ? 2 * all->cap : 64;
		char **more = reallocarray(all->v, cap, sizeof(*more));

		if (!more)
			return -ENOMEM;
		all->v = more;
		all->cap = cap;
	}
	all->v[all->n] = strdup(name);
	return all->v[all->n] ? (int)(all->n++, 0) : -ENOMEM;
}

static int by_text(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static void names_sort(struct names *all)
{
	size_t n = 0;

	if (all->n)
		qsort(all->v, all->n, sizeof(*all->v), by_text);
	for (size_t i = 0; i < all->n; i++) {
		if (n && !strcmp(all->v[n - 1], all->v[i]))
			free(all->v[i]);
		else
			all->v[n++] = all->v[i];
	}
	all->n = n;
}

static bool is_in(const char *name, const char *folder)
{
	return !strncmp(name, folder, strlen(folder));
}

/* ---- looking ---- */

static void on_finding(void *arg, const struct verify_finding *f)
{
	struct repair *p = arg;

	if (f->kind != VERIFY_LOST && *f->object &&
		names_add(f->base ? &p->orphaned : &p->damaged, f->object) < 0)
		p->no_memory = true;
}

static int on_missing(void *arg, const struct digest *id, int kind, struct err *e)
{
	struct repair *p = arg;
	int r = digestset_add(&p->known, id);

	if (!r)
		return 0;
	if (r > 0 && p->n_missing == p->cap_missing) {
		size_t cap = p->cap_missing ? 2 * p->cap_missing : 256;
		struct missing *more = reallocarray(p->missing, cap, sizeof(*more));

		if (more) {
			p->missing = more;
			p->cap_missing = cap;
		} else {
			r = -ENOMEM;
		}
	}
	if (r < 0)
		return err_sys(e, r, "repair");
	p->missing[p->n_missing++] = (struct missing){*id, kind};
	return 0;
}

static int look(struct repair *p, struct verify_report *ret, struct err *e)
{
	const struct verify_options o = {
		.threads = p->o->threads,
		.meter = p->o->meter,
		.stop = p->o->stop,
		.on_missing = on_missing,
	};
	int r;

	names_clear(&p->damaged);
	names_clear(&p->orphaned);
	digestset_release(&p->known);
	p->n_missing = 0;
	r = store_verify(p->s, &o, on_finding, p, ret, e);
	names_sort(&p->damaged);
	names_sort(&p->orphaned);
	return r ? r : p->no_memory ? err_sys(e, -ENOMEM, "repair") : 0;
}

/* ---- saving ---- */

struct saving {
	struct repair *repair;
	struct packing *to;
};

static int save(void *arg, const struct record *rec, const struct digest *id, struct err *e)
{
	struct saving *sv = arg;
	uint32_t len;
	int r = packing_claim(sv->to, id, &len);

	if (r != -ENOENT)
		return r < 0 ? err_sys(e, r, "repair") : 0;
	sv->repair->report->saved++;
	return packing_put(sv->to, rec, id, e);
}

static int save_packs(struct repair *p, struct packing *to, struct err *e)
{
	struct saving sv = {p, to};
	int r = 0;

	for (size_t i = 0; i < p->damaged.n && !r; i++) {
		uint64_t lost = 0;

		if (!is_in(p->damaged.v[i], "packs/"))
			continue;
		r = salvage_pack(p->s, p->damaged.v[i], save, &sv, &lost, e);
		p->report->lost += lost;
		if (!r)
			r = packing_renew(to, e);
	}
	return r;
}

/* ---- taking ---- */

/* The other repository does not have it, or cannot give it: that is no error, unless it is this process's own. */
static int not_given(struct repair *p, const char *what, int r, const struct err *why, struct err *e)
{
	if (verify_is_ours(r))
		return err_set(e, r, "%s", why->text);
	if (r != -ENOENT && r != -ENODATA)
		log_msg(p->o->log, LOG_LEVEL_WARNING, "%s cannot be taken from the other repository: %s",
			what, why->text);
	return 0;
}

static int take_chunks(struct repair *p, struct packing *to, struct err *e)
{
	_cleanup_(chunker_freep) struct chunker *c = NULL;
	int r = chunker_new(p->s, to, RECORD_RAW_MAX, &c);

	if (r < 0)
		return err_sys(e, r, "repair");
	for (size_t i = 0; i < p->n_missing && !r; i++) {
		const struct missing *m = &p->missing[i];
		enum record_kind kind = (enum record_kind)m->kind;
		struct err why = {0};
		struct chunk_result got;
		struct blob *b;

		r = repo_blob(p->o->from, &m->id, kind, &b, &why);
		if (r < 0) {
			r = not_given(p, "a chunk", r, &why, e);
			continue;
		}
		r = chunker_store(c, kind, blob_data(b), blob_len(b), NULL, &got, e);
		blob_release(b);
		/* Unless the other one is damaged, too, in a way that its checksums do not show. */
		if (!r && got.fresh && digest_eq(&got.id, &m->id)) {
			p->report->chunks_taken++;
			p->progress = true;
		}
		if (!r)
			r = packing_renew(to, e);
	}
	return r;
}

/* An object as it is, for kinds that do not depend on the repository. */
static int take_object(struct repair *p, const char *name, uint64_t *count, struct err *e)
{
	_cleanup_(freep) void *bytes = NULL;
	struct err why = {0};
	size_t n;
	int r = backend_get(p->o->from->backend, name, PIECE * 4, &bytes, &n, &why);

	if (r < 0)
		return not_given(p, name, r, &why, e);
	r = backend_put(p->s->backend, name, bytes, n, e);
	if (!r) {
		(*count)++;
		p->progress = true;
	}
	return r == -EEXIST ? 0 : r;
}

static int add_name(void *arg, const char *name, const struct object_info *info)
{
	(void)info;
	return names_add(arg, name);
}

/* Snapshots that are in quarantine, since this run or an earlier one that did not come to the end or had nowhere to take
 * them from, and not in their place. */
static int take_snapshots(struct repair *p, struct err *e)
{
	struct names all = {0};
	int r = backend_list(p->s->backend, QUARANTINE "snapshots", add_name, &all, e);

	if (r == -ENOMEM)
		err_sys(e, r, "repair");
	for (size_t i = 0; i < all.n && !r; i++)
		r = take_object(p, all.v[i] + strlen(QUARANTINE), &p->report->snapshots_taken, e);
	names_clear(&all);
	return r;
}

static int take_wal_file(struct repair *p, const char *cluster, const char *name, struct err *e)
{
	_cleanup_(file_freep) struct file *f = NULL;
	_cleanup_(closep) int fd = -1;
	struct wal_info info;
	struct err why = {0};
	bool known;
	int r = wal_stat(p->s, cluster, name, &info, &why);

	if (r != -ENOENT)
		return verify_is_ours(r) ? err_set(e, r, "%s", why.text) : 0;
	r = wal_open(p->o->from, cluster, name, &f, &why);
	if (r < 0)
		return not_given(p, name, r, &why, e);
	fd = memfd_create("wal", MFD_CLOEXEC);
	if (fd < 0)
		return err_sys(e, -errno, "repair");
	for (uint64_t off = 0; off < file_size(f);) {
		struct slice sl;
		unsigned n = 1;

		r = file_slices(f, off, file_chunk_size(f), &sl, &n, &why);
		if (r < 0)
			return not_given(p, name, r, &why, e);
		r = io_write(fd, sl.p, sl.len);
		off += sl.len;
		slice_release(&sl);
		if (r < 0)
			return err_sys(e, r, "repair");
	}
	r = wal_put(p->s, cluster, name, fd, file_size(f), 0, &known, e);
	if (!r && !known)
		p->report->wal_taken++;
	return r;
}

static int take_wal_of(struct repair *p, const char *cluster, struct err *e)
{
	char **groups, **names;
	int r = wal_groups(p->o->from, cluster, &groups, e);

	if (r < 0)
		return r;
	for (char **g = groups; *g && !r; g++) {
		r = wal_names(p->o->from, cluster, *g, &names, e);
		if (r < 0)
			break;
		for (char **n = names; *n && !r; n++)
			r = p->o->stop && *p->o->stop ? err_set(e, -EINTR, "stopped")
						      : take_wal_file(p, cluster, *n, e);
		strv_free(names);
	}
	strv_free(groups);
	return r;
}

/* Files of WAL that are not here (any more), of clusters that are the same system there. */
static int take_wal(struct repair *p, struct err *e)
{
	char **clusters;
	int r = store_clusters(p->s, &clusters, e);

	if (r < 0)
		return r;
	for (char **c = clusters; *c && !r; c++) {
		_cleanup_(freep) char *here = NULL, *there = NULL;

		if (store_cluster_identity(p->s, *c, &here, NULL) == 0 &&
			store_cluster_identity(p->o->from, *c, &there, NULL) == 0 && !strcmp(here, there))
			r = take_wal_of(p, *c, e);
	}
	strv_free(clusters);
	return r;
}

/* ---- quarantine ---- */

static int copy_object(struct repair *p, const char *name, struct err *e)
{
	_cleanup_(upload_freep) struct upload *u = NULL;
	_cleanup_(object_closep) struct object *o = NULL;
	_cleanup_(freep) char *to = NULL, *folder = NULL;
	_cleanup_(freep) uint8_t *buf = malloc(PIECE);
	ssize_t n = 1;
	int r;

	if (!buf || asprintf(&to, QUARANTINE "%s", name) < 0)
		return err_sys(e, -ENOMEM, "repair");
	folder = strndup(to, (size_t)(strrchr(to, '/') - to));
	r = folder ? backend_open(p->s->backend, name, &o, e) : err_sys(e, -ENOMEM, "repair");
	if (!r)
		r = upload_begin(p->s->backend, folder, &u, e);
	for (uint64_t off = 0; !r && n > 0; off += (uint64_t)n) {
		n = object_read(o, off, buf, PIECE, e);
		r = n < 0 ? (int)n : upload_write(u, buf, (size_t)n, e);
	}
	if (!r)
		r = upload_commit(u, to, e);
	return r == -EEXIST ? 0 : r;
}

/* A disk that cannot read an object any more must not keep the rest from being repaired. */
static int put_away(struct repair *p, const char *name, struct err *e)
{
	/* A snapshot's name is how the other repository is asked for it, also by the next run if this one is killed. */
	bool asked = p->o->from && is_in(name, "snapshots/"), copy = asked || !p->o->delete_damaged;
	struct err why = {0};
	int r = copy ? copy_object(p, name, &why) : 0;

	if (r == -ENOENT)
		return 0;
	if (r == -EIO) {
		log_msg(p->o->log, LOG_LEVEL_WARNING, "%s: cannot be copied to quarantine and stays: %s",
			name, why.text);
		return 0;
	}
	if (r < 0)
		return err_set(e, r, "%s", why.text);
	if (copy)
		r = backend_barrier(p->s->backend, e);
	else if (!r)
		r = pruned_put_object(p->s, name, e);
	if (!r)
		r = backend_remove(p->s->backend, name, e);
	if (r < 0)
		return r == -ENOENT ? 0 : r;
	if (!is_in(name, "packs/") && !is_in(name, "walnote/") && names_add(&p->gone, name) < 0)
		return err_sys(e, -ENOMEM, "repair");
	log_msg(p->o->log, LOG_LEVEL_INFO, "%s: %s", name,
		p->o->delete_damaged ? "deleted" : "moved to quarantine");
	p->progress = true;
	p->report->packs += is_in(name, "packs/");
	p->report->wal += is_in(name, "wal/") || is_in(name, "walpart/");
	p->report->snapshots += is_in(name, "snapshots/");
	p->report->notes += is_in(name, "walnote/");
	return 0;
}

/* ---- rounds ---- */

static void shun_damaged(struct repair *p)
{
	for (size_t i = 0; i < p->damaged.n; i++) {
		struct digest id;

		if (is_in(p->damaged.v[i], "packs/") && digest_parse(p->damaged.v[i] + strlen("packs/"), &id))
			index_shun(p->s->index, &id);
	}
}

static int repair_packs(struct repair *p, struct err *e)
{
	_cleanup_(packing_freep) struct packing *to = NULL;
	int r;

	/* So that what lies in them does not count as being there. */
	shun_damaged(p);
	r = packing_new(p->s, "repair", &to, e);
	if (!r)
		r = save_packs(p, to, e);
	if (!r && p->o->from)
		r = take_chunks(p, to, e);
	return r ? r : packing_publish(to, e);
}

static int round_of(struct repair *p, struct err *e)
{
	int r = repair_packs(p, e);

	for (size_t i = 0; i < p->damaged.n && !r; i++)
		r = put_away(p, p->damaged.v[i], e);
	if (!r)
		r = backend_barrier(p->s->backend, e);
	for (size_t i = 0; i < p->damaged.n && !r && p->o->from; i++)
		if (is_in(p->damaged.v[i], "clusters/"))
			r = take_object(p, p->damaged.v[i], &p->report->clusters_taken, e);
	return r ? r : index_sync(p->s->index, e);
}

static int refuse_prune(void *arg, const char *what, const char *who, struct err *e)
{
	(void)arg;
	return strcmp(what, "prune") ? 0 : err_set(e, -EBUSY, "a prune is at work (%s); wait for it", who);
}

static int repair(struct repair *p, struct err *e)
{
	struct verify_report now;
	int r = lease_list(p->s, NULL, refuse_prune, NULL, e);

	for (unsigned i = 0; i < ROUNDS && !r; i++) {
		r = look(p, &now, e);
		if (!i)
			p->report->before = now;
		/* Bases come back first: what is an orphan then, will stay one. */
		if (!p->damaged.n && i && !p->progress) {
			p->damaged = p->orphaned;
			p->orphaned = (struct names){0};
		}
		p->progress = false;
		if (!r && (p->damaged.n || (p->o->from && p->n_missing)))
			r = round_of(p, e);
		if (!r && p->o->from)
			r = take_snapshots(p, e);
		if (!p->progress && !p->orphaned.n)
			break;
	}
	if (!r && p->o->from)
		r = take_wal(p, e);
	return r;
}

/* What is not there again is told as lost. */
static int tell_gone(struct repair *p, const char *object, verify_fn *fn, void *arg, struct err *e)
{
	struct object_info info;
	int r = backend_stat(p->s->backend, object, &info, e);

	if (r != -ENOENT)
		return r;
	p->report->after.lost++;
	r = verify_tell_gone(fn, arg, object, "it was damaged");
	return r < 0 ? err_sys(e, r, "repair") : 0;
}

/* What became of what was put away. */
static int settle(struct repair *p, verify_fn *fn, void *arg, struct err *e)
{
	int r = 0;

	for (size_t i = 0; i < p->gone.n && !r; i++) {
		_cleanup_(freep) char *kept = NULL;

		r = is_in(p->gone.v[i], "clusters/") ? 0 : tell_gone(p, p->gone.v[i], fn, arg, e);
		if (r < 0 || !p->o->delete_damaged || !is_in(p->gone.v[i], "snapshots/"))
			continue;
		if (asprintf(&kept, QUARANTINE "%s", p->gone.v[i]) < 0)
			return err_sys(e, -ENOMEM, "repair");
		r = pruned_put_object(p->s, p->gone.v[i], e);
		if (!r)
			r = backend_remove(p->s->backend, kept, e);
		r = r == -ENOENT ? 0 : r;
	}
	return r;
}

int store_repair(struct store *s, const struct repair_options *o, verify_fn *fn, void *arg,
	struct repair_report *ret, struct err *e)
{
	struct repair p = {.s = s, .o = o, .report = ret};
	const struct verify_options quick = {.quick = true, .stop = o->stop};
	int r;

	*ret = (struct repair_report){0};
	r = index_rebuild(s->index, e);
	if (!r)
		r = repair(&p, e);
	names_clear(&p.damaged);
	names_clear(&p.orphaned);
	digestset_release(&p.known);
	free(p.missing);
	if (!r)
		r = store_verify(s, &quick, fn, arg, &ret->after, e);
	if (!r)
		r = settle(&p, fn, arg, e);
	names_clear(&p.gone);
	return r;
}
