/* Reading file contents: one open file, any offset, straight out of the cache of decoded chunks. */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "store/store.h"
#include "store/tree.h"

struct file;
struct blob; /* a decoded chunk in the cache, pinned while somebody holds it */

/* Opens content. An inlined content is copied; c need not outlive the call. Thread-safe; the file, too. */
int file_open(struct store *s, const struct content *c, struct file **ret, struct err *e);
void file_free(struct file *f); /* fine on NULL */
uint64_t file_size(const struct file *f);

/* Copies up to n bytes from off. Returns the count, less than n only at the end of the file, or -errno:
 * -EBADMSG for a record that fails its checks, -ENODATA for a chunk that is not there, each with its name. */
ssize_t file_read(struct file *f, uint64_t off, void *p, size_t n, struct err *e);

/* The same without copying: pieces of pinned chunks, in order. */
struct slice {
	const uint8_t *p;
	size_t len;
	struct blob *pin; /* NULL for bytes that need none */
};
/* Fills at most *count slices and sets *count; they cover min(n, size - off) bytes unless *count was too
 * small. Release each with slice_release. On an error nothing is held. */
int file_slices(struct file *f, uint64_t off, size_t n, struct slice *out, unsigned *count, struct err *e);
void slice_release(struct slice *sl);

/* Decodes what covers [off, off + n) into the cache, for a readahead thread: whoever reads it next finds it,
 * or waits for this one decode (single flight). Errors are left to the reader. */
void file_prefetch(struct file *f, uint64_t off, size_t n);

/* Tells the kernel to fetch the records of [off, off + n) from disk, and those that they are deltas against (advice.h); decodes
 * nothing, but may wait for the disk. Best effort. */
void file_advise(struct file *f, uint64_t off, size_t n);

/* The chunk size: reads aligned to it decode nothing twice, but of ropes, whose pieces are as they are. */
uint32_t file_chunk_size(const struct file *f);
/* Where the next data (or hole: a zero chunk, or the end) begins at or after off; -ENXIO past the end. */
int file_seek_data(struct file *f, uint64_t off, uint64_t *ret, struct err *e);
int file_seek_hole(struct file *f, uint64_t off, uint64_t *ret, struct err *e);
