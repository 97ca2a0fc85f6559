/* Where the branches of a repository are on this machine, and the mount through which they are used.
 *
 *	SCRATCH/<repository id>/.lock     held while a mount is looked for, made or taken away, and while a branch comes
 *	SCRATCH/<repository id>/.mount-N  a mount of our own whose files are user N's, there as long as a branch needs it
 *	SCRATCH/<repository id>/.log      what those mounts said
 *
 * No cluster and no branch has a name that begins with a dot. A mount that somebody made with the same SCRATCH is used where
 * the server's user may enter it, and never taken away here. */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

#include "src/capture/instance.h"
#include "src/cmd/cmd.h"

struct branch_place {
	char *scratch;
	char *dir; /* of this repository */
};
void branch_place_release(struct branch_place *p); /* fine on a zeroed one */

/* The directory for all branches: `given`, else beside the index cache. free() it. -EINVAL: neither is known. */
int branch_place_scratch(const struct cmd_context *c, const char *given, char **ret, struct err *e);
int branch_place_find(const struct cmd_context *c, const char *given, const struct store *s,
	struct branch_place *ret, struct err *e);

/* A descriptor that holds the lock; the directory is made. Close it. */
int branch_place_lock(const struct branch_place *p, struct err *e);

/* Below, with the lock held. */

/* What a mount must show. */
struct branch_view {
	const char *cluster, *backup;
	uid_t uid; /* as this user's */
	gid_t gid;
};
/* A mount that shows the branches: one that is there, or one of our own, made now. free() its path. */
int branch_place_mount(struct cmd_context *c, const struct branch_place *p, const struct branch_view *v,
	char **ret, struct err *e);
/* Is there a mount whose daemon died, or none any more? Needs no lock. */
bool branch_place_mount_died(const char *path);
/* Takes those mounts of our own away that no branch needs. Fine when there is none. */
int branch_place_tidy(const struct branch_place *p, struct err *e);

/* Removes a branch, through the mount that has it where one does. -EBUSY: it is in use. */
int branch_place_remove(const struct branch_place *p, const char *cluster, const char *name, struct err *e);

/* The clusters that have had branches, sorted as the directory lists them. Free each and the list. */
int branch_place_clusters(const struct branch_place *p, char ***ret, size_t *ret_n, struct err *e);
/* What is kept of a branch's server. -ENOENT: nothing. */
int branch_place_record(const struct branch_place *p, const char *cluster, const char *name,
	struct instance_record *ret, struct err *e);
/* The directory server/ of a branch. free() it. */
int branch_place_server(
	const struct branch_place *p, const char *cluster, const char *name, char **ret, struct err *e);
