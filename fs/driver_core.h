/* What the files of the driver share. libfuse's types stay out of headers: `req` is its fuse_req_t, `fi` its struct
 * fuse_file_info, `ops` its table of operations. Each function that takes a request answers it, once, but for driver_get. */
#pragma once

#include <stdbool.h>

#include "fs/handle.h"

#define DRIVER_LONG 86400.0 /* seconds that the kernel may keep what cannot change without it */

/* The node of a request; replies and gives false when the kernel asks for what it cannot know. */
bool driver_get(void *req, uint64_t ino, struct node *ret);

/* Replies with [off, off + size), which the file has; or gives false when there are too many pieces. The handle is held: the
 * client may close it as soon as it has the reply. */
bool driver_read_slices(void *req, struct handle *h, struct file *f, uint64_t off, size_t size);

/* Requests about nodes of a branch (NODE_MOVES). */
void driver_branch_open(void *req, const struct node *n, void *fi);
void driver_branch_read(void *req, struct handle *h, uint64_t off, size_t size);
void driver_branch_statfs(void *req, const struct node *n);

/* Whether the request that this thread serves takes S_ISUID and S_ISGID away (branch_drop_privileges). */
bool driver_kills_privileges(void);

/* Puts in the operations that change something. */
void driver_write_ops(void *ops);
