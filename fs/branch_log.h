/* The journal of a branch: records that are appended, and read again in order. What is in a record is fs/branch_table's.
 *
 *	log    = header record*
 *	header = "PGSBRNCH" u32 version (1) u32 zero
 *	record = u32 length  u32 crc  u64 synced  payload[length]
 *
 * All integers are little-endian. crc is the CRC-32C of u64 position (of the record in the file), length, synced, payload:
 * a record is good in its own place only. `synced` says how much of the file was certainly on disk when the record was
 * appended; in a log that is never synced it is the record's own position, for then a killed daemon is all that it
 * outlives, and that tears nothing but the end.
 *
 * Where a record is bad, the log ends, and is cut off there: a power loss leaves anything of what was not synced. But when
 * a good record further on says that the bad place was synced, the file is damaged: -EBADMSG. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "src/base/err.h"

#define BRANCH_LOG_HEADER 16
#define BRANCH_RECORD_HEADER 16
#define BRANCH_RECORD_MAX (1u << 20)

struct branch_log;

/* Takes the payload of one record; non-zero stops and is returned. */
typedef int branch_log_fn(void *arg, const uint8_t *p, size_t n, struct err *e);

/* Reads a log that lies in memory: calls fn for each record and gives where the good ones end. What is not even a whole
 * header, or a header of zeroes, is an empty log that ends at 0. -EBADMSG; what fn returned. */
int branch_log_scan(const uint8_t *p, size_t n, branch_log_fn *fn, void *arg, size_t *ret_end, struct err *e);

/* Opens or makes the file, and reads it. `durable`: branch_log_sync reaches the disk. */
int branch_log_open(
	const char *path, bool durable, branch_log_fn *fn, void *arg, struct branch_log **ret, struct err *e);
void branch_log_free(struct branch_log *l); /* fine on NULL; syncs nothing */

/* Appends a record with write(2): all of it, or nothing and -errno. *ret_end: where it ends. Thread-safe. */
int branch_log_append(struct branch_log *l, const void *p, size_t n, uint64_t *ret_end, struct err *e);
/* Whether there is room for records that add something. When it is false there still is some for those that give room back,
 * on a disk that is full. Thread-safe. */
bool branch_log_has_room(struct branch_log *l);
/* Returns when the first `end` bytes are on disk; one fdatasync for all who wait. Thread-safe. */
int branch_log_sync(struct branch_log *l, uint64_t end, struct err *e);

uint64_t branch_log_end(struct branch_log *l);
uint64_t branch_log_synced(struct branch_log *l);
