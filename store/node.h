/* Tree nodes: the bytes of a piece of a directory. Format: store/README.md, "Tree node".
 *
 * Pure functions over bytes. Parsing never trusts: what it returns is within bounds, well-formed and in
 * order. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "src/base/buf.h"
#include "src/base/cur.h"
#include "src/base/err.h"
#include "store/tree.h"

#define NODE_MAX (1u << 20) /* bytes of a node */
#define NODE_LEVELS 12	    /* a tree is at most this high */

/* A child of an inner node: a run of the directory's entries. */
struct node_child {
	const char *first; /* name of its first entry */
	struct digest id;
	uint64_t entries;     /* direct entries in it */
	uint64_t descendants; /* those and all below them */
};

/* Reading: node_open, then node_entry (level 0) or node_child (above) until they return 0. Strings point into
 * the node's bytes. */
struct node_owner {
	uint32_t uid, gid;
	const char *user, *group;
};
struct node {
	struct cur cur;
	unsigned level;
	uint64_t left; /* entries or children not read yet */
	struct node_owner *owners;
	uint64_t n_owners;
	const char *last; /* the name before, to check the order */
};
int node_open(struct node *n, const void *p, size_t len, struct err *e);
void node_done(struct node *n);
/* 1: one was read, 0: the end, -EBADMSG. position and number of the entry are left alone. */
int node_entry(struct node *n, struct entry *ret, struct err *e);
int node_child(struct node *n, struct node_child *ret, struct err *e);

/* Writing a leaf. */
struct leaf {
	struct buf entries;
	struct buf owners;
	struct node_owner *table; /* names are owned by it */
	size_t n_owners;
	uint64_t n;	      /* entries */
	uint64_t descendants; /* they and all below them */
	struct buf first;     /* name of the first, NUL-terminated */
};
void leaf_clear(struct leaf *l); /* empties, keeps memory */
void leaf_free(struct leaf *l);
/* Adds an entry, greater by name than the one before. -ENOMEM. */
int leaf_add(struct leaf *l, const struct entry *en);
/* True when the leaf should end after the entry named `name` (a rule of content, so that equal stretches of
 * two directories make equal leaves). */
bool leaf_is_full(const struct leaf *l, const char *name);
/* The node's bytes, appended to out. */
void leaf_write(const struct leaf *l, struct buf *out);

/* Writing an inner node: the same for children. level >= 1. */
struct inner {
	struct buf children;
	uint64_t n, entries, descendants;
	struct buf first;
};
void inner_clear(struct inner *in);
void inner_free(struct inner *in);
int inner_add(struct inner *in, const struct node_child *c);
bool inner_is_full(const struct inner *in, const char *name);
void inner_write(const struct inner *in, unsigned level, struct buf *out);
