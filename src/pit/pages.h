/* Pages of archived WAL along a timeline's history: what a record reader (src/pg/wal_reader.h) asks for.
 *
 * A segment is read from the file that recovery would take: that of the newest timeline that had begun by the
 * segment's end, else of an older one, up to where that timeline was left (XLogFileReadAnyTLI,
 * src/backend/access/transam/xlogrecovery.c). Bytes come from the store's frames, held while they are read, or
 * from memory. Not thread-safe; one a reader. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "src/base/err.h"
#include "src/pg/lsn.h"
#include "src/pg/timeline_history.h"
#include "store/file.h"
#include "store/store.h"

struct pages {
	struct store *store;
	const char *cluster;
	const struct timeline_history *history; /* not owned */
	uint32_t segment_size;
	/* One segment that is given by its name's timeline, or is in memory. mem NULL: read from the archive. */
	bool has_own;
	struct segno own;
	struct tli own_tli;
	const uint8_t *mem;
	size_t mem_len;
	/* Also what is still being streamed (store/wal_partial.h), where the archive has no file. */
	bool partial;
	/* Bytes of WAL that are believed; 0: all. */
	struct lsn limit;

	struct file *file; /* open now */
	struct segno no;
	struct lsn valid; /* its bytes count up to here */
	struct slice slice;
	uint64_t slice_at; /* within the file */
};

/* The n-th timeline (from 0) whose file of this segment can serve along h, newest first, and up to where its bytes
 * count. False: there are no more. Pure. */
bool pages_candidate(const struct timeline_history *h, struct segno no, uint32_t segment_size, unsigned n,
	struct tli *ret_tli, struct lsn *ret_valid);

/* A wal_read_fn; arg is the struct pages. What no file has ends the WAL. */
int pages_read(void *arg, struct lsn at, void *page, size_t n, struct err *e);

void pages_release(struct pages *p);

/* Reads a timeline's history file from the archive. Timeline 1 needs none. -ENOENT with a text that names the
 * file; -EBADMSG. Free *ret with timeline_history_free. */
int pages_history(
	struct store *s, const char *cluster, struct tli t, struct timeline_history **ret, struct err *e);
