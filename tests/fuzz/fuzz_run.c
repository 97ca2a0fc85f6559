/* Index run files from hostile bytes, as they are and with their CRCs made right: opening and looking up. */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "src/base/crc32c.h"
#include "src/base/io.h"
#include "store/run.h"

#define HEAD 64

static char dir[] = "/dev/shm/pgstrata-fuzz-run-XXXXXX";

static void clean_up(void)
{
	rmdir(dir);
}

static void set32(uint8_t *p, uint32_t v)
{
	for (int i = 0; i < 4; i++)
		p[i] = (uint8_t)(v >> 8 * i);
}

static uint32_t get32(const uint8_t *p)
{
	return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static void open_and_find(const uint8_t *p, size_t n)
{
	static const uint8_t repo[16];
	struct err e = {0};
	struct run *run;
	char path[sizeof(dir) + 8];
	int fd;

	snprintf(path, sizeof(path), "%s/run-1", dir);
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0 || io_write(fd, p, n) < 0)
		abort();
	close(fd);
	if (run_open(dir, "run-1", repo, &run, &e) == 0) {
		for (unsigned i = 0; i < 256; i++) {
			struct digest id = {{(uint8_t)i}};
			struct run_place at;

			if (run_find(run, &id, i % 3, &at) && at.pack >= run_packs(run))
				abort();
		}
		run_free(run);
	}
	unlink(path);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static int made;
	uint64_t front;
	uint8_t *copy;

	if (!made++) {
		if (!mkdtemp(dir))
			abort();
		atexit(clean_up);
	}
	open_and_find(data, size);
	if (size < HEAD)
		return 0;
	copy = malloc(size);
	if (!copy)
		abort();
	memcpy(copy, data, size);
	memset(copy + 8, 0, 16);
	front = HEAD + (uint64_t)get32(copy + 32) * DIGEST_LEN + 4 * ((1ull << (get32(copy + 36) % 25)) + 1);
	if (front <= size) {
		uint32_t zero = 0, crc;

		set32(copy + 40, crc32c(0, copy + front, size - front));
		crc = crc32c(0, copy, HEAD - 4);
		crc = crc32c(crc, &zero, 4);
		set32(copy + HEAD - 4, crc32c(crc, copy + HEAD, front - HEAD));
	}
	open_and_find(copy, size);
	free(copy);
	return 0;
}
