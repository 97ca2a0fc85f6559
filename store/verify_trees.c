/* The second pass of verify: everything that a snapshot reaches is there. See verify.h.
 *
 * A subtree or a piece of a file map that was found whole is remembered by its digest and not walked again: the next
 * snapshot shares most of them. What is not whole is walked for each snapshot, so that each file of each snapshot
 * that lost something is named. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/clean.h"
#include "store/map.h"
#include "store/node.h"
#include "store/rope.h"
#include "store/verify_priv.h"

#define CLEAN 0
#define DIRTY 1
#define STALE 2 /* not where the index says: it may be behind */

CLEANUP_DEFINE(struct snapshot, snapshot_free)
CLEANUP_DEFINE(struct blob, blob_release)

/* A file whose map is walked: lost chunks that follow each other are told as one range. */
struct file_walk {
	const struct content *content;
	uint64_t chunks;
	uint64_t from, to; /* of the range that is open; to 0: none */
	struct err why;
};

struct walk {
	struct verify *v;
	const struct snapshot_ref *snapshot;
	struct digestset whole;
	struct buf path;
	struct verify_unit **packs; /* by the index's number; NULL: not met, or gone */
	size_t n_packs;
	struct verify_unit young; /* stands for packs that came after the list of units was made */
};

/* ---- telling ---- */

static void tell_lost(struct walk *w, const char *why, uint64_t from, uint64_t to)
{
	struct verify *v = w->v;
	struct object_info info;
	char object[REPO_SNAPSHOT_NAME];
	struct verify_finding f = {
		.kind = VERIFY_LOST,
		.object = "",
		.why = why,
		.cluster = w->snapshot->cluster,
		.snapshot_kind = snapshot_kind_name(w->snapshot->kind),
		.snapshot = w->snapshot->id,
		.path = w->path.len ? (const char *)w->path.data : "",
		.from = from,
		.to = to,
	};

	/* Pruned meanwhile: then its chunks may go, too. */
	repo_snapshot_name(object, w->snapshot->cluster, w->snapshot->kind, w->snapshot->id);
	if (backend_stat(v->s->backend, object, &info, NULL) == -ENOENT)
		return;
	pthread_mutex_lock(&v->lock);
	v->report.lost++;
	v->fn(v->arg, &f);
	pthread_mutex_unlock(&v->lock);
}

/* Appends "/name" and returns the length to cut back to. */
static int path_push(struct walk *w, const char *name, size_t *ret_was, struct err *e)
{
	*ret_was = w->path.len;
	if (w->path.len)
		buf_put_u8(&w->path, '/');
	buf_put(&w->path, name, strlen(name) + 1);
	if (w->path.bad)
		return err_sys(e, -ENOMEM, "%s", name);
	w->path.len--; /* the NUL is there, but not counted */
	return 0;
}

static void path_pop(struct walk *w, size_t was)
{
	w->path.len = was;
	if (w->path.cap)
		w->path.data[was] = 0;
}

/* ---- references ---- */

static int remember_pack(struct walk *w, const struct place *at)
{
	char name[PACK_NAME_MAX];
	struct object_info info;

	if (at->pack >= w->n_packs) {
		size_t n = (size_t)at->pack + 64;
		struct verify_unit **p = realloc(w->packs, n * sizeof(struct verify_unit *));

		if (!p)
			return -ENOMEM;
		memset(p + w->n_packs, 0, (n - w->n_packs) * sizeof(struct verify_unit *));
		w->packs = p;
		w->n_packs = n;
	}
	if (w->packs[at->pack])
		return 0;
	index_object_name(w->v->s->index, at, name);
	w->packs[at->pack] = verify_unit_find(w->v, name);
	if (!w->packs[at->pack] && backend_stat(w->v->s->backend, name, &info, NULL) == 0)
		w->packs[at->pack] = &w->young;
	return 0;
}

/* CLEAN, DIRTY or STALE with the reason, or an error. */
static int look_up(struct walk *w, const struct digest *id, struct err *why, struct err *e)
{
	struct verify *v = w->v;
	struct verify_unit *u;
	char hex[DIGEST_HEX];
	struct place at;

	if (!index_find(v->s->index, id, &at)) {
		err_set(why, -ENODATA, "chunk %s is missing", digest_hex(id, hex));
		return STALE;
	}
	if (remember_pack(w, &at) < 0)
		return err_sys(e, -ENOMEM, "verify");
	u = w->packs[at.pack];
	if (!u) {
		err_set(why, -ESTALE, "the pack of chunk %s is gone", digest_hex(id, hex));
		return STALE;
	}
	if (u->unreadable) {
		err_set(why, -ENODATA, "chunk %s lies in %s, which is damaged", digest_hex(id, hex), u->name);
		return STALE;
	}
	if (v->bad.n && digestset_has(&v->bad, id)) {
		if (digestset_add(&v->used, id) < 0)
			return err_sys(e, -ENOMEM, "verify");
		err_set(why, -ENODATA, "chunk %s is damaged", digest_hex(id, hex));
		return DIRTY;
	}
	return CLEAN;
}

/* CLEAN, DIRTY with the reason, or an error. */
static int search(struct walk *w, const struct digest *id, struct err *why, struct err *e)
{
	struct repo_search looks = {0};

	for (;;) {
		int r = look_up(w, id, why, e), again;

		if (r != STALE && looks.looks)
			verify_found(w->v);
		if (r != STALE)
			return r;
		again = verify_look_again(w->v, &looks, why->code == -ESTALE, e);
		if (again <= 0)
			return again < 0 ? again : DIRTY;
		/* Its numbers may be others now. */
		if (w->n_packs)
			memset(w->packs, 0, w->n_packs * sizeof(struct verify_unit *));
		*why = (struct err){0};
	}
}

static int check_ref(
	struct walk *w, const struct digest *id, enum record_kind kind, struct err *why, struct err *e)
{
	int r = search(w, id, why, e), told = 0;

	if (r == DIRTY && w->v->o->on_missing)
		told = w->v->o->on_missing(w->v->arg, id, (int)kind, e);
	return told < 0 ? told : r;
}

/* The bytes of a node. CLEAN and *ret, DIRTY with the reason, or an error. */
static int get_node(struct walk *w, const struct digest *id, enum record_kind kind, struct blob **ret,
	struct err *why, struct err *e)
{
	struct err mine = {0};
	int r = check_ref(w, id, kind, why, e);

	if (r != CLEAN)
		return r;
	r = repo_blob(w->v->s, id, kind, ret, &mine);
	if (r == -ENOMEM)
		return err_set(e, r, "%s", mine.text);
	if (r < 0) {
		*why = mine;
		return DIRTY;
	}
	return CLEAN;
}

/* ---- files ---- */

static void end_range(struct walk *w, struct file_walk *f)
{
	if (f->to)
		tell_lost(w, f->why.text, f->from, f->to);
	f->to = 0;
}

static void lose_bytes(struct walk *w, struct file_walk *f, uint64_t from, uint64_t to, const struct err *why)
{
	if (f->to && f->to == from) {
		f->to = to;
		return;
	}
	end_range(w, f);
	f->from = from;
	f->to = to;
	f->why = *why;
}

/* `n` chunks from `first` on are lost. */
static void lose(struct walk *w, struct file_walk *f, uint64_t first, uint64_t n, const struct err *why)
{
	unsigned shift = f->content->chunk_shift;

	lose_bytes(
		w, f, first << shift, first + n >= f->chunks ? f->content->size : (first + n) << shift, why);
}

/* The map node of that level, or with level 0 the chunk, that spans chunks from `first` on. */
static int walk_map(struct walk *w, struct file_walk *f, const struct digest *id, unsigned level,
	uint64_t first, struct err *e)
{
	uint64_t below = level ? (uint64_t)1 << (MAP_SHIFT * (level - 1)) : 0, left = f->chunks - first;
	uint64_t span = level ? below << MAP_SHIFT : 1, n = left < span ? left : span;
	_cleanup_(blob_releasep) struct blob *b = NULL;
	bool clean = true;
	struct err why = {0};
	int r;

	if (digest_is_zero(id))
		return CLEAN;
	if (level && digestset_has(&w->whole, id))
		return CLEAN;
	r = level ? get_node(w, id, RECORD_MAP, &b, &why, e) : check_ref(w, id, RECORD_CHUNK, &why, e);
	if (r == DIRTY)
		lose(w, f, first, n, &why);
	if (r != CLEAN || !level)
		return r;
	if (blob_len(b) != (n + below - 1) / below * DIGEST_LEN) {
		char hex[DIGEST_HEX];

		err_set(&why, -EBADMSG, "map node %s has %zu bytes, not a reference for each of %llu pieces",
			digest_hex(id, hex), blob_len(b), (unsigned long long)((n + below - 1) / below));
		lose(w, f, first, n, &why);
		return DIRTY;
	}
	for (uint64_t i = 0; i * below < n; i++) {
		struct digest ref;

		memcpy(ref.b, blob_data(b) + i * DIGEST_LEN, DIGEST_LEN);
		r = walk_map(w, f, &ref, level - 1, first + i * below, e);
		if (r < 0)
			return r;
		clean = clean && r == CLEAN;
	}
	if (clean && digestset_add(&w->whole, id) < 0)
		return err_sys(e, -ENOMEM, "verify");
	return clean ? CLEAN : DIRTY;
}

/* The same for a rope: a node of that level, or a chunk above level 0, which has the len bytes from off on. */
static int walk_rope(struct walk *w, struct file_walk *f, const struct digest *id, int level, uint64_t off,
	uint64_t len, struct err *e)
{
	_cleanup_(blob_releasep) struct blob *b = NULL;
	struct err why = {0};
	struct rope_node n;
	struct rope_item it;
	bool clean = true;
	uint64_t at = off;
	int r, got;

	if (digest_is_zero(id) || (level >= 0 && digestset_has(&w->whole, id)))
		return CLEAN;
	r = level >= 0 ? get_node(w, id, RECORD_MAP, &b, &why, e) : check_ref(w, id, RECORD_CHUNK, &why, e);
	if (r == DIRTY)
		lose_bytes(w, f, off, off + len, &why);
	if (r != CLEAN || level < 0)
		return r;
	got = rope_node_open(&n, blob_data(b), blob_len(b), &why);
	if (!got && n.level != (unsigned)level)
		got = err_set(&why, -EBADMSG, "a rope's node has level %u where %d belongs", n.level, level);
	while (got >= 0 && (got = rope_node_next(&n, &it, &why)) > 0) {
		if (it.len > off + len - at)
			break;
		r = it.literal ? CLEAN : walk_rope(w, f, &it.id, level - 1, at, it.len, e);
		if (r < 0)
			return r;
		clean = clean && r == CLEAN;
		at += it.len;
	}
	if (got >= 0 && (got || at != off + len))
		got = err_set(&why, -EBADMSG, "a rope's node does not have the length that was said");
	if (got < 0) {
		lose_bytes(w, f, off, off + len, &why);
		return DIRTY;
	}
	if (clean && digestset_add(&w->whole, id) < 0)
		return err_sys(e, -ENOMEM, "verify");
	return clean ? CLEAN : DIRTY;
}

static int walk_file(struct walk *w, const struct content *c, struct err *e)
{
	struct file_walk f = {.content = c};
	int r;

	w->v->report.files++;
	if (c->inlined || !c->size)
		return CLEAN;
	if (content_is_rope(c)) {
		r = walk_rope(w, &f, &c->map, c->height, 0, c->size, e);
		end_range(w, &f);
		return r;
	}
	f.chunks = map_chunks(c->size, c->chunk_shift);
	if (map_height(f.chunks) != c->height) {
		tell_lost(w, "its map has a height that cannot hold its bytes", 0, c->size);
		return DIRTY;
	}
	r = walk_map(w, &f, &c->map, c->height, 0, e);
	end_range(w, &f);
	return r;
}

/* ---- directories ---- */

static int walk_node(struct walk *w, const struct digest *id, int level, struct err *e);

static int walk_entry(struct walk *w, const struct entry *en, struct err *e)
{
	size_t was;
	int r = path_push(w, en->name, &was, e);

	if (r < 0)
		return r;
	switch (en->type) {
	case ENTRY_FILE:
		r = walk_file(w, &en->file, e);
		break;
	case ENTRY_DIR:
		r = digest_is_zero(&en->dir.node) ? CLEAN : walk_node(w, &en->dir.node, -1, e);
		break;
	case ENTRY_SYMLINK:
		break;
	}
	path_pop(w, was);
	return r;
}

/* Entries or children of an open node. */
static int walk_items(struct walk *w, struct node *n, bool *clean, struct err *e)
{
	struct err mine = {0};
	struct node_child child;
	struct entry en;
	int r, got;

	for (;;) {
		got = n->level ? node_child(n, &child, &mine) : node_entry(n, &en, &mine);
		if (got < 0) {
			tell_lost(w, mine.text, 0, 0);
			*clean = false;
			return 0;
		}
		if (!got)
			return 0;
		r = n->level ? walk_node(w, &child.id, (int)n->level - 1, e) : walk_entry(w, &en, e);
		if (r < 0)
			return r;
		*clean = *clean && r == CLEAN;
		if (verify_stopped(w->v))
			return err_set(e, -EINTR, "stopped");
	}
}

/* level: what it must have; -1: any, of a directory's root. */
static int walk_node(struct walk *w, const struct digest *id, int level, struct err *e)
{
	_cleanup_(blob_releasep) struct blob *b = NULL;
	struct err mine = {0};
	struct node n = {0};
	bool clean = true;
	struct err why = {0};
	int r;

	if (digestset_has(&w->whole, id))
		return CLEAN;
	r = get_node(w, id, RECORD_NODE, &b, &why, e);
	if (r == DIRTY)
		tell_lost(w, why.text, 0, 0);
	if (r != CLEAN)
		return r;
	r = node_open(&n, blob_data(b), blob_len(b), &mine);
	if (!r && level >= 0 && n.level != (unsigned)level)
		r = err_set(
			&mine, -EBADMSG, "a directory's node has level %u where %d belongs", n.level, level);
	if (r < 0) {
		node_done(&n);
		tell_lost(w, mine.text, 0, 0);
		return DIRTY;
	}
	r = walk_items(w, &n, &clean, e);
	node_done(&n);
	if (r < 0)
		return r;
	if (clean && digestset_add(&w->whole, id) < 0)
		return err_sys(e, -ENOMEM, "verify");
	return clean ? CLEAN : DIRTY;
}

static int walk_snapshot(struct walk *w, const struct snapshot_ref *ref, struct err *e)
{
	_cleanup_(snapshot_freep) struct snapshot *snap = NULL;
	struct verify *v = w->v;
	struct err why = {0};
	char object[REPO_SNAPSHOT_NAME];
	int r = snapshot_load(v->s, ref->cluster, ref->kind, ref->id, &snap, &why);

	w->snapshot = ref;
	if (r == -ENOMEM)
		return err_set(e, r, "%s", why.text);
	if (r == -ENOENT) /* pruned meanwhile */
		return 0;
	if (r < 0) {
		repo_snapshot_name(object, ref->cluster, ref->kind, ref->id);
		verify_damaged(v, object, NULL, false, why.text);
		tell_lost(w, "the snapshot itself is damaged", 0, 0);
		return 0;
	}
	if (v->o->since.sec && tstamp_cmp(snap->created, v->o->since) < 0)
		return 0;
	v->report.snapshots++;
	if (digest_is_zero(&snap->root.node))
		return 0;
	r = walk_node(w, &snap->root.node, -1, e);
	return r < 0 ? r : 0;
}

int verify_trees(struct verify *v, struct err *e)
{
	struct walk w = {.v = v};
	struct snapshot_list l = {0};
	int r = snapshot_list(v->s, v->o->cluster, 0, &l, e);

	for (size_t i = 0; i < l.n && !r; i++) {
		path_pop(&w, 0);
		r = walk_snapshot(&w, &l.refs[i], e);
	}
	snapshot_list_free(&l);
	digestset_release(&w.whole);
	buf_free(&w.path);
	free(w.packs);
	return r;
}
