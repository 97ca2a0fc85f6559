/* The config file, read with libinih. See config.h.
 *
 * Unknown keys are errors: a misspelt `repo` that is silently passed over would send a backup elsewhere. */
#include "src/cmd/config.h"

#include <errno.h>
#include <ini.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct reading {
	struct config *c;
	struct retention_sets sets; /* of this file */
	FILE *f;
	int lines;
	int too_long; /* the line that did not fit libinih's buffer, or 0 */
	int why_line;
	char why[300]; /* what is wrong there, the first time; libinih goes on after it */
};

static int replace(char **where, const char *value)
{
	char *copy = strdup(value);

	if (!copy)
		return -ENOMEM;
	free(*where);
	*where = copy;
	return 0;
}

static char **slot(struct config *c, const char *key)
{
	if (!strcmp(key, "repo"))
		return &c->repo;
	if (!strcmp(key, "cluster"))
		return &c->cluster;
	if (!strcmp(key, "cache-dir"))
		return &c->cache_dir;
	return NULL;
}

/* libinih cuts a longer section's name without a word (MAX_SECTION, ini.c). */
#define SECTION_MAX 48

static int on_rule(struct reading *r, const char *section, const char *key, const char *value)
{
	struct retention_set *set;
	struct err e = {0};
	int c;

	if (strlen(section) > SECTION_MAX)
		c = err_set(&e, -EINVAL, "the name of a section has at most %d characters", SECTION_MAX);
	else
		c = retention_section(&r->sets, section, &set, &e);
	if (!c)
		c = retention_add(&set->rules, key, value, &e);
	if (c < 0)
		snprintf(r->why, sizeof(r->why), "%.*s", (int)sizeof(r->why) - 1, e.text);
	return c == 0;
}

/* libinih's handler: 1 is fine, 0 makes this line the error that ini_parse_file returns. */
static int on_key(void *arg, const char *section, const char *key, const char *value)
{
	struct reading *r = arg;
	char **where = slot(r->c, key);

	if (r->why[0])
		return 0;
	r->why_line = r->lines;
	if (!strncmp(section, "retention", 9))
		return on_rule(r, section, key, value);
	if (strcmp(section, "pgstrata")) {
		snprintf(r->why, sizeof(r->why), "\"%s\" stands %s%s%s, not in [pgstrata] or [retention]",
			key, *section ? "in [" : "before any section", section, *section ? "]" : "");
		return 0;
	}
	if (!where) {
		snprintf(r->why, sizeof(r->why), "unknown key \"%s\" (there are repo, cluster and cache-dir)",
			key);
		return 0;
	}
	if (!*value) {
		snprintf(r->why, sizeof(r->why), "\"%s\" has no value", key);
		return 0;
	}
	if (replace(where, value) < 0) {
		snprintf(r->why, sizeof(r->why), "no memory");
		return 0;
	}
	return 1;
}

/* libinih's reader. Its buffer holds 200 bytes, and it would take the rest of a longer line for a new one. */
static char *next_line(char *line, int room, void *arg)
{
	struct reading *r = arg;
	size_t n;

	if (r->too_long || !fgets(line, room, r->f))
		return NULL;
	r->lines++;
	n = strlen(line);
	if (n + 1 < (size_t)room || line[n - 1] == '\n')
		return line;
	r->too_long = r->lines;
	return NULL;
}

/* The file's sections replace those of files that were read before. */
static int take_sets(struct config *c, struct retention_sets *from)
{
	for (size_t i = 0; i < from->n; i++) {
		int r = retention_put(&c->retention, &from->v[i]);

		if (r < 0)
			return r;
	}
	return 0;
}

static int read_stream(struct reading *r, const char *path, struct err *e)
{
	int line = ini_parse_stream(next_line, r, on_key, r);

	if (ferror(r->f))
		return err_sys(e, -EIO, "config file %s", path);
	if (r->too_long && line <= 0)
		return err_set(
			e, -EINVAL, "config file %s, line %d: more than 198 characters", path, r->too_long);
	if (line > 0)
		return err_set(e, -EINVAL, "config file %s, line %d: %s", path, line,
			r->why[0] && r->why_line == line ? r->why
							 : "this is neither a [section] nor KEY = VALUE");
	if (line < 0 || take_sets(r->c, &r->sets) < 0)
		return err_sys(e, -ENOMEM, "config file %s", path);
	return 0;
}

int config_read(const char *path, struct config *c, struct err *e)
{
	struct reading r = {.c = c};
	int result;

	r.f = fopen(path, "re");
	if (!r.f)
		return errno == ENOENT ? -ENOENT : err_sys(e, -errno, "config file %s", path);
	result = read_stream(&r, path, e);
	fclose(r.f);
	retention_sets_release(&r.sets);
	return result;
}

void config_release(struct config *c)
{
	free(c->repo);
	free(c->cluster);
	free(c->cache_dir);
	retention_sets_release(&c->retention);
	*c = (struct config){0};
}
