/* Any bytes as a tar file, plain or compressed: every member's path is a clean one, every file has as many
 * bytes as its header said, and nothing else is promised. The members go into nothing. */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "src/base/io.h"
#include "src/capture/tar.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define OUTPUT_MAX (64u << 20) /* of one input: a bomb is not a finding */

struct sink {
	uint64_t size, got, total;
	char path[TAR_PATH_MAX + 1];
};

static void check_path(const char *path)
{
	if (*path == '/' || strlen(path) > TAR_PATH_MAX)
		abort();
	for (const char *s = path; *s;) {
		size_t n = strcspn(s, "/");

		if (n == 0 || n > TREE_NAME_MAX || (n == 1 && s[0] == '.') || (n == 2 && !memcmp(s, "..", 2)))
			abort();
		s += n;
		if (*s == '/' && !s[1])
			abort();
		s += *s == '/';
	}
}

static int on_member(void *arg, const struct tar_member *m, struct err *e)
{
	struct sink *k = arg;

	(void)e;
	check_path(m->path);
	if (m->meta.mode & ~07777u || m->meta.mtime.nsec >= 1000000000u || !m->meta.user || !m->meta.group)
		abort();
	if (m->type == ENTRY_SYMLINK && (!m->target || strlen(m->target) > TREE_TARGET_MAX))
		abort();
	k->size = m->size;
	k->got = 0;
	return 0;
}

static int on_data(void *arg, const void *p, size_t n, struct err *e)
{
	struct sink *k = arg;
	volatile uint8_t sum = 0;

	(void)e;
	for (size_t i = 0; i < n; i += 512)
		sum = (uint8_t)(sum + ((const uint8_t *)p)[i]);
	k->got += n;
	k->total += n;
	if (!n || k->got > k->size)
		abort();
	return k->total > OUTPUT_MAX ? 1000 : 0;
}

static int on_end(void *arg, struct err *e)
{
	struct sink *k = arg;

	(void)e;
	if (k->got != k->size)
		abort();
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct tar_ops ops = {.member = on_member, .data = on_data, .end = on_end};
	struct tar_options o = {0};
	struct sink k = {0};
	struct err e = {0};
	int fd = memfd_create("tar", MFD_CLOEXEC), r;

	if (fd < 0 || io_pwrite(fd, data, size, 0) < 0)
		abort();
	r = tar_read(fd, "fuzz.tar", &o, &ops, &k, &e);
	if (r < 0 && !e.text[0])
		abort();
	lseek(fd, 0, SEEK_SET);
	o.headers_only = true;
	k = (struct sink){0};
	tar_read(fd, "fuzz.tar", &o, &ops, &k, &e);
	close(fd);
	return 0;
}
