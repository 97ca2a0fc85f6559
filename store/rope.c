/* Reading ropes. See rope.h. */
#include "store/rope.h"

#include <errno.h>
#include <string.h>

#include "src/base/clean.h"
#include "store/repo.h"

CLEANUP_DEFINE(struct blob, blob_release)

int rope_node_open(struct rope_node *n, const void *p, size_t len, struct err *e)
{
	*n = (struct rope_node){.cur = cur_of(p, len)};
	n->level = cur_u8(&n->cur);
	n->left = cur_varint(&n->cur);
	if (n->cur.bad || n->level > ROPE_LEVELS || !n->left || n->left > ROPE_NODE_ITEMS)
		return err_set(e, -EBADMSG, "rope node of %zu bytes has no items", len);
	return 0;
}

int rope_node_next(struct rope_node *n, struct rope_item *ret, struct err *e)
{
	struct rope_item it = {0};
	const uint8_t *p;
	uint64_t v;

	if (!n->left)
		return cur_left(&n->cur) ? err_set(e, -EBADMSG, "rope node has bytes behind its items") : 0;
	v = cur_varint(&n->cur);
	it.len = v >> 1;
	if (v & 1) {
		it.literal = it.len <= ROPE_LITERAL_MAX ? cur_bytes(&n->cur, (size_t)it.len) : NULL;
	} else {
		p = cur_bytes(&n->cur, DIGEST_LEN);
		if (p)
			memcpy(it.id.b, p, DIGEST_LEN);
	}
	if (n->cur.bad || !it.len || it.len > INT64_MAX || (v & 1 && !it.literal) ||
		(!(v & 1) && !n->level && it.len > ROPE_PIECE_MAX))
		return err_set(e, -EBADMSG, "rope node is malformed %llu items before its end",
			(unsigned long long)n->left);
	n->left--;
	*ret = it;
	return 1;
}

void rope_node_start(struct buf *b, unsigned level, uint64_t n)
{
	buf_put_u8(b, (uint8_t)level);
	buf_put_varint(b, n);
}

void rope_node_put(struct buf *b, const struct rope_item *it)
{
	buf_put_varint(b, it->len << 1 | (it->literal != NULL));
	if (it->literal)
		buf_put(b, it->literal, (size_t)it->len);
	else
		buf_put(b, it->id.b, DIGEST_LEN);
}

/* Loads a node and checks that it has the level it should have. */
static int load(struct store *s, const struct digest *id, unsigned level, struct blob **ret,
	struct rope_node *n, struct err *e)
{
	_cleanup_(blob_releasep) struct blob *b = NULL;
	char hex[DIGEST_HEX];
	int r = repo_blob(s, id, RECORD_MAP, &b, e);

	if (!r)
		r = rope_node_open(n, blob_data(b), blob_len(b), e);
	if (!r && n->level != level)
		r = err_set(e, -EBADMSG, "it has level %u instead of %u", n->level, level);
	if (r < 0)
		return err_wrap(e, r, "rope node %s", digest_hex(id, hex));
	*ret = MOVE(b);
	return 0;
}

/* The item of a node that covers off, which becomes relative to it. */
static int item_at(
	struct rope_node *n, const struct digest *id, uint64_t *off, struct rope_item *ret, struct err *e)
{
	char hex[DIGEST_HEX];
	int r;

	while ((r = rope_node_next(n, ret, e)) > 0) {
		if (*off < ret->len)
			return 0;
		*off -= ret->len;
	}
	return r < 0 ? err_wrap(e, r, "rope node %s", digest_hex(id, hex))
		     : err_set(e, -EBADMSG, "rope node %s is shorter than was said", digest_hex(id, hex));
}

int rope_find(struct store *s, const struct content *c, uint64_t off, struct rope_piece *ret, struct err *e)
{
	struct rope_item it = {.len = c->size, .id = c->map};
	uint64_t rest = off;

	for (unsigned level = c->height + 1u; level-- > 0;) {
		_cleanup_(blob_releasep) struct blob *b = NULL;
		struct digest id = it.id;
		uint64_t len = it.len;
		struct rope_node n;
		int r;

		/* Zeroes are zeroes however far down. */
		if (digest_is_zero(&id))
			break;
		r = load(s, &id, level, &b, &n, e);
		if (!r)
			r = item_at(&n, &id, &rest, &it, e);
		if (r < 0)
			return r;
		if (it.len > len)
			return err_set(e, -EBADMSG, "a rope's node is longer than was said");
		if (it.literal) {
			*ret = (struct rope_piece){off - rest, it.len, it.literal, {{0}}, MOVE(b)};
			return 0;
		}
	}
	*ret = (struct rope_piece){off - rest, it.len, NULL, it.id, NULL};
	return 0;
}

static int walk(struct store *s, const struct digest *id, unsigned level, uint64_t off, uint64_t len,
	rope_walk_fn *fn, void *arg, struct err *e)
{
	_cleanup_(blob_releasep) struct blob *b = NULL;
	struct rope_node n;
	struct rope_item it;
	uint64_t at = off;
	int r;

	if (digest_is_zero(id))
		return 0;
	r = fn(arg, RECORD_MAP, id, off, len, e);
	if (r)
		return r < 0 ? r : 0;
	r = load(s, id, level, &b, &n, e);
	while (!r && (r = rope_node_next(&n, &it, e)) > 0) {
		if (it.len > off + len - at)
			return err_set(e, -EBADMSG, "a rope's node is longer than was said");
		r = 0;
		if (!it.literal && level)
			r = walk(s, &it.id, level - 1, at, it.len, fn, arg, e);
		else if (!it.literal && !digest_is_zero(&it.id))
			r = fn(arg, RECORD_CHUNK, &it.id, at, it.len, e);
		at += it.len;
		if (r > 0)
			r = 0;
	}
	if (!r && at != off + len)
		return err_set(e, -EBADMSG, "a rope's node is shorter than was said");
	return r;
}

int rope_walk(struct store *s, const struct content *c, rope_walk_fn *fn, void *arg, struct err *e)
{
	return walk(s, &c->map, c->height, 0, c->size, fn, arg, e);
}
