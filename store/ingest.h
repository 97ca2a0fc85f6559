/* Ingest: one snapshot being written. The one way of bytes into the repository.
 *
 * The caller hands in entries by path, in any order; worker threads read, hash, look at home (the parent
 * snapshot's chunk at the same place), look in the index, compress and append to packs. Queues are bounded
 * and the directory tree is sorted outside of memory when it is large, so memory does not grow with the
 * input. Nothing is visible before ingest_publish; ingest_free without it leaves the repository as it was.
 *
 * One thread at a time calls these functions on one ingest; ingest_write and ingest_close also beside others, one
 * thread at a time for each streamed file, and likewise ingest_cut_*. The first error of any thread sticks: every
 * later call returns it, with its text. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "store/snapshot.h"
#include "store/store.h"
#include "store/tree.h"

struct ingest;
struct ingest_file;

/* A file is wholly in (chunked, hashed, stored or known): its size and the CRC-32C of its bytes. Called from
 * any worker, possibly several at once. A negative return fails the ingest with `e`. */
typedef int ingest_file_fn(void *arg, const char *path, uint64_t size, uint32_t crc32c, struct err *e);

struct ingest_options {
	unsigned threads;	 /* default: all processors */
	ingest_file_fn *on_file; /* may be NULL; told of files, not of what ingest_compose adds */
	void *arg;
	/* Only snapshots whose property of that key is that text are parents. NULL: all. */
	const char *parent_key, *parent_text;
};

struct ingest_stats {
	uint64_t files;	  /* complete */
	uint64_t logical; /* bytes taken in */
	uint64_t unique;  /* unpacked bytes of new chunks */
	uint64_t stored;  /* bytes appended to packs */
	uint64_t deltas;  /* chunks stored as deltas */
};

/* Starts a snapshot of that cluster and kind; its parents are the newest snapshots there. `cluster` must be
 * valid. */
int ingest_new(struct store *s, const char *cluster, enum snapshot_kind kind, const struct ingest_options *o,
	struct ingest **ret, struct err *e);
/* Aborts what was not published. Fine on NULL. */
void ingest_free(struct ingest *in);

/* Paths are relative ("data/base/1/1259"), without empty, "." or ".." parts (-EINVAL), and unique (-EEXIST,
 * found at publish at the latest); mode and mtime are within their ranges (-EINVAL). Missing parent
 * directories get mode 0700 and the child's owner. meta is copied. */
int ingest_dir(struct ingest *in, const char *path, const struct meta *m, struct err *e);
int ingest_symlink(
	struct ingest *in, const char *path, const struct meta *m, const char *target, struct err *e);

/* A file whose bytes are behind fd; the ingest takes fd and closes it. The workers read exactly `size` bytes
 * from offset 0; a file that turns out shorter or longer is an error that names `path`. */
int ingest_file(
	struct ingest *in, const char *path, const struct meta *m, int fd, uint64_t size, struct err *e);

/* A file whose bytes are pushed. The size need not be known. ingest_close ends it; ingest_write copies. A
 * handle that is not closed by the time of ingest_publish makes that fail. */
int ingest_open(
	struct ingest *in, const char *path, const struct meta *m, struct ingest_file **ret, struct err *e);
int ingest_write(struct ingest_file *f, const void *p, size_t n, struct err *e);
int ingest_close(struct ingest_file *f, struct err *e); /* frees f also when it fails */

/* Waits until every file handed in is complete and on_file was called for it. More may be added after. */
int ingest_drain(struct ingest *in, struct err *e);

/* Any thread, any time: for a progress line. */
void ingest_progress(struct ingest *in, struct ingest_stats *ret);

/* Drains, writes the tree, makes all packs' bytes durable, and fills snap's root, counts and sizes, parent,
 * cluster and kind. Nothing is visible yet and nothing more can be added: what can go wrong has, mostly, gone
 * wrong here. */
int ingest_finish(struct ingest *in, struct snapshot *snap, struct err *e);

/* ingest_finish, if that was not called; then names the packs, makes their names durable (the barrier) and
 * publishes snap (snapshot_publish). */
int ingest_publish(struct ingest *in, struct snapshot *snap, struct err *e);
