/* A data directory made ready. See instance_data.h.
 *
 * Whatever a path in the directory says, nothing outside of it is written: links are not followed. */
#include "src/capture/instance_data.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "src/base/io.h"

/* ---- files ---- */

/* The owner's, whoever we are. */
static int give(int fd, const struct instance_owner *o, const char *path, struct err *e)
{
	if (geteuid() == 0 && fchown(fd, o->uid, o->gid) < 0)
		return err_sys(e, -errno, "chown %s", path);
	return 0;
}

static int put_file(const char *dir, const char *name, int flags, const struct instance_owner *o,
	const char *text, struct err *e)
{
	_cleanup_(freep) char *path = io_join(dir, name);
	_cleanup_(closep) int fd = -1;
	int r;

	if (!path)
		return err_sys(e, -ENOMEM, "%s", name);
	fd = open(path, O_WRONLY | O_CREAT | O_NOFOLLOW | O_CLOEXEC | flags, 0600);
	if (fd < 0)
		return err_sys(e, -errno, "%s", path);
	r = give(fd, o, path, e);
	if (r < 0)
		return r;
	r = io_write(fd, text, strlen(text));
	return r < 0 ? err_sys(e, r, "writing %s", path) : 0;
}

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *at)
{
	(void)st;
	(void)at;
	return (type == FTW_DP || type == FTW_DNR ? rmdir(path) : unlink(path)) < 0 ? -errno : 0;
}

/* A file, a link or a directory with all that is in it; none is fine. */
static int remove_all(const char *dir, const char *name, struct err *e)
{
	_cleanup_(freep) char *path = io_join(dir, name);
	int r;

	if (!path)
		return err_sys(e, -ENOMEM, "%s", name);
	if (unlink(path) == 0 || errno == ENOENT)
		return 0;
	if (errno != EISDIR && errno != EPERM)
		return err_sys(e, -errno, "removing %s", path);
	r = nftw(path, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
	return r ? err_sys(e, r < -1 ? r : -errno, "removing %s", path) : 0;
}

static int remove_below(const char *dir, const char *name, struct err *e)
{
	_cleanup_(freep) char *path = io_join(dir, name);
	DIR *d = path ? opendir(path) : NULL;
	struct dirent *de;
	int r = 0;

	if (!path)
		return err_sys(e, -ENOMEM, "%s", name);
	if (!d)
		return errno == ENOENT ? 0 : err_sys(e, -errno, "%s", path);
	while (r == 0 && (de = readdir(d)))
		if (strcmp(de->d_name, ".") && strcmp(de->d_name, ".."))
			r = remove_all(path, de->d_name, e);
	closedir(d);
	return r;
}

/* ---- links ---- */

/* What a server needs below its data directory (subdirs in src/bin/initdb/initdb.c); those that a base backup leaves empty
 * (excludeDirContents, src/backend/backup/basebackup.c, and pg_wal) can be made anew. */
static const struct {
	const char *name;
	bool empty;
} parts[] = {
	{"base", false},
	{"global", false},
	{"pg_commit_ts", false},
	{"pg_dynshmem", true},
	{"pg_logical", false},
	{"pg_multixact", false},
	{"pg_notify", true},
	{"pg_replslot", true},
	{"pg_serial", true},
	{"pg_snapshots", true},
	{"pg_stat", true},
	{"pg_stat_tmp", true},
	{"pg_subtrans", true},
	{"pg_tblspc", false},
	{"pg_twophase", false},
	{"pg_wal", true},
	{"pg_xact", false},
};

static int make_dir(const char *dir, const char *name, const struct instance_owner *o, struct err *e)
{
	_cleanup_(freep) char *path = io_join(dir, name);

	if (!path)
		return err_sys(e, -ENOMEM, "%s", name);
	if (mkdir(path, 0700) < 0)
		return errno == EEXIST ? 0 : err_sys(e, -errno, "%s", path);
	if (geteuid() == 0 && lchown(path, o->uid, o->gid) < 0)
		return err_sys(e, -errno, "chown %s", path);
	return 0;
}

static int check_parts(const char *data, const struct instance_owner *o, struct err *e)
{
	for (size_t i = 0; i < sizeof(parts) / sizeof(*parts); i++) {
		_cleanup_(freep) char *path = io_join(data, parts[i].name);
		struct stat st;
		bool is_there;
		int r = 0;

		if (!path)
			return err_sys(e, -ENOMEM, "%s", data);
		is_there = lstat(path, &st) == 0; /* if not, the server says what it misses */
		if (is_there && S_ISLNK(st.st_mode)) {
			if (!parts[i].empty)
				return err_set(e, -EOPNOTSUPP,
					"%s is a link that leads out of the backup: it does not hold that "
					"part of the cluster",
					path);
			r = remove_all(data, parts[i].name, e);
		}
		if (r == 0 && parts[i].empty)
			r = make_dir(data, parts[i].name, o, e);
		if (r < 0)
			return r;
	}
	return make_dir(data, "pg_wal/archive_status", o, e);
}

/* Tablespaces must be the branch's own: a link to where they were would lead into the running cluster. */
static int check_tablespaces(const char *data, struct err *e)
{
	_cleanup_(freep) char *path = io_join(data, "pg_tblspc");
	DIR *d = path ? opendir(path) : NULL;
	struct dirent *de;
	int r = 0;

	if (!path)
		return err_sys(e, -ENOMEM, "%s", data);
	if (!d)
		return errno == ENOENT ? 0 : err_sys(e, -errno, "%s", path);
	while (r == 0 && (de = readdir(d))) {
		char to[4096];
		ssize_t n = readlinkat(dirfd(d), de->d_name, to, sizeof(to) - 1);

		if (n <= 0)
			continue;
		to[n] = '\0';
		if (strncmp(to, "../../tablespaces/", 18) != 0 || strchr(to + 18, '/') ||
			!strcmp(to + 18, ".."))
			r = err_set(e, -EOPNOTSUPP,
				"tablespace %s/%s is a link to %s, which is not in the backup", path,
				de->d_name, to);
	}
	closedir(d);
	return r;
}

/* ---- all of it ---- */

static int fix_mode(const char *data, struct err *e)
{
	struct stat st;

	if (stat(data, &st) < 0)
		return err_sys(e, -errno, "%s", data);
	/* checkDataDir, src/backend/utils/init/miscinit.c: group may read, others nothing. */
	if ((st.st_mode & 0027) && chmod(data, 0700) < 0)
		return err_sys(e, -errno, "chmod %s", data);
	return 0;
}

int instance_data_unlock(const char *data, struct err *e)
{
	int r = remove_all(data, "postmaster.pid", e);

	return r ? r : remove_all(data, "postmaster.opts", e);
}

int instance_data_prepare(const char *data, const struct instance_owner *o, struct log *log, struct err *e)
{
	/* tablespace_map would have the links made anew, to where the tablespaces were (read_tablespace_map,
	 * src/backend/access/transam/xlogrecovery.c). */
	static const char *const gone[] = {"standby.signal", "recovery.signal", "tablespace_map"};
	int r = fix_mode(data, e);

	r = r ? r : instance_data_unlock(data, e);
	for (size_t i = 0; !r && i < sizeof(gone) / sizeof(*gone); i++)
		r = remove_all(data, gone[i], e);
	r = r ? r : check_parts(data, o, e);
	r = r ? r : check_tablespaces(data, e);
	r = r ? r : remove_below(data, "pg_replslot", e);
	return r ? r : instance_conf_contain(data, o, log, e);
}

/* Has the file a last line without an end? */
static bool ends_open(const char *dir, const char *name)
{
	_cleanup_(freep) char *path = io_join(dir, name);
	_cleanup_(closep) int fd = path ? open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC) : -1;
	off_t size = fd < 0 ? 0 : lseek(fd, 0, SEEK_END);
	char last = '\n';

	return size > 0 && pread(fd, &last, 1, size - 1) == 1 && last != '\n';
}

int instance_data_append(const char *data, const struct instance_owner *o, const char *text, struct err *e)
{
	static const char name[] = "postgresql.auto.conf";
	int r = ends_open(data, name) ? put_file(data, name, O_APPEND, o, "\n", e) : 0;

	return r ? r : put_file(data, name, O_APPEND, o, text, e);
}

int instance_data_signal(const char *data, const struct instance_owner *o, struct err *e)
{
	return put_file(data, "recovery.signal", O_TRUNC, o, "", e);
}

int instance_data_access(const char *dir, const struct instance_owner *o, bool network, char **ret_hba,
	char **ret_ident, struct err *e)
{
	_cleanup_(freep) char *hba = io_join(dir, "pg_hba.conf"), *ident = io_join(dir, "pg_ident.conf");
	/* md5 takes what is stored as SCRAM, too (src/backend/libpq/auth.c). */
	const char *rules =
		network ? "local all all trust\nhost all all samehost md5\n" : "local all all trust\n";
	int r;

	if (!hba || !ident)
		return err_sys(e, -ENOMEM, "%s", dir);
	r = put_file(dir, "pg_hba.conf", O_TRUNC, o, rules, e);
	r = r ? r : put_file(dir, "pg_ident.conf", O_TRUNC, o, "", e);
	if (r < 0)
		return r;
	*ret_hba = MOVE(hba);
	*ret_ident = MOVE(ident);
	return 0;
}
