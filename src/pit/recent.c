/* Summaries in memory: a table in which the newest comer takes the place. See recent.h. */
#include "src/pit/recent.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

#define PLACES 2048 /* neighbours never meet in one place; a summary has a few hundred bytes as a rule */

struct recent {
	pthread_mutex_t lock; /* rank: leaf; guards v */
	struct recent_summary *v[PLACES];
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
	pthread_mutex_unlock(&r->lock);
	recent_unref(old);
	*ret = n;
	return 0;
}
