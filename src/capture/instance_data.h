/* A data directory made ready for a server of our own: what its origin left in it is taken out, and what the server's settings
 * depend on is read.
 *
 *	instance_data_prepare    what would lead the server out of the directory, or stop it, goes
 *	instance_data_read       pg_control, and what the configuration files say of libraries and locales
 *	instance_data_append     settings behind all others
 *	instance_data_signal     asks for recovery
 *	instance_data_end_wal    makes the backup's own WAL enough
 *	instance_data_access     the files that say who is let in
 *
 * All write as the directory's owner and change only the directory: it is a branch, or a copy. Each can be called again on what
 * an earlier call left half done. Thread-safe for different directories. Not here: which settings (instance.h), who may write
 * where (confine.h). */
#pragma once

#include "src/base/log.h"
#include "src/capture/instance.h"

/* Left out with a warning: files that postgresql.conf includes from outside, or that are not there. -EOPNOTSUPP: a part of the
 * cluster is not in the directory but behind a link that leads out of it. */
int instance_data_prepare(const char *data, const struct instance_owner *o, struct log *log, struct err *e);
/* Only what a server of ours left that was killed. */
int instance_data_unlock(const char *data, struct err *e);

/* The part of it that is about postgresql.conf, which is made where there is none. */
int instance_conf_contain(const char *data, const struct instance_owner *o, struct log *log, struct err *e);

#define INSTANCE_LOCALES 3

struct instance_data {
	struct control control;
	char *preload, *session_preload, *local_preload; /* as the files say; "" for nothing */
	char *locales[INSTANCE_LOCALES];
	const char *bad_locales[INSTANCE_LOCALES + 1]; /* settings with a locale that this machine has not */
};
void instance_data_release(struct instance_data *d); /* fine on a zeroed one */
int instance_data_read(const char *data, struct instance_data *ret, struct err *e);

/* At the end of postgresql.auto.conf. */
int instance_data_append(const char *data, const struct instance_owner *o, const char *text, struct err *e);
/* recovery.signal. */
int instance_data_signal(const char *data, const struct instance_owner *o, struct err *e);

/* Which WAL a backup needs; zeroes where that is not known. */
struct instance_wal {
	struct tli tli;
	uint32_t segment_size;
	struct lsn from, to; /* where its recovery begins, and its end */
};
/* Instead of it: the WAL in pg_wal ends with the backup, and the server, without more, there, too. -ENOENT: pg_wal has not all
 * of it; then nothing was changed. */
int instance_data_end_wal(const char *data, const struct instance_wal *w, struct err *e);

/* pg_hba.conf and pg_ident.conf in `dir`, which only the owner may enter: so the socket is for who can enter it, and with
 * `network` whoever has a role's password may come from this machine. free() both paths. */
int instance_data_access(const char *dir, const struct instance_owner *o, bool network, char **ret_hba,
	char **ret_ident, struct err *e);
