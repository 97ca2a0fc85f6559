/* What POSIX and Linux promise of a file system, as named cases in a directory of its own: names, attributes, open files,
 * locks, several processes at once. tests/posix_bytes.c has the bytes.
 *
 *	posix_tree DIR            on a file system that has everything
 *	posix_tree --branch DIR   on a branch: the exceptions that tests/README.md lists are expected, with their errors
 *
 * Each case runs in a process and a new directory of its own. Must be run by root: it takes on other users. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

#define NOBODY 65534

static bool branch;

static void die(int line, const char *what)
{
	fprintf(stderr, "posix_tree: line %d: %s: %s\n", line, what, strerror(errno));
	_exit(1);
}
#define OK(x) ((x) ? (void)0 : die(__LINE__, #x))
/* The call fails, and just so. */
#define REFUSED(no, call) OK((errno = 0, (call) == -1) && errno == (no))

static int put(const char *name, const char *text)
{
	int fd = open(name, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

	OK(fd >= 0);
	OK(write(fd, text, strlen(text)) == (ssize_t)strlen(text));
	return fd;
}

static void make(const char *name, const char *text)
{
	OK(close(put(name, text)) == 0);
}

static bool has(const char *name, const char *text)
{
	char got[256];
	int fd = open(name, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, got, sizeof(got));

	close(fd);
	return n == (ssize_t)strlen(text) && !memcmp(got, text, (size_t)n);
}

static struct stat of(const char *name)
{
	struct stat st;

	OK(lstat(name, &st) == 0);
	return st;
}

/* A process that runs fn and must end well. */
static pid_t begin(void (*fn)(int), int arg)
{
	pid_t pid = fork();

	OK(pid >= 0);
	if (pid == 0) {
		fn(arg);
		_exit(0);
	}
	return pid;
}

static void finish(pid_t pid)
{
	int status = 0;

	OK(waitpid(pid, &status, 0) == pid);
	errno = 0;
	OK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static bool later(struct timespec a, struct timespec b)
{
	return a.tv_sec != b.tv_sec ? a.tv_sec > b.tv_sec : a.tv_nsec > b.tv_nsec;
}

static bool same(struct timespec a, struct timespec b)
{
	return a.tv_sec == b.tv_sec && a.tv_nsec == b.tv_nsec;
}

/* Time goes on, also for a file system that counts in ticks. */
static void tick(void)
{
	struct timespec t = {.tv_nsec = 20000000};

	nanosleep(&t, NULL);
}

/* ---- names ---- */

static void errors(void)
{
	char name[257], deep[5000] = "";
	int fd;

	memset(name, 'n', 256);
	name[256] = '\0';
	REFUSED(ENAMETOOLONG, open(name, O_CREAT | O_RDWR, 0600));
	REFUSED(ENAMETOOLONG, mkdir(name, 0700));
	REFUSED(ENAMETOOLONG, symlink("x", name));
	name[255] = '\0';
	make(name, "long");
	OK(rename(name, "f") == 0);
	while (strlen(deep) < 4096)
		strcat(deep, "./");
	strcat(deep, "f");
	REFUSED(ENAMETOOLONG, open(deep, O_RDONLY));
	OK(mkdir("d", 0700) == 0);
	REFUSED(EEXIST, mkdir("d", 0700));
	REFUSED(EEXIST, mkdir("f", 0700));
	REFUSED(EEXIST, open("f", O_CREAT | O_EXCL | O_RDWR, 0600));
	REFUSED(EEXIST, symlink("x", "f"));
	REFUSED(EEXIST, link("f", "d"));
	REFUSED(ENOENT, open("none", O_RDONLY));
	REFUSED(ENOENT, open("", O_RDONLY));
	REFUSED(ENOENT, open("none/f", O_CREAT | O_RDWR, 0600));
	REFUSED(ENOENT, rename("none", "f"));
	REFUSED(ENOENT, unlink("none"));
	REFUSED(ENOENT, rmdir("none"));
	REFUSED(ENOENT, link("none", "g"));
	REFUSED(ENOTDIR, open("f/x", O_RDONLY));
	REFUSED(ENOTDIR, open("f", O_RDONLY | O_DIRECTORY));
	REFUSED(ENOTDIR, rmdir("f"));
	REFUSED(ENOTDIR, rename("d", "f"));
	REFUSED(EISDIR, open("d", O_RDWR));
	REFUSED(EISDIR, unlink("d"));
	REFUSED(EISDIR, rename("f", "d"));
	REFUSED(EISDIR, truncate("d", 0));
	REFUSED(EINVAL, rename("d", "d/d"));
	REFUSED(EINVAL, rmdir("d/."));
	REFUSED(ENOTEMPTY, rmdir("d/.."));
	REFUSED(EINVAL, truncate("f", -1));
	REFUSED(EINVAL, readlink("f", deep, 10));
	REFUSED(EPERM, link("d", "d2"));
	make("d/x", "");
	REFUSED(ENOTEMPTY, rmdir("d"));
	OK(mkdir("e", 0700) == 0);
	REFUSED(ENOTEMPTY, rename("e", "d"));
	OK(rename("d", "e") == 0 && has("e/x", ""));
	REFUSED(EEXIST, renameat2(AT_FDCWD, "f", AT_FDCWD, "e/x", RENAME_NOREPLACE));
	fd = open("f", O_RDONLY);
	REFUSED(EBADF, write(fd, "x", 1));
	REFUSED(EINVAL, ftruncate(fd, 0));
	REFUSED(EFBIG, truncate("f", INT64_MAX));
	OK(has("f", "long"));
}

static void links(void)
{
	char target[4096], got[5000];
	struct stat st;

	make("a", "one");
	OK(link("a", "b") == 0 && of("a").st_nlink == 2 && of("a").st_ino == of("b").st_ino);
	make("b", "two, longer");
	OK(has("a", "two, longer"));
	OK(mkdir("d", 0700) == 0 && link("b", "d/c") == 0 && of("a").st_nlink == 3);
	OK(unlink("a") == 0 && of("b").st_nlink == 2);
	/* Two names of one file: nothing is done. */
	OK(rename("b", "d/c") == 0 && of("b").st_nlink == 2);
	make("x", "");
	OK(rename("x", "b") == 0 && of("d/c").st_nlink == 1 && has("d/c", "two, longer"));
	memset(target, 't', 4095);
	target[4095] = '\0';
	OK(symlink(target, "long") == 0 && of("long").st_size == 4095);
	OK(readlink("long", got, sizeof(got)) == 4095 && !memcmp(got, target, 4095));
	OK(readlink("long", got, 7) == 7);
	OK(symlink("nowhere", "dangling") == 0);
	REFUSED(ENOENT, open("dangling", O_RDONLY));
	OK(symlink("loop2", "loop1") == 0 && symlink("loop1", "loop2") == 0);
	REFUSED(ELOOP, open("loop1", O_RDONLY));
	REFUSED(ELOOP, open("dangling", O_RDONLY | O_NOFOLLOW));
	OK(symlink("d/../d/c", "through") == 0 && has("through", "two, longer"));
	OK(close(open("dangling", O_CREAT | O_WRONLY, 0600)) == 0 && stat("nowhere", &st) == 0);
	OK(link("through", "copy") == 0 && S_ISLNK(of("copy").st_mode) && of("copy").st_nlink == 2);
	OK(linkat(AT_FDCWD, "through", AT_FDCWD, "file", AT_SYMLINK_FOLLOW) == 0 &&
		S_ISREG(of("file").st_mode));
}

static void odd_names(void)
{
	char name[3] = "x", list[300][3];
	unsigned n = 0, seen = 0;
	struct dirent *de;
	DIR *d;

	for (unsigned c = 1; c < 256; c++) {
		name[1] = (char)c;
		if (c == '/')
			continue;
		make(name, "");
		strcpy(list[n++], name);
	}
	d = opendir(".");
	while ((de = readdir(d)))
		for (unsigned i = 0; i < n; i++)
			seen += !strcmp(de->d_name, list[i]);
	OK(seen == n);
	closedir(d);
	OK(mkdir("...", 0700) == 0 && mkdir(".../-", 0700) == 0);
	REFUSED(ENOENT, rmdir("x"));
}

static void deep(void)
{
	char name[10];

	for (int i = 0; i < 300; i++) {
		sprintf(name, "d%d", i);
		OK(mkdir(name, 0700) == 0 && chdir(name) == 0);
	}
	make("f", "deep");
	OK(link("f", "g") == 0);
	for (int i = 299; i >= 0; i--) {
		sprintf(name, "d%d", i);
		OK(chdir("..") == 0);
		if (i == 299) {
			OK(rename("d299", "moved") == 0 && has("moved/g", "deep"));
			OK(unlink("moved/f") == 0 && unlink("moved/g") == 0 && rmdir("moved") == 0);
		} else {
			OK(rmdir(name) == 0);
		}
	}
}

static void working_directory(void)
{
	char got[4096];

	OK(mkdir("a", 0700) == 0 && mkdir("a/b", 0700) == 0 && mkdir("c", 0700) == 0);
	OK(chdir("a/b") == 0);
	make("f", "here");
	OK(rename("../../a/b", "../../c/b") == 0);
	OK(has("f", "here") && has("../../c/b/f", "here"));
	OK(getcwd(got, sizeof(got)) && !strcmp(got + strlen(got) - 4, "/c/b"));
	OK(unlink("f") == 0 && rmdir("../b") == 0);
	REFUSED(ENOENT, open("g", O_CREAT | O_RDWR, 0600));
	REFUSED(ENOENT, mkdir("g", 0700));
	OK(chdir("../..") == -1 || access("c", F_OK) == -1 || rmdir("c") == 0);
}

/* A name always means a whole file, whoever replaces it. */
static void replace(int n)
{
	char text[200], name[20];

	for (int i = 0; i < 300; i++) {
		memset(text, 'a' + (i + n) % 26, 100 + i % 90);
		text[100 + i % 90] = '\0';
		sprintf(name, "new%d", n);
		make(name, text);
		OK(rename(name, "name") == 0);
	}
}

static void rename_over_open(void)
{
	pid_t a, b;
	char got[256];
	int held;

	make("name", "aaa");
	held = open("name", O_RDONLY);
	a = begin(replace, 0);
	b = begin(replace, 7);
	for (int i = 0; i < 600; i++) {
		int fd = open("name", O_RDONLY);
		ssize_t len = read(fd, got, sizeof(got));

		OK(fd >= 0 && len >= 3);
		for (ssize_t k = 1; k < len; k++)
			OK(got[k] == got[0]);
		close(fd);
	}
	finish(a);
	finish(b);
	OK(pread(held, got, 9, 0) == 3 && !memcmp(got, "aaa", 3));
}

static void win(int fd)
{
	for (int i = 0; i < 60; i++) {
		char name[20];
		int mine;

		sprintf(name, "only%d", i);
		mine = open(name, O_CREAT | O_EXCL | O_WRONLY, 0600);
		OK(mine >= 0 || errno == EEXIST);
		OK(mine < 0 || write(fd, "w", 1) == 1);
		close(mine);
	}
}

static void exclusive_create(void)
{
	int fd = open("wins", O_CREAT | O_WRONLY | O_APPEND, 0600);
	pid_t pid[4];

	for (int i = 0; i < 4; i++)
		pid[i] = begin(win, fd);
	for (int i = 0; i < 4; i++)
		finish(pid[i]);
	OK(of("wins").st_size == 60);
}

/* Makes, moves and removes the same few names as others do: each call succeeds, or fails for a reason that there is. */
static void stir(int n)
{
	unsigned r = (unsigned)n * 7919 + 1;
	char a[20], b[20];

	for (int i = 0; i < 400; i++) {
		int e;

		r = r * 1103515245 + 12345;
		sprintf(a, "d%u/x%u", r >> 16 & 1, r >> 18 & 3);
		sprintf(b, "d%u/x%u", r >> 20 & 1, r >> 22 & 3);
		errno = 0;
		switch (r >> 25 & 3) {
		case 0:
			(void)!mkdir(a, 0700);
			break;
		case 1:
			(void)!rmdir(a);
			break;
		case 2:
			e = open(a, O_CREAT | O_WRONLY, 0600);
			close(e);
			errno = e < 0 ? EISDIR : 0;
			break;
		default:
			if (rename(a, b) < 0 && errno != EINVAL)
				(void)!unlink(a);
		}
		e = errno;
		OK(!e || e == EEXIST || e == ENOENT || e == ENOTDIR || e == EISDIR || e == ENOTEMPTY ||
			e == EINVAL);
	}
}

static void many_hands(void)
{
	pid_t pid[4];
	struct dirent *de;

	OK(mkdir("d0", 0700) == 0 && mkdir("d1", 0700) == 0);
	for (int i = 0; i < 4; i++)
		pid[i] = begin(stir, i);
	for (int i = 0; i < 4; i++)
		finish(pid[i]);
	for (int i = 0; i < 2; i++) {
		char name[300];
		DIR *d = opendir(i ? "d1" : "d0");

		while ((de = readdir(d)))
			if (de->d_name[0] != '.') {
				snprintf(name, sizeof(name), "d%d/%s", i, de->d_name);
				OK(unlink(name) == 0 || (errno == EISDIR && rmdir(name) == 0));
			}
		closedir(d);
		OK(rmdir(i ? "d1" : "d0") == 0);
	}
}

/* ---- listing ---- */

static void listing(void)
{
	enum { N = 700 };
	unsigned char seen[N] = {0};
	unsigned n = 0, i;
	char name[300];
	struct dirent *de;
	long where = -1;
	DIR *d;

	for (i = 0; i < N; i++) {
		sprintf(name, "%u", i);
		make(name, "");
	}
	/* Those that stay come once, whatever comes and goes meanwhile. */
	d = opendir(".");
	while ((de = readdir(d))) {
		if (de->d_name[0] < '0' || de->d_name[0] > '9')
			continue;
		i = (unsigned)atoi(de->d_name);
		if (i < N)
			OK(++seen[i] == 1);
		n++;
		if (n % 3 == 0) {
			sprintf(name, "t%u", n);
			make(name, "");
		}
		if (n % 5 == 0 && i < N)
			OK(unlink(de->d_name) == 0);
	}
	for (i = 0; i < N; i++)
		OK(seen[i] == 1);
	rewinddir(d);
	for (n = 0; (de = readdir(d)); n++) {
		if (n == 100)
			where = telldir(d), strcpy(name, de->d_name);
		OK(access(de->d_name, F_OK) == 0);
	}
	/* From there on the same again. */
	seekdir(d, where);
	for (i = 101; readdir(d); i++)
		;
	OK(i == n);
	/* As rm -r does: removes what it reads, until nothing is left. */
	rewinddir(d);
	while ((de = readdir(d)))
		OK(de->d_name[0] == '.' || unlink(de->d_name) == 0);
	rewinddir(d);
	for (n = 0; readdir(d); n++)
		;
	OK(n == 2);
	closedir(d);
}

/* ---- attributes ---- */

static void times(void)
{
	struct timespec t[2] = {{.tv_nsec = UTIME_OMIT}, {1000000000, 123456789}};
	struct stat was, is;
	char c;
	int fd = put("f", "text");

	OK(utimensat(AT_FDCWD, "f", t, 0) == 0);
	was = of("f");
	OK(same(was.st_mtim, t[1]));
	tick();
	OK(pread(fd, &c, 1, 0) == 1 && same(of("f").st_mtim, was.st_mtim) &&
		same(of("f").st_ctim, was.st_ctim));
	OK(pwrite(fd, "T", 1, 0) == 1);
	is = of("f");
	OK(later(is.st_mtim, was.st_mtim) && later(is.st_ctim, was.st_ctim));
	was = is;
	tick();
	OK(chmod("f", 0600) == 0);
	is = of("f");
	OK(same(is.st_mtim, was.st_mtim) && later(is.st_ctim, was.st_ctim));
	was = is;
	tick();
	OK(link("f", "g") == 0 && later(of("f").st_ctim, was.st_ctim) && same(of("f").st_mtim, was.st_mtim));
	was = of(".");
	tick();
	OK(rename("g", "h") == 0 && later(of(".").st_mtim, was.st_mtim));
	was = of("f");
	tick();
	OK(ftruncate(fd, 2) == 0 && later(of("f").st_mtim, was.st_mtim));
	was = of("f");
	tick();
	OK(unlink("h") == 0 && later(of("f").st_ctim, was.st_ctim) && same(of("f").st_mtim, was.st_mtim));
	was = of(".");
	tick();
	OK(pwrite(fd, "x", 1, 0) == 1 && same(of(".").st_mtim, was.st_mtim));
	t[0] = (struct timespec){5, 6};
	t[1].tv_nsec = UTIME_NOW;
	OK(futimens(fd, t) == 0);
	is = of("f");
	OK(is.st_atim.tv_sec == 5 && is.st_atim.tv_nsec == 6 && later(is.st_mtim, was.st_mtim));
	t[0] = t[1] = (struct timespec){-100, 7};
	OK(symlink("f", "s") == 0 && utimensat(AT_FDCWD, "s", t, AT_SYMLINK_NOFOLLOW) == 0);
	OK(of("s").st_mtim.tv_sec == -100 && of("f").st_mtim.tv_sec > 0);
}

static void as_nobody(int unused)
{
	struct timespec now[2] = {{.tv_nsec = UTIME_NOW}, {.tv_nsec = UTIME_NOW}}, then[2] = {{1, 1}, {1, 1}};

	(void)unused;
	OK(setgid(NOBODY) == 0 && setuid(NOBODY) == 0);
	REFUSED(EACCES, open("secret", O_RDONLY));
	REFUSED(EACCES, open("readable", O_RDWR));
	REFUSED(EACCES, truncate("readable", 0));
	OK(has("readable", "text"));
	REFUSED(EACCES, open("closed/f", O_RDONLY));
	REFUSED(EACCES, opendir("closed") ? 0 : -1);
	REFUSED(EACCES, open("new", O_CREAT | O_WRONLY, 0600));
	REFUSED(EACCES, unlink("readable"));
	REFUSED(EACCES, rename("readable", "x"));
	REFUSED(EPERM, chmod("readable", 0777));
	REFUSED(EPERM, chown("readable", NOBODY, NOBODY));
	REFUSED(EACCES, utimensat(AT_FDCWD, "readable", now, 0));
	OK(utimensat(AT_FDCWD, "shared", now, 0) == 0);
	REFUSED(EPERM, utimensat(AT_FDCWD, "shared", then, 0));
	REFUSED(EPERM, unlink("sticky/root"));
	REFUSED(EPERM, rename("sticky/root", "sticky/x"));
	make("sticky/mine", "");
	OK(of("sticky/mine").st_uid == NOBODY && unlink("sticky/mine") == 0);
	make("group/mine", "");
	OK(of("group/mine").st_gid == 4242 && mkdir("group/dir", 0755) == 0);
	OK(of("group/dir").st_gid == 4242 && of("group/dir").st_mode & S_ISGID);
	OK(chmod("group/mine", 02755) == 0 && !(of("group/mine").st_mode & S_ISGID));
	OK(access("secret", R_OK) == -1 && access("readable", R_OK) == 0 && access("readable", W_OK) == -1);
	/* Who writes to a program takes its rights away. */
	OK(close(open("shared", O_WRONLY)) == 0);
	OK(open("program", O_WRONLY) >= 0);
	OK(write(open("program", O_WRONLY), "x", 1) == 1 && (of("program").st_mode & 07777) == 0777);
	OK(truncate("program2", 1) == 0 && (of("program2").st_mode & 07777) == 0777);
	OK(close(open("program3", O_WRONLY | O_TRUNC)) == 0 && (of("program3").st_mode & 07777) == 0777);
	OK(posix_fallocate(open("program4", O_WRONLY), 0, 9999) == 0 &&
		(of("program4").st_mode & 07777) == 0777);
}

static void modes(void)
{
	umask(027);
	OK(mkdir("d", 0777) == 0 && (of("d").st_mode & 07777) == 0750);
	OK(close(open("f", O_CREAT | O_WRONLY, 0666)) == 0 && (of("f").st_mode & 07777) == 0640);
	umask(0);
	/* The mode counts for the next open, not for this one. */
	OK(write(open("readonly", O_CREAT | O_RDWR, 0444), "x", 1) == 1 &&
		(of("readonly").st_mode & 07777) == 0444);
	OK(chmod(".", 0755) == 0);
	make("secret", "text");
	make("readable", "text");
	make("shared", "text");
	make("program", "text");
	make("program2", "text");
	OK(chmod("secret", 0600) == 0 && chmod("readable", 0644) == 0 && chmod("shared", 0666) == 0);
	make("program3", "text");
	make("program4", "text");
	make("program5", "text");
	OK(chmod("program", 06777) == 0 && (of("program").st_mode & 07777) == 06777);
	OK(chmod("program2", 06777) == 0 && chmod("program3", 06777) == 0 && chmod("program4", 06777) == 0);
	OK(chmod("program5", 06777) == 0);
	OK(mkdir("closed", 0700) == 0 && mkdir("sticky", 0700) == 0 && chmod("sticky", 01777) == 0);
	make("closed/f", "");
	make("sticky/root", "");
	OK(mkdir("group", 0700) == 0 && chown("group", 0, 4242) == 0 && chmod("group", 02777) == 0);
	finish(begin(as_nobody, 0));
	OK(write(open("program5", O_WRONLY), "x", 1) == 1 && (of("program5").st_mode & 07777) == 06777);
	OK(chown("program5", NOBODY, NOBODY) == 0 && (of("program5").st_mode & 07777) == 0777);
	OK(chown("secret", 1234, 5678) == 0 && of("secret").st_uid == 1234 && of("secret").st_gid == 5678);
	OK(chown("secret", (uid_t)-1, 1) == 0 && of("secret").st_uid == 1234 && of("secret").st_gid == 1);
	OK(symlink("none", "l") == 0 && lchown("l", 7, 8) == 0 && of("l").st_uid == 7);
}

/* ---- open files ---- */

static void append_lines(int n)
{
	int fd = open("log", O_WRONLY | O_APPEND);
	char line[40];

	for (int i = 0; i < 300; i++) {
		int len = sprintf(line, "%d-%06d-%.*s\n", n, i, i % 20, "abcdefghijklmnopqrstuvwxyz");

		OK(write(fd, line, (size_t)len) == len);
	}
}

static void append(void)
{
	unsigned next[3] = {0}, n, i;
	char line[100], rest[64];
	pid_t pid[3];
	FILE *f;

	make("log", "");
	for (i = 0; i < 3; i++)
		pid[i] = begin(append_lines, (int)i);
	for (i = 0; i < 3; i++)
		finish(pid[i]);
	f = fopen("log", "r");
	while (fgets(line, sizeof(line), f)) {
		OK(sscanf(line, "%u-%u-%63[^\n]", &n, &i, rest) >= 2);
		OK(n < 3 && i == next[n]++);
	}
	OK(next[0] == 300 && next[1] == 300 && next[2] == 300);
	fclose(f);
}

static void unlinked(void)
{
	int fd = put("f", "text"), dir;
	struct stat st;
	char got[9], *m;

	m = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	OK(m != MAP_FAILED && unlink("f") == 0);
	OK(fstat(fd, &st) == 0 && st.st_nlink == 0 && st.st_size == 4);
	memcpy(m, "TEXT", 4);
	OK(pread(fd, got, 9, 0) == 4 && !memcmp(got, "TEXT", 4));
	OK(pwrite(fd, "more", 4, 100000) == 4 && fsync(fd) == 0 && fchmod(fd, 0600) == 0);
	OK(pread(fd, got, 9, 99999) == 5 && !memcmp(got, "\0more", 5));
	make("f", "another");
	OK(pread(fd, got, 4, 0) == 4 && !memcmp(got, "TEXT", 4) && has("f", "another"));
	munmap(m, 4096);
	close(fd);
	OK(mkdir("d", 0700) == 0);
	dir = open("d", O_RDONLY | O_DIRECTORY);
	OK(rmdir("d") == 0 && fstat(dir, &st) == 0);
	REFUSED(ENOENT, openat(dir, "x", O_CREAT | O_WRONLY, 0600));
	OK(fsync(dir) == 0);
}

static void truncated(void)
{
	int a = put("f", "0123456789"), b = open("f", O_RDWR), c = open("f", O_RDWR | O_APPEND);
	char got[20];

	OK(lseek(a, 0, SEEK_CUR) == 10 && close(open("f", O_RDWR | O_TRUNC)) == 0);
	OK(read(b, got, 20) == 0 && write(a, "x", 1) == 1);
	OK(read(b, got, 20) == 11 && !memcmp(got, "\0\0\0\0\0\0\0\0\0\0x", 11));
	OK(ftruncate(b, 3) == 0 && write(c, "end", 3) == 3 && pread(b, got, 20, 0) == 6);
	OK(!memcmp(got, "\0\0\0end", 6) && lseek(b, 0, SEEK_END) == 6);
	OK(dup2(a, 100) == 100 && lseek(100, 2, SEEK_SET) == 2 && lseek(a, 0, SEEK_CUR) == 2);
}

static void beyond_the_end(int unused)
{
	int fd = put("short", "x");
	volatile char *m = mmap(NULL, 16384, PROT_READ, MAP_SHARED, fd, 0);

	(void)unused;
	OK(m[0] == 'x' && m[4095] == '\0');
	signal(SIGBUS, SIG_DFL);
	(void)m[8192];
	_exit(1);
}

static void share(int fd)
{
	char *m = mmap(NULL, 65536, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	OK(m != MAP_FAILED);
	for (int i = 0; i < 1000; i++)
		__atomic_fetch_add((unsigned *)(m + 20000), 1, __ATOMIC_SEQ_CST);
}

static void mapped(void)
{
	int fd = put("f", ""), status = 0, other;
	char *m, *p, got[8];
	unsigned sum;
	pid_t pid[3];

	OK(ftruncate(fd, 65536) == 0);
	m = mmap(NULL, 65536, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	p = mmap(NULL, 65536, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
	OK(m != MAP_FAILED && p != MAP_FAILED);
	for (int i = 0; i < 3; i++)
		pid[i] = begin(share, fd);
	for (int i = 0; i < 3; i++)
		finish(pid[i]);
	memcpy(&sum, m + 20000, 4);
	OK(sum == 3000);
	OK(pread(fd, &sum, 4, 20000) == 4 && sum == 3000);
	OK(pwrite(fd, "written", 7, 30000) == 7 && !memcmp(m + 30000, "written", 7) &&
		!memcmp(p + 30000, "written", 7));
	memcpy(m + 40000, "mapped", 6);
	other = open("f", O_RDONLY);
	OK(pread(other, got, 6, 40000) == 6 && !memcmp(got, "mapped", 6));
	memcpy(p + 50000, "mine", 4);
	OK(pread(fd, got, 4, 50000) == 4 && !memcmp(got, "\0\0\0\0", 4));
	OK(msync(m, 65536, MS_SYNC) == 0 && munmap(m, 65536) == 0);
	OK(ftruncate(fd, 30003) == 0 && ftruncate(fd, 65536) == 0);
	OK(pread(fd, got, 7, 30000) == 7 && !memcmp(got, "wri\0\0\0\0", 7));
	pid[0] = begin(beyond_the_end, 0);
	OK(waitpid(pid[0], &status, 0) == pid[0] && WIFSIGNALED(status) && WTERMSIG(status) == SIGBUS);
}

/* ---- locks ---- */

static struct flock range(short type, off_t from, off_t len)
{
	return (struct flock){.l_type = type, .l_whence = SEEK_SET, .l_start = from, .l_len = len};
}

static void try_locks(int unused)
{
	struct flock l = range(F_WRLCK, 0, 10);
	int fd = open("f", O_RDWR);

	(void)unused;
	OK(fcntl(fd, F_SETLK, &l) == -1 && (errno == EAGAIN || errno == EACCES));
	OK(fcntl(fd, F_GETLK, &l) == 0 && l.l_type == F_WRLCK && l.l_pid == getppid());
	l = range(F_WRLCK, 100, 10);
	OK(fcntl(fd, F_SETLK, &l) == 0);
	l = range(F_RDLCK, 50, 10);
	OK(fcntl(fd, F_SETLK, &l) == 0);
	REFUSED(EWOULDBLOCK, flock(fd, LOCK_EX | LOCK_NB));
	OK(flock(open("g", O_RDONLY), LOCK_SH | LOCK_NB) == 0);
}

static void wait_for_lock(int fd)
{
	struct flock l = range(F_WRLCK, 0, 10);

	OK(write(fd, "w", 1) == 1 && fcntl(open("f", O_RDWR), F_SETLKW, &l) == 0);
}

static void locks(void)
{
	struct flock l = range(F_WRLCK, 0, 10);
	int fd = put("f", "text"), g = put("g", ""), p[2], second;
	pid_t pid;
	char c;

	OK(fcntl(fd, F_SETLK, &l) == 0 && flock(fd, LOCK_EX) == 0 && flock(g, LOCK_SH) == 0);
	l = range(F_RDLCK, 50, 10);
	OK(fcntl(fd, F_SETLK, &l) == 0);
	finish(begin(try_locks, 0));
	/* Who waits gets it when it is free; who ends has none. */
	OK(pipe(p) == 0);
	pid = begin(wait_for_lock, p[1]);
	OK(read(p[0], &c, 1) == 1);
	l = range(F_UNLCK, 0, 0);
	OK(fcntl(fd, F_SETLK, &l) == 0);
	finish(pid);
	l = range(F_WRLCK, 0, 0);
	OK(fcntl(fd, F_SETLK, &l) == 0);
	second = open("f", O_RDWR);
	l = range(F_WRLCK, 0, 10);
	OK(fcntl(second, F_SETLK, &l) == 0); /* its own */
	REFUSED(EAGAIN, fcntl(second, F_OFD_SETLK, &l));
	REFUSED(EWOULDBLOCK, flock(second, LOCK_EX | LOCK_NB));
	OK(close(second) == 0); /* and with it all of this process */
	OK(fcntl(open("f", O_RDWR), F_OFD_SETLK, &l) == 0);
}

/* ---- what a branch has not ---- */

static void exceptions(void)
{
	int fd = put("f", "text"), r;

	make("g", "other");
	r = renameat2(AT_FDCWD, "f", AT_FDCWD, "g", RENAME_EXCHANGE);
	OK(branch ? r == -1 && errno == EINVAL : r == 0);
	r = open(".", O_TMPFILE | O_RDWR, 0600);
	OK(branch ? r == -1 && errno == EOPNOTSUPP : r >= 0);
	r = fsetxattr(fd, "user.x", "y", 1, 0);
	OK(branch ? r == -1 && errno == EOPNOTSUPP : r == 0);
	r = mknod("null", S_IFCHR | 0600, 1 << 8 | 3);
	OK(branch ? r == -1 && errno == EPERM : r == 0 || errno == EPERM);
	OK(ftruncate(fd, 65536) == 0);
	r = fallocate(fd, FALLOC_FL_COLLAPSE_RANGE, 0, 16384);
	OK(branch ? r == -1 && errno == EOPNOTSUPP : r == 0 || errno == EOPNOTSUPP);
	OK(mkdir("d", 0700) == 0 && mkdir("d/e", 0700) == 0);
	OK(of("d").st_nlink == 2 || (!branch && (of("d").st_nlink == 3 || of("d").st_nlink == 1)));
}

static void whole_file_system(void)
{
	int dir = open(".", O_RDONLY | O_DIRECTORY);
	struct statvfs st;

	OK(statvfs(".", &st) == 0 && st.f_namemax == 255 && st.f_bavail <= st.f_bfree &&
		st.f_bfree <= st.f_blocks);
	OK(syncfs(dir) == 0 && fsync(dir) == 0 && fdatasync(dir) == 0);
}

static const struct {
	const char *name;
	void (*fn)(void);
} cases[] = {
	{"errors", errors},
	{"links", links},
	{"odd_names", odd_names},
	{"deep", deep},
	{"working_directory", working_directory},
	{"rename_over_open", rename_over_open},
	{"exclusive_create", exclusive_create},
	{"many_hands", many_hands},
	{"listing", listing},
	{"times", times},
	{"modes", modes},
	{"append", append},
	{"unlinked", unlinked},
	{"truncated", truncated},
	{"mapped", mapped},
	{"locks", locks},
	{"exceptions", exceptions},
	{"whole_file_system", whole_file_system},
};
#define N_CASES (sizeof(cases) / sizeof(*cases))

int main(int argc, char **argv)
{
	unsigned failed = 0;

	branch = argc > 1 && !strcmp(argv[1], "--branch");
	if (argc != 2 + branch || chdir(argv[1 + branch]) < 0) {
		fprintf(stderr, "usage: posix_tree [--branch] DIR\n");
		return 2;
	}
	for (size_t i = 0; i < N_CASES; i++) {
		int status = -1;
		pid_t pid = fork();

		if (pid == 0) {
			umask(022);
			OK(mkdir(cases[i].name, 0755) == 0 && chdir(cases[i].name) == 0);
			cases[i].fn();
			_exit(0);
		}
		if (pid < 0 || waitpid(pid, &status, 0) != pid || status != 0) {
			printf("posix_tree: %s failed, status 0x%x\n", cases[i].name, (unsigned)status);
			failed++;
		}
	}
	printf("posix_tree: %zu cases, %u failed\n", N_CASES, failed);
	return failed != 0;
}
