/* Members of tar archives, put where they belong. See tar_load.h.
 *
 * A tablespace's link may be a member of base.tar, or it is not in the archive and the server makes it at the
 * start of recovery from tablespace_map; here it is made to lead to the backup's own copy instead. */
#include "src/capture/tar_load.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "src/base/clean.h"

#define WAL_DIR BASE_DATA "/pg_wal"
#define WAL_DIRS_MAX 64

struct tar_load {
	struct tar_load_options o;
	const char *name; /* of the archive at hand */
	const char *root; /* where its members go */
	bool root_seen;	  /* it has a member for its own top */
	bool like_seen, like_dir;
	struct meta like; /* what a missing top is made like; without names */
	struct base_file *file;
	bool any;		      /* a member came */
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
static bool wal_dir_again(struct tar_load *l, const char *path)
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
static void note_like(struct tar_load *l, const struct tar_member *m)
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

static int take_dir(struct tar_load *l, const struct tar_member *m, struct err *e)
{
	static const char wal[] = WAL_DIR;

	if (!*m->path && !strcmp(l->root, wal) && l->wal_seen)
		return 0;
	if (!*m->path)
		l->root_seen = true;
	if (!strcmp(l->path, wal))
		l->wal_seen = true;
	if (is_below(l->path, wal) && wal_dir_again(l, l->path))
		return 0;
	return base_sink_dir(l->o.sink, l->path, &m->meta, e);
}

static int on_member(void *arg, const struct tar_member *m, struct err *e)
{
	struct tar_load *l = arg;

	if (!l->any && l->o.first) {
		int r = l->o.first(l->o.arg, &m->meta, e);

		if (r < 0)
			return r;
	}
	l->any = true;
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
			return base_sink_tablespace_link(
				l->o.sink, link_oid(l->path), &m->meta, m->target, e);
		return base_sink_symlink(l->o.sink, l->path, &m->meta, m->target, e);
	case ENTRY_FILE:
		if (l->o.beside && !strcmp(l->path, BASE_DATA "/" MANIFEST_PATH)) {
			log_msg(l->o.log, LOG_LEVEL_WARNING,
				"%s: the manifest inside is passed over for the "
				"one beside it",
				l->name);
			return TAR_SKIP;
		}
		return base_sink_open(l->o.sink, l->path, &m->meta, m->size, &l->file, e);
	}
	return err_set(e, -EINVAL, "%s: member %s has an unknown type", l->name, m->path);
}

static int on_data(void *arg, const void *p, size_t n, struct err *e)
{
	struct tar_load *l = arg;

	return base_sink_write(l->file, p, n, e);
}

static int on_end(void *arg, struct err *e)
{
	struct tar_load *l = arg;

	return base_sink_close(MOVE(l->file), e);
}

static const struct tar_ops load_ops = {.member = on_member, .data = on_data, .end = on_end};

static void begin(struct tar_load *l, const char *name, const char *root)
{
	l->name = name;
	l->root = root;
	l->root_seen = l->like_seen = l->like_dir = false;
}

/* What every archive leaves to do: its top, when it had no member for that. A tablespace in place
 * (pg_tblspc/OID, src/backend/commands/tablespace.c, allow_in_place_tablespaces) has its top in base.tar. */
static int end(struct tar_load *l, int r, struct err *e)
{
	bool have = l->root_seen || (!strcmp(l->root, WAL_DIR) && l->wal_seen) ||
		    is_below(l->root, BASE_DATA "/pg_tblspc");

	base_sink_drop(MOVE(l->file));
	if (r < 0 || have)
		return r;
	if (!l->like_seen)
		l->like = (struct meta){.mode = 0700, .user = "", .group = ""};
	return base_sink_dir(l->o.sink, l->root, &l->like, e);
}

int tar_load_file(struct tar_load *l, const char *path, const char *root, struct err *e)
{
	struct tar_options o = {.log = l->o.log};
	_cleanup_(closep) int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return err_sys(e, -errno, "%s", path);
	posix_fadvise(fd, 0, 0, POSIX_FADV_SEQUENTIAL);
	begin(l, path, root);
	return end(l, tar_read(fd, path, &o, &load_ops, l, e), e);
}

int tar_load_stream(struct tar_load *l, const struct tar_source *src, const char *name, bool unmarked,
	const char *root, struct err *e)
{
	struct tar_options o = {.log = l->o.log, .unmarked = unmarked};

	begin(l, name, root);
	return end(l, tar_read_source(src, name, &o, &load_ops, l, e), e);
}

int tar_load_links(struct tar_load *l, struct err *e)
{
	struct meta m = l->like;
	const struct oid *oids;
	size_t linked = backup_facts_tablespaces(l->o.facts, &oids), n;
	int r = backup_facts_read_map(l->o.facts, e);

	n = backup_facts_tablespaces(l->o.facts, &oids);
	m.mode = 0777;
	for (size_t i = linked; r == 0 && i < n; i++) {
		char path[64], to[64];

		snprintf(path, sizeof(path), BASE_DATA "/pg_tblspc/%u", oids[i].v);
		snprintf(to, sizeof(to), "../../" BASE_TABLESPACES "/%u", oids[i].v);
		r = base_sink_symlink(l->o.sink, path, &m, to, e);
	}
	return r;
}

int tar_load_new(const struct tar_load_options *o, struct tar_load **ret, struct err *e)
{
	struct tar_load *l = calloc(1, sizeof(*l));

	if (!l)
		return err_sys(e, -ENOMEM, "reading tar archives");
	l->o = *o;
	*ret = l;
	return 0;
}

void tar_load_free(struct tar_load *l)
{
	if (!l)
		return;
	for (size_t i = 0; i < l->n_wal_dirs; i++)
		free(l->wal_dirs[i]);
	free(l);
}
