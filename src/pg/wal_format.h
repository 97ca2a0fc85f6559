/* What differs between the WAL of PostgreSQL 13, 14, 15, 16, 17 and 18, and what the numbers in it mean.
 *
 * A page's magic number tells the release; everything else that changed between them is a field of its row
 * here, so that the parsers know no release by number. Pure and thread-safe. Not here: reading. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Resource managers, in the order of src/include/access/rmgrlist.h; the same in all six releases. */
enum wal_rmgr {
	RMGR_XLOG,
	RMGR_XACT,
	RMGR_SMGR,
	RMGR_CLOG,
	RMGR_DBASE,
	RMGR_TBLSPC,
	RMGR_MULTIXACT,
	RMGR_RELMAP,
	RMGR_STANDBY,
	RMGR_HEAP2,
	RMGR_HEAP,
	RMGR_BTREE,
	RMGR_HASH,
	RMGR_GIN,
	RMGR_GIST,
	RMGR_SEQ,
	RMGR_SPGIST,
	RMGR_BRIN,
	RMGR_COMMIT_TS,
	RMGR_REPLORIGIN,
	RMGR_GENERIC,
	RMGR_LOGICALMSG,
};

#define RMGR_BUILTIN 22		/* how many there are */
#define RMGR_CUSTOM_FIRST 128	/* up to 255: extensions' own (RM_MIN_CUSTOM_ID, src/include/access/rmgr.h) */
#define WAL_INFO_RMGR_MASK 0xf0 /* a record's info: these bits are the manager's (xlogrecord.h) */
#define WAL_NO_OPCODE 0xff	/* a kind of record that the release does not have */

struct wal_format {
	unsigned pg_major;
	uint16_t magic;		   /* XLOG_PAGE_MAGIC, src/include/access/xlog_internal.h */
	bool custom_rmgrs;	   /* 15 and later */
	bool toplevel_xid;	   /* XLR_BLOCK_ID_TOPLEVEL_XID, xlogrecord.h: 14 and later */
	uint8_t image_apply;	   /* BKPIMAGE_APPLY, xlogrecord.h; renumbered in 15 */
	uint8_t image_compressed;  /* all bits that tell of a compressed page image, same place */
	bool checkpoint_wal_level; /* CheckPoint.wal_level, pg_control.h: 17 and later */
	uint8_t dropped_stat;	   /* sizeof(xl_xact_stats_item), xact.h: 15 and later; 0 is none */
	uint8_t dbase_copy;	   /* XLOG_DBASE_CREATE, since 15 …_FILE_COPY: dbcommands_xlog.h */
	uint8_t dbase_log;	   /* XLOG_DBASE_CREATE_WAL_LOG, 15 and later */
	uint8_t dbase_drop;	   /* XLOG_DBASE_DROP */
};

/* The release's row, or NULL. */
const struct wal_format *wal_format_of_magic(uint16_t magic);
const struct wal_format *wal_format_of_major(unsigned pg_major);

/* Can a record of this release belong to this manager? */
bool wal_format_has_rmgr(const struct wal_format *f, uint8_t rmid);

/* pg_waldump's word for a manager: "XLOG", "Transaction" …; "custom" for an extension's. Never NULL. */
const char *wal_rmgr_name(uint8_t rmid);
