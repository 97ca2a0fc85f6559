/* What a base backup says of itself: gathered from its small files as they come by, judged when all came.
 *
 * One thread adds; paths are relative to the data directory. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "src/base/clean.h"
#include "src/base/clock.h"
#include "src/base/err.h"
#include "src/base/log.h"
#include "src/capture/manifest_check.h"
#include "src/pg/backup_label.h"
#include "src/pg/control.h"
#include "store/snapshot.h"

struct backup_facts;

struct backup_facts *backup_facts_new(struct log *log); /* NULL without memory; log may be NULL */
void backup_facts_free(struct backup_facts *f);		/* fine on NULL */
CLEANUP_DEFINE(struct backup_facts, backup_facts_free)

/* How many bytes of this file the facts want to see, 0 for none. A file that is larger than that is not what
 * its name says. */
size_t backup_facts_want(const struct backup_facts *f, const char *path, size_t n);
/* The bytes of a file that was wanted, whole. -EBADMSG, -EOPNOTSUPP with a text that names it. */
int backup_facts_take(struct backup_facts *f, const char *path, const void *p, size_t n, struct err *e);

/* Any file, wanted or not: notes WAL segments and the newest time. -EOPNOTSUPP: the file says that this is an
 * incremental backup. */
int backup_facts_file(struct backup_facts *f, const char *path, size_t n, uint64_t size, struct tstamp mtime,
	struct err *e);

/* Where a link pg_tblspc/OID led. */
int backup_facts_link(struct backup_facts *f, struct oid oid, const char *target, struct err *e);

/* The time when the backup began, by this machine's clock: for a label whose time zone is not known. */
void backup_facts_start_time(struct backup_facts *f, struct tstamp at);
/* The time when the backup's end was written down: its manifest file's. */
void backup_facts_manifest_time(struct backup_facts *f, struct tstamp mtime);

/* Reads tablespace_map, if one came: its tablespaces are then known, too. Once, after PG_VERSION came. */
int backup_facts_read_map(struct backup_facts *f, struct err *e);

/* The OIDs that links or tablespace_map name, in their order. */
size_t backup_facts_tablespaces(const struct backup_facts *f, const struct oid **ret);
bool backup_facts_has_tablespace(const struct backup_facts *f, struct oid oid);

/* NULL until pg_control came. */
const struct control *backup_facts_control(const struct backup_facts *f);

/* All files came. Checks that what must be there is, that versions agree and that the WAL that is needed is
 * there; then fills the snapshot's times and properties (keys: NAMESPACE). mc is NULL when there was no
 * manifest; `now` stands for a stop time that nothing tells. -EBADMSG, -EOPNOTSUPP. */
int backup_facts_settle(struct backup_facts *f, const struct manifest_check *mc, struct tstamp now,
	struct snapshot *snap, struct err *e);
