/* What is unpacked ahead: files called xlogtemp.pgstrata-DIGEST. See ahead.h.
 *
 * The last one of a recovery that ends at a target stays behind. A server that starts after a crash removes what begins with
 * "xlogtemp." (RemoveTempXlogFiles, src/backend/access/transam/xlog.c, PostgreSQL 13 to 18). */
#include "src/capture/ahead.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "src/base/clean.h"
#include "src/base/io.h"
#include "store/wal.h"

#define PREFIX "xlogtemp.pgstrata-"
#define NAME_LEN (sizeof(PREFIX) + DIGEST_HEX)

static void name_of(const struct digest *content, char out[NAME_LEN])
{
	char hex[DIGEST_HEX];

	snprintf(out, NAME_LEN, PREFIX "%s", digest_hex(content, hex));
}

void ahead_enter(const char *dir, struct ahead *ret)
{
	struct ahead a = {open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC), dir};
	int r = -1;

	while (a.fd >= 0 && (r = flock(a.fd, LOCK_EX)) < 0 && errno == EINTR)
		;
	if (a.fd >= 0 && r < 0)
		ahead_leave(&a);
	*ret = a;
}

void ahead_leave(struct ahead *a)
{
	if (a->fd >= 0)
		close(a->fd);
	a->fd = -1;
}

/* Those that nobody asked for. */
static void sweep(const struct ahead *a)
{
	int fd = openat(a->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	const struct dirent *de;

	if (!d && fd >= 0)
		close(fd);
	while (d && (de = readdir(d)))
		if (!strncmp(de->d_name, PREFIX, strlen(PREFIX)))
			unlinkat(a->fd, de->d_name, 0);
	if (d)
		closedir(d);
}

bool ahead_take(const struct ahead *a, const struct digest *content, const char *dest)
{
	char name[NAME_LEN];

	name_of(content, name);
	if (renameat(a->fd, name, AT_FDCWD, dest) == 0)
		return true;
	sweep(a);
	return false;
}

static int write_out(void *arg, const void *p, size_t n, struct err *e)
{
	return newfile_write(arg, p, n, e);
}

int ahead_unpack(struct store *s, const char *cluster, const char *name, const char *dir, struct newfile *ret,
	struct err *e)
{
	int r = newfile_open(dir, 0600, ret, e);

	return r ? r : wal_copy(s, cluster, name, write_out, ret, e);
}

static void prepare(const struct ahead *a, struct store *s, const char *cluster, const char *name)
{
	_cleanup_(newfile_close) struct newfile to = NEWFILE_NONE;
	char as[NAME_LEN];
	struct wal_info info;

	if (wal_stat(s, cluster, name, &info, NULL) < 0 ||
		ahead_unpack(s, cluster, name, a->dir, &to, NULL) < 0)
		return;
	name_of(&info.digest, as);
	newfile_link(&to, as, NULL);
}

void ahead_start(const struct ahead *a, struct store *s, const char *cluster, const char *name)
{
	int null;

	if (a->fd < 0 || fork() != 0)
		return;
	/* What waits for the end of this program's output must not wait for this process. */
	setsid();
	null = open("/dev/null", O_RDWR | O_CLOEXEC);
	for (int fd = 0; fd <= 2; fd++)
		if (null < 0 || dup2(null, fd) < 0)
			close(fd);
	prepare(a, s, cluster, name);
	_exit(0);
}
