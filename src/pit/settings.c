/* A point in time as text: settings for postgresql.auto.conf, and JSON. See pit.h. */
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/pit/pit.h"

/* ---- settings ---- */

/* name = 'value': quotes and backslashes doubled, line breaks and other control bytes as octal escapes
 * (GUC_scanstr, src/backend/utils/misc/guc-file.l). */
void pit_put_setting(struct buf *b, const char *name, const char *value)
{
	buf_printf(b, "%s = '", name);
	for (const char *s = value; *s; s++) {
		unsigned char c = (unsigned char)*s;

		if (c < 0x20 || c == 0x7f)
			buf_printf(b, "\\%03o", c);
		else if (c == '\'' || c == '\\')
			buf_printf(b, "%c%c", c, c);
		else
			buf_put_u8(b, c);
	}
	buf_printf(b, "'\n");
}

/* Two kinds of target stop the server, and the backup's own files may have one: a later line for each of the other kinds
 * takes it back. They come before our own, since also an empty one is refused once another kind is set
 * (assign_recovery_target_time and the others, src/backend/access/transam/xlogrecovery.c). */
static void clear_other_kinds(struct buf *b, enum target_kind kind)
{
	static const struct {
		const char *name;
		enum target_kind kind;
	} kinds[] = {
		{"recovery_target", TARGET_LATEST}, /* "immediate", which no target is */
		{"recovery_target_time", TARGET_TIME},
		{"recovery_target_lsn", TARGET_LSN},
		{"recovery_target_xid", TARGET_XID},
		{"recovery_target_name", TARGET_NAME},
	};

	for (size_t i = 0; i < sizeof(kinds) / sizeof(*kinds); i++)
		if (kinds[i].kind != kind || kind == TARGET_LATEST)
			pit_put_setting(b, kinds[i].name, "");
}

static void put_target(struct buf *b, const struct target *t)
{
	char text[TSTAMP_MICROS_TEXT], lsn[LSN_TEXT];

	clear_other_kinds(b, t->kind);
	switch (t->kind) {
	case TARGET_LATEST:
		return;
	case TARGET_TIME:
		tstamp_micros(t->time, "+00", text);
		*strchr(text, 'T') = ' ';
		pit_put_setting(b, "recovery_target_time", text);
		break;
	case TARGET_LSN:
		pit_put_setting(b, "recovery_target_lsn", lsn_text(t->lsn, lsn));
		break;
	case TARGET_XID:
		snprintf(text, sizeof(text), "%u", t->xid);
		pit_put_setting(b, "recovery_target_xid", text);
		break;
	case TARGET_NAME:
		pit_put_setting(b, "recovery_target_name", t->name);
		break;
	}
	pit_put_setting(b, "recovery_target_inclusive", "true");
}

static int finish(struct buf *b, const char *timeline, enum pit_action action, char **ret, struct err *e)
{
	pit_put_setting(b, "recovery_target_timeline", timeline);
	pit_put_setting(b, "recovery_target_action", action == PIT_PAUSE ? "pause" : "promote");
	*ret = buf_steal_str(b);
	return *ret ? 0 : err_sys(e, -ENOMEM, "recovery settings");
}

int pit_settings(const struct pit_point *p, const char *restore_command, enum pit_action action, char **ret,
	struct err *e)
{
	struct buf b = {0};
	char tli[16];

	snprintf(tli, sizeof(tli), "%u", p->tli.v);
	pit_put_setting(&b, "restore_command", restore_command);
	put_target(&b, &p->target);
	return finish(&b, tli, action, ret, e);
}

int pit_settings_backup(const char *restore_command, enum pit_action action, char **ret, struct err *e)
{
	struct buf b = {0};

	pit_put_setting(&b, "restore_command", restore_command);
	clear_other_kinds(&b, TARGET_LATEST);
	pit_put_setting(&b, "recovery_target", "immediate");
	return finish(&b, "current", action, ret, e);
}

/* For the shell, within single quotes; the server replaces %f and %p before it calls the shell, and %% by %
 * (BuildRestoreCommand, src/common/archive.c; replace_percent_placeholders since 16). */
static void put_quoted(struct buf *b, const char *text)
{
	for (; *text; text++) {
		if (*text == '\'')
			buf_printf(b, "'\\''");
		else if (*text == '%')
			buf_printf(b, "%%%%");
		else
			buf_put_u8(b, (uint8_t)*text);
	}
}

/* Status 1 says that there is no such file, and ends recovery or sends it to another timeline. Anything above 125 stops the
 * server (RestoreArchivedFile, src/backend/access/transam/xlogarchive.c): what is there but cannot be copied, or a mount
 * that is gone, must not pass for the end of the WAL. The partial segment is asked for after the whole one, and the whole
 * one again, for the partial goes when it is there.
 *
 * A link does where the server may open the file for writing, which it does to sync what it was given (durable_rename,
 * src/backend/storage/file/fd.c) and for nothing else: its own WAL goes on in a segment of a new timeline, links are never
 * recycled (RemoveXlogFile, xlog.c), and unlink(2) takes the link. Where it may not, or nothing is there, it is copied. */
static int restore_command(const char *mountpoint, const char *cluster, bool link, char **ret, struct err *e)
{
	struct buf b = {0};

	buf_printf(&b, "wal='");
	put_quoted(&b, mountpoint);
	buf_printf(&b, "/%s/wal'; test -d \"$wal\" || exit 200; ", cluster);
	if (link)
		buf_printf(&b, "test -f \"$wal/%%f\" && { true <>\"$wal/%%f\"; } 2>/dev/null && "
			       "ln -s \"$wal/%%f\" \"%%p\" && exit 0; ");
	buf_printf(&b, "for f in \"%%f\" \"%%f.partial\" \"%%f\"; do ");
	buf_printf(&b, "test -e \"$wal/$f\" || continue; cp \"$wal/$f\" \"%%p\" && exit 0; bad=200; done; ");
	buf_printf(&b, "exit ${bad:-1}");
	*ret = buf_steal_str(&b);
	return *ret ? 0 : err_sys(e, -ENOMEM, "restore_command");
}

int pit_restore_command(const char *mountpoint, const char *cluster, char **ret, struct err *e)
{
	return restore_command(mountpoint, cluster, false, ret, e);
}

int pit_link_command(const char *mountpoint, const char *cluster, char **ret, struct err *e)
{
	return restore_command(mountpoint, cluster, true, ret, e);
}

int pit_archive_command(const char *program, const char *repo, const char *cluster, char **ret, struct err *e)
{
	struct buf b = {0};

	buf_printf(&b, "'");
	put_quoted(&b, program);
	buf_printf(&b, "' archive-get --async --partial -r '");
	put_quoted(&b, repo);
	buf_printf(&b, "' -c '%s' %%f \"%%p\"", cluster);
	*ret = buf_steal_str(&b);
	return *ret ? 0 : err_sys(e, -ENOMEM, "restore_command");
}

/* ---- JSON ---- */

static int append(const char *p, size_t n, void *arg)
{
	buf_put(arg, p, n);
	return 0;
}

static json_t *lsn_json(struct lsn l)
{
	char text[LSN_TEXT];

	return json_string(lsn_text(l, text));
}

static json_t *time_json(struct tstamp t)
{
	char text[TSTAMP_MICROS_TEXT];

	tstamp_micros(t, "Z", text);
	return json_string(text);
}

/* A restore point's name need not be UTF-8; what is not is shown as U+FFFD. */
static json_t *text_json(const char *s)
{
	json_t *j = json_string(s);
	struct buf b = {0};
	char *ascii;

	if (j)
		return j;
	for (; *s; s++)
		buf_put(&b, (unsigned char)*s < 0x80 ? s : "\xef\xbf\xbd", (unsigned char)*s < 0x80 ? 1 : 3);
	ascii = buf_steal_str(&b);
	j = ascii ? json_string(ascii) : NULL;
	free(ascii);
	return j;
}

int pit_point_json(const struct pit_point *p, unsigned indent, struct buf *b)
{
	char name[TARGET_TEXT];
	json_t *o = json_object();
	int r = 0;

	if (!o)
		return -ENOMEM;
	r |= json_object_set_new(o, "target", text_json(target_name(&p->target, name)));
	r |= json_object_set_new(o, "backup", json_string(p->backup->id));
	r |= json_object_set_new(o, "cluster", json_string(p->backup->cluster));
	r |= json_object_set_new(o, "pg_version", json_integer(p->pg_major));
	r |= json_object_set_new(o, "timeline", json_integer(p->tli.v));
	r |= json_object_set_new(o, "from_lsn", lsn_json(p->from));
	r |= json_object_set_new(o, "backup_end_lsn", lsn_json(p->backup_end));
	r |= json_object_set_new(o, "to_lsn", lsn_json(p->to));
	r |= json_object_set_new(o, "replay_bytes", json_integer((json_int_t)p->replay_bytes));
	r |= json_object_set_new(o, "first_wal", json_string(p->first_wal));
	r |= json_object_set_new(o, "last_wal", json_string(p->last_wal));
	r |= json_object_set_new(o, "segments", json_integer((json_int_t)p->segments));
	r |= json_object_set_new(o, "partial", json_boolean(p->partial));
	r |= json_object_set_new(o, "last_time", p->has_time ? time_json(p->time) : json_null());
	r |= json_object_set_new(o, "last_xid", p->xid ? json_integer(p->xid) : json_null());
	if (!r)
		r = json_dump_callback(o, append, b, indent ? JSON_INDENT(indent) : JSON_COMPACT);
	json_decref(o);
	return r || b->bad ? -ENOMEM : 0;
}
