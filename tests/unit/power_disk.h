/* What a disk holds after the power was lost: the record of what a program wrote, synced and named (src/base/fault.h, the
 * journal) is played up to some step, and then a folder is made as a disk could have it on the next start.
 *
 * What a disk may do, as POSIX leaves it: bytes that were not synced are lost, zero, or there in part; names that were
 * given or taken since the last sync of their folder are there or not, each for itself. A folder is itself a
 * name in its parent. For each step these states:
 *
 *	least	   only what was synced
 *	names	   every name, but bytes only as far as synced
 *	zeroes	   every name and every length, zeroes for bytes that were not synced
 *	removals   of what was not synced, the removals came through and the rest did not
 *	newest	   of what was not synced, the newest name came through and nothing else
 *	chance     each of it by chance
 *	all	   everything: what a crash of the program alone leaves
 *
 * Linked into one program only, hence all static. */
#pragma once

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "src/base/clean.h"
#include "src/base/fault.h"
#include "src/base/io.h"
#include "tests/unit/check_main.h"

enum variant { LEAST, NAMES, ZEROES, REMOVALS, NEWEST, CHANCE, ALL };
#define VARIANTS 7
static const char *const variant_names[] = {
	"least", "names", "zeroes", "removals", "newest", "chance", "all"};

struct inode {
	uint64_t number; /* at the recording; 0: was there before */
	char *original;	 /* the file, when it was there before: all of it is stable */
	uint8_t *bytes, *stable;
	size_t len, stable_len;
	bool is_dir;
	struct change *changes; /* of a folder, in order; the first `synced` of them are stable */
	size_t n, synced;
	struct inode *next;
};

/* A name given (to != NULL) or taken away. */
struct change {
	char *name;
	struct inode *to;
	unsigned number; /* of all on the disk */
};

/* What a sync that began covers. */
struct syncing {
	uint32_t thread;
	struct inode *i;
	uint8_t *bytes;
	size_t len, n;
};

struct disk {
	struct inode *inodes, *root;
	struct syncing syncs[64];
	size_t n_syncs;
	const char *prefix; /* of paths that lie on it */
	char *acks;
};

static struct inode *inode_new(struct disk *d, uint64_t number, bool is_dir)
{
	struct inode *i = calloc(1, sizeof(*i));

	i->number = number;
	i->is_dir = is_dir;
	i->next = d->inodes;
	d->inodes = i;
	return i;
}

/* The newest one: numbers are used again. */
static struct inode *inode_of(struct disk *d, uint64_t number)
{
	struct inode *i = d->inodes;

	while (i && i->number != number)
		i = i->next;
	return i;
}

static unsigned changes; /* that were made so far */

static void change(struct inode *dir, const char *name, struct inode *to)
{
	dir->changes = realloc(dir->changes, (dir->n + 1) * sizeof(*dir->changes));
	dir->changes[dir->n++] = (struct change){strdup(name), to, ++changes};
}

static struct inode *child(const struct inode *dir, const char *name)
{
	for (size_t i = dir->n; i-- > 0;)
		if (!strcmp(dir->changes[i].name, name))
			return dir->changes[i].to;
	return NULL;
}

/* The folder that a path lies in, and the path's last name; NULL: it is not on this disk. */
static struct inode *parent(struct disk *d, const char *path, const char **name)
{
	struct inode *i = d->root;
	size_t n = strlen(d->prefix);
	const char *slash;
	char part[300];

	if (strncmp(path, d->prefix, n) || path[n] != '/')
		return NULL;
	for (path += n + 1; (slash = strchr(path, '/')); path = slash + 1) {
		snprintf(part, sizeof(part), "%.*s", (int)(slash - path), path);
		i = child(i, part);
		ck_assert_msg(i && i->is_dir, "the journal names a file in %s, which was not made", part);
	}
	*name = path;
	return i;
}

static struct inode *lookup(struct disk *d, const char *path)
{
	const char *name;
	struct inode *dir = !strcmp(path, d->prefix) ? NULL : parent(d, path, &name);

	return !strcmp(path, d->prefix) ? d->root : dir ? child(dir, name) : NULL;
}

/* What was there before, all of it stable. */
__attribute__((unused)) static void load(struct disk *d, struct inode *dir, const char *path)
{
	DIR *dp = opendir(path);
	struct dirent *de;

	while (dp && (de = readdir(dp))) {
		char *sub = io_join(path, de->d_name);
		struct inode *i;

		if (!strcmp(de->d_name, ".") || !strcmp(de->d_name, "..")) {
			free(sub);
			continue;
		}
		i = inode_new(d, 0, de->d_type == DT_DIR);
		change(dir, de->d_name, i);
		if (i->is_dir)
			load(d, i, sub);
		i->original = sub;
	}
	dir->synced = dir->n;
	if (dp)
		closedir(dp);
}

static void write_bytes(struct inode *i, uint64_t off, const uint8_t *p, size_t n)
{
	if (off + n > i->len) {
		i->bytes = realloc(i->bytes, off + n + 1);
		memset(i->bytes + i->len, 0, off + n - i->len);
		i->len = off + n;
	}
	memcpy(i->bytes + off, p, n);
}

static void truncate_bytes(struct inode *i, uint64_t size)
{
	static const uint8_t zero;

	if (size > i->len)
		write_bytes(i, size - 1, &zero, 1);
	i->len = size;
}

static void sync_begins(struct disk *d, uint32_t thread, struct inode *i)
{
	struct syncing *s = &d->syncs[d->n_syncs++];

	ck_assert_uint_le(d->n_syncs, 64);
	*s = (struct syncing){.thread = thread, .i = i};
	if (!i)
		return;
	s->n = i->n;
	s->len = i->len;
	s->bytes = malloc(i->len + 1);
	if (i->len)
		memcpy(s->bytes, i->bytes, i->len);
}

static void sync_ends(struct disk *d, uint32_t thread)
{
	size_t k = d->n_syncs;

	while (k > 0 && d->syncs[k - 1].thread != thread)
		k--;
	ck_assert_uint_gt(k, 0);
	struct syncing *s = &d->syncs[k - 1];
	if (s->i) {
		free(s->i->stable);
		s->i->stable = s->bytes;
		s->i->stable_len = s->len;
		if (s->n > s->i->synced)
			s->i->synced = s->n;
	}
	*s = d->syncs[--d->n_syncs];
}

/* One entry of the journal happens. */
static void happen(
	struct disk *d, const struct fault_entry *en, const char *a, const char *b, const uint8_t *data)
{
	const char *name, *to_name;
	struct inode *dir, *to, *i;
	char *acks;

	switch ((enum fault_op)en->op) {
	case FAULT_CREATE:
		i = inode_new(d, en->inode, false);
		if (*a && (dir = parent(d, a, &name)))
			change(dir, name, i);
		break;
	case FAULT_WRITE:
		if ((i = inode_of(d, en->inode)))
			write_bytes(i, en->off, data, en->len_b);
		break;
	case FAULT_LINK:
		dir = parent(d, a, &name);
		i = inode_of(d, en->inode);
		if (dir && i)
			change(dir, name, i);
		break;
	case FAULT_RENAME:
		dir = parent(d, a, &name);
		to = parent(d, b, &to_name);
		if (dir && to) {
			change(to, to_name, child(dir, name));
			change(dir, name, NULL);
		}
		break;
	case FAULT_UNLINK:
		if ((dir = parent(d, a, &name)))
			change(dir, name, NULL);
		break;
	case FAULT_MKDIR:
		if (!strcmp(a, d->prefix)) {
			d->root = inode_new(d, 0, true);
		} else if ((dir = parent(d, a, &name))) {
			change(dir, name, inode_new(d, 0, true));
		}
		break;
	case FAULT_TRUNCATE:
		if ((i = inode_of(d, en->inode)))
			truncate_bytes(i, en->off);
		break;
	case FAULT_SYNC:
		sync_begins(d, en->thread, inode_of(d, en->inode));
		break;
	case FAULT_SYNC_DIR:
		sync_begins(d, en->thread, d->root ? lookup(d, a) : NULL);
		break;
	case FAULT_SYNCED:
		sync_ends(d, en->thread);
		break;
	case FAULT_MARK:
		ck_assert_int_gt(asprintf(&acks, "%s%s\n", d->acks ? d->acks : "", a), 0);
		free(d->acks);
		d->acks = acks;
		break;
	}
}

/* ---- a state after the power came back ---- */

struct state {
	struct disk *d;
	enum variant how;
	uint64_t rng;
	unsigned newest; /* change */
	uint64_t print;	 /* of what was made, to know a state that was tried */
};

static void mix(struct state *st, const void *p, size_t n)
{
	for (size_t i = 0; i < n; i++)
		st->print = (st->print ^ ((const uint8_t *)p)[i]) * 0x100000001b3u;
}

static bool comes_through(struct state *st, const struct change *c)
{
	switch (st->how) {
	case LEAST:
		return false;
	case NAMES:
	case ZEROES:
	case ALL:
		return true;
	case REMOVALS:
		return !c->to;
	case NEWEST:
		return c->number == st->newest;
	case CHANCE:
		return check_rand_below(&st->rng, 2);
	}
	return false;
}

static void write_file(const char *dir, const char *name, const void *p, size_t n)
{
	_cleanup_(freep) char *path = io_join(dir, name);
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	ck_assert_msg(fd >= 0 && write(fd, p, n) == (ssize_t)n, "%s: %s", path, strerror(errno));
	close(fd);
}

static void restore_file(struct state *st, const struct inode *i, const char *dir, const char *name, bool dry)
{
	_cleanup_(freep) char *path = io_join(dir, name);
	bool longer = st->how == ZEROES || st->how == CHANCE || st->how == ALL;
	size_t n = longer ? i->len : i->stable_len;
	_cleanup_(freep) uint8_t *p = calloc(1, n + 1);

	if (i->original) {
		if (!dry)
			ck_assert_msg(!link(i->original, path), "%s: %s", path, strerror(errno));
		return;
	}
	if (st->how == ALL && n)
		memcpy(p, i->bytes, n);
	else if (i->stable_len)
		memcpy(p, i->stable, n < i->stable_len ? n : i->stable_len);
	/* Blocks that were written since, some of them. */
	for (size_t at = 0; st->how == CHANCE && at < n; at += 4096)
		if (check_rand_below(&st->rng, 2))
			memcpy(p + at, i->bytes + at, n - at < 4096 ? n - at : 4096);
	mix(st, p, n);
	if (!dry)
		write_file(dir, name, p, n);
}

static void restore_dir(struct state *st, const struct inode *dir, const char *path, bool dry)
{
	struct inode now = {0};
	unsigned keep = changes;

	/* What it holds: the stable changes, and of the others those that come through. */
	for (size_t k = 0; k < dir->n; k++)
		if (k < dir->synced || comes_through(st, &dir->changes[k]))
			change(&now, dir->changes[k].name, dir->changes[k].to);
	changes = keep;
	for (size_t k = 0; k < now.n; k++) {
		struct inode *i = now.changes[k].to;
		_cleanup_(freep) char *sub = io_join(path, now.changes[k].name);
		bool last = true;

		for (size_t j = k + 1; j < now.n; j++)
			last = last && strcmp(now.changes[j].name, now.changes[k].name) != 0;
		if (!i || !last)
			continue;
		mix(st, now.changes[k].name, strlen(now.changes[k].name) + 1);
		if (!i->is_dir) {
			restore_file(st, i, path, now.changes[k].name, dry);
			continue;
		}
		if (!dry)
			ck_assert_int_eq(mkdir(sub, 0700), 0);
		restore_dir(st, i, sub, dry);
	}
	for (size_t k = 0; k < now.n; k++)
		free(now.changes[k].name);
	free(now.changes);
}

/* Prints of the states that were tried, with what had been acknowledged by then. */
struct tried {
	uint64_t *v;
	size_t n;
};

static bool is_new(struct tried *t, uint64_t print)
{
	for (size_t i = 0; i < t->n; i++)
		if (t->v[i] == print)
			return false;
	t->v = realloc(t->v, (t->n + 1) * sizeof(*t->v));
	t->v[t->n++] = print;
	return true;
}

/* The entry at p: it happens. How long it is. */
static size_t happen_next(struct disk *d, const uint8_t *p, size_t n)
{
	struct fault_entry en;
	char *a, *b;
	size_t len = sizeof(en);

	ck_assert_uint_ge(n, len);
	memcpy(&en, p, len);
	ck_assert_uint_ge(n - len, (size_t)en.len_a + en.len_b);
	a = strndup((const char *)p + len, en.len_a);
	b = strndup((const char *)p + len + en.len_a, en.op == FAULT_RENAME ? en.len_b : 0);
	happen(d, &en, a, b, p + len + en.len_a);
	free(a);
	free(b);
	return len + en.len_a + en.len_b;
}

static void disk_free(struct disk *d)
{
	free(d->acks);
	for (struct inode *i = d->inodes, *next; i; i = next) {
		next = i->next;
		for (size_t k = 0; k < i->n; k++)
			free(i->changes[k].name);
		free(i->changes);
		free(i->original);
		free(i->bytes);
		free(i->stable);
		free(i);
	}
}
