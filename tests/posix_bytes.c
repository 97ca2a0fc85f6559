/* Random operations on the bytes of one file against a model in memory, in the manner of fsx: read, write, append, vectors,
 * truncate, fallocate with its modes, shared mappings, O_DIRECT, copy_file_range, open again, fsync, all mixed.
 *
 *	posix_bytes FILE SEED STEPS     FILE may be there: then what it has is where the model begins
 *
 * Says the seed, the step and the last operations when the file is not what it has to be. */
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#define MOST 400000u
#define PAGE 4096u
#define KEPT 12

static uint8_t model[MOST], got[MOST + 1], bytes[MOST];
static size_t size;
static int fd, direct;
static const char *path;
static uint64_t state;
static unsigned step;
static char history[KEPT][80];

static uint64_t rnd(uint64_t n)
{
	/* Marsaglia's xorshift64. */
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return state % n;
}

static void bad(const char *what, size_t at)
{
	printf("posix_bytes: step %u: %s at %zu of %zu (%s); before that:\n", step, what, at, size,
		strerror(errno));
	for (unsigned i = step < KEPT ? 0 : step - KEPT + 1; i <= step; i++)
		printf("  %u: %s\n", i, history[i % KEPT]);
	exit(1);
}
#define OK(x) ((x) ? (void)0 : bad(#x, 0))
#define NOTE(...) snprintf(history[step % KEPT], sizeof(*history), __VA_ARGS__)

static void grow(size_t to)
{
	if (to > size)
		memset(model + size, 0, to - size);
	size = to > size ? to : size;
}

static void compare(const uint8_t *p, size_t off, size_t n, const char *what)
{
	if (!memcmp(p, model + off, n))
		return;
	for (size_t i = 0; i < n; i++)
		if (p[i] != model[off + i])
			bad(what, off + i);
}

/* A place and a length that often meet the edges of blocks and the end. */
static void choose(size_t *off, size_t *n, size_t limit)
{
	*n = 1 + rnd(rnd(3) ? 9000 : 70000);
	*off = rnd(4) ? rnd(limit) : size < limit ? size : rnd(limit);
	if (rnd(3) == 0)
		*off -= *off % 8192;
	if (rnd(4) == 0)
		*n += 8192 - *n % 8192;
	if (*n > limit - *off)
		*n = limit - *off;
}

static void fill(size_t n)
{
	uint8_t first = (uint8_t)rnd(256);

	for (size_t i = 0; i < n; i++)
		bytes[i] = (uint8_t)(first + i * 31 + i / 256);
	if (rnd(6) == 0)
		memset(bytes, 0, n);
}

static void do_read(size_t off, size_t n)
{
	size_t want = off >= size ? 0 : n < size - off ? n : size - off;

	NOTE("read %zu+%zu", off, n);
	if (rnd(2)) {
		OK(pread(fd, got, n, (off_t)off) == (ssize_t)want);
	} else {
		struct iovec v[2] = {{got, n / 2}, {got + n / 2, n - n / 2}};

		OK(preadv(fd, v, 2, (off_t)off) == (ssize_t)want);
	}
	compare(got, off, want, "read");
}

static void do_write(size_t off, size_t n)
{
	fill(n);
	NOTE("write %zu+%zu", off, n);
	if (rnd(4)) {
		OK(pwrite(fd, bytes, n, (off_t)off) == (ssize_t)n);
	} else {
		struct iovec v[3] = {
			{bytes, n / 3}, {bytes + n / 3, n / 3}, {bytes + n / 3 * 2, n - n / 3 * 2}};

		OK(pwritev(fd, v, 3, (off_t)off) == (ssize_t)n);
	}
	grow(off + n);
	memcpy(model + off, bytes, n);
}

static void do_append(size_t n)
{
	int a = open(path, O_WRONLY | O_APPEND);

	n = n < MOST - size ? n : MOST - size;
	fill(n);
	NOTE("append %zu to %zu", n, size);
	OK(a >= 0 && write(a, bytes, n) == (ssize_t)n && close(a) == 0);
	grow(size + n);
	memcpy(model + size - n, bytes, n);
}

static void do_truncate(size_t to)
{
	NOTE("truncate to %zu", to);
	OK((rnd(2) ? ftruncate(fd, (off_t)to) : truncate(path, (off_t)to)) == 0);
	grow(to);
	size = to;
}

static void do_allocate(size_t off, size_t n)
{
	static const int modes[] = {0, FALLOC_FL_KEEP_SIZE, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
		FALLOC_FL_ZERO_RANGE, FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE};
	int mode = modes[rnd(5)];
	size_t end = off + n;

	NOTE("fallocate 0x%x %zu+%zu", (unsigned)mode, off, n);
	OK(fallocate(fd, mode, (off_t)off, (off_t)n) == 0);
	if (!(mode & FALLOC_FL_KEEP_SIZE))
		grow(end);
	if (mode & (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE) && off < size)
		memset(model + off, 0, (end < size ? end : size) - off);
}

/* Reads or writes through a mapping; beyond the end of the file there is nothing to touch. */
static void do_map(size_t off, size_t n, int writes)
{
	size_t from = off - off % PAGE, len;
	uint8_t *m;

	NOTE("map to %s %zu+%zu of %zu", writes ? "write" : "read", off, n, size);
	if (off >= size)
		return;
	n = n < size - off ? n : size - off;
	len = off + n - from;
	m = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, fd, (off_t)from);
	OK(m != MAP_FAILED);
	if (writes) {
		fill(n);
		memcpy(m + (off - from), bytes, n);
		memcpy(model + off, bytes, n);
	} else {
		compare(m + (off - from), off, n, "mapped byte");
		/* The rest of the last page is zero. */
		for (size_t i = len; off + n == size && i % PAGE; i++)
			if (m[i])
				bad("a byte behind the end", from + i);
	}
	if (rnd(4) == 0)
		OK(msync(m, len, MS_SYNC) == 0);
	OK(munmap(m, len) == 0);
}

static void do_direct(size_t off, size_t n)
{
	static uint8_t page[65536] __attribute__((aligned(4096)));
	size_t from = off - off % PAGE, want;

	n = n % sizeof(page);
	n += PAGE - n % PAGE;
	n = n < sizeof(page) ? n : sizeof(page);
	NOTE("direct %zu+%zu", from, n);
	if (rnd(2) && from + n <= MOST) {
		fill(n);
		memcpy(page, bytes, n);
		OK(pwrite(direct, page, n, (off_t)from) == (ssize_t)n);
		grow(from + n);
		memcpy(model + from, bytes, n);
	} else {
		want = from >= size ? 0 : n < size - from ? n : size - from;
		OK(pread(direct, page, n, (off_t)from) == (ssize_t)want);
		compare(page, from, want, "directly read");
	}
}

static void do_copy(size_t off, size_t n)
{
	size_t to = rnd(MOST);
	ssize_t done;
	off_t a = (off_t)off, b = (off_t)to;

	n = n < MOST - to ? n : MOST - to;
	n = off >= size ? 0 : n < size - off ? n : size - off;
	NOTE("copy %zu+%zu to %zu", off, n, to);
	if (!n || (to < off + n && off < to + n))
		return;
	done = copy_file_range(fd, &a, fd, &b, n, 0);
	OK(done > 0 && (size_t)done <= n);
	grow(to + (size_t)done);
	memmove(model + to, model + off, (size_t)done);
}

static void open_again(void)
{
	NOTE("open again");
	if (fd >= 0)
		OK(close(fd) == 0 && close(direct) == 0);
	fd = open(path, O_RDWR | O_CREAT, 0644);
	direct = open(path, O_RDWR | O_DIRECT);
	OK(fd >= 0 && direct >= 0);
}

static void check(void)
{
	struct stat st;

	OK(fstat(fd, &st) == 0 && (size_t)st.st_size == size);
	OK(pread(fd, got, sizeof(got), 0) == (ssize_t)size);
	compare(got, 0, size, "byte");
}

static void one(void)
{
	size_t off, n;

	choose(&off, &n, MOST);
	switch (rnd(20)) {
	case 0:
	case 1:
	case 2:
	case 3:
	case 4:
		do_write(off, n);
		break;
	case 5:
	case 6:
	case 7:
		do_read(off, n);
		break;
	case 8:
		do_append(n);
		break;
	case 9:
	case 10:
		do_truncate(rnd(3) ? rnd(MOST) : off);
		break;
	case 11:
	case 12:
		do_allocate(off, n);
		break;
	case 13:
	case 14:
		do_map(off, n, 1);
		break;
	case 15:
		do_map(off, n, 0);
		break;
	case 16:
		do_direct(off, n);
		break;
	case 17:
		do_copy(off, n);
		break;
	case 18:
		open_again();
		break;
	default:
		NOTE("sync");
		OK((rnd(2) ? fsync(fd) : fdatasync(fd)) == 0);
	}
}

int main(int argc, char **argv)
{
	unsigned steps;

	if (argc != 4) {
		fprintf(stderr, "usage: posix_bytes FILE SEED STEPS\n");
		return 2;
	}
	path = argv[1];
	state = strtoull(argv[2], NULL, 10) * 2 + 1;
	steps = (unsigned)atoi(argv[3]);
	fd = -1;
	open_again();
	size = (size_t)lseek(fd, 0, SEEK_END);
	OK(size <= MOST && pread(fd, model, MOST, 0) == (ssize_t)size);
	for (step = 1; step <= steps; step++) {
		one();
		if (step % 16 == 0)
			check();
	}
	check();
	printf("posix_bytes: %u operations, seed %s\n", steps, argv[2]);
	return 0;
}
