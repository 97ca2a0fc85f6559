/* Opening a branch: everything between the command line and the line that is printed. And closing one, also halfway.
 *
 * An opening that fails or is interrupted leaves nothing: no process, no mount, no branch. One that resumes leaves the branch. */
#pragma once

#include "src/cmd/branch_place.h"
#include "src/cmd/branch_server.h"

/* As the options say; zero and NULL are the defaults. */
struct open_wish {
	const char *target, *backup; /* neither: "latest" */
	const char *name;	     /* NULL: made from the target */
	const char *resume;	     /* the branch to go on with */
	const char *scratch, *bindir, *run_as, *role, *database;
	uint64_t max_bytes;
	unsigned port;
	bool read_only, durable, no_start;
};

struct opened {
	struct branch_place place;
	char *name, *backup, *target; /* target: as it is named in at/; NULL: the backup itself */
	char *tree;		      /* the branch in its mount */
	uid_t uid;		      /* whose server it is to be */
	gid_t gid;
	struct branch_server server;
	struct pit_point point;
	bool has_point;
	/* clock_mono_ns when each step was done, in their order; what the server took is in `server`. */
	uint64_t began, chosen, mounted, done;
};
void opened_release(struct opened *o); /* fine on a zeroed one */

/* e is not NULL. progress: called while WAL is replayed, with arg; o->point is set by then. */
int opened_run(struct cmd_context *c, struct store *s, const struct open_wish *w,
	instance_progress_fn *progress, void *arg, const volatile sig_atomic_t *stop, struct opened *o,
	struct err *e);

/* Ends the server, and removes the branch unless it is to be kept; then the mount, when nobody needs it. -ENOENT: there is no
 * such branch. */
int opened_close(
	const struct branch_place *p, const char *cluster, const char *name, bool keep, struct err *e);
