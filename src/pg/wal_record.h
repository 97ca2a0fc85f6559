/* One WAL record: its fixed header, the blocks it refers to, and where its data lies.
 *
 * The grammar (src/include/access/xlogrecord.h, the same in PostgreSQL 13 to 18 but for what wal_format.h
 * tells apart):
 *
 *	record = u32 tot_len, u32 xid, lsn prev, u8 info, u8 rmid, 2 bytes of padding, u32 crc,
 *		 head, block data of each block in turn, main data
 *	head   = { block | 253, u16 origin | 252, u32 toplevel_xid }, [255, u8 main_len | 254, u32 main_len]
 *	block  = u8 id (0 to 32, rising), u8 fork and flags, u16 data_len,
 *		 [u16 image_len, u16 hole_offset, u8 image_info, [u16 hole_len]],
 *		 [oid tablespace, oid database, u32 file]	unless it is the block before's, u32 block
 *
 * and a block's data is its page image, then data_len bytes. The CRC-32C covers head and data, then the fixed
 * header up to itself. Not here: where records lie in pages, checking the CRC (wal_reader). Pure,
 * thread-safe. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "src/base/cur.h"
#include "src/base/err.h"
#include "src/pg/lsn.h"
#include "src/pg/wal_format.h"

#define WAL_RECORD_FIXED 24	  /* SizeOfXLogRecord */
#define WAL_RECORD_MAX 0x3fffffff /* no server can read a longer one: MaxAllocSize, utils/memutils.h */
#define WAL_RECORD_BLOCKS 33	  /* XLR_MAX_BLOCK_ID + 1 */
#define WAL_RECORD_HEAD_MAX 1024  /* more than any head: 33 blocks of at most 27 bytes, 3 + 5 + 5 */

/* The files of one relation (RelFileNode, since 16 RelFileLocator: src/include/storage/relfilelocator.h). */
struct relfile {
	struct oid tablespace;
	struct oid database; /* 0: shared by all */
	uint32_t file;	     /* relfilenode: the file's name */
};

static inline struct relfile relfile_read(struct cur *c)
{
	struct relfile f;

	f.tablespace = (struct oid){cur_u32(c)};
	f.database = (struct oid){cur_u32(c)};
	f.file = cur_u32(c);
	return f;
}

#define RELFILE_SIZE 12

/* A block that the record changes or replaces. */
struct wal_block {
	struct relfile rel;
	struct blkno block;
	uint8_t id;
	uint8_t fork;	    /* ForkNumber, src/include/common/relpath.h: 0 main, 1 fsm, 2 vm, 3 init */
	bool will_init;	    /* replay makes the page anew */
	bool has_image;	    /* a full page image comes along */
	bool apply;	    /* and replay writes it; else it is for wal_consistency_checking only */
	uint8_t compressed; /* image_info's bits for compression, 0 when it is not */
	uint16_t image_len; /* bytes of image in the record */
	uint16_t hole_offset, hole_len; /* zeroes left out of the image */
	uint16_t data_len;
	const uint8_t *image; /* when the reader keeps blocks, else NULL */
	const uint8_t *data;
};

struct wal_record {
	struct lsn lsn; /* of its first byte */
	/* Where the next may start: aligned, and past a switch the next segment (EndRecPtr). */
	struct lsn end;
	struct tli tli; /* of the page that it starts on */
	unsigned pg_major;
	uint32_t tot_len;
	uint32_t xid; /* 0: none */
	struct lsn prev;
	uint8_t info;
	uint8_t rmid;
	uint32_t crc;
	bool has_origin;
	uint16_t origin;
	uint32_t toplevel_xid; /* 0: not told */
	unsigned n_blocks;
	struct wal_block blocks[WAL_RECORD_BLOCKS];
	uint32_t main_len;   /* bytes of main data in the record */
	const uint8_t *main; /* those that the reader kept */
	size_t main_kept;
};

/* Reads the fixed header (WAL_RECORD_FIXED bytes). -EBADMSG: a length or a manager that cannot be. Sets the
 * fields up to crc, and nothing else. */
int wal_record_fixed(const uint8_t *p, const struct wal_format *f, struct wal_record *ret, struct err *e);

/* Reads the head, given the n bytes behind the fixed header that are at hand: all of them, or at least
 * WAL_RECORD_HEAD_MAX. ret has been through wal_record_fixed. block_size is that of relations. -EBADMSG: what
 * no server writes, or lengths that don't add up to tot_len. Sets *ret_head to the head's length, and *ret_main
 * to where main data starts, counted from the head's end. */
int wal_record_head(const uint8_t *p, size_t n, const struct wal_format *f, uint32_t block_size,
	struct wal_record *ret, size_t *ret_head, size_t *ret_main, struct err *e);
