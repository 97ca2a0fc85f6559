/* Leases: who is at work on the repository, so that prune does not take away what they are about to rely on.
 *
 * An object leases/ID-EXPIRY for each ingest (and one for a prune). It is put before the ingest looks at what is there, renewed
 * while it works, removed at its end. A lease ends at its expiry, or when its process is known to be dead (same machine,
 * same boot). Invariant: an ingest that publishes holds a lease that has not expired.
 *
 * Clocks of machines that share a repository may differ by up to LEASE_SKEW_S. Thread-safe. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "src/base/err.h"
#include "store/store.h"

#define LEASE_S 3600 /* renewed after half of it */
#define LEASE_SKEW_S 300

struct lease;

/* what: for people, e.g. "backup of main"; one line, at most 100 bytes. */
int lease_take(struct store *s, const char *what, struct lease **ret, struct err *e);
/* Renews when half of its time is over. -ESTALE: it expired meanwhile (the process slept): what it protected may be
 * gone, so the work must be given up. Cheap; call it often. */
int lease_renew(struct lease *l, struct err *e);
void lease_free(struct lease *l); /* gives it back; fine on NULL */

/* A lease that is alive and is not `mine` (may be NULL). */
typedef int lease_fn(void *arg, const char *what, const char *who, struct err *e);
/* Calls fn for each until it returns non-zero; removes those whose process is dead, and expired ones. */
int lease_list(struct store *s, const struct lease *mine, lease_fn *fn, void *arg, struct err *e);
