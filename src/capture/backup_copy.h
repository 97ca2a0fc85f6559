/* What a server sends for BASE_BACKUP, as parts: archives, then the manifest.
 *
 * The parts' bytes are pulled straight from the connection, so the server waits when nobody pulls. Before 15 each
 * part is a COPY stream of its own, the archives in the order of the server's list; since 15 one stream carries all,
 * in messages that begin with a type byte (src/backend/backup/basebackup_copy.c; the older form was
 * src/backend/replication/basebackup.c's). One thread uses one. */
#pragma once

#include <stdbool.h>

#include "src/base/err.h"
#include "src/base/meter.h"
#include "src/capture/replication.h"
#include "src/capture/tar.h"

struct backup_copy;

/* One archive that the server announced: the data directory (OID 0) or a tablespace. */
struct backup_space {
	struct oid oid;
	char *location; /* as the server says it; of one in place a path in the data directory. NULL: the data
			 * directory itself */
};

struct backup_start {
	struct lsn at; /* where the WAL that the backup needs begins */
	struct tli tli;
	const struct backup_space *spaces;
	size_t n_spaces;
};

/* Called with every piece of every part; not 0: stop, and give that. */
typedef int backup_copy_fn(void *arg, struct err *e);

/* Sends the command and waits until the backup has begun, however long the server's checkpoint takes. The meter (may
 * be NULL) gets the total, when the command asked for PROGRESS, and counts all bytes of the parts. */
int backup_copy_begin(struct replication *c, const char *command, struct meter *m, backup_copy_fn *each,
	void *arg, struct backup_copy **ret, struct err *e);
void backup_copy_free(struct backup_copy *b); /* fine on NULL */
CLEANUP_DEFINE(struct backup_copy, backup_copy_free)
const struct backup_start *backup_copy_start(const struct backup_copy *b);

enum backup_part { BACKUP_ARCHIVE, BACKUP_MANIFEST, BACKUP_END };
/* The next part; the one before was read to its end. ARCHIVE: *ret_space says of what. END: all that was announced
 * came, the server has ended the backup, and *ret_stop is where the WAL that it needs ends. */
int backup_copy_next(struct backup_copy *b, enum backup_part *ret, const struct backup_space **ret_space,
	struct lsn *ret_stop, struct err *e);
/* The bytes of the part at hand. Archives end with the mark of tar files only when the server is 15 or later; what
 * is whole, the stream's end says. */
const struct tar_source *backup_copy_source(struct backup_copy *b);
bool backup_copy_unmarked(const struct backup_copy *b);
