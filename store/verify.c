/* Verify: which objects there are, which of them are read in this run, and the order of the passes. See verify.h. */
#include "store/verify.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/clean.h"
#include "store/verify_priv.h"

#define FUTILE 48 /* from so many fruitless looks in a row on, one a second */

void verify_fail(struct verify *v, int r, const struct err *e)
{
	pthread_mutex_lock(&v->lock);
	if (!v->r) {
		v->r = r;
		v->e = *e;
	}
	pthread_mutex_unlock(&v->lock);
}

int verify_look_again(struct verify *v, struct repo_search *s, bool gone, struct err *e)
{
	uint64_t now = clock_mono_ns();
	int r = 0;

	if (!repo_search_on(s, gone))
		return 0;
	pthread_mutex_lock(&v->refreshing);
	if (gone || v->futile < FUTILE || now - v->refreshed_ns > 1000000000) {
		r = store_refresh(v->s, e);
		v->refreshed_ns = now;
		v->futile += !gone;
		r = r < 0 ? r : 1;
	}
	pthread_mutex_unlock(&v->refreshing);
	return r;
}

void verify_found(struct verify *v)
{
	pthread_mutex_lock(&v->refreshing);
	v->futile = 0;
	pthread_mutex_unlock(&v->refreshing);
}

void verify_unused(struct verify *v, const char *object, const char *why)
{
	struct verify_finding f = {.kind = VERIFY_UNUSED, .object = object, .why = why};

	pthread_mutex_lock(&v->lock);
	v->report.unused++;
	v->fn(v->arg, &f);
	pthread_mutex_unlock(&v->lock);
}

void verify_damaged(
	struct verify *v, const char *object, const struct digest *chunk, bool base, const char *why)
{
	char hex[DIGEST_HEX];
	struct verify_finding f = {
		.kind = VERIFY_OBJECT,
		.object = object,
		.chunk = chunk ? digest_hex(chunk, hex) : NULL,
		.why = why,
		.base = base,
	};

	pthread_mutex_lock(&v->lock);
	v->report.damaged++;
	v->report.lost += !strncmp(object, "wal/", 4) || !strncmp(object, "walpart/", 8);
	if (chunk && digestset_add(&v->bad, chunk) < 0 && !v->r)
		v->r = err_sys(&v->e, -ENOMEM, "verify");
	v->fn(v->arg, &f);
	pthread_mutex_unlock(&v->lock);
}

static int by_name(const void *a, const void *b)
{
	return strcmp(((const struct verify_unit *)a)->name, ((const struct verify_unit *)b)->name);
}

struct verify_unit *verify_unit_find(struct verify *v, const char *name)
{
	struct verify_unit key = {.name = (char *)name};

	return bsearch(&key, v->units, v->n_units, sizeof(key), by_name);
}

bool verify_is_wanted(const struct verify *v, const char *name)
{
	size_t n = v->o->cluster ? strlen(v->o->cluster) : 0;

	const char *cluster = strchr(name, '/') + 1;

	return !n || !strncmp(name, "packs/", 6) ||
	       (!strncmp(cluster, v->o->cluster, n) && cluster[n] == '/');
}

static int add_unit(void *arg, const char *name, const struct object_info *info)
{
	struct verify *v = arg;

	if (!verify_is_wanted(v, name))
		return 0;
	if (v->n_units == v->cap_units) {
		size_t cap = v->cap_units ? 2 * v->cap_units : 256;
		struct verify_unit *u = realloc(v->units, cap * sizeof(*u));

		if (!u)
			return -ENOMEM;
		v->units = u;
		v->cap_units = cap;
	}
	v->units[v->n_units] = (struct verify_unit){
		.name = strdup(name),
		.size = info->size,
		.wanted = !v->o->since.sec || tstamp_cmp(info->put, v->o->since) >= 0,
	};
	if (!v->units[v->n_units].name)
		return -ENOMEM;
	v->n_units++;
	return 0;
}

static int collect(struct verify *v, struct err *e)
{
	int r = backend_list(v->s->backend, "packs", add_unit, v, e);

	if (!r)
		r = backend_list(v->s->backend, "wal", add_unit, v, e);
	if (!r)
		r = backend_list(v->s->backend, "walnote", add_unit, v, e);
	if (!r)
		r = backend_list(v->s->backend, "walpart", add_unit, v, e);
	if (r == -ENOMEM)
		err_sys(e, r, "verify");
	if (!r && v->n_units)
		qsort(v->units, v->n_units, sizeof(*v->units), by_name);
	v->report.objects = v->n_units;
	return r;
}

static int by_age(const void *a, const void *b)
{
	const struct verify_unit *x = *(struct verify_unit *const *)a, *y = *(struct verify_unit *const *)b;

	if (x->verified != y->verified)
		return x->verified < y->verified ? -1 : 1;
	return by_name(x, y);
}

/* What was read longest ago, until the share is full. */
static int choose_slice(struct verify *v, uint64_t total, struct err *e)
{
	_cleanup_(freep) struct verify_unit **order = calloc(v->n_units + 1, sizeof(struct verify_unit *));
	double share = v->o->slice * (double)total, have = 0;

	if (!order)
		return err_sys(e, -ENOMEM, "verify");
	for (size_t i = 0; i < v->n_units; i++)
		order[i] = &v->units[i];
	qsort(order, v->n_units, sizeof(struct verify_unit *), by_age);
	for (size_t i = 0; i < v->n_units; i++) {
		if (order[i]->wanted && have >= share)
			order[i]->wanted = false;
		have += order[i]->wanted ? (double)order[i]->size : 0;
	}
	return 0;
}

/* Marks the units of this run. */
static int choose(struct verify *v, struct err *e)
{
	uint64_t total = 0;
	int r = 0;

	for (size_t i = 0; i < v->n_units; i++)
		total += v->units[i].wanted ? v->units[i].size : 0;
	if (!r && v->o->slice > 0 && v->o->slice < 1)
		r = choose_slice(v, total, e);
	total = 0;
	for (size_t i = 0; i < v->n_units; i++)
		total += v->units[i].wanted ? v->units[i].size : 0;
	meter_total(v->o->meter, total);
	return r;
}

/* What has snapshots or WAL has a binding. */
static int check_bound(void *arg, const char *name, const struct object_info *info)
{
	struct verify *v = arg;
	struct object_info found;
	char object[100];

	(void)info;
	snprintf(object, sizeof(object), "clusters/%.80s", name);
	if (backend_stat(v->s->backend, object, &found, NULL) == -ENOENT)
		verify_damaged(v, object, NULL, false,
			"it is missing: which system the cluster is of is not known any more");
	return 0;
}

static int found_one(void *arg, const char *name, const struct object_info *info)
{
	(void)name;
	(void)info;
	*(bool *)arg = true;
	return 0;
}

/* Dumps are of no system that could be told, so a cluster that has nothing else needs no identity. */
static int check_bound_base(void *arg, const char *name, const struct object_info *info)
{
	struct verify *v = arg;
	char bases[100];
	bool any = false;
	int r;

	snprintf(bases, sizeof(bases), "snapshots/%.80s/base", name);
	r = backend_list(v->s->backend, bases, found_one, &any, NULL);
	return r < 0 || !any ? r : check_bound(arg, name, info);
}

static int check_clusters(struct verify *v, struct err *e)
{
	char **names;
	int r = backend_folders(v->s->backend, "snapshots", check_bound_base, v, e);

	if (!r)
		r = backend_folders(v->s->backend, "wal", check_bound, v, e);
	if (!r)
		r = store_clusters(v->s, &names, e);

	if (r < 0)
		return r;
	for (char **n = names; *n; n++) {
		_cleanup_(freep) char *identity = NULL;
		struct err why = {0};
		char object[100];

		r = store_cluster_identity(v->s, *n, &identity, &why);
		snprintf(object, sizeof(object), "clusters/%s", *n);
		if (r < 0 && r != -ENOMEM && r != -ENOENT)
			verify_damaged(v, object, NULL, false, why.text);
	}
	strv_free(names);
	return 0;
}

/* Damaged records that no walk met. Not told of a run that did not walk all. */
static void tell_unused(struct verify *v)
{
	if (v->o->cluster || v->o->since.sec)
		return;
	for (size_t i = 0; i < v->bad.cap; i++) {
		char hex[DIGEST_HEX];
		struct verify_finding f = {
			.kind = VERIFY_UNUSED, .object = "", .chunk = hex, .why = "no snapshot needs it"};

		if (digest_is_zero(&v->bad.slots[i]) || digestset_has(&v->used, &v->bad.slots[i]))
			continue;
		digest_hex(&v->bad.slots[i], hex);
		v->report.unused++;
		v->fn(v->arg, &f);
	}
}

static int check(struct verify *v, struct err *e)
{
	/* Snapshots that appear from here on may need packs that were not listed: those are looked for again. */
	int r = store_refresh(v->s, e), saved;

	if (!r)
		r = collect(v, e);
	if (!r && v->o->state)
		r = verify_state_load(v, e);
	if (!r && v->o->state)
		r = verify_gone(v, e);
	if (!r)
		r = choose(v, e);
	if (!r)
		r = check_clusters(v, e);
	if (!r)
		r = verify_objects(v, e);
	if (v->o->state && !v->o->quick && (!r || r == -EINTR)) {
		saved = verify_state_save(v, r ? NULL : e);
		r = r ? r : saved;
	}
	if (!r)
		r = verify_trees(v, e);
	if (!r)
		tell_unused(v);
	return r;
}

int store_verify(struct store *s, const struct verify_options *o, verify_fn *fn, void *arg,
	struct verify_report *ret, struct err *e)
{
	struct verify v = {.s = s, .o = o, .fn = fn, .arg = arg};
	int r;

	pthread_mutex_init(&v.lock, NULL);
	pthread_mutex_init(&v.refreshing, NULL);
	r = check(&v, e);
	if (!r && v.r) {
		r = v.r;
		if (e)
			*e = v.e;
	}
	for (size_t i = 0; i < v.n_units; i++) {
		v.report.objects_read += v.units[i].done;
		free(v.units[i].name);
	}
	free(v.units);
	verify_seen_release(&v);
	digestset_release(&v.bad);
	digestset_release(&v.used);
	pthread_mutex_destroy(&v.lock);
	pthread_mutex_destroy(&v.refreshing);
	*ret = v.report;
	return r;
}
