/* The files that make a base backup in tar format. See tar_base.h. */
#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/clean.h"
#include "src/base/io.h"
#include "src/capture/tar_base.h"

/* "base" of "base.tar.gz", by length; 0 when the name is not that of a tar file of ours. */
static size_t stem(const char *name)
{
	static const char *const endings[] = {".tar", ".tar.gz", ".tar.lz4", ".tar.zst"};
	size_t n = strlen(name);

	for (size_t i = 0; i < sizeof(endings) / sizeof(endings[0]); i++) {
		size_t k = strlen(endings[i]);

		if (n > k && !strcmp(name + n - k, endings[i]))
			return n - k;
	}
	return 0;
}

static struct oid stem_oid(const char *name, size_t n)
{
	uint64_t v = 0;

	if (*name == '0' || n > 10)
		return (struct oid){0};
	for (size_t i = 0; i < n; i++) {
		if (name[i] < '0' || name[i] > '9')
			return (struct oid){0};
		v = v * 10 + (uint64_t)(name[i] - '0');
	}
	return (struct oid){v > UINT32_MAX ? 0 : (uint32_t)v};
}

static int set_once(char **where, const char *dir, const char *name, struct err *e)
{
	if (*where)
		return err_set(e, -EINVAL, "%s holds both %s and %s: which one is the backup's?", dir,
			strrchr(*where, '/') + 1, name);
	*where = io_join(dir, name);
	return *where ? 0 : err_sys(e, -ENOMEM, "%s", dir);
}

static int add_space(struct tar_set *t, struct oid oid, const char *dir, const char *name, struct err *e)
{
	struct tar_tablespace *spaces;

	for (size_t i = 0; i < t->n_spaces; i++)
		if (t->spaces[i].oid.v == oid.v)
			return set_once(&t->spaces[i].path, dir, name, e);
	spaces = realloc(t->spaces, (t->n_spaces + 1) * sizeof(*spaces));
	if (!spaces)
		return err_sys(e, -ENOMEM, "%s", dir);
	t->spaces = spaces;
	spaces[t->n_spaces] = (struct tar_tablespace){.oid = oid};
	return set_once(&spaces[t->n_spaces++].path, dir, name, e);
}

static int add_name(struct tar_set *t, const char *dir, const char *name, struct err *e)
{
	size_t n = stem(name);

	if (n == 4 && !memcmp(name, "base", 4))
		return set_once(&t->base, dir, name, e);
	if (n == 6 && !memcmp(name, "pg_wal", 6))
		return set_once(&t->wal, dir, name, e);
	if (n && stem_oid(name, n).v)
		return add_space(t, stem_oid(name, n), dir, name, e);
	return 0;
}

static int cmp_spaces(const void *a, const void *b)
{
	const struct tar_tablespace *x = a, *y = b;

	return x->oid.v < y->oid.v ? -1 : x->oid.v > y->oid.v;
}

int tar_set_find(const char *dir, struct tar_set *ret, struct err *e)
{
	struct tar_set t = {0};
	DIR *stream = opendir(dir);
	int r = 0;

	if (!stream)
		return err_sys(e, -errno, "%s", dir);
	while (r == 0) {
		struct dirent *d;

		errno = 0;
		d = readdir(stream);
		if (!d) {
			if (errno)
				r = err_sys(e, -errno, "%s", dir);
			break;
		}
		r = add_name(&t, dir, d->d_name, e);
	}
	closedir(stream);
	if (r < 0 || !t.base) {
		tar_set_release(&t);
		return r;
	}
	if (t.n_spaces)
		qsort(t.spaces, t.n_spaces, sizeof(*t.spaces), cmp_spaces);
	*ret = t;
	return 1;
}

void tar_set_release(struct tar_set *t)
{
	for (size_t i = 0; i < t->n_spaces; i++)
		free(t->spaces[i].path);
	free(t->spaces);
	free(t->base);
	free(t->wal);
	*t = (struct tar_set){0};
}
