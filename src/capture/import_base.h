/* Taking in a base backup that lies on disk: what pg_basebackup left, plain or tar.
 *
 * The snapshot's tree is data/… and tablespaces/OID/…, with data/pg_tblspc/OID a relative link between them,
 * so that it is whole wherever it is mounted or copied to. */
#pragma once

#include "src/base/err.h"
#include "src/base/log.h"
#include "src/base/meter.h"
#include "store/snapshot.h"
#include "store/store.h"

/* Zero is the default. */
struct import_options {
	unsigned threads;    /* default: all processors */
	struct log *log;     /* warnings that do not stop the import */
	struct meter *meter; /* how far it has come */
	const char *tags;    /* the property "tags": words parted by spaces; may be NULL */
};

/* Imports `path`: a plain backup's directory, a directory of tar files, base.tar of such a one, or one tar
 * file that holds all. When it has a manifest, every file is compared with it.
 *
 * 0 with the published snapshot (free it). On an error nothing is published: -EINVAL: not a base backup, and
 * what was looked for; -EBADMSG: damaged, or not what its manifest says; -EOPNOTSUPP: of a kind or version
 * that is not understood; -EEXIST: the cluster name belongs to another system. */
int capture_import_base(struct store *s, const char *path, const char *cluster,
	const struct import_options *o, struct snapshot **ret, struct err *e);
