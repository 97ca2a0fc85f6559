/* Several pg_dump processes for one dump: the first one's archive is read by who imports it, each further one's on a thread of
 * the team, and whoever fails first ends all of them.
 *
 *	dump_team_new (the moment, who takes what) -> the first process is started with dump_team_first
 *	-> the import calls dump_team_others: the first process has told its contents: the others begin; they are waited for
 *
 * The others get their tables by name and what the user said about data (dump_args.h). */
#pragma once

#include <signal.h>

#include "src/base/log.h"
#include "src/base/meter.h"
#include "src/capture/dump_archive.h"
#include "src/capture/dump_args.h"
#include "src/capture/dump_conn.h"
#include "src/capture/dump_process.h"

struct dump_team;

struct dump_team_options {
	const char *conninfo, *database; /* for dump_conn_open */
	const char *words, *password;	 /* what pg_dump is told (dump_conn_words, dump_conn_password) */
	const char *program;
	const struct dump_args *args;
	unsigned jobs; /* processes, 2 or more */
	struct meter *meter;
	const volatile sig_atomic_t *stop;
};

/* What o points to must stay. */
int dump_team_new(const struct dump_team_options *o, struct dump_team **ret, struct err *e);
void dump_team_free(struct dump_team *t); /* fine on NULL; after the import has ended */

/* More arguments for the first process: the moment, and what others take. The team's. */
char *const *dump_team_first(const struct dump_team *t);
/* The first process is p; it is ended when another one fails. */
void dump_team_started(struct dump_team *t, struct dump_process *p);
const struct dump_others *dump_team_others(struct dump_team *t);
/* What failed first was one of the others. */
bool dump_team_failed(const struct dump_team *t);
