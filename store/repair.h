/* Repair: what can be saved of a damaged repository, and what can be taken back from another one.
 *
 * Everything is verified first. Then each damaged pack's sound records are put into new packs; damaged packs, files of WAL and
 * snapshots are moved to quarantine/, where nothing reads them and nothing relies on them: what was lost with them counts
 * as missing from then on, so that the next backup that has the same bytes stores them again, and the snapshots that lost them
 * have them back (contents of files, that is: no later backup has the node of a directory as it was). A second repository that has the content can give it at once: chunks by their digests, files of WAL and
 * snapshots by their names.
 *
 * Reads of what stays lost are EIO; the rest of each file is served. Nothing is deleted: the quarantine keeps it, unless
 * the caller asks. Derived data (notes beside WAL) that is damaged is removed; it is made anew. */
#pragma once

#include "store/verify.h"

/* Zero is the default. */
struct repair_options {
	struct store *from;  /* another repository to take from; may be NULL */
	bool delete_damaged; /* no quarantine */
	unsigned threads;    /* of verify */
	struct meter *meter;
	struct log *log; /* each step, as information */
	const volatile sig_atomic_t *stop;
};

struct repair_report {
	struct verify_report before, after;
	uint64_t packs, wal, snapshots; /* that were damaged and went to quarantine */
	uint64_t notes;			/* that were removed */
	uint64_t saved, lost;		/* records of damaged packs */
	/* From the other repository. */
	uint64_t chunks_taken, wal_taken, snapshots_taken, clusters_taken;
};

/* fn is told what is still lost in the end. 0 also when something is. -EBUSY: a prune is at work. */
int store_repair(struct store *s, const struct repair_options *o, verify_fn *fn, void *arg,
	struct repair_report *ret, struct err *e);
