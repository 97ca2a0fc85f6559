/* WAL files into the archive and out of it. See archive.h. */
#include "src/capture/archive.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "src/base/clean.h"
#include "src/base/io.h"
#include "src/pg/backup_label.h"
#include "src/pg/lsn.h"
#include "src/pg/wal_page.h"
#include "store/file.h"
#include "store/wal.h"

#define PARTIAL ".partial"
#define HISTORY ".history"
#define HISTORY_DIGITS 8

CLEANUP_DEFINE(struct file, file_free)

/* Segments and partial ones: 24 digits lead. */
static bool is_segment(const char *name)
{
	return strlen(name) >= WAL_NAME_LEN && wal_name_looks(name, WAL_NAME_LEN) &&
	       (!name[WAL_NAME_LEN] || !strcmp(name + WAL_NAME_LEN, PARTIAL));
}

static bool is_timeline_history(const char *name)
{
	return strlen(name) == HISTORY_DIGITS + strlen(HISTORY) &&
	       strspn(name, "0123456789ABCDEF") == HISTORY_DIGITS && !strcmp(name + HISTORY_DIGITS, HISTORY);
}

/* A segment says whose it is; it must be this cluster's, and of the size it says. */
static int check_segment(struct store *s, const char *cluster, const char *path, const char *name, int fd,
	uint64_t size, struct err *e)
{
	_cleanup_(freep) char *bound = NULL;
	uint8_t head[WAL_PAGE_HEAD_LONG];
	struct wal_segment seg;
	char identity[24];
	ssize_t n = io_pread(fd, head, sizeof(head), 0);
	int r;

	if (n < 0)
		return err_sys(e, (int)n, "reading %s", path);
	r = wal_segment_check(head, (size_t)n, name, strlen(name), 0, &seg, e);
	if (r < 0)
		return err_wrap(e, r, "%s is not archived", path);
	if (size != seg.segment_size)
		return err_set(e, -EBADMSG, "%s is not archived: it has %llu bytes, but its header says %u",
			path, (unsigned long long)size, seg.segment_size);
	snprintf(identity, sizeof(identity), "%llu", (unsigned long long)seg.system_identifier);
	/* Asked first, so that a read-only look is all that the usual call costs. */
	r = store_cluster_identity(s, cluster, &bound, NULL);
	if (r == 0 && !strcmp(bound, identity))
		return 0;
	r = store_bind_cluster(s, cluster, identity, e);
	return r < 0 ? err_wrap(e, r, "%s is not archived", path) : 0;
}

int capture_archive_push(
	struct store *s, const char *cluster, const char *path, bool *ret_known, struct err *e)
{
	const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
	/* O_NONBLOCK: a fifo must not hang the archiver. */
	_cleanup_(closep) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	struct stat st;
	int r;

	if (fd < 0)
		return err_sys(e, -errno, "%s", path);
	if (fstat(fd, &st) < 0)
		return err_sys(e, -errno, "%s", path);
	if (!S_ISREG(st.st_mode))
		return err_set(e, -EINVAL, "%s is not a regular file", path);
	if (is_segment(name)) {
		r = check_segment(s, cluster, path, name, fd, (uint64_t)st.st_size, e);
		if (r < 0)
			return r;
	} else if (!is_timeline_history(name) && !backup_history_name_looks(name, strlen(name))) {
		return err_set(e, -EINVAL,
			"%s is not archived: \"%s\" names neither a WAL segment nor a history file", path,
			name);
	}
	return wal_put(s, cluster, name, fd, (uint64_t)st.st_size, 0, ret_known, e);
}

static int copy_out(struct file *f, struct newfile *to, struct err *e)
{
	for (uint64_t off = 0; off < file_size(f);) {
		struct slice sl;
		unsigned count = 1;
		int r = file_slices(f, off, file_chunk_size(f), &sl, &count, e);

		if (r < 0)
			return r;
		r = newfile_write(to, sl.p, sl.len, e);
		off += sl.len;
		slice_release(&sl);
		if (r < 0)
			return r;
	}
	return 0;
}

int capture_archive_get(
	struct store *s, const char *cluster, const char *name, const char *dest, struct err *e)
{
	_cleanup_(file_freep) struct file *f = NULL;
	_cleanup_(newfile_close) struct newfile to = NEWFILE_NONE;
	const char *slash = strrchr(dest, '/');
	_cleanup_(freep) char *dir = NULL;
	int r = wal_open(s, cluster, name, &f, e);

	if (r < 0)
		return r;
	dir = !slash ? strdup(".") : strndup(dest, slash == dest ? 1 : (size_t)(slash - dest));
	if (!dir)
		return err_sys(e, -ENOMEM, "%s", dest);
	r = newfile_open(dir, 0600, &to, e);
	if (!r)
		r = copy_out(f, &to, e);
	/* No sync: what recovery replays it has in the repository, and what it keeps it syncs itself. */
	return r ? r : newfile_rename(&to, slash ? slash + 1 : dest, e);
}
