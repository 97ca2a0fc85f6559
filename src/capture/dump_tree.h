/* A dump's snapshot being made: data streams go in once and stand in two files, the dump itself and the view of a table or
 * large object.
 *
 *	dump_tree_new -> dump_tree_stream … (one a table or large object) -> dump_tree_settle
 *	-> parts, for each file: dump_file_start, dump_file_* …, dump_file_end -> dump_tree_publish
 *
 * One thread. Nothing is visible before dump_tree_publish. */
#pragma once

#include <signal.h>
#include <stdbool.h>

#include "src/base/buf.h"
#include "src/base/err.h"
#include "src/base/meter.h"
#include "src/pg/dump_reader.h"
#include "store/ingest_rope.h"
#include "store/snapshot.h"

struct dump_tree;

struct dump_tree_options {
	unsigned threads;
	const char *database; /* earlier dumps of it give the references */
	struct tstamp time;   /* of the dump: its files' time and the snapshot's */
	/* Set: what takes long ends with -EINTR. May be NULL. */
	const volatile sig_atomic_t *stop;
};
int dump_tree_new(struct store *s, const char *cluster, enum snapshot_kind kind,
	const struct dump_tree_options *o, struct dump_tree **ret, struct err *e);
void dump_tree_free(struct dump_tree *t); /* fine on NULL */

/* A stream: the rope and the few bytes that the dump has behind it and the view has not. */
struct dump_part {
	struct rope *rope;
	char end[8];
	size_t end_len;
};
/* Reads read(arg) to its end. path: the view that it becomes, for references. rows: COPY text, whose end ("\." and two empty
 * lines; dumpTableData_copy in pg_dump.c) is no row. */
int dump_tree_stream(struct dump_tree *t, const char *path, bool rows, dump_read_fn *read, void *arg,
	struct dump_part *ret, struct err *e);
/* The same of bytes in memory. */
int dump_tree_bytes(
	struct dump_tree *t, const char *path, const void *p, size_t n, struct dump_part *ret, struct err *e);

/* A stream that is pushed: ingest_cut_write, ingest_cut_close. */
int dump_tree_cut(struct dump_tree *t, const char *path, struct ingest_cut **ret, struct err *e);

/* A file put together. Literals that follow each other become one. */
struct dump_file {
	struct rope_part *parts;
	size_t n, cap;
	struct buf literal; /* of all parts; parts have offsets until the end */
	size_t from;	    /* of the present literal */
	uint64_t size;
};
void dump_file_literal(struct dump_file *f, const void *p, size_t n);
void dump_file_rope(struct dump_file *f, const struct rope *r, size_t first, size_t n);
/* All of a stream, with its end when `end`. */
void dump_file_part(struct dump_file *f, const struct dump_part *p, bool end);
void dump_file_release(struct dump_file *f);

/* All streams are in. */
int dump_tree_settle(struct dump_tree *t, struct err *e);
/* After dump_tree_settle. */
int dump_tree_file(struct dump_tree *t, const char *path, struct dump_file *f, struct err *e);
/* A stream as a file of its own. */
int dump_tree_view(struct dump_tree *t, const char *path, const struct dump_part *p, struct err *e);

/* snap has its properties; the rest is filled in. */
int dump_tree_publish(struct dump_tree *t, struct snapshot *snap, struct err *e);
