/* A dump's bytes: out of a descriptor, without the compression around all of it, with a look ahead. */
#pragma once

#include <signal.h>
#include <stddef.h>
#include <stdint.h>

#include "src/base/err.h"
#include "src/base/meter.h"
#include "src/pg/dump_reader.h"

struct dump_source;

/* fd stays the caller's. name is for messages and must outlive the result. Reads end with -EINTR when the flag `stop` (may be
 * NULL) is set, also while a pipe gives nothing. */
int dump_source_new(int fd, const char *name, struct meter *meter, const volatile sig_atomic_t *stop,
	struct dump_source **ret, struct err *e);
void dump_source_free(struct dump_source *s); /* fine on NULL */

/* The first bytes, up to n, before anything is read; valid until the first read. *whole: there are no more. */
int dump_source_peek(
	struct dump_source *s, size_t n, const uint8_t **ret, size_t *ret_len, bool *whole, struct err *e);

/* A dump_read_fn. */
ssize_t dump_source_read(void *s, void *p, size_t n, struct err *e);
