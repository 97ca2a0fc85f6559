/* A base backup in tar files, as pg_basebackup -Ft leaves it: base.tar, OID.tar for each tablespace, and
 * pg_wal.tar, each plain or with .gz, .lz4 or .zst; or all in one file, as it writes to standard output. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "src/base/err.h"
#include "src/base/log.h"
#include "src/capture/base_sink.h"
#include "src/pg/lsn.h"

struct tar_tablespace {
	struct oid oid;
	char *path;
};

struct tar_set {
	char *base; /* path of base.tar or of the single file */
	char *wal;  /* of pg_wal.tar, or NULL */
	struct tar_tablespace *spaces;
	size_t n_spaces; /* sorted by OID */
};

/* Finds the files of a backup in a directory. 1 when base.tar is there, 0 when it is not, -errno: -EINVAL
 * when a file is there twice, plain and compressed. */
int tar_set_find(const char *dir, struct tar_set *ret, struct err *e);
void tar_set_release(struct tar_set *t);

/* Looks for the member backup_manifest in base.tar: 1 with its bytes (free them), 0: there is none. Reads the
 * archive, compressed ones whole. */
int tar_base_find_manifest(const struct tar_set *t, void **ret, size_t *ret_len, struct err *e);

/* Puts all members of all files into the sink. `beside`: the manifest lies beside the files and is not taken
 * from the archive. The links pg_tblspc/OID are made from what the archive and tablespace_map say, as the
 * server would. */
int tar_base_import(const struct tar_set *t, bool beside, struct base_sink *k, struct backup_facts *facts,
	struct log *log, struct err *e);
