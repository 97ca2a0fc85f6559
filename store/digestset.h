/* A set of digests: open addressing, 32 bytes a member and as much again for room. Not thread-safe. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "store/digest.h"

struct digestset {
	struct digest *slots; /* the zero digest marks a free one, and is no member */
	size_t n, cap;	      /* cap: 0 or a power of two */
};

void digestset_release(struct digestset *s);
bool digestset_has(const struct digestset *s, const struct digest *d);
/* 1: added, 0: was there already, -ENOMEM. d is not zero. */
int digestset_add(struct digestset *s, const struct digest *d);
