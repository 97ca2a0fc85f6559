/* BASE_BACKUP: its result rows and copy streams. See replication.h.
 *
 * Before 15 each tablespace's tar and the manifest come as streams of their own, one after the other; since 15 one
 * stream carries everything in typed messages ("Streaming Replication Protocol", BASE_BACKUP; SendBackupManifest and
 * bbsink_copystream, src/backend/backup/basebackup_copy.c). Here a stream is bytes; who calls knows which. */
#include <errno.h>
#include <poll.h>

#include <libpq-fe.h>

#include "src/capture/replication_priv.h"

#define COLUMNS_MAX 16

static int tell_rows(
	struct replication *c, const struct pg_result *res, replication_row_fn *fn, void *arg, struct err *e)
{
	const char *values[COLUMNS_MAX];
	int n = PQnfields(res) < COLUMNS_MAX ? PQnfields(res) : COLUMNS_MAX, r = 0;

	(void)c;
	for (int row = 0; row < PQntuples(res) && !r; row++) {
		for (int i = 0; i < n; i++)
			values[i] = PQgetisnull(res, row, i) ? NULL : PQgetvalue(res, row, i);
		r = fn(arg, values, (unsigned)n, e);
	}
	return r;
}

/* One result that must be rows. The first may take as long as a spread checkpoint does. */
static int take_rows(struct replication *c, replication_row_fn *fn, void *arg, struct err *e)
{
	_cleanup_(repl_result_freep) struct pg_result *res = NULL;
	int r = repl_result(c, true, &res, e);

	if (r < 0)
		return r;
	if (PQresultStatus(res) == PGRES_TUPLES_OK)
		return tell_rows(c, res, fn, arg, e);
	return repl_refused(c, res, "BASE_BACKUP", e);
}

int replication_backup(struct replication *c, const char *command, replication_row_fn *start,
	replication_row_fn *tablespace, void *arg, struct err *e)
{
	int r = repl_send(c, command, e);

	if (r < 0)
		return r;
	c->cancel = true;
	r = take_rows(c, start, arg, e);
	if (!r)
		r = take_rows(c, tablespace, arg, e);
	if (!r)
		c->state = REPL_BACKUP;
	return r;
}

/* Begins the stream that follows. 0, or 2 when the closing row came instead. */
static int next_stream(struct replication *c, struct err *e)
{
	_cleanup_(repl_result_freep) struct pg_result *res = NULL;
	int r = c->end ? 0 : repl_result(c, true, &res, e);

	if (r < 0)
		return r;
	if (c->end)
		return 2;
	switch (PQresultStatus(res)) {
	case PGRES_COPY_OUT:
		c->state = REPL_COPYING;
		return 0;
	case PGRES_TUPLES_OK:
		c->end = MOVE(res);
		return 2;
	default:
		return repl_refused(c, res, "BASE_BACKUP", e);
	}
}

int replication_copy(struct replication *c, const void **ret, size_t *ret_len, struct err *e)
{
	int r;

	if (c->state != REPL_BACKUP && c->state != REPL_COPYING)
		return err_set(e, -EINVAL, "%s: no base backup runs", c->where);
	if (c->state == REPL_BACKUP) {
		r = next_stream(c, e);
		if (r)
			return r;
	}
	for (;;) {
		int n;

		repl_drop_message(c);
		n = PQgetCopyData(c->conn, &c->message, 1);
		if (n > 0) {
			*ret = c->message;
			*ret_len = (size_t)n;
			return 1;
		}
		if (n == -1) {
			/* The server's error also ends a stream: what follows tells. */
			c->state = REPL_BACKUP;
			r = next_stream(c, e);
			return r < 0 ? r : 0;
		}
		if (n < 0)
			return repl_lost(c, "BASE_BACKUP", e);
		r = repl_wait(c, POLLIN, repl_deadline(c), e);
		if (!r)
			return repl_silent(c, e);
		if (r > 0)
			r = repl_consume(c, e);
		if (r < 0)
			return r;
	}
}

int replication_backup_end(struct replication *c, replication_row_fn *end, void *arg, struct err *e)
{
	int r = c->state == REPL_BACKUP ? next_stream(c, e)
					: err_set(e, -EINVAL, "%s: no base backup runs", c->where);

	if (r == 0)
		return err_set(
			e, -EBADMSG, "%s: a stream came where the backup's end was expected", c->where);
	if (r < 0)
		return r;
	r = tell_rows(c, c->end, end, arg, e);
	PQclear(c->end);
	c->end = NULL;
	if (r < 0)
		return r;
	r = repl_finish(c, e);
	c->cancel = r < 0;
	return r;
}
