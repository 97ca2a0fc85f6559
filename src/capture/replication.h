/* A connection to a PostgreSQL server that speaks the replication protocol (documentation of PostgreSQL, chapter
 * "Streaming Replication Protocol"; src/backend/replication/walsender.c, repl_gram.y), 13 to 18.
 *
 * libpq stays inside replication*.c. Every wait ends when `stop` (a flag that a signal handler may set) is set, with
 * -EINTR, and when the server is silent for longer than the timeout, with -ETIMEDOUT. Passwords never reach a text
 * made here. One thread uses a connection at a time; different connections are independent. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <signal.h>
#include <sys/types.h>

#include "src/base/clean.h"
#include "src/base/clock.h"
#include "src/base/err.h"
#include "src/base/log.h"
#include "src/pg/lsn.h"

struct replication;

struct replication_options {
	const char *conninfo; /* libpq's: key = value, or a URI; NULL: environment, service files, .pgpass */
	const char *host, *port, *user;	   /* libpq's -h -p -U; NULL: conninfo's */
	const char *application;	   /* application_name unless conninfo has one */
	unsigned timeout_s;		   /* a silent server is dead after that; 0: 60 */
	const volatile sig_atomic_t *stop; /* may be NULL */
	struct log *log;		   /* gets the server's notices; may be NULL */
};

/* Is the flag set? The handler may run in one thread while another looks, for which the flag's type alone promises
 * nothing. stop may be NULL. */
static inline bool replication_stopped(const volatile sig_atomic_t *stop)
{
	return stop && __atomic_load_n(stop, __ATOMIC_RELAXED);
}

/* What IDENTIFY_SYSTEM and SHOW tell. */
struct replication_server {
	uint64_t system_identifier;
	struct tli tli;
	struct lsn at; /* flushed so far; on a standby: replayed */
	int version;   /* as PQserverVersion: 150004 */
	uint32_t segment_size;
	bool in_recovery;
};

/* Connects with replication=true and asks whom it reached. -EOPNOTSUPP: a server before 13 or after 18, with advice;
 * -EACCES: no REPLICATION right, no pg_hba.conf line, or a wrong password; -EINVAL: conninfo is none; -ECONNREFUSED,
 * -ETIMEDOUT, -EAGAIN (starting up), -EBUSY (no free wal sender). Each text says what to do. */
int replication_open(const struct replication_options *o, struct replication **ret, struct err *e);
void replication_close(struct replication *c); /* fine on NULL; cancels what runs */
CLEANUP_DEFINE(struct replication, replication_close)
const struct replication_server *replication_server(const struct replication *c);

/* May a failure be over later, without anybody changing a setting: the server is down, busy, or was not reached? The
 * connection itself is of no use after one. */
bool replication_may_pass(int r);

/* A second connection with the same options. */
int replication_again(const struct replication *c, struct replication **ret, struct err *e);

/* Runs a command that answers with at most one row of texts. fn is called with each column of the row, in order, when
 * there is one; value is NUL-terminated beyond len. The server's error: -EREMOTEIO unless its SQLSTATE says better
 * (42501 -EACCES, 42710 -EEXIST, 42704 -ENOENT, 58P01 (WAL that was removed) -ENODATA, 53300, 53400 and 55006 -EBUSY).
 * A connection that broke: -ECONNRESET. */
typedef int replication_column_fn(
	void *arg, unsigned column, const char *value, size_t len, bool null, struct err *e);
int replication_command(struct replication *c, replication_column_fn *fn, void *arg, struct err *e,
	const char *fmt, ...) __attribute__((format(printf, 5, 6)));

/* Quotes an identifier or a literal for a command. free() it; NULL without memory. */
char *replication_identifier(struct replication *c, const char *text);
char *replication_literal(struct replication *c, const char *text);

/* ---- streaming WAL ---- */

/* START_REPLICATION. slot may be NULL. WAL that the server has removed may be told of only by replication_next
 * (-ENODATA). From the very end of an old timeline there is nothing to stream: replication_next gives END at once. */
int replication_start(
	struct replication *c, const char *slot, struct lsn from, struct tli tli, struct err *e);

enum replication_kind {
	REPLICATION_DATA, /* WAL */
	REPLICATION_KEEPALIVE,
	REPLICATION_IDLE, /* nothing came for wait_ms */
	REPLICATION_END,  /* the timeline ended, or the server shuts down in an orderly way; told once */
};
struct replication_message {
	enum replication_kind kind;
	struct lsn at;	  /* DATA: of the first byte */
	const uint8_t *p; /* valid until the next call */
	size_t n;
	struct lsn server_end; /* DATA and KEEPALIVE: how far the server's WAL goes */
	bool reply;	       /* KEEPALIVE: the server wants a status at once */
	struct tli next_tli;   /* END: the timeline that follows; 0: none, the server goes down */
	struct lsn next_at;    /* END: where that begins */
};
/* A server that says nothing is asked for a sign of life after half of the timeout. -EBADMSG: a message of another form. */
int replication_next(struct replication *c, unsigned wait_ms, struct replication_message *ret, struct err *e);
/* Standby status update. Both positions: the byte after the last one. `reply`: the server shall answer. */
int replication_status(
	struct replication *c, struct lsn written, struct lsn flushed, bool reply, struct err *e);
/* Ends the stream from our side (CopyDone) and drops what still comes. Commands may follow. */
int replication_stop(struct replication *c, struct err *e);

/* TIMELINE_HISTORY: the file's name and bytes; free both. Not for timeline 1, which has none. Between streams. */
int replication_history(
	struct replication *c, struct tli t, char **ret_name, void **ret, size_t *ret_len, struct err *e);

/* ---- base backup ---- */

/* Sends BASE_BACKUP as given. Its first two results (start position and timeline; the tablespaces: OID, location, size
 * in KiB, NULL OID for the data directory) are told through fns; copy streams follow. */
typedef int replication_row_fn(
	void *arg, const char *const *values, unsigned n, struct err *e); /* NULL: null */
int replication_backup(struct replication *c, const char *command, replication_row_fn *start,
	replication_row_fn *tablespace, void *arg, struct err *e);
/* The next piece of the copy stream that runs; begins the next stream when there is one. 1: *ret, valid until the next
 * call; 0: this stream ended (call again for the next); 2: no stream is left. On 15 and later there is one stream, whose
 * messages begin with a type byte; before 15, one tar a tablespace and then the manifest. */
int replication_copy(struct replication *c, const void **ret, size_t *ret_len, struct err *e);
/* After the last stream: the end position and timeline. -EBADMSG: the server met pages with wrong checksums. */
int replication_backup_end(struct replication *c, replication_row_fn *end, void *arg, struct err *e);
