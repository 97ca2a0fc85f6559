/* The store's own half of struct store: for the files of this folder only. */
#pragma once

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "store/backend.h"
#include "store/cache.h"
#include "store/decoder.h"
#include "store/index.h"
#include "store/record.h"
#include "store/snapshot.h"
#include "store/store.h"

struct store {
	char *path;
	struct backend *backend;
	struct index *index;
	struct cache *cache;
	struct log *log;
	char *scratch; /* a folder for temporary files */
	struct store_settings settings;
	uint8_t id[16];
	char id_text[STORE_ID_TEXT];

	pthread_mutex_t refreshing; /* rank: above the index's; guards refreshed_ns */
	uint64_t refreshed_ns; /* when the index last began to look for packs, CLOCK_MONOTONIC; 0: not yet */
	atomic_ullong snapshot_ns; /* when a snapshot was last loaded; 0: never */
	atomic_ullong lost_ns;	   /* when a chunk was last found to be lost; 0: never */

	pthread_mutex_t lock;	   /* rank: leaf; guards what follows */
	struct decoder **decoders; /* idle ones */
	size_t n_decoders, cap_decoders;
};

/* An idle decoder, or a new one; NULL without memory. Give it back. */
struct decoder *repo_take_decoder(struct store *s);
void repo_give_decoder(struct store *s, struct decoder *d);

/* The decoded bytes of id from the cache, loaded when missing. When the index does not know the chunk it is
 * brought up to date first, since another process may have added it. Release with blob_release. */
int repo_blob(
	struct store *s, const struct digest *id, enum record_kind kind, struct blob **ret, struct err *e);

/* A search for a record that is not where the index says; begins with zeroes. */
struct repo_search {
	unsigned looks, missed;
};
/* Whether to bring the index up to date and look once more. gone: the pack that it was in is, as happens when one prune after
 * the other moves it; else no pack that was listed has it. A listing that goes on while a pack comes and another one goes may
 * show neither, so a record is lost when two in a row have not brought it. */
bool repo_search_on(struct repo_search *s, bool gone);

/* The object of a snapshot. cluster and id are such as can be one's. Returns out. */
#define REPO_SNAPSHOT_NAME 200
char *repo_snapshot_name(
	char out[REPO_SNAPSHOT_NAME], const char *cluster, enum snapshot_kind kind, const char *id);

/* The name of chunk n of a file that is not inlined; the zero digest for zero bytes. By way of the pinned
 * leaf where that is the right one. */
struct file;
int file_chunk_ref(struct file *f, uint64_t n, struct digest *ret, struct err *e);

/* A file whose chunks do not come from a map. get gives chunk n pinned, and the name to blame it by; free
 * ends arg. */
struct file_source {
	int (*get)(
		void *arg, struct store *s, uint64_t n, struct digest *id, struct blob **ret, struct err *e);
	void (*free)(void *arg);
};
/* Takes arg when it succeeds. chunk: bytes of each but the last, a power of two. */
int file_open_source(struct store *s, uint64_t size, uint32_t chunk, const struct file_source *source,
	void *arg, struct file **ret, struct err *e);
