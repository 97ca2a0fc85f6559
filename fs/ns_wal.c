/* wal/ of a cluster: every file of its WAL archive, flat, at its full size.
 *
 * There may be hundreds of thousands of them, so nothing is kept for each: the archive's groups (16 digits of a
 * segment's name, store/wal.h) are numbered as they are seen, and what a segment is follows from its group and its
 * last eight digits, of which there are 4096 at most (XLogSegmentsPerXLogId, PostgreSQL's xlog_internal.h, with
 * segments of 1 MiB). A group takes 8192 inode numbers, one half for segments, the other for their .partial files.
 * Files of other names (.history, .backup, some for each backup) are numbered one by one and remembered. A position
 * of the listing is a group's number and the place in it, so it stays good whatever comes or goes.
 *
 * A lookup asks the backend for that one object, so a segment is there at once. A listing asks for one group after
 * the other. The size of a file is in its object's trailer; a listing opens the first and the last segment of a
 * group only, and when they have the same size, so have those between, since a server changes its segment size at
 * most between two segments (pg_resetwal). Should it not be so, open notices and the kernel looks the name up again.
 *
 * Owners and modes: WAL is as secret as the data it belongs to, so its files belong to whom the data directory of the
 * newest backup belongs to, and the group may read them if it may read that. They have the owner's write bit, for cp
 * gives its copy the mode of the source, and the server opens what restore_command brought for writing.
 *
 * A segment that is still being received (store/wal_partial.h) is shown as .partial until it is archived whole; the
 * kernel keeps nothing of it.
 *
 * Invariant: a file of the archive never changes. Non-goal: what the WAL says. */
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fs/fs.h"
#include "src/base/clean.h"
#include "src/base/clock.h"
#include "src/pg/lsn.h"
#include "store/wal.h"
#include "store/wal_partial.h"

#define DIGITS 16 /* of a segment's group */
#define SEGMENTS 4096
#define PARTIAL ".partial"
#define OTHERS (2 * SEGMENTS) /* the first place of other files */
#define PLACE_BITS 34	      /* of a position: OTHERS and as many as a node's position can count */
#define NAMES_MAX (1u << 28)
#define PAGES 4
#define FRESH UINT64_C(1000000000) /* nanoseconds that the directory's time and owner are good for */

/* A name with a number that it keeps, and inode numbers of its own. */
struct known {
	char name[WAL_FILE_NAME_MAX + 1];
	uint32_t number;
	uint64_t first_ino;
};

/* Names by number, which is the order of their inode numbers, too; and sorted. Few enough to shift. */
struct names {
	struct known **by_number, **by_name;
	size_t n;
};

/* What a name stands for. */
struct ident {
	uint64_t place; /* in its group */
	uint64_t ino;
};

/* A group as it is listed. */
struct page_item {
	struct ident id;
	struct wal_name *file;
};
struct page {
	bool used;
	uint32_t group;
	uint64_t last_use;
	struct wal_list list;
	struct page_item *items; /* by place */
	uint64_t segment_size;	 /* of all segments in it; 0: not known, or not the same */
};

struct ns_wal {
	struct ns_object obj;
	char *cluster;
	uint64_t ino, parent;
	uint32_t position;

	/* Rank: above the inode table's; guards the groups and others; what they point to stays as it is until the end. */
	pthread_mutex_t lock;
	struct names groups, others;

	/* Rank: above lock; guards the pages; held while a group is listed, so that one thread asks the backend and others
	 * wait for it. */
	pthread_mutex_t pages_lock;
	struct page pages[PAGES];
	uint64_t uses;

	/* Rank: above the log; guards all below; held while the backend is asked. */
	pthread_mutex_t facts_lock;
	uint64_t newest_asked, owner_asked; /* clock_mono_ns, 0: never */
	struct tstamp newest;
	bool owned; /* uid, gid and mode are those of a backup */
	uint32_t uid, gid;
	uint16_t mode;
};

CLEANUP_DEFINE(struct snapshot, snapshot_free)

/* ---- names and numbers ---- */

/* Where the name is in r->by_name, or would be. */
static size_t find_name(const struct names *r, const char *name)
{
	size_t lo = 0, hi = r->n;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (strcmp(r->by_name[mid]->name, name) < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

/* The known name, numbered and given `inodes` numbers when it is new. The lock is held. */
static int need_name(struct ns_wal *w, struct names *r, const char *name, uint64_t inodes, struct known **ret,
	struct err *e)
{
	size_t at = find_name(r, name);
	struct known *k, **more;
	int x;

	if (at < r->n && !strcmp(r->by_name[at]->name, name)) {
		*ret = r->by_name[at];
		return 0;
	}
	if (r->n >= NAMES_MAX)
		return err_set(e, -EOVERFLOW, "more names in the WAL archive than a directory has positions");
	if (!(r->n & (r->n - 1))) {
		size_t cap = r->n ? r->n * 2 : 1;

		more = reallocarray(r->by_number, cap, sizeof(*more));
		if (!more)
			return err_set(e, -ENOMEM, "no memory for a listing");
		r->by_number = more;
		more = reallocarray(r->by_name, cap, sizeof(*more));
		if (!more)
			return err_set(e, -ENOMEM, "no memory for a listing");
		r->by_name = more;
	}
	k = calloc(1, sizeof(*k));
	if (!k)
		return err_set(e, -ENOMEM, "no memory for a listing");
	snprintf(k->name, sizeof(k->name), "%s", name);
	k->number = (uint32_t)r->n;
	x = inode_range(w->obj.fs->inodes, inodes, &k->first_ino, e);
	if (x < 0) {
		free(k);
		return x;
	}
	memmove(r->by_name + at + 1, r->by_name + at, (r->n - at) * sizeof(*r->by_name));
	r->by_name[at] = r->by_number[r->n++] = k;
	*ret = k;
	return 0;
}

static void names_release(struct names *r)
{
	for (size_t i = 0; i < r->n; i++)
		free(r->by_number[i]);
	free(r->by_number);
	free(r->by_name);
}

/* The place of a segment or of its .partial file, or false: the name is another one. */
static bool segment_place(const char *name, uint64_t *ret)
{
	unsigned long low;
	bool partial;

	if (strlen(name) < WAL_NAME_LEN || !wal_name_looks(name, WAL_NAME_LEN))
		return false;
	partial = !strcmp(name + WAL_NAME_LEN, PARTIAL);
	/* Eight digits, then the end or a dot: no more than fit. */
	low = strtoul(name + DIGITS, NULL, 16);
	if ((name[WAL_NAME_LEN] && !partial) || low >= SEGMENTS)
		return false;
	*ret = low + (partial ? SEGMENTS : 0);
	return true;
}

/* Of a file that is there, so that nobody fills the memory with questions. */
static int identify(struct ns_wal *w, const char *name, struct ident *ret, struct err *e)
{
	char upper[DIGITS + 1] = "";
	struct known *k;
	uint64_t place;
	int r;

	pthread_mutex_lock(&w->lock);
	if (segment_place(name, &place)) {
		memcpy(upper, name, DIGITS);
		r = need_name(w, &w->groups, upper, OTHERS, &k, e);
		if (r >= 0)
			*ret = (struct ident){place, k->first_ino + place};
	} else {
		r = need_name(w, &w->others, name, 1, &k, e);
		if (r >= 0)
			*ret = (struct ident){OTHERS + (uint64_t)k->number, k->first_ino};
	}
	pthread_mutex_unlock(&w->lock);
	return r;
}

/* The name of a node, by its numbers. */
static void name_of(struct ns_wal *w, const struct node *n, char out[WAL_FILE_NAME_MAX + 1])
{
	pthread_mutex_lock(&w->lock);
	if (n->position >= OTHERS) {
		strcpy(out, w->others.by_number[n->position - OTHERS]->name);
	} else {
		/* Ranges grow with the groups' numbers: the last group whose range begins at or below. */
		size_t lo = 0, hi = w->groups.n;

		while (hi - lo > 1) {
			size_t mid = lo + (hi - lo) / 2;

			if (w->groups.by_number[mid]->first_ino <= n->ino)
				lo = mid;
			else
				hi = mid;
		}
		snprintf(out, WAL_FILE_NAME_MAX + 1, "%.*s%08" PRIX32 "%s", DIGITS,
			w->groups.by_number[lo]->name, n->position % SEGMENTS,
			n->position < SEGMENTS ? "" : PARTIAL);
	}
	pthread_mutex_unlock(&w->lock);
}

/* ---- the growing segment ---- */

/* What the segment has so far, when `name` is that of its .partial file: -ENOENT as soon as it is archived, under whichever
 * of the two names. */
static int growing_stat(struct ns_wal *w, const char *name, char segment[WAL_NAME_TEXT],
	struct wal_partial_info *ret, struct err *e)
{
	struct store *s = w->obj.fs->store;
	struct wal_info whole;

	if (strlen(name) != WAL_NAME_LEN + strlen(PARTIAL) || !wal_name_looks(name, WAL_NAME_LEN) ||
		strcmp(name + WAL_NAME_LEN, PARTIAL))
		return err_set(e, -ENOENT, "%s is not in the archive", name);
	snprintf(segment, WAL_NAME_TEXT, "%.*s", WAL_NAME_LEN, name);
	if (wal_stat(s, w->cluster, name, &whole, NULL) >= 0 ||
		wal_stat(s, w->cluster, segment, &whole, NULL) >= 0)
		return err_set(e, -ENOENT, "%s is archived", segment);
	return wal_partial_stat(s, w->cluster, segment, ret, e);
}

/* ---- what is asked once a second ---- */

/* Takes owner and readers from the data directory of the newest backup, when there is one. */
static int find_owner(struct ns_wal *w, struct err *e)
{
	_cleanup_(snapshot_freep) struct snapshot *snap = NULL;
	_cleanup_(freep) struct entry *data = NULL;
	int r = snapshot_resolve(w->obj.fs->store, w->cluster, SNAPSHOT_BASE, "latest", &snap, e);

	if (r < 0)
		return r == -ENOENT ? 0 : r;
	r = tree_lookup(w->obj.fs->store, &snap->root, "data", &data, e);
	if (r < 0)
		return r;
	owner_resolve(w->obj.fs->owners, &data->meta, &w->uid, &w->gid);
	w->mode = data->meta.mode & 0040 ? 0640 : 0600;
	w->owned = true;
	return 0;
}

/* A listing is as old as the newest thing in it, which is in the last group but for archives in disorder. */
static int find_newest(struct ns_wal *w, struct err *e)
{
	struct wal_list last = {0};
	char **groups = NULL;
	size_t n = 0;
	int r = wal_groups(w->obj.fs->store, w->cluster, &groups, e);

	while (r >= 0 && groups[n])
		n++;
	if (r >= 0 && n)
		r = wal_list(w->obj.fs->store, w->cluster, groups[n - 1], &last, e);
	for (size_t i = 0; i < last.n; i++)
		if (tstamp_cmp(last.v[i].put, w->newest) > 0)
			w->newest = last.v[i].put;
	wal_list_free(&last);
	strv_free(groups);
	return r;
}

/* Asks, when the last answer is older than a second. What was known stays when there is none. */
static void ask(struct ns_wal *w, uint64_t *asked, int (*find)(struct ns_wal *w, struct err *e))
{
	struct err e = {0};
	uint64_t now = clock_mono_ns();

	if (*asked && now - *asked < FRESH)
		return;
	if (find(w, &e) < 0)
		complain(w->obj.fs->complaints, w->cluster, &e);
	*asked = now;
}

static void put_owner(struct ns_wal *w, struct node *n)
{
	pthread_mutex_lock(&w->facts_lock);
	if (!w->owned)
		ask(w, &w->owner_asked, find_owner);
	n->uid = w->uid;
	n->gid = w->gid;
	n->mode = w->mode;
	if (!w->owned)
		n->flags |= NODE_BRIEF_ATTR; /* until there is a backup */
	pthread_mutex_unlock(&w->facts_lock);
}

static void refresh_growing(struct ns_wal *w, struct node *n)
{
	char name[WAL_FILE_NAME_MAX + 1], segment[WAL_NAME_TEXT];
	struct wal_partial_info info;

	if (!(n->flags & NODE_GROWING))
		return;
	name_of(w, n, name);
	if (growing_stat(w, name, segment, &info, NULL) < 0)
		return; /* gone; it stays as it was for who has it open */
	n->mtime = info.put.sec;
	n->mtime_ns = info.put.nsec;
	n->stored = info.stored;
}

static void refresh(struct ns_object *o, struct node *n)
{
	struct ns_wal *w = (struct ns_wal *)o;

	if (n->type != ENTRY_DIR) {
		put_owner(w, n);
		refresh_growing(w, n);
		return;
	}
	pthread_mutex_lock(&w->facts_lock);
	ask(w, &w->newest_asked, find_newest);
	n->mtime = w->newest.sec;
	n->mtime_ns = w->newest.nsec;
	pthread_mutex_unlock(&w->facts_lock);
}

static void self(struct ns_object *o, struct node *ret)
{
	struct ns_wal *w = (struct ns_wal *)o;

	*ret = ns_made_dir(o, w->ino, w->parent, w->position);
	ret->flags |= NODE_BRIEF_ATTR;
	refresh(o, ret);
}

/* ---- the directory ---- */

static struct node file_node(
	struct ns_wal *w, struct ident id, uint64_t size, uint64_t stored, struct tstamp put)
{
	struct node n = ns_made_dir(&w->obj, id.ino, w->ino, (uint32_t)id.place);

	n.type = ENTRY_FILE;
	n.size = size;
	n.stored = stored;
	n.mtime = put.sec;
	n.mtime_ns = put.nsec;
	put_owner(w, &n);
	return n;
}

static int lookup(
	struct ns_object *o, const struct node *dir, const char *name, struct node *ret, struct err *e)
{
	struct ns_wal *w = (struct ns_wal *)o;
	char segment[WAL_NAME_TEXT];
	struct wal_partial_info growing;
	struct wal_info info;
	struct ident id;
	int r = wal_stat(o->fs->store, w->cluster, name, &info, e);
	bool grows = r == -ENOENT;

	(void)dir;
	if (r == -EINVAL)
		return err_set(e, -ENOENT, "no file of the WAL archive is called so");
	if (grows)
		r = growing_stat(w, name, segment, &growing, e);
	if (r >= 0)
		r = identify(w, name, &id, e);
	if (r < 0)
		return r;
	if (grows) {
		*ret = file_node(w, id, growing.segment_size, growing.stored, growing.put);
		ret->flags |= NODE_BRIEF_NAME | NODE_BRIEF_ATTR | NODE_GROWING;
	} else {
		*ret = file_node(w, id, info.size, info.stored, info.put);
	}
	return 0;
}

static int by_place(const void *a, const void *b)
{
	const struct page_item *x = a, *y = b;

	return x->id.place < y->id.place ? -1 : x->id.place > y->id.place;
}

static void page_release(struct page *p)
{
	wal_list_free(&p->list);
	free(p->items);
	*p = (struct page){0};
}

/* The size that the first and the last segment agree on; 0 when they do not, or cannot be read. */
static uint64_t common_size(struct ns_wal *w, const struct page *p)
{
	struct wal_info first, last;
	size_t n = 0;

	while (n < p->list.n && p->items[n].id.place < SEGMENTS)
		n++;
	if (!n || wal_stat(w->obj.fs->store, w->cluster, p->items[0].file->name, &first, NULL) < 0 ||
		wal_stat(w->obj.fs->store, w->cluster, p->items[n - 1].file->name, &last, NULL) < 0)
		return 0;
	return first.size == last.size ? first.size : 0;
}

/* Adds what grows in the group. */
static int add_growing(struct ns_wal *w, const struct known *g, struct wal_list *l, struct err *e)
{
	char name[WAL_FILE_NAME_MAX + 1], segment[WAL_NAME_TEXT], **v = NULL;
	struct wal_partial_info info;
	int r = wal_partial_names(w->obj.fs->store, w->cluster, &v, e);

	for (size_t i = 0; r >= 0 && v[i]; i++) {
		struct wal_name *more;

		snprintf(name, sizeof(name), "%s" PARTIAL, v[i]);
		if (strncmp(name, g->name, DIGITS) || growing_stat(w, name, segment, &info, NULL) < 0)
			continue;
		more = reallocarray(l->v, l->n + 1, sizeof(*more));
		if (more) {
			l->v = more;
			more[l->n] = (struct wal_name){strdup(name), info.stored, info.put};
		}
		if (!more || !more[l->n++].name)
			r = err_set(e, -ENOMEM, "no memory for a listing");
	}
	strv_free(v);
	return r;
}

static int page_fetch(struct ns_wal *w, const struct known *g, struct page *p, struct err *e)
{
	int r = wal_list(w->obj.fs->store, w->cluster, g->name, &p->list, e);

	if (r < 0)
		return r;
	p->used = true;
	p->group = g->number;
	r = add_growing(w, g, &p->list, e);
	if (r >= 0 && !(p->items = calloc(p->list.n + 1, sizeof(*p->items))))
		r = err_set(e, -ENOMEM, "no memory for a listing");
	for (size_t i = 0; r >= 0 && i < p->list.n; i++) {
		p->items[i].file = &p->list.v[i];
		r = identify(w, p->list.v[i].name, &p->items[i].id, e);
	}
	if (r < 0) {
		page_release(p);
		return r;
	}
	qsort(p->items, p->list.n, sizeof(*p->items), by_place);
	p->segment_size = common_size(w, p);
	return 0;
}

/* A group's names: as they are now for who begins to list it, as they were for who goes on. The pages' lock is
 * held, also while the page is used. */
static int need_page(struct ns_wal *w, const struct known *g, bool fresh, struct page **ret, struct err *e)
{
	struct page *oldest = &w->pages[0];
	int r;

	for (unsigned i = 0; i < PAGES; i++) {
		struct page *p = &w->pages[i];

		if (p->used && p->group == g->number) {
			oldest = p;
			break;
		}
		if (p->last_use < oldest->last_use)
			oldest = p;
	}
	if (fresh || !oldest->used || oldest->group != g->number) {
		page_release(oldest);
		r = page_fetch(w, g, oldest, e);
		if (r < 0)
			return r;
	}
	oldest->last_use = ++w->uses;
	*ret = oldest;
	return 0;
}

static int list_group(
	struct ns_wal *w, const struct known *g, uint64_t place, ns_emit *emit, void *arg, struct err *e)
{
	struct page *p;
	size_t i = 0;
	int r;

	pthread_mutex_lock(&w->pages_lock);
	r = need_page(w, g, place == 0, &p, e);
	while (r >= 0 && i < p->list.n && p->items[i].id.place < place)
		i++;
	for (; r == 0 && i < p->list.n; i++) {
		const struct page_item *it = &p->items[i];
		bool known = p->segment_size && it->id.place < SEGMENTS;
		struct node n =
			file_node(w, it->id, known ? p->segment_size : 0, it->file->stored, it->file->put);

		n.flags |= known ? 0 : NODE_NAME_ONLY;
		r = emit(arg, it->file->name, ((uint64_t)g->number << PLACE_BITS) + it->id.place + 1, &n);
	}
	pthread_mutex_unlock(&w->pages_lock);
	return r;
}

/* Numbers the groups that are new, also those in which there is nothing yet but what grows. */
static int find_groups(struct ns_wal *w, struct err *e)
{
	struct known *g;
	char **names = NULL, **growing = NULL, group[DIGITS + 1];
	int r = wal_groups(w->obj.fs->store, w->cluster, &names, e);

	if (r >= 0)
		r = wal_partial_names(w->obj.fs->store, w->cluster, &growing, e);
	pthread_mutex_lock(&w->lock);
	for (size_t i = 0; r >= 0 && names[i]; i++)
		r = need_name(w, &w->groups, names[i], OTHERS, &g, e);
	for (size_t i = 0; r >= 0 && growing[i]; i++) {
		snprintf(group, sizeof(group), "%.*s", DIGITS, growing[i]);
		r = need_name(w, &w->groups, group, OTHERS, &g, e);
	}
	pthread_mutex_unlock(&w->lock);
	strv_free(names);
	strv_free(growing);
	return r;
}

static const struct known *group_at(struct ns_wal *w, uint64_t number)
{
	const struct known *g;

	pthread_mutex_lock(&w->lock);
	g = number < w->groups.n ? w->groups.by_number[number] : NULL;
	pthread_mutex_unlock(&w->lock);
	return g;
}

static int list(struct ns_object *o, const struct node *dir, uint64_t position, ns_emit *emit, void *arg,
	struct err *e)
{
	struct ns_wal *w = (struct ns_wal *)o;
	uint64_t place = position & ((UINT64_C(1) << PLACE_BITS) - 1);
	const struct known *g;
	int r = position ? 0 : find_groups(w, e);

	(void)dir;
	if (r < 0)
		return r;
	for (uint64_t i = position >> PLACE_BITS; (g = group_at(w, i)); i++) {
		r = list_group(w, g, place, emit, arg, e);
		if (r)
			return r;
		place = 0;
	}
	return 0;
}

/* ---- files ---- */

static int open_file(struct ns_object *o, const struct node *n, struct file **ret, struct err *e)
{
	struct ns_wal *w = (struct ns_wal *)o;
	char name[WAL_FILE_NAME_MAX + 1], segment[WAL_NAME_TEXT];
	struct file *f;
	int r;

	name_of(w, n, name);
	r = wal_open(o->fs->store, w->cluster, name, &f, e);
	if (r == -ENOENT && n->flags & NODE_GROWING) {
		snprintf(segment, sizeof(segment), "%.*s", WAL_NAME_LEN, name);
		r = wal_partial_open(o->fs->store, w->cluster, segment, &f, NULL, e);
	}
	if (r < 0)
		return r;
	if (file_size(f) != n->size) {
		r = err_set(e, -ESTALE, "%s has %" PRIu64 " bytes, and not %" PRIu64 " as was listed", name,
			file_size(f), n->size);
		file_free(f);
		return r;
	}
	*ret = f;
	return 0;
}

/* The next segment: recovery asks for one after the other. */
static int next_file(struct ns_object *o, const struct node *n, struct node *ret, struct err *e)
{
	struct ns_wal *w = (struct ns_wal *)o;
	char name[WAL_FILE_NAME_MAX + 1];
	struct segno segno;
	struct tli tli;

	name_of(w, n, name);
	if (n->size > UINT32_MAX || !wal_name_parse(name, strlen(name), (uint32_t)n->size, &tli, &segno))
		return err_set(e, -ENOENT, "%s is no segment", name);
	segno.v++;
	return lookup(o, n, wal_name(tli, segno, (uint32_t)n->size, name), ret, e);
}

static char *path(struct ns_object *o, const struct node *n)
{
	struct ns_wal *w = (struct ns_wal *)o;
	char name[WAL_FILE_NAME_MAX + 1] = "", *p = NULL;

	if (n->ino != w->ino)
		name_of(w, n, name);
	return asprintf(&p, "%s/wal%s%s", w->cluster, *name ? "/" : "", name) < 0 ? NULL : p;
}

static void wal_free(struct ns_object *o)
{
	struct ns_wal *w = (struct ns_wal *)o;

	names_release(&w->groups);
	names_release(&w->others);
	for (unsigned i = 0; i < PAGES; i++)
		page_release(&w->pages[i]);
	pthread_mutex_destroy(&w->lock);
	pthread_mutex_destroy(&w->pages_lock);
	pthread_mutex_destroy(&w->facts_lock);
	free(w->cluster);
	free(w);
}

static const struct ns_ops wal_ops = {
	.name = "wal",
	.self = self,
	.lookup = lookup,
	.list = list,
	.refresh = refresh,
	.open = open_file,
	.opens_for_sync = true,
	.next = next_file,
	.path = path,
	.free = wal_free,
};

int ns_wal_new(struct fs *fs, const char *cluster, uint64_t parent, uint32_t position, struct ns_object **ret,
	struct err *e)
{
	struct ns_wal *w = calloc(1, sizeof(*w));
	int r;

	if (!w)
		return err_set(e, -ENOMEM, "no memory for cluster %s", cluster);
	w->obj = (struct ns_object){.ops = &wal_ops, .fs = fs};
	w->parent = parent;
	w->position = position;
	w->uid = fs->uid;
	w->gid = fs->gid;
	w->mode = 0600;
	pthread_mutex_init(&w->lock, NULL);
	pthread_mutex_init(&w->pages_lock, NULL);
	pthread_mutex_init(&w->facts_lock, NULL);
	w->cluster = strdup(cluster);
	r = w->cluster ? inode_range(fs->inodes, 1, &w->ino, e)
		       : err_set(e, -ENOMEM, "no memory for cluster %s", cluster);
	if (r < 0) {
		wal_free(&w->obj);
		return r;
	}
	*ret = &w->obj;
	return 0;
}
