/* store/repair: what is sound is saved, what is lost is named and nothing else, and it comes back with the next backup or
 * from another repository. */
#include "store/repair.h"
#include "store/wal.h"
#include "tests/unit/store_fixture.h"

#define CHUNK 8192

/* One snapshot, a changed one against it, and two files of WAL; two repositories made alike have the same. */
struct pair {
	struct fixture f;
	struct fx_tree trees[2];
	char *ids[2];
	uint8_t *wal[2];
};

#define WAL_LEN 300000
static const char *const wal_name[] = {"000000010000000000000001", "000000010000000000000002"};

static void push(struct pair *p, int i, int want)
{
	int fd = fx_fd(p->wal[i], WAL_LEN);
	struct err e = {0};
	bool known;
	int r = wal_put(p->f.s, "main", wal_name[i], fd, WAL_LEN, 1, &known, &e);

	ck_assert_msg(r == want, "%s", e.text);
	close(fd);
}

static struct pair make(void)
{
	struct store_settings s = {.chunk_size = CHUNK};
	uint64_t rng = check_seed();
	struct pair p = {.f = fx_make(&s)};
	struct fx_entry *big;
	struct err e = {0};

	fx_ok(store_bind_cluster(p.f.s, "main", "7", &e), &e);
	for (int k = 0; k < 2; k++) {
		uint64_t same = check_seed() + 5;

		p.trees[k] = fx_random_tree(&same, 40, CHUNK);
		big = fx_add(&p.trees[k], "big", ENTRY_FILE);
		big->size = 300 * CHUNK + 100;
		big->data = fx_bytes(&same, big->size);
		fx_sort(&p.trees[k]);
		for (size_t i = 0; k && i < p.trees[k].n; i++)
			if (p.trees[k].v[i].type == ENTRY_FILE && p.trees[k].v[i].size > 2000)
				p.trees[k].v[i].data[1000] ^= 0x55;
		p.ids[k] = fx_ingest(&p.f, &p.trees[k], NULL, &rng, NULL);
		p.wal[k] = fx_bytes(&same, WAL_LEN);
		push(&p, k, 0);
	}
	return p;
}

static void pair_free(struct pair *p)
{
	for (int k = 0; k < 2; k++) {
		fx_tree_free(&p->trees[k]);
		free(p->ids[k]);
		free(p->wal[k]);
	}
	fx_free(&p->f);
}

static void reopen(struct pair *p)
{
	fx_close(&p->f);
	fx_open(&p->f);
}

struct told {
	unsigned lost, ranges; /* of all, and of bytes of files */
	char path[300];
	bool say;
};

static void on_finding(void *arg, const struct verify_finding *f)
{
	struct told *t = arg;

	if (t->say)
		fprintf(stderr, "%d %s %s: %s\n", f->kind, f->object, f->path ? f->path : "", f->why);
	if (f->kind != VERIFY_LOST)
		return;
	t->lost++;
	t->ranges += f->to > 0;
	snprintf(t->path, sizeof(t->path), "%s", f->path);
}

static struct repair_report repair(struct pair *p, struct store *from, struct told *t)
{
	struct repair_options o = {.from = from, .threads = 2};
	struct repair_report r;
	struct err e = {0};

	*t = (struct told){0};
	fx_ok(store_repair(p->f.s, &o, on_finding, t, &r, &e), &e);
	return r;
}

static struct verify_report verify(struct pair *p, bool say)
{
	struct told t = {.say = say};
	struct verify_report v;
	struct err e = {0};

	fx_ok(store_verify(p->f.s, &(struct verify_options){0}, on_finding, &t, &v, &e), &e);
	return v;
}

/* Reads what can be read: never another byte. */
static void read_all(struct pair *p)
{
	struct err e = {0};

	for (int k = 0; k < 2; k++) {
		struct snapshot *snap;

		if (snapshot_load(p->f.s, "main", SNAPSHOT_BASE, p->ids[k], &snap, &e) < 0)
			continue;
		fx_check(p->f.s, &snap->root, &p->trees[k], &e);
		snapshot_free(snap);
	}
}

static void all_is_well(struct pair *p)
{
	struct verify_report v;

	reopen(p);
	v = verify(p, true);
	ck_assert_uint_eq(v.damaged + v.lost + v.unused, 0);
	for (int k = 0; k < 2; k++)
		fx_check_snapshot(&p->f, p->ids[k], &p->trees[k]);
}

/* Where the n-th object lies whose name begins so. */
static char *object(struct pair *p, const char *prefix, unsigned n)
{
	struct fx_objects o = {0};
	struct err e = {0};
	char *name = NULL;

	fx_ok(backend_list(p->f.s->backend, prefix, fx_object, &o, &e), &e);
	if (o.n)
		qsort(o.names, o.n, sizeof(*o.names), fx_by_text);
	if (n < o.n)
		name = strdup(o.names[n]);
	fx_objects_free(&o);
	return name;
}

static void flip(struct pair *p, const char *name, size_t at)
{
	size_t n;
	uint8_t *b = fx_read_file(p->f.repo, name, &n);

	b[at % n] ^= (uint8_t)(1 + at % 255);
	fx_replace(p->f.repo, name, b, n);
	free(b);
}

static void cut(struct pair *p, const char *name, size_t less)
{
	size_t n;
	uint8_t *b = fx_read_file(p->f.repo, name, &n);

	fx_replace(p->f.repo, name, b, less < n ? n - less : n / 2);
	free(b);
}

/* The record of the last chunk of "big" in the first snapshot, which nothing else has. */
static void hurt_big(struct pair *p)
{
	char name[PACK_NAME_MAX];
	struct snapshot *snap;
	struct file *file;
	struct entry *en;
	struct digest id;
	struct place at;
	struct err e = {0};

	fx_ok(snapshot_load(p->f.s, "main", SNAPSHOT_BASE, p->ids[0], &snap, &e), &e);
	fx_ok(tree_find(p->f.s, &snap->root, "big", &en, &e), &e);
	fx_ok(file_open(p->f.s, &en->file, &file, &e), &e);
	fx_ok(file_chunk_ref(file, 300, &id, &e), &e);
	ck_assert(index_find(p->f.s->index, &id, &at));
	flip(p, index_object_name(p->f.s->index, &at, name), at.off + at.len - 1);
	file_free(file);
	free(en);
	snapshot_free(snap);
	reopen(p);
}

START_TEST(a_sound_one_stays_as_it_is)
{
	struct pair p = make();
	struct told t;
	struct repair_report r = repair(&p, NULL, &t);

	ck_assert_uint_eq(r.packs + r.wal + r.snapshots + r.saved + r.lost + t.lost, 0);
	ck_assert_ptr_null(object(&p, "quarantine", 0));
	all_is_well(&p);
	pair_free(&p);
}
END_TEST

START_TEST(a_lost_chunk_comes_back_with_the_next_backup)
{
	struct pair p = make();
	uint64_t rng = check_seed();
	struct repair_report r;
	struct told t;
	char *q;

	hurt_big(&p);
	r = repair(&p, NULL, &t);
	ck_assert_uint_eq(r.packs, 1);
	ck_assert_uint_eq(r.lost, 1);
	ck_assert_uint_gt(r.saved, 100);
	ck_assert_uint_eq(t.lost, 2);
	ck_assert_str_eq(t.path, "big");
	q = object(&p, "quarantine/packs", 0);
	ck_assert_ptr_nonnull(q);
	free(q);
	reopen(&p);
	ck_assert_uint_eq(verify(&p, false).damaged, 0);
	read_all(&p);
	free(fx_ingest(&p.f, &p.trees[0], NULL, &rng, NULL));
	all_is_well(&p);
	pair_free(&p);
}
END_TEST

/* Without its footer, a pack's records are found by their heads. */
START_TEST(a_pack_without_its_end_is_searched)
{
	struct pair p = make();
	uint64_t rng = check_seed();

	for (unsigned i = 0; i < 4; i++) {
		char *name = object(&p, "packs", i);
		struct repair_report r;
		struct told t;

		cut(&p, name, 30);
		free(name);
		reopen(&p);
		r = repair(&p, NULL, &t);
		ck_assert_uint_eq(r.packs, 1);
		ck_assert_uint_gt(r.saved, 0);
		/* Of what is cut there is the footer only. */
		ck_assert_uint_eq(t.lost, 0);
		all_is_well(&p);
	}
	free(fx_ingest(&p.f, &p.trees[0], NULL, &rng, NULL));
	all_is_well(&p);
	pair_free(&p);
}
END_TEST

START_TEST(another_repository_gives_back)
{
	struct pair p = make(), other = make();
	struct repair_report r;
	struct told t;
	char *name;
	struct err e = {0};

	/* All packs, a snapshot, the binding, a file of WAL; and the other file is gone. */
	for (unsigned i = 0; i < 4; i++) {
		name = object(&p, "packs", i);
		cut(&p, name, i % 2 ? 20000 : 3000);
		free(name);
	}
	name = object(&p, "snapshots", 0);
	flip(&p, name, 50);
	free(name);
	flip(&p, "clusters/main", 25);
	name = object(&p, "wal/", 0);
	flip(&p, name, 5000);
	free(name);
	name = object(&p, "wal/", 1);
	fx_ok(backend_remove(p.f.s->backend, name, &e), &e);
	free(name);
	reopen(&p);
	r = repair(&p, other.f.s, &t);
	ck_assert_uint_eq(t.lost, 0);
	ck_assert_uint_eq(r.after.damaged, 0);
	ck_assert_uint_gt(r.chunks_taken, 0);
	ck_assert_uint_eq(r.wal_taken, 2);
	ck_assert_uint_eq(r.snapshots_taken, 1);
	ck_assert_uint_eq(r.clusters_taken, 1);
	all_is_well(&p);
	push(&p, 0, 0);
	push(&p, 1, 0);
	pair_free(&p);
	pair_free(&other);
}
END_TEST

/* A snapshot's object that is damaged is lost, and that is told; another repository gives it back later, too. */
START_TEST(a_lost_snapshot_is_told)
{
	for (int how = 0; how < 3; how++) {
		struct pair p = make(), other = make();
		struct repair_options o = {.delete_damaged = how > 0, .from = how == 2 ? other.f.s : NULL};
		struct repair_report r;
		struct told t = {0};
		char *name = object(&p, "snapshots", 0), *kept;
		struct err e = {0};

		flip(&p, name, 50);
		if (how == 2) /* nor does the other one have it */
			fx_ok(backend_remove(other.f.s->backend, name, &e), &e);
		reopen(&p);
		fx_ok(store_repair(p.f.s, &o, on_finding, &t, &r, &e), &e);
		ck_assert_uint_eq(r.snapshots, 1);
		ck_assert_uint_eq(r.after.lost, 1);
		ck_assert_uint_eq(t.lost, 1);
		kept = object(&p, "quarantine/snapshots", 0);
		ck_assert_int_eq(kept != NULL, how == 0);
		free(kept);
		free(name);
		if (!how) {
			r = repair(&p, other.f.s, &t);
			ck_assert_uint_eq(r.snapshots_taken, 1);
			ck_assert_uint_eq(r.after.lost, 0);
			all_is_well(&p);
		}
		pair_free(&p);
		pair_free(&other);
	}
}
END_TEST

START_TEST(wal_can_be_archived_again)
{
	struct pair p = make();
	struct repair_report r;
	struct told t;
	char *name = object(&p, "wal/", 0);

	flip(&p, name, 5000);
	free(name);
	reopen(&p);
	r = repair(&p, NULL, &t);
	ck_assert_uint_eq(r.wal, 1);
	push(&p, 0, 0);
	all_is_well(&p);
	pair_free(&p);
}
END_TEST

/* Random damage: repair always comes to an end, leaves nothing damaged behind, and what is lost comes back. */
START_TEST(whatever_happened)
{
	uint64_t rng = check_seed();
	unsigned whole = 0;

	for (unsigned k = 0; k < (SANITIZED ? 4 : 60); k++) {
		struct pair p = make();
		struct repair_report r;
		struct told t;

		for (uint64_t n = 1 + check_rand_below(&rng, 4); n; n--) {
			char *name = object(&p, "packs", (unsigned)check_rand_below(&rng, 4));

			if (check_rand_below(&rng, 3))
				flip(&p, name, check_rand_below(&rng, 200000));
			else
				cut(&p, name, 1 + check_rand_below(&rng, 9000));
			free(name);
		}
		reopen(&p);
		r = repair(&p, NULL, &t);
		ck_assert_uint_gt(r.before.damaged, 0);
		ck_assert_uint_gt(r.packs, 0);
		reopen(&p);
		ck_assert_uint_eq(verify(&p, false).damaged, 0);
		read_all(&p);
		for (int i = 0; i < 2; i++)
			free(fx_ingest(&p.f, &p.trees[i], NULL, &rng, NULL));
		reopen(&p);
		/* A directory's node tells times and sizes of its own: a later backup has no such node. */
		r = repair(&p, NULL, &t);
		ck_assert_uint_eq(t.ranges, 0);
		ck_assert_uint_eq(r.after.damaged, 0);
		read_all(&p);
		whole += !t.lost;
		pair_free(&p);
	}
	ck_assert_uint_gt(whole, 0);
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("store_repair");
	TCase *t = tcase_create("all");

	tcase_add_test(t, a_sound_one_stays_as_it_is);
	tcase_add_test(t, a_lost_chunk_comes_back_with_the_next_backup);
	tcase_add_test(t, a_pack_without_its_end_is_searched);
	tcase_add_test(t, another_repository_gives_back);
	tcase_add_test(t, a_lost_snapshot_is_told);
	tcase_add_test(t, wal_can_be_archived_again);
	tcase_add_test(t, whatever_happened);
	suite_add_tcase(s, t);
	return s;
}

CHECK_MAIN(suite)
