/* Namespace providers: who decides what a directory of the mount contains.
 *
 * Each kind of directory above the files is one provider, fs/ns_<kind>.c: an object with a const table of
 * operations. A node says which object serves it; a directory's object answers for its children and may hand
 * out nodes that another object serves, which is how the tree of providers is entered:
 *
 *	ns_root       README.txt, <cluster>/
 *	ns_cluster    backups/, wal/, at/            one line in its table for each kind of thing
 *	ns_backups    <id>/, latest
 *	ns_dumps      <database>/: <id>/, latest
 *	ns_globals    <id>.sql
 *	ns_snapshot   the tree of a snapshot, with info.json beside it
 *	ns_wal        the files of the WAL archive
 *	ns_at         <target>/: a snapshot with an overlay, made by ns_point
 *	ns_open       <name>/: branches; only with a scratch directory
 *	ns_branch     the tree of a branch, which can be written
 *
 * Objects live until the mount ends, or until nobody holds them. All operations are called from any thread, with no
 * lock held. They return 0 or -errno with a text in *e; whoever calls them logs it. */
#pragma once

#include <stdatomic.h>
#include <sys/stat.h>

#include "fs/node.h"
#include "src/base/err.h"
#include "store/file.h"
#include "store/snapshot.h"

struct fs;
struct overlay;

/* Takes one entry of a listing; `next` is the position that continues after it. Non-zero stops. */
typedef int ns_emit(void *arg, const char *name, uint64_t next, const struct node *n);

struct ns_ops {
	const char *name;
	/* The directory that the object itself stands for. */
	void (*self)(struct ns_object *o, struct node *ret);
	/* The entry with that name, or -ENOENT. */
	int (*lookup)(struct ns_object *o, const struct node *dir, const char *name, struct node *ret,
		struct err *e);
	/* Entries from `position` on, each once, until emit returns non-zero. That is returned, or 0 at the
	 * end, or -errno. A position stays good while the mount lives, whatever appears or goes. */
	int (*list)(struct ns_object *o, const struct node *dir, uint64_t position, ns_emit *emit, void *arg,
		struct err *e);
	/* Brings what may change in a node (NODE_BRIEF_ATTR) up to date. NULL where nothing does. */
	void (*refresh)(struct ns_object *o, struct node *n);
	/* The target of a symbolic link. free() it. NULL where there is none. */
	int (*target)(struct ns_object *o, const struct node *n, char **ret, struct err *e);
	/* A file's content; file_free it. NULL where there is none. */
	int (*open)(struct ns_object *o, const struct node *n, struct file **ret, struct err *e);
	/* Its files may be opened for writing, too, though each write is EROFS: whoever syncs a file that he was given opens it
	 * so (durable_rename, src/backend/storage/file/fd.c of PostgreSQL). */
	bool opens_for_sync;
	/* The file that whoever has read n to its end is going to read next, as far as that can be told; -ENOENT.
	 * NULL where it never can. */
	int (*next)(struct ns_object *o, const struct node *n, struct node *ret, struct err *e);
	/* The path of n in the mount, without a leading slash, as far as it can be told: for log lines, so it
	 * may be slow. free() it; NULL without memory. */
	char *(*path)(struct ns_object *o, const struct node *n);
	/* The id of the snapshot that n belongs to; lives as long as the object. NULL where there is none. */
	const char *(*snapshot)(struct ns_object *o);
	/* The attributes of n as they are now. NULL: they are the node's. */
	int (*stat)(struct ns_object *o, const struct node *n, struct stat *ret, struct err *e);
	/* Nobody but the tree refers to n any more: the kernel forgot it. NULL: it does not matter. */
	void (*forget)(struct ns_object *o, const struct node *n);
	/* rmdir(2) of an entry of a directory that cannot be written otherwise. NULL: -EROFS. */
	int (*remove)(struct ns_object *o, const struct node *dir, const char *name, struct err *e);
	/* An object whose keeper this is is not held any more. May be called from any thread, with no lock held. */
	void (*sweep)(struct ns_object *o);
	void (*free)(struct ns_object *o);
};

struct ns_object {
	const struct ns_ops *ops;
	struct fs *fs;
	atomic_uint held;	  /* by inodes that the kernel knows, open files, and nodes with NODE_HELD */
	struct ns_object *keeper; /* who is told (sweep) when nobody holds it any more; NULL: nobody */
};

void ns_free(struct ns_object *o); /* fine on NULL */

/* Counts who needs the object; fine on NULL. A provider that ends objects before the mount ends (ns_at) does so
 * when nobody does. */
void ns_hold(struct ns_object *o);
void ns_drop(struct ns_object *o);

/* A directory that the mount makes up: readable by all, owned by whoever mounts. */
struct node ns_made_dir(struct ns_object *o, uint64_t ino, uint64_t parent, uint32_t position);

/* The providers. `parent` and `position`: the directory they appear in, and where. -ENOMEM, -EBADMSG. */
typedef int ns_new(struct fs *fs, const char *cluster, uint64_t parent, uint32_t position,
	struct ns_object **ret, struct err *e);
int ns_root_new(struct fs *fs, struct ns_object **ret, struct err *e);
ns_new ns_cluster_new;
ns_new ns_backups_new;
ns_new ns_dumps_new;
ns_new ns_globals_new;
ns_new ns_wal_new;
ns_new ns_at_new;
ns_new ns_open_new; /* gives NULL where the mount has no branches */
int ns_snapshot_new(struct fs *fs, const char *cluster, enum snapshot_kind kind, const char *id,
	uint64_t parent, uint32_t position, struct ns_object **ret, struct err *e);
/* The same tree as a point in time (ns_at), with the first of NS_SNAPSHOT_INODES numbers given. Takes over what *over has,
 * and zeroes it, when it succeeds. */
#define NS_SNAPSHOT_INODES 5
int ns_snapshot_new_over(struct fs *fs, const char *cluster, const char *id, uint64_t first_ino,
	uint64_t parent, struct overlay *over, struct ns_object **ret, struct err *e);
/* The `latest` that points to that snapshot, to be shown in the same directory. */
void ns_snapshot_latest(struct ns_object *o, struct node *ret);
/* Has the repository the same snapshot under this id as when it was first entered? After a prune an id can be another's. */
bool ns_snapshot_same(const struct ns_object *o);
/* A snapshot's entries by numbers that are the same in every mount: 0 is its directory, 1 and more its tree's entries depth
 * first. -ESTALE: there is none. */
int ns_snapshot_at(struct ns_object *o, uint64_t number, struct node *ret, struct err *e);
/* The number of the entry that has this inode number here; -ENOENT: it is made up, like info.json. */
int ns_snapshot_number(struct ns_object *o, uint64_t ino, uint64_t *ret, struct err *e);
