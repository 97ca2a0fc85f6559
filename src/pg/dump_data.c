/* Sections and blocks. See dump_data.h. */
#include "src/pg/dump_data.h"

#include <errno.h>

int dump_section_next(struct dump_reader *r, struct dump_section *ret, struct err *e)
{
	uint8_t type;
	int res = dump_reader_byte_or_end(r, &type, e);

	if (res <= 0)
		return res;
	if (type != DUMP_BLOCK_DATA && type != DUMP_BLOCK_BLOBS)
		return dump_reader_bad(r, e, "a data section of kind %u", type);
	ret->blobs = type == DUMP_BLOCK_BLOBS;
	res = dump_reader_int(r, &ret->id, e);
	return res < 0 ? res : 1;
}

int dump_blob_next(struct dump_reader *r, uint32_t *ret_oid, struct err *e)
{
	int res = dump_reader_oid(r, ret_oid, e);

	return res < 0 ? res : *ret_oid != 0;
}

struct dump_stream dump_stream_start(struct dump_reader *r)
{
	return (struct dump_stream){.r = r};
}

ssize_t dump_stream_read(struct dump_stream *s, void *p, size_t n, struct err *e)
{
	ssize_t got;

	if (!s->left && !s->ended) {
		int32_t len;
		int res = dump_reader_int(s->r, &len, e);

		if (res < 0)
			return res;
		if (len < 0)
			return dump_reader_bad(s->r, e, "a data block of %d bytes", len);
		s->left = (uint32_t)len;
		s->ended = !len;
	}
	if (s->ended)
		return 0;
	if (n > s->left)
		n = s->left;
	got = dump_reader_some(s->r, p, n, e);
	if (got == 0)
		return err_set(e, -EBADMSG, "%s is cut off at byte %llu, in a data block", s->r->name,
			(unsigned long long)s->r->pos);
	if (got > 0)
		s->left -= (uint32_t)got;
	return got;
}
