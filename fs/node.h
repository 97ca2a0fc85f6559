/* A node: what the mount knows about one file, directory or symbolic link, as a plain value.
 *
 * Providers (fs/ns.h) make nodes, the inode table keeps them, everybody copies them. A node owns nothing, so
 * there is nothing to release; what it points to (obj) lives as long as the mount. Its size is what a million
 * known inodes cost a million times. */
#pragma once

#include <stdint.h>

#include "store/tree.h"

struct ns_object;

enum node_flag {
	NODE_INLINED = 1,    /* the bytes lie in the tree and are fetched when the file is opened */
	NODE_BRIEF_NAME = 2, /* the name may come to mean something else: the kernel asks again soon */
	NODE_BRIEF_ATTR = 4, /* a listing: its attributes change when something is added */
	NODE_OPENED = 8,     /* was opened since the kernel learned of it; set by the inode table only */
	NODE_NAME_ONLY = 16, /* in a listing: only name, number and type are known; the kernel looks it up */
	NODE_GROWING = 64,   /* a file whose content changes: the kernel keeps nothing of it */
	NODE_HELD = 32,	     /* from a lookup: its object is held (ns_hold), and who looked up drops it */
	NODE_MOVES = 128,    /* of a branch: its place is not its identity */
};

struct node {
	uint64_t ino;	       /* its identity, see fs/inode.c */
	uint64_t parent;       /* the directory's ino */
	struct ns_object *obj; /* who serves it */
	int64_t mtime;
	uint32_t mtime_ns;
	uint32_t uid, gid;
	uint32_t position; /* its place in the directory, as its provider counts */
	uint16_t mode;	   /* permission bits, 07777 */
	uint8_t type;	   /* enum entry_type */
	uint8_t flags;	   /* enum node_flag, or-ed */
	uint8_t height, chunk_shift;
	union {
		struct {
			uint64_t size, stored;
		}; /* files and symbolic links */
		struct {
			uint64_t entries, descendants;
		}; /* directories */
	};
	/* A file's map or a directory's root node; unused where the provider has its own. */
	struct digest digest;
};
