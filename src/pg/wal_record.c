/* Reading a record's headers. See wal_record.h; the checks are those that the server's own reader makes
 * (DecodeXLogRecord, src/backend/access/transam/xlogreader.c). */
#include "src/pg/wal_record.h"

#include <errno.h>

enum {
	ID_TOPLEVEL_XID = 252, /* XLR_BLOCK_ID_…, xlogrecord.h */
	ID_ORIGIN = 253,
	ID_DATA_LONG = 254,
	ID_DATA_SHORT = 255,

	FORK_MASK = 0x0f, /* BKPBLOCK_…, same file */
	HAS_IMAGE = 0x10,
	HAS_DATA = 0x20,
	WILL_INIT = 0x40,
	SAME_REL = 0x80,

	HAS_HOLE = 0x01, /* BKPIMAGE_HAS_HOLE, same file */
};

int wal_record_fixed(const uint8_t *p, const struct wal_format *f, struct wal_record *ret, struct err *e)
{
	struct cur c = cur_of(p, WAL_RECORD_FIXED);

	ret->pg_major = f->pg_major;
	ret->tot_len = cur_u32(&c);
	ret->xid = cur_u32(&c);
	ret->prev = (struct lsn){cur_u64(&c)};
	ret->info = cur_u8(&c);
	ret->rmid = cur_u8(&c);
	cur_bytes(&c, 2);
	ret->crc = cur_u32(&c);
	if (ret->tot_len < WAL_RECORD_FIXED || ret->tot_len > WAL_RECORD_MAX)
		return err_set(e, -EBADMSG, "a record of %u bytes cannot be", ret->tot_len);
	if (!wal_format_has_rmgr(f, ret->rmid))
		return err_set(e, -EBADMSG, "resource manager %u is not known", ret->rmid);
	return 0;
}

/* The part of a block's header that tells of its page image. False: no server writes this. */
static bool get_image(struct cur *c, const struct wal_format *f, uint32_t block_size, struct wal_block *b)
{
	uint8_t info;

	b->image_len = cur_u16(c);
	b->hole_offset = cur_u16(c);
	info = cur_u8(c);
	b->apply = info & f->image_apply;
	b->compressed = info & f->image_compressed;
	if (!(info & HAS_HOLE)) {
		if (b->hole_offset)
			return false;
		return b->compressed ? b->image_len < block_size : b->image_len == block_size;
	}
	if (b->compressed)
		b->hole_len = cur_u16(c);
	else if (b->image_len < block_size)
		b->hole_len = (uint16_t)(block_size - b->image_len);
	return b->hole_offset && b->hole_len && b->image_len < block_size &&
	       (uint32_t)b->hole_offset + b->hole_len <= block_size;
}

static bool get_block(
	struct cur *c, uint8_t id, const struct wal_format *f, uint32_t block_size, struct wal_record *rec)
{
	const struct wal_block *before = rec->n_blocks ? &rec->blocks[rec->n_blocks - 1] : NULL;
	struct wal_block *b = &rec->blocks[rec->n_blocks];
	uint8_t flags = cur_u8(c);

	if (rec->n_blocks == WAL_RECORD_BLOCKS || (before && before->id >= id))
		return false;
	*b = (struct wal_block){.id = id, .fork = flags & FORK_MASK, .will_init = flags & WILL_INIT};
	b->data_len = cur_u16(c);
	if (!(flags & HAS_DATA) != !b->data_len)
		return false;
	b->has_image = flags & HAS_IMAGE;
	if (b->has_image && !get_image(c, f, block_size, b))
		return false;
	if (!(flags & SAME_REL))
		b->rel = relfile_read(c);
	else if (before)
		b->rel = before->rel;
	else
		return false;
	b->block = (struct blkno){cur_u32(c)};
	rec->n_blocks++;
	return true;
}

int wal_record_head(const uint8_t *p, size_t n, const struct wal_format *f, uint32_t block_size,
	struct wal_record *ret, size_t *ret_head, size_t *ret_main, struct err *e)
{
	const uint64_t total = ret->tot_len - WAL_RECORD_FIXED;
	struct cur c = cur_of(p, n);
	uint64_t blocks = 0; /* bytes of block data told so far: at most 33 times 128 KiB */
	uint8_t id = 0;

	ret->n_blocks = 0;
	ret->has_origin = false;
	ret->origin = 0;
	ret->toplevel_xid = 0;
	ret->main_len = 0;
	/* The head ends with main data's length, or where what was told of makes up the rest. */
	while (!c.bad && id != ID_DATA_SHORT && id != ID_DATA_LONG && total > (size_t)(c.p - p) + blocks) {
		id = cur_u8(&c);
		if (id == ID_DATA_SHORT) {
			ret->main_len = cur_u8(&c);
		} else if (id == ID_DATA_LONG) {
			ret->main_len = cur_u32(&c);
		} else if (id == ID_ORIGIN) {
			ret->has_origin = true;
			ret->origin = cur_u16(&c);
		} else if (id == ID_TOPLEVEL_XID && f->toplevel_xid) {
			ret->toplevel_xid = cur_u32(&c);
		} else if (id < WAL_RECORD_BLOCKS) {
			const struct wal_block *b = &ret->blocks[ret->n_blocks];

			if (!get_block(&c, id, f, block_size, ret) || c.bad)
				return err_set(
					e, -EBADMSG, "what is said of block reference %u cannot be", id);
			blocks += (uint64_t)b->image_len + b->data_len;
		} else {
			return err_set(e, -EBADMSG, "part %u of a record is not known", id);
		}
	}
	if (c.bad || (size_t)(c.p - p) + blocks + ret->main_len != total)
		return err_set(
			e, -EBADMSG, "the record's parts don't add up to its length of %u", ret->tot_len);
	*ret_head = (size_t)(c.p - p);
	*ret_main = (size_t)blocks;
	return 0;
}
