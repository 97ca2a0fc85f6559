/* Whose files they are: owners by the name they had at the source, when this machine has that name. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "store/tree.h"

struct owners;

struct owner_options {
	bool have_uid, have_gid; /* every file belongs to these instead (-o uid=,gid=) */
	uint32_t uid, gid;
};

int owners_new(const struct owner_options *o, struct owners **ret); /* -ENOMEM */
void owners_free(struct owners *w);				    /* fine on NULL */

/* The user and group to show for m: the forced one, else the one with that name here, else the number of the
 * source. A name's number is asked of the system once in a mount. Thread-safe. */
void owner_resolve(struct owners *w, const struct meta *m, uint32_t *ret_uid, uint32_t *ret_gid);
