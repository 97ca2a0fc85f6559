/* A manifest's bytes. See manifest_file.h.
 *
 * Ten million files make a manifest of 1.5 GB, so a file is mapped, not read. Should somebody cut it short
 * meanwhile, the import dies; nothing is published then. */
#include "src/capture/manifest_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "src/base/clean.h"
#include "src/base/io.h"
#include "src/pg/manifest.h"

struct manifest_source {
	char *name;
	int fd;		      /* -1: in memory */
	struct newfile spool; /* owns fd when the bytes came piece by piece */
	void *p;
	size_t len;
	struct stat st;
};

static int map_file(struct manifest_source *m, struct err *e)
{
	if (fstat(m->fd, &m->st) < 0)
		return err_sys(e, -errno, "%s", m->name);
	if (!S_ISREG(m->st.st_mode))
		return err_set(e, -EINVAL, "%s is not a file", m->name);
	if ((uint64_t)m->st.st_size > SIZE_MAX / 2)
		return err_sys(e, -EFBIG, "%s", m->name);
	m->len = (size_t)m->st.st_size;
	if (!m->len)
		return err_set(e, -EBADMSG, "%s is empty", m->name);
	m->p = mmap(NULL, m->len, PROT_READ, MAP_PRIVATE, m->fd, 0);
	if (m->p == MAP_FAILED) {
		m->p = NULL;
		return err_sys(e, -errno, "%s", m->name);
	}
	return 0;
}

static struct manifest_source *make(void)
{
	struct manifest_source *m = calloc(1, sizeof(*m));

	if (m) {
		m->fd = -1;
		m->spool = NEWFILE_NONE;
	}
	return m;
}

int manifest_source_open(const char *dir, struct manifest_source **ret, struct err *e)
{
	struct manifest_source *m = make();
	int r;

	if (!m)
		return err_sys(e, -ENOMEM, "%s", dir);
	m->name = io_join(dir, MANIFEST_PATH);
	if (!m->name) {
		r = err_sys(e, -ENOMEM, "%s", dir);
		goto fail;
	}
	m->fd = open(m->name, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (m->fd < 0) {
		r = errno == ENOENT ? 0 : err_sys(e, -errno, "%s", m->name);
		goto fail;
	}
	r = map_file(m, e);
	if (r < 0)
		goto fail;
	*ret = m;
	return 1;
fail:
	manifest_source_free(m);
	return r;
}

int manifest_source_begin(const char *scratch, const char *name, struct manifest_source **ret, struct err *e)
{
	struct manifest_source *m = make();
	int r;

	if (!m || !(m->name = strdup(name))) {
		manifest_source_free(m);
		return err_sys(e, -ENOMEM, "%s", name);
	}
	r = newfile_open(scratch, 0600, &m->spool, e);
	if (r < 0) {
		manifest_source_free(m);
		return r;
	}
	m->fd = m->spool.fd;
	*ret = m;
	return 0;
}

int manifest_source_append(struct manifest_source *m, const void *p, size_t n, struct err *e)
{
	return newfile_write(&m->spool, p, n, e);
}

int manifest_source_end(struct manifest_source *m, struct err *e)
{
	return map_file(m, e);
}

int manifest_source_take(const char *archive, void *p, size_t n, struct manifest_source **ret, struct err *e)
{
	struct manifest_source *m = make();

	if (!m || asprintf(&m->name, "%s, member %s", archive, MANIFEST_PATH) < 0) {
		free(m);
		free(p);
		return err_sys(e, -ENOMEM, "%s", archive);
	}
	m->p = p;
	m->len = n;
	*ret = m;
	return 1;
}

void manifest_source_free(struct manifest_source *m)
{
	if (!m)
		return;
	if (m->fd >= 0) {
		if (m->p)
			munmap(m->p, m->len);
		if (m->spool.fd >= 0)
			newfile_close(&m->spool);
		else
			close(m->fd);
	} else {
		free(m->p);
	}
	free(m->name);
	free(m);
}

const char *manifest_source_name(const struct manifest_source *m)
{
	return m->name;
}

const void *manifest_source_bytes(const struct manifest_source *m)
{
	return m->p;
}

size_t manifest_source_len(const struct manifest_source *m)
{
	return m->len;
}

bool manifest_source_is_file(const struct manifest_source *m)
{
	return m->fd >= 0;
}

struct tstamp manifest_source_mtime(const struct manifest_source *m)
{
	return (struct tstamp){.sec = m->st.st_mtim.tv_sec, .nsec = (uint32_t)m->st.st_mtim.tv_nsec};
}

int manifest_source_reopen(const struct manifest_source *m, struct stat *st, struct err *e)
{
	int fd = fcntl(m->fd, F_DUPFD_CLOEXEC, 3);

	if (fd < 0)
		return err_sys(e, -errno, "%s", m->name);
	*st = m->st;
	return fd;
}
