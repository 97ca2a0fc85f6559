/* Checking a base backup against its manifest while its files stream by.
 *
 * A manifest is loaded, and its own checksum verified, before it is used; eight bytes a file and one bit are
 * kept, and each file's entry is read again from the manifest's bytes when the file comes. Differences are
 * collected, not returned at once, so that one run names all that is wrong; what pg_verifybackup passes over
 * (datadir_verify_ignores) is passed over here.
 *
 * Paths are the manifest's: relative to the data directory, tablespaces as pg_tblspc/OID/…. After loading,
 * all functions but finish are thread-safe. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "src/base/clean.h"
#include "src/base/err.h"
#include "src/pg/manifest.h"

struct manifest_check;

/* Loads n bytes, which stay the caller's and must outlive the result. `name` is for messages. -EBADMSG when
 * it is not a manifest, its checksum is wrong, or a path is there twice. */
int manifest_check_new(const char *name, const void *p, size_t n, struct manifest_check **ret, struct err *e);
void manifest_check_free(struct manifest_check *mc); /* fine on NULL */
CLEANUP_DEFINE(struct manifest_check, manifest_check_free)

/* For a server's stream, in which the manifest is last: the files that come are only noted, in bounded memory
 * and then in a nameless file in the folder `scratch`, and compared by manifest_check_finish. Before that,
 * manifest_check_load must load the manifest, as manifest_check_new does. Until then nothing is known of a
 * manifest, and what is noted is the CRC-32C: the manifest must be of NONE or CRC32C. */
int manifest_check_later(const char *scratch, struct manifest_check **ret, struct err *e);
int manifest_check_load(struct manifest_check *mc, const char *name, const void *p, size_t n, struct err *e);

const struct manifest_info *manifest_check_info(const struct manifest_check *mc);
/* Where the WAL that the backup needs begins and ends; ranges in the manifest's order. */
size_t manifest_check_wal(const struct manifest_check *mc, const struct manifest_wal_range **ret);

/* Tells each difference as it is found, `what` being the words that follow the path; one call at a time, from any thread.
 * Before the first file. */
typedef void manifest_difference_fn(void *arg, const char *path, const char *what);
void manifest_check_tell(struct manifest_check *mc, manifest_difference_fn *fn, void *arg);

/* What is listed for this path: 1, or 0 when it is not listed or passed over. ret's pointers lead into s. */
int manifest_check_find(const struct manifest_check *mc, const char *path, size_t n,
	struct manifest_scratch *s, struct manifest_file *ret, struct err *e);

/* What must be computed over this file's bytes: MANIFEST_NONE also when it is not listed. */
int manifest_check_algorithm(
	struct manifest_check *mc, const char *path, size_t n, enum manifest_algorithm *ret, struct err *e);

/* A file that came whole. Exactly one of these is called for each; the other kind passes over files that are
 * not its own, so that both may be told of every file. Return 0 also for a file that differs.
 *
 * By CRC-32C of its bytes: files whose algorithm is NONE or CRC32C, and those that are not listed. */
int manifest_check_crc(
	struct manifest_check *mc, const char *path, size_t n, uint64_t size, uint32_t crc, struct err *e);
/* By SHA-2, `digest` being of the algorithm that manifest_check_algorithm told. */
int manifest_check_sha(struct manifest_check *mc, const char *path, size_t n, uint64_t size,
	const uint8_t *digest, struct err *e);

/* Instead of those, for a file whose bytes need no comparing: it was found right before, or cannot be read, which was told. */
int manifest_check_known(struct manifest_check *mc, const char *path, size_t n, uint64_t size, struct err *e);

/* All files came: 0, or -EBADMSG with a text that counts the differences and names the first few. */
int manifest_check_finish(struct manifest_check *mc, struct err *e);
