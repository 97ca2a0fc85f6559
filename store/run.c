/* Building, merging, mapping and searching index runs. Format: store/README.md, "Index run". */
#include "store/run.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "src/base/clean.h"
#include "src/base/crc32c.h"
#include "src/base/cur.h"
#include "src/base/io.h"

#define MAGIC "pgstRUN1"
#define HEAD 64
#define ENTRY 48
#define BUCKET 8 /* entries a place of the fan-out, on average */
#define CHECKED \
	(16u << 20) /* runs up to this are checked whole when opened; larger ones were synced when written \
		     */
#define WRITE_BUFFER (1u << 20)

struct run {
	char *dir, *name; /* NULL: in memory */
	const uint8_t *map;
	size_t size;
	uint64_t n;
	uint32_t packs;
	unsigned bits;
	const uint8_t *pack_table, *fan, *entries;
};

CLEANUP_DEFINE(struct run, run_free)

static uint32_t get32(const uint8_t *p)
{
	return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static void set32(uint8_t *p, uint32_t v)
{
	for (int i = 0; i < 4; i++)
		p[i] = (uint8_t)(v >> (8 * i));
}

/* The fan-out's place of an id: its first `bits` bits. */
static uint32_t bucket(const uint8_t *id, unsigned bits)
{
	uint32_t top = (uint32_t)id[0] << 24 | (uint32_t)id[1] << 16 | (uint32_t)id[2] << 8 | id[3];

	return top >> (32 - bits);
}

static unsigned fan_bits(uint64_t n)
{
	unsigned bits = 4;

	while (bits < 24 && (n >> bits) > BUCKET)
		bits++;
	return bits;
}

/* ---- writing: entries arrive in order of id ---- */

struct writer {
	struct newfile file; /* with a dir */
	int fd;		     /* newfile's, or a memfd of our own */
	uint64_t n, written, pos;
	uint32_t packs;
	unsigned bits;
	uint32_t *fan;
	uint8_t *out;
	size_t out_len;
	uint32_t crc; /* of the entries so far */
	uint8_t *table;
	uint8_t repo_id[16];
};

static void writer_done(struct writer *w)
{
	if (w->fd >= 0 && w->fd != w->file.fd)
		close(w->fd);
	newfile_close(&w->file);
	free(w->fan);
	free(w->out);
	free(w->table);
}

static int writer_start(struct writer *w, const char *dir, const uint8_t repo_id[16], uint64_t n,
	uint32_t packs, struct err *e)
{
	int r;

	*w = (struct writer){.file = NEWFILE_NONE, .fd = -1, .n = n, .packs = packs, .bits = fan_bits(n)};
	memcpy(w->repo_id, repo_id, 16);
	if (n > UINT32_MAX - 1)
		return err_set(e, -EFBIG, "an index run of %llu entries", (unsigned long long)n);
	w->fan = calloc((1u << w->bits) + 1, sizeof(*w->fan));
	w->out = malloc(WRITE_BUFFER);
	w->table = calloc(packs ? packs : 1, DIGEST_LEN);
	if (!w->fan || !w->out || !w->table)
		return err_sys(e, -ENOMEM, "an index run");
	if (dir) {
		r = newfile_open(dir, 0600, &w->file, e);
		if (r < 0)
			return r;
		w->fd = w->file.fd;
	} else {
		w->fd = memfd_create("pgstrata-run", MFD_CLOEXEC);
		if (w->fd < 0)
			return err_sys(e, -errno, "an index run in memory");
	}
	w->pos = HEAD + (uint64_t)packs * DIGEST_LEN + 4 * ((1ull << w->bits) + 1);
	return 0;
}

static int writer_flush(struct writer *w, struct err *e)
{
	int r = io_pwrite(w->fd, w->out, w->out_len, w->pos);

	w->crc = crc32c(w->crc, w->out, w->out_len);
	w->pos += w->out_len;
	w->out_len = 0;
	return r < 0 ? err_sys(e, r, "writing an index run") : 0;
}

static int writer_put(
	struct writer *w, const uint8_t id[DIGEST_LEN], const struct run_place *at, struct err *e)
{
	uint8_t *p;

	if (w->out_len + ENTRY > WRITE_BUFFER) {
		int r = writer_flush(w, e);

		if (r < 0)
			return r;
	}
	p = w->out + w->out_len;
	memcpy(p, id, DIGEST_LEN);
	set32(p + 32, at->pack);
	set32(p + 36, at->off);
	set32(p + 40, at->len);
	p[44] = at->kind;
	p[45] = at->depth;
	p[46] = p[47] = 0;
	w->out_len += ENTRY;
	w->fan[bucket(id, w->bits) + 1]++;
	w->written++;
	return 0;
}

static int map_run(int fd, struct run **ret, const uint8_t repo_id[16], struct err *e);

static int writer_finish(struct writer *w, const char *dir, struct run **ret, struct err *e)
{
	_cleanup_(run_freep) struct run *run = NULL;
	struct buf front = {0};
	uint64_t salt = 0;
	int r = writer_flush(w, e);

	if (r < 0)
		return r;
	for (uint32_t i = 0; i < 1u << w->bits; i++)
		w->fan[i + 1] += w->fan[i];
	buf_put(&front, MAGIC, 8);
	buf_put(&front, w->repo_id, 16);
	buf_put_u64(&front, w->written);
	buf_put_u32(&front, w->packs);
	buf_put_u32(&front, w->bits);
	buf_put_u32(&front, w->crc);
	while (front.len < HEAD && !front.bad)
		buf_put_u8(&front, 0);
	buf_put(&front, w->table, (size_t)w->packs * DIGEST_LEN);
	for (uint32_t i = 0; i <= 1u << w->bits; i++)
		buf_put_u32(&front, w->fan[i]);
	/* The CRC over all of that stands in the last word of the head, as zero while it is taken. */
	if (!front.bad)
		set32(front.data + HEAD - 4, crc32c(0, front.data, front.len));
	r = front.bad ? -ENOMEM : io_pwrite(w->fd, front.data, front.len, 0);
	buf_free(&front);
	if (r < 0)
		return err_sys(e, r, "writing an index run");
	r = map_run(w->fd, &run, w->repo_id, e);
	if (!r && dir) {
		char name[32];

		if (w->pos > CHECKED)
			r = newfile_sync(&w->file, e);
		if (!r && getrandom(&salt, sizeof(salt), 0) != sizeof(salt))
			r = err_sys(e, -errno, "getrandom");
		snprintf(name, sizeof(name), "run-%016llx", (unsigned long long)salt);
		if (!r)
			r = newfile_link(&w->file, name, e);
		run->dir = strdup(dir);
		run->name = strdup(name);
		if (!run->dir || !run->name)
			r = err_sys(e, -ENOMEM, "an index run");
	}
	if (r < 0)
		return r;
	*ret = MOVE(run);
	return 0;
}

struct sortable {
	struct digest id;
	struct run_place at;
};

static int by_id(const void *a, const void *b)
{
	return digest_cmp(&((const struct sortable *)a)->id, &((const struct sortable *)b)->id);
}

int run_build(const char *dir, const uint8_t repo_id[16], const struct run_input *in, size_t n_in,
	struct run **ret, struct err *e)
{
	_cleanup_(writer_done) struct writer w = {.file = NEWFILE_NONE, .fd = -1};
	_cleanup_(freep) struct sortable *all = NULL;
	size_t n = 0, k = 0;
	int r;

	for (size_t i = 0; i < n_in; i++)
		n += in[i].n;
	all = calloc(n + 1, sizeof(*all));
	if (!all)
		return err_sys(e, -ENOMEM, "an index run of %zu entries", n);
	r = writer_start(&w, dir, repo_id, n, (uint32_t)n_in, e);
	if (r < 0)
		return r;
	for (size_t i = 0; i < n_in; i++) {
		memcpy(w.table + i * DIGEST_LEN, in[i].pack.b, DIGEST_LEN);
		for (size_t j = 0; j < in[i].n; j++) {
			const struct pack_entry *en = &in[i].entries[j];

			all[k++] = (struct sortable){
				en->id, {(uint32_t)i, en->off, en->len, en->kind, en->depth, 0}};
		}
	}
	qsort(all, n, sizeof(*all), by_id);
	for (size_t i = 0; i < n; i++) {
		r = writer_put(&w, all[i].id.b, &all[i].at, e);
		if (r < 0)
			return r;
	}
	return writer_finish(&w, dir, ret, e);
}

static void entry_at(const struct run *r, uint64_t i, struct run_place *ret)
{
	const uint8_t *p = r->entries + i * ENTRY;

	*ret = (struct run_place){get32(p + 32), get32(p + 36), get32(p + 40), p[44], p[45], 0};
}

int run_merge(const char *dir, const uint8_t repo_id[16], struct run *const *in, size_t n_in,
	bool (*keep)(void *arg, const struct digest *pack), void *arg, struct run **ret, struct err *e)
{
	_cleanup_(writer_done) struct writer w = {.file = NEWFILE_NONE, .fd = -1};
	_cleanup_(freep) uint64_t *next = calloc(n_in + 1, sizeof(*next));
	_cleanup_(freep) uint32_t *first = calloc(n_in + 1, sizeof(*first));
	_cleanup_(freep) uint32_t *to = NULL; /* input pack number -> output's; UINT32_MAX: dropped */
	uint64_t n = 0;
	uint32_t packs = 0, kept = 0;
	int r;

	if (!next || !first)
		return err_sys(e, -ENOMEM, "merging index runs");
	for (size_t i = 0; i < n_in; i++) {
		n += in[i]->n;
		first[i] = packs;
		packs += in[i]->packs;
	}
	to = calloc(packs + 1, sizeof(*to));
	if (!to)
		return err_sys(e, -ENOMEM, "merging index runs");
	for (size_t i = 0; i < n_in; i++)
		for (uint32_t j = 0; j < in[i]->packs; j++) {
			struct digest d = run_pack(in[i], j);

			to[first[i] + j] = keep && !keep(arg, &d) ? UINT32_MAX : kept++;
		}
	r = writer_start(&w, dir, repo_id, n, kept, e);
	if (r < 0)
		return r;
	for (size_t i = 0; i < n_in; i++)
		for (uint32_t j = 0; j < in[i]->packs; j++)
			if (to[first[i] + j] != UINT32_MAX)
				memcpy(w.table + (size_t)to[first[i] + j] * DIGEST_LEN,
					in[i]->pack_table + (size_t)j * DIGEST_LEN, DIGEST_LEN);
	for (;;) {
		const uint8_t *least = NULL;
		struct run_place at;
		size_t from = 0;

		for (size_t i = 0; i < n_in; i++) {
			const uint8_t *p = in[i]->entries + next[i] * ENTRY;

			if (next[i] < in[i]->n && (!least || memcmp(p, least, DIGEST_LEN) < 0)) {
				least = p;
				from = i;
			}
		}
		if (!least)
			break;
		entry_at(in[from], next[from]++, &at);
		if (at.pack >= in[from]->packs)
			return err_set(e, -EBADMSG, "an index run is damaged");
		at.pack = to[first[from] + at.pack];
		if (at.pack == UINT32_MAX)
			continue;
		r = writer_put(&w, least, &at, e);
		if (r < 0)
			return r;
	}
	return writer_finish(&w, dir, ret, e);
}

/* ---- reading ---- */

/* Checks the head and makes the handle; the mapping is the handle's. */
static int parse(const uint8_t *map, size_t size, const uint8_t repo_id[16], struct run *run, struct err *e)
{
	struct cur c = cur_of(map, size);
	const uint8_t *magic = cur_bytes(&c, 8), *id = cur_bytes(&c, 16);
	uint64_t n = cur_u64(&c), front;
	uint32_t packs = cur_u32(&c), bits = cur_u32(&c), body_crc = cur_u32(&c), crc, zero = 0;

	if (c.bad || size < HEAD || memcmp(magic, MAGIC, 8))
		return err_set(e, -EBADMSG, "not an index run");
	if (memcmp(id, repo_id, 16))
		return err_set(e, -ESTALE, "an index run of another repository");
	if (bits < 1 || bits > 24 || n > UINT32_MAX)
		return err_set(e, -EBADMSG, "an index run with an impossible head");
	front = HEAD + (uint64_t)packs * DIGEST_LEN + 4 * ((1ull << bits) + 1);
	if (front > size || size - front != n * ENTRY)
		return err_set(e, -EBADMSG, "an index run of the wrong length");
	crc = crc32c(0, map, HEAD - 4);
	crc = crc32c(crc, &zero, 4);
	crc = crc32c(crc, map + HEAD, front - HEAD);
	if (crc != get32(map + HEAD - 4))
		return err_set(e, -EBADMSG, "an index run with a damaged head");
	if (size <= CHECKED && crc32c(0, map + front, size - front) != body_crc)
		return err_set(e, -EBADMSG, "an index run with damaged entries");
	*run = (struct run){
		.map = map,
		.size = size,
		.n = n,
		.packs = packs,
		.bits = bits,
		.pack_table = map + HEAD,
		.fan = map + HEAD + (size_t)packs * DIGEST_LEN,
		.entries = map + front,
	};
	return 0;
}

static int map_run(int fd, struct run **ret, const uint8_t repo_id[16], struct err *e)
{
	struct run *run = calloc(1, sizeof(*run));
	struct stat st;
	void *map;
	int r;

	if (!run)
		return err_sys(e, -ENOMEM, "an index run");
	if (fstat(fd, &st) < 0 || st.st_size < HEAD) {
		free(run);
		return err_set(e, -EBADMSG, "an index run that is too short");
	}
	map = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_SHARED, fd, 0);
	if (map == MAP_FAILED) {
		free(run);
		return err_sys(e, -errno, "mapping an index run");
	}
	r = parse(map, (size_t)st.st_size, repo_id, run, e);
	if (r < 0) {
		munmap(map, (size_t)st.st_size);
		free(run);
		return r;
	}
	*ret = run;
	return 0;
}

int run_open(const char *dir, const char *name, const uint8_t repo_id[16], struct run **ret, struct err *e)
{
	_cleanup_(freep) char *path = io_join(dir, name);
	_cleanup_(closep) int fd = -1;
	_cleanup_(run_freep) struct run *run = NULL;
	int r;

	if (!path)
		return err_sys(e, -ENOMEM, "index run %s", name);
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		return err_sys(e, -errno, "index run %s", path);
	r = map_run(fd, &run, repo_id, e);
	if (r < 0)
		return err_wrap(e, r, "index run %s", path);
	run->dir = strdup(dir);
	run->name = strdup(name);
	if (!run->dir || !run->name)
		return err_sys(e, -ENOMEM, "index run %s", path);
	*ret = MOVE(run);
	return 0;
}

void run_free(struct run *r)
{
	if (!r)
		return;
	munmap((void *)r->map, r->size);
	free(r->dir);
	free(r->name);
	free(r);
}

void run_unlink(struct run *r)
{
	_cleanup_(freep) char *path = r->dir ? io_join(r->dir, r->name) : NULL;

	if (path)
		io_unlink(path);
}

uint64_t run_entries(const struct run *r)
{
	return r->n;
}

uint32_t run_packs(const struct run *r)
{
	return r->packs;
}

struct digest run_pack(const struct run *r, uint32_t pack)
{
	struct digest d;

	memcpy(d.b, r->pack_table + (size_t)pack * DIGEST_LEN, DIGEST_LEN);
	return d;
}

bool run_find(const struct run *r, const struct digest *id, unsigned nth, struct run_place *ret)
{
	const uint8_t *f = r->fan + 4 * (size_t)bucket(id->b, r->bits);
	uint32_t lo = get32(f), hi = get32(f + 4), end = hi;

	if (lo > hi || hi > r->n)
		return false;
	/* The first entry that is not below id. */
	while (lo < hi) {
		uint32_t mid = lo + (hi - lo) / 2;

		if (memcmp(r->entries + (size_t)mid * ENTRY, id->b, DIGEST_LEN) < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	if (nth >= end - lo)
		return false;
	lo += nth;
	if (memcmp(r->entries + (size_t)lo * ENTRY, id->b, DIGEST_LEN))
		return false;
	entry_at(r, lo, ret);
	ret->entry = lo;
	return ret->pack < r->packs;
}
