/* A folder of archived WAL into the repository: what archive_command = 'cp', pg_receivewal, pgBackRest, WAL-G or Barman
 * left, plain or compressed. */
#pragma once

#include <signal.h>
#include <stddef.h>
#include <stdint.h>

#include "src/base/err.h"
#include "src/base/log.h"
#include "src/base/meter.h"
#include "store/store.h"

/* Zero is the default. */
struct import_wal_options {
	unsigned threads;		   /* files at a time; 0: one a processor */
	struct meter *meter;		   /* may be NULL */
	struct log *log;		   /* each file that is refused is an error there; may be NULL */
	const volatile sig_atomic_t *stop; /* not 0: no more files are begun; may be NULL */
};

struct import_wal_result {
	uint64_t taken, known; /* files that are in the archive now, and that were there before */
	uint64_t refused;      /* WAL by their name, but not by their content */
	uint64_t passed_over;  /* no WAL by their name, folders of other names, what is no regular file */
	uint64_t bytes;	       /* of the files taken, unpacked */
};

/* Takes in dir's files, and those of folders in it whose names are 16 hexadecimal digits. A file's name is the server's,
 * with "-" and the 40 digits of a checksum behind it or not, and an ending such as .gz or not; its content tells how it
 * is compressed. Each is checked as capture_archive_push does. *ret is filled in also when it fails: -EBADMSG when files
 * were refused (the text names the first), -ENOENT when there is no WAL at all, -EINTR, and what else keeps the
 * repository from taking more. */
int capture_import_wal(struct store *s, const char *cluster, const char *dir,
	const struct import_wal_options *o, struct import_wal_result *ret, struct err *e);

/* How many bytes of a file's name are the name that the server gave it; 0: it is no WAL. */
size_t import_wal_name(const char *name);
