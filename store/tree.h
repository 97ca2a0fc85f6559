/* Trees: directories of a snapshot, read by name, by position, or in order.
 *
 * A directory is a sorted search tree of nodes (format: store/README.md), so that one with a million entries
 * is neither loaded nor searched whole. Everything is immutable; all functions are thread-safe. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "src/base/clock.h"
#include "store/digest.h"
#include "store/store.h"

#define TREE_NAME_MAX 255
#define TREE_TARGET_MAX 4095 /* bytes of a symlink's target */
#define TREE_INLINE_MAX 1024 /* files up to this size live in the node itself */

enum entry_type { ENTRY_FILE = 1, ENTRY_DIR = 2, ENTRY_SYMLINK = 3 };

/* A directory's content. */
struct dir_ref {
	struct digest node;   /* its root node; zero when it has no entries */
	uint64_t entries;     /* direct children */
	uint64_t descendants; /* children, their children, … */
};

/* A file's content. */
struct content {
	uint64_t size;
	uint64_t stored;     /* bytes its chunks take in packs (shared ones counted in full), for st_blocks */
	struct digest map;   /* root of its map (store/file.h); not used when inlined */
	uint8_t height;	     /* levels of map nodes above the chunks; 0: map is the only chunk itself */
	uint8_t chunk_shift; /* log2 of the chunk size; 0: a rope (store/rope.h), whose root node is map */
	const uint8_t *inlined; /* `size` bytes, when not NULL */
};

/* Attributes that every type has. */
struct meta {
	uint32_t mode; /* permission bits, 07777 */
	uint32_t uid, gid;
	const char *user, *group; /* names at the source; "" when unknown */
	struct tstamp mtime;
};

struct entry {
	const char *name; /* NUL-terminated; any byte but / and NUL, 1 to 255 of them */
	enum entry_type type;
	struct meta meta;
	uint64_t position; /* its place in the directory, from 0 */
	/* Its place in the directory's subtree when that is counted depth first: siblings before it and all
	 * that lies below them. A tree's own number is 0, so a child's is the parent's + 1 + this. */
	uint64_t number;
	union {
		struct content file;
		struct dir_ref dir;
		const char *target; /* ENTRY_SYMLINK, NUL-terminated */
	};
};

/* The entry with that name, or -ENOENT. All it points to is one allocation: free() it. */
int tree_lookup(
	struct store *s, const struct dir_ref *dir, const char *name, struct entry **ret, struct err *e);

/* The same for a path like "data/base/1" from `root` down; "" is not an entry (-EINVAL). -ENOTDIR. */
int tree_find(
	struct store *s, const struct dir_ref *root, const char *path, struct entry **ret, struct err *e);

/* Calls fn for the entries from `position` on, in order, until it returns non-zero. Returns that, 0 at the
 * end, or -errno (a fn that wants to stop returns a positive number). The entry is valid during the call. */
typedef int tree_fn(void *arg, const struct entry *en);
int tree_walk(
	struct store *s, const struct dir_ref *dir, uint64_t position, tree_fn *fn, void *arg, struct err *e);

/* A copy in one allocation; NULL without memory. */
struct entry *entry_dup(const struct entry *en);
