/* A plain base backup: a data directory as pg_basebackup -Fp leaves it, walked into a sink. */
#pragma once

#include "src/base/err.h"
#include "src/base/log.h"
#include "src/capture/base_sink.h"

/* Walks the directory `path`. Links in pg_tblspc and pg_wal as a link are followed; other links stay links.
 * Fifos, sockets and devices are passed over with a warning. What cannot be read, or is gone before it could
 * be, is an error that names it. */
int plain_import(const char *path, struct base_sink *k, struct log *log, struct err *e);
