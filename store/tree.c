/* Reading directories: down the nodes by name or by position. See tree.h. */
#include "store/tree.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/clean.h"
#include "store/node.h"
#include "store/repo.h"

/* A node with its bytes pinned. */
struct open_node {
	struct blob *blob;
	struct node node;
};

static void close_node(struct open_node *o)
{
	node_done(&o->node);
	blob_release(o->blob);
	*o = (struct open_node){0};
}

/* want: the level it must have, so that a damaged store cannot send us in circles; -1: any (the root of a
 * directory). */
static int open_node(struct store *s, const struct digest *id, int want, struct open_node *ret, struct err *e)
{
	struct open_node o = {0};
	char hex[DIGEST_HEX];
	int r = repo_blob(s, id, RECORD_NODE, &o.blob, e);

	if (r < 0)
		return r;
	r = node_open(&o.node, blob_data(o.blob), blob_len(o.blob), e);
	if (!r && want >= 0 && o.node.level != (unsigned)want)
		r = err_set(e, -EBADMSG, "level %u where %d belongs", o.node.level, want);
	if (r < 0) {
		close_node(&o);
		return err_wrap(e, r, "tree node %s", digest_hex(id, hex));
	}
	*ret = o;
	return 0;
}

/* Puts the node's name before an error of reading it. */
static int blame(const struct digest *id, int r, struct err *e)
{
	char hex[DIGEST_HEX];

	return r == -EBADMSG ? err_wrap(e, r, "tree node %s", digest_hex(id, hex)) : r;
}

static size_t bytes(const char *s)
{
	return s ? strlen(s) + 1 : 0;
}

struct entry *entry_dup(const struct entry *en)
{
	const char *target = en->type == ENTRY_SYMLINK ? en->target : NULL;
	const uint8_t *inlined = en->type == ENTRY_FILE ? en->file.inlined : NULL;
	size_t n_inlined = inlined ? (size_t)en->file.size : 0;
	size_t n = sizeof(*en) + bytes(en->name) + bytes(en->meta.user) + bytes(en->meta.group) +
		   bytes(target) + n_inlined + 1;
	struct entry *d = malloc(n);
	char *p = (char *)(d + 1);

	if (!d)
		return NULL;
	*d = *en;
#define TAKE(field)                             \
	if (field) {                            \
		size_t len = strlen(field) + 1; \
		field = memcpy(p, field, len);  \
		p += len;                       \
	}
	TAKE(d->name);
	TAKE(d->meta.user);
	TAKE(d->meta.group);
	if (target)
		TAKE(d->target);
#undef TAKE
	if (inlined)
		d->file.inlined = memcpy(p, inlined, n_inlined);
	return d;
}

int tree_lookup(
	struct store *s, const struct dir_ref *dir, const char *name, struct entry **ret, struct err *e)
{
	struct digest id = dir->node;
	uint64_t position = 0, number = 0;
	int want = -1;

	if (digest_is_zero(&id))
		return -ENOENT;
	for (;;) {
		_cleanup_(close_node) struct open_node o = {0};
		int r = open_node(s, &id, want, &o, e);

		if (r < 0)
			return r;
		if (o.node.level == 0) {
			struct entry en;

			while ((r = node_entry(&o.node, &en, e)) > 0) {
				int cmp = strcmp(en.name, name);

				if (cmp == 0) {
					en.position = position;
					en.number = number;
					*ret = entry_dup(&en);
					return *ret ? 0 : err_sys(e, -ENOMEM, "\"%s\"", name);
				}
				if (cmp > 0)
					return -ENOENT;
				position++;
				number += 1 + (en.type == ENTRY_DIR ? en.dir.descendants : 0);
			}
			return r < 0 ? blame(&id, r, e) : -ENOENT;
		}
		struct node_child c, last = {0};

		while ((r = node_child(&o.node, &c, e)) > 0) {
			if (strcmp(c.first, name) > 0)
				break;
			if (last.first) {
				position += last.entries;
				number += last.descendants;
			}
			last = c;
		}
		if (r < 0)
			return blame(&id, r, e);
		if (!last.first)
			return -ENOENT;
		want = (int)o.node.level - 1;
		id = last.id;
	}
}

int tree_find(
	struct store *s, const struct dir_ref *root, const char *path, struct entry **ret, struct err *e)
{
	_cleanup_(freep) char *copy = strdup(path);
	_cleanup_(freep) struct entry *at = NULL;
	struct dir_ref dir = *root;
	char *save = NULL;

	if (!copy)
		return err_sys(e, -ENOMEM, "%s", path);
	for (char *part = strtok_r(copy, "/", &save); part; part = strtok_r(NULL, "/", &save)) {
		struct entry *next;
		int r;

		if (at && at->type != ENTRY_DIR)
			return -ENOTDIR;
		if (at)
			dir = at->dir;
		r = tree_lookup(s, &dir, part, &next, e);
		if (r < 0)
			return r;
		free(at);
		at = next;
	}
	if (!at)
		return err_set(e, -EINVAL, "an empty path");
	*ret = MOVE(at);
	return 0;
}

struct walk {
	struct store *store;
	uint64_t from; /* entries before this position are passed over */
	uint64_t position, number;
	tree_fn *fn;
	void *arg;
};

/* Recursion is as deep as the levels, at most NODE_LEVELS. */
static int walk_node(struct walk *w, const struct digest *id, int want, struct err *e)
{
	_cleanup_(close_node) struct open_node o = {0};
	struct node_child c;
	struct entry en;
	int r = open_node(w->store, id, want, &o, e);

	if (r < 0)
		return r;
	if (o.node.level == 0) {
		while ((r = node_entry(&o.node, &en, e)) > 0) {
			en.position = w->position++;
			en.number = w->number;
			w->number += 1 + (en.type == ENTRY_DIR ? en.dir.descendants : 0);
			if (en.position < w->from)
				continue;
			r = w->fn(w->arg, &en);
			if (r)
				return r;
		}
		return blame(id, r, e);
	}
	while ((r = node_child(&o.node, &c, e)) > 0) {
		if (w->position + c.entries <= w->from) {
			w->position += c.entries;
			w->number += c.descendants;
			continue;
		}
		r = walk_node(w, &c.id, (int)o.node.level - 1, e);
		if (r)
			return r;
	}
	return blame(id, r, e);
}

int tree_walk(
	struct store *s, const struct dir_ref *dir, uint64_t position, tree_fn *fn, void *arg, struct err *e)
{
	struct walk w = {.store = s, .from = position, .fn = fn, .arg = arg};

	return digest_is_zero(&dir->node) ? 0 : walk_node(&w, &dir->node, -1, e);
}
