/* What a branch has that its backup does not, in memory: nodes by number, names by directory, blocks that were written; and
 * the text of the journal's records, of which it is the sum. No locks, no files: whoever has it sees to those.
 *
 *	record = item+                 applied together
 *	item   = 'N' number mode uid gid nlink rdev size atime mtime ctime parent lower lower_size str(target)
 *	       | 'E' directory number str(name)      number 0: there is nothing of that name
 *	       | 'B' number first count              blocks that are in files/<number>
 *	time   = svarint(seconds) varint(nanoseconds)
 *
 * All other fields are varints. An item is a state, not a step: applying a log again from anywhere gives the same end.
 * The type and `lower` of a number never change. 'N' with a size that is smaller than before takes away the blocks behind it. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "src/base/buf.h"
#include "src/base/clock.h"
#include "src/base/err.h"

#define BRANCH_ROOT 1			     /* number of the branch's own directory */
#define BRANCH_FIRST_NEW (UINT64_C(1) << 40) /* below: what the backup has */
#define BRANCH_BLOCK 8192u
#define BRANCH_SIZE_MAX (UINT64_C(1) << 44) /* of a file: bounds the map of its blocks to 256 MiB */

struct branch_stat {
	uint64_t number;
	uint32_t mode; /* with its type, S_IFMT */
	uint32_t uid, gid, nlink;
	uint64_t rdev, size;
	struct tstamp atime, mtime, ctime;
	uint64_t parent; /* of a directory; of other things where they were last moved to, or first */
	uint64_t blocks; /* that are written; in no record, for those tell of each */
};

struct branch_entry {
	struct branch_entry *next; /* in its bucket */
	uint64_t dir, number;	   /* number 0: hides what the backup has */
	uint64_t cookie;	   /* its place in a listing; grows */
	char name[];
};

struct branch_place {
	uint64_t cookie;
	struct branch_entry *entry; /* NULL: went */
};

struct branch_node {
	struct branch_node *next; /* in its bucket */
	struct branch_stat st;
	uint64_t lower;	     /* its number in the backup; 0: it is new */
	uint64_t lower_size; /* so much of a file is still the backup's, where no block is written over it */
	char *target;	     /* of a symbolic link; NULL: the backup's */
	uint64_t *blocks;    /* a bit for each block in files/<number> */
	size_t words;
	struct branch_place *places; /* of a directory, by cookie */
	size_t n_places, n_gone, cap_places;
	uint64_t next_cookie;
	uint64_t log_end; /* of the last record about it: branch_table.log_end as it was then */
	uint64_t cut_end; /* of the last record that took bytes of files/<number> away from it */
};

struct branch_table {
	struct branch_node **nodes;
	size_t n_nodes, node_buckets;
	struct branch_entry **entries;
	size_t n_entries, entry_buckets;
	uint64_t n_blocks;    /* of all nodes */
	uint64_t next_number; /* that nobody had */
	uint64_t log_end;     /* set by whoever applies a record: where that ends in the log */
};

int branch_table_init(struct branch_table *t); /* -ENOMEM */
void branch_table_release(struct branch_table *t);

/* NULL: it is as the backup has it, or not at all. Good until the node is dropped. */
struct branch_node *branch_table_node(const struct branch_table *t, uint64_t number);
/* What the branch says about the name; NULL: nothing. */
struct branch_entry *branch_table_entry(const struct branch_table *t, uint64_t dir, const char *name);
/* The first entry of the directory, not a hiding one, with a cookie of at least `cookie`, or NULL. */
const struct branch_entry *branch_table_next(const struct branch_node *dir, uint64_t cookie);
bool branch_table_empty(const struct branch_node *dir); /* apart from what the backup has */
bool branch_node_has(const struct branch_node *n, uint64_t block);
/* Forgets a node that has no name any more, and its blocks. */
void branch_table_drop(struct branch_table *t, struct branch_node *n);
/* Calls fn for each node; fn may drop that one. */
void branch_table_each(struct branch_table *t,
	void (*fn)(void *arg, struct branch_table *t, struct branch_node *n), void *arg);

void branch_put_node(
	struct buf *b, const struct branch_stat *st, uint64_t lower, uint64_t lower_size, const char *target);
void branch_put_entry(struct buf *b, uint64_t dir, const char *name, uint64_t number);
void branch_put_blocks(struct buf *b, uint64_t number, uint64_t first, uint64_t count);

/* Applies a record. -EBADMSG: it is none; -ENOMEM: then it may be applied in part. */
int branch_table_apply(struct branch_table *t, const uint8_t *p, size_t n, struct err *e);
/* Gives all of the table as records that make it anew, each well below BRANCH_RECORD_MAX bytes. */
int branch_table_dump(struct branch_table *t, int (*fn)(void *arg, const struct buf *record, struct err *e),
	void *arg, struct err *e);
