/* A rope's node from hostile bytes. What is read is within bounds, and written again it reads the same. */
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "store/rope.h"

static bool same(const struct rope_item *a, const struct rope_item *b)
{
	if (a->len != b->len || !a->literal != !b->literal)
		return false;
	return a->literal ? !memcmp(a->literal, b->literal, (size_t)a->len) : digest_eq(&a->id, &b->id);
}

/* The items of a node that reads well, written once more. */
static void write_and_read(const uint8_t *p, size_t size, uint64_t items)
{
	struct rope_node n, again;
	struct rope_item it, it2;
	struct buf b = {0};

	if (rope_node_open(&n, p, size, NULL) < 0)
		abort();
	rope_node_start(&b, n.level, items);
	while (rope_node_next(&n, &it, NULL) > 0)
		rope_node_put(&b, &it);
	if (b.bad || rope_node_open(&again, b.data, b.len, NULL) < 0 || rope_node_open(&n, p, size, NULL) < 0)
		abort();
	while (items--)
		if (rope_node_next(&n, &it, NULL) != 1 || rope_node_next(&again, &it2, NULL) != 1 ||
			!same(&it, &it2))
			abort();
	if (rope_node_next(&again, &it, NULL) != 0)
		abort();
	buf_free(&b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t *p = malloc(size + 1);
	struct rope_node n;
	struct rope_item it;
	struct err e = {0};
	uint64_t items = 0;
	int r;

	memcpy(p, data, size);
	r = rope_node_open(&n, p, size, &e);
	if (!r && (n.level > ROPE_LEVELS || !n.left || n.left > ROPE_NODE_ITEMS))
		abort();
	if (!r)
		while ((r = rope_node_next(&n, &it, &e)) > 0) {
			items++;
			if (!it.len || it.len > INT64_MAX ||
				(it.literal && (it.len > ROPE_LITERAL_MAX || it.literal < p ||
						       it.literal + it.len > p + size)) ||
				(!it.literal && !n.level && it.len > ROPE_PIECE_MAX))
				abort();
		}
	if (r < 0 && (r != -EBADMSG || !e.text[0]))
		abort();
	if (!r)
		write_and_read(p, size, items);
	free(p);
	return 0;
}
