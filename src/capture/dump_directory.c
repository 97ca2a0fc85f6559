/* The directory format: toc.dat, and a file for the data of each entry and for each large object, perhaps compressed. See
 * dump_archive.h.
 *
 * Files keep their names but for the ending that tells the compression: pg_restore looks for the name without it first
 * (cfopen_read in compress_io.c, InitDiscoverCompressFileHandle from 16 on). */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "src/base/clean.h"
#include "src/base/io.h"
#include "src/capture/dump_archive.h"
#include "src/capture/dump_inflate.h"

#define TOP "dump.dir/"
#define BLOBS_TOC_MAX (1u << 30)

static ssize_t read_fd(void *arg, void *p, size_t n, struct err *e)
{
	ssize_t got = io_read(*(int *)arg, p, n);

	return got < 0 ? err_sys(e, (int)got, "reading a file of the dump") : got;
}

static void inflate_freep(struct dump_inflate **d)
{
	dump_inflate_free(*d);
}

/* A plain name in the dump's own directory. */
static bool is_name(const char *s)
{
	return *s && !strchr(s, '/') && strcmp(s, ".") && strcmp(s, "..") && strcmp(s, "toc.dat") &&
	       strlen(s) < 200;
}

/* The file called name, with whatever ending says its compression. -ENOENT with a text that says it is missing. */
static int open_data(const char *dir, const char *name, int *ret_fd, enum dump_compression *ret_kind,
	char **ret_path, struct err *e)
{
	static const char *const endings[] = {
		[DUMP_NONE] = "", [DUMP_GZIP] = ".gz", [DUMP_LZ4] = ".lz4", [DUMP_ZSTD] = ".zst"};

	for (int k = DUMP_NONE; k <= DUMP_ZSTD; k++) {
		_cleanup_(freep) char *path = NULL;
		int fd;

		if (asprintf(&path, "%s/%s%s", dir, name, endings[k]) < 0) {
			path = NULL;
			return err_sys(e, -ENOMEM, "%s", dir);
		}
		fd = open(path, O_RDONLY | O_CLOEXEC);
		if (fd < 0 && errno == ENOENT)
			continue;
		if (fd < 0)
			return err_sys(e, -errno, "%s", path);
		*ret_fd = fd;
		*ret_kind = (enum dump_compression)k;
		*ret_path = MOVE(path);
		return 0;
	}
	return err_set(e, -EBADMSG, "%s is not whole: it has no file %s", dir, name);
}

struct member {
	char *name; /* in the dump */
	struct dump_part part;
};

struct members {
	struct member *v;
	size_t n, cap;
};

static void members_release(struct members *m)
{
	for (size_t i = 0; i < m->n; i++)
		free(m->v[i].name);
	free(m->v);
}

static int add_member(struct members *m, const char *name, const struct dump_part *part)
{
	if (m->n == m->cap) {
		size_t cap = m->cap ? 2 * m->cap : 64;
		struct member *more = realloc(m->v, cap * sizeof(*more));

		if (!more)
			return -ENOMEM;
		m->v = more;
		m->cap = cap;
	}
	m->v[m->n] = (struct member){strdup(name), *part};
	return m->v[m->n].name ? (m->n++, 0) : -ENOMEM;
}

/* A file of the dump: an entry's data, or (en NULL) the large object oid. */
static int take_file(struct dump_archive *a, const char *dir, const char *name, const struct dump_entry *en,
	uint32_t oid, struct members *m, struct err *e)
{
	_cleanup_(freep) char *path = NULL;
	_cleanup_(closep) int fd = -1;
	_cleanup_(inflate_freep) struct dump_inflate *in = NULL;
	enum dump_compression kind;
	struct dump_part part;
	int r = open_data(dir, name, &fd, &kind, &path, e);

	if (r < 0)
		return r;
	if (kind != DUMP_NONE)
		a->compression = kind;
	r = dump_inflate_new(kind, read_fd, &fd, path, &in, e);
	if (!r)
		r = en ? dump_archive_entry(a, en, dump_inflate_read, in, &part, e)
		       : dump_archive_blob(a, oid, dump_inflate_read, in, &part, e);
	if (!r && add_member(m, name, &part) < 0)
		r = err_sys(e, -ENOMEM, "%s", path);
	return r == -EBADMSG ? err_wrap(e, r, "%s", path) : r;
}

/* Lines of "OID NAME" (_EndLO in pg_backup_directory.c). */
static int take_blobs(
	struct dump_archive *a, const char *dir, const char *list, struct members *m, struct err *e)
{
	_cleanup_(freep) void *text = NULL;
	_cleanup_(freep) char *path = NULL;
	_cleanup_(closep) int fd = -1;
	enum dump_compression kind;
	struct dump_part part;
	size_t n = 0;
	int r = open_data(dir, list, &fd, &kind, &path, e);

	if (!r && kind != DUMP_NONE)
		r = err_set(e, -EOPNOTSUPP, "%s: a compressed list of large objects is not known", path);
	if (!r)
		r = io_read_file(path, BLOBS_TOC_MAX, &text, &n, e);
	if (!r)
		r = dump_tree_bytes(a->tree, path, text, n, &part, e);
	if (!r && add_member(m, list, &part) < 0)
		r = err_sys(e, -ENOMEM, "%s", path);
	for (char *line = text, *next; !r && line && *line; line = next) {
		char name[200];
		unsigned oid;
		char *lf = strchr(line, '\n');

		if (!lf || sscanf(line, "%u %199s", &oid, name) != 2 || !is_name(name) || !oid)
			return err_set(e, -EBADMSG, "%s is damaged at byte %zu: no large object and its file",
				path, (size_t)(line - (char *)text));
		next = lf + 1;
		r = take_file(a, dir, name, NULL, oid, m, e);
	}
	return r;
}

static int add_files(
	struct dump_archive *a, const struct members *m, const struct dump_part *toc, struct err *e)
{
	int r = dump_tree_settle(a->tree, e);

	if (!r)
		r = dump_tree_view(a->tree, TOP "toc.dat", toc, e);
	for (size_t i = 0; i < m->n && !r; i++) {
		_cleanup_(dump_file_release) struct dump_file f = {0};
		_cleanup_(freep) char *path = NULL;

		if (asprintf(&path, TOP "%s", m->v[i].name) < 0) {
			path = NULL;
			return err_sys(e, -ENOMEM, "%s", a->name);
		}
		dump_file_part(&f, &m->v[i].part, true);
		r = dump_tree_file(a->tree, path, &f, e);
	}
	return r;
}

int dump_archive_directory(struct dump_archive *a, const char *dir, struct err *e)
{
	_cleanup_(members_release) struct members m = {0};
	_cleanup_(buf_free) struct buf bytes = {0};
	struct dump_part toc;
	int r = 0;

	a->compression = DUMP_NONE;
	for (size_t i = 0; i < a->toc.n && !r; i++) {
		const struct dump_entry *en = &a->toc.entries[i];

		if (!en->file || !*en->file)
			continue;
		if (!is_name(en->file))
			return err_set(e, -EBADMSG,
				"%s is damaged: the data of entry %d is in a file called \"%.60s\"", a->name,
				en->id, en->file);
		r = dump_entry_is_blobs(en) ? take_blobs(a, dir, en->file, &m, e)
					    : take_file(a, dir, en->file, en, 0, &m, e);
	}
	if (r < 0)
		return r;
	a->toc.head.compression = DUMP_NONE;
	a->toc.head.level = 0;
	dump_toc_write(&a->toc, &bytes);
	r = bytes.bad ? err_sys(e, -ENOMEM, "%s", a->name)
		      : dump_tree_bytes(a->tree, TOP "toc.dat", bytes.data, bytes.len, &toc, e);
	return r < 0 ? r : add_files(a, &m, &toc, e);
}
