/* WAL as a stream: START_REPLICATION, its messages, the standby's status, the end of a timeline. See replication.h.
 *
 * Messages: "Streaming Replication Protocol" in PostgreSQL's documentation; XLogSendPhysical, WalSndKeepalive and
 * ProcessStandbyReplyMessage in src/backend/replication/walsender.c (13 to 18). Integers are big-endian. A
 * message's length is checked before it is read. */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <libpq-fe.h>

#include "src/capture/replication_priv.h"
#include "src/pg/timeline_history.h"

#define DATA_HEAD 25	     /* 'w', start, the server's end, time */
#define KEEPALIVE 18	     /* 'k', the server's end, time, reply wanted */
#define STATUS 34	     /* 'r', written, flushed, applied, time, reply wanted */
#define DATA_MAX (1u << 24)  /* MAX_SEND_SIZE in walsender.c is 16 pages of at most 64 KiB */
#define PG_EPOCH_S 946684800 /* 2000-01-01: src/include/datatype/timestamp.h */

static uint64_t get_u64(const char *p)
{
	uint64_t v = 0;

	for (unsigned i = 0; i < 8; i++)
		v = v << 8 | (uint8_t)p[i];
	return v;
}

static char *put_u64(char *p, uint64_t v)
{
	for (unsigned i = 0; i < 8; i++)
		p[i] = (char)(v >> (56 - 8 * i));
	return p + 8;
}

/* ---- the end of a stream ---- */

/* The row with which a timeline ends: the next one and where it begins (StartReplication, walsender.c). */
static int take_end(struct replication *c, struct replication_message *m, struct err *e)
{
	struct pg_result *res = c->end;
	char *rest;

	*m = (struct replication_message){.kind = REPLICATION_END};
	c->state = REPL_READY;
	if (!res)
		return 0;
	if (PQnfields(res) < 2 || PQntuples(res) != 1 || PQgetisnull(res, 0, 0) || PQgetisnull(res, 0, 1))
		return err_set(e, -EBADMSG, "%s: the end of a timeline is told in another form", c->where);
	errno = 0;
	m->next_tli.v = (uint32_t)strtoul(PQgetvalue(res, 0, 0), &rest, 10);
	if (errno || *rest || !m->next_tli.v ||
		!lsn_parse(PQgetvalue(res, 0, 1), (size_t)PQgetlength(res, 0, 1), &m->next_at))
		return err_set(e, -EBADMSG, "%s: the timeline after this one is \"%.20s\" at \"%.20s\"",
			c->where, PQgetvalue(res, 0, 0), PQgetvalue(res, 0, 1));
	return 0;
}

/* Reads the results behind the copy stream: a row when the timeline ended, none when the server goes down. */
static int read_end(struct replication *c, struct err *e)
{
	PQclear(c->end);
	c->end = NULL;
	for (;;) {
		_cleanup_(repl_result_freep) struct pg_result *res = NULL;
		int r = repl_result(c, false, &res, e);

		if (r < 0)
			return r;
		if (!res)
			break;
		switch (PQresultStatus(res)) {
		case PGRES_COPY_BOTH:
		case PGRES_COPY_IN: /* the server is done with its half, and waits for ours */
			if (PQputCopyEnd(c->conn, NULL) <= 0)
				return repl_lost(c, "ending a stream", e);
			r = repl_flush(c, e);
			if (r < 0)
				return r;
			break;
		case PGRES_TUPLES_OK:
			PQclear(c->end);
			c->end = MOVE(res);
			break;
		case PGRES_COMMAND_OK:
			break;
		default:
			r = repl_refused(c, res, "streaming WAL", e);
			/* After an error of the server's commands may follow. */
			if (PQstatus(c->conn) == CONNECTION_OK)
				repl_finish(c, NULL);
			return r;
		}
	}
	c->state = REPL_ENDED;
	return 0;
}

/* ---- messages ---- */

static int parse(struct replication *c, size_t n, struct replication_message *m, struct err *e)
{
	const char *p = c->message;

	*m = (struct replication_message){0};
	if (n >= DATA_HEAD && *p == 'w') {
		m->kind = REPLICATION_DATA;
		m->at.v = get_u64(p + 1);
		m->server_end.v = get_u64(p + 9);
		m->p = (const uint8_t *)p + DATA_HEAD;
		m->n = n - DATA_HEAD;
		if (m->n <= DATA_MAX && m->at.v <= UINT64_MAX - m->n)
			return 0;
	} else if (n >= KEEPALIVE && *p == 'k') {
		m->kind = REPLICATION_KEEPALIVE;
		m->server_end.v = get_u64(p + 1);
		m->reply = p[17] != 0;
		return 0;
	}
	return err_set(e, -EBADMSG, "%s: a message of type 0x%02x and %zu bytes in the stream of WAL",
		c->where, n ? (uint8_t)*p : 0u, n);
}

/* Nothing is there: waits until something is (1) or until the time is over (0). */
static int await(struct replication *c, uint64_t until_ns, struct err *e)
{
	uint64_t timeout = c->options.timeout_s * 1000000000ull;
	uint64_t next = c->heard_ns + (c->asked ? timeout : timeout / 2);
	int r = repl_wait(c, POLLIN, next < until_ns ? next : until_ns, e);

	if (r > 0)
		r = repl_consume(c, e);
	else if (!r && clock_mono_ns() < next)
		return 0;
	else if (!r && c->asked)
		r = repl_silent(c, e);
	else if (!r) {
		c->asked = true;
		r = replication_status(c, c->wrote, c->flushed, true, e);
	}
	return r < 0 ? r : 1;
}

int replication_next(struct replication *c, unsigned wait_ms, struct replication_message *ret, struct err *e)
{
	uint64_t until = clock_mono_ns() + wait_ms * 1000000ull;
	int r;

	while (c->state == REPL_STREAMING) {
		int n;

		repl_drop_message(c);
		n = PQgetCopyData(c->conn, &c->message, 1);
		if (n > 0)
			return parse(c, (size_t)n, ret, e);
		if (n < -1)
			return repl_lost(c, "streaming WAL", e);
		r = n < 0 ? read_end(c, e) : await(c, until, e);
		if (r < 0)
			return r;
		if (!r && c->state == REPL_STREAMING) {
			*ret = (struct replication_message){.kind = REPLICATION_IDLE};
			return 0;
		}
	}
	return c->state == REPL_ENDED ? take_end(c, ret, e)
				      : err_set(e, -EINVAL, "%s: no stream of WAL runs", c->where);
}

int replication_start(struct replication *c, const char *slot, struct lsn from, struct tli tli, struct err *e)
{
	_cleanup_(freep) char *quoted = slot ? replication_identifier(c, slot) : NULL, *command = NULL;
	_cleanup_(repl_result_freep) struct pg_result *res = NULL;
	char at[LSN_TEXT], doing[64];
	int r;

	if ((slot && !quoted) ||
		asprintf(&command, "START_REPLICATION %s %s PHYSICAL %s TIMELINE %u", slot ? "SLOT" : "",
			slot ? quoted : "", lsn_text(from, at), tli.v) < 0)
		return err_sys(e, -ENOMEM, "%s", c->where);
	snprintf(doing, sizeof(doing), "streaming from %s of timeline %u", at, tli.v);
	r = repl_send(c, command, e);
	if (!r)
		r = repl_result(c, false, &res, e);
	if (r < 0)
		return r;
	c->wrote = c->flushed = from;
	if (PQresultStatus(res) == PGRES_COPY_BOTH) {
		c->state = REPL_STREAMING;
		return 0;
	}
	if (PQresultStatus(res) == PGRES_TUPLES_OK) {
		PQclear(c->end);
		c->end = MOVE(res);
		r = repl_finish(c, e);
		c->state = REPL_ENDED;
		return r;
	}
	r = repl_refused(c, res, doing, e);
	repl_finish(c, NULL);
	return r;
}

int replication_status(
	struct replication *c, struct lsn written, struct lsn flushed, bool reply, struct err *e)
{
	char b[STATUS] = {'r'}, *p = b + 1;
	struct tstamp now = clock_now();

	p = put_u64(p, written.v);
	p = put_u64(p, flushed.v);
	p = put_u64(p, 0); /* nothing is applied here */
	p = put_u64(p, (uint64_t)(now.sec - PG_EPOCH_S) * 1000000 + now.nsec / 1000);
	*p = reply;
	c->wrote = written;
	c->flushed = flushed;
	for (;;) {
		int n = PQputCopyData(c->conn, b, STATUS), r;

		if (n > 0)
			return repl_flush(c, e);
		if (n < 0)
			return repl_lost(c, "telling how far WAL was received", e);
		/* The queue is full. */
		r = repl_flush(c, e);
		if (r < 0)
			return r;
	}
}

int replication_stop(struct replication *c, struct err *e)
{
	struct replication_message m;
	int r = 0;

	if (c->state == REPL_STREAMING) {
		if (PQputCopyEnd(c->conn, NULL) <= 0)
			return repl_lost(c, "ending a stream", e);
		r = repl_flush(c, e);
	}
	while (!r && c->state == REPL_STREAMING) {
		int n;

		repl_drop_message(c);
		n = PQgetCopyData(c->conn, &c->message, 1);
		if (n < -1)
			r = repl_lost(c, "ending a stream", e);
		else if (n == -1)
			r = read_end(c, e);
		else if (n == 0 && !(r = repl_wait(c, POLLIN, repl_deadline(c), e)))
			r = repl_silent(c, e);
		else if (r > 0)
			r = repl_consume(c, e);
	}
	return r || c->state != REPL_ENDED ? r : take_end(c, &m, e);
}

/* ---- history files ---- */

struct history {
	char *name;
	void *bytes;
	size_t len;
};

static int take_history(void *arg, unsigned column, const char *value, size_t len, bool null, struct err *e)
{
	struct history *h = arg;

	if (null || column > 1)
		return err_set(e, -EBADMSG, "TIMELINE_HISTORY: an answer of another form");
	if (column == 0)
		h->name = strdup(value);
	else if ((h->bytes = malloc(len + 1)))
		memcpy(h->bytes, value, len);
	h->len = len;
	return (column ? h->bytes != NULL : h->name != NULL) ? 0 : err_sys(e, -ENOMEM, "TIMELINE_HISTORY");
}

int replication_history(
	struct replication *c, struct tli t, char **ret_name, void **ret, size_t *ret_len, struct err *e)
{
	char want[TIMELINE_HISTORY_TEXT];
	struct history h = {0};
	int r = replication_command(c, take_history, &h, e, "TIMELINE_HISTORY %u", t.v);

	if (r == -ENODATA)
		err_set(e, r, "%s has no history file of timeline %u", c->where, t.v);
	if (!r && (!h.bytes || strcmp(h.name, timeline_history_name(t, want))))
		r = err_set(e, -EBADMSG, "%s: no history file came for timeline %u", c->where, t.v);
	if (r < 0) {
		free(h.name);
		free(h.bytes);
		return r;
	}
	*ret_name = h.name;
	*ret = h.bytes;
	*ret_len = h.len;
	return 0;
}
