/* Files cut by content: streams into ropes, and files put together from ropes.
 *
 *	ingest_cut_open -> ingest_cut_write … -> ingest_cut_close	gives a rope
 *	ingest_drain
 *	ingest_compose(path, {literal, rope, literal, rope …})		once or more with the same ropes
 *
 * A rope can stand in several files: its bytes are kept once. Streams go through the ingest's workers; what a stream
 * has in common with the parent's file of the same path is found by its digest on the way and goes nowhere.
 *
 * Several threads may make ropes at once, one a stream; the rest is like all of an ingest: one thread at a time, its first
 * error sticks. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "store/ingest.h"

struct ingest_cut;
struct rope; /* what a stream became; freed by ingest_free */

/* path: the file of the newest parent that has it gives the references for deltas; nothing is added to the tree. */
int ingest_cut_open(struct ingest *in, const char *path, struct ingest_cut **ret, struct err *e);
int ingest_cut_write(struct ingest_cut *c, const void *p, size_t n, struct err *e);
/* Ends the stream; frees c also when it fails. ret may be NULL: the stream is not wanted after all. */
int ingest_cut_close(struct ingest_cut *c, struct rope **ret, struct err *e);

uint64_t rope_size(const struct rope *r);
/* The lengths of its pieces, of some MiB each, as a file that frames them may want them (0: no more). Their sum is the size. */
uint64_t rope_part_len(const struct rope *r, size_t i);

/* What a file is put together from. */
struct rope_part {
	const void *literal; /* len bytes, at most ROPE_LITERAL_MAX; NULL: */
	size_t len;
	const struct rope *rope;
	size_t first, n; /* these of its pieces */
};

/* Adds a file. After the ingest_drain that followed the last ingest_cut_close of the ropes in it. */
int ingest_compose(struct ingest *in, const char *path, const struct meta *m, const struct rope_part *parts,
	size_t n, struct err *e);
