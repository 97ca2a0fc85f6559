/* File input and output that finishes what it starts: whole reads and writes, and the one durable writer.
 *
 * A new file becomes visible in one step and only when its bytes are on stable storage:
 *
 *	newfile_open -> newfile_write … -> newfile_sync -> newfile_link | newfile_rename -> io_sync_dir
 *
 * The bytes are written to an unnamed inode (O_TMPFILE) where the file system has them, so that a crash
 * leaves nothing behind; elsewhere to a temporary name in the same directory. Linking fails with -EEXIST when
 * the name is taken (put-if-absent). The directory's fsync is separate because many files share one. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "src/base/err.h"

/* Reads until n bytes or the end of the file. Returns the count, or -errno. */
ssize_t io_read(int fd, void *p, size_t n);
ssize_t io_pread(int fd, void *p, size_t n, uint64_t off);
/* Writes all n bytes. 0 or -errno. */
int io_write(int fd, const void *p, size_t n);
int io_pwrite(int fd, const void *p, size_t n, uint64_t off);

/* fdatasync(2) and ftruncate(2), with fault points of that name (src/base/fault.h). 0 or -errno. */
int io_sync(int fd, const char *point);
int io_truncate(int fd, uint64_t size, const char *point);

/* Reads a whole file of at most max bytes into malloc'ed memory (one NUL more, not counted). -EFBIG when it
 * is larger. The caller frees. */
int io_read_file(const char *path, size_t max, void **ret, size_t *ret_len, struct err *e);

/* mkdir -p; existing directories are fine. New ones are durable: their parents are synced. */
int io_mkdirs(const char *path, mode_t mode, struct err *e);
int io_sync_dir(const char *path, struct err *e);
/* The same of one that is open; point is its fault point. */
int io_sync_dir_fd(int fd, const char *path, const char *point, struct err *e);
/* unlink(2): 0 or -errno. */
int io_unlink(const char *path);

struct newfile {
	int fd;
	char *dir;  /* where it will appear */
	char *temp; /* its temporary path, NULL when it has none (O_TMPFILE) */
};
#define NEWFILE_NONE ((struct newfile){.fd = -1})

int newfile_open(const char *dir, mode_t mode, struct newfile *ret, struct err *e);
int newfile_write(struct newfile *f, const void *p, size_t n, struct err *e);
int newfile_sync(struct newfile *f, struct err *e); /* fdatasync: the bytes and the size */
/* Gives the file its name in dir, or -EEXIST. The directory still wants io_sync_dir. */
int newfile_link(struct newfile *f, const char *name, struct err *e);
/* The same, replacing what has the name. */
int newfile_rename(struct newfile *f, const char *name, struct err *e);
/* Closes; removes the temporary name of a file that was not published. Fine on NEWFILE_NONE and twice. */
void newfile_close(struct newfile *f);

/* All of it for bytes in memory: replaces or makes DIR/NAME durably, with its directory synced. */
int io_replace_file(const char *dir, const char *name, const void *p, size_t n, mode_t mode, struct err *e);
/* The same, but -EEXIST when the name is taken. */
int io_create_file(const char *dir, const char *name, const void *p, size_t n, mode_t mode, struct err *e);

/* "a/b" in fresh memory, NULL without memory. */
char *io_join(const char *a, const char *b);
