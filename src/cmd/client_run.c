/* See client_run.h. On a terminal the command stays in our process group, so that it may read from the terminal and Ctrl-C
 * goes to it as to us; other signals come to us alone and are passed on. Without a terminal it has a group of its own, and
 * every signal is passed on to all that it started. */
#include "src/cmd/client_run.h"

#include <errno.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "src/base/clean.h"

extern char **environ;

/* Names whose values would win over ours or ask for what a local socket has not (libpq, "Environment Variables"). */
static const char *const not_ours[] = {"PGHOST", "PGHOSTADDR", "PGPORT", "PGUSER", "PGDATABASE", "PGSERVICE",
	"PGSERVICEFILE", "PGPASSWORD", "PGREQUIREPEER", "PGREQUIREAUTH", "PGCHANNELBINDING", "PGOPTIONS",
	"PGTARGETSESSIONATTRS", "PGGSSENCMODE", "PGREQUIRESSL", "PGSSLMODE", "PATH"};

static bool is_named(const char *entry, const char *name)
{
	size_t n = strlen(name);

	return !strncmp(entry, name, n) && entry[n] == '=';
}

static bool keeps(const char *entry)
{
	for (size_t i = 0; i < sizeof(not_ours) / sizeof(*not_ours); i++)
		if (is_named(entry, not_ours[i]))
			return false;
	return true;
}

#define OURS 5

struct environment {
	char **v;
	char *ours[OURS];
};

static void environment_release(struct environment *env)
{
	for (size_t i = 0; i < OURS; i++)
		free(env->ours[i]);
	free(env->v);
}

static bool put(struct environment *env, size_t i, const char *name, const char *value, const char *more)
{
	if (asprintf(&env->ours[i], "%s=%s%s", name, value, more) >= 0)
		return true;
	env->ours[i] = NULL;
	return false;
}

static int make_environment(
	struct environment *env, const struct instance_record *server, const char *bindir, struct err *e)
{
	_cleanup_(freep) char *rest = NULL;
	const char *path = getenv("PATH");
	char port[16];
	size_t n = 0, all = 0;

	while (environ[all])
		all++;
	snprintf(port, sizeof(port), "%u", server->port);
	env->v = calloc(all + OURS + 1, sizeof(*env->v));
	if (asprintf(&rest, ":%s", path ? path : "/usr/local/bin:/usr/bin:/bin") < 0)
		rest = NULL;
	if (!env->v || !rest || !put(env, 0, "PGHOST", server->socket_dir, "") ||
		!put(env, 1, "PGPORT", port, "") || !put(env, 2, "PGUSER", server->user, "") ||
		!put(env, 3, "PGDATABASE", server->database, "") || !put(env, 4, "PATH", bindir, rest))
		return err_sys(e, -ENOMEM, "the command's environment");
	for (size_t i = 0; i < all; i++)
		if (keeps(environ[i]))
			env->v[n++] = environ[i];
	memcpy(env->v + n, env->ours, sizeof(env->ours));
	return 0;
}

static bool on_terminal(void)
{
	return isatty(STDIN_FILENO) || isatty(STDOUT_FILENO) || isatty(STDERR_FILENO);
}

static int wait_for(pid_t pid, bool group, const volatile sig_atomic_t *stop)
{
	const struct timespec tick = {.tv_nsec = 20000000};
	int status = 0, passed_on = 0;
	pid_t got;

	while ((got = waitpid(pid, &status, stop ? WNOHANG : 0)) <= 0) {
		if (got < 0 && errno != EINTR)
			return -errno;
		if (stop && *stop && (group || *stop != SIGINT) && !passed_on++)
			kill(group ? -pid : pid, *stop);
		nanosleep(&tick, NULL);
	}
	return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

int client_run(const char *command, const struct instance_record *server, const char *bindir,
	const volatile sig_atomic_t *stop, struct err *e)
{
	char *argv[] = {(char *)"sh", (char *)"-c", (char *)"--", (char *)command, NULL};
	_cleanup_(environment_release) struct environment env = {0};
	posix_spawnattr_t attr;
	bool group = !on_terminal();
	sigset_t defaults;
	pid_t pid;
	int r = make_environment(&env, server, bindir, e);

	if (r < 0)
		return r;
	/* Ignored signals stay so over exec, and a command whose reader went away shall end. */
	sigemptyset(&defaults);
	sigaddset(&defaults, SIGPIPE);
	posix_spawnattr_init(&attr);
	posix_spawnattr_setflags(&attr, (short)(POSIX_SPAWN_SETSIGDEF | (group ? POSIX_SPAWN_SETPGROUP : 0)));
	posix_spawnattr_setsigdefault(&attr, &defaults);
	r = -posix_spawn(&pid, "/bin/sh", NULL, &attr, argv, env.v);
	posix_spawnattr_destroy(&attr);
	if (r < 0)
		return err_sys(e, r, "/bin/sh");
	r = wait_for(pid, group, stop);
	return r < 0 ? err_sys(e, r, "waiting for the command") : r;
}
