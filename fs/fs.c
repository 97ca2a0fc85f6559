/* The parts of a mount put together. See fs.h. */
#include "fs/fs.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fs/handle.h"
#include "src/base/clean.h"

int fs_init(struct fs *fs, struct store *s, const struct fs_options *o, struct err *e)
{
	struct handle_options ho = {
		.threads = o->threads, .cache_bytes = o->cache_bytes, .mountpoint = o->mountpoint};
	struct node root;
	int r;

	*fs = (struct fs){.store = s,
		.mountpoint = o->mountpoint,
		.log = o->log,
		.scratch = o->scratch,
		.max_bytes = o->max_bytes};
	fs->uid = o->owner.have_uid ? o->owner.uid : geteuid();
	fs->gid = o->owner.have_gid ? o->owner.gid : getegid();
	r = inode_table_new(&fs->inodes);
	if (r >= 0)
		r = owners_new(&o->owner, &fs->owners);
	if (r >= 0)
		r = complaints_new(o->log, &fs->complaints);
	if (r >= 0)
		r = handles_new(&ho, &fs->handles);
	if (r < 0)
		err_sys(e, r, "the mount's tables");
	else
		r = ns_root_new(fs, &fs->root, e);
	if (r >= 0) {
		fs->root->ops->self(fs->root, &root);
		r = inode_learn(fs->inodes, &root, e);
	}
	if (r < 0)
		fs_release(fs);
	return r;
}

void fs_release(struct fs *fs)
{
	handles_free(fs->handles);
	ns_free(fs->root);
	inode_table_free(fs->inodes);
	owners_free(fs->owners);
	complaints_free(fs->complaints);
	*fs = (struct fs){0};
}

void ns_free(struct ns_object *o)
{
	if (o)
		o->ops->free(o);
}

void ns_hold(struct ns_object *o)
{
	if (o)
		atomic_fetch_add(&o->held, 1);
}

void ns_drop(struct ns_object *o)
{
	/* As soon as nobody holds it, it may be gone. */
	struct ns_object *keeper = o ? o->keeper : NULL;

	if (o && atomic_fetch_sub(&o->held, 1) == 1 && keeper)
		keeper->ops->sweep(keeper);
}

struct node ns_made_dir(struct ns_object *o, uint64_t ino, uint64_t parent, uint32_t position)
{
	return (struct node){
		.ino = ino,
		.parent = parent,
		.obj = o,
		.position = position,
		.type = ENTRY_DIR,
		.mode = 0555,
		.uid = o->fs->uid,
		.gid = o->fs->gid,
	};
}

char *fs_path(const struct node *n)
{
	return n->obj->ops->path(n->obj, n);
}

int fs_failed(struct fs *fs, const struct node *n, int code, struct err *e)
{
	bool branch = n->flags & NODE_MOVES || n->obj->ops->remove;
	int no = branch ? complaint_errno_branch(code) : complaint_errno(code);

	if (no == EIO) {
		_cleanup_(freep) char *path = fs_path(n);

		e->code = code;
		complain(fs->complaints, path && *path ? path : "the mount", e);
	}
	return no;
}
