/* Archives of every version that is read, 1.12 (pg_dump 9.6) to 1.16 (17 and 18), written here field by field from the facts in
 * pg_backup_archiver.c (WriteHead, WriteToc), not by our own writer. pg_restore 15 and 18 read these bytes, too (tried by
 * hand); of 1.12, 1.13 and 1.15 there is no pg_dump at hand that could write them. */
#include "tests/unit/check_main.h"

#include <errno.h>

#include "src/pg/dump_data.h"
#include "src/pg/dump_toc.h"

#define OLDEST 12
#define NEWEST 16

static const char rows[] = "1\tone\n2\ttwo\n\\.\n\n\n";

static void put(struct buf *b, int v)
{
	buf_put_u8(b, v < 0);
	buf_put_u32(b, (uint32_t)(v < 0 ? -v : v));
}

static void put_text(struct buf *b, const char *text)
{
	put(b, text ? (int)strlen(text) : -1);
	if (text)
		buf_put(b, text, strlen(text));
}

struct row {
	int id, data;
	const char *class_oid, *oid, *tag, *desc;
	int section;
	const char *defn, *drop, *copy, *schema, *owner, *dep;
	uint8_t offset;
};

static const struct row entries[] = {
	{1, 0, "0", "0", "ENCODING", "ENCODING", 2, "SET client_encoding = 'UTF8';\n", NULL, NULL, NULL, "",
		NULL, 3},
	{2, 0, "1259", "16385", "t", "TABLE", 2, "CREATE TABLE t (a integer, b text);\n", "DROP TABLE t;\n",
		NULL, "public", "postgres", NULL, 3},
	{3, 1, "0", "16385", "t", "TABLE DATA", 3, "", "", "COPY t (a, b) FROM stdin;\n", "public",
		"postgres", "2", 1},
};
#define ENTRIES (sizeof(entries) / sizeof(entries[0]))

static void put_archive(struct buf *b, unsigned minor)
{
	static const int when[] = {5, 4, 3, 21, 10, 126, 0};

	buf_put(b, "PGDMP", 5);
	buf_put(b, (const uint8_t[]){1, (uint8_t)minor, 0, 4, 8, DUMP_CUSTOM}, 6);
	/* K_VERS_1_15: the algorithm, one byte, instead of zlib's level */
	minor < 15 ? put(b, 0) : buf_put_u8(b, 0);
	for (size_t i = 0; i < sizeof(when) / sizeof(when[0]); i++)
		put(b, when[i]);
	put_text(b, "old");
	put_text(b, "9.6.24");
	put_text(b, "9.6.24");
	put(b, ENTRIES);
	for (const struct row *r = entries; r < entries + ENTRIES; r++) {
		put(b, r->id);
		put(b, r->data);
		put_text(b, r->class_oid);
		put_text(b, r->oid);
		put_text(b, r->tag);
		put_text(b, r->desc);
		put(b, r->section);
		put_text(b, r->defn);
		put_text(b, r->drop);
		put_text(b, r->copy);
		put_text(b, r->schema);
		put_text(b, "");
		if (minor >= 14) /* K_VERS_1_14: table access methods */
			put_text(b, "heap");
		if (minor >= 16) /* K_VERS_1_16: kinds of relations */
			put(b, 'r');
		put_text(b, r->owner);
		put_text(b, "false");
		if (r->dep)
			put_text(b, r->dep);
		put_text(b, NULL);
		buf_put_u8(b, r->offset);
		buf_put_u64(b, 0);
	}
	buf_put_u8(b, DUMP_BLOCK_DATA);
	put(b, 3);
	put_text(b, rows);
	put(b, 0);
	ck_assert(!b->bad);
}

static void same_text(const char *a, const char *b)
{
	ck_assert_str_eq(a ? a : "(null)", b ? b : "(null)");
}

START_TEST(reads)
{
	unsigned minor = (unsigned)_i;
	struct buf b = {0}, again = {0};
	struct dump_memory m;
	struct dump_reader r;
	struct dump_section sec;
	struct dump_stream st;
	struct dump_toc t;
	struct err e = {0};
	char got[100];
	size_t n = 0;

	put_archive(&b, minor);
	m = (struct dump_memory){b.data, b.len};
	dump_reader_init(&r, dump_read_memory, &m, "it");
	ck_assert_msg(dump_toc_read(&r, &t, &e) == 0, "1.%u: %s", minor, e.text);
	ck_assert_uint_eq(t.head.vminor, minor);
	ck_assert_int_eq(t.head.compression, DUMP_NONE);
	ck_assert_int_eq(t.head.year, 126);
	ck_assert_str_eq(t.head.database, "old");
	ck_assert_uint_eq(t.n, ENTRIES);
	for (size_t i = 0; i < t.n; i++) {
		const struct dump_entry *en = &t.entries[i];

		ck_assert_int_eq(en->id, entries[i].id);
		ck_assert_int_eq(en->has_data, entries[i].data);
		ck_assert_int_eq(en->section, entries[i].section);
		same_text(en->tag, entries[i].tag);
		same_text(en->desc, entries[i].desc);
		same_text(en->defn, entries[i].defn);
		same_text(en->drop, entries[i].drop);
		same_text(en->copy, entries[i].copy);
		same_text(en->schema, entries[i].schema);
		same_text(en->access_method, minor >= 14 ? "heap" : NULL);
		ck_assert_int_eq(en->relkind, minor >= 16 ? 'r' : 0);
		same_text(en->owner, entries[i].owner);
		same_text(en->with_oids, "false");
		same_text(en->n_deps ? en->deps[0] : NULL, entries[i].dep);
		ck_assert_int_eq((int)en->offset_state, entries[i].offset);
	}
	dump_toc_write(&t, &again);
	ck_assert_uint_eq(again.len, r.pos);
	ck_assert_mem_eq(again.data, b.data, again.len);
	ck_assert_int_eq(dump_section_next(&r, &sec, NULL), 1);
	ck_assert_int_eq(sec.id, 3);
	st = dump_stream_start(&r);
	for (ssize_t k; (k = dump_stream_read(&st, got + n, sizeof(got) - n, NULL)) > 0;)
		n += (size_t)k;
	ck_assert_uint_eq(n, sizeof(rows) - 1);
	ck_assert_mem_eq(got, rows, n);
	ck_assert_int_eq(dump_section_next(&r, &sec, NULL), 0);
	dump_toc_release(&t);
	buf_free(&again);
	buf_free(&b);
}
END_TEST

/* The same bytes taken for another version are noticed, or at least read within their bounds. */
START_TEST(mistaken)
{
	for (unsigned minor = OLDEST; minor <= NEWEST; minor++) {
		struct buf b = {0};
		struct dump_memory m;
		struct dump_reader r;
		struct dump_toc t;
		struct err e = {0};
		int res;

		put_archive(&b, (unsigned)_i);
		b.data[6] = (uint8_t)minor;
		m = (struct dump_memory){b.data, b.len};
		dump_reader_init(&r, dump_read_memory, &m, "it");
		res = dump_toc_read(&r, &t, &e);
		/* 1.13 changed what SQL means, not the bytes. */
		if ((int)minor == _i || (minor < 14 && _i < 14))
			ck_assert_msg(res == 0, "%s", e.text);
		else
			ck_assert(res == 0 || res == -EBADMSG);
		if (!res)
			dump_toc_release(&t);
		buf_free(&b);
	}
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("pg/dump_versions");
	TCase *t = tcase_create("dump_versions");

	tcase_add_loop_test(t, reads, OLDEST, NEWEST + 1);
	tcase_add_loop_test(t, mistaken, OLDEST, NEWEST + 1);
	suite_add_tcase(s, t);
	return s;
}

CHECK_MAIN(suite)
