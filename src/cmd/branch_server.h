/* A server on a branch, from the branch's files to the first answer, and back.
 *
 * What each step does is in src/capture/instance.h and instance_data.h; here is their order, and what the command line has to
 * say in it. Non-goals: which backup (src/pit), making and removing the branch (branch_place). */
#pragma once

#include <signal.h>
#include <stdbool.h>

#include "src/base/clock.h"
#include "src/capture/instance.h"
#include "src/capture/instance_data.h"
#include "src/cmd/cmd.h"
#include "src/pit/pit.h"

struct branch_server {
	/* What is wanted. */
	const char *tree;    /* the branch in its mount: data/ and tablespaces/ are below */
	const char *home;    /* the branch's own directory, where what is kept of the server goes */
	const char *server;  /* its server/, which is made */
	const char *mount;   /* where the branch and the WAL are seen */
	const char *cluster; /* whose */
	const char *bindir;
	const char *role, *database;   /* to connect as and to; NULL: those that there are */
	const struct pit_point *point; /* to recover to; NULL: the backup itself */
	struct instance_wal own;       /* what the backup itself needs */
	bool resume;		       /* the branch was prepared before; point does not count */
	unsigned port;		       /* 0: the usual one, and no network */
	bool read_only, durable;
	bool no_start; /* branch_server_leave follows */
	struct log *log;
	instance_progress_fn *progress; /* called with arg while recovery runs; may be NULL */
	void *arg;
	const volatile sig_atomic_t *stop; /* may be NULL */
	/* What came of it. */
	struct instance_record record; /* release */
	struct instance_state state;
	struct instance_bounds bounds;	      /* that were not enough at first */
	uint64_t prepared, started, answered; /* clock_mono_ns when each step was done */
};

/* Saves that this process works on the branch, so that nobody else does. */
int branch_server_begin(struct branch_server *s, struct err *e);
/* Makes the branch's files ready. */
int branch_server_prepare(struct branch_server *s, struct err *e);
/* After it: starts the server and waits until it is where it shall be and answers. When it fails, or -EINTR, no server is
 * left. */
int branch_server_run(struct branch_server *s, struct err *e);
/* Instead: no server, but a branch that stays. */
int branch_server_leave(struct branch_server *s, struct err *e);
void branch_server_release(struct branch_server *s);

/* Ends the server of the branch whose directory is `home`, with a checkpoint or at once, and forgets it. -EBUSY: another
 * process opens the branch just now. Fine when there is none. */
int branch_server_end(const char *home, bool checkpoint, struct err *e);
/* 0: the server of that branch is not running, or not any more what it should be, as its mount died. -EBUSY: it runs. -EINVAL:
 * the branch was never finished. */
int branch_server_check(const char *home, struct err *e);
/* "running", "opening", "no server", "closed" (kept without a server), "crashed": its process is gone, or "mount died".
 * NULL: nothing is kept. */
const char *branch_server_state(const struct instance_record *r);

/* "host=… port=… user=… dbname=…" as libpq reads it. free() it; NULL without memory. */
char *branch_server_conninfo(const struct instance_record *r);
