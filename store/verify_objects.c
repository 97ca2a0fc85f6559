/* The first pass of verify: objects, read through. See verify.h.
 *
 * A pack is read in stretches of a few MiB, each a job of its own, so that few packs keep many threads busy. */
#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/buf.h"
#include "src/base/clean.h"
#include "src/base/crc32c.h"
#include "src/base/pool.h"
#include "store/condemned.h"
#include "store/file.h"
#include "store/object_head.h"
#include "store/pack.h"
#include "store/verify_priv.h"
#include "store/wal.h"
#include "store/wal_piece.h"

#define STRETCH (4u << 20)
#define BASE 1	/* what a record is a delta against cannot be had */
#define QUEUE 2 /* waiting jobs a thread: their stretches are not read before they run */

CLEANUP_DEFINE(struct file, file_free)

/* One thread's memory. */
struct worker {
	struct decoder *decoder;
	uint8_t *raw, *in;
	size_t raw_cap, in_cap;
};

struct pass {
	struct verify *v;
	struct pool *pool;
	struct worker *workers;
};

/* A pack's entries, for as long as a job needs them. */
struct pack_jobs {
	struct verify_unit *unit;
	struct pack_entry *entries;
	atomic_uint refs;
	atomic_bool bad, partly;
};

struct job {
	struct pass *pass;
	struct pack_jobs *pack; /* NULL: a file of WAL */
	struct verify_unit *unit;
	const struct pack_entry *entries;
	size_t n;
};

static int room(uint8_t **p, size_t *cap, size_t n)
{
	uint8_t *q;

	if (n <= *cap)
		return 0;
	q = realloc(*p, n);
	if (!q)
		return -ENOMEM;
	*p = q;
	*cap = n;
	return 0;
}

/* Was it taken away since it was listed, by a prune? Whatever needed it is found missing by the second pass. */
static bool is_gone(struct verify *v, const char *object)
{
	struct object_info info;

	return backend_stat(v->s->backend, object, &info, NULL) == -ENOENT;
}

/* The same, or will it be? A prune that is under way, or was killed, may have removed what its records need before it. In this
 * order: the sentence goes after the pack. */
static bool is_going(struct verify *v, const char *object)
{
	struct digest pack;

	return (digest_parse(strrchr(object, '/') + 1, &pack) && condemned_has(v->s, &pack)) ||
	       is_gone(v, object);
}

/* As decoder_record, into w->raw. The base may lie in a pack that came after the index was read, or was rewritten since. */
static int unpack_record(struct pass *p, struct worker *w, const struct record *rec, struct digest *ret,
	bool *ret_base, struct err *e)
{
	struct repo_search search = {0};

	for (;;) {
		struct err why = {0};
		int r = decoder_record(w->decoder, p->v->s->index, rec, w->raw, ret, ret_base, e), again;

		if (!r && search.looks)
			verify_found(p->v);
		if ((r != -ENODATA && r != -ESTALE) || !*ret_base)
			return r;
		again = verify_look_again(p->v, &search, r == -ESTALE, &why);
		if (again < 0) {
			verify_fail(p->v, again, &why);
			return -EINTR;
		}
		if (!again)
			return r;
		*e = (struct err){0};
	}
}

/* 0, BASE, or an error: why the record does not give the bytes that its name promises. */
static int check_record(struct pass *p, struct worker *w, const struct pack_entry *en, const uint8_t *bytes,
	uint64_t *unpacked, struct err *e)
{
	struct record rec;
	struct digest is;
	bool base;
	int r = record_parse(bytes, en->len, &en->id, &rec, e);

	if (r < 0)
		return r;
	if (rec.kind != en->kind || rec.depth != en->depth)
		return err_set(e, -EBADMSG, "the pack's footer contradicts the record's head");
	if (rec.raw_len > RECORD_RAW_MAX)
		return err_set(e, -EBADMSG, "a record that unpacks to %u bytes", rec.raw_len);
	r = room(&w->raw, &w->raw_cap, rec.raw_len + 1);
	if (r < 0)
		return err_sys(e, r, "unpacking");
	r = unpack_record(p, w, &rec, &is, &base, e);
	if (r < 0)
		return base && !verify_is_ours(r) ? BASE : r;
	if (!digest_eq(&is, &en->id))
		return err_set(e, -EBADMSG, "its bytes do not have the digest that names it");
	*unpacked += rec.raw_len;
	return 0;
}

/* Packs and files of WAL begin alike: magic, version 1, a zero, the repository's id (store/README.md). Readers start at
 * the other end and have no need of it; whoever finds the object without its repository has. */
static int check_head(struct verify *v, const char *object, const char *magic, struct err *e)
{
	_cleanup_(buf_free) struct buf want = {0};
	struct object *o;
	uint8_t is[OBJECT_HEAD];
	ssize_t got;
	int r;

	object_head_put(&want, magic, 0, v->s->id);
	if (want.bad)
		return err_sys(e, -ENOMEM, "%s", object);
	r = backend_open(v->s->backend, object, &o, e);
	if (r < 0)
		return r;
	got = object_read(o, 0, is, OBJECT_HEAD, e);
	object_close(o);
	if (got < 0)
		return (int)got;
	return got == OBJECT_HEAD && !memcmp(is, want.data, OBJECT_HEAD)
		       ? 0
		       : err_set(e, -EBADMSG, "its first %d bytes are damaged", OBJECT_HEAD);
}

static void count(struct pass *p, uint64_t read, uint64_t unpacked)
{
	struct verify *v = p->v;

	pthread_mutex_lock(&v->lock);
	v->report.bytes_read += read;
	v->report.bytes_unpacked += unpacked;
	pthread_mutex_unlock(&v->lock);
	meter_add(v->o->meter, read, 0);
}

/* Reads the stretch that a job's records fill. 0, or why it cannot be had. */
static int read_stretch(struct pass *p, struct worker *w, const struct job *j, struct err *e)
{
	const struct pack_entry *last = &j->entries[j->n - 1];
	uint64_t off = j->entries[0].off;
	size_t n = (size_t)(last->off + (uint64_t)last->len - off);
	struct object *o = NULL;
	ssize_t got;
	int r = room(&w->in, &w->in_cap, n);

	if (r < 0)
		return err_sys(e, r, "reading");
	r = backend_open(p->v->s->backend, j->unit->name, &o, e);
	if (r < 0)
		return r;
	got = object_read(o, off, w->in, n, e);
	object_close(o);
	if (got < 0)
		return (int)got;
	return (size_t)got == n ? 0 : err_set(e, -EBADMSG, "it is shorter than its footer says");
}

static void check_stretch(struct job *j, struct worker *w)
{
	struct pass *p = j->pass;
	struct err why = {0};
	uint64_t unpacked = 0, read = 0;
	int r = read_stretch(p, w, j, &why);

	if (r < 0 && is_gone(p->v, j->unit->name)) {
		atomic_store(&j->pack->partly, true);
		return;
	}
	for (size_t i = 0; i < j->n && !verify_stopped(p->v); i++) {
		const struct pack_entry *en = &j->entries[i];
		struct err e = why;

		/* Of a stretch that cannot be read, every record is lost. */
		if (!why.code)
			r = check_record(p, w, en, w->in + (en->off - j->entries[0].off), &unpacked, &e);
		if (verify_is_ours(r)) {
			verify_fail(p->v, r, &e);
			break;
		}
		if (r == BASE && is_going(p->v, j->unit->name)) {
			atomic_store(&j->pack->partly, true);
			break;
		}
		if (r) {
			atomic_store(&j->pack->bad, true);
			verify_damaged(p->v, j->unit->name, &en->id, r == BASE, e.text);
		}
		read += en->len;
	}
	count(p, read, unpacked);
}

static void drop_pack(struct pass *p, struct pack_jobs *pj)
{
	if (atomic_fetch_sub(&pj->refs, 1) > 1)
		return;
	pj->unit->bad = atomic_load(&pj->bad);
	pj->unit->done = !atomic_load(&pj->partly) && !verify_stopped(p->v);
	free(pj->entries);
	free(pj);
}

/* Splits "TREE/CLUSTER/GROUP/NAME". */
static bool wal_parts(const char *object, char cluster[64], const char **ret_name)
{
	const char *c = strchr(object, '/') + 1, *slash = strchr(c, '/'), *name = strrchr(object, '/');

	if (!slash || slash - c >= 64 || name == slash)
		return false;
	snprintf(cluster, 64, "%.*s", (int)(slash - c), c);
	*ret_name = name + 1;
	return true;
}

static int read_wal(struct verify *v, const char *object, const char *cluster, const char *name,
	uint64_t *ret, struct err *e)
{
	_cleanup_(file_freep) struct file *f = NULL;
	struct digester *d = NULL;
	struct wal_info info;
	struct digest is;
	int r = wal_stat(v->s, cluster, name, &info, e);

	if (!r)
		r = check_head(v, object, "pgstWALF", e);
	if (r < 0 || v->o->quick)
		return r;
	r = wal_open(v->s, cluster, name, &f, e);
	if (!r && !(d = digester_new()))
		r = err_sys(e, -ENOMEM, "%s", name);
	for (uint64_t off = 0; !r && off < info.size;) {
		struct slice sl;
		unsigned n = 1;

		r = file_slices(f, off, file_chunk_size(f), &sl, &n, e);
		if (r < 0)
			break;
		digester_add(d, sl.p, sl.len);
		off += sl.len;
		slice_release(&sl);
	}
	if (!r) {
		is = digester_end(d);
		*ret = info.size;
		if (!digest_eq(&is, &info.digest))
			r = err_set(e, -EBADMSG, "its bytes do not have the digest that it tells");
	}
	digester_free(d);
	return r;
}

/* Derived from a file of WAL, and made again when it is missing. */
static int check_note(
	struct verify *v, struct verify_unit *u, const char *cluster, const char *name, struct err *e)
{
	_cleanup_(freep) void *p = NULL;
	size_t n;
	int r = v->o->quick ? 0 : wal_note_get(v->s, cluster, name, &p, &n, e);

	if (r == -EBADMSG || r == -EOPNOTSUPP) {
		u->bad = true;
		verify_unused(v, u->name, "what was derived from the WAL is damaged; it is made again");
		r = 0;
	}
	return r == -ENOENT ? 0 : r;
}

/* A piece of a segment that grows: "walpart/CLUSTER/SEGMENT.START-END". It may be merged into another at any moment. */
static int check_piece(struct verify *v, struct worker *w, const char *object, uint64_t *ret, struct err *e)
{
	_cleanup_(freep) void *p = NULL;
	const char *name = strrchr(object, '/') + 1;
	struct wal_piece piece;
	uint32_t start, end;
	size_t n, segment;
	int r;

	if (!wal_piece_name_parse(name, strlen(name), &segment, &start, &end))
		return err_set(e, -EBADMSG, "no piece of WAL has such a name");
	if (v->o->quick)
		return 0;
	r = backend_get(v->s->backend, object, WAL_PIECE_HEAD + codec_bound(WAL_PIECE_MAX), &p, &n, e);
	if (r == -ENOENT)
		return 0;
	if (!r)
		r = wal_piece_parse(p, n, v->s->id, object, &piece, e);
	if (r < 0)
		return r;
	if (piece.start != start || piece.end != end)
		return err_set(e, -EBADMSG, "it holds other bytes than its name says");
	r = room(&w->raw, &w->raw_cap, end - start);
	if (r < 0)
		return err_sys(e, r, "unpacking");
	*ret = end - start;
	return wal_piece_unpack(decoder_codec(w->decoder), &piece, object, w->raw, e);
}

static void check_wal(struct job *j, struct worker *w)
{
	struct verify *v = j->pass->v;
	char cluster[64];
	const char *name;
	struct err e = {0};
	uint64_t unpacked = 0;
	int r;

	if (!strncmp(j->unit->name, "walpart/", 8))
		r = check_piece(v, w, j->unit->name, &unpacked, &e);
	else if (!wal_parts(j->unit->name, cluster, &name))
		r = err_set(&e, -EBADMSG, "no file of WAL has such a name");
	else if (!strncmp(j->unit->name, "walnote/", 8))
		r = check_note(v, j->unit, cluster, name, &e);
	else
		r = read_wal(v, j->unit->name, cluster, name, &unpacked, &e);
	if (verify_is_ours(r)) {
		verify_fail(v, r, &e);
		return;
	}
	if (r < 0 && !is_gone(v, j->unit->name)) {
		j->unit->bad = true;
		verify_damaged(v, j->unit->name, NULL, false, e.text);
	}
	j->unit->done = !v->o->quick;
	count(j->pass, j->unit->size, unpacked);
}

static void run(void *arg, unsigned worker)
{
	struct job *j = arg;
	struct worker *w = &j->pass->workers[worker];

	if (j->pack) {
		if (!verify_stopped(j->pass->v))
			check_stretch(j, w);
		drop_pack(j->pass, j->pack);
	} else if (!verify_stopped(j->pass->v)) {
		check_wal(j, w);
	}
	free(j);
}

static int submit(struct pass *p, const struct job *like)
{
	struct job *j = malloc(sizeof(*j));

	if (!j)
		return -ENOMEM;
	*j = *like;
	pool_submit(p->pool, run, j);
	return 0;
}

/* One draw of a sequence that the seed and the place determine (Steele, Lea, Flood: SplitMix64, 2014). */
static bool chosen(const struct verify_options *o, const struct digest *id)
{
	uint64_t z;

	if (o->sample <= 0 || o->sample >= 1)
		return true;
	memcpy(&z, id->b + 8, sizeof(z));
	z += o->seed * 0x9e3779b97f4a7c15u + 0x9e3779b97f4a7c15u;
	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
	z ^= z >> 31;
	return (double)(z >> 11) * 0x1p-53 < o->sample;
}

static int check_pack(struct pass *p, struct verify_unit *u, struct err *e)
{
	struct pack_jobs *pj = calloc(1, sizeof(*pj));
	const char *hex = strrchr(u->name, '/') + 1;
	struct digest name;
	struct err why = {0};
	size_t n = 0;
	int r;

	if (!pj)
		return err_sys(e, -ENOMEM, "%s", u->name);
	pj->unit = u;
	atomic_init(&pj->refs, 1);
	r = digest_parse(hex, &name)
		    ? pack_load_footer(p->v->s->backend, &name, u->size, &pj->entries, &n, &why)
		    : err_set(&why, -EBADMSG, "no pack has such a name");
	if (r < 0 && !verify_is_ours(r) && is_gone(p->v, u->name)) {
		atomic_store(&pj->partly, true);
		drop_pack(p, pj);
		return 0;
	}
	if (r < 0 && !verify_is_ours(r)) {
		atomic_store(&pj->bad, true);
		u->unreadable = true;
		verify_damaged(p->v, u->name, NULL, false, why.text);
		n = 0;
		r = 0;
	}
	if (!u->unreadable && check_head(p->v, u->name, "pgstPACK", &why) < 0 && !is_gone(p->v, u->name)) {
		atomic_store(&pj->bad, true);
		verify_damaged(p->v, u->name, NULL, false, why.text);
	}
	if (p->v->o->quick)
		n = 0;
	for (size_t i = 0, end; i < n && r == 0; i = end) {
		uint64_t bytes = 0;

		for (end = i; end < n && (end == i || bytes + pj->entries[end].len <= STRETCH); end++)
			bytes += pj->entries[end].len;
		if (!chosen(p->v->o, &pj->entries[i].id)) {
			atomic_store(&pj->partly, true);
			meter_add(p->v->o->meter, bytes, 0);
			continue;
		}
		atomic_fetch_add(&pj->refs, 1);
		r = submit(p,
			&(struct job){
				.pass = p, .pack = pj, .unit = u, .entries = pj->entries + i, .n = end - i});
		if (r < 0)
			atomic_fetch_sub(&pj->refs, 1);
	}
	if (r < 0 || p->v->o->quick)
		atomic_store(&pj->partly, true);
	drop_pack(p, pj);
	return r < 0 ? err_sys(e, r, "%s", u->name) : 0;
}

static int check_all(struct pass *p, struct err *e)
{
	struct verify *v = p->v;

	for (size_t i = 0; i < v->n_units; i++) {
		struct verify_unit *u = &v->units[i];
		int r = 0;

		if (verify_stopped(v))
			return err_set(e, -EINTR, "stopped");
		if (!u->wanted)
			continue;
		if (!strncmp(u->name, "packs/", 6))
			r = check_pack(p, u, e);
		else
			r = submit(p, &(struct job){.pass = p, .unit = u});
		if (r < 0)
			return e && e->code ? r : err_sys(e, r, "%s", u->name);
	}
	return 0;
}

int verify_objects(struct verify *v, struct err *e)
{
	unsigned threads = v->o->threads ? v->o->threads : pool_cpus();
	struct pass p = {.v = v, .workers = calloc(threads, sizeof(*p.workers))};
	int r = p.workers ? 0 : -ENOMEM;

	for (unsigned i = 0; i < threads && !r; i++)
		r = decoder_new(&p.workers[i].decoder);
	if (!r)
		r = pool_new(threads, threads * QUEUE, &p.pool);
	if (!r)
		r = check_all(&p, e);
	else
		err_sys(e, r, "verify");
	pool_free(p.pool);
	for (unsigned i = 0; p.workers && i < threads; i++) {
		decoder_free(p.workers[i].decoder);
		free(p.workers[i].raw);
		free(p.workers[i].in);
	}
	free(p.workers);
	if (!r && v->r) {
		r = v->r;
		if (e)
			*e = v->e;
	}
	if (!r && verify_stopped(v))
		r = err_set(e, -EINTR, "stopped");
	return r;
}
