/* What a server's refusal means for the caller (an errno) and for the person who reads it (what to do). See
 * replication.h.
 *
 * SQLSTATEs are compared, never words: the server may speak any language. They are those of
 * src/backend/utils/errcodes.txt, as the places named below use them. */
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <libpq-fe.h>

#include "src/capture/replication_priv.h"

#define STATE_LEN 5

struct refusal {
	char state[STATE_LEN + 1];
	int code;
	const char *advice;
};

static const struct refusal refusals[] = {
	/* InitPostgres, src/backend/utils/init/postinit.c */
	{"42501", -EACCES, "the role needs the right to replicate: ALTER ROLE ... REPLICATION"},
	/* ClientAuthentication, src/backend/libpq/auth.c; "all" in pg_hba.conf does not match replication */
	{"28000", -EACCES,
		"pg_hba.conf needs a line for this role and address with \"replication\" as its database, "
		"and "
		"the role must exist and have LOGIN"},
	{"28P01", -EACCES, "the password is wrong; keep the right one in ~/.pgpass or PGPASSFILE"},
	/* InitWalSenderSlot, src/backend/replication/walsender.c; InitProcess, src/backend/storage/lmgr/proc.c */
	{"53300", -EBUSY,
		"no connection is free: raise max_wal_senders on the server, or end another receiver"},
	/* ReplicationSlotCreate, src/backend/replication/slot.c */
	{"53400", -EBUSY, "raise max_replication_slots on the server, or drop a slot"},
	/* ReplicationSlotAcquire, same file */
	{"55006", -EBUSY, "another receiver uses the slot: end it, or choose another slot"},
	{"42710", -EEXIST, ""},
	{"42704", -ENOENT, ""},
	/* WalSegmentOpen, walsender.c: the file is not there (errcode_for_file_access) */
	{"58P01", -ENODATA,
		"the server has removed WAL that is needed: take a new base backup, and let a slot or "
		"wal_keep_size hold WAL from now on"},
	/* src/backend/postmaster/postmaster.c */
	{"57P03", -EAGAIN, "the server does not take connections yet; try again"},
	/* ProcessInterrupts and quickdie, src/backend/tcop/postgres.c */
	{"57P01", -ECONNRESET, ""},
	{"57P02", -ECONNRESET, ""},
	/* perform_base_backup, src/backend/backup/basebackup.c */
	{"XX001", -EBADMSG, "the server's data is damaged; its log names the files"},
};

static const struct refusal *find(const char *state)
{
	for (size_t i = 0; i < sizeof(refusals) / sizeof(refusals[0]); i++) {
		if (!strncmp(refusals[i].state, state, STATE_LEN))
			return &refusals[i];
	}
	return NULL;
}

static int tell(struct err *e, const char *where, const char *doing, const struct refusal *f, int otherwise,
	const char *text, const char *detail)
{
	const char *advice = f ? f->advice : "";

	return err_set(e, f ? f->code : otherwise, "%s: %s: %s%s%s%s%s", where, doing, text,
		*detail ? "; " : "", detail, *advice ? "; " : "", advice);
}

/* The first line of a text, without the blanks around it, in out. */
static char *first_line(const char *text, char *out, size_t size)
{
	size_t n;

	text += strspn(text, " \t\n");
	n = strcspn(text, "\n");
	snprintf(out, size, "%.*s", n < size ? (int)n : (int)size - 1, text);
	return out;
}

/* In verbose texts the SQLSTATE stands between colons: "FATAL:  28000: no pg_hba.conf entry" (pqBuildErrorMessage3,
 * src/interfaces/libpq/fe-protocol3.c). Where the text goes on after it, or NULL. */
static const char *after_state(const char *text, const char **ret_state)
{
	for (const char *p = strstr(text, ":  "); p; p = strstr(p + 1, ":  ")) {
		const char *state = p + 3;
		size_t n = 0;

		while (n < STATE_LEN &&
			(isdigit((unsigned char)state[n]) || isupper((unsigned char)state[n])))
			n++;
		if (n == STATE_LEN && state[n] == ':' && state[n + 1] == ' ') {
			*ret_state = state;
			return state + STATE_LEN + 2;
		}
	}
	return NULL;
}

int repl_lost(struct replication *c, const char *doing, struct err *e)
{
	const char *text = PQerrorMessage(c->conn), *state = NULL, *rest = after_state(text, &state);
	const char *failed = strstr(text, " failed: ");
	char line[400];

	if (PQconnectionNeedsPassword(c->conn))
		return err_set(e, -EACCES,
			"%s: %s: a password is wanted, and there is none; keep it in ~/.pgpass or PGPASSFILE",
			c->where, doing);
	/* "connection to server at ... failed: Connection refused": `where` says the first half. */
	if (!rest)
		rest = failed ? failed + strlen(" failed: ") : *text ? text : "the connection broke";
	return tell(e, c->where, doing, state ? find(state) : NULL, -ECONNRESET,
		first_line(rest, line, sizeof(line)), "");
}

int repl_refused(struct replication *c, const struct pg_result *res, const char *doing, struct err *e)
{
	const char *state = PQresultErrorField(res, PG_DIAG_SQLSTATE);
	const char *text = PQresultErrorField(res, PG_DIAG_MESSAGE_PRIMARY);
	const char *more = PQresultErrorField(res, PG_DIAG_MESSAGE_DETAIL);
	char line[400], detail[200];

	if (!state && (PQstatus(c->conn) == CONNECTION_BAD || !res))
		return repl_lost(c, doing, e);
	if (!text || !*text)
		text = PQresultErrorMessage(res);
	if (!*text)
		text = "an answer that does not belong there";
	return tell(e, c->where, doing, state ? find(state) : NULL, -EREMOTEIO,
		first_line(text, line, sizeof(line)), first_line(more ? more : "", detail, sizeof(detail)));
}

int repl_silent(struct replication *c, struct err *e)
{
	/* A dead network must not hold up the end. */
	c->cancel = false;
	return err_set(e, -ETIMEDOUT, "%s has said nothing for %u seconds", c->where, c->options.timeout_s);
}

bool replication_may_pass(int r)
{
	return r == -ECONNREFUSED || r == -ECONNRESET || r == -ETIMEDOUT || r == -EAGAIN || r == -EBUSY;
}
