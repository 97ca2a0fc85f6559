/* The FUSE driver: answers to the kernel's requests. Only this and session.c know libfuse. */
#pragma once

#include <stddef.h>

/* libfuse's table of low-level operations and its size. The session's userdata must be a struct fs. */
const void *driver_ops(size_t *ret_size);
