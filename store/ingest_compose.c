/* Files put together from ropes and literals: the nodes above the leaves. See ingest_rope.h.
 *
 * Nodes end by a rule of content, so that a change far away leaves most of them as they were. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/clean.h"
#include "store/ingest_priv.h"
#include "store/ingest_rope.h"
#include "store/rope.h"
#include "store/rope_made.h"

#define NODE_ITEMS 256	    /* most items of a node */
#define NODE_MIN 16	    /* a node has more than that before it ends by the rule */
#define NODE_END_MASK 0x3fu /* one digest in 64 ends a node */

struct items {
	struct rope_item *v;
	size_t n, cap;
};

static int put(struct items *l, const struct rope_item *it, struct err *e)
{
	if (l->n == l->cap) {
		size_t cap = l->cap ? 2 * l->cap : 64;
		struct rope_item *more = realloc(l->v, cap * sizeof(*more));

		if (!more)
			return err_sys(e, -ENOMEM, "putting a file together");
		l->v = more;
		l->cap = cap;
	}
	l->v[l->n++] = *it;
	return 0;
}

static int put_part(struct items *l, const struct rope_part *p, uint64_t *size, uint64_t *stored,
	bool *leaves, struct err *e)
{
	struct rope_item it = {.len = p->len, .literal = p->literal};
	int r = 0;

	if (p->rope && p->rope->small)
		it = (struct rope_item){.len = p->rope->size, .literal = p->rope->small};
	if (it.literal || !p->rope) {
		*size += it.len;
		return it.len ? put(l, &it, e) : 0;
	}
	for (size_t i = p->first; i < p->first + p->n && !r; i++) {
		const struct rope_leaf *leaf = p->rope->leaves[i];

		it = (struct rope_item){.len = leaf->len, .id = leaf->id};
		*size += leaf->len;
		*stored += atomic_load(&leaf->stored);
		*leaves = true;
		r = put(l, &it, e);
	}
	return r;
}

static int write_node(struct ingest *in, unsigned level, const struct rope_item *v, size_t n,
	struct rope_item *ret, struct err *e)
{
	_cleanup_(buf_free) struct buf b = {0};
	struct chunk_result res;
	int r;

	*ret = (struct rope_item){0};
	rope_node_start(&b, level, n);
	for (size_t i = 0; i < n; i++) {
		rope_node_put(&b, &v[i]);
		ret->len += v[i].len;
	}
	if (b.bad)
		return err_sys(e, -ENOMEM, "putting a file together");
	r = chunker_store(in->workers[in->n_workers - 1].chunker, RECORD_MAP, b.data, b.len, NULL, &res, e);
	if (r < 0)
		return r;
	if (res.fresh)
		atomic_fetch_add(&in->unique, b.len);
	ret->id = res.id;
	return 0;
}

/* Nodes of one level from items; they become the items. */
static int write_level(struct ingest *in, struct items *l, unsigned level, struct err *e)
{
	size_t out = 0, from = 0;

	for (size_t i = 0; i < l->n; i++) {
		size_t n = i + 1 - from;
		struct rope_item node;
		int r;

		if (i + 1 < l->n && n < NODE_ITEMS &&
			(n < NODE_MIN || l->v[i].literal || l->v[i].id.b[0] & NODE_END_MASK))
			continue;
		r = write_node(in, level, l->v + from, n, &node, e);
		if (r < 0)
			return r;
		l->v[out++] = node;
		from = i + 1;
	}
	l->n = out;
	return 0;
}

/* A short file of nothing but literals lives in the tree. */
static int add_inline(struct ingest *in, const char *path, const struct meta *m, const struct items *l,
	uint64_t size, struct err *e)
{
	uint8_t bytes[TREE_INLINE_MAX];
	struct content c = {.size = size, .inlined = bytes};
	size_t at = 0;

	for (size_t i = 0; i < l->n; i++) {
		memcpy(bytes + at, l->v[i].literal, (size_t)l->v[i].len);
		at += (size_t)l->v[i].len;
	}
	return ingest_add_file(in, path, m, &c, e);
}

static int compose(struct ingest *in, const char *path, const struct meta *m, struct items *l,
	const struct rope_part *parts, size_t n, struct err *e)
{
	struct content c = {0};
	unsigned level;
	bool leaves = false;
	int r = 0;

	for (size_t i = 0; i < n && !r; i++)
		r = put_part(l, &parts[i], &c.size, &c.stored, &leaves, e);
	if (r < 0)
		return r;
	if (!leaves && c.size <= TREE_INLINE_MAX)
		return add_inline(in, path, m, l, c.size, e);
	/* Leaves are nodes of level 0; without any the literals are its items. */
	for (level = leaves ? 1 : 0; l->n > 1 || (!leaves && level == 0); level++) {
		r = write_level(in, l, level, e);
		if (r < 0)
			return r;
	}
	c.map = l->v[0].id;
	c.height = (uint8_t)(level - 1);
	return ingest_add_file(in, path, m, &c, e);
}

int ingest_compose(struct ingest *in, const char *path, const struct meta *m, const struct rope_part *parts,
	size_t n, struct err *e)
{
	struct items l = {0};
	struct err why = {0};
	int r = ingest_failed(in, e);

	if (r < 0)
		return r;
	r = compose(in, path, m, &l, parts, n, &why);
	free(l.v);
	return r < 0 ? ingest_fail(in, r, &why, e) : 0;
}
