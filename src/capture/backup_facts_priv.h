/* The inside of struct backup_facts, shared by backup_facts.c (gathers) and backup_verdict.c (judges). */
#pragma once

#include "src/base/buf.h"
#include "src/capture/backup_facts.h"

#define HISTORIES 8
#define WAL_SEEN_MAX 1000000 /* segments remembered; a backup with more is not checked for gaps */

/* A segment in pg_wal, by the three numbers of its name. */
struct wal_seen {
	uint32_t tli, hi, lo;
	uint32_t size;
};

/* A tablespace and where it was. */
struct place {
	struct oid oid;
	char *link;   /* where pg_tblspc/OID led, NULL: no link came */
	char *mapped; /* what tablespace_map says, NULL: nothing */
};

struct backup_facts {
	struct log *log;
	bool has_version, has_control, has_label, has_map, has_newest, has_manifest_time;
	unsigned major;
	struct control control;
	struct backup_label label;
	struct backup_label histories[HISTORIES]; /* the last ones that came */
	unsigned n_histories;
	struct buf map; /* tablespace_map */
	struct place *places;
	struct oid *oids; /* of the places */
	size_t n_places;
	struct wal_seen *wal;
	size_t n_wal, cap_wal;
	struct tstamp newest, manifest_time;
	struct tstamp started; /* sec 0: not known */
};

struct place *facts_place(struct backup_facts *f, struct oid oid);
