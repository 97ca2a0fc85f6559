/* Packs that are about to be removed: an object condemned/PACK for each. For the files of this folder only. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "src/base/clock.h"
#include "src/base/err.h"
#include "store/digest.h"
#include "store/store.h"

/* Durable with the next barrier. One that is there already stays, with its time. */
int condemned_put(struct store *s, const struct digest *pack, struct err *e);
int condemned_pardon(struct store *s, const struct digest *pack, struct err *e); /* -ENOENT is fine */
/* False also where that cannot be known. */
bool condemned_has(struct store *s, const struct digest *pack);

typedef int condemned_fn(void *arg, const struct digest *pack, struct tstamp since);
int condemned_list(struct store *s, condemned_fn *fn, void *arg, struct err *e);

/* Tells the index of all. */
int condemned_shun(struct store *s, struct err *e);
