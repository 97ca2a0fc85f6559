/* What was verified when: a text file outside of the repository, of lines
 *
 *	seconds since 1970, space, name of the object, LF
 *
 * It is advice: a line that cannot be read counts as never, a missing file as an empty one. Names that are still there are
 * written back, and those that are gone without a mark (store/pruned.h). */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/clean.h"
#include "src/base/io.h"
#include "store/verify_priv.h"

#define STATE_MAX (1u << 30)

/* Of a name that is not there: is that to be explained? What another run looks at is left to that. */
static bool must_stay(const struct verify *v, const char *name)
{
	return !strncmp(name, "snapshots/", 10) || !strncmp(name, "wal/", 4) ||
	       ((!strncmp(name, "walnote/", 8) || !strncmp(name, "walpart/", 8)) &&
		       !verify_is_wanted(v, name));
}

int verify_state_load(struct verify *v, struct err *e)
{
	_cleanup_(freep) void *p = NULL;
	char *line, *end, *next;
	struct err why = {0};
	size_t n;
	int r = io_read_file(v->o->state, STATE_MAX, &p, &n, &why);

	if (r == -ENOENT)
		return 0;
	if (r < 0)
		return err_set(e, r, "%s", why.text);
	for (line = p; *line; line = next) {
		struct verify_unit *u;
		int64_t at;

		end = strchr(line, '\n');
		if (!end)
			break;
		*end = 0;
		next = end + 1;
		at = strtoll(line, &end, 10);
		if (end == line || *end != ' ' || at <= 0)
			continue;
		u = verify_unit_find(v, end + 1);
		if (u)
			u->verified = at;
		else if (must_stay(v, end + 1) && verify_seen_add(v, end + 1, at) < 0)
			return err_sys(e, -ENOMEM, "%s", v->o->state);
	}
	return 0;
}

int verify_state_save(struct verify *v, struct err *e)
{
	_cleanup_(buf_free) struct buf b = {0};
	const char *slash = strrchr(v->o->state, '/');
	_cleanup_(freep) char *dir =
		slash ? strndup(v->o->state, (size_t)(slash - v->o->state) + 1) : strdup(".");
	int64_t now = clock_now().sec;
	int r;

	for (size_t i = 0; i < v->n_units; i++) {
		struct verify_unit *u = &v->units[i];

		if (u->done)
			u->verified = u->bad ? 0 : now;
		if (u->verified)
			buf_printf(&b, "%" PRId64 " %s\n", u->verified, u->name);
	}
	for (size_t i = 0; i < v->n_seen; i++)
		buf_printf(&b, "%" PRId64 " %s\n", v->seen[i].at, v->seen[i].name);
	if (!dir || b.bad)
		return err_sys(e, -ENOMEM, "%s", v->o->state);
	r = io_mkdirs(dir, 0700, e);
	return r ? r
		 : io_replace_file(dir, slash ? slash + 1 : v->o->state, b.data ? b.data : (void *)"", b.len,
			   0600, e);
}
