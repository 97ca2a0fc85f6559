/* Sorting pg_dump's options. See dump_args.h. */
#include "src/capture/dump_args.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum whose {
	OURS,  /* where the dump comes from and goes to */
	FIRST, /* what is dumped, and how definitions are written */
	DATA,  /* how data is written */
	LESS,  /* the same, and which data there is */
	ALONE, /* no definitions, so that nobody knows the tables; or who wants what is said elsewhere */
	DEFERRABLE,
};

struct option {
	const char *name;
	char letter; /* 0: none */
	bool value;
	enum whose whose;
};

static const struct option options[] = {
	{"attribute-inserts", 0, false, DATA},
	{"binary-upgrade", 0, false, ALONE},
	{"blobs", 'b', false, FIRST},
	{"clean", 'c', false, FIRST},
	{"column-inserts", 0, false, DATA},
	{"compress", 'Z', true, OURS},
	{"create", 'C', false, FIRST},
	{"data-only", 'a', false, ALONE},
	{"dbname", 'd', true, OURS},
	{"disable-dollar-quoting", 0, false, DATA},
	{"disable-triggers", 0, false, FIRST},
	{"enable-row-security", 0, false, DATA},
	{"encoding", 'E', true, DATA},
	{"exclude-extension", 0, true, FIRST},
	{"exclude-schema", 'N', true, FIRST},
	{"exclude-table", 'T', true, FIRST},
	{"exclude-table-and-children", 0, true, FIRST},
	{"exclude-table-data", 0, true, LESS},
	{"exclude-table-data-and-children", 0, true, LESS},
	{"extension", 'e', true, FIRST},
	{"extra-float-digits", 0, true, DATA},
	{"file", 'f', true, OURS},
	{"filter", 0, true, ALONE},
	{"format", 'F', true, OURS},
	{"host", 'h', true, OURS},
	{"if-exists", 0, false, FIRST},
	{"include-foreign-data", 0, true, FIRST},
	{"inserts", 0, false, DATA},
	{"jobs", 'j', true, OURS},
	{"large-objects", 'b', false, FIRST},
	{"load-via-partition-root", 0, false, DATA},
	{"lock-wait-timeout", 0, true, DATA},
	{"no-acl", 'x', false, FIRST},
	{"no-blobs", 'B', false, FIRST},
	{"no-comments", 0, false, FIRST},
	{"no-data", 0, false, ALONE},
	{"no-large-objects", 'B', false, FIRST},
	{"no-owner", 'O', false, FIRST},
	{"no-password", 'w', false, FIRST},
	{"no-policies", 0, false, FIRST},
	{"no-privileges", 'x', false, FIRST},
	{"no-publications", 0, false, FIRST},
	{"no-reconnect", 'R', false, FIRST},
	{"no-schema", 0, false, ALONE},
	{"no-security-labels", 0, false, FIRST},
	{"no-statistics", 0, false, FIRST},
	{"no-subscriptions", 0, false, FIRST},
	{"no-sync", 0, false, FIRST},
	{"no-synchronized-snapshots", 0, false, FIRST},
	{"no-table-access-method", 0, false, FIRST},
	{"no-tablespaces", 0, false, FIRST},
	{"no-toast-compression", 0, false, FIRST},
	{"no-unlogged-table-data", 0, false, LESS},
	{"on-conflict-do-nothing", 0, false, DATA},
	{"password", 'W', false, OURS},
	{"port", 'p', true, OURS},
	{"quote-all-identifiers", 0, false, DATA},
	{"restrict-key", 0, true, FIRST},
	{"role", 0, true, DATA},
	{"rows-per-insert", 0, true, DATA},
	{"schema", 'n', true, FIRST},
	{"schema-only", 's', false, ALONE},
	{"section", 0, true, ALONE},
	{"sequence-data", 0, false, FIRST},
	{"serializable-deferrable", 0, false, DEFERRABLE},
	{"snapshot", 0, true, ALONE},
	{"statistics", 0, false, FIRST},
	{"statistics-only", 0, false, ALONE},
	{"strict-names", 0, false, FIRST},
	{"superuser", 'S', true, FIRST},
	{"sync-method", 0, true, FIRST},
	{"table", 't', true, FIRST},
	{"table-and-children", 0, true, FIRST},
	{"use-set-session-authorization", 0, false, FIRST},
	{"username", 'U', true, OURS},
	{"verbose", 'v', false, DATA},
};
#define OPTIONS (sizeof(options) / sizeof(options[0]))

void dump_args_release(struct dump_args *a)
{
	free(a->all);
	for (size_t i = 0; i < a->n_data; i++)
		free(a->data[i]);
	free(a->data);
	free(a->role);
	free(a->encoding);
	free(a->lock_wait);
	*a = (struct dump_args){0};
}

/* As getopt_long(3) finds it: the name, or the beginning of one name only. NULL: none. */
static const struct option *find_long(const char *text, size_t n)
{
	const struct option *found = NULL;
	size_t matches = 0;

	for (size_t i = 0; i < OPTIONS; i++) {
		if (strncmp(options[i].name, text, n) != 0)
			continue;
		if (!options[i].name[n])
			return &options[i];
		found = &options[i];
		matches++;
	}
	return matches == 1 ? found : NULL;
}

static const struct option *find_letter(char letter)
{
	for (size_t i = 0; i < OPTIONS; i++)
		if (options[i].letter == letter)
			return &options[i];
	return NULL;
}

/* One option, with its value. */
static int take(struct dump_args *a, const struct option *o, const char *value, struct err *e)
{
	char **keep = !strcmp(o->name, "role")		      ? &a->role
		      : !strcmp(o->name, "encoding")	      ? &a->encoding
		      : !strcmp(o->name, "lock-wait-timeout") ? &a->lock_wait
							      : NULL;

	switch (o->whose) {
	case OURS:
		if (o->letter == 'd' || o->letter == 'h' || o->letter == 'p' || o->letter == 'U' ||
			o->letter == 'W')
			return err_set(e, -EINVAL,
				"pg_dump's -%c (--%s) cannot be given here: say with pgstrata's -d what to "
				"connect to",
				o->letter, o->name);
		return err_set(e, -EINVAL,
			"pg_dump's -%c (--%s) cannot be given here: the dump goes straight into the "
			"repository",
			o->letter, o->name);
	case FIRST:
		return 0;
	case ALONE:
		a->alone = o->name;
		return 0;
	case DEFERRABLE:
		a->deferrable = true;
		return 0;
	case LESS:
		a->lacks_data = true;
		break;
	case DATA:
		break;
	}
	if (asprintf(&a->data[a->n_data], "--%s%s%s", o->name, value ? "=" : "", value ? value : "") < 0) {
		a->data[a->n_data] = NULL;
		return err_sys(e, -ENOMEM, "dump");
	}
	a->n_data++;
	if (keep && value) {
		free(*keep);
		*keep = strdup(value);
		if (!*keep)
			return err_sys(e, -ENOMEM, "dump");
	}
	return 0;
}

/* "--name", "--name=value", "--name value": how many arguments it was, or an error. */
static int take_long(struct dump_args *a, const char *const *arg, struct err *e)
{
	const char *name = arg[0] + 2;
	size_t n = strcspn(name, "=");
	const struct option *o = find_long(name, n);
	const char *value = name[n] ? name + n + 1 : NULL;
	int used = 1, r;

	if (!o) {
		a->alone = arg[0];
		return 1;
	}
	if (o->value && !value && arg[1]) {
		value = arg[1];
		used = 2;
	}
	r = take(a, o, value, e);
	return r < 0 ? r : used;
}

/* "-a", "-abc", "-tvalue", "-t value", in any mixture. */
static int take_short(struct dump_args *a, const char *const *arg, struct err *e)
{
	for (const char *p = arg[0] + 1; *p; p++) {
		const struct option *o = find_letter(*p);
		int r;

		if (!o) {
			a->alone = arg[0];
			return 1;
		}
		r = take(a, o, !o->value ? NULL : p[1] ? p + 1 : arg[1], e);
		if (r < 0 || o->value)
			return r < 0 ? r : p[1] || !arg[1] ? 1 : 2;
	}
	return 1;
}

int dump_args_read(const char *const *extra, struct dump_args *ret, struct err *e)
{
	struct dump_args a = {0};
	size_t n = 0;
	int used = 0;

	while (extra && extra[n])
		n++;
	a.all = calloc(n + 1, sizeof(*a.all));
	/* A letter of a cluster can be an option of its own. */
	for (size_t i = 0; i < n; i++)
		a.n_data += strlen(extra[i]);
	a.data = calloc(a.n_data + 1, sizeof(*a.data));
	a.n_data = 0;
	if (!a.all || !a.data) {
		dump_args_release(&a);
		return err_sys(e, -ENOMEM, "dump");
	}
	for (size_t i = 0; i < n && used >= 0; i += (size_t)used) {
		bool deferrable = a.deferrable;

		if (!strncmp(extra[i], "--", 2) && extra[i][2])
			used = take_long(&a, extra + i, e);
		else if (extra[i][0] == '-' && extra[i][1] && extra[i][1] != '-')
			used = take_short(&a, extra + i, e);
		else
			used = 1;
		for (int k = 0; k < used && a.deferrable == deferrable; k++)
			a.all[a.n_all++] = extra[i + (size_t)k];
	}
	if (used < 0) {
		dump_args_release(&a);
		return used;
	}
	*ret = a;
	return 0;
}
