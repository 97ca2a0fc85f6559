/* A branch in the mount: open/<name>/, and all below it. Reading goes through struct ns_ops; whoever writes asks for the
 * branch itself. */
#pragma once

#include <sys/stat.h>

#include "fs/branch.h"
#include "fs/ns.h"

/* What a branch takes from inode_range: an inode's number there is the first one + its number in the branch. */
#define NS_BRANCH_INODES (UINT64_C(1) << 41)

/* Takes the branch's lock and opens it. -ENOENT: there is none of that name; -EBUSY: another mount has it; -EBADMSG: it, or
 * its backup, cannot be read. keeper is told when nobody holds it. */
int ns_branch_new(struct fs *fs, const char *cluster, const char *name, uint64_t first_ino, uint64_t parent,
	struct ns_object *keeper, struct ns_object **ret, struct err *e);

/* The branch that n is of, and its number there; NULL: it is not of a branch, or of one that was removed. */
struct branch *ns_branch_of(const struct node *n, uint64_t *ret_number);
/* The same for a node that is known to be of that object. */
void ns_branch_node(struct ns_object *o, const struct branch_stat *st, struct node *ret);
void ns_branch_attr(struct ns_object *o, const struct branch_stat *st, struct stat *ret);
/* Where its bytes are, for statfs. */
const char *ns_branch_path(struct ns_object *o);

/* Files that are open, which keep a branch from being removed. -ESTALE: it was. */
int ns_branch_enter(struct ns_object *o, struct err *e);
void ns_branch_leave(struct ns_object *o);
/* Removes it from the scratch directory; what is still known of it answers ESTALE. -EBUSY: files of it are open. */
int ns_branch_remove(struct ns_object *o, struct err *e);
