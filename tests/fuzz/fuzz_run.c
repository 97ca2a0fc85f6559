/* An index run from hostile bytes, as a file of the cache folder. The first byte says whether the checksums are made
 * to fit, so that what lies behind them is reached. */
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "src/base/crc32c.h"
#include "store/run.h"

static const uint8_t repo_id[16] = "0123456789abcdef";

static void put32(uint8_t *p, uint32_t v)
{
	for (int i = 0; i < 4; i++)
		p[i] = (uint8_t)(v >> (8 * i));
}

static void mend(uint8_t *p, size_t n)
{
	uint32_t packs, bits;
	uint64_t front;

	if (n < 64)
		return;
	memcpy(p, "pgstRUN1", 8);
	memcpy(p + 8, repo_id, 16);
	memcpy(&packs, p + 32, 4);
	memcpy(&bits, p + 36, 4);
	if (bits > 24)
		return;
	front = 64 + (uint64_t)packs * 32 + 4 * ((1ull << bits) + 1);
	if (front > n)
		return;
	put32(p + 40, crc32c(0, p + front, n - front));
	put32(p + 60, 0);
	put32(p + 60, crc32c(0, p, front));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static int fd = -1;
	uint8_t *p;
	size_t n = size ? size - 1 : 0;
	struct run *run = NULL, *merged = NULL;
	struct digest id = {{0}};
	struct run_place at;
	struct err e = {0};
	char name[32];
	int r;

	if (fd < 0)
		fd = open("/dev/shm", O_TMPFILE | O_RDWR, 0600);
	p = malloc(n + 1);
	memcpy(p, data + (size != 0), n);
	if (size && data[0] & 1)
		mend(p, n);
	if (fd < 0 || ftruncate(fd, 0) || pwrite(fd, p, n, 0) != (ssize_t)n)
		abort();
	/* run_open follows no link, so the file has to have a name of its own. */
	snprintf(name, sizeof(name), "fuzz-run-%d", (int)getpid());
	char path[64], proc[64];
	snprintf(path, sizeof(path), "/dev/shm/%s", name);
	snprintf(proc, sizeof(proc), "/proc/self/fd/%d", fd);
	unlink(path);
	if (linkat(AT_FDCWD, proc, AT_FDCWD, path, AT_SYMLINK_FOLLOW) < 0)
		abort();
	r = run_open("/dev/shm", name, repo_id, &run, &e);
	unlink(path);
	if (r < 0 && ((r != -EBADMSG && r != -ESTALE) || !e.text[0]))
		abort();
	for (size_t i = 0; !r && i < n; i += 48) {
		memcpy(id.b, p + i, n - i < 32 ? n - i : 32);
		for (unsigned nth = 0; nth < 3 && run_find(run, &id, nth, &at); nth++)
			if (at.pack >= run_packs(run))
				abort();
	}
	for (uint32_t i = 0; !r && i < run_packs(run); i++)
		run_pack(run, i);
	if (!r && run_merge(NULL, repo_id, &run, 1, NULL, NULL, &merged, &e) == 0 &&
		run_entries(merged) != run_entries(run))
		abort();
	run_free(run);
	run_free(merged);
	/* The mapping is gone; the name, too. */
	close(fd);
	fd = -1;
	free(p);
	return 0;
}
