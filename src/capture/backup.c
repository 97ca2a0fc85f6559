/* A base backup over the replication protocol, from the command to the published snapshot. See backup.h.
 *
 * The calling thread pulls archives from one connection and pushes their files into the sink, whose workers
 * compress; a second thread does the same with WAL (backup_wal.c). The manifest comes last (SendBackupManifest,
 * src/backend/backup/backup_manifest.c), so what came is compared with it at the end. */
#include "src/capture/backup.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "src/base/buf.h"
#include "src/base/clean.h"
#include "src/base/clock.h"
#include "src/capture/backup_copy.h"
#include "src/capture/backup_wal.h"
#include "src/capture/base_publish.h"
#include "src/capture/manifest_file.h"
#include "src/capture/tar_load.h"

CLEANUP_DEFINE(struct snapshot, snapshot_free)

#define SERVER_MANIFEST "the server's backup manifest"

struct backup {
	const struct backup_options *o;
	struct backup_facts *facts;
	struct manifest_check *mc;
	struct manifest_source *ms;
	struct base_sink *sink;
	struct tar_load *load;
	struct replication *c;
	struct backup_wal *wal;
	struct backup_copy *copy;
	char user[64], group[64];
	struct meta like; /* owner and mode of the cluster's files */
};

/* The order matters: threads that use the others go first. */
static void backup_release(struct backup *b)
{
	backup_wal_free(b->wal);
	backup_copy_free(b->copy);
	replication_close(b->c);
	tar_load_free(b->load);
	base_sink_free(b->sink);
	manifest_source_free(b->ms);
	manifest_check_free(b->mc);
	backup_facts_free(b->facts);
}

/* ---- the command ---- */

/* The options in the way that the version wants (src/backend/replication/repl_gram.y): since 15 a list in
 * parentheses, before that words. NOWAIT: the WAL comes by ourselves, so nobody needs to wait for its archiving. No
 * TABLESPACE_MAP: the links come as members, as for pg_basebackup's plain format. */
static int make_command(const struct backup *b, char **ret, struct err *e)
{
	const struct backup_options *o = b->o;
	_cleanup_(freep) char *label = replication_literal(b->c, o->label ? o->label : "pgstrata");
	struct buf t = {0};

	if (!label)
		return err_sys(e, -ENOMEM, "BASE_BACKUP");
	if (replication_server(b->c)->version >= 150000) {
		buf_printf(&t,
			"BASE_BACKUP (LABEL %s, WAIT false, MANIFEST 'yes', MANIFEST_CHECKSUMS 'CRC32C'",
			label);
		buf_printf(&t, ", CHECKPOINT '%s'", o->spread ? "spread" : "fast");
		if (o->meter)
			buf_printf(&t, ", PROGRESS");
		if (o->max_rate_kib)
			buf_printf(&t, ", MAX_RATE %" PRIu32, o->max_rate_kib);
		if (o->no_verify_checksums)
			buf_printf(&t, ", VERIFY_CHECKSUMS false");
		buf_printf(&t, ")");
	} else {
		buf_printf(&t, "BASE_BACKUP LABEL %s", label);
		if (o->meter)
			buf_printf(&t, " PROGRESS");
		if (!o->spread)
			buf_printf(&t, " FAST");
		buf_printf(&t, " NOWAIT");
		if (o->max_rate_kib)
			buf_printf(&t, " MAX_RATE %" PRIu32, o->max_rate_kib);
		if (o->no_verify_checksums)
			buf_printf(&t, " NOVERIFY_CHECKSUMS");
		buf_printf(&t, " MANIFEST 'yes' MANIFEST_CHECKSUMS 'CRC32C'");
	}
	*ret = buf_steal_str(&t);
	return *ret ? 0 : err_sys(e, -ENOMEM, "BASE_BACKUP");
}

/* ---- the parts ---- */

/* The first member of all shows whose files these are: now WAL can be stored like them. A cluster's files are its
 * owner's, or its group's to read, too (pg_file_create_mode, src/common/file_perm.c). */
static int on_first(void *arg, const struct meta *m, struct err *e)
{
	struct backup *b = arg;
	const struct backup_start *s = backup_copy_start(b->copy);

	snprintf(b->user, sizeof(b->user), "%s", m->user);
	snprintf(b->group, sizeof(b->group), "%s", m->group);
	b->like = *m;
	b->like.user = b->user;
	b->like.group = b->group;
	b->like.mode = 0600 | (m->mode & 040);
	return backup_wal_start(b->wal, b->sink, s->at, s->tli, &b->like, e);
}

/* With each piece that comes: a backup whose WAL is lost need not go on. */
static int on_piece(void *arg, struct err *e)
{
	struct backup *b = arg;

	return backup_wal_check(b->wal, e);
}

static int take_archive(struct backup *b, const struct backup_space *space, struct err *e)
{
	char name[64] = "base.tar of the server", root[64] = BASE_DATA;

	if (space->location) {
		/* One in place lies in the data directory and has no link (pg_tablespace_location,
		 * src/backend/utils/adt/misc.c). */
		snprintf(name, sizeof(name), "%u.tar of the server", space->oid.v);
		snprintf(root, sizeof(root), "%s/%u",
			*space->location == '/' ? BASE_TABLESPACES : BASE_DATA "/pg_tblspc", space->oid.v);
	}
	return tar_load_stream(
		b->load, backup_copy_source(b->copy), name, backup_copy_unmarked(b->copy), root, e);
}

static int take_manifest(struct backup *b, struct store *s, struct err *e)
{
	const struct tar_source *src = backup_copy_source(b->copy);
	const void *p;
	ssize_t n;
	int r = manifest_source_begin(store_scratch(s), SERVER_MANIFEST, &b->ms, e);

	if (r < 0)
		return r;
	while ((n = src->next(src->arg, &p, e)) > 0) {
		r = manifest_source_append(b->ms, p, (size_t)n, e);
		if (r < 0)
			return r;
	}
	return (int)n;
}

/* Links and archives must tell of the same tablespaces. */
static int check_spaces(const struct backup *b, struct err *e)
{
	const struct backup_start *s = backup_copy_start(b->copy);
	const struct oid *oids;
	size_t n = backup_facts_tablespaces(b->facts, &oids), links = 0;

	for (size_t i = 0; i < s->n_spaces; i++) {
		if (!s->spaces[i].location || *s->spaces[i].location != '/')
			continue;
		links++;
		if (!backup_facts_has_tablespace(b->facts, s->spaces[i].oid))
			return err_set(e, -EBADMSG,
				"the server sent tablespace %u, but no link pg_tblspc/%u to it: was it made "
				"or "
				"dropped just now? Take the backup again",
				s->spaces[i].oid.v, s->spaces[i].oid.v);
	}
	if (n != links)
		return err_set(e, -EBADMSG,
			"the server sent %zu links to tablespaces, but the files of %zu: was one made or "
			"dropped "
			"just now? Take the backup again",
			n, links);
	return 0;
}

static int take_parts(struct backup *b, struct store *s, struct lsn *ret_stop, struct err *e)
{
	enum backup_part part = BACKUP_ARCHIVE;
	int r = 0;

	while (r == 0 && part != BACKUP_END) {
		const struct backup_space *space = NULL;

		r = backup_copy_next(b->copy, &part, &space, ret_stop, e);
		if (r == 0 && part == BACKUP_ARCHIVE)
			r = take_archive(b, space, e);
		if (r == 0 && part == BACKUP_MANIFEST)
			r = take_manifest(b, s, e);
	}
	return r == 0 ? check_spaces(b, e) : r;
}

/* The manifest becomes what the files are compared with, and a file of the backup. */
static int settle_manifest(struct backup *b, struct err *e)
{
	struct meta m = b->like;
	struct stat st;
	int r = manifest_source_end(b->ms, e), fd;

	if (r == 0)
		r = manifest_check_load(
			b->mc, SERVER_MANIFEST, manifest_source_bytes(b->ms), manifest_source_len(b->ms), e);
	if (r < 0)
		return r;
	fd = manifest_source_reopen(b->ms, &st, e);
	if (fd < 0)
		return fd;
	m.mtime = clock_now();
	backup_facts_manifest_time(b->facts, m.mtime);
	return base_sink_file(
		b->sink, BASE_DATA "/" MANIFEST_PATH, &m, fd, (uint64_t)st.st_size, SERVER_MANIFEST, e);
}

/* ---- the whole ---- */

/* Everything that can fail without the server's work being lost: connections, the slot, the repository. */
static int prepare(struct backup *b, struct store *s, const char *cluster, struct err *e)
{
	struct base_sink_options so = {.log = b->o->log, .threads = b->o->threads};
	struct tar_load_options lo = {.log = b->o->log, .beside = true, .first = on_first, .arg = b};
	int r = store_check_cluster_name(cluster, e);

	if (r == 0)
		r = replication_open(&b->o->server, &b->c, e);
	if (r == 0)
		r = base_check_identity(s, cluster, replication_server(b->c)->system_identifier, e);
	if (r == 0)
		r = backup_wal_new(b->c, b->o->log, &b->wal, e);
	if (r == 0)
		r = manifest_check_later(store_scratch(s), &b->mc, e);
	if (r < 0)
		return r;
	lo.facts = so.facts = b->facts = backup_facts_new(b->o->log);
	if (!b->facts)
		return err_sys(e, -ENOMEM, "backup");
	so.manifest = b->mc;
	r = base_sink_new(s, cluster, &so, &b->sink, e);
	lo.sink = b->sink;
	return r == 0 ? tar_load_new(&lo, &b->load, e) : r;
}

static int begin(struct backup *b, const char *command, struct err *e)
{
	int r;

	meter_waits(b->o->meter, "the server's checkpoint");
	r = backup_copy_begin(b->c, command, b->o->meter, on_piece, b, &b->copy, e);
	meter_waits(b->o->meter, NULL);
	return r;
}

static int run(struct backup *b, struct store *s, const char *cluster, struct snapshot *snap, struct err *e)
{
	_cleanup_(freep) char *command = NULL;
	struct lsn stop = {0};
	int r = prepare(b, s, cluster, e);

	if (r == 0)
		r = make_command(b, &command, e);
	if (r == 0)
		r = begin(b, command, e);
	if (r < 0)
		return r;
	backup_facts_start_time(b->facts, clock_now());
	r = take_parts(b, s, &stop, e);
	meter_waits(b->o->meter, "the rest of the WAL");
	if (r == 0)
		r = backup_wal_finish(b->wal, stop, e);
	meter_waits(b->o->meter, NULL);
	if (r == 0)
		r = settle_manifest(b, e);
	if (r == 0 && replication_stopped(b->o->server.stop))
		r = -EINTR;
	return r == 0 ? base_publish(s, cluster, b->sink, b->facts, b->mc, snap, e) : r;
}

int capture_backup(struct store *s, const char *cluster, const struct backup_options *o,
	struct snapshot **ret, struct err *e)
{
	_cleanup_(snapshot_freep) struct snapshot *snap = snapshot_new();
	struct backup b = {.o = o};
	int r;

	if (!snap || (o->tags && snapshot_put_text(snap, "tags", o->tags) < 0))
		return err_sys(e, -ENOMEM, "backup");
	r = run(&b, s, cluster, snap, e);
	backup_release(&b);
	if (r == -EINTR)
		return err_set(e, r, "interrupted: nothing was published");
	if (r < 0)
		return r;
	*ret = MOVE(snap);
	return 0;
}
