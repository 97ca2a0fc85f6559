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

/* libinih's handler: 1 is fine, 0 makes this line the error that ini_parse_file returns. */
static int on_key(void *arg, const char *section, const char *key, const char *value)
{
	struct reading *r = arg;
	char **where = slot(r->c, key);

	if (r->why[0])
		return 0;
	r->why_line = r->lines;
	if (strcmp(section, "pgstrata")) {
		snprintf(r->why, sizeof(r->why), "\"%s\" stands %s%s%s, not in [pgstrata]", key,
			*section ? "in [" : "before any section", section, *section ? "]" : "");
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

int config_read(const char *path, struct config *c, struct err *e)
{
	struct reading r = {.c = c};
	int line, failed;

	r.f = fopen(path, "re");
	if (!r.f)
		return errno == ENOENT ? -ENOENT : err_sys(e, -errno, "config file %s", path);
	line = ini_parse_stream(next_line, &r, on_key, &r);
	failed = ferror(r.f);
	fclose(r.f);
	if (failed)
		return err_sys(e, -EIO, "config file %s", path);
	if (r.too_long && line <= 0)
		return err_set(
			e, -EINVAL, "config file %s, line %d: more than 198 characters", path, r.too_long);
	if (line < 0)
		return err_sys(e, -ENOMEM, "config file %s", path);
	if (line > 0)
		return err_set(e, -EINVAL, "config file %s, line %d: %s", path, line,
			r.why[0] && r.why_line == line ? r.why
						       : "this is neither a [section] nor KEY = VALUE");
	return 0;
}

void config_release(struct config *c)
{
	free(c->repo);
	free(c->cluster);
	free(c->cache_dir);
	*c = (struct config){0};
}
