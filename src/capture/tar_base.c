/* Which tar files make a backup, and in which order they are taken. See tar_base.h.
 *
 * base.tar comes first: the server sends backup_label as its first member and pg_control as its last
 * (perform_base_backup, src/backend/backup/basebackup.c), and it holds the directory pg_wal that pg_wal.tar
 * fills. */
#include "src/capture/tar_base.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "src/base/buf.h"
#include "src/base/clean.h"
#include "src/capture/tar.h"
#include "src/capture/tar_load.h"

#define MANIFEST_MAX (1u << 30) /* of one inside an archive, which must be in memory */

/* Every tablespace that the backup tells of has a file. */
static int check_spaces(const struct tar_set *t, const struct backup_facts *facts, struct err *e)
{
	const struct oid *oids;
	size_t n = backup_facts_tablespaces(facts, &oids);

	for (size_t i = 0; i < n; i++) {
		bool found = false;

		for (size_t j = 0; j < t->n_spaces; j++)
			found = found || t->spaces[j].oid.v == oids[i].v;
		if (!found)
			return err_set(e, -EINVAL,
				"%s tells of tablespace %u, but there is no %u.tar beside it: the "
				"tablespace's "
				"files are missing",
				t->base, oids[i].v, oids[i].v);
	}
	return 0;
}

static int load_tablespaces(
	struct tar_load *l, const struct tar_set *t, const struct backup_facts *facts, struct err *e)
{
	for (size_t i = 0; i < t->n_spaces; i++) {
		char root[64];
		int r;

		if (!backup_facts_has_tablespace(facts, t->spaces[i].oid))
			return err_set(e, -EINVAL,
				"%s: base.tar tells of no tablespace %u; does the file belong to this "
				"backup?",
				t->spaces[i].path, t->spaces[i].oid.v);
		snprintf(root, sizeof(root), BASE_TABLESPACES "/%u", t->spaces[i].oid.v);
		r = tar_load_file(l, t->spaces[i].path, root, e);
		if (r < 0)
			return r;
	}
	return 0;
}

int tar_base_import(const struct tar_set *t, bool beside, struct base_sink *k, struct backup_facts *facts,
	struct log *log, struct err *e)
{
	struct tar_load_options o = {.sink = k, .facts = facts, .log = log, .beside = beside};
	_cleanup_(tar_load_freep) struct tar_load *l = NULL;
	int r = tar_load_new(&o, &l, e);

	if (r == 0)
		r = tar_load_file(l, t->base, BASE_DATA, e);
	if (r == 0)
		r = tar_load_links(l, e);
	if (r == 0)
		r = check_spaces(t, facts, e);
	if (r == 0)
		r = load_tablespaces(l, t, facts, e);
	if (r == 0 && t->wal)
		r = tar_load_file(l, t->wal, BASE_DATA "/pg_wal", e);
	return r;
}

/* The look for a manifest inside. */

#define FOUND 2

static int find_member(void *arg, const struct tar_member *m, struct err *e)
{
	(void)arg;
	if (m->type != ENTRY_FILE || strcmp(m->path, MANIFEST_PATH))
		return TAR_SKIP;
	if (m->size > MANIFEST_MAX)
		return err_set(e, -EFBIG,
			"the manifest inside has %llu bytes, more than can be held in memory",
			(unsigned long long)m->size);
	return 0;
}

static int find_data(void *arg, const void *p, size_t n, struct err *e)
{
	struct buf *b = arg;

	buf_put(b, p, n);
	return b->bad ? err_sys(e, -ENOMEM, "%s", MANIFEST_PATH) : 0;
}

static int find_end(void *arg, struct err *e)
{
	(void)arg;
	(void)e;
	return FOUND;
}

int tar_base_find_manifest(const struct tar_set *t, void **ret, size_t *ret_len, struct err *e)
{
	static const struct tar_ops ops = {.member = find_member, .data = find_data, .end = find_end};
	struct tar_options o = {.headers_only = true};
	_cleanup_(closep) int fd = open(t->base, O_RDONLY | O_CLOEXEC);
	struct buf b = {0};
	size_t len;
	int r;

	if (fd < 0)
		return err_sys(e, -errno, "%s", t->base);
	r = tar_read(fd, t->base, &o, &ops, &b, e);
	len = b.len;
	if (r == FOUND) {
		*ret = buf_steal_str(&b);
		*ret_len = len;
		if (!*ret)
			r = err_sys(e, -ENOMEM, "%s", t->base);
	}
	buf_free(&b);
	return r == FOUND ? 1 : r;
}
