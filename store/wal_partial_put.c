/* Growing segments as pieces: writing. See wal_partial.h.
 *
 * Merging puts the whole, durably, before it takes the parts away, so that whoever lists finds one or the other. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/buf.h"
#include "src/base/clean.h"
#include "store/repo.h"
#include "store/wal.h"
#include "store/wal_partial_priv.h"

#define MOST 64 /* pieces that wait to be merged */
#define BLOCK WAL_PARTIAL_BLOCK

CLEANUP_DEFINE(struct upload, upload_free)
CLEANUP_DEFINE(struct codec, codec_free)

static int put_object(
	struct store *s, const char *cluster, const char *object, const struct buf *b, struct err *e)
{
	_cleanup_(upload_freep) struct upload *u = NULL;
	char folder[WAL_OBJECT_NAME];
	int r = pieces_folder(folder, cluster, e);

	if (!r)
		r = upload_begin(s->backend, folder, &u, e);
	if (!r)
		r = upload_write(u, b->data, b->len, e);
	return r ? r : upload_commit(u, object, e);
}

/* Not durable in its name before the barrier. */
static int put_piece(struct store *s, struct codec *c, const char *cluster, const char *segment,
	uint32_t segment_size, uint32_t start, uint32_t end, const uint8_t *p, struct err *e)
{
	_cleanup_(buf_free) struct buf b = {0};
	_cleanup_(freep) uint8_t *there = NULL;
	char object[WAL_OBJECT_NAME];
	uint32_t size;
	int r = wal_piece_pack(c, s->id, segment_size, start, end, p, &b, e);

	piece_name(object, cluster, segment, start, end);
	if (!r)
		r = put_object(s, cluster, object, &b, e);
	if (r != -EEXIST)
		return r;
	there = malloc(BLOCK);
	if (!there)
		return err_sys(e, -ENOMEM, "object %s", object);
	r = piece_read(s, object, start, end, there, &size, e);
	if (!r)
		return size == segment_size && !memcmp(there, p, end - start)
			       ? 0
			       : err_set(e, -EEXIST,
					 "%s: bytes %u to %u came before with other content; two servers "
					 "cannot "
					 "share a cluster's name",
					 segment, start, end);
	if (r == -EBADMSG)
		r = backend_remove(s->backend, object, e);
	return r < 0 && r != -ENOENT ? r : put_object(s, cluster, object, &b, e);
}

/* ---- writing ---- */

int wal_partial_append(struct store *s, const char *cluster, const char *segment, uint32_t segment_size,
	uint64_t start, const void *p, size_t n, struct err *e)
{
	_cleanup_(codec_freep) struct codec *c = NULL;
	char folder[WAL_OBJECT_NAME];
	int r = pieces_folder(folder, cluster, e);

	if (!r && (!wal_object_name_is_safe(segment) || segment_size > WAL_FILE_MAX || segment_size % BLOCK ||
			  start > segment_size || n > segment_size - start))
		r = err_set(e, -EINVAL, "%.80s: %zu bytes at %llu do not fit into %u", segment, n,
			(unsigned long long)start, segment_size);
	if (!r && codec_new(s->settings.level, &c) < 0)
		r = err_sys(e, -ENOMEM, "%s", segment);
	for (uint64_t at = start; at < start + n && !r;) {
		uint64_t next = (at / BLOCK + 1) * BLOCK, end = next < start + n ? next : start + n;

		r = put_piece(s, c, cluster, segment, segment_size, (uint32_t)at, (uint32_t)end,
			(const uint8_t *)p + (at - start), e);
		at = end;
	}
	return r ? r : backend_barrier(s->backend, e);
}

/* All pieces [from, to) of the list, which are those of a block, become one. */
static int merge_block(struct store *s, struct codec *c, const char *cluster, const struct pieces *l,
	size_t from, size_t to, uint32_t segment_size, struct err *e)
{
	_cleanup_(freep) uint8_t *p = malloc(BLOCK);
	uint32_t block = l->v[from].start / BLOCK, base = block * BLOCK, n;
	char object[WAL_OBJECT_NAME];
	int bad, r;

	if (!p)
		return err_sys(e, -ENOMEM, "%s", l->segment);
	r = pieces_read_block(s, cluster, l, block, p, &n, &bad, e);
	/* Somebody else merges, or there is damage that is better left for people to see. */
	if (r < 0 || bad || !n)
		return r;
	r = put_piece(s, c, cluster, l->segment, segment_size, base, base + n, p, e);
	if (!r)
		r = backend_barrier(s->backend, e);
	for (; from < to && !r; from++) {
		const struct piece *old = &l->v[from];

		if (old->end > base + n || (old->start == base && old->end == base + n))
			continue;
		piece_name(object, cluster, l->segment, old->start, old->end);
		r = backend_remove(s->backend, object, e);
		if (r == -ENOENT)
			r = 0;
	}
	return r;
}

static size_t block_end(const struct pieces *l, size_t i)
{
	uint32_t block = l->v[i].start / BLOCK;

	while (i < l->n && l->v[i].start / BLOCK == block)
		i++;
	return i;
}

int wal_partial_compact(
	struct store *s, const char *cluster, const char *segment, unsigned most, struct err *e)
{
	_cleanup_(pieces_done) struct pieces l = {0};
	_cleanup_(codec_freep) struct codec *c = NULL;
	struct wal_partial_info info;
	size_t blocks = 0;
	int r = pieces_list(s, cluster, segment, &l, e);

	if (r < 0)
		return r;
	for (size_t i = 0; i < l.n; i = block_end(&l, i))
		blocks++;
	if (l.n - blocks <= (most ? most : MOST))
		return 0;
	r = wal_partial_stat(s, cluster, segment, &info, e);
	if (!r && codec_new(s->settings.level, &c) < 0)
		r = err_sys(e, -ENOMEM, "%s", segment);
	for (size_t i = 0, end; i < l.n && !r; i = end) {
		end = block_end(&l, i);
		if (end - i > 1)
			r = merge_block(s, c, cluster, &l, i, end, info.segment_size, e);
	}
	return r;
}

int wal_partial_remove(struct store *s, const char *cluster, const char *segment, struct err *e)
{
	_cleanup_(pieces_done) struct pieces l = {0};
	int r = pieces_list(s, cluster, segment, &l, e);

	/* The last first: what is left after a crash still begins at 0. */
	for (size_t i = l.n; i > 0 && !r; i--) {
		char object[WAL_OBJECT_NAME];

		piece_name(object, cluster, segment, l.v[i - 1].start, l.v[i - 1].end);
		r = backend_remove(s->backend, object, e);
		if (r == -ENOENT)
			r = 0;
	}
	return r;
}
