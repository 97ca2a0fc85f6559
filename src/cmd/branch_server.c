/* See branch_server.h. */
#include "src/cmd/branch_server.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <netinet/in.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "src/base/clean.h"
#include "src/base/io.h"
#include "src/capture/confine.h"
#include "src/cmd/branch_place.h"

#define USUAL_PORT 5432
#define ANSWER_TRIES 500 /* of 20 ms, after the server said that it takes connections */
#define CHECKPOINT_PATIENCE_MS 600000
#define LOG_TAIL 16384
#define SOCKET_PREFIX ".s.PGSQL." /* UNIXSOCK_PATH, src/include/libpq/pqcomm.h */

static void pause_20ms(void)
{
	struct timespec t = {.tv_nsec = 20000000};

	nanosleep(&t, NULL);
}

/* ---- the record ---- */

static int save(
	struct branch_server *s, enum instance_stage stage, struct instance_process process, struct err *e)
{
	s->record.stage = stage;
	s->record.process = process;
	return instance_record_save(s->home, &s->record, e);
}

int branch_server_begin(struct branch_server *s, struct err *e)
{
	if (mkdir(s->server, 0700) < 0 && errno != EEXIST)
		return err_sys(e, -errno, "%s", s->server);
	s->record.port = s->port ? s->port : USUAL_PORT;
	s->record.read_only = s->read_only;
	free(s->record.mount);
	s->record.mount = strdup(s->mount ? s->mount : "");
	if (!s->record.mount)
		return err_sys(e, -ENOMEM, "%s", s->server);
	return save(s, INSTANCE_OPENING, instance_self(), e);
}

int branch_server_leave(struct branch_server *s, struct err *e)
{
	return save(s, INSTANCE_ALONE, (struct instance_process){0}, e);
}

void branch_server_release(struct branch_server *s)
{
	instance_record_release(&s->record);
}

/* ---- preparing ---- */

/* Where recovery shall end, as settings. At "latest" a server that is only read would be promoted as there is no target, so it
 * gets the last commit there is: what follows that changes no answer. */
static int recovery_settings(const struct branch_server *s, const char *command, char **ret, struct err *e)
{
	enum pit_action action = s->read_only ? PIT_PAUSE : PIT_PROMOTE;
	struct pit_point at;

	if (!s->point)
		return pit_settings_backup(command, action, ret, e);
	at = *s->point;
	if (s->read_only && at.target.kind == TARGET_LATEST) {
		if (!at.xid)
			return pit_settings_backup(command, action, ret, e);
		at.target.kind = TARGET_XID;
		at.target.xid = at.xid;
	}
	return pit_settings(&at, command, action, ret, e);
}

/* Settings to the end of postgresql.auto.conf, where the last ones win. */
static int append_settings(const char *data, const struct instance_owner *o, struct buf *text, struct err *e)
{
	buf_put_u8(text, '\0');
	return text->bad ? err_sys(e, -ENOMEM, "%s", data)
			 : instance_data_append(data, o, (const char *)text->data, e);
}

/* The recovery's part of postgresql.auto.conf, and the file that asks for it. */
static int put_recovery(
	const struct branch_server *s, const char *data, const struct instance_owner *o, struct err *e)
{
	_cleanup_(freep) char *command = NULL, *text = NULL;
	_cleanup_(buf_free) struct buf b = {0};
	int r;

	/* Without a new timeline: so not for one whom somebody else starts. */
	if (!s->point && !s->resume && !s->read_only && !s->no_start) {
		r = instance_data_end_wal(data, &s->own, e);
		if (r != -ENOENT)
			return r;
	}
	r = pit_link_command(s->mount, s->cluster, &command, e);
	if (r < 0)
		return r;
	/* One that is resumed goes on to where it was going, if it has not been there. */
	if (s->resume) {
		pit_put_setting(&b, "restore_command", command);
		return append_settings(data, o, &b, e);
	}
	r = recovery_settings(s, command, &text, e);
	r = r ? r : instance_data_append(data, o, text, e);
	return r ? r : instance_data_signal(data, o, e);
}

/* Whoever starts it by hand must not archive to where the production server does. */
static int put_inward(const char *data, const struct instance_owner *o, struct err *e)
{
	_cleanup_(instance_data_release) struct instance_data d = {0};
	_cleanup_(buf_free) struct buf b = {0};
	int r = instance_data_read(data, &d, e);

	if (r < 0)
		return r;
	instance_settings_inward(d.control.pg_major, &b);
	return append_settings(data, o, &b, e);
}

static int own_server_dir(const char *dir, const struct instance_owner *o, struct err *e)
{
	if (geteuid() == 0 && chown(dir, o->uid, o->gid) < 0)
		return err_sys(e, -errno, "chown %s", dir);
	return chmod(dir, 0700) < 0 ? err_sys(e, -errno, "chmod %s", dir) : 0;
}

int branch_server_prepare(struct branch_server *s, struct err *e)
{
	_cleanup_(freep) char *data = io_join(s->tree, "data");
	struct instance_owner o;
	int r = data ? instance_owner(data, &o, e) : err_sys(e, -ENOMEM, "%s", s->tree);

	r = r ? r : own_server_dir(s->server, &o, e);
	if (s->resume)
		r = r ? r : instance_data_unlock(data, e);
	else
		r = r ? r : instance_data_prepare(data, &o, s->log, e);
	r = r ? r : put_recovery(s, data, &o, e);
	if (s->no_start)
		r = r ? r : put_inward(data, &o, e);
	s->prepared = clock_mono_ns();
	return r;
}

/* ---- settings ---- */

static int keep_library(const struct branch_server *s, const char *setting, const char *list, char *libraries,
	char **ret, struct err *e)
{
	_cleanup_(freep) char *left_out = NULL;
	int r = instance_preload(list ? list : "", instance_has_library, libraries, ret, &left_out, e);

	if (r == 0 && left_out)
		log_msg(s->log, LOG_LEVEL_WARNING, "%s: without %s, not installed here or not for a copy",
			setting, left_out);
	return r;
}

/* Is another program on the port that shall be ours? Only so that the words are plain: the server finds out, too. */
static int check_port(unsigned port, struct err *e)
{
	struct sockaddr_in a = {.sin_family = AF_INET,
		.sin_port = htons((uint16_t)port),
		.sin_addr = {htonl(INADDR_LOOPBACK)}};
	_cleanup_(closep) int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int on = 1;

	if (fd < 0)
		return err_sys(e, -errno, "socket");
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)); /* as the server does */
	if (bind(fd, (struct sockaddr *)&a, sizeof(a)) < 0)
		return err_sys(e, -errno,
			errno == EADDRINUSE ? "port %u is taken: choose another one with --port" : "port %u",
			port);
	return 0;
}

static int make_settings(struct branch_server *s, const char *data, const struct instance_owner *o,
	struct instance_settings *ret, struct err *e)
{
	_cleanup_(instance_data_release) struct instance_data d = {0};
	_cleanup_(freep) char *hba = NULL, *ident = NULL, *libraries = instance_libraries(s->bindir);
	_cleanup_(freep) char *preload = NULL, *session = NULL, *local = NULL;
	struct instance_facts f;
	int r = instance_data_read(data, &d, e);

	r = r ? r : instance_data_access(s->server, o, s->port != 0, &hba, &ident, e);
	r = r ? r : keep_library(s, "shared_preload_libraries", d.preload, libraries, &preload, e);
	r = r ? r : keep_library(s, "session_preload_libraries", d.session_preload, libraries, &session, e);
	r = r ? r : keep_library(s, "local_preload_libraries", d.local_preload, libraries, &local, e);
	if (r < 0)
		return r;
	f = (struct instance_facts){.control = &d.control,
		.bounds = s->bounds,
		.data = data,
		.hba = hba,
		.ident = ident,
		.socket_dir = s->record.socket_dir,
		.port = s->record.port,
		.listen = s->port ? "localhost" : NULL,
		.read_only = s->read_only,
		.durable = s->durable,
		.preload = preload,
		.session_preload = session,
		.local_preload = local,
		.bad_locales = d.bad_locales};
	return instance_settings(&f, ret, e);
}

/* ---- running ---- */

/* Rules for where it may write, or -1 where the kernel has none: then only its settings hold it. WAL of the archive it must be
 * able to open for writing (pit_link_command); the mount refuses the writing itself. */
static int rules_for(const struct branch_server *s, struct err *e)
{
	_cleanup_(freep) char *wal = NULL;
	const char *const dirs[] = {s->tree, s->server, s->record.socket_dir, NULL};
	int rules;

	if (asprintf(&wal, "%s/%s/wal", s->mount, s->cluster) < 0) {
		wal = NULL;
		return err_sys(e, -ENOMEM, "%s", s->mount);
	}
	rules = confine_new(dirs, wal, e);
	if (rules == -EOPNOTSUPP) {
		log_msg(s->log, LOG_LEVEL_WARNING,
			"%s: nothing but its settings keeps the server from writing outside of its branch",
			e->text);
		return -1;
	}
	return rules;
}

static int launch(struct branch_server *s, const char *data, const struct instance_owner *o, const char *log,
	struct err *e)
{
	_cleanup_(instance_settings_release) struct instance_settings settings = {0};
	_cleanup_(buf_free) struct buf text = {0};
	_cleanup_(closep) int rules = -1;
	struct instance_process p;
	char **argv;
	int r = make_settings(s, data, o, &settings, e);

	if (r < 0)
		return r;
	instance_settings_text(&settings, &text);
	r = append_settings(data, o, &text, e);
	if (r < 0)
		return r;
	rules = rules_for(s, e);
	if (rules < -1)
		return rules;
	argv = instance_arguments(s->bindir, data, &settings);
	if (!argv)
		return err_sys(e, -ENOMEM, "%s", s->bindir);
	r = instance_start(argv, o, log, rules, &p, e);
	instance_arguments_free(argv);
	return r ? r : save(s, INSTANCE_SERVES, p, e);
}

/* The names under which one may come in: as asked, else those that clusters usually have. */
static void roles(
	const struct branch_server *s, const struct instance_owner *o, struct passwd *me, const char *out[4])
{
	size_t n = 0;

	if (s->role) {
		out[n++] = s->role;
	} else {
		out[n++] = "postgres";
		if (*o->name)
			out[n++] = o->name;
		if (me)
			out[n++] = me->pw_name;
	}
	out[n] = NULL;
}

static int ask(struct branch_server *s, const char *const *users, struct err *e)
{
	const struct instance_where w = {s->record.socket_dir, s->record.port, s->database};
	int r = instance_ask(&w, users, &s->state, e);

	return r == -EACCES ? err_set(e, r,
				      s->role ? "there is no role \"%s\" in this cluster that may log in"
					      : "the cluster has none of the usual roles (\"%s\"…): say with "
						"--username which one may log in",
				      users[0])
			    : r;
}

/* Until it answers, and when it is to stay in recovery, until that has come to its end. */
static int wait_for_answer(
	struct branch_server *s, const char *data, const char *log, const char *const *users, struct err *e)
{
	int r;

	for (unsigned i = 0;;) {
		r = ask(s, users, e);
		if (r == -ENOTCONN && ++i == ANSWER_TRIES)
			return r;
		if (r == 0 && (!s->read_only || s->state.paused))
			return 0;
		if (r == 0 && !s->state.in_recovery)
			return err_set(e, -EREMOTEIO,
				"recovery did not stop at the target, but ended (the server's log: %s)", log);
		if (r < 0 && r != -ENOTCONN)
			return r;
		pause_20ms();
		r = instance_wait(&s->record.process, data, log, s->progress, s->arg, s->stop, e);
		if (r < 0)
			return r;
		if (s->stop && *s->stop)
			return err_set(e, -EINTR, "stopped while PostgreSQL recovered");
	}
}

/* Did it end, or stop short of the target, because WAL wants larger settings than there were at the backup? r: how it came out
 * so far. */
static bool lacks_settings(struct branch_server *s, const char *log, int r)
{
	char tail[LOG_TAIL];

	if (s->record.stage != INSTANCE_SERVES || !(r == -EREMOTEIO || (r == 0 && s->read_only)))
		return false;
	instance_log_tail(log, tail, sizeof(tail));
	return instance_bounds_raise(&s->bounds, tail);
}

static int set_text(char **at, const char *text, struct err *e)
{
	free(*at);
	*at = strdup(text);
	return *at ? 0 : err_sys(e, -ENOMEM, "%s", text);
}

static int run(struct branch_server *s, const char *data, const char *log, const struct instance_owner *o,
	struct err *e)
{
	struct passwd *me = getpwuid(geteuid());
	const char *users[4];
	int r;

	roles(s, o, me, users);
	for (;;) {
		r = launch(s, data, o, log, e);
		r = r ? r : instance_wait(&s->record.process, data, log, s->progress, s->arg, s->stop, e);
		s->started = clock_mono_ns();
		r = r ? r : wait_for_answer(s, data, log, users, e);
		if (!lacks_settings(s, log, r))
			break;
		r = instance_stop(&s->record.process, false, 0, e);
		r = r ? r : instance_data_unlock(data, e);
		if (r < 0)
			return r;
	}
	s->answered = clock_mono_ns();
	r = r ? r : set_text(&s->record.user, s->state.user, e);
	r = r ? r : set_text(&s->record.database, s->state.database, e);
	return r ? r : save(s, INSTANCE_SERVES, s->record.process, e);
}

int branch_server_run(struct branch_server *s, struct err *e)
{
	_cleanup_(freep) char *data = io_join(s->tree, "data"), *log = io_join(s->server, "log");
	struct instance_owner o;
	int r = data && log ? instance_owner(data, &o, e) : err_sys(e, -ENOMEM, "%s", s->tree);

	if (r == 0 && s->port)
		r = check_port(s->port, e);
	r = r ? r
	      : instance_socket_dir(
			s->server, s->record.port, &o, &s->record.socket_dir, &s->record.made_socket_dir, e);
	r = r ? r : run(s, data, log, &o, e);
	if (r < 0 && s->record.socket_dir) {
		instance_record_save(s->home, &s->record, NULL);
		branch_server_end(s->home, false, NULL);
	}
	return r;
}

/* ---- the end ---- */

/* The socket and its lock file, which counts as long as nobody has waited for the process that is named in it (CreateLockFile,
 * src/backend/utils/init/miscinit.c); and the directory, where it is one of ours below /tmp. */
static void remove_sockets(const struct instance_record *rec)
{
	DIR *d = rec->socket_dir ? opendir(rec->socket_dir) : NULL;
	struct dirent *de;

	while (d && (de = readdir(d)))
		if (!strncmp(de->d_name, SOCKET_PREFIX, strlen(SOCKET_PREFIX)))
			unlinkat(dirfd(d), de->d_name, 0);
	if (d)
		closedir(d);
	if (rec->made_socket_dir && !strncmp(rec->socket_dir, "/tmp/pgstrata-", 14))
		rmdir(rec->socket_dir);
}

/* Ends what a server left that was killed: its processes see that it is gone when they next wait for something, and write
 * until then. home: …/CLUSTER/NAME. */
static int end_orphans(const char *home, const struct instance_record *rec, struct err *e)
{
	const char *name = strrchr(home, '/'), *cluster = name;
	_cleanup_(freep) char *data = NULL;

	if (rec->stage == INSTANCE_ALONE || !name || !rec->mount || !*rec->mount)
		return 0;
	while (cluster > home && *--cluster != '/')
		;
	if (asprintf(&data, "%s%.*s/open%s/data", rec->mount, (int)(name - cluster), cluster, name) < 0) {
		data = NULL;
		return err_sys(e, -ENOMEM, "%s", home);
	}
	return instance_end_orphans(data, e);
}

int branch_server_end(const char *home, bool checkpoint, struct err *e)
{
	_cleanup_(instance_record_release) struct instance_record rec = {0};
	_cleanup_(freep) char *file = io_join(home, INSTANCE_RECORD);
	int r = file ? instance_record_load(home, &rec, e) : err_sys(e, -ENOMEM, "%s", home);

	if (r == -ENOENT || r == -ENOTDIR)
		return 0;
	if (r < 0)
		return r;
	if (rec.stage == INSTANCE_OPENING && rec.process.pid != getpid() && instance_runs(&rec.process))
		return err_set(e, -EBUSY, "it is being opened by process %d", (int)rec.process.pid);
	if (rec.stage == INSTANCE_SERVES)
		r = instance_stop(&rec.process, checkpoint, CHECKPOINT_PATIENCE_MS, e);
	r = r ? r : end_orphans(home, &rec, e);
	if (r < 0)
		return r;
	remove_sockets(&rec);
	r = io_unlink(file);
	return r < 0 && r != -ENOENT ? err_sys(e, r, "%s", file) : 0;
}

/* ---- how it is ---- */

const char *branch_server_state(const struct instance_record *r)
{
	if (!r)
		return "closed";
	if (r->stage != INSTANCE_ALONE && !instance_runs(&r->process))
		return "crashed";
	if (*r->mount && branch_place_mount_died(r->mount))
		return "mount died";
	switch (r->stage) {
	case INSTANCE_OPENING:
		return "opening";
	case INSTANCE_SERVES:
		return "running";
	case INSTANCE_ALONE:
		break;
	}
	return "no server";
}

int branch_server_check(const char *home, struct err *e)
{
	_cleanup_(instance_record_release) struct instance_record rec = {0};
	int r = instance_record_load(home, &rec, e);

	if (r < 0)
		return r == -ENOENT ? 0 : r;
	if (rec.stage == INSTANCE_OPENING)
		return err_set(
			e, -EINVAL, "it was not finished when it was opened: close it, and open it anew");
	if (!strcmp(branch_server_state(&rec), "running"))
		return err_set(e, -EBUSY, "its server runs, as process %d", (int)rec.process.pid);
	return 0;
}

static void put_keyword(struct buf *b, const char *name, const char *value)
{
	bool plain = *value && !value[strcspn(value, " \t\n\\'")];

	buf_printf(b, "%s%s=%s", b->len ? " " : "", name, plain ? "" : "'");
	for (; *value; value++)
		buf_printf(b, "%s%c", *value == '\'' || *value == '\\' ? "\\" : "", *value);
	buf_printf(b, "%s", plain ? "" : "'");
}

char *branch_server_conninfo(const struct instance_record *r)
{
	struct buf b = {0};
	char port[16];

	snprintf(port, sizeof(port), "%u", r->port);
	put_keyword(&b, "host", r->socket_dir);
	put_keyword(&b, "port", port);
	put_keyword(&b, "user", r->user);
	put_keyword(&b, "dbname", r->database);
	return buf_steal_str(&b);
}
