/* Reading backup_label, backup history files and tablespace_map line by line.
 *
 *	label   = start, checkpoint, method, from, start-time, label, start-timeline
 *	history = start, stop, checkpoint, method, from, start-time, label, start-timeline,
 *		  stop-time, stop-timeline, [incremental-lsn, incremental-tli]
 *
 * each a "KEY: VALUE\n" (src/backend/access/transam/xlogbackup.c, build_backup_content). Only the label's
 * value may span lines: the server takes any text for it and writes it as it is.
 *
 * Invariant: a value is measured before it is copied. Non-goal: the tolerance of hand-edited files. */
#include "src/pg/backup_label.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

struct text {
	const char *p;
	size_t n;
};

struct lines {
	const char *what; /* the file's name, for messages */
	const char *p, *end;
	unsigned number; /* of the line read last, from 1 */
};

static bool starts(struct text t, const char *word)
{
	size_t n = strlen(word);

	return t.n >= n && !memcmp(t.p, word, n);
}

static bool is(struct text t, const char *word)
{
	return t.n == strlen(word) && starts(t, word);
}

/* What is left, without moving on. */
static struct text rest(const struct lines *l)
{
	return (struct text){.p = l->p, .n = (size_t)(l->end - l->p)};
}

/* The value of the next line, which must be KEY's. */
static int line(struct lines *l, const char *key, struct text *ret, struct err *e)
{
	struct text all = rest(l);
	size_t n = strlen(key);
	const char *eol;

	l->number++;
	if (!starts(all, key) || all.n < n + 2 || memcmp(all.p + n, ": ", 2) != 0)
		return err_set(e, -EBADMSG, "%s: line %u is not \"%s: …\"", l->what, l->number, key);
	n += 2;
	eol = memchr(all.p + n, '\n', all.n - n);
	if (!eol)
		return err_set(e, -EBADMSG, "%s: line %u (%s) is cut off", l->what, l->number, key);
	*ret = (struct text){.p = all.p + n, .n = (size_t)(eol - all.p) - n};
	l->p = eol + 1;
	return 0;
}

static int bad_value(const struct lines *l, const char *key, struct err *e)
{
	return err_set(e, -EBADMSG, "%s: line %u: the value of \"%s\" cannot be", l->what, l->number, key);
}

static int get_lsn(struct lines *l, const char *key, struct lsn *ret, struct err *e)
{
	struct text v = {0};
	int r = line(l, key, &v, e);

	if (r < 0)
		return r;
	return lsn_parse(v.p, v.n, ret) ? 0 : bad_value(l, key, e);
}

/* "X/X (file 24 digits)" */
static int get_location(
	struct lines *l, const char *key, struct lsn *ret, char file[WAL_NAME_TEXT], struct err *e)
{
	static const char open[] = " (file ";
	const size_t tail = sizeof(open) - 1 + WAL_NAME_LEN + 1;
	struct text v = {0};
	const char *name;
	int r = line(l, key, &v, e);

	if (r < 0)
		return r;
	if (v.n < tail || v.p[v.n - 1] != ')')
		return bad_value(l, key, e);
	name = v.p + v.n - 1 - WAL_NAME_LEN;
	if (memcmp(v.p + v.n - tail, open, sizeof(open) - 1) != 0 || !wal_name_looks(name, WAL_NAME_LEN) ||
		!lsn_parse(v.p, v.n - tail, ret))
		return bad_value(l, key, e);
	memcpy(file, name, WAL_NAME_LEN);
	file[WAL_NAME_LEN] = 0;
	return 0;
}

static int get_tli(struct lines *l, const char *key, struct tli *ret, struct err *e)
{
	struct text v = {0};
	uint64_t t = 0;
	int r = line(l, key, &v, e);

	if (r < 0)
		return r;
	if (!v.n || v.n > 10)
		return bad_value(l, key, e);
	for (size_t i = 0; i < v.n; i++) {
		if (v.p[i] < '0' || v.p[i] > '9')
			return bad_value(l, key, e);
		t = t * 10 + (uint64_t)(v.p[i] - '0');
	}
	if (!t || t > UINT32_MAX)
		return bad_value(l, key, e);
	ret->v = (uint32_t)t;
	return 0;
}

/* One of two words. */
static int get_choice(struct lines *l, const char *key, const char *no, const char *also_no, const char *yes,
	bool *ret, struct err *e)
{
	struct text v = {0};
	int r = line(l, key, &v, e);

	if (r < 0)
		return r;
	if (!is(v, no) && !is(v, also_no) && !is(v, yes))
		return bad_value(l, key, e);
	*ret = is(v, yes);
	return 0;
}

/* strftime's "%Y-%m-%d %H:%M:%S %Z". */
static int get_time(struct lines *l, const char *key, struct backup_time *ret, struct err *e)
{
	const size_t local_len = sizeof("2026-11-20 02:15:07") - 1;
	char local[sizeof("2026-11-20 02:15:07")];
	struct text v = {0};
	int r = line(l, key, &v, e);

	if (r < 0)
		return r;
	if (v.n > BACKUP_TIME_MAX || v.n < local_len || memchr(v.p, 0, v.n))
		return bad_value(l, key, e);
	if (v.n > local_len && v.p[local_len] != ' ')
		return bad_value(l, key, e);
	memcpy(ret->text, v.p, v.n);
	ret->text[v.n] = 0;
	ret->resolved = v.n > local_len + 1 && tstamp_parse(ret->text, &ret->at, NULL) == 0;
	if (ret->resolved)
		return 0;
	memcpy(local, v.p, local_len);
	local[local_len] = 0;
	return tstamp_parse(local, &ret->at, NULL) == 0 ? 0 : bad_value(l, key, e);
}

/* The label ends where the next key starts. */
static int get_label(struct lines *l, char ret[BACKUP_LABEL_MAX + 1], struct err *e)
{
	static const char next[] = "\nSTART TIMELINE: ";
	struct text v = {0};
	const char *end;
	int r;

	v = rest(l);
	r = line(l, "LABEL", &(struct text){0}, e);
	if (r < 0)
		return r;
	v.p += strlen("LABEL: ");
	v.n -= strlen("LABEL: ");
	end = memmem(v.p, v.n, next, sizeof(next) - 1);
	if (!end)
		return err_set(e, -EBADMSG, "%s: no line \"START TIMELINE: …\"", l->what);
	v.n = (size_t)(end - v.p);
	if (v.n > BACKUP_LABEL_MAX || memchr(v.p, 0, v.n))
		return bad_value(l, "LABEL", e);
	for (; l->p < end + 1; l->p = (const char *)memchr(l->p, '\n', (size_t)(end + 1 - l->p)) + 1)
		l->number++;
	memcpy(ret, v.p, v.n);
	ret[v.n] = 0;
	return 0;
}

/* The timeline in the first eight digits of a segment's name. */
static uint32_t tli_of_name(const char *name)
{
	struct tli t = {0};
	struct segno s;

	return wal_name_parse(name, WAL_NAME_LEN, 1u << 20, &t, &s) ? t.v : 0;
}

static int parse(
	const char *what, const void *p, size_t n, bool history, struct backup_label *ret, struct err *e)
{
	struct lines l = {.what = what, .p = p, .end = n ? (const char *)p + n : p};
	struct backup_label t = {.is_history = history};
	bool exclusive;
	int r = get_location(&l, "START WAL LOCATION", &t.start, t.start_file, e);

	if (!r && history)
		r = get_location(&l, "STOP WAL LOCATION", &t.stop, t.stop_file, e);
	if (!r)
		r = get_lsn(&l, "CHECKPOINT LOCATION", &t.checkpoint, e);
	if (!r)
		r = get_choice(&l, "BACKUP METHOD", "streamed", "streamed", "pg_start_backup", &exclusive, e);
	if (!r)
		r = get_choice(&l, "BACKUP FROM", "primary", "master", "standby", &t.from_standby, e);
	if (!r)
		r = get_time(&l, "START TIME", &t.start_time, e);
	if (!r)
		r = get_label(&l, t.label, e);
	if (!r)
		r = get_tli(&l, "START TIMELINE", &t.tli, e);
	if (!r && history)
		r = get_time(&l, "STOP TIME", &t.stop_time, e);
	if (!r && history)
		r = get_tli(&l, "STOP TIMELINE", &t.stop_tli, e);
	if (r < 0)
		return r;
	t.streamed = !exclusive;
	if (starts(rest(&l), "INCREMENTAL FROM LSN")) {
		if (!history)
			return err_set(e, -EOPNOTSUPP,
				"%s: this is an incremental backup, not a full one; combine it with those it "
				"builds on "
				"first, with pg_combinebackup",
				what);
		t.incremental = true;
		r = get_lsn(&l, "INCREMENTAL FROM LSN", &t.incremental_from, e);
		if (!r)
			r = get_tli(&l, "INCREMENTAL FROM TLI", &t.incremental_tli, e);
		if (r < 0)
			return r;
	}
	if (l.p != l.end)
		return err_set(e, -EBADMSG, "%s: line %u is not known", what, l.number + 1);
	/* The server refuses such a label too (read_backup_label, xlogrecovery.c). */
	if (tli_of_name(t.start_file) != t.tli.v)
		return err_set(e, -EBADMSG, "%s: start timeline %u, but the WAL file is %s", what, t.tli.v,
			t.start_file);
	*ret = t;
	return 0;
}

int backup_label_parse(const void *p, size_t n, struct backup_label *ret, struct err *e)
{
	return parse("backup_label", p, n, false, ret, e);
}

int backup_history_parse(const void *p, size_t n, struct backup_label *ret, struct err *e)
{
	return parse("backup history file", p, n, true, ret, e);
}

bool backup_history_name_looks(const char *name, size_t n)
{
	static const char tail[] = ".backup";
	const size_t offset_at = WAL_NAME_LEN + 1, tail_at = offset_at + 8;

	if (n != tail_at + sizeof(tail) - 1 || !wal_name_looks(name, WAL_NAME_LEN) ||
		name[WAL_NAME_LEN] != '.')
		return false;
	for (size_t i = offset_at; i < tail_at; i++)
		if (!(name[i] >= '0' && name[i] <= '9') && !(name[i] >= 'A' && name[i] <= 'F'))
			return false;
	return !memcmp(name + tail_at, tail, sizeof(tail) - 1);
}

static bool is_break(char c)
{
	return c == '\n' || c == '\r';
}

/* Cuts one line, unescaped, into out. Returns its length, -1 when it is too long, -2 when it has no end. */
static int map_line(const char **p, const char *end, bool escapes_all, char *out, size_t room)
{
	const char *s = *p;
	size_t n = 0;

	for (; s < end; s++) {
		char c = *s;

		if (is_break(c)) {
			*p = s + 1;
			return (int)n;
		}
		if (c == '\\' && s + 1 < end && (escapes_all || is_break(s[1])))
			c = *++s;
		if (n == room)
			return -1;
		out[n++] = c;
	}
	return -2;
}

int tablespace_map_parse(
	const void *buf, size_t len, unsigned pg_major, tablespace_map_fn *fn, void *arg, struct err *e)
{
	const char *p = buf, *end = len ? p + len : p;
	bool escapes_all = pg_major == 0 || pg_major >= 14;
	char text[sizeof("4294967295 ") - 1 + TABLESPACE_PATH_MAX + 1];

	for (unsigned number = 1; p < end; number++) {
		int n = map_line(&p, end, escapes_all, text, sizeof(text) - 1), i = 0, r;
		uint64_t oid = 0;

		if (n == 0)
			continue;
		if (n < 0)
			return err_set(e, -EBADMSG, "tablespace_map: line %u is %s", number,
				n == -1 ? "too long" : "cut off");
		for (; i < n && i < 10 && text[i] >= '0' && text[i] <= '9'; i++)
			oid = oid * 10 + (uint64_t)(text[i] - '0');
		if (!oid || oid > UINT32_MAX || i == n || text[i] != ' ')
			return err_set(
				e, -EBADMSG, "tablespace_map: line %u does not start with an OID", number);
		i++;
		if (i == n || text[i] != '/' || n - i > TABLESPACE_PATH_MAX || memchr(text, 0, (size_t)n))
			return err_set(e, -EBADMSG, "tablespace_map: line %u has no absolute path", number);
		text[n] = 0;
		r = fn(arg, (struct oid){(uint32_t)oid}, text + i, e);
		if (r)
			return r;
	}
	return 0;
}
