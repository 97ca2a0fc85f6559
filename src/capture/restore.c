/* A restore: its target directories, its threads, its durability. See restore.h.
 *
 * Durability is one syncfs(2) for each file system that was written to, after large files were sent to the disk
 * as they were written: the kernel orders the writes better than an fsync of each file and directory does, and
 * no directory is forgotten. Since Linux 5.8 syncfs also reports what could not be written; before, such a
 * failure is only in the kernel's log. */
#include "src/capture/restore.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "src/base/clean.h"
#include "src/base/io.h"
#include "src/capture/base_sink.h"
#include "src/capture/instance_data.h"
#include "src/capture/restore_priv.h"

#define TABLESPACES_SUFFIX ".tablespaces"
#define QUEUE 256 /* jobs that wait, and with them open directories */

static bool parse_oid(const char *name, struct oid *ret)
{
	char *end;
	unsigned long v;

	if (*name < '1' || *name > '9' || strlen(name) > 10)
		return false;
	v = strtoul(name, &end, 10);
	if (*end || v > UINT32_MAX)
		return false;
	ret->v = (uint32_t)v;
	return true;
}

struct finding {
	struct restore *r;
	const char *dir;
	struct err *e;
};

static const struct restore_map *find_map(const struct restore_options *o, struct oid oid)
{
	for (size_t i = 0; i < o->n_maps; i++)
		if (o->maps[i].oid.v == oid.v)
			return &o->maps[i];
	return NULL;
}

/* One directory of tablespaces/. */
static int add_space(void *arg, const struct entry *en)
{
	struct finding *f = arg;
	struct restore_space *spaces, *sp;
	const struct restore_map *map;
	struct oid oid;

	if (en->type != ENTRY_DIR || !parse_oid(en->name, &oid))
		return 0;
	spaces = realloc(f->r->spaces, (f->r->n_spaces + 1) * sizeof(*spaces));
	if (!spaces)
		return err_sys(f->e, -ENOMEM, "tablespaces");
	f->r->spaces = spaces;
	sp = &spaces[f->r->n_spaces];
	*sp = (struct restore_space){.oid = oid, .source = entry_dup(en)};
	f->r->n_spaces++;
	map = find_map(f->r->o, oid);
	if (map)
		sp->dir = strdup(map->dir);
	else if (asprintf(&sp->dir, "%s" TABLESPACES_SUFFIX "/%s", f->dir, en->name) < 0)
		sp->dir = NULL;
	if (!sp->dir || !sp->source)
		return err_sys(f->e, -ENOMEM, "tablespaces");
	return 0;
}

static int find_spaces(struct restore *r, const struct dir_ref *root, const char *dir, struct err *e)
{
	struct finding f = {.r = r, .dir = dir, .e = e};
	_cleanup_(freep) struct entry *en = NULL;
	int ret = tree_lookup(r->s, root, BASE_TABLESPACES, &en, e);

	if (ret == -ENOENT)
		ret = 0;
	else if (ret == 0 && en->type == ENTRY_DIR)
		ret = tree_walk(r->s, &en->dir, 0, add_space, &f, e);
	if (ret < 0)
		return ret;
	for (size_t i = 0; i < r->o->n_maps; i++) {
		bool found = false;

		for (size_t j = 0; j < r->n_spaces; j++)
			found = found || r->spaces[j].oid.v == r->o->maps[i].oid.v;
		if (!found)
			return err_set(e, -EINVAL, "the backup has no tablespace %u", r->o->maps[i].oid.v);
	}
	return 0;
}

int restore_check_empty(const char *dir, struct err *e)
{
	DIR *stream = opendir(dir);
	struct dirent *d;
	bool empty = true;

	if (!stream)
		return errno == ENOENT ? 0 : err_sys(e, -errno, "%s", dir);
	while (empty && (d = readdir(stream)))
		empty = !strcmp(d->d_name, ".") || !strcmp(d->d_name, "..");
	closedir(stream);
	if (!empty)
		return err_set(e, -ENOTEMPTY,
			"%s is not empty: a restore goes into a new or an empty directory", dir);
	return 0;
}

int restore_open_target(const char *dir, int *ret, struct err *e)
{
	_cleanup_(freep) char *parent = strdup(dir);
	char *slash;
	int r = 0;

	if (!parent)
		return err_sys(e, -ENOMEM, "%s", dir);
	slash = strrchr(parent, '/');
	if (slash && slash > parent) {
		*slash = 0;
		r = io_mkdirs(parent, 0755, e);
	}
	if (r < 0)
		return r;
	if (mkdir(dir, 0700) < 0 && errno != EEXIST)
		return err_sys(e, -errno, "%s", dir);
	*ret = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return *ret < 0 ? err_sys(e, -errno, "%s", dir) : 0;
}

/* Everything goes into new or empty directories, different ones, before a byte is written. */
static int check_targets(const struct restore *r, const char *dir, struct err *e)
{
	int ret = restore_check_empty(dir, e);

	for (size_t i = 0; i < r->n_spaces && ret == 0; i++)
		ret = restore_check_empty(r->spaces[i].dir, e);
	return ret;
}

/* DIR.tablespaces, when something goes there. The server must be able to pass through it, so it gets the
 * owner and the mode of the data directory when it is ours. */
static int make_parent(const struct restore *r, const char *dir, const struct meta *like, struct err *e)
{
	_cleanup_(freep) char *path = NULL;
	_cleanup_(closep) int fd = -1;
	bool needed = false;
	int ret;

	for (size_t i = 0; i < r->n_spaces; i++)
		needed = needed || !find_map(r->o, r->spaces[i].oid);
	if (!needed)
		return 0;
	if (asprintf(&path, "%s" TABLESPACES_SUFFIX, dir) < 0) {
		path = NULL;
		return err_sys(e, -ENOMEM, "%s", dir);
	}
	if (mkdir(path, 0700) < 0)
		return errno == EEXIST ? 0 : err_sys(e, -errno, "%s", path);
	fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return err_sys(e, -errno, "%s", path);
	ret = restore_attributes(r, fd, like, NULL);
	return ret < 0 ? err_sys(e, ret, "attributes of %s", path) : 0;
}

static int open_targets(struct restore *r, const struct entry *data, const char *dir, int *fds, struct err *e)
{
	int ret = restore_open_target(dir, &fds[0], e);

	if (ret == 0)
		ret = make_parent(r, dir, &data->meta, e);
	for (size_t i = 0; i < r->n_spaces && ret == 0; i++) {
		char *real;

		ret = restore_open_target(r->spaces[i].dir, &fds[i + 1], e);
		if (ret < 0)
			break;
		/* The links must lead there from anywhere. */
		real = realpath(r->spaces[i].dir, NULL);
		if (!real)
			return err_sys(e, -errno, "%s", r->spaces[i].dir);
		free(r->spaces[i].dir);
		r->spaces[i].dir = real;
	}
	return ret;
}

int restore_settle(struct restore *r, int ret, struct err *e)
{
	pool_drain(r->pool);
	if (ret < 0 || !atomic_load(&r->failed))
		return ret;
	if (e)
		*e = r->first;
	return r->first.code ? r->first.code : -EIO;
}

static int copy_all(
	struct restore *r, const struct entry *data, const char *dir, const int *fds, struct err *e)
{
	int ret = restore_tree(r, fds[0], dir, &data->dir, true, e);

	for (size_t i = 0; i < r->n_spaces && ret == 0; i++)
		ret = restore_tree(r, fds[i + 1], r->spaces[i].dir, &r->spaces[i].source->dir, false, e);
	ret = restore_settle(r, ret, e);
	if (ret == 0)
		ret = restore_dirs(r, fds[0], dir, &data->dir, &data->meta, e);
	for (size_t i = 0; i < r->n_spaces && ret == 0; i++)
		ret = restore_dirs(r, fds[i + 1], r->spaces[i].dir, &r->spaces[i].source->dir,
			&r->spaces[i].source->meta, e);
	return ret;
}

/* One syncfs a file system. */
static int sync_all(const struct restore *r, const char *dir, const int *fds, struct err *e)
{
	_cleanup_(freep) dev_t *seen = calloc(r->n_spaces + 1, sizeof(*seen));

	if (!seen)
		return err_sys(e, -ENOMEM, "sync");
	for (size_t i = 0; i <= r->n_spaces; i++) {
		const char *name = i ? r->spaces[i - 1].dir : dir;
		bool again = false;
		struct stat st;

		if (fstat(fds[i], &st) < 0)
			return err_sys(e, -errno, "%s", name);
		for (size_t j = 0; j < i; j++)
			again = again || seen[j] == st.st_dev;
		seen[i] = st.st_dev;
		if (!again && syncfs(fds[i]) < 0)
			return err_sys(e, -errno, "writing %s to stable storage", name);
	}
	return 0;
}

/* The copy recovers when it is started. standby.signal would win over recovery.signal (readRecoverySignalFile,
 * src/backend/access/transam/xlogrecovery.c). */
static int put_recovery(
	const struct restore *r, const struct entry *data, const char *dir, int fd, struct err *e)
{
	struct instance_owner o = {0};
	int ret;

	restore_owner(r, &data->meta, &o.uid, &o.gid);
	if (unlinkat(fd, "standby.signal", 0) < 0 && errno != ENOENT)
		return err_sys(e, -errno, "removing %s/standby.signal", dir);
	ret = instance_data_append(dir, &o, r->o->recovery, e);
	return ret ? ret : instance_data_signal(dir, &o, e);
}

static int run(struct restore *r, const struct entry *data, const char *dir, struct err *e)
{
	_cleanup_(freep) int *fds = malloc((r->n_spaces + 1) * sizeof(*fds));
	int ret;

	if (!fds)
		return err_sys(e, -ENOMEM, "restore");
	for (size_t i = 0; i <= r->n_spaces; i++)
		fds[i] = -1;
	ret = open_targets(r, data, dir, fds, e);
	if (ret == 0)
		ret = copy_all(r, data, dir, fds, e);
	if (ret == 0 && r->o->recovery)
		ret = put_recovery(r, data, dir, fds[0], e);
	if (ret == 0)
		ret = sync_all(r, dir, fds, e);
	for (size_t i = 0; i <= r->n_spaces; i++)
		if (fds[i] >= 0)
			close(fds[i]);
	return ret;
}

int restore_start(struct restore *r, struct err *e)
{
	int ret = pool_new(r->o->threads ? r->o->threads : pool_cpus(), QUEUE, &r->pool);

	if (ret < 0)
		return err_sys(e, ret, "threads");
	r->accounts = accounts_new();
	return r->accounts ? 0 : err_sys(e, -ENOMEM, "restore");
}

void restore_release(struct restore *r)
{
	pool_free(r->pool);
	accounts_free(r->accounts);
	for (size_t i = 0; i < r->n_spaces; i++) {
		free(r->spaces[i].dir);
		free(r->spaces[i].source);
	}
	free(r->spaces);
	pthread_mutex_destroy(&r->lock);
}

int capture_restore(struct store *s, const struct snapshot *snap, const char *to,
	const struct restore_options *o, struct err *e)
{
	struct restore r = {.s = s, .o = o};
	_cleanup_(freep) struct entry *data = NULL;
	_cleanup_(freep) char *dir = strdup(to);
	int ret;

	if (!dir)
		return err_sys(e, -ENOMEM, "%s", to);
	/* "out/" would have its tablespaces in "out/.tablespaces". */
	for (size_t n = strlen(dir); n > 1 && dir[n - 1] == '/'; n--)
		dir[n - 1] = 0;
	if (snap->kind != SNAPSHOT_BASE)
		return err_set(e, -EINVAL, "%s is not a base backup", snap->id);
	pthread_mutex_init(&r.lock, NULL);
	ret = tree_lookup(s, &snap->root, BASE_DATA, &data, e);
	if (ret == 0 && data->type != ENTRY_DIR)
		ret = err_set(e, -EBADMSG, "%s: data is not a directory", snap->id);
	if (ret == 0)
		ret = find_spaces(&r, &snap->root, dir, e);
	if (ret == 0)
		ret = check_targets(&r, dir, e);
	if (ret == 0)
		ret = restore_start(&r, e);
	if (ret == 0) {
		meter_total(o->meter, snap->logical_bytes);
		ret = run(&r, data, dir, e);
	}
	restore_release(&r);
	return ret;
}
