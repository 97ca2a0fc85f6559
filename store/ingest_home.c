/* Where a file was in the snapshots before: what it is stored by the difference to. See ingest_priv.h. */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/clean.h"
#include "store/ingest_priv.h"
#include "store/rope.h"

/* The directory of a path in each parent. Files come directory by directory, so the way down is kept. */
static int find_dirs(struct ingest *in, const char *path, struct dir_ref ret[INGEST_PARENTS])
{
	const char *slash = strrchr(path, '/');
	_cleanup_(freep) char *dir = strndup(path, slash ? (size_t)(slash - path) : 0);

	if (!dir)
		return -ENOMEM;
	pthread_mutex_lock(&in->at_lock);
	if (!in->at || strcmp(in->at, dir)) {
		for (unsigned i = 0; i < in->n_parents; i++) {
			_cleanup_(freep) struct entry *en = NULL;

			/* An unreadable parent is no reference: the file is then stored by itself. */
			in->at_parent[i] = (struct dir_ref){0};
			if (!*dir)
				in->at_parent[i] = in->parents[i]->root;
			else if (tree_find(in->store, &in->parents[i]->root, dir, &en, NULL) == 0 &&
				 en->type == ENTRY_DIR)
				in->at_parent[i] = en->dir;
		}
		free(in->at);
		in->at = MOVE(dir);
	}
	memcpy(ret, in->at_parent, sizeof(in->at_parent));
	pthread_mutex_unlock(&in->at_lock);
	return 0;
}

bool ingest_home(struct ingest *in, const char *path, ingest_take_fn *take, void *arg)
{
	const char *slash = strrchr(path, '/');
	struct dir_ref dirs[INGEST_PARENTS];

	if (!in->n_parents || find_dirs(in, path, dirs) < 0)
		return false;
	for (unsigned i = 0; i < in->n_parents; i++) {
		_cleanup_(freep) struct entry *en = NULL;

		if (tree_lookup(in->store, &dirs[i], slash ? slash + 1 : path, &en, NULL) == 0 &&
			en->type == ENTRY_FILE && en->file.size && take(arg, &en->file))
			return true;
	}
	return false;
}

static bool take_rope(void *arg, const struct content *c)
{
	struct content *ret = arg;

	if (!content_is_rope(c))
		return false;
	*ret = *c;
	return true;
}

int ingest_home_rope(struct ingest *in, const char *path, struct content *ret)
{
	return ingest_home(in, path, take_rope, ret) ? 0 : -ENOENT;
}
