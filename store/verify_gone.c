/* What was seen by an earlier verify, is not there any more, and was not removed by anybody who says so. See verify.h. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/clean.h"
#include "store/pruned.h"
#include "store/verify_priv.h"

int verify_seen_add(struct verify *v, const char *name, int64_t at)
{
	if (v->n_seen == v->cap_seen) {
		size_t cap = v->cap_seen ? 2 * v->cap_seen : 64;
		struct verify_seen *more = reallocarray(v->seen, cap, sizeof(*more));

		if (!more)
			return -ENOMEM;
		v->seen = more;
		v->cap_seen = cap;
	}
	v->seen[v->n_seen].at = at;
	v->seen[v->n_seen].name = strdup(name);
	return v->seen[v->n_seen].name ? (int)(v->n_seen++, 0) : -ENOMEM;
}

void verify_seen_release(struct verify *v)
{
	for (size_t i = 0; i < v->n_seen; i++)
		free(v->seen[i].name);
	free(v->seen);
}

int verify_tell_gone(verify_fn *fn, void *arg, const char *object, const char *why)
{
	_cleanup_(freep) char *parts = strdup(object);
	struct verify_finding f = {.kind = VERIFY_LOST, .object = object, .path = "", .why = why};
	char *save = NULL;

	if (!parts)
		return -ENOMEM;
	f.snapshot_kind = strtok_r(parts, "/", &save);
	f.cluster = strtok_r(NULL, "/", &save);
	if (!strncmp(object, "snapshots/", 10))
		f.snapshot_kind = strtok_r(NULL, "/", &save);
	if (!f.cluster || !f.snapshot_kind)
		return 0;
	f.snapshot = strrchr(object, '/') + 1;
	fn(arg, &f);
	return 0;
}

#define STILL 2

/* STILL: it is there; 1: it is gone, and nothing says why; 0: it was taken away. */
static int is_missing(struct verify *v, const char *name, struct err *e)
{
	_cleanup_(freep) char *kept = NULL;
	struct object_info info;
	int r = backend_stat(v->s->backend, name, &info, e);

	if (r != -ENOENT)
		return r < 0 ? r : STILL;
	/* A repair put it there, and told. */
	if (asprintf(&kept, "quarantine/%s", name) < 0)
		return err_sys(e, -ENOMEM, "verify");
	r = backend_stat(v->s->backend, kept, &info, e);
	if (r != -ENOENT)
		return r;
	r = pruned_has(v->s, name, e);
	return r < 0 ? r : !r;
}

static int by_name(const void *a, const void *b)
{
	return strcmp(((const struct verify_seen *)a)->name, ((const struct verify_seen *)b)->name);
}

/* Snapshots that are there now. */
static int see_snapshots(struct verify *v, struct err *e)
{
	struct snapshot_list l = {0};
	size_t known = v->n_seen;
	int64_t now = clock_now().sec;
	int r = snapshot_list(v->s, v->o->cluster, 0, &l, e);

	if (known)
		qsort(v->seen, known, sizeof(*v->seen), by_name);
	for (size_t i = 0; i < l.n && !r; i++) {
		char name[REPO_SNAPSHOT_NAME];
		struct verify_seen key = {.name = repo_snapshot_name(
						  name, l.refs[i].cluster, l.refs[i].kind, l.refs[i].id)},
				   *s = known ? bsearch(&key, v->seen, known, sizeof(key), by_name) : NULL;

		if (s)
			s->at = now;
		else if (verify_seen_add(v, name, now) < 0)
			r = err_sys(e, -ENOMEM, "verify");
	}
	snapshot_list_free(&l);
	return r;
}

int verify_gone(struct verify *v, struct err *e)
{
	struct err mine = {0};
	size_t n = 0;
	int r = see_snapshots(v, &mine);

	for (size_t i = 0; i < v->n_seen; i++) {
		struct verify_seen *seen = &v->seen[i];
		char when[TSTAMP_TEXT], why[120];
		bool keep = r < 0 || !verify_is_wanted(v, seen->name);
		int missing = keep ? 0 : is_missing(v, seen->name, &mine);

		if (missing < 0)
			r = missing;
		keep = keep || missing;
		if (missing == 1) {
			snprintf(why, sizeof(why), "it was there at %s, and nobody who removed it says so",
				tstamp_rfc3339((struct tstamp){.sec = seen->at}, when));
			v->report.lost++;
			r = verify_tell_gone(v->fn, v->arg, seen->name, why);
		}
		if (keep)
			v->seen[n++] = *seen;
		else
			free(seen->name);
	}
	v->n_seen = n;
	return r < 0 ? err_set(e, r, "%s", mine.code ? mine.text : "verify: out of memory") : 0;
}
