/* The grammar of relation file names, and the other names that matter. See datadir.h. */
#include "src/pg/datadir.h"

#include <errno.h>
#include <string.h>

/* What is left of a path while it is taken apart. */
struct text {
	const char *p;
	size_t n;
};

static bool take(struct text *t, const char *word)
{
	size_t n = strlen(word);

	if (t->n < n || memcmp(t->p, word, n) != 0)
		return false;
	t->p += n;
	t->n -= n;
	return true;
}

/* A decimal number without leading zeroes, at most 2^32 - 1. */
static bool take_u32(struct text *t, uint32_t *ret)
{
	uint64_t v = 0;
	size_t i = 0;

	while (i < t->n && t->p[i] >= '0' && t->p[i] <= '9') {
		v = v * 10 + (uint64_t)(t->p[i] - '0');
		if (v > UINT32_MAX)
			return false;
		i++;
	}
	if (!i || (t->p[0] == '0' && i > 1))
		return false;
	t->p += i;
	t->n -= i;
	*ret = (uint32_t)v;
	return true;
}

static bool take_oid(struct text *t, uint32_t *ret)
{
	return take_u32(t, ret) && *ret;
}

/* NODE of the header's grammar, up to the end. */
static bool take_node(struct text *t, struct datadir_rel *rel)
{
	if (take(t, "t")) {
		rel->temporary = true;
		if (!take_u32(t, &rel->backend) || !take(t, "_"))
			return false;
	}
	if (!take_oid(t, &rel->filenode))
		return false;
	if (take(t, "_fsm"))
		rel->fork = DATADIR_FORK_FSM;
	else if (take(t, "_vm"))
		rel->fork = DATADIR_FORK_VM;
	else if (take(t, "_init"))
		rel->fork = DATADIR_FORK_INIT;
	if (take(t, ".") && (!take_u32(t, &rel->segment) || !rel->segment))
		return false;
	return !t->n;
}

bool datadir_is_relation(const char *path, size_t n, struct datadir_rel *ret)
{
	struct text t = {.p = path, .n = n};
	struct datadir_rel rel = {0};
	uint32_t major, catalog;

	if (take(&t, "base/")) {
		rel.spc.v = DATADIR_SPC_DEFAULT;
		if (!take_oid(&t, &rel.db.v) || !take(&t, "/"))
			return false;
	} else if (take(&t, "global/")) {
		rel.spc.v = DATADIR_SPC_GLOBAL;
	} else if (take(&t, "pg_tblspc/")) {
		/* PG_<major>_<catalog version>: TABLESPACE_VERSION_DIRECTORY, src/include/common/relpath.h.
		 */
		if (!take_oid(&t, &rel.spc.v) || !take(&t, "/PG_") || !take_oid(&t, &major) ||
			!take(&t, "_") || !take_oid(&t, &catalog) || !take(&t, "/") ||
			!take_oid(&t, &rel.db.v) || !take(&t, "/"))
			return false;
	} else {
		return false;
	}
	if (!take_node(&t, &rel))
		return false;
	if (ret)
		*ret = rel;
	return true;
}

const char *datadir_fork_name(enum datadir_fork f)
{
	switch (f) {
	case DATADIR_FORK_MAIN:
		return "main";
	case DATADIR_FORK_FSM:
		return "fsm";
	case DATADIR_FORK_VM:
		return "vm";
	case DATADIR_FORK_INIT:
		return "init";
	}
	return "unknown";
}

bool datadir_verify_ignores(const char *path, size_t n)
{
	static const char *const names[] = {
		"backup_manifest",
		"pg_wal",
		"postgresql.auto.conf",
		"recovery.signal",
		"standby.signal",
	};

	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
		struct text t = {.p = path, .n = n};

		if (take(&t, names[i]) && (!t.n || *t.p == '/'))
			return true;
	}
	return false;
}

int datadir_version_parse(const void *p, size_t n, unsigned *ret_major, struct err *e)
{
	struct text t = {.p = p, .n = n};
	uint32_t major, minor;
	bool two_parts;

	/* One line, "%s\n" of PG_MAJORVERSION (write_version_file, src/bin/initdb/initdb.c). */
	if (!take_oid(&t, &major))
		goto bad;
	two_parts = take(&t, ".");
	if (two_parts && !take_u32(&t, &minor))
		goto bad;
	if (t.n > 1 || (t.n == 1 && *t.p != '\n') || major > 999)
		goto bad;
	if (major < 10)
		return err_set(
			e, -EOPNOTSUPP, "PG_VERSION: release %u is too old (13 to 18 are read)", major);
	if (two_parts)
		goto bad;
	*ret_major = major;
	return 0;
bad:
	return err_set(e, -EBADMSG, "PG_VERSION does not hold one version number");
}
