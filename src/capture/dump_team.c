/* Several processes, one archive. See dump_team.h. */
#include "src/capture/dump_team.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/clean.h"
#include "src/capture/dump_deal.h"
#include "src/capture/dump_share.h"
#include "src/capture/dump_source.h"
#include "src/capture/replication.h"
#include "src/pg/dump_join.h"

/* The tables are locked by our transaction, so another process gets its lock at once, unless somebody waits for an exclusive
 * one: then it would wait for ever. */
#define LOCK_WAIT "--lock-wait-timeout=10000"

CLEANUP_DEFINE(struct dump_team, dump_team_free)
CLEANUP_DEFINE(struct dump_source, dump_source_free)
CLEANUP_DEFINE(struct dump_tables, dump_tables_free)

struct words {
	char **v; /* NULL at the end */
	size_t n, cap;
	bool bad;
};

struct helper {
	struct dump_team *team;
	unsigned number;
	struct words argv;
	struct dump_process process;
	pthread_t thread;
	bool started;
};

struct dump_team {
	struct dump_team_options o;
	struct dump_deal *deal;
	struct words first;
	struct dump_others others;
	struct dump_archive *archive;
	struct helper *helpers;
	struct dump_share **shares;
	size_t n; /* helpers with tables, and later their shares */

	pthread_mutex_t lock; /* rank: above a process's; guards what follows */
	struct dump_process *main;
	bool theirs; /* the first failure is a helper's */
	struct err why;
};

static void words_put(struct words *w, const char *before, const char *text)
{
	if (w->n + 1 >= w->cap) {
		size_t cap = w->cap ? 2 * w->cap : 16;
		char **more = realloc(w->v, cap * sizeof(*more));

		if (!more) {
			w->bad = true;
			return;
		}
		w->v = more;
		w->cap = cap;
	}
	if (asprintf(&w->v[w->n], "%s%s", before, text) < 0)
		w->bad = true;
	else
		w->n++;
	w->v[w->n] = NULL;
}

static void words_release(struct words *w)
{
	for (size_t i = 0; i < w->n; i++)
		free(w->v[i]);
	free(w->v);
}

void dump_team_free(struct dump_team *t)
{
	if (!t)
		return;
	for (size_t i = 0; t->helpers && i + 1 < t->o.jobs; i++)
		words_release(&t->helpers[i].argv);
	for (size_t i = 0; t->shares && i + 1 < t->o.jobs; i++)
		dump_share_free(t->shares[i]);
	free(t->helpers);
	free(t->shares);
	words_release(&t->first);
	dump_deal_free(t->deal);
	pthread_mutex_destroy(&t->lock);
	free(t);
}

/* The first failure ends everybody. number 0: the first process, whose reader knows by itself. */
static void fail(struct dump_team *t, unsigned number, int r, const struct err *why)
{
	pthread_mutex_lock(&t->lock);
	if (!t->why.code) {
		err_set(&t->why, r, "%s", why->text);
		t->theirs = number != 0;
		if (t->theirs && t->main)
			dump_process_stop(t->main);
		for (size_t i = 0; i < t->n; i++)
			if (t->helpers[i].started && t->helpers[i].number != number)
				dump_process_stop(&t->helpers[i].process);
	}
	pthread_mutex_unlock(&t->lock);
}

/* ---- the others ---- */

/* Each table that this process was told has its data in what it gave, unless the user did not want it. */
static int check_share(struct helper *h, const struct dump_share *s, struct err *e)
{
	const struct dump_deal *deal = h->team->deal;
	size_t given = 0, told = 0;

	for (size_t i = 0; i < deal->n; i++)
		told += deal->tables[i].wanted && deal->tables[i].to == h->number;
	for (size_t i = 0; i < s->toc.n; i++) {
		const struct dump_entry *en = &s->toc.entries[i];
		const struct dump_deal_table *t =
			dump_entry_is_table(en) && en->oid ? dump_deal_find(deal, en->oid) : NULL;

		if (dump_entry_is_table(en) && (!t || t->to != h->number || !t->wanted))
			return err_set(e, -EBADMSG, "%s dumped %s, which it was not told to",
				h->process.program, en->tag);
		given += t != NULL;
	}
	if (given != told && !h->team->o.args->lacks_data)
		return err_set(e, -EBADMSG, "%s dumped %zu of the %zu tables that it was told to",
			h->process.program, given, told);
	return 0;
}

static void *run_helper(void *arg)
{
	struct helper *h = arg;
	struct dump_team *t = h->team;
	_cleanup_(dump_source_freep) struct dump_source *src = NULL;
	struct dump_share *share = NULL;
	struct err why = {0};
	int r = dump_source_new(h->process.fd, h->process.program, t->o.meter, t->o.stop, &src, &why);

	if (!r)
		r = dump_share_read(t->archive, dump_source_read, src, h->process.program, &share, &why);
	if (!r)
		r = check_share(h, share, &why);
	if (r == -EINTR)
		dump_process_stop(&h->process);
	if (r < 0)
		r = dump_process_blame(&h->process, r, &why);
	else
		r = dump_process_wait(&h->process, &why);
	closep(&h->process.fd);
	if (r < 0)
		fail(t, h->number, r, &why);
	t->shares[h->number - 1] = share;
	return NULL;
}

/* Which of the tables that were dealt out the first process has a definition of: those that the user wants. */
static int find_wanted(struct dump_team *t, const struct dump_archive *a, struct err *e)
{
	_cleanup_(dump_tables_freep) struct dump_tables *tables = NULL;
	int r = dump_tables_new(&a->toc, &tables, e);

	for (size_t i = 0; i < t->deal->n && !r; i++)
		t->deal->tables[i].wanted = dump_tables_find(tables, t->deal->tables[i].oid) != NULL;
	return r;
}

static int make_argv(struct helper *h, struct err *e)
{
	const struct dump_team *t = h->team;
	struct words *w = &h->argv;
	bool any = false;

	words_put(w, "", t->o.program);
	words_put(w, "", "-Fc");
	words_put(w, "", "-Z0");
	words_put(w, "", "--no-password");
	words_put(w, "", "--data-only");
	words_put(w, "--snapshot=", t->deal->snapshot);
	if (!t->o.args->lock_wait)
		words_put(w, "", LOCK_WAIT);
	words_put(w, "--dbname=", t->o.words);
	for (size_t i = 0; i < t->o.args->n_data; i++)
		words_put(w, "", t->o.args->data[i]);
	for (size_t i = 0; i < t->deal->n; i++)
		if (t->deal->tables[i].wanted && t->deal->tables[i].to == h->number) {
			words_put(w, "--table=", t->deal->tables[i].pattern);
			any = true;
		}
	return w->bad ? err_sys(e, -ENOMEM, "dump") : any;
}

static int start_helper(struct dump_team *t, unsigned number, struct err *e)
{
	struct helper *h = &t->helpers[t->n];
	int r;

	*h = (struct helper){.team = t, .number = number};
	r = make_argv(h, e);
	if (r <= 0) {
		words_release(&h->argv);
		h->argv = (struct words){0};
		return r;
	}
	r = dump_process_start(h->argv.v, t->o.password, &h->process, e);
	if (r < 0) {
		words_release(&h->argv);
		h->argv = (struct words){0};
		return r;
	}
	pthread_mutex_lock(&t->lock);
	h->started = true;
	t->n++;
	pthread_mutex_unlock(&t->lock);
	r = pthread_create(&h->thread, NULL, run_helper, h);
	if (r) {
		pthread_mutex_lock(&t->lock);
		t->n--;
		pthread_mutex_unlock(&t->lock);
		dump_process_stop(&h->process);
		dump_process_blame(&h->process, 0, NULL);
		return err_sys(e, -r, "starting a thread");
	}
	return 0;
}

/* The others' errors count only as far as they came first. */
static int finish(void *arg, int res, struct dump_share *const **ret, size_t *ret_n, struct err *e)
{
	struct dump_team *t = arg;
	size_t n = 0;

	if (res < 0)
		fail(t, 0, res, e);
	for (size_t i = 0; i < t->n; i++)
		pthread_join(t->helpers[i].thread, NULL);
	if (!t->why.code && dump_deal_end(t->deal, &t->why) < 0)
		t->theirs = true;
	if (t->why.code)
		return err_set(e, t->why.code, "%s", t->why.text);
	for (size_t i = 0; i + 1 < t->o.jobs; i++)
		if (t->shares[i])
			t->shares[n++] = MOVE(t->shares[i]);
	*ret = t->shares;
	*ret_n = n;
	return 0;
}

static int start(void *arg, struct dump_archive *a, struct err *e)
{
	struct dump_team *t = arg;
	int r = find_wanted(t, a, e);

	t->archive = a;
	if (!r)
		r = dump_deal_lock(t->deal, e);
	for (unsigned i = 1; i < t->o.jobs && !r; i++)
		r = start_helper(t, i, e);
	if (r < 0 && t->n) {
		struct dump_share *const *shares;
		size_t n;

		return finish(t, r, &shares, &n, e);
	}
	return r;
}

/* ---- the first ---- */

int dump_team_new(const struct dump_team_options *o, struct dump_team **ret, struct err *e)
{
	_cleanup_(dump_team_freep) struct dump_team *t = calloc(1, sizeof(*t));
	int r;

	if (!t)
		return err_sys(e, -ENOMEM, "dump");
	pthread_mutex_init(&t->lock, NULL);
	t->o = *o;
	t->others = (struct dump_others){start, finish, t};
	t->helpers = calloc(o->jobs, sizeof(*t->helpers));
	t->shares = calloc(o->jobs, sizeof(struct dump_share *));
	if (!t->helpers || !t->shares)
		return err_sys(e, -ENOMEM, "dump");
	r = dump_deal_new(o->conninfo, o->database, o->args, o->jobs, &t->deal, e);
	if (r < 0)
		return r;
	words_put(&t->first, "--snapshot=", t->deal->snapshot);
	for (size_t i = 0; i < t->deal->n; i++)
		words_put(&t->first, "--exclude-table-data=", t->deal->tables[i].pattern);
	if (t->first.bad)
		return err_sys(e, -ENOMEM, "dump");
	*ret = MOVE(t);
	return 0;
}

char *const *dump_team_first(const struct dump_team *t)
{
	return t->first.v;
}

void dump_team_started(struct dump_team *t, struct dump_process *p)
{
	pthread_mutex_lock(&t->lock);
	t->main = p;
	pthread_mutex_unlock(&t->lock);
}

const struct dump_others *dump_team_others(struct dump_team *t)
{
	return &t->others;
}

bool dump_team_failed(const struct dump_team *t)
{
	return t->theirs;
}
