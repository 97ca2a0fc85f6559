/* Which snapshot a command line means: an id, "latest", perhaps of a database. */
#pragma once

#include "store/snapshot.h"
#include "store/store.h"

/* -ENOENT: the repository has no such cluster. */
int cmd_check_cluster(struct store *s, const char *cluster, struct err *e);

/* The newest dump of a database, the newest of a kind (0: base backup), or the one of that id. database may be NULL.
 * -ENOENT with what there is to ask for; -EINVAL: several kinds have that id. */
int cmd_choose(struct store *s, const char *cluster, const char *id, enum snapshot_kind kind,
	const char *database, struct snapshot **ret, struct err *e);
