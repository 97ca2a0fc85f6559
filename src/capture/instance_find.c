/* What a server needs of this machine: its programs, its libraries, a user, a place for its socket. See instance.h. */
#include <ctype.h>
#include <errno.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "src/base/io.h"
#include "src/capture/instance.h"

/* ---- programs ---- */

/* The first line that a program prints, "" when it cannot be run. The path is quoted: it may be anything. */
static void first_line(const char *bindir, const char *program, const char *option, char *out, int n)
{
	struct buf b = {0};
	_cleanup_(freep) char *command = NULL;
	FILE *f;

	buf_printf(&b, "'");
	for (; *bindir; bindir++)
		if (*bindir == '\'')
			buf_printf(&b, "'\\''");
		else
			buf_put_u8(&b, (uint8_t)*bindir);
	buf_printf(&b, "/%s' %s 2>/dev/null", program, option);
	command = buf_steal_str(&b);
	*out = '\0';
	f = command ? popen(command, "re") : NULL;
	if (!f)
		return;
	if (!fgets(out, n, f))
		*out = '\0';
	if (pclose(f) != 0)
		*out = '\0';
	out[strcspn(out, "\n")] = '\0';
}

/* "postgres (PostgreSQL) 15.6 (Debian …)" (src/backend/main/main.c). 0: it says none. */
static unsigned version_of(const char *bindir)
{
	char line[200];
	unsigned major = 0;

	first_line(bindir, "postgres", "--version", line, sizeof(line));
	return sscanf(line, "%*s (PostgreSQL) %u", &major) == 1 ? major : 0;
}

static bool has_server(const char *dir)
{
	char program[80];

	snprintf(program, sizeof(program), "%s/postgres", dir);
	return access(program, X_OK) == 0;
}

int instance_find(const char *given, unsigned major, char **ret, struct err *e)
{
	unsigned found = given ? version_of(given) : 0;
	char dir[64];

	if (given && found == major)
		return (*ret = strdup(given)) ? 0 : err_sys(e, -ENOMEM, "%s", given);
	if (given && found)
		return err_set(e, -EOPNOTSUPP, "%s/postgres is of version %u, and the backup of version %u",
			given, found, major);
	if (given)
		return err_set(e, -EOPNOTSUPP, "%s/postgres cannot be run", given);
	/* Debian, Red Hat (PGDG). */
	snprintf(dir, sizeof(dir), "/usr/lib/postgresql/%u/bin", major);
	if (!has_server(dir))
		snprintf(dir, sizeof(dir), "/usr/pgsql-%u/bin", major);
	if (has_server(dir))
		return (*ret = strdup(dir)) ? 0 : err_sys(e, -ENOMEM, "%s", dir);
	return err_set(e, -EOPNOTSUPP,
		"PostgreSQL %u, of which the backup is, is not installed here: install its server (Debian: "
		"package postgresql-%u, Red Hat: postgresql%u-server), or name its place with --bindir",
		major, major, major);
}

char *instance_libraries(const char *bindir)
{
	char line[1024];
	struct stat st;
	char *path;

	first_line(bindir, "pg_config", "--pkglibdir", line, sizeof(line));
	if (*line == '/')
		return strdup(line);
	/* pg_config comes with the development package; both layouts have lib/ beside bin/. */
	if (asprintf(&path, "%s/../lib", bindir) < 0)
		return NULL;
	if (stat(path, &st) == 0 && S_ISDIR(st.st_mode))
		return path;
	free(path);
	return NULL;
}

/* ---- libraries ---- */

/* As load_file finds it (expand_dynamic_library_name, src/backend/utils/fmgr/dfmgr.c): "$libdir/" and names without a slash
 * below the directory, with or without the suffix. */
bool instance_has_library(void *arg, const char *library)
{
	static const char *const suffixes[] = {"", ".so"};
	const char *dir = arg;

	if (!strncmp(library, "$libdir/", 8))
		library += 8;
	else if (*library != '/' && strchr(library, '/'))
		return false;
	for (size_t i = 0; i < 2; i++) {
		_cleanup_(freep) char *path = NULL;
		struct stat st;

		if (*library != '/' && !dir)
			return false;
		if (asprintf(&path, "%s%s%s%s", *library == '/' ? "" : dir, *library == '/' ? "" : "/",
			    library, suffixes[i]) < 0)
			return path = NULL, false;
		if (stat(path, &st) == 0 && S_ISREG(st.st_mode))
			return true;
	}
	return false;
}

/* They talk to other servers, or run what is in a table of jobs, as soon as they are loaded. */
static bool acts_outside(const char *library)
{
	static const char *const names[] = {
		"pg_cron", "pglogical", "spock", "bdr", "repmgr", "citus", "pg_net", "pgactive"};
	const char *slash = strrchr(library, '/'), *name = slash ? slash + 1 : library;
	size_t n = strlen(name);

	if (n > 3 && !strcmp(name + n - 3, ".so"))
		n -= 3;
	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
		if (strlen(names[i]) == n && !strncmp(name, names[i], n))
			return true;
	return false;
}

/* One name of the list, in double quotes where it wants them, the next one in *p. False: no more. As SplitDirectoriesString
 * (src/backend/utils/adt/varlena.c) reads them: spaces around are not part of it, "" is a quote within quotes. */
static bool next_name(const char **p, struct buf *name)
{
	const char *s = *p;

	buf_clear(name);
	while (isspace((unsigned char)*s) || *s == ',')
		s++;
	if (!*s)
		return false;
	if (*s == '"') {
		for (s++; *s && (*s != '"' || s[1] == '"'); s++) {
			s += *s == '"';
			buf_put_u8(name, (uint8_t)*s);
		}
		s += strcspn(s, ",");
	} else {
		for (; *s && *s != ','; s++)
			buf_put_u8(name, (uint8_t)*s);
		while (name->len && isspace(name->data[name->len - 1]))
			name->len--;
	}
	buf_put_u8(name, '\0');
	*p = s;
	return true;
}

/* In quotes, which also keeps the case. */
static void put_name(struct buf *b, const char *name)
{
	bool plain = *name && name[strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_-$/.")] == '\0';

	buf_printf(b, "%s%s", b->len ? ", " : "", plain ? "" : "\"");
	for (; *name; name++)
		buf_printf(b, "%s%c", *name == '"' ? "\"" : "", *name);
	buf_printf(b, "%s", plain ? "" : "\"");
}

int instance_preload(
	const char *list, instance_has_fn *has, void *arg, char **ret, char **ret_left_out, struct err *e)
{
	_cleanup_(buf_free) struct buf name = {0};
	struct buf good = {0}, left_out = {0};
	char *keep, *out = NULL;

	while (next_name(&list, &name) && !name.bad) {
		const char *n = (const char *)name.data;

		put_name(!acts_outside(n) && has(arg, n) ? &good : &left_out, n);
	}
	good.bad |= name.bad;
	keep = buf_steal_str(&good);
	if (left_out.len)
		out = buf_steal_str(&left_out);
	if (!keep || left_out.bad) {
		buf_free(&left_out);
		free(keep);
		free(out);
		return err_sys(e, -ENOMEM, "preloaded libraries");
	}
	*ret = keep;
	*ret_left_out = out;
	return 0;
}

/* ---- who and where ---- */

int instance_owner(const char *data, struct instance_owner *ret, struct err *e)
{
	struct passwd pw, *found = NULL;
	char space[4096];
	struct stat st;

	if (stat(data, &st) < 0)
		return err_sys(e, -errno, "%s", data);
	if (st.st_uid == 0)
		return err_set(e, -EPERM,
			"%s belongs to root, as whom PostgreSQL does not run: mount as another user, or say "
			"whose it "
			"is",
			data);
	if (geteuid() != 0 && geteuid() != st.st_uid)
		return err_set(e, -EPERM, "%s belongs to user %u, whom only root can act as", data,
			(unsigned)st.st_uid);
	*ret = (struct instance_owner){.uid = st.st_uid, .gid = st.st_gid};
	if (getpwuid_r(st.st_uid, &pw, space, sizeof(space), &found) == 0 && found)
		snprintf(ret->name, sizeof(ret->name), "%s", found->pw_name);
	return 0;
}

bool instance_socket_fits(const char *dir, unsigned port)
{
	return snprintf(NULL, 0, "%s/.s.PGSQL.%u", dir, port) <= INSTANCE_SOCKET_MAX;
}

int instance_socket_dir(const char *dir, unsigned port, const struct instance_owner *o, char **ret,
	bool *ret_made, struct err *e)
{
	char made[] = "/tmp/pgstrata-XXXXXX";
	bool fits = instance_socket_fits(dir, port);
	char *path;

	if (!fits && !mkdtemp(made))
		return err_sys(e, -errno, "a directory for the server's socket in /tmp");
	if (!fits && geteuid() == 0 && chown(made, o->uid, o->gid) < 0) {
		int r = err_sys(e, -errno, "%s", made);

		rmdir(made);
		return r;
	}
	path = strdup(fits ? dir : made);
	if (!path) {
		if (!fits)
			rmdir(made);
		return err_sys(e, -ENOMEM, "%s", dir);
	}
	*ret = path;
	*ret_made = !fits;
	return 0;
}
