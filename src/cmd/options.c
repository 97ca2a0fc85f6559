/* The command line: a verb's option table and the common one, read, checked and turned into help.
 *
 * Options and arguments may stand in any order; "--" ends the options; "-" alone is an argument. Long
 * options are not abbreviated: a script's abbreviation would end with the next option of ours. */
#include "src/cmd/cmd.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "src/cmd/settings.h"

/* The two tables of one verb, looked at as one. */
struct tables {
	const struct cmd_option *own;
	const struct cmd_option *common;
};

#define COMMON_MAX 10

/* Fills the common options that the verb takes; `out` has room for COMMON_MAX. */
static void common_options(
	const struct cmd_usage *u, struct cmd_context *c, struct settings *s, struct cmd_option *out)
{
	size_t n = 0;

	if (!(u->takes & TAKES_NO_REPO))
		out[n++] = (struct cmd_option){"repo", 'r', "REPO", OPTION_TEXT, &s->repo,
			"the repository (else PGSTRATA_REPO, else the config file's)"};
	if (u->takes & TAKES_CLUSTER)
		out[n++] = (struct cmd_option){"cluster", 'c', "NAME", OPTION_TEXT, &s->cluster,
			"the cluster's name in the repository (default: main)"};
	if (u->takes & TAKES_JSON)
		out[n++] =
			(struct cmd_option){"json", 0, NULL, OPTION_FLAG, &c->json, "prints one JSON object"};
	if (!(u->takes & TAKES_NO_REPO))
		out[n++] = (struct cmd_option){"cache-dir", 0, "DIR", OPTION_TEXT, &s->cache_dir,
			"where index caches are kept (else PGSTRATA_CACHE_DIR)"};
	out[n++] = (struct cmd_option){
		"config", 'C', "FILE", OPTION_TEXT, &s->config, "the config file (else PGSTRATA_CONFIG)"};
	out[n++] = (struct cmd_option){
		"quiet", 'q', NULL, OPTION_FLAG, &c->quiet, "no warnings and no progress line"};
	out[n++] = (struct cmd_option){
		"verbose", 'v', NULL, OPTION_FLAG, &c->verbose, "says more on standard error"};
	out[n++] = (struct cmd_option){"help", '?', NULL, OPTION_FLAG, &s->help, "prints this"};
	out[n] = (struct cmd_option){0};
}

static const struct cmd_option *find_long(const struct tables *t, const char *name, size_t len)
{
	const struct cmd_option *all[] = {t->own, t->common};

	for (size_t i = 0; i < 2; i++)
		for (const struct cmd_option *o = all[i]; o && o->name; o++)
			if (strlen(o->name) == len && !memcmp(o->name, name, len))
				return o;
	return NULL;
}

static const struct cmd_option *find_letter(const struct tables *t, char letter)
{
	const struct cmd_option *all[] = {t->own, t->common};

	for (size_t i = 0; i < 2; i++)
		for (const struct cmd_option *o = all[i]; o && o->name; o++)
			if (o->letter == letter)
				return o;
	return NULL;
}

static int parse_count(const char *text, uint64_t *ret, struct err *e)
{
	uint64_t n = 0;

	if (!*text)
		goto bad;
	for (const char *s = text; *s; s++) {
		if (*s < '0' || *s > '9')
			goto bad;
		if (__builtin_mul_overflow(n, 10u, &n) || __builtin_add_overflow(n, (uint64_t)(*s - '0'), &n))
			goto bad;
	}
	*ret = n;
	return 0;
bad:
	return err_set(e, -EINVAL, "\"%s\" is not a number", text);
}

static int parse_bounded(const char *text, unsigned most, unsigned *ret, struct err *e)
{
	uint64_t n = 0;
	int r = parse_count(text, &n, e);

	if (r < 0)
		return r;
	if (n < 1 || n > most)
		return err_set(e, -ERANGE, "must be from 1 to %u", most);
	*ret = (unsigned)n;
	return 0;
}

static int parse_kind(const char *text, enum snapshot_kind *ret, struct err *e)
{
	*ret = snapshot_kind_of(text);
	return *ret ? 0 : err_set(e, -EINVAL, "there is no kind \"%s\"", text);
}

static int list_add(struct cmd_list *l, const char *value)
{
	const char **v = realloc(l->v, (l->n + 1) * sizeof(*v));

	if (!v)
		return -ENOMEM;
	v[l->n++] = value;
	l->v = v;
	return 0;
}

void cmd_list_free(struct cmd_list *l)
{
	free(l->v);
	*l = (struct cmd_list){0};
}

/* Stores a value (NULL for flags) in the option's target. */
static int store_value(const struct cmd_option *o, const char *value, struct err *e)
{
	switch (o->type) {
	case OPTION_FLAG:
		*(bool *)o->target = true;
		return 0;
	case OPTION_TEXT:
		*(const char **)o->target = value;
		return 0;
	case OPTION_SIZE:
		return cmd_parse_size(value, o->target, e);
	case OPTION_DURATION:
		return cmd_parse_duration(value, o->target, e);
	case OPTION_COUNT:
		return parse_count(value, o->target, e);
	case OPTION_THREADS:
		return parse_bounded(value, 1024, o->target, e);
	case OPTION_TIMEOUT:
		return parse_bounded(value, 86400, o->target, e);
	case OPTION_KIND:
		return parse_kind(value, o->target, e);
	case OPTION_LIST:
		if (list_add(o->target, value) < 0)
			return err_sys(e, -ENOMEM, "--%s", o->name);
		return 0;
	}
	return err_set(e, -EINVAL, "--%s: unknown type", o->name);
}

static int set_option(const struct cmd_option *o, const char *value, struct err *e)
{
	int r = store_value(o, value, e);

	return r < 0 ? err_wrap(e, r, "--%s", o->name) : 0;
}

/* "--name", "--name=value", "--name value". i is the option's place in argv and moves over its value. */
static int take_long(const struct tables *t, int argc, char **argv, int *i, struct err *e)
{
	const char *name = argv[*i] + 2, *eq = strchr(name, '=');
	size_t len = eq ? (size_t)(eq - name) : strlen(name);
	const struct cmd_option *o = find_long(t, name, len);

	if (!o)
		return err_set(e, -EINVAL, "there is no option --%.*s", (int)len, name);
	if (o->type == OPTION_FLAG) {
		if (eq)
			return err_set(e, -EINVAL, "--%s takes no value", o->name);
		return set_option(o, NULL, e);
	}
	if (eq)
		return set_option(o, eq + 1, e);
	if (*i + 1 >= argc)
		return err_set(e, -EINVAL, "--%s needs a value (%s)", o->name, o->arg);
	return set_option(o, argv[++*i], e);
}

/* "-x", "-xvalue", "-x value", "-xyz" of flags. */
static int take_letters(const struct tables *t, int argc, char **argv, int *i, struct err *e)
{
	int r;

	for (const char *s = argv[*i] + 1; *s; s++) {
		const struct cmd_option *o = find_letter(t, *s);

		if (!o)
			return err_set(e, -EINVAL, "there is no option -%c", *s);
		if (o->type == OPTION_FLAG) {
			r = set_option(o, NULL, e);
			if (r < 0)
				return r;
			continue;
		}
		if (s[1])
			return set_option(o, s + 1, e);
		if (*i + 1 >= argc)
			return err_set(e, -EINVAL, "-%c needs a value (%s)", *s, o->arg);
		return set_option(o, argv[++*i], e);
	}
	return 0;
}

/* Moves the arguments to the front of argv + 1 and counts them. */
static int take_all(const struct tables *t, int argc, char **argv, unsigned *n_args, struct err *e)
{
	bool ended = false;
	int n = 0, r;

	for (int i = 1; i < argc; i++) {
		char *a = argv[i];

		if (ended || a[0] != '-' || !a[1]) {
			argv[1 + n++] = a;
			continue;
		}
		if (!strcmp(a, "--")) {
			ended = true;
			continue;
		}
		r = a[1] == '-' ? take_long(t, argc, argv, &i, e) : take_letters(t, argc, argv, &i, e);
		if (r < 0)
			return r;
	}
	*n_args = (unsigned)n;
	return 0;
}

/* A help text may have several lines; those after the first are put under it. */
static void print_option(FILE *to, const struct cmd_option *o)
{
	char left[64], letter[8] = "    ";

	if (o->letter)
		snprintf(letter, sizeof(letter), "-%c, ", o->letter);
	snprintf(left, sizeof(left), "%s--%s%s%s", letter, o->name, o->arg ? " " : "", o->arg ? o->arg : "");
	fprintf(to, "  %-26s ", left);
	for (const char *s = o->help; *s; s++) {
		fputc(*s, to);
		if (*s == '\n')
			fprintf(to, "%29s", "");
	}
	fputc('\n', to);
}

static void print_help(FILE *to, const struct cmd_usage *u, const struct tables *t)
{
	fprintf(to, "Usage: pgstrata %s [OPTION…]%s%s\n\n%s\n\nOptions:\n", u->verb, *u->args ? " " : "",
		u->args, u->about);
	for (const struct cmd_option *o = t->own; o && o->name; o++)
		print_option(to, o);
	for (const struct cmd_option *o = t->common; o->name; o++)
		print_option(to, o);
	if (u->example)
		fprintf(to, "\nExample:\n%s\n", u->example);
}

static int check_count(const struct cmd_context *c, const struct cmd_usage *u, struct err *e)
{
	if (c->n_args > u->max_args)
		return err_set(e, -EINVAL, "one argument too many: \"%s\"", c->args[u->max_args]);
	if (c->n_args < u->min_args)
		return err_set(e, -EINVAL, "something is missing: pgstrata %s wants %s", u->verb, u->args);
	/* Not what follows "--": that is another program's. */
	for (unsigned i = 0; u->min_args && i < c->n_args; i++)
		if (!*c->args[i])
			return err_set(
				e, -EINVAL, "an argument is empty: pgstrata %s wants %s", u->verb, u->args);
	return 0;
}

bool cmd_parse(struct cmd_context *c, const struct cmd_usage *u, int argc, char **argv)
{
	struct settings s = {0};
	struct cmd_option common[COMMON_MAX];
	struct tables t = {.own = u->options, .common = common};
	struct err e = {0};
	int r;

	common_options(u, c, &s, common);
	c->args = argv + 1;
	r = take_all(&t, argc, argv, &c->n_args, &e);
	if (r == 0 && s.help) {
		print_help(stdout, u, &t);
		c->status = CMD_OK;
		return false;
	}
	if (r == 0)
		r = check_count(c, u, &e);
	if (r == 0 && s.repo && !*s.repo)
		r = err_set(&e, -EINVAL, "--repo: the name of the repository is empty");
	if (r < 0) {
		c->status = cmd_usage_error(c, u, "%s", e.text);
		return false;
	}
	r = settings_apply(c, &s, &e);
	if (r < 0) {
		c->status = cmd_fail(c, &e);
		return false;
	}
	return true;
}

int cmd_usage_error(struct cmd_context *c, const struct cmd_usage *u, const char *fmt, ...)
{
	va_list ap;

	(void)c;
	fputs("pgstrata: error: ", stderr);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fprintf(stderr, "\nTry \"pgstrata %s --help\".\n", u->verb);
	return CMD_USAGE;
}
