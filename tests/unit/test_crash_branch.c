/* A branch killed before each thing that it does to the disk, and each of these failing for want of room or with an error.
 * Operations are random, and known to two processes: one does them on the branch and says so after each, the other looks
 * afterwards whether what is there is what may be there (tests/unit/branch_fixture.h).
 *
 * PGSTRATA_CRASH_STEP=N in the environment takes every Nth point only. */
#include <signal.h>
#include <sys/wait.h>

#include "src/base/clean.h"
#include "tests/unit/branch_fixture.h"

#define OPERATIONS 60
#define ACK_DONE 'd'
#define ACK_REFUSED 'r' /* -ENOSPC, and nothing changed but perhaps bytes */
#define ACK_LOST 'l'	/* a sync that failed: the file's bytes may be lost */

struct place {
	char *dir, *branch, *acks, *points;
	char *kept; /* bytes of files, as writes that were refused left them */
	bool durable;
	bool closed; /* the branch was closed well: all of it is there */
};

static unsigned step(void)
{
	const char *s = getenv("PGSTRATA_CRASH_STEP");

	return s ? (unsigned)atoi(s) : PART(5, 20);
}

static struct place place_new(bool durable)
{
	struct place p = {.durable = durable};

	/* What a killed process wrote is in the kernel: it does not matter how slow the disk is. */
	if (access("/dev/shm", W_OK) == 0)
		setenv("TMPDIR", "/dev/shm", 1);
	p.dir = check_tempdir();
	p.branch = io_join(p.dir, "branch");
	p.acks = io_join(p.dir, "acks");
	p.points = io_join(p.dir, "points");
	p.kept = io_join(p.dir, "kept");
	return p;
}

static void place_free(struct place *p)
{
	check_rmtree(p->dir);
	free(p->dir);
	free(p->branch);
	free(p->acks);
	free(p->points);
	free(p->kept);
}

/* A whole file, or nothing. Not by src/base/io: the plan is read at the first fault point, which must be in a child. */
static char *slurp(const char *path, size_t *ret_len)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct stat st = {0};
	char *p;

	ck_assert(fd < 0 || fstat(fd, &st) == 0);
	p = calloc(1, (size_t)st.st_size + 1);
	ck_assert(fd < 0 || read(fd, p, (size_t)st.st_size) == st.st_size);
	if (fd >= 0)
		close(fd);
	*ret_len = (size_t)st.st_size;
	return p;
}

/* What a write that was refused left: its bytes may be there or not, and the length is as before. What is there stays, so it
 * is kept for look(). */
static void adopt_refused(struct branch *b, struct model *m, const struct op *o, int kept)
{
	struct model_file *f = m->f[o->i];
	struct version *was;
	struct branch_open *file;
	struct err e;

	if (o->kind != OP_WRITE && o->kind != OP_PUNCH)
		return;
	was = version_new(f->now->size, f->now);
	op_model(m, o);
	ck_assert_int_eq(open_file(b, o->i, &file, &e), 0);
	for (size_t k = 0; k < was->size; k++) {
		uint8_t byte, may = f->now->bytes[k];

		ck_assert_int_eq(branch_read(file, k, &byte, 1, &e), 1);
		ck_assert_msg(byte == may || byte == was->bytes[k], "f%u: byte %zu after a write that failed",
			o->i, k);
		was->bytes[k] = byte;
	}
	branch_open_drop(file);
	was->older = f->now;
	f->now = was;
	if (write(kept, was->bytes, was->size) != (ssize_t)was->size)
		abort();
}

static void say(int fd, char c)
{
	if (write(fd, &c, 1) != 1)
		abort();
}

/* Does the operations; ends with 0, or 9 when the branch gave up. Errors are those of the plan. */
static int work(const struct place *p)
{
	int acks = open(p->acks, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND, 0600);
	int kept = open(p->kept, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND, 0600);
	const char *plan = getenv("PGSTRATA_FAULT");
	/* A fault is for an operation, not for the reader. */
	bool lost[FILES] = {0}, compares = plan && !strstr(plan, "file-open");
	struct branch *b;
	struct model m;
	struct err e;
	char why[200];

	const struct branch_options options = {.lower = &lower, .durable = p->durable};

	if (branch_new(p->branch, &options, &b, &e) < 0)
		return 9;
	model_init(&m);
	for (unsigned i = 0; i < OPERATIONS; i++) {
		struct op o = op_choose(&m);
		int r = 0;

		if (o.kind == OP_REOPEN) {
			/* It frees all the same; what is left then is what a kill leaves. */
			if (branch_close(b, &e) < 0 || branch_new(p->branch, &options, &b, &e) < 0)
				return 9;
		} else {
			r = op_branch(b, &o, &e);
		}
		if (r == 0) {
			op_model(&m, &o);
			say(acks, ACK_DONE);
		} else if (r == -ENOSPC && o.kind != OP_SYNC && o.kind != OP_DATASYNC) {
			adopt_refused(b, &m, &o, kept);
			say(acks, ACK_REFUSED);
		} else {
			say(acks, ACK_LOST);
			lost[o.i] = true;
		}
		if (compares && r == 0 && !memchr(lost, true, sizeof(lost)) && i % 10 == 0)
			ck_assert_msg(is_like(b, &m, false, why), "operation %u (%s): %s", i, plan, why);
		op_release(&o);
	}
	return branch_close(b, &e) < 0 ? 9 : 0;
}

/* Runs fn in a process of its own, since the plan is read once in each. Its standard error is the file `err`. */
static int run(int (*fn)(const struct place *p), const struct place *p, const char *plan, const char *err)
{
	int status = 0;
	pid_t pid;

	fflush(NULL);
	pid = fork();
	ck_assert_int_ge(pid, 0);
	if (pid == 0) {
		if (plan)
			setenv("PGSTRATA_FAULT", plan, 1);
		if (err && !freopen(err, "w", stderr))
			_exit(8);
		_exit(fn(p));
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	return status;
}

/* What is there now is one of what may be; and it can be used. */
static int look(const struct place *p)
{
	struct model m, next;
	struct branch *b;
	struct err e = {0};
	char why[200] = "", also[200] = "";
	size_t n, n_kept, at = 0;
	_cleanup_(freep) char *acks = slurp(p->acks, &n), *kept = slurp(p->kept, &n_kept);
	bool fits, exact = !p->durable || p->closed;
	struct op o;

	model_init(&m);
	for (size_t i = 0; i < n; i++) {
		bool done = acks[i] == ACK_DONE;

		o = op_choose(&m);
		if (done) {
			op_model(&m, &o);
		} else if (o.kind == OP_WRITE || o.kind == OP_PUNCH) {
			struct version *was = m.f[o.i]->now;
			const void *bytes = was->bytes;

			op_model(&m, &o);
			if (acks[i] == ACK_REFUSED) {
				if (n_kept - at < was->size)
					return 6;
				bytes = kept + at;
				at += was->size;
			} else {
				exact = false; /* it is not done, or some of its bytes are */
			}
			memcpy(model_change(m.f[o.i], was->size)->bytes, bytes, was->size);
		}
		op_release(&o);
	}
	b = open_branch(p->branch, p->durable);
	fits = is_like(b, &m, !exact, why);
	if (!fits && n < OPERATIONS) {
		/* The one that was under way: done, or (bytes) in part. */
		next = m;
		o = op_choose(&next);
		op_model(&next, &o);
		fits = is_like(b, &next, true, also);
		op_release(&o);
	}
	if (!fits) {
		fprintf(stderr, "after %zu operations: %s; or %s\n", n, why, also);
		return 1;
	}
	for (unsigned i = 0; i < 3; i++) {
		const struct branch_make make = {.mode = S_IFREG | 0600};
		struct branch_open *f;
		struct branch_stat st;
		char name[8] = "new", got[5];

		if (branch_make(b, BRANCH_ROOT, name, &make, &st, &e) < 0 ||
			branch_open(b, st.number, &f, &e) < 0)
			return 2;
		if (branch_write(f, 8190, "abcde", 5, &e) < 0 || branch_fsync(f, &e) < 0)
			return 2;
		branch_open_drop(f);
		if (branch_close(b, &e) < 0)
			return 2;
		b = open_branch(p->branch, p->durable);
		if (branch_open(b, st.number, &f, &e) < 0 || branch_read(f, 8190, got, 5, &e) != 5 ||
			memcmp(got, "abcde", 5) != 0)
			return 3;
		branch_open_drop(f);
		if (branch_unlink(b, BRANCH_ROOT, name, false, &e) < 0)
			return 4;
		branch_forget(b, st.number);
	}
	return branch_close(b, &e) < 0 ? 5 : 0;
}

/* Passages of points that change something, or of the one named. */
static unsigned count_points(const struct place *p, const char *name)
{
	_cleanup_(freep) char *text = NULL;
	char line[64];
	unsigned n = 0;
	size_t len;
	int status;

	check_rmtree(p->branch);
	status = run(work, p, "count", p->points);
	ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 0, "without a fault: status %d", status);
	text = slurp(p->points, &len);
	snprintf(line, sizeof(line), "fault-point %s", name ? name : "");
	for (const char *at = text; (at = strstr(at, line)); at++)
		n++;
	return n;
}

static void check_looks(const struct place *p, const char *plan)
{
	int status = run(look, p, NULL, NULL);

	ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 0, "%s, %s: status 0x%x", plan,
		p->durable ? "durable" : "not durable", status);
}

START_TEST(killed_at_every_point)
{
	struct place p = place_new(_i == 1);
	unsigned points = count_points(&p, NULL), killed = 0;

	for (unsigned at = 1; at <= points; at += step()) {
		char plan[40];
		int status;

		snprintf(plan, sizeof(plan), "*:%u:kill", at);
		check_rmtree(p.branch);
		status = run(work, &p, plan, p.points);
		ck_assert_msg(
			WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL, "%s: status 0x%x", plan, status);
		check_looks(&p, plan);
		killed++;
	}
	fprintf(stderr, "crash: branch, %s: killed at %u of %u points\n",
		p.durable ? "durable" : "not durable", killed, points);
	ck_assert_uint_ge(points, 100);
	place_free(&p);
}
END_TEST

static const char *const no_room[] = {"branch-log-write", "branch-file-write", "branch-file-open"};

/* No room once: that one operation is refused, and all others are done as if nothing had been. */
START_TEST(no_room_at_every_point)
{
	struct place p = place_new(_i >= 3);
	const char *name = no_room[_i % 3];
	unsigned points = count_points(&p, name), tried = 0, closed = 0;

	for (unsigned at = 1; at <= points; at += step()) {
		char plan[60];
		int status;

		snprintf(plan, sizeof(plan), "%s:%u:%d", name, at, ENOSPC);
		check_rmtree(p.branch);
		status = run(work, &p, plan, p.points);
		ck_assert_msg(WIFEXITED(status) && (WEXITSTATUS(status) == 0 || WEXITSTATUS(status) == 9),
			"%s: status 0x%x", plan, status);
		p.closed = WEXITSTATUS(status) == 0;
		closed += p.closed;
		check_looks(&p, plan);
		tried++;
	}
	fprintf(stderr, "crash: branch, %s: no room at %u of %u %s\n", p.durable ? "durable" : "not durable",
		tried, points, name);
	/* Else it met a close, which says so. A few of the points prove nothing about how many do. */
	if (step() == 1)
		ck_assert_uint_ge(closed * 2, tried);
	ck_assert_uint_ge(points, 10);
	place_free(&p);
}
END_TEST

static const char *const fails[] = {"branch-log-sync", "branch-file-sync", "branch-names-sync"};

/* A sync that fails is told of, each time that file is synced; what was synced before is there. */
START_TEST(failed_sync_at_every_point)
{
	struct place p = place_new(true);
	unsigned points = count_points(&p, fails[_i]), told = 0, tried = 0;

	for (unsigned at = 1; at <= points; at += step()) {
		_cleanup_(freep) char *acks = NULL;
		char plan[60];
		size_t n;
		int status;

		snprintf(plan, sizeof(plan), "%s:%u:%d", fails[_i], at, EIO);
		check_rmtree(p.branch);
		status = run(work, &p, plan, p.points);
		ck_assert_msg(WIFEXITED(status) && (WEXITSTATUS(status) == 0 || WEXITSTATUS(status) == 9),
			"%s: status 0x%x", plan, status);
		acks = slurp(p.acks, &n);
		told += WEXITSTATUS(status) == 9 || memchr(acks, ACK_LOST, n);
		check_looks(&p, plan);
		tried++;
	}
	fprintf(stderr, "crash: branch: %s failed at %u of %u, told of %u\n", fails[_i], tried, points, told);
	ck_assert_uint_ge(points, 1);
	ck_assert_uint_eq(told, tried);
	place_free(&p);
}
END_TEST

/* The disk has room for a MiB of journal and no more: empty files until it says so, which then can go. 0, or what failed. */
static int fill_journal(const struct place *p)
{
	const struct branch_options options = {.lower = &lower, .durable = p->durable};
	const struct branch_make make = {.mode = S_IFREG | 0600};
	struct branch *b;
	struct branch_stat st;
	struct err e = {0};
	_cleanup_(freep) char *log = io_join(p->branch, "log");
	struct stat journal;
	unsigned made = 0;
	char name[16];
	int r;

	if (branch_new(p->branch, &options, &b, &e) < 0)
		return 1;
	do {
		snprintf(name, sizeof(name), "n%u", made++);
		r = branch_make(b, BRANCH_ROOT, name, &make, &st, &e);
	} while (r == 0 && made < 100000);
	if (r != -ENOSPC || !strstr(e.text, "full") || made < 1000)
		return 2;
	for (unsigned i = 0; i < 500; i++) {
		snprintf(name, sizeof(name), "n%u", i);
		if (branch_lookup(b, BRANCH_ROOT, name, &st, &e) < 0 ||
			branch_unlink(b, BRANCH_ROOT, name, false, &e) < 0)
			return 3;
		branch_forget(b, st.number);
	}
	if (branch_make(b, BRANCH_ROOT, "more", &make, &st, &e) != -ENOSPC)
		return 4;
	if (stat(log, &journal) < 0 || journal.st_size > 1 << 20)
		return 5;
	return branch_close(b, &e) < 0 ? 6 : 0;
}

START_TEST(journal_without_room)
{
	struct place p = place_new(_i == 1);
	char plan[60];
	int status;

	snprintf(plan, sizeof(plan), "branch-log-room:2+:%d", ENOSPC);
	status = run(fill_journal, &p, plan, NULL);
	ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 0, "status 0x%x", status);
	place_free(&p);
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("crash/branch");
	TCase *t = tcase_create("all");

	tcase_add_loop_test(t, killed_at_every_point, 0, 2);
	tcase_add_loop_test(t, no_room_at_every_point, 0, 6);
	tcase_add_loop_test(t, failed_sync_at_every_point, 0, 3);
	tcase_add_loop_test(t, journal_without_room, 0, 2);
	suite_add_tcase(s, t);
	return s;
}

CHECK_MAIN(suite)
