/* Mounting a repository. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "src/base/err.h"
#include "src/base/log.h"
#include "store/store.h"

struct mount_options {
	const char *mountpoint; /* absolute, checked with mountpoint_check */
	bool allow_other;	/* every user may enter, and the files' permissions are enforced */
	bool have_uid, have_gid;
	uint32_t uid, gid;  /* whom all files belong to */
	size_t cache_bytes; /* what the store was opened with; bounds readahead. 0: its default */
	/* Branches can be written, in this directory, which need not exist; NULL: no branches. */
	const char *scratch;
	uint64_t max_bytes; /* that a branch may write at most; 0: what it says itself */
	unsigned threads;   /* that serve requests; 0: by the processors */
	bool debug;	    /* libfuse prints every request to standard error */
	struct log *log;    /* may be NULL */
};

/* Called once when the mount has answered its first request, on a thread of its own. */
typedef void mount_ready_fn(void *arg);

/* Mounts, serves until the mount is taken away or SIGTERM, SIGINT or SIGHUP arrives, and unmounts. Returns 0
 * or -errno: then it was never ready, or serving failed.
 *
 * Called on the main thread of a process that does nothing else: one mount a process (libfuse's signal
 * handlers and log function are global). The three signals must be blocked in every thread that exists; this
 * function lets them through on its own. */
int mount_run(
	struct store *s, const struct mount_options *o, mount_ready_fn *ready, void *arg, struct err *e);

/* 0, or why this user cannot mount here, and what to do about it: no /dev/fuse, no fusermount3, allow_other
 * without leave of /etc/fuse.conf. */
int mount_allowed(bool allow_other, struct err *e);
