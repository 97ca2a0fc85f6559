/* zlib for what pg_dump calls gzip (its checksums are checked), libarchive's filters for lz4 and zstd. See dump_inflate.h. */
#include "src/capture/dump_inflate.h"

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "src/capture/late.h"

#define BLOCK (64u << 10)
#define ANY_WRAPPER (15 + 32) /* inflateInit2: the largest window, zlib or gzip by its head */

struct dump_inflate {
	enum dump_compression kind;
	dump_read_fn *read;
	void *arg;
	const char *name;
	struct err why; /* of read, in libarchive's callback */
	z_stream z;
	bool z_on, ended;
	struct archive *a;
	const uint8_t *piece; /* what libarchive gave */
	size_t left;
	size_t first; /* bytes in block that were read to see whether there are any */
	uint8_t block[BLOCK];
};

static la_ssize_t on_read(struct archive *a, void *arg, const void **ret)
{
	struct dump_inflate *d = arg;
	ssize_t n = (ssize_t)d->first;

	d->first = 0;
	if (!n)
		n = d->read(d->arg, d->block, BLOCK, &d->why);
	if (n < 0) {
		archive_set_error(a, (int)-n, "%s", d->why.text);
		return ARCHIVE_FATAL;
	}
	*ret = d->block;
	return n;
}

static int failed(struct dump_inflate *d, const char *what, struct err *e)
{
	if (d->why.code)
		return err_set(e, d->why.code, "%s", d->why.text);
	return err_set(e, -EBADMSG, "%s: compressed data is damaged or cut off: %s", d->name,
		what ? what : "unreadable");
}

static int start_archive(struct dump_inflate *d, struct err *e)
{
	int filter = d->kind == DUMP_LZ4 ? ARCHIVE_FILTER_LZ4 : ARCHIVE_FILTER_ZSTD;
	struct archive_entry *en;
	int r;

	r = late_libarchive(e);
	if (r < 0)
		return r;
	d->a = archive_read_new();
	if (!d->a)
		return err_sys(e, -ENOMEM, "%s", d->name);
	r = d->kind == DUMP_LZ4 ? archive_read_support_filter_lz4(d->a)
				: archive_read_support_filter_zstd(d->a);
	if (r != ARCHIVE_OK || archive_read_support_format_raw(d->a) != ARCHIVE_OK ||
		archive_read_support_format_empty(d->a) != ARCHIVE_OK)
		return err_set(e, -EOPNOTSUPP, "this libarchive does not read lz4 and zstd");
	if (archive_read_open(d->a, d, NULL, on_read, NULL) != ARCHIVE_OK)
		return failed(d, archive_error_string(d->a), e);
	r = archive_read_next_header(d->a, &en);
	if (archive_filter_code(d->a, 0) != filter)
		return failed(d, "it does not begin as it should", e);
	if (r == ARCHIVE_EOF)
		d->ended = true;
	else if (r != ARCHIVE_OK)
		return failed(d, archive_error_string(d->a), e);
	return 0;
}

int dump_inflate_new(enum dump_compression kind, dump_read_fn *read, void *arg, const char *name,
	struct dump_inflate **ret, struct err *e)
{
	struct dump_inflate *d = calloc(1, sizeof(*d));
	ssize_t n;
	int r = 0;

	if (!d)
		return err_sys(e, -ENOMEM, "%s", name);
	d->kind = kind;
	d->read = read;
	d->arg = arg;
	d->name = name;
	switch (kind) {
	case DUMP_NONE:
		break;
	case DUMP_GZIP:
		d->z_on = inflateInit2(&d->z, ANY_WRAPPER) == Z_OK;
		r = d->z_on ? 0 : err_sys(e, -ENOMEM, "%s", name);
		break;
	case DUMP_LZ4:
	case DUMP_ZSTD:
		/* An empty large object is an empty stream for some releases. */
		n = read(arg, d->block, BLOCK, e);
		d->first = n > 0 ? (size_t)n : 0;
		d->ended = n == 0;
		r = n < 0 ? (int)n : n ? start_archive(d, e) : 0;
		break;
	}
	if (r < 0) {
		dump_inflate_free(d);
		return r;
	}
	*ret = d;
	return 0;
}

void dump_inflate_free(struct dump_inflate *d)
{
	if (!d)
		return;
	if (d->z_on)
		inflateEnd(&d->z);
	archive_read_free(d->a);
	free(d);
}

/* Nothing may come behind the end of the stream. */
static ssize_t end(struct dump_inflate *d, struct err *e)
{
	ssize_t n = d->z.avail_in ? 1 : d->read(d->arg, d->block, BLOCK, e);

	if (n < 0)
		return n;
	return n ? failed(d, "something follows its end", e) : 0;
}

static ssize_t read_zlib(struct dump_inflate *d, void *p, size_t n, struct err *e)
{
	bool started = d->z.total_in != 0;

	d->z.next_out = p;
	d->z.avail_out = (uInt)(n < BLOCK ? n : BLOCK);
	n = d->z.avail_out;
	while (d->z.avail_out == n) {
		int r;

		if (!d->z.avail_in) {
			ssize_t got = d->read(d->arg, d->block, BLOCK, e);

			if (got < 0)
				return got;
			/* No stream at all is that of an empty large object. */
			if (!got && !started)
				return 0;
			if (!got)
				return failed(d, "it ends early", e);
			d->z.next_in = d->block;
			d->z.avail_in = (uInt)got;
			started = true;
		}
		r = inflate(&d->z, Z_NO_FLUSH);
		if (r == Z_STREAM_END) {
			d->ended = true;
			break;
		}
		if (r != Z_OK)
			return failed(d, d->z.msg, e);
	}
	n -= d->z.avail_out;
	return n ? (ssize_t)n : end(d, e);
}

static ssize_t read_archive(struct dump_inflate *d, void *p, size_t n, struct err *e)
{
	while (!d->left) {
		const void *piece;
		la_int64_t off;
		int r = archive_read_data_block(d->a, &piece, &d->left, &off);

		if (r == ARCHIVE_EOF) {
			d->ended = true;
			return end(d, e);
		}
		if (r != ARCHIVE_OK)
			return failed(d, archive_error_string(d->a), e);
		d->piece = piece;
	}
	if (n > d->left)
		n = d->left;
	memcpy(p, d->piece, n);
	d->piece += n;
	d->left -= n;
	return (ssize_t)n;
}

ssize_t dump_inflate_read(void *arg, void *p, size_t n, struct err *e)
{
	struct dump_inflate *d = arg;

	if (d->kind == DUMP_NONE)
		return d->read(d->arg, p, n, e);
	if (d->ended)
		return end(d, e);
	return d->kind == DUMP_GZIP ? read_zlib(d, p, n, e) : read_archive(d, p, n, e);
}
