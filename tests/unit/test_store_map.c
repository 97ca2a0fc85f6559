/* File maps: heights, nodes, a writer whose chunks come in any order, and reading files through them. */
#include <pthread.h>

#include "src/base/crc32c.h"
#include "store/chunker.h"
#include "store/map.h"
#include "store/mapwriter.h"
#include "tests/unit/store_fixture.h"

START_TEST(heights)
{
	static const struct {
		uint64_t chunks;
		unsigned height;
	} t[] = {{0, 0}, {1, 0}, {2, 1}, {255, 1}, {256, 1}, {257, 2}, {65536, 2}, {65537, 3},
		{1ull << 24, 3}, {(1ull << 24) + 1, 4}, {1ull << 47, 6}, {1ull << 56, 7},
		{(1ull << 56) + 1, 8}, {UINT64_MAX, 8}};
	static const struct {
		uint64_t size;
		unsigned shift;
		uint64_t chunks;
	} c[] = {{0, 16, 0}, {1, 16, 1}, {65536, 16, 1}, {65537, 16, 2}, {UINT64_MAX, 12, 1ull << 52}};

	for (size_t i = 0; i < sizeof(t) / sizeof(*t); i++)
		ck_assert_uint_eq(map_height(t[i].chunks), t[i].height);
	for (size_t i = 0; i < sizeof(c) / sizeof(*c); i++)
		ck_assert_uint_eq(map_chunks(c[i].size, c[i].shift), c[i].chunks);
}
END_TEST

START_TEST(refs)
{
	uint8_t node[MAP_FANOUT * DIGEST_LEN + DIGEST_LEN];
	struct digest d;
	struct err e = {0};

	for (size_t i = 0; i < sizeof(node); i++)
		node[i] = (uint8_t)(i / DIGEST_LEN);
	for (size_t n = 0; n <= MAP_FANOUT + 1; n += n < 3 || n > 253 ? 1 : 50) {
		uint8_t *exact = check_exact(node, n * DIGEST_LEN);
		static const uint64_t at[] = {0, 1, 254, 255, 256, UINT64_MAX};

		for (size_t i = 0; i < 6; i++) {
			int r = map_ref(exact, n * DIGEST_LEN, at[i], &d, &e);

			ck_assert_int_eq(r, n <= MAP_FANOUT && at[i] < n ? 0 : -EBADMSG);
			if (!r)
				ck_assert_uint_eq(d.b[31], (uint8_t)at[i]);
		}
		if (n) {
			fx_fails(map_ref(exact, n * DIGEST_LEN - 1, 0, &d, &e), -EBADMSG, &e);
			fx_fails(map_ref(exact, n * DIGEST_LEN - 31, 0, &d, &e), -EBADMSG, &e);
		}
		free(exact);
	}
}
END_TEST

/* ---- the writer, with nodes kept in a list ---- */

struct nodes {
	pthread_mutex_t lock;
	struct {
		struct digest id;
		uint8_t *p;
		size_t n;
	} v[4096];
	size_t n;
	int fail_at; /* the so-manieth emit fails; 0: none */
};

static int emit(void *arg, const void *node, size_t n, struct digest *ret, struct err *e)
{
	struct nodes *l = arg;
	const uint8_t *p = node;
	int r = 0;

	if (!p[0] && !memcmp(p, p + 1, n - 1)) {
		*ret = (struct digest){{0}};
		return 0;
	}
	*ret = digest_of(node, n);
	pthread_mutex_lock(&l->lock);
	l->v[l->n].id = *ret;
	l->v[l->n].p = malloc(n);
	l->v[l->n].n = n;
	memcpy(l->v[l->n++].p, node, n);
	if (l->fail_at && (int)l->n == l->fail_at)
		r = err_set(e, -ENOSPC, "no room");
	pthread_mutex_unlock(&l->lock);
	return r;
}

static void nodes_free(struct nodes *l)
{
	for (size_t i = 0; i < l->n; i++)
		free(l->v[i].p);
	free(l);
}

/* Chunk n as the map says, by the base-256 digits of n. */
static struct digest chunk_of(const struct nodes *l, struct digest root, unsigned height, uint64_t n)
{
	struct err e = {0};

	for (unsigned level = height; level > 0 && !digest_is_zero(&root); level--) {
		size_t i = 0;

		while (i < l->n && !digest_eq(&l->v[i].id, &root))
			i++;
		if (i == l->n)
			ck_abort_msg("a node was never emitted");
		fx_ok(map_ref(l->v[i].p, l->v[i].n, n >> (8 * (level - 1)) & 255, &root, &e), &e);
	}
	return root;
}

/* Chunks of 4 bytes: their number times three, every zero_each-th zero; the last has 1 to 4. */
static void chunk_bytes(uint64_t n, unsigned zero_each, uint8_t out[4])
{
	uint32_t v = zero_each && n % zero_each == 0 ? 0 : (uint32_t)(3 * n + 1);

	memcpy(out, &v, 4);
}

struct puts {
	struct mapwriter *m;
	struct nodes *l;
	const uint64_t *order;
	uint64_t from, to, chunks;
	size_t last;
	unsigned zero_each;
	pthread_t thread;
};

static void *put_some(void *arg)
{
	struct puts *p = arg;

	for (uint64_t i = p->from; i < p->to; i++) {
		uint64_t n = p->order[i];
		size_t len = n + 1 == p->chunks ? p->last : 4;
		uint8_t b[4];
		struct digest id;
		struct err e = {0};

		chunk_bytes(n, p->zero_each, b);
		id = digest_of(b, len);
		if (!b[0] && !memcmp(b, b + 1, len - 1))
			id = (struct digest){{0}};
		if (mapwriter_put(p->m, n, len, &id, crc32c(0, b, len), emit, p->l, &e) < 0)
			abort();
	}
	return NULL;
}

static const struct {
	uint64_t chunks;
	size_t last;
	unsigned zero_each; /* 1: all */
	unsigned near;	    /* how far out of order; 0: in order */
	unsigned threads;
} maps[] = {
	{1, 1, 0, 0, 1},
	{1, 4, 1, 0, 1},
	{2, 3, 0, 2, 1},
	{255, 4, 0, 300, 1},
	{256, 4, 0, 300, 1},
	{256, 1, 3, 0, 1},
	{257, 2, 0, 300, 1},
	{1000, 4, 1, 0, 1},
	{5000, 3, 7, 5000, 1},
	{65536, 4, 0, 500, 4},
	{65537, 1, 2, 2000, 4},
	{65536 + 256, 4, 0, 0, 1},
	{200000, 2, 5, 600, 4},
	{70000, 4, 1, 100, 2},
};

START_TEST(writer)
{
	uint64_t chunks = maps[_i].chunks, rng = check_seed() + _i, *order = calloc(chunks, sizeof(*order));
	struct nodes *l = calloc(1, sizeof(*l));
	struct mapwriter *m;
	struct puts p[4];
	struct digest root;
	unsigned height = 99, threads = maps[_i].threads;
	uint32_t crc = 0, want = 0;
	struct err e = {0};

	pthread_mutex_init(&l->lock, NULL);
	for (uint64_t i = 0; i < chunks; i++)
		order[i] = i;
	for (uint64_t i = 0; maps[_i].near && i < chunks; i++) {
		uint64_t k = i + check_rand_below(&rng, maps[_i].near), t = order[i];

		k = k < chunks ? k : chunks - 1;
		order[i] = order[k];
		order[k] = t;
	}
	ck_assert_int_eq(mapwriter_new(4, &m), 0);
	for (unsigned i = 0; i < threads; i++) {
		p[i] = (struct puts){m, l, order, chunks * i / threads, chunks * (i + 1) / threads, chunks,
			maps[_i].last, maps[_i].zero_each, 0};
		pthread_create(&p[i].thread, NULL, put_some, &p[i]);
	}
	for (unsigned i = 0; i < threads; i++)
		pthread_join(p[i].thread, NULL);
	fx_ok(mapwriter_finish(m, chunks, emit, l, &root, &height, &crc, &e), &e);
	ck_assert_uint_eq(height, map_height(chunks));
	for (uint64_t n = 0; n < chunks; n++) {
		size_t len = n + 1 == chunks ? maps[_i].last : 4;
		uint8_t b[4];

		chunk_bytes(n, maps[_i].zero_each, b);
		want = crc32c(want, b, len);
		if (chunks < 2000 || n % 97 == 0 || n > chunks - 300) {
			struct digest got = chunk_of(l, root, height, n), id = digest_of(b, len);

			if (!b[0] && !memcmp(b, b + 1, len - 1))
				id = (struct digest){{0}};
			if (!digest_eq(&got, &id))
				ck_abort_msg("chunk %" PRIu64, n);
		}
	}
	ck_assert_uint_eq(crc, want);
	if (maps[_i].zero_each == 1) {
		ck_assert(digest_is_zero(&root));
		ck_assert_uint_eq(l->n, 0);
	}
	for (size_t i = 0; i < l->n; i++)
		ck_assert(l->v[i].n && l->v[i].n % DIGEST_LEN == 0 && l->v[i].n <= MAP_FANOUT * DIGEST_LEN);
	mapwriter_free(m);
	mapwriter_free(NULL);
	nodes_free(l);
	free(order);
}
END_TEST

/* An emit that fails is the result, and the rest can be thrown away. */
START_TEST(emit_fails)
{
	for (int at = 1; at <= 4; at++) {
		struct nodes *l = calloc(1, sizeof(*l));
		struct mapwriter *m;
		struct digest root = digest_of("x", 1);
		unsigned height;
		uint32_t crc;
		struct err e = {0};
		int r = 0;

		pthread_mutex_init(&l->lock, NULL);
		l->fail_at = at;
		ck_assert_int_eq(mapwriter_new(4, &m), 0);
		for (uint64_t n = 0; n < 600 && !r; n++)
			r = mapwriter_put(m, n, 4, &root, (uint32_t)n, emit, l, &e);
		if (!r)
			r = mapwriter_finish(m, 600, emit, l, &root, &height, &crc, &e);
		fx_fails(r, -ENOSPC, &e);
		mapwriter_free(m);
		nodes_free(l);
	}
}
END_TEST

/* A chunk that is missing at the end is noticed, not made up. */
static const uint64_t missing[] = {0, 1, 255, 256, 300, 511, 512, 550, 599};

START_TEST(hole_in_map)
{
	struct nodes *l = calloc(1, sizeof(*l));
	struct mapwriter *m;
	struct digest id = digest_of("x", 1), root;
	unsigned height;
	uint32_t crc;
	struct err e = {0};

	pthread_mutex_init(&l->lock, NULL);
	ck_assert_int_eq(mapwriter_new(4, &m), 0);
	for (uint64_t n = 0; n < 600; n++)
		if (n != missing[_i])
			fx_ok(mapwriter_put(m, n, 4, &id, 1, emit, l, &e), &e);
	fx_fails(mapwriter_finish(m, 600, emit, l, &root, &height, &crc, &e), -EIO, &e);
	mapwriter_free(m);
	nodes_free(l);
}
END_TEST

/* ---- files ---- */

#define CHUNK 8192

/* A file of the given chunks (a letter each, ' ' for zeroes) and `last` bytes of the last one. */
struct sample {
	struct fixture f;
	uint8_t *p;
	uint64_t size;
	struct entry *en;
	struct file *file;
};

static struct sample sample(uint64_t chunks, size_t last, unsigned zero_each, uint64_t rng)
{
	struct store_settings set = {.chunk_size = CHUNK};
	struct sample s = {.f = fx_make(&set), .size = (chunks - 1) * CHUNK + last};
	struct fx_tree t = {0};
	struct snapshot *snap;
	struct err e = {0};
	char *id;

	s.p = malloc(s.size);
	for (uint64_t n = 0; n < chunks; n++) {
		size_t len = n + 1 == chunks ? last : CHUNK;

		if (zero_each && (n / 3) % zero_each == 0)
			memset(s.p + n * CHUNK, 0, len);
		else
			for (size_t k = 0; k < len; k++)
				s.p[n * CHUNK + k] = k < 64 ? (uint8_t)check_rand(&rng) : (uint8_t)n;
	}
	fx_add_file(&t, "f", s.p, s.size);
	id = fx_ingest(&s.f, &t, NULL, &rng, &snap);
	fx_ok(tree_lookup(s.f.s, &snap->root, "f", &s.en, &e), &e);
	fx_ok(file_open(s.f.s, &s.en->file, &s.file, &e), &e);
	ck_assert_uint_eq(file_size(s.file), s.size);
	snapshot_free(snap);
	fx_tree_free(&t);
	free(id);
	return s;
}

static void sample_free(struct sample *s)
{
	file_free(s->file);
	file_free(NULL);
	free(s->en);
	free(s->p);
	fx_free(&s->f);
}

static const struct {
	uint64_t chunks;
	size_t last;
	unsigned zero_each;
} files[] = {{1, 5, 0}, {1, 1024, 0}, {1, 1025, 0}, {1, CHUNK, 0}, {2, 1, 0}, {3, 100, 1}, {20, CHUNK, 3},
	{256, 7, 2}, {257, CHUNK, 4}, {1500, 1023, 2}};

START_TEST(reads)
{
	uint64_t rng = check_seed() + _i;
	struct sample s = sample(files[_i].chunks, files[_i].last, files[_i].zero_each, rng);
	uint8_t *out = malloc(s.size + 100);
	struct err e = {0};

	for (int i = 0; i < 300; i++) {
		uint64_t off = i % 3 ? check_rand_below(&rng, s.size + 10)
				     : CHUNK * check_rand_below(&rng, files[_i].chunks + 1);
		uint64_t n = i % 5 ? check_rand_below(&rng, 3 * CHUNK) : check_rand_below(&rng, s.size + 50);
		uint64_t want = off >= s.size ? 0 : n < s.size - off ? n : s.size - off;
		struct slice sl[8];
		unsigned count = 1 + (unsigned)check_rand_below(&rng, 8), room = count;
		uint64_t got = 0;

		if (i % 4 == 0)
			file_prefetch(s.file, off, n);
		if (i % 4 == 1)
			file_advise(s.file, off, n);
		if (file_read(s.file, off, out, n, &e) != (ssize_t)want || memcmp(out, s.p + off, want))
			ck_abort_msg("%" PRIu64 " bytes at %" PRIu64 ": %s", n, off, e.text);
		fx_ok(file_slices(s.file, off, n, sl, &count, &e), &e);
		for (unsigned k = 0; k < count; k++) {
			if (!sl[k].len || memcmp(sl[k].p, s.p + off + got, sl[k].len))
				ck_abort_msg("slice %u of %" PRIu64 " bytes at %" PRIu64, k, n, off);
			got += sl[k].len;
			slice_release(&sl[k]);
		}
		if (got != want && (count < room || got > want))
			ck_abort_msg(
				"slices of %" PRIu64 " bytes at %" PRIu64 " cover %" PRIu64, n, off, got);
	}
	ck_assert_int_eq(file_read(s.file, UINT64_MAX, out, 10, &e), 0);
	ck_assert_int_eq(file_read(s.file, UINT64_MAX - 5, out, 10, &e), 0);
	file_prefetch(s.file, UINT64_MAX - 5, 10);
	file_advise(s.file, UINT64_MAX - 5, 10);
	free(out);
	sample_free(&s);
}
END_TEST

START_TEST(holes)
{
	uint64_t rng = check_seed() + _i;
	struct sample s = sample(files[_i].chunks, files[_i].last, files[_i].zero_each, rng);
	struct err e = {0};
	bool inlined = s.en->file.inlined != NULL;

	for (int i = 0; i < 300; i++) {
		uint64_t off = check_rand_below(&rng, s.size), got, data = off, hole = off;

		if (inlined) {
			hole = s.size;
		} else {
			/* Whole chunks of zeroes are holes. */
			uint64_t n = off / CHUNK;
#define IS_ZERO(k) (files[_i].zero_each && ((k) / 3) % files[_i].zero_each == 0)
			for (data = off; n * CHUNK < s.size && IS_ZERO(n); n++)
				data = (n + 1) * CHUNK;
			n = off / CHUNK;
			for (hole = off; n * CHUNK < s.size && !IS_ZERO(n); n++)
				hole = (n + 1) * CHUNK;
			hole = hole < s.size ? hole : s.size;
		}
		if (data >= s.size) {
			ck_assert_int_eq(file_seek_data(s.file, off, &got, &e), -ENXIO);
		} else {
			fx_ok(file_seek_data(s.file, off, &got, &e), &e);
			ck_assert_uint_eq(got, data);
		}
		fx_ok(file_seek_hole(s.file, off, &got, &e), &e);
		ck_assert_uint_eq(got, hole);
	}
	uint64_t got;
	ck_assert_int_eq(file_seek_data(s.file, s.size, &got, &e), -ENXIO);
	ck_assert_int_eq(file_seek_hole(s.file, s.size, &got, &e), -ENXIO);
	ck_assert_int_eq(file_seek_hole(s.file, UINT64_MAX, &got, &e), -ENXIO);
	sample_free(&s);
}
END_TEST

/* Petabytes of nothing: one zero digest, and no walk over its chunks. */
START_TEST(vast_hole)
{
	struct store_settings set = {.chunk_size = CHUNK};
	struct fixture f = fx_make(&set);
	struct content c = {.size = INT64_MAX - 5, .chunk_shift = 13};
	struct file *file;
	struct err e = {0};
	uint8_t out[100];
	uint64_t got;

	c.height = (uint8_t)map_height(map_chunks(c.size, 13));
	fx_ok(file_open(f.s, &c, &file, &e), &e);
	ck_assert_int_eq(file_seek_data(file, 12345, &got, &e), -ENXIO);
	fx_ok(file_seek_hole(file, 12345, &got, &e), &e);
	ck_assert_uint_eq(got, 12345);
	memset(out, 1, sizeof(out));
	ck_assert_int_eq(file_read(file, 1ull << 62, out, 100, &e), 100);
	ck_assert_uint_eq(out[0] | out[99], 0);
	ck_assert_int_eq(file_read(file, c.size - 3, out, 100, &e), 3);
	file_free(file);
	fx_free(&f);
}
END_TEST

/* Contents that contradict themselves are refused at open, or when their chunk has another length. */
START_TEST(contradictions)
{
	struct sample s = sample(3, 100, 0, 1);
	static const struct {
		uint64_t size;
		uint8_t height, shift;
		int open, read;
	} t[] = {{2 * CHUNK + 100, 1, 13, 0, 0}, {2 * CHUNK + 100, 2, 13, -EBADMSG, 0},
		{2 * CHUNK + 100, 0, 13, -EBADMSG, 0}, {2 * CHUNK + 100, 1, 12, 0, -EBADMSG},
		{2 * CHUNK + 100, 1, 11, -EBADMSG, 0}, {2 * CHUNK + 100, 0, 21, -EBADMSG, 0},
		{2 * CHUNK + 101, 1, 13, 0, -EBADMSG}, {2 * CHUNK + 99, 1, 13, 0, -EBADMSG},
		{3 * CHUNK + 1, 1, 13, 0, -EBADMSG}, {5 * CHUNK, 1, 13, 0, -EBADMSG},
		{300 * CHUNK, 2, 13, 0, -ENODATA}, {CHUNK, 0, 13, 0, -EBADMSG}};
	uint8_t *out = malloc(400 * CHUNK);

	for (size_t i = 0; i < sizeof(t) / sizeof(*t); i++) {
		struct content c = s.en->file;
		struct file *file;
		struct err e = {0};
		int r;

		c.size = t[i].size;
		c.height = t[i].height;
		c.chunk_shift = t[i].shift;
		r = file_open(s.f.s, &c, &file, &e);
		ck_assert_msg(r == t[i].open, "%zu: %d %s", i, r, e.text);
		if (r < 0)
			continue;
		r = (int)file_read(file, 0, out, c.size, &e);
		ck_assert_msg(t[i].read ? r == t[i].read && e.text[0] : r == (int)c.size, "%zu: %d %s", i, r,
			e.text);
		file_free(file);
	}
	free(out);
	sample_free(&s);
}
END_TEST

struct reader {
	struct sample *s;
	uint64_t rng;
	pthread_t thread;
};

static void *read_around(void *arg)
{
	struct reader *r = arg;
	uint8_t out[3 * CHUNK];

	for (int i = 0; i < 500; i++) {
		uint64_t off = check_rand_below(&r->rng, r->s->size),
			 n = check_rand_below(&r->rng, sizeof(out));

		n = n < r->s->size - off ? n : r->s->size - off;
		if (i % 3 == 0)
			file_prefetch(r->s->file, off, n);
		if (file_read(r->s->file, off, out, n, NULL) != (ssize_t)n || memcmp(out, r->s->p + off, n))
			abort();
	}
	return NULL;
}

/* One open file, many threads, a cache that holds little of it. */
START_TEST(many_readers)
{
	struct sample s = sample(800, 77, 3, check_seed());
	struct store_options o = {.cache_bytes = 40 * CHUNK};
	struct reader r[8];
	struct err e = {0};

	file_free(s.file);
	fx_close(&s.f);
	fx_ok(store_open(s.f.repo, &o, &s.f.s, &e), &e);
	fx_ok(file_open(s.f.s, &s.en->file, &s.file, &e), &e);
	for (int i = 0; i < 8; i++) {
		r[i] = (struct reader){&s, check_seed() + i, 0};
		pthread_create(&r[i].thread, NULL, read_around, &r[i]);
	}
	for (int i = 0; i < 8; i++)
		pthread_join(r[i].thread, NULL);
	sample_free(&s);
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("store/map");
	TCase *t = tcase_create("all");

	tcase_add_test(t, heights);
	tcase_add_test(t, refs);
	tcase_add_loop_test(t, writer, 0, sizeof(maps) / sizeof(*maps));
	tcase_add_test(t, emit_fails);
	tcase_add_loop_test(t, hole_in_map, 0, sizeof(missing) / sizeof(*missing));
	tcase_add_loop_test(t, reads, 0, sizeof(files) / sizeof(*files));
	tcase_add_loop_test(t, holes, 0, sizeof(files) / sizeof(*files));
	tcase_add_test(t, vast_hole);
	tcase_add_test(t, contradictions);
	tcase_add_test(t, many_readers);
	suite_add_tcase(s, t);
	return s;
}
CHECK_MAIN(suite)
