/* The header and the table of contents of pg_dump's archives: custom format, toc.dat of the directory and tar formats.
 *
 * Archive versions 1.12 to 1.16, as pg_dump 9.6 to 18 writes them (src/bin/pg_dump/pg_backup_archiver.h, K_VERS_*;
 * the layout is WriteHead and WriteToc in pg_backup_archiver.c). All fields are kept as they came, so that writing what was
 * read gives the same bytes; an importer changes the compression, offsets and file names on the way. Not here: the data
 * (dump_data.h), and what the entries mean to a restore. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "src/base/buf.h"
#include "src/base/err.h"
#include "src/pg/dump_reader.h"

#define DUMP_MAGIC "PGDMP"
#define DUMP_MAGIC_LEN 5

/* ArchiveFormat, pg_backup.h. toc.dat of the directory format says TAR, too (_CloseArchive in pg_backup_directory.c). */
enum dump_format { DUMP_CUSTOM = 1, DUMP_TAR = 3, DUMP_DIRECTORY = 5 };
/* pg_compress_algorithm, src/include/common/compression.h */
enum dump_compression { DUMP_NONE = 0, DUMP_GZIP = 1, DUMP_LZ4 = 2, DUMP_ZSTD = 3 };

struct dump_head {
	uint8_t vmajor, vminor, vrev;
	uint8_t offset_size; /* bytes of a data offset: 4 or 8 */
	enum dump_format format;
	enum dump_compression compression;
	int32_t level; /* before 1.15 the only word on compression: 0 none, else zlib */
	int32_t sec, min, hour, mday, month, year, isdst; /* struct tm, the dumping machine's local time */
	char *database;					  /* may be NULL */
	char *server_version, *dump_version;		  /* "15.6 (Debian …)"; may be NULL */
};

/* What an offset in the custom format says (K_OFFSET_*, pg_backup_archiver.h). */
enum dump_offset_state { DUMP_OFFSET_NOT_SET = 1, DUMP_OFFSET_SET = 2, DUMP_OFFSET_NO_DATA = 3 };

/* One entry. Strings may be NULL where the archive has NULL. */
struct dump_entry {
	int32_t id;
	bool has_data; /* a data dumper wrote something for it */
	char *class_oid, *oid;
	char *tag, *desc;
	int32_t section;
	char *defn, *drop, *copy;
	char *schema, *tablespace;
	char *access_method; /* from 1.14 on */
	int32_t relkind;     /* from 1.16 on */
	char *owner, *with_oids;
	char **deps; /* numbers of entries, as texts */
	size_t n_deps;
	enum dump_offset_state offset_state; /* custom */
	uint64_t offset;
	char *file; /* directory and tar; NULL and "": no data */
};

struct dump_toc {
	struct dump_head head;
	struct dump_entry *entries;
	size_t n;
	uint32_t *by_id;	   /* their places, by number: for dump_toc_find */
	struct dump_block *blocks; /* the memory behind the strings */
};

/* Reads magic, header and table of contents; r is then at the first byte behind them. -EBADMSG with the place: damaged or
 * cut off; -EOPNOTSUPP: an archive of another version or of other sizes of integers. *ret is untouched on failure. */
int dump_toc_read(struct dump_reader *r, struct dump_toc *ret, struct err *e);
void dump_toc_release(struct dump_toc *t); /* fine on a zeroed one */

/* Appends the bytes of the header and the entries. */
void dump_toc_write(const struct dump_toc *t, struct buf *b);

/* Fresh memory that lives as long as t, for a field to change. NULL without memory. */
char *dump_toc_keep(struct dump_toc *t, const char *text, size_t n);

/* K_VERS_1_14 and the like compare so. */
static inline bool dump_head_since(const struct dump_head *h, unsigned minor)
{
	return h->vmajor > 1 || h->vminor >= minor;
}

/* After entries were added: finds by number again. */
int dump_toc_sort(struct dump_toc *t, struct err *e);

/* The entry with that number, or NULL. */
struct dump_entry *dump_toc_find(const struct dump_toc *t, int32_t id);

/* The rows of a table ("TABLE DATA"); large objects' contents ("BLOBS"). */
bool dump_entry_is_table(const struct dump_entry *en);
bool dump_entry_is_blobs(const struct dump_entry *en);
