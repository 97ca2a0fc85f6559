/* pgstrata: the program. Finds the verb, gives it the environment, ends with its exit status. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "src/cmd/cmd.h"

struct verb {
	const char *name;
	int (*run)(struct cmd_context *c, int argc, char **argv);
	const char *args;
	const char *summary;
};

static const struct verb verbs[] = {
	{"init", cmd_init, "", "makes a repository"},
	{"backup", cmd_backup, "", "takes a base backup of a running server"},
	{"dump", cmd_dump, "", "takes a logical dump of a running server with pg_dump"},
	{"import", cmd_import, "base|dump|wal PATH", "takes in backups, dumps and WAL that other tools left"},
	{"list", cmd_list, "", "lists what the repository holds"},
	{"show", cmd_show, "ID", "shows one snapshot in full"},
	{"show-target", cmd_show_target, "TARGET", "shows how a point in time is reached"},
	{"diff", cmd_diff, "DUMP1 DUMP2", "names the tables and definitions that two dumps differ in"},
	{"status", cmd_status, "", "health: last backup, last WAL, gaps, window"},
	{"mount", cmd_mount, "MNT", "shows the repository as a directory"},
	{"umount", cmd_umount, "MNT", "takes the mount away"},
	{"open", cmd_open, "", "runs PostgreSQL on a writable branch of a backup or point in time"},
	{"close", cmd_close, "NAME", "ends that, and removes the branch"},
	{"branches", cmd_branches, "", "lists what is open"},
	{"restore", cmd_restore, "ID DEST", "copies a base backup or a dump out, in parallel"},
	{"verify", cmd_verify, "", "checks that everything is there and sound"},
	{"repair", cmd_repair, "", "saves what can be saved after damage"},
	{"prune", cmd_prune, "", "removes what retention does not keep, and collects the rest"},
	{"receive", cmd_receive, "", "receives a running server's WAL"},
	{"archive-push", cmd_archive_push, "PATH", "archives a file of WAL, for archive_command"},
	{"archive-get", cmd_archive_get, "NAME DEST", "copies one out, for restore_command"},
};
#define N_VERBS (sizeof(verbs) / sizeof(verbs[0]))

static void print_help(FILE *to)
{
	fputs("pgstrata keeps PostgreSQL backups in a deduplicated repository and shows each as a "
	      "directory.\n\n"
	      "Usage: pgstrata VERB [OPTION…] [ARG…]\n\n",
		to);
	for (size_t i = 0; i < N_VERBS; i++) {
		char left[40];

		snprintf(left, sizeof(left), "%s %s", verbs[i].name, verbs[i].args);
		fprintf(to, "  %-22s %s\n", left, verbs[i].summary);
	}
	fputs("\n\"pgstrata VERB --help\" tells a verb's options; \"pgstrata --version\" the version.\n"
	      "The repository is named by -r REPO, by PGSTRATA_REPO, or by the config file.\n",
		to);
}

static const char *env(const char *name)
{
	const char *v = getenv(name);

	return v && *v ? v : NULL;
}

__attribute__((format(printf, 1, 2))) static int usage_hint(const char *fmt, ...)
{
	va_list ap;

	fputs("pgstrata: error: ", stderr);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputs("\nTry \"pgstrata --help\".\n", stderr);
	return CMD_USAGE;
}

/* Results that could not be written (a full disk behind stdout) are a failure, whatever the verb thought. */
static int flush(int status)
{
	bool bad = ferror(stdout) != 0;

	if (fflush(stdout) || bad) {
		if (errno != EPIPE)
			fprintf(stderr, "pgstrata: error: standard output: %s\n", strerror(errno));
		return status ? status : CMD_FAILED;
	}
	return status;
}

int main(int argc, char **argv)
{
	struct cmd_context c = {
		.env =
			{
				.repo = env("PGSTRATA_REPO"),
				.config = env("PGSTRATA_CONFIG"),
				.cache_dir = env("PGSTRATA_CACHE_DIR"),
				.cache_home = env("XDG_CACHE_HOME"),
				.config_home = env("XDG_CONFIG_HOME"),
				.home = env("HOME"),
				.root = geteuid() == 0,
				.out_tty = isatty(STDOUT_FILENO) == 1,
				.err_tty = isatty(STDERR_FILENO) == 1,
			},
	};
	int status = CMD_USAGE;

	if (argc < 2) {
		print_help(stderr);
		return CMD_USAGE;
	}
	if (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-?") || !strcmp(argv[1], "help")) {
		print_help(stdout);
		return flush(CMD_OK);
	}
	if (!strcmp(argv[1], "--version") || !strcmp(argv[1], "-V")) {
		puts("pgstrata " PGSTRATA_VERSION);
		return flush(CMD_OK);
	}
	if (argv[1][0] == '-')
		return usage_hint("the verb comes first, options such as %s after it", argv[1]);
	for (size_t i = 0; i < N_VERBS; i++) {
		if (strcmp(argv[1], verbs[i].name))
			continue;
		status = verbs[i].run(&c, argc - 1, argv + 1);
		cmd_context_release(&c);
		return flush(status);
	}
	return usage_hint("there is no verb \"%s\"", argv[1]);
}
