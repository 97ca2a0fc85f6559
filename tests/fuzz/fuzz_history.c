/* Timeline history files from hostile bytes: the first byte is the timeline. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "src/pg/timeline_history.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct timeline_history *h = NULL;
	struct err e = {0};
	struct tli t = {size ? data[0] : 1}, last = {0};

	timeline_history_name_parse((const char *)data, size, &last);
	last.v = 0;
	if (timeline_history_parse(data + (size ? 1 : 0), size ? size - 1 : 0, t, &h, &e) < 0) {
		if (h || !e.code || !e.text[0])
			abort();
		return 0;
	}
	for (size_t i = 0; i < h->n; i++) {
		struct lsn end = {0};

		if (h->steps[i].tli.v <= last.v || h->steps[i].tli.v >= t.v ||
			strlen(h->steps[i].reason) >= size)
			abort();
		last = h->steps[i].tli;
		if (!timeline_end(h, last, &end) || end.v != h->steps[i].end.v ||
			!timeline_passes(h, last, end))
			abort();
		if (timeline_of_lsn(h, end).v <= last.v ||
			timeline_of_segment(h, wal_segno(end, 1u << 24), 1u << 24).v <= last.v)
			abort();
	}
	timeline_history_free(h);
	return 0;
}
