/* Attributes of nodes, plain and extended. See attr.h.
 *
 * The extended ones answer to their names and, but for those of a snapshot's own directory, are not listed:
 * `cp -a` and `rsync -X` copy every attribute that is listed, and a restored data directory has no use for
 * ours (nor would it compare equal to its source). Ceph does the same with its virtual attributes. */
#include "fs/attr.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fs/fs.h"
#include "src/base/clean.h"

#define PREFIX "user.pgstrata."
#define BLOCK 512
/* What cp and others take for a good size of a read: some chunks at once. */
#define IO_SIZE (128u << 10)

CLEANUP_DEFINE(struct file, file_free)

void attr_stat(const struct node *n, struct stat *ret)
{
	struct stat st = {
		.st_ino = n->ino,
		.st_uid = n->uid,
		.st_gid = n->gid,
		.st_nlink = 1,
		.st_blksize = IO_SIZE,
	};
	uint64_t stored = 0;

	st.st_mtim.tv_sec = n->mtime;
	st.st_mtim.tv_nsec = n->mtime_ns;
	st.st_atim = st.st_ctim = st.st_mtim;
	switch ((enum entry_type)n->type) {
	case ENTRY_FILE:
		st.st_mode = S_IFREG | n->mode;
		st.st_size = (off_t)n->size;
		stored = n->flags & NODE_INLINED ? n->size : n->stored;
		break;
	case ENTRY_DIR:
		st.st_mode = S_IFDIR | n->mode;
		st.st_nlink = 2;
		st.st_size = (off_t)(n->entries > INT64_MAX ? INT64_MAX : n->entries);
		break;
	case ENTRY_SYMLINK:
		st.st_mode = S_IFLNK | n->mode;
		st.st_size = (off_t)n->size;
		break;
	}
	st.st_blocks = (blkcnt_t)(stored / BLOCK + (stored % BLOCK != 0));
	*ret = st;
}

/* A file's digest as "HEIGHT:HEX": of its map, or of its bytes where the map has no levels. */
static int get_digest(const struct node *n, struct buf *ret, struct err *e)
{
	_cleanup_(file_freep) struct file *f = NULL;
	_cleanup_(freep) uint8_t *bytes = NULL;
	struct digest d = n->digest;
	char hex[DIGEST_HEX];
	ssize_t got;
	int r;

	if (n->flags & NODE_INLINED) {
		r = n->obj->ops->open(n->obj, n, &f, e);
		if (r < 0)
			return r;
		bytes = malloc(n->size + 1); /* inlined, hence small */
		if (!bytes)
			return err_set(e, -ENOMEM, "no memory for a digest");
		got = file_read(f, 0, bytes, n->size, e);
		if (got < 0)
			return (int)got;
		d = digest_of(bytes, (size_t)got);
	}
	buf_printf(ret, "%u:%s", n->height, digest_hex(&d, hex));
	return 0;
}

int attr_get(struct fs *fs, const struct node *n, const char *name, struct buf *ret, struct err *e)
{
	const struct ns_ops *ops = n->obj->ops;
	int r = -ENODATA;

	if (strncmp(name, PREFIX, strlen(PREFIX)))
		return -ENODATA;
	name += strlen(PREFIX);
	if (!strcmp(name, "snapshot") && ops->snapshot) {
		buf_printf(ret, "%s", ops->snapshot(n->obj));
		r = 0;
	} else if (!strcmp(name, "digest") && n->type == ENTRY_FILE && ops->snapshot && ops->open) {
		r = get_digest(n, ret, e);
	} else if (!strcmp(name, "pid") && n->ino == INODE_ROOT) {
		buf_printf(ret, "%ld", (long)getpid());
		r = 0;
	} else if (!strcmp(name, "scratch") && n->ino == INODE_ROOT && fs->scratch) {
		buf_printf(ret, "%s", fs->scratch);
		r = 0;
	}
	return r >= 0 && ret->bad ? err_set(e, -ENOMEM, "no memory for an attribute") : r;
}

void attr_list(const struct node *n, struct buf *ret)
{
	static const char snapshot[] = PREFIX "snapshot";
	struct node top;

	if (!n->obj->ops->snapshot)
		return;
	n->obj->ops->self(n->obj, &top);
	if (n->ino == top.ino)
		buf_put(ret, snapshot, sizeof(snapshot));
}
