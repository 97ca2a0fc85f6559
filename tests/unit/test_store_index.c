/* The index over real packs: found, rebuilt from footers, kept in tiers, shared cache folders, packs that come
 * and go, full and lost cache folders; and the decoder on top of it, with chains of every shape. */
#include <dirent.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/mount.h>

#include "src/base/crc32c.h"
#include "store/decoder.h"
#include "store/index.h"
#include "store/pack.h"
#include "tests/unit/store_fixture.h"

static const uint8_t repo_id[16] = "0123456789abcdef";

struct place_of {
	char *dir, *cache;
	struct backend *b;
};

static struct place_of make(void)
{
	struct place_of p = {.dir = check_tempdir()};
	struct err e = {0};
	char *repo = io_join(p.dir, "repo");

	p.cache = io_join(p.dir, "cache");
	mkdir(repo, 0700);
	mkdir(p.cache, 0700);
	fx_ok(backend_local(repo, &p.b, &e), &e);
	free(repo);
	return p;
}

static void unmake(struct place_of *p)
{
	backend_free(p->b);
	check_rmtree(p->dir);
	free(p->dir);
	free(p->cache);
}

static struct index *open_index(const struct place_of *p, const char *dir)
{
	struct index *ix;
	struct err e = {0};

	fx_ok(index_new(p->b, dir, repo_id, NULL, &ix, &e), &e);
	fx_ok(index_sync(ix, &e), &e);
	return ix;
}

/* A standalone record of raw bytes, or a delta against ref. */
static struct digest put(struct packer *k, const void *raw, size_t n, const void *ref, size_t ref_n,
	const struct digest *base, uint8_t depth, enum codec_kind codec)
{
	struct record r = {.kind = RECORD_CHUNK,
		.codec = codec,
		.depth = depth,
		.raw_len = (uint32_t)n,
		.raw_crc = crc32c(0, raw, n),
		.payload = raw,
		.payload_len = (uint32_t)n};
	struct digest id = digest_of(raw, n);
	uint8_t *out = malloc(codec_bound(n));
	struct codec *c;
	struct err e = {0};

	if (base)
		r.base = *base;
	if (codec != CODEC_RAW) {
		ck_assert_int_eq(codec_new(3, &c), 0);
		r.payload_len = (uint32_t)codec_pack(c, codec, raw, n, ref, ref_n, out, codec_bound(n));
		r.payload = out;
		codec_free(c);
	}
	fx_ok(packer_add(k, &r, &id, &e), &e);
	free(out);
	return id;
}

static struct packer *packer(const struct place_of *p)
{
	struct packer *k;
	struct err e = {0};

	fx_ok(packer_new(p->b, repo_id, &k, &e), &e);
	return k;
}

/* Seals and publishes, tells ix if there is one. Returns the pack's name. */
static struct digest publish(const struct place_of *p, struct packer *k, struct index *ix)
{
	struct index_pack in = {0};
	struct err e = {0};

	fx_ok(packer_seal(k, &e), &e);
	fx_ok(packer_publish(k, &e), &e);
	fx_ok(backend_barrier(p->b, &e), &e);
	in.name = *packer_name(k);
	in.size = packer_size(k);
	in.entries = packer_entries(k, &in.n);
	if (ix)
		fx_ok(index_add(ix, &in, 1, &e), &e);
	packer_free(k);
	return in.name;
}

static struct digest id_of(uint64_t n)
{
	return digest_of(&n, sizeof(n));
}

/* A pack of the numbers from … from+n-1. */
static struct digest put_numbers(const struct place_of *p, struct index *ix, uint64_t from, uint64_t n)
{
	struct packer *k = packer(p);

	for (uint64_t i = from; i < from + n; i++)
		put(k, &i, sizeof(i), NULL, 0, NULL, 0, CODEC_RAW);
	return publish(p, k, ix);
}

static bool has(struct index *ix, uint64_t n)
{
	struct digest id = id_of(n);
	struct place at;
	struct record r;
	uint8_t bytes[100];
	struct err e = {0};

	if (!index_find(ix, &id, &at))
		return false;
	index_advise(ix, &at);
	if (at.len > sizeof(bytes) || index_read(ix, &at, bytes, &e) < 0 ||
		record_parse(bytes, at.len, &id, &r, &e) < 0 || memcmp(r.payload, &n, sizeof(n)) != 0)
		ck_abort_msg("number %" PRIu64 ": %s", n, e.text);
	return true;
}

static void check_numbers(struct index *ix, uint64_t from, uint64_t n, bool there)
{
	for (uint64_t i = from; i < from + n; i++)
		if (has(ix, i) != there)
			ck_abort_msg("%" PRIu64 " is %sfound", i, there ? "not " : "");
}

static unsigned files_in(const char *dir)
{
	DIR *d = opendir(dir);
	unsigned n = 0;

	for (struct dirent *de; (de = readdir(d));)
		n += de->d_name[0] != '.';
	closedir(d);
	return n;
}

static void remove_pack(const struct place_of *p, const struct digest *pack)
{
	char name[PACK_NAME_MAX];
	struct err e = {0};

	fx_ok(backend_remove(p->b, pack_object_name(pack, name), &e), &e);
}

START_TEST(add_and_sync)
{
	struct place_of p = make();
	const char *dir = _i ? p.cache : NULL;
	struct index *a = open_index(&p, dir), *b = open_index(&p, NULL);
	struct err e = {0};
	uint64_t bytes;

	check_numbers(a, 0, 10, false);
	for (uint64_t i = 0; i < 40; i++)
		put_numbers(&p, a, i * 10, 10);
	check_numbers(a, 0, 400, true);
	check_numbers(a, 400, 10, false);
	ck_assert_uint_eq(index_entries(a), 400);
	bytes = index_pack_bytes(a);
	/* Another handle sees them when it looks. */
	check_numbers(b, 0, 10, false);
	fx_ok(index_sync(b, &e), &e);
	check_numbers(b, 0, 400, true);
	ck_assert_uint_eq(index_pack_bytes(b), bytes);
	fx_ok(index_sync(a, &e), &e);
	ck_assert_uint_eq(index_entries(a), 400);
	index_free(a);
	index_free(b);
	a = open_index(&p, dir);
	ck_assert_uint_eq(index_entries(a), 400);
	check_numbers(a, 0, 400, true);
	fx_ok(index_rebuild(a, &e), &e);
	ck_assert_uint_eq(index_entries(a), 400);
	check_numbers(a, 0, 400, true);
	index_free(a);
	index_free(NULL);
	unmake(&p);
}
END_TEST

/* However the sizes come, the runs stay few. */
START_TEST(tiers_stay_few)
{
	static const unsigned sizes[][4] = {
		{1, 50, 50, 50}, {3, 3, 3, 3}, {400, 1, 1, 1}, {1, 20, 2, 80}, {90, 30, 9, 2}};
	struct place_of p = make();
	struct index *ix = open_index(&p, p.cache);
	uint64_t from = 0;

	for (unsigned i = 0; i < 60; i++) {
		unsigned n = i == 0 ? sizes[_i][0] : sizes[_i][1 + i % 3];

		put_numbers(&p, ix, from, n);
		from += n;
		ck_assert_msg(files_in(p.cache) <= 12, "%u runs after %u packs", files_in(p.cache), i + 1);
	}
	check_numbers(ix, 0, from, true);
	ck_assert_uint_eq(index_entries(ix), from);
	index_free(ix);
	unmake(&p);
}
END_TEST

START_TEST(cache_lost)
{
	struct place_of p = make();
	struct index *ix = open_index(&p, p.cache);
	struct err e = {0};

	for (uint64_t i = 0; i < 5; i++)
		put_numbers(&p, ix, i * 100, 1 + i * 20);
	/* Under a running index: what is mapped stays, what comes is in memory. */
	check_rmtree(p.cache);
	put_numbers(&p, ix, 1000, 50);
	check_numbers(ix, 1000, 50, true);
	check_numbers(ix, 400, 81, true);
	fx_ok(index_rebuild(ix, &e), &e);
	check_numbers(ix, 1000, 50, true);
	index_free(ix);
	/* And at the start. */
	mkdir(p.cache, 0700);
	ix = open_index(&p, p.cache);
	check_numbers(ix, 400, 81, true);
	check_numbers(ix, 1000, 50, true);
	index_free(ix);
	unmake(&p);
}
END_TEST

START_TEST(cache_full)
{
	struct place_of p = make();
	struct index *ix;

	if (geteuid() || mount("none", p.cache, "tmpfs", 0, "size=64k"))
		ck_abort_msg("this test mounts a small tmpfs and wants root");
	ix = open_index(&p, p.cache);
	for (uint64_t i = 0; i < 5; i++)
		put_numbers(&p, ix, i * 1000, 1000);
	check_numbers(ix, 0, 5000, true);
	index_free(ix);
	ix = open_index(&p, p.cache);
	check_numbers(ix, 0, 5000, true);
	index_free(ix);
	umount(p.cache);
	unmake(&p);
}
END_TEST

/* Whatever lies in the cache folder: the packs decide. */
START_TEST(cache_damaged)
{
	struct place_of p = make();
	struct index *ix = open_index(&p, p.cache);
	uint64_t rng = check_seed();

	put_numbers(&p, ix, 0, 1000);
	put_numbers(&p, ix, 1000, 100);
	put_numbers(&p, ix, 1100, 10);
	index_free(ix);
	for (int i = 0; i < 30; i++) {
		DIR *d = opendir(p.cache);

		for (struct dirent *de; (de = readdir(d));) {
			size_t n;
			uint8_t *bytes;

			if (de->d_name[0] == '.' || check_rand_below(&rng, 2))
				continue;
			bytes = fx_read_file(p.cache, de->d_name, &n);
			if (n && check_rand_below(&rng, 2))
				bytes[check_rand_below(&rng, n)] ^= 4;
			else
				n = check_rand_below(&rng, n + 1);
			fx_replace(p.cache, de->d_name, bytes, n);
			free(bytes);
		}
		closedir(d);
		ix = open_index(&p, p.cache);
		check_numbers(ix, 0, 1110, true);
		ck_assert_uint_ge(index_entries(ix), 1110);
		index_free(ix);
	}
	/* Another repository's run, and things that are none. */
	char *path = io_join(p.cache, "run-000000000000000x");
	close(open(path, O_CREAT | O_WRONLY, 0600));
	free(path);
	path = io_join(p.cache, "run-dir");
	mkdir(path, 0700);
	free(path);
	ix = open_index(&p, p.cache);
	check_numbers(ix, 0, 1110, true);
	index_free(ix);
	unmake(&p);
}
END_TEST

START_TEST(packs_removed)
{
	struct place_of p = make();
	const char *dir = _i ? p.cache : NULL;
	struct index *ix = open_index(&p, dir);
	struct digest packs[6], id = id_of(7);
	struct place at;
	struct err e = {0};
	uint8_t bytes[100];

	/* Number 7 is in two packs. */
	for (uint64_t i = 0; i < 6; i++)
		packs[i] = put_numbers(&p, ix, i * 10, i == 1 ? 1 : 10);
	put_numbers(&p, ix, 7, 1);
	remove_pack(&p, &packs[0]);
	remove_pack(&p, &packs[3]);
	/* Not noticed yet: the place leads to nothing, and that is said. */
	id = id_of(35);
	ck_assert(index_find(ix, &id, &at));
	fx_fails(index_read(ix, &at, bytes, &e), -ESTALE, &e);
	fx_ok(index_sync(ix, &e), &e);
	for (uint64_t n = 0; n < 60; n++)
		ck_assert_int_eq(has(ix, n), n == 7 || n == 10 || (n >= 20 && n < 30) || n >= 40);
	/* Merges drop what is gone. */
	for (uint64_t i = 0; i < 30; i++)
		put_numbers(&p, ix, 1000 + i * 10, 10);
	check_numbers(ix, 30, 10, false);
	check_numbers(ix, 1000, 300, true);
	ck_assert(has(ix, 7));
	index_free(ix);
	ix = open_index(&p, dir);
	check_numbers(ix, 30, 10, false);
	check_numbers(ix, 1000, 300, true);
	ck_assert(has(ix, 7));
	index_free(ix);
	unmake(&p);
}
END_TEST

/* A pack whose footer is damaged is left out; the others are there. */
START_TEST(broken_pack)
{
	struct place_of p = make();
	struct index *ix;
	struct digest bad = put_numbers(&p, NULL, 0, 10);
	struct err e = {0};
	char name[PACK_NAME_MAX], *repo = io_join(p.dir, "repo");
	uint8_t *bytes;
	size_t n;

	put_numbers(&p, NULL, 10, 10);
	fx_ok(backend_put(p.b, "packs/not-a-pack", "x", 1, &e), &e);
	bytes = fx_read_file(repo, pack_object_name(&bad, name), &n);
	bytes[n - 30] ^= 1;
	fx_replace(repo, name, bytes, n);
	ix = open_index(&p, p.cache);
	check_numbers(ix, 0, 10, false);
	check_numbers(ix, 10, 10, true);
	/* It was mended meanwhile. */
	bytes[n - 30] ^= 1;
	fx_replace(repo, name, bytes, n);
	fx_ok(index_rebuild(ix, &e), &e);
	check_numbers(ix, 0, 20, true);
	index_free(ix);
	free(bytes);
	free(repo);
	unmake(&p);
}
END_TEST

/* ---- several at once ---- */

struct party {
	const struct place_of *p;
	struct index *ix;
	uint64_t from, rng;
	atomic_bool *stop;
	pthread_t thread;
};

static void *adder(void *arg)
{
	struct party *a = arg;

	for (uint64_t i = 0; i < 30; i++) {
		uint64_t n = 1 + check_rand_below(&a->rng, 60);

		put_numbers(a->p, a->ix, a->from, n);
		for (uint64_t k = a->from; k < a->from + n; k++)
			if (!has(a->ix, k))
				abort();
		a->from += n;
	}
	return NULL;
}

static void *looker(void *arg)
{
	struct party *a = arg;
	unsigned i = 0;

	while (!atomic_load(a->stop)) {
		/* Numbers that were there from the beginning are there at every moment. */
		if (!has(a->ix, check_rand_below(&a->rng, 500)) || has(a->ix, 1u << 30))
			abort();
		if (++i % 50 == 0 && index_sync(a->ix, NULL) < 0)
			abort();
	}
	return NULL;
}

/* Two handles on one cache folder, each with threads that add, look and sync. */
START_TEST(two_handles)
{
	struct place_of p = make();
	struct index *ix[2];
	struct party add[4], look[4];
	atomic_bool stop = false;
	struct err e = {0};

	put_numbers(&p, NULL, 0, 500);
	for (int i = 0; i < 2; i++)
		ix[i] = open_index(&p, p.cache);
	for (int i = 0; i < 4; i++) {
		add[i] = (struct party){&p, ix[i % 2], 100000 * (i + 1), check_seed() + i, &stop, 0};
		look[i] = (struct party){&p, ix[i % 2], 0, check_seed() + i, &stop, 0};
		pthread_create(&add[i].thread, NULL, adder, &add[i]);
		pthread_create(&look[i].thread, NULL, looker, &look[i]);
	}
	for (int i = 0; i < 4; i++)
		pthread_join(add[i].thread, NULL);
	atomic_store(&stop, true);
	for (int i = 0; i < 4; i++)
		pthread_join(look[i].thread, NULL);
	for (int i = 0; i < 2; i++) {
		fx_ok(index_sync(ix[i], &e), &e);
		for (int k = 0; k < 4; k++)
			check_numbers(ix[i], 100000 * (k + 1), add[k].from - 100000 * (k + 1), true);
		index_free(ix[i]);
	}
	ix[0] = open_index(&p, p.cache);
	for (int k = 0; k < 4; k++)
		check_numbers(ix[0], 100000 * (k + 1), add[k].from - 100000 * (k + 1), true);
	check_numbers(ix[0], 0, 500, true);
	index_free(ix[0]);
	unmake(&p);
}
END_TEST

/* More packs than handles are kept open. */
START_TEST(many_packs)
{
	struct place_of p = make();
	struct index *ix;

	for (uint64_t i = 0; i < 300; i++)
		put_numbers(&p, NULL, i, 1);
	ix = open_index(&p, NULL);
	for (int round = 0; round < 3; round++)
		check_numbers(ix, 0, 300, true);
	index_free(ix);
	unmake(&p);
}
END_TEST

/* ---- the decoder ---- */

#define LEN 20000

/* Versions of one chunk, each a delta of the one before, in one pack or one each. */
START_TEST(chains)
{
	struct place_of p = make();
	struct index *ix;
	struct decoder *d;
	struct digest id[64];
	uint8_t *raw[64], *copy;
	uint64_t rng = check_seed() + _i;
	struct packer *k = packer(&p);
	struct decoded got;
	struct err e = {0};
	size_t n, len[64];

	for (unsigned i = 0; i < 64; i++) {
		unsigned depth = i % 20;

		len[i] = depth ? len[i - 1] - check_rand_below(&rng, 3) : LEN;
		raw[i] = fx_bytes(&rng, len[i]);
		if (depth) {
			memcpy(raw[i], raw[i - 1], len[i]);
			check_rand_fill(&rng, raw[i] + check_rand_below(&rng, len[i] - 50), 50);
		}
		id[i] = put(k, raw[i], len[i], depth ? raw[i - 1] : NULL, depth ? len[i - 1] : 0,
			depth ? &id[i - 1] : NULL, (uint8_t)depth,
			!depth	? CODEC_ZSTD
			: i % 2 ? CODEC_PREFIX
				: CODEC_XOR);
		if (_i) {
			publish(&p, k, NULL);
			k = packer(&p);
		}
	}
	publish(&p, k, NULL);
	ix = open_index(&p, NULL);
	ck_assert_int_eq(decoder_new(&d), 0);
	for (int round = 0; round < 200; round++) {
		unsigned i = (unsigned)check_rand_below(&rng, 64);

		fx_ok(decoder_load(d, ix, &id[i], &got, &e), &e);
		fx_same("chain", got.raw, got.raw_len, raw[i], len[i]);
		ck_assert_uint_eq(got.depth, i % 20);
		ck_assert(digest_eq(&got.root, &id[i - i % 20]));
		fx_same("root", got.root_raw, got.root_len, raw[i - i % 20], LEN);
		fx_ok(decoder_read(d, ix, &id[i], &n, &e), &e);
		ck_assert_ptr_nonnull(copy = malloc(n + 1));
		fx_ok(decoder_unpack(d, ix, copy, &e), &e);
		fx_same("copy", copy, n, raw[i], len[i]);
		free(copy);
	}
	for (int i = 0; i < 64; i++)
		free(raw[i]);
	decoder_free(d);
	decoder_free(NULL);
	index_free(ix);
	unmake(&p);
}
END_TEST

/* A base that exists twice, alone and as the end of a chain that is longer than its delta's depth says: another
 * process stored it so at the same time. Whichever copy is found, the bytes are the same. */
START_TEST(base_stored_twice)
{
	for (int order = 0; order < 2; order++) {
		struct place_of p = make();
		struct packer *k;
		struct index *ix;
		struct decoder *d;
		struct decoded got;
		struct err e = {0};
		uint64_t rng = check_seed();
		uint8_t *v[6];
		struct digest id[6];

		for (int i = 0; i < 6; i++) {
			v[i] = fx_bytes(&rng, LEN);
			if (i)
				memcpy(v[i], v[i - 1], LEN);
			check_rand_fill(&rng, v[i] + 1000 * i, 100);
			id[i] = digest_of(v[i], LEN);
		}
		ix = open_index(&p, NULL);
		for (int part = 0; part < 2; part++) {
			k = packer(&p);
			if (part == order) {
				put(k, v[4], LEN, NULL, 0, NULL, 0, CODEC_ZSTD);
			} else {
				put(k, v[0], LEN, NULL, 0, NULL, 0, CODEC_ZSTD);
				for (int i = 1; i < 5; i++)
					put(k, v[i], LEN, v[i - 1], LEN, &id[i - 1], (uint8_t)i, CODEC_XOR);
			}
			publish(&p, k, ix);
		}
		k = packer(&p);
		put(k, v[5], LEN, v[4], LEN, &id[4], 1, CODEC_PREFIX);
		publish(&p, k, ix);
		ck_assert_int_eq(decoder_new(&d), 0);
		fx_ok(decoder_load(d, ix, &id[5], &got, &e), &e);
		fx_same("bytes", got.raw, got.raw_len, v[5], LEN);
		ck_assert(got.depth == 1 || got.depth == 5);
		index_free(ix);
		for (int in_one = 0; in_one < 3; in_one++) {
			ix = open_index(&p, NULL);
			fx_ok(decoder_load(d, ix, &id[5], &got, &e), &e);
			fx_same("bytes", got.raw, got.raw_len, v[5], LEN);
			index_free(ix);
		}
		decoder_free(d);
		for (int i = 0; i < 6; i++)
			free(v[i]);
		unmake(&p);
	}
}
END_TEST

START_TEST(bad_chains)
{
	struct place_of p = make();
	struct packer *k = packer(&p);
	struct index *ix;
	struct decoder *d;
	struct decoded got;
	struct err e = {0};
	char hex[DIGEST_HEX], name[PACK_NAME_MAX];
	uint8_t a[100], b[100], c[100], z[100];
	struct digest ia, ib, ic, none = id_of(99), pack;

	memset(a, 'a', 100);
	memset(b, 'b', 100);
	memset(c, 'c', 100);
	memset(z, 'z', 100);
	ia = digest_of(a, 100);
	ib = digest_of(b, 100);
	/* a is b's base and b is a's; c's is missing; z is damaged below. */
	put(k, a, 100, b, 100, &ib, 2, CODEC_XOR);
	put(k, b, 100, a, 100, &ia, 1, CODEC_XOR);
	ic = put(k, c, 100, a, 100, &none, 1, CODEC_XOR);
	pack = publish(&p, k, NULL);
	pack_object_name(&pack, name);
	ix = open_index(&p, NULL);
	ck_assert_int_eq(decoder_new(&d), 0);
	fx_fails(decoder_load(d, ix, &ia, &got, &e), -EBADMSG, &e);
	ck_assert_msg(strstr(e.text, name), "\"%s\" names no object", e.text);
	fx_fails(decoder_load(d, ix, &ib, &got, &e), -EBADMSG, &e);
	fx_fails(decoder_load(d, ix, &ic, &got, &e), -ENODATA, &e);
	ck_assert_ptr_nonnull(strstr(e.text, digest_hex(&ic, hex)));
	ck_assert_ptr_nonnull(strstr(e.text, digest_hex(&none, hex)));
	fx_fails(decoder_load(d, ix, &none, &got, &e), -ENODATA, &e);
	ck_assert_ptr_nonnull(strstr(e.text, digest_hex(&none, hex)));
	index_free(ix);
	decoder_free(d);
	unmake(&p);
}
END_TEST

/* Every byte of a chain's records: other bytes are never given out, and the text names chunk and object. */
START_TEST(damaged_records)
{
	struct place_of p = make();
	struct packer *k = packer(&p);
	struct index *ix;
	struct decoder *d;
	struct decoded got;
	uint64_t rng = check_seed();
	uint8_t *v[3], *bytes;
	struct digest id[3], pack;
	char name[PACK_NAME_MAX], *repo = io_join(p.dir, "repo");
	size_t n;

	for (int i = 0; i < 3; i++) {
		v[i] = fx_bytes(&rng, 300);
		check_rand_fill(&rng, v[i] + 100, 50);
		id[i] = put(k, v[i], 300, i ? v[i - 1] : NULL, i ? 300 : 0, i ? &id[i - 1] : NULL, (uint8_t)i,
			i == 2	 ? CODEC_PREFIX
			: i == 1 ? CODEC_XOR
				 : CODEC_ZSTD);
	}
	pack = publish(&p, k, NULL);
	bytes = fx_read_file(repo, pack_object_name(&pack, name), &n);
	ck_assert_int_eq(decoder_new(&d), 0);
	for (size_t at = 0; at < n - PACK_TRAILER - 16 - 3 * PACK_ENTRY; at++) {
		int bad = 0;

		bytes[at] ^= (uint8_t)(1u << (at % 8));
		fx_replace(repo, name, bytes, n);
		bytes[at] ^= (uint8_t)(1u << (at % 8));
		ix = open_index(&p, NULL);
		for (int i = 0; i < 3; i++) {
			struct err e = {0};
			int r = decoder_load(d, ix, &id[i], &got, &e);

			if (!r) {
				fx_same("survivor", got.raw, got.raw_len, v[i], 300);
				continue;
			}
			bad++;
			ck_assert_int_eq(r, -EBADMSG);
			ck_assert_msg(strstr(e.text, name), "\"%s\" names no object", e.text);
		}
		/* What rests on the damaged record is lost; the head of the pack matters to nobody. */
		ck_assert_int_eq(bad > 0, at >= PACK_HEAD);
		index_free(ix);
	}
	/* Cut off behind the index's back. */
	ix = open_index(&p, NULL);
	fx_replace(repo, name, bytes, 200);
	struct err e = {0};
	fx_fails(decoder_load(d, ix, &id[2], &got, &e), -EBADMSG, &e);
	ck_assert_msg(strstr(e.text, name), "\"%s\" names no object", e.text);
	index_free(ix);
	decoder_free(d);
	for (int i = 0; i < 3; i++)
		free(v[i]);
	free(bytes);
	free(repo);
	unmake(&p);
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("store/index");
	TCase *t = tcase_create("all");

	tcase_add_loop_test(t, add_and_sync, 0, 2);
	tcase_add_loop_test(t, tiers_stay_few, 0, 5);
	tcase_add_test(t, cache_lost);
	tcase_add_test(t, cache_full);
	tcase_add_test(t, cache_damaged);
	tcase_add_loop_test(t, packs_removed, 0, 2);
	tcase_add_test(t, broken_pack);
	tcase_add_test(t, two_handles);
	tcase_add_test(t, many_packs);
	tcase_add_loop_test(t, chains, 0, 2);
	tcase_add_test(t, base_stored_twice);
	tcase_add_test(t, bad_chains);
	tcase_add_test(t, damaged_records);
	suite_add_tcase(s, t);
	return s;
}
CHECK_MAIN(suite)
