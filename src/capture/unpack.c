/* Decompression by libarchive's filters, used without a format. See unpack.h.
 *
 * It is a stage of its own so that the plain bytes are seen on their way (see tar.c). */
#include "src/capture/unpack.h"

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "src/base/io.h"
#include "src/capture/late.h"

#define BLOCK (256u << 10)

struct unpack {
	int fd;
	const char *name;
	struct meter *meter;
	struct archive *a; /* NULL: the file is not compressed */
	bool regular, ended;
	uint64_t file_size;
	struct err e; /* of the read callback */
	size_t head;  /* bytes in block that were read to look at the magic number */
	uint8_t block[BLOCK];
};

/* Reads the file itself into the block: the count, 0 at the end. The bytes of the magic number come first. */
static ssize_t read_block(struct unpack *u, struct err *e)
{
	ssize_t n = (ssize_t)u->head;

	u->head = 0;
	if (n == 0) {
		do
			n = read(u->fd, u->block, BLOCK);
		while (n < 0 && errno == EINTR);
		if (n < 0)
			return err_sys(e, -errno, "%s", u->name);
		meter_add(u->meter, (uint64_t)n, 0);
	}
	return n;
}

static la_ssize_t on_read(struct archive *a, void *arg, const void **ret)
{
	struct unpack *u = arg;
	ssize_t n = read_block(u, &u->e);

	if (n < 0) {
		archive_set_error(a, (int)-n, "%s", u->e.text);
		return ARCHIVE_FATAL;
	}
	*ret = u->block;
	return n;
}

/* Gzip: RFC 1952, 2.3.1; LZ4: its frame format, "Magic number"; Zstandard: RFC 8878, 3.1.1 (and 3.1.2); bzip2: "BZh",
 * a digit, and the number that each block begins with (decompress.c), or the one of a stream without any; xz: the .xz
 * file format, 2.1.1.1. */
static bool is_compressed(const uint8_t *p, size_t n)
{
	static const uint8_t block[] = {0x31, 0x41, 0x59, 0x26, 0x53, 0x59},
			     none[] = {0x17, 0x72, 0x45, 0x38, 0x50, 0x90},
			     xz[] = {0xfd, '7', 'z', 'X', 'Z', 0};
	static const uint8_t gzip[] = {0x1f, 0x8b}, lz4[] = {0x04, 0x22, 0x4d, 0x18},
			     zstd[] = {0x28, 0xb5, 0x2f, 0xfd};

	return (n >= 2 && !memcmp(p, gzip, 2)) || (n >= 4 && !memcmp(p, lz4, 4)) ||
	       (n >= 4 && !memcmp(p, zstd, 4)) || (n >= 6 && !memcmp(p, xz, 6)) ||
	       (n >= 10 && !memcmp(p, "BZh", 3) && (!memcmp(p + 4, block, 6) || !memcmp(p + 4, none, 6)));
}

/* The library's words for what went wrong, unless it was our own read. */
static int failed(struct unpack *u, struct err *e)
{
	const char *why = archive_error_string(u->a);

	if (u->e.code)
		return err_set(e, u->e.code, "%s", u->e.text);
	return err_set(e, -EBADMSG, "%s is damaged or cut off: %s", u->name, why ? why : "unreadable");
}

static int start_filters(struct unpack *u, struct err *e)
{
	struct archive_entry *entry;
	int r = late_libarchive(e);

	if (r < 0)
		return r;
	u->a = archive_read_new();
	if (!u->a)
		return err_sys(e, -ENOMEM, "%s", u->name);
	if (archive_read_support_filter_gzip(u->a) != ARCHIVE_OK ||
		archive_read_support_filter_lz4(u->a) != ARCHIVE_OK ||
		archive_read_support_filter_zstd(u->a) != ARCHIVE_OK ||
		archive_read_support_filter_bzip2(u->a) != ARCHIVE_OK ||
		archive_read_support_filter_xz(u->a) != ARCHIVE_OK ||
		archive_read_support_format_raw(u->a) != ARCHIVE_OK)
		return err_set(e, -EOPNOTSUPP, "this libarchive does not read gzip, lz4, zstd, bzip2 and xz");
	if (archive_read_open(u->a, u, NULL, on_read, NULL) != ARCHIVE_OK ||
		archive_read_next_header(u->a, &entry) != ARCHIVE_OK)
		return failed(u, e);
	return 0;
}

int unpack_new(int fd, const char *name, struct meter *meter, struct unpack **ret, struct err *e)
{
	struct unpack *u = calloc(1, sizeof(*u));
	struct stat st;
	ssize_t n;
	int r = 0;

	if (!u)
		return err_sys(e, -ENOMEM, "%s", name);
	u->fd = fd;
	u->name = name;
	u->meter = meter;
	if (fstat(fd, &st) < 0) {
		r = err_sys(e, -errno, "%s", name);
		goto fail;
	}
	u->regular = S_ISREG(st.st_mode);
	u->file_size = (uint64_t)st.st_size;
	n = read_block(u, e);
	if (n < 0) {
		r = (int)n;
		goto fail;
	}
	u->head = (size_t)n;
	if (is_compressed(u->block, u->head))
		r = start_filters(u, e);
	if (r < 0)
		goto fail;
	*ret = u;
	return 0;
fail:
	unpack_free(u);
	return r;
}

bool unpack_is_compressed(const struct unpack *u)
{
	return u->a != NULL;
}

void unpack_free(struct unpack *u)
{
	if (!u)
		return;
	archive_read_free(u->a);
	free(u);
}

static ssize_t next_piece(struct unpack *u, const void **ret, struct err *e)
{
	la_int64_t off;
	size_t n;
	ssize_t got;
	int r;

	if (!u->a) {
		got = read_block(u, e);
		*ret = u->block;
		return got;
	}
	do {
		r = archive_read_data_block(u->a, ret, &n, &off);
		if (r == ARCHIVE_EOF)
			return 0;
		if (r != ARCHIVE_OK)
			return failed(u, e);
	} while (n == 0);
	return (ssize_t)n;
}

ssize_t unpack_next(struct unpack *u, const void **ret, struct err *e)
{
	ssize_t n = u->ended ? 0 : next_piece(u, ret, e);

	if (n == 0)
		u->ended = true;
	return n;
}

uint64_t unpack_skip(struct unpack *u, uint64_t n)
{
	off_t at;

	if (u->a || !u->regular || u->head || n > INT64_MAX)
		return 0;
	at = lseek(u->fd, 0, SEEK_CUR);
	/* Not beyond the end: what is missing there must be missed. */
	if (at < 0 || (uint64_t)at >= u->file_size || n > u->file_size - (uint64_t)at)
		return 0;
	return lseek(u->fd, (off_t)n, SEEK_CUR) < 0 ? 0 : n;
}
