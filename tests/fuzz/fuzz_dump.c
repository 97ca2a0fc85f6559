/* pg_dump's archives from hostile bytes: header, entries, data. What was read and is written again reads the same. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "src/pg/dump_data.h"
#include "src/pg/dump_toc.h"

static void drain(struct dump_reader *r)
{
	struct dump_section sec;

	while (dump_section_next(r, &sec, NULL) > 0) {
		uint32_t oid;

		while (!sec.blobs || dump_blob_next(r, &oid, NULL) > 0) {
			struct dump_stream s = dump_stream_start(r);
			uint8_t piece[64];
			ssize_t n;

			while ((n = dump_stream_read(&s, piece, sizeof(piece), NULL)) > 0)
				;
			if (n < 0 || !sec.blobs)
				break;
		}
	}
}

static void write_and_read(const struct dump_toc *t)
{
	struct buf first = {0}, second = {0};
	struct dump_reader r;
	struct dump_toc again = {0};
	struct dump_memory in;

	dump_toc_write(t, &first);
	in = (struct dump_memory){first.data, first.len};
	dump_reader_init(&r, dump_read_memory, &in, "again");
	if (first.bad || dump_toc_read(&r, &again, NULL) < 0 || r.pos != first.len)
		abort();
	dump_toc_write(&again, &second);
	if (second.len != first.len || memcmp(first.data, second.data, first.len) != 0)
		abort();
	dump_toc_release(&again);
	buf_free(&first);
	buf_free(&second);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct dump_memory in = {data, size};
	struct dump_reader r;
	struct dump_toc t = {0};
	struct err e = {0};

	dump_reader_init(&r, dump_read_memory, &in, "input");
	if (dump_toc_read(&r, &t, &e) < 0) {
		if (!e.code || !e.text[0] || t.n)
			abort();
		return 0;
	}
	write_and_read(&t);
	drain(&r);
	dump_toc_release(&t);
	return 0;
}
