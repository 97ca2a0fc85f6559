/* The summaries of archived segments (src/pg/wal_summary.h), kept beside the WAL as notes (store/wal.h).
 *
 * A summary begins with the record that reaches into its segment, whose start is found by going back through the pages
 * before; no other summary is needed for that. It is noted only when that start is known, or when no record reaches in;
 * what stands behind a hole is made anew for each process that asks. Notes that are missing or damaged are made again;
 * a repository that cannot be written to is no error. Thread-safe. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "src/base/err.h"
#include "src/pg/timeline_history.h"
#include "src/pg/wal_summary.h"
#include "store/store.h"

/* The summary of an archived segment, by its name of 24 digits. wal_summary_free it. -ENOENT: no such segment;
 * -EBADMSG: damaged WAL, or a damaged object. */
int summaries_get(
	struct store *s, const char *cluster, const char *name, struct wal_summary **ret, struct err *e);

/* The summary of a segment's bytes before `limit`, which lies in it, seen along h: of one that its timeline left within,
 * or that is still being streamed (store/wal_partial.h). Never noted. */
int summaries_upto(struct store *s, const char *cluster, const char *name, uint32_t segment_size,
	const struct timeline_history *h, struct lsn limit, struct wal_summary **ret, struct err *e);

/* The same, but only if it is noted: negative when it is not. */
int summaries_noted(struct store *s, const char *cluster, const char *name, struct wal_summary **ret);

/* The summary of a segment that is about to be archived, or just was, from its bytes: all of its size. Not noted.
 * Costs a few milliseconds. */
int summaries_make(struct store *s, const char *cluster, const char *name, const void *bytes, size_t n,
	struct wal_summary **ret, struct err *e);

/* Notes one, once its segment is archived with just the bytes that it was made of. A failure leaves nothing undone that
 * summaries_get does not do. */
void summaries_keep(struct store *s, const char *cluster, const struct wal_summary *w);
/* The long part of that, which may be done before: wal_note_publish the note, or wal_note_free it. NULL: there is none to
 * keep, or it could not be written. */
struct wal_note *summaries_stage(struct store *s, const char *cluster, const struct wal_summary *w);
