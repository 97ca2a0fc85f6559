/* The data of a custom archive as it was taken in, and archives of further pg_dump processes whose data joins it.
 *
 * One process has the definitions, and the data of what was not dealt out; each of the others has the data of some tables
 * (dump_deal.h), read on a thread of its own. dump_custom.c makes one archive of all of them. */
#pragma once

#include "src/capture/dump_archive.h"

struct dump_data_stream {
	uint32_t oid; /* of a large object */
	struct dump_part part;
};

struct dump_data_section {
	int32_t id;
	struct dump_entry *en; /* of that number, once all sections are known */
	bool blobs;
	size_t first, n; /* of the streams */
};

struct dump_data {
	struct dump_data_section *sections;
	size_t n, cap;
	struct dump_data_stream *streams;
	size_t n_streams, cap_streams;
};
void dump_data_release(struct dump_data *d); /* fine on a zeroed one */
/* Reads what follows an archive's contents. */
int dump_data_read(struct dump_archive *a, const struct dump_toc *toc, struct dump_reader *r,
	struct dump_data *ret, struct err *e);
/* Fresh ones at the end; NULL without memory. */
struct dump_data_section *dump_data_section(struct dump_data *d);
struct dump_data_stream *dump_data_stream(struct dump_data *d);

/* Another process's archive. */
struct dump_share {
	struct dump_toc toc;
	struct dump_data data;
};
/* Reads an archive to its end; its streams become ropes and views of a. Any thread. name is for messages. */
int dump_share_read(struct dump_archive *a, dump_read_fn *read, void *arg, const char *name,
	struct dump_share **ret, struct err *e);
void dump_share_free(struct dump_share *s); /* fine on NULL */

/* Takes the data of all shares over into a's contents and d. */
int dump_share_join(struct dump_archive *a, struct dump_data *d, struct dump_share *const *shares, size_t n,
	struct err *e);
