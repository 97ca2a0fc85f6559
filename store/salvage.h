/* Sound records out of a pack that is damaged.
 *
 * With a sound footer, each record that it lists and that unpacks to what its name promises. Without one, the pack's bytes
 * are searched for records: a head that could be one, whose checksum is right; behind damage the search goes on byte by
 * byte. A record names itself with eight bytes only, so what is found is unpacked and its digest computed. For the files of
 * this folder only. */
#pragma once

#include "src/base/err.h"
#include "store/record.h"
#include "store/repo.h"

/* Valid during the call. Non-zero ends the search and is returned. */
typedef int salvage_fn(void *arg, const struct record *rec, const struct digest *id, struct err *e);

/* name: the object, of a pack. Bases are looked up in the index, so that a delta whose base is not there yet counts as
 * damaged: call again when something was found. *ret_lost: records that are there and are not sound; without a footer,
 * stretches of bytes. Not an error: damage. */
int salvage_pack(
	struct store *s, const char *name, salvage_fn *fn, void *arg, uint64_t *ret_lost, struct err *e);
