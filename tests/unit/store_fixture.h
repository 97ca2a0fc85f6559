/* What the tests of the store share: a repository in a directory of its own, bytes written as hex, and a
 * model of a tree that goes in and is compared with what comes out.
 *
 * Linked into one program only, hence all static. */
#pragma once

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "src/base/io.h"
#include "store/file.h"
#include "store/ingest.h"
#include "store/repo.h"
#include "store/snapshot.h"
#include "store/store.h"
#include "store/tree.h"
#include "tests/unit/check_main.h"

#define FX_UNUSED __attribute__((unused))

/* r must be 0; says what the error was. */
#define fx_ok(r, e)                                                          \
	do {                                                                 \
		int fx_r = (r);                                              \
		ck_assert_msg(fx_r >= 0, "%s: %d, %s", #r, fx_r, (e)->text); \
	} while (0)

/* r must be that -errno and there must be a text. */
#define fx_fails(r, code_, e)                                                                              \
	do {                                                                                               \
		int fx_r = (r);                                                                            \
		ck_assert_msg(fx_r == (code_), "%s: %d instead of %d (%s)", #r, fx_r, (code_), (e)->text); \
		ck_assert_msg((e)->text[0], "%s: no text", #r);                                            \
	} while (0)

/* Bytes written as hex digits with spaces wherever they help; "quoted" parts stand for themselves. Free them.
 */
FX_UNUSED static uint8_t *fx_hex(const char *hex, size_t *n)
{
	uint8_t *p = malloc(strlen(hex) + 1);

	*n = 0;
	while (*hex) {
		unsigned v;

		if (*hex == ' ' || *hex == '\n' || *hex == '\t') {
			hex++;
		} else if (*hex == '\'') {
			for (hex++; *hex != '\''; hex++)
				p[(*n)++] = (uint8_t)*hex;
			hex++;
		} else {
			ck_assert_int_eq(sscanf(hex, "%2x", &v), 1);
			p[(*n)++] = (uint8_t)v;
			hex += 2;
		}
	}
	return p;
}

FX_UNUSED static void fx_same(
	const char *what, const void *got, size_t got_n, const void *want, size_t want_n)
{
	const uint8_t *g = got, *w = want;

	/* An assertion is a message to Check's parent process: none for every byte. */
	for (size_t i = 0; i < got_n && i < want_n; i++)
		if (g[i] != w[i])
			ck_abort_msg("%s: byte %zu is %02x, not %02x", what, i, g[i], w[i]);
	ck_assert_msg(got_n == want_n, "%s: %zu bytes, not %zu", what, got_n, want_n);
}

/* ---- a repository ---- */

struct fixture {
	char *dir, *repo, *cache;
	struct store *s;
};

FX_UNUSED static void fx_open(struct fixture *f)
{
	struct store_options o = {.index_dir = f->cache};
	struct err e = {0};

	fx_ok(store_open(f->repo, &o, &f->s, &e), &e);
}

FX_UNUSED static void fx_close(struct fixture *f)
{
	store_free(f->s);
	f->s = NULL;
}

FX_UNUSED static struct fixture fx_make(const struct store_settings *s)
{
	struct fixture f = {.dir = check_tempdir()};
	char id[STORE_ID_TEXT];
	struct err e = {0};

	f.repo = io_join(f.dir, "repo");
	f.cache = io_join(f.dir, "cache");
	ck_assert_int_eq(mkdir(f.cache, 0700), 0);
	fx_ok(store_init(f.repo, s, id, &e), &e);
	fx_open(&f);
	return f;
}

FX_UNUSED static void fx_free(struct fixture *f)
{
	fx_close(f);
	check_rmtree(f->dir);
	free(f->dir);
	free(f->repo);
	free(f->cache);
}

/* ---- objects on disk, found behind the store's back ---- */

struct fx_objects {
	char **names; /* relative to the root */
	uint64_t *sizes;
	size_t n;
};

FX_UNUSED static int fx_object(void *arg, const char *name, const struct object_info *info)
{
	struct fx_objects *o = arg;

	o->names = realloc(o->names, (o->n + 1) * sizeof(*o->names));
	o->sizes = realloc(o->sizes, (o->n + 1) * sizeof(*o->sizes));
	o->names[o->n] = strdup(name);
	o->sizes[o->n++] = info->size;
	return 0;
}

FX_UNUSED static int fx_by_text(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* All objects of a repository, sorted by name. */
FX_UNUSED static struct fx_objects fx_objects(const char *repo)
{
	struct fx_objects o = {0};
	struct backend *b;
	struct err e = {0};

	fx_ok(backend_local(repo, &b, &e), &e);
	fx_ok(backend_list(b, "packs", fx_object, &o, &e), &e);
	fx_ok(backend_list(b, "snapshots", fx_object, &o, &e), &e);
	fx_ok(backend_list(b, "clusters", fx_object, &o, &e), &e);
	backend_free(b);
	if (o.n)
		qsort(o.names, o.n, sizeof(*o.names), fx_by_text);
	return o;
}

FX_UNUSED static void fx_objects_free(struct fx_objects *o)
{
	for (size_t i = 0; i < o->n; i++)
		free(o->names[i]);
	free(o->names);
	free(o->sizes);
}

FX_UNUSED static uint8_t *fx_read_file(const char *dir, const char *name, size_t *n)
{
	char *path = io_join(dir, name);
	struct err e = {0};
	void *p;

	fx_ok(io_read_file(path, 1u << 30, &p, n, &e), &e);
	free(path);
	return p;
}

/* Puts other bytes in an object's place, as a bad disk would. */
FX_UNUSED static void fx_replace(const char *dir, const char *name, const void *p, size_t n)
{
	char *path = io_join(dir, name);
	int fd;

	ck_assert_int_eq(unlink(path), 0);
	fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0440);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(io_write(fd, p, n), 0);
	close(fd);
	free(path);
}

/* ---- a model of a tree ---- */

struct fx_entry {
	char *path;
	enum entry_type type;
	struct meta meta;
	uint8_t *data; /* of a file */
	uint64_t size;
	char *target;
	bool implied; /* a directory that was not handed in */
};

struct fx_tree {
	struct fx_entry *v;
	size_t n, cap;
};

static const struct meta fx_meta = {.mode = 0600,
	.uid = 26,
	.gid = 27,
	.user = "postgres",
	.group = "pg",
	.mtime = {1700000000, 123456789}};

FX_UNUSED static struct fx_entry *fx_add(struct fx_tree *t, const char *path, enum entry_type type)
{
	if (t->n == t->cap) {
		t->cap = t->cap ? 2 * t->cap : 64;
		t->v = realloc(t->v, t->cap * sizeof(*t->v));
	}
	t->v[t->n] = (struct fx_entry){.path = strdup(path), .type = type, .meta = fx_meta};
	return &t->v[t->n++];
}

FX_UNUSED static struct fx_entry *fx_add_file(struct fx_tree *t, const char *path, const void *p, uint64_t n)
{
	struct fx_entry *en = fx_add(t, path, ENTRY_FILE);

	en->data = malloc(n + 1);
	memcpy(en->data, p, n);
	en->size = n;
	return en;
}

/* Bytes that compress somewhat and share chunks: text-like words, zero stretches, repeats. */
FX_UNUSED static uint8_t *fx_bytes(uint64_t *rng, uint64_t n)
{
	uint8_t *p = malloc(n + 1);

	for (uint64_t i = 0; i < n;) {
		uint64_t len = 1 + check_rand_below(rng, 9000), kind = check_rand_below(rng, 4);

		len = len < n - i ? len : n - i;
		if (kind == 0)
			memset(p + i, 0, len);
		else if (kind == 1)
			check_rand_fill(rng, p + i, len);
		else
			for (uint64_t k = 0; k < len; k++)
				p[i + k] = (uint8_t)("select from where insert "[(i + k * kind) % 25]);
		i += len;
	}
	return p;
}

FX_UNUSED static int fx_by_path(const void *a, const void *b)
{
	return strcmp(((const struct fx_entry *)a)->path, ((const struct fx_entry *)b)->path);
}

FX_UNUSED static void fx_sort(struct fx_tree *t)
{
	if (t->n)
		qsort(t->v, t->n, sizeof(*t->v), fx_by_path);
}

FX_UNUSED static void fx_tree_free(struct fx_tree *t)
{
	for (size_t i = 0; i < t->n; i++) {
		free(t->v[i].path);
		free(t->v[i].data);
		free(t->v[i].target);
	}
	free(t->v);
	*t = (struct fx_tree){0};
}

/* Sizes around what matters for chunks of that size. */
FX_UNUSED static uint64_t fx_size(uint64_t *rng, uint64_t chunk)
{
	static const int64_t near[] = {-1, 0, 1};
	int64_t d = near[check_rand_below(rng, 3)];

	switch (check_rand_below(rng, 8)) {
	case 0:
		return 0;
	case 1:
		return check_rand_below(rng, 1100);
	case 2:
		return (uint64_t)(1024 + d);
	case 3:
		return chunk * (1 + check_rand_below(rng, 3)) + (uint64_t)d;
	case 4:
		return chunk * (1 + check_rand_below(rng, 3)) + check_rand_below(rng, 1100);
	case 5:
		return chunk * 16 + (uint64_t)d;
	case 6:
		return (256u << 10) + (uint64_t)d;
	default:
		return check_rand_below(rng, 20 * chunk);
	}
}

/* A random tree: directories within directories, files of every size that matters, links, odd names. */
FX_UNUSED static struct fx_tree fx_random_tree(uint64_t *rng, unsigned n, uint64_t chunk)
{
	static const char *const odd[] = {
		"\xff\xfe", " ", "a\nb", "-rf", "*", "ü", "..x", "...", "a'b\"c", "\x01"};
	struct fx_tree t = {0};
	size_t dirs[64], n_dirs = 0;
	char *path;

	for (unsigned i = 0; i < n; i++) {
		const char *up = n_dirs && check_rand_below(rng, 4)
					 ? t.v[dirs[check_rand_below(rng, n_dirs)]].path
					 : NULL;
		struct fx_entry *en;
		uint64_t kind = check_rand_below(rng, 10);

		ck_assert_int_gt(asprintf(&path, "%s%s%s%u", up ? up : "", up ? "/" : "",
					 check_rand_below(rng, 6) ? "f" : odd[check_rand_below(rng, 10)], i),
			0);
		if (kind < 2) {
			en = fx_add(&t, path, ENTRY_DIR);
			if (n_dirs < 64)
				dirs[n_dirs++] = t.n - 1;
		} else if (kind < 3) {
			en = fx_add(&t, path, ENTRY_SYMLINK);
			ck_assert_int_gt(
				asprintf(&en->target, "../%0*u", (int)check_rand_below(rng, 200) + 1, i), 0);
		} else {
			en = fx_add(&t, path, ENTRY_FILE);
			en->size = fx_size(rng, chunk);
			en->data = fx_bytes(rng, en->size);
			if (!check_rand_below(rng, 12))
				memset(en->data, 0, en->size);
			/* Some are copies of others. */
			if (i > 4 && !check_rand_below(rng, 8)) {
				const struct fx_entry *of = &t.v[check_rand_below(rng, t.n - 1)];

				if (of->type == ENTRY_FILE) {
					free(en->data);
					en->size = of->size;
					en->data = malloc(of->size + 1);
					memcpy(en->data, of->data, of->size);
				}
			}
		}
		free(path);
		en->meta.mode = (uint32_t)check_rand_below(rng, 010000);
		en->meta.uid = check_rand_below(rng, 3) ? 26 : (uint32_t)check_rand(rng);
		en->meta.gid = check_rand_below(rng, 3) ? 27 : (uint32_t)check_rand(rng);
		en->meta.user = check_rand_below(rng, 3) ? "postgres" : "";
		en->meta.mtime.sec =
			check_rand_below(rng, 5) ? (int64_t)(check_rand(rng) >> 33) : -5 - (int64_t)i;
		en->meta.mtime.nsec = (uint32_t)check_rand_below(rng, 1000000000);
	}
	return t;
}

/* A descriptor of a nameless file with these bytes; zero stretches are left out. */
FX_UNUSED static int fx_fd(const void *p, uint64_t n)
{
	static const uint8_t zero[4096];
	int fd = open("/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(ftruncate(fd, (off_t)n), 0);
	for (uint64_t i = 0; i < n; i += 4096) {
		uint64_t len = n - i < 4096 ? n - i : 4096;

		/* Not by io_pwrite: that has fault points, which are the store's. */
		if (memcmp((const uint8_t *)p + i, zero, len) &&
			pwrite(fd, (const uint8_t *)p + i, len, (off_t)i) != (ssize_t)len)
			ck_abort_msg("pwrite: %s", strerror(errno));
	}
	return fd;
}

/* Hands one entry in; how: 0 through a descriptor, 1 pushed in pieces whose sizes rng says. */
FX_UNUSED static int fx_ingest_one(
	struct ingest *in, const struct fx_entry *en, int how, uint64_t *rng, struct err *e)
{
	struct ingest_file *f;
	int r, r2;

	if (en->implied)
		return 0;
	if (en->type == ENTRY_DIR)
		return ingest_dir(in, en->path, &en->meta, e);
	if (en->type == ENTRY_SYMLINK)
		return ingest_symlink(in, en->path, &en->meta, en->target, e);
	if (how == 0)
		return ingest_file(in, en->path, &en->meta, fx_fd(en->data, en->size), en->size, e);
	r = ingest_open(in, en->path, &en->meta, &f, e);
	if (r < 0)
		return r;
	for (uint64_t i = 0; i < en->size && !r;) {
		uint64_t part = 1 + check_rand_below(rng, check_rand_below(rng, 2) ? 400000 : 9000);

		part = part < en->size - i ? part : en->size - i;
		r = ingest_write(f, en->data + i, part, e);
		i += part;
	}
	r2 = ingest_close(f, e);
	return r ? r : r2;
}

/* The whole tree as a snapshot of cluster "main"; its id, to free. */
FX_UNUSED static char *fx_ingest(struct fixture *f, const struct fx_tree *t, const struct ingest_options *o,
	uint64_t *rng, struct snapshot **ret)
{
	struct snapshot *snap = snapshot_new();
	struct ingest *in;
	struct err e = {0};
	char *id;

	fx_ok(ingest_new(f->s, "main", SNAPSHOT_BASE, o, &in, &e), &e);
	for (size_t i = 0; i < t->n; i++)
		fx_ok(fx_ingest_one(in, &t->v[i], (int)check_rand_below(rng, 2), rng, &e), &e);
	snap->stop = (struct tstamp){1800000000, 0};
	fx_ok(ingest_publish(in, snap, &e), &e);
	ingest_free(in);
	id = strdup(snap->id);
	if (ret)
		*ret = snap;
	else
		snapshot_free(snap);
	return id;
}

/* ---- reading back ---- */

/* Reads content in pieces of `step` bytes; r < 0 says why not. */
FX_UNUSED static int fx_read(
	struct store *s, const struct content *c, size_t step, uint8_t **ret, struct err *e)
{
	struct file *f;
	uint8_t *p;
	int r = file_open(s, c, &f, e);

	if (r < 0)
		return r;
	ck_assert_uint_eq(file_size(f), c->size);
	p = malloc(c->size + 1);
	for (uint64_t off = 0; off < c->size;) {
		ssize_t n = file_read(f, off, p + off, step < c->size - off ? step : c->size - off, e);

		if (n < 0) {
			free(p);
			file_free(f);
			return (int)n;
		}
		ck_assert_int_gt(n, 0);
		off += (uint64_t)n;
	}
	file_free(f);
	*ret = p;
	return 0;
}

struct fx_checker {
	struct store *s;
	const char *up;
	const struct fx_tree *t; /* sorted by path */
	uint8_t *found;
	bool lenient; /* errors of the store end the check; else they fail the test */
	struct err *e;
	uint64_t position, number, descendants;
};

static int fx_check_dir(
	struct fx_checker *up, const char *path, const struct dir_ref *dir, struct fx_checker *sub);

FX_UNUSED static int fx_check_entry(void *arg, const struct entry *en)
{
	struct fx_checker *c = arg, sub = {0};
	struct fx_entry key = {0}, *want;
	char *path = *c->up ? io_join(c->up, en->name) : strdup(en->name);
	uint8_t *p = NULL;
	int r = 0;

	key.path = path;
	want = bsearch(&key, c->t->v, c->t->n, sizeof(key), fx_by_path);
	ck_assert_msg(want, "\"%s\" was never put in", path);
	c->found[want - c->t->v]++;
	ck_assert_int_eq(en->type, want->type);
	ck_assert_uint_eq(en->position, c->position);
	ck_assert_uint_eq(en->number, c->number);
	if (!want->implied)
		ck_assert_msg(en->meta.mode == want->meta.mode && en->meta.uid == want->meta.uid &&
				      en->meta.gid == want->meta.gid &&
				      !strcmp(en->meta.user, want->meta.user) &&
				      !strcmp(en->meta.group, want->meta.group) &&
				      !tstamp_cmp(en->meta.mtime, want->meta.mtime),
			"attributes of %s", path);
	c->position++;
	c->number++;
	switch (en->type) {
	case ENTRY_SYMLINK:
		ck_assert_str_eq(en->target, want->target);
		break;
	case ENTRY_FILE:
		ck_assert_uint_eq(en->file.size, want->size);
		r = fx_read(c->s, &en->file, 200000, &p, c->e);
		if (!r)
			ck_assert_msg(!memcmp(p, want->data, want->size), "%s: other bytes", path);
		break;
	case ENTRY_DIR:
		r = fx_check_dir(c, path, &en->dir, &sub);
		if (!r) {
			ck_assert_uint_eq(en->dir.entries, sub.position);
			ck_assert_uint_eq(en->dir.descendants, sub.number);
		}
		c->number += en->dir.descendants;
		break;
	}
	free(p);
	free(path);
	return r;
}

FX_UNUSED static int fx_check_dir(
	struct fx_checker *up, const char *path, const struct dir_ref *dir, struct fx_checker *sub)
{
	*sub = (struct fx_checker){.s = up->s, .up = path, .t = up->t, .found = up->found, .e = up->e};
	return tree_walk(up->s, dir, 0, fx_check_entry, sub, up->e);
}

/* Everything of a snapshot against the model: 0, or the store's error. The model must be sorted. */
FX_UNUSED static int fx_check(
	struct store *s, const struct dir_ref *root, const struct fx_tree *t, struct err *e)
{
	struct fx_checker top = {.s = s, .t = t, .e = e, .found = calloc(t->n + 1, 1)}, sub;
	int r = fx_check_dir(&top, "", root, &sub);

	for (size_t i = 0; i < t->n && !r; i++)
		ck_assert_msg(top.found[i] == 1, "%s was found %u times", t->v[i].path, top.found[i]);
	free(top.found);
	return r;
}

/* The same by id, all errors being failures. */
FX_UNUSED static void fx_check_snapshot(struct fixture *f, const char *id, const struct fx_tree *t)
{
	struct snapshot *snap;
	struct err e = {0};

	fx_ok(snapshot_load(f->s, "main", SNAPSHOT_BASE, id, &snap, &e), &e);
	fx_ok(fx_check(f->s, &snap->root, t, &e), &e);
	snapshot_free(snap);
}
