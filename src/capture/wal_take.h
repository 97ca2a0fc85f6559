/* One file of WAL into the archive, from wherever it comes: what kind it is by its name, whether its content belongs to
 * that name and to the cluster, the archive, and the summary of a segment.
 *
 * Only files that a server archives are taken: segments, .partial segments, timeline history files and backup history
 * files (src/include/access/xlog_internal.h). Thread-safe. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "src/base/err.h"
#include "src/base/log.h"
#include "store/store.h"
#include "store/wal.h"

enum wal_kind { WAL_KIND_NONE, WAL_KIND_SEGMENT, WAL_KIND_PARTIAL, WAL_KIND_HISTORY, WAL_KIND_BACKUP };

/* By a name of n bytes. */
enum wal_kind wal_kind_of(const char *name, size_t n);

/* The largest history file that is taken: a line is some 60 bytes. */
#define WAL_SMALL_MAX (1u << 20)

struct wal_taker {
	struct store *store;
	const char *cluster;
	unsigned threads; /* as wal_put */
	struct log *log;  /* what failed without harm; may be NULL */
};

/* Archives in->size bytes as `name`; durable on return. path is for messages. The first segment that comes binds the
 * cluster's name to its system. in->keep is not used. *ret_known: the same file was there already.
 *
 * -EINVAL: not a name that a server archives; -EBADMSG: the content denies its name or size; -EEXIST: another system's,
 * or other content under the same name. */
int wal_take(const struct wal_taker *t, const char *path, const char *name, const struct wal_input *in,
	bool *ret_known, struct err *e);

/* The first half alone: nothing but the summary is left to do, which wal_take_note does. *ret_bytes: the content of a
 * new segment for it, which the caller frees unless it is in->bytes; NULL: there is nothing to note. */
int wal_take_put(const struct wal_taker *t, const char *path, const char *name, const struct wal_input *in,
	bool *ret_known, void **ret_bytes, struct err *e);
void wal_take_note(const struct wal_taker *t, const char *name, const void *bytes, uint64_t size);
