/* Tree nodes, both ways. See node.h and store/README.md. */
#include "store/node.h"
#include "store/rope.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/crc32c.h"

#define FORM_INLINE 0
#define FORM_MAP 1
#define FORM_ROPE 2
#define LEAF_MIN 32	       /* entries before a leaf may end */
#define LEAF_MAX 512	       /* entries after which it must */
#define LEAF_BYTES (48u << 10) /* or bytes */
#define LEAF_MASK 127u	       /* about 128 entries a leaf */
#define INNER_MIN 16
#define INNER_MAX 256
#define INNER_MASK 63u
#define HEIGHT_MAX 8
#define OWNER_MAX 255 /* bytes of a user's or group's name */

/* ---- reading ---- */

/* A length, that many bytes and a NUL, which is not counted: usable as a C string in place. */
static const char *name_at(struct cur *c, size_t max, size_t *len)
{
	const uint8_t *p = cur_str(c, len);
	const uint8_t *nul = p ? cur_bytes(c, 1) : NULL;

	if (!nul || *nul || *len > max || memchr(p, 0, *len)) {
		c->bad = true;
		*len = 0;
		return "";
	}
	return (const char *)p;
}

static const char *entry_name(struct cur *c)
{
	size_t len;
	const char *s = name_at(c, TREE_NAME_MAX, &len);

	if (!len || memchr(s, '/', len) || (*s == '.' && (len == 1 || (len == 2 && s[1] == '.'))))
		c->bad = true;
	return s;
}

static struct digest digest_at(struct cur *c)
{
	struct digest d = {{0}};
	const uint8_t *p = cur_bytes(c, DIGEST_LEN);

	if (p)
		memcpy(d.b, p, DIGEST_LEN);
	return d;
}

int node_open(struct node *n, const void *p, size_t len, struct err *e)
{
	size_t ignored;

	*n = (struct node){.cur = cur_of(p, len)};
	n->level = cur_u8(&n->cur);
	if (n->level >= NODE_LEVELS)
		return err_set(e, -EBADMSG, "tree node of level %u", n->level);
	if (n->level == 0) {
		n->n_owners = cur_varint(&n->cur);
		/* An owner takes at least six bytes. */
		if (n->cur.bad || n->n_owners > cur_left(&n->cur) / 6)
			return err_set(e, -EBADMSG, "tree node with an impossible count of owners");
		n->owners = calloc((size_t)n->n_owners + 1, sizeof(*n->owners));
		if (!n->owners)
			return err_sys(e, -ENOMEM, "a tree node");
		for (uint64_t i = 0; i < n->n_owners; i++) {
			uint64_t uid = cur_varint(&n->cur), gid = cur_varint(&n->cur);

			n->owners[i] = (struct node_owner){(uint32_t)uid, (uint32_t)gid, NULL, NULL};
			n->owners[i].user = name_at(&n->cur, OWNER_MAX, &ignored);
			n->owners[i].group = name_at(&n->cur, OWNER_MAX, &ignored);
			if (uid > UINT32_MAX || gid > UINT32_MAX)
				n->cur.bad = true;
		}
	}
	n->left = cur_varint(&n->cur);
	if (n->cur.bad) {
		node_done(n);
		return err_set(e, -EBADMSG, "tree node is cut short");
	}
	return 0;
}

void node_done(struct node *n)
{
	free(n->owners);
	n->owners = NULL;
}

/* At the end nothing may follow; else names rise. */
static int check_end(struct node *n, struct err *e)
{
	if (n->left)
		return 1;
	return cur_left(&n->cur) ? err_set(e, -EBADMSG, "tree node with bytes after its end") : 0;
}

static int check_order(struct node *n, const char *name, struct err *e)
{
	if (n->cur.bad)
		return err_set(
			e, -EBADMSG, "tree node is malformed after entry \"%s\"", n->last ? n->last : "");
	if (n->last && strcmp(n->last, name) >= 0)
		return err_set(e, -EBADMSG, "tree node has \"%s\" out of order", name);
	n->last = name;
	n->left--;
	return 1;
}

static void file_at(struct cur *c, struct content *f)
{
	uint8_t form;

	*f = (struct content){.size = cur_varint(c)};
	form = cur_u8(c);
	if (form == FORM_INLINE) {
		if (f->size > TREE_INLINE_MAX)
			c->bad = true;
		f->inlined = cur_bytes(c, (size_t)f->size);
		return;
	}
	f->stored = cur_varint(c);
	if (form != FORM_ROPE)
		f->chunk_shift = cur_u8(c);
	f->height = cur_u8(c);
	f->map = digest_at(c);
	if (form == FORM_ROPE ? !f->size || f->height > ROPE_LEVELS
			      : form != FORM_MAP || f->chunk_shift < 12 || f->chunk_shift > 24 ||
					f->height > HEIGHT_MAX)
		c->bad = true;
	if (f->size > INT64_MAX)
		c->bad = true;
}

int node_entry(struct node *n, struct entry *ret, struct err *e)
{
	struct cur *c = &n->cur;
	struct entry en = {0};
	uint64_t mode, owner, nsec;
	uint8_t type;
	size_t len;
	int r = check_end(n, e);

	if (r <= 0)
		return r;
	en.name = entry_name(c);
	type = cur_u8(c);
	mode = cur_varint(c);
	owner = cur_varint(c);
	en.meta.mtime.sec = cur_svarint(c);
	nsec = cur_varint(c);
	if (mode > 07777 || nsec > 999999999 || owner >= n->n_owners || type < ENTRY_FILE ||
		type > ENTRY_SYMLINK)
		c->bad = true;
	if (c->bad)
		return check_order(n, en.name, e);
	en.type = (enum entry_type)type;
	en.meta.mode = (uint32_t)mode;
	en.meta.mtime.nsec = (uint32_t)nsec;
	en.meta.uid = n->owners[owner].uid;
	en.meta.gid = n->owners[owner].gid;
	en.meta.user = n->owners[owner].user;
	en.meta.group = n->owners[owner].group;
	switch (en.type) {
	case ENTRY_FILE:
		file_at(c, &en.file);
		break;
	case ENTRY_DIR:
		en.dir.entries = cur_varint(c);
		en.dir.descendants = cur_varint(c);
		en.dir.node = digest_at(c);
		if (en.dir.entries > en.dir.descendants || en.dir.descendants > INT64_MAX / 4)
			c->bad = true;
		break;
	case ENTRY_SYMLINK:
		en.target = name_at(c, TREE_TARGET_MAX, &len);
		break;
	}
	r = check_order(n, en.name, e);
	if (r > 0)
		*ret = en;
	return r;
}

int node_child(struct node *n, struct node_child *ret, struct err *e)
{
	struct cur *c = &n->cur;
	struct node_child k;
	int r = check_end(n, e);

	if (r <= 0)
		return r;
	k.first = entry_name(c);
	k.id = digest_at(c);
	k.entries = cur_varint(c);
	k.descendants = cur_varint(c);
	if (k.entries > k.descendants || k.descendants > INT64_MAX / 4)
		c->bad = true;
	r = check_order(n, k.first, e);
	if (r > 0)
		*ret = k;
	return r;
}

/* ---- writing ---- */

static void put_name(struct buf *b, const char *s)
{
	buf_put_str(b, s, strlen(s));
	buf_put_u8(b, 0);
}

void leaf_clear(struct leaf *l)
{
	for (size_t i = 0; i < l->n_owners; i++) {
		free((char *)l->table[i].user);
		free((char *)l->table[i].group);
	}
	l->n_owners = 0;
	l->n = l->descendants = 0;
	buf_clear(&l->entries);
	buf_clear(&l->owners);
	buf_clear(&l->first);
}

void leaf_free(struct leaf *l)
{
	leaf_clear(l);
	free(l->table);
	buf_free(&l->entries);
	buf_free(&l->owners);
	buf_free(&l->first);
	*l = (struct leaf){0};
}

/* The owner's number in the leaf's table, which grows by those not seen before; -ENOMEM. */
static int64_t owner_number(struct leaf *l, const struct meta *m)
{
	const char *user = m->user ? m->user : "", *group = m->group ? m->group : "";
	struct node_owner *more;

	for (size_t i = 0; i < l->n_owners; i++) {
		const struct node_owner *o = &l->table[i];

		if (o->uid == m->uid && o->gid == m->gid && !strcmp(o->user, user) &&
			!strcmp(o->group, group))
			return (int64_t)i;
	}
	more = reallocarray(l->table, l->n_owners + 1, sizeof(*more));
	if (!more)
		return -ENOMEM;
	l->table = more;
	more[l->n_owners] =
		(struct node_owner){m->uid, m->gid, strndup(user, OWNER_MAX), strndup(group, OWNER_MAX)};
	if (!more[l->n_owners].user || !more[l->n_owners].group) {
		free((char *)more[l->n_owners].user);
		free((char *)more[l->n_owners].group);
		return -ENOMEM;
	}
	buf_put_varint(&l->owners, m->uid);
	buf_put_varint(&l->owners, m->gid);
	put_name(&l->owners, more[l->n_owners].user);
	put_name(&l->owners, more[l->n_owners].group);
	return (int64_t)l->n_owners++;
}

int leaf_add(struct leaf *l, const struct entry *en)
{
	struct buf *b = &l->entries;
	int64_t owner = owner_number(l, &en->meta);

	if (owner < 0)
		return (int)owner;
	if (!l->n)
		buf_put(&l->first, en->name, strlen(en->name) + 1);
	put_name(b, en->name);
	buf_put_u8(b, (uint8_t)en->type);
	buf_put_varint(b, en->meta.mode);
	buf_put_varint(b, (uint64_t)owner);
	buf_put_svarint(b, en->meta.mtime.sec);
	buf_put_varint(b, en->meta.mtime.nsec);
	l->n++;
	l->descendants++;
	switch (en->type) {
	case ENTRY_FILE:
		buf_put_varint(b, en->file.size);
		if (en->file.inlined) {
			buf_put_u8(b, FORM_INLINE);
			buf_put(b, en->file.inlined, (size_t)en->file.size);
			break;
		}
		buf_put_u8(b, content_is_rope(&en->file) ? FORM_ROPE : FORM_MAP);
		buf_put_varint(b, en->file.stored);
		if (!content_is_rope(&en->file))
			buf_put_u8(b, en->file.chunk_shift);
		buf_put_u8(b, en->file.height);
		buf_put(b, en->file.map.b, DIGEST_LEN);
		break;
	case ENTRY_DIR:
		buf_put_varint(b, en->dir.entries);
		buf_put_varint(b, en->dir.descendants);
		buf_put(b, en->dir.node.b, DIGEST_LEN);
		l->descendants += en->dir.descendants;
		break;
	case ENTRY_SYMLINK:
		put_name(b, en->target);
		break;
	}
	return b->bad || l->first.bad || l->owners.bad ? -ENOMEM : 0;
}

static bool is_boundary(const char *name, uint32_t mask)
{
	return ((crc32c(0, name, strlen(name)) >> 8) & mask) == 0;
}

bool leaf_is_full(const struct leaf *l, const char *name)
{
	if (l->n >= LEAF_MAX || l->entries.len >= LEAF_BYTES)
		return true;
	return l->n >= LEAF_MIN && is_boundary(name, LEAF_MASK);
}

void leaf_write(const struct leaf *l, struct buf *out)
{
	buf_put_u8(out, 0);
	buf_put_varint(out, l->n_owners);
	buf_put(out, l->owners.data, l->owners.len);
	buf_put_varint(out, l->n);
	buf_put(out, l->entries.data, l->entries.len);
}

void inner_clear(struct inner *in)
{
	in->n = in->entries = in->descendants = 0;
	buf_clear(&in->children);
	buf_clear(&in->first);
}

void inner_free(struct inner *in)
{
	buf_free(&in->children);
	buf_free(&in->first);
	*in = (struct inner){0};
}

int inner_add(struct inner *in, const struct node_child *c)
{
	struct buf *b = &in->children;

	if (!in->n)
		buf_put(&in->first, c->first, strlen(c->first) + 1);
	put_name(b, c->first);
	buf_put(b, c->id.b, DIGEST_LEN);
	buf_put_varint(b, c->entries);
	buf_put_varint(b, c->descendants);
	in->n++;
	in->entries += c->entries;
	in->descendants += c->descendants;
	return b->bad || in->first.bad ? -ENOMEM : 0;
}

bool inner_is_full(const struct inner *in, const char *name)
{
	/* Other bits than the leaf's: a child begins where the leaf rule struck. */
	return in->n >= INNER_MAX || (in->n >= INNER_MIN && is_boundary(name, INNER_MASK << 10));
}

void inner_write(const struct inner *in, unsigned level, struct buf *out)
{
	buf_put_u8(out, (uint8_t)level);
	buf_put_varint(out, in->n);
	buf_put(out, in->children.data, in->children.len);
}
