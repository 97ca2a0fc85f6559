/* Open files: a file of the store, and what is read ahead for whoever has it open; or a file of a branch. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "fs/branch.h"
#include "fs/node.h"
#include "src/base/pool.h"
#include "store/file.h"

struct handle;
struct handles;

struct handle_options {
	unsigned threads;   /* that read ahead; 0: all processors */
	size_t cache_bytes; /* where it goes: readahead stays well below; 0: the store's default */
	/* Through which files are given to the kernel (fs/follow.h); NULL: none are. */
	const char *mountpoint;
};

int handles_new(const struct handle_options *o, struct handles **ret); /* -ENOMEM, -EAGAIN */
/* Closes also what is still open: at an unmount by force nobody else does. No other call may be running. Fine
 * on NULL. */
void handles_free(struct handles *hs);

/* The kernel reads ahead so much at once in this mount. */
void handles_set_request(struct handles *hs, size_t bytes);

/* Gives a short piece of work to the threads that read ahead; false when they have enough. */
bool handles_try_submit(struct handles *hs, pool_fn *fn, void *arg);

/* Takes f over, also when it fails (-ENOMEM). thread: who opens it, as the kernel tells; 0: not known. for_sync: only to be
 * synced (ns_ops.opens_for_sync). */
int handle_new(struct handles *hs, const struct node *n, struct file *f, pid_t thread, bool for_sync,
	struct handle **ret);
/* The same for a file of a branch (ns_branch_enter); what is read ahead is what lies below it. */
int handle_new_branch(struct handles *hs, const struct node *n, struct branch_open *o, struct handle **ret);
/* The client closed it. What is being read ahead, or still held, may finish later. */
void handle_close(struct handle *h);

/* Keeps the handle and its file alive until handle_drop. A reader needs it: the client can close the file as
 * soon as it has the reply, which is before the call that sends it has returned. */
void handle_hold(struct handle *h);
void handle_drop(struct handle *h);

struct file *handle_file(const struct handle *h);
struct branch_open *handle_branch(const struct handle *h); /* NULL: the file is not of a branch */
/* branch_open_below, which is a file of the store in a mount (fs/branch_lower.c). */
struct file *handle_below(struct handle *h, uint64_t off, uint64_t n, struct branch_share *ret);
const struct node *handle_node(const struct handle *h);

/* A read of n bytes at off is about to happen: starts what should be on its way by the next one. Does not
 * wait. Thread-safe. */
void handle_note_read(struct handle *h, uint64_t off, size_t n);
