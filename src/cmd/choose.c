/* Snapshots by what the user calls them. See choose.h. */
#include "src/cmd/choose.h"

#include <errno.h>
#include <string.h>

#include "src/base/clean.h"

CLEANUP_DEFINE(struct snapshot, snapshot_free)
CLEANUP_DEFINE(char *, strv_free)

int cmd_check_cluster(struct store *s, const char *cluster, struct err *e)
{
	_cleanup_(strv_freep) char **names = NULL;
	int r = store_clusters(s, &names, e);

	for (size_t i = 0; !r && names[i]; i++)
		if (!strcmp(names[i], cluster))
			return 0;
	return r < 0 ? r : err_set(e, -ENOENT, "there is no cluster \"%s\" in the repository", cluster);
}

/* Ids are one of their kind only: two kinds can have one of the same second. */
static int check_single(struct store *s, const char *cluster, const char *id, struct err *e)
{
	_cleanup_(snapshot_list_free) struct snapshot_list l = {0};
	const struct snapshot_ref *first = NULL;
	int r = snapshot_list(s, cluster, 0, &l, e);

	for (size_t i = 0; !r && i < l.n; i++) {
		if (strcmp(id, l.refs[i].id) != 0)
			continue;
		if (first)
			r = err_set(e, -EINVAL,
				"cluster \"%s\" has two snapshots %s, one of kind %s and one of kind %s: say "
				"which with --kind",
				cluster, id, snapshot_kind_name(first->kind),
				snapshot_kind_name(l.refs[i].kind));
		first = &l.refs[i];
	}
	return r;
}

int cmd_choose(struct store *s, const char *cluster, const char *id, enum snapshot_kind kind,
	const char *database, struct snapshot **ret, struct err *e)
{
	_cleanup_(snapshot_list_free) struct snapshot_list l = {0};
	bool latest = !strcmp(id, "latest");
	int r = kind || latest || database ? 0 : check_single(s, cluster, id, e);

	if (r < 0)
		return r;
	if (!database)
		return snapshot_resolve(s, cluster, !kind && latest ? SNAPSHOT_BASE : kind, id, ret, e);
	r = snapshot_list(s, cluster, SNAPSHOT_DUMP, &l, e);
	for (size_t i = l.n; !r && i-- > 0;) {
		_cleanup_(snapshot_freep) struct snapshot *snap = NULL;
		const struct property *p;

		if (!latest && strcmp(id, l.refs[i].id) != 0)
			continue;
		r = snapshot_load(s, cluster, SNAPSHOT_DUMP, l.refs[i].id, &snap, e);
		if (r == -ENOENT) { /* pruned since it was listed */
			r = 0;
			continue;
		}
		if (r < 0)
			return r;
		p = snapshot_get(snap, "database");
		if (p && p->type == PROPERTY_TEXT && !strcmp(p->text, database)) {
			*ret = MOVE(snap);
			return 0;
		}
	}
	return r < 0 ? r
		     : err_set(e, -ENOENT,
			       "cluster \"%s\" has no dump %s of database \"%s\" (see: pgstrata list)",
			       cluster, id, database);
}
