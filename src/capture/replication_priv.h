/* What replication.c (connecting, commands), replication_stream.c (WAL) and replication_backup.c share. Not for others.
 *
 * libpq is used without blocking: what is sent is queued and flushed by repl_flush, what comes is waited for by
 * repl_wait, which alone knows the stop flag. libpq's types have their struct names here, so that its header
 * stays in the .c files. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "src/capture/replication.h"

struct pg_conn;
struct pg_result;

enum repl_state {
	REPL_READY,	/* for a command */
	REPL_STREAMING, /* WAL comes */
	REPL_ENDED,	/* the stream ended, `end` says how, and has not been told yet */
	REPL_BACKUP,	/* between the copy streams of a backup, or before the first */
	REPL_COPYING,	/* in one of them */
};

struct replication {
	struct pg_conn *conn;
	struct replication_options options; /* its texts are copies */
	struct replication_server server;
	char where[200]; /* "server HOST port PORT", for texts */
	enum repl_state state;
	bool cancel;	       /* closing must end a command that the server would not notice the end of */
	char *message;	       /* what replication_next or replication_copy gave out; libpq's memory */
	struct pg_result *end; /* the row after a stream, or NULL */
	uint64_t heard_ns;     /* when the server last sent something, CLOCK_MONOTONIC */
	bool asked;	       /* and it was asked for a sign of life since */
	struct lsn wrote, flushed; /* as last told */
};

/* Waits until the socket has one of poll(2)'s events, or for deadline_ns of CLOCK_MONOTONIC (UINT64_MAX: never). 1: it has;
 * 0: the deadline came; -EINTR: stopped. */
int repl_wait(struct replication *c, short events, uint64_t deadline_ns, struct err *e);
/* When a server that stays silent from now on counts as dead. */
uint64_t repl_deadline(const struct replication *c);
/* Sends what libpq has queued. */
int repl_flush(struct replication *c, struct err *e);
/* Takes in what the server sent, after repl_wait. */
int repl_consume(struct replication *c, struct err *e);
int repl_send(struct replication *c, const char *command, struct err *e);

/* The next result; NULL after the last of a command. patient: however long it takes, as a checkpoint does. PQclear it. */
int repl_result(struct replication *c, bool patient, struct pg_result **ret, struct err *e);
/* Reads the results that are left of a command. The first error among them. */
int repl_finish(struct replication *c, struct err *e);
/* The errno and text of a result that is not what it should be. `doing`: what this end wanted. */
int repl_refused(struct replication *c, const struct pg_result *res, const char *doing, struct err *e);
/* The same when there is only the connection. */
int repl_lost(struct replication *c, const char *doing, struct err *e);
int repl_silent(struct replication *c, struct err *e);
/* Drops what the last message of a copy stream occupied. */
void repl_drop_message(struct replication *c);

void repl_result_freep(struct pg_result **res);
