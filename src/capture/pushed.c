/* One line a note, compared as text with what it should be. See pushed.h. */
#include "src/capture/pushed.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "src/base/clean.h"
#include "src/base/io.h"
#include "store/wal.h"

#define LINE 256

/* 0 when the archive has no such file. */
static size_t line_of(
	struct store *s, const char *cluster, const char *name, const struct stat *st, char out[LINE])
{
	char digest[DIGEST_HEX];
	struct wal_info info;

	if (wal_stat(s, cluster, name, &info, NULL) < 0 || info.size != (uint64_t)st->st_size)
		return 0;
	/* ctime: a segment that was recycled since has another one, and so has a file that was written to. */
	return (size_t)snprintf(out, LINE, "%llu %llu %llu %lld.%09ld %lld.%09ld %s\n",
		(unsigned long long)st->st_dev, (unsigned long long)st->st_ino,
		(unsigned long long)st->st_size, (long long)st->st_mtim.tv_sec, st->st_mtim.tv_nsec,
		(long long)st->st_ctim.tv_sec, st->st_ctim.tv_nsec, digest_hex(&info.digest, digest));
}

bool pushed_before(
	struct store *s, const char *cluster, const char *dir, const char *name, const struct stat *st)
{
	_cleanup_(freep) char *path = io_join(dir, name);
	_cleanup_(closep) int fd = path ? open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW) : -1;
	char line[LINE], is[LINE];
	size_t n;
	ssize_t got;

	if (fd < 0)
		return false;
	unlink(path);
	got = io_read(fd, is, sizeof(is));
	n = line_of(s, cluster, name, st, line);
	return n && (size_t)got == n && !memcmp(is, line, n);
}

void pushed_note(
	struct store *s, const char *cluster, const char *dir, const char *name, const struct stat *st)
{
	_cleanup_(newfile_close) struct newfile f = NEWFILE_NONE;
	char line[LINE];
	size_t n = line_of(s, cluster, name, st, line);

	/* No sync: a note that a crash loses or cuts off does not match. */
	if (n && io_mkdirs(dir, 0700, NULL) == 0 && newfile_open(dir, 0600, &f, NULL) == 0 &&
		newfile_write(&f, line, n, NULL) == 0)
		newfile_rename(&f, name, NULL);
}
