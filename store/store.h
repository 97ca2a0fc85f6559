/* A repository: where it is, its settings, and the handle that everything else takes.
 *
 * A repository is a set of immutable objects behind a backend (store/backend.h). Opening needs nothing but
 * those; the index cache outside of it is rebuilt when it is missing. A handle is thread-safe and may be
 * shared by any number of readers and ingests; other processes may add to the repository at the same time. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "src/base/err.h"
#include "src/base/log.h"

struct store;

/* What `init` fixes for good. Zero is the default. */
struct store_settings {
	uint32_t chunk_size; /* bytes of a fixed chunk, a power of two from 8 KiB to 1 MiB; default 64 KiB */
	/* Longest chain of deltas (see chunker.h); default 4, UINT32_MAX for no deltas. */
	uint32_t delta_chain;
	int level; /* zstd level 1 to 19; default 3 */
};

/* How this process opens it. Zero is the default. */
struct store_options {
	const char *index_dir; /* folder of the index cache; the store makes a subfolder named by the
				* repository's id. NULL: the index is built in memory at each open */
	size_t cache_bytes;    /* limit of decoded chunks kept in memory; default 64 MiB */
	struct log *log;       /* warnings about damage; may be NULL; must outlive the store */
};

#define STORE_ID_TEXT 33 /* 32 hex digits and NUL */

/* Makes a repository at path (created, or an empty directory) and gives its id. -EEXIST: there is one
 * already; -ENOTEMPTY: something else is there. */
int store_init(const char *path, const struct store_settings *s, char id[STORE_ID_TEXT], struct err *e);

/* -ENOENT: nothing there; -EBADMSG: damaged; -EOPNOTSUPP: a newer format. The caller frees with store_free.
 */
int store_open(const char *path, const struct store_options *o, struct store **ret, struct err *e);
void store_free(struct store *s); /* fine on NULL; nothing that was got from it may be used after */

const char *store_id(const struct store *s);
const char *store_path(const struct store *s);
/* A folder outside of the repository for nameless temporary files. */
const char *store_scratch(const struct store *s);
const struct store_settings *store_settings(const struct store *s);

/* Bytes that the repository's objects take. Cheap: known objects are remembered. */
int store_usage(struct store *s, uint64_t *ret_bytes, struct err *e);

/* Looks for packs that other processes added since. Readers do it by themselves when a chunk is not found. */
int store_refresh(struct store *s, struct err *e);

/* The clusters that have an identity or snapshots here (dumps need no identity), sorted. The caller frees with strv_free. */
int store_clusters(struct store *s, char ***ret, struct err *e);
void strv_free(char **v); /* a NULL-terminated array of malloc'ed strings; fine on NULL */

/* The text a cluster name is bound to (for PostgreSQL its system identifier), or -ENOENT. free() it. */
int store_cluster_identity(struct store *s, const char *cluster, char **ret, struct err *e);
/* Binds a name for good, by one atomic create. -EEXIST with a text that says both when it is bound to
 * another. */
int store_bind_cluster(struct store *s, const char *cluster, const char *identity, struct err *e);
/* 1 to 63 of a-z A-Z 0-9 _ . -, not starting with . or -: what a cluster may be called. -EINVAL with a text.
 */
int store_check_cluster_name(const char *cluster, struct err *e);
