/* Checking base backups by what they are: is every file what the backup's manifest says, and has every data page the
 * checksum that its server gave it?
 *
 * store/verify proves that a snapshot gives the bytes that came in; this asks whether those bytes were right, as
 * pg_verifybackup and pg_checksums would after a restore. Files are read straight out of the repository, in parallel. What was
 * found sound once is not read again for another snapshot that has the same content in the same place.
 *
 * Not here: damage of the repository (store/verify.h); pages without a checksum. */
#pragma once

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>

#include "src/base/clock.h"
#include "src/base/err.h"
#include "src/base/meter.h"
#include "store/store.h"

struct base_check_options {
	bool manifest, pages;
	const char *cluster; /* NULL: all */
	struct tstamp since; /* only snapshots put since; 0: all */
	unsigned threads;    /* default: all processors */
	struct meter *meter; /* bytes of files */
	const volatile sig_atomic_t *stop;
};

enum base_check_kind {
	BASE_CHECK_FILE, /* is not what the manifest says, or cannot be read */
	BASE_CHECK_PAGES,
};

/* Texts are valid during the call. */
struct base_check_finding {
	enum base_check_kind kind;
	const char *cluster, *snapshot;
	const char *path; /* in the snapshot */
	const char *why;  /* of pages: what is wrong with the first */
	uint32_t block,
		blocks; /* BASE_CHECK_PAGES: the first one's number in its relation, and how many follow each other */
	uint64_t from, to; /* BASE_CHECK_PAGES: those bytes of the file */
};

/* Calls come one at a time, from any thread. */
typedef void base_check_fn(void *arg, const struct base_check_finding *f);

struct base_check_report {
	uint64_t snapshots;
	uint64_t no_manifest, no_checksums; /* snapshots that lack what is asked for */
	uint64_t files;			    /* compared, or made of pages */
	uint64_t pages;			    /* asked for their checksum */
	uint64_t replaced; /* of them: changed during the backup, so that its WAL writes them anew */
	uint64_t bad_files, bad_pages;
};

/* 0 when it ran to its end, whatever was found. -EINTR: stopped. */
int base_check(struct store *s, const struct base_check_options *o, base_check_fn *fn, void *arg,
	struct base_check_report *ret, struct err *e);
