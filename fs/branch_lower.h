/* A snapshot's tree as what lies below a branch. Numbers: BRANCH_ROOT is the snapshot's directory, its entries follow depth
 * first, the same in every mount. */
#pragma once

#include "fs/branch.h"
#include "fs/ns.h"

struct branch_below;

/* Takes over the snapshot, also when it fails. -ENOMEM. */
int branch_below_new(struct ns_object *snapshot, struct branch_below **ret, struct err *e);
void branch_below_free(struct branch_below *w);	   /* fine on NULL; nothing of it may be open */
extern const struct branch_lower branch_below_ops; /* with a struct branch_below as argument */
