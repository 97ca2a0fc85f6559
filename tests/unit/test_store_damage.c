/* Damage: a small repository of several snapshots with deltas; single bytes bent, objects cut or gone. Whatever is
 * read afterwards is right, or an error that names what is damaged; never wrong bytes, never a crash.
 *
 * Crashes: the same import killed at each passage of each fault point (in builds without them: at random moments).
 * The repository then opens, has the old snapshots, perhaps the new one, all of them whole, and takes the next. */
#include <signal.h>
#include <sys/wait.h>

#include "tests/unit/store_fixture.h"

#define SNAPSHOTS 3

/* A repository, and for each snapshot what it must hold. */
struct sample {
	struct fixture f;
	struct fx_tree t[SNAPSHOTS + 1]; /* the last one is not in it yet */
	char *id[SNAPSHOTS];
	struct fx_objects objects;
};

static struct fx_tree copy_tree(const struct fx_tree *t)
{
	struct fx_tree c = {0};

	for (size_t i = 0; i < t->n; i++) {
		struct fx_entry *en = fx_add(&c, t->v[i].path, t->v[i].type);

		en->meta = t->v[i].meta;
		en->size = t->v[i].size;
		en->data = malloc(en->size + 1);
		if (t->v[i].data)
			memcpy(en->data, t->v[i].data, en->size);
		en->target = t->v[i].target ? strdup(t->v[i].target) : NULL;
	}
	return c;
}

/* Random, but small: a few files of a few chunks, one with a map, many small ones. */
static struct fx_tree small_tree(uint64_t *rng)
{
	struct fx_tree t = {0};
	uint8_t *p = fx_bytes(rng, 300 * 8192);

	check_rand_fill(rng, p, 3 * 8192);
	fx_add_file(&t, "big", p, 300 * 8192 - 5);
	for (int i = 0; i < 12; i++) {
		char path[32];

		snprintf(path, sizeof(path), "d%d/f%d", i % 3, i);
		fx_add_file(&t, path, p + 1000 * i, check_rand_below(rng, i % 2 ? 30000 : 1000));
	}
	for (int i = 0; i < 3; i++) {
		char path[8];

		snprintf(path, sizeof(path), "d%d", i);
		fx_add(&t, path, ENTRY_DIR);
	}
	fx_add(&t, "link", ENTRY_SYMLINK)->target = strdup("big");
	free(p);
	fx_sort(&t);
	return t;
}

static void change(struct fx_tree *t, uint64_t *rng)
{
	for (size_t i = 0; i < t->n; i++)
		for (uint64_t k = check_rand_below(rng, 8192); k < t->v[i].size;
			k += 8192 * (1 + check_rand_below(rng, 3)))
			t->v[i].data[k] ^= (uint8_t)(1 + check_rand_below(rng, 255));
}

/* The versions of the tree that a seed makes: one a snapshot, and one for the next. */
static void make_trees(uint64_t seed, struct fx_tree t[SNAPSHOTS + 1])
{
	t[0] = small_tree(&seed);
	for (int i = 1; i <= SNAPSHOTS; i++) {
		t[i] = copy_tree(&t[i - 1]);
		change(&t[i], &seed);
	}
}

static struct sample make_sample(uint64_t seed)
{
	struct store_settings set = {.chunk_size = 8192};
	struct sample s = {.f = fx_make(&set)};
	struct err e = {0};

	make_trees(seed, s.t);
	fx_ok(store_bind_cluster(s.f.s, "main", "7", &e), &e);
	for (int i = 0; i < SNAPSHOTS; i++)
		s.id[i] = fx_ingest(&s.f, &s.t[i], NULL, &seed, NULL);
	s.objects = fx_objects(s.f.repo);
	fx_close(&s.f);
	return s;
}

static void sample_free(struct sample *s)
{
	for (int i = 0; i <= SNAPSHOTS; i++)
		fx_tree_free(&s->t[i]);
	for (int i = 0; i < SNAPSHOTS; i++)
		free(s->id[i]);
	fx_objects_free(&s->objects);
	fx_free(&s->f);
}

/* ---- damage ---- */

/* Reads all there is. Errors must be of the kinds that damage has, and name an object, a chunk or a node. Returns
 * how many snapshots were whole. */
static int read_all(struct sample *s, const char *what)
{
	int whole = 0;

	for (int i = 0; i < SNAPSHOTS; i++) {
		struct snapshot *snap;
		struct err e = {0};
		int r = snapshot_load(s->f.s, "main", SNAPSHOT_BASE, s->id[i], &snap, &e);

		if (!r) {
			r = fx_check(s->f.s, &snap->root, &s->t[i], &e);
			snapshot_free(snap);
		}
		whole += !r;
		if (!r)
			continue;
		if (r != -EBADMSG && r != -ENODATA && r != -ENOENT && r != -EOPNOTSUPP)
			ck_abort_msg("%s: %d %s", what, r, e.text);
		if (!strstr(e.text, "packs/") && !strstr(e.text, "snapshots/") && !strstr(e.text, "chunk ") &&
			!strstr(e.text, "tree node ") && !strstr(e.text, s->id[i]))
			ck_abort_msg("%s: \"%s\" names nothing", what, e.text);
	}
	return whole;
}

START_TEST(damage)
{
	uint64_t rng = check_seed() * 1000 + _i;
	struct sample s = make_sample(rng);
	unsigned broken = 0;

	for (int round = 0; round < (SANITIZED ? 20 : 60); round++) {
		const char *name = s.objects.names[check_rand_below(&rng, s.objects.n)];
		char what[300], *path = io_join(s.f.repo, name);
		struct store_options o = {.index_dir = round % 2 ? s.f.cache : NULL, .cache_bytes = 300000};
		size_t n, len;
		uint8_t *p = fx_read_file(s.f.repo, name, &n), *bad = malloc(n);
		uint64_t kind = check_rand_below(&rng, 10), at = check_rand_below(&rng, n);
		struct err e = {0};
		int whole;

		memcpy(bad, p, n);
		len = n;
		if (kind < 5)
			bad[at] ^= (uint8_t)(1u << check_rand_below(&rng, 8));
		else if (kind < 7)
			memset(bad + at, (int)check_rand(&rng), n - at < 4096 ? n - at : 4096);
		else if (kind < 9)
			len = at;
		/* Half of the time the end, where footers are. */
		if (kind < 5 && round % 3 == 0)
			bad[n - 1 - at % (n < 200 ? n : 200)] ^= 1;
		snprintf(what, sizeof(what), "round %d: %s, kind %" PRIu64 " at %" PRIu64 " of %zu", round,
			name, kind, at, n);
		if (kind == 9)
			unlink(path);
		else
			fx_replace(s.f.repo, name, bad, len);
		fx_ok(store_open(s.f.repo, &o, &s.f.s, &e), &e);
		whole = read_all(&s, what);
		broken += whole < SNAPSHOTS;
		fx_close(&s.f);
		if (kind == 9)
			close(open(path, O_CREAT | O_WRONLY, 0600));
		fx_replace(s.f.repo, name, p, n);
		free(p);
		free(bad);
		free(path);
		/* Mended: whole again, whatever the index thought meanwhile. */
		if (round % 10 == 0 || kind >= 7) {
			fx_ok(store_open(s.f.repo, &o, &s.f.s, &e), &e);
			if (read_all(&s, what) != SNAPSHOTS)
				ck_abort_msg("%s: not whole after it was mended", what);
			fx_close(&s.f);
		}
	}
	ck_assert_uint_gt(broken, SANITIZED ? 8 : 20);
	sample_free(&s);
}
END_TEST

/* Objects of one repository in another: names and checksums fit, and the bytes are what they say. */
START_TEST(foreign_packs)
{
	struct sample a = make_sample(check_seed()), b = make_sample(check_seed() + 1);
	struct err e = {0};

	for (size_t i = 0; i < b.objects.n; i++) {
		size_t n;
		uint8_t *p;
		struct backend *to;

		if (strncmp(b.objects.names[i], "packs/", 6))
			continue;
		p = fx_read_file(b.f.repo, b.objects.names[i], &n);
		fx_ok(backend_local(a.f.repo, &to, &e), &e);
		fx_ok(backend_put(to, b.objects.names[i], p, n, &e), &e);
		backend_free(to);
		free(p);
	}
	fx_open(&a.f);
	ck_assert_int_eq(read_all(&a, "foreign packs"), SNAPSHOTS);
	sample_free(&a);
	sample_free(&b);
}
END_TEST

/* ---- crashes ---- */

/* The child, a program of its own so that nothing of the parent's threads and plans is in it: opens, takes the
 * next snapshot, ends. */
static int import(const char *repo, const char *cache, uint64_t seed)
{
	struct store_options o = {.index_dir = cache};
	struct ingest_options io = {.threads = 2};
	struct snapshot *snap = snapshot_new();
	struct fx_tree t[SNAPSHOTS + 1];
	struct ingest *in = NULL;
	struct store *s = NULL;
	int r = store_open(repo, &o, &s, NULL);

	make_trees(seed, t);
	if (!r)
		r = store_bind_cluster(s, "main", "7", NULL);
	if (!r)
		r = ingest_new(s, "main", SNAPSHOT_BASE, &io, &in, NULL);
	for (size_t i = 0; i < t[SNAPSHOTS].n && !r; i++)
		r = fx_ingest_one(in, &t[SNAPSHOTS].v[i], (int)(i % 2), &seed, NULL);
	snap->stop.sec = 1900000000;
	if (!r)
		r = ingest_publish(in, snap, NULL);
	ingest_free(in);
	store_free(s);
	snapshot_free(snap);
	for (int i = 0; i <= SNAPSHOTS; i++)
		fx_tree_free(&t[i]);
	return r ? 1 : 0;
}

struct crash {
	bool killed, ended_well;
	unsigned passages;
};

/* Runs the child with a fault plan, or kills it after `delay_us`. */
static struct crash run_child(const struct fixture *f, const char *plan, unsigned delay_us)
{
	struct crash c = {0};
	char line[100];
	int status, fds[2];
	FILE *out;
	pid_t pid;

	ck_assert_int_eq(pipe2(fds, O_CLOEXEC), 0);
	pid = fork();
	ck_assert_int_ge(pid, 0);
	if (!pid) {
		snprintf(line, sizeof(line), "%" PRIu64, check_seed());
		dup2(fds[1], 1);
		dup2(fds[1], 2);
		if (plan)
			setenv("PGSTRATA_FAULT", plan, 1);
		execl("/proc/self/exe", "import", f->repo, f->cache, line, (char *)NULL);
		_exit(127);
	}
	close(fds[1]);
	if (delay_us) {
		usleep(delay_us);
		kill(pid, SIGKILL);
	}
	out = fdopen(fds[0], "r");
	while (fgets(line, sizeof(line), out))
		c.passages += !strncmp(line, "fault-point ", 12);
	fclose(out);
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	c.killed = WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
	c.ended_well = WIFEXITED(status) && WEXITSTATUS(status) == 0;
	ck_assert_msg(c.killed || WIFEXITED(status), "the child died of signal %d under %s", WTERMSIG(status),
		plan ? plan : "none");
	return c;
}

/* Old snapshots whole; the new one whole or not there (`must`: there). Then the next import works and is removed
 * again with all that came, so that every case begins alike. */
static void check_after(struct sample *s, const char *what, bool must)
{
	const struct fx_tree *next = &s->t[SNAPSHOTS];
	struct snapshot_list l;
	struct snapshot *snap;
	struct err e = {0};
	uint64_t rng = 1;
	bool there;

	fx_open(&s->f);
	fx_ok(snapshot_list(s->f.s, "main", SNAPSHOT_BASE, &l, &e), &e);
	there = l.n == SNAPSHOTS + 1;
	if (l.n < SNAPSHOTS || l.n > SNAPSHOTS + 1 || (must && !there))
		ck_abort_msg("%s: %zu snapshots", what, l.n);
	if (read_all(s, what) != SNAPSHOTS)
		ck_abort_msg("%s: an old snapshot is damaged", what);
	if (there) {
		fx_ok(snapshot_load(s->f.s, "main", SNAPSHOT_BASE, l.refs[SNAPSHOTS].id, &snap, &e), &e);
		if (fx_check(s->f.s, &snap->root, next, &e) < 0)
			ck_abort_msg("%s: the new snapshot: %s", what, e.text);
		snapshot_free(snap);
	}
	snapshot_list_free(&l);
	char *id = fx_ingest(&s->f, next, NULL, &rng, NULL);
	fx_check_snapshot(&s->f, id, next);
	free(id);
	fx_close(&s->f);
	struct fx_objects now = fx_objects(s->f.repo);
	for (size_t i = 0; i < now.n; i++) {
		char *path = io_join(s->f.repo, now.names[i]);

		if (!bsearch(&now.names[i], s->objects.names, s->objects.n, sizeof(char *), fx_by_text))
			unlink(path);
		free(path);
	}
	fx_objects_free(&now);
}

#ifdef PGSTRATA_FAULTS
START_TEST(killed_at_fault_points)
{
	struct sample s = make_sample(check_seed());
	struct crash c;

	c = run_child(&s.f, "count", 0);
	ck_assert(c.ended_well);
	/* A pack or two, their links and syncs, the snapshot, the index run. */
	ck_assert_uint_gt(c.passages, 10);
	check_after(&s, "without a fault", true);
	for (unsigned at = 1; at <= c.passages + 1; at += PART(1, 5)) {
		char plan[32];
		struct crash k;

		snprintf(plan, sizeof(plan), "*:%u:kill", at);
		k = run_child(&s.f, plan, 0);
		/* Threads may pass a point more or less than when they were counted. */
		ck_assert(k.killed || (k.ended_well && at + 3 > c.passages));
		check_after(&s, plan, k.ended_well);
	}
	sample_free(&s);
}
END_TEST

/* The same with calls that fail: the import says so, or gets by without (the index cache), and nothing is broken. */
START_TEST(failing_fault_points)
{
	static const int codes[] = {ENOSPC, EIO};
	struct sample s = make_sample(check_seed());
	unsigned failed = 0;
	struct crash c = run_child(&s.f, "count", 0);
	check_after(&s, "without a fault", true);
	for (unsigned at = 1; at <= c.passages; at += PART(1, 5)) {
		char plan[32];
		struct crash k;

		snprintf(plan, sizeof(plan), "*:%u:%d", at, codes[at % 2]);
		k = run_child(&s.f, plan, 0);
		ck_assert(!k.killed);
		failed += !k.ended_well;
		check_after(&s, plan, k.ended_well);
	}
	ck_assert_uint_gt(failed, 5 / PART(1, 5));
	sample_free(&s);
}
END_TEST
#endif

START_TEST(killed_at_random)
{
	struct sample s = make_sample(check_seed());
	uint64_t rng = check_seed();
	unsigned killed = 0;

	for (int i = 0; i < (SANITIZED ? 8 : 25); i++) {
		char what[32];
		unsigned delay = 1 + (unsigned)check_rand_below(&rng, i % 2 ? 20000 : 100000);
		struct crash c = run_child(&s.f, NULL, delay);

		snprintf(what, sizeof(what), "killed after %u us", delay);
		killed += c.killed;
		check_after(&s, what, c.ended_well);
	}
	ck_assert_uint_gt(killed, 0);
	sample_free(&s);
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("store/damage");
	TCase *t = tcase_create("all");

	tcase_add_loop_test(t, damage, 0, SANITIZED ? 3 : 6);
	tcase_add_test(t, foreign_packs);
#ifdef PGSTRATA_FAULTS
	tcase_add_test(t, killed_at_fault_points);
	tcase_add_test(t, failing_fault_points);
#endif
	tcase_add_test(t, killed_at_random);
	suite_add_tcase(s, t);
	return s;
}

static char **child;

START_TEST(child_imports)
{
	_exit(import(child[1], child[2], strtoull(child[3], NULL, 10)));
}
END_TEST

static Suite *child_suite(void)
{
	Suite *s = suite_create("import");
	TCase *t = tcase_create("import");

	tcase_add_test(t, child_imports);
	suite_add_tcase(s, t);
	return s;
}

int main(int argc, char **argv)
{
	if (argc == 4 && !strcmp(argv[0], "import")) {
		/* Assertions want a suite around them. */
		setenv("CK_FORK", "no", 1);
		child = argv;
		return check_run(child_suite);
	}
	return check_run(suite);
}
