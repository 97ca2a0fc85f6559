/* One pg_dump or pg_dumpall that runs: its output comes out of a pipe, its messages go where ours go, and its exit status is
 * asked before anything that it gave is believed.
 *
 * Any thread may end it while another one waits for it. */
#pragma once

#include <pthread.h>
#include <stdbool.h>
#include <sys/types.h>

#include "src/base/err.h"

struct dump_process {
	const char *program; /* for messages; the caller's */
	pid_t pid;
	int fd; /* to read from; -1: closed */
	int status;
	bool reaped;
	/* Rank: leaf; guards reaped, so that no other process of that number is ended. */
	pthread_mutex_t lock;
};

/* password: "PGPASSWORD=…" for its environment, or NULL. ret must stay where it is until it is released. */
int dump_process_start(char *const *argv, const char *password, struct dump_process *ret, struct err *e);
/* Waits for its end: 0 when it ended well, else -EREMOTEIO with how. More than once is fine. */
int dump_process_wait(struct dump_process *p, struct err *e);
/* Tells it to end, if it has not. Does not wait. */
void dump_process_stop(struct dump_process *p);
/* Closes the pipe and waits. Reading from it failed with r and e: what was wrong with pg_dump is mostly what is wrong with what
 * it wrote, and then that is returned instead, unless it ended because we no longer read. */
int dump_process_blame(struct dump_process *p, int r, struct err *e);

/* The program's major version, as it says with --version; 0: it cannot be run, or says none. */
unsigned dump_program_version(const char *program);
/* pg_dump's path, for the server of that major version: `given` or (NULL) the oldest one that is installed and not older.
 * -EOPNOTSUPP: there is none, or the given one is older. */
int dump_program_find(const char *given, unsigned server, char **ret, struct err *e);
