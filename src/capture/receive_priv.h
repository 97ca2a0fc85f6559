/* What the parts of the receiver share: receive.c (connections, the stream), receive_where.c (the position to go on from) and
 * receive_segment.c (the segment that grows). Not for others. */
#pragma once

#include "src/capture/receive.h"
#include "src/capture/wal_take.h"
#include "src/pg/timeline_history.h"

#define SLOT_NAME_MAX 64 /* NAMEDATALEN, src/include/pg_config_manual.h */

/* Invariant: durable <= have <= size; p[0, have) is the segment's begin, of which the repository has [0, durable). */
struct growing {
	char name[WAL_NAME_TEXT];
	struct tli tli;
	struct lsn start;
	uint32_t size, have, durable;
	uint8_t *p;
	uint64_t since_ns; /* when the first byte came that is not durable; 0: all are */
};

struct receiver {
	struct store *store;
	const char *cluster;
	const struct receive_options *o;
	struct wal_taker taker;
	struct log *log;
	char slot[SLOT_NAME_MAX]; /* "": none */
	bool slot_made;		  /* or found; asked once a connection is made */
	bool synchronous;	  /* asked for, or the server's commits may wait for us */
	struct replication *c;
	bool alive; /* the server sent something since it was connected to */
	struct replication_server server;
	struct timeline_history *history; /* of the server's timeline */
	struct growing g;
};

/* ---- the segment that grows ---- */

/* Begins with what the repository has of the segment at `at`, as far as that. On return growing_end is `at`, or less where
 * pieces are damaged. */
int growing_begin(struct receiver *r, struct tli tli, struct lsn at, struct err *e);
void growing_done(struct growing *g);
static inline struct lsn growing_end(const struct growing *g)
{
	return (struct lsn){g->start.v + g->have};
}
static inline struct lsn growing_flushed(const struct growing *g)
{
	return (struct lsn){g->start.v + g->durable};
}
/* Takes WAL from `at` on; what is there already is passed over. Segments that become complete are archived. -EBADMSG: it does
 * not follow on what is there. */
int growing_add(struct receiver *r, struct lsn at, const uint8_t *p, size_t n, struct err *e);
/* Makes all that came durable. */
int growing_flush(struct receiver *r, struct err *e);

/* ---- where to go on ---- */

/* Reads and archives the history of the server's timeline and those before it. */
int receive_histories(struct receiver *r, struct err *e);
/* Makes the slot when it is missing. *ret_at: where it holds WAL from, 0 when that is not known. */
int receive_slot(struct receiver *r, struct lsn *ret_at, struct err *e);
/* The position up to which the repository has WAL, on which timeline of the server's history; without any, where
 * the slot or else the server is. After receive_histories. */
int receive_where(
	struct receiver *r, struct lsn slot_at, struct tli *ret_tli, struct lsn *ret_at, struct err *e);
