/* The index: where every chunk of the repository lies. A set of runs (store/run.h) and the packs that they
 * cover.
 *
 * A cache that can be thrown away at any time: what it says comes from the packs' footers, and a record's own
 * head is checked when it is read. Thread-safe; lookups of several threads run at once. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "src/base/err.h"
#include "src/base/log.h"
#include "store/backend.h"
#include "store/digest.h"
#include "store/pack.h"

struct index;

struct place {
	uint32_t pack; /* for index_read */
	uint32_t off, len;
	uint8_t kind, depth;
	uint64_t entry; /* number below index_entries, until the index changes */
};

/* dir NULL: runs are kept in memory. dir must exist. log may be NULL. */
int index_new(struct backend *b, const char *dir, const uint8_t repo_id[16], struct log *log,
	struct index **ret, struct err *e);
void index_free(struct index *ix); /* fine on NULL */

/* Brings the index up to date with the packs that are there: takes in the cached runs the first time, reads
 * the footers of packs it does not know, forgets packs that are gone. A pack with a damaged footer is logged
 * and left out. */
int index_sync(struct index *ix, struct err *e);
/* Throws every run away, then index_sync from the footers. */
int index_rebuild(struct index *ix, struct err *e);

/* Takes in packs that were just committed. */
struct index_pack {
	struct digest name;
	uint64_t size;
	const struct pack_entry *entries;
	size_t n;
};
int index_add(struct index *ix, const struct index_pack *packs, size_t n, struct err *e);

/* True when, as far as is known, every pack that ever was is there and has a footer that can be read. When not, a
 * chunk that a snapshot names may be gone, and who relies on it should ask for it. */
bool index_is_whole(struct index *ix);

/* False when no living pack has it. */
bool index_find(struct index *ix, const struct digest *id, struct place *ret);

/* A pack that is about to go: index_find still finds what lies in it, index_find_lasting does not. Unknown packs are
 * passed over. */
void index_shun(struct index *ix, const struct digest *pack);
bool index_find_lasting(struct index *ix, const struct digest *id, struct place *ret);

/* The number of a pack that is there, as in struct place; false when it is not known. */
bool index_pack_number(struct index *ix, const struct digest *pack, uint32_t *ret);
uint32_t index_packs(struct index *ix); /* above all numbers */

/* Reads the record at a place into p (at->len bytes). -EBADMSG when the pack is shorter, -ESTALE when it is
 * gone: what lived in it has been put elsewhere, and the index is behind. */
int index_read(struct index *ix, const struct place *at, void *p, struct err *e);
/* A hint that it will be read. */
void index_advise(struct index *ix, const struct place *at);
/* The name of the place's object, for messages. */
char *index_object_name(struct index *ix, const struct place *at, char out[PACK_NAME_MAX]);

uint64_t index_entries(struct index *ix);
uint64_t index_pack_bytes(struct index *ix); /* sizes of all living packs */
