/* pg_dump's archives on their way into a snapshot: custom, directory and tar format.
 *
 * Each table's and large object's data is one stream, without its compression, and stands in two files: in the dump and in its
 * view. What becomes of the dump: custom: the same entries and data, the header says that nothing is compressed, the entries
 * have offsets, and data is cut in blocks where the store cuts it; directory: the same files without compression, likewise in
 * toc.dat; tar: the same bytes. */
#pragma once

#include <pthread.h>

#include "src/capture/dump_tree.h"
#include "src/pg/dump_toc.h"

/* A view: its path and content. */
struct dump_view {
	char *path;
	struct dump_part part;
};

/* Further processes that give the data of tables which this archive (in custom format) leaves out: dump_team.h. */
struct dump_share;
struct dump_archive;
struct dump_others {
	/* Contents and tree are known: begins to take the others' archives in, on threads of its own. */
	int (*start)(void *arg, struct dump_archive *a, struct err *e);
	/* Called once after a start that went well. res: 0, or the error (in e) for which nobody needs the others any more. Ends or
	 * waits for all of them, and returns what failed first; else what they gave, which stays theirs. */
	int (*finish)(void *arg, int res, struct dump_share *const **ret, size_t *ret_n, struct err *e);
	void *arg;
};

/* One thread, but that streams may come in on several. */
struct dump_archive {
	const char *name; /* for messages: the path that is imported */
	const char *database;
	bool cluster; /* pg_dumpall's: each database has a directory of its own in tables/ */
	struct dump_toc toc;
	struct dump_tree *tree;
	const struct dump_others *others; /* NULL: none */
	pthread_mutex_t lock;		  /* rank: leaf; guards views and the numbers */
	struct dump_view *views;
	size_t n_views, cap_views;
	uint64_t tables, blobs, data_bytes;
	enum dump_compression compression; /* as it was */
};
void dump_archive_release(struct dump_archive *a); /* not the tree */

/* Each takes the data in and adds the dump itself. toc has been read (from r, which is right behind it).
 * -EBADMSG with the place: damaged, cut off, or data is missing that the entries promise. */
int dump_archive_custom(struct dump_archive *a, struct dump_reader *r, struct err *e);
int dump_archive_directory(struct dump_archive *a, const char *dir, struct err *e);
/* The tar file from its first byte on; reads the toc, calls `known` when it is read (which makes the tree), goes on. */
int dump_archive_tar(struct dump_archive *a, struct dump_reader *r, int (*known)(void *arg, struct err *e),
	void *arg, struct err *e);

/* When all data is in: -EBADMSG when large objects are defined and their data is not there. A list of them that ends at a
 * line's end, and members of a tar file, tell nothing of what is missing. */
int dump_archive_check_blobs(const struct dump_archive *a, struct err *e);

/* Adds toc.txt and schema.sql. format: "CUSTOM" … */
int dump_archive_texts(struct dump_archive *a, const char *format, struct err *e);

/* Notes a view; takes path. Then adds all of them. */
int dump_archive_view(struct dump_archive *a, char *path, const struct dump_part *part, struct err *e);
int dump_archive_views(struct dump_archive *a, struct err *e);

/* What the three share. The view of an entry's data: a stream becomes one; *ret stays what it is. */
int dump_archive_entry(struct dump_archive *a, const struct dump_entry *en, dump_read_fn *read, void *arg,
	struct dump_part *ret, struct err *e);
int dump_archive_blob(struct dump_archive *a, uint32_t oid, dump_read_fn *read, void *arg,
	struct dump_part *ret, struct err *e);
