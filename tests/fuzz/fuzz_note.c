/* A note on a file of WAL from hostile bytes, and the summary that it may hold. The first byte says whether the
 * checksum is made to fit. A summary that is read can be written again; written again and read it is the same. */
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/crc32c.h"
#include "src/pg/wal_summary.h"
#include "store/wal_object.h"

static void look(const uint8_t *p, size_t n)
{
	struct wal_summary *s = NULL, *t = NULL;
	struct buf one = {0}, two = {0};
	struct err e = {0};
	int r = wal_summary_decode(p, n, &s, &e);

	if (r < 0) {
		if ((r != -EBADMSG && r != -EOPNOTSUPP) || !e.text[0] || s)
			abort();
		return;
	}
	wal_summary_encode(s, &one);
	if (wal_summary_decode(one.data, one.len, &t, &e) < 0)
		abort();
	wal_summary_encode(t, &two);
	if (one.len != two.len || memcmp(one.data, two.data, one.len) != 0)
		abort();
	wal_summary_may_commit(s, 700);
	wal_summary_free(s);
	wal_summary_free(t);
	buf_free(&one);
	buf_free(&two);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const uint8_t id[16] = "0123456789abcde";
	size_t n = size ? size - 1 : 0, len = 0;
	uint8_t *p = malloc(n + 1);
	const uint8_t *note = NULL;
	struct err e = {0};
	int r;

	memcpy(p, data + (size != 0), n);
	if (n >= 4 && data[0] & 1) {
		uint32_t crc = crc32c(0, p, n - 4);

		for (int i = 0; i < 4; i++)
			p[n - 4 + (size_t)i] = (uint8_t)(crc >> (8 * i));
	}
	r = wal_note_decode(id, "walnote/x", p, n, &note, &len, &e);
	if (r < 0 && ((r != -EBADMSG && r != -EOPNOTSUPP) || !e.text[0] || note))
		abort();
	if (!r && (note < p || len > n || note + len > p + n))
		abort();
	if (!r)
		look(note, len);
	free(p);
	return 0;
}
