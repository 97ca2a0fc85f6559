/* Where objects are kept: the contract that a local folder and, later, S3 both meet.
 *
 * An object has a name ("packs/3f…", '/'-separated, each part [A-Za-z0-9._-]) and bytes that never change. It
 * appears whole, by put-if-absent, or not at all; there is no rename and no append. All functions are
 * thread-safe.
 *
 * Durability: after put or upload_commit the object's bytes are stable; backend_barrier makes the names of
 * everything committed or listed before it, by this handle, stable too. A name may be seen before the
 * barrier, and may be gone again after a power failure. */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "src/base/clock.h"
#include "src/base/err.h"

struct backend;
struct object; /* an object opened for reading */
struct upload; /* an object being written */

struct object_info {
	uint64_t size;
	struct tstamp put; /* when it was */
};

/* Called for each name; a non-zero return ends the listing and is returned. */
typedef int backend_list_fn(void *arg, const char *name, const struct object_info *info);

struct backend_ops {
	void (*free)(struct backend *b);
	int (*open)(struct backend *b, const char *name, struct object **ret, struct err *e);
	ssize_t (*read)(struct object *o, uint64_t off, void *p, size_t n, struct err *e);
	void (*advise)(struct object *o, uint64_t off, size_t n);
	void (*close)(struct object *o);
	int (*list)(struct backend *b, const char *prefix, backend_list_fn *fn, void *arg, struct err *e);
	int (*folders)(struct backend *b, const char *prefix, backend_list_fn *fn, void *arg, struct err *e);
	int (*stat)(struct backend *b, const char *name, struct object_info *ret, struct err *e);
	int (*remove)(struct backend *b, const char *name, struct err *e);
	int (*upload_begin)(struct backend *b, const char *prefix, struct upload **ret, struct err *e);
	int (*upload_write)(struct upload *u, const void *p, size_t n, struct err *e);
	int (*upload_sync)(struct upload *u, struct err *e);
	int (*upload_commit)(struct upload *u, const char *name, struct err *e);
	void (*upload_free)(struct upload *u);
	int (*barrier)(struct backend *b, struct err *e);
	int (*settle)(struct backend *b, const char *name, struct err *e);
	int (*space)(struct backend *b, uint64_t *free_bytes, uint64_t *total_bytes, struct err *e);
};

/* What every kind of backend, object and upload begins with. */
struct backend {
	const struct backend_ops *ops;
};
struct object {
	struct backend *backend;
};
struct upload {
	struct backend *backend;
};

/* The local folder. It must exist. New objects belong to the folder's owner when root writes them, so that
 * the mount of one user and the archiver of another can share it. */
int backend_local(const char *path, struct backend **ret, struct err *e);

void backend_free(struct backend *b); /* fine on NULL */

/* Opens for reading; -ENOENT. The caller closes. */
int backend_open(struct backend *b, const char *name, struct object **ret, struct err *e);
/* Reads n bytes at off. Fewer only at the object's end. Returns the count or -errno. */
ssize_t object_read(struct object *o, uint64_t off, void *p, size_t n, struct err *e);
/* A hint that [off, off + n) will be read soon. */
void object_advise(struct object *o, uint64_t off, size_t n);
void object_close(struct object *o); /* fine on NULL */

/* A whole small object into malloc'ed memory; -EFBIG above max. */
int backend_get(struct backend *b, const char *name, size_t max, void **ret, size_t *ret_len, struct err *e);

/* All names that start with "PREFIX/", recursively, in no order. A prefix that does not exist is empty. */
int backend_list(struct backend *b, const char *prefix, backend_list_fn *fn, void *arg, struct err *e);
/* The names of the folders right below a prefix (what stands between "PREFIX/" and the next "/"), each once,
 * with nothing known of it. */
int backend_folders(struct backend *b, const char *prefix, backend_list_fn *fn, void *arg, struct err *e);
int backend_stat(struct backend *b, const char *name, struct object_info *ret, struct err *e);
/* Removes one; -ENOENT. Durable after the next barrier. */
int backend_remove(struct backend *b, const char *name, struct err *e);

/* Put-if-absent of bytes in memory, durable with its name on return. -EEXIST leaves the old object as it is.
 */
int backend_put(struct backend *b, const char *name, const void *p, size_t n, struct err *e);

/* Put-if-absent of a stream: begin in the folder it will be in, write, then commit under a name there
 * ("packs/x" for prefix "packs"). upload_free without commit leaves nothing. */
int upload_begin(struct backend *b, const char *prefix, struct upload **ret, struct err *e);
int upload_write(struct upload *u, const void *p, size_t n, struct err *e);
/* Makes the bytes stable, still without a name: the long part of a commit, to be done ahead of it. */
int upload_sync(struct upload *u, struct err *e);
/* After -EEXIST it may be tried again. */
int upload_commit(struct upload *u, const char *name, struct err *e);
void upload_free(struct upload *u); /* fine on NULL */

int backend_barrier(struct backend *b, struct err *e);
/* Makes the name of one object stable that another process has put: it may have died before its barrier. */
int backend_settle(struct backend *b, const char *name, struct err *e);
int backend_space(struct backend *b, uint64_t *free_bytes, uint64_t *total_bytes, struct err *e);
