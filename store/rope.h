/* Ropes: contents made of pieces of any length, cut by what they say instead of where they stand. Format: store/README.md,
 * "Rope".
 *
 * The same stretch of bytes is the same nodes and chunks wherever it stands: two ropes share what they have in common, a
 * table's file and the archive that it is part of share all of it. Short bytes between (block lengths, ends) are literals in
 * the nodes. Reading and parsing here; ropes are made by an ingest (store/ingest_rope.h). Parsing never trusts. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "src/base/buf.h"
#include "src/base/cur.h"
#include "src/base/err.h"
#include "store/record.h"
#include "store/tree.h"

#define ROPE_LITERAL_MAX 1024 /* bytes of one literal */
#define ROPE_NODE_ITEMS 1024  /* most items of a node that is read */
#define ROPE_LEVELS 8
#define ROPE_PIECE_MAX (16u << 20) /* bytes of a chunk: what a record can hold */

/* A content is a rope when its chunk size is none. */
static inline bool content_is_rope(const struct content *c)
{
	return !c->inlined && !c->chunk_shift;
}

struct rope_item {
	uint64_t len;
	const uint8_t *literal; /* len bytes; NULL: what id names */
	struct digest id;	/* a node of the level below, or in level 0 a chunk; zeroes: zero bytes */
};

/* One node's items, in order. */
struct rope_node {
	struct cur cur;
	unsigned level;
	uint64_t left;
};
int rope_node_open(struct rope_node *n, const void *p, size_t len, struct err *e);
/* 1: one was read, 0: the end, -EBADMSG. */
int rope_node_next(struct rope_node *n, struct rope_item *ret, struct err *e);

/* Writing: rope_node_start, then rope_node_put `n` times. */
void rope_node_start(struct buf *b, unsigned level, uint64_t n);
void rope_node_put(struct buf *b, const struct rope_item *it);

/* The piece of c that has the byte at off (below its size). */
struct rope_piece {
	uint64_t start, len;
	const uint8_t *literal; /* NULL: a chunk */
	struct digest id;
	struct blob *pin; /* the node that has the literal: the caller's to release */
};
int rope_find(struct store *s, const struct content *c, uint64_t off, struct rope_piece *ret, struct err *e);

/* Tells everything that c needs: each node (RECORD_MAP) before what is below it, and each chunk; zeroes are left out, what is
 * shared comes again. fn: 0 goes on, 1 leaves out what is below this node, negative ends the walk with that. */
typedef int rope_walk_fn(
	void *arg, enum record_kind kind, const struct digest *id, uint64_t off, uint64_t len, struct err *e);
int rope_walk(struct store *s, const struct content *c, rope_walk_fn *fn, void *arg, struct err *e);
