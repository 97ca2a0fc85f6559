/* Snapshots: the one small object that makes a finished backup visible.
 *
 * A snapshot names its tree and says what it is. The store gives no meaning to its properties: those are the
 * facts of PostgreSQL that src/capture found and that info.json and `list --json` show under the same keys. One of them,
 * "tags", is words parted by spaces, which JSON shows as an array.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "src/base/buf.h"
#include "src/base/clock.h"
#include "store/store.h"
#include "store/tree.h"

enum snapshot_kind { SNAPSHOT_BASE = 1, SNAPSHOT_DUMP = 2, SNAPSHOT_GLOBALS = 3 };
#define SNAPSHOT_KINDS 3
const char *snapshot_kind_name(enum snapshot_kind k);  /* "base", "dump", "globals" */
enum snapshot_kind snapshot_kind_of(const char *name); /* 0: there is no such kind */

enum property_type { PROPERTY_TEXT = 1, PROPERTY_NUMBER = 2, PROPERTY_BOOL = 3 };

struct property {
	char *key; /* [a-z0-9_]+, at most 200 bytes */
	enum property_type type;
	char *text;	 /* PROPERTY_TEXT, UTF-8 */
	uint64_t number; /* PROPERTY_NUMBER and PROPERTY_BOOL (0, 1) */
};

struct snapshot {
	char *cluster;
	enum snapshot_kind kind;
	char *id;		   /* set by publish */
	char *parent;		   /* the id of the snapshot that it was taken against, or NULL */
	struct tstamp start, stop; /* of the backup at its source; start.sec 0: unknown */
	struct tstamp created;	   /* when it was published here */
	struct dir_ref root;
	uint64_t files, dirs, symlinks;
	uint64_t logical_bytes; /* sum of the file sizes */
	uint64_t unique_bytes;	/* unpacked bytes of the chunks that were new to the repository */
	uint64_t stored_bytes;	/* bytes that this snapshot added to the repository */
	struct property *props; /* in the order they were added */
	size_t n_props;
};

struct snapshot *snapshot_new(void);	/* zeroed; NULL without memory */
void snapshot_free(struct snapshot *s); /* fine on NULL */

/* Adds a property; text is copied. 0, -ENOMEM, or -EINVAL for a key that is none. */
int snapshot_put_text(struct snapshot *s, const char *key, const char *text);
int snapshot_put_number(struct snapshot *s, const char *key, uint64_t n);
int snapshot_put_bool(struct snapshot *s, const char *key, bool v);
const struct property *snapshot_get(const struct snapshot *s, const char *key); /* or NULL */

/* A name of a snapshot, without its content. */
struct snapshot_ref {
	char *cluster;
	enum snapshot_kind kind;
	char *id;
};
struct snapshot_list {
	struct snapshot_ref *refs;
	size_t n;
};
/* Every snapshot of a cluster (NULL: all) and kind (0: all), oldest first by id, then by cluster and kind.
 * Asks the backend each time, so it sees what other processes published. */
int snapshot_list(struct store *s, const char *cluster, enum snapshot_kind kind, struct snapshot_list *ret,
	struct err *e);
void snapshot_list_free(struct snapshot_list *l);

/* Orders ids as they were made: "…Z" before "…Z-2" before "…Z-10". */
int snapshot_id_cmp(const char *a, const char *b);

/* Loads one. -ENOENT, -EBADMSG. */
int snapshot_load(struct store *s, const char *cluster, enum snapshot_kind kind, const char *id,
	struct snapshot **ret, struct err *e);

/* Finds by id or "latest" (the newest of the cluster and kind; kind 0: any kind has it). -ENOENT with a text
 * that says what there is to ask for. */
int snapshot_resolve(struct store *s, const char *cluster, enum snapshot_kind kind, const char *id,
	struct snapshot **ret, struct err *e);

/* Publishes: gives it the first free id made of its stop time ("2026-11-20T02-15-07Z", then "-2", …) by one
 * durable put-if-absent. All that it refers to must be durable already. Sets id and created. */
int snapshot_publish(struct store *s, struct snapshot *snap, struct err *e);

/* One JSON object as in NAMESPACE's `list` contract, plus the properties; what the mount shows as info.json.
 * `indent` spaces (0: one line). Appends to b. */
int snapshot_json(const struct snapshot *s, unsigned indent, struct buf *b);
