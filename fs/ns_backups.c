/* backups/ of a cluster: a directory for each base backup, and `latest`. */
#include "fs/ns_names.h"

static int fetch(void *arg, struct listing *l, struct err *e)
{
	struct ns_names *d = arg;
	const struct listing_source src = ns_names_source(d);
	struct snapshot_list ids = {0};
	int r = snapshot_list(d->obj.fs->store, d->cluster, SNAPSHOT_BASE, &ids, e);

	for (size_t i = 0; r >= 0 && i < ids.n; i++)
		r = listing_put(l, &src, ids.refs[i].id, e);
	snapshot_list_free(&ids);
	return r;
}

static int make(void *arg, const char *name, uint32_t position, struct ns_object **ret, struct err *e)
{
	struct ns_names *d = arg;

	return ns_snapshot_new(
		d->obj.fs, d->cluster, SNAPSHOT_BASE, name, d->ino, ns_names_position(d, position), ret, e);
}

static const struct ns_names_kind backups = {
	.folder = "backups",
	.what = "backup",
	.latest = true,
	.fetch = fetch,
	.make = make,
	.same = ns_snapshot_same,
};

int ns_backups_new(struct fs *fs, const char *cluster, uint64_t parent, uint32_t position,
	struct ns_object **ret, struct err *e)
{
	struct ns_names *d;
	int r = ns_names_new(fs, &backups, sizeof(*d), cluster, NULL, parent, position, &d, e);

	if (r >= 0)
		*ret = &d->obj;
	return r;
}
