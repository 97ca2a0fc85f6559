/* A branch's journal from hostile bytes, and the table that its records make. The first byte says whether the checksums are
 * made to fit; the rest is a journal behind its header. Whatever was taken in is written anew and read again. */
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "fs/branch_log.h"
#include "fs/branch_table.h"
#include "src/base/crc32c.h"

#define SPARSE (UINT64_C(1) << 34) /* files behind that only cost memory */

static uint32_t get_u32(const uint8_t *p)
{
	return p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static void put(uint8_t *p, uint64_t v, int n)
{
	for (int i = 0; i < n; i++)
		p[i] = (uint8_t)(v >> 8 * i);
}

/* Makes each record's checksum right, as long as lengths lead to one. */
static void mend(uint8_t *p, size_t n)
{
	size_t at = BRANCH_LOG_HEADER;

	while (at + BRANCH_RECORD_HEADER < n) {
		uint32_t len = get_u32(p + at) % 256;
		uint8_t head[20];

		if (!len || len > n - at - BRANCH_RECORD_HEADER)
			len = (uint32_t)(n - at - BRANCH_RECORD_HEADER);
		put(p + at, len, 4);
		put(head, at, 8);
		put(head + 8, len, 4);
		memcpy(head + 12, p + at + 8, 8);
		put(p + at + 4, crc32c(crc32c(0, head, sizeof(head)), p + at + BRANCH_RECORD_HEADER, len), 4);
		at += BRANCH_RECORD_HEADER + len;
	}
}

static int apply(void *arg, const uint8_t *p, size_t n, struct err *e)
{
	return branch_table_apply(arg, p, n, e);
}

static int apply_again(void *arg, const struct buf *record, struct err *e)
{
	/* What we wrote ourselves is a record, and one that fits in a journal. */
	if (record->len > BRANCH_RECORD_MAX || branch_table_apply(arg, record->data, record->len, e) < 0)
		abort();
	return 0;
}

static void find_sparse(void *arg, struct branch_table *t, struct branch_node *n)
{
	(void)t;
	*(int *)arg |= (uint64_t)n->words * 64 * BRANCH_BLOCK > SPARSE;
}

static void write_anew(struct branch_table *t)
{
	struct branch_table again;
	struct err e = {0};
	int sparse = 0;

	branch_table_each(t, find_sparse, &sparse);
	if (sparse || branch_table_init(&again) < 0)
		return;
	if (branch_table_dump(t, apply_again, &again, &e) < 0)
		abort();
	if (again.n_nodes != t->n_nodes || again.n_entries != t->n_entries || again.n_blocks != t->n_blocks)
		abort();
	branch_table_release(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	size_t n = BRANCH_LOG_HEADER + (size ? size - 1 : 0), end = 0;
	uint8_t *p = calloc(1, n);
	struct branch_table t;
	struct err e = {0};
	int r;

	memcpy(p, "PGSBRNCH\1", 9);
	if (size)
		memcpy(p + BRANCH_LOG_HEADER, data + 1, size - 1);
	if (size && data[0] & 1)
		mend(p, n);
	if (branch_table_init(&t) < 0)
		abort();
	r = branch_log_scan(p, n, apply, &t, &end, &e);
	if (r < 0 && ((r != -EBADMSG && r != -ENOMEM) || !e.text[0]))
		abort();
	if (!r && end > n)
		abort();
	if (!r)
		write_anew(&t);
	branch_table_release(&t);
	free(p);
	return 0;
}
