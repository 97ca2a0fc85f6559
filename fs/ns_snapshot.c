/* A snapshot: its tree as the store keeps it, and info.json beside it; as a point in time, with an overlay over data/.
 *
 * Inode numbers: `made` and those after it are the directory itself, info.json, the `latest` that points here, and
 * the overlay's files; the tree has a range of its own, taken when it is first entered, so that listing ten thousand
 * backups loads none of them.
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
#include "fs/overlay.h"
#include "src/base/buf.h"
#include "src/base/clean.h"
#include "src/base/clock.h"

#define INFO "info.json"

enum { MADE_DIR, MADE_INFO, MADE_LATEST, MADE_FILES, MADE_COUNT = NS_SNAPSHOT_INODES };
/* OVERLAY_STANDBY only hides. */
_Static_assert(MADE_FILES + OVERLAY_STANDBY == MADE_COUNT, "each file of an overlay has a number");

struct ns_snapshot {
	struct ns_object obj;
	char *cluster, *id;
	enum snapshot_kind kind;
	uint64_t made; /* first of MADE_COUNT numbers */
	uint64_t parent;
	uint32_t position;
	struct tstamp stop;
	struct overlay *over; /* NULL: none */

	pthread_mutex_t lock; /* rank: above the inode table's; held while the snapshot is loaded, so that one
			       * thread does; guards all below */
	bool loaded;
	struct dir_ref root;
	uint64_t first_ino; /* of the tree: its root's children begin here */
	uint64_t data_ino;  /* of the directory that the overlay's files are in */
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
static int fetch(struct ns_snapshot *s, struct dir_ref *ret_root, struct buf *json, struct err *e)
{
	_cleanup_(snapshot_freep) struct snapshot *snap = NULL;
	int r;

	if (s->over) {
		*ret_root = s->over->root;
		buf_put(json, s->over->info, s->over->info_len);
		return json->bad ? err_set(e, -ENOMEM, "no memory for " INFO) : 0;
	}
	r = snapshot_load(s->obj.fs->store, s->cluster, s->kind, s->id, &snap, e);
	if (r < 0)
		return r;
	r = snapshot_json(snap, 2, json);
	buf_put_u8(json, '\n');
	if (r < 0 || json->bad)
		return err_set(e, r < 0 ? r : -ENOMEM, "snapshot %s: cannot render %s", s->id, INFO);
	*ret_root = snap->root;
	return 0;
}

/* Numbers the tree. The lock is held. */
static int number(struct ns_snapshot *s, const struct dir_ref *root, struct err *e)
{
	_cleanup_(freep) struct entry *data = NULL;
	int r = s->over ? tree_lookup(s->obj.fs->store, root, "data", &data, e) : 0;

	if (r >= 0)
		r = inode_range(s->obj.fs->inodes, root->descendants, &s->first_ino, e);
	if (r >= 0 && data)
		s->data_ino = s->first_ino + data->number;
	return r;
}

/* What the snapshot says about its tree, loaded once; a failure is tried again next time. */
static int load(
	struct ns_snapshot *s, struct dir_ref *ret_root, uint64_t *ret_first, size_t *ret_len, struct err *e)
{
	int r = 0;

	pthread_mutex_lock(&s->lock);
	if (!s->loaded) {
		_cleanup_(buf_free) struct buf json = {0};
		struct dir_ref root;

		r = fetch(s, &root, &json, e);
		if (r >= 0)
			r = number(s, &root, e);
		if (r >= 0) {
			s->root = root;
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

bool ns_snapshot_same(const struct ns_object *o)
{
	struct ns_snapshot *s = (struct ns_snapshot *)o;
	_cleanup_(buf_free) struct buf json = {0};
	struct dir_ref was, root;
	struct err e = {0};
	size_t info_len;
	bool loaded;

	pthread_mutex_lock(&s->lock);
	loaded = s->loaded;
	was = s->root;
	info_len = s->info_len;
	pthread_mutex_unlock(&s->lock);
	/* One that cannot be read now is no other one. */
	return !loaded || fetch(s, &root, &json, &e) < 0 ||
	       (!memcmp(&root.node, &was.node, sizeof(root.node)) && json.len == info_len);
}

static void self(struct ns_object *o, struct node *ret)
{
	struct ns_snapshot *s = (struct ns_snapshot *)o;

	*ret = ns_made_dir(o, s->made + MADE_DIR, s->parent, s->position);
	ret->mtime = s->stop.sec;
	ret->mtime_ns = s->stop.nsec;
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
	bool over;	/* the one that the overlay's files are in */
	size_t info_len;
};

/* What is made up in a directory of the tree, beside the tree's own entries: k counts from 0. NULL: there is no more. */
static const char *made_name(const struct ns_snapshot *s, const struct place *p, unsigned k)
{
	if (p->top)
		return k == 0 ? INFO : NULL;
	return p->over && k < OVERLAY_FILES ? s->over->files[k].name : NULL;
}

/* Which of them has that name, or -1. */
static int made_find(const struct ns_snapshot *s, const struct place *p, const char *name)
{
	const char *made;

	for (unsigned k = 0; (made = made_name(s, p, k)); k++)
		if (!strcmp(made, name))
			return (int)k;
	return -1;
}

/* Its node, or false: it only hides what the tree has. */
static bool made_node(struct ns_snapshot *s, const struct place *p, unsigned k, struct node *ret)
{
	const struct overlay_file *f = p->over ? &s->over->files[k] : NULL;
	struct node n;

	if (f && !f->bytes)
		return false;
	self(&s->obj, &n);
	n.parent = p->ino;
	n.ino = s->made + (f ? MADE_FILES + k : MADE_INFO);
	n.position = (uint32_t)(p->ref.entries + k); /* after all others */
	n.type = ENTRY_FILE;
	n.mode = 0444;
	n.flags = NODE_INLINED;
	n.size = p->info_len;
	n.stored = 0;
	if (f) {
		n.mode = f->mode;
		n.uid = f->uid;
		n.gid = f->gid;
		n.mtime = f->mtime.sec;
		n.mtime_ns = f->mtime.nsec;
		n.size = f->len;
	}
	*ret = n;
	return true;
}

static int place_of(struct ns_snapshot *s, const struct node *dir, struct place *ret, struct err *e)
{
	struct place p = {.ino = dir->ino, .top = dir->ino == s->made + MADE_DIR};
	int r = load(s, &p.ref, &p.first, &p.info_len, e);

	if (r < 0)
		return r;
	if (!p.top) {
		p.ref = (struct dir_ref){dir->digest, dir->entries, dir->descendants};
		p.first = dir->ino + 1;
		p.over = s->over && dir->ino == s->data_ino;
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

	/* What is made up comes after the tree's own entries and has positions, too. */
	if (en->position >= UINT32_MAX - OVERLAY_FILES || en->number >= p->ref.descendants ||
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
	int r = place_of(s, dir, &p, e), made;

	if (r < 0)
		return r;
	made = made_find(s, &p, name);
	if (made >= 0)
		return made_node(s, &p, (unsigned)made, ret) ? 0 : err_set(e, -ENOENT, "hidden");
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

	if (made_find(l->s, l->place, en->name) >= 0)
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
	for (uint64_t k = position - p.ref.entries; k < OVERLAY_FILES; k++) {
		const char *name = made_name(s, &p, (unsigned)k);

		if (!name)
			break;
		if (!made_node(s, &p, (unsigned)k, &n))
			continue;
		r = emit(arg, name, p.ref.entries + k + 1, &n);
		if (r)
			return r;
	}
	return 0;
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

/* Finds an entry and its node by its number alone, from the root down; appends its path to `path` unless NULL, as far
 * as it got also when it fails. */
static int descend(struct ns_snapshot *s, uint64_t ino, struct buf *path, struct node *ret_node,
	struct entry **ret, struct err *e)
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
			*ret_node = dir;
			*ret = MOVE(en);
			return 0;
		}
		/* Ends: node_of has seen that there are fewer entries below this one than below the last. */
		if (en->type != ENTRY_DIR)
			return err_set(e, -EBADMSG, "damaged tree: no inode %" PRIu64, ino);
		p = (struct place){.ref = en->dir, .ino = dir.ino, .first = dir.ino + 1};
	}
}

int ns_snapshot_at(struct ns_object *o, uint64_t number, struct node *ret, struct err *e)
{
	struct ns_snapshot *s = (struct ns_snapshot *)o;
	_cleanup_(freep) struct entry *en = NULL;
	struct dir_ref root;
	uint64_t first;
	size_t info_len;
	int r;

	if (number == 0) {
		self(o, ret);
		return 0;
	}
	r = load(s, &root, &first, &info_len, e);
	if (r >= 0 && number > root.descendants)
		return err_set(e, -ESTALE, "snapshot %s has no entry number %" PRIu64, s->id, number);
	return r < 0 ? r : descend(s, first + number - 1, NULL, ret, &en, e);
}

int ns_snapshot_number(struct ns_object *o, uint64_t ino, uint64_t *ret, struct err *e)
{
	struct ns_snapshot *s = (struct ns_snapshot *)o;
	struct dir_ref root;
	uint64_t first;
	size_t info_len;
	int r = 0;

	if (ino == s->made + MADE_DIR) {
		*ret = 0;
		return 0;
	}
	r = load(s, &root, &first, &info_len, e);
	if (r < 0)
		return r;
	if (ino < first || ino - first >= root.descendants)
		return err_set(e, -ENOENT, "not in the tree");
	*ret = ino - first + 1;
	return 0;
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
		return descend(s, n->ino, NULL, &again, ret, e);
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
	_cleanup_(buf_free) struct buf json = {0};
	_cleanup_(freep) struct entry *en = NULL;
	struct content c = {
		.size = n->size,
		.stored = n->stored,
		.map = n->digest,
		.height = n->height,
		.chunk_shift = n->chunk_shift,
	};
	struct dir_ref root;
	int r = 0;

	if (n->ino >= s->made + MADE_FILES && n->ino < s->made + MADE_COUNT) {
		c.inlined = (const uint8_t *)s->over->files[n->ino - s->made - MADE_FILES].bytes;
	} else if (n->ino == s->made + MADE_INFO) {
		r = fetch(s, &root, &json, e);
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
	struct node again;

	if (s->over)
		buf_printf(&b, "%s/%s", s->cluster, s->over->label);
	else
		buf_printf(&b, "%s/%s/%s", s->cluster,
			s->kind == SNAPSHOT_BASE ? "backups" : snapshot_kind_name(s->kind), s->id);
	if (n->ino == s->made + MADE_INFO)
		buf_printf(&b, "/" INFO);
	else if (n->ino >= s->made + MADE_FILES && n->ino < s->made + MADE_COUNT)
		buf_printf(&b, "/data/%s", s->over->files[n->ino - s->made - MADE_FILES].name);
	else if (n->ino - s->made >= MADE_COUNT && descend(s, n->ino, &b, &again, &en, NULL) < 0)
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
	if (s->over)
		overlay_release(s->over);
	free(s->over);
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

static int snapshot_object_new(
	struct fs *fs, const char *cluster, const char *id, struct ns_snapshot **ret, struct err *e)
{
	struct ns_snapshot *s = calloc(1, sizeof(*s));

	if (!s)
		return err_set(e, -ENOMEM, "no memory for snapshot %s", id);
	s->obj.ops = &snapshot_ops;
	s->obj.fs = fs;
	pthread_mutex_init(&s->lock, NULL);
	s->kind = SNAPSHOT_BASE;
	s->cluster = strdup(cluster);
	s->id = strdup(id);
	if (!s->cluster || !s->id) {
		snapshot_object_free(&s->obj);
		return err_set(e, -ENOMEM, "no memory for snapshot %s", id);
	}
	*ret = s;
	return 0;
}

int ns_snapshot_new(struct fs *fs, const char *cluster, enum snapshot_kind kind, const char *id,
	uint64_t parent, uint32_t position, struct ns_object **ret, struct err *e)
{
	struct ns_snapshot *s = NULL;
	int r = snapshot_object_new(fs, cluster, id, &s, e);

	if (r < 0)
		return r;
	s->kind = kind;
	s->parent = parent;
	s->position = position;
	s->stop = time_of(id);
	r = inode_range(fs->inodes, MADE_COUNT, &s->made, e);
	if (r < 0) {
		snapshot_object_free(&s->obj);
		return r;
	}
	*ret = &s->obj;
	return 0;
}

int ns_snapshot_new_over(struct fs *fs, const char *cluster, const char *id, uint64_t first_ino,
	uint64_t parent, struct overlay *over, struct ns_object **ret, struct err *e)
{
	struct ns_snapshot *s = NULL;
	struct overlay *mine = malloc(sizeof(*mine));
	int r = mine ? snapshot_object_new(fs, cluster, id, &s, e)
		     : err_set(e, -ENOMEM, "no memory for a point in time");

	if (r < 0) {
		free(mine);
		return r;
	}
	*mine = *over;
	*over = (struct overlay){0};
	s->over = mine;
	s->made = first_ino;
	s->parent = parent;
	s->stop = mine->time;
	*ret = &s->obj;
	return 0;
}
