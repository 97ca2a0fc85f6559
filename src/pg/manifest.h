/* backup_manifest, versions 1 (PostgreSQL 13 to 16) and 2 (17 and later): what files a base backup has, their
 * sizes and checksums, and the WAL it needs.
 *
 * The bytes are the caller's, usually mapped; a file is told the moment its object ends, and nothing is kept,
 * so memory is the same for ten files and ten million. All functions are thread-safe. Not here: hashing (the
 * box has no third party), comparing with files, and finding a path that comes twice. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "src/base/err.h"
#include "src/pg/lsn.h"

#define MANIFEST_PATH "backup_manifest"
#define MANIFEST_PATH_MAX 4095 /* bytes of one file's path */
#define MANIFEST_TIME_MAX 63
#define MANIFEST_DIGEST_MAX 64

/* pg_checksum_type, src/include/common/checksum_helper.h. */
enum manifest_algorithm {
	MANIFEST_NONE,
	MANIFEST_CRC32C,
	MANIFEST_SHA224,
	MANIFEST_SHA256,
	MANIFEST_SHA384,
	MANIFEST_SHA512,
};

static inline bool manifest_is_sha(enum manifest_algorithm a)
{
	return a != MANIFEST_NONE && a != MANIFEST_CRC32C;
}

/* One file. The pointers are valid during the call that gave them. */
struct manifest_file {
	const char *path; /* relative, parts by '/', none of them empty, "." or ".."; with a NUL */
	size_t path_len;
	uint64_t size;
	const char *mtime; /* "2026-11-20 02:15:07 GMT" with a NUL, "" when the manifest has none */
	enum manifest_algorithm algorithm;
	uint8_t digest[MANIFEST_DIGEST_MAX]; /* manifest_digest_len(algorithm) bytes */
	size_t offset;			     /* of the object's brace, for manifest_parse_file_at */
};

struct manifest_wal_range {
	struct tli tli;
	struct lsn start;
	struct lsn end;
};

/* What is done with each item as it is read; a slot may be NULL. Not 0: stop, and return that. */
struct manifest_ops {
	int (*file)(void *arg, const struct manifest_file *f, struct err *e);
	int (*wal_range)(void *arg, const struct manifest_wal_range *w, struct err *e);
};

struct manifest_info {
	unsigned version; /* 1 or 2 */
	bool has_system_identifier;
	uint64_t system_identifier; /* version 2 */
	uint64_t files;
	uint64_t bytes; /* the sum of their sizes */
	unsigned wal_ranges;
	size_t covered;	    /* the SHA-256 of the buffer's first `covered` bytes … */
	uint8_t digest[32]; /* … must be this; the caller hashes and compares */
};

/* Reads a manifest. Any valid JSON spelling is accepted (white space, escapes, order of keys); a key that is
 * unknown, missing or twice in one object is not. Files are told before the end is seen, and before anyone
 * has checked the digest: act on them only when this returned 0 and the digest was right.
 *
 * -EBADMSG with the byte's offset: not such a manifest; -EOPNOTSUPP: another version. *ret is untouched on
 * failure. */
int manifest_parse(const void *p, size_t n, const struct manifest_ops *ops, void *arg,
	struct manifest_info *ret, struct err *e);

/* Room for the parts of a file that had to be decoded. */
struct manifest_scratch {
	char path[MANIFEST_PATH_MAX + 1];
	char mtime[MANIFEST_TIME_MAX + 1];
};

/* Reads the one file object at an offset that manifest_parse told for these bytes. ret's pointers lead into
 * s. Errors as above. */
int manifest_parse_file_at(const void *p, size_t n, size_t offset, struct manifest_scratch *s,
	struct manifest_file *ret, struct err *e);

/* "NONE", "CRC32C", "SHA224" … */
const char *manifest_algorithm_name(enum manifest_algorithm a);

/* 0, 4, 28, 32, 48, 64. */
size_t manifest_digest_len(enum manifest_algorithm a);

/* Does the file's digest say this CRC-32C (crc32c.h)? The server writes the four bytes of its own pg_crc32c
 * variable (pg_checksum_final, src/common/checksum_helper.c): lowest first from the machines we read. */
bool manifest_crc32c_is(const struct manifest_file *f, uint32_t crc);
