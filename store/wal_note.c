/* Notes beside the files of the WAL archive. See wal.h; format: store/README.md, "WAL note".
 *
 * A note is derived data: any that is damaged may be removed, and none is worth a second fsync. Not here: what
 * a note says. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/buf.h"
#include "src/base/clean.h"
#include "src/base/crc32c.h"
#include "src/base/cur.h"
#include "store/object_head.h"
#include "store/repo.h"
#include "store/wal.h"
#include "store/wal_object.h"

#define MAGIC "pgstNOTE"
#define CRC 4
#define TREE "walnote"

CLEANUP_DEFINE(struct wal_note, wal_note_free)

/* A note that is written, but not there yet. */
struct wal_note {
	struct store *store;
	char object[WAL_OBJECT_NAME];
	struct upload *upload;
};

void wal_note_free(struct wal_note *note)
{
	if (!note)
		return;
	upload_free(note->upload);
	free(note);
}

static int write_durably(struct wal_note *n, const struct buf *b, struct err *e)
{
	_cleanup_(freep) char *folder = strndup(n->object, (size_t)(strrchr(n->object, '/') - n->object));
	int r = folder ? upload_begin(n->store->backend, folder, &n->upload, e)
		       : err_sys(e, -ENOMEM, "object %s", n->object);

	if (!r)
		r = upload_write(n->upload, b->data, b->len, e);
	return r ? r : upload_sync(n->upload, e);
}

int wal_note_stage(struct store *s, const char *cluster, const char *name, const void *p, size_t n,
	struct wal_note **ret, struct err *e)
{
	_cleanup_(wal_note_freep) struct wal_note *note = calloc(1, sizeof(*note));
	_cleanup_(buf_free) struct buf b = {0};
	int r = note ? wal_object_name(note->object, TREE, cluster, name, e)
		     : err_sys(e, -ENOMEM, "a note on %s", name);

	if (r < 0)
		return r;
	if (n > WAL_NOTE_MAX)
		return err_set(e, -EFBIG, "object %s: a note of %zu bytes is too long", note->object, n);
	note->store = s;
	object_head_put(&b, MAGIC, (uint32_t)n, s->id);
	buf_put(&b, p, n);
	if (!b.bad)
		buf_put_u32(&b, crc32c(0, b.data, b.len));
	r = b.bad ? err_sys(e, -ENOMEM, "object %s", note->object) : write_durably(note, &b, e);
	if (!r)
		*ret = MOVE(note);
	return r;
}

/* 0: the note that is there is as good; -EBADMSG: it is damaged. */
static int check_there(const struct wal_note *n)
{
	_cleanup_(freep) void *p = NULL;
	const uint8_t *note;
	size_t len, note_len;
	int r = backend_get(n->store->backend, n->object, OBJECT_HEAD + WAL_NOTE_MAX + CRC, &p, &len, NULL);

	if (r == -EFBIG)
		return -EBADMSG;
	return r ? r : wal_note_decode(n->store->id, n->object, p, len, &note, &note_len, NULL);
}

int wal_note_publish(struct wal_note *n, struct err *e)
{
	int r = upload_commit(n->upload, n->object, e);

	if (r != -EEXIST)
		return r;
	r = check_there(n);
	if (r == -EBADMSG)
		r = backend_remove(n->store->backend, n->object, e);
	else if (r != -ENOENT)
		return 0;
	return r < 0 && r != -ENOENT ? r : upload_commit(n->upload, n->object, e);
}

int wal_note_put(
	struct store *s, const char *cluster, const char *name, const void *p, size_t n, struct err *e)
{
	_cleanup_(wal_note_freep) struct wal_note *note = NULL;
	int r = wal_note_stage(s, cluster, name, p, n, &note, e);

	return r ? r : wal_note_publish(note, e);
}

int wal_note_decode(const uint8_t id[16], const char *object, const void *p, size_t n, const uint8_t **ret,
	size_t *ret_len, struct err *e)
{
	struct cur c = cur_of(p, n), end;
	uint32_t len = 0;
	int r;

	if (n < OBJECT_HEAD + CRC)
		return err_set(e, -EBADMSG, "object %s: truncated", object);
	c.end -= CRC;
	end = cur_of(c.end, CRC);
	if (cur_u32(&end) != crc32c(0, p, n - CRC))
		return err_set(e, -EBADMSG, "object %s: its checksum is wrong", object);
	r = object_head_take(&c, MAGIC, id, object, "a note", &len, e);
	if (r < 0)
		return r;
	if (len != cur_left(&c))
		return err_set(e, -EBADMSG, "object %s: its length contradicts its object's", object);
	*ret = c.p;
	*ret_len = len;
	return 0;
}

int wal_note_get(
	struct store *s, const char *cluster, const char *name, void **ret, size_t *ret_len, struct err *e)
{
	_cleanup_(freep) uint8_t *p = NULL;
	char object[WAL_OBJECT_NAME];
	const uint8_t *note = NULL;
	size_t n = 0, len = 0;
	int r = wal_object_name(object, TREE, cluster, name, e);

	if (!r)
		r = backend_get(s->backend, object, OBJECT_HEAD + WAL_NOTE_MAX + CRC, (void **)&p, &n, e);
	if (r == -ENOENT)
		return err_set(e, r, "there is no note on %s in cluster \"%s\"", name, cluster);
	if (r == -EFBIG)
		return err_set(e, -EBADMSG, "object %s: it is too long for a note", object);
	if (!r)
		r = wal_note_decode(s->id, object, p, n, &note, &len, e);
	if (r < 0)
		return r;
	memmove(p, note, len);
	p[len] = 0;
	*ret = MOVE(p);
	*ret_len = len;
	return 0;
}

int wal_note_remove(struct store *s, const char *cluster, const char *name, struct err *e)
{
	char object[WAL_OBJECT_NAME];
	int r = wal_object_name(object, TREE, cluster, name, e);

	return r ? r : backend_remove(s->backend, object, e);
}
