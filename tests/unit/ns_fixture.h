/* A mount's providers over a real repository with a backup, without a mount. */
#pragma once

#include "tests/unit/check_main.h"

#include "fs/branch_dir.h"
#include "fs/fs.h"
#include "store/ingest.h"

struct world {
	char *dir;
	char *scratch; /* NULL: no branches */
	struct store *store;
	struct fs fs;
};

static inline struct meta meta(uint32_t mode)
{
	return (struct meta){
		.mode = mode, .uid = 4242, .gid = 4343, .user = "", .group = "", .mtime = {1000, 5}};
}

static inline void put_file(struct ingest *in, const char *path, const void *p, size_t n)
{
	struct meta m = meta(0640);
	struct ingest_file *f;

	ck_assert_int_eq(ingest_open(in, path, &m, &f, NULL), 0);
	ck_assert_int_eq(ingest_write(f, p, n, NULL), 0);
	ck_assert_int_eq(ingest_close(f, NULL), 0);
}

#define FILES 3000

/* A snapshot with a file that has chunks, one that has none, a link, nested directories, and one large directory. */
static inline void add_snapshot(struct world *w, const char *cluster, int64_t stop)
{
	struct snapshot *snap = snapshot_new();
	struct ingest *in;
	struct meta m = meta(0700);
	uint8_t *big = malloc(300000);
	uint64_t r = check_seed();
	char path[64];

	ck_assert_ptr_nonnull(snap);
	check_rand_fill(&r, big, 300000);
	ck_assert_int_eq(ingest_new(w->store, cluster, SNAPSHOT_BASE, NULL, &in, NULL), 0);
	put_file(in, "data/big", big, 300000);
	put_file(in, "data/deep/er/small", "small", 5);
	put_file(in, "info.json", "hidden", 6);
	ck_assert_int_eq(ingest_symlink(in, "data/deep/link", &m, "er/small", NULL), 0);
	ck_assert_int_eq(ingest_dir(in, "data/empty", &m, NULL), 0);
	for (int i = 0; i < FILES; i++) {
		snprintf(path, sizeof(path), "data/many/f%d", i);
		put_file(in, path, path, strlen(path));
	}
	snap->stop = (struct tstamp){stop, 0};
	ck_assert_int_eq(ingest_publish(in, snap, NULL), 0);
	ingest_free(in);
	snapshot_free(snap);
	free(big);
}

static inline struct world *world_new(bool branches)
{
	struct world *w = calloc(1, sizeof(*w));
	struct fs_options fo = {.threads = 1};
	char id[STORE_ID_TEXT], *repo = NULL;
	struct err e = {0};

	ck_assert_ptr_nonnull(w);
	w->dir = check_tempdir();
	ck_assert(asprintf(&repo, "%s/repo", w->dir) > 0);
	ck_assert_int_eq(store_init(repo, NULL, id, &e), 0);
	ck_assert_int_eq(store_open(repo, &(struct store_options){0}, &w->store, &e), 0);
	free(repo);
	ck_assert_int_eq(store_bind_cluster(w->store, "main", "1", &e), 0);
	add_snapshot(w, "main", 1000000000);
	if (branches) {
		ck_assert(asprintf(&repo, "%s/branches", w->dir) > 0);
		ck_assert_int_eq(branch_scratch(repo, id, &w->scratch, &e), 0);
		free(repo);
		fo.scratch = w->scratch;
	}
	ck_assert_int_eq(fs_init(&w->fs, w->store, &fo, &e), 0);
	return w;
}

static inline void world_free(struct world *w)
{
	fs_release(&w->fs);
	store_free(w->store);
	check_rmtree(w->dir);
	free(w->dir);
	free(w->scratch);
	free(w);
}

/* Walks a path as the kernel does, learning each node. */
static inline struct node walk(struct world *w, const char *path)
{
	char *copy = strdup(path), *save = NULL;
	struct err e = {0};
	struct node n, next;

	ck_assert(inode_get(w->fs.inodes, INODE_ROOT, &n));
	for (char *name = strtok_r(copy, "/", &save); name; name = strtok_r(NULL, "/", &save)) {
		int r = n.obj->ops->lookup(n.obj, &n, name, &next, &e);

		ck_assert_msg(r == 0, "%s in %s: %s", name, path, e.text);
		n = next;
		ck_assert_int_eq(inode_learn(w->fs.inodes, &n, &e), 0);
	}
	free(copy);
	return n;
}
