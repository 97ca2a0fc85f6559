/* A PostgreSQL of our own on a data directory that is ours to write to: a branch of a backup.
 *
 *	instance_find            the programs of the right version
 *	instance_preload         which of the cluster's libraries may be loaded here
 *	instance_bounds          what recovery needs to be large enough
 *	instance_settings        what keeps this server from the outside, and from the production server
 *	instance_start, _wait    runs it as its owner, until it takes connections
 *	instance_ask             how far recovery is, and who may connect
 *	instance_stop            ends it
 *
 * The server is a daemon: it outlives whoever started it, and is found again by what instance_record keeps.
 *
 * Functions return 0 or -errno and are thread-safe unless they say otherwise. Non-goals: the branch itself (fs/branch_dir),
 * which settings recovery to a target takes (src/pit). */
#pragma once

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "src/base/buf.h"
#include "src/base/clean.h"
#include "src/base/err.h"
#include "src/pg/control.h"

/* ---- the programs ---- */

/* The directory with the server's programs of exactly this major version: `given` (may be NULL), else where distributions
 * put them. free() it. -EOPNOTSUPP: there are none, with the package's name; or those in `given` are of another version. */
int instance_find(const char *given, unsigned major, char **ret, struct err *e);
/* Where that version's libraries are, as its pg_config or the distribution's layout says. free() it; NULL: cannot be told. */
char *instance_libraries(const char *bindir);

/* ---- libraries ---- */

/* May this library be loaded: is its file there? */
typedef bool instance_has_fn(void *arg, const char *library);
/* For arg `const char *`, the directory of the libraries (may be NULL). */
bool instance_has_library(void *arg, const char *library);

/* Takes those libraries out of a list (shared_preload_libraries and its kin) that are not installed, and those that act on
 * other servers by themselves. ret: the list that is left, as the setting wants it. left_out: the others, separated by
 * ", ", NULL when there are none. free() both. */
int instance_preload(
	const char *list, instance_has_fn *has, void *arg, char **ret, char **ret_left_out, struct err *e);

/* ---- lower bounds ---- */

#define INSTANCE_BOUNDS 5
/* Settings that have to be at least so large for recovery; zeroed: nothing is known. */
struct instance_bounds {
	uint32_t v[INSTANCE_BOUNDS];
};
const char *instance_bound_name(size_t i); /* the setting's */
/* As they were at the backup. */
void instance_bounds_control(struct instance_bounds *b, const struct control *c);
/* What the server said that it lacks. log: the end of what it said since it was started, NUL-terminated. True: something was
 * raised, and the server is to be started anew. Pure. */
bool instance_bounds_raise(struct instance_bounds *b, const char *log);

/* ---- settings ---- */

/* What they depend on. */
struct instance_facts {
	const struct control *control; /* the data directory's; pg_major is known */
	struct instance_bounds bounds; /* what is known of them besides pg_control */
	const char *data;	       /* the data directory */
	const char *hba, *ident;       /* the files that say who is let in */
	const char *socket_dir;
	unsigned port;
	const char *listen; /* NULL: only the socket */
	bool read_only;	    /* queries while in recovery, and no promotion */
	bool durable;	    /* what is committed survives a crash of the machine */
	const char *preload, *session_preload, *local_preload; /* what instance_preload left; NULL: nothing */
	/* NULL, or settings of the cluster that cannot hold here (NULL at the end): set to "C". */
	const char *const *bad_locales;
};

struct instance_setting {
	const char *name;
	char *value;
	bool only_argument; /* has to come from the command line */
};
struct instance_settings {
	struct instance_setting *v;
	size_t n;
};
void instance_settings_release(struct instance_settings *s); /* fine on a zeroed one */

/* -EOPNOTSUPP: a version not known here; -ENOMEM. ret is to be released. */
int instance_settings(const struct instance_facts *f, struct instance_settings *ret, struct err *e);
/* As lines for the end of postgresql.auto.conf, for whoever starts that server by hand. */
void instance_settings_text(const struct instance_settings *s, struct buf *b);
/* Of these only what keeps a server from archiving, following and feeding others, for a branch that somebody else starts with
 * settings of his own. */
void instance_settings_inward(unsigned major, struct buf *b);
/* The server's argv, which owns its strings: free each and the array. NULL without memory. */
char **instance_arguments(const char *bindir, const char *data, const struct instance_settings *s);
void instance_arguments_free(char **argv); /* fine on NULL */

/* ---- who and where ---- */

struct instance_owner {
	uid_t uid;
	gid_t gid;
	char name[64]; /* the user's name, "" when it has none */
};
/* Whom the data directory belongs to. -EPERM: that is root, whom the server refuses, or it is another user and we are not
 * root. */
int instance_owner(const char *data, struct instance_owner *ret, struct err *e);

#define INSTANCE_SOCKET_MAX 107 /* bytes of sun_path that are not NUL (unix(7)) */
/* Does the socket's path fit? (UNIXSOCK_PATH, src/include/libpq/pqcomm.h) */
bool instance_socket_fits(const char *dir, unsigned port);
/* A directory for the socket that only the owner may enter: `dir` itself, which is there, or a new one below /tmp where the
 * path would be too long (then *ret_made). free() it. */
int instance_socket_dir(const char *dir, unsigned port, const struct instance_owner *o, char **ret,
	bool *ret_made, struct err *e);

/* ---- running ---- */

struct instance_process {
	pid_t pid;
	/* When it started (field 22 of /proc/PID/stat): a number that was used again has another. */
	uint64_t ticks;
};

/* Starts argv as the owner, in a session of its own, its messages to the file `log`, which is emptied before (made as the owner,
 * who must be able to). rules: where it may write (confine.h), -1: anywhere. The caller is its parent and calls
 * instance_wait. */
int instance_start(char *const *argv, const struct instance_owner *o, const char *log, int rules,
	struct instance_process *ret, struct err *e);

enum instance_status {
	INSTANCE_NONE, /* says nothing yet */
	INSTANCE_STARTING,
	INSTANCE_STANDBY, /* in recovery without hot standby: takes no connections until it is promoted */
	INSTANCE_READY,	  /* takes connections; in hot standby those that read */
	INSTANCE_STOPPING,
};
/* What postmaster.pid says of the server with this process id. Pure. */
enum instance_status instance_status_parse(const char *text, size_t n, pid_t pid);
/* The same of the file in a data directory; NONE when it cannot be read. */
enum instance_status instance_status(const char *data, pid_t pid);

/* Called while it waits, some twenty times a second at most; file: the segment that recovery asked for last, or NULL. */
typedef void instance_progress_fn(void *arg, const char *file);

/* Waits until the server takes connections: with hot standby as soon as it can answer, else when it was promoted. However long
 * recovery takes: `stop` (may be NULL) ends the wait with -EINTR, the server still running. -EREMOTEIO: it ended, with its
 * last words. Only by its parent. */
int instance_wait(const struct instance_process *p, const char *data, const char *log,
	instance_progress_fn *progress, void *arg, const volatile sig_atomic_t *stop, struct err *e);

/* The end of a server's log, NUL-terminated, in out of n bytes; its length. "" when it cannot be read. */
size_t instance_log_tail(const char *log, char *out, size_t n);
/* The lines of a server's log that tell why it ended: its last FATAL or PANIC and what stands with it, at most n bytes. Pure; out is NUL-terminated, "" when there is nothing. */
void instance_last_words(const char *text, size_t len, char *out, size_t n);

bool instance_runs(const struct instance_process *p);
/* This process itself. */
struct instance_process instance_self(void);
/* SIGQUIT (at once, no checkpoint) or SIGINT (checkpoint, then SIGQUIT when it takes longer than patience_ms), and waits
 * until it is gone. 0 when it was. -ETIMEDOUT: it does not go. */
int instance_stop(const struct instance_process *p, bool checkpoint, unsigned patience_ms, struct err *e);

/* Kills the processes that work in that directory, and waits until they are gone: those of a server that was killed itself, which
 * instance_stop cannot find any more. data: as the kernel names it; nothing need be there. -ETIMEDOUT. */
int instance_end_orphans(const char *data, struct err *e);

/* ---- asking ---- */

struct instance_where {
	const char *socket_dir;
	unsigned port;
	const char *database; /* NULL: postgres, else template1 */
};

struct instance_state {
	char user[64]; /* who could connect */
	char database[64];
	bool in_recovery, paused;
	struct lsn at;	      /* replayed or written so far */
	char last_commit[64]; /* time of the last transaction replayed, "" for none */
};
/* Connects as the first of `users` (NULL at the end) that there is. -EACCES: none of them is a role of this cluster;
 * -ENOTCONN: the server cannot be reached. */
int instance_ask(
	const struct instance_where *w, const char *const *users, struct instance_state *ret, struct err *e);

/* ---- what is kept of it ---- */

#define INSTANCE_RECORD "server.json"

enum instance_stage {
	INSTANCE_OPENING, /* the process is the one that prepares the branch */
	INSTANCE_SERVES,  /* the process is the server */
	INSTANCE_ALONE,	  /* no server was wanted, the process is none */
};

struct instance_record {
	enum instance_stage stage;
	struct instance_process process;
	char *socket_dir, *user, *database;
	char *mount; /* through which it sees its branch and the WAL */
	unsigned port;
	bool made_socket_dir; /* is to be removed with the branch */
	bool read_only;
};
void instance_record_release(struct instance_record *r); /* fine on a zeroed one */
/* In the directory `dir`. load: -ENOENT: there is none; -EBADMSG. */
int instance_record_save(const char *dir, const struct instance_record *r, struct err *e);
int instance_record_load(const char *dir, struct instance_record *ret, struct err *e);
