/* A run: one immutable sorted table of where chunks lie. Format: store/README.md, "Index run".
 *
 * Runs are a cache outside the repository. A run is mapped, not loaded: a lookup touches one place of the
 * fan-out and one of the entries. A run is read-only once made; all functions are thread-safe on a shared
 * run. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "src/base/err.h"
#include "store/digest.h"
#include "store/pack.h"

struct run;

/* A place of a chunk in terms of the run's own pack table. */
struct run_place {
	uint32_t pack; /* number in the run's table */
	uint32_t off, len;
	uint8_t kind, depth;
	uint32_t entry; /* number among the run's entries */
};

/* One pack to be put in a run. */
struct run_input {
	struct digest pack;
	const struct pack_entry *entries;
	size_t n;
};

/* Makes a run of the entries of some packs; sorts copies of them in memory. dir NULL: in memory only. */
int run_build(const char *dir, const uint8_t repo_id[16], const struct run_input *in, size_t n_in,
	struct run **ret, struct err *e);
/* Merges runs into one, streaming. keep(arg, pack) false drops a pack's entries; NULL keeps all. */
int run_merge(const char *dir, const uint8_t repo_id[16], struct run *const *in, size_t n_in,
	bool (*keep)(void *arg, const struct digest *pack), void *arg, struct run **ret, struct err *e);
/* Maps the run file dir/name. -EBADMSG, -EOPNOTSUPP or another repository's (-ESTALE): the caller removes it.
 */
int run_open(const char *dir, const char *name, const uint8_t repo_id[16], struct run **ret, struct err *e);
void run_free(struct run *r);	/* unmaps; fine on NULL */
void run_unlink(struct run *r); /* removes its file, if it has one; the mapping stays */

uint64_t run_entries(const struct run *r);
uint32_t run_packs(const struct run *r);
struct digest run_pack(const struct run *r, uint32_t pack);

/* Finds id. nth 0 is its first place, 1 the next one of the same id, …. False when there is none. */
bool run_find(const struct run *r, const struct digest *id, unsigned nth, struct run_place *ret);
