/* Summaries in memory: a table in which the newest comer takes the place. See recent.h.
 *
 * Latest times lie in blocks of neighbours, each with the latest of all. Blocks of up to 262,144 segments in a row never meet
 * in one place; what is not used of the table takes no memory. */
#include "src/pit/recent.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

#define PLACES 2048 /* neighbours never meet in one place; a summary has a few hundred bytes as a rule */

#define BLOCK 64 /* segments, the bits of a mask */
#define BLOCKS 4096

/* Latest times of the segments [no * BLOCK, (no + 1) * BLOCK) of one timeline. */
struct block {
	struct tli tli; /* 0: unused */
	uint64_t no;
	uint64_t known;	   /* a bit a segment */
	struct tstamp max; /* of what is known */
	struct tstamp v[BLOCK];
};

/* Before all times there are. */
static const struct tstamp NEVER = {INT64_MIN, 0};

struct recent {
	pthread_mutex_t lock; /* rank: leaf; guards v */
	struct recent_summary *v[PLACES];
	struct block blocks[BLOCKS];
};

struct recent *recent_new(void)
{
	struct recent *r = calloc(1, sizeof(*r));

	if (r)
		pthread_mutex_init(&r->lock, NULL);
	return r;
}

void recent_unref(struct recent_summary *s)
{
	if (!s || atomic_fetch_sub(&s->refs, 1) > 1)
		return;
	wal_summary_free(s->s);
	free(s);
}

void recent_free(struct recent *r)
{
	if (!r)
		return;
	for (size_t i = 0; i < PLACES; i++)
		recent_unref(r->v[i]);
	pthread_mutex_destroy(&r->lock);
	free(r);
}

struct recent_summary *recent_get(struct recent *r, struct tli t, struct segno no, struct lsn valid)
{
	struct recent_summary *s;

	pthread_mutex_lock(&r->lock);
	s = r->v[no.v % PLACES];
	if (s && s->no.v == no.v && s->tli.v == t.v && s->valid.v == valid.v)
		atomic_fetch_add(&s->refs, 1);
	else
		s = NULL;
	pthread_mutex_unlock(&r->lock);
	return s;
}

/* The lock is held. */
static void put_latest(struct recent *r, struct tli t, struct segno no, const struct wal_summary *s)
{
	struct block *b = &r->blocks[no.v / BLOCK % BLOCKS];
	struct tstamp latest = s->has_times ? s->time_max : NEVER;

	if (b->tli.v != t.v || b->no != no.v / BLOCK)
		*b = (struct block){.tli = t, .no = no.v / BLOCK, .max = NEVER};
	b->known |= UINT64_C(1) << no.v % BLOCK;
	b->v[no.v % BLOCK] = latest;
	if (tstamp_cmp(latest, b->max) > 0)
		b->max = latest;
}

uint64_t recent_none_later(struct recent *r, struct tli t, struct segno no, uint64_t most, struct tstamp time)
{
	const struct block *b = &r->blocks[no.v / BLOCK % BLOCKS];
	uint64_t at = no.v % BLOCK, end = most < BLOCK - at ? at + most : BLOCK, n = at;

	pthread_mutex_lock(&r->lock);
	if (b->tli.v == t.v && b->no == no.v / BLOCK) {
		if (b->known == UINT64_MAX && tstamp_cmp(b->max, time) <= 0)
			n = end;
		while (n < end && b->known >> n & 1 && tstamp_cmp(b->v[n], time) <= 0)
			n++;
	}
	pthread_mutex_unlock(&r->lock);
	return n - at;
}

int recent_put(struct recent *r, struct tli t, struct segno no, struct lsn valid, struct wal_summary *s,
	struct recent_summary **ret, struct err *e)
{
	struct recent_summary *n = malloc(sizeof(*n)), *old;

	if (!n) {
		wal_summary_free(s);
		return err_sys(e, -ENOMEM, "WAL summary");
	}
	n->tli = t;
	n->no = no;
	n->valid = valid;
	n->s = s;
	atomic_init(&n->refs, 2);
	pthread_mutex_lock(&r->lock);
	old = r->v[no.v % PLACES];
	r->v[no.v % PLACES] = n;
	/* Of one that lacks what began before it, or its end, there will be another. */
	if (!s->head_missing && valid.v == (no.v + 1) * s->segment_size)
		put_latest(r, t, no, s);
	pthread_mutex_unlock(&r->lock);
	recent_unref(old);
	*ret = n;
	return 0;
}
