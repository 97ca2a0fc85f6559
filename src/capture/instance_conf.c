/* The configuration files of a data directory that became ours: nothing is included from outside of it, and what the
 * server's settings depend on is read. See instance_data.h.
 *
 * A path of an include is relative to the file that has it (AbsoluteConfigLocation, src/backend/utils/misc/guc-file.l).
 * Settings in postgresql.auto.conf win over all others. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "src/base/io.h"
#include "src/capture/instance_data.h"
#include "src/pg/conf.h"

#define CONF_MAX (4u << 20)
#define DEPTH_MAX 10 /* CONF_FILE_MAX_DEPTH, src/include/utils/conffiles.h */

/* One walk through a file and those that it includes: to read settings, or to take includes out. */
struct walk {
	char *root; /* the data directory, without links in its path */
	struct log *log;
	struct instance_data *settings; /* NULL: includes are taken out */
};

static int walk_file(struct walk *w, const char *path, unsigned depth, struct err *e);

/* ---- settings ---- */

static const char *const locale_names[INSTANCE_LOCALES] = {"lc_monetary", "lc_numeric", "lc_time"};

static int note_setting(struct instance_data *d, const struct conf_line *l)
{
	struct {
		const char *name;
		char **value;
	} wanted[] = {
		{"shared_preload_libraries", &d->preload},
		{"session_preload_libraries", &d->session_preload},
		{"local_preload_libraries", &d->local_preload},
		{locale_names[0], &d->locales[0]},
		{locale_names[1], &d->locales[1]},
		{locale_names[2], &d->locales[2]},
	};

	for (size_t i = 0; i < sizeof(wanted) / sizeof(*wanted); i++) {
		char *copy;

		if (strcmp(l->name, wanted[i].name) != 0)
			continue;
		copy = strdup(l->value);
		if (!copy)
			return -ENOMEM;
		free(*wanted[i].value);
		*wanted[i].value = copy;
	}
	return 0;
}

/* ---- includes ---- */

static bool inside(const char *value)
{
	const char *at = value;

	if (*value == '/' || !*value)
		return false;
	for (; at; at = strchr(at, '/'), at = at ? at + 1 : NULL)
		if (!strncmp(at, "..", 2) && (at[2] == '/' || !at[2]))
			return false;
	return true;
}

/* The path of what a file includes, NULL: it leads out, also by a link, or nothing is there. */
static char *included(const struct walk *w, const char *from, const char *value, bool want_dir)
{
	const char *slash = strrchr(from, '/');
	_cleanup_(freep) char *path = NULL, *real = NULL;
	size_t n = strlen(w->root);
	struct stat st;

	if (!inside(value))
		return NULL;
	if (asprintf(&path, "%.*s/%s", (int)(slash - from), from, value) < 0)
		return path = NULL;
	real = realpath(path, NULL);
	if (!real || strncmp(real, w->root, n) != 0 || real[n] != '/')
		return NULL;
	if (lstat(path, &st) < 0 || !(want_dir ? S_ISDIR(st.st_mode) : S_ISREG(st.st_mode)))
		return NULL;
	return MOVE(path);
}

static int is_conf(const struct dirent *de)
{
	size_t n = strlen(de->d_name);

	return n > 5 && *de->d_name != '.' && !strcmp(de->d_name + n - 5, ".conf");
}

static int by_bytes(const struct dirent **a, const struct dirent **b)
{
	return strcmp((*a)->d_name, (*b)->d_name);
}

static int walk_dir(struct walk *w, const char *path, unsigned depth, struct err *e)
{
	struct dirent **names = NULL;
	int n = scandir(path, &names, is_conf, by_bytes), r = 0;

	if (n < 0)
		return err_sys(e, -errno, "%s", path);
	for (int i = 0; i < n; i++) {
		_cleanup_(freep) char *file = io_join(path, names[i]->d_name);

		if (r == 0)
			r = file ? walk_file(w, file, depth, e) : err_sys(e, -ENOMEM, "%s", path);
		free(names[i]);
	}
	free(names);
	return r;
}

/* Nothing is there, and nothing need be. */
static bool is_harmless(const char *from, const struct conf_line *l)
{
	const char *slash = strrchr(from, '/');
	_cleanup_(freep) char *path = NULL;

	if (strcmp(l->name, "include_if_exists") != 0)
		return false;
	if (*l->value != '/' && asprintf(&path, "%.*s/%s", (int)(slash - from), from, l->value) < 0)
		return path = NULL, false;
	return access(path ? path : l->value, F_OK) < 0;
}

/* *ret_keep: the line may stay. */
static int walk_include(struct walk *w, const char *path, const struct conf_line *l, unsigned depth,
	bool *ret_keep, struct err *e)
{
	bool dir = !strcmp(l->name, "include_dir");
	_cleanup_(freep) char *to = included(w, path, l->value, dir);

	*ret_keep = (to && depth < DEPTH_MAX) || is_harmless(path, l);
	if (!to || !*ret_keep)
		return 0;
	return dir ? walk_dir(w, to, depth + 1, e) : walk_file(w, to, depth + 1, e);
}

/* ---- a file ---- */

static bool is_include(const struct conf_line *l)
{
	return l->kind == CONF_SETTING && !strncmp(l->name, "include", 7) &&
	       (!l->name[7] || !strcmp(l->name + 7, "_dir") || !strcmp(l->name + 7, "_if_exists"));
}

static int rewrite(const char *path, const struct buf *b, struct err *e)
{
	_cleanup_(closep) int fd = open(path, O_WRONLY | O_TRUNC | O_NOFOLLOW | O_CLOEXEC);
	int r = fd < 0 ? -errno : io_write(fd, b->data, b->len);

	return r < 0 ? err_sys(e, r, "writing %s", path) : 0;
}

static int walk_line(struct walk *w, const char *path, const struct conf_line *l, unsigned depth,
	struct buf *out, bool *changed, struct err *e)
{
	bool keep = true;
	int r = 0;

	if (is_include(l))
		r = walk_include(w, path, l, depth, &keep, e);
	else if (l->kind == CONF_SETTING && w->settings)
		r = note_setting(w->settings, l);
	if (!keep && !w->settings) {
		log_msg(w->log, LOG_LEVEL_WARNING,
			"%s: \"%s %s\" is left out: it is not in the data directory", path, l->name,
			l->value);
		buf_printf(out, "# left out by pgstrata: ");
		*changed = true;
	}
	buf_put(out, l->text, l->len);
	buf_put_u8(out, '\n');
	return r;
}

static int walk_file(struct walk *w, const char *path, unsigned depth, struct err *e)
{
	_cleanup_(buf_free) struct buf out = {0};
	_cleanup_(freep) void *text = NULL;
	struct conf_line l;
	const char *at, *end;
	bool changed = false;
	size_t n;
	int r = io_read_file(path, CONF_MAX, &text, &n, e);

	if (r < 0)
		return r;
	for (at = text, end = at + n; r == 0 && conf_next(&at, end, &l);) {
		r = walk_line(w, path, &l, depth, &out, &changed, e);
		conf_line_release(&l);
	}
	if (r == -ENOMEM || out.bad)
		return err_sys(e, -ENOMEM, "%s", path);
	return r == 0 && changed ? rewrite(path, &out, e) : r;
}

/* ---- all of them ---- */

static const char minimal[] = "# The cluster's own postgresql.conf lies outside of its data directory.\n";

int instance_conf_contain(const char *data, const struct instance_owner *o, struct log *log, struct err *e)
{
	_cleanup_(freep) char *path = io_join(data, "postgresql.conf");
	_cleanup_(freep) char *root = realpath(data, NULL);
	struct walk w = {.root = root, .log = log};
	_cleanup_(closep) int fd = -1;
	struct stat st;
	int r;

	if (!root || !path)
		return err_sys(e, root ? -ENOMEM : -errno, "%s", data);
	if (lstat(path, &st) == 0 && S_ISREG(st.st_mode))
		return walk_file(&w, path, 1, e);
	unlink(path);
	fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0)
		return err_sys(e, -errno, "%s", path);
	if (geteuid() == 0 && fchown(fd, o->uid, o->gid) < 0)
		return err_sys(e, -errno, "chown %s", path);
	r = io_write(fd, minimal, sizeof(minimal) - 1);
	return r < 0 ? err_sys(e, r, "writing %s", path) : 0;
}

static int read_control(const char *data, struct control *ret, struct err *e)
{
	_cleanup_(freep) char *path = io_join(data, CONTROL_PATH);
	_cleanup_(freep) void *p = NULL;
	size_t n;
	int r = path ? io_read_file(path, CONTROL_FILE_SIZE, &p, &n, e) : err_sys(e, -ENOMEM, "%s", data);

	if (r < 0)
		return r;
	r = control_parse(p, n, ret, e);
	return r < 0 ? err_wrap(e, r, "%s", path) : 0;
}

static bool has_locale(const char *name)
{
	locale_t l = newlocale(LC_ALL_MASK, name, (locale_t)0);

	if (l)
		freelocale(l);
	return l != NULL;
}

void instance_data_release(struct instance_data *d)
{
	free(d->preload);
	free(d->session_preload);
	free(d->local_preload);
	for (size_t i = 0; i < INSTANCE_LOCALES; i++)
		free(d->locales[i]);
	*d = (struct instance_data){0};
}

int instance_data_read(const char *data, struct instance_data *ret, struct err *e)
{
	static const char *const files[] = {"postgresql.conf", "postgresql.auto.conf"};
	struct instance_data d = {0};
	_cleanup_(freep) char *root = realpath(data, NULL);
	struct walk w = {.root = root, .settings = &d};
	int r = root ? read_control(data, &d.control, e) : err_sys(e, -errno, "%s", data);

	for (size_t i = 0; r == 0 && i < 2; i++) {
		_cleanup_(freep) char *path = io_join(data, files[i]);

		r = path ? walk_file(&w, path, 1, e) : err_sys(e, -ENOMEM, "%s", data);
		if (r == -ENOENT)
			r = 0;
	}
	for (size_t i = 0, n = 0; r == 0 && i < INSTANCE_LOCALES; i++)
		if (d.locales[i] && !has_locale(d.locales[i]))
			d.bad_locales[n++] = locale_names[i];
	if (r < 0) {
		instance_data_release(&d);
		return r;
	}
	*ret = d;
	return 0;
}
