/* What the names in a data directory mean. Paths are relative to the data directory, '/' between parts, given
 * as n bytes. All functions are pure and thread-safe. Not here: contents, but for PG_VERSION's one line. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "src/base/err.h"
#include "src/pg/lsn.h"

#define DATADIR_VERSION_PATH "PG_VERSION"
#define DATADIR_SPC_DEFAULT 1663 /* pg_default and pg_global, src/include/catalog/pg_tablespace.dat */
#define DATADIR_SPC_GLOBAL 1664

/* ForkNumber, src/include/common/relpath.h. */
enum datadir_fork {
	DATADIR_FORK_MAIN,
	DATADIR_FORK_FSM,
	DATADIR_FORK_VM,
	DATADIR_FORK_INIT,
};

/* A relation's file. */
struct datadir_rel {
	struct oid spc; /* DATADIR_SPC_DEFAULT in base/, DATADIR_SPC_GLOBAL in global/ */
	struct oid db;	/* 0 in global/ */
	uint32_t filenode;
	enum datadir_fork fork;
	uint32_t segment; /* 0 has no suffix */
	bool temporary;	  /* t<backend>_<filenode>; pg_basebackup leaves these out */
	uint32_t backend;
};

/* Is this a relation's file, made of pages: base/DB/NODE, global/NODE, pg_tblspc/SPC/PG_x_y/DB/NODE, where
 * NODE is [tBACKEND_]FILENODE[_fsm|_vm|_init][.SEGMENT] (GetRelationPath, src/common/relpath.c;
 * parse_filename_for_nontemp_relation, src/backend/storage/file/reinit.c)? Numbers without leading zeroes,
 * OIDs not 0. ret may be NULL, and is untouched when the answer is no. */
bool datadir_is_relation(const char *path, size_t n, struct datadir_rel *ret);

/* "main", "fsm", "vm", "init". */
const char *datadir_fork_name(enum datadir_fork f);

/* Does pg_verifybackup pass over this path, be it in the manifest or not (main, src/bin/pg_verifybackup/
 * pg_verifybackup.c, 13 to 18): backup_manifest, pg_wal, postgresql.auto.conf, recovery.signal,
 * standby.signal, and what lies below them? */
bool datadir_verify_ignores(const char *path, size_t n);

/* Reads PG_VERSION: "15" and a line break. -EBADMSG: anything else; -EOPNOTSUPP: "9.6" and older. */
int datadir_version_parse(const void *p, size_t n, unsigned *ret_major, struct err *e);
