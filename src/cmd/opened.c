/* See opened.h.
 *
 * The place's lock is held while the branch is made and the mount is found or made, so that whoever closes the last branch at
 * the same time does not take the mount away in between: the branch's record says that it is being opened. */
#include "src/cmd/opened.h"

#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fs/branch_dir.h"
#include "fs/owner.h"
#include "src/base/clean.h"
#include "src/base/io.h"
#include "src/cmd/choose.h"

CLEANUP_DEFINE(struct snapshot, snapshot_free)
CLEANUP_DEFINE(struct owners, owners_free)

#define NAME_TRIES 1000
#define SERVER_LOG_MAX (16u << 20)

void opened_release(struct opened *o)
{
	branch_place_release(&o->place);
	branch_server_release(&o->server);
	if (o->has_point)
		pit_point_release(&o->point);
	free(o->name);
	free(o->backup);
	free(o->target);
	free(o->tree);
	free((char *)o->server.home);
	free((char *)o->server.server);
	free((char *)o->server.mount);
	free((char *)o->server.bindir);
	*o = (struct opened){0};
}

/* ---- what to open ---- */

static int copy_text(const char *text, char **ret, struct err *e)
{
	*ret = strdup(text);
	return *ret ? 0 : err_sys(e, -ENOMEM, "%s", text);
}

static int named_user(const char *name, struct opened *o, struct err *e)
{
	struct passwd pw, *found = NULL;
	char space[4096];

	if (getpwnam_r(name, &pw, space, sizeof(space), &found) != 0 || !found)
		return err_set(e, -ENOENT,
			"there is no user \"%s\" here to run PostgreSQL as: say with --run-as", name);
	if (found->pw_uid == 0)
		return err_set(e, -EINVAL, "PostgreSQL does not run as root");
	o->uid = found->pw_uid;
	o->gid = found->pw_gid;
	return 0;
}

/* Whoever the data directory belonged to. Root's are copies that root made, whose server's user nobody knows. */
static int choose_user(
	struct store *s, const struct snapshot *snap, const char *run_as, struct opened *o, struct err *e)
{
	_cleanup_(owners_freep) struct owners *owners = NULL;
	_cleanup_(freep) struct entry *data = NULL;
	const struct owner_options none = {0};
	int r;

	o->uid = geteuid();
	o->gid = getegid();
	if (o->uid != 0)
		return run_as ? err_set(e, -EPERM, "only root can run PostgreSQL as another user") : 0;
	if (run_as)
		return named_user(run_as, o, e);
	r = tree_lookup(s, &snap->root, "data", &data, e);
	r = r ? r : owners_new(&none, &owners);
	if (r < 0)
		return r;
	owner_resolve(owners, &data->meta, &o->uid, &o->gid);
	return o->uid ? 0 : named_user("postgres", o, e);
}

static int choose_point(struct cmd_context *c, struct store *s, const char *text, const char *run_as,
	struct opened *o, unsigned *ret_major, struct err *e)
{
	_cleanup_(pit_freep) struct pit *p = NULL;
	char name[TARGET_TEXT];
	struct target t;
	int r = target_parse(text, &t, e);

	r = r ? r : pit_new(s, c->cluster, c->log, &p, e);
	r = r ? r : pit_resolve(p, &t, &o->point, e);
	if (r < 0)
		return r;
	o->has_point = true;
	*ret_major = o->point.pg_major;
	r = copy_text(target_name(&o->point.target, name), &o->target, e);
	r = r ? r : choose_user(s, o->point.backup, run_as, o, e);
	return r ? r : copy_text(o->point.backup->id, &o->backup, e);
}

static int choose_backup(struct cmd_context *c, struct store *s, const char *id, const char *run_as,
	struct opened *o, unsigned *ret_major, struct err *e)
{
	_cleanup_(snapshot_freep) struct snapshot *snap = NULL;
	int r = cmd_choose(s, c->cluster, id, SNAPSHOT_BASE, NULL, &snap, e);

	if (r < 0)
		return r;
	r = choose_user(s, snap, run_as, o, e);
	if (r < 0)
		return r;
	*ret_major = (unsigned)pit_number_of(snap, "pg_version");
	o->server.own = (struct instance_wal){.tli = {(uint32_t)pit_number_of(snap, "timeline")},
		.segment_size = (uint32_t)pit_number_of(snap, "wal_segment_size"),
		.from = pit_lsn_of(snap, "start_lsn"),
		.to = pit_lsn_of(snap, "stop_lsn")};
	return copy_text(snap->id, &o->backup, e);
}

/* A branch that there is tells its backup; where it was going is in its own files. */
static int choose_branch(struct cmd_context *c, struct store *s, const char *name, const char *run_as,
	struct opened *o, unsigned *ret_major, struct err *e)
{
	_cleanup_(freep) char *home = NULL;
	struct branch_spec spec;
	int r = branch_load(o->place.dir, c->cluster, name, &spec, e);

	if (r < 0)
		return r;
	r = branch_path(o->place.dir, c->cluster, name, &home, e);
	r = r ? r : branch_server_check(home, e);
	if (r < 0) {
		branch_spec_release(&spec);
		return err_wrap(e, r, "branch %s", name);
	}
	r = choose_backup(c, s, spec.backup, run_as, o, ret_major, e);
	o->server.durable = spec.durable;
	o->target = MOVE(spec.target);
	branch_spec_release(&spec);
	return r ? r : copy_text(name, &o->name, e);
}

static int choose(
	struct cmd_context *c, struct store *s, const struct open_wish *w, struct opened *o, struct err *e)
{
	char *bindir = NULL;
	unsigned major = 0;
	int r;

	o->server.durable = w->durable;
	if (w->resume)
		r = choose_branch(c, s, w->resume, w->run_as, o, &major, e);
	else if (w->backup)
		r = choose_backup(c, s, w->backup, w->run_as, o, &major, e);
	else
		r = choose_point(c, s, w->target ? w->target : "latest", w->run_as, o, &major, e);
	if (r < 0 || w->no_start)
		return r;
	r = instance_find(w->bindir, major, &bindir, e);
	o->server.bindir = bindir;
	return r;
}

/* ---- the branch ---- */

/* A name from the target's: what a branch cannot be called becomes "_". n: the how manieth try. */
static void name_from(const char *text, unsigned n, char out[BRANCH_NAME_MAX + 1])
{
	static const char good[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.";
	char suffix[16] = "";
	size_t i, max;

	if (n > 1)
		snprintf(suffix, sizeof(suffix), "-%u", n);
	max = BRANCH_NAME_MAX - strlen(suffix);
	for (i = 0; i < max && text[i] && text[i] != '@'; i++)
		out[i] = strchr(good, text[i]) ? text[i] : '_';
	memcpy(out + i, suffix, strlen(suffix) + 1);
}

static int create(struct cmd_context *c, const struct open_wish *w, struct opened *o, struct err *e)
{
	char name[BRANCH_NAME_MAX + 1];
	struct branch_spec spec = {.name = w->name ? (char *)w->name : name,
		.cluster = (char *)c->cluster,
		.backup = o->backup,
		.target = o->target,
		.max_bytes = w->max_bytes,
		.durable = w->durable,
		.created = clock_now()};
	int r = -EEXIST;

	for (unsigned n = 1; r == -EEXIST && n <= NAME_TRIES; n++) {
		name_from(o->target ? o->target : o->backup, n, name);
		r = branch_create(o->place.dir, &spec, e);
		if (w->name)
			break;
	}
	return r ? r : copy_text(spec.name, &o->name, e);
}

/* The branch and the mount that shows it, with the lock held. */
static int prepare_place(struct cmd_context *c, const struct open_wish *w, struct opened *o, struct err *e)
{
	_cleanup_(closep) int lock = branch_place_lock(&o->place, e);
	const struct branch_view view = {c->cluster, o->backup, o->uid, o->gid};
	char *home = NULL, *mount = NULL;
	int r = lock < 0 ? lock : 0;

	if (r == 0 && !w->resume)
		r = create(c, w, o, e);
	r = r ? r : branch_path(o->place.dir, c->cluster, o->name, &home, e);
	if (r < 0)
		return r;
	o->server.home = home;
	o->server.server = io_join(home, "server");
	if (!o->server.server)
		return err_sys(e, -ENOMEM, "%s", home);
	if (w->resume)
		r = branch_server_end(home, false, e);
	r = r ? r : branch_server_begin(&o->server, e);
	r = r ? r : branch_place_mount(c, &o->place, &view, &mount, e);
	o->server.mount = mount;
	return r ? r : branch_server_begin(&o->server, e);
}

/* Where the branch is in the mount; the first look makes the mount take it up. */
static int find_tree(struct cmd_context *c, struct opened *o, struct err *e)
{
	_cleanup_(freep) char *data = NULL;
	struct stat st;

	if (asprintf(&o->tree, "%s/%s/open/%s", o->server.mount, c->cluster, o->name) < 0) {
		o->tree = NULL;
		return err_sys(e, -ENOMEM, "%s", o->name);
	}
	data = io_join(o->tree, "data");
	if (!data)
		return err_sys(e, -ENOMEM, "%s", o->name);
	if (stat(data, &st) < 0)
		return err_sys(e, -errno,
			errno == ENOTCONN ? "the mount on %s died (its log: %s/.log)"
			: errno == EBUSY  ? "branch %s is in use by another mount (%s/.log)"
					  : "branch %s in its mount (its log: %s/.log)",
			errno == ENOTCONN ? o->server.mount : o->name, o->place.dir);
	return 0;
}

static int stopped(const volatile sig_atomic_t *stop, struct err *e)
{
	return stop && *stop ? err_set(e, -EINTR, "interrupted") : 0;
}

static int open_steps(struct cmd_context *c, const struct open_wish *w, struct opened *o,
	const volatile sig_atomic_t *stop, struct err *e)
{
	struct branch_server *s = &o->server;
	int r = prepare_place(c, w, o, e);

	r = r ? r : find_tree(c, o, e);
	o->mounted = clock_mono_ns();
	s->tree = o->tree;
	r = r ? r : stopped(stop, e);
	r = r ? r : branch_server_prepare(s, e);
	r = r ? r : stopped(stop, e);
	return r ? r : w->no_start ? branch_server_leave(s, e) : branch_server_run(s, e);
}

/* The server's log goes with the branch: its end is kept beside what the mounts said. */
static int keep_log(const struct opened *o, int r, struct err *e)
{
	_cleanup_(freep) char *from = o->server.server ? io_join(o->server.server, "log") : NULL;
	_cleanup_(freep) char *to = io_join(o->place.dir, ".log");
	_cleanup_(closep) int fd = -1;
	_cleanup_(freep) void *text = NULL;
	struct err was = *e;
	size_t n;

	if (r != -EREMOTEIO || !from || !to || io_read_file(from, SERVER_LOG_MAX, &text, &n, NULL) < 0)
		return r;
	fd = open(to, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0 || io_write(fd, text, n) < 0)
		return r;
	return err_set(e, r, "%s%s\n(the server's log is at the end of %s)", was.text,
		strstr(was.text, "pg_tblspc/") || strstr(was.text, "tablespace")
			? "\nA tablespace that was created after the backup cannot be replayed on a branch: "
			  "open a "
			  "moment before that."
			: "",
		to);
}

/* Does the mount answer? When it does not, that is what is wrong, whatever else was said. */
static int blame_mount(const struct opened *o, int r, struct err *e)
{
	if (r == -EINTR || !o->server.mount || !branch_place_mount_died(o->server.mount))
		return r;
	return err_wrap(e, r, "the mount on %s died (its log: %s/.log)", o->server.mount, o->place.dir);
}

int opened_run(struct cmd_context *c, struct store *s, const struct open_wish *w,
	instance_progress_fn *progress, void *arg, const volatile sig_atomic_t *stop, struct opened *o,
	struct err *e)
{
	int r = branch_place_find(c, w->scratch, s, &o->place, e);

	o->began = clock_mono_ns();
	r = r ? r : choose(c, s, w, o, e);
	if (r < 0)
		return r;
	o->chosen = clock_mono_ns();
	o->server.cluster = c->cluster;
	o->server.role = w->role;
	o->server.database = w->database;
	o->server.point = o->has_point ? &o->point : NULL;
	o->server.resume = w->resume != NULL;
	o->server.port = w->port;
	o->server.read_only = w->read_only;
	o->server.no_start = w->no_start;
	o->server.log = c->log;
	o->server.progress = progress;
	o->server.arg = arg;
	o->server.stop = stop;
	r = open_steps(c, w, o, stop, e);
	if (r < 0) {
		r = keep_log(o, r, e);
		r = blame_mount(o, r, e);
		if (o->name)
			opened_close(&o->place, c->cluster, o->name, w->resume != NULL, NULL);
	}
	o->done = clock_mono_ns();
	return r;
}

/* ---- closing ---- */

int opened_close(
	const struct branch_place *p, const char *cluster, const char *name, bool keep, struct err *e)
{
	_cleanup_(freep) char *home = NULL;
	_cleanup_(closep) int lock = -1;
	struct branch_spec spec;
	int r = branch_load(p->dir, cluster, name, &spec, e), tidied;

	if (r < 0)
		return r;
	branch_spec_release(&spec);
	r = branch_path(p->dir, cluster, name, &home, e);
	r = r ? r : branch_server_end(home, keep, e);
	if (r < 0)
		return r;
	lock = branch_place_lock(p, e);
	if (lock < 0)
		return lock;
	if (!keep)
		r = branch_place_remove(p, cluster, name, e);
	tidied = branch_place_tidy(p, r < 0 ? NULL : e);
	return r < 0 ? r : tidied;
}
