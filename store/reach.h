/* What snapshots reach: a bit for each record of the index, and for each pack how much of it that is.
 *
 * Strict: a tree, a map or a record's head that cannot be read is an error, since what lies behind it is then unknown.
 * The index must not change while one is in use. One thread. For the files of this folder only. */
#pragma once

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>

#include "src/base/err.h"
#include "store/index.h"
#include "store/snapshot.h"
#include "store/store.h"

struct reach;

/* stop may be NULL; when it is set, reach_snapshot and reach_bases return -EINTR. */
int reach_new(struct store *s, const volatile sig_atomic_t *stop, struct reach **ret, struct err *e);
void reach_free(struct reach *r); /* fine on NULL */

/* Marks all that a snapshot's tree needs: nodes, maps, chunks. -ENODATA, -EBADMSG. */
int reach_snapshot(struct reach *r, const struct snapshot *snap, struct err *e);
/* Marks the bases of marked deltas, and theirs. After the last reach_snapshot. */
int reach_bases(struct reach *r, struct err *e);

/* Marks the bases of all deltas of a pack, of those that nothing reaches, too: a record that stays must stay readable, since
 * the next ingest may come to rely on it. reach_bases comes after it. */
int reach_whole_pack(struct reach *r, uint32_t pack, struct err *e);

/* Is the record at that place of that name marked? Of several copies of a record only one is. */
bool reach_has(const struct reach *r, const struct digest *id, uint32_t pack, uint32_t off);
/* Bytes of marked records in a pack. */
uint64_t reach_bytes(const struct reach *r, uint32_t pack);
