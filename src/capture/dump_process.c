/* Finding, starting and ending pg_dump. See dump_process.h. */
#include "src/capture/dump_process.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "src/base/clean.h"

#define NEWEST_MAJOR 30 /* where newer tools are looked for ends */

extern char **environ;

unsigned dump_program_version(const char *program)
{
	char *argv[] = {(char *)program, "--version", NULL};
	posix_spawn_file_actions_t actions;
	char text[200];
	unsigned major = 0;
	ssize_t n;
	pid_t pid;
	int p[2], r;

	if (pipe2(p, O_CLOEXEC) < 0)
		return 0;
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_adddup2(&actions, p[1], STDOUT_FILENO);
	r = posix_spawnp(&pid, program, &actions, NULL, argv, environ);
	posix_spawn_file_actions_destroy(&actions);
	close(p[1]);
	n = r ? 0 : read(p[0], text, sizeof(text) - 1);
	close(p[0]);
	while (!r && waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
	text[n > 0 ? n : 0] = '\0';
	/* "pg_dump (PostgreSQL) 15.6 (Debian …)" */
	return sscanf(text, "%*s (PostgreSQL) %u", &major) == 1 ? major : 0;
}

/* Where distributions put the tools of each major version (Debian, Red Hat). */
static char *installed(unsigned major)
{
	char path[100];

	snprintf(path, sizeof(path), "/usr/lib/postgresql/%u/bin/pg_dump", major);
	if (access(path, X_OK) < 0)
		snprintf(path, sizeof(path), "/usr/pgsql-%u/bin/pg_dump", major);
	return access(path, X_OK) < 0 ? NULL : strdup(path);
}

int dump_program_find(const char *given, unsigned server, char **ret, struct err *e)
{
	_cleanup_(freep) char *program = given ? strdup(given) : NULL;
	unsigned found;

	for (unsigned v = server; !given && v <= NEWEST_MAJOR && !program; v++)
		program = installed(v);
	if (!program)
		program = strdup("pg_dump");
	if (!program)
		return err_sys(e, -ENOMEM, "pg_dump");
	found = dump_program_version(program);
	if (!found)
		return err_set(e, -EOPNOTSUPP,
			"%s cannot be run: install the client tools of PostgreSQL %u (on Debian the package "
			"postgresql-client-%u)",
			program, server, server);
	if (found < server)
		return err_set(e, -EOPNOTSUPP,
			"%s is of version %u and cannot dump the server, which is of version %u: install its "
			"client tools (on Debian the package postgresql-client-%u)",
			program, found, server, server);
	*ret = MOVE(program);
	return 0;
}

/* Our environment with the password in it. */
static char **environment(const char *password)
{
	size_t n = 0, at = 0, name = password ? strcspn(password, "=") + 1 : 0;
	char **env;

	while (environ[n])
		n++;
	env = calloc(n + 2, sizeof(*env));
	for (size_t i = 0; env && i < n; i++)
		if (!password || strncmp(environ[i], password, name) != 0)
			env[at++] = environ[i];
	if (env && password)
		env[at] = (char *)password;
	return env;
}

int dump_process_start(char *const *argv, const char *password, struct dump_process *ret, struct err *e)
{
	_cleanup_(freep) char **env = environment(password);
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attributes;
	sigset_t pipe_only;
	int p[2], r;

	if (!env || pipe2(p, O_CLOEXEC) < 0)
		return err_sys(e, env ? -errno : -ENOMEM, "starting %s", argv[0]);
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_adddup2(&actions, p[1], STDOUT_FILENO);
	/* We ignore SIGPIPE; pg_dump shall end by it when we no longer read. */
	sigemptyset(&pipe_only);
	sigaddset(&pipe_only, SIGPIPE);
	posix_spawnattr_init(&attributes);
	posix_spawnattr_setsigdefault(&attributes, &pipe_only);
	posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGDEF);
	*ret = (struct dump_process){.program = argv[0], .fd = p[0]};
	r = posix_spawnp(&ret->pid, argv[0], &actions, &attributes, argv, env);
	posix_spawnattr_destroy(&attributes);
	posix_spawn_file_actions_destroy(&actions);
	close(p[1]);
	if (r) {
		close(p[0]);
		return err_sys(e, -r, "starting %s", argv[0]);
	}
	pthread_mutex_init(&ret->lock, NULL);
	return 0;
}

int dump_process_wait(struct dump_process *p, struct err *e)
{
	siginfo_t ended;
	int r = 0;

	/* It keeps its number until the lock is held. */
	while (!p->reaped && waitid(P_PID, (id_t)p->pid, &ended, WEXITED | WNOWAIT) < 0)
		if (errno != EINTR)
			return err_sys(e, -errno, "waiting for %s", p->program);
	pthread_mutex_lock(&p->lock);
	while (!p->reaped && !r) {
		if (waitpid(p->pid, &p->status, 0) == p->pid)
			p->reaped = true;
		else if (errno != EINTR)
			r = -errno;
	}
	pthread_mutex_unlock(&p->lock);
	if (r < 0)
		return err_sys(e, r, "waiting for %s", p->program);
	if (WIFEXITED(p->status) && !WEXITSTATUS(p->status))
		return 0;
	if (WIFEXITED(p->status))
		return err_set(e, -EREMOTEIO, "%s failed with status %d: its dump is not kept", p->program,
			WEXITSTATUS(p->status));
	return err_set(e, -EREMOTEIO, "%s was ended by signal %d: its dump is not kept", p->program,
		WTERMSIG(p->status));
}

void dump_process_stop(struct dump_process *p)
{
	pthread_mutex_lock(&p->lock);
	if (!p->reaped)
		kill(p->pid, SIGTERM);
	pthread_mutex_unlock(&p->lock);
}

int dump_process_blame(struct dump_process *p, int r, struct err *e)
{
	struct err why = {0};

	closep(&p->fd);
	p->fd = -1;
	if (dump_process_wait(p, &why) < 0 && !(WIFSIGNALED(p->status) && WTERMSIG(p->status) == SIGPIPE))
		return err_set(e, why.code, "%s", why.text);
	return r;
}
