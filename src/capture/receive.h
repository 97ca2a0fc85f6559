/* Receives a server's WAL as it is written: a stand-in for a standby (START_REPLICATION) that puts every segment into the
 * repository's archive, and the one that still grows into pieces (store/wal_partial.h).
 *
 * Where it goes on is read from the repository alone each time it connects, so a receiver that was killed loses nothing that
 * it had acknowledged, and two that run at once repeat each other's work without harm. What it tells the server to be
 * flushed is durable in the repository. Not here: taking WAL from anything but a server. */
#pragma once

#include <stdbool.h>

#include "src/base/err.h"
#include "src/base/log.h"
#include "src/capture/replication.h"
#include "src/pg/lsn.h"
#include "store/store.h"

struct receive_options {
	/* Its stop flag ends the receiver, its log takes what is to be told. */
	struct replication_options server;
	const char *slot;  /* a physical slot, made when it is missing; NULL: pgstrata_CLUSTER */
	bool no_slot;	   /* none: the server may remove WAL before it was received */
	unsigned flush_ms; /* what came is durable after that; 0: 1000 */
	bool synchronous;  /* durable as soon as nothing more comes: for synchronous_standby_names */
	bool skip_gap; /* where the server has removed WAL that the repository lacks, goes on behind the gap */
	struct lsn until; /* ends when everything before is durable; 0: never */
};

/* Runs until it is stopped (what came is durable then), or `until` is reached: 0. Server and network may come and go
 * meanwhile. -EEXIST: another system's server, or other content in the archive; -ENODATA: the server has removed WAL that the
 * repository lacks; what replication_open says is not to be waited for; any failure of the repository. */
int capture_receive(struct store *s, const char *cluster, const struct receive_options *o, struct err *e);
