/* The frame that all verbs share: option tables, settings, the opened repository, and how results and errors
 * reach the user. One cmd_<verb>.c a verb.
 *
 * A verb is a function from its arguments to an exit status:
 *
 *	int cmd_thing(struct cmd_context *c, int argc, char **argv)
 *	{
 *		const char *label = NULL;
 *		const struct cmd_option options[] = {
 *			{"label", 'l', "TEXT", OPTION_TEXT, &label, "what the label is for"},
 *			{0},
 *		};
 *		const struct cmd_usage usage = {
 *			.verb = "thing", .args = "ID DIR", .min_args = 2, .max_args = 2,
 *			.takes = TAKES_CLUSTER, .about = "does the thing", .options = options,
 *		};
 *
 *		if (!cmd_parse(c, &usage, argc, argv))
 *			return c->status;
 *		…c->args[0], c->args[1]…
 *
 * Only this folder prints, and only cmd_fail and cmd_usage_error print errors. Runs on the main thread. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "src/base/err.h"
#include "src/base/log.h"
#include "src/cmd/retention_rules.h"
#include "store/snapshot.h"
#include "store/store.h"

#define CMD_OK 0
#define CMD_FAILED 1
#define CMD_USAGE 2
#define CMD_DIFFERENT 3 /* diff: it was done, and there are differences */

enum cmd_option_type {
	OPTION_FLAG,	 /* target: bool *, set to true */
	OPTION_TEXT,	 /* target: const char **, the last one given wins */
	OPTION_SIZE,	 /* target: uint64_t *, bytes: "65536", "256M", "1.5G" */
	OPTION_DURATION, /* target: uint64_t *, seconds: "90s", "15m", "26h", "7d", "1h30m" */
	OPTION_COUNT,	 /* target: uint64_t *, a plain decimal number */
	OPTION_THREADS,	 /* target: unsigned *, 1 to 1024; rows are CMD_THREADS_OPTION */
	OPTION_TIMEOUT,	 /* target: unsigned *, 1 to 86400 seconds */
	OPTION_KIND,	 /* target: enum snapshot_kind *, "base", "dump" or "globals" */
	OPTION_LIST,	 /* target: struct cmd_list *, each one given is added */
};

/* Values of an option that may be given several times, in order. cmd_list_free frees the array, not the
 * values, which are argv's. */
struct cmd_list {
	const char **v;
	size_t n;
};
void cmd_list_free(struct cmd_list *l);

/* A table of these ends with an entry whose name is NULL. */
struct cmd_option {
	const char *name; /* "cache-dir" is --cache-dir VALUE or --cache-dir=VALUE */
	char letter;	  /* 'r' is -r VALUE or -rVALUE; 0: none. Flags may be joined: -qv */
	const char *arg;  /* the value's name in the help; NULL for flags */
	enum cmd_option_type type;
	void *target;
	const char *help; /* one line or more, without a full stop */
};

/* The row of a verb that takes --threads: where to, and what they do. */
#define CMD_THREADS_OPTION(letter, target, what)                                                   \
	{                                                                                          \
		"threads", letter, "N", OPTION_THREADS, target, what " (default: one a processor)" \
	}

/* Common options that not every verb has; all have -r, -C, --cache-dir, -q, -v and --help. */
#define TAKES_CLUSTER 1u
#define TAKES_JSON 2u
#define TAKES_NO_REPO 4u /* neither -r nor --cache-dir: the verb needs no repository */

struct cmd_usage {
	const char *verb;
	const char *args; /* as in the help: "ID DIR" */
	unsigned min_args, max_args;
	unsigned takes;
	const char *about;   /* a few lines: what it does */
	const char *example; /* lines that could be typed; may be NULL */
	const struct cmd_option *options;
};

/* What the environment says, read once by main, so that the rest has no hidden world. Any may be NULL. */
struct cmd_env {
	const char *repo;	 /* PGSTRATA_REPO */
	const char *config;	 /* PGSTRATA_CONFIG */
	const char *cache_dir;	 /* PGSTRATA_CACHE_DIR */
	const char *cache_home;	 /* XDG_CACHE_HOME */
	const char *config_home; /* XDG_CONFIG_HOME */
	const char *home;	 /* HOME */
	bool root;		 /* effective uid 0 */
	bool out_tty, err_tty;	 /* standard output, standard error */
};

struct cmd_context {
	struct cmd_env env;
	/* Set by cmd_parse. */
	char **args; /* what is left of argv when the options are taken out */
	unsigned n_args;
	const char *repo;      /* -r, else PGSTRATA_REPO, else the config file's; NULL: none given */
	const char *cluster;   /* -c, else the config file's, else "main" */
	bool cluster_given;    /* -c was on the command line */
	const char *cache_dir; /* where index caches go; NULL: nowhere */
	bool json, quiet, verbose;
	int status;			 /* the exit status when cmd_parse returned false */
	struct log *log;		 /* warnings to standard error (all with -v, only errors with -q) */
	struct retention_sets retention; /* the config file's rules of retention */
	/* Memory behind the above. */
	char *config_repo, *config_cluster, *config_cache_dir, *made_cache_dir;
};

void cmd_context_release(struct cmd_context *c);

/* Takes options and arguments of a verb out of argv (argv[0] is the verb) and settles the common settings.
 * False: help was asked for and printed, or the command line or a config file was wrong and that was said;
 * the exit status is in c->status. Strings stay argv's. */
bool cmd_parse(struct cmd_context *c, const struct cmd_usage *u, int argc, char **argv);

/* Prints "pgstrata: error: …" and gives CMD_FAILED. */
int cmd_fail(struct cmd_context *c, const struct err *e);
/* Prints the message with a hint at --help and gives CMD_USAGE. */
int cmd_usage_error(struct cmd_context *c, const struct cmd_usage *u, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* Opens the repository that was asked for, with the index cache where it can be had. Prints what is wrong and
 * returns the exit status, or CMD_OK with *ret. cache_bytes 0: the store's default. log: for the store's
 * warnings (usually c->log). The caller frees with store_free. */
int cmd_open_store(struct cmd_context *c, const struct cmd_usage *u, size_t cache_bytes, struct log *log,
	struct store **ret);

/* "65536", "256K", "256M", "1.5G", "2T", with an optional "B" or "iB": powers of 1024. -EINVAL, -ERANGE. */
int cmd_parse_size(const char *text, uint64_t *ret, struct err *e);
#define SIZE_TEXT 16
/* "1.1 GB" and the like for people: three digits at most, powers of 1024, in PostgreSQL's words. */
char *cmd_size_text(uint64_t bytes, char out[SIZE_TEXT]);

/* A backup was taken in: its id alone for a program, a sentence and what to do next for a person. `done`:
 * "Imported". */
void cmd_print_taken(const struct cmd_context *c, const char *done, const struct snapshot *snap);

/* "90s", "15m", "26h", "7d", "2w", "1h30m": a number and a unit, one or more times. -EINVAL. */
int cmd_parse_duration(const char *text, uint64_t *ret_sec, struct err *e);
#define DURATION_TEXT 48
/* "26h", "1d2h", "45s": the two largest units. */
char *cmd_duration_text(uint64_t sec, char out[DURATION_TEXT]);

/* The verbs. Each returns an exit status. */
int cmd_init(struct cmd_context *c, int argc, char **argv);
int cmd_backup(struct cmd_context *c, int argc, char **argv);
int cmd_dump(struct cmd_context *c, int argc, char **argv);
int cmd_import(struct cmd_context *c, int argc, char **argv);
int cmd_list(struct cmd_context *c, int argc, char **argv);
int cmd_show(struct cmd_context *c, int argc, char **argv);
int cmd_diff(struct cmd_context *c, int argc, char **argv);
int cmd_restore(struct cmd_context *c, int argc, char **argv);
int cmd_mount(struct cmd_context *c, int argc, char **argv);
int cmd_umount(struct cmd_context *c, int argc, char **argv);
int cmd_repair(struct cmd_context *c, int argc, char **argv);
int cmd_verify(struct cmd_context *c, int argc, char **argv);
int cmd_prune(struct cmd_context *c, int argc, char **argv);
int cmd_receive(struct cmd_context *c, int argc, char **argv);
int cmd_archive_push(struct cmd_context *c, int argc, char **argv);
int cmd_archive_get(struct cmd_context *c, int argc, char **argv);
int cmd_open(struct cmd_context *c, int argc, char **argv);
int cmd_close(struct cmd_context *c, int argc, char **argv);
int cmd_branches(struct cmd_context *c, int argc, char **argv);
int cmd_show_target(struct cmd_context *c, int argc, char **argv);
int cmd_status(struct cmd_context *c, int argc, char **argv);
