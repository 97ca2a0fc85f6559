/* The members of a backup's tar files, put where they belong. See tar_base.h.
 *
 * base.tar comes first: the server sends backup_label as its first member and pg_control as its last
 * (perform_base_backup, src/backend/backup/basebackup.c), and it holds the directory pg_wal that pg_wal.tar
 * fills. A tablespace's link is not in the archive; the server makes it at the start of recovery from
 * tablespace_map, and here it is made to lead to the backup's own copy instead. */
#include "src/capture/tar_base.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "src/base/buf.h"
#include "src/base/clean.h"
#include "src/capture/tar.h"

#define MANIFEST_MAX (1u << 30) /* of one inside an archive, which must be in memory */
#define WAL_DIRS_MAX 64

struct loader {
	struct base_sink *k;
	struct backup_facts *facts;
	struct log *log;
	bool beside;
	const char *name; /* of the archive at hand */
	const char *root; /* where its members go */
	bool root_seen;	  /* it has a member for its own top */
	bool like_seen, like_dir;
	struct meta like; /* what a missing top is made like; without names */
	struct base_file *file;
	bool wal_seen;		      /* base.tar has the directory pg_wal */
	char *wal_dirs[WAL_DIRS_MAX]; /* directories below it that came, for pg_wal.tar brings some again */
	size_t n_wal_dirs;
	char path[TAR_PATH_MAX + 64];
	char user[64], group[64];
};

static bool is_below(const char *path, const char *dir)
{
	size_t n = strlen(dir);

	return !strncmp(path, dir, n) && path[n] == '/';
}

/* A directory below pg_wal that came before; notes the others. */
static bool wal_dir_again(struct loader *l, const char *path)
{
	for (size_t i = 0; i < l->n_wal_dirs; i++)
		if (!strcmp(l->wal_dirs[i], path))
			return true;
	if (l->n_wal_dirs < WAL_DIRS_MAX && (l->wal_dirs[l->n_wal_dirs] = strdup(path)))
		l->n_wal_dirs++;
	return false;
}

/* pg_basebackup's archives have no member for their own top: it is made like the first directory below, for a
 * server gives all of its directories one mode. */
static void note_like(struct loader *l, const struct tar_member *m)
{
	if (l->like_seen && (l->like_dir || m->type != ENTRY_DIR))
		return;
	l->like = m->meta;
	snprintf(l->user, sizeof(l->user), "%s", m->meta.user);
	snprintf(l->group, sizeof(l->group), "%s", m->meta.group);
	l->like.user = l->user;
	l->like.group = l->group;
	if (m->type != ENTRY_DIR)
		l->like.mode = 0700;
	l->like_seen = true;
	l->like_dir = m->type == ENTRY_DIR;
}

static struct oid link_oid(const char *path)
{
	static const char dir[] = BASE_DATA "/pg_tblspc/";
	const char *s = path + sizeof(dir) - 1;
	uint64_t v = 0;

	if (strncmp(path, dir, sizeof(dir) - 1) || *s == '0' || strlen(s) > 10)
		return (struct oid){0};
	for (; *s; s++) {
		if (*s < '0' || *s > '9')
			return (struct oid){0};
		v = v * 10 + (uint64_t)(*s - '0');
	}
	return (struct oid){v > UINT32_MAX ? 0 : (uint32_t)v};
}

static int take_dir(struct loader *l, const struct tar_member *m, struct err *e)
{
	static const char wal[] = BASE_DATA "/pg_wal";

	if (!*m->path && !strcmp(l->root, wal) && l->wal_seen)
		return 0;
	if (!*m->path)
		l->root_seen = true;
	if (!strcmp(l->path, wal))
		l->wal_seen = true;
	if (is_below(l->path, wal) && wal_dir_again(l, l->path))
		return 0;
	return base_sink_dir(l->k, l->path, &m->meta, e);
}

static int on_member(void *arg, const struct tar_member *m, struct err *e)
{
	struct loader *l = arg;

	if (*m->path) {
		snprintf(l->path, sizeof(l->path), "%s/%s", l->root, m->path);
		note_like(l, m);
	} else {
		snprintf(l->path, sizeof(l->path), "%s", l->root);
	}
	switch (m->type) {
	case ENTRY_DIR:
		return take_dir(l, m, e);
	case ENTRY_SYMLINK:
		if (link_oid(l->path).v)
			return base_sink_tablespace_link(l->k, link_oid(l->path), &m->meta, m->target, e);
		return base_sink_symlink(l->k, l->path, &m->meta, m->target, e);
	case ENTRY_FILE:
		if (l->beside && !strcmp(l->path, BASE_DATA "/" MANIFEST_PATH)) {
			log_msg(l->log, LOG_LEVEL_WARNING,
				"%s: the manifest inside is passed over for the "
				"one beside it",
				l->name);
			return TAR_SKIP;
		}
		return base_sink_open(l->k, l->path, &m->meta, m->size, &l->file, e);
	}
	return err_set(e, -EINVAL, "%s: member %s has an unknown type", l->name, m->path);
}

static int on_data(void *arg, const void *p, size_t n, struct err *e)
{
	struct loader *l = arg;

	return base_sink_write(l->file, p, n, e);
}

static int on_end(void *arg, struct err *e)
{
	struct loader *l = arg;

	return base_sink_close(MOVE(l->file), e);
}

static const struct tar_ops load_ops = {.member = on_member, .data = on_data, .end = on_end};

/* One archive, its members going below `root`. */
static int load(struct loader *l, const char *path, const char *root, struct err *e)
{
	struct tar_options o = {.log = l->log};
	_cleanup_(closep) int fd = open(path, O_RDONLY | O_CLOEXEC);
	bool is_wal = !strcmp(root, BASE_DATA "/pg_wal");
	int r;

	if (fd < 0)
		return err_sys(e, -errno, "%s", path);
	posix_fadvise(fd, 0, 0, POSIX_FADV_SEQUENTIAL);
	l->name = path;
	l->root = root;
	l->root_seen = l->like_seen = l->like_dir = false;
	r = tar_read(fd, path, &o, &load_ops, l, e);
	base_sink_drop(MOVE(l->file));
	if (r < 0 || l->root_seen || (is_wal && l->wal_seen))
		return r;
	if (!l->like_seen)
		l->like = (struct meta){.mode = 0700, .user = "", .group = ""};
	return base_sink_dir(l->k, root, &l->like, e);
}

/* The links that no member of base.tar made. `like`: owner and time of theirs. */
static int link_tablespaces(
	struct loader *l, const struct tar_set *t, const struct meta *like, size_t n_links, struct err *e)
{
	struct meta m = *like;
	const struct oid *oids;
	size_t n = backup_facts_tablespaces(l->facts, &oids);

	m.mode = 0777;
	for (size_t i = n_links; i < n; i++) {
		char path[64], to[64];
		int r;

		snprintf(path, sizeof(path), BASE_DATA "/pg_tblspc/%u", oids[i].v);
		snprintf(to, sizeof(to), "../../" BASE_TABLESPACES "/%u", oids[i].v);
		r = base_sink_symlink(l->k, path, &m, to, e);
		if (r < 0)
			return r;
	}
	for (size_t i = 0; i < n; i++) {
		bool found = false;

		for (size_t j = 0; j < t->n_spaces; j++)
			found = found || t->spaces[j].oid.v == oids[i].v;
		if (!found)
			return err_set(e, -EINVAL,
				"%s tells of tablespace %u, but there is no %u.tar beside it: the "
				"tablespace's "
				"files are missing",
				t->base, oids[i].v, oids[i].v);
	}
	return 0;
}

static int load_tablespaces(struct loader *l, const struct tar_set *t, struct err *e)
{
	for (size_t i = 0; i < t->n_spaces; i++) {
		char root[64];
		int r;

		if (!backup_facts_has_tablespace(l->facts, t->spaces[i].oid))
			return err_set(e, -EINVAL,
				"%s: base.tar tells of no tablespace %u; does the file belong to this "
				"backup?",
				t->spaces[i].path, t->spaces[i].oid.v);
		snprintf(root, sizeof(root), BASE_TABLESPACES "/%u", t->spaces[i].oid.v);
		r = load(l, t->spaces[i].path, root, e);
		if (r < 0)
			return r;
	}
	return 0;
}

static int load_all(struct loader *l, const struct tar_set *t, struct err *e)
{
	const struct oid *oids;
	size_t n_links;
	int r = load(l, t->base, BASE_DATA, e);

	if (r < 0)
		return r;
	n_links = backup_facts_tablespaces(l->facts, &oids);
	r = backup_facts_read_map(l->facts, e);
	if (r == 0)
		r = link_tablespaces(l, t, &l->like, n_links, e);
	if (r == 0)
		r = load_tablespaces(l, t, e);
	if (r == 0 && t->wal)
		r = load(l, t->wal, BASE_DATA "/pg_wal", e);
	return r;
}

int tar_base_import(const struct tar_set *t, bool beside, struct base_sink *k, struct backup_facts *facts,
	struct log *log, struct err *e)
{
	struct loader *l = calloc(1, sizeof(*l));
	int r;

	if (!l)
		return err_sys(e, -ENOMEM, "%s", t->base);
	l->k = k;
	l->facts = facts;
	l->log = log;
	l->beside = beside;
	r = load_all(l, t, e);
	for (size_t i = 0; i < l->n_wal_dirs; i++)
		free(l->wal_dirs[i]);
	free(l);
	return r;
}

/* The look for a manifest inside. */

#define FOUND 2

static int find_member(void *arg, const struct tar_member *m, struct err *e)
{
	(void)arg;
	if (m->type != ENTRY_FILE || strcmp(m->path, MANIFEST_PATH))
		return TAR_SKIP;
	if (m->size > MANIFEST_MAX)
		return err_set(e, -EFBIG,
			"the manifest inside has %llu bytes, more than can be held in memory",
			(unsigned long long)m->size);
	return 0;
}

static int find_data(void *arg, const void *p, size_t n, struct err *e)
{
	struct buf *b = arg;

	buf_put(b, p, n);
	return b->bad ? err_sys(e, -ENOMEM, "%s", MANIFEST_PATH) : 0;
}

static int find_end(void *arg, struct err *e)
{
	(void)arg;
	(void)e;
	return FOUND;
}

int tar_base_find_manifest(const struct tar_set *t, void **ret, size_t *ret_len, struct err *e)
{
	static const struct tar_ops ops = {.member = find_member, .data = find_data, .end = find_end};
	struct tar_options o = {.headers_only = true};
	_cleanup_(closep) int fd = open(t->base, O_RDONLY | O_CLOEXEC);
	struct buf b = {0};
	size_t len;
	int r;

	if (fd < 0)
		return err_sys(e, -errno, "%s", t->base);
	r = tar_read(fd, t->base, &o, &ops, &b, e);
	len = b.len;
	if (r == FOUND) {
		*ret = buf_steal_str(&b);
		*ret_len = len;
		if (!*ret)
			r = err_sys(e, -ENOMEM, "%s", t->base);
	}
	buf_free(&b);
	return r == FOUND ? 1 : r;
}
