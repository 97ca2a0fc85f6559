/* Inode numbers are arithmetic, and the table only remembers what the kernel holds.
 *
 * A client may compare inode numbers hours apart: tar and rsync find hard links by them, find detects loops,
 * a kernel that forgot a directory under memory pressure looks it up again and marks the inode bad if the same
 * name suddenly has another number. A counter handed out at lookup would need every number to be remembered
 * for ever. So a number is computed from the place in the tree:
 *
 *	- Number 1 is the root, the numbers below INODE_FIRST are fixed entries in it.
 *	- Everything else takes ranges of consecutive numbers from one counter, when it is first seen in this
 *	  mount, and keeps them until the mount ends: a cluster a few for its listing directories, a snapshot
 *	  a few for what is synthesized (its directory, info.json, the `latest` that points to it) and one as
 *	  long as its tree when it is first entered.
 *	- Within a tree numbers are pre-order. The tree's root stands one before the range; an entry's number
 *	  is its directory's + 1 + entry.number, where entry.number counts the siblings before it and all that
 *	  lies below them (store/tree.h). An entry thus owns [number, number + descendants], its siblings own
 *	  what comes before and after, and no two entries of a mount share a number.
 *	- A branch takes a range that no branch fills (NS_BRANCH_INODES): its files' own numbers, which stay with them
 *	  when they are renamed, are added to its beginning.
 *
 * What follows: forgetting and finding again gives the same number, without memory; the number says which
 * entry of the snapshot it is, so a log line can find the path by descending with it; and clients that visit
 * files in the order of their inode numbers (cp, to be fast on disks) visit them in the order of our packs.
 * 64 bits are never used up: 2^62 numbers would be 4 million snapshots of a million million files each.
 *
 * The counts in a damaged or hostile tree may lie. A child that would leave its directory's range is refused
 * by the provider; two entries that claim one number are told apart here, by directory and position.
 *
 * The kernel's protocol: each reply to LOOKUP, and each entry of READDIRPLUS but "." and "..", adds one
 * lookup to the inode; FORGET takes some away; at zero the kernel holds nothing and the node is dropped. No
 * FORGET arrives while a request on the same inode is being served, but copies are handed out all the same, so
 * that nothing here depends on it.
 *
 * Non-goal: names. A node is found by number only. */
#include "fs/inode.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>

#include "fs/ns.h"

#define INODE_FIRST 16
#define INODE_END (UINT64_C(1) << 62)
#define SHARDS 16 /* more than the threads that will meet here at a time */
#define FIRST_BUCKETS 16

struct inode {
	struct inode *next;
	uint64_t lookups;
	struct node node;
};

struct shard {
	pthread_mutex_t lock; /* rank: leaf; guards the rest of the shard and the inodes in it */
	struct inode **buckets;
	size_t n_buckets; /* a power of two */
	size_t count;
} __attribute__((aligned(64)));

struct inode_table {
	struct shard shards[SHARDS];
	pthread_mutex_t lock; /* rank: leaf; guards next */
	uint64_t next;	      /* the first number that nobody has */
};

/* Fibonacci hashing: consecutive numbers, which is what a directory's entries have, spread evenly. */
static uint64_t mix(uint64_t ino)
{
	return ino * UINT64_C(0x9e3779b97f4a7c15);
}

static struct shard *shard_of(struct inode_table *t, uint64_t ino)
{
	return &t->shards[mix(ino) >> 60];
}

static struct inode **bucket_of(const struct shard *s, uint64_t ino)
{
	return &s->buckets[(mix(ino) >> 24) & (s->n_buckets - 1)];
}

/* Where the pointer to the inode is, or where it would be appended. The shard's lock is held. */
static struct inode **find(const struct shard *s, uint64_t ino)
{
	struct inode **at = bucket_of(s, ino);

	while (*at && (*at)->node.ino != ino)
		at = &(*at)->next;
	return at;
}

/* Doubles the buckets; without memory the chains just get longer. The shard's lock is held. */
static void grow(struct shard *s)
{
	struct shard wider = {.n_buckets = s->n_buckets * 2};

	wider.buckets = calloc(wider.n_buckets, sizeof(*wider.buckets));
	if (!wider.buckets)
		return;
	for (size_t i = 0; i < s->n_buckets; i++) {
		struct inode *in = s->buckets[i];

		while (in) {
			struct inode *next = in->next, **at = bucket_of(&wider, in->node.ino);

			in->next = *at;
			*at = in;
			in = next;
		}
	}
	free(s->buckets);
	s->buckets = wider.buckets;
	s->n_buckets = wider.n_buckets;
}

int inode_table_new(struct inode_table **ret)
{
	struct inode_table *t = aligned_alloc(64, (sizeof(*t) + 63) / 64 * 64);

	if (!t)
		return -ENOMEM;
	*t = (struct inode_table){.next = INODE_FIRST};
	pthread_mutex_init(&t->lock, NULL);
	for (unsigned i = 0; i < SHARDS; i++)
		pthread_mutex_init(&t->shards[i].lock, NULL);
	for (unsigned i = 0; i < SHARDS; i++) {
		struct shard *s = &t->shards[i];

		s->n_buckets = FIRST_BUCKETS;
		s->buckets = calloc(s->n_buckets, sizeof(*s->buckets));
		if (!s->buckets) {
			inode_table_free(t);
			return -ENOMEM;
		}
	}
	*ret = t;
	return 0;
}

void inode_table_free(struct inode_table *t)
{
	if (!t)
		return;
	for (unsigned i = 0; i < SHARDS; i++) {
		struct shard *s = &t->shards[i];

		for (size_t b = 0; s->buckets && b < s->n_buckets; b++) {
			struct inode *in = s->buckets[b];

			while (in) {
				struct inode *next = in->next;

				free(in);
				in = next;
			}
		}
		free(s->buckets);
		pthread_mutex_destroy(&s->lock);
	}
	pthread_mutex_destroy(&t->lock);
	free(t);
}

int inode_range(struct inode_table *t, uint64_t n, uint64_t *ret_first, struct err *e)
{
	int r = 0;

	pthread_mutex_lock(&t->lock);
	if (n > INODE_END - t->next) {
		r = -EBADMSG;
	} else {
		*ret_first = t->next;
		t->next += n;
	}
	pthread_mutex_unlock(&t->lock);
	if (r < 0)
		return err_set(e, r, "a tree of %" PRIu64 " entries is more than there are inode numbers", n);
	return 0;
}

int inode_learn(struct inode_table *t, const struct node *n, struct err *e)
{
	struct shard *s = shard_of(t, n->ino);
	struct inode **at, *in;
	int r = 0;

	pthread_mutex_lock(&s->lock);
	at = find(s, n->ino);
	in = *at;
	if (!in) {
		in = malloc(sizeof(*in));
		if (in) {
			*in = (struct inode){.lookups = 1, .node = *n};
			in->node.flags &= (uint8_t)~NODE_HELD;
			ns_hold(n->obj);
			*at = in;
			if (++s->count > s->n_buckets)
				grow(s);
		} else {
			r = -ENOMEM;
		}
	} else if (in->node.type != n->type ||
		   (!(n->flags & NODE_MOVES) &&
			   (in->node.parent != n->parent || in->node.position != n->position))) {
		r = -EBADMSG;
	} else {
		uint8_t opened = in->node.flags & NODE_OPENED;

		ns_hold(n->obj);
		ns_drop(in->node.obj);
		in->node = *n;
		in->node.flags = (uint8_t)((n->flags & ~NODE_HELD) | opened);
		in->lookups++;
	}
	pthread_mutex_unlock(&s->lock);
	if (r == -EBADMSG)
		return err_set(e, r, "damaged tree: two entries have inode number %" PRIu64, n->ino);
	return r < 0 ? err_set(e, r, "no memory for an inode") : 0;
}

bool inode_get(struct inode_table *t, uint64_t ino, struct node *ret)
{
	struct shard *s = shard_of(t, ino);
	struct inode *in;

	pthread_mutex_lock(&s->lock);
	in = *find(s, ino);
	if (in)
		*ret = in->node;
	pthread_mutex_unlock(&s->lock);
	return in != NULL;
}

bool inode_first_open(struct inode_table *t, uint64_t ino)
{
	struct shard *s = shard_of(t, ino);
	struct inode *in;
	bool first = false;

	pthread_mutex_lock(&s->lock);
	in = *find(s, ino);
	if (in) {
		first = !(in->node.flags & NODE_OPENED);
		in->node.flags |= NODE_OPENED;
	}
	pthread_mutex_unlock(&s->lock);
	return first;
}

void inode_forget(struct inode_table *t, uint64_t ino, uint64_t count)
{
	struct shard *s = shard_of(t, ino);
	struct inode **at, *in;

	/* The root is never looked up, yet forgotten at times with a count of its own. */
	if (ino == INODE_ROOT)
		return;
	pthread_mutex_lock(&s->lock);
	at = find(s, ino);
	in = *at;
	if (in && in->lookups > count) {
		in->lookups -= count;
		in = NULL;
	} else if (in) {
		*at = in->next;
		s->count--;
	}
	pthread_mutex_unlock(&s->lock);
	if (in && in->node.obj && in->node.obj->ops->forget)
		in->node.obj->ops->forget(in->node.obj, &in->node);
	if (in)
		ns_drop(in->node.obj);
	free(in);
}

uint64_t inode_known(struct inode_table *t)
{
	uint64_t n = 0;

	for (unsigned i = 0; i < SHARDS; i++) {
		pthread_mutex_lock(&t->shards[i].lock);
		n += t->shards[i].count;
		pthread_mutex_unlock(&t->shards[i].lock);
	}
	return n;
}
