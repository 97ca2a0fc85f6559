/* See branch_table.h.
 *
 * Invariant: each entry with a number names a node of the table or one that only the backup has; st.blocks are the bits set.
 * What a record claims is bounded before memory is taken for it. */
#include "fs/branch_table.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "src/base/clean.h"
#include "src/base/cur.h"

#define FIRST_BUCKETS 64
#define NAME_MAX_BYTES 255
#define TARGET_MAX_BYTES 4095
#define DUMP_BYTES 32768

/* ---- the two hash tables ---- */

static size_t node_bucket(uint64_t number, size_t buckets)
{
	return (size_t)((number * UINT64_C(0x9e3779b97f4a7c15)) >> 24) & (buckets - 1);
}

/* FNV-1a over the name, begun with the directory. */
static size_t entry_bucket(uint64_t dir, const char *name, size_t buckets)
{
	uint64_t h = UINT64_C(0xcbf29ce484222325) ^ (dir * UINT64_C(0x9e3779b97f4a7c15));

	for (; *name; name++)
		h = (h ^ (uint8_t)*name) * UINT64_C(0x100000001b3);
	return (size_t)(h ^ h >> 32) & (buckets - 1);
}

int branch_table_init(struct branch_table *t)
{
	*t = (struct branch_table){.node_buckets = FIRST_BUCKETS, .entry_buckets = FIRST_BUCKETS};
	t->next_number = BRANCH_FIRST_NEW;
	t->nodes = calloc(t->node_buckets, sizeof(struct branch_node *));
	t->entries = calloc(t->entry_buckets, sizeof(struct branch_entry *));
	if (t->nodes && t->entries)
		return 0;
	branch_table_release(t);
	return -ENOMEM;
}

static void node_free(struct branch_node *n)
{
	free(n->target);
	free(n->blocks);
	free(n->places);
	free(n);
}

void branch_table_release(struct branch_table *t)
{
	for (size_t i = 0; t->nodes && i < t->node_buckets; i++)
		for (struct branch_node *n = t->nodes[i], *next; n; n = next) {
			next = n->next;
			node_free(n);
		}
	for (size_t i = 0; t->entries && i < t->entry_buckets; i++)
		for (struct branch_entry *en = t->entries[i], *next; en; en = next) {
			next = en->next;
			free(en);
		}
	free(t->nodes);
	free(t->entries);
	*t = (struct branch_table){0};
}

/* Without memory the chains just get longer. */
static void grow_nodes(struct branch_table *t)
{
	size_t wider = t->node_buckets * 2;
	struct branch_node **to = calloc(wider, sizeof(struct branch_node *));

	if (!to)
		return;
	for (size_t i = 0; i < t->node_buckets; i++)
		for (struct branch_node *n = t->nodes[i], *next; n; n = next) {
			size_t at = node_bucket(n->st.number, wider);

			next = n->next;
			n->next = to[at];
			to[at] = n;
		}
	free(t->nodes);
	t->nodes = to;
	t->node_buckets = wider;
}

static void grow_entries(struct branch_table *t)
{
	size_t wider = t->entry_buckets * 2;
	struct branch_entry **to = calloc(wider, sizeof(struct branch_entry *));

	if (!to)
		return;
	for (size_t i = 0; i < t->entry_buckets; i++)
		for (struct branch_entry *en = t->entries[i], *next; en; en = next) {
			size_t at = entry_bucket(en->dir, en->name, wider);

			next = en->next;
			en->next = to[at];
			to[at] = en;
		}
	free(t->entries);
	t->entries = to;
	t->entry_buckets = wider;
}

struct branch_node *branch_table_node(const struct branch_table *t, uint64_t number)
{
	struct branch_node *n = t->nodes[node_bucket(number, t->node_buckets)];

	while (n && n->st.number != number)
		n = n->next;
	return n;
}

static struct branch_entry **entry_at(const struct branch_table *t, uint64_t dir, const char *name)
{
	struct branch_entry **at = &t->entries[entry_bucket(dir, name, t->entry_buckets)];

	while (*at && ((*at)->dir != dir || strcmp((*at)->name, name) != 0))
		at = &(*at)->next;
	return at;
}

struct branch_entry *branch_table_entry(const struct branch_table *t, uint64_t dir, const char *name)
{
	return *entry_at(t, dir, name);
}

/* ---- directories ---- */

/* The first place that is not before `cookie`. */
static size_t place_at(const struct branch_node *dir, uint64_t cookie)
{
	size_t lo = 0, hi = dir->n_places;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (dir->places[mid].cookie < cookie)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

const struct branch_entry *branch_table_next(const struct branch_node *dir, uint64_t cookie)
{
	for (size_t i = place_at(dir, cookie); i < dir->n_places; i++)
		if (dir->places[i].entry && dir->places[i].entry->number)
			return dir->places[i].entry;
	return NULL;
}

bool branch_table_empty(const struct branch_node *dir)
{
	return !branch_table_next(dir, 0);
}

static void leave_place(struct branch_node *dir, const struct branch_entry *en)
{
	size_t kept = 0;

	dir->places[place_at(dir, en->cookie)].entry = NULL;
	dir->n_gone++;
	if (dir->n_gone <= 16 || dir->n_gone < dir->n_places / 2)
		return;
	for (size_t i = 0; i < dir->n_places; i++)
		if (dir->places[i].entry)
			dir->places[kept++] = dir->places[i];
	dir->n_places = kept;
	dir->n_gone = 0;
}

static int take_place(struct branch_node *dir, struct branch_entry *en)
{
	if (dir->n_places == dir->cap_places) {
		size_t cap = dir->cap_places ? dir->cap_places * 2 : 8;
		struct branch_place *p = realloc(dir->places, cap * sizeof(*p));

		if (!p)
			return -ENOMEM;
		dir->places = p;
		dir->cap_places = cap;
	}
	en->cookie = dir->next_cookie++;
	dir->places[dir->n_places++] = (struct branch_place){en->cookie, en};
	return 0;
}

/* A name that comes to mean something else is another entry to who is listing the directory. */
static int set_entry(struct branch_table *t, struct branch_node *dir, const char *name, uint64_t number)
{
	struct branch_entry **at = entry_at(t, dir->st.number, name), *en = *at;
	int r;

	if (en) {
		*at = en->next;
		t->n_entries--;
		leave_place(dir, en);
		free(en);
	}
	/* Where the backup has nothing, nothing needs to be hidden. */
	if (!number && !dir->lower)
		return 0;
	en = malloc(sizeof(*en) + strlen(name) + 1);
	if (!en)
		return -ENOMEM;
	*en = (struct branch_entry){.dir = dir->st.number, .number = number};
	strcpy(en->name, name);
	r = take_place(dir, en);
	if (r < 0) {
		free(en);
		return r;
	}
	if (++t->n_entries > t->entry_buckets)
		grow_entries(t);
	at = &t->entries[entry_bucket(en->dir, name, t->entry_buckets)];
	en->next = *at;
	*at = en;
	return 0;
}

/* ---- blocks ---- */

bool branch_node_has(const struct branch_node *n, uint64_t block)
{
	return block / 64 < n->words && n->blocks[block / 64] >> (block % 64) & 1;
}

static int set_blocks(struct branch_table *t, struct branch_node *n, uint64_t first, uint64_t count)
{
	size_t need = (size_t)((first + count + 63) / 64);

	if (need > n->words) {
		size_t words = n->words * 2 > need ? n->words * 2 : need;
		/* Not realloc: of a map that is mostly zeroes, only what is set needs memory. */
		uint64_t *p = calloc(words, sizeof(*p));

		if (!p)
			return -ENOMEM;
		if (n->words)
			memcpy(p, n->blocks, n->words * sizeof(*p));
		free(n->blocks);
		n->blocks = p;
		n->words = words;
	}
	for (uint64_t i = first; i < first + count; i++) {
		if (branch_node_has(n, i))
			continue;
		n->blocks[i / 64] |= UINT64_C(1) << (i % 64);
		n->st.blocks++;
		t->n_blocks++;
	}
	return 0;
}

/* Takes away all blocks from `first` on. */
static void cut_blocks(struct branch_table *t, struct branch_node *n, uint64_t first)
{
	for (uint64_t i = first; n->st.blocks && i < (uint64_t)n->words * 64; i++) {
		if (i % 64 == 0 && !n->blocks[i / 64]) {
			i += 63;
			continue;
		}
		if (!branch_node_has(n, i))
			continue;
		n->blocks[i / 64] &= ~(UINT64_C(1) << (i % 64));
		n->st.blocks--;
		t->n_blocks--;
	}
}

void branch_table_drop(struct branch_table *t, struct branch_node *n)
{
	struct branch_node **at = &t->nodes[node_bucket(n->st.number, t->node_buckets)];

	cut_blocks(t, n, 0);
	/* A directory that went was empty but for what hides. */
	for (size_t i = 0; i < n->n_places; i++) {
		struct branch_entry *en = n->places[i].entry, **from;

		if (!en)
			continue;
		from = entry_at(t, en->dir, en->name);
		*from = en->next;
		t->n_entries--;
		free(en);
	}
	while (*at != n)
		at = &(*at)->next;
	*at = n->next;
	t->n_nodes--;
	node_free(n);
}

void branch_table_each(struct branch_table *t,
	void (*fn)(void *arg, struct branch_table *t, struct branch_node *n), void *arg)
{
	for (size_t i = 0; i < t->node_buckets; i++)
		for (struct branch_node *n = t->nodes[i], *next; n; n = next) {
			next = n->next;
			fn(arg, t, n);
		}
}

/* ---- records ---- */

static void put_time(struct buf *b, struct tstamp t)
{
	buf_put_svarint(b, t.sec);
	buf_put_varint(b, t.nsec);
}

void branch_put_node(
	struct buf *b, const struct branch_stat *st, uint64_t lower, uint64_t lower_size, const char *target)
{
	buf_put_u8(b, 'N');
	buf_put_varint(b, st->number);
	buf_put_varint(b, st->mode);
	buf_put_varint(b, st->uid);
	buf_put_varint(b, st->gid);
	buf_put_varint(b, st->nlink);
	buf_put_varint(b, st->rdev);
	buf_put_varint(b, st->size);
	put_time(b, st->atime);
	put_time(b, st->mtime);
	put_time(b, st->ctime);
	buf_put_varint(b, st->parent);
	buf_put_varint(b, lower);
	buf_put_varint(b, lower_size);
	buf_put_str(b, target ? target : "", target ? strlen(target) : 0);
}

void branch_put_entry(struct buf *b, uint64_t dir, const char *name, uint64_t number)
{
	buf_put_u8(b, 'E');
	buf_put_varint(b, dir);
	buf_put_varint(b, number);
	buf_put_str(b, name, strlen(name));
}

void branch_put_blocks(struct buf *b, uint64_t number, uint64_t first, uint64_t count)
{
	buf_put_u8(b, 'B');
	buf_put_varint(b, number);
	buf_put_varint(b, first);
	buf_put_varint(b, count);
}

static struct tstamp get_time(struct cur *c)
{
	struct tstamp t = {.sec = cur_svarint(c)};
	uint64_t nsec = cur_varint(c);

	if (nsec >= 1000000000)
		c->bad = true;
	t.nsec = (uint32_t)nsec;
	return t;
}

static uint32_t get_u32(struct cur *c)
{
	uint64_t v = cur_varint(c);

	if (v > UINT32_MAX)
		c->bad = true;
	return (uint32_t)v;
}

/* A string of 1 (or `least`) to `max` bytes without a NUL, copied; NULL: bad, or no memory with *no_memory. */
static char *get_text(struct cur *c, size_t least, size_t max, bool *no_memory)
{
	size_t n;
	const uint8_t *p = cur_str(c, &n);
	char *text;

	if (c->bad || n < least || n > max || (n && memchr(p, '\0', n))) {
		c->bad = true;
		return NULL;
	}
	text = malloc(n + 1);
	if (!text) {
		*no_memory = true;
		return NULL;
	}
	if (n)
		memcpy(text, p, n);
	text[n] = '\0';
	return text;
}

static bool known_type(uint32_t mode)
{
	switch (mode & S_IFMT) {
	case S_IFREG:
	case S_IFDIR:
	case S_IFLNK:
	case S_IFIFO:
	case S_IFSOCK:
		return true;
	}
	return false;
}

static int apply_node(struct branch_table *t, struct cur *c)
{
	_cleanup_(freep) char *target = NULL;
	struct branch_stat st = {.number = cur_varint(c)};
	uint64_t lower, lower_size;
	struct branch_node *n;
	bool no_memory = false;

	st.mode = get_u32(c);
	st.uid = get_u32(c);
	st.gid = get_u32(c);
	st.nlink = get_u32(c);
	st.rdev = cur_varint(c);
	st.size = cur_varint(c);
	st.atime = get_time(c);
	st.mtime = get_time(c);
	st.ctime = get_time(c);
	st.parent = cur_varint(c);
	lower = cur_varint(c);
	lower_size = cur_varint(c);
	target = get_text(c, 0, TARGET_MAX_BYTES, &no_memory);
	if (no_memory)
		return -ENOMEM;
	if (c->bad || !st.number || !known_type(st.mode) || st.size > BRANCH_SIZE_MAX ||
		st.number > UINT64_MAX / 2 || (lower && lower != st.number) || lower_size > BRANCH_SIZE_MAX)
		return -EBADMSG;
	n = branch_table_node(t, st.number);
	/* What hides in a directory depends on whether the backup has it. */
	if (n && ((n->st.mode & S_IFMT) != (st.mode & S_IFMT) || n->lower != lower))
		return -EBADMSG;
	if (!n) {
		struct branch_node **at;

		n = calloc(1, sizeof(*n));
		if (!n)
			return -ENOMEM;
		n->st.number = st.number;
		n->next_cookie = 1;
		if (++t->n_nodes > t->node_buckets)
			grow_nodes(t);
		at = &t->nodes[node_bucket(st.number, t->node_buckets)];
		n->next = *at;
		*at = n;
		if (st.number >= t->next_number)
			t->next_number = st.number + 1;
	}
	if (st.size < n->st.size) {
		uint64_t had = n->st.blocks;

		cut_blocks(t, n, (st.size + BRANCH_BLOCK - 1) / BRANCH_BLOCK);
		if (n->st.blocks < had || branch_node_has(n, st.size / BRANCH_BLOCK))
			n->cut_end = t->log_end;
	}
	st.blocks = n->st.blocks;
	n->st = st;
	n->log_end = t->log_end;
	n->lower = lower;
	n->lower_size = lower_size;
	if (*target) {
		free(n->target);
		n->target = MOVE(target);
	}
	return 0;
}

static int apply_entry(struct branch_table *t, struct cur *c)
{
	_cleanup_(freep) char *name = NULL;
	uint64_t dir = cur_varint(c), number = cur_varint(c);
	struct branch_node *d;
	bool no_memory = false;

	name = get_text(c, 1, NAME_MAX_BYTES, &no_memory);
	if (no_memory)
		return -ENOMEM;
	if (c->bad || strchr(name, '/'))
		return -EBADMSG;
	d = branch_table_node(t, dir);
	if (!d || !S_ISDIR(d->st.mode))
		return -EBADMSG;
	d->log_end = t->log_end;
	return set_entry(t, d, name, number);
}

static int apply_blocks(struct branch_table *t, struct cur *c)
{
	uint64_t number = cur_varint(c), first = cur_varint(c), count = cur_varint(c);
	struct branch_node *n = c->bad ? NULL : branch_table_node(t, number);

	if (!n || !S_ISREG(n->st.mode) || first > BRANCH_SIZE_MAX / BRANCH_BLOCK ||
		count > BRANCH_SIZE_MAX / BRANCH_BLOCK - first)
		return -EBADMSG;
	/* Behind the end there is nothing. */
	if (first + count > (n->st.size + BRANCH_BLOCK - 1) / BRANCH_BLOCK)
		return -EBADMSG;
	n->log_end = t->log_end;
	return set_blocks(t, n, first, count);
}

int branch_table_apply(struct branch_table *t, const uint8_t *p, size_t n, struct err *e)
{
	struct cur c = cur_of(p, n);
	int r = n ? 0 : -EBADMSG;

	while (r == 0 && cur_left(&c)) {
		switch (cur_u8(&c)) {
		case 'N':
			r = apply_node(t, &c);
			break;
		case 'E':
			r = apply_entry(t, &c);
			break;
		case 'B':
			r = apply_blocks(t, &c);
			break;
		default:
			r = -EBADMSG;
		}
	}
	if (r == -ENOMEM)
		return err_set(e, r, "no memory for a branch");
	return r < 0 ? err_set(e, r, "the log has a record that cannot be") : 0;
}

/* ---- all of it ---- */

struct dumper {
	struct buf b;
	int (*fn)(void *arg, const struct buf *record, struct err *e);
	void *arg;
	struct err *e;
	int r;
};

static void dump_flush(struct dumper *d, size_t at_least)
{
	if (d->r < 0 || d->b.len < at_least || !d->b.len)
		return;
	d->r = d->b.bad ? err_set(d->e, -ENOMEM, "no memory for a branch") : d->fn(d->arg, &d->b, d->e);
	buf_clear(&d->b);
}

static void dump_node(void *arg, struct branch_table *t, struct branch_node *n)
{
	struct dumper *d = arg;
	uint64_t end = (uint64_t)n->words * 64;

	(void)t;
	branch_put_node(&d->b, &n->st, n->lower, n->lower_size, n->target);
	for (uint64_t i = 0; n->st.blocks && i < end; i++) {
		uint64_t first = i;

		if (!n->blocks[i / 64]) {
			i |= 63;
			continue;
		}
		while (i < end && branch_node_has(n, i))
			i++;
		if (i > first)
			branch_put_blocks(&d->b, n->st.number, first, i - first);
		dump_flush(d, DUMP_BYTES);
	}
	dump_flush(d, DUMP_BYTES);
}

static void dump_names(void *arg, struct branch_table *t, struct branch_node *n)
{
	struct dumper *d = arg;

	(void)t;
	for (size_t i = 0; i < n->n_places; i++) {
		const struct branch_entry *en = n->places[i].entry;

		if (en)
			branch_put_entry(&d->b, en->dir, en->name, en->number);
		dump_flush(d, DUMP_BYTES);
	}
}

int branch_table_dump(struct branch_table *t, int (*fn)(void *arg, const struct buf *record, struct err *e),
	void *arg, struct err *e)
{
	struct dumper d = {.fn = fn, .arg = arg, .e = e};

	branch_table_each(t, dump_node, &d);
	branch_table_each(t, dump_names, &d);
	dump_flush(&d, 1);
	buf_free(&d.b);
	return d.r;
}
