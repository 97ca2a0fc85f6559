/* How the store's costs grow: the same work on 100 thousand and on 10 million chunks, and on 100 thousand and a million
 * files. Prints "key value" lines; times are microseconds an item, ratios are large against small, memory is MB.
 *
 *	scale [--chunks N] [--files N] [--dir DIR]
 *
 * Chunks are 64 random bytes, so what is measured is everything but hashing and compressing them. Lookups come in two
 * kinds: `find` (`miss`: of what is not there) is the index alone, a few cache misses and nothing else; `read` is what a
 * reader pays for a chunk that is not in the small cache of decoded ones. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <ftw.h>
#include <unistd.h>

#include "src/base/clock.h"
#include "src/base/io.h"
#include "store/chunker.h"
#include "store/index.h"
#include "store/ingest.h"
#include "store/packing.h"
#include "store/repo.h"

#define PROBES 200000
#define CHUNK 64
#define SMALL_CACHE (1u << 20) /* so that reading chunks is reading them */

static uint64_t mix(uint64_t n)
{
	uint64_t z = n * 0x9e3779b97f4a7c15u + 0x7f4a7c15;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
	return z ^ (z >> 31);
}

static void make_chunk(uint64_t n, uint8_t out[CHUNK])
{
	for (unsigned i = 0; i < CHUNK; i += 8) {
		uint64_t v = mix(n * CHUNK + i);

		memcpy(out + i, &v, 8);
	}
}

static void check(int r, const struct err *e)
{
	if (r < 0) {
		fprintf(stderr, "scale: %s\n", e->text);
		exit(1);
	}
}

static int remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
	(void)st;
	(void)flag;
	(void)ftw;
	return remove(path);
}

static void print_memory(const char *key)
{
	char line[256];
	FILE *f = fopen("/proc/self/status", "r");

	while (f && fgets(line, sizeof(line), f)) {
		unsigned long kb;

		/* What is ours: mapped runs are the page cache's. */
		if (sscanf(line, "RssAnon: %lu", &kb) == 1)
			printf("%s %.1f\n", key, (double)kb / 1000);
	}
	if (f)
		fclose(f);
}

/* Microseconds an item since `began`. */
static double per_item(uint64_t began, uint64_t n)
{
	return (double)(clock_mono_ns() - began) / 1000 / (double)n;
}

struct costs {
	double import, open, find, miss, read, lookup, walk;
};

/* cache 0: the default. */
static struct store *open_repo(const char *dir, size_t cache_bytes, struct err *e)
{
	char *repo = io_join(dir, "repo"), *cache = io_join(dir, "cache");
	struct store_options o = {.index_dir = cache, .cache_bytes = cache_bytes};
	struct store *s;

	check(store_open(repo, &o, &s, e), e);
	free(repo);
	free(cache);
	return s;
}

static char *make_repo(const char *parent, struct err *e)
{
	char id[STORE_ID_TEXT], *dir, *repo;

	if (asprintf(&dir, "%s/pgstrata-scale-XXXXXX", parent) < 0 || !mkdtemp(dir)) {
		perror("scale: a directory");
		exit(1);
	}
	repo = io_join(dir, "repo");
	check(store_init(repo, NULL, id, e), e);
	free(repo);
	return dir;
}

static void chunks_in(struct store *s, uint64_t n, struct err *e)
{
	struct packing *p;
	struct chunker *c;

	check(store_refresh(s, e), e);
	check(packing_new(s, &p, e), e);
	check(chunker_new(s, p, CHUNK, &c), e);
	for (uint64_t i = 0; i < n; i++) {
		struct chunk_result res;
		uint8_t raw[CHUNK];

		make_chunk(i, raw);
		check(chunker_store(c, RECORD_CHUNK, raw, CHUNK, NULL, &res, e), e);
		if (!res.fresh) {
			fprintf(stderr, "scale: chunk %llu was there already\n", (unsigned long long)i);
			exit(1);
		}
	}
	check(packing_publish(p, e), e);
	chunker_free(c);
	packing_free(p);
}

/* Random chunks that are there (or not), named ahead of the clock. */
static struct digest *probes(uint64_t n, bool there)
{
	struct digest *d = calloc(PROBES, sizeof(*d));

	for (uint64_t i = 0; d && i < PROBES; i++) {
		uint8_t raw[CHUNK];

		make_chunk(mix(i) % n + (there ? 0 : n), raw);
		d[i] = digest_of(raw, CHUNK);
	}
	if (!d)
		exit(1);
	return d;
}

static double find_all(struct store *s, const struct digest *d, bool there)
{
	uint64_t began = clock_mono_ns(), found = 0;

	for (uint64_t i = 0; i < PROBES; i++) {
		struct place at;

		found += index_find(s->index, &d[i], &at);
	}
	if (found != (there ? PROBES : 0)) {
		fprintf(stderr, "scale: %llu of the probes were found\n", (unsigned long long)found);
		exit(1);
	}
	return per_item(began, PROBES);
}

static struct costs chunks(const char *parent, uint64_t n)
{
	struct err e = {0};
	char *dir = make_repo(parent, &e), key[64];
	struct store *s = open_repo(dir, SMALL_CACHE, &e);
	struct digest *there = probes(n, true), *absent = probes(n, false);
	struct costs c = {0};
	uint64_t began = clock_mono_ns();

	chunks_in(s, n, &e);
	c.import = per_item(began, n);
	snprintf(key, sizeof(key), "chunks.%llu.import.memory_mb", (unsigned long long)n);
	print_memory(key);
	store_free(s);

	began = clock_mono_ns();
	s = open_repo(dir, SMALL_CACHE, &e);
	check(store_refresh(s, &e), &e);
	c.open = per_item(began, n);
	find_all(s, there, true); /* warms the page cache's mapping */
	c.find = find_all(s, there, true);
	c.miss = find_all(s, absent, false);
	began = clock_mono_ns();
	for (uint64_t i = 0; i < PROBES; i++) {
		struct blob *b;

		check(repo_blob(s, &there[i], RECORD_CHUNK, &b, &e), &e);
		blob_release(b);
	}
	c.read = per_item(began, PROBES);
	snprintf(key, sizeof(key), "chunks.%llu.read.memory_mb", (unsigned long long)n);
	print_memory(key);
	store_free(s);
	nftw(dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
	free(there);
	free(absent);
	free(dir);
	return c;
}

static int count_entry(void *arg, const struct entry *en)
{
	(void)en;
	++*(uint64_t *)arg;
	return 0;
}

static struct costs files(const char *parent, uint64_t n)
{
	static const struct meta m = {
		.mode = 0600, .uid = 1, .gid = 1, .user = "u", .group = "g", .mtime = {1, 2}};
	struct err e = {0};
	char *dir = make_repo(parent, &e), key[64], name[64];
	struct store *s = open_repo(dir, 0, &e);
	struct snapshot *snap = snapshot_new();
	struct ingest *in;
	struct costs c = {0};
	uint64_t began = clock_mono_ns(), seen = 0;

	check(ingest_new(s, "main", SNAPSHOT_BASE, NULL, &in, &e), &e);
	for (uint64_t i = 0; i < n; i++) {
		struct ingest_file *f;

		/* Half in one directory, half in many. */
		snprintf(name, sizeof(name), i % 2 ? "one/%llu" : "many/%llu/%llu",
			(unsigned long long)(i % 2 ? i : i / 1000), (unsigned long long)i);
		check(ingest_open(in, name, &m, &f, &e), &e);
		check(ingest_write(f, &i, sizeof(i), &e), &e);
		check(ingest_close(f, &e), &e);
	}
	snap->stop.sec = 1;
	check(ingest_publish(in, snap, &e), &e);
	c.import = per_item(began, n);
	snprintf(key, sizeof(key), "files.%llu.import.memory_mb", (unsigned long long)n);
	print_memory(key);
	ingest_free(in);
	snapshot_free(snap);
	store_free(s);

	began = clock_mono_ns();
	s = open_repo(dir, 0, &e);
	check(snapshot_resolve(s, "main", SNAPSHOT_BASE, "latest", &snap, &e), &e);
	c.open = per_item(began, n);
	began = clock_mono_ns();
	for (uint64_t i = 0; i < PROBES; i++) {
		struct entry *en;

		snprintf(name, sizeof(name), "one/%llu", (unsigned long long)(mix(i) % (n / 2) * 2 + 1));
		check(tree_find(s, &snap->root, name, &en, &e), &e);
		free(en);
	}
	c.lookup = per_item(began, PROBES);
	for (unsigned i = 0; i < 2; i++) {
		struct entry *en;

		check(tree_find(s, &snap->root, "one", &en, &e), &e);
		began = clock_mono_ns();
		seen = 0;
		check(tree_walk(s, &en->dir, 0, count_entry, &seen, &e), &e);
		c.walk = per_item(began, seen);
		free(en);
	}
	if (seen != n / 2)
		exit(1);
	snprintf(key, sizeof(key), "files.%llu.read.memory_mb", (unsigned long long)n);
	print_memory(key);
	snapshot_free(snap);
	store_free(s);
	nftw(dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
	free(dir);
	return c;
}

static void report(const char *what, uint64_t small, uint64_t large, double a, double b)
{
	printf("%s.%llu_us %.3f\n", what, (unsigned long long)small, a);
	printf("%s.%llu_us %.3f\n", what, (unsigned long long)large, b);
	printf("%s.ratio %.2f\n", what, b / a);
}

int main(int argc, char **argv)
{
	uint64_t n_chunks = 10000000, n_files = 1000000;
	const char *dir = "/var/tmp";
	struct costs a, b;

	for (int i = 1; i + 1 < argc; i += 2) {
		if (!strcmp(argv[i], "--chunks"))
			n_chunks = strtoull(argv[i + 1], NULL, 10);
		else if (!strcmp(argv[i], "--files"))
			n_files = strtoull(argv[i + 1], NULL, 10);
		else if (!strcmp(argv[i], "--dir"))
			dir = argv[i + 1];
	}
	setvbuf(stdout, NULL, _IOLBF, 0);
	a = chunks(dir, n_chunks / 100);
	b = chunks(dir, n_chunks);
	report("chunks.import", n_chunks / 100, n_chunks, a.import, b.import);
	report("chunks.open", n_chunks / 100, n_chunks, a.open, b.open);
	report("chunks.find", n_chunks / 100, n_chunks, a.find, b.find);
	report("chunks.miss", n_chunks / 100, n_chunks, a.miss, b.miss);
	report("chunks.read", n_chunks / 100, n_chunks, a.read, b.read);
	a = files(dir, n_files / 10);
	b = files(dir, n_files);
	report("files.import", n_files / 10, n_files, a.import, b.import);
	report("files.open", n_files / 10, n_files, a.open, b.open);
	report("files.lookup", n_files / 10, n_files, a.lookup, b.lookup);
	report("files.walk", n_files / 10, n_files, a.walk, b.walk);
	return 0;
}
