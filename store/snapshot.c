/* Snapshot objects: format, listing, publishing. Format: store/README.md, "Snapshot". */
#include "store/snapshot.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/clean.h"
#include "src/base/crc32c.h"
#include "src/base/cur.h"
#include "store/repo.h"
#include "store/snapshot_format.h"

#define MAGIC "pgstSNAP"
#define VERSION 1
#define PROPS_MAX 4096
#define NAME_MAX_LEN 200

CLEANUP_DEFINE(struct snapshot, snapshot_free)

static const char *const kind_names[SNAPSHOT_KINDS + 1] = {NULL, "base", "dump", "globals"};

const char *snapshot_kind_name(enum snapshot_kind k)
{
	return kind_names[k];
}

enum snapshot_kind snapshot_kind_of(const char *name)
{
	for (int k = 1; k <= SNAPSHOT_KINDS; k++)
		if (!strcmp(name, kind_names[k]))
			return (enum snapshot_kind)k;
	return 0;
}

struct snapshot *snapshot_new(void)
{
	return calloc(1, sizeof(struct snapshot));
}

void snapshot_free(struct snapshot *s)
{
	if (!s)
		return;
	for (size_t i = 0; i < s->n_props; i++) {
		free(s->props[i].key);
		free(s->props[i].text);
	}
	free(s->props);
	free(s->cluster);
	free(s->id);
	free(s->parent);
	free(s);
}

/* ---- properties ---- */

static int put(
	struct snapshot *s, const char *key, enum property_type type, const char *text, uint64_t number)
{
	size_t len = strlen(key);
	struct property *more, p = {.type = type, .number = number};

	if (!len || len > NAME_MAX_LEN || strspn(key, "abcdefghijklmnopqrstuvwxyz0123456789_") != len)
		return -EINVAL;
	more = reallocarray(s->props, s->n_props + 1, sizeof(*more));
	if (!more)
		return -ENOMEM;
	s->props = more;
	p.key = strdup(key);
	p.text = text ? strdup(text) : NULL;
	if (!p.key || (text && !p.text)) {
		free(p.key);
		free(p.text);
		return -ENOMEM;
	}
	s->props[s->n_props++] = p;
	return 0;
}

int snapshot_put_text(struct snapshot *s, const char *key, const char *text)
{
	return put(s, key, PROPERTY_TEXT, text, 0);
}

int snapshot_put_number(struct snapshot *s, const char *key, uint64_t n)
{
	return put(s, key, PROPERTY_NUMBER, NULL, n);
}

int snapshot_put_bool(struct snapshot *s, const char *key, bool v)
{
	return put(s, key, PROPERTY_BOOL, NULL, v);
}

const struct property *snapshot_get(const struct snapshot *s, const char *key)
{
	for (size_t i = 0; i < s->n_props; i++)
		if (!strcmp(s->props[i].key, key))
			return &s->props[i];
	return NULL;
}

/* ---- the format ---- */

static void put_time(struct buf *b, struct tstamp t)
{
	buf_put_svarint(b, t.sec);
	buf_put_varint(b, t.nsec);
}

static void put_text(struct buf *b, const char *s)
{
	buf_put_str(b, s ? s : "", s ? strlen(s) : 0);
}

int snapshot_encode(const struct snapshot *s, struct buf *b)
{
	const uint64_t counts[] = {s->root.entries, s->root.descendants, s->files, s->dirs, s->symlinks,
		s->logical_bytes, s->unique_bytes, s->stored_bytes};

	buf_put(b, MAGIC, 8);
	buf_put_u32(b, VERSION);
	put_text(b, s->cluster);
	buf_put_u8(b, (uint8_t)s->kind);
	put_text(b, s->id);
	put_text(b, s->parent);
	put_time(b, s->start);
	put_time(b, s->stop);
	put_time(b, s->created);
	buf_put(b, s->root.node.b, DIGEST_LEN);
	for (size_t i = 0; i < sizeof(counts) / sizeof(*counts); i++)
		buf_put_varint(b, counts[i]);
	buf_put_varint(b, s->n_props);
	for (size_t i = 0; i < s->n_props; i++) {
		const struct property *p = &s->props[i];

		put_text(b, p->key);
		buf_put_u8(b, (uint8_t)p->type);
		if (p->type == PROPERTY_TEXT)
			put_text(b, p->text);
		else
			buf_put_varint(b, p->number);
	}
	if (!b->bad)
		buf_put_u32(b, crc32c(0, b->data, b->len));
	return b->bad ? -ENOMEM : 0;
}

static struct tstamp time_at(struct cur *c)
{
	struct tstamp t = {.sec = cur_svarint(c)};
	uint64_t nsec = cur_varint(c);

	if (nsec > 999999999)
		c->bad = true;
	t.nsec = (uint32_t)nsec;
	return t;
}

/* Fresh memory, or NULL with bad set (also without memory). */
static char *text_at(struct cur *c, size_t max)
{
	size_t n;
	const uint8_t *p = cur_str(c, &n);
	char *s;

	if (!p || n > max || memchr(p, 0, n) || !(s = strndup((const char *)p, n))) {
		c->bad = true;
		return NULL;
	}
	return s;
}

static void property_at(struct cur *c, struct snapshot *s)
{
	_cleanup_(freep) char *key = text_at(c, NAME_MAX_LEN), *text = NULL;
	uint8_t type = cur_u8(c);
	uint64_t number = 0;

	if (type == PROPERTY_TEXT)
		text = text_at(c, SNAPSHOT_MAX);
	else if (type == PROPERTY_NUMBER || type == PROPERTY_BOOL)
		number = cur_varint(c);
	else
		c->bad = true;
	if (!c->bad && put(s, key, (enum property_type)type, text, number) < 0)
		c->bad = true;
}

int snapshot_decode(const void *p, size_t n, struct snapshot **ret, struct err *e)
{
	_cleanup_(snapshot_freep) struct snapshot *s = snapshot_new();
	struct cur c = cur_of(p, n), tail = cur_of((const uint8_t *)p + (n < 4 ? 0 : n - 4), n < 4 ? 0 : 4);
	const uint8_t *magic = cur_bytes(&c, 8), *root;
	uint32_t version = cur_u32(&c);
	uint64_t *const counts[] = {&s->root.entries, &s->root.descendants, &s->files, &s->dirs, &s->symlinks,
		&s->logical_bytes, &s->unique_bytes, &s->stored_bytes};
	uint64_t n_props;
	uint8_t kind;

	if (!s)
		return err_sys(e, -ENOMEM, "a snapshot");
	if (c.bad || n < 16 || memcmp(magic, MAGIC, 8))
		return err_set(e, -EBADMSG, "not a snapshot");
	if (version != VERSION)
		return err_set(e, -EOPNOTSUPP, "snapshot format %u needs a newer pgstrata", version);
	if (cur_u32(&tail) != crc32c(0, p, n - 4))
		return err_set(e, -EBADMSG, "checksum does not match: the object was damaged");
	c.end -= 4;
	s->cluster = text_at(&c, NAME_MAX_LEN);
	kind = cur_u8(&c);
	if (kind < 1 || kind > SNAPSHOT_KINDS)
		return err_set(e, -EOPNOTSUPP, "snapshot of kind %u needs a newer pgstrata", kind);
	s->kind = (enum snapshot_kind)kind;
	s->id = text_at(&c, NAME_MAX_LEN);
	s->parent = text_at(&c, NAME_MAX_LEN);
	if (s->parent && !*s->parent) {
		free(s->parent);
		s->parent = NULL;
	}
	s->start = time_at(&c);
	s->stop = time_at(&c);
	s->created = time_at(&c);
	root = cur_bytes(&c, DIGEST_LEN);
	if (root)
		memcpy(s->root.node.b, root, DIGEST_LEN);
	for (size_t i = 0; i < sizeof(counts) / sizeof(*counts); i++)
		*counts[i] = cur_varint(&c);
	n_props = cur_varint(&c);
	if (n_props > PROPS_MAX)
		c.bad = true;
	for (uint64_t i = 0; i < n_props && !c.bad; i++)
		property_at(&c, s);
	if (c.bad || cur_left(&c) || s->root.entries > s->root.descendants ||
		s->root.descendants > INT64_MAX / 4)
		return err_set(e, -EBADMSG, "snapshot is malformed");
	*ret = MOVE(s);
	return 0;
}

/* ---- names ---- */

int snapshot_id_cmp(const char *a, const char *b)
{
	const char *za = strchr(a, 'Z'), *zb = strchr(b, 'Z');
	size_t na = za ? (size_t)(za - a) : strlen(a), nb = zb ? (size_t)(zb - b) : strlen(b);
	int r = strncmp(a, b, na < nb ? na : nb);
	long x, y;

	if (r)
		return r;
	if (na != nb)
		return na < nb ? -1 : 1;
	/* The same second: by the number after the Z, none being 1. */
	x = za && za[1] == '-' ? strtol(za + 2, NULL, 10) : 1;
	y = zb && zb[1] == '-' ? strtol(zb + 2, NULL, 10) : 1;
	return x < y ? -1 : x > y ? 1 : strcmp(a, b);
}

static int ref_cmp(const void *a, const void *b)
{
	const struct snapshot_ref *x = a, *y = b;
	int r = snapshot_id_cmp(x->id, y->id);

	if (!r)
		r = strcmp(x->cluster, y->cluster);
	return r ? r : (int)x->kind - (int)y->kind;
}

struct listing {
	struct snapshot_list list;
	size_t cap;
	enum snapshot_kind kind; /* 0: all */
};

/* True for what snapshot_publish makes: "2026-11-20T02-15-07Z", then "-2" and so on. A file that somebody left
 * beside the snapshots must not become the latest of them. */
static bool is_id(const char *id)
{
	static const char shape[] = "-00-00T00-00-00Z";
	size_t year = strspn(id, "0123456789");
	const char *p = id + year;

	if (year < 4)
		return false;
	for (const char *s = shape; *s; s++, p++)
		if (*s == '0' ? *p < '0' || *p > '9' : *p != *s)
			return false;
	if (!*p)
		return true;
	return *p == '-' && p[1] && strspn(p + 1, "0123456789") == strlen(p + 1);
}

static int list_one(void *arg, const char *name, const struct object_info *info)
{
	struct listing *l = arg;
	char cluster[64], kind[16], id[64];
	struct snapshot_ref ref = {0};
	int end = 0;

	(void)info;
	if (sscanf(name, "snapshots/%63[^/]/%15[^/]/%63[^/]%n", cluster, kind, id, &end) != 3 || name[end] ||
		!is_id(id) || store_check_cluster_name(cluster, NULL) < 0)
		return 0;
	ref.kind = snapshot_kind_of(kind);
	if (!ref.kind || (l->kind && ref.kind != l->kind))
		return 0;
	if (l->list.n == l->cap) {
		size_t cap = l->cap ? 2 * l->cap : 64;
		struct snapshot_ref *more = reallocarray(l->list.refs, cap, sizeof(*more));

		if (!more)
			return -ENOMEM;
		l->list.refs = more;
		l->cap = cap;
	}
	ref.cluster = strdup(cluster);
	ref.id = strdup(id);
	if (!ref.cluster || !ref.id) {
		free(ref.cluster);
		free(ref.id);
		return -ENOMEM;
	}
	l->list.refs[l->list.n++] = ref;
	return 0;
}

int snapshot_list(struct store *s, const char *cluster, enum snapshot_kind kind, struct snapshot_list *ret,
	struct err *e)
{
	struct listing l = {.kind = kind};
	char prefix[128];
	int r = cluster ? store_check_cluster_name(cluster, e) : 0;

	if (r < 0)
		return r;
	snprintf(prefix, sizeof(prefix), "snapshots%s%s", cluster ? "/" : "", cluster ? cluster : "");
	r = backend_list(s->backend, prefix, list_one, &l, e);
	if (r < 0) {
		snapshot_list_free(&l.list);
		return r == -ENOMEM ? err_sys(e, r, "listing snapshots") : r;
	}
	if (l.list.n)
		qsort(l.list.refs, l.list.n, sizeof(*l.list.refs), ref_cmp);
	*ret = l.list;
	return 0;
}

void snapshot_list_free(struct snapshot_list *l)
{
	for (size_t i = 0; i < l->n; i++) {
		free(l->refs[i].cluster);
		free(l->refs[i].id);
	}
	free(l->refs);
	*l = (struct snapshot_list){0};
}

static bool id_is_safe(const char *id)
{
	size_t n = strlen(id);

	return n > 0 && n < 64 && *id != '.' &&
	       strspn(id, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-") == n;
}

char *repo_snapshot_name(
	char out[REPO_SNAPSHOT_NAME], const char *cluster, enum snapshot_kind kind, const char *id)
{
	snprintf(out, REPO_SNAPSHOT_NAME, "snapshots/%s/%s/%s", cluster, kind_names[kind], id);
	return out;
}

int snapshot_load(struct store *s, const char *cluster, enum snapshot_kind kind, const char *id,
	struct snapshot **ret, struct err *e)
{
	_cleanup_(snapshot_freep) struct snapshot *snap = NULL;
	_cleanup_(freep) void *p = NULL;
	char name[REPO_SNAPSHOT_NAME];
	size_t n;
	int r = store_check_cluster_name(cluster, e);

	if (r < 0)
		return r;
	if (!id_is_safe(id))
		return err_set(e, -ENOENT, "\"%s\" is not a snapshot's id", id);
	repo_snapshot_name(name, cluster, kind, id);
	atomic_store(&s->snapshot_ns, clock_mono_ns());
	r = backend_get(s->backend, name, SNAPSHOT_MAX, &p, &n, e);
	if (r == -ENOENT)
		return err_set(e, r, "no %s snapshot %s of cluster \"%s\"", kind_names[kind], id, cluster);
	if (!r)
		r = snapshot_decode(p, n, &snap, e);
	if (r < 0)
		return err_wrap(e, r, "object %s", name);
	if (strcmp(snap->cluster, cluster) || snap->kind != kind || strcmp(snap->id, id))
		return err_set(e, -EBADMSG, "object %s holds snapshot %s of cluster \"%s\"", name, snap->id,
			snap->cluster);
	*ret = MOVE(snap);
	return 0;
}

int snapshot_resolve(struct store *s, const char *cluster, enum snapshot_kind kind, const char *id,
	struct snapshot **ret, struct err *e)
{
	struct snapshot_list l;
	bool latest = !strcmp(id, "latest");
	int r = snapshot_list(s, cluster, kind, &l, e);

	if (r < 0)
		return r;
	r = -ENOENT;
	for (size_t i = l.n; r == -ENOENT && i-- > 0;) /* that was listed may be pruned by now */
		if (latest || !strcmp(id, l.refs[i].id))
			r = snapshot_load(s, l.refs[i].cluster, l.refs[i].kind, l.refs[i].id, ret, e);
	if (r == -ENOENT && !l.n)
		r = err_set(e, -ENOENT, "cluster \"%s\" has no %s%ssnapshots here", cluster,
			kind ? kind_names[kind] : "", kind ? " " : "");
	else if (r == -ENOENT)
		r = err_set(e, -ENOENT,
			"no snapshot %s of cluster \"%s\"; the newest of %zu is %s (see: pgstrata list)", id,
			cluster, l.n, l.refs[l.n - 1].id);
	snapshot_list_free(&l);
	return r;
}

int snapshot_publish(struct store *s, struct snapshot *snap, struct err *e)
{
	char base[TSTAMP_TEXT];
	int r;

	snap->created = clock_now();
	tstamp_name(snap->stop, base);
	for (unsigned n = 1; n < 100000; n++) {
		_cleanup_(buf_free) struct buf b = {0};
		char name[REPO_SNAPSHOT_NAME];

		free(snap->id);
		snap->id = NULL;
		if (n == 1 ? !(snap->id = strdup(base)) : asprintf(&snap->id, "%s-%u", base, n) < 0) {
			snap->id = NULL;
			return err_sys(e, -ENOMEM, "a snapshot");
		}
		r = snapshot_encode(snap, &b);
		if (r < 0)
			return err_sys(e, r, "a snapshot");
		if (b.len > SNAPSHOT_MAX)
			return err_set(e, -EFBIG, "the snapshot's description has %zu bytes; at most %u fit",
				b.len, SNAPSHOT_MAX);
		repo_snapshot_name(name, snap->cluster, snap->kind, snap->id);
		r = backend_put(s->backend, name, b.data, b.len, e);
		if (r != -EEXIST)
			return r;
	}
	return err_set(e, -EEXIST, "too many snapshots end at %s", base);
}
