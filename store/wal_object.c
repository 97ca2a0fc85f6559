/* Names of the WAL archive's objects. See wal_object.h. */
#include "store/wal_object.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "store/store.h"
#include "store/wal.h"

bool wal_object_name_is_safe(const char *name)
{
	size_t n = strlen(name);

	return n > 0 && n <= WAL_FILE_NAME_MAX && *name != '.' && *name != '-' && *name != '_' &&
	       strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-") == n;
}

/* A segment's group is its timeline and the upper half of its number (256 segments of 16 MiB); that of a
 * short name is the timeline and the dot after it, which sorts before that timeline's segments as the name
 * itself does. */
static size_t group_len(const char *name)
{
	size_t n = strlen(name), want = n >= 24 ? 16 : 9;

	return n < want ? n : want;
}

int wal_object_name(
	char out[WAL_OBJECT_NAME], const char *tree, const char *cluster, const char *name, struct err *e)
{
	int r = store_check_cluster_name(cluster, e);

	if (r < 0)
		return r;
	if (!wal_object_name_is_safe(name))
		return err_set(e, -EINVAL, "\"%.80s\" cannot name a file of the WAL archive", name);
	snprintf(out, WAL_OBJECT_NAME, "%s/%s/%.*s/%s", tree, cluster, (int)group_len(name), name, name);
	return 0;
}
