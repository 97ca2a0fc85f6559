/* The root of the mount: README.txt and a directory for each cluster.
 *
 * Invariant: README.txt does not depend on the repository, so that it can be read when nothing else can. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fs/fs.h"
#include "fs/listing.h"
#include "src/base/clock.h"

#define README "README.txt"
#define FIRST_CLUSTER 1 /* position; README.txt has 0 */

static const char readme[] =
	"This is a pgstrata repository, mounted. Every PostgreSQL backup in it is a directory, and "
	"so is\n"
	"every point in time:\n"
	"\n"
	"    <cluster>/backups/<time of the backup's end, UTC>/data\n"
	"    <cluster>/backups/latest                  the newest one\n"
	"    <cluster>/dumps/<database>/<time>/        a dump as pg_restore or psql takes it, and its tables "
	"as files\n"
	"    <cluster>/globals/<time>.sql              roles and tablespaces (pg_dumpall --globals-only)\n"
	"    <cluster>/wal/                            the archived WAL\n"
	"    <cluster>/at/<point in time>/data         a backup that recovers to just then when it is "
	"started\n"
	"    <cluster>/open/<name>/data                a branch, which a server runs on (pgstrata open): it "
	"can be\n"
	"                                              written, and none of that goes to the repository\n"
	"\n"
	"Nothing here can be damaged by reading it, and nothing but branches can be changed.\n"
	"\n"
	"Somebody dropped a table at 14:15? A copy of one second before that, started beside the server:\n"
	"\n"
	"    cp -a \"main/at/2026-11-20 14:14:59+01/data\" /var/lib/postgresql/before\n"
	"    pg_ctl -D /var/lib/postgresql/before -o \"-p 5433 -c archive_mode=off\" start\n"
	"    pg_dump -p 5433 -t the_table mydb | psql mydb\n"
	"\n"
	"The mount must stay until recovery has ended: it reads its WAL from here. Other points in time: "
	"latest,\n"
	"lsn-0-3000148, xid-4711, name-<restore point>, each with @<timeline> behind it if need be; \"ls "
	"main/at\"\n"
	"shows some. One that is not there cannot be reached: \"pgstrata show-target\" says why, and so does "
	"the log\n"
	"of the mount.\n"
	"\n"
	"More things people do:\n"
	"\n"
	"    ls main/backups\n"
	"    cat main/backups/latest/info.json         versions, sizes, WAL positions\n"
	"    cp -a main/backups/latest/data /var/lib/postgresql/restored\n"
	"                                              a restore; then pg_ctl start on the copy\n"
	"    cp -a main/backups/latest/data/postgresql.conf /tmp\n"
	"                                              one file of it\n"
	"    restore_command = 'cp /where/this/is/main/wal/%f %p'\n"
	"                                              for a standby or a recovery of one's own\n"
	"    pg_restore -j 4 -d new main/dumps/shop/latest/dump.pgdump\n"
	"    grep 4711 main/dumps/shop/*/tables/public.orders.copy\n"
	"                                              a dump restored; a row in all dumps of a table\n"
	"    diff -rq main/backups/A/data main/backups/B/data\n"
	"                                              what changed between two backups\n"
	"\n"
	"A backup with tablespaces has them in backups/<id>/tablespaces/<oid>, where the links in "
	"data/pg_tblspc\n"
	"lead; copy them too (or let \"pgstrata restore\" do it) and set the links to the copies.\n"
	"\n"
	"Files belong to whom they belonged on the server. A private mount lets its owner read them all; "
	"with\n"
	"-o allow_other everybody sees the mount and the files' own permissions hold. \"pgstrata umount\" "
	"ends it.\n";

struct ns_root {
	struct ns_object obj;
	struct listing clusters;
	struct tstamp born;
};

static int fetch(void *arg, struct listing *l, struct err *e);
static int make(void *arg, const char *name, uint32_t position, struct ns_object **ret, struct err *e);

static struct listing_source source_of(struct ns_root *t)
{
	return (struct listing_source){.fetch = fetch, .make = make, .arg = t};
}

static int fetch(void *arg, struct listing *l, struct err *e)
{
	struct ns_root *t = arg;
	const struct listing_source src = source_of(t);
	char **names = NULL;
	int r = store_clusters(t->obj.fs->store, &names, e);

	for (size_t i = 0; r >= 0 && names[i]; i++)
		if (strcmp(names[i], README)) /* allowed as a cluster's name, but taken */
			r = listing_put(l, &src, names[i], e);
	strv_free(names);
	return r;
}

static int make(void *arg, const char *name, uint32_t position, struct ns_object **ret, struct err *e)
{
	struct ns_root *t = arg;

	return ns_cluster_new(t->obj.fs, name, INODE_ROOT, position + FIRST_CLUSTER, ret, e);
}

/* The clusters as they are now, or as they were when the repository does not answer. */
static void update(struct ns_root *t)
{
	const struct listing_source src = source_of(t);
	struct err e = {0};

	if (listing_refresh(&t->clusters, &src, &e) < 0)
		complain(t->obj.fs->complaints, "list of clusters", &e);
}

static void self(struct ns_object *o, struct node *ret)
{
	struct ns_root *t = (struct ns_root *)o;

	*ret = ns_made_dir(o, INODE_ROOT, INODE_ROOT, 0);
	ret->mtime = t->born.sec;
	ret->mtime_ns = t->born.nsec;
}

static struct node readme_node(struct ns_root *t)
{
	struct node n;

	self(&t->obj, &n);
	n.ino = INODE_README;
	n.type = ENTRY_FILE;
	n.mode = 0444;
	n.flags = NODE_INLINED;
	n.size = sizeof(readme) - 1;
	n.stored = 0;
	return n;
}

static void cluster_node(struct ns_object *cluster, struct node *ret)
{
	cluster->ops->self(cluster, ret);
	ret->flags |= NODE_BRIEF_NAME;
}

static int lookup(
	struct ns_object *o, const struct node *dir, const char *name, struct node *ret, struct err *e)
{
	struct ns_root *t = (struct ns_root *)o;
	struct ns_object *cluster;

	(void)dir;
	if (!strcmp(name, README)) {
		*ret = readme_node(t);
		return 0;
	}
	update(t);
	cluster = listing_find(&t->clusters, name);
	if (!cluster)
		return err_set(e, -ENOENT, "no cluster %s", name);
	cluster_node(cluster, ret);
	return 0;
}

static int list(struct ns_object *o, const struct node *dir, uint64_t position, ns_emit *emit, void *arg,
	struct err *e)
{
	struct ns_root *t = (struct ns_root *)o;
	const struct listing_item *it;
	struct node n;
	int r;

	(void)dir;
	(void)e;
	update(t);
	if (position < FIRST_CLUSTER) {
		n = readme_node(t);
		r = emit(arg, README, FIRST_CLUSTER, &n);
		if (r)
			return r;
		position = FIRST_CLUSTER;
	}
	for (uint64_t i = position - FIRST_CLUSTER; (it = listing_at(&t->clusters, &i)); i++) {
		cluster_node(it->obj, &n);
		r = emit(arg, it->name, i + 1 + FIRST_CLUSTER, &n);
		if (r)
			return r;
	}
	return 0;
}

static int open_readme(struct ns_object *o, const struct node *n, struct file **ret, struct err *e)
{
	const struct content c = {.size = sizeof(readme) - 1, .inlined = (const uint8_t *)readme};

	(void)n;
	return file_open(o->fs->store, &c, ret, e);
}

static char *path(struct ns_object *o, const struct node *n)
{
	(void)o;
	return strdup(n->ino == INODE_README ? README : "");
}

static void root_free(struct ns_object *o)
{
	struct ns_root *t = (struct ns_root *)o;

	listing_release(&t->clusters);
	free(t);
}

static const struct ns_ops root_ops = {
	.name = "root",
	.self = self,
	.lookup = lookup,
	.list = list,
	.open = open_readme,
	.path = path,
	.free = root_free,
};

int ns_root_new(struct fs *fs, struct ns_object **ret, struct err *e)
{
	struct ns_root *t = calloc(1, sizeof(*t));

	if (!t)
		return err_set(e, -ENOMEM, "no memory for the mount");
	t->obj = (struct ns_object){.ops = &root_ops, .fs = fs};
	t->born = clock_now();
	listing_init(&t->clusters);
	*ret = &t->obj;
	return 0;
}
