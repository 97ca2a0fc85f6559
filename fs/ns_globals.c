/* globals/ of a cluster: a file for each pg_dumpall --globals-only, <id>.sql.
 *
 * Each file is an object of its own, so that names may come and go as in any listing; it holds nothing but its names, and the
 * content is read from the snapshot when it is asked for. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fs/ns_names.h"
#include "src/base/clean.h"
#include "src/base/clock.h"

#define ENDING ".sql"
#define CONTENT "globals.sql"

CLEANUP_DEFINE(struct snapshot, snapshot_free)

struct ns_globals_file {
	struct ns_object obj;
	struct ns_names *dir;
	char *id;
	struct node node; /* complete */
};

/* ---- a file ---- */

static int load(
	struct ns_names *g, const char *id, struct snapshot **ret, struct entry **ret_en, struct err *e)
{
	_cleanup_(snapshot_freep) struct snapshot *snap = NULL;
	int r = snapshot_load(g->obj.fs->store, g->cluster, SNAPSHOT_GLOBALS, id, &snap, e);

	if (r >= 0)
		r = tree_lookup(g->obj.fs->store, &snap->root, CONTENT, ret_en, e);
	if (r < 0)
		return r;
	if ((*ret_en)->type != ENTRY_FILE || (*ret_en)->file.size > INT64_MAX) {
		free(*ret_en);
		return err_set(e, -EBADMSG, "snapshot %s: %s is no file", id, CONTENT);
	}
	*ret = MOVE(snap);
	return 0;
}

static void file_self(struct ns_object *o, struct node *ret)
{
	*ret = ((struct ns_globals_file *)o)->node;
}

static int file_content(struct ns_object *o, const struct node *n, struct file **ret, struct err *e)
{
	struct ns_globals_file *f = (struct ns_globals_file *)o;
	_cleanup_(snapshot_freep) struct snapshot *snap = NULL;
	_cleanup_(freep) struct entry *en = NULL;
	int r = load(f->dir, f->id, &snap, &en, e);

	if (r < 0)
		return r;
	if (en->file.size != n->size)
		return err_set(e, -EBADMSG, "snapshot %s is not what it was", f->id);
	return file_open(o->fs->store, &en->file, ret, e);
}

static char *file_path(struct ns_object *o, const struct node *n)
{
	struct ns_globals_file *f = (struct ns_globals_file *)o;
	char *p = NULL;

	(void)n;
	return asprintf(&p, "%s/globals/%s" ENDING, f->dir->cluster, f->id) < 0 ? NULL : p;
}

static const char *file_snapshot(struct ns_object *o)
{
	return ((struct ns_globals_file *)o)->id;
}

static void file_object_free(struct ns_object *o)
{
	struct ns_globals_file *f = (struct ns_globals_file *)o;

	free(f->id);
	free(f);
}

static const struct ns_ops file_ops = {
	.name = "globals of a time",
	.self = file_self,
	.open = file_content,
	.path = file_path,
	.snapshot = file_snapshot,
	.free = file_object_free,
};

/* ---- globals/ ---- */

static int make(void *arg, const char *name, uint32_t position, struct ns_object **ret, struct err *e)
{
	struct ns_names *g = arg;
	_cleanup_(snapshot_freep) struct snapshot *snap = NULL;
	_cleanup_(freep) struct entry *en = NULL;
	struct ns_globals_file *f = calloc(1, sizeof(*f));
	int r = -ENOMEM;

	if (f)
		f->id = strndup(name, strlen(name) - strlen(ENDING));
	if (!f || !f->id)
		err_set(e, r, "no memory for %s", name);
	else
		r = load(g, f->id, &snap, &en, e);
	if (r >= 0)
		r = inode_range(g->obj.fs->inodes, 1, &f->node.ino, e);
	if (r < 0) {
		if (f)
			file_object_free(&f->obj);
		return r;
	}
	f->obj = (struct ns_object){.ops = &file_ops, .fs = g->obj.fs};
	f->dir = g;
	f->node.parent = g->ino;
	f->node.obj = &f->obj;
	f->node.mtime = en->meta.mtime.sec;
	f->node.mtime_ns = en->meta.mtime.nsec;
	f->node.mode = en->meta.mode & 07777;
	f->node.type = ENTRY_FILE;
	f->node.flags = (uint8_t)(NODE_BRIEF_NAME | (en->file.inlined ? NODE_INLINED : 0));
	f->node.position = ns_names_position(g, position);
	f->node.size = en->file.size;
	f->node.stored = en->file.stored;
	f->node.height = en->file.height;
	f->node.chunk_shift = en->file.chunk_shift;
	if (!en->file.inlined)
		f->node.digest = en->file.map;
	owner_resolve(g->obj.fs->owners, &en->meta, &f->node.uid, &f->node.gid);
	*ret = &f->obj;
	return 0;
}

static int fetch(void *arg, struct listing *l, struct err *e)
{
	struct ns_names *g = arg;
	const struct listing_source src = ns_names_source(g);
	struct snapshot_list ids = {0};
	int r = snapshot_list(g->obj.fs->store, g->cluster, SNAPSHOT_GLOBALS, &ids, e);

	for (size_t i = 0; r >= 0 && i < ids.n; i++) {
		char name[TREE_NAME_MAX + 1];

		snprintf(name, sizeof(name), "%.200s" ENDING, ids.refs[i].id);
		r = listing_put(l, &src, name, e);
	}
	snapshot_list_free(&ids);
	return r;
}

static const struct ns_names_kind globals = {
	.folder = "globals",
	.what = "globals",
	.fetch = fetch,
	.make = make,
};

int ns_globals_new(struct fs *fs, const char *cluster, uint64_t parent, uint32_t position,
	struct ns_object **ret, struct err *e)
{
	struct ns_names *g;
	int r = ns_names_new(fs, &globals, sizeof(*g), cluster, NULL, parent, position, &g, e);

	if (r >= 0)
		*ret = &g->obj;
	return r;
}
