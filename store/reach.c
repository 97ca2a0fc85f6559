/* Marking what is reachable. See reach.h.
 *
 * A delta's base is told by the head of its record only, so bases are found pack by pack, in the order in which the heads
 * lie, once the trees are walked. A base may be a delta itself: packs that got new marks are looked through again, at most as
 * often as a chain is long. */
#include "store/reach.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/clean.h"
#include "store/map.h"
#include "store/node.h"
#include "store/repo.h"
#include "store/rope.h"

#define WINDOW (1u << 20)
#define DEPTH_MAX 4096 /* directories within directories: a path has fewer than PATH_MAX parts */

CLEANUP_DEFINE(struct blob, blob_release)
CLEANUP_DEFINE(struct object, object_close)

struct tally {
	uint64_t bytes;	 /* marked */
	uint64_t deltas; /* marked since their bases were looked for */
};

struct reach {
	struct store *s;
	const volatile sig_atomic_t *stop;
	uint8_t *bits; /* a record of the index each: it is needed */
	/* And what it leads to is marked: nodes of trees and maps. A chunk may have a node's bytes. */
	uint8_t *walked;
	uint64_t n_bits;
	struct tally *packs;
	uint32_t n_packs;
};

int reach_new(struct store *s, const volatile sig_atomic_t *stop, struct reach **ret, struct err *e)
{
	struct reach *r = calloc(1, sizeof(*r));

	if (r) {
		r->s = s;
		r->stop = stop;
		r->n_bits = index_entries(s->index);
		r->bits = calloc(1, (size_t)(r->n_bits / 8 + 1));
		r->walked = calloc(1, (size_t)(r->n_bits / 8 + 1));
		r->n_packs = index_packs(s->index);
		r->packs = calloc((size_t)r->n_packs + 1, sizeof(*r->packs));
	}
	if (!r || !r->bits || !r->walked || !r->packs) {
		reach_free(r);
		return err_sys(e, -ENOMEM, "marking what is needed");
	}
	*ret = r;
	return 0;
}

void reach_free(struct reach *r)
{
	if (!r)
		return;
	free(r->bits);
	free(r->walked);
	free(r->packs);
	free(r);
}

/* The copy that counts: one in a pack that stays, if there is any. */
static bool place_of(const struct reach *r, const struct digest *id, struct place *ret)
{
	bool found = index_find_lasting(r->s->index, id, ret) || index_find(r->s->index, id, ret);

	return found && ret->entry < r->n_bits && ret->pack < r->n_packs;
}

static bool has(const uint8_t *bits, uint64_t entry)
{
	return bits[entry / 8] >> (entry % 8) & 1;
}

static void set(uint8_t *bits, uint64_t entry)
{
	bits[entry / 8] |= (uint8_t)(1u << (entry % 8));
}

static int mark(struct reach *r, const struct digest *id, struct place *ret, struct err *e)
{
	char hex[DIGEST_HEX];
	struct place at;

	if (!place_of(r, id, &at))
		return err_set(e, -ENODATA, "chunk %s is missing", digest_hex(id, hex));
	*ret = at;
	if (has(r->bits, at.entry))
		return 0;
	set(r->bits, at.entry);
	r->packs[at.pack].bytes += at.len;
	r->packs[at.pack].deltas += at.depth > 0;
	return 0;
}

static int mark_chunk(struct reach *r, const struct digest *id, struct err *e)
{
	struct place at;

	return mark(r, id, &at, e);
}

/* Marks a node and gives its bytes. 0: it was walked before. */
static int enter(
	struct reach *r, const struct digest *id, enum record_kind kind, struct blob **ret, struct err *e)
{
	struct place at = {0};
	int got = mark(r, id, &at, e);

	if (got < 0 || has(r->walked, at.entry))
		return got;
	set(r->walked, at.entry);
	if (r->stop && *r->stop)
		return err_set(e, -EINTR, "stopped");
	got = repo_blob(r->s, id, kind, ret, e);
	return got < 0 ? got : 1;
}

static int walk_map(struct reach *r, const struct digest *id, unsigned level, struct err *e)
{
	_cleanup_(blob_releasep) struct blob *b = NULL;
	int got;

	if (digest_is_zero(id))
		return 0;
	if (!level)
		return mark_chunk(r, id, e);
	got = enter(r, id, RECORD_MAP, &b, e);
	if (got <= 0)
		return got;
	for (uint64_t i = 0; i < blob_len(b) / DIGEST_LEN; i++) {
		struct digest ref;

		got = map_ref(blob_data(b), blob_len(b), i, &ref, e);
		if (!got)
			got = walk_map(r, &ref, level - 1, e);
		if (got < 0)
			return got;
	}
	return 0;
}

/* A rope's node of that level, or below level 0 a chunk. */
static int walk_rope(struct reach *r, const struct digest *id, int level, struct err *e)
{
	_cleanup_(blob_releasep) struct blob *b = NULL;
	struct rope_node n;
	struct rope_item it;
	int got;

	if (digest_is_zero(id))
		return 0;
	if (level < 0)
		return mark_chunk(r, id, e);
	got = enter(r, id, RECORD_MAP, &b, e);
	if (got <= 0)
		return got;
	got = rope_node_open(&n, blob_data(b), blob_len(b), e);
	if (!got && n.level != (unsigned)level)
		got = err_set(e, -EBADMSG, "a rope's node of level %u where %d belongs", n.level, level);
	while (!got && (got = rope_node_next(&n, &it, e)) > 0)
		got = it.literal ? 0 : walk_rope(r, &it.id, level - 1, e);
	return got;
}

static int walk_content(struct reach *r, const struct content *c, struct err *e)
{
	if (content_is_rope(c))
		return walk_rope(r, &c->map, c->height, e);
	if (c->height > MAP_LEVELS)
		return err_set(e, -EBADMSG, "a file map of height %u", c->height);
	return walk_map(r, &c->map, c->height, e);
}

static int walk_node(struct reach *r, const struct digest *id, unsigned depth, struct err *e);

static int walk_items(struct reach *r, struct node *n, unsigned depth, struct err *e)
{
	struct node_child child;
	struct entry en;
	int got;

	while ((got = n->level ? node_child(n, &child, e) : node_entry(n, &en, e)) > 0) {
		if (n->level)
			got = walk_node(r, &child.id, depth + 1, e);
		else if (en.type == ENTRY_DIR && !digest_is_zero(&en.dir.node))
			got = walk_node(r, &en.dir.node, depth + 1, e);
		else if (en.type == ENTRY_FILE && !en.file.inlined && en.file.size)
			got = walk_content(r, &en.file, e);
		else
			got = 0;
		if (got < 0)
			return got;
	}
	return got;
}

static int walk_node(struct reach *r, const struct digest *id, unsigned depth, struct err *e)
{
	_cleanup_(blob_releasep) struct blob *b = NULL;
	struct node n = {0};
	char hex[DIGEST_HEX];
	int got;

	if (depth > DEPTH_MAX)
		return err_set(e, -EBADMSG, "tree node %s lies deeper than any path", digest_hex(id, hex));
	got = enter(r, id, RECORD_NODE, &b, e);
	if (got <= 0)
		return got;
	got = node_open(&n, blob_data(b), blob_len(b), e);
	if (got < 0)
		err_wrap(e, got, "tree node %s", digest_hex(id, hex));
	else
		got = walk_items(r, &n, depth, e);
	node_done(&n);
	return got;
}

int reach_snapshot(struct reach *r, const struct snapshot *snap, struct err *e)
{
	int got = digest_is_zero(&snap->root.node) ? 0 : walk_node(r, &snap->root.node, 0, e);

	return got < 0 && got != -EINTR ? err_wrap(e, got, "snapshot %s/%s", snap->cluster, snap->id) : got;
}

/* ---- bases ---- */

/* A pack's bytes in windows, for heads that lie close together. */
struct heads {
	struct object *o;
	uint8_t *p;
	uint64_t off;
	size_t len;
};

static int read_head(
	struct heads *h, const struct pack_entry *en, const uint8_t **ret, size_t *n, struct err *e)
{
	*n = en->len < RECORD_HEAD_MAX ? en->len : RECORD_HEAD_MAX;
	if (en->off < h->off || en->off + *n > h->off + h->len) {
		ssize_t got = object_read(h->o, en->off, h->p, WINDOW, e);

		if (got < 0)
			return (int)got;
		h->off = en->off;
		h->len = (size_t)got;
		if (h->len < *n)
			return err_set(e, -EBADMSG, "it is shorter than its footer says");
	}
	*ret = h->p + (en->off - h->off);
	return 0;
}

static int mark_bases_of(struct reach *r, struct heads *h, const struct pack_entry *entries, size_t n,
	uint32_t pack, bool all, struct err *e)
{
	for (size_t i = 0; i < n; i++) {
		const uint8_t *head = NULL;
		struct digest base;
		size_t len = 0;
		int got;

		if (!entries[i].depth || (!all && !reach_has(r, &entries[i].id, pack, entries[i].off)))
			continue;
		got = read_head(h, &entries[i], &head, &len, e);
		if (!got)
			got = record_base(head, len, &entries[i].id, &base, e);
		if (!got)
			got = mark_chunk(r, &base, e);
		if (got < 0)
			return got;
	}
	return 0;
}

/* all: of unmarked deltas, too. */
static int mark_bases(struct reach *r, uint32_t pack, bool all, struct err *e)
{
	const struct place at = {.pack = pack};
	_cleanup_(freep) struct pack_entry *entries = NULL;
	_cleanup_(object_closep) struct object *o = NULL;
	_cleanup_(freep) uint8_t *window = malloc(WINDOW);
	struct heads h = {.p = window};
	struct object_info info;
	char name[PACK_NAME_MAX];
	struct digest id;
	size_t n = 0;
	int got;

	if (!window)
		return err_sys(e, -ENOMEM, "marking what is needed");
	index_object_name(r->s->index, &at, name);
	digest_parse(strrchr(name, '/') + 1, &id);
	got = backend_stat(r->s->backend, name, &info, e);
	if (!got)
		got = pack_load_footer(r->s->backend, &id, info.size, &entries, &n, e);
	if (!got)
		got = backend_open(r->s->backend, name, &o, e);
	h.o = o;
	if (!got)
		got = mark_bases_of(r, &h, entries, n, pack, all, e);
	return got < 0 ? err_wrap(e, got, "object %s", name) : 0;
}

int reach_bases(struct reach *r, struct err *e)
{
	bool again = true;

	while (again) {
		again = false;
		for (uint32_t p = 0; p < r->n_packs; p++) {
			int got;

			if (!r->packs[p].deltas)
				continue;
			if (r->stop && *r->stop)
				return err_set(e, -EINTR, "stopped");
			r->packs[p].deltas = 0;
			again = true;
			got = mark_bases(r, p, false, e);
			if (got < 0)
				return got;
		}
	}
	return 0;
}

int reach_whole_pack(struct reach *r, uint32_t pack, struct err *e)
{
	return mark_bases(r, pack, true, e);
}

bool reach_has(const struct reach *r, const struct digest *id, uint32_t pack, uint32_t off)
{
	struct place at;

	return place_of(r, id, &at) && at.pack == pack && at.off == off && has(r->bits, at.entry);
}

uint64_t reach_bytes(const struct reach *r, uint32_t pack)
{
	return pack < r->n_packs ? r->packs[pack].bytes : 0;
}
