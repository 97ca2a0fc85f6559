/* What the parts of a branch share: branch.c (names), branch_file.c (open files), branch_block.c (writing), branch_disk.c (what
 * is on disk), branch_tidy.c.
 *
 * Lock order: a file's sync, its lock, b->names, b->lock, the log's; `once` is a leaf. */
#pragma once

#include <pthread.h>

#include "fs/branch.h"
#include "fs/branch_log.h"

#define OPEN_BUCKETS 256

/* An open file, or one that was closed and has bytes that are not in the journal yet. */
struct branch_open {
	struct branch *b;
	struct branch_open *next; /* in its bucket */
	uint64_t number;
	unsigned refs;	       /* guarded by b->lock */
	pthread_rwlock_t lock; /* rank: above b->lock; held for writing by who changes bytes or the size */
	/* Rank: leaf but for `lower` being opened; guards fd and lower(_size) being set. */
	pthread_mutex_t once;
	pthread_mutex_t sync; /* rank: above lock: one fsync at a time */
	int fd;		      /* files/<number>, or -1 */
	void *lower;	      /* NULL: not open */
	uint64_t lower_size;  /* what counted of it when it was opened */
	uint64_t *pending;    /* blocks that are written and not in the journal; guarded by b->lock */
	size_t words;
	bool dirty;  /* fd has what is not synced; b->lock */
	bool unsaid; /* size or times are not in the journal; b->lock */
	bool grew;   /* the size is not; b->lock */
	bool tail;   /* the last block may have old bytes behind the end of the file; lock */
	int failed;  /* -errno of a sync: what it was about is lost; b->lock */
};

/* A file whose room can be given back once the log is on disk up to `end`. */
struct branch_leaving {
	uint64_t number, end;
};

struct branch {
	char *path;
	const struct branch_lower *lower;
	void *lower_arg;
	bool durable;
	uint64_t max_bytes;
	char *files_path; /* the directory of files */
	int files;	  /* the same, opened */
	struct branch_log *log;

	/* Rank: above the log's; guards all below; not held over I/O but appending to the log. */
	pthread_mutex_t lock;
	struct branch_table table;
	struct branch_open *opens[OPEN_BUCKETS];
	unsigned idle;	   /* opens without refs */
	uint64_t reserved; /* blocks that writers are about to add */
	struct branch_leaving *leaving;
	size_t n_leaving, cap_leaving;
	bool new_files; /* files/ may have names that are not synced */
	int broken;	/* -errno: memory and journal are not the same any more */

	pthread_mutex_t names; /* rank: above lock; one thread syncs files/, the others find it done */
};

/* Before something is added: -ENOSPC beyond the limit, `used` being what is used then, or where the disk is so full that the
 * journal's last room has to be kept for removals. */
int branch_check_room(struct branch *b, uint64_t used, struct err *e);
/* Writes the record and applies it. The lock is held. */
int branch_commit(struct branch *b, const struct buf *record, struct err *e);
/* The node, made from what is below when it has none yet. The lock is held; given up in between. */
int branch_adopt(struct branch *b, uint64_t number, struct branch_node **ret, struct err *e);
/* The node for the journal as it is now. The lock is held. */
void branch_put_known(struct buf *b, const struct branch_node *n);
/* What a reader needs to know; *ret is NULL where nothing was changed. The file's lock is held, so that blocks and sizes stay. */
int branch_view(struct branch_open *o, struct branch_node **ret, uint64_t *ret_size, uint64_t *ret_below,
	struct err *e);
/* n bytes of what the branch does not have: from below, which has that many, or zeroes. */
int branch_read_unwritten(
	struct branch_open *o, uint64_t below, uint64_t off, uint8_t *p, size_t n, struct err *e);
/* The descriptor of the file's own blocks. */
int branch_own_fd(struct branch_open *o, const struct branch_node *n, int *ret, struct err *e);
/* Sizes and times that the journal does not have. The lock is held. */
int branch_say(struct branch_open *o, struct err *e);
/* The file after `o` in its bucket, or the first, held. */
struct branch_open *branch_open_next(struct branch *b, struct branch_open *o, size_t bucket);
/* What is kept of a file for nobody. The lock is held. */
void branch_open_discard(struct branch *b, uint64_t number);
/* The room of a file that lost blocks, or all of it. The lock is held. */
void branch_leave(struct branch *b, uint64_t number);
/* The log up to `end` to disk, then gives room back. No lock is held. */
int branch_sync_log(struct branch *b, uint64_t end, struct err *e);
/* What c says, but for the size. */
void branch_change_stat(struct branch_stat *st, const struct branch_change *c);
/* The size that c says, and the rest of it in the same record. *ret: as it is then. */
int branch_resize(
	struct branch_open *o, const struct branch_change *c, struct branch_stat *ret, struct err *e);
int branch_sync_all(struct branch *b, struct err *e);
void branch_opens_free(struct branch *b);
/* Gives room back without waiting, or when there is much of it. No lock is held. */
void branch_relieve(struct branch *b);
/* The name of a file in files/. */
#define BRANCH_FILE_NAME 24
const char *branch_file_name(uint64_t number, char name[BRANCH_FILE_NAME]);

void branch_remove_file(struct branch *b, const char *name);

/* branch_tidy.c, before anybody else has the branch: makes a journal that is mostly history anew, and removes what is in
 * files/ and belongs to nothing. */
int branch_tidy(struct branch *b, struct err *e);
