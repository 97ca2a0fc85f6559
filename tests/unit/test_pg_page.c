/* Checksums of data pages: a real server's page (PostgreSQL 15, initdb -k, block 3 of pg_proc, which pg_checksums finds
 * sound), what is not that page any more, and what recovery will write anew. */
#include "src/pg/page.h"

#include "src/base/io.h"
#include "tests/unit/check_main.h"

#define SIZE 8192
#define BLOCK ((struct blkno){3})

static const struct lsn from = {0x2000028}, to = {0x2000100};

static uint8_t *page(void)
{
	struct err e = {0};
	void *p;
	size_t n;

	ck_assert_msg(
		!io_read_file(PGSTRATA_TEST_DATA "/page-15-block-3.bin", SIZE, &p, &n, &e), "%s", e.text);
	ck_assert_uint_eq(n, SIZE);
	return p;
}

static enum page_state look(const uint8_t *p, struct blkno block, struct page_facts *f)
{
	return page_check(p, SIZE, block, from, to, f);
}

static void set_lsn(uint8_t *p, uint64_t lsn)
{
	uint32_t halves[2] = {(uint32_t)(lsn >> 32), (uint32_t)lsn};

	memcpy(p, halves, sizeof(halves));
}

START_TEST(a_servers_page)
{
	uint8_t *p = page();
	struct page_facts f;

	ck_assert_int_eq(look(p, BLOCK, &f), PAGE_SOUND);
	ck_assert_uint_eq(f.stored, 0xa9c6);
	ck_assert_uint_eq(f.computed, 0xa9c6);
	ck_assert_uint_eq(page_checksum(p, SIZE, BLOCK), 0xa9c6);
	ck_assert_uint_eq(f.lsn.v, 0x151d410);
	/* In another place it is not right, by which a misplaced write is found. */
	for (uint32_t i = 0; i < 70000; i += 1 + i / 50)
		if (i != BLOCK.v && i != BLOCK.v + 65535)
			ck_assert_int_eq(look(p, (struct blkno){i}, &f), PAGE_DAMAGED);
	free(p);
}
END_TEST

/* Sixteen bits miss one of 65,536 changes. */
START_TEST(every_bit_counts)
{
	uint8_t *p = page();
	struct page_facts f;
	unsigned missed = 0;

	for (unsigned bit = 0; bit < SIZE * 8; bit += PART(7, 31)) {
		p[bit / 8] ^= (uint8_t)(1u << bit % 8);
		if (look(p, BLOCK, &f) == PAGE_SOUND)
			missed++;
		p[bit / 8] ^= (uint8_t)(1u << bit % 8);
	}
	ck_assert_uint_le(missed, 5);
	ck_assert_int_eq(look(p, BLOCK, &f), PAGE_SOUND);
	free(p);
}
END_TEST

START_TEST(what_recovery_writes)
{
	static const struct {
		uint64_t lsn;
		enum page_state want;
	} cases[] = {
		{0, PAGE_DAMAGED},
		{0x2000027, PAGE_DAMAGED},
		{0x2000028, PAGE_REPLACED},
		{0x2000100, PAGE_REPLACED},
		{0x2000101, PAGE_DAMAGED}, /* no page of the backup can be that new */
		{UINT64_MAX, PAGE_DAMAGED},
	};
	uint8_t *p = page();
	struct page_facts f;

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		set_lsn(p, cases[i].lsn);
		p[5000] ^= 1;
		ck_assert_int_eq(look(p, BLOCK, &f), cases[i].want);
		ck_assert_uint_eq(f.lsn.v, cases[i].lsn);
		p[5000] ^= 1;
	}
	/* An end that is not known ends nothing. */
	set_lsn(p, 0x2000101);
	ck_assert_int_eq(page_check(p, SIZE, BLOCK, from, (struct lsn){0}, &f), PAGE_REPLACED);
	/* The head was read before the page was first used, the rest after. */
	memset(p, 0, 24);
	ck_assert_int_eq(look(p, BLOCK, &f), PAGE_REPLACED);
	memset(p, 0, SIZE);
	ck_assert_int_eq(look(p, BLOCK, &f), PAGE_NEW);
	/* A page without room for its free space's end (pd_upper) is no new one unless all of it is zero. */
	p[SIZE - 1] = 1;
	ck_assert_int_eq(look(p, BLOCK, &f), PAGE_REPLACED);
	p[8] = 1;
	ck_assert_int_eq(look(p, BLOCK, &f), PAGE_DAMAGED);
	free(p);
}
END_TEST

START_TEST(all_block_sizes)
{
	static uint8_t p[PAGE_SIZE_MAX];
	uint64_t rng = check_seed();
	struct page_facts f;

	for (size_t n = PAGE_SIZE_MIN; n <= PAGE_SIZE_MAX; n *= 2) {
		uint16_t sum;

		check_rand_fill(&rng, p, n);
		set_lsn(p, 1);
		sum = page_checksum(p, n, BLOCK);
		memcpy(p + 8, &sum, sizeof(sum));
		ck_assert_int_eq(page_check(p, n, BLOCK, from, to, &f), PAGE_SOUND);
		p[n - 1] ^= 0x80;
		ck_assert_int_eq(page_check(p, n, BLOCK, from, to, &f), PAGE_DAMAGED);
	}
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("pg_page");
	TCase *t = tcase_create("all");

	tcase_add_test(t, a_servers_page);
	tcase_add_test(t, every_bit_counts);
	tcase_add_test(t, what_recovery_writes);
	tcase_add_test(t, all_block_sizes);
	suite_add_tcase(s, t);
	return s;
}

CHECK_MAIN(suite)
