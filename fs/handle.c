/* Open files and the threads that read ahead for them. See handle.h.
 *
 * A handle is counted: one for the client, one for each request being served and each piece of readahead in
 * the pool's queue. The queue is short; when it is full, readahead is dropped, for then the processors are
 * busy anyway. */
#include "fs/handle.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "fs/follow.h"
#include "fs/ns_branch.h"
#include "fs/readahead.h"
#include "src/base/pool.h"

#define PIECE (256u << 10) /* what one thread decodes at a time, or a chunk */
#define QUEUE 64
#define DEFAULT_CACHE (64u << 20)

struct handle {
	struct handles *all;
	struct handle *prev, *next; /* guarded by all->lock */
	struct file *file;
	struct branch_open *branch; /* instead of file */
	struct node node;
	atomic_uint refs;
	pthread_mutex_t lock; /* rank: leaf; guards all below */
	struct readahead ra;
	uint64_t asked; /* bytes, counted where there is a next file */
	/* These are fixed when it is opened. */
	bool own;      /* opened by ourselves, for the kernel's sake: nothing is read ahead for it */
	bool given;    /* the kernel has its bytes, so its reader may not be heard of */
	bool for_sync; /* its reader comes later */
};

struct handles {
	struct pool *pool;
	uint64_t limit; /* of one file's window */
	struct follow follow;
	pthread_mutex_t lock; /* rank: leaf; guards the list */
	struct handle list;   /* head: only prev and next are used */
};

struct piece {
	struct handle *h;
	struct file *file; /* of h, or what lies below it */
	uint64_t off;
	size_t len;
};

int handles_new(const struct handle_options *o, struct handles **ret)
{
	struct handles *hs = calloc(1, sizeof(*hs));
	unsigned threads = o->threads ? o->threads : pool_cpus();
	int r;

	if (!hs)
		return -ENOMEM;
	pthread_mutex_init(&hs->lock, NULL);
	hs->list.prev = hs->list.next = &hs->list;
	/* Several readers at once must not push each other's chunks out before they are used. */
	hs->limit = (o->cache_bytes ? o->cache_bytes : DEFAULT_CACHE) / 8;
	follow_init(&hs->follow, o->mountpoint, (size_t)hs->limit * 2);
	r = pool_new(threads, QUEUE, &hs->pool);
	if (r < 0) {
		follow_release(&hs->follow);
		pthread_mutex_destroy(&hs->lock);
		free(hs);
		return r;
	}
	*ret = hs;
	return 0;
}

void handles_set_request(struct handles *hs, size_t bytes)
{
	atomic_store(&hs->follow.request, bytes);
}

bool handles_try_submit(struct handles *hs, pool_fn *fn, void *arg)
{
	return pool_try_submit(hs->pool, fn, arg);
}

void handle_hold(struct handle *h)
{
	atomic_fetch_add(&h->refs, 1);
}

void handle_drop(struct handle *h)
{
	if (atomic_fetch_sub(&h->refs, 1) != 1)
		return;
	file_free(h->file);
	if (h->branch) {
		branch_open_drop(h->branch);
		ns_branch_leave(h->node.obj);
	}
	ns_drop(h->node.obj);
	pthread_mutex_destroy(&h->lock);
	free(h);
}

/* The client's reference is given up. */
static void take_out(struct handle *h)
{
	pthread_mutex_lock(&h->all->lock);
	h->prev->next = h->next;
	h->next->prev = h->prev;
	pthread_mutex_unlock(&h->all->lock);
	handle_drop(h);
}

void handles_free(struct handles *hs)
{
	if (!hs)
		return;
	pool_free(hs->pool);
	while (hs->list.next != &hs->list)
		take_out(hs->list.next);
	follow_release(&hs->follow);
	pthread_mutex_destroy(&hs->lock);
	free(hs);
}

/* NULL without memory. */
static struct handle *add(struct handles *hs, const struct node *n, struct file *f, struct branch_open *o)
{
	struct handle *h = calloc(1, sizeof(*h));

	if (!h)
		return NULL;
	h->all = hs;
	h->file = f;
	h->branch = o;
	h->node = *n;
	ns_hold(n->obj);
	atomic_init(&h->refs, 1);
	pthread_mutex_init(&h->lock, NULL);
	pthread_mutex_lock(&hs->lock);
	h->prev = &hs->list;
	h->next = hs->list.next;
	h->next->prev = h;
	hs->list.next = h;
	pthread_mutex_unlock(&hs->lock);
	return h;
}

int handle_new(struct handles *hs, const struct node *n, struct file *f, pid_t thread, bool for_sync,
	struct handle **ret)
{
	struct handle *h = add(hs, n, f, NULL);

	if (!h) {
		file_free(f);
		return -ENOMEM;
	}
	h->own = follow_is_self(&hs->follow, thread);
	h->for_sync = for_sync;
	h->given = !h->own && !for_sync && n->obj->ops->next && follow_took(&hs->follow, n->ino);
	*ret = h;
	return 0;
}

int handle_new_branch(struct handles *hs, const struct node *n, struct branch_open *o, struct handle **ret)
{
	struct handle *h = add(hs, n, NULL, o);

	if (!h) {
		branch_open_drop(o);
		ns_branch_leave(n->obj);
		return -ENOMEM;
	}
	*ret = h;
	return 0;
}

static bool submit(struct handle *h, pool_fn *job, void *arg)
{
	handle_hold(h);
	if (pool_try_submit(h->all->pool, job, arg))
		return true;
	handle_drop(h);
	return false;
}

static void follow(void *arg, unsigned worker)
{
	struct handle *h = arg;

	(void)worker;
	follow_run(&h->all->follow, &h->node, !h->for_sync);
	handle_drop(h);
}

/* Has the client read it to its end, so that it is going to read the next one? */
static bool wants_next(struct handle *h)
{
	bool yes;

	if (h->own || h->branch || !h->node.obj->ops->next)
		return false;
	pthread_mutex_lock(&h->lock);
	/* Requests come out of order, but the kernel asks for nothing twice. */
	yes = h->given || h->for_sync || h->asked >= h->node.size;
	pthread_mutex_unlock(&h->lock);
	return yes;
}

void handle_close(struct handle *h)
{
	/* Not earlier: who still reads this one wants the processors. */
	if (wants_next(h))
		submit(h, follow, h);
	take_out(h);
}

struct file *handle_file(const struct handle *h)
{
	return h->file;
}

struct branch_open *handle_branch(const struct handle *h)
{
	return h->branch;
}

const struct node *handle_node(const struct handle *h)
{
	return &h->node;
}

static void piece_done(struct piece *p)
{
	handle_drop(p->h);
	free(p);
}

static void fetch(void *arg, unsigned worker)
{
	struct piece *p = arg;

	(void)worker;
	file_prefetch(p->file, p->off, p->len);
	piece_done(p);
}

static void tell_disk(void *arg, unsigned worker)
{
	struct piece *p = arg;

	(void)worker;
	file_advise(p->file, p->off, p->len);
	piece_done(p);
}

static bool submit_piece(struct handle *h, struct file *from, pool_fn *job, uint64_t off, size_t len)
{
	struct piece *p = malloc(sizeof(*p));

	if (!p)
		return false;
	*p = (struct piece){h, from, off, len};
	if (submit(h, job, p))
		return true;
	free(p);
	return false;
}

struct file *handle_below(struct handle *h, uint64_t off, uint64_t n, struct branch_share *ret)
{
	return branch_open_below(h->branch, off, n, ret);
}

/* What is read ahead of [off, off + n), or NULL. */
static struct file *source(struct handle *h, uint64_t off, uint64_t n)
{
	struct branch_share share;
	struct file *f = h->branch ? handle_below(h, off, n, &share) : h->file;

	return h->branch && !share.some ? NULL : f;
}

/* Starts one piece at a time; a branch has written some of them. */
static void fetch_span(struct handle *h, uint32_t chunk, struct span s)
{
	while (s.len) {
		size_t piece = chunk > PIECE ? chunk : PIECE;
		size_t len = s.len < piece ? (size_t)s.len : piece - (size_t)(s.off % piece);
		struct file *from;

		if (len > s.len)
			len = (size_t)s.len;
		from = source(h, s.off, len);
		if (from && !submit_piece(h, from, fetch, s.off, len))
			return;
		s.off += len;
		s.len -= len;
	}
}

void handle_note_read(struct handle *h, uint64_t off, size_t n)
{
	struct branch_share share = {.below = h->node.size};
	struct file *from;
	struct span s, disk;

	if (h->own)
		return;
	if (h->node.obj->ops->next) {
		pthread_mutex_lock(&h->lock);
		h->asked += n;
		pthread_mutex_unlock(&h->lock);
	}
	from = h->branch ? handle_below(h, 0, 0, &share) : h->file;
	/* One chunk or none beyond it: the reader has it decoded by the time a thread is awake. */
	if (!from || h->node.flags & NODE_INLINED || share.below <= file_chunk_size(from))
		return;
	pthread_mutex_lock(&h->lock);
	s = readahead_note(&h->ra, off, n, share.below, h->all->limit);
	disk = readahead_disk(&h->ra, share.below);
	pthread_mutex_unlock(&h->lock);
	if (disk.len)
		submit_piece(h, from, tell_disk, disk.off, (size_t)disk.len);
	fetch_span(h, file_chunk_size(from), s);
}
