/* The facts of a base backup: what came by. The judgement is in backup_verdict.c. See backup_facts.h. */
#include "src/capture/backup_facts.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/clean.h"
#include "src/capture/backup_facts_priv.h"
#include "src/pg/datadir.h"

#define LABEL_MAX (64u << 10)
#define MAP_MAX (16u << 20) /* 4,000 tablespaces of the longest path */

struct backup_facts *backup_facts_new(struct log *log)
{
	struct backup_facts *f = calloc(1, sizeof(*f));

	if (f)
		f->log = log;
	return f;
}

void backup_facts_free(struct backup_facts *f)
{
	if (!f)
		return;
	for (size_t i = 0; i < f->n_places; i++) {
		free(f->places[i].link);
		free(f->places[i].mapped);
	}
	free(f->places);
	free(f->oids);
	free(f->wal);
	buf_free(&f->map);
	free(f);
}

static bool is(const char *path, size_t n, const char *what)
{
	return strlen(what) == n && !memcmp(path, what, n);
}

#define WAL_DIR "pg_wal/"

static bool is_history(const char *path, size_t n)
{
	size_t d = sizeof(WAL_DIR) - 1;

	return n > d && !memcmp(path, WAL_DIR, d) && backup_history_name_looks(path + d, n - d);
}

size_t backup_facts_want(const struct backup_facts *f, const char *path, size_t n)
{
	(void)f;
	if (is(path, n, DATADIR_VERSION_PATH))
		return 64;
	if (is(path, n, CONTROL_PATH))
		return CONTROL_FILE_SIZE;
	if (is(path, n, BACKUP_LABEL_PATH) || is_history(path, n))
		return LABEL_MAX;
	if (is(path, n, TABLESPACE_MAP_PATH))
		return MAP_MAX;
	return 0;
}

/* Of the history files that lie in pg_wal only the one of this backup counts, and which one that is shows
 * when backup_label came: the last few are kept. */
static int take_history(struct backup_facts *f, const void *p, size_t n, struct err *e)
{
	struct backup_label h;
	int r = backup_history_parse(p, n, &h, e);

	if (r < 0)
		return r;
	f->histories[f->n_histories++ % HISTORIES] = h;
	return 0;
}

int backup_facts_take(struct backup_facts *f, const char *path, const void *p, size_t n, struct err *e)
{
	size_t len = strlen(path);
	int r;

	if (is(path, len, DATADIR_VERSION_PATH)) {
		r = datadir_version_parse(p, n, &f->major, e);
		f->has_version = r == 0;
	} else if (is(path, len, CONTROL_PATH)) {
		r = control_parse(p, n, &f->control, e);
		f->has_control = r == 0;
	} else if (is(path, len, BACKUP_LABEL_PATH)) {
		r = backup_label_parse(p, n, &f->label, e);
		f->has_label = r == 0;
		if (r == -EOPNOTSUPP)
			return err_set(e, r,
				"%s: this is an incremental backup; make a full one of it and of those "
				"before it "
				"with pg_combinebackup, then import that",
				path);
	} else if (is(path, len, TABLESPACE_MAP_PATH)) {
		/* Its escapes depend on the version, which may come later. */
		buf_clear(&f->map);
		buf_put(&f->map, p, n);
		r = f->map.bad ? err_sys(e, -ENOMEM, "%s", path) : 0;
		f->has_map = true;
		return r;
	} else {
		/* A foreign or torn history file says nothing of this backup. */
		if (take_history(f, p, n, NULL) < 0)
			log_msg(f->log, LOG_LEVEL_WARNING, "%s is not a backup history file: passed over",
				path);
		return 0;
	}
	return r < 0 ? err_wrap(e, r, "%s", path) : 0;
}

static uint32_t hex8(const char *p)
{
	uint32_t v = 0;

	for (int i = 0; i < 8; i++)
		v = v << 4 | (uint32_t)(p[i] <= '9' ? p[i] - '0' : p[i] - 'A' + 10);
	return v;
}

static int note_wal(struct backup_facts *f, const char *name, uint64_t size, struct err *e)
{
	struct wal_seen *w;

	if (f->n_wal == WAL_SEEN_MAX)
		return 0;
	if (f->n_wal == f->cap_wal) {
		size_t cap = f->cap_wal ? f->cap_wal * 2 : 64;

		w = realloc(f->wal, cap * sizeof(*w));
		if (!w)
			return err_sys(e, -ENOMEM, "list of WAL segments");
		f->wal = w;
		f->cap_wal = cap;
	}
	w = &f->wal[f->n_wal++];
	w->tli = hex8(name);
	w->hi = hex8(name + 8);
	w->lo = hex8(name + 16);
	w->size = size > UINT32_MAX ? UINT32_MAX : (uint32_t)size;
	return 0;
}

/* A relation's file of an incremental backup: INCREMENTAL.<file node> (src/backend/backup/
 * basebackup_incremental.c, 17). */
static bool is_incremental(const char *path, size_t n)
{
	static const char prefix[] = "INCREMENTAL.";
	size_t at = n;

	while (at && path[at - 1] != '/')
		at--;
	return n - at > sizeof(prefix) - 1 && !memcmp(path + at, prefix, sizeof(prefix) - 1) &&
	       isdigit((unsigned char)path[at + sizeof(prefix) - 1]);
}

int backup_facts_file(
	struct backup_facts *f, const char *path, size_t n, uint64_t size, struct tstamp mtime, struct err *e)
{
	size_t d = sizeof(WAL_DIR) - 1;

	if (is_incremental(path, n))
		return err_set(e, -EOPNOTSUPP,
			"%s belongs to an incremental backup; make a full one of it and of those before it "
			"with "
			"pg_combinebackup, then import that",
			path);
	if (!f->has_newest || tstamp_cmp(mtime, f->newest) > 0) {
		f->newest = mtime;
		f->has_newest = true;
	}
	if (n > d && !memcmp(path, WAL_DIR, d) && wal_name_looks(path + d, n - d))
		return note_wal(f, path + d, size, e);
	return 0;
}

void backup_facts_start_time(struct backup_facts *f, struct tstamp at)
{
	f->started = at;
}

void backup_facts_manifest_time(struct backup_facts *f, struct tstamp mtime)
{
	f->manifest_time = mtime;
	f->has_manifest_time = true;
}

/* The place of a tablespace, made when it is new; NULL without memory. */
struct place *facts_place(struct backup_facts *f, struct oid oid)
{
	struct place *places;
	struct oid *oids;

	for (size_t i = 0; i < f->n_places; i++)
		if (f->places[i].oid.v == oid.v)
			return &f->places[i];
	places = realloc(f->places, (f->n_places + 1) * sizeof(*places));
	if (!places)
		return NULL;
	f->places = places;
	oids = realloc(f->oids, (f->n_places + 1) * sizeof(*oids));
	if (!oids)
		return NULL;
	f->oids = oids;
	oids[f->n_places] = oid;
	places[f->n_places] = (struct place){.oid = oid};
	return &places[f->n_places++];
}

int backup_facts_link(struct backup_facts *f, struct oid oid, const char *target, struct err *e)
{
	struct place *p = facts_place(f, oid);

	if (!p)
		return err_sys(e, -ENOMEM, "tablespace %u", oid.v);
	free(p->link);
	p->link = strdup(target);
	return p->link ? 0 : err_sys(e, -ENOMEM, "tablespace %u", oid.v);
}

static int add_mapped(void *arg, struct oid oid, const char *path, struct err *e)
{
	struct place *p = facts_place(arg, oid);

	if (!p)
		return err_sys(e, -ENOMEM, "tablespace %u", oid.v);
	free(p->mapped);
	p->mapped = strdup(path);
	return p->mapped ? 0 : err_sys(e, -ENOMEM, "tablespace %u", oid.v);
}

int backup_facts_read_map(struct backup_facts *f, struct err *e)
{
	int r;

	if (!f->has_map)
		return 0;
	r = tablespace_map_parse(f->map.data, f->map.len, f->major, add_mapped, f, e);
	return r < 0 ? err_wrap(e, r, "%s", TABLESPACE_MAP_PATH) : 0;
}

size_t backup_facts_tablespaces(const struct backup_facts *f, const struct oid **ret)
{
	*ret = f->oids;
	return f->n_places;
}

bool backup_facts_has_tablespace(const struct backup_facts *f, struct oid oid)
{
	for (size_t i = 0; i < f->n_places; i++)
		if (f->places[i].oid.v == oid.v)
			return true;
	return false;
}

const struct control *backup_facts_control(const struct backup_facts *f)
{
	return f->has_control ? &f->control : NULL;
}
