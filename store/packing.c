/* Open packs, the records that no index knows yet, and the sealing of full packs. See packing.h. */
#include "store/packing.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

#include "src/base/clean.h"
#include "src/base/pool.h"
#include "store/pack.h"
#include "store/condemned.h"
#include "store/lease.h"

#define HELD_PACKS 256		/* sealed packs kept back: each is an open file */
#define HELD_ENTRIES (1u << 20) /* and their records: each takes memory here */
#define SEAL_QUEUE 2
#define LANES 2
#define LENGTH_PENDING 0 /* of a record that its claimant has not put yet */

struct claim {
	struct claim *next;
	struct digest id;
	uint32_t len;
};

struct lane {
	pthread_mutex_t lock; /* rank: above claims and done; guards packer */
	struct packer *packer;
};

struct packing {
	struct store *store;
	struct lease *lease;
	struct lane lanes[LANES];
	struct pool *sealer;

	pthread_mutex_t claims_lock; /* rank: leaf; guards the table */
	pthread_cond_t put;
	struct claim **buckets;
	size_t n_buckets, n_claims;

	pthread_mutex_t done_lock; /* rank: above the index's; guards what follows */
	struct packer **held;	   /* sealed, oldest first */
	size_t n_held, held_entries;
	uint64_t finished_bytes;
	int failed;
	struct err error;
};

int packing_new(struct store *s, const char *what, struct packing **ret, struct err *e)
{
	struct packing *p = calloc(1, sizeof(*p));
	int r;

	if (!p)
		return err_sys(e, -ENOMEM, "starting to pack");
	p->store = s;
	for (int i = 0; i < LANES; i++)
		pthread_mutex_init(&p->lanes[i].lock, NULL);
	pthread_mutex_init(&p->claims_lock, NULL);
	pthread_cond_init(&p->put, NULL);
	pthread_mutex_init(&p->done_lock, NULL);
	p->n_buckets = 4096;
	p->buckets = calloc(p->n_buckets, sizeof(*p->buckets));
	p->held = calloc(HELD_PACKS + 1, sizeof(*p->held));
	r = p->buckets && p->held ? pool_new(1, SEAL_QUEUE, &p->sealer) : -ENOMEM;
	if (r < 0)
		err_sys(e, r, "starting to pack");
	/* In this order: whoever prunes either sees the lease, or has condemned before what is read here. */
	if (!r)
		r = lease_take(s, what, &p->lease, e);
	if (!r)
		r = store_refresh(s, e);
	if (!r)
		r = condemned_shun(s, e);
	if (r < 0) {
		packing_free(p);
		return r;
	}
	*ret = p;
	return 0;
}

int packing_renew(struct packing *p, struct err *e)
{
	return lease_renew(p->lease, e);
}

void packing_free(struct packing *p)
{
	if (!p)
		return;
	pool_free(p->sealer);
	for (int i = 0; i < LANES; i++) {
		packer_free(p->lanes[i].packer);
		pthread_mutex_destroy(&p->lanes[i].lock);
	}
	for (size_t i = 0; i < p->n_held; i++)
		packer_free(p->held[i]);
	for (size_t i = 0; p->buckets && i < p->n_buckets; i++)
		for (struct claim *c = p->buckets[i], *next; c; c = next) {
			next = c->next;
			free(c);
		}
	lease_free(p->lease);
	free(p->buckets);
	free(p->held);
	pthread_mutex_destroy(&p->claims_lock);
	pthread_cond_destroy(&p->put);
	pthread_mutex_destroy(&p->done_lock);
	free(p);
}

/* ---- claims ---- */

static struct claim **bucket_of(struct packing *p, const struct digest *id)
{
	size_t h = (size_t)id->b[4] | (size_t)id->b[5] << 8 | (size_t)id->b[6] << 16 | (size_t)id->b[7] << 24;

	return &p->buckets[h & (p->n_buckets - 1)];
}

static struct claim **find(struct packing *p, const struct digest *id)
{
	struct claim **at = bucket_of(p, id);

	while (*at && !digest_eq(&(*at)->id, id))
		at = &(*at)->next;
	return at;
}

static void grow(struct packing *p)
{
	size_t old = p->n_buckets;
	struct claim **was = p->buckets, **more = calloc(2 * old, sizeof(*more));

	if (!more)
		return; /* longer chains, nothing worse */
	p->buckets = more;
	p->n_buckets = 2 * old;
	for (size_t i = 0; i < old; i++)
		for (struct claim *c = was[i], *next; c; c = next) {
			struct claim **at = bucket_of(p, &c->id);

			next = c->next;
			c->next = *at;
			*at = c;
		}
	free(was);
}

int packing_claim(struct packing *p, const struct digest *id, uint32_t *ret_len)
{
	struct claim *mine = malloc(sizeof(*mine)), **at;
	struct place place;
	int r = 0;

	if (!mine)
		return -ENOMEM;
	pthread_mutex_lock(&p->claims_lock);
	while (*(at = find(p, id)) && (*at)->len == LENGTH_PENDING)
		pthread_cond_wait(&p->put, &p->claims_lock);
	if (*at) {
		*ret_len = (*at)->len;
	} else {
		*mine = (struct claim){.next = *at, .id = *id, .len = LENGTH_PENDING};
		*at = mine;
		mine = NULL;
		if (++p->n_claims > p->n_buckets)
			grow(p);
		r = -ENOENT;
	}
	pthread_mutex_unlock(&p->claims_lock);
	free(mine);
	/* The index is asked after the claim: a record that moves from the table to the index cannot be
	 * missed. */
	if (r == -ENOENT && index_find_lasting(p->store->index, id, &place)) {
		packing_abandon(p, id);
		*ret_len = place.len;
		r = 0;
	}
	return r;
}

static void drop_claim(struct packing *p, const struct digest *id)
{
	struct claim **at = find(p, id), *c = *at;

	if (c) {
		*at = c->next;
		p->n_claims--;
		free(c);
	}
}

void packing_abandon(struct packing *p, const struct digest *id)
{
	pthread_mutex_lock(&p->claims_lock);
	drop_claim(p, id);
	pthread_cond_broadcast(&p->put);
	pthread_mutex_unlock(&p->claims_lock);
}

/* ---- sealing and publishing ---- */

static void fail(struct packing *p, int r, const struct err *why)
{
	pthread_mutex_lock(&p->done_lock);
	if (!p->failed) {
		p->failed = r;
		p->error = *why;
	}
	pthread_mutex_unlock(&p->done_lock);
}

static int failure(struct packing *p, struct err *e)
{
	int r;

	pthread_mutex_lock(&p->done_lock);
	r = p->failed;
	if (r < 0 && e)
		*e = p->error;
	pthread_mutex_unlock(&p->done_lock);
	return r;
}

/* Publishes packs, makes their names durable and moves their records from the claims to the index. */
static int publish(struct packing *p, struct packer **packs, size_t n, struct err *e)
{
	_cleanup_(freep) struct index_pack *in = calloc(n + 1, sizeof(*in));
	int r = in ? 0 : err_sys(e, -ENOMEM, "publishing packs");

	for (size_t i = 0; i < n && !r; i++) {
		r = packer_publish(packs[i], e);
		in[i].name = *packer_name(packs[i]);
		in[i].size = packer_size(packs[i]);
		in[i].entries = packer_entries(packs[i], &in[i].n);
	}
	if (!r)
		r = backend_barrier(p->store->backend, e);
	if (!r && n)
		r = index_add(p->store->index, in, n, e);
	if (r < 0)
		return r;
	pthread_mutex_lock(&p->claims_lock);
	for (size_t i = 0; i < n; i++)
		for (size_t k = 0; k < in[i].n; k++)
			drop_claim(p, &in[i].entries[k].id);
	pthread_mutex_unlock(&p->claims_lock);
	return 0;
}

struct sealing {
	struct packing *packing;
	struct packer *packer;
};

static bool too_much_held(const struct packing *p)
{
	return p->n_held > HELD_PACKS || (p->held_entries > HELD_ENTRIES && p->n_held > 1);
}

static void seal(void *arg, unsigned worker)
{
	struct sealing *job = arg;
	struct packing *p = job->packing;
	struct packer *k = job->packer;
	struct err why = {0};
	size_t n;
	int r = packer_seal(k, &why);

	(void)worker;
	free(job);
	if (r < 0) {
		fail(p, r, &why);
		packer_free(k);
		return;
	}
	pthread_mutex_lock(&p->done_lock);
	if (p->failed) {
		pthread_mutex_unlock(&p->done_lock);
		packer_free(k);
		return;
	}
	packer_entries(k, &n);
	p->held[p->n_held++] = k;
	p->held_entries += n;
	p->finished_bytes += packer_size(k);
	while (too_much_held(p) && !r) {
		struct packer *oldest = p->held[0];

		packer_entries(oldest, &n);
		p->held_entries -= n;
		p->n_held--;
		for (size_t i = 0; i < p->n_held; i++)
			p->held[i] = p->held[i + 1];
		pthread_mutex_unlock(&p->done_lock);
		r = publish(p, &oldest, 1, &why);
		packer_free(oldest);
		pthread_mutex_lock(&p->done_lock);
	}
	pthread_mutex_unlock(&p->done_lock);
	if (r < 0)
		fail(p, r, &why);
}

static int send_to_seal(struct packing *p, struct packer *k, struct err *e)
{
	struct sealing *job = malloc(sizeof(*job));

	if (!job) {
		packer_free(k);
		return err_sys(e, -ENOMEM, "sealing a pack");
	}
	*job = (struct sealing){p, k};
	pool_submit(p->sealer, seal, job);
	return 0;
}

int packing_put(struct packing *p, const struct record *rec, const struct digest *id, struct err *e)
{
	struct lane *lane = &p->lanes[rec->kind != RECORD_CHUNK];
	struct packer *full = NULL;
	struct claim **at;
	struct err why = {0};
	int r = failure(p, e);

	if (r < 0)
		return r;
	pthread_mutex_lock(&lane->lock);
	if (!lane->packer)
		r = packer_new(p->store->backend, p->store->id, &lane->packer, &why);
	if (!r)
		r = packer_add(lane->packer, rec, id, &why);
	if (!r && packer_size(lane->packer) >= PACK_TARGET)
		full = MOVE(lane->packer);
	/* A pack with a hole must never be finished, whoever puts next. */
	if (r < 0) {
		fail(p, r, &why);
		packer_free(MOVE(lane->packer));
	}
	pthread_mutex_unlock(&lane->lock);
	if (r < 0)
		return failure(p, e);
	pthread_mutex_lock(&p->claims_lock);
	at = find(p, id);
	if (*at)
		(*at)->len = (uint32_t)record_size(rec);
	pthread_cond_broadcast(&p->put);
	pthread_mutex_unlock(&p->claims_lock);
	return full ? send_to_seal(p, full, e) : 0;
}

int packing_seal(struct packing *p, struct err *e)
{
	int r = 0;

	for (int i = 0; i < LANES && !r; i++) {
		struct packer *k = MOVE(p->lanes[i].packer);

		if (k)
			r = send_to_seal(p, k, e);
	}
	pool_drain(p->sealer);
	return r ? r : failure(p, e);
}

int packing_publish(struct packing *p, struct err *e)
{
	int r = packing_seal(p, e);

	if (!r)
		r = packing_renew(p, e);
	if (!r)
		r = publish(p, p->held, p->n_held, e);
	if (r < 0)
		return r;
	for (size_t i = 0; i < p->n_held; i++)
		packer_free(p->held[i]);
	p->n_held = p->held_entries = 0;
	return 0;
}

uint64_t packing_bytes(struct packing *p)
{
	uint64_t n;

	pthread_mutex_lock(&p->done_lock);
	n = p->finished_bytes;
	pthread_mutex_unlock(&p->done_lock);
	for (int i = 0; i < LANES; i++) {
		pthread_mutex_lock(&p->lanes[i].lock);
		n += p->lanes[i].packer ? packer_size(p->lanes[i].packer) : 0;
		pthread_mutex_unlock(&p->lanes[i].lock);
	}
	return n;
}
