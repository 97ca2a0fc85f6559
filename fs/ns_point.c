/* The files that make a backup recover to a point in time. See ns_point.h.
 *
 * recovery.signal and postgresql.auto.conf are the form of PostgreSQL 12 and later (src/backend/access/transam/
 * xlogrecovery.c, readRecoverySignalFile); standby.signal would win over recovery.signal there, so it is hidden.
 *
 * Non-goal: choosing the backup, and what the settings say (src/pit). */
#include "fs/ns_point.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fs/fs.h"
#include "src/base/clean.h"

#define SETTINGS "postgresql.auto.conf"
#define SETTINGS_MAX (1u << 20) /* of the backup's own; ALTER SYSTEM writes some kilobytes */

CLEANUP_DEFINE(struct file, file_free)

void overlay_release(struct overlay *o)
{
	for (unsigned i = 0; i < OVERLAY_FILES; i++)
		free(o->files[i].bytes);
	free(o->label);
	free(o->info);
	*o = (struct overlay){0};
}

/* An entry of the backup's data directory, or NULL when there is none. */
static int data_entry(
	struct fs *fs, const struct pit_point *p, const char *path, struct entry **ret, struct err *e)
{
	int r = tree_find(fs->store, &p->backup->root, path, ret, e);

	if (r != -ENOENT)
		return r;
	*ret = NULL;
	return 0;
}

static void put_meta(struct fs *fs, const struct entry *en, struct overlay_file *f)
{
	owner_resolve(fs->owners, &en->meta, &f->uid, &f->gid);
	f->mode = en->meta.mode & 07777;
	f->mtime = en->meta.mtime;
}

/* The backup's own settings, ending with a line's end. */
static int put_settings(struct fs *fs, const struct entry *en, struct buf *b, struct err *e)
{
	_cleanup_(file_freep) struct file *f = NULL;
	uint8_t *to;
	ssize_t n;
	int r;

	if (en->file.size > SETTINGS_MAX)
		return err_set(e, -EFBIG, "%s of the backup has more than %u bytes", SETTINGS, SETTINGS_MAX);
	r = file_open(fs->store, &en->file, &f, e);
	if (r < 0)
		return r;
	to = buf_reserve(b, (size_t)en->file.size + 1);
	if (!to)
		return err_set(e, -ENOMEM, "no memory for %s", SETTINGS);
	n = file_read(f, 0, to, (size_t)en->file.size, e);
	if (n < 0)
		return (int)n;
	b->len += (size_t)n;
	if (n > 0 && to[n - 1] != '\n')
		buf_put_u8(b, '\n');
	return 0;
}

static int make_files(
	struct fs *fs, const char *cluster, const struct pit_point *p, struct overlay *o, struct err *e)
{
	struct overlay_file *signal = &o->files[OVERLAY_SIGNAL], *settings = &o->files[OVERLAY_SETTINGS];
	_cleanup_(freep) struct entry *version = NULL, *own = NULL;
	_cleanup_(buf_free) struct buf b = {0};
	_cleanup_(freep) char *command = NULL, *lines = NULL;
	int r = tree_find(fs->store, &p->backup->root, "data/PG_VERSION", &version, e);

	if (r >= 0)
		r = data_entry(fs, p, "data/" SETTINGS, &own, e);
	if (r < 0)
		return r;
	*signal = (struct overlay_file){.name = "recovery.signal", .bytes = strdup("")};
	put_meta(fs, version, signal);
	signal->mode = 0600;
	o->files[OVERLAY_STANDBY].name = "standby.signal";
	if (!signal->bytes)
		return err_set(e, -ENOMEM, "no memory for %s", SETTINGS);
	r = pit_restore_command(fs->mountpoint, cluster, &command, e);
	if (r >= 0)
		r = pit_settings(p, command, PIT_PROMOTE, &lines, e);
	*settings = *signal;
	settings->name = SETTINGS;
	settings->bytes = NULL;
	/* What is no plain file cannot be continued. */
	if (r >= 0 && own && own->type == ENTRY_FILE) {
		put_meta(fs, own, settings);
		r = put_settings(fs, own, &b, e);
	}
	if (r < 0)
		return r;
	buf_put(&b, lines, strlen(lines));
	settings->len = b.len;
	settings->bytes = buf_steal_str(&b);
	return settings->bytes ? 0 : err_set(e, -ENOMEM, "no memory for %s", SETTINGS);
}

int ns_point_overlay(struct fs *fs, const char *cluster, const char *name, const struct pit_point *p,
	struct overlay *ret, struct err *e)
{
	struct overlay o = {.root = p->backup->root, .time = p->has_time ? p->time : p->backup->stop};
	_cleanup_(buf_free) struct buf label = {0}, info = {0};
	int r = make_files(fs, cluster, p, &o, e);

	if (r >= 0) {
		r = pit_point_json(p, 2, &info);
		buf_put_u8(&info, '\n');
		buf_printf(&label, "at/%s", name);
		o.info_len = info.len;
		o.info = buf_steal_str(&info);
		o.label = buf_steal_str(&label);
		if (r < 0 || !o.info || !o.label)
			r = err_set(e, r < 0 ? r : -ENOMEM, "cannot render info.json of %s", name);
	}
	if (r < 0) {
		overlay_release(&o);
		return r;
	}
	*ret = o;
	return 0;
}
