/* Tar by libarchive, with the checks that it leaves to its callers. See tar.h.
 *
 * Only its tar format is switched on: whatever else a hostile file looks like, its parsers stay out of it. */
#include "src/capture/tar.h"

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/clean.h"
#include "src/capture/late.h"
#include "src/capture/unpack.h"

#define END_BYTES \
	1024 /* two blocks of zeroes end an archive: POSIX.1-2017, pax, "ustar Interchange Format" */

struct tar {
	const char *name;
	const struct tar_options *o;
	const struct tar_ops *ops;
	void *arg;
	const struct tar_source *in;
	struct archive *a;
	struct err e;	       /* of the read callback */
	uint64_t total, zeros; /* bytes that came, and how many of them, counted from the end, are zeroes */
	uint64_t after;	       /* where the last member ended, with its padding */
	char path[TAR_PATH_MAX + 1];
};

static size_t zeros_at_end(const uint8_t *p, size_t n)
{
	size_t i = n;

	while (i >= 8) {
		uint64_t v;

		memcpy(&v, p + i - 8, 8);
		if (v)
			break;
		i -= 8;
	}
	while (i > 0 && !p[i - 1])
		i--;
	return n - i;
}

/* The plain bytes are looked at on their way: libarchive's tar reader takes a stream that just stops for the
 * end of the archive. */
static ssize_t next_piece(struct tar *t, const void **ret, struct err *e)
{
	ssize_t n = t->in->next(t->in->arg, ret, e);
	size_t zeros;

	if (n <= 0)
		return n;
	zeros = zeros_at_end(*ret, (size_t)n);
	t->zeros = zeros == (size_t)n ? t->zeros + zeros : zeros;
	t->total += (uint64_t)n;
	return n;
}

static la_ssize_t on_read(struct archive *a, void *arg, const void **ret)
{
	struct tar *t = arg;
	ssize_t n = next_piece(t, ret, &t->e);

	if (n < 0) {
		archive_set_error(a, (int)-n, "%s", t->e.text);
		return ARCHIVE_FATAL;
	}
	return n;
}

static la_int64_t on_skip(struct archive *a, void *arg, la_int64_t n)
{
	struct tar *t = arg;
	uint64_t done = 0;

	(void)a;
	if (t->o->headers_only && t->in->skip && n > 0)
		done = t->in->skip(t->in->arg, (uint64_t)n);
	if (done)
		t->zeros = 0;
	t->total += done;
	return (la_int64_t)done;
}

static int failed(struct tar *t, const char *member, struct err *e)
{
	const char *why = archive_error_string(t->a);

	if (t->e.code)
		return err_set(e, t->e.code, "%s", t->e.text);
	return err_set(e, -EBADMSG, "%s%s%s is damaged or cut off: %s", t->name, member ? ", member " : "",
		member ? member : "", why ? why : "unreadable");
}

/* Takes "./" and doubled slashes out, refuses what is absolute or climbs. */
static int clean_path(struct tar *t, const char *raw, struct err *e)
{
	size_t len = 0;

	if (*raw == '/')
		return err_set(e, -EBADMSG, "%s: member %s has an absolute path", t->name, raw);
	for (const char *s = raw; *s;) {
		size_t n = strcspn(s, "/");

		if (n == 2 && s[0] == '.' && s[1] == '.')
			return err_set(e, -EBADMSG, "%s: member %s climbs out of the archive", t->name, raw);
		if (n > TREE_NAME_MAX)
			return err_set(e, -EBADMSG, "%s: member %.80s… has a name of %zu bytes, more than %d",
				t->name, raw, n, TREE_NAME_MAX);
		if (n && !(n == 1 && *s == '.')) {
			if (len + 1 + n > TAR_PATH_MAX)
				return err_set(e, -EBADMSG,
					"%s: member %.80s… has a path of more than %d bytes", t->name, raw,
					TAR_PATH_MAX);
			if (len)
				t->path[len++] = '/';
			memcpy(t->path + len, s, n);
			len += n;
		}
		s += n;
		s += *s == '/';
	}
	t->path[len] = 0;
	return 0;
}

static const char *or_empty(const char *s)
{
	return s ? s : "";
}

/* Fills m from a header: 0, TAR_SKIP for what a backup does not hold, or an error. */
static int read_header(struct tar *t, struct archive_entry *en, struct tar_member *m, struct err *e)
{
	const char *raw = archive_entry_pathname(en);
	int64_t id;
	int r;

	if (!raw)
		raw = archive_entry_pathname_utf8(en);
	if (!raw || !*raw)
		return err_set(e, -EBADMSG, "%s: a member without a name", t->name);
	r = clean_path(t, raw, e);
	if (r < 0)
		return r;
	*m = (struct tar_member){.path = t->path};
	if (archive_entry_hardlink(en))
		return err_set(e, -EOPNOTSUPP, "%s: member %s is a hard link; a base backup has none",
			t->name, t->path);
	m->meta.mode = (uint32_t)archive_entry_perm(en) & 07777;
	id = archive_entry_uid(en);
	m->meta.uid = id >= 0 && id <= UINT32_MAX ? (uint32_t)id : 0;
	id = archive_entry_gid(en);
	m->meta.gid = id >= 0 && id <= UINT32_MAX ? (uint32_t)id : 0;
	m->meta.user = or_empty(archive_entry_uname(en));
	m->meta.group = or_empty(archive_entry_gname(en));
	m->meta.mtime.sec = archive_entry_mtime(en);
	m->meta.mtime.nsec = (uint32_t)archive_entry_mtime_nsec(en) % 1000000000u;
	switch (archive_entry_filetype(en)) {
	case AE_IFREG:
		m->type = ENTRY_FILE;
		if (archive_entry_size_is_set(en) && archive_entry_size(en) < 0)
			return err_set(e, -EBADMSG, "%s: member %s has a negative size", t->name, t->path);
		m->size = (uint64_t)archive_entry_size(en);
		break;
	case AE_IFDIR:
		m->type = ENTRY_DIR;
		break;
	case AE_IFLNK:
		m->type = ENTRY_SYMLINK;
		m->target = archive_entry_symlink(en);
		if (!m->target || !*m->target || strlen(m->target) > TREE_TARGET_MAX)
			return err_set(
				e, -EBADMSG, "%s: link %s leads nowhere that can be", t->name, t->path);
		break;
	default:
		log_msg(t->o->log, LOG_LEVEL_WARNING,
			"%s: %s is neither file, directory nor symbolic link: passed over", t->name, t->path);
		return TAR_SKIP;
	}
	if (!*t->path && m->type != ENTRY_DIR)
		return err_set(e, -EBADMSG, "%s: member %s is the top, but no directory", t->name, raw);
	return 0;
}

static int give_zeros(struct tar *t, uint64_t n, struct err *e)
{
	static const uint8_t zeros[4096];
	int r = 0;

	while (n && r == 0) {
		size_t piece = n < sizeof(zeros) ? (size_t)n : sizeof(zeros);

		r = t->ops->data(t->arg, zeros, piece, e);
		n -= piece;
	}
	return r;
}

/* Hands a file's bytes on; holes of GNU's sparse members become zeroes. Reads to the member's very end also
 * when nobody wants the bytes, so that `after` is right. */
static int read_data(struct tar *t, const struct tar_member *m, bool wanted, struct err *e)
{
	uint64_t at = 0;
	int r = 0;

	for (;;) {
		const void *p;
		size_t n;
		la_int64_t off;
		int got = archive_read_data_block(t->a, &p, &n, &off);

		if (got == ARCHIVE_EOF)
			break;
		if (got != ARCHIVE_OK)
			return failed(t, m->path, e);
		if (!wanted)
			continue;
		if (off < 0 || (uint64_t)off < at || (uint64_t)off > m->size || n > m->size - (uint64_t)off)
			return err_set(
				e, -EBADMSG, "%s: member %s holds more than its size", t->name, m->path);
		r = give_zeros(t, (uint64_t)off - at, e);
		if (r == 0 && n)
			r = t->ops->data(t->arg, p, n, e);
		if (r)
			return r;
		at = (uint64_t)off + n;
	}
	return wanted ? give_zeros(t, m->size - at, e) : 0;
}

static int read_member(struct tar *t, struct archive_entry *en, struct err *e)
{
	struct tar_member m;
	int r = read_header(t, en, &m, e);
	bool wanted;

	if (r == 0)
		r = t->ops->member(t->arg, &m, e);
	if (r && r != TAR_SKIP)
		return r;
	if (r == TAR_SKIP && t->o->headers_only)
		return 0;
	wanted = r == 0 && m.type == ENTRY_FILE;
	r = read_data(t, &m, wanted, e);
	if (r == 0 && wanted)
		r = t->ops->end(t->arg, e);
	t->after = (uint64_t)archive_filter_bytes(t->a, 0);
	return r;
}

/* Reads what follows the last member, which must be zeroes, two blocks at least. It also makes the filters
 * see the end of their stream, and with it that it is whole. */
static int check_end(struct tar *t, struct err *e)
{
	const void *p;
	uint64_t left;
	ssize_t n;

	while ((n = next_piece(t, &p, e)) > 0)
		;
	if (n < 0)
		return (int)n;
	left = t->total - t->after;
	if (t->o->unmarked && !left)
		return 0;
	if (t->total < t->after || left < END_BYTES)
		return err_set(e, -EBADMSG, "%s is cut off: it does not end as a tar file does", t->name);
	if (t->zeros < left)
		return err_set(e, -EBADMSG, "%s has something after its end", t->name);
	return 0;
}

static int read_all(struct tar *t, struct err *e)
{
	for (;;) {
		struct archive_entry *en;
		int got = archive_read_next_header(t->a, &en), r;

		if (got == ARCHIVE_EOF)
			return t->o->headers_only ? 0 : check_end(t, e);
		if (got == ARCHIVE_WARN && archive_entry_pathname(en))
			return failed(t, archive_entry_pathname(en), e);
		if (got != ARCHIVE_OK && got != ARCHIVE_WARN)
			return failed(t, NULL, e);
		r = read_member(t, en, e);
		if (r)
			return r;
	}
}

int tar_read_source(const struct tar_source *src, const char *name, const struct tar_options *o,
	const struct tar_ops *ops, void *arg, struct err *e)
{
	struct tar *t = calloc(1, sizeof(*t));
	int r;

	if (!t)
		return err_sys(e, -ENOMEM, "%s", name);
	t->name = name;
	t->in = src;
	t->o = o;
	t->ops = ops;
	t->arg = arg;
	r = late_libarchive(e);
	if (r < 0)
		goto out;
	t->a = archive_read_new();
	if (!t->a || archive_read_support_format_tar(t->a) != ARCHIVE_OK ||
		(o->unmarked && archive_read_support_format_empty(t->a) != ARCHIVE_OK)) {
		r = err_sys(e, -ENOMEM, "%s", name);
		goto out;
	}
	archive_read_set_callback_data(t->a, t);
	archive_read_set_read_callback(t->a, on_read);
	archive_read_set_skip_callback(t->a, on_skip);
	r = archive_read_open1(t->a) == ARCHIVE_OK ? read_all(t, e) : failed(t, NULL, e);
out:
	archive_read_free(t->a);
	free(t);
	return r;
}

static ssize_t unpack_piece(void *arg, const void **ret, struct err *e)
{
	return unpack_next(arg, ret, e);
}

static uint64_t unpack_over(void *arg, uint64_t n)
{
	return unpack_skip(arg, n);
}

int tar_read(int fd, const char *name, const struct tar_options *o, const struct tar_ops *ops, void *arg,
	struct err *e)
{
	struct tar_source src = {.next = unpack_piece, .skip = unpack_over};
	struct unpack *in;
	int r = unpack_new(fd, name, o->meter, &in, e);

	if (r < 0)
		return r;
	src.arg = in;
	r = tar_read_source(&src, name, o, ops, arg, e);
	unpack_free(in);
	return r;
}
