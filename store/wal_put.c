/* Files into the WAL archive. See wal.h; format: store/README.md, "WAL file".
 *
 * The caller's thread reads, hashes and writes; others compress, a frame each, in a ring of slots, so that memory does
 * not grow with the size of a segment. With one thread, and for a file of one frame, it is all done by the caller's. */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/buf.h"
#include "src/base/clean.h"
#include "src/base/crc32c.h"
#include "src/base/io.h"
#include "src/base/pool.h"
#include "store/codec.h"
#include "store/object_head.h"
#include "store/repo.h"
#include "store/wal_priv.h"

#define MAGIC_HEAD "pgstWALF"
/* zstd finds in frames of 1 MiB what it finds in a whole segment. Measured on segments of pgbench, against the whole
 * segment at level 3: 64 KiB 5.5 % larger, 256 KiB 1 %, 512 KiB the same, 1 MiB 0.5 % smaller. */
#define FRAME (1u << 20)
/* Up to the default level of chunks the codec made for WAL is at least as good. */
#define LEVEL_CHUNKS 2
#define SLOTS_MAX 64

CLEANUP_DEFINE(struct upload, upload_free)
CLEANUP_DEFINE(struct digester, digester_free)

struct slot {
	struct putter *putter;
	uint8_t *room, *packed; /* room for the raw bytes, where they do not stay elsewhere */
	const uint8_t *raw;
	size_t raw_len;
	struct wal_frame frame;
	bool done; /* guarded by the putter's lock */
};

struct putter {
	const struct wal_input *in;
	const char *name;
	struct codec **codecs; /* one a thread */
	struct pool *pool;     /* NULL: the caller's thread compresses, too */
	size_t cap;	       /* of a slot's packed bytes */
	unsigned n_slots;
	struct slot slots[SLOTS_MAX];
	uint8_t *rooms, *packed; /* the slots' memory */
	pthread_mutex_t lock;	 /* rank: leaf; guards each slot's done */
	pthread_cond_t one_done;
};

static void pack_slot(void *arg, unsigned worker)
{
	struct slot *s = arg;
	struct putter *p = s->putter;
	size_t len =
		codec_pack(p->codecs[worker], CODEC_ZSTD, s->raw, s->raw_len, NULL, 0, s->packed, p->cap);

	s->frame.codec = CODEC_ZSTD;
	s->frame.raw_crc = crc32c(0, s->raw, s->raw_len);
	if (!len || len >= s->raw_len) {
		s->frame.codec = CODEC_RAW;
		len = s->raw_len;
		memcpy(s->packed, s->raw, len);
	}
	s->frame.len = (uint32_t)len;
	s->frame.crc = crc32c(0, s->packed, len);
	pthread_mutex_lock(&p->lock);
	s->done = true;
	pthread_cond_signal(&p->one_done);
	pthread_mutex_unlock(&p->lock);
}

/* Gives the bytes of the input from off on, at `room` unless they lie or are kept elsewhere. */
static int read_input(const struct wal_input *in, const char *name, uint64_t off, size_t len, uint8_t *room,
	const uint8_t **ret, struct err *e)
{
	ssize_t got;

	if (in->bytes) {
		*ret = (const uint8_t *)in->bytes + off;
		return 0;
	}
	if (in->keep)
		room = (uint8_t *)in->keep + off;
	got = io_pread(in->fd, room, len, off);
	if (got < 0)
		return err_sys(e, (int)got, "reading %s", name);
	if ((size_t)got < len)
		return err_set(e, -EIO, "%s became shorter while it was read", name);
	*ret = room;
	return 0;
}

static bool is_packed(struct putter *p, const struct slot *s)
{
	bool done;

	pthread_mutex_lock(&p->lock);
	done = s->done;
	pthread_mutex_unlock(&p->lock);
	return done;
}

/* Waits until the slot's frame is packed, and writes it. */
static int write_slot(struct putter *p, struct slot *s, struct upload *u, struct buf *table, struct err *e)
{
	const struct wal_frame *f = &s->frame;

	pthread_mutex_lock(&p->lock);
	while (!s->done)
		pthread_cond_wait(&p->one_done, &p->lock);
	pthread_mutex_unlock(&p->lock);
	buf_put_u32(table, f->len);
	buf_put_u32(table, f->crc);
	buf_put_u32(table, f->raw_crc);
	buf_put_u32(table, f->codec);
	return upload_write(u, s->packed, f->len, e);
}

static int write_frames(
	struct putter *p, struct upload *u, struct buf *table, struct digest *digest, struct err *e)
{
	_cleanup_(digester_freep) struct digester *d = digester_new();
	uint64_t size = p->in->size, n = (size + FRAME - 1) / FRAME, written = 0;
	int r = d ? 0 : err_sys(e, -ENOMEM, "%s", p->name);

	for (uint64_t i = 0; i < n && !r; i++) {
		struct slot *s = &p->slots[i % p->n_slots];

		if (i - written >= p->n_slots)
			r = write_slot(p, &p->slots[written++ % p->n_slots], u, table, e);
		s->raw_len = i + 1 < n ? FRAME : (size_t)(size - i * FRAME);
		s->done = false;
		if (!r)
			r = read_input(p->in, p->name, i * FRAME, s->raw_len, s->room, &s->raw, e);
		if (r < 0)
			break;
		if (p->pool)
			pool_submit(p->pool, pack_slot, s);
		else
			pack_slot(s, 0);
		/* Hashed here while the threads compress what was submitted. */
		digester_add(d, s->raw, s->raw_len);
		/* Written as soon as can be: the disk works beside the processors. */
		while (!r && written <= i && is_packed(p, &p->slots[written % p->n_slots]))
			r = write_slot(p, &p->slots[written++ % p->n_slots], u, table, e);
	}
	while (written < n && !r)
		r = write_slot(p, &p->slots[written++ % p->n_slots], u, table, e);
	if (p->pool)
		pool_drain(p->pool);
	if (!r)
		*digest = digester_end(d);
	return r;
}

static int write_head(struct store *s, struct upload *u, struct err *e)
{
	_cleanup_(buf_free) struct buf b = {0};

	object_head_put(&b, MAGIC_HEAD, 0, s->id);
	return b.bad ? err_sys(e, -ENOMEM, "a WAL file") : upload_write(u, b.data, b.len, e);
}

static int write_tail(
	struct upload *u, struct buf *table, uint64_t size, const struct digest *digest, struct err *e)
{
	size_t frames = table->len / WAL_FRAME_ENTRY, at;
	uint32_t crc = table->bad ? 0 : crc32c(0, table->data, table->len);

	at = table->len;
	buf_put_u64(table, size);
	buf_put_u32(table, FRAME);
	buf_put_u32(table, (uint32_t)frames);
	buf_put(table, digest->b, DIGEST_LEN);
	buf_put_u32(table, crc);
	buf_put_u32(table, WAL_MAGIC_END);
	buf_put_u32(table, 0);
	if (!table->bad)
		buf_put_u32(table, crc32c(0, table->data + at, WAL_TRAILER - 4));
	return table->bad ? err_sys(e, -ENOMEM, "a WAL file") : upload_write(u, table->data, table->len, e);
}

static int write_object(struct store *s, struct putter *p, const char *object, struct err *e)
{
	_cleanup_(upload_freep) struct upload *u = NULL;
	_cleanup_(buf_free) struct buf table = {0};
	_cleanup_(freep) char *folder = strndup(object, (size_t)(strrchr(object, '/') - object));
	struct digest digest;
	int r = folder ? upload_begin(s->backend, folder, &u, e) : err_sys(e, -ENOMEM, "%s", p->name);

	if (!r)
		r = write_head(s, u, e);
	if (!r)
		r = write_frames(p, u, &table, &digest, e);
	if (!r)
		r = write_tail(u, &table, p->in->size, &digest, e);
	if (!r)
		r = upload_commit(u, object, e);
	return r ? r : backend_barrier(s->backend, e);
}

static int putter_prepare(struct putter *p, unsigned threads, int level)
{
	uint64_t frames = (p->in->size + FRAME - 1) / FRAME;
	int r = 0;

	p->n_slots = threads == 1 ? 1 : 2 * threads + 2 < SLOTS_MAX ? 2 * threads + 2 : SLOTS_MAX;
	if (p->n_slots > frames)
		p->n_slots = frames ? (unsigned)frames : 1;
	p->cap = codec_bound(frames > 1 ? FRAME : (size_t)p->in->size);
	p->packed = malloc(p->n_slots * p->cap);
	if (!p->in->bytes && !p->in->keep)
		p->rooms = buf_large(p->n_slots * (size_t)FRAME);
	if (!p->packed || (!p->in->bytes && !p->in->keep && !p->rooms))
		return -ENOMEM;
	for (unsigned i = 0; i < p->n_slots; i++) {
		p->slots[i].putter = p;
		p->slots[i].packed = p->packed + i * p->cap;
		p->slots[i].room = p->rooms ? p->rooms + i * (size_t)FRAME : NULL;
	}
	for (unsigned i = 0; i < threads && !r; i++)
		r = level > LEVEL_CHUNKS ? codec_new(level, &p->codecs[i]) : codec_new_wal(&p->codecs[i]);
	if (!r && frames > 1 && threads > 1)
		r = pool_new(threads, p->n_slots, &p->pool);
	return r;
}

static int put_new(struct store *s, const char *object, const char *name, const struct wal_input *in,
	unsigned threads, struct err *e)
{
	_cleanup_(freep) struct putter *p = calloc(1, sizeof(*p));
	_cleanup_(freep) struct codec **codecs = calloc(threads, sizeof(*codecs));
	int r;

	if (!p || !codecs)
		return err_sys(e, -ENOMEM, "%s", name);
	p->in = in;
	p->name = name;
	p->codecs = codecs;
	pthread_mutex_init(&p->lock, NULL);
	pthread_cond_init(&p->one_done, NULL);
	r = putter_prepare(p, threads, s->settings.level);
	r = r < 0 ? err_sys(e, r, "%s", name) : write_object(s, p, object, e);
	pool_free(p->pool);
	for (unsigned i = 0; i < threads; i++)
		codec_free(codecs[i]);
	pthread_cond_destroy(&p->one_done);
	pthread_mutex_destroy(&p->lock);
	free(p->rooms);
	free(p->packed);
	return r;
}

/* 0 when the object's bytes are those of the input, -EEXIST when they differ. */
static int compare(
	struct store *s, const char *cluster, const char *name, const struct wal_input *in, struct err *e)
{
	_cleanup_(freep) uint8_t *room = in->bytes || in->keep ? NULL : malloc(FRAME);
	_cleanup_(digester_freep) struct digester *d = digester_new();
	struct wal_info info;
	struct digest mine;
	int r = d && (room || in->bytes || in->keep) ? wal_stat(s, cluster, name, &info, e)
						     : err_sys(e, -ENOMEM, "%s", name);

	for (uint64_t off = 0; off < in->size && !r; off += FRAME) {
		size_t len = in->size - off < FRAME ? (size_t)(in->size - off) : FRAME;
		const uint8_t *p = NULL;

		r = read_input(in, name, off, len, room, &p, e);
		if (!r)
			digester_add(d, p, len);
	}
	if (r < 0)
		return r;
	mine = digester_end(d);
	if (info.size == in->size && digest_eq(&mine, &info.digest))
		return 0;
	return err_set(e, -EEXIST,
		"%s is in the archive of cluster \"%s\" already, with other content; what is there stays",
		name, cluster);
}

int wal_put_input(struct store *s, const char *cluster, const char *name, const struct wal_input *in,
	unsigned threads, bool *ret_known, struct err *e)
{
	char object[WAL_OBJECT_NAME];
	struct object_info there;
	int r = wal_object_name(object, WAL_TREE, cluster, name, e);

	if (r < 0)
		return r;
	if (in->size > WAL_FILE_MAX)
		return err_set(e, -EFBIG, "%s has %llu bytes: no WAL file is that large", name,
			(unsigned long long)in->size);
	*ret_known = false;
	r = backend_stat(s->backend, object, &there, e);
	if (r == -ENOENT)
		r = put_new(s, object, name, in, threads ? threads : pool_cpus(), e);
	else if (!r)
		r = -EEXIST;
	if (r != -EEXIST)
		return r;
	r = compare(s, cluster, name, in, e);
	/* Whoever put it may have been killed before his barrier. */
	if (!r)
		r = backend_settle(s->backend, object, e);
	*ret_known = r == 0;
	return r;
}

int wal_put(struct store *s, const char *cluster, const char *name, int fd, uint64_t size, unsigned threads,
	bool *ret_known, struct err *e)
{
	const struct wal_input in = {.fd = fd, .size = size};

	return wal_put_input(s, cluster, name, &in, threads, ret_known, e);
}
