/* The thread that streams a backup's WAL. See backup_wal.h.
 *
 * Segments are pushed into the sink as they come, whatever their size; the last one is filled up with zeroes, which
 * is what an unfinished one has behind its end (src/bin/pg_basebackup/walmethods.c). Complete segments and history
 * files are marked as archived, or a server started from the backup would archive them once more (receivelog.c,
 * mark_file_as_archived). */
#include "src/capture/backup_wal.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "src/base/clock.h"
#include "src/pg/timeline_history.h"
#include "src/pg/wal_page.h"

#define WAL_DIR BASE_DATA "/pg_wal"
#define STATUS_DIR WAL_DIR "/archive_status"
#define WAIT_MS 20	     /* how late the thread may notice that it should end */
#define STATUS_NS 5000000000 /* between two status updates */
#define SAY_AFTER_S 5	     /* of waiting for the rest, before the user is told */

struct backup_wal {
	struct replication *c;
	struct log *log;
	char slot[64];
	bool tell_flushed;
	struct base_sink *sink;
	struct meta like;
	uint32_t seg_size;
	uint64_t system;
	struct tli tli;
	struct lsn from;
	struct base_file *file; /* the segment at hand; NULL: none, `at` is at a segment's start */
	char name[WAL_NAME_TEXT];
	uint64_t told_ns;

	bool running;
	pthread_t thread;
	atomic_ullong at;   /* the byte after the last that came */
	atomic_ullong stop; /* 0: not known yet */
	atomic_bool quit;
	atomic_int failed;    /* what ended the thread, 0: nothing, or that all is in */
	pthread_mutex_t lock; /* guards what follows; nothing else is locked under it */
	pthread_cond_t wake;
	bool done;
	struct err e;
};

/* ---- files ---- */

static struct meta meta_now(const struct backup_wal *w)
{
	struct meta m = w->like;

	m.mtime = clock_now();
	return m;
}

static int put_small(struct backup_wal *w, const char *path, const void *p, size_t n, struct err *e)
{
	struct meta m = meta_now(w);
	struct base_file *f;
	int r = base_sink_open(w->sink, path, &m, n, &f, e);

	if (r < 0)
		return r;
	r = n ? base_sink_write(f, p, n, e) : 0;
	if (r == 0)
		return base_sink_close(f, e);
	base_sink_drop(f);
	return r;
}

static int mark_archived(struct backup_wal *w, const char *name, struct err *e)
{
	char path[sizeof(STATUS_DIR) + 64];

	snprintf(path, sizeof(path), STATUS_DIR "/%s.done", name);
	return put_small(w, path, NULL, 0, e);
}

/* A timeline's history file: recovery wants it for every timeline but the first. */
static int put_history(struct backup_wal *w, struct tli tli, struct err *e)
{
	_cleanup_(freep) char *name = NULL;
	_cleanup_(freep) void *p = NULL;
	char path[sizeof(WAL_DIR) + TIMELINE_HISTORY_TEXT + 1];
	size_t n;
	int r = replication_history(w->c, tli, &name, &p, &n, e);

	if (r < 0)
		return r;
	snprintf(path, sizeof(path), WAL_DIR "/%s", name);
	r = put_small(w, path, p, n, e);
	return r == 0 ? mark_archived(w, name, e) : r;
}

static int open_segment(struct backup_wal *w, struct lsn at, const void *p, size_t n, struct err *e)
{
	char path[sizeof(WAL_DIR) + WAL_NAME_TEXT];
	struct meta m = meta_now(w);
	struct wal_segment seg;
	int r;

	wal_name(w->tli, wal_segno(at, w->seg_size), w->seg_size, w->name);
	r = wal_segment_check(p, n, w->name, WAL_NAME_LEN, w->system, &seg, e);
	if (r < 0)
		return err_wrap(e, r, "WAL stream, segment %s", w->name);
	snprintf(path, sizeof(path), WAL_DIR "/%s", w->name);
	return base_sink_open(w->sink, path, &m, w->seg_size, &w->file, e);
}

static int close_segment(struct backup_wal *w, struct err *e)
{
	int r = base_sink_close(MOVE(w->file), e);

	return r == 0 ? mark_archived(w, w->name, e) : r;
}

/* The rest of an unfinished segment. */
static int fill_up(struct backup_wal *w, struct err *e)
{
	static const uint8_t zeros[64u << 10];
	uint64_t left;
	int r = 0;

	if (!w->file)
		return 0;
	for (left = w->seg_size - atomic_load(&w->at) % w->seg_size; left && r == 0;) {
		size_t n = left < sizeof(zeros) ? (size_t)left : sizeof(zeros);

		r = base_sink_write(w->file, zeros, n, e);
		left -= n;
	}
	return r == 0 ? base_sink_close(MOVE(w->file), e) : r;
}

/* ---- the stream ---- */

static int take_data(struct backup_wal *w, const struct replication_message *m, struct err *e)
{
	uint64_t at = atomic_load(&w->at);
	const uint8_t *p = m->p;
	size_t left = m->n;
	int r = 0;

	if (m->at.v != at) {
		char want[LSN_TEXT], got[LSN_TEXT];

		return err_set(e, -EBADMSG, "WAL stream: the server sent %s where %s follows",
			lsn_text(m->at, got), lsn_text((struct lsn){at}, want));
	}
	while (left && r == 0) {
		uint64_t room = w->seg_size - at % w->seg_size;
		size_t n = left < room ? left : (size_t)room;

		if (!w->file)
			r = open_segment(w, (struct lsn){at}, p, n, e);
		if (r == 0)
			r = base_sink_write(w->file, p, n, e);
		if (r == 0 && n == room)
			r = close_segment(w, e);
		p += n;
		left -= n;
		at += n;
	}
	if (r == 0)
		atomic_store(&w->at, at);
	return r;
}

/* A receiver that tells a flush position counts as a standby that commits may be waiting for (SyncRepReleaseWaiters,
 * src/backend/replication/syncrep.c), and nothing of a backup is durable before its end. So none is told where there
 * are synchronous standbys, and the slot then holds all of the backup's WAL at the server. Elsewhere what came is
 * told, and the server may remove it. */
static int tell(struct backup_wal *w, struct err *e)
{
	struct lsn at = {atomic_load(&w->at)};

	w->told_ns = clock_mono_ns();
	return replication_status(w->c, at, w->tell_flushed ? at : (struct lsn){0}, false, e);
}

/* Streams from the start of the segment that holds `at`. */
static int start_stream(struct backup_wal *w, struct lsn at, struct err *e)
{
	int r = w->tli.v > 1 ? put_history(w, w->tli, e) : 0;

	at = wal_segment_start(wal_segno(at, w->seg_size), w->seg_size);
	atomic_store(&w->at, at.v);
	if (r == 0)
		r = replication_start(w->c, w->slot, at, w->tli, e);
	return r == 0 ? tell(w, e) : r;
}

/* A standby followed its primary to another timeline: that one's file of the segment holds what the old one's did. */
static int switch_timeline(struct backup_wal *w, const struct replication_message *m, struct err *e)
{
	int r;

	if (!m->next_tli.v)
		return err_set(e, -ECONNRESET, "the server is shutting down: it ended the stream of WAL");
	if (m->next_tli.v <= w->tli.v)
		return err_set(e, -EBADMSG, "WAL stream: timeline %u cannot follow timeline %u",
			m->next_tli.v, w->tli.v);
	r = fill_up(w, e);
	w->tli = m->next_tli;
	return r == 0 ? start_stream(w, m->next_at, e) : r;
}

static bool is_all_in(const struct backup_wal *w)
{
	uint64_t stop = atomic_load(&w->stop);

	return stop && atomic_load(&w->at) >= stop;
}

static int take_message(struct backup_wal *w, const struct replication_message *m, struct err *e)
{
	switch (m->kind) {
	case REPLICATION_DATA:
		return take_data(w, m, e);
	case REPLICATION_KEEPALIVE:
		return m->reply ? tell(w, e) : 0;
	case REPLICATION_IDLE:
		return 0;
	case REPLICATION_END:
		return switch_timeline(w, m, e);
	}
	return err_set(e, -EINVAL, "WAL stream: a message of an unknown kind");
}

static int stream(struct backup_wal *w, struct err *e)
{
	int r = start_stream(w, w->from, e);

	while (r == 0 && !is_all_in(w)) {
		struct replication_message m;

		if (atomic_load(&w->quit))
			return err_set(e, -ECANCELED, "the backup ended before its WAL");
		r = replication_next(w->c, WAIT_MS, &m, e);
		if (r == 0)
			r = take_message(w, &m, e);
		if (r == 0 && clock_mono_ns() - w->told_ns > STATUS_NS)
			r = tell(w, e);
	}
	return r == 0 ? fill_up(w, e) : r;
}

static void *run(void *arg)
{
	struct backup_wal *w = arg;
	struct err e = {0};
	int r = stream(w, &e);

	base_sink_drop(MOVE(w->file));
	pthread_mutex_lock(&w->lock);
	w->done = true;
	w->e = e;
	atomic_store(&w->failed, r);
	pthread_cond_broadcast(&w->wake);
	pthread_mutex_unlock(&w->lock);
	return NULL;
}

/* ---- for the backup ---- */

static int on_sync_names(void *arg, unsigned column, const char *value, size_t len, bool null, struct err *e)
{
	struct backup_wal *w = arg;

	(void)column;
	(void)value;
	(void)e;
	w->tell_flushed = null || !len;
	return 0;
}

/* The name is this process's and this moment's, for other machines have the same process ids. */
static int make_slot(struct backup_wal *w, struct err *e)
{
	struct tstamp now = clock_now();
	bool options = replication_server(w->c)->version >= 150000;

	snprintf(w->slot, sizeof(w->slot), "pgstrata_backup_%ld_%llx", (long)getpid(),
		(unsigned long long)now.sec << 30 | now.nsec);
	return replication_command(w->c, NULL, NULL, e, "CREATE_REPLICATION_SLOT %s TEMPORARY PHYSICAL %s",
		w->slot, options ? "(RESERVE_WAL)" : "RESERVE_WAL");
}

int backup_wal_new(const struct replication *c, struct log *log, struct backup_wal **ret, struct err *e)
{
	_cleanup_(backup_wal_freep) struct backup_wal *w = calloc(1, sizeof(*w));
	pthread_condattr_t attr;
	int r;

	if (!w)
		return err_sys(e, -ENOMEM, "WAL stream");
	w->log = log;
	w->seg_size = replication_server(c)->segment_size;
	w->system = replication_server(c)->system_identifier;
	pthread_mutex_init(&w->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&w->wake, &attr);
	pthread_condattr_destroy(&attr);
	r = replication_again(c, &w->c, e);
	if (r == 0)
		r = replication_command(w->c, on_sync_names, w, e, "SHOW synchronous_standby_names");
	if (r == 0)
		r = make_slot(w, e);
	if (r < 0)
		return err_wrap(e, r, "a second connection, for the WAL");
	*ret = MOVE(w);
	return 0;
}

void backup_wal_free(struct backup_wal *w)
{
	if (!w)
		return;
	atomic_store(&w->quit, true);
	if (w->running)
		pthread_join(w->thread, NULL);
	replication_close(w->c);
	pthread_cond_destroy(&w->wake);
	pthread_mutex_destroy(&w->lock);
	free(w);
}

int backup_wal_start(struct backup_wal *w, struct base_sink *k, struct lsn from, struct tli tli,
	const struct meta *like, struct err *e)
{
	int r;

	w->sink = k;
	w->from = from;
	w->tli = tli;
	w->like = *like;
	r = pthread_create(&w->thread, NULL, run, w);
	if (r)
		return err_sys(e, -r, "a thread for the WAL");
	w->running = true;
	return 0;
}

int backup_wal_check(struct backup_wal *w, struct err *e)
{
	int r = atomic_load(&w->failed);

	if (r < 0 && e) {
		pthread_mutex_lock(&w->lock);
		*e = w->e;
		pthread_mutex_unlock(&w->lock);
	}
	return r;
}

int backup_wal_finish(struct backup_wal *w, struct lsn stop, struct err *e)
{
	struct timespec until;

	if (!w->running)
		return err_set(e, -EBADMSG, "the server sent no files");
	atomic_store(&w->stop, stop.v);
	clock_gettime(CLOCK_MONOTONIC, &until);
	pthread_mutex_lock(&w->lock);
	while (!w->done) {
		char want[LSN_TEXT], have[LSN_TEXT];

		until.tv_sec += SAY_AFTER_S;
		while (!w->done && pthread_cond_timedwait(&w->wake, &w->lock, &until) == 0)
			;
		if (!w->done)
			log_msg(w->log, LOG_LEVEL_WARNING,
				"all files are here; waiting for WAL up to %s, which the server has sent up "
				"to %s",
				lsn_text(stop, want), lsn_text((struct lsn){atomic_load(&w->at)}, have));
	}
	pthread_mutex_unlock(&w->lock);
	pthread_join(w->thread, NULL);
	w->running = false;
	return backup_wal_check(w, e);
}
