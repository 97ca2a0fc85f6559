/* The WAL that a base backup brought along, cut off where the backup ended. See instance_data.h.
 *
 * A server that finds backup_label and no recovery.signal replays what is in pg_wal to its end and goes on from there
 * (InitWalRecovery, src/backend/access/transam/xlogrecovery.c; StartupXLOG, xlog.c). So nothing has to be fetched, and no
 * segment of a new timeline is begun with a copy, of which XLogFileCopy (xlog.c) writes all bytes.
 *
 * Invariant: what is before the cut stays as it was, and what is behind it is gone or zero, which ends WAL
 * (ValidXLogRecordHeader, xlogreader.c). Not here: whether the bytes are good; the server sees to it. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "src/base/io.h"
#include "src/capture/instance_data.h"

#define PAGE 8192u /* XLOG_BLCKSZ; a smaller one divides it */

/* The segments of the backup: the last one is that of the byte before `to`. */
static struct segno last_segment(const struct instance_wal *w)
{
	return wal_segno((struct lsn){w->to.v - 1}, w->segment_size);
}

static int check_segments(const struct instance_wal *w, int dir)
{
	struct segno at = wal_segno(w->from, w->segment_size), last = last_segment(w);

	for (; at.v <= last.v; at.v++) {
		char name[WAL_NAME_TEXT];
		struct stat st;

		wal_name(w->tli, at, w->segment_size, name);
		if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISREG(st.st_mode) ||
			st.st_size != (off_t)w->segment_size)
			return -ENOENT;
	}
	return 0;
}

/* Segments that the server would go on to after the last one. */
static int remove_others(const struct instance_wal *w, const char *path, int dir, struct err *e)
{
	int copy = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), r = 0;
	DIR *d = copy < 0 ? NULL : fdopendir(copy);
	struct dirent *de;

	if (!d) {
		r = err_sys(e, -errno, "%s", path);
		if (copy >= 0)
			close(copy);
		return r;
	}
	while (r == 0 && (de = readdir(d))) {
		size_t n = strlen(de->d_name);
		struct segno segment;
		struct tli tli;

		if (!wal_name_looks(de->d_name, n))
			continue;
		if (wal_name_parse(de->d_name, n, w->segment_size, &tli, &segment) && tli.v == w->tli.v &&
			segment.v <= last_segment(w).v)
			continue;
		if (unlinkat(dir, de->d_name, 0) < 0 && errno != ENOENT)
			r = err_sys(e, -errno, "removing %s/%s", path, de->d_name);
	}
	closedir(d);
	return r;
}

/* Zeroes to the end of the page, and a hole to the end of the segment. */
static int cut(const struct instance_wal *w, const char *path, int dir, struct err *e)
{
	static const uint8_t zero[PAGE];
	uint64_t end = w->to.v - wal_segment_start(last_segment(w), w->segment_size).v;
	size_t rest = (PAGE - end % PAGE) % PAGE;
	char name[WAL_NAME_TEXT];
	_cleanup_(closep) int fd = -1;
	int r;

	wal_name(w->tli, last_segment(w), w->segment_size, name);
	fd = openat(dir, name, O_WRONLY | O_NOFOLLOW | O_CLOEXEC);
	r = fd < 0 ? -errno : io_pwrite(fd, zero, rest, end);
	if (r == 0 && (ftruncate(fd, (off_t)(end + rest)) < 0 || ftruncate(fd, (off_t)w->segment_size) < 0))
		r = -errno;
	return r < 0 ? err_sys(e, r, "cutting off %s/%s", path, name) : 0;
}

int instance_data_end_wal(const char *data, const struct instance_wal *w, struct err *e)
{
	_cleanup_(freep) char *path = io_join(data, "pg_wal");
	_cleanup_(closep) int dir = -1;
	int r;

	if (!path)
		return err_sys(e, -ENOMEM, "%s", data);
	if (!w->tli.v || !wal_segsize_ok(w->segment_size) || !w->from.v || w->to.v <= w->from.v)
		return err_set(e, -ENOENT, "it is not known which WAL %s needs", data);
	dir = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (dir < 0)
		return err_sys(e, -errno, "%s", path);
	r = check_segments(w, dir);
	if (r < 0)
		return err_set(e, r, "%s does not have all WAL of the backup", path);
	r = remove_others(w, path, dir, e);
	return r ? r : cut(w, path, dir, e);
}
