/* The FUSE driver: answers to the kernel's requests. Only its files (driver*.c) and session.c know libfuse. */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct fs;

/* Asks the kernel to forget a name, so that it lets go of what is below it as soon as nobody uses that. Returns at once; may
 * be called from within a request. Nothing comes of it without a session, or while much is being read ahead. */
void driver_let_go(struct fs *fs, uint64_t parent, const char *name);

/* Takes over what passes between the kernel and a session that was just mounted (driver_channel.c), so that writes need one
 * round trip instead of two. 0 or -errno. */
int driver_channel(void *session);

/* libfuse's table of low-level operations and its size. The session's userdata must be a struct fs. */
const void *driver_ops(size_t *ret_size);
