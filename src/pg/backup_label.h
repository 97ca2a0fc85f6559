/* The three small text files that go with a base backup: backup_label, the backup history file that the
 * server archives as <segment>.<offset>.backup, and tablespace_map.
 *
 * Results are copied into fixed room, so nothing here allocates. Not here: what the values mean for
 * recovery. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "src/base/clock.h"
#include "src/base/err.h"
#include "src/pg/lsn.h"

#define BACKUP_LABEL_PATH "backup_label"
#define TABLESPACE_MAP_PATH "tablespace_map"
#define BACKUP_LABEL_MAX 1024	 /* bytes of a label: MAXPGPATH, src/include/pg_config_manual.h */
#define BACKUP_TIME_MAX 127	 /* bytes of a time: the server's own room (xlogbackup.c) */
#define TABLESPACE_PATH_MAX 4095 /* PATH_MAX without the NUL; the server itself stops at MAXPGPATH */

/* A time as the server wrote it, "2026-11-20 02:15:07 CET": in log_timezone, with that zone's abbreviation,
 * which does not tell the distance from UTC unless it is a number or UTC itself. */
struct backup_time {
	char text[BACKUP_TIME_MAX + 1];
	bool resolved;	  /* the zone was UTC, GMT or numeric, and `at` is the moment */
	struct tstamp at; /* when resolved; else the local time read as if it were UTC (within 16 hours) */
};

struct backup_label {
	struct lsn start;		/* START WAL LOCATION: redo of the starting checkpoint */
	char start_file[WAL_NAME_TEXT]; /* its segment */
	struct lsn checkpoint;		/* CHECKPOINT LOCATION */
	bool streamed;			/* BACKUP METHOD: streamed; else pg_start_backup, the exclusive one */
	bool from_standby;		/* BACKUP FROM: standby; else primary (13: master) */
	struct backup_time start_time;	/* START TIME */
	char label[BACKUP_LABEL_MAX + 1]; /* LABEL; the server lets it hold line breaks */
	struct tli tli;			  /* START TIMELINE */

	/* A history file only. */
	bool is_history;
	struct lsn stop;	       /* STOP WAL LOCATION */
	char stop_file[WAL_NAME_TEXT]; /* its segment */
	struct backup_time stop_time;  /* STOP TIME */
	struct tli stop_tli;	       /* STOP TIMELINE */
	bool incremental;	       /* of an incremental backup; else the next two are 0 */
	struct lsn incremental_from;   /* INCREMENTAL FROM LSN */
	struct tli incremental_tli;    /* INCREMENTAL FROM TLI */
};

/* Reads backup_label. The lines and their order are those of build_backup_content
 * (src/backend/access/transam/xlogbackup.c; before 15 in xlog.c). -EBADMSG: anything else, with the line's
 * number; -EOPNOTSUPP: INCREMENTAL FROM LSN, for an incremental backup (17 and later) is not a full one. *ret
 * is untouched on failure. Thread-safe. */
int backup_label_parse(const void *p, size_t n, struct backup_label *ret, struct err *e);

/* The same for a backup history file, which may be an incremental backup's: is_history is set. */
int backup_history_parse(const void *p, size_t n, struct backup_label *ret, struct err *e);

/* Is this a backup history file's name: 24 digits, a dot, eight digits, ".backup" (IsBackupHistoryFileName,
 * src/include/access/xlog_internal.h)? */
bool backup_history_name_looks(const char *name, size_t n);

/* One tablespace: path is NUL-terminated, without escapes, valid during the call. Not 0: stop, and return
 * that. */
typedef int tablespace_map_fn(void *arg, struct oid oid, const char *path, struct err *e);

/* Reads tablespace_map, a line "OID PATH" each, told in their order; an empty file is fine. A backslash makes
 * a line break behind it a part of the path; since 14 it does so with every byte, and a backslash is written
 * as two (read_tablespace_map, src/backend/access/transam/xlogrecovery.c; before 15 in xlog.c). pg_major says
 * which, 0 is taken as new. -EBADMSG with the line's number: a line that is not of this form or not ended,
 * OID 0, a path that is not absolute, too long, or holds a NUL. An OID that comes twice is the caller's to
 * find. Thread-safe. */
int tablespace_map_parse(
	const void *p, size_t n, unsigned pg_major, tablespace_map_fn *fn, void *arg, struct err *e);
