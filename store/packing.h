/* Packing: where the new records of one ingest go. Two packs are open at a time, one for chunks and one for
 * map and tree nodes, so that a directory walk reads a small, dense part of the repository.
 *
 * A full pack is sealed (made durable) in the background and held back without a name until packing_publish,
 * so an ingest that fails leaves nothing behind. When very much is held, the oldest are published early:
 * unreferenced packs, which the next attempt finds and `prune` collects. Thread-safe. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "src/base/err.h"
#include "store/digest.h"
#include "store/record.h"
#include "store/repo.h"

struct packing;

/* what: for the lease that it takes (store/lease.h). Brings the index up to date after that, so that nothing found in it
 * from then on can go away before packing_free. */
int packing_new(struct store *s, const char *what, struct packing **ret, struct err *e);
void packing_free(struct packing *p); /* gives up what was not published; fine on NULL */

/* Asks whether a record of id is there or on its way: 0 and its length, or -ENOENT, which makes it the
 * caller's duty to packing_put or packing_abandon it. Waits while another thread has that duty. */
int packing_claim(struct packing *p, const struct digest *id, uint32_t *ret_len);
int packing_put(struct packing *p, const struct record *r, const struct digest *id, struct err *e);
void packing_abandon(struct packing *p, const struct digest *id);

/* Every record put so far becomes durable, still without a name. One thread; no packing_put may come after
 * it. */
int packing_seal(struct packing *p, struct err *e);
/* packing_seal, then the barrier: every record put so far is durable and can be found when this returns. One
 * thread, at the end.
 */
int packing_publish(struct packing *p, struct err *e);

/* Work goes on: renews the lease. -ESTALE: it was lost. Cheap. */
int packing_renew(struct packing *p, struct err *e);

uint64_t packing_bytes(struct packing *p); /* of all packs, written so far */
