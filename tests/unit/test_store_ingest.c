/* Ingest: everything that goes in comes out; deltas, sharing, holes; errors that stick and leave nothing; disks
 * that are full, files that change, parents that are damaged; memory that stays bounded. */
#include <pthread.h>
#include <sys/mount.h>
#include <sys/resource.h>

#include "src/base/crc32c.h"
#include "store/decoder.h"
#include "store/map.h"
#include "tests/unit/store_fixture.h"

/* What on_file was told, by path. */
struct told {
	pthread_mutex_t lock;
	const struct fx_tree *t; /* sorted */
	unsigned *n;
	unsigned wrong;
};

static int on_file(void *arg, const char *path, uint64_t size, uint32_t crc, struct err *e)
{
	struct told *k = arg;
	struct fx_entry key = {.path = (char *)path}, *en;

	(void)e;
	pthread_mutex_lock(&k->lock);
	en = bsearch(&key, k->t->v, k->t->n, sizeof(key), fx_by_path);
	if (!en || en->size != size || crc != crc32c(0, en->data, en->size))
		k->wrong++;
	else
		k->n[en - k->t->v]++;
	pthread_mutex_unlock(&k->lock);
	return 0;
}

/* Random edits: some files change in place, grow, shrink, go; some come. */
static void edit(struct fx_tree *t, uint64_t *rng, unsigned round)
{
	for (size_t i = 0; i < t->n; i++) {
		struct fx_entry *en = &t->v[i];

		if (en->type != ENTRY_FILE)
			continue;
		switch (check_rand_below(rng, 6)) {
		case 0:
			for (uint64_t k = 0; k < en->size; k += 1 + check_rand_below(rng, 30000))
				en->data[k] ^= (uint8_t)check_rand(rng);
			break;
		case 1:
			en->size = check_rand_below(rng, en->size + 1);
			break;
		case 2:
			en->data = realloc(en->data, en->size + 5000);
			check_rand_fill(rng, en->data + en->size, 5000);
			en->size += 5000;
			break;
		default:
			break;
		}
	}
	for (int i = 0; i < 5; i++) {
		char path[32];
		uint8_t *p = fx_bytes(rng, 30000);

		snprintf(path, sizeof(path), "new-%u-%d", round, i);
		fx_add_file(t, path, p, 30000);
		free(p);
	}
}

static const struct {
	struct store_settings s;
	unsigned threads;
} rounds[] = {{{.chunk_size = 8192}, 4}, {{.chunk_size = 65536, .delta_chain = 1}, 1},
	{{.chunk_size = 16384, .delta_chain = 2}, 3}, {{.chunk_size = 8192, .delta_chain = UINT32_MAX}, 2},
	{{.chunk_size = 1u << 20, .level = 1}, 2}};

/* Several snapshots of a tree that changes; each is read back whole, by this handle and by a fresh one. */
START_TEST(round_trip)
{
	struct fixture f = fx_make(&rounds[_i].s);
	uint64_t rng = check_seed() * 100 + _i;
	struct fx_tree t = fx_random_tree(&rng,
			       rounds[_i].s.chunk_size > 65536 ? 12
			       : SANITIZED		       ? 60
							       : 120,
			       rounds[_i].s.chunk_size),
		       old[4] = {{0}};
	char *ids[4];

	for (unsigned round = 0; round < 4; round++) {
		struct told told = {.lock = PTHREAD_MUTEX_INITIALIZER, .t = &t};
		struct ingest_options o = {.threads = rounds[_i].threads, .on_file = on_file, .arg = &told};
		struct snapshot *snap;
		uint64_t files = 0, dirs = 0, links = 0, bytes = 0;

		if (round)
			edit(&t, &rng, round);
		fx_sort(&t);
		told.n = calloc(t.n, sizeof(*told.n));
		ids[round] = fx_ingest(&f, &t, &o, &rng, &snap);
		ck_assert_uint_eq(told.wrong, 0);
		for (size_t i = 0; i < t.n; i++) {
			ck_assert_uint_eq(told.n[i], t.v[i].type == ENTRY_FILE);
			files += t.v[i].type == ENTRY_FILE;
			dirs += t.v[i].type == ENTRY_DIR;
			links += t.v[i].type == ENTRY_SYMLINK;
			bytes += t.v[i].type == ENTRY_FILE ? t.v[i].size : 0;
		}
		free(told.n);
		ck_assert_uint_eq(snap->files, files);
		ck_assert_uint_eq(snap->dirs, dirs);
		ck_assert_uint_eq(snap->symlinks, links);
		ck_assert_uint_eq(snap->logical_bytes, bytes);
		ck_assert_uint_eq(snap->root.descendants, files + dirs + links);
		if (round)
			ck_assert_str_eq(snap->parent, ids[round - 1]);
		else
			ck_assert_ptr_null(snap->parent);
		snapshot_free(snap);
		fx_check_snapshot(&f, ids[round], &t);
		/* Keep a copy for the end. */
		for (size_t i = 0; i < t.n; i++) {
			struct fx_entry *en = fx_add(&old[round], t.v[i].path, t.v[i].type);

			en->meta = t.v[i].meta;
			en->size = t.v[i].size;
			en->data = malloc(en->size + 1);
			if (t.v[i].data)
				memcpy(en->data, t.v[i].data, en->size);
			en->target = t.v[i].target ? strdup(t.v[i].target) : NULL;
		}
	}
	fx_close(&f);
	fx_open(&f);
	for (unsigned round = 0; round < 4; round++) {
		fx_check_snapshot(&f, ids[round], &old[round]);
		fx_tree_free(&old[round]);
		free(ids[round]);
	}
	fx_tree_free(&t);
	fx_free(&f);
}
END_TEST

/* Every size around the boundaries, both ways in. */
START_TEST(sizes)
{
	static const uint64_t around[] = {
		0, 1, 1024, 8192, 16384, 8192 * 16, 8192 * 17, 8192 * 32, 262144, 262144 + 8192, 8192 * 256};
	struct store_settings set = {.chunk_size = 8192};
	struct fixture f = fx_make(&set);
	uint64_t rng = check_seed();
	struct fx_tree t = {0};
	char *id;

	for (size_t i = 0; i < sizeof(around) / sizeof(*around); i++)
		for (int d = -2; d <= 1026; d += d < 2 || d > 1020 ? 1 : 511) {
			uint64_t n = around[i] + (uint64_t)(int64_t)d;
			char path[64];
			uint8_t *p;

			if ((int64_t)n < 0)
				continue;
			p = fx_bytes(&rng, n);
			snprintf(path, sizeof(path), "%d/%zu.%" PRIu64 ".%d", (int)(n % 3), i, n, d);
			fx_add_file(&t, path, p, n);
			free(p);
		}
	for (int i = 0; i < 3; i++) {
		char path[8];

		snprintf(path, sizeof(path), "%d", i);
		fx_add(&t, path, ENTRY_DIR)->implied = true;
	}
	fx_sort(&t);
	id = fx_ingest(&f, &t, NULL, &rng, NULL);
	fx_check_snapshot(&f, id, &t);
	free(id);
	fx_tree_free(&t);
	fx_free(&f);
}
END_TEST

/* ---- what is stored ---- */

static uint64_t usage(struct fixture *f)
{
	uint64_t n;
	struct err e = {0};

	fx_ok(store_usage(f->s, &n, &e), &e);
	return n;
}

START_TEST(shares)
{
	struct store_settings set = {.chunk_size = 8192};
	struct fixture f = fx_make(&set);
	uint64_t rng = check_seed(), before;
	struct fx_tree t = {0};
	struct snapshot *snap;
	uint8_t *p = malloc(1u << 20), *zero = calloc(1, 4u << 20);

	check_rand_fill(&rng, p, 1u << 20);
	for (int i = 0; i < 10; i++) {
		char path[8];

		snprintf(path, sizeof(path), "%d", i);
		fx_add_file(&t, path, p, 1u << 20); /* ten times the same */
		snprintf(path, sizeof(path), "z%d", i);
		fx_add_file(&t, path, zero, (4u << 20) - i);
	}
	fx_sort(&t);
	free(fx_ingest(&f, &t, NULL, &rng, &snap));
	ck_assert_uint_eq(snap->unique_bytes, 1u << 20);
	ck_assert_uint_lt(usage(&f), (1u << 20) + 60000);
	ck_assert_uint_le(snap->stored_bytes, usage(&f));
	fx_check_snapshot(&f, snap->id, &t);
	snapshot_free(snap);
	/* The same again: nothing but the snapshot. */
	before = usage(&f);
	free(fx_ingest(&f, &t, NULL, &rng, &snap));
	ck_assert_uint_eq(snap->unique_bytes, 0);
	ck_assert_uint_eq(usage(&f), before);
	fx_check_snapshot(&f, snap->id, &t);
	snapshot_free(snap);
	free(p);
	free(zero);
	fx_tree_free(&t);
	fx_free(&f);
}
END_TEST

/* A file that changes a little every time: deltas, and no chain longer than the setting. */
START_TEST(deltas)
{
	static const uint32_t chains[] = {1, 2, 4, 64, UINT32_MAX};
	struct store_settings set = {.chunk_size = 8192, .delta_chain = chains[_i]};
	struct fixture f = fx_make(&set);
	uint64_t rng = check_seed();
	struct fx_tree t = {0};
	struct decoder *d;
	unsigned deepest = 0;
	uint8_t *p = malloc(400000);

	check_rand_fill(&rng, p, 400000);
	fx_add_file(&t, "f", p, 400000);
	ck_assert_int_eq(decoder_new(&d), 0);
	for (int round = 0; round < 9; round++) {
		struct ingest_stats st;
		struct snapshot *snap = snapshot_new();
		struct ingest *in;
		struct entry *en;
		struct err e = {0};

		if (round)
			for (int i = 0; i < 49; i += 1 + round % 2)
				check_rand_fill(&rng, t.v[0].data + 8192 * i + 100 * round, 20);
		fx_ok(ingest_new(f.s, "main", SNAPSHOT_BASE, NULL, &in, &e), &e);
		fx_ok(fx_ingest_one(in, &t.v[0], round % 2, &rng, &e), &e);
		fx_ok(ingest_publish(in, snap, &e), &e);
		ingest_progress(in, &st);
		ck_assert_uint_eq(st.files, 1);
		ck_assert_uint_eq(st.logical, 400000);
		ck_assert_uint_eq(st.unique, snap->unique_bytes);
		if (!round || set.delta_chain == UINT32_MAX)
			ck_assert_uint_eq(st.deltas, 0);
		else
			ck_assert_uint_ge(st.deltas, round % 2 ? 25 : 49);
		if (round && set.delta_chain != UINT32_MAX)
			ck_assert_uint_lt(snap->stored_bytes, 40000);
		ingest_free(in);
		fx_check_snapshot(&f, snap->id, &t);
		fx_ok(tree_lookup(f.s, &snap->root, "f", &en, &e), &e);
		for (uint64_t n = 0; n < 49; n++) {
			struct decoded got;
			struct digest id;

			fx_ok(map_find(f.s, &en->file, n, &id, &e), &e);
			fx_ok(decoder_load(d, f.s->index, &id, &got, &e), &e);
			deepest = got.depth > deepest ? got.depth : deepest;
			ck_assert_uint_le(got.depth, set.delta_chain == UINT32_MAX ? 0 : set.delta_chain);
		}
		free(en);
		snapshot_free(snap);
	}
	ck_assert_uint_eq(deepest, set.delta_chain == UINT32_MAX ? 0
				   : set.delta_chain < 8	 ? set.delta_chain
								 : 8);
	decoder_free(d);
	free(p);
	fx_tree_free(&t);
	fx_free(&f);
}
END_TEST

/* A file whose bytes are those of a tree node, of a map node and of a list of digests: kept once, read as both. */
START_TEST(bytes_of_a_node)
{
	struct store_settings set = {.chunk_size = 8192};
	struct fixture f = fx_make(&set);
	uint64_t rng = check_seed();
	struct fx_tree t = {0};
	struct snapshot *snap;
	struct entry *en;
	struct blob *b;
	struct err e = {0};
	uint8_t *p = malloc(300 * 8192);
	char *id;

	for (int i = 0; i < 100; i++) {
		char path[16];

		snprintf(path, sizeof(path), "d/%d", i);
		fx_add_file(&t, path, path, strlen(path));
	}
	fx_add(&t, "d", ENTRY_DIR);
	check_rand_fill(&rng, p, 300 * 8192);
	fx_add_file(&t, "big", p, 300 * 8192);
	fx_sort(&t);
	free(fx_ingest(&f, &t, NULL, &rng, &snap));
	fx_ok(tree_lookup(f.s, &snap->root, "d", &en, &e), &e);
	fx_ok(repo_blob(f.s, &en->dir.node, RECORD_NODE, &b, &e), &e);
	ck_assert_uint_gt(blob_len(b), 1024);
	fx_add_file(&t, "node", blob_data(b), blob_len(b));
	blob_release(b);
	free(en);
	fx_ok(tree_lookup(f.s, &snap->root, "big", &en, &e), &e);
	struct content leaf = en->file;
	struct digest node;
	leaf.height--;
	fx_ok(map_find(f.s, &leaf, 0, &node, &e), &e);
	fx_ok(repo_blob(f.s, &node, RECORD_MAP, &b, &e), &e);
	ck_assert_uint_eq(blob_len(b), 8192);
	fx_add_file(&t, "map", blob_data(b), blob_len(b));
	blob_release(b);
	free(en);
	fx_sort(&t);
	id = fx_ingest(&f, &t, NULL, &rng, NULL);
	for (int fresh = 0; fresh < 2; fresh++) {
		fx_check_snapshot(&f, id, &t);
		fx_close(&f);
		fx_open(&f);
	}
	snapshot_free(snap);
	free(id);
	free(p);
	fx_tree_free(&t);
	fx_free(&f);
}
END_TEST

/* ---- several threads pushing ---- */

struct pusher {
	struct ingest *in;
	struct fixture *f;
	const struct fx_tree *t;
	unsigned number, of;
	uint64_t rng;
	pthread_t thread;
	int r;
};

static void *push(void *arg)
{
	struct pusher *p = arg;

	for (size_t i = p->number; i < p->t->n && !p->r; i += p->of)
		if (p->t->v[i].type == ENTRY_FILE)
			p->r = fx_ingest_one(p->in, &p->t->v[i], 1, &p->rng, NULL);
	return NULL;
}

START_TEST(many_pushers)
{
	struct store_settings set = {.chunk_size = 8192};
	struct fixture f = fx_make(&set);
	uint64_t rng = check_seed();
	struct fx_tree t = fx_random_tree(&rng, 150, 8192);
	struct pusher p[5];
	struct snapshot *snap = snapshot_new();
	struct ingest *in;
	struct err e = {0};

	fx_sort(&t);
	fx_ok(ingest_new(f.s, "main", SNAPSHOT_BASE, NULL, &in, &e), &e);
	for (unsigned i = 0; i < 5; i++) {
		p[i] = (struct pusher){in, NULL, &t, i, 5, check_seed() + i, 0, 0};
		pthread_create(&p[i].thread, NULL, push, &p[i]);
	}
	for (size_t i = 0; i < t.n; i++)
		if (t.v[i].type != ENTRY_FILE)
			fx_ok(fx_ingest_one(in, &t.v[i], 0, &rng, &e), &e);
	for (unsigned i = 0; i < 5; i++) {
		pthread_join(p[i].thread, NULL);
		ck_assert_int_eq(p[i].r, 0);
	}
	fx_ok(ingest_drain(in, &e), &e);
	fx_ok(ingest_finish(in, snap, &e), &e);
	ck_assert_ptr_null(snap->id);
	fx_ok(ingest_publish(in, snap, &e), &e);
	ingest_free(in);
	fx_check_snapshot(&f, snap->id, &t);
	snapshot_free(snap);
	fx_tree_free(&t);
	fx_free(&f);
}
END_TEST

/* Two ingests of one handle, and one of another, at once, sharing most of their bytes. */
static void *whole_ingest(void *arg)
{
	struct pusher *p = arg;

	free(fx_ingest(p->f, p->t, NULL, &p->rng, NULL));
	return NULL;
}

START_TEST(many_ingests)
{
	struct store_settings set = {.chunk_size = 8192};
	struct fixture f = fx_make(&set), g = f;
	uint64_t rng = check_seed();
	struct fx_tree t = fx_random_tree(&rng, 60, 8192);
	struct pusher p[4];
	struct snapshot_list l;
	struct err e = {0};

	fx_sort(&t);
	fx_open(&g);
	for (unsigned i = 0; i < 4; i++) {
		p[i] = (struct pusher){NULL, i % 2 ? &g : &f, &t, i, 4, check_seed() + i, 0, 0};
		pthread_create(&p[i].thread, NULL, whole_ingest, &p[i]);
	}
	for (unsigned i = 0; i < 4; i++)
		pthread_join(p[i].thread, NULL);
	fx_ok(snapshot_list(f.s, "main", 0, &l, &e), &e);
	ck_assert_uint_eq(l.n, 4);
	for (size_t i = 0; i < l.n; i++) {
		fx_check_snapshot(&f, l.refs[i].id, &t);
		fx_check_snapshot(&g, l.refs[i].id, &t);
	}
	snapshot_list_free(&l);
	fx_close(&g);
	fx_tree_free(&t);
	fx_free(&f);
}
END_TEST

/* ---- what goes wrong ---- */

/* The repository is as it was when `before` was taken, and another ingest works. */
static void check_untouched(struct fixture *f, struct fx_objects *before)
{
	struct fx_objects now = fx_objects(f->repo);
	struct fx_tree t = {0};
	uint64_t rng = 1;
	char *id;

	ck_assert_uint_eq(now.n, before->n);
	for (size_t i = 0; i < now.n; i++)
		ck_assert_str_eq(now.names[i], before->names[i]);
	fx_objects_free(&now);
	fx_objects_free(before);
	fx_add_file(&t, "after", "wards", 5);
	id = fx_ingest(f, &t, NULL, &rng, NULL);
	fx_check_snapshot(f, id, &t);
	fx_tree_free(&t);
	free(id);
}

static int bad_path(struct ingest *in, const char *path, struct err *e)
{
	return ingest_dir(in, path, &fx_meta, e);
}

static const struct {
	const char *what, *path;
	int r;
} paths[] = {{"empty", "", -EINVAL}, {"absolute", "/a", -EINVAL}, {"a slash at the end", "a/", -EINVAL},
	{"two slashes", "a//b", -EINVAL}, {"a dot", "a/./b", -EINVAL}, {"climbs", "a/../b", -EINVAL},
	{"climbs at once", "..", -EINVAL}};

START_TEST(bad_paths)
{
	struct fixture f = fx_make(NULL);
	char longer[5000], name[300];
	struct ingest *in;
	struct ingest_file *file;
	struct err e = {0};

	memset(name, 'n', 256);
	name[256] = 0;
	memset(longer, 'a', 4999);
	for (int i = 100; i < 4999; i += 100)
		longer[i] = '/';
	longer[4999] = 0;
	for (size_t i = 0; i < sizeof(paths) / sizeof(*paths) + 2; i++) {
		size_t n = sizeof(paths) / sizeof(*paths);
		const char *path = i < n ? paths[i].path : i == n ? name : longer;
		int want = i <= n ? -EINVAL : -ENAMETOOLONG;

		for (int how = 0; how < 4; how++) {
			int r;

			fx_ok(ingest_new(f.s, "main", SNAPSHOT_BASE, NULL, &in, &e), &e);
			e = (struct err){0};
			r = how == 0   ? bad_path(in, path, &e)
			    : how == 1 ? ingest_symlink(in, path, &fx_meta, "t", &e)
			    : how == 2 ? ingest_file(in, path, &fx_meta, fx_fd("x", 1), 1, &e)
				       : ingest_open(in, path, &fx_meta, &file, &e);
			fx_fails(r, want, &e);
			/* It sticks. */
			fx_fails(ingest_dir(in, "good", &fx_meta, &e), want, &e);
			fx_fails(ingest_drain(in, &e), want, &e);
			ingest_free(in);
		}
	}
	fx_free(&f);
}
END_TEST

START_TEST(bad_meta)
{
	struct fixture f = fx_make(NULL);
	struct meta m[3] = {fx_meta, fx_meta, fx_meta};
	struct ingest *in;
	struct ingest_file *file;
	struct err e = {0};
	char target[5000];

	m[0].mode = 0100644;
	m[1].mtime.nsec = 1000000000;
	for (int i = 0; i < 2; i++) {
		fx_ok(ingest_new(f.s, "main", SNAPSHOT_BASE, NULL, &in, &e), &e);
		fx_fails(ingest_dir(in, "a", &m[i], &e), -EINVAL, &e);
		ingest_free(in);
		fx_ok(ingest_new(f.s, "main", SNAPSHOT_BASE, NULL, &in, &e), &e);
		fx_fails(ingest_open(in, "a", &m[i], &file, &e), -EINVAL, &e);
		ingest_free(in);
	}
	memset(target, 't', 4999);
	for (size_t len = 0; len < 4999; len += 4096) {
		target[len] = 0;
		fx_ok(ingest_new(f.s, "main", SNAPSHOT_BASE, NULL, &in, &e), &e);
		fx_fails(ingest_symlink(in, "a", &m[2], target, &e), -EINVAL, &e);
		ingest_free(in);
		target[len] = 't';
	}
	fx_fails(ingest_new(f.s, "a/b", SNAPSHOT_BASE, NULL, &in, &e), -EINVAL, &e);
	ingest_free(NULL);
	fx_free(&f);
}
END_TEST

static int refuse(void *arg, const char *path, uint64_t size, uint32_t crc, struct err *e)
{
	(void)size;
	(void)crc;
	return strcmp(path, arg) ? 0 : err_set(e, -EBADMSG, "%s: not what the manifest says", path);
}

enum trouble {
	ABORT,
	ABORT_OPEN,
	TWICE,
	SHRUNK,
	GREW,
	GREW_FROM_NOTHING,
	CALLBACK,
	NOT_CLOSED,
	BAD_FD,
	TROUBLES
};

START_TEST(errors_leave_nothing)
{
	struct store_settings set = {.chunk_size = 8192};
	struct fixture f = fx_make(&set);
	uint64_t rng = check_seed();
	struct fx_tree t = fx_random_tree(&rng, 40, 8192);
	struct ingest_options o = {.on_file = _i == CALLBACK ? refuse : NULL, .arg = "odd"};
	struct fx_objects before;
	struct snapshot *snap = snapshot_new();
	struct ingest_file *file = NULL;
	struct ingest *in;
	struct err e = {0}, again = {0};
	uint8_t *big = fx_bytes(&rng, 3000000);
	int r = 0, want = 0;

	free(fx_ingest(&f, &t, NULL, &rng, NULL));
	before = fx_objects(f.repo);
	edit(&t, &rng, 1);
	fx_ok(ingest_new(f.s, "main", SNAPSHOT_BASE, &o, &in, &e), &e);
	for (size_t i = 0; i < t.n; i++)
		fx_ok(fx_ingest_one(in, &t.v[i], (int)(i % 2), &rng, &e), &e);
	switch ((enum trouble)_i) {
	case ABORT:
		break;
	case ABORT_OPEN:
	case NOT_CLOSED:
		fx_ok(ingest_open(in, "open", &fx_meta, &file, &e), &e);
		fx_ok(ingest_write(file, big, 3000000, &e), &e);
		want = _i == NOT_CLOSED ? -EBUSY : 0;
		break;
	case TWICE:
		fx_ok(ingest_dir(in, t.v[3].path, &fx_meta, &e), &e);
		want = -EEXIST;
		break;
	case SHRUNK:
		r = ingest_file(in, "odd", &fx_meta, fx_fd(big, 2999999), 3000000, &e);
		want = -EIO;
		break;
	case GREW:
		r = ingest_file(in, "odd", &fx_meta, fx_fd(big, 3000000), 2999999, &e);
		want = -EIO;
		break;
	case GREW_FROM_NOTHING:
		r = ingest_file(in, "odd", &fx_meta, fx_fd(big, 1), 0, &e);
		want = -EIO;
		break;
	case CALLBACK:
		r = ingest_file(in, "odd", &fx_meta, fx_fd(big, 3000000), 3000000, &e);
		want = -EBADMSG;
		break;
	case BAD_FD:
		r = ingest_file(
			in, "odd", &fx_meta, open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC), 3000000, &e);
		want = -EISDIR;
		break;
	case TROUBLES:
		break;
	}
	(void)r;
	if (want) {
		fx_fails(ingest_publish(in, snap, &e), want, &e);
		if (_i == TWICE)
			ck_assert_ptr_nonnull(strstr(e.text, t.v[3].path));
		else
			ck_assert_ptr_nonnull(strstr(e.text, _i == NOT_CLOSED ? "open" : "odd"));
		/* It sticks, with its words. */
		fx_fails(ingest_publish(in, snap, &again), want, &again);
		ck_assert_str_eq(e.text, again.text);
		fx_fails(ingest_drain(in, &again), want, &again);
		fx_fails(ingest_dir(in, "good", &fx_meta, &again), want, &again);
	}
	ingest_free(in);
	snapshot_free(snap);
	check_untouched(&f, &before);
	free(big);
	fx_tree_free(&t);
	fx_free(&f);
}
END_TEST

/* A file of the parent's is damaged, its map, its tree, or the snapshot itself: the backup still works. */
START_TEST(damaged_parent)
{
	struct store_settings set = {.chunk_size = 8192};
	struct fixture f = fx_make(&set);
	uint64_t rng = check_seed();
	struct fx_tree t = {0};
	struct fx_objects o;
	uint8_t *p = malloc(3000000);

	check_rand_fill(&rng, p, 3000000);
	fx_add_file(&t, "f", p, 3000000);
	fx_add_file(&t, "g", p, 2000);
	fx_sort(&t);
	free(fx_ingest(&f, &t, NULL, &rng, NULL));
	for (uint64_t i = 0; i < 3000000; i += 8192)
		t.v[0].data[i] ^= 1;
	o = fx_objects(f.repo);
	fx_close(&f);
	for (size_t i = 0; i < o.n; i++) {
		size_t n;
		uint8_t *bytes = fx_read_file(f.repo, o.names[i], &n);
		char *id;

		for (int kind = 0; kind < 3; kind++) {
			uint8_t *bad = malloc(n);

			memcpy(bad, bytes, n);
			if (kind == 0)
				for (size_t k = 40; k < n; k += 50)
					bad[k] ^= 0x40;
			if (kind == 1)
				bad[n - 1] ^= 1;
			fx_replace(f.repo, o.names[i], bad, kind == 2 ? n / 2 : n);
			free(bad);
			check_rmtree(f.cache);
			mkdir(f.cache, 0700);
			fx_open(&f);
			id = fx_ingest(&f, &t, NULL, &rng, NULL);
			/* What is stored anew is whole when the damage was known; a chunk that the index still promises
			 * is for `verify` to find. */
			if (kind > 0)
				fx_check_snapshot(&f, id, &t);
			free(id);
			fx_close(&f);
			fx_replace(f.repo, o.names[i], bytes, n);
			/* Back to the one snapshot. */
			struct fx_objects now = fx_objects(f.repo);

			for (size_t k = 0; k < now.n; k++) {
				bool old = false;
				char *path = io_join(f.repo, now.names[k]);

				for (size_t j = 0; j < o.n; j++)
					old |= !strcmp(now.names[k], o.names[j]);
				if (!old)
					unlink(path);
				free(path);
			}
			fx_objects_free(&now);
		}
		free(bytes);
	}
	fx_objects_free(&o);
	free(p);
	fx_tree_free(&t);
	fx_free(&f);
}
END_TEST

/* Disks that are full: an error that says so, nothing left; with room again it works. */
START_TEST(disk_full)
{
	static const char *const room[] = {"64k", "300k", "1m", "3m"};
	struct fixture f = {.dir = check_tempdir()};
	uint64_t rng = check_seed();
	struct fx_tree t = {0};
	struct snapshot *snap = snapshot_new();
	struct ingest *in;
	struct err e = {0};
	char id[STORE_ID_TEXT], options[40];
	uint8_t *p = malloc(6000000);
	int r = 0;

	f.repo = io_join(f.dir, "repo");
	f.cache = io_join(f.dir, "cache");
	mkdir(f.repo, 0700);
	mkdir(f.cache, 0700);
	snprintf(options, sizeof(options), "size=%s", room[_i]);
	if (geteuid() || mount("none", f.repo, "tmpfs", 0, options))
		ck_abort_msg("this test mounts a small tmpfs and wants root");
	fx_ok(store_init(f.repo, NULL, id, &e), &e);
	fx_open(&f);
	check_rand_fill(&rng, p, 6000000);
	for (int i = 0; i < 60; i++) {
		char path[8];

		snprintf(path, sizeof(path), "%d", i);
		fx_add_file(&t, path, p + i * 100000, 100000);
	}
	fx_sort(&t);
	fx_ok(ingest_new(f.s, "main", SNAPSHOT_BASE, NULL, &in, &e), &e);
	for (size_t i = 0; i < t.n && !r; i++)
		r = fx_ingest_one(in, &t.v[i], (int)(i % 2), &rng, &e);
	if (!r)
		r = ingest_publish(in, snap, &e);
	fx_fails(r, -ENOSPC, &e);
	ingest_free(in);
	struct fx_objects o = fx_objects(f.repo);
	ck_assert_uint_eq(o.n, 0);
	fx_objects_free(&o);
	snprintf(options, sizeof(options), "size=20m");
	ck_assert_int_eq(mount("none", f.repo, "tmpfs", MS_REMOUNT, options), 0);
	char *made = fx_ingest(&f, &t, NULL, &rng, NULL);
	fx_check_snapshot(&f, made, &t);
	free(made);
	fx_close(&f);
	umount(f.repo);
	snapshot_free(snap);
	free(p);
	fx_tree_free(&t);
	fx_free(&f);
}
END_TEST

/* ---- memory ---- */

/* Peak of this process in MiB; each test has its own. */
static long peak(void)
{
	struct rusage u;

	getrusage(RUSAGE_SELF, &u);
	return u.ru_maxrss / 1024;
}

/* Two gigabytes through a descriptor (all hole but a little) and one pushed: memory does not grow with them. */
START_TEST(bounded)
{
	struct fixture f = fx_make(NULL);
	uint64_t rng = check_seed(), size = SANITIZED ? 200u << 20 : 2ull << 30, pushed = size / 2;
	struct snapshot *snap = snapshot_new();
	struct ingest_file *file;
	struct ingest *in;
	struct entry *en;
	struct file *r;
	struct err e = {0};
	uint8_t *p = malloc(1u << 20), word[100], out[100];
	int fd = open("/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	long before;

	check_rand_fill(&rng, word, sizeof(word));
	ck_assert_int_eq(ftruncate(fd, (off_t)size), 0);
	for (uint64_t off = 0; off + 100 < size; off += size / 50)
		ck_assert_int_eq(io_pwrite(fd, word, 100, off), 0);
	before = peak();
	fx_ok(ingest_new(f.s, "main", SNAPSHOT_BASE, NULL, &in, &e), &e);
	fx_ok(ingest_file(in, "sparse", &fx_meta, fd, size, &e), &e);
	fx_ok(ingest_open(in, "pushed", &fx_meta, &file, &e), &e);
	for (uint64_t off = 0; off < pushed; off += 1u << 20) {
		/* Every 4 KiB is another, and they compress well. */
		memset(p, 'x', 1u << 20);
		for (uint64_t k = 0; k < 1u << 20; k += 4096) {
			uint64_t v = off + k;

			memcpy(p + k, &v, sizeof(v));
		}
		fx_ok(ingest_write(file, p, 1u << 20, &e), &e);
	}
	fx_ok(ingest_close(file, &e), &e);
	fx_ok(ingest_publish(in, snap, &e), &e);
	ingest_free(in);
	if (!SANITIZED)
		ck_assert_msg(peak() - before < 150, "%ld MiB, %ld before", peak(), before);
	ck_assert_uint_eq(snap->logical_bytes, size + pushed);
	fx_ok(tree_lookup(f.s, &snap->root, "sparse", &en, &e), &e);
	ck_assert_uint_eq(en->file.size, size);
	fx_ok(file_open(f.s, &en->file, &r, &e), &e);
	for (uint64_t off = 0; off + 100 < size; off += size / 50) {
		ck_assert_int_eq(file_read(r, off, out, 100, &e), 100);
		ck_assert_int_eq(memcmp(out, word, 100), 0);
		ck_assert_int_eq(file_read(r, off + 100, out, 100, &e),
			off + 100 + 100 > size ? size - off - 100 : 100);
		ck_assert_uint_eq(out[0], 0);
	}
	file_free(r);
	free(en);
	snapshot_free(snap);
	free(p);
	fx_free(&f);
}
END_TEST

/* Many small files in one directory, through the sorter's spill. */
START_TEST(many_files)
{
	struct fixture f = fx_make(NULL);
	unsigned n = SANITIZED ? 20000 : 200000;
	struct snapshot *snap = snapshot_new();
	struct ingest_file *file;
	struct ingest *in;
	struct entry *en;
	struct err e = {0};
	char path[64];

	fx_ok(ingest_new(f.s, "main", SNAPSHOT_BASE, NULL, &in, &e), &e);
	for (unsigned i = 0; i < n; i++) {
		int r, r2;

		snprintf(path, sizeof(path), "d/%08x", i * 2654435761u);
		r = ingest_open(in, path, &fx_meta, &file, &e);
		r2 = r ? r : ingest_write(file, path, strlen(path), &e);
		if (!r)
			r = ingest_close(file, &e);
		if (r < 0 || r2 < 0)
			ck_abort_msg("%s: %s", path, e.text);
	}
	fx_ok(ingest_publish(in, snap, &e), &e);
	ingest_free(in);
	ck_assert_uint_eq(snap->files, n);
	for (unsigned i = 0; i < n; i += n / 1000) {
		snprintf(path, sizeof(path), "d/%08x", i * 2654435761u);
		if (tree_find(f.s, &snap->root, path, &en, &e) < 0 || en->file.size != strlen(path) ||
			memcmp(en->file.inlined, path, strlen(path)) != 0)
			ck_abort_msg("%s: %s", path, e.text);
		free(en);
	}
	snapshot_free(snap);
	fx_free(&f);
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("store/ingest");
	TCase *t = tcase_create("all");

	tcase_add_loop_test(t, round_trip, 0, sizeof(rounds) / sizeof(*rounds));
	tcase_add_test(t, sizes);
	tcase_add_test(t, shares);
	tcase_add_loop_test(t, deltas, 0, 5);
	tcase_add_test(t, bytes_of_a_node);
	tcase_add_test(t, many_pushers);
	tcase_add_test(t, many_ingests);
	tcase_add_test(t, bad_paths);
	tcase_add_test(t, bad_meta);
	tcase_add_loop_test(t, errors_leave_nothing, 0, TROUBLES);
	tcase_add_test(t, damaged_parent);
	tcase_add_loop_test(t, disk_full, 0, 4);
	tcase_add_test(t, bounded);
	tcase_add_test(t, many_files);
	suite_add_tcase(s, t);
	return s;
}
CHECK_MAIN(suite)
