/* The WAL that a base backup needs, streamed beside it into the same snapshot, on a connection and in a thread of
 * its own: data/pg_wal/SEGMENT as pg_basebackup -X stream leaves them.
 *
 * A temporary slot, made before the backup begins, keeps the server from removing that WAL. It is not put into the
 * archive, too: that would compress every byte twice, and a backup that fails must leave nothing. Who archives, has
 * it there; who does not, has no use for a piece of an archive. */
#pragma once

#include "src/base/clean.h"
#include "src/base/err.h"
#include "src/base/log.h"
#include "src/capture/base_sink.h"
#include "src/capture/replication.h"

struct backup_wal;

/* Opens the second connection and makes the slot; before BASE_BACKUP. log may be NULL. */
int backup_wal_new(const struct replication *c, struct log *log, struct backup_wal **ret, struct err *e);
/* Ends the thread, whatever it does. The sink must still be there. Fine on NULL. */
void backup_wal_free(struct backup_wal *w);
CLEANUP_DEFINE(struct backup_wal, backup_wal_free)

/* Starts streaming from the backup's start. `like`: owner and mode of the
 * files; its names must outlive the thread. */
int backup_wal_start(struct backup_wal *w, struct base_sink *k, struct lsn from, struct tli tli,
	const struct meta *like, struct err *e);
/* 0 while all is well, else what ended it. Cheap; any thread. */
int backup_wal_check(struct backup_wal *w, struct err *e);
/* Waits until everything before `stop` is in the sink, and ends the stream. */
int backup_wal_finish(struct backup_wal *w, struct lsn stop, struct err *e);
