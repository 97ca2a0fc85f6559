/* Prune, in the order that prune.h tells. */
#include "store/prune.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/clean.h"
#include "store/condemned.h"
#include "store/lease.h"
#include "store/packing.h"
#include "store/pruned.h"
#include "store/reach.h"
#include "store/repo.h"

#define LEASE_WHAT "prune"
#define REWRITE_PERCENT 60

CLEANUP_DEFINE(struct snapshot, snapshot_free)
CLEANUP_DEFINE(struct reach, reach_free)
CLEANUP_DEFINE(struct packing, packing_free)
CLEANUP_DEFINE(struct lease, lease_free)
CLEANUP_DEFINE(struct object, object_close)

enum fate {
	PACK_STAYS,
	PACK_MOVES, /* what lives in it is copied, and it goes */
	PACK_GOES,
};

struct pack {
	struct digest name;
	uint64_t size;
	uint32_t number; /* in the index */
	enum fate fate;
	bool decided;
	struct tstamp condemned; /* since; sec 0: it is not */
	uint8_t *live;		 /* PACK_MOVES: a bit for each entry of the footer */
};

struct prune {
	struct store *s;
	const struct prune_options *o;
	struct prune_report *report;
	struct pack *packs; /* by name */
	size_t n, cap;
	struct lease *lease;	   /* NULL: a dry run */
	struct snapshot_list seen; /* that the marks speak of */
	struct err e;		   /* of a callback */
};

/* Between steps: may it go on? */
static int go_on(struct prune *p, struct err *e)
{
	if (p->o->stop && *p->o->stop)
		return err_set(e, -EINTR, "stopped");
	return p->lease ? lease_renew(p->lease, e) : 0;
}

/* ---- what is there ---- */

static int add_pack(void *arg, const char *name, const struct object_info *info)
{
	struct prune *p = arg;
	struct pack k = {.size = info->size};

	if (!digest_parse(name + strlen("packs/"), &k.name))
		return 0;
	p->report->packs++;
	p->report->bytes += k.size;
	/* One whose footer cannot be read is repair's, not ours. */
	if (!index_pack_number(p->s->index, &k.name, &k.number))
		return 0;
	if (p->n == p->cap) {
		size_t cap = p->cap ? 2 * p->cap : 256;
		struct pack *more = reallocarray(p->packs, cap, sizeof(*more));

		if (!more)
			return -ENOMEM;
		p->packs = more;
		p->cap = cap;
	}
	p->packs[p->n++] = k;
	return 0;
}

static int by_name(const void *a, const void *b)
{
	return digest_cmp(&((const struct pack *)a)->name, &((const struct pack *)b)->name);
}

static int note_condemned(void *arg, const struct digest *name, struct tstamp since)
{
	struct prune *p = arg;
	struct pack key = {.name = *name},
		    *k = p->n ? bsearch(&key, p->packs, p->n, sizeof(key), by_name) : NULL;

	if (k)
		k->condemned = since;
	else if (!p->o->dry_run) /* removed by a run that was killed before it could say so */
		return condemned_pardon(p->s, name, &p->e);
	return 0;
}

/* Snapshots first, so that the index has the packs of all that are listed. One that comes later is looked at again. */
static int collect(struct prune *p, struct err *e)
{
	int r = snapshot_list(p->s, NULL, 0, &p->seen, e);

	if (!r)
		r = index_sync(p->s->index, e);
	if (!r)
		r = condemned_shun(p->s, e);
	if (!r)
		r = backend_list(p->s->backend, "packs", add_pack, p, e);
	if (r == -ENOMEM)
		return err_sys(e, r, "prune");
	if (r < 0)
		return r;
	if (p->n)
		qsort(p->packs, p->n, sizeof(*p->packs), by_name);
	r = condemned_list(p->s, note_condemned, p, e);
	if (r < 0 && p->e.code && e)
		*e = p->e;
	return r;
}

/* ---- marking ---- */

static bool same(const struct snapshot_ref *a, const struct snapshot_ref *b)
{
	return a->kind == b->kind && !strcmp(a->cluster, b->cluster) && !strcmp(a->id, b->id);
}

static bool is_in(const struct snapshot_ref *refs, size_t n, const struct snapshot_ref *r)
{
	for (size_t i = 0; i < n; i++)
		if (same(&refs[i], r))
			return true;
	return false;
}

/* Marks the snapshots of a list that are not in `but`. */
static int mark_list(struct prune *p, struct reach *reach, const struct snapshot_list *l,
	const struct snapshot_ref *but, size_t n_but, struct err *e)
{
	for (size_t i = 0; i < l->n; i++) {
		_cleanup_(snapshot_freep) struct snapshot *snap = NULL;
		const struct snapshot_ref *ref = &l->refs[i];
		int r;

		if (is_in(but, n_but, ref))
			continue;
		r = go_on(p, e);
		if (!r)
			r = snapshot_load(p->s, ref->cluster, ref->kind, ref->id, &snap, e);
		if (r == -ENOENT) /* removed meanwhile */
			continue;
		if (!r)
			r = reach_snapshot(reach, snap, e);
		if (r < 0)
			return r;
	}
	return reach_bases(reach, e);
}

static int mark(struct prune *p, struct reach **ret, struct err *e)
{
	_cleanup_(reach_freep) struct reach *reach = NULL;
	bool dry = p->o->dry_run;
	int r = reach_new(p->s, p->o->stop, &reach, e);

	if (!r)
		r = mark_list(p, reach, &p->seen, dry ? p->o->drop : NULL, dry ? p->o->n_drop : 0, e);
	if (r < 0)
		return r == -EINTR ? r : err_wrap(e, r, "nothing was collected");
	*ret = MOVE(reach);
	return 0;
}

static enum fate fate_of(const struct prune *p, const struct reach *reach, const struct pack *k)
{
	unsigned percent = p->o->rewrite_percent ? p->o->rewrite_percent : REWRITE_PERCENT;
	uint64_t live = reach_bytes(reach, k->number);

	return !live ? PACK_GOES : live < k->size / 100 * percent ? PACK_MOVES : PACK_STAYS;
}

/* Decides each pack's fate. In a pack that stays, deltas stay that nothing needs; they keep their bases, or the next ingest
 * would find a record there that cannot be unpacked. That may make other packs stay, and so on. */
static int decide(struct prune *p, struct reach *reach, struct err *e)
{
	bool again = true;

	while (again) {
		again = false;
		for (size_t i = 0; i < p->n; i++) {
			struct pack *k = &p->packs[i];
			int r;

			if (k->fate == PACK_STAYS && k->decided)
				continue;
			k->fate = fate_of(p, reach, k);
			k->decided = true;
			if (k->fate != PACK_STAYS)
				continue;
			again = true;
			r = go_on(p, e);
			if (!r)
				r = reach_whole_pack(reach, k->number, e);
			if (!r)
				r = reach_bases(reach, e);
			if (r < 0)
				return r;
		}
	}
	return 0;
}

/* Adds up, and pardons what an earlier run condemned and something needs after all. */
static int settle(struct prune *p, const struct reach *reach, struct err *e)
{
	for (size_t i = 0; i < p->n; i++) {
		struct pack *k = &p->packs[i];
		uint64_t live = reach_bytes(reach, k->number);

		p->report->live_bytes += live;
		if (k->condemned.sec && live && !p->o->dry_run) {
			int r = condemned_pardon(p->s, &k->name, e);

			if (r < 0)
				return r;
			k->condemned.sec = 0;
		}
		if (k->fate == PACK_MOVES) {
			p->report->rewritten++;
			p->report->rewritten_bytes += live;
		}
	}
	return 0;
}

/* ---- copying ---- */

static int copy_record(struct prune *p, struct packing *to, struct object *from, const struct pack_entry *en,
	uint8_t **buf, size_t *cap, struct err *e)
{
	struct record rec;
	uint32_t len;
	ssize_t got;
	int r = packing_claim(to, &en->id, &len);

	if (r == 0)
		return 0; /* there is another copy, in a pack that stays */
	if (r != -ENOENT)
		return err_sys(e, r, "prune");
	if (en->len > *cap) {
		uint8_t *more = realloc(*buf, en->len);

		if (!more)
			return err_sys(e, -ENOMEM, "prune");
		*buf = more;
		*cap = en->len;
	}
	got = object_read(from, en->off, *buf, en->len, e);
	if (got < 0)
		return (int)got;
	r = (size_t)got == en->len ? record_parse(*buf, en->len, &en->id, &rec, e)
				   : err_set(e, -EBADMSG, "it is shorter than its footer says");
	if (!r)
		r = packing_put(to, &rec, &en->id, e);
	meter_add(p->o->meter, en->len, 0);
	return r;
}

/* The marks are by the index's numbers, which change when packs are added: what moves is noted before that. */
static int note_living(struct prune *p, struct pack *k, const struct reach *reach, struct err *e)
{
	_cleanup_(freep) struct pack_entry *entries = NULL;
	size_t n = 0;
	int r = pack_load_footer(p->s->backend, &k->name, k->size, &entries, &n, e);

	if (r < 0)
		return r;
	k->live = calloc(1, n / 8 + 1);
	if (!k->live)
		return err_sys(e, -ENOMEM, "prune");
	for (size_t i = 0; i < n; i++)
		if (reach_has(reach, &entries[i].id, k->number, entries[i].off))
			k->live[i / 8] |= (uint8_t)(1u << (i % 8));
	return 0;
}

static int copy_pack(struct prune *p, const struct pack *k, struct packing *to, struct err *e)
{
	_cleanup_(freep) struct pack_entry *entries = NULL;
	_cleanup_(object_closep) struct object *o = NULL;
	_cleanup_(freep) uint8_t *buf = NULL;
	char name[PACK_NAME_MAX];
	size_t n = 0, cap = 0;
	int r = pack_load_footer(p->s->backend, &k->name, k->size, &entries, &n, e);

	pack_object_name(&k->name, name);
	if (!r)
		r = backend_open(p->s->backend, name, &o, e);
	for (size_t i = 0; i < n && !r; i++)
		if (k->live[i / 8] >> (i % 8) & 1)
			r = copy_record(p, to, o, &entries[i], &buf, &cap, e);
	if (!r)
		r = packing_renew(to, e);
	return r < 0 ? err_wrap(e, r, "object %s", name) : 0;
}

/* Everything that lives in packs that go is put where it stays. */
static int copy_living(struct prune *p, const struct reach *reach, struct err *e)
{
	_cleanup_(packing_freep) struct packing *to = NULL;
	int r = 0;

	meter_total(p->o->meter, p->report->rewritten_bytes);
	for (size_t i = 0; i < p->n && !r; i++)
		if (p->packs[i].fate == PACK_MOVES)
			r = note_living(p, &p->packs[i], reach, e);
	if (r < 0 || !p->report->rewritten)
		return r;
	/* So that a record counts as there only where it will stay. */
	for (size_t i = 0; i < p->n; i++)
		if (p->packs[i].fate != PACK_STAYS)
			index_shun(p->s->index, &p->packs[i].name);
	r = packing_new(p->s, LEASE_WHAT, &to, e);
	for (size_t i = 0; i < p->n && !r; i++) {
		if (p->packs[i].fate != PACK_MOVES)
			continue;
		r = go_on(p, e);
		if (!r)
			r = copy_pack(p, &p->packs[i], to, e);
	}
	return r ? r : packing_publish(to, e);
}

/* ---- condemning, waiting, removing ---- */

static int condemn(struct prune *p, struct err *e)
{
	struct tstamp now = clock_now();
	int r = go_on(p, e);

	for (size_t i = 0; i < p->n && !r; i++) {
		struct pack *k = &p->packs[i];

		if (k->fate == PACK_STAYS || k->condemned.sec)
			continue;
		r = condemned_put(p->s, &k->name, e);
		k->condemned = now;
	}
	return r ? r : backend_barrier(p->s->backend, e);
}

static int note_worker(void *arg, const char *what, const char *who, struct err *e)
{
	struct prune *p = arg;

	if (!strcmp(what, LEASE_WHAT))
		return err_set(e, -EBUSY, "another prune is at work (%s)", who);
	snprintf(p->report->waiting_for, sizeof(p->report->waiting_for), "%.90s (%.100s)", what, who);
	return 0;
}

/* What snapshots that came since the marking need is pardoned; and as in decide, with what such a pack's deltas need. */
static int look_again(struct prune *p, struct err *e)
{
	_cleanup_(reach_freep) struct reach *reach = NULL;
	struct snapshot_list now = {0};
	bool again = true;
	int r = snapshot_list(p->s, NULL, 0, &now, e);

	if (!r)
		r = index_sync(p->s->index, e);
	if (!r)
		r = reach_new(p->s, p->o->stop, &reach, e);
	if (!r)
		r = mark_list(p, reach, &now, p->seen.refs, p->seen.n, e);
	while (again && !r) {
		again = false;
		for (size_t i = 0; i < p->n && !r; i++) {
			struct pack *k = &p->packs[i];

			if (k->fate == PACK_STAYS || !reach_bytes(reach, k->number))
				continue;
			again = true;
			k->fate = PACK_STAYS;
			r = condemned_pardon(p->s, &k->name, e);
			if (!r)
				r = reach_whole_pack(reach, k->number, e);
			if (!r)
				r = reach_bases(reach, e);
		}
	}
	snapshot_list_free(&now);
	return r;
}

static bool is_ripe(const struct prune *p, const struct pack *k, struct tstamp now)
{
	return k->fate != PACK_STAYS && k->condemned.sec + p->o->grace_s <= now.sec;
}

static int remove_packs(struct prune *p, struct err *e)
{
	struct tstamp now = clock_now();
	int r = 0;

	for (size_t i = 0; i < p->n && !r; i++) {
		struct pack *k = &p->packs[i];
		char name[PACK_NAME_MAX];

		if (!is_ripe(p, k, now))
			continue;
		r = go_on(p, e);
		if (r < 0)
			break;
		r = backend_remove(p->s->backend, pack_object_name(&k->name, name), e);
		if (r == -ENOENT)
			r = 0;
	}
	/* A sentence must not be forgotten before it is carried out. */
	if (!r)
		r = backend_barrier(p->s->backend, e);
	for (size_t i = 0; i < p->n && !r; i++)
		if (is_ripe(p, &p->packs[i], now))
			r = condemned_pardon(p->s, &p->packs[i].name, e);
	return r ? r : backend_barrier(p->s->backend, e);
}

/* Fills in what goes now and what has to wait. */
static void count(struct prune *p, bool wait)
{
	struct tstamp now = clock_now();

	for (size_t i = 0; i < p->n; i++) {
		struct pack *k = &p->packs[i];

		if (k->fate == PACK_STAYS)
			continue;
		if (wait || !(p->o->dry_run ? true : is_ripe(p, k, now))) {
			p->report->waiting++;
			p->report->waiting_bytes += k->size;
		} else {
			p->report->removed++;
			p->report->removed_bytes += k->size;
		}
	}
}

static int prune(struct prune *p, struct err *e)
{
	_cleanup_(reach_freep) struct reach *reach = NULL;
	bool wait;
	int r = collect(p, e);

	if (!r)
		r = mark(p, &reach, e);
	if (!r)
		r = decide(p, reach, e);
	if (!r)
		r = settle(p, reach, e);
	if (r < 0)
		return r;
	if (p->o->dry_run) {
		count(p, false);
		return 0;
	}
	r = copy_living(p, reach, e);
	reach_freep(&reach); /* look_again has its own */
	reach = NULL;
	if (!r)
		r = condemn(p, e);
	/* Who begins after this sees the sentences; who began before is seen here. */
	if (!r)
		r = lease_list(p->s, p->lease, note_worker, p, e);
	wait = *p->report->waiting_for != 0;
	if (!r && !wait)
		r = look_again(p, e);
	if (r < 0)
		return r;
	count(p, wait);
	if (!wait && p->report->waiting)
		snprintf(p->report->waiting_for, sizeof(p->report->waiting_for),
			"the grace period of %u seconds", p->o->grace_s);
	return wait ? 0 : remove_packs(p, e);
}

int store_prune(struct store *s, const struct prune_options *o, struct prune_report *ret, struct err *e)
{
	_cleanup_(lease_freep) struct lease *mine = NULL;
	struct prune p = {.s = s, .o = o, .report = ret};
	int r = 0;

	*ret = (struct prune_report){0};
	if (!o->dry_run)
		r = lease_take(s, LEASE_WHAT, &mine, e);
	p.lease = mine;
	/* Two that begin at once both see each other, and both give way. */
	if (!r && mine)
		r = lease_list(s, mine, note_worker, &p, e);
	*ret->waiting_for = 0;
	if (!r)
		r = prune(&p, e);
	snapshot_list_free(&p.seen);
	for (size_t i = 0; i < p.n; i++)
		free(p.packs[i].live);
	free(p.packs);
	if (!r && !o->dry_run && ret->removed)
		r = index_sync(s->index, e);
	return r || o->dry_run ? r : pruned_expire(s, e);
}

int store_remove_snapshots(struct store *s, const struct snapshot_ref *refs, size_t n, struct err *e)
{
	for (size_t i = 0; i < n; i++) {
		char name[REPO_SNAPSHOT_NAME];
		int r = pruned_put_snapshot(s, &refs[i], e);

		if (!r)
			r = backend_remove(s->backend,
				repo_snapshot_name(name, refs[i].cluster, refs[i].kind, refs[i].id), e);
		if (r < 0 && r != -ENOENT)
			return r;
	}
	return backend_barrier(s->backend, e);
}
