/* store/verify: a sound repository is called sound, each kind of damage is found and its victims are named, and whatever
 * is damaged, no read gives a wrong byte. */
#include "store/verify.h"

#include "src/base/clean.h"
#include "store/pruned.h"
#include "store/wal.h"
#include "store/wal_partial.h"
#include "tests/unit/store_fixture.h"

#define CHUNK 8192

struct findings {
	unsigned objects, lost, unused;
	char path[300], why[700];
	uint64_t from, to;
};

static void on_finding(void *arg, const struct verify_finding *f)
{
	struct findings *all = arg;

	ck_assert_ptr_nonnull(f->object);
	ck_assert_ptr_nonnull(f->why);
	all->objects += f->kind == VERIFY_OBJECT;
	all->unused += f->kind == VERIFY_UNUSED;
	if (f->kind != VERIFY_LOST)
		return;
	all->lost++;
	snprintf(all->path, sizeof(all->path), "%s", f->path);
	snprintf(all->why, sizeof(all->why), "%s", f->why);
	all->from = f->from;
	all->to = f->to;
}

static struct verify_report verify(struct store *s, const struct verify_options *o, struct findings *all)
{
	struct verify_report v;
	struct err e = {0};

	*all = (struct findings){0};
	fx_ok(store_verify(s, o, on_finding, all, &v, &e), &e);
	ck_assert_uint_eq(v.unused, all->unused);
	ck_assert((v.damaged > 0) == (all->objects > 0));
	return v;
}

static void push_wal(struct fixture *f, const char *name, uint64_t *rng, uint64_t n)
{
	uint8_t *p = fx_bytes(rng, n);
	int fd = fx_fd(p, n);
	struct err e = {0};
	bool known;

	fx_ok(wal_put(f->s, "main", name, fd, n, 1, &known, &e), &e);
	close(fd);
	free(p);
}

#define GROWING "000000010000000000000003"
#define GROWN (3u << 19)
static uint8_t *grown; /* its bytes */

/* A segment that grows, in pieces of two of its MiB. */
static void push_pieces(struct fixture *f, uint64_t *rng)
{
	struct err e = {0};

	free(grown);
	grown = fx_bytes(rng, GROWN);
	for (uint64_t at = 0; at < GROWN; at += 300000)
		fx_ok(wal_partial_append(f->s, "main", GROWING, 16 << 20, at, grown + at,
			      at + 300000 < GROWN ? 300000 : GROWN - at, &e),
			&e);
}

/* As much of it as can be had is right; what can be had is told of. */
static void read_pieces(struct fixture *f)
{
	_cleanup_(freep) uint8_t *p = malloc(GROWN);
	struct err e = {0};
	size_t n = 0;

	if (wal_partial_load(f->s, "main", GROWING, p, GROWN, &n, &e) < 0)
		return;
	ck_assert_uint_le(n, GROWN);
	ck_assert_msg(!memcmp(p, grown, n), "wrong bytes in a segment that grows");
}

/* Two snapshots of a tree, the second with changes that make deltas, three files of WAL, a note, and a
 * segment that grows. */
static struct fx_tree populate(struct fixture *f, uint64_t *rng)
{
	struct fx_tree t = fx_random_tree(rng, 40, CHUNK);
	struct fx_entry *big = fx_add(&t, "big", ENTRY_FILE);
	struct err e = {0};
	char *id;

	fx_ok(store_bind_cluster(f->s, "main", "7", &e), &e);
	/* Such that its map has two levels. */
	big->size = 300 * CHUNK + 100;
	big->data = fx_bytes(rng, big->size);
	fx_sort(&t);
	id = fx_ingest(f, &t, NULL, rng, NULL);
	free(id);
	for (size_t i = 0; i < t.n; i++)
		if (t.v[i].type == ENTRY_FILE && t.v[i].size > 2000)
			t.v[i].data[1000] ^= 0x55;
	id = fx_ingest(f, &t, NULL, rng, NULL);
	free(id);
	push_wal(f, "000000010000000000000001", rng, 400000);
	push_wal(f, "000000010000000000000002", rng, 70000);
	push_wal(f, "00000002.history", rng, 60);
	fx_ok(wal_note_put(f->s, "main", "000000010000000000000001", "a note of it", 12, &e), &e);
	push_pieces(f, rng);
	return t;
}

static struct fixture make(void)
{
	struct store_settings s = {.chunk_size = CHUNK};

	return fx_make(&s);
}

START_TEST(a_sound_repository)
{
	uint64_t rng = check_seed();
	struct fixture f = make();
	struct fx_tree t = populate(&f, &rng);
	struct verify_options o = {.threads = 2};
	struct findings all;
	struct verify_report v = verify(f.s, &o, &all);

	ck_assert_uint_eq(v.damaged + v.lost + v.unused, 0);
	ck_assert_uint_eq(v.snapshots, 2);
	ck_assert_uint_eq(v.objects, v.objects_read);
	ck_assert_uint_ge(v.objects, 5);
	ck_assert_uint_gt(v.bytes_unpacked, v.bytes_read);
	ck_assert_uint_gt(v.files, 20);
	o.quick = true;
	v = verify(f.s, &o, &all);
	ck_assert_uint_eq(v.damaged + v.lost + v.objects_read + v.bytes_unpacked, 0);
	ck_assert_uint_eq(v.snapshots, 2);
	o = (struct verify_options){.since = {4000000000, 0}};
	v = verify(f.s, &o, &all);
	ck_assert_uint_eq(v.snapshots + v.bytes_read, 0);
	o = (struct verify_options){.cluster = "other"};
	v = verify(f.s, &o, &all);
	ck_assert_uint_eq(v.snapshots, 0);
	fx_tree_free(&t);
	fx_free(&f);
}
END_TEST

/* Slices of a third, three times, read everything once; then all is as old, and it begins anew. */
START_TEST(slices_go_round)
{
	uint64_t rng = check_seed(), all_bytes;
	struct fixture f = make();
	struct fx_tree t = populate(&f, &rng);
	char *state = io_join(f.dir, "state/verified");
	struct verify_options o = {.state = state, .slice = 0.02};
	struct findings all;
	struct verify_report v;
	unsigned runs = 0;

	v = verify(f.s, &(struct verify_options){0}, &all);
	all_bytes = v.bytes_read;
	/* The state names what was read: as long as something was not, a slice reads that first. */
	for (size_t known = 0; known < v.objects; runs++) {
		struct verify_report part = verify(f.s, &o, &all);
		size_t n, was = known;
		char *text;

		ck_assert_uint_le(part.bytes_read, all_bytes);
		text = (char *)fx_read_file(f.dir, "state/verified", &n);
		known = 0;
		for (char *c = text; (c = strchr(c, '\n')); c++)
			known++;
		free(text);
		ck_assert_uint_gt(known, was);
	}
	ck_assert_uint_gt(runs, 1);
	o.slice = 0;
	o.sample = 0.5;
	o.seed = 3;
	v = verify(f.s, &o, &all);
	ck_assert_uint_lt(v.bytes_read, all_bytes);
	ck_assert_uint_gt(v.bytes_read, 0);
	free(state);
	fx_tree_free(&t);
	fx_free(&f);
}
END_TEST

/* The place of a chunk of "big" in both snapshots is told. */
START_TEST(victims_are_named)
{
	uint64_t rng = check_seed();
	struct fixture f = make();
	struct fx_tree t = populate(&f, &rng);
	struct verify_options o = {0};
	struct snapshot *snap;
	struct findings all;
	struct entry *en;
	struct place at;
	struct digest id;
	char name[PACK_NAME_MAX], hex[DIGEST_HEX];
	struct err e = {0};
	struct file *file;
	uint8_t *p;
	size_t n;

	fx_ok(snapshot_resolve(f.s, "main", SNAPSHOT_BASE, "latest", &snap, &e), &e);
	fx_ok(tree_find(f.s, &snap->root, "big", &en, &e), &e);
	fx_ok(file_open(f.s, &en->file, &file, &e), &e);
	/* Not a chunk of zeroes, and not one that another file or place has: the last, which is short. */
	fx_ok(file_chunk_ref(file, 300, &id, &e), &e);
	ck_assert(!digest_is_zero(&id));
	ck_assert(index_find(f.s->index, &id, &at));
	index_object_name(f.s->index, &at, name);
	p = fx_read_file(f.repo, name, &n);
	p[at.off + at.len - 1] ^= 1;
	fx_replace(f.repo, name, p, n);
	file_free(file);
	fx_close(&f);
	fx_open(&f);
	ck_assert_uint_eq(verify(f.s, &o, &all).damaged, 1);
	ck_assert_uint_eq(all.lost, 2);
	ck_assert_str_eq(all.path, "big");
	ck_assert_uint_eq(all.from, 300 * CHUNK);
	ck_assert_uint_eq(all.to, 300 * CHUNK + 100);
	ck_assert_ptr_nonnull(strstr(all.why, digest_hex(&id, hex)));
	ck_assert_uint_eq(all.unused, 0);
	free(p);
	free(en);
	snapshot_free(snap);
	fx_tree_free(&t);
	fx_free(&f);
}
END_TEST

/* ---- damage of every kind ---- */

enum damage { FLIP, TRUNCATE, REMOVE };

static void hurt(
	struct fixture *f, const char *name, enum damage d, const uint8_t *p, size_t n, uint64_t *rng)
{
	uint8_t *q = malloc(n + 1);
	char *path;

	memcpy(q, p, n);
	switch (d) {
	case FLIP:
		q[check_rand_below(rng, n)] ^= (uint8_t)(1u << check_rand_below(rng, 8));
		fx_replace(f->repo, name, q, n);
		break;
	case TRUNCATE:
		fx_replace(f->repo, name, q, check_rand_below(rng, n));
		break;
	case REMOVE:
		path = io_join(f->repo, name);
		ck_assert_int_eq(unlink(path), 0);
		free(path);
		break;
	}
	free(q);
}

/* Reads all that is there: errors are allowed, other bytes are not (fx_check compares). */
static void read_all(
	struct fixture *f, const struct fx_tree trees[2], struct fx_objects *wal, uint8_t **bytes)
{
	struct snapshot_list l = {0};
	struct err e = {0};

	if (snapshot_list(f->s, "main", SNAPSHOT_BASE, &l, &e) < 0)
		return;
	for (size_t i = 0; i < l.n; i++) {
		struct snapshot *snap;

		if (snapshot_load(f->s, "main", SNAPSHOT_BASE, l.refs[i].id, &snap, &e) < 0)
			continue;
		/* The second one's id ends with -2. */
		fx_check(f->s, &snap->root, &trees[strlen(l.refs[i].id) > 20], &e);
		snapshot_free(snap);
	}
	snapshot_list_free(&l);
	read_pieces(f);
	for (size_t i = 0; i < wal->n; i++) {
		const char *name = strrchr(wal->names[i], '/') + 1;
		struct file *file;
		uint8_t *p;
		ssize_t got;

		if (wal_open(f->s, "main", name, &file, &e) < 0)
			continue;
		p = malloc(file_size(file) + 1);
		got = file_read(file, 0, p, file_size(file), &e);
		if (got >= 0)
			fx_same(name, p, (size_t)got, bytes[i], wal->sizes[i]);
		free(p);
		file_free(file);
	}
}

static void list(struct fixture *f, struct fx_objects *o, const char *prefix)
{
	struct err e = {0};

	fx_ok(backend_list(f->s->backend, prefix, fx_object, o, &e), &e);
}

START_TEST(whatever_is_damaged_is_found_and_never_served)
{
	static const unsigned full[] = {2000, 500, 200};
	uint64_t rng = check_seed();
	struct fixture f = make();
	struct fx_tree trees[2] = {populate(&f, &rng)};
	struct fx_objects o = {0}, wal = {0};
	uint8_t **wal_bytes;
	struct err e = {0};
	struct verify_options vo = {.threads = 2};
	char *state = io_join(f.cache, "verified");
	uint64_t tried = 0, found = 0;

	/* The first snapshot has the bytes as they were before the changes. */
	trees[1] = trees[0];
	trees[0].v = malloc(trees[1].n * sizeof(*trees[0].v));
	for (size_t i = 0; i < trees[1].n; i++) {
		trees[0].v[i] = trees[1].v[i];
		if (trees[1].v[i].type != ENTRY_FILE)
			continue;
		trees[0].v[i].data = malloc(trees[1].v[i].size + 1);
		memcpy(trees[0].v[i].data, trees[1].v[i].data, trees[1].v[i].size);
		if (trees[1].v[i].size > 2000)
			trees[0].v[i].data[1000] ^= 0x55;
	}
	list(&f, &o, "packs");
	list(&f, &o, "snapshots");
	list(&f, &o, "clusters");
	list(&f, &o, "wal");
	list(&f, &o, "walpart");
	list(&f, &o, "walnote");
	list(&f, &wal, "wal");
	o.names = realloc(o.names, (o.n + 1) * sizeof(*o.names));
	o.names[o.n++] = strdup("config");
	wal_bytes = calloc(wal.n, sizeof(*wal_bytes));
	for (size_t i = 0; i < wal.n; i++) {
		const char *name = strrchr(wal.names[i], '/') + 1;
		struct file *file;

		fx_ok(wal_open(f.s, "main", name, &file, &e), &e);
		wal.sizes[i] = file_size(file);
		wal_bytes[i] = malloc(wal.sizes[i] + 1);
		fx_ok(file_read(file, 0, wal_bytes[i], wal.sizes[i], &e), &e);
		file_free(file);
	}
	for (int d = FLIP; d <= REMOVE; d++) {
		/* What is gone without a mark is told by who saw it: all of it, before anything went. */
		if (d == REMOVE) {
			fx_close(&f);
			fx_open(&f);
			vo.state = state;
			ck_assert_uint_eq(verify(f.s, &vo, &(struct findings){0}).lost, 0);
		}
		for (unsigned k = 0; k < full[d] / PART(20, 50); k++) {
			const char *name = o.names[check_rand_below(&rng, o.n)];
			size_t n;
			uint8_t *p = fx_read_file(f.repo, name, &n);
			struct findings all = {0};
			/* Notes are made again; pieces are merged into others, which only a receiver can tell. */
			bool may_go = d == REMOVE &&
				      (!strncmp(name, "walnote/", 8) || !strncmp(name, "walpart/", 8));
			struct store_options so = {.index_dir = k % 2 ? f.cache : NULL};
			int r;

			hurt(&f, name, (enum damage)d, p, n, &rng);
			fx_close(&f);
			e = (struct err){0};
			r = store_open(f.repo, &so, &f.s, &e);
			if (r == 0) {
				struct verify_report v;

				r = store_verify(f.s, &vo, on_finding, &all, &v, &e);
				ck_assert_msg(r < 0 || v.damaged || v.lost || v.unused || may_go,
					"%s %d: not found", name, d);
				read_all(&f, trees, &wal, wal_bytes);
			}
			found += r < 0 || all.objects || all.lost || all.unused;
			tried++;
			if (!f.s || d == REMOVE) {
				store_free(f.s);
				f.s = NULL;
			}
			if (d == REMOVE) {
				char *path = io_join(f.repo, name), *folder = strdup(path);

				*strrchr(folder, '/') = 0;
				fx_ok(io_create_file(folder, strrchr(path, '/') + 1, p, n, 0440, &e), &e);
				free(folder);
				free(path);
			} else {
				fx_replace(f.repo, name, p, n);
			}
			free(p);
		}
	}
	fprintf(stderr, "damage: %" PRIu64 " cases, %" PRIu64 " told of\n", tried, found);
	fx_close(&f);
	fx_open(&f);
	ck_assert_uint_eq(verify(f.s, &vo, &(struct findings){0}).damaged, 0);
	for (size_t i = 0; i < trees[0].n; i++)
		if (trees[0].v[i].type == ENTRY_FILE)
			free(trees[0].v[i].data);
	free(trees[0].v);
	for (size_t i = 0; i < wal.n; i++)
		free(wal_bytes[i]);
	free(wal_bytes);
	free(state);
	fx_objects_free(&o);
	fx_objects_free(&wal);
	fx_tree_free(&trees[1]);
	fx_free(&f);
}
END_TEST

/* What an earlier run saw and is gone is lost, until it is back; unless whoever took it left a mark. */
START_TEST(what_is_gone_is_told)
{
	uint64_t rng = check_seed();
	struct fixture f = make();
	struct fx_tree t = populate(&f, &rng);
	struct fx_objects o = {0};
	char *state = io_join(f.cache, "verified");
	struct verify_options vo = {.threads = 2, .state = state}, other = vo;
	struct err e = {0};
	unsigned tried = 0;

	other.cluster = "other";
	list(&f, &o, "snapshots");
	list(&f, &o, "wal");
	ck_assert_uint_eq(verify(f.s, &vo, &(struct findings){0}).lost, 0);
	for (size_t i = 0; i < o.n; i++, tried++) {
		size_t n;
		uint8_t *p = fx_read_file(f.repo, o.names[i], &n);
		char *path = io_join(f.repo, o.names[i]), *folder = strdup(path);

		*strrchr(folder, '/') = 0;
		for (int marked = 0; marked < 2; marked++) {
			fx_ok(backend_remove(f.s->backend, o.names[i], &e), &e);
			/* Twice: it stays lost. A run that looks at another cluster neither tells nor forgets. */
			for (int k = 0; k < 2 && !marked; k++) {
				ck_assert_uint_eq(verify(f.s, &vo, &(struct findings){0}).lost, 1);
				ck_assert_uint_eq(verify(f.s, &other, &(struct findings){0}).lost, 0);
			}
			if (marked)
				fx_ok(pruned_put_object(f.s, o.names[i], &e), &e);
			if (marked)
				ck_assert_uint_eq(verify(f.s, &vo, &(struct findings){0}).lost, 0);
			fx_ok(io_create_file(folder, strrchr(path, '/') + 1, p, n, 0440, &e), &e);
			ck_assert_uint_eq(verify(f.s, &vo, &(struct findings){0}).lost, 0);
		}
		free(folder);
		free(path);
		free(p);
	}
	ck_assert_uint_gt(tried, 3);
	free(state);
	fx_objects_free(&o);
	fx_tree_free(&t);
	fx_free(&f);
}
END_TEST

START_TEST(marks_of_wal_are_ranges)
{
	static const struct {
		const char *name;
		int want;
	} cases[] = {
		{"wal/main/0000000100000000/000000010000000000000002", 0},
		{"wal/main/0000000100000000/000000010000000000000003", 1},
		{"wal/main/0000000100000000/000000010000000000000003.00000028.backup", 1},
		{"wal/main/0000000100000000/000000010000000000000005", 1},
		{"wal/main/0000000100000000/000000010000000000000006", 0},
		{"wal/main/0000000200000000/000000020000000000000004", 0},
		{"wal/other/0000000100000000/000000010000000000000004", 0},
		{"wal/main/00000002./00000002.history", 0},
		{"wal/main/00000003./00000003.history", 1},
		{"snapshots/main/base/x", 1},
		{"snapshots/main/dump/x", 0},
		{"packs/0000", 0},
	};
	struct fixture f = make();
	char cluster[] = "main", id[] = "x";
	const struct snapshot_ref ref = {.cluster = cluster, .kind = SNAPSHOT_BASE, .id = id};
	struct err e = {0};

	for (int twice = 0; twice < 2; twice++) {
		fx_ok(pruned_put_wal(f.s, "main", "000000010000000000000003", "000000010000000000000005", &e),
			&e);
		fx_ok(pruned_put_object(f.s, "wal/main/00000003./00000003.history", &e), &e);
		fx_ok(pruned_put_object(f.s, "packs/0000", &e), &e);
		fx_ok(pruned_put_snapshot(f.s, &ref, &e), &e);
	}
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++)
		ck_assert_msg(pruned_has(f.s, cases[i].name, &e) == cases[i].want, "%s", cases[i].name);
	/* None is old. */
	fx_ok(pruned_expire(f.s, &e), &e);
	ck_assert_int_eq(pruned_has(f.s, "snapshots/main/base/x", &e), 1);
	fx_free(&f);
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("store_verify");
	TCase *t = tcase_create("all");

	tcase_add_test(t, a_sound_repository);
	tcase_add_test(t, slices_go_round);
	tcase_add_test(t, victims_are_named);
	tcase_add_test(t, what_is_gone_is_told);
	tcase_add_test(t, marks_of_wal_are_ranges);
	tcase_add_test(t, whatever_is_damaged_is_found_and_never_served);
	suite_add_tcase(s, t);
	return s;
}

CHECK_MAIN(suite)
