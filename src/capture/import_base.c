/* The import of a base backup, from what it is to the published snapshot. See import_base.h. */
#include "src/capture/import_base.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "src/base/clean.h"
#include "src/base/io.h"
#include "src/capture/base_publish.h"
#include "src/capture/base_sink.h"
#include "src/capture/manifest_file.h"
#include "src/capture/account.h"
#include "src/capture/plain.h"
#include "src/capture/tar_base.h"
#include "src/pg/datadir.h"

CLEANUP_DEFINE(struct snapshot, snapshot_free)

/* What lies at the path. */
struct source {
	char *dir; /* where the backup lies; for a single tar file NULL */
	bool is_tar;
	struct tar_set tars;
};

static void source_release(struct source *src)
{
	free(src->dir);
	tar_set_release(&src->tars);
}

static int has(const char *dir, const char *name)
{
	_cleanup_(freep) char *path = io_join(dir, name);
	struct stat st;

	if (!path)
		return -ENOMEM;
	if (lstat(path, &st) == 0)
		return 1;
	return errno == ENOENT || errno == ENOTDIR ? 0 : -errno;
}

/* A directory with a PG_VERSION: is it a backup, or a data directory that lives or lived? */
static int check_plain(const char *dir, struct err *e)
{
	int r = has(dir, "postmaster.pid");

	if (r > 0)
		return err_set(e, -EINVAL,
			"%s is no base backup but a server's own data directory (postmaster.pid is there): a "
			"copy "
			"of it would be torn; take a backup with pg_basebackup",
			dir);
	if (r == 0)
		r = has(dir, BACKUP_LABEL_PATH);
	if (r == 0)
		return err_set(e, -EINVAL,
			"%s is no base backup: it has PG_VERSION but no backup_label (a data directory that "
			"was "
			"started, or copied without pg_basebackup)",
			dir);
	if (r > 0)
		r = has(dir, CONTROL_PATH);
	if (r == 0)
		return err_set(e, -EINVAL, "%s is no base backup: there is no %s", dir, CONTROL_PATH);
	return r < 0 ? err_sys(e, r, "%s", dir) : 0;
}

static int detect_dir(const char *dir, struct source *src, struct err *e)
{
	int r = has(dir, DATADIR_VERSION_PATH);

	if (r > 0) {
		r = check_plain(dir, e);
		if (r < 0)
			return r;
	} else if (r == 0) {
		r = tar_set_find(dir, &src->tars, e);
		if (r < 0)
			return r;
		if (r == 0)
			return err_set(e, -EINVAL,
				"%s is no base backup: it holds neither PG_VERSION, global/pg_control and "
				"backup_label (plain format) nor base.tar, base.tar.gz, base.tar.lz4 or "
				"base.tar.zst (tar format)",
				dir);
		src->is_tar = true;
	} else {
		return err_sys(e, r, "%s", dir);
	}
	src->dir = strdup(dir);
	return src->dir ? 0 : err_sys(e, -ENOMEM, "%s", dir);
}

static bool is_base_name(const char *name)
{
	return !strcmp(name, "base.tar") || !strcmp(name, "base.tar.gz") || !strcmp(name, "base.tar.lz4") ||
	       !strcmp(name, "base.tar.zst");
}

/* base.tar stands for the backup that it is part of; a file of any other name is a whole backup by itself, as
 * pg_basebackup -D - writes it. */
static int detect_file(const char *path, struct source *src, struct err *e)
{
	const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
	_cleanup_(freep) char *dir = NULL;

	if (is_base_name(name)) {
		dir = slash ? strndup(path, slash == path ? 1 : (size_t)(slash - path)) : strdup(".");
		return dir ? detect_dir(dir, src, e) : err_sys(e, -ENOMEM, "%s", path);
	}
	src->is_tar = true;
	src->tars.base = strdup(path);
	return src->tars.base ? 0 : err_sys(e, -ENOMEM, "%s", path);
}

static int detect(const char *path, struct source *src, struct err *e)
{
	struct stat st;

	if (stat(path, &st) < 0)
		return err_sys(e, -errno, "%s", path);
	if (S_ISDIR(st.st_mode))
		return detect_dir(path, src, e);
	if (S_ISREG(st.st_mode))
		return detect_file(path, src, e);
	return err_set(e, -EINVAL, "%s is neither a directory nor a file", path);
}

/* Before anything is read: a plain backup shows at once whose it is. What is wrong with the file is found,
 * and said, when it is taken in. */
static int check_identity_early(struct store *s, const char *cluster, const struct source *src, struct err *e)
{
	_cleanup_(freep) char *path = src->is_tar ? NULL : io_join(src->dir, CONTROL_PATH);
	_cleanup_(freep) void *p = NULL;
	struct control c;
	size_t n;

	if (!path || io_read_file(path, CONTROL_FILE_SIZE, &p, &n, NULL) < 0 ||
		control_parse(p, n, &c, NULL) < 0)
		return 0;
	return base_check_identity(s, cluster, c.system_identifier, e);
}

/* Finds and loads the manifest; *ret_mc stays NULL when there is none. */
static int load_manifest(const struct source *src, struct log *log, struct manifest_source **ret,
	struct manifest_check **ret_mc, struct err *e)
{
	int r = 0;

	if (src->dir)
		r = manifest_source_open(src->dir, ret, e);
	if (r == 0 && src->is_tar) {
		void *p;
		size_t n;

		r = tar_base_find_manifest(&src->tars, &p, &n, e);
		if (r > 0)
			r = manifest_source_take(src->tars.base, p, n, ret, e);
	}
	if (r < 0)
		return r;
	if (r == 0) {
		log_msg(log, LOG_LEVEL_WARNING,
			"there is no backup_manifest: the files are taken in as they are, unchecked");
		return 0;
	}
	return manifest_check_new(manifest_source_name(*ret), manifest_source_bytes(*ret),
		manifest_source_len(*ret), ret_mc, e);
}

/* The manifest beside tar files becomes data/backup_manifest, where pg_verifybackup looks for it. */
static int add_manifest(struct base_sink *k, const struct manifest_source *ms, struct err *e)
{
	struct accounts *accounts = accounts_new();
	struct meta m;
	struct stat st;
	int fd, r;

	if (!accounts)
		return err_sys(e, -ENOMEM, "%s", manifest_source_name(ms));
	fd = manifest_source_reopen(ms, &st, e);
	if (fd < 0) {
		accounts_free(accounts);
		return fd;
	}
	m = (struct meta){
		.mode = st.st_mode & 07777,
		.uid = st.st_uid,
		.gid = st.st_gid,
		.user = account_user(accounts, st.st_uid),
		.group = account_group(accounts, st.st_gid),
		.mtime = {.sec = st.st_mtim.tv_sec, .nsec = (uint32_t)st.st_mtim.tv_nsec},
	};
	r = base_sink_file(
		k, BASE_DATA "/" MANIFEST_PATH, &m, fd, (uint64_t)st.st_size, manifest_source_name(ms), e);
	accounts_free(accounts);
	return r;
}

static int take_all(const struct source *src, const struct manifest_source *ms, struct base_sink *k,
	struct backup_facts *facts, struct log *log, struct err *e)
{
	bool beside = ms && manifest_source_is_file(ms);
	int r;

	if (!src->is_tar) {
		r = plain_import(src->dir, k, log, e);
		return r == 0 ? backup_facts_read_map(facts, e) : r;
	}
	r = tar_base_import(&src->tars, beside, k, facts, log, e);
	return r == 0 && beside ? add_manifest(k, ms, e) : r;
}

static int import(struct store *s, const struct source *src, const char *cluster,
	const struct import_options *o, struct snapshot **ret, struct err *e)
{
	_cleanup_(manifest_source_freep) struct manifest_source *ms = NULL;
	_cleanup_(manifest_check_freep) struct manifest_check *mc = NULL;
	_cleanup_(backup_facts_freep) struct backup_facts *facts = backup_facts_new(o->log);
	_cleanup_(snapshot_freep) struct snapshot *snap = snapshot_new();
	/* Last, so that it goes first: its workers use the others. */
	_cleanup_(base_sink_freep) struct base_sink *k = NULL;
	struct base_sink_options so = {
		.facts = facts, .meter = o->meter, .log = o->log, .threads = o->threads};
	int r;

	if (!facts || !snap || (o->tags && snapshot_put_text(snap, "tags", o->tags) < 0))
		return err_sys(e, -ENOMEM, "import");
	r = load_manifest(src, o->log, &ms, &mc, e);
	if (r < 0)
		return r;
	if (mc) {
		so.manifest = mc;
		meter_total(o->meter, manifest_check_info(mc)->bytes);
		if (manifest_source_is_file(ms))
			backup_facts_manifest_time(facts, manifest_source_mtime(ms));
	}
	r = base_sink_new(s, cluster, &so, &k, e);
	if (r == 0)
		r = take_all(src, ms, k, facts, o->log, e);
	if (r == 0)
		r = base_publish(s, cluster, k, facts, mc, snap, e);
	if (r < 0)
		return r;
	*ret = MOVE(snap);
	return 0;
}

int capture_import_base(struct store *s, const char *path, const char *cluster,
	const struct import_options *o, struct snapshot **ret, struct err *e)
{
	struct source src = {0};
	int r = store_check_cluster_name(cluster, e);

	if (r == 0)
		r = detect(path, &src, e);
	if (r == 0)
		r = check_identity_early(s, cluster, &src, e);
	if (r == 0)
		r = import(s, &src, cluster, o, ret, e);
	source_release(&src);
	return r;
}
