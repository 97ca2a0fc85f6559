/* A dump copied out. See restore_dump.h.
 *
 * A file is written without a name and linked when its bytes are on stable storage, so that what has the name is whole. A
 * directory has no such moment: after a failure it is there and incomplete. */
#include "src/capture/restore_dump.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "src/base/clean.h"
#include "src/base/io.h"
#include "src/capture/restore_priv.h"

/* What the dump is called in its snapshot: dump_custom.c and its neighbours name them so. */
static const char *const names[] = {"dump.pgdump", "dump.sql", "dump.tar", "dump.dir", "globals.sql"};

static int find_dump(struct store *s, const struct snapshot *snap, struct entry **ret, struct err *e)
{
	if (snap->kind == SNAPSHOT_BASE)
		return err_set(e, -EINVAL, "%s is a base backup, not a dump", snap->id);
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		int r = tree_lookup(s, &snap->root, names[i], ret, e);

		if (r != -ENOENT)
			return r;
	}
	return err_set(e, -EBADMSG, "%s has no dump in it", snap->id);
}

static int copy_directory(struct restore *r, const struct entry *en, const char *to, struct err *e)
{
	_cleanup_(closep) int fd = -1;
	int ret = restore_check_empty(to, e);

	if (!ret)
		ret = restore_open_target(to, &fd, e);
	if (!ret) {
		ret = restore_tree(r, fd, to, &en->dir, false, e);
		ret = restore_settle(r, ret, e);
	}
	if (!ret)
		ret = restore_dirs(r, fd, to, &en->dir, &en->meta, e);
	if (!ret && syncfs(fd) < 0)
		ret = err_sys(e, -errno, "writing %s to stable storage", to);
	return ret;
}

static int copy_file(struct restore *r, const struct entry *en, const char *path, struct err *e)
{
	_cleanup_(newfile_close) struct newfile f = NEWFILE_NONE;
	_cleanup_(freep) char *dir = strdup(path);
	const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
	struct entry named = *en;
	struct stat st;
	int ret;

	if (!dir)
		return err_sys(e, -ENOMEM, "%s", path);
	if (!slash)
		memcpy(dir, ".", 2);
	else
		dir[slash == path ? 1 : slash - path] = '\0';
	if (!lstat(path, &st))
		return err_set(e, -EEXIST, "%s exists already: a restore never overwrites", path);
	named.name = name;
	ret = newfile_open(dir, 0600, &f, e);
	if (!ret) {
		ret = restore_into(r, f.fd, dir, &named, e);
		ret = restore_settle(r, ret, e);
	}
	if (!ret)
		ret = newfile_sync(&f, e);
	if (!ret)
		ret = newfile_link(&f, name, e);
	if (ret == -EEXIST)
		return err_set(e, ret, "%s exists already: a restore never overwrites", path);
	return ret < 0 ? ret : io_sync_dir(dir, e);
}

int capture_restore_dump(struct store *s, const struct snapshot *snap, const char *to,
	const struct restore_options *o, char **ret_path, struct err *e)
{
	struct restore_options own = *o;
	struct restore r = {.s = s, .o = &own};
	_cleanup_(freep) struct entry *en = NULL;
	_cleanup_(freep) char *path = NULL;
	struct stat st;
	int ret = find_dump(s, snap, &en, e);

	if (ret < 0)
		return ret;
	own.owners = false;
	own.maps = NULL;
	own.n_maps = 0;
	path = en->type == ENTRY_FILE && !stat(to, &st) && S_ISDIR(st.st_mode) ? io_join(to, en->name)
									       : strdup(to);
	if (!path)
		return err_sys(e, -ENOMEM, "%s", to);
	pthread_mutex_init(&r.lock, NULL);
	ret = restore_start(&r, e);
	if (!ret && en->type == ENTRY_FILE) {
		meter_total(o->meter, en->file.size);
		ret = copy_file(&r, en, path, e);
	} else if (!ret) {
		ret = copy_directory(&r, en, path, e);
	}
	restore_release(&r);
	if (!ret)
		*ret_path = MOVE(path);
	return ret;
}
