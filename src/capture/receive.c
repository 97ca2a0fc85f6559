/* The receiver's connections and the stream. See receive.h.
 *
 * A connection's life: whose server is it, the histories that the repository lacks, the slot, the position from the
 * repository, the stream. Whatever ends the stream (a timeline's end, the network, the server), what came is made
 * durable and the next connection begins with the same questions. */
#include "src/capture/receive.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "src/capture/receive_priv.h"

#define MS 1000000ull
#define FLUSH_MS 1000
#define SYNC_MS 10	/* a synchronous receiver waits for a pause in the stream at most so long */
#define STATUS_MS 10000 /* between two of our own accord: wal_receiver_status_interval's default */
#define BACKOFF_MS 1000
#define BACKOFF_MAX_MS 60000
#define LOOK_MS 100 /* how often a pause looks at the stop flag */

/* What a stream or a connection ended with, when it is no error. */
enum outcome { AGAIN, REACHED };

static bool stopped(const struct receiver *r)
{
	return replication_stopped(r->o->server.stop);
}

/* ---- the stream ---- */

static int tell(struct receiver *r, bool reply, struct err *e)
{
	return replication_status(r->c, growing_end(&r->g), growing_flushed(&r->g), reply, e);
}

static unsigned flush_ms(const struct receiver *r)
{
	unsigned ms = r->o->flush_ms ? r->o->flush_ms : FLUSH_MS;

	return r->synchronous && ms > SYNC_MS ? SYNC_MS : ms;
}

/* How long to wait for a message: not at all for the pause that a synchronous receiver flushes in. */
static unsigned wait_ms(const struct receiver *r, uint64_t now, uint64_t told_ns)
{
	uint64_t due = told_ns + STATUS_MS * MS;

	if (r->g.since_ns) {
		if (r->synchronous)
			return 0;
		if (r->g.since_ns + flush_ms(r) * MS < due)
			due = r->g.since_ns + flush_ms(r) * MS;
	}
	return due > now ? (unsigned)((due - now) / MS + 1) : 0;
}

static bool flush_is_due(const struct receiver *r, const struct replication_message *m, uint64_t now)
{
	if (!r->g.since_ns)
		return false;
	return now >= r->g.since_ns + flush_ms(r) * MS || (m->kind == REPLICATION_KEEPALIVE && m->reply) ||
	       (m->kind == REPLICATION_IDLE && r->synchronous) ||
	       (r->o->until.v && growing_end(&r->g).v >= r->o->until.v);
}

/* One message and what is due after it. 1: the stream ended, *m says how. */
static int step(struct receiver *r, uint64_t *told_ns, struct replication_message *m, struct err *e)
{
	uint64_t flushed = growing_flushed(&r->g).v, now = clock_mono_ns();
	/* A stream that never pauses never looks. */
	int n = stopped(r) ? err_set(e, -EINTR, "stopped")
			   : replication_next(r->c, wait_ms(r, now, *told_ns), m, e);

	if (!n && m->kind == REPLICATION_DATA)
		n = growing_add(r, m->at, m->p, m->n, e);
	if (n < 0)
		return n;
	if (m->kind == REPLICATION_END)
		return 1;
	r->alive = r->alive || m->kind != REPLICATION_IDLE;
	now = clock_mono_ns();
	if (flush_is_due(r, m, now))
		n = growing_flush(r, e);
	if (!n && (growing_flushed(&r->g).v != flushed || (m->kind == REPLICATION_KEEPALIVE && m->reply) ||
			  now >= *told_ns + STATUS_MS * MS)) {
		n = tell(r, false, e);
		*told_ns = now;
	}
	return n;
}

/* Until the stream ends. */
static int stream(struct receiver *r, enum outcome *ret, struct err *e)
{
	struct lsn until = r->o->until;
	struct replication_message m = {0};
	uint64_t told_ns = 0;
	char text[LSN_TEXT];
	struct err late;
	int n = 0, end;

	*ret = AGAIN;
	while (!n && !(until.v && growing_flushed(&r->g).v >= until.v))
		n = step(r, &told_ns, &m, e);
	/* However it ended: nothing that came is lost, and the server is told if it still listens. */
	end = growing_flush(r, &late);
	if (end < 0)
		return err_set(e, end, "%s", late.text);
	if (n != 1)
		tell(r, false, NULL);
	if (!n) {
		*ret = REACHED;
		return replication_stop(r->c, e);
	}
	if (n < 0)
		return n;
	if (!m.next_tli.v)
		return err_set(e, -EAGAIN, "the server ended the stream: it shuts down");
	log_msg(r->log, LOG_LEVEL_INFO, "timeline %u ends at %s; timeline %u follows", r->g.tli.v,
		lsn_text(m.next_at, text), m.next_tli.v);
	return r->alive ? 0 : err_set(e, -EAGAIN, "timeline %u has ended", r->g.tli.v);
}

/* ---- a connection ---- */

/* The first connection binds the cluster's name. */
static int check_server(struct receiver *r, struct err *e)
{
	char identity[24];
	int n;

	snprintf(identity, sizeof(identity), "%" PRIu64, r->server.system_identifier);
	n = store_bind_cluster(r->store, r->cluster, identity, e);
	return n < 0 ? err_wrap(e, n, "the server is not cluster \"%s\"", r->cluster) : 0;
}

/* A list of names, compared without regard to case, or "*" (src/backend/replication/syncrep.c). */
static int take_sync_names(
	void *arg, unsigned column, const char *value, size_t len, bool null, struct err *e)
{
	struct receiver *r = arg;

	(void)column;
	(void)len;
	(void)e;
	if (!null && (strchr(value, '*') || strcasestr(value, r->o->server.application)))
		r->synchronous = true;
	return 0;
}

static int find_synchronous(struct receiver *r, struct err *e)
{
	r->synchronous = r->o->synchronous;
	if (r->synchronous || !r->o->server.application)
		return 0;
	return replication_command(r->c, take_sync_names, r, e, "SHOW synchronous_standby_names");
}

/* The server has removed what comes next. Behind the gap is where the slot holds WAL, or where the server is. */
static int over_gap(struct receiver *r, struct lsn slot_at, struct tli *tli, struct lsn *at, struct err *e)
{
	struct lsn next = slot_at.v > at->v ? slot_at : r->server.at;
	uint32_t size = r->server.segment_size;
	char from[LSN_TEXT], to[LSN_TEXT];

	if (!r->o->skip_gap || next.v <= at->v)
		return err_wrap(e, -ENODATA,
			"WAL from %s of timeline %u on is missing in the repository, and gone on the server; "
			"no "
			"point in time behind it can be reached from an older backup. Go on behind the gap "
			"with "
			"--skip-gap",
			lsn_text(*at, from), tli->v);
	next = wal_segment_start(wal_segno(next, size), size);
	log_msg(r->log, LOG_LEVEL_WARNING,
		"WAL from %s of timeline %u to %s is lost; take a new base backup, and let a slot hold WAL",
		lsn_text(*at, from), tli->v, lsn_text(next, to));
	*tli = timeline_of_lsn(r->history, next);
	*at = next;
	return 0;
}

/* START_REPLICATION at the position, and whatever comes of it. */
static int run_from(struct receiver *r, struct tli tli, struct lsn at, enum outcome *ret, struct err *e)
{
	char text[LSN_TEXT], name[LSN_TEXT];
	int n;

	/* A standby that lags behind what another server sent before it. */
	if (tli.v == r->server.tli.v && at.v > r->server.at.v && r->server.in_recovery)
		return err_set(e, -EAGAIN, "the server is at %s, the repository has WAL up to %s",
			lsn_text(r->server.at, text), lsn_text(at, name));
	n = growing_begin(r, tli, at, e);
	if (!n)
		n = replication_start(r->c, r->slot[0] ? r->slot : NULL, growing_end(&r->g), tli, e);
	if (n < 0)
		return n;
	log_msg(r->log, LOG_LEVEL_INFO, "receiving from %s of timeline %u",
		lsn_text(growing_end(&r->g), text), tli.v);
	return stream(r, ret, e);
}

static int connection(struct receiver *r, enum outcome *ret, struct err *e)
{
	struct lsn slot_at, at;
	struct tli tli;
	int n = replication_open(&r->o->server, &r->c, e);

	if (n < 0)
		return n;
	r->server = *replication_server(r->c);
	n = check_server(r, e);
	if (!n)
		n = find_synchronous(r, e);
	if (!n)
		n = receive_histories(r, e);
	if (!n)
		n = receive_slot(r, &slot_at, e);
	if (!n)
		n = receive_where(r, slot_at, &tli, &at, e);
	if (n < 0)
		return n;
	n = run_from(r, tli, at, ret, e);
	if (n == -ENODATA) {
		n = over_gap(r, slot_at, &tli, &at, e);
		if (!n)
			n = run_from(r, tli, at, ret, e);
	}
	return n;
}

/* ---- from connection to connection ---- */

static void pause_ms(const struct receiver *r, unsigned ms)
{
	const struct timespec look = {.tv_nsec = LOOK_MS * 1000000l};

	for (unsigned waited = 0; waited < ms && !stopped(r); waited += LOOK_MS)
		nanosleep(&look, NULL);
}

/* A quarter more or less, so that receivers which lost one server do not return as one. */
static unsigned jittered(unsigned ms)
{
	return ms - ms / 4 + (unsigned)(clock_mono_ns() / 1000 % (ms / 2 + 1));
}

static int run(struct receiver *r, struct err *e)
{
	unsigned backoff = BACKOFF_MS;
	int said = 0;

	while (!stopped(r)) {
		enum outcome how = AGAIN;
		int n;

		r->alive = false;
		n = connection(r, &how, e);

		replication_close(MOVE(r->c));
		if (n == -EINTR && stopped(r))
			break;
		if (!n && how == REACHED)
			return 0;
		if (n < 0 && !replication_may_pass(n))
			return n;
		if (r->alive) {
			backoff = BACKOFF_MS;
			said = 0;
		}
		if (!n)
			continue;
		if (n != said)
			log_msg(r->log, LOG_LEVEL_WARNING, "%s; trying again", e->text);
		said = n;
		pause_ms(r, jittered(backoff));
		backoff = 2 * backoff < BACKOFF_MAX_MS ? 2 * backoff : BACKOFF_MAX_MS;
	}
	return 0;
}

/* Slots have [a-z0-9_] in their names (ReplicationSlotValidateName, src/backend/replication/slot.c). */
static int name_slot(struct receiver *r, struct err *e)
{
	int n = r->o->no_slot ? 0
			      : snprintf(r->slot, sizeof(r->slot), "%s%s", r->o->slot ? "" : "pgstrata_",
					r->o->slot ? r->o->slot : r->cluster);

	if (n >= (int)sizeof(r->slot))
		return err_set(e, -EINVAL, "slot names have at most %d bytes; name one with --slot",
			SLOT_NAME_MAX - 1);
	for (char *p = r->slot; !r->o->slot && *p; p++)
		*p = (char)(isalnum((unsigned char)*p) ? tolower((unsigned char)*p) : '_');
	return 0;
}

int capture_receive(struct store *s, const char *cluster, const struct receive_options *o, struct err *e)
{
	struct receiver r = {
		.store = s,
		.cluster = cluster,
		.o = o,
		.taker = {.store = s, .cluster = cluster, .log = o->server.log},
		.log = o->server.log,
	};
	struct err own = {0};
	int n = name_slot(&r, e);

	if (!n)
		n = run(&r, e ? e : &own);
	growing_done(&r.g);
	timeline_history_free(r.history);
	return n;
}
