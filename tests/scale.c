/* A large repository made of nothing: what a chunk and a file cost in small numbers and in large ones.
 *
 *	scale [--chunks N] [--files N] [--only SCENARIO]
 *
 * Measures at N / 100 chunks and N, and at N / 10 files and N (10 million and 1 million by default), each in a process
 * and a temporary folder (below TMPDIR or /tmp, which will want 4 GB) of its own, and prints one "key value" a line: costs in nanoseconds an
 * item (cpu: of all threads; the rest: on the clock), memory in MiB, and the ratio of large to small. What reads is
 * done ROUNDS times over and the best counts. Most chunks have 64 bytes, so what is measured is the way
 * around the bytes: naming, claiming, packing, indexing, finding; one of FULL_EACH is 64 KiB long.
 *
 * Lookups are given three ways: in the index alone (random places in a table that is larger than the processor's
 * caches: what they miss is the price of a large table, not of our code), as chunks of 64 KiB found, read and decoded,
 * and by name in directories. Peaks of memory are given twice: all that was resident, mapped files of the index cache
 * among it, which the kernel takes back when it wants to; and what is the process's own. */
#include <errno.h>
#include <ftw.h>
#include <getopt.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "src/base/clean.h"
#include "src/base/clock.h"
#include "src/base/io.h"
#include "store/chunker.h"
#include "store/decoder.h"
#include "store/ingest.h"
#include "store/mapwriter.h"
#include "store/packing.h"
#include "store/prune.h"
#include "store/repo.h"
#include "store/snapshot.h"
#include "store/treewriter.h"
#include "store/verify.h"

#define PAYLOAD 64
#define FULL 65536
#define FULL_EACH 64
#define LOOKUPS 1000000
#define READS 20000
#define NAMES 200000
#define PER_DIR 1000
#define ROUNDS 3
#define FIGURES 24

/* One scenario's figures: filled in the child, sent through a pipe. */
struct figures {
	struct {
		char name[40];
		double value;
	} v[FIGURES];
	unsigned n;
};

static void die(const char *what, int r, const struct err *e)
{
	fprintf(stderr, "scale: %s: %s\n", what, e->text[0] ? e->text : strerror(-r));
	exit(1);
}

static void need(int r, const char *what, const struct err *e)
{
	if (r < 0)
		die(what, r, e);
}

static void figure(struct figures *f, const char *name, double value)
{
	if (f->n == FIGURES)
		abort();
	snprintf(f->v[f->n].name, sizeof(f->v[f->n].name), "%s", name);
	f->v[f->n++].value = value;
}

/* SplitMix64 of a number: chunk i begins with the bytes of mix(8 i) … mix(8 i + 7), so any can be made again. */
static uint64_t mix(uint64_t z)
{
	z = (z + 1) * 0x9e3779b97f4a7c15u;
	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
	return z ^ (z >> 31);
}

static size_t chunk(uint64_t i, uint8_t out[FULL])
{
	for (unsigned k = 0; k < PAYLOAD / 8; k++) {
		uint64_t v = mix(8 * i + k);

		memcpy(out + 8 * k, &v, 8);
	}
	if (i % FULL_EACH)
		return PAYLOAD;
	/* Pages of rows: they compress to a tenth or so. */
	for (unsigned k = PAYLOAD; k < FULL; k++)
		out[k] = k % 96 < 12 ? out[(k * 7 + k / 96) % PAYLOAD]
				     : (uint8_t)("a row of a table "[k % 17]);
	return FULL;
}

static struct digest chunk_id(uint64_t i)
{
	uint8_t bytes[FULL];

	return digest_of(bytes, chunk(i, bytes));
}

/* What is resident, in MiB: the process's own, and pages of mapped files. */
static double resident_mib(double *mapped)
{
	FILE *f = fopen("/proc/self/status", "r");
	char line[200];
	double own = 0, file = 0;

	while (f && fgets(line, sizeof(line), f)) {
		sscanf(line, "RssAnon: %lf", &own);
		sscanf(line, "RssFile: %lf", &file);
	}
	if (f)
		fclose(f);
	if (mapped)
		*mapped = file / 1024;
	return own / 1024;
}

static double own_mib(void)
{
	return resident_mib(NULL);
}

static struct store *open_store(const char *dir, bool cached)
{
	_cleanup_(freep) char *repo = io_join(dir, "repo"), *cache = io_join(dir, "cache");
	struct store_options o = {.index_dir = cached ? cache : NULL};
	struct store *s;
	struct err e = {0};

	need(store_open(repo, &o, &s, &e), "opening", &e);
	need(store_refresh(s, &e), "opening", &e);
	return s;
}

static void init(const char *dir)
{
	_cleanup_(freep) char *repo = io_join(dir, "repo"), *cache = io_join(dir, "cache");
	char id[STORE_ID_TEXT];
	struct err e = {0};

	need(store_init(repo, NULL, id, &e), "init", &e);
	need(io_mkdirs(cache, 0700, &e), "init", &e);
}

static double since(uint64_t t)
{
	return (double)(clock_mono_ns() - t);
}

/* Processor time of this process, all threads, in nanoseconds. */
static double cpu_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);
	return (double)ts.tv_sec * 1e9 + (double)ts.tv_nsec;
}

/* Keeps the lesser of what there is and what was measured; 0: nothing was. */
static void best(double *have, double now)
{
	if (*have <= 0 || now < *have)
		*have = now;
}

/* ---- chunks ---- */

static void import_chunks(const char *dir, uint64_t n, struct figures *f)
{
	struct store *s;
	struct packing *p;
	struct chunker *c;
	struct chunk_result res;
	struct err e = {0};
	uint8_t bytes[FULL];
	uint64_t t;
	double cpu, own = 0, now;

	init(dir);
	s = open_store(dir, true);
	t = clock_mono_ns();
	cpu = cpu_ns();
	need(packing_new(s, "scale", &p, &e), "packing", &e);
	need(chunker_new(s, p, FULL, &c), "packing", &e);
	for (uint64_t i = 0; i < n; i++) {
		size_t len = chunk(i, bytes);

		need(chunker_store(c, RECORD_CHUNK, bytes, len, NULL, &res, &e), "storing a chunk", &e);
		if (!res.fresh)
			die("a chunk that is new is known", -EINVAL, &e);
		if (i % 10000 == 0 && (now = own_mib()) > own)
			own = now;
	}
	need(packing_publish(p, &e), "publishing", &e);
	figure(f, "chunk_import_ns", since(t) / (double)n);
	figure(f, "chunk_import_cpu_ns", (cpu_ns() - cpu) / (double)n);
	figure(f, "chunk_import_own_mib", own);
	/* All of it again: known. */
	t = clock_mono_ns();
	for (uint64_t i = 1; i < n; i += 10) {
		size_t len = chunk(i, bytes);

		need(chunker_store(c, RECORD_CHUNK, bytes, len, NULL, &res, &e), "storing a chunk", &e);
		if (res.fresh)
			die("a chunk that is known is new", -EINVAL, &e);
	}
	figure(f, "chunk_known_ns", since(t) / ((double)n / 10));
	chunker_free(c);
	packing_free(p);
	store_free(s);
}

static void read_chunks(const char *dir, uint64_t n, struct figures *f)
{
	struct digest *ids = calloc(LOOKUPS, sizeof(*ids));
	struct store *s = NULL;
	struct decoder *d;
	struct err e = {0};
	struct place at;
	struct decoded got;
	uint64_t t, wrong = 0;
	double open = 0, hit = 0, read = 0, miss = 0;

	for (int i = 0; i < ROUNDS; i++) {
		if (i)
			store_free(s);
		t = clock_mono_ns();
		s = open_store(dir, true);
		best(&open, since(t));
	}
	figure(f, "chunk_open_us", open / 1000);
	figure(f, "chunk_open_ns", open / (double)n);
	if (!ids || decoder_new(&d) < 0)
		die("memory", -ENOMEM, &e);
	for (uint64_t i = 0; i < LOOKUPS; i++)
		ids[i] = chunk_id(mix(i) % (n / FULL_EACH) * FULL_EACH + 1 + i % (FULL_EACH - 1));
	for (int round = 0; round < ROUNDS; round++) {
		t = clock_mono_ns();
		for (uint64_t i = 0; i < LOOKUPS; i++)
			wrong += !index_find(s->index, &ids[i], &at);
		best(&hit, since(t));
	}
	for (uint64_t i = 0; i < READS; i++)
		ids[i] = chunk_id(mix(i) % n / FULL_EACH * FULL_EACH);
	for (int round = 0; round < ROUNDS; round++) {
		t = clock_mono_ns();
		for (uint64_t i = 0; i < READS; i++) {
			need(decoder_load(d, s->index, &ids[i], &got, &e), "reading a chunk", &e);
			wrong += got.raw_len != FULL;
		}
		best(&read, since(t));
	}
	for (uint64_t i = 0; i < LOOKUPS; i++)
		ids[i] = chunk_id((n + i) * FULL_EACH + 1);
	for (int round = 0; round < ROUNDS; round++) {
		t = clock_mono_ns();
		for (uint64_t i = 0; i < LOOKUPS; i++)
			wrong += index_find(s->index, &ids[i], &at);
		best(&miss, since(t));
	}
	figure(f, "chunk_lookup_hit_ns", hit / LOOKUPS);
	figure(f, "chunk_lookup_miss_ns", miss / LOOKUPS);
	figure(f, "chunk_read_ns", read / READS);
	figure(f, "chunk_read_own_mib", own_mib());
	if (wrong || index_entries(s->index) != n)
		die("lookups went wrong", -EINVAL, &e);
	decoder_free(d);
	store_free(s);
	free(ids);
}

/* Without the cache folder: the index from the packs' footers. */
static void rebuild_index(const char *dir, uint64_t n, struct figures *f)
{
	uint64_t t = clock_mono_ns();
	struct store *s = open_store(dir, false);
	struct err e = {0};

	figure(f, "chunk_rebuild_ns", since(t) / (double)n);
	if (index_entries(s->index) != n)
		die("the index is not whole", -EINVAL, &e);
	store_free(s);
}

/* ---- prune ---- */

/* Two snapshots of one file each. Old: the first half of the chunks. New: every fourth of those, scattered, and the second half,
 * whose full chunks are deltas against the old ones'. So when the old one goes, every pack of it is mostly dead, and is
 * rewritten for what lives, the bases of deltas among it. */
static bool is_kept(uint64_t i)
{
	return i % 4 == 1;
}

struct half {
	struct store *s;
	struct chunker *c;
	struct mapwriter *map;
	uint64_t n; /* chunks put */
};

static int emit_map(void *arg, const void *node, size_t n, struct digest *ret, struct err *e)
{
	struct half *h = arg;
	struct chunk_result res;
	int r = chunker_store(h->c, RECORD_MAP, node, n, NULL, &res, e);

	*ret = res.id;
	return r;
}

static int emit_node(void *arg, const void *node, size_t n, struct digest *ret, struct err *e)
{
	struct half *h = arg;
	struct chunk_result res;
	int r = chunker_store(h->c, RECORD_NODE, node, n, NULL, &res, e);

	*ret = res.id;
	return r;
}

/* Marking asks for a file's chunks by their number, not for their bytes: that most have fewer than a page does not matter. */
static void half_put(struct half *h, const struct digest *id)
{
	struct err e = {0};

	need(mapwriter_put(h->map, h->n++, 4096, id, 0, emit_map, h, &e), "a map", &e);
}

static void half_publish(struct half *h, struct packing *p, int64_t stop)
{
	struct entry en = {
		.name = "file", .type = ENTRY_FILE, .meta = {.mode = 0600, .user = "", .group = ""}};
	struct snapshot *snap = snapshot_new();
	struct tree_totals totals;
	struct treewriter *t;
	unsigned height;
	uint32_t crc;
	struct err e = {0};

	en.file.size = h->n * 4096;
	en.file.chunk_shift = 12;
	need(mapwriter_finish(h->map, h->n, emit_map, h, &en.file.map, &height, &crc, &e), "a map", &e);
	en.file.height = (uint8_t)height;
	need(treewriter_new(emit_node, h, &t), "a tree", &e);
	need(treewriter_add(t, "file", &en, &e), "a tree", &e);
	need(treewriter_finish(t, &snap->root, &totals, &e), "a tree", &e);
	treewriter_free(t);
	need(packing_publish(p, &e), "publishing", &e);
	snap->cluster = strdup("main");
	snap->kind = SNAPSHOT_BASE;
	snap->stop.sec = 1800000000 + stop;
	need(snapshot_publish(h->s, snap, &e), "publishing", &e);
	snapshot_free(snap);
}

static void prune_import(const char *dir, uint64_t n, struct figures *f)
{
	struct packing *p;
	struct half h;
	struct chunk_result res;
	struct digest home;
	struct err e = {0};
	uint8_t bytes[FULL];

	init(dir);
	h.s = open_store(dir, true);
	need(store_bind_cluster(h.s, "main", "7", &e), "binding", &e);
	for (int k = 0; k < 2; k++) {
		need(packing_new(h.s, "scale", &p, &e), "packing", &e);
		need(chunker_new(h.s, p, FULL, &h.c), "packing", &e);
		need(mapwriter_new(4096, &h.map), "a map", &e);
		h.n = 0;
		for (uint64_t i = 0; i < n / 2; i++) {
			size_t len = chunk(i, bytes);
			bool delta = k && len == FULL;

			if (k && is_kept(i)) {
				struct digest id = digest_of(bytes, len);

				half_put(&h, &id);
			}
			if (delta) {
				home = digest_of(bytes, len);
				bytes[FULL / 2]++;
			} else if (k) {
				len = chunk(n / 2 + i, bytes);
			}
			need(chunker_store(h.c, RECORD_CHUNK, bytes, len, delta ? &home : NULL, &res, &e),
				"storing a chunk", &e);
			if (!res.fresh || res.delta != delta)
				die("a chunk is not stored as it should", -EINVAL, &e);
			half_put(&h, &res.id);
		}
		half_publish(&h, p, k);
		mapwriter_free(h.map);
		chunker_free(h.c);
		packing_free(p);
	}
	figure(f, "prune_entries_per_chunk", (double)index_entries(h.s->index) / (double)n);
	store_free(h.s);
}

/* The most memory while something runs, as far as a look every 20 ms shows. */
struct watch {
	pthread_t thread;
	atomic_bool end;
	double own, mapped;
};

static void *watch_run(void *arg)
{
	struct watch *w = arg;

	while (!atomic_load(&w->end)) {
		double mapped, own = resident_mib(&mapped);

		w->own = own > w->own ? own : w->own;
		w->mapped = mapped > w->mapped ? mapped : w->mapped;
		nanosleep(&(struct timespec){.tv_nsec = 20000000}, NULL);
	}
	return NULL;
}

static void watch_begin(struct watch *w)
{
	*w = (struct watch){.own = 0};
	atomic_init(&w->end, false);
	if (pthread_create(&w->thread, NULL, watch_run, w))
		exit(1);
}

/* Ends it, with two figures: WHAT_own_mib, WHAT_mapped_mib. */
static void watch_end(struct watch *w, const char *what, struct figures *f)
{
	char name[40];

	atomic_store(&w->end, true);
	pthread_join(w->thread, NULL);
	snprintf(name, sizeof(name), "%s_own_mib", what);
	figure(f, name, w->own);
	snprintf(name, sizeof(name), "%s_mapped_mib", what);
	figure(f, name, w->mapped);
}

static void prune_run(const char *dir, uint64_t n, struct figures *f)
{
	struct prune_options o = {0};
	struct prune_report report;
	struct snapshot_list l;
	struct err e = {0};
	struct store *s = open_store(dir, true);
	struct watch w;
	uint64_t t;

	need(snapshot_list(s, "main", SNAPSHOT_BASE, &l, &e), "listing", &e);
	if (l.n != 2)
		die("there should be two snapshots", -EINVAL, &e);
	o.dry_run = true;
	o.drop = l.refs;
	o.n_drop = 1;
	t = clock_mono_ns();
	watch_begin(&w);
	need(store_prune(s, &o, &report, &e), "prune", &e);
	watch_end(&w, "prune_dry", f);
	figure(f, "prune_dry_ns", since(t) / (double)n);
	need(store_remove_snapshots(s, l.refs, 1, &e), "prune", &e);
	o = (struct prune_options){0};
	t = clock_mono_ns();
	watch_begin(&w);
	need(store_prune(s, &o, &report, &e), "prune", &e);
	watch_end(&w, "prune", f);
	figure(f, "prune_ns", since(t) / (double)n);
	figure(f, "prune_removed_mib", (double)report.removed_bytes / (1 << 20));
	figure(f, "prune_copied_mib", (double)report.rewritten_bytes / (1 << 20));
	if (!report.removed || !report.rewritten || report.waiting)
		die("prune did not do what there was to do", -EINVAL, &e);
	snapshot_list_free(&l);
	store_free(s);
}

static void on_finding(void *arg, const struct verify_finding *f)
{
	(void)arg;
	fprintf(stderr, "scale: %s %s: %s\n", f->object, f->path ? f->path : "", f->why);
}

/* What must be there is, and the bytes are right. */
static void prune_check(const char *dir, uint64_t n, struct figures *f)
{
	struct verify_options o = {0};
	struct verify_report v;
	struct err e = {0};
	struct store *s = open_store(dir, true);
	struct watch w;
	struct place at;
	uint64_t t, missing = 0, dead = 0, left = 0;

	for (uint64_t i = 0; i < LOOKUPS; i++) {
		uint64_t k = mix(i) % n;
		struct digest id = chunk_id(k);
		bool live = k >= n / 2 || is_kept(k), found = index_find(s->index, &id, &at);

		/* What is full is a base, or has a delta instead. */
		if (k % FULL_EACH == 0 || (k >= n / 2 && (k - n / 2) % FULL_EACH == 0))
			continue;
		missing += live && !found;
		dead += !live;
		left += !live && found;
	}
	if (missing)
		die("prune took what lives", -EINVAL, &e);
	figure(f, "prune_dead_left_percent", 100.0 * (double)left / (double)dead);
	t = clock_mono_ns();
	watch_begin(&w);
	need(store_verify(s, &o, on_finding, NULL, &v, &e), "verify", &e);
	watch_end(&w, "prune_verify", f);
	figure(f, "prune_verify_ns", since(t) / (double)n);
	if (v.damaged || v.lost || v.unused || v.snapshots != 1)
		die("what is left is damaged", -EINVAL, &e);
	store_free(s);
}

/* ---- files ---- */

/* File i of n; order is scattered, as readdir's is. */
static void file_path(uint64_t i, bool many, char out[64])
{
	if (many)
		snprintf(out, 64, "d/%06llu/%08llx", (unsigned long long)(i / PER_DIR),
			(unsigned long long)(mix(i) >> 32));
	else
		snprintf(out, 64, "d/%016llx", (unsigned long long)mix(i));
}

static void import_once(struct store *s, uint64_t n, bool many, const char *what, struct figures *f)
{
	static const struct meta m = {.mode = 0600,
		.uid = 26,
		.gid = 26,
		.user = "postgres",
		.group = "postgres",
		.mtime = {1700000000, 0}};
	struct snapshot *snap = snapshot_new();
	struct ingest *in;
	struct err e = {0};
	uint64_t t = clock_mono_ns();
	double cpu = cpu_ns();
	char name[40];

	need(ingest_new(s, "main", SNAPSHOT_BASE, NULL, &in, &e), "ingest", &e);
	for (uint64_t i = 0; i < n; i++) {
		struct ingest_file *file;
		char path[64];

		file_path(i, many, path);
		need(ingest_open(in, path, &m, &file, &e), "a file", &e);
		need(ingest_write(file, path, 20, &e), "a file", &e);
		need(ingest_close(file, &e), "a file", &e);
	}
	snap->stop.sec = 1800000000;
	need(ingest_publish(in, snap, &e), "publishing", &e);
	snprintf(name, sizeof(name), "file_%s_%s_ns", what, many ? "many_dirs" : "one_dir");
	figure(f, name, since(t) / (double)n);
	snprintf(name, sizeof(name), "file_%s_%s_cpu_ns", what, many ? "many_dirs" : "one_dir");
	figure(f, name, (cpu_ns() - cpu) / (double)n);
	snprintf(name, sizeof(name), "file_%s_%s_own_mib", what, many ? "many_dirs" : "one_dir");
	figure(f, name, own_mib());
	ingest_free(in);
	snapshot_free(snap);
}

static void import_files(const char *dir, uint64_t n, bool many, struct figures *f)
{
	struct store *s;

	init(dir);
	s = open_store(dir, true);
	import_once(s, n, many, "import", f);
	/* The next backup of the same: every path is looked for in the parent. */
	import_once(s, n, many, "again", f);
	store_free(s);
}

struct walk {
	struct store *s;
	uint64_t n;
};

static int step(void *arg, const struct entry *en)
{
	struct walk *w = arg;
	struct err e = {0};

	w->n++;
	return en->type == ENTRY_DIR ? tree_walk(w->s, &en->dir, 0, step, w, &e) : 0;
}

/* A handle for every round: a walk decodes all nodes, a lookup finds those that fit in its cache. */
static void read_files(const char *dir, uint64_t n, bool many, struct figures *f)
{
	double open = 0, walk = 0, lookup = 0;
	struct err e = {0};

	for (int round = 0; round < ROUNDS; round++) {
		uint64_t t = clock_mono_ns();
		struct store *s = open_store(dir, true);
		struct walk w = {.s = s};
		struct snapshot *snap;
		struct entry *en;
		char path[64];

		need(snapshot_resolve(s, "main", 0, "latest", &snap, &e), "the snapshot", &e);
		need(tree_find(s, &snap->root, "d", &en, &e), "the directory", &e);
		free(en);
		best(&open, since(t));
		t = clock_mono_ns();
		need(tree_walk(s, &snap->root, 0, step, &w, &e), "walking", &e);
		best(&walk, since(t));
		if (w.n != n + 1 + (many ? (n + PER_DIR - 1) / PER_DIR : 0))
			die("the walk missed something", -EINVAL, &e);
		t = clock_mono_ns();
		for (uint64_t i = 0; i < NAMES; i++) {
			file_path(mix(i) % n, many, path);
			need(tree_find(s, &snap->root, path, &en, &e), path, &e);
			free(en);
		}
		best(&lookup, since(t));
		snapshot_free(snap);
		store_free(s);
	}
	figure(f, many ? "file_open_many_dirs_us" : "file_open_one_dir_us", open / 1000);
	figure(f, many ? "file_open_many_dirs_ns" : "file_open_one_dir_ns", open / (double)n);
	figure(f, many ? "file_walk_many_dirs_ns" : "file_walk_one_dir_ns", walk / (double)n);
	figure(f, many ? "file_lookup_many_dirs_ns" : "file_lookup_one_dir_ns", lookup / NAMES);
}

static void one_dir_import(const char *dir, uint64_t n, struct figures *f)
{
	import_files(dir, n, false, f);
}

static void one_dir_read(const char *dir, uint64_t n, struct figures *f)
{
	read_files(dir, n, false, f);
}

static void many_dirs_import(const char *dir, uint64_t n, struct figures *f)
{
	import_files(dir, n, true, f);
}

static void many_dirs_read(const char *dir, uint64_t n, struct figures *f)
{
	read_files(dir, n, true, f);
}

/* ---- all of it ---- */

/* Steps of one folder, each in a process of its own, so that each has its own peak of memory. */
static const struct scenario {
	const char *what;
	void (*step[3])(const char *dir, uint64_t n, struct figures *f);
	const char *memory[3];
	bool files;
} scenarios[] = {
	{"chunks", {import_chunks, read_chunks, rebuild_index},
		{"chunk_import_peak_mib", "chunk_read_peak_mib", "chunk_rebuild_peak_mib"}, false},
	{"prune", {prune_import, prune_run, prune_check},
		{"prune_import_peak_mib", "prune_peak_mib", "prune_check_peak_mib"}, false},
	{"files in one directory", {one_dir_import, one_dir_read},
		{"file_import_one_dir_peak_mib", "file_read_one_dir_peak_mib"}, true},
	{"files in many directories", {many_dirs_import, many_dirs_read},
		{"file_import_many_dirs_peak_mib", "file_read_many_dirs_peak_mib"}, true},
};

static int remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
	(void)st;
	(void)flag;
	(void)ftw;
	return remove(path);
}

static void run_step(const struct scenario *sc, int i, const char *dir, uint64_t n, struct figures *f)
{
	int fds[2], status;
	struct figures got;
	struct rusage u;
	pid_t pid;

	fflush(stdout);
	if (pipe(fds) < 0 || (pid = fork()) < 0)
		exit(1);
	if (!pid) {
		struct figures mine = {0};

		sc->step[i](dir, n, &mine);
		exit(io_write(fds[1], &mine, sizeof(mine)) ? 1 : 0);
	}
	close(fds[1]);
	if (io_read(fds[0], &got, sizeof(got)) != sizeof(got))
		got.n = 0;
	close(fds[0]);
	if (wait4(pid, &status, 0, &u) != pid || status)
		f->n = FIGURES + 1;
	for (unsigned k = 0; k < got.n && f->n < FIGURES; k++)
		f->v[f->n++] = got.v[k];
	if (f->n < FIGURES)
		figure(f, sc->memory[i], (double)u.ru_maxrss / 1024);
}

static int run(const struct scenario *sc, uint64_t n, struct figures *f)
{
	const char *base = getenv("TMPDIR");
	char dir[4096];

	snprintf(dir, sizeof(dir), "%s/pgstrata-scale-XXXXXX", base && *base ? base : "/tmp");
	if (!mkdtemp(dir)) {
		fprintf(stderr, "scale: %s: %s\n", dir, strerror(errno));
		return 1;
	}
	for (int i = 0; i < 3 && sc->step[i] && f->n <= FIGURES; i++)
		run_step(sc, i, dir, n, f);
	nftw(dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
	return f->n > FIGURES;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {{"chunks", required_argument, NULL, 'c'},
		{"files", required_argument, NULL, 'f'}, {"only", required_argument, NULL, 'o'}, {0}};
	const char *only = NULL;
	uint64_t chunks = 10000000, files = 1000000;

	for (int o; (o = getopt_long(argc, argv, "", options, NULL)) != -1;)
		switch (o) {
		case 'c':
			chunks = strtoull(optarg, NULL, 10);
			break;
		case 'f':
			files = strtoull(optarg, NULL, 10);
			break;
		case 'o':
			only = optarg;
			break;
		default:
			return 2;
		}
	if (chunks < 10000 || files < 100 || optind < argc) {
		fprintf(stderr, "usage: scale [--chunks N] [--files N] [--only SCENARIO]   (at least 10000 "
				"and 100)\n");
		return 2;
	}
	printf("chunks_small %llu\nchunks_large %llu\nfiles_small %llu\nfiles_large %llu\n",
		(unsigned long long)chunks / 100, (unsigned long long)chunks, (unsigned long long)files / 10,
		(unsigned long long)files);
	for (size_t i = 0; i < sizeof(scenarios) / sizeof(*scenarios); i++) {
		const struct scenario *sc = &scenarios[i];
		struct figures small = {0}, large = {0};

		if (only && strcmp(only, sc->what) != 0)
			continue;
		if (run(sc, sc->files ? files / 10 : chunks / 100, &small) ||
			run(sc, sc->files ? files : chunks, &large))
			return 1;
		for (unsigned k = 0; k < large.n; k++) {
			/* Opening costs a fixed part and next to nothing an item. */
			printf("%s_small %.4g\n%s_large %.4g\n", small.v[k].name, small.v[k].value,
				large.v[k].name, large.v[k].value);
			printf("%s_ratio %.2f\n", large.v[k].name, large.v[k].value / small.v[k].value);
		}
	}
	return 0;
}
