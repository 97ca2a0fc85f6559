/* A manifest's bytes: from a file or from a stream (mapped), or from inside an archive (in memory). */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <sys/stat.h>

#include "src/base/clean.h"
#include "src/base/clock.h"
#include "src/base/err.h"

struct manifest_source;

/* DIR/backup_manifest: 1 when it is there, 0 when it is not. */
int manifest_source_open(const char *dir, struct manifest_source **ret, struct err *e);
/* Bytes found inside `archive`; p is taken and freed, also on failure. 1, or -ENOMEM. */
int manifest_source_take(const char *archive, void *p, size_t n, struct manifest_source **ret, struct err *e);
/* Bytes that come piece by piece, kept in a nameless file in the folder `scratch`; `name` is for messages. They
 * can be used when manifest_source_end returned 0. */
int manifest_source_begin(const char *scratch, const char *name, struct manifest_source **ret, struct err *e);
int manifest_source_append(struct manifest_source *m, const void *p, size_t n, struct err *e);
int manifest_source_end(struct manifest_source *m, struct err *e);
void manifest_source_free(struct manifest_source *m); /* fine on NULL */
CLEANUP_DEFINE(struct manifest_source, manifest_source_free)

const char *manifest_source_name(const struct manifest_source *m); /* for messages */
const void *manifest_source_bytes(const struct manifest_source *m);
size_t manifest_source_len(const struct manifest_source *m);

bool manifest_source_is_file(const struct manifest_source *m);
struct tstamp manifest_source_mtime(const struct manifest_source *m); /* of the file */
/* A descriptor of the very file, at its start, for the caller to close, and what it is. */
int manifest_source_reopen(const struct manifest_source *m, struct stat *st, struct err *e);
