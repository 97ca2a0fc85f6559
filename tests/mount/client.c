/* A client of the mount for what shell tools cannot do. Prints what it counted; says what was wrong and
 * exits 1.
 *
 *	client random A B COUNT SEED     reads of random places and sizes in both files are the same
 *	client mmap A B                  so are the pages of both, mapped, in a scattered order
 *	client tree A B                  every file of A can be read in B with the same bytes, or is an error
 *	                                 (EIO, or ENOENT); prints how many of both there are
 *	client threads N A B             N threads compare the files at once, each from another place
 *	client dir DIR                   readdir, telldir, seekdir, rewinddir agree; prints the number of entries
 *	client writes DIR FILE           everything that writes is EROFS; FILE is in DIR */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/time.h>
#include <sys/xattr.h>
#include <unistd.h>

#define die(...)                                         \
	do {                                             \
		fprintf(stderr, "client: " __VA_ARGS__); \
		fprintf(stderr, "\n");                   \
		exit(1);                                 \
	} while (0)

/* SplitMix64 (Steele, Lea, Flood 2014). */
static uint64_t next(uint64_t *state)
{
	uint64_t z = *state += 0x9e3779b97f4a7c15u;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
	return z ^ (z >> 31);
}

static int open_file(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		die("%s: %s", path, strerror(errno));
	return fd;
}

static off_t size_of(int fd)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		die("fstat: %s", strerror(errno));
	return st.st_size;
}

static void same(const char *what, int a, int b, size_t n, off_t off)
{
	char *pa = malloc(n + 1), *pb = malloc(n + 1);
	ssize_t ra = pread(a, pa, n, off), rb = pread(b, pb, n, off);

	if (ra < 0 || ra != rb || memcmp(pa, pb, (size_t)ra))
		die("%s: %zu bytes at %lld: %zd and %zd bytes, or other bytes (%s)", what, n, (long long)off,
			ra, rb, strerror(errno));
	free(pa);
	free(pb);
}

static int run_random(char **v)
{
	int a = open_file(v[0]), b = open_file(v[1]);
	uint64_t state = strtoull(v[3], NULL, 10);
	off_t size = size_of(a);

	for (long i = strtol(v[2], NULL, 10); i > 0; i--) {
		/* Sizes of all magnitudes; offsets up to a little beyond the end. */
		size_t n = (size_t)(next(&state) % ((uint64_t)1 << (next(&state) % 22)));
		off_t off = (off_t)(next(&state) % ((uint64_t)size + 5000));

		same(v[1], a, b, n, off);
	}
	return 0;
}

static int run_mmap(char **v)
{
	int a = open_file(v[0]), b = open_file(v[1]);
	size_t n = (size_t)size_of(a), pages = (n + 4095) / 4096;
	char *pa = mmap(NULL, n, PROT_READ, MAP_PRIVATE, a, 0),
	     *pb = mmap(NULL, n, PROT_READ, MAP_SHARED, b, 0);

	if (pa == MAP_FAILED || pb == MAP_FAILED)
		die("mmap: %s", strerror(errno));
	if (size_of(b) != (off_t)n)
		die("%s: other size", v[1]);
	for (size_t i = 0; i < pages; i++) {
		size_t at = (i * 7919) % pages * 4096, len = n - at < 4096 ? n - at : 4096;

		if (memcmp(pa + at, pb + at, len))
			die("%s: mapped page at %zu differs", v[1], at);
	}
	if (mprotect(pb, n, PROT_READ | PROT_WRITE) == 0)
		die("a shared mapping became writable");
	return 0;
}

struct job {
	char **v;
	int index;
};

static void *compare(void *arg)
{
	struct job *j = arg;
	int a = open_file(j->v[0]), b = open_file(j->v[1]);
	off_t size = size_of(a), start = size / 8 * j->index;

	for (off_t done = 0; done < size; done += 65536)
		same(j->v[1], a, b, 65536, (start + done) % size);
	close(a);
	close(b);
	return NULL;
}

static int run_threads(int n, char **v)
{
	pthread_t t[64];
	struct job j[64];

	if (n > 64)
		n = 64;
	for (int i = 0; i < n; i++) {
		j[i] = (struct job){v, i};
		if (pthread_create(&t[i], NULL, compare, &j[i]))
			die("pthread_create");
	}
	for (int i = 0; i < n; i++)
		pthread_join(t[i], NULL);
	return 0;
}

static struct {
	const char *other;
	size_t prefix, ok, bad;
} tree;

static int visit(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	char other[8192], *pa, *pb;
	int a, b;
	ssize_t n;

	(void)ftw;
	if (type != FTW_F || !S_ISREG(st->st_mode))
		return 0;
	snprintf(other, sizeof(other), "%s%s", tree.other, path + tree.prefix);
	b = open(other, O_RDONLY | O_CLOEXEC);
	a = open_file(path);
	pa = malloc((size_t)st->st_size + 2);
	pb = malloc((size_t)st->st_size + 2);
	n = b < 0 ? -1 : 0;
	for (ssize_t got = 1; n >= 0 && got > 0; n = got < 0 ? -1 : n + got)
		got = pread(b, pb + n, (size_t)st->st_size + 1 - (size_t)n, n);
	if (n < 0 && errno != EIO && errno != ENOENT)
		die("%s: %s", other, strerror(errno));
	if (n >= 0 && (n != st->st_size || pread(a, pa, (size_t)n, 0) != n || memcmp(pa, pb, (size_t)n)))
		die("%s: other bytes, and no error", other);
	*(n < 0 ? &tree.bad : &tree.ok) += 1;
	free(pa);
	free(pb);
	close(a);
	if (b >= 0)
		close(b);
	return 0;
}

static int run_tree(char **v)
{
	tree.other = v[1];
	tree.prefix = strlen(v[0]);
	if (nftw(v[0], visit, 32, FTW_PHYS) < 0)
		die("%s: %s", v[0], strerror(errno));
	printf("%zu %zu\n", tree.ok, tree.bad);
	return 0;
}

struct seen {
	long before; /* telldir before it was read */
	ino_t ino;
	char *name;
};

static int by_name(const void *a, const void *b)
{
	return strcmp(((const struct seen *)a)->name, ((const struct seen *)b)->name);
}

static int run_dir(char **v)
{
	struct seen *s = NULL;
	size_t n = 0, cap = 0;
	uint64_t state = 1;
	struct dirent *de;
	DIR *d = opendir(v[0]);
	long at;

	if (!d)
		die("%s: %s", v[0], strerror(errno));
	for (at = telldir(d); (errno = 0, de = readdir(d)); at = telldir(d)) {
		if (n == cap) {
			cap = cap ? cap * 2 : 1024;
			s = realloc(s, cap * sizeof(*s));
		}
		s[n++] = (struct seen){at, de->d_ino, strdup(de->d_name)};
	}
	if (errno)
		die("readdir: %s", strerror(errno));
	for (int i = 0; i < 2000 && n; i++) {
		size_t k = (size_t)(next(&state) % n);

		seekdir(d, s[k].before);
		de = readdir(d);
		if (!de || strcmp(de->d_name, s[k].name) || de->d_ino != s[k].ino)
			die("seekdir to \"%s\" reads \"%s\"", s[k].name, de ? de->d_name : "(nothing)");
		de = readdir(d);
		if (k + 1 < n ? !de || strcmp(de->d_name, s[k + 1].name) : de != NULL)
			die("after \"%s\" comes \"%s\"", s[k].name, de ? de->d_name : "(nothing)");
	}
	rewinddir(d);
	for (size_t i = 0; i < n; i++) {
		de = readdir(d);
		if (!de || strcmp(de->d_name, s[i].name))
			die("after rewinddir entry %zu is not \"%s\"", i, s[i].name);
	}
	closedir(d);
	qsort(s, n, sizeof(*s), by_name);
	for (size_t i = 1; i < n; i++)
		if (!strcmp(s[i - 1].name, s[i].name))
			die("\"%s\" is listed twice", s[i].name);
	printf("%zu\n", n - 2); /* without . and .. */
	return 0;
}

/* Shuts up where the call did what it must: fail with EROFS. */
static void refused(const char *what, long r)
{
	if (r != -1)
		die("%s was not refused", what);
	if (errno != EROFS)
		die("%s: %s, not EROFS", what, strerror(errno));
}

static int run_writes(char **v)
{
	const struct timeval times[2] = {{1, 0}, {1, 0}};
	char fresh[4096], *f = v[1];
	int fd;

	snprintf(fresh, sizeof(fresh), "%s/fresh", v[0]);
	refused("open for writing", open(f, O_WRONLY));
	refused("open for both", open(f, O_RDWR));
	refused("open with O_TRUNC", open(f, O_RDONLY | O_TRUNC));
	refused("open with O_APPEND", open(f, O_WRONLY | O_APPEND));
	refused("creat", open(fresh, O_WRONLY | O_CREAT, 0600));
	refused("O_TMPFILE", open(v[0], O_TMPFILE | O_WRONLY, 0600));
	refused("truncate", truncate(f, 0));
	refused("unlink", unlink(f));
	refused("mkdir", mkdir(fresh, 0700));
	refused("rmdir", rmdir(fresh));
	refused("rename", rename(f, fresh));
	refused("link", link(f, fresh));
	refused("symlink", symlink("x", fresh));
	refused("mknod", mknod(fresh, S_IFREG | 0600, 0));
	refused("mkfifo", mkfifo(fresh, 0600));
	refused("chmod", chmod(f, 0600));
	refused("chown", chown(f, 0, 0));
	refused("utimes", utimes(f, times));
	refused("setxattr", setxattr(f, "user.x", "y", 1, 0));
	refused("removexattr", removexattr(f, "user.pgstrata.digest"));
	refused("access for writing", access(f, W_OK));
	fd = open_file(f);
	if (write(fd, "x", 1) != -1 || errno != EBADF)
		die("write to a file open for reading");
	if (fallocate(fd, 0, 0, 4096) != -1)
		die("fallocate was not refused");
	if (fsync(fd) < 0)
		die("fsync: %s", strerror(errno));
	close(fd);
	return 0;
}

int main(int argc, char **argv)
{
	const char *verb = argc > 1 ? argv[1] : "";

	if (!strcmp(verb, "random") && argc == 6)
		return run_random(argv + 2);
	if (!strcmp(verb, "mmap") && argc == 4)
		return run_mmap(argv + 2);
	if (!strcmp(verb, "threads") && argc == 5)
		return run_threads(atoi(argv[2]), argv + 3);
	if (!strcmp(verb, "tree") && argc == 4)
		return run_tree(argv + 2);
	if (!strcmp(verb, "dir") && argc == 3)
		return run_dir(argv + 2);
	if (!strcmp(verb, "writes") && argc == 4)
		return run_writes(argv + 2);
	die("see the comment at the top");
}
