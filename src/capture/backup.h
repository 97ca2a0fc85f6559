/* Taking a base backup of a running server, 13 to 18, over the replication protocol: straight into the repository,
 * with the WAL that it needs, checked against the server's manifest. Nothing is staged but the manifest.
 *
 * The snapshot is what importing a plain pg_basebackup -X stream would give: data/ with pg_wal filled,
 * tablespaces/OID with the links to them. It is published only when all files came, agreed with the manifest, and
 * all WAL up to the backup's end is durable here. */
#pragma once

#include "src/base/err.h"
#include "src/base/log.h"
#include "src/base/meter.h"
#include "src/capture/replication.h"
#include "store/snapshot.h"
#include "store/store.h"

/* Zero is the default. */
struct backup_options {
	/* Whom to connect to, when to stop, where the server's notices go. */
	struct replication_options server;
	const char *label;	  /* default: "pgstrata" */
	bool spread;		  /* start with a checkpoint at the server's usual pace, not at once */
	uint32_t max_rate_kib;	  /* KiB a second at most; 0: no limit */
	bool no_verify_checksums; /* the server shall not verify the checksums of data pages */
	unsigned threads;	  /* that compress; default: all processors */
	const char *tags;	  /* the property "tags": words parted by spaces; may be NULL */
	struct log *log;
	struct meter *meter; /* how far it has come; the server counts the total for it. May be NULL */
};

#define BACKUP_RATE_MIN 32 /* MAX_RATE_LOWER and _UPPER, src/include/backup/basebackup.h */
#define BACKUP_RATE_MAX 1048576

/* 0 with the published snapshot (free it). On an error nothing is published, and nothing stays in the repository:
 * what replication_open and the server say; -EEXIST: the cluster's name belongs to another system; -EBADMSG: what
 * came is not what the manifest says; -EINTR: stopped. */
int capture_backup(struct store *s, const char *cluster, const struct backup_options *o,
	struct snapshot **ret, struct err *e);
