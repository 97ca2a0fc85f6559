/* Verifying a repository: is every byte that a snapshot or the WAL archive promises there, and is it what it was?
 *
 * Two passes. The first reads objects: each record of each pack is unpacked and its SHA-256 compared with its name,
 * each file of WAL likewise; once each, however many snapshots share it, in parallel. The second walks what is
 * reachable: every snapshot's trees and file maps down to the last chunk, which must be there and must not be among
 * what the first found damaged. Subtrees that were seen whole are not walked again.
 *
 * Packs and files of WAL never change, so that what was read once need not be read every night: which were, and when,
 * is kept in a state file outside of the repository. So are the snapshots that were there: one that is gone, or a file of
 * WAL that was read, and that nobody removed who says so (store/pruned.h), is told as lost, until it is back.
 *
 * Invariant: nothing is written to the repository, nothing is believed that was not checked. Damage is told, not
 * returned: an error is what kept the check itself from going on. Not here: what the bytes mean to PostgreSQL. */
#pragma once

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>

#include "src/base/clock.h"
#include "src/base/err.h"
#include "src/base/meter.h"
#include "store/digest.h"
#include "store/store.h"

enum verify_kind {
	VERIFY_OBJECT, /* an object, or a record in it, is damaged or missing; cluster and what follows are NULL */
	VERIFY_LOST,   /* something of a snapshot cannot be read because of that */
	VERIFY_UNUSED, /* damaged, but nothing that can be reached needs it */
};

/* Texts are valid during the call. */
struct verify_finding {
	enum verify_kind kind;
	const char *object; /* "packs/…", "wal/…", "snapshots/…"; "" where only a chunk is known */
	const char *chunk;  /* 64 hex digits, or NULL */
	const char *why;
	bool base; /* VERIFY_OBJECT: the record is sound, but what it is a delta against cannot be had */
	const char *cluster, *snapshot_kind, *snapshot; /* VERIFY_LOST */
	const char *path;  /* in the snapshot; "" for all of it. A directory's path: all below it */
	uint64_t from, to; /* the bytes of the file that are lost; both 0: no file, or none to tell */
};

/* Calls come one at a time, from any thread. */
typedef void verify_fn(void *arg, const struct verify_finding *f);

/* Zero is the default: everything is read. */
struct verify_options {
	unsigned threads; /* default: all processors */
	bool quick;    /* no contents: objects are there with sound footers, everything reachable is known */
	double sample; /* 0 to 1: that share of the objects is read, by chance (seed); 0: all */
	uint64_t seed;
	double slice; /* 0 to 1: that share of the bytes is read, what was read longest ago first; 0: all */
	const char *state;   /* path of the state file; NULL: nothing is remembered */
	const char *cluster; /* only its snapshots and WAL; NULL: all */
	struct tstamp since; /* only snapshots, packs and WAL put since; 0: all */
	struct meter *meter; /* bytes of objects */
	/* Told of each record that something reachable needs and that cannot be had, as often as it is met; arg is fn's. NULL: nobody. */
	int (*on_missing)(void *arg, const struct digest *id, int kind, struct err *e);
	const volatile sig_atomic_t *stop; /* ends with -EINTR; what was checked is remembered */
};

struct verify_report {
	uint64_t objects, objects_read; /* packs and files of WAL: there, and read through */
	uint64_t bytes_read, bytes_unpacked;
	uint64_t snapshots, files;
	uint64_t damaged; /* objects and records */
	uint64_t lost;	  /* files and directories of snapshots, files of WAL */
	uint64_t unused;
};

/* 0 when the check ran to its end, whatever it found. */
int store_verify(struct store *s, const struct verify_options *o, verify_fn *fn, void *arg,
	struct verify_report *ret, struct err *e);
