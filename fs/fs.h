/* What the parts of one mount share. Everything is made by mount_run and lives until it returns. */
#pragma once

#include <stdatomic.h>

#include "fs/complain.h"
#include "fs/inode.h"
#include "fs/ns.h"
#include "fs/owner.h"
#include "src/base/pool.h"
#include "store/store.h"

struct handles;

struct fs {
	struct store *store;
	struct inode_table *inodes;
	struct owners *owners;
	struct complaints *complaints;
	struct handles *handles;
	struct ns_object *root;
	const char *mountpoint; /* absolute */
	struct log *log;	/* may be NULL */
	void *session;		/* libfuse's, for the driver; NULL without a mount */
	uint32_t uid, gid;	/* of what the mount itself makes up */
	const char *scratch;	/* where its branches are (branch_scratch); NULL: it has none */
	uint64_t max_bytes;	/* that any branch may write; 0: what it says itself */
	/* FUSE_INIT, while it is being answered, for the driver; else 0 */
	atomic_uint_least64_t init_request;
};

/* Builds all of it over an opened store, and takes it down. No FUSE here, so that tests can do without a
 * mount. *fs is zeroed by fs_release, which is fine on a zeroed one. -ENOMEM, -EAGAIN. */
struct fs_options {
	struct owner_options owner;
	struct log *log;
	const char *mountpoint;
	size_t cache_bytes; /* the store's limit; bounds how far readahead may run. 0: the default */
	unsigned threads;   /* of readahead; 0: all processors */
	const char *scratch;
	uint64_t max_bytes;
};
int fs_init(struct fs *fs, struct store *s, const struct fs_options *o, struct err *e);
void fs_release(struct fs *fs);

/* The name of n for a log line: its path in the mount as far as it can be found. free() it; NULL without
 * memory. */
char *fs_path(const struct node *n);

/* Tells the log what e says about n, when that is news about the repository and not just an answer, and gives
 * the positive errno for the client. A branch has more ordinary answers than the rest: no room, exists, not empty, … */
int fs_failed(struct fs *fs, const struct node *n, int code, struct err *e);
