/* Random reads as PostgreSQL does them: one thread, 8 KiB, aligned, no hints to the kernel.
 *
 *   randread SEED COUNT FILE...
 *
 * A block is drawn evenly from all blocks of all files taken together. The same seed over files of the same
 * sizes gives the same sequence, so that contestants of tools/bench read the same places. The files are
 * opened before the clock starts. Prints "mean p50 p99" in microseconds.
 *
 * Part of the bench, not of pgstrata: it stands alone and is compiled by tools/bench.
 */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { BLOCK = 8192 };

/* xorshift64*: Vigna 2016, "An experimental exploration of Marsaglia's xorshift generators, scrambled". */
static uint64_t next_random(uint64_t *state)
{
	*state ^= *state >> 12;
	*state ^= *state << 25;
	*state ^= *state >> 27;
	return *state * UINT64_C(2685821657736338717);
}

static int64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static int by_value(const void *a, const void *b)
{
	int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

	return (x > y) - (x < y);
}

int main(int argc, char **argv)
{
	if (argc < 4) {
		fprintf(stderr, "usage: randread SEED COUNT FILE...\n");
		return 2;
	}

	uint64_t state = strtoull(argv[1], NULL, 10) * 2 + 1; /* never zero */
	size_t count = strtoul(argv[2], NULL, 10);
	size_t nfiles = (size_t)argc - 3, total = 0;
	int *fd = calloc(nfiles, sizeof(*fd));
	size_t *blocks = calloc(nfiles, sizeof(*blocks));
	int64_t *took = calloc(count, sizeof(*took));
	char *buf = aligned_alloc(BLOCK, BLOCK);
	double sum = 0;

	if (!fd || !blocks || !took || !buf || !count)
		return 2;

	for (size_t i = 0; i < nfiles; i++) {
		struct stat st;

		fd[i] = open(argv[i + 3], O_RDONLY | O_CLOEXEC);
		if (fd[i] < 0 || fstat(fd[i], &st) < 0) {
			perror(argv[i + 3]);
			return 1;
		}
		blocks[i] = (size_t)st.st_size / BLOCK;
		total += blocks[i];
	}
	if (!total) {
		fprintf(stderr, "randread: no whole block in these files\n");
		return 1;
	}

	for (size_t n = 0; n < count; n++) {
		size_t at = next_random(&state) % total, i = 0;
		int64_t start;

		while (at >= blocks[i])
			at -= blocks[i++];
		start = now_ns();
		if (pread(fd[i], buf, BLOCK, (off_t)at * BLOCK) != BLOCK) {
			fprintf(stderr, "randread: %s block %zu: short read\n", argv[i + 3], at);
			return 1;
		}
		took[n] = now_ns() - start;
		sum += (double)took[n];
	}

	qsort(took, count, sizeof(*took), by_value);
	printf("%.1f %.1f %.1f\n", sum / (double)count / 1e3, (double)took[count / 2] / 1e3,
		(double)took[count * 99 / 100] / 1e3);
	return 0;
}
