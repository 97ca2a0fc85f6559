/* global/pg_control: who a cluster is, and the state its files were in when they were written.
 *
 * The layouts are those of src/include/catalog/pg_control.h on 64-bit little-endian machines: one for control
 * version 1300 (PostgreSQL 13 to 16), one for 1700, one for 1800. Not here: any other file, writing. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "src/base/err.h"
#include "src/pg/lsn.h"

#define CONTROL_PATH "global/pg_control"
#define CONTROL_FILE_SIZE 8192 /* PG_CONTROL_FILE_SIZE; what follows the CRC is zero */

/* DBState, same header. */
enum control_state {
	CONTROL_STARTING_UP,
	CONTROL_SHUT_DOWN,
	CONTROL_SHUT_DOWN_IN_RECOVERY,
	CONTROL_SHUTTING_DOWN,
	CONTROL_IN_CRASH_RECOVERY,
	CONTROL_IN_ARCHIVE_RECOVERY,
	CONTROL_IN_PRODUCTION,
};

/* WalLevel, src/include/access/xlog.h. */
enum control_wal_level {
	CONTROL_WAL_MINIMAL,
	CONTROL_WAL_REPLICA,
	CONTROL_WAL_LOGICAL,
};

/* The copy of the latest checkpoint's record. */
struct control_checkpoint {
	struct lsn redo;
	struct tli tli;
	struct tli prev_tli;
	bool full_page_writes;
	bool has_wal_level; /* control version 1700 and later */
	enum control_wal_level wal_level;
	uint64_t next_xid; /* epoch in the high half */
	struct oid next_oid;
	uint32_t next_multi;
	uint32_t next_multi_offset;
	uint32_t oldest_xid;
	struct oid oldest_xid_db;
	uint32_t oldest_multi;
	struct oid oldest_multi_db;
	int64_t time; /* seconds since 1970-01-01 UTC, as all times in this file */
	uint32_t oldest_commit_ts_xid;
	uint32_t newest_commit_ts_xid;
	uint32_t oldest_active_xid;
};

struct control {
	uint64_t system_identifier;
	uint32_t control_version;
	uint32_t catalog_version;
	unsigned pg_major; /* 13 to 18, from the catalog version; 0 when that one is no release's */
	enum control_state state;
	int64_t time; /* of the file's last change */
	struct lsn checkpoint;
	struct control_checkpoint copy;
	struct lsn unlogged_lsn;
	struct lsn min_recovery_point;
	struct tli min_recovery_tli;
	struct lsn backup_start;
	struct lsn backup_end;
	bool backup_end_required;
	enum control_wal_level wal_level;
	bool wal_log_hints;
	uint32_t max_connections;
	uint32_t max_worker_processes;
	uint32_t max_wal_senders;
	uint32_t max_prepared_xacts;
	uint32_t max_locks_per_xact;
	bool track_commit_timestamp;
	uint32_t max_align;
	uint32_t block_size;
	uint32_t relseg_blocks; /* blocks in a segment of a large relation */
	uint32_t wal_block_size;
	uint32_t wal_segment_size;
	uint32_t name_data_len;
	uint32_t index_max_keys;
	uint32_t toast_max_chunk_size;
	uint32_t large_object_chunk_size;
	bool float8_by_value;
	uint32_t data_checksum_version; /* 0: off, 1: on */
	bool has_char_signedness;	/* control version 1800 */
	bool default_char_signed;
	uint8_t mock_nonce[32];
	uint32_t crc; /* as stored, and found right */
};

/* Reads pg_control from its bytes, whole (CONTROL_FILE_SIZE) or at least up to its CRC.
 *
 * -EOPNOTSUPP: a control version not known here, or the other byte order (neither is checked further).
 * -EBADMSG: too short, the CRC is wrong, or a field says what no server writes (a size that is no power of
 * two in its range, a state or level unknown, system identifier 0). *ret is untouched on failure.
 * Thread-safe. */
int control_parse(const void *p, size_t n, struct control *ret, struct err *e);

/* pg_controldata's words: "in production", "shut down" …; "minimal", "replica", "logical". Never NULL. */
const char *control_state_name(enum control_state s);
const char *control_wal_level_name(enum control_wal_level l);

/* The release whose catalogs have this version (CATALOG_VERSION_NO, src/include/catalog/catversion.h): 13 to
 * 18, or 0. */
unsigned control_major_of_catalog(uint32_t catalog_version);
