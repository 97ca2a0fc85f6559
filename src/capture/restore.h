/* Copying a base backup out of the store, in parallel and durable: the fast way, without a mount. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "src/base/err.h"
#include "src/base/log.h"
#include "src/base/meter.h"
#include "src/pg/lsn.h"
#include "store/snapshot.h"
#include "store/store.h"

/* Where a tablespace goes. */
struct restore_map {
	struct oid oid;
	const char *dir;
};

/* Zero is the default. */
struct restore_options {
	unsigned threads; /* default: all processors */
	const struct restore_map *maps;
	size_t n_maps;
	/* Lines for the copy's postgresql.auto.conf, by which it recovers when it is started; a standby.signal is left out. NULL:
	 * it is what was backed up. */
	const char *recovery;
	bool owners; /* give files their owners (by name, then number); needs root */
	struct log *log;
	struct meter *meter; /* counts bytes and files; its total is set */
};

/* Makes `to` the snapshot's data directory: its files with their bytes, modes, times and links, tablespaces
 * in their mapped directories, else in to.tablespaces/OID, and data/pg_tblspc/OID leading there with its
 * whole path. All of these directories are made, or must be empty.
 *
 * 0: everything is on stable storage. -EINVAL: not a base backup, or a map for a tablespace that it does not
 * have; -ENOTEMPTY: a target holds something (nothing was written then). After any other error what was
 * written so far is left there. */
int capture_restore(struct store *s, const struct snapshot *snap, const char *to,
	const struct restore_options *o, struct err *e);
