/* The segment that a server still writes, as a receiver has it so far: immutable pieces, each durable, which cover it from
 * its first byte on without a hole. When the segment is complete, wal_put archives it whole and the pieces go.
 *
 * A partial is called as its segment will be (24 digits; the mount adds ".partial"). Pieces may overlap, since
 * two receivers may have written them: the same bytes of a segment are the same in all, because a timeline's WAL is.
 * A damaged piece counts as one that is not there. All functions are thread-safe, and see what other processes
 * do; a partial may go at any moment, and then the archive has its segment: ask there first, and again. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "src/base/clock.h"
#include "src/base/err.h"
#include "store/file.h"
#include "store/store.h"

struct wal_partial_info {
	uint64_t length;       /* bytes from the segment's first, without a hole; 0 is possible */
	uint32_t segment_size; /* what it will have */
	uint64_t stored;       /* what all of its pieces take */
	unsigned pieces;
	struct tstamp put; /* of the newest piece */
};

/* Stores n bytes of the segment from byte `start`; durable on return. Bytes that are there already in a piece of the
 * same extent are success; -EEXIST: that piece has other bytes, and stays. -EINVAL: beyond the segment, whose size is
 * whole MiB. */
int wal_partial_append(struct store *s, const char *cluster, const char *segment, uint32_t segment_size,
	uint64_t start, const void *p, size_t n, struct err *e);

/* Makes few pieces of many: when more than `most` could be merged, those of each MiB become one. Cheap when there is nothing
 * to do. most 0: 64. */
int wal_partial_compact(
	struct store *s, const char *cluster, const char *segment, unsigned most, struct err *e);

/* Takes all pieces away. None is fine. */
int wal_partial_remove(struct store *s, const char *cluster, const char *segment, struct err *e);

/* The segments of a cluster that have pieces, sorted, NULL-terminated; free with strv_free. */
int wal_partial_names(struct store *s, const char *cluster, char ***ret, struct err *e);

/* -ENOENT: no pieces. -EBADMSG: none of them can be read. */
int wal_partial_stat(struct store *s, const char *cluster, const char *segment, struct wal_partial_info *ret,
	struct err *e);

/* Opens it as it is now: a file of the segment's full size, zeroes after what is covered, as pg_receivewal's .partial
 * files are. It stays readable when its pieces are merged, or gone because the segment was archived. *ret_info may be
 * NULL. file_free it. -ENOENT. */
int wal_partial_open(struct store *s, const char *cluster, const char *segment, struct file **ret,
	struct wal_partial_info *ret_info, struct err *e);

/* The bytes from 0 on as far as they can be read, into memory of cap bytes, at most the length asked for; *ret_n says how
 * many, and less than the info's length means damage, of which e tells. Below 0: nothing could be read at all, also -ENOENT. */
int wal_partial_load(struct store *s, const char *cluster, const char *segment, void *p, size_t cap,
	size_t *ret_n, struct err *e);
