/* The config object from hostile bytes, by opening a repository that has nothing else. The first byte says whether
 * the checksum line is made to fit. */
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "src/base/crc32c.h"
#include "store/store.h"

static char dir[64], path[80];

static void remove_dir(void)
{
	unlink(path);
	rmdir(dir);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct store *s = NULL;
	struct err e = {0};
	char line[32];
	int fd, r;

	if (!size)
		return 0;
	if (!*dir) {
		strcpy(dir, "/dev/shm/fuzz-config-XXXXXX");
		if (!mkdtemp(dir))
			abort();
		snprintf(path, sizeof(path), "%s/config", dir);
		atexit(remove_dir);
	}
	fd = open(path, O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0600);
	if (fd < 0 || write(fd, data + 1, size - 1) != (ssize_t)size - 1)
		abort();
	snprintf(line, sizeof(line), "crc32c %08x\n", crc32c(0, data + 1, size - 1));
	if (data[0] & 1 && write(fd, line, 16) != 16)
		abort();
	close(fd);
	r = store_open(dir, NULL, &s, &e);
	if (r < 0 && ((r != -EBADMSG && r != -EOPNOTSUPP && r != -EINVAL && r != -EFBIG) || !e.text[0]))
		abort();
	if (!r) {
		const struct store_settings *t = store_settings(s);

		if (strlen(store_id(s)) != 32 || t->chunk_size < 8192 || t->chunk_size > 1u << 20 ||
			(t->chunk_size & (t->chunk_size - 1)) || t->level < 1 || t->level > 19 ||
			!t->delta_chain)
			abort();
	}
	store_free(s);
	return 0;
}
