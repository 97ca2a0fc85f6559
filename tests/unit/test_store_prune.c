/* store/prune: what is needed stays, byte for byte, what is not goes, and nobody at work loses anything. */
#include "store/prune.h"
#include "store/lease.h"
#include "store/verify.h"
#include "tests/unit/store_fixture.h"

#include <sys/wait.h>

#define CHUNK 8192

static struct fixture make(void)
{
	struct store_settings s = {.chunk_size = CHUNK};
	struct fixture f = fx_make(&s);
	struct err e = {0};

	fx_ok(store_bind_cluster(f.s, "main", "7", &e), &e);
	return f;
}

static struct fx_tree copy_tree(const struct fx_tree *t)
{
	struct fx_tree c = {0};

	for (size_t i = 0; i < t->n; i++) {
		struct fx_entry *en = fx_add(&c, t->v[i].path, t->v[i].type);

		en->meta = t->v[i].meta;
		en->size = t->v[i].size;
		if (t->v[i].data) {
			en->data = malloc(en->size + 1);
			memcpy(en->data, t->v[i].data, en->size);
		}
		if (t->v[i].target)
			en->target = strdup(t->v[i].target);
	}
	return c;
}

/* Changes a byte in some chunks of every large file, and all bytes of some. */
static void change(struct fx_tree *t, uint64_t *rng)
{
	for (size_t i = 0; i < t->n; i++) {
		struct fx_entry *en = &t->v[i];

		if (en->type != ENTRY_FILE || en->size < 2000)
			continue;
		if (!check_rand_below(rng, 4))
			check_rand_fill(rng, en->data, en->size);
		else
			for (int k = 0; k < 3; k++)
				en->data[check_rand_below(rng, en->size)] ^= 0x5a;
	}
}

struct history {
	struct fx_tree trees[6];
	char *ids[6];
	unsigned n;
};

static void add(struct fixture *f, struct history *h, uint64_t *rng)
{
	if (h->n) {
		h->trees[h->n] = copy_tree(&h->trees[h->n - 1]);
		change(&h->trees[h->n], rng);
	} else {
		h->trees[0] = fx_random_tree(rng, 60, CHUNK);
		fx_sort(&h->trees[0]);
	}
	h->ids[h->n] = fx_ingest(f, &h->trees[h->n], NULL, rng, NULL);
	h->n++;
}

static void history_free(struct history *h)
{
	for (unsigned i = 0; i < h->n; i++) {
		fx_tree_free(&h->trees[i]);
		free(h->ids[i]);
	}
}

static void on_finding(void *arg, const struct verify_finding *f)
{
	(void)arg;
	fprintf(stderr, "%s %s %s: %s\n", f->object, f->snapshot ? f->snapshot : "", f->path ? f->path : "",
		f->why);
}

/* Sound, seen by a handle that knows nothing yet; and every snapshot that is there is what it was. */
static void check(struct fixture *f, const struct history *h, unsigned first)
{
	struct verify_report v;
	struct err e = {0};

	fx_close(f);
	fx_open(f);
	fx_ok(store_verify(f->s, &(struct verify_options){0}, on_finding, NULL, &v, &e), &e);
	ck_assert_uint_eq(v.damaged + v.lost, 0);
	ck_assert_uint_eq(v.snapshots, h->n - first);
	for (unsigned i = first; i < h->n; i++)
		fx_check_snapshot(f, h->ids[i], &h->trees[i]);
}

static void drop(struct fixture *f, const struct history *h, unsigned n)
{
	struct err e = {0};

	for (unsigned i = 0; i < n; i++) {
		struct snapshot_ref ref = {"main", SNAPSHOT_BASE, h->ids[i]};

		fx_ok(store_remove_snapshots(f->s, &ref, 1, &e), &e);
	}
}

static struct prune_report prune(struct fixture *f, const struct prune_options *o)
{
	struct prune_report r;
	struct err e = {0};

	fx_ok(store_prune(f->s, o, &r, &e), &e);
	return r;
}

static unsigned count_objects(struct fixture *f, const char *prefix)
{
	struct fx_objects o = {0};
	struct err e = {0};
	unsigned n;

	fx_ok(backend_list(f->s->backend, prefix, fx_object, &o, &e), &e);
	n = (unsigned)o.n;
	fx_objects_free(&o);
	return n;
}

START_TEST(nothing_to_do)
{
	uint64_t rng = check_seed();
	struct fixture f = make();
	struct history h = {0};
	struct prune_report r;

	r = prune(&f, &(struct prune_options){0});
	ck_assert_uint_eq(r.packs, 0);
	add(&f, &h, &rng);
	add(&f, &h, &rng);
	r = prune(&f, &(struct prune_options){0});
	ck_assert_uint_eq(r.removed + r.waiting + r.rewritten, 0);
	ck_assert_uint_ge(r.packs, 4);
	ck_assert_uint_gt(r.live_bytes, r.bytes / 2);
	ck_assert_uint_le(r.live_bytes, r.bytes);
	ck_assert_uint_eq(count_objects(&f, "leases"), 0);
	check(&f, &h, 0);
	history_free(&h);
	fx_free(&f);
}
END_TEST

/* One after the other goes; the rest stays whole, deltas whose bases were stored with the dropped ones included. */
START_TEST(old_ones_go)
{
	uint64_t rng = check_seed();
	struct fixture f = make();
	struct history h = {0};
	uint64_t before, after;
	struct err e = {0};

	for (int i = 0; i < 6; i++)
		add(&f, &h, &rng);
	for (unsigned first = 1; first < 6; first++) {
		struct snapshot_ref ref = {"main", SNAPSHOT_BASE, h.ids[first - 1]};
		struct prune_options dry = {.dry_run = true, .drop = &ref, .n_drop = 1};
		unsigned objects = count_objects(&f, "packs");
		struct prune_report would = prune(&f, &dry), did;

		ck_assert_uint_eq(count_objects(&f, "packs"), objects);
		ck_assert_uint_eq(count_objects(&f, "condemned"), 0);
		check(&f, &h, first - 1);
		drop(&f, &h, first);
		fx_ok(store_usage(f.s, &before, &e), &e);
		did = prune(&f, &(struct prune_options){0});
		ck_assert_uint_eq(did.removed, would.removed);
		ck_assert_uint_eq(did.removed_bytes, would.removed_bytes);
		ck_assert_uint_eq(did.rewritten, would.rewritten);
		check(&f, &h, first);
		fx_ok(store_usage(f.s, &after, &e), &e);
		ck_assert_uint_le(after, before);
		ck_assert_uint_eq(count_objects(&f, "condemned"), 0);
	}
	/* Of six, one is left: what there is, is what it needs, and little more. */
	drop(&f, &h, 6);
	ck_assert_uint_gt(prune(&f, &(struct prune_options){0}).removed, 0);
	ck_assert_uint_eq(count_objects(&f, "packs"), 0);
	history_free(&h);
	fx_free(&f);
}
END_TEST

/* Packs of which a little lives are copied: nearly nothing stays of what is not needed. */
START_TEST(mostly_dead_packs_are_rewritten)
{
	uint64_t rng = check_seed();
	struct fixture f = make();
	struct history h = {0};
	struct fx_tree small = {0};
	struct prune_report r;

	add(&f, &h, &rng);
	/* A tenth of the first. */
	for (size_t i = 0; i < h.trees[0].n; i += 10) {
		const struct fx_entry *en = &h.trees[0].v[i];

		if (en->type == ENTRY_FILE)
			fx_add_file(&small, strrchr(en->path, '/') ? strrchr(en->path, '/') + 1 : en->path,
				en->data, en->size);
	}
	fx_sort(&small);
	h.trees[1] = small;
	h.ids[1] = fx_ingest(&f, &small, NULL, &rng, NULL);
	h.n = 2;
	drop(&f, &h, 1);
	r = prune(&f, &(struct prune_options){0});
	ck_assert_uint_gt(r.rewritten, 0);
	ck_assert_uint_gt(r.removed, 0);
	check(&f, &h, 1);
	r = prune(&f, &(struct prune_options){0});
	ck_assert_uint_eq(r.removed + r.rewritten, 0);
	ck_assert_uint_gt(r.live_bytes, r.bytes / 2);
	history_free(&h);
	fx_free(&f);
}
END_TEST

/* Everything moves twice, without a pause: who reads finds it each time, also right after something was found to be lost. */
START_TEST(who_reads_finds_what_was_moved)
{
	uint64_t rng = check_seed();
	struct fixture f = make(), reader = f;
	const struct prune_options all = {.rewrite_percent = 100};
	struct history h = {0};
	const struct fx_entry *large = NULL;
	struct digest none = digest_of("none", 4);
	struct snapshot *snap;
	struct entry *en;
	struct blob *b;
	struct err e = {0};
	uint8_t *p;

	add(&f, &h, &rng);
	for (size_t i = 0; i < h.trees[0].n; i++)
		if (!large || h.trees[0].v[i].size > large->size)
			large = &h.trees[0].v[i];
	fx_open(&reader);
	fx_ok(snapshot_load(reader.s, "main", SNAPSHOT_BASE, h.ids[0], &snap, &e), &e);
	ck_assert_uint_gt(prune(&f, &all).removed, 0);
	/* Packs of nodes and packs of chunks are moved; the reader now has those of nodes open. */
	fx_ok(tree_find(reader.s, &snap->root, large->path, &en, &e), &e);
	fx_fails(repo_blob(reader.s, &none, RECORD_CHUNK, &b, &e), -ENODATA, &e);
	ck_assert_uint_gt(prune(&f, &all).removed, 0);
	fx_ok(fx_read(reader.s, &en->file, 100000, &p, &e), &e);
	fx_same(large->path, p, en->file.size, large->data, large->size);
	free(p);
	free(en);
	snapshot_free(snap);
	fx_close(&reader);
	history_free(&h);
	fx_free(&f);
}
END_TEST

/* An ingest that began before, and relies on what is about to go. */
START_TEST(a_backup_at_work_is_waited_for)
{
	uint64_t rng = check_seed();
	struct fixture f = make(), other = f;
	struct history h = {0};
	struct snapshot *snap = snapshot_new();
	struct ingest *in;
	struct prune_report r;
	struct err e = {0};

	add(&f, &h, &rng);
	fx_open(&other);
	fx_ok(ingest_new(other.s, "main", SNAPSHOT_BASE, NULL, &in, &e), &e);
	for (size_t i = 0; i < h.trees[0].n; i++)
		fx_ok(fx_ingest_one(in, &h.trees[0].v[i], 0, &rng, &e), &e);
	fx_ok(ingest_drain(in, &e), &e);
	drop(&f, &h, 1);
	r = prune(&f, &(struct prune_options){0});
	ck_assert_uint_eq(r.removed, 0);
	ck_assert_uint_gt(r.waiting, 0);
	ck_assert_ptr_nonnull(strstr(r.waiting_for, "base backup of cluster main"));
	/* The trees' nodes are shared with what was condemned, too. */
	snap->stop = (struct tstamp){1800000000, 0};
	fx_ok(ingest_publish(in, snap, &e), &e);
	ingest_free(in);
	fx_close(&other);
	h.trees[1] = copy_tree(&h.trees[0]);
	h.ids[1] = strdup(snap->id);
	h.n = 2;
	check(&f, &h, 1);
	r = prune(&f, &(struct prune_options){0});
	ck_assert_uint_eq(r.waiting, 0);
	check(&f, &h, 1);
	ck_assert_uint_eq(count_objects(&f, "condemned"), 0);
	ck_assert_uint_eq(count_objects(&f, "leases"), 0);
	snapshot_free(snap);
	history_free(&h);
	fx_free(&f);
}
END_TEST

/* One that begins after: it does not rely on what is condemned, though the grace period keeps it there. */
START_TEST(the_condemned_are_not_relied_on)
{
	uint64_t rng = check_seed();
	struct fixture f = make();
	struct history h = {0};
	struct prune_options slow = {.grace_s = 1000};
	struct prune_report r;

	add(&f, &h, &rng);
	drop(&f, &h, 1);
	r = prune(&f, &slow);
	ck_assert_uint_eq(r.removed, 0);
	ck_assert_uint_gt(r.waiting, 0);
	ck_assert_ptr_nonnull(strstr(r.waiting_for, "grace"));
	ck_assert_uint_eq(count_objects(&f, "condemned"), r.waiting);
	fx_close(&f);
	fx_open(&f);
	h.trees[1] = copy_tree(&h.trees[0]);
	h.ids[1] = fx_ingest(&f, &h.trees[1], NULL, &rng, NULL);
	h.n = 2;
	r = prune(&f, &(struct prune_options){0});
	ck_assert_uint_gt(r.removed, 0);
	ck_assert_uint_eq(r.waiting, 0);
	check(&f, &h, 1);
	history_free(&h);
	fx_free(&f);
}
END_TEST

/* One that was killed between two packs, or is not further yet: what it left lacks its bases, and is no damage. */
START_TEST(half_of_the_condemned)
{
	uint64_t rng = check_seed();
	struct fixture f = make();
	struct history h = {0};
	struct fx_objects bases = {0}, sentences = {0};
	struct verify_report v;
	struct err e = {0};

	add(&f, &h, &rng);
	fx_ok(backend_list(f.s->backend, "packs", fx_object, &bases, &e), &e);
	add(&f, &h, &rng);
	drop(&f, &h, 2);
	ck_assert_uint_gt(prune(&f, &(struct prune_options){.grace_s = 1000}).waiting, bases.n);
	for (size_t i = 0; i < bases.n; i++)
		fx_ok(backend_remove(f.s->backend, bases.names[i], &e), &e);
	check(&f, &h, 2);
	/* Without a sentence it is. */
	fx_ok(backend_list(f.s->backend, "condemned", fx_object, &sentences, &e), &e);
	for (size_t i = 0; i < sentences.n; i++)
		fx_ok(backend_remove(f.s->backend, sentences.names[i], &e), &e);
	fx_close(&f);
	fx_open(&f);
	fx_ok(store_verify(f.s, &(struct verify_options){0}, on_finding, NULL, &v, &e), &e);
	ck_assert_uint_gt(v.damaged, 0);
	prune(&f, &(struct prune_options){0});
	check(&f, &h, 2);
	ck_assert_uint_eq(count_objects(&f, "packs"), 0);
	fx_objects_free(&bases);
	fx_objects_free(&sentences);
	history_free(&h);
	fx_free(&f);
}
END_TEST

START_TEST(damage_stops_it)
{
	uint64_t rng = check_seed();
	struct fixture f = make();
	struct history h = {0};
	struct fx_objects o;
	struct prune_report r;
	struct err e = {0};

	add(&f, &h, &rng);
	add(&f, &h, &rng);
	drop(&f, &h, 1);
	o = fx_objects(f.repo);
	for (size_t i = 0; i < o.n; i++) {
		size_t n;
		uint8_t *p;
		unsigned before = count_objects(&f, "packs");

		if (strncmp(o.names[i], "snapshots/", 10))
			continue;
		p = fx_read_file(f.repo, o.names[i], &n);
		p[n / 2] ^= 1;
		fx_replace(f.repo, o.names[i], p, n);
		free(p);
		fx_fails(store_prune(f.s, &(struct prune_options){0}, &r, &e), -EBADMSG, &e);
		ck_assert_ptr_nonnull(strstr(e.text, "nothing was collected"));
		ck_assert_uint_eq(count_objects(&f, "packs"), before);
		break;
	}
	fx_objects_free(&o);
	history_free(&h);
	fx_free(&f);
}
END_TEST

static int tell(void *arg, const char *what, const char *who, struct err *e)
{
	(void)e;
	ck_assert_ptr_nonnull(strstr(who, "process "));
	snprintf(arg, 100, "%s", what);
	return 0;
}

START_TEST(leases)
{
	struct fixture f = make();
	struct lease *a, *b;
	char text[100] = "";
	struct err e = {0};
	int status;
	pid_t pid;

	fx_ok(lease_take(f.s, "one\nline", &a, &e), &e);
	fx_ok(lease_renew(a, &e), &e);
	fx_ok(lease_list(f.s, a, tell, text, &e), &e);
	ck_assert_str_eq(text, "");
	fx_ok(lease_list(f.s, NULL, tell, text, &e), &e);
	ck_assert_str_eq(text, "one");
	lease_free(a);
	*text = 0;
	/* Of a process that died without a word. */
	pid = fork();
	if (!pid)
		_exit(lease_take(f.s, "dead", &b, &e) < 0);
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_int_eq(status, 0);
	ck_assert_uint_eq(count_objects(&f, "leases"), 1);
	fx_ok(lease_list(f.s, NULL, tell, text, &e), &e);
	ck_assert_str_eq(text, "");
	ck_assert_uint_eq(count_objects(&f, "leases"), 0);
	fx_free(&f);
}
END_TEST

/* Of two prunes one gives way. */
START_TEST(one_at_a_time)
{
	struct fixture f = make();
	struct prune_report r;
	struct lease *l;
	struct err e = {0};

	fx_ok(lease_take(f.s, "prune", &l, &e), &e);
	fx_fails(store_prune(f.s, &(struct prune_options){0}, &r, &e), -EBUSY, &e);
	lease_free(l);
	prune(&f, &(struct prune_options){0});
	fx_free(&f);
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("store_prune");
	TCase *t = tcase_create("all");

	tcase_add_test(t, nothing_to_do);
	tcase_add_test(t, old_ones_go);
	tcase_add_test(t, mostly_dead_packs_are_rewritten);
	tcase_add_test(t, who_reads_finds_what_was_moved);
	tcase_add_test(t, a_backup_at_work_is_waited_for);
	tcase_add_test(t, the_condemned_are_not_relied_on);
	tcase_add_test(t, half_of_the_condemned);
	tcase_add_test(t, damage_stops_it);
	tcase_add_test(t, leases);
	tcase_add_test(t, one_at_a_time);
	suite_add_tcase(s, t);
	return s;
}

CHECK_MAIN(suite)
