/* What a dump's SQL defines, object by object: a reader that is pushed the SQL (schema.sql of an archive, or plain SQL without
 * its rows) and tells the objects and the text that counts for each.
 *
 * An object begins with the comment "-- Name: …; Type: …; Schema: …; Owner: …" (_printTocEntry, pg_backup_archiver.c) between
 * two statements, so what looks like one within a function's body is none. The text is the same for every format of a dump of
 * one state: no comments, no empty lines between statements, no settings; the owner, the tablespace and the access method of an
 * object are told as words. Of a sequence that is set (SEQUENCE SET) the text is where it stands and whether that was given out. Not
 * told: the database itself, statistics, and the refreshing of materialized views. Not thread-safe; holds a line's first 64 KiB, and a statement's, at most. */
#pragma once

#include "src/pg/dump_sql.h"

enum dump_section_kind {
	SECTION_DEFINITION,
	SECTION_DATA, /* INSERT commands, the position of a sequence; of COPY there is no text */
};

/* Line ends in names are spaces, as in the comment. "" where there is none. */
struct dump_section {
	enum dump_section_kind kind;
	const char *database; /* of pg_dumpall's output, since \connect */
	const char *schema, *name;
	const char *type; /* "TABLE", "FUNCTION", …; "GLOBALS": what pg_dumpall has before any object */
};

struct dump_sections_ops {
	/* An object begins. There may be several of one name and type, as operators are. */
	int (*section)(void *arg, const struct dump_section *s, struct err *e);
	/* Its text goes on. Never called for some, such as a schema "public" that is as initdb made it. */
	int (*text)(void *arg, const void *p, size_t n, struct err *e);
};

struct dump_sections {
	const struct dump_sections_ops *ops;
	void *arg;
	bool cluster; /* pg_dumpall's: \connect counts */
	struct dump_sql sql;
	struct buf line; /* of which it is not known yet whether it counts */
	bool rest;	 /* the line begins between two statements */
	bool in_line;	 /* the rest of a long line comes */
	bool keep;	 /* the statement counts */
	enum {
		WITHIN_NONE,
		WITHIN_DEFINITION,
		WITHIN_DATA,
		WITHIN_BLOBS,
		WITHIN_POSITION,
		WITHIN_IGNORED
	} within;
	bool placed; /* the object has a tablespace and an access method, which are not told yet */
	char *owner, *database, *space, *method;
};

void dump_sections_init(
	struct dump_sections *s, bool cluster, const struct dump_sections_ops *ops, void *arg);
void dump_sections_release(struct dump_sections *s);
int dump_sections_push(struct dump_sections *s, const uint8_t *p, size_t n, struct err *e);
