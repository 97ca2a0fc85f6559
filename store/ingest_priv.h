/* What the files of an ingest share. */
#pragma once

#include <pthread.h>
#include <stdatomic.h>

#include "src/base/pool.h"
#include "store/chunker.h"
#include "store/ingest.h"
#include "store/sorter.h"

#define INGEST_PARENTS 3 /* the newest snapshots that a path is looked for in */

struct rope;

struct worker {
	struct chunker *chunker;
	uint8_t *buf;
};

struct ingest {
	struct store *store;
	struct ingest_options options;
	char *cluster;
	enum snapshot_kind kind;
	uint32_t chunk;
	unsigned chunk_shift;
	struct snapshot *parents[INGEST_PARENTS];
	unsigned n_parents;
	struct pool *pool;
	struct worker *workers; /* one a thread of the pool, and one for the caller's */
	unsigned n_workers;
	struct packing *packing;
	bool finished; /* the tree is written, all packs are sealed */

	pthread_mutex_t sorter_lock; /* rank: leaf; guards sorter */
	struct sorter *sorter;

	pthread_mutex_t error_lock; /* rank: leaf; guards error */
	atomic_int failed;	    /* the first error, 0: none */
	struct err error;

	pthread_mutex_t at_lock; /* rank: above the index's and the cache's; guards what follows */
	char *at;		 /* the directory that a file was looked for in last, NULL: none */
	struct dir_ref at_parent[INGEST_PARENTS]; /* what it is in the parents; no entries: it is not there */

	struct ingest_file *open;  /* pushed files not closed */
	struct rope *ropes;	   /* to be freed with the ingest */
	pthread_mutex_t open_lock; /* rank: leaf; guards both lists */

	atomic_ullong files, logical, unique, deltas;
};

/* Runs fn on a thread of the pool, with that thread's chunker; c is NULL when the ingest has failed meanwhile and fn is only
 * to free its argument. What it returns below 0 fails the ingest. */
typedef int ingest_task_fn(void *arg, struct chunker *c, struct err *e);
int ingest_task(struct ingest *in, ingest_task_fn *fn, void *arg, struct err *e);

/* 0, or the error that stuck. */
int ingest_failed(struct ingest *in, struct err *e);
/* Lets the first error stick; later ones are its consequences. Returns r. */
int ingest_stick(struct ingest *in, int r, const struct err *why);
/* The same with an error of the caller's thread, who gets the one that stuck. */
int ingest_fail(struct ingest *in, int r, const struct err *why, struct err *e);

/* ingest.c: entries. What the tree could not hold must not be found when it is read. */
int ingest_check_entry(const char *path, const struct meta *m, struct err *e);
int ingest_sort_entry(struct ingest *in, const char *path, const struct entry *en, struct err *e);

/* ingest_file.c: frees the pushed files that were not closed; no job may be left. */
void ingest_files_abandon(struct ingest *in);
const char *ingest_file_path(const struct ingest_file *f);

/* ingest_home.c: offers the files with that path in the parents, the newest first, until one is taken; was one? A content
 * lives as long as the call. */
typedef bool ingest_take_fn(void *arg, const struct content *c);
bool ingest_home(struct ingest *in, const char *path, ingest_take_fn *take, void *arg);
/* The content of the file with that path in the newest parent that has it as a rope; -ENOENT. */
int ingest_home_rope(struct ingest *in, const char *path, struct content *ret);
int ingest_add_file(
	struct ingest *in, const char *path, const struct meta *m, const struct content *c, struct err *e);
void ropes_free(struct rope *first);
