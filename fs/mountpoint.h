/* Mount points: what is mounted where, what may become one, and taking a mount away. No FUSE library here. */
#pragma once

#include "src/base/err.h"

#define MOUNT_SUBTYPE "pgstrata"
#define MOUNT_FSTYPE "fuse." MOUNT_SUBTYPE

/* One line of /proc/self/mountinfo (proc(5)). */
struct mountpoint {
	unsigned dev_major, dev_minor;
	char *path, *fstype, *source;
};
void mountpoint_release(struct mountpoint *m); /* fine on a zeroed one */

/* Reads one line; fields after the path are unescaped. -EINVAL for what is none. */
int mountpoint_parse(const char *line, struct mountpoint *ret, struct err *e);

/* What is mounted exactly at `path` (absolute, without symlinks), the topmost if there are several. -ENOENT.
 */
int mountpoint_find(const char *path, struct mountpoint *ret, struct err *e);

/* The absolute path of a mount point without symlinks, also when the mount there is dead. free() it. -errno.
 */
int mountpoint_resolve(const char *path, char **ret, struct err *e);

/* 0 when the repository `repo` can be mounted on `path` (both from mountpoint_resolve or realpath): a
 * directory, empty, with nothing mounted on it, not in the repository and not holding it. Each refusal says
 * which. */
int mountpoint_check(const char *path, const char *repo, struct err *e);

/* Unmounts ours at `path` and waits until its daemon has ended. -EINVAL: not a mount of ours; -EBUSY: in use;
 * -ETIMEDOUT: unmounted, but the daemon is still there. */
int mountpoint_unmount(const char *path, struct err *e);
