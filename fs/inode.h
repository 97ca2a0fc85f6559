/* The inode table: every node that the kernel knows, by inode number, with the kernel's count of lookups. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "fs/node.h"
#include "src/base/err.h"

#define INODE_ROOT 1   /* what FUSE calls its root (FUSE_ROOT_ID) */
#define INODE_README 2 /* README.txt there */

struct inode_table;

int inode_table_new(struct inode_table **ret); /* -ENOMEM */
/* Whatever the kernel still knows is dropped: it forgets nothing at an unmount. Fine on NULL. */
void inode_table_free(struct inode_table *t);

/* Takes n consecutive numbers that nobody else will have during this mount. -EBADMSG when n is absurd: it
 * comes from the repository. Thread-safe. */
int inode_range(struct inode_table *t, uint64_t n, uint64_t *ret_first, struct err *e);

/* The kernel is about to learn of n: its lookup count goes up by one, and what was known of that number before is
 * forgotten. -EBADMSG when the number belongs to
 * another entry already, which only a damaged tree can bring about; -ENOMEM. Thread-safe. */
int inode_learn(struct inode_table *t, const struct node *n, struct err *e);

/* A copy of the node, or false when the kernel cannot know that number. Thread-safe. */
bool inode_get(struct inode_table *t, uint64_t ino, struct node *ret);

/* True the first time it is called since the kernel learned of that number. Thread-safe. */
bool inode_first_open(struct inode_table *t, uint64_t ino);

/* The kernel forgets `count` lookups; the last one drops the node. Thread-safe. */
void inode_forget(struct inode_table *t, uint64_t ino, uint64_t count);

uint64_t inode_known(struct inode_table *t); /* how many there are; for tests and the log */
