/* From a sorted stream of paths to tree nodes. See treewriter.h.
 *
 * Each open directory has a leaf that is being filled and, above it, one unfinished inner node a level. A
 * leaf that is full is emitted and becomes a child of the level above, which may fill up in turn. */
#include "store/treewriter.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/clean.h"
#include "src/base/cur.h"
#include "store/node.h"

#define DEPTH_MAX 512

struct frame {
	char *name;
	struct meta meta; /* user and group are ours */
	struct leaf leaf;
	struct inner inner[NODE_LEVELS]; /* [k] collects nodes of level k as children; [0] is not used */
	uint64_t entries, descendants;
	char *last; /* name of the entry added last */
};

struct treewriter {
	treewriter_emit_fn *emit;
	void *arg;
	struct frame *frames[DEPTH_MAX]; /* by depth; kept for reuse */
	unsigned depth;			 /* open frames; frames[0] is the root */
	struct tree_totals totals;
	struct buf node;
};

static struct frame *push(struct treewriter *t, const char *name, size_t len, const struct meta *m)
{
	struct frame *f;

	if (t->depth == DEPTH_MAX)
		return NULL;
	f = t->frames[t->depth];
	if (!f)
		f = t->frames[t->depth] = calloc(1, sizeof(*f));
	if (!f)
		return NULL;
	f->name = strndup(name, len);
	f->meta = *m;
	f->meta.user = strdup(m->user ? m->user : "");
	f->meta.group = strdup(m->group ? m->group : "");
	if (!f->name || !f->meta.user || !f->meta.group) {
		free(f->name);
		free((char *)f->meta.user);
		free((char *)f->meta.group);
		return NULL;
	}
	f->entries = f->descendants = 0;
	f->last = NULL;
	t->depth++;
	return f;
}

static void frame_clear(struct frame *f)
{
	free(f->name);
	free((char *)f->meta.user);
	free((char *)f->meta.group);
	free(f->last);
	f->name = f->last = NULL;
	f->meta = (struct meta){0};
	leaf_clear(&f->leaf);
	for (int i = 0; i < NODE_LEVELS; i++)
		inner_clear(&f->inner[i]);
}

int treewriter_new(treewriter_emit_fn *emit, void *arg, struct treewriter **ret)
{
	static const struct meta none;
	struct treewriter *t = calloc(1, sizeof(*t));

	if (!t)
		return -ENOMEM;
	t->emit = emit;
	t->arg = arg;
	if (!push(t, "", 0, &none)) {
		treewriter_free(t);
		return -ENOMEM;
	}
	*ret = t;
	return 0;
}

void treewriter_free(struct treewriter *t)
{
	if (!t)
		return;
	for (unsigned i = 0; i < DEPTH_MAX && t->frames[i]; i++) {
		frame_clear(t->frames[i]);
		leaf_free(&t->frames[i]->leaf);
		for (int k = 0; k < NODE_LEVELS; k++)
			inner_free(&t->frames[i]->inner[k]);
		free(t->frames[i]);
	}
	buf_free(&t->node);
	free(t);
}

/* Emits the leaf (level 0) or the inner node of a level and describes it as a child. */
static int emit(struct treewriter *t, struct frame *f, unsigned level, struct node_child *ret, struct err *e)
{
	struct leaf *l = &f->leaf;
	struct inner *in = &f->inner[level];

	buf_clear(&t->node);
	if (level == 0)
		leaf_write(l, &t->node);
	else
		inner_write(in, level, &t->node);
	if (t->node.bad)
		return err_sys(e, -ENOMEM, "writing a tree");
	if (t->node.len > NODE_MAX)
		return err_set(
			e, -EFBIG, "a tree node of %zu bytes in directory \"%s\"", t->node.len, f->name);
	ret->first = (const char *)(level ? in->first.data : l->first.data);
	ret->entries = level ? in->entries : l->n;
	ret->descendants = level ? in->descendants : l->descendants;
	return t->emit(t->arg, t->node.data, t->node.len, &ret->id, e);
}

/* Emits a full node and hands it to the level above, as far up as that fills up. */
static int carry(struct treewriter *t, struct frame *f, unsigned level, struct err *e)
{
	for (;; level++) {
		struct node_child c;
		bool full;
		int r = emit(t, f, level, &c, e);

		if (r < 0)
			return r;
		if (level + 1 == NODE_LEVELS)
			return err_set(e, -EFBIG, "directory \"%s\" has too many entries", f->name);
		r = inner_add(&f->inner[level + 1], &c);
		full = inner_is_full(&f->inner[level + 1], c.first);
		if (level == 0)
			leaf_clear(&f->leaf);
		else
			inner_clear(&f->inner[level]);
		if (r < 0)
			return err_sys(e, r, "writing a tree");
		if (!full)
			return 0;
	}
}

/* Everything that is left becomes one root. */
static int close_dir(struct treewriter *t, struct frame *f, struct dir_ref *ret, struct err *e)
{
	unsigned top = 0;
	struct node_child c;
	int r;

	*ret = (struct dir_ref){.entries = f->entries, .descendants = f->descendants};
	if (!f->entries)
		return 0;
	for (unsigned k = 1; k < NODE_LEVELS; k++)
		if (f->inner[k].n)
			top = k;
	for (unsigned level = 0; level < top; level++) {
		if (level ? !f->inner[level].n : !f->leaf.n)
			continue;
		r = carry(t, f, level, e);
		if (r < 0)
			return r;
		/* Carrying may have filled the top and made a new one. */
		while (top + 1 < NODE_LEVELS && f->inner[top + 1].n)
			top++;
	}
	if (top && f->inner[top].n == 1) {
		/* One child needs no node above it. It is the last thing that was added. */
		struct node n;
		struct buf b = {0};

		inner_write(&f->inner[top], top, &b);
		r = b.bad ? err_sys(e, -ENOMEM, "writing a tree") : node_open(&n, b.data, b.len, e);
		if (!r) {
			r = node_child(&n, &c, e) == 1 ? 0 : -EBADMSG;
			ret->node = c.id;
			node_done(&n);
		}
		buf_free(&b);
		return r;
	}
	r = emit(t, f, top, &c, e);
	if (!r)
		ret->node = c.id;
	return r;
}

static int add_to(struct treewriter *t, struct frame *f, const struct entry *en, struct err *e)
{
	uint64_t below = en->type == ENTRY_DIR ? en->dir.descendants : 0;
	int r = leaf_add(&f->leaf, en);

	if (r < 0)
		return err_sys(e, r, "writing a tree");
	f->entries++;
	f->descendants += 1 + below;
	return leaf_is_full(&f->leaf, en->name) ? carry(t, f, 0, e) : 0;
}

static int pop(struct treewriter *t, struct err *e)
{
	struct frame *f = t->frames[t->depth - 1];
	struct entry en = {.type = ENTRY_DIR, .name = f->name, .meta = f->meta};
	int r = close_dir(t, f, &en.dir, e);

	if (!r)
		r = add_to(t, t->frames[t->depth - 2], &en, e);
	frame_clear(f);
	t->depth--;
	t->totals.dirs++;
	return r;
}

/* Names rise: the last one of a frame must not come again, as a file or as a directory, nor one before it. */
static int take_name(struct frame *f, const char *name, size_t len, const char *path, struct err *e)
{
	char *next = strndup(name, len);
	int cmp;

	if (!next)
		return err_sys(e, -ENOMEM, "%s", path);
	cmp = f->last ? strcmp(f->last, next) : -1;
	if (cmp >= 0) {
		free(next);
		return cmp ? err_set(e, -EINVAL, "%s: comes out of order", path)
			   : err_set(e, -EEXIST, "%s: comes twice", path);
	}
	free(f->last);
	f->last = next;
	return 0;
}

int treewriter_add(struct treewriter *t, const char *path, const struct entry *en, struct err *e)
{
	struct entry named = *en;
	const char *part = path;
	unsigned depth = 1;
	int r;

	/* Frames that lead to this path stay open. */
	for (const char *slash; (slash = strchr(part, '/')); part = slash + 1, depth++) {
		size_t len = (size_t)(slash - part);
		struct meta implied = en->meta;

		if (depth < t->depth && strlen(t->frames[depth]->name) == len &&
			!memcmp(t->frames[depth]->name, part, len))
			continue;
		while (t->depth > depth) {
			r = pop(t, e);
			if (r < 0)
				return r;
		}
		r = take_name(t->frames[depth - 1], part, len, path, e);
		if (r < 0)
			return r;
		implied.mode = 0700;
		if (!push(t, part, len, &implied))
			return err_set(e, -ENAMETOOLONG, "%s: too deep, or no memory", path);
	}
	while (t->depth > depth) {
		r = pop(t, e);
		if (r < 0)
			return r;
	}
	r = take_name(t->frames[depth - 1], part, strlen(part), path, e);
	if (r < 0)
		return r;
	named.name = part;
	switch (en->type) {
	case ENTRY_DIR:
		return push(t, part, strlen(part), &en->meta)
			       ? 0
			       : err_set(e, -ENAMETOOLONG, "%s: too deep, or no memory", path);
	case ENTRY_FILE:
		t->totals.files++;
		t->totals.bytes += en->file.size;
		break;
	case ENTRY_SYMLINK:
		t->totals.symlinks++;
		break;
	}
	return add_to(t, t->frames[depth - 1], &named, e);
}

int treewriter_finish(struct treewriter *t, struct dir_ref *root, struct tree_totals *totals, struct err *e)
{
	int r = 0;

	while (!r && t->depth > 1)
		r = pop(t, e);
	if (!r)
		r = close_dir(t, t->frames[0], root, e);
	*totals = t->totals;
	return r;
}

/* ---- entries on their way through the sorter ---- */

static void put_name(struct buf *b, const char *s)
{
	buf_put(b, s ? s : "", (s ? strlen(s) : 0) + 1);
}

static const char *name_at(struct cur *c)
{
	const uint8_t *nul = cur_left(c) ? memchr(c->p, 0, cur_left(c)) : NULL;
	const char *s = (const char *)c->p;

	if (!nul) {
		c->bad = true;
		return "";
	}
	c->p = nul + 1;
	return s;
}

void pending_encode(const struct entry *en, struct buf *b)
{
	buf_put_u8(b, (uint8_t)en->type);
	buf_put_u32(b, en->meta.mode);
	buf_put_u32(b, en->meta.uid);
	buf_put_u32(b, en->meta.gid);
	put_name(b, en->meta.user);
	put_name(b, en->meta.group);
	buf_put_u64(b, (uint64_t)en->meta.mtime.sec);
	buf_put_u32(b, en->meta.mtime.nsec);
	switch (en->type) {
	case ENTRY_FILE:
		buf_put_u64(b, en->file.size);
		buf_put_u8(b, en->file.inlined != NULL);
		if (en->file.inlined) {
			buf_put(b, en->file.inlined, (size_t)en->file.size);
			break;
		}
		buf_put_u64(b, en->file.stored);
		buf_put_u8(b, en->file.height);
		buf_put_u8(b, en->file.chunk_shift);
		buf_put(b, en->file.map.b, DIGEST_LEN);
		break;
	case ENTRY_DIR:
		break;
	case ENTRY_SYMLINK:
		put_name(b, en->target);
		break;
	}
}

int pending_decode(const void *p, size_t n, struct entry *ret, struct err *e)
{
	struct cur c = cur_of(p, n);
	struct entry en = {.name = "", .type = (enum entry_type)cur_u8(&c)};
	const uint8_t *map;

	en.meta.mode = cur_u32(&c);
	en.meta.uid = cur_u32(&c);
	en.meta.gid = cur_u32(&c);
	en.meta.user = name_at(&c);
	en.meta.group = name_at(&c);
	en.meta.mtime.sec = (int64_t)cur_u64(&c);
	en.meta.mtime.nsec = cur_u32(&c);
	if (en.type == ENTRY_FILE) {
		en.file.size = cur_u64(&c);
		if (cur_u8(&c)) {
			en.file.inlined = cur_bytes(&c, (size_t)en.file.size);
		} else {
			en.file.stored = cur_u64(&c);
			en.file.height = cur_u8(&c);
			en.file.chunk_shift = cur_u8(&c);
			map = cur_bytes(&c, DIGEST_LEN);
			if (map)
				memcpy(en.file.map.b, map, DIGEST_LEN);
		}
	} else if (en.type == ENTRY_SYMLINK) {
		en.target = name_at(&c);
	}
	if (c.bad || cur_left(&c))
		return err_set(e, -EBADMSG, "a sorted entry came back damaged");
	*ret = en;
	return 0;
}
