/* What the tests of faults share: verbs to run on a small repository, what must be there before and after, and a look at
 * whether it is.
 *
 * Each scenario has a repository as it was before the verb (TOP/base), which is copied (TOP/work) for every case.
 * Verbs run as the program that this build made, the others as this test program itself, called by the scenario's name.
 * A check reads everything: snapshots file by file, WAL byte by byte, and lets the store verify itself.
 *
 * Needs a build with fault points. Linked into one program only, hence all static. */
#pragma once

#include <dirent.h>
#include <signal.h>
#include <sys/wait.h>

#include "src/base/clean.h"
#include "src/base/fault.h"
#include "src/pg/control.h"
#include "store/prune.h"
#include "store/verify.h"
#include "store/wal.h"
#include "store/wal_partial.h"
#include "tests/unit/store_fixture.h"
#include "tests/unit/wal_make.h"

#define SEGMENT (1u << 20)
#define SEGMENTS 10
#define ARGS 16

struct crash {
	char *top; /* base/repo, base/cache; work/repo, work/cache; first, second, wal */
	uint64_t sysid;
	char **before, **want; /* what the store held, and holds when the verb is done; NULL-terminated */
	char **left;	       /* what of it damage had left */
};

struct scenario {
	const char *name;
	const char *prepare; /* verbs that make base/repo, parted by ';'; "": there is none */
	const char *verb;    /* NULL: this program does it */
	const char *then;    /* a verb that must work afterwards; NULL: none */
	bool drops;	     /* of what was there before, only what it leaves must stay */
	bool may_exist;	     /* run again after it was done, it says that it is done */
	/* Before the verb, this is damaged: each of the objects whose names begin so, parted by ';'. What was there
	 * before stands for what the verb must bring back; TOP/other is a copy of the repository without damage. */
	const char *damages;
};

/* ---- lists of texts ---- */

FX_UNUSED static void texts_add(char ***v, char *text)
{
	size_t n = 0;

	while (*v && (*v)[n])
		n++;
	*v = realloc(*v, (n + 2) * sizeof(char *));
	(*v)[n] = text;
	(*v)[n + 1] = NULL;
}

FX_UNUSED static void texts_free(char **v)
{
	if (v)
		strv_free(v);
}

FX_UNUSED static bool texts_have(char **v, const char *text)
{
	for (; v && *v; v++)
		if (!strcmp(*v, text))
			return true;
	return false;
}

FX_UNUSED static bool texts_all(char **v, char **of)
{
	for (; of && *of; of++)
		if (!texts_have(v, *of))
			return false;
	return true;
}

/* ---- files ---- */

FX_UNUSED static char *crash_path(const struct crash *c, const char *below)
{
	return io_join(c->top, below);
}

/* Not by src/base/io: that has fault points and a journal. */
FX_UNUSED static void crash_write(const char *dir, const char *name, const void *p, size_t n)
{
	_cleanup_(freep) char *path = io_join(dir, name);
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	ck_assert_msg(fd >= 0 && write(fd, p, n) == (ssize_t)n, "%s: %s", path, strerror(errno));
	close(fd);
}

/* A copy whose files are the same inodes: objects do not change, and who changed one would hurt the original. */
FX_UNUSED static void crash_copy(const char *from, const char *to)
{
	DIR *d = opendir(from);
	struct dirent *de;

	ck_assert_msg(mkdir(to, 0700) == 0, "%s: %s", to, strerror(errno));
	while (d && (de = readdir(d))) {
		_cleanup_(freep) char *a = io_join(from, de->d_name);
		_cleanup_(freep) char *b = io_join(to, de->d_name);
		struct stat st;

		if (!strcmp(de->d_name, ".") || !strcmp(de->d_name, ".."))
			continue;
		ck_assert_int_eq(lstat(a, &st), 0);
		if (S_ISDIR(st.st_mode))
			crash_copy(a, b);
		else
			ck_assert_msg(link(a, b) == 0, "%s: %s", b, strerror(errno));
	}
	if (d)
		closedir(d);
}

FX_UNUSED static void crash_fresh(const struct crash *c)
{
	_cleanup_(freep) char *base = crash_path(c, "base"), *work = crash_path(c, "work");

	check_rmtree(work);
	crash_copy(base, work);
}

/* ---- running ---- */

struct crash_run {
	bool killed, done; /* done: it ended with 0 */
	int status;
	char point[80];	   /* where it was killed: point and passage */
	unsigned passages; /* of points that change something */
	struct {
		char name[20];
		unsigned n;
	} reads[4]; /* of the others, by name */
	char out[400], err[600];
};

/* "@repo" is the repository, "@x" is TOP/x. Returns the texts to free. */
FX_UNUSED static unsigned crash_args(const struct crash *c, const char *spec, char *argv[ARGS])
{
	char *copy = strdup(spec), *save = NULL;
	unsigned n = 0;

	for (char *w = strtok_r(copy, " ", &save); w && n < ARGS - 1; w = strtok_r(NULL, " ", &save))
		argv[n++] = *w != '@'		  ? strdup(w)
			    : !strcmp(w, "@repo") ? crash_path(c, "work/repo")
						  : crash_path(c, w + 1);
	argv[n] = NULL;
	free(copy);
	return n;
}

FX_UNUSED static void crash_count_read(struct crash_run *r, const char *name)
{
	unsigned i = 0;

	while (i < 3 && *r->reads[i].name && strcmp(r->reads[i].name, name) != 0)
		i++;
	snprintf(r->reads[i].name, sizeof(r->reads[i].name), "%.19s", name);
	r->reads[i].n++;
}

/* How often a run passed a point; "*": all that change something. */
FX_UNUSED static unsigned crash_passages(const struct crash_run *r, const char *point)
{
	for (unsigned i = 0; i < 4; i++)
		if (!strcmp(r->reads[i].name, point))
			return r->reads[i].n;
	return strcmp(point, "*") ? 0 : r->passages;
}

FX_UNUSED static void crash_slurp(int fd, struct crash_run *r, char *keep, size_t cap)
{
	FILE *f = fdopen(fd, "r");
	char line[600];

	rewind(f);
	*keep = 0;
	while (fgets(line, sizeof(line), f)) {
		line[strcspn(line, "\n")] = 0;
		if (!strncmp(line, "fault-point ", 12))
			r->passages++;
		else if (!strncmp(line, "fault-read ", 11))
			crash_count_read(r, line + 11);
		else if (!strncmp(line, "fault-kill ", 11))
			snprintf(r->point, sizeof(r->point), "%.79s", line + 11);
		else if (strlen(keep) + strlen(line) + 2 < cap)
			sprintf(keep + strlen(keep), "%s\n", line);
	}
	fclose(f);
}

/* env: "NAME=VALUE" or NULL. */
FX_UNUSED static struct crash_run crash_run(
	const struct crash *c, const struct scenario *s, const char *spec, const char *env)
{
	_cleanup_(freep) char *cache = crash_path(c, "work/cache");
	struct crash_run r = {0};
	int out = open("/tmp", O_TMPFILE | O_RDWR, 0600), err = open("/tmp", O_TMPFILE | O_RDWR, 0600),
	    status;
	char *argv[ARGS + 1];
	unsigned n;
	pid_t pid;

	ck_assert(out >= 0 && err >= 0);
	n = spec ? crash_args(c, spec, argv + 1) + 1 : 2;
	if (!spec) {
		argv[1] = strdup(s->name);
		argv[2] = NULL;
	}
	argv[0] = strdup(spec ? "pgstrata" : c->top);
	pid = fork();
	ck_assert_int_ge(pid, 0);
	if (!pid) {
		dup2(out, 1);
		dup2(err, 2);
		setenv("PGSTRATA_CACHE_DIR", cache, 1);
		unsetenv("PGSTRATA_FAULT");
		if (env)
			putenv((char *)env);
		execv(spec ? PGSTRATA_BINARY : "/proc/self/exe", argv);
		_exit(127);
	}
	for (unsigned i = 0; i < n; i++)
		free(argv[i]);
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	crash_slurp(out, &r, r.out, sizeof(r.out));
	crash_slurp(err, &r, r.err, sizeof(r.err));
	r.killed = WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
	r.status = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
	r.done = r.status == 0;
	ck_assert_msg(r.killed || (r.status >= 0 && r.status < 5), "%s under %s: signal %d, status %d: %s",
		s->name, env ? env : "nothing", WIFSIGNALED(status) ? WTERMSIG(status) : 0, r.status, r.err);
	return r;
}

/* ---- what is in the store ---- */

struct crash_digest {
	struct store *s;
	const char *up;
	struct digester *d;
	struct err *e;
};

FX_UNUSED static int crash_digest_entry(void *arg, const struct entry *en)
{
	struct crash_digest *c = arg, sub = *c;
	_cleanup_(freep) char *path = io_join(c->up, en->name);
	uint8_t *p = NULL;
	int r = 0;

	digester_add(c->d, path, strlen(path) + 1);
	digester_add(c->d, &en->meta.mode, sizeof(en->meta.mode));
	switch (en->type) {
	case ENTRY_FILE:
		r = fx_read(c->s, &en->file, 100000, &p, c->e);
		if (!r)
			digester_add(c->d, p, en->file.size);
		free(p);
		break;
	case ENTRY_SYMLINK:
		digester_add(c->d, en->target, strlen(en->target));
		break;
	case ENTRY_DIR:
		sub.up = path;
		r = tree_walk(c->s, &en->dir, 0, crash_digest_entry, &sub, c->e);
		break;
	}
	return r;
}

FX_UNUSED static int crash_look_snapshots(struct store *s, bool damaged, char ***v, struct err *e)
{
	struct snapshot_list l = {0};
	int r = snapshot_list(s, NULL, 0, &l, e);

	for (size_t i = 0; i < l.n && (!r || damaged); i++) {
		struct crash_digest c = {.s = s, .up = "", .d = digester_new(), .e = e};
		struct snapshot *snap;
		char hex[DIGEST_HEX], *text;

		r = snapshot_load(s, l.refs[i].cluster, l.refs[i].kind, l.refs[i].id, &snap, e);
		if (!r) {
			r = tree_walk(s, &snap->root, 0, crash_digest_entry, &c, e);
			snapshot_free(snap);
		}
		struct digest d = digester_end(c.d);
		digester_free(c.d);
		if (r < 0)
			continue;
		ck_assert_int_gt(
			asprintf(&text, "snapshot %s %s", l.refs[i].cluster, digest_hex(&d, hex)), 0);
		texts_add(v, text);
	}
	snapshot_list_free(&l);
	return r;
}

FX_UNUSED static int crash_look_file(
	struct file *f, uint64_t n, const char *what, const char *name, char ***v, struct err *e)
{
	uint8_t *p = malloc(n + 1);
	ssize_t got = file_read(f, 0, p, n, e);

	if (got >= 0) {
		struct digest d = digest_of(p, n);
		char hex[DIGEST_HEX], *text;

		ck_assert_int_gt(
			asprintf(&text, "%s %s %" PRIu64 " %s", what, name, n, digest_hex(&d, hex)), 0);
		texts_add(v, text);
	}
	free(p);
	file_free(f);
	return got < 0 ? (int)got : 0;
}

FX_UNUSED static int crash_look_wal(
	struct store *s, const char *cluster, bool damaged, char ***v, struct err *e)
{
	char **groups, **names;
	struct file *f;
	int r = wal_groups(s, cluster, &groups, e);

	if (r < 0)
		return r;
	for (char **g = groups; *g && !r; g++) {
		r = wal_names(s, cluster, *g, &names, e);
		if (r < 0)
			break;
		for (char **n = names; *n && !r; n++) {
			r = wal_open(s, cluster, *n, &f, e);
			if (!r)
				r = crash_look_file(f, file_size(f), "wal", *n, v, e);
			r = damaged ? 0 : r;
		}
		strv_free(names);
	}
	strv_free(groups);
	return r;
}

/* Everything that the repository gives, a line each. An error is something that it promises and does not give;
 * damaged: that is passed over. */
FX_UNUSED static int crash_look(struct store *s, bool damaged, char ***ret, struct err *e)
{
	char **v = NULL, **clusters;
	int r = crash_look_snapshots(s, damaged, &v, e);

	if (!r || damaged)
		r = store_clusters(s, &clusters, e);
	if (!r) {
		for (char **c = clusters; *c && !r; c++)
			r = crash_look_wal(s, *c, damaged, &v, e);
		strv_free(clusters);
	}
	*ret = v;
	return r;
}

FX_UNUSED static void crash_on_finding(void *arg, const struct verify_finding *f)
{
	snprintf(arg, 500, "%s %s: %s", f->object, f->snapshot ? f->snapshot : "", f->why);
}

/* What can be read of TOP/work/repo, damaged as it may be, by its objects alone. */
FX_UNUSED static char **crash_look_damaged(const struct crash *c, const char *what)
{
	_cleanup_(freep) char *repo = crash_path(c, "work/repo");
	const struct store_options o = {.cache_bytes = 1 << 20};
	struct store *s;
	struct err e = {0};
	char **v;

	ck_assert_msg(store_open(repo, &o, &s, &e) == 0, "%s: it does not open: %s", what, e.text);
	crash_look(s, true, &v, &e);
	store_free(s);
	return v;
}

/* Opens TOP/work/repo (with its index cache, or without), has it verified, and reads it. -ENOENT: there is none. */
FX_UNUSED static int crash_inspect(const struct crash *c, const char *what, bool cache, char ***ret)
{
	_cleanup_(freep) char *repo = crash_path(c, "work/repo"), *dir = crash_path(c, "work/cache");
	struct store_options o = {.index_dir = cache ? dir : NULL, .cache_bytes = 1 << 20};
	struct verify_options vo = {.threads = 2};
	struct verify_report v;
	struct store *s;
	struct err e = {0};
	char why[500] = "";
	int r = store_open(repo, &o, &s, &e);

	*ret = NULL;
	if (r == -ENOENT)
		return r;
	ck_assert_msg(!r, "%s: it does not open: %s", what, e.text);
	r = store_verify(s, &vo, crash_on_finding, why, &v, &e);
	ck_assert_msg(!r && !v.damaged && !v.lost && !v.unused, "%s: verify: %s %s", what, e.text, why);
	r = crash_look(s, false, ret, &e);
	ck_assert_msg(!r, "%s: it cannot be read: %s", what, e.text);
	store_free(s);
	return 0;
}

FX_UNUSED static void crash_must_have(char **is, char **want, const char *what, const char *which)
{
	for (; want && *want; want++)
		ck_assert_msg(texts_have(is, *want), "%s: %s is gone: %s", what, which, *want);
}

/* After a fault: sound, all of the old is there, and of the new what was acknowledged; run again, all of it. */
FX_UNUSED static void crash_check(
	const struct crash *c, const struct scenario *s, const char *what, bool acknowledged)
{
	struct crash_run again;
	char **is;
	int r = 0;

	if (s->damages && !acknowledged)
		is = crash_look_damaged(c, what);
	else
		r = crash_inspect(c, what, true, &is);
	ck_assert_msg(!r || (!acknowledged && !c->before), "%s: there is no repository", what);
	if (s->damages)
		crash_must_have(c->before, is, what, "nobody put there what is read");
	if (!s->drops)
		crash_must_have(is, s->damages ? c->left : c->before, what, "what was there");
	if (acknowledged || s->drops)
		crash_must_have(is, c->want, what, "what was acknowledged");
	texts_free(is);
	again = crash_run(c, s, s->verb, NULL);
	ck_assert_msg(
		again.done || (s->may_exist && !r), "%s: once more: %d, %s", what, again.status, again.err);
	crash_inspect(c, what, true, &is);
	crash_must_have(is, c->want, what, "after another run, what it should bring");
	if (!s->drops)
		crash_must_have(is, c->before, what, "after another run, what was there");
	texts_free(is);
	if (!s->then)
		return;
	again = crash_run(c, s, s->then, NULL);
	ck_assert_msg(again.done, "%s: %s: %d, %s", what, s->then, again.status, again.err);
	crash_inspect(c, what, true, &is);
	crash_must_have(is, c->want, what, "after the next verb");
	texts_free(is);
}

/* ---- what goes in ---- */

/* A base backup of PostgreSQL 13 with a few files; the second one is the first with changes, the third one shares a few
 * files with them. */
FX_UNUSED static void crash_make_backups(struct crash *c, uint64_t *rng)
{
	static const char label[] = "START WAL LOCATION: 0/2000028 (file 000000010000000000000002)\n"
				    "CHECKPOINT LOCATION: 0/2000060\n"
				    "BACKUP METHOD: streamed\n"
				    "BACKUP FROM: primary\n"
				    "START TIME: 2026-11-20 02:15:07 UTC\n"
				    "LABEL: x\n"
				    "START TIMELINE: 1\n";
	size_t n;
	uint8_t *control = fx_read_file(PGSTRATA_TEST_DATA, "control-13-production.bin", &n);
	struct control parsed;
	struct err e = {0};
	uint8_t *p = fx_bytes(rng, 40 * 65536);

	fx_ok(control_parse(control, n, &parsed, &e), &e);
	c->sysid = parsed.system_identifier;
	check_rand_fill(rng, p, 4 * 65536);
	for (int which = 0; which < 3; which++) {
		static const char *const names[] = {"first", "second", "third"};
		_cleanup_(freep) char *dir = crash_path(c, names[which]);
		_cleanup_(freep) char *global = io_join(dir, "global"), *base = io_join(dir, "base");
		_cleanup_(freep) char *one = io_join(base, "1");

		ck_assert(
			!mkdir(dir, 0700) && !mkdir(global, 0700) && !mkdir(base, 0700) && !mkdir(one, 0700));
		crash_write(dir, "PG_VERSION", "13\n", 3);
		crash_write(dir, "backup_label", label, strlen(label));
		crash_write(global, "pg_control", control, n);
		for (int i = 0; i < 10; i++) {
			char name[16];

			snprintf(name, sizeof(name), "%d", 16384 + i);
			crash_write(one, name, p + 70000 * i,
				i % 3 ? 8192 * (1 + (size_t)i) : 200 * (1 + (size_t)i));
		}
		crash_write(one, "20000", p, 40 * 65536);
		for (size_t at = which ? 20 * 65536 : 5000; at < 40 * 65536; at += which ? 11 : 65536 * 3)
			p[at] ^= 0x5a;
	}
	free(control);
	free(p);
}

FX_UNUSED static char *crash_segment_name(unsigned i, char out[25])
{
	snprintf(out, 25, "00000001000000000000%04X", i);
	return out;
}

/* Segments of 1 MiB of the same system, from 2 on, and what an archive has besides. */
FX_UNUSED static void crash_make_wal(struct crash *c, uint64_t *rng)
{
	_cleanup_(freep) char *dir = crash_path(c, "wal");
	static const char history[] = "1\t0/2000000\tno recovery target specified\n";

	ck_assert_int_eq(mkdir(dir, 0700), 0);
	for (unsigned i = 2; i < 2 + SEGMENTS; i++) {
		struct wal_make w = wal_make_at(13, SEGMENT, 8192, (uint64_t)i * SEGMENT);
		char name[25];
		uint8_t text[700];

		w.sysid = c->sysid;
		for (int k = 0; k < 40; k++) {
			check_rand_fill(rng, text, sizeof(text));
			wal_make_record(&w, 10, 0, 7, text, sizeof(text));
		}
		/* As after a switch: the rest is zeroes. */
		uint8_t *p = calloc(1, SEGMENT);
		memcpy(p, w.out.data, w.out.len);
		crash_write(dir, crash_segment_name(i, name), p, SEGMENT);
		buf_free(&w.out);
		free(p);
	}
	crash_write(dir, "00000002.history", history, strlen(history));
}

FX_UNUSED static struct crash crash_new(void)
{
	struct crash c;
	uint64_t rng = check_seed();

	/* Nothing here needs a disk that is waited for: what a sync means is asked of the journal. */
	if (!access("/dev/shm", W_OK))
		setenv("TMPDIR", "/dev/shm", 1);
	c = (struct crash){.top = check_tempdir()};

	crash_make_backups(&c, &rng);
	crash_make_wal(&c, &rng);
	return c;
}

/* One byte of each object of TOP/work/repo whose name begins so, in a new file: others may share the old one. */
FX_UNUSED static unsigned crash_flip(struct store *s, const char *repo, const char *prefix)
{
	struct fx_objects o = {0};
	struct err e = {0};
	_cleanup_(freep) char *folder = strndup(prefix, strcspn(prefix, "/"));
	unsigned flipped = 0;

	fx_ok(backend_list(s->backend, folder, fx_object, &o, &e), &e);
	for (size_t i = 0; i < o.n; i++) {
		_cleanup_(freep) char *path = io_join(repo, o.names[i]);
		uint8_t *p;
		size_t n;

		if (strncmp(o.names[i], prefix, strlen(prefix)) != 0)
			continue;
		p = fx_read_file(repo, o.names[i], &n);
		/* In the middle of what it holds, behind heads and before footers. */
		p[n / 2] ^= 0x10;
		ck_assert_int_eq(unlink(path), 0);
		crash_write(repo, o.names[i], p, n);
		free(p);
		flipped++;
	}
	fx_objects_free(&o);
	return flipped;
}

FX_UNUSED static void crash_damage(struct crash *c, const struct scenario *s)
{
	_cleanup_(freep) char *repo = crash_path(c, "work/repo"), *other = crash_path(c, "other");
	_cleanup_(freep) char *all = strdup(s->damages);
	const struct store_options o = {0};
	struct store *store;
	struct err e = {0};
	char *save = NULL;

	check_rmtree(other);
	crash_copy(repo, other);
	fx_ok(store_open(repo, &o, &store, &e), &e);
	for (char *d = strtok_r(all, ";", &save); d; d = strtok_r(NULL, ";", &save))
		ck_assert_msg(crash_flip(store, repo, d), "%s: there is no object %s", s->name, d);
	store_free(store);
	c->left = crash_look_damaged(c, s->name);
	ck_assert_msg(c->before && !texts_all(c->left, c->before), "%s: the damage hurts nothing", s->name);
}

/* Makes the base, and learns what a run that nothing disturbs leaves. Returns that run. */
FX_UNUSED static struct crash_run crash_begin(struct crash *c, const struct scenario *s)
{
	_cleanup_(freep) char *base = crash_path(c, "base"), *work = crash_path(c, "work");
	_cleanup_(freep) char *cache = crash_path(c, "work/cache"), *steps = strdup(s->prepare);
	struct crash_run r;
	char *save = NULL;

	texts_free(c->before);
	texts_free(c->left);
	texts_free(c->want);
	check_rmtree(base);
	check_rmtree(work);
	ck_assert(!mkdir(work, 0700) && !mkdir(cache, 0700));
	for (char *step = strtok_r(steps, ";", &save); step; step = strtok_r(NULL, ";", &save)) {
		r = crash_run(c, s, step, NULL);
		ck_assert_msg(r.done, "%s: %s: %s", s->name, step, r.err);
	}
	crash_inspect(c, s->name, true, &c->before);
	if (s->damages)
		crash_damage(c, s);
	ck_assert_int_eq(rename(work, base), 0);
	crash_fresh(c);
	r = crash_run(c, s, s->verb, "PGSTRATA_FAULT=count");
	ck_assert_msg(r.done, "%s: %s", s->name, r.err);
	ck_assert_int_eq(crash_inspect(c, s->name, true, &c->want), 0);
	return r;
}

FX_UNUSED static void crash_free(struct crash *c)
{
	texts_free(c->before);
	texts_free(c->left);
	texts_free(c->want);
	check_rmtree(c->top);
	free(c->top);
}

/* ---- the verbs ---- */

#define INIT "init -r @repo"
#define FIRST ";import base -q -j 2 -r @repo @first"
#define SECOND ";import base -q -j 2 -r @repo @second"
#define THIRD ";import base -q -j 2 -r @repo @third"
#define SEG(n) "@wal/0000000100000000000000" n
#define PUSH(n) ";archive-push -q -r @repo " SEG(n)

static const struct scenario scenarios[] = {
	{.name = "init", .prepare = "", .verb = INIT, .may_exist = true},
	{.name = "import base, the first", .prepare = INIT, .verb = "import base -q -j 2 -r @repo @first"},
	{.name = "import base, deltas",
		.prepare = INIT FIRST,
		.verb = "import base -q -j 2 -r @repo @second"},
	{.name = "import base, the same",
		.prepare = INIT FIRST SECOND,
		.verb = "import base -q -j 2 -r @repo @second"},
	{.name = "import wal", .prepare = INIT FIRST PUSH("02"), .verb = "import wal -q -j 2 -r @repo @wal"},
	{.name = "archive-push, the first", .prepare = INIT, .verb = "archive-push -q -r @repo " SEG("02")},
	{.name = "archive-push",
		.prepare = INIT FIRST PUSH("02"),
		.verb = "archive-push -q -r @repo " SEG("03")},
	{.name = "archive-push, known",
		.prepare = INIT PUSH("02"),
		.verb = "archive-push -q -r @repo " SEG("02")},
	{.name = "archive-push, history",
		.prepare = INIT PUSH("02"),
		.verb = "archive-push -q -r @repo @wal/00000002.history"},
	{.name = "verify", .prepare = INIT FIRST SECOND PUSH("02"), .verb = "verify -q -r @repo"},
	{.name = "receive", .prepare = INIT PUSH("02")},
	{.name = "prune",
		.prepare = INIT FIRST SECOND THIRD PUSH("02"),
		.then = "import base -q -j 2 -r @repo @first",
		.drops = true},
	{.name = "repair",
		.prepare = INIT FIRST SECOND PUSH("02") PUSH("03"),
		.verb = "repair -q -j 2 -r @repo --from @other",
		.damages = "packs/;wal/;snapshots/"},
};
#define N_SCENARIOS (sizeof(scenarios) / sizeof(scenarios[0]))

/* PGSTRATA_CRASH_ONLY=NAME: that scenario alone. */
FX_UNUSED static bool crash_wanted(const struct scenario *s)
{
	const char *only = getenv("PGSTRATA_CRASH_ONLY");

	return !only || !strcmp(only, s->name);
}

/* ---- what a receiver does, without a server: this program's own scenario ---- */

/* Two segments come in pieces, which are merged now and then; the first one becomes whole. Each piece that is durable is
 * told: "ack SEGMENT BYTES" in standard output and in the journal. Begins where the archive and the pieces end, like a
 * receiver. */
FX_UNUSED static int crash_receive(const char *top)
{
	struct crash c = {.top = (char *)top};
	_cleanup_(freep) char *repo = crash_path(&c, "work/repo"), *cache = crash_path(&c, "work/cache");
	_cleanup_(freep) char *wal = crash_path(&c, "wal");
	struct store_options o = {.index_dir = cache};
	struct store *s;
	struct err e = {0};
	int r = store_open(repo, &o, &s, &e);

	for (unsigned i = 3; i < 5 && !r; i++) {
		struct wal_partial_info info = {0};
		struct wal_info whole;
		char name[25], ack[80];
		size_t n;
		uint8_t *p = fx_read_file(wal, crash_segment_name(i, name), &n);
		uint64_t stop = i == 3 ? SEGMENT : SEGMENT / 2, at;
		bool known;

		r = wal_stat(s, "main", name, &whole, &e);
		if (r == 0) {
			r = wal_partial_remove(s, "main", name, &e);
			free(p);
			continue;
		}
		r = wal_partial_stat(s, "main", name, &info, &e);
		at = r == -ENOENT ? 0 : info.length;
		r = r == -ENOENT ? 0 : r;
		for (uint64_t to; at < stop && !r; at = to) {
			to = at + 37 * 1024 < stop ? at + 37 * 1024 : stop;
			r = wal_partial_append(s, "main", name, SEGMENT, at, p + at, to - at, &e);
			snprintf(ack, sizeof(ack), "ack %s %" PRIu64, name, to);
			if (!r) {
				puts(ack);
				fflush(stdout);
				fault_note_path(FAULT_MARK, ack, NULL);
				r = wal_partial_compact(s, "main", name, 5, &e);
			}
		}
		if (stop == SEGMENT && !r) {
			const struct wal_input in = {.bytes = p, .fd = -1, .size = SEGMENT};

			r = wal_put_input(s, "main", name, &in, 1, &known, &e);
			if (!r)
				r = wal_partial_remove(s, "main", name, &e);
		}
		free(p);
	}
	if (r < 0)
		fprintf(stderr, "%s\n", e.text);
	store_free(s);
	return r < 0;
}

/* What was acknowledged of a growing segment is there, in its pieces or in the archive. */
FX_UNUSED static void crash_check_pieces(const struct crash *c, const char *what, const char *acks)
{
	_cleanup_(freep) char *repo = crash_path(c, "work/repo"), *wal = crash_path(c, "wal");
	struct store_options o = {0};
	struct store *s;
	struct err e = {0};

	fx_ok(store_open(repo, &o, &s, &e), &e);
	for (const char *line = acks; line && *line; line = strchr(line, '\n'), line += line != NULL) {
		char name[25];
		uint64_t bytes;
		size_t n;
		uint8_t *want, *got;
		struct file *f;

		if (sscanf(line, "ack %24s %" SCNu64, name, &bytes) != 2)
			continue;
		want = fx_read_file(wal, name, &n);
		got = malloc(bytes);
		if (wal_open(s, "main", name, &f, &e) < 0) {
			struct wal_partial_info info;

			fx_ok(wal_partial_open(s, "main", name, &f, &info, &e), &e);
			ck_assert_msg(info.length >= bytes, "%s: %s: %" PRIu64 " bytes of %" PRIu64, what,
				name, info.length, bytes);
		}
		fx_ok(file_read(f, 0, got, bytes, &e), &e);
		fx_same(what, got, bytes, want, bytes);
		file_free(f);
		free(got);
		free(want);
	}
	store_free(s);
}

/* All snapshots but the newest go, and what only they needed. */
FX_UNUSED static int crash_prune(const char *top)
{
	struct crash c = {.top = (char *)top};
	_cleanup_(freep) char *repo = crash_path(&c, "work/repo"), *cache = crash_path(&c, "work/cache");
	struct store_options o = {.index_dir = cache};
	struct prune_options po = {0};
	struct prune_report report = {0};
	struct snapshot_list l = {0};
	struct store *s;
	struct err e = {0};
	int r = store_open(repo, &o, &s, &e);

	if (!r)
		r = snapshot_list(s, "main", SNAPSHOT_BASE, &l, &e);
	if (!r && l.n > 1)
		r = store_remove_snapshots(s, l.refs, l.n - 1, &e);
	if (!r)
		r = store_prune(s, &po, &report, &e);
	if (r < 0)
		fprintf(stderr, "%s\n", e.text);
	else
		printf("removed %" PRIu64 " rewritten %" PRIu64 " waiting %" PRIu64 " %s\n", report.removed,
			report.rewritten, report.waiting, report.waiting_for);
	snapshot_list_free(&l);
	store_free(s);
	return r < 0;
}

/* For main(): this program called as a scenario. */
FX_UNUSED static char **crash_child;

START_TEST(crash_child_runs)
{
	bool receive = !strcmp(crash_child[1], "receive");
	int r = receive ? crash_receive(crash_child[0]) : crash_prune(crash_child[0]);

	fflush(stdout);
	_exit(r);
}
END_TEST

FX_UNUSED static Suite *crash_child_suite(void)
{
	Suite *s = suite_create("child");
	TCase *t = tcase_create("child");

	tcase_add_test(t, crash_child_runs);
	suite_add_tcase(s, t);
	return s;
}

#define CRASH_MAIN(suite_fn)                                 \
	int main(int argc, char **argv)                      \
	{                                                    \
		if (argc == 2) {                             \
			setenv("CK_FORK", "no", 1);          \
			crash_child = argv;                  \
			return check_run(crash_child_suite); \
		}                                            \
		return check_run(suite_fn);                  \
	}
