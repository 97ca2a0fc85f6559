/* What the parts of verify share. For store/verify*.c only. */
#pragma once

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>

#include "store/digestset.h"
#include "store/repo.h"
#include "store/snapshot.h"
#include "store/verify.h"

/* An object that the first pass reads. */
struct verify_unit {
	char *name;
	uint64_t size;
	int64_t verified; /* seconds since 1970; 0: never */
	bool wanted;	  /* in this run */
	bool bad;
	bool unreadable; /* a pack whose footer is damaged: what lies in it cannot be found any more */
	bool done;	 /* read through */
};

/* Something that is not read but must stay: a snapshot, or a file of WAL that was read earlier. */
struct verify_seen {
	char *name;
	int64_t at; /* when it was last there */
};

struct verify {
	struct store *s;
	const struct verify_options *o;
	verify_fn *fn;
	void *arg;
	struct verify_unit *units;
	size_t n_units, cap_units;
	struct verify_seen *seen; /* with a state file only */
	size_t n_seen, cap_seen;

	pthread_mutex_t lock; /* rank: leaf; guards what follows, and calls of fn */
	struct verify_report report;
	struct digestset bad;  /* records that cannot be had */
	struct digestset used; /* those of them that something reachable needs */
	int r;		       /* the first error that ends the check */
	struct err e;

	pthread_mutex_t refreshing; /* rank: above the index's locks; guards what follows */
	uint64_t refreshed_ns;	    /* when the index was last brought up to date for a miss */
	unsigned futile;	    /* how often in a row that found nothing */
};

/* What is wrong with this process rather than with a repository. */
static inline bool verify_is_ours(int r)
{
	return r == -ENOMEM || r == -EMFILE || r == -ENFILE || r == -EINTR;
}

static inline bool verify_stopped(const struct verify *v)
{
	return v->o->stop && *v->o->stop;
}

/* Ends the check. Thread-safe. */
void verify_fail(struct verify *v, int r, const struct err *e);
/* A damaged object; chunk may be NULL, else it is noted as bad. base: as in the finding. Thread-safe. */
void verify_damaged(
	struct verify *v, const char *object, const struct digest *chunk, bool base, const char *why);

/* A record is not where the index says, which may be behind: backups and prunes go on beside this. Brings it up to date, as
 * repo_search_on says. 1: look again, and call verify_found when it is there; 0: it is lost, or that was done in vain so often
 * that it is not worth it; or an error. Thread-safe. */
int verify_look_again(struct verify *v, struct repo_search *s, bool gone, struct err *e);
void verify_found(struct verify *v);

/* A damaged object that can be made again from others. Thread-safe. */
void verify_unused(struct verify *v, const char *object, const char *why);

/* The first pass over the units that are wanted. */
int verify_objects(struct verify *v, struct err *e);
/* The second, over all snapshots. */
int verify_trees(struct verify *v, struct err *e);

/* Is an object "FOLDER/…" of those that this run looks at? */
bool verify_is_wanted(const struct verify *v, const char *name);

/* What was there before: tells of each that is gone and was not pruned, forgets what was, and adds the snapshots that are
 * there. */
int verify_gone(struct verify *v, struct err *e);
int verify_seen_add(struct verify *v, const char *name, int64_t at);
void verify_seen_release(struct verify *v);
/* One finding, of kind VERIFY_LOST, about a whole object "snapshots/…", "wal/…", "walpart/…". -ENOMEM. */
int verify_tell_gone(verify_fn *fn, void *arg, const char *object, const char *why);

/* The state file: reads times into the units, and writes them back. */
int verify_state_load(struct verify *v, struct err *e);
int verify_state_save(struct verify *v, struct err *e);

/* The unit of that name, or NULL. Units are sorted by name once they are collected. */
struct verify_unit *verify_unit_find(struct verify *v, const char *name);
