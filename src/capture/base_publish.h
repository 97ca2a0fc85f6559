/* The end of every way in for a base backup: judged, bound to its cluster, published. */
#pragma once

#include <stdint.h>

#include "src/base/err.h"
#include "src/capture/backup_facts.h"
#include "src/capture/base_sink.h"
#include "src/capture/manifest_check.h"
#include "store/snapshot.h"
#include "store/store.h"

/* The cluster's name must be free or belong to this system: 0, or -EEXIST with advice. */
int base_check_identity(struct store *s, const char *cluster, uint64_t system, struct err *e);

/* All of the backup was given to the sink: compares it with the manifest (NULL: there is none), judges its facts,
 * makes its bytes durable, binds the name to the system, and publishes the snapshot, of which all but the id is
 * filled in on the way. */
int base_publish(struct store *s, const char *cluster, struct base_sink *k, struct backup_facts *facts,
	const struct manifest_check *mc, struct snapshot *snap, struct err *e);
