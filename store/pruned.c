/* See pruned.h. */
#include "store/pruned.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "src/base/clean.h"
#include "src/base/clock.h"
#include "store/repo.h"

#define FOLDER "pruned/"
#define NAME_BYTES 400
#define CLUSTER_BYTES 100
#define TIMELINE 8 /* digits at the start of the name of a segment */
#define EXPIRES_S (396 * INT64_C(86400))

static const char text[] = "pgstrata-pruned 1\n";

static int put(struct store *s, const char *name, struct err *e)
{
	int r = backend_put(s->backend, name, text, sizeof(text) - 1, e);

	return r == -EEXIST ? 0 : r;
}

int pruned_put_snapshot(struct store *s, const struct snapshot_ref *ref, struct err *e)
{
	char object[REPO_SNAPSHOT_NAME];

	return pruned_put_object(s, repo_snapshot_name(object, ref->cluster, ref->kind, ref->id), e);
}

int pruned_put_wal(struct store *s, const char *cluster, const char *first, const char *last, struct err *e)
{
	char name[NAME_BYTES];

	snprintf(name, sizeof(name), FOLDER "%s/wal/%s-%s", cluster, first, last);
	return put(s, name, e);
}

/* "wal/CLUSTER/GROUP/NAME" to its cluster and name. */
static bool wal_object(const char *object, char cluster[CLUSTER_BYTES], const char **ret_name)
{
	const char *c = object + strlen("wal/"), *slash = strchr(c, '/'), *name = strrchr(object, '/');

	if (strncmp(object, "wal/", 4) != 0 || !slash || name == slash || slash - c >= CLUSTER_BYTES)
		return false;
	snprintf(cluster, CLUSTER_BYTES, "%.*s", (int)(slash - c), c);
	*ret_name = name + 1;
	return true;
}

int pruned_put_object(struct store *s, const char *object, struct err *e)
{
	char cluster[CLUSTER_BYTES], name[NAME_BYTES];
	const char *wal;

	if (wal_object(object, cluster, &wal))
		return pruned_put_wal(s, cluster, wal, wal, e);
	if (strncmp(object, "snapshots/", 10) != 0)
		return 0;
	snprintf(name, sizeof(name), FOLDER "%s", object + 10);
	return put(s, name, e);
}

struct search {
	const char *name;
	bool found;
};

/* "pruned/CLUSTER/wal/FIRST-LAST" */
static int on_range(void *arg, const char *object, const struct object_info *info)
{
	struct search *q = arg;
	const char *first = strrchr(object, '/') + 1, *dash = strchr(first, '-');
	size_t n = strlen(q->name), len = dash ? (size_t)(dash - first) : 0;

	(void)info;
	if (!dash || strncmp(q->name, first, n < TIMELINE ? n : TIMELINE) != 0)
		return 0;
	/* first <= name <= last */
	q->found = q->found || (strncmp(q->name, first, len) >= 0 && strcmp(q->name, dash + 1) <= 0);
	return 0;
}

int pruned_has(struct store *s, const char *object, struct err *e)
{
	char cluster[CLUSTER_BYTES], name[NAME_BYTES];
	struct object_info info;
	struct search q = {0};
	int r;

	if (wal_object(object, cluster, &q.name)) {
		snprintf(name, sizeof(name), FOLDER "%s/wal", cluster);
		r = backend_list(s->backend, name, on_range, &q, e);
		return r < 0 ? r : q.found;
	}
	if (strncmp(object, "snapshots/", 10) != 0)
		return 0;
	snprintf(name, sizeof(name), FOLDER "%s", object + 10);
	r = backend_stat(s->backend, name, &info, e);
	return r == -ENOENT ? 0 : r < 0 ? r : 1;
}

struct expiry {
	struct store *s;
	int64_t before;
};

static int expire(void *arg, const char *name, const struct object_info *info)
{
	struct expiry *x = arg;
	int r = info->put.sec < x->before ? backend_remove(x->s->backend, name, NULL) : 0;

	return r == -ENOENT ? 0 : r;
}

int pruned_expire(struct store *s, struct err *e)
{
	struct expiry x = {s, clock_now().sec - EXPIRES_S};
	int r = backend_list(s->backend, "pruned", expire, &x, e);

	return r < 0 && e && !e->code ? err_sys(e, r, "removing old marks of removals") : r;
}
