/* See object_head.h. */
#include "store/object_head.h"

#include <errno.h>
#include <string.h>

#define VERSION 1

void object_head_put(struct buf *b, const char magic[8], uint32_t word, const uint8_t repo_id[16])
{
	buf_put(b, magic, 8);
	buf_put_u32(b, VERSION);
	buf_put_u32(b, word);
	buf_put(b, repo_id, 16);
}

int object_head_take(struct cur *c, const char magic[8], const uint8_t repo_id[16], const char *object,
	const char *what, uint32_t *ret_word, struct err *e)
{
	const uint8_t *is = cur_bytes(c, 8), *id;
	uint32_t version = cur_u32(c), word = cur_u32(c);

	id = cur_bytes(c, 16);
	if (c->bad)
		return err_set(e, -EBADMSG, "object %s: truncated", object);
	if (memcmp(is, magic, 8) != 0)
		return err_set(e, -EBADMSG, "object %s: not %s", object, what);
	if (version != VERSION)
		return err_set(e, -EOPNOTSUPP, "object %s: version %u, which needs a newer pgstrata", object,
			version);
	if (memcmp(id, repo_id, 16) != 0)
		return err_set(e, -EBADMSG, "object %s: it belongs to another repository", object);
	*ret_word = word;
	return 0;
}
