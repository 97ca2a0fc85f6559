/* The blob cache: shards by digest, each with its hash table and two LRU lists. See cache.h. */
#include "store/cache.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/mman.h>

#define SHARDS 8
#define MIN_BUCKETS 256
#define SLOT (64u << 10)  /* what a chunk of the default size takes */
#define AT_A_TIME 16	  /* slots whose pages are asked for in one call */
#define SLACK (16u << 20) /* room for slots beyond the limit: those that are held, and those being loaded */

enum blob_state { BLOB_LOADING, BLOB_READY, BLOB_FAILED };

struct blob {
	struct digest id;
	struct shard *shard;
	struct blob *next;	    /* in the hash chain */
	struct blob *newer, *older; /* in the LRU list, while nobody holds it */
	unsigned refs;
	enum blob_state state;
	bool meta;
	uint8_t *data;
	size_t len;
};

struct lru {
	struct blob *newest, *oldest;
	size_t bytes; /* of all blobs of the class, held ones too */
};

struct shard {
	struct cache *cache;
	pthread_mutex_t lock; /* rank: leaf; guards the shard and its blobs' fields but data and len, which
			       * are fixed once the state is BLOB_READY */
	pthread_cond_t loaded;
	struct blob **buckets;
	size_t n_buckets, n_blobs;
	size_t limit;
	struct lru lru[2]; /* chunks, meta */
};

/* Memory for blobs of about a chunk's size: one range of addresses, used from its start and never given back. From malloc
 * each new chunk would cost sixteen page faults, a tenth of a cold random read. Huge pages would do as well, but for the
 * milliseconds that the kernel may take to find one. */
struct slots {
	pthread_mutex_t lock; /* rank: leaf; guards free and used */
	uint8_t *base;
	size_t n, used;	   /* slots; the first `used` were given out at least once */
	struct free_slot { /* lies in the slot itself */
		struct free_slot *next;
	} * free;
};

struct cache {
	struct shard shards[SHARDS];
	struct slots slots;
};

/* A range that cannot be had costs only time. */
static void slots_init(struct slots *s, size_t limit)
{
	size_t n = limit / SLOT + SLACK / SLOT;
	void *p = mmap(
		NULL, n * SLOT, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	pthread_mutex_init(&s->lock, NULL);
	if (p == MAP_FAILED)
		return;
	s->base = p;
	s->n = n;
}

static bool is_slot(const struct slots *s, const uint8_t *p)
{
	return s->base && p >= s->base && p < s->base + s->n * SLOT;
}

uint8_t *cache_alloc(struct cache *c, size_t n)
{
	struct slots *s = &c->slots;
	uint8_t *p = NULL;

	if (n > SLOT / 2 && n <= SLOT) {
		pthread_mutex_lock(&s->lock);
		if (s->free) {
			p = (uint8_t *)s->free;
			s->free = s->free->next;
		} else if (s->used < s->n) {
			p = s->base + SLOT * s->used;
			/* Advice that a kernel before 5.14 does not take, and that may fail: it saves page faults. */
			if (s->used % AT_A_TIME == 0 && s->n - s->used >= AT_A_TIME)
				madvise(p, AT_A_TIME * SLOT, MADV_POPULATE_WRITE);
			s->used++;
		}
		pthread_mutex_unlock(&s->lock);
	}
	return p ? p : malloc(n + 1);
}

void cache_dealloc(struct cache *c, uint8_t *p)
{
	struct slots *s = &c->slots;
	struct free_slot *f = (struct free_slot *)(void *)p;

	if (!is_slot(s, p)) {
		free(p);
		return;
	}
	pthread_mutex_lock(&s->lock);
	f->next = s->free;
	s->free = f;
	pthread_mutex_unlock(&s->lock);
}

int cache_new(size_t limit, struct cache **ret)
{
	struct cache *c = calloc(1, sizeof(*c));

	if (!c)
		return -ENOMEM;
	slots_init(&c->slots, limit);
	for (int i = 0; i < SHARDS; i++) {
		struct shard *s = &c->shards[i];

		s->cache = c;
		pthread_mutex_init(&s->lock, NULL);
		pthread_cond_init(&s->loaded, NULL);
		s->limit = limit / SHARDS;
		s->n_buckets = MIN_BUCKETS;
		s->buckets = calloc(s->n_buckets, sizeof(*s->buckets));
		if (!s->buckets) {
			cache_free(c);
			return -ENOMEM;
		}
	}
	*ret = c;
	return 0;
}

void cache_free(struct cache *c)
{
	if (!c)
		return;
	for (int i = 0; i < SHARDS; i++) {
		struct shard *s = &c->shards[i];

		for (size_t k = 0; s->buckets && k < s->n_buckets; k++)
			for (struct blob *b = s->buckets[k], *next; b; b = next) {
				next = b->next;
				cache_dealloc(c, b->data);
				free(b);
			}
		free(s->buckets);
		pthread_cond_destroy(&s->loaded);
		pthread_mutex_destroy(&s->lock);
	}
	if (c->slots.base)
		munmap(c->slots.base, c->slots.n * SLOT);
	pthread_mutex_destroy(&c->slots.lock);
	free(c);
}

static struct shard *shard_of(struct cache *c, const struct digest *id)
{
	return &c->shards[id->b[31] % SHARDS];
}

static struct blob **bucket_of(struct shard *s, const struct digest *id)
{
	size_t h = (size_t)id->b[0] | (size_t)id->b[1] << 8 | (size_t)id->b[2] << 16 | (size_t)id->b[3] << 24;

	return &s->buckets[h & (s->n_buckets - 1)];
}

static struct blob *find(struct shard *s, const struct digest *id)
{
	struct blob *b = *bucket_of(s, id);

	while (b && !digest_eq(&b->id, id))
		b = b->next;
	return b;
}

/* A larger table when the chains get long; one that cannot be had costs only time. */
static void maybe_grow(struct shard *s)
{
	size_t n = s->n_buckets * 2, old = s->n_buckets;
	struct blob **bigger, **was = s->buckets;

	if (s->n_blobs < old)
		return;
	bigger = calloc(n, sizeof(*bigger));
	if (!bigger)
		return;
	s->buckets = bigger;
	s->n_buckets = n;
	for (size_t i = 0; i < old; i++)
		for (struct blob *b = was[i], *next; b; b = next) {
			struct blob **at = bucket_of(s, &b->id);

			next = b->next;
			b->next = *at;
			*at = b;
		}
	free(was);
}

static void unhash(struct shard *s, struct blob *b)
{
	struct blob **at = bucket_of(s, &b->id);

	while (*at != b)
		at = &(*at)->next;
	*at = b->next;
	s->n_blobs--;
}

static void lru_remove(struct lru *l, struct blob *b)
{
	*(b->newer ? &b->newer->older : &l->newest) = b->older;
	*(b->older ? &b->older->newer : &l->oldest) = b->newer;
	b->newer = b->older = NULL;
}

static void lru_add(struct lru *l, struct blob *b)
{
	b->older = l->newest;
	b->newer = NULL;
	*(l->newest ? &l->newest->newer : &l->oldest) = b;
	l->newest = b;
}

static size_t cost(const struct blob *b)
{
	bool slot = is_slot(&b->shard->cache->slots, b->data);

	return (slot ? SLOT : b->len) + sizeof(*b);
}

/* Frees the oldest of what nobody holds until the shard is within its limit. */
static void evict(struct shard *s)
{
	while (s->lru[0].bytes + s->lru[1].bytes > s->limit) {
		bool meta = s->lru[1].bytes > s->limit / 2 || !s->lru[0].oldest;
		struct lru *l = &s->lru[meta && s->lru[1].oldest];
		struct blob *b = l->oldest;

		if (!b)
			return;
		lru_remove(l, b);
		l->bytes -= cost(b);
		unhash(s, b);
		cache_dealloc(s->cache, b->data);
		free(b);
	}
}

bool cache_has(struct cache *c, const struct digest *id)
{
	struct shard *s = shard_of(c, id);
	bool has;

	pthread_mutex_lock(&s->lock);
	has = find(s, id) != NULL;
	pthread_mutex_unlock(&s->lock);
	return has;
}

/* The last holder of a blob that failed frees it. The caller holds the lock. */
static void unref_failed(struct blob *b)
{
	if (--b->refs == 0)
		free(b);
}

/* Takes a reference to the blob if it is there, waiting for one that is being loaded. NULL: the caller loads.
 */
static struct blob *take(struct shard *s, const struct digest *id)
{
	for (;;) {
		struct blob *b = find(s, id);

		if (!b)
			return NULL;
		if (b->state == BLOB_READY) {
			if (b->refs++ == 0)
				lru_remove(&s->lru[b->meta], b);
			return b;
		}
		b->refs++;
		while (b->state == BLOB_LOADING)
			pthread_cond_wait(&s->loaded, &s->lock);
		if (b->state == BLOB_READY)
			return b;
		/* Its loader has the error; we try ourselves and get our own. */
		unref_failed(b);
	}
}

int cache_get(struct cache *c, const struct digest *id, bool meta, cache_load_fn *load, void *arg,
	struct blob **ret, struct err *e)
{
	struct shard *s = shard_of(c, id);
	struct blob *b, **at;
	int r;

	pthread_mutex_lock(&s->lock);
	b = take(s, id);
	if (b) {
		pthread_mutex_unlock(&s->lock);
		*ret = b;
		return 0;
	}
	b = calloc(1, sizeof(*b));
	if (!b) {
		pthread_mutex_unlock(&s->lock);
		return err_sys(e, -ENOMEM, "the chunk cache");
	}
	b->id = *id;
	b->shard = s;
	b->refs = 1;
	b->meta = meta;
	maybe_grow(s);
	at = bucket_of(s, id);
	b->next = *at;
	*at = b;
	s->n_blobs++;
	pthread_mutex_unlock(&s->lock);

	r = load(arg, id, &b->data, &b->len, e);

	pthread_mutex_lock(&s->lock);
	b->state = r < 0 ? BLOB_FAILED : BLOB_READY;
	pthread_cond_broadcast(&s->loaded);
	if (r < 0) {
		unhash(s, b);
		unref_failed(b);
	} else {
		s->lru[meta].bytes += cost(b);
		evict(s);
		*ret = b;
	}
	pthread_mutex_unlock(&s->lock);
	return r;
}

void blob_release(struct blob *b)
{
	struct shard *s;

	if (!b)
		return;
	s = b->shard;
	pthread_mutex_lock(&s->lock);
	if (--b->refs == 0) {
		lru_add(&s->lru[b->meta], b);
		evict(s);
	}
	pthread_mutex_unlock(&s->lock);
}

const uint8_t *blob_data(const struct blob *b)
{
	return b->data;
}

size_t blob_len(const struct blob *b)
{
	return b->len;
}
