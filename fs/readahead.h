/* Readahead policy: from the reads of one open file, what to fetch before it is asked for. Pure arithmetic on
 * a value; whoever owns the value locks it. */
#pragma once

#include <stddef.h>
#include <stdint.h>

/* Zero is a file just opened. */
struct readahead {
	uint64_t next;	 /* where a sequential reader would go on */
	uint64_t ahead;	 /* the end of what was asked for in advance */
	uint64_t run;	 /* bytes read in sequence so far */
	uint64_t told;	 /* the end of what the disk was told of */
	uint32_t window; /* bytes to stay ahead of the reader; 0: it does not look sequential */
};

struct span {
	uint64_t off, len; /* len 0: nothing */
};

#define READAHEAD_START (256u << 10) /* the first window */
#define READAHEAD_MAX (4u << 20)     /* and the largest */
#define READAHEAD_DISK 8	     /* windows that the disk is told of */

/* Notes a read of n bytes at off in a file of `size` bytes and says what to fetch now. The window stays
 * within `limit` bytes (below READAHEAD_START: no readahead). */
struct span readahead_note(struct readahead *ra, uint64_t off, size_t n, uint64_t size, uint64_t limit);

/* After readahead_note: what to ask the disk for now. That costs no memory of ours and hides the disk's latency, which a window
 * of decoded bytes does not, so it goes further. */
struct span readahead_disk(struct readahead *ra, uint64_t size);
