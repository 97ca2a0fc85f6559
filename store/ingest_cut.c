/* Streams cut by content. See ingest_rope.h.
 *
 * The maker's thread cuts, names each chunk and looks at home; only what is not there goes to a worker. A leaf (the rope's
 * node of level 0) is written by whoever finishes the last of its chunks. */
#include "store/ingest_rope.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/clean.h"
#include "store/cutter.h"
#include "store/ingest_priv.h"
#include "store/repo.h"
#include "store/rope.h"
#include "store/rope_home.h"
#include "store/rope_made.h"

#define BUFFER (4u << 20)
#define LEAF_ITEMS 256
#define LEAF_BYTES (16u << 20)

struct ingest_cut {
	struct ingest *ingest;
	struct rope *rope; /* the ingest's */
	struct rope_home *home;
	struct rope_leaf *leaf; /* being filled, or NULL */
	struct cutter cutter;
	size_t from, to; /* of what is in buf and not cut */
	uint8_t *buf;	 /* BUFFER bytes; until there are ROPE_SMALL there is none, and they are in small */
	uint8_t small[ROPE_SMALL];
};

struct chunk_task {
	struct ingest *ingest;
	struct rope_leaf *leaf;
	unsigned item;
	struct digest home;
	size_t len;
	uint8_t bytes[];
};

void ropes_free(struct rope *first)
{
	while (first) {
		struct rope *r = first;

		first = r->next;
		for (size_t i = 0; i < r->n; i++)
			free(r->leaves[i]);
		free(r->leaves);
		free(r->small);
		free(r);
	}
}

uint64_t rope_size(const struct rope *r)
{
	return r->size;
}

uint64_t rope_part_len(const struct rope *r, size_t i)
{
	if (r->small)
		return i ? 0 : r->size;
	return i < r->n ? r->leaves[i]->len : 0;
}

/* The last of a leaf's chunks is done: its node. */
static int leaf_unref(struct ingest *in, struct rope_leaf *l, struct chunker *c, struct err *e)
{
	_cleanup_(buf_free) struct buf b = {0};
	struct chunk_result res;
	int r;

	if (atomic_fetch_sub(&l->pending, 1) != 1 || !c)
		return 0;
	rope_node_start(&b, 0, l->n);
	for (unsigned i = 0; i < l->n; i++) {
		struct rope_item it = {.len = l->lens[i], .id = l->ids[i]};

		rope_node_put(&b, &it);
	}
	if (b.bad)
		return err_sys(e, -ENOMEM, "a rope's node");
	r = chunker_store(c, RECORD_MAP, b.data, b.len, NULL, &res, e);
	if (r < 0)
		return r;
	if (res.fresh)
		atomic_fetch_add(&in->unique, b.len);
	l->id = res.id;
	return 0;
}

static int run_chunk(void *arg, struct chunker *c, struct err *e)
{
	struct chunk_task *t = arg;
	struct chunk_result res;
	int r = 0;

	if (c && t->len) {
		r = chunker_store_text(c, t->bytes, t->len, &t->home, &res, e);
		if (!r) {
			t->leaf->ids[t->item] = res.id;
			atomic_fetch_add(&t->leaf->stored, res.stored);
			if (res.fresh)
				atomic_fetch_add(&t->ingest->unique, t->len);
			if (res.delta)
				atomic_fetch_add(&t->ingest->deltas, 1);
		}
	}
	if (!r)
		r = leaf_unref(t->ingest, t->leaf, c, e);
	free(t);
	return r;
}

/* Hands a chunk to a worker; len 0: only the maker's hold on the leaf. */
static int submit(struct ingest_cut *c, unsigned item, const struct digest *home, const uint8_t *p,
	size_t len, struct err *e)
{
	struct chunk_task *t = malloc(sizeof(*t) + len);

	if (!t)
		return err_sys(e, -ENOMEM, "storing a chunk");
	*t = (struct chunk_task){
		.ingest = c->ingest, .leaf = c->leaf, .item = item, .home = *home, .len = len};
	if (len) {
		memcpy(t->bytes, p, len);
		atomic_fetch_add(&c->leaf->pending, 1);
	}
	return ingest_task(c->ingest, run_chunk, t, e);
}

static int end_leaf(struct ingest_cut *c, struct err *e)
{
	struct digest none = {{0}};
	int r = c->leaf ? submit(c, 0, &none, NULL, 0, e) : 0;

	c->leaf = NULL;
	return r;
}

static int start_leaf(struct ingest_cut *c, struct err *e)
{
	struct rope *rope = c->rope;
	struct rope_leaf *l;

	if (rope->n == rope->cap) {
		size_t cap = rope->cap ? 2 * rope->cap : 4;
		struct rope_leaf **more = realloc(rope->leaves, cap * sizeof(*more));

		if (!more)
			return err_sys(e, -ENOMEM, "a rope");
		rope->leaves = more;
		rope->cap = cap;
	}
	l = calloc(1, sizeof(*l) + LEAF_ITEMS * (sizeof(l->ids[0])));
	if (!l)
		return err_sys(e, -ENOMEM, "a rope");
	atomic_store(&l->pending, 1);
	rope->leaves[rope->n++] = c->leaf = l;
	return 0;
}

/* One chunk: known at home, or a worker's. */
static int take_chunk(struct ingest_cut *c, const uint8_t *p, size_t len, bool leaf_ends, struct err *e)
{
	struct digest id = digest_of(p, len), ref = {{0}};
	struct place at;
	bool at_home;
	unsigned item;
	int r = c->leaf ? 0 : start_leaf(c, e);

	if (r < 0)
		return r;
	at_home = c->home && rope_home_step(c->home, &id, len, &ref);
	item = c->leaf->n++;
	c->leaf->lens[item] = (uint32_t)len;
	c->leaf->len += len;
	atomic_fetch_add(&c->ingest->logical, len);
	if (at_home && index_find_lasting(c->ingest->store->index, &id, &at)) {
		c->leaf->ids[item] = id;
		atomic_fetch_add(&c->leaf->stored, at.len);
	} else {
		r = submit(c, item, &ref, p, len, e);
	}
	if (!r && (leaf_ends || c->leaf->n == LEAF_ITEMS || c->leaf->len + CUTTER_MAX > LEAF_BYTES))
		r = end_leaf(c, e);
	return r;
}

/* Cuts what is in the buffer, as long as the cuts do not depend on what comes. */
static int cut(struct ingest_cut *c, bool last, struct err *e)
{
	while (c->to - c->from >= CUTTER_MAX || (last && c->to > c->from)) {
		bool leaf;
		size_t len = cutter_cut(&c->cutter, c->buf + c->from, c->to - c->from, &leaf);
		int r = take_chunk(c, c->buf + c->from, len, leaf, e);

		if (r < 0)
			return r;
		c->from += len;
	}
	memmove(c->buf, c->buf + c->from, c->to - c->from);
	c->to -= c->from;
	c->from = 0;
	return ingest_failed(c->ingest, e);
}

int ingest_cut_open(struct ingest *in, const char *path, struct ingest_cut **ret, struct err *e)
{
	struct ingest_cut *c = calloc(1, sizeof(*c));
	struct rope *rope = calloc(1, sizeof(*rope));
	struct err why = {0};
	struct content home;
	int r = ingest_failed(in, e);

	if (r < 0 || !c || !rope ||
		(ingest_home_rope(in, path, &home) == 0 && rope_home_new(in->store, &home, &c->home) < 0)) {
		free(c);
		free(rope);
		err_sys(&why, -ENOMEM, "%s", path);
		return r < 0 ? r : ingest_fail(in, -ENOMEM, &why, e);
	}
	c->ingest = in;
	c->rope = rope;
	pthread_mutex_lock(&in->open_lock);
	rope->next = in->ropes;
	in->ropes = rope;
	pthread_mutex_unlock(&in->open_lock);
	cutter_init(&c->cutter);
	*ret = c;
	return 0;
}

int ingest_cut_write(struct ingest_cut *c, const void *p, size_t n, struct err *e)
{
	const uint8_t *from = p;
	struct err why = {0};
	int r = 0;

	if (!c->buf && c->to + n <= ROPE_SMALL) {
		memcpy(c->small + c->to, p, n);
		c->to += n;
		c->rope->size += n;
		return ingest_failed(c->ingest, e);
	}
	if (!c->buf) {
		c->buf = malloc(BUFFER);
		if (!c->buf) {
			err_sys(&why, -ENOMEM, "cutting a stream");
			return ingest_fail(c->ingest, -ENOMEM, &why, e);
		}
		memcpy(c->buf, c->small, c->to);
	}
	while (n && !r) {
		size_t part = n < BUFFER - c->to ? n : BUFFER - c->to;

		memcpy(c->buf + c->to, from, part);
		c->to += part;
		c->rope->size += part;
		from += part;
		n -= part;
		if (c->to == BUFFER)
			r = cut(c, false, &why);
	}
	return r < 0 ? ingest_fail(c->ingest, r, &why, e) : 0;
}

int ingest_cut_close(struct ingest_cut *c, struct rope **ret, struct err *e)
{
	struct ingest *in = c->ingest;
	struct rope *rope = c->rope;
	struct err why = {0};
	int r = 0;

	if (c->buf) {
		r = cut(c, true, &why);
		if (!r)
			r = end_leaf(c, &why);
	} else {
		rope->small = malloc(c->to + 1);
		if (!rope->small)
			r = err_sys(&why, -ENOMEM, "cutting a stream");
		else
			memcpy(rope->small, c->small, c->to);
		atomic_fetch_add(&in->logical, c->to);
	}
	rope_home_free(c->home);
	free(c->buf);
	free(c);
	if (r < 0)
		return ingest_fail(in, r, &why, e);
	if (ret)
		*ret = rope;
	return 0;
}
