/* The WAL archive: one immutable object for each file that a server archives (segments, .history, .backup,
 * .partial), named as the server names it. Format: store/README.md, "WAL file".
 *
 * The store gives no meaning to the names. An object is visible and durable when wal_put returns, without a
 * snapshot; it is made of frames that unpack alone, so a read at any offset decodes one of them. All
 * functions are thread-safe. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "src/base/clock.h"
#include "src/base/err.h"
#include "store/digest.h"
#include "store/file.h"
#include "store/store.h"

#define WAL_FILE_NAME_MAX 63 /* [A-Za-z0-9._-], starting with a letter or digit */
#define WAL_FILE_MAX \
	(1ull << 30) /* the largest segment size of PostgreSQL (xlog_internal.h: WalSegMaxSize) */

struct wal_info {
	uint64_t size;	      /* of the file */
	uint64_t stored;      /* of its object */
	struct tstamp put;    /* when it was archived */
	struct digest digest; /* SHA-256 of the file's bytes */
};

/* Archives the `size` bytes behind fd as `name`. threads 0: all processors; 1: only the
 * caller's. *ret_known: the same bytes were
 * there already, which is success. -EEXIST: other bytes are there; they stay. */
int wal_put(struct store *s, const char *cluster, const char *name, int fd, uint64_t size, unsigned threads,
	bool *ret_known, struct err *e);

/* The same from memory, or with the bytes kept for the caller: what the archive then has is what stands there. */
struct wal_input {
	const void *bytes; /* the content; or NULL: it is read from fd */
	int fd;
	void *keep; /* with fd: room for size bytes, which are left here; may be NULL */
	uint64_t size;
};
int wal_put_input(struct store *s, const char *cluster, const char *name, const struct wal_input *in,
	unsigned threads, bool *ret_known, struct err *e);

/* -ENOENT, -EBADMSG. */
int wal_stat(struct store *s, const char *cluster, const char *name, struct wal_info *ret, struct err *e);

/* Opens for reading; file_free it. */
int wal_open(struct store *s, const char *cluster, const char *name, struct file **ret, struct err *e);

/* Gives the whole file in order, piece by piece, through memory for one of them and past the cache. A call that returns
 * not 0 ends it, and that is returned. */
typedef int wal_copy_fn(void *arg, const void *p, size_t n, struct err *e);
int wal_copy(
	struct store *s, const char *cluster, const char *name, wal_copy_fn *fn, void *arg, struct err *e);

/* A hint that it will be read soon, if it is there. */
void wal_advise(struct store *s, const char *cluster, const char *name);

/* The archive is kept in groups that sort as their names do: all names of a group come before those of the
 * next. Both lists are sorted, NULL-terminated, and freed with strv_free. A cluster without WAL has none. */
int wal_groups(struct store *s, const char *cluster, char ***ret, struct err *e);
int wal_names(struct store *s, const char *cluster, const char *group, char ***ret, struct err *e);

/* The same with what the backend knows without opening each. Free with wal_list_free. */
struct wal_name {
	char *name;
	uint64_t stored;
	struct tstamp put;
};
struct wal_list {
	struct wal_name *v;
	size_t n;
};
int wal_list(struct store *s, const char *cluster, const char *group, struct wal_list *ret, struct err *e);
void wal_list_free(struct wal_list *l);

/* Removes a file from the archive, and its note. Durable after the next barrier; a kill in between leaves the whole file, or
 * nothing of it. Readers that have it open keep it. -ENOENT: it was not there; a note that was is gone now. */
int wal_remove(struct store *s, const char *cluster, const char *name, struct err *e);

/* Notes: one small derived object for a file of the archive, under the same name. It may be lost at any time: who
 * wrote it can make it again. Put: the first one stays, unless it is damaged; then it is replaced. Durable enough
 * for a note: its bytes are, its name may be lost. Get: -ENOENT, -EBADMSG; free() *ret. Remove: -ENOENT. */
#define WAL_NOTE_MAX (4u << 20)
int wal_note_put(
	struct store *s, const char *cluster, const char *name, const void *p, size_t n, struct err *e);
/* Put in two steps: its bytes are durable when wal_note_stage returns, and it is there after wal_note_publish. */
struct wal_note;
int wal_note_stage(struct store *s, const char *cluster, const char *name, const void *p, size_t n,
	struct wal_note **ret, struct err *e);
int wal_note_publish(struct wal_note *note, struct err *e);
void wal_note_free(struct wal_note *note); /* fine on NULL */
int wal_note_get(
	struct store *s, const char *cluster, const char *name, void **ret, size_t *ret_len, struct err *e);
int wal_note_remove(struct store *s, const char *cluster, const char *name, struct err *e);
