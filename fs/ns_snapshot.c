/* A snapshot: its tree as the store keeps it, and info.json beside it.
 *
 * Inode numbers: `made` and the two after it are the directory itself, info.json and the `latest` that points
 * here; the tree has a range of its own, taken when it is first entered, so that listing ten thousand backups
 * loads none of them.
 *
 * Invariant: everything at and below the directory is immutable; once loaded, root and first_ino do not
 * change. What a damaged or hostile tree claims is checked against its directory's claims before it becomes a
 * node. Non-goal: keeping entries. Names, targets and inlined bytes are read again when somebody asks for
 * them. */
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fs/fs.h"
#include "src/base/buf.h"
#include "src/base/clean.h"
#include "src/base/clock.h"

#define INFO "info.json"

enum { MADE_DIR, MADE_INFO, MADE_LATEST, MADE_COUNT };

struct ns_snapshot {
	struct ns_object obj;
	char *cluster, *id;
	enum snapshot_kind kind;
	uint64_t made; /* first of MADE_COUNT numbers */
	uint64_t parent;
	uint32_t position;
	struct tstamp stop;

	pthread_mutex_t lock; /* rank: above the inode table's; held while the snapshot is loaded, so that one
			       * thread does; guards all below */
	bool loaded;
	struct dir_ref root;
	uint64_t first_ino; /* of the tree: its root's children begin here */
	size_t info_len;
};

CLEANUP_DEFINE(struct snapshot, snapshot_free)

/* The backup's end, which its id tells: "2026-11-20T02-15-07Z", perhaps with "-2" behind. */
static struct tstamp time_of(const char *id)
{
	struct tstamp t = {0};
	const char *z = strchr(id, 'Z');
	char text[TSTAMP_TEXT];

	if (z && (size_t)(z - id) + 2 <= sizeof(text)) {
		memcpy(text, id, (size_t)(z - id) + 1);
		text[z - id + 1] = '\0';
		if (tstamp_parse(text, &t, NULL) < 0)
			t = (struct tstamp){0};
	}
	return t;
}

/* Reads the snapshot and renders its info.json. */
static int fetch(struct ns_snapshot *s, struct snapshot **ret, struct buf *json, struct err *e)
{
	_cleanup_(snapshot_freep) struct snapshot *snap = NULL;
	int r = snapshot_load(s->obj.fs->store, s->cluster, s->kind, s->id, &snap, e);

	if (r < 0)
		return r;
	r = snapshot_json(snap, 2, json);
	buf_put_u8(json, '\n');
	if (r < 0 || json->bad)
		return err_set(e, r < 0 ? r : -ENOMEM, "snapshot %s: cannot render %s", s->id, INFO);
	*ret = MOVE(snap);
	return 0;
}

/* What the snapshot says about its tree, loaded once; a failure is tried again next time. */
static int load(
	struct ns_snapshot *s, struct dir_ref *ret_root, uint64_t *ret_first, size_t *ret_len, struct err *e)
{
	int r = 0;

	pthread_mutex_lock(&s->lock);
	if (!s->loaded) {
		_cleanup_(snapshot_freep) struct snapshot *snap = NULL;
		_cleanup_(buf_free) struct buf json = {0};

		r = fetch(s, &snap, &json, e);
		if (r >= 0)
			r = inode_range(s->obj.fs->inodes, snap->root.descendants, &s->first_ino, e);
		if (r >= 0) {
			s->root = snap->root;
			s->info_len = json.len;
			s->loaded = true;
		}
	}
	if (r >= 0) {
		*ret_root = s->root;
		*ret_first = s->first_ino;
		*ret_len = s->info_len;
	}
	pthread_mutex_unlock(&s->lock);
	return r;
}

static void self(struct ns_object *o, struct node *ret)
{
	struct ns_snapshot *s = (struct ns_snapshot *)o;

	*ret = ns_made_dir(o, s->made + MADE_DIR, s->parent, s->position);
	ret->mtime = s->stop.sec;
	ret->mtime_ns = s->stop.nsec;
}

static struct node info_node(struct ns_snapshot *s, const struct dir_ref *root, size_t len)
{
	struct node n;

	self(&s->obj, &n);
	n.parent = n.ino;
	n.ino = s->made + MADE_INFO;
	n.position = (uint32_t)root->entries; /* after all others */
	n.type = ENTRY_FILE;
	n.mode = 0444;
	n.flags = NODE_INLINED;
	n.size = len;
	n.stored = 0;
	return n;
}

void ns_snapshot_latest(struct ns_object *o, struct node *ret)
{
	struct ns_snapshot *s = (struct ns_snapshot *)o;

	self(o, ret);
	ret->ino = s->made + MADE_LATEST;
	ret->type = ENTRY_SYMLINK;
	ret->mode = 0777;
	ret->flags = NODE_BRIEF_NAME;
	ret->size = strlen(s->id);
	ret->stored = 0;
}

/* A directory of the tree: what the store needs to read it, and the number before its first child's. */
struct place {
	struct dir_ref ref;
	uint64_t ino;	/* as its children name it */
	uint64_t first; /* the first child's number */
	bool top;	/* the snapshot's own directory, which info.json is in */
	size_t info_len;
};

static int place_of(struct ns_snapshot *s, const struct node *dir, struct place *ret, struct err *e)
{
	struct place p = {.ino = dir->ino, .top = dir->ino == s->made + MADE_DIR};
	int r = load(s, &p.ref, &p.first, &p.info_len, e);

	if (r < 0)
		return r;
	if (!p.top) {
		p.ref = (struct dir_ref){dir->digest, dir->entries, dir->descendants};
		p.first = dir->ino + 1;
	}
	*ret = p;
	return 0;
}

/* Makes a node of an entry of p, or refuses what cannot be: -EBADMSG. */
static int node_of(
	struct ns_snapshot *s, const struct place *p, const struct entry *en, struct node *ret, struct err *e)
{
	uint64_t below = en->type == ENTRY_DIR ? en->dir.descendants : 0;
	struct node n = {
		.parent = p->ino,
		.obj = &s->obj,
		.mtime = en->meta.mtime.sec,
		.mtime_ns = en->meta.mtime.nsec,
		.mode = en->meta.mode & 07777,
		.type = (uint8_t)en->type,
		.position = (uint32_t)en->position,
		.ino = p->first + en->number,
	};

	/* info.json comes after the tree's own entries and has a position, too. */
	if (en->position >= UINT32_MAX || en->number >= p->ref.descendants ||
		below >= p->ref.descendants - en->number || !strcmp(en->name, ".") || !strcmp(en->name, ".."))
		return err_set(e, -EBADMSG,
			"damaged tree: entry %" PRIu64 " has number %" PRIu64 " and %" PRIu64
			" below it, in a directory of %" PRIu64,
			en->position, en->number, below, p->ref.descendants);
	switch (en->type) {
	case ENTRY_FILE:
		if (en->file.size > INT64_MAX)
			return err_set(
				e, -EBADMSG, "damaged tree: a file of %" PRIu64 " bytes", en->file.size);
		n.size = en->file.size;
		n.stored = en->file.stored;
		n.height = en->file.height;
		n.chunk_shift = en->file.chunk_shift;
		if (en->file.inlined)
			n.flags = NODE_INLINED;
		else
			n.digest = en->file.map;
		break;
	case ENTRY_DIR:
		n.entries = en->dir.entries;
		n.descendants = en->dir.descendants;
		n.digest = en->dir.node;
		break;
	case ENTRY_SYMLINK:
		n.size = strlen(en->target);
		break;
	}
	owner_resolve(s->obj.fs->owners, &en->meta, &n.uid, &n.gid);
	*ret = n;
	return 0;
}

static int lookup(
	struct ns_object *o, const struct node *dir, const char *name, struct node *ret, struct err *e)
{
	struct ns_snapshot *s = (struct ns_snapshot *)o;
	_cleanup_(freep) struct entry *en = NULL;
	struct place p;
	int r = place_of(s, dir, &p, e);

	if (r < 0)
		return r;
	if (p.top && !strcmp(name, INFO)) {
		*ret = info_node(s, &p.ref, p.info_len);
		return 0;
	}
	r = tree_lookup(o->fs->store, &p.ref, name, &en, e);
	return r < 0 ? r : node_of(s, &p, en, ret, e);
}

struct lister {
	struct ns_snapshot *s;
	const struct place *place;
	ns_emit *emit;
	void *arg;
	struct err *e;
};

static int list_entry(void *arg, const struct entry *en)
{
	struct lister *l = arg;
	struct node n;
	int r;

	if (l->place->top && !strcmp(en->name, INFO))
		return 0; /* ours hides it */
	r = node_of(l->s, l->place, en, &n, l->e);
	return r < 0 ? r : l->emit(l->arg, en->name, en->position + 1, &n);
}

static int list(struct ns_object *o, const struct node *dir, uint64_t position, ns_emit *emit, void *arg,
	struct err *e)
{
	struct ns_snapshot *s = (struct ns_snapshot *)o;
	struct place p;
	struct lister l = {s, &p, emit, arg, e};
	struct node n;
	int r = place_of(s, dir, &p, e);

	if (r < 0)
		return r;
	if (position < p.ref.entries) {
		r = tree_walk(o->fs->store, &p.ref, position, list_entry, &l, e);
		if (r)
			return r;
		position = p.ref.entries;
	}
	if (!p.top || position > p.ref.entries)
		return 0;
	n = info_node(s, &p.ref, p.info_len);
	return emit(arg, INFO, p.ref.entries + 1, &n);
}

static int take_first(void *arg, const struct entry *en)
{
	struct entry **ret = arg;

	*ret = entry_dup(en);
	return *ret ? 1 : -ENOMEM;
}

static int entry_at(
	struct store *s, const struct dir_ref *dir, uint64_t position, struct entry **ret, struct err *e)
{
	int r = tree_walk(s, dir, position, take_first, ret, e);

	if (r == 0)
		return err_set(e, -EBADMSG, "damaged tree: no entry %" PRIu64 " in a directory of %" PRIu64,
			position, dir->entries);
	return r < 0 ? r : 0;
}

/* The child of p with the highest number that is not above `number` (relative to p): a binary search, because
 * numbers grow with positions. */
static int entry_before(
	struct store *s, const struct place *p, uint64_t number, struct entry **ret, struct err *e)
{
	_cleanup_(freep) struct entry *best = NULL;
	uint64_t lo = 0, hi = p->ref.entries;

	while (lo < hi) {
		_cleanup_(freep) struct entry *en = NULL;
		uint64_t mid = lo + (hi - lo) / 2;
		int r = entry_at(s, &p->ref, mid, &en, e);

		if (r < 0)
			return r;
		if (en->number > number) {
			hi = mid;
		} else {
			free(best);
			best = MOVE(en);
			lo = mid + 1;
		}
	}
	if (!best)
		return err_set(e, -EBADMSG, "damaged tree: no entry number %" PRIu64, number);
	*ret = MOVE(best);
	return 0;
}

/* Finds an entry by its number alone, from the root down; appends its path to `path` unless NULL, as far as
 * it got also when it fails. */
static int descend(struct ns_snapshot *s, uint64_t ino, struct buf *path, struct entry **ret, struct err *e)
{
	struct node dir;
	struct place p;
	int r;

	self(&s->obj, &dir);
	r = place_of(s, &dir, &p, e);
	if (r < 0)
		return r;
	for (;;) {
		_cleanup_(freep) struct entry *en = NULL;

		if (ino < p.first || ino - p.first >= p.ref.descendants)
			return err_set(e, -EBADMSG, "damaged tree: no inode %" PRIu64, ino);
		r = entry_before(s->obj.fs->store, &p, ino - p.first, &en, e);
		if (r >= 0)
			r = node_of(s, &p, en, &dir, e);
		if (r < 0)
			return r;
		if (path)
			buf_printf(path, "/%s", en->name);
		if (dir.ino == ino) {
			*ret = MOVE(en);
			return 0;
		}
		/* Ends: node_of has seen that there are fewer entries below this one than below the last. */
		if (en->type != ENTRY_DIR)
			return err_set(e, -EBADMSG, "damaged tree: no inode %" PRIu64, ino);
		p = (struct place){.ref = en->dir, .ino = dir.ino, .first = dir.ino + 1};
	}
}

/* Reads the entry of a node again: by its directory and position when the kernel holds the directory, which
 * it nearly always does, else by number. */
static int entry_of(struct ns_snapshot *s, const struct node *n, struct entry **ret, struct err *e)
{
	_cleanup_(freep) struct entry *en = NULL;
	struct node dir, again;
	struct place p;
	int r;

	if (!inode_get(s->obj.fs->inodes, n->parent, &dir))
		return descend(s, n->ino, NULL, ret, e);
	r = place_of(s, &dir, &p, e);
	if (r >= 0)
		r = entry_at(s->obj.fs->store, &p.ref, n->position, &en, e);
	if (r >= 0)
		r = node_of(s, &p, en, &again, e);
	if (r < 0)
		return r;
	if (again.ino != n->ino || again.type != n->type || again.size != n->size)
		return err_set(e, -EBADMSG, "damaged tree: the entry is not what it was");
	*ret = MOVE(en);
	return 0;
}

static int target(struct ns_object *o, const struct node *n, char **ret, struct err *e)
{
	struct ns_snapshot *s = (struct ns_snapshot *)o;
	_cleanup_(freep) struct entry *en = NULL;
	int r;

	if (n->ino == s->made + MADE_LATEST) {
		*ret = strdup(s->id);
	} else {
		r = entry_of(s, n, &en, e);
		if (r < 0)
			return r;
		*ret = strdup(en->target);
	}
	return *ret ? 0 : err_set(e, -ENOMEM, "no memory for a link's target");
}

static int open_file(struct ns_object *o, const struct node *n, struct file **ret, struct err *e)
{
	struct ns_snapshot *s = (struct ns_snapshot *)o;
	_cleanup_(snapshot_freep) struct snapshot *snap = NULL;
	_cleanup_(buf_free) struct buf json = {0};
	_cleanup_(freep) struct entry *en = NULL;
	struct content c = {
		.size = n->size,
		.stored = n->stored,
		.map = n->digest,
		.height = n->height,
		.chunk_shift = n->chunk_shift,
	};
	int r = 0;

	if (n->ino == s->made + MADE_INFO) {
		r = fetch(s, &snap, &json, e);
		if (r >= 0 && json.len != n->size)
			r = err_set(e, -EBADMSG, "snapshot %s is not what it was", s->id);
		c.inlined = json.data;
	} else if (n->flags & NODE_INLINED) {
		r = entry_of(s, n, &en, e);
		if (r >= 0)
			c = en->file;
	}
	return r < 0 ? r : file_open(o->fs->store, &c, ret, e);
}

static char *path(struct ns_object *o, const struct node *n)
{
	struct ns_snapshot *s = (struct ns_snapshot *)o;
	_cleanup_(freep) struct entry *en = NULL;
	_cleanup_(buf_free) struct buf b = {0};

	buf_printf(&b, "%s/%s/%s", s->cluster,
		s->kind == SNAPSHOT_BASE ? "backups" : snapshot_kind_name(s->kind), s->id);
	if (n->ino == s->made + MADE_INFO)
		buf_printf(&b, "/" INFO);
	else if (n->ino - s->made >= MADE_COUNT && descend(s, n->ino, &b, &en, NULL) < 0)
		buf_printf(&b, "/… (inode %" PRIu64 ")", n->ino);
	return buf_steal_str(&b);
}

static const char *snapshot(struct ns_object *o)
{
	return ((struct ns_snapshot *)o)->id;
}

static void snapshot_object_free(struct ns_object *o)
{
	struct ns_snapshot *s = (struct ns_snapshot *)o;

	pthread_mutex_destroy(&s->lock);
	free(s->cluster);
	free(s->id);
	free(s);
}

static const struct ns_ops snapshot_ops = {
	.name = "snapshot",
	.self = self,
	.lookup = lookup,
	.list = list,
	.target = target,
	.open = open_file,
	.path = path,
	.snapshot = snapshot,
	.free = snapshot_object_free,
};

int ns_snapshot_new(struct fs *fs, const char *cluster, enum snapshot_kind kind, const char *id,
	uint64_t parent, uint32_t position, struct ns_object **ret, struct err *e)
{
	struct ns_snapshot *s = calloc(1, sizeof(*s));
	int r;

	if (!s)
		return err_set(e, -ENOMEM, "no memory for snapshot %s", id);
	s->obj = (struct ns_object){.ops = &snapshot_ops, .fs = fs};
	pthread_mutex_init(&s->lock, NULL);
	s->cluster = strdup(cluster);
	s->id = strdup(id);
	s->kind = kind;
	s->parent = parent;
	s->position = position;
	s->stop = time_of(id);
	r = s->cluster && s->id ? inode_range(fs->inodes, MADE_COUNT, &s->made, e)
				: err_set(e, -ENOMEM, "no memory for snapshot %s", id);
	if (r < 0) {
		snapshot_object_free(&s->obj);
		return r;
	}
	*ret = &s->obj;
	return 0;
}
