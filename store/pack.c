/* Writing packs and reading their footers. Format: store/README.md, "Pack". */
#include "store/pack.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "src/base/clean.h"
#include "src/base/crc32c.h"
#include "src/base/cur.h"
#include "store/object_head.h"

CLEANUP_DEFINE(struct object, object_close)
CLEANUP_DEFINE(struct packer, packer_free)

#define MAGIC_HEAD "pgstPACK"
#define MAGIC_END 0x444e4550u /* "PEND" */
#define NONCE 16
#define BUFFER (1u << 20)
#define TAIL_GUESS (64u << 10) /* most footers fit in the first read */

struct packer {
	struct upload *upload;
	uint8_t *buf;
	size_t buffered;
	uint64_t size;
	struct pack_entry *entries;
	size_t n, cap;
	struct digest name; /* once sealed */
};

char *pack_object_name(const struct digest *pack, char out[PACK_NAME_MAX])
{
	char hex[DIGEST_HEX];

	snprintf(out, PACK_NAME_MAX, "packs/%s", digest_hex(pack, hex));
	return out;
}

static int flush(struct packer *p, struct err *e)
{
	int r = p->buffered ? upload_write(p->upload, p->buf, p->buffered, e) : 0;

	p->buffered = 0;
	return r;
}

static int append(struct packer *p, const void *bytes, size_t n, struct err *e)
{
	const uint8_t *b = bytes;

	p->size += n;
	while (n) {
		size_t part = n < BUFFER - p->buffered ? n : BUFFER - p->buffered;

		memcpy(p->buf + p->buffered, b, part);
		p->buffered += part;
		b += part;
		n -= part;
		if (p->buffered == BUFFER) {
			int r = flush(p, e);

			if (r < 0)
				return r;
		}
	}
	return 0;
}

int packer_new(struct backend *b, const uint8_t repo_id[16], struct packer **ret, struct err *e)
{
	_cleanup_(packer_freep) struct packer *p = calloc(1, sizeof(*p));
	struct buf head = {0};
	int r;

	if (!p || !(p->buf = malloc(BUFFER)))
		return err_sys(e, -ENOMEM, "a new pack");
	r = upload_begin(b, "packs", &p->upload, e);
	if (r < 0)
		return r;
	object_head_put(&head, MAGIC_HEAD, 0, repo_id);
	r = head.bad ? err_sys(e, -ENOMEM, "a new pack") : append(p, head.data, head.len, e);
	buf_free(&head);
	if (r < 0)
		return r;
	*ret = MOVE(p);
	return 0;
}

int packer_add(struct packer *p, const struct record *r, const struct digest *id, struct err *e)
{
	uint8_t head[RECORD_HEAD_MAX];
	size_t len = record_size(r), head_len = record_head(r, id, head);
	int ret;

	if (p->size + len > PACK_MAX)
		return err_set(e, -EFBIG, "a pack would pass 4 GiB");
	if (p->n == p->cap) {
		size_t cap = p->cap ? 2 * p->cap : 1024;
		struct pack_entry *more = reallocarray(p->entries, cap, sizeof(*more));

		if (!more)
			return err_sys(e, -ENOMEM, "a pack's footer");
		p->entries = more;
		p->cap = cap;
	}
	p->entries[p->n++] = (struct pack_entry){
		.id = *id,
		.off = (uint32_t)p->size,
		.len = (uint32_t)len,
		.kind = (uint8_t)r->kind,
		.depth = r->depth,
	};
	ret = append(p, head, head_len, e);
	return ret ? ret : append(p, r->payload, r->payload_len, e);
}

uint64_t packer_size(const struct packer *p)
{
	return p->size;
}

const struct pack_entry *packer_entries(const struct packer *p, size_t *n)
{
	*n = p->n;
	return p->entries;
}

int packer_seal(struct packer *p, struct err *e)
{
	struct buf f = {0};
	uint8_t nonce[NONCE];
	uint64_t footer_off = p->size;
	size_t len;
	int r;

	/* Two packs of the same records in the same order must not have one name: their payloads may differ.
	 */
	if (getrandom(nonce, NONCE, 0) != NONCE)
		return err_sys(e, -errno, "getrandom");
	buf_put(&f, nonce, NONCE);
	for (size_t i = 0; i < p->n; i++) {
		buf_put(&f, p->entries[i].id.b, DIGEST_LEN);
		buf_put_u32(&f, p->entries[i].len);
		buf_put_u8(&f, p->entries[i].kind);
		buf_put_u8(&f, p->entries[i].depth);
	}
	len = f.len;
	if (!f.bad)
		p->name = digest_of(f.data, len);
	buf_put_u64(&f, footer_off);
	buf_put_u32(&f, (uint32_t)len);
	buf_put_u32(&f, f.bad ? 0 : crc32c(0, f.data, len));
	buf_put_u32(&f, MAGIC_END);
	buf_put_u32(&f, f.bad ? 0 : crc32c(0, f.data + len, PACK_TRAILER - 4));
	r = f.bad ? err_sys(e, -ENOMEM, "a pack's footer") : append(p, f.data, f.len, e);
	buf_free(&f);
	if (!r)
		r = flush(p, e);
	if (!r)
		r = upload_sync(p->upload, e);
	free(p->buf);
	p->buf = NULL;
	return r;
}

int packer_publish(struct packer *p, struct err *e)
{
	char name[PACK_NAME_MAX];

	return upload_commit(p->upload, pack_object_name(&p->name, name), e);
}

const struct digest *packer_name(const struct packer *p)
{
	return &p->name;
}

void packer_free(struct packer *p)
{
	if (!p)
		return;
	upload_free(p->upload);
	free(p->buf);
	free(p->entries);
	free(p);
}

int pack_parse_trailer(const void *trailer, size_t n, uint64_t size, uint64_t *footer_off,
	uint32_t *footer_len, struct err *e)
{
	struct cur c = cur_of(trailer, n);
	uint64_t off = cur_u64(&c);
	uint32_t len = cur_u32(&c), magic, crc, end;

	cur_u32(&c); /* the footer's CRC, which its caller checks by the name */
	magic = cur_u32(&c);
	crc = cur_u32(&c);
	if (c.bad || n != PACK_TRAILER || magic != MAGIC_END || crc != crc32c(0, trailer, PACK_TRAILER - 4))
		return err_set(e, -EBADMSG, "no valid trailer at the end: truncated or damaged");
	if (__builtin_add_overflow(PACK_TRAILER, len, &end) || off < PACK_HEAD || off > size ||
		size - off != end)
		return err_set(
			e, -EBADMSG, "trailer does not fit a pack of %llu bytes", (unsigned long long)size);
	*footer_off = off;
	*footer_len = len;
	return 0;
}

int pack_parse_footer(const void *footer, size_t n, struct pack_entry **ret, size_t *ret_n, struct err *e)
{
	struct cur c = cur_of(footer, n);
	struct pack_entry *entries;
	uint64_t off = PACK_HEAD;
	size_t count;

	if (n < NONCE || (n - NONCE) % PACK_ENTRY)
		return err_set(e, -EBADMSG, "footer of %zu bytes is not a whole number of entries", n);
	cur_bytes(&c, NONCE);
	count = (n - NONCE) / PACK_ENTRY;
	entries = calloc(count + 1, sizeof(*entries));
	if (!entries)
		return err_sys(e, -ENOMEM, "a footer of %zu entries", count);
	for (size_t i = 0; i < count; i++) {
		struct pack_entry *en = &entries[i];

		memcpy(en->id.b, cur_bytes(&c, DIGEST_LEN), DIGEST_LEN);
		en->off = (uint32_t)off;
		en->len = cur_u32(&c);
		en->kind = cur_u8(&c);
		en->depth = cur_u8(&c);
		off += en->len;
		if (en->len < RECORD_HEAD || off > PACK_MAX) {
			free(entries);
			return err_set(e, -EBADMSG, "footer entry %zu has an impossible length", i);
		}
	}
	*ret = entries;
	*ret_n = count;
	return 0;
}

int pack_load_footer(struct backend *b, const struct digest *pack, uint64_t size, struct pack_entry **ret,
	size_t *ret_n, struct err *e)
{
	_cleanup_(object_closep) struct object *o = NULL;
	_cleanup_(freep) uint8_t *tail = NULL;
	size_t n = size < TAIL_GUESS ? (size_t)size : TAIL_GUESS;
	const uint8_t *footer;
	char name[PACK_NAME_MAX];
	struct digest found;
	uint64_t off;
	uint32_t len;
	ssize_t got;
	int r;

	pack_object_name(pack, name);
	if (size < PACK_HEAD + PACK_TRAILER || size > PACK_MAX)
		return err_set(
			e, -EBADMSG, "object %s has %llu bytes: not a pack", name, (unsigned long long)size);
	r = backend_open(b, name, &o, e);
	if (r < 0)
		return r;
	tail = malloc(n);
	if (!tail)
		return err_sys(e, -ENOMEM, "object %s", name);
	got = object_read(o, size - n, tail, n, e);
	if (got < 0)
		return (int)got;
	if ((size_t)got != n)
		return err_set(e, -EBADMSG, "object %s is shorter than it was", name);
	r = pack_parse_trailer(tail + n - PACK_TRAILER, PACK_TRAILER, size, &off, &len, e);
	if (r < 0)
		return err_wrap(e, r, "object %s", name);
	if ((size_t)len + PACK_TRAILER <= n) {
		footer = tail + n - PACK_TRAILER - len;
	} else {
		uint8_t *all = realloc(tail, len);

		if (!all)
			return err_sys(e, -ENOMEM, "object %s", name);
		tail = all;
		got = object_read(o, off, tail, len, e);
		if (got < 0)
			return (int)got;
		if ((size_t)got != len)
			return err_set(e, -EBADMSG, "object %s is shorter than it was", name);
		footer = tail;
	}
	found = digest_of(footer, len);
	if (!digest_eq(&found, pack))
		return err_set(e, -EBADMSG, "object %s: the footer is damaged", name);
	r = pack_parse_footer(footer, len, ret, ret_n, e);
	return r < 0 ? err_wrap(e, r, "object %s", name) : 0;
}
