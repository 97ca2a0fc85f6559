/* Summaries of archived segments: the same in whatever order they are made, noted only when they are whole, and made
 * anew when a note is lost or damaged. */
#include "tests/unit/pit_fixture.h"

static struct fixture f;
static struct err e;

static void set_up(void)
{
	f = fx_make(NULL);
	e = (struct err){0};
}

static void tear_down(void)
{
	fx_free(&f);
}

static struct wal_summary *get(uint32_t tli, uint64_t no)
{
	struct wal_summary *s = NULL;
	char name[WAL_NAME_TEXT];

	fx_ok(summaries_get(f.s, "main", pf_segment_name(tli, no, name), &s, &e), &e);
	return s;
}

static int noted(uint32_t tli, uint64_t no)
{
	char name[WAL_NAME_TEXT];
	void *p = NULL;
	size_t n;
	int r = wal_note_get(f.s, "main", pf_segment_name(tli, no, name), &p, &n, NULL);

	free(p);
	return r;
}

static void same(const struct wal_summary *got, const struct wal_summary *want)
{
	_cleanup_(buf_free) struct buf a = {0}, b = {0};

	wal_summary_encode(got, &a);
	wal_summary_encode(want, &b);
	fx_same("summary", a.data, a.len, b.data, b.len);
}

/* Commits and bulk of many sizes, one record longer than two segments. */
static struct wal_make mixed(uint64_t seed, unsigned segments)
{
	struct wal_make w = pf_wal();
	uint32_t xid = 700;

	while (wal_make_pos(&w) < (uint64_t)(PF_FIRST + segments) * PF_SEG - 20000) {
		pf_bulk(&w, check_rand_below(&seed, 10) ? check_rand_below(&seed, 3000)
							: check_rand_below(&seed, 300000));
		pf_commit(&w, xid, xid);
		xid++;
		if (!check_rand_below(&seed, 20))
			pf_name(&w, "mark", xid);
		if (xid == 760)
			pf_bulk(&w, 2 * PF_SEG + 100000);
	}
	return w;
}

/* In any order each is what a reader makes that goes through from the start. */
START_TEST(any_order)
{
	const unsigned n = 9;
	uint64_t seed = check_seed() + (uint64_t)_i;
	struct wal_make w = mixed(seed, n);
	struct wal_source src = wal_make_source(&w);
	struct wal_reader_opts o = {.segment_size = PF_SEG};
	_cleanup_(wal_reader_freep) struct wal_reader *r = NULL;
	struct wal_summary *want[9];
	uint64_t huge = 0;

	/* What is not whole in the last segment is zeroes in the archive and no data here. */
	pf_archive_all(f.s, &w);
	ck_assert_int_eq(wal_reader_new(&o, wal_source_read, &src, &r, NULL), 0);
	for (unsigned i = 0; i < n; i++) {
		fx_ok(wal_summary_make(r, (struct tli){1}, (struct segno){PF_FIRST + i}, PF_SEG,
			      i ? want[i - 1]->resume : (struct lsn){0}, &want[i], &e),
			&e);
		huge += want[i]->records == 0;
	}
	ck_assert_uint_ge(huge, 1);
	for (unsigned k = 0; k < 3 * n; k++) {
		unsigned i = (unsigned)check_rand_below(&seed, n);
		struct wal_summary *s = get(1, PF_FIRST + i);

		/* One that begins with its segment was told so, the other found it. */
		same(s, want[i]);
		ck_assert_int_eq(noted(1, PF_FIRST + i), 0);
		wal_summary_free(s);
	}
	for (unsigned i = 0; i < n; i++)
		wal_summary_free(want[i]);
	buf_free(&w.out);
}
END_TEST

/* From memory, before any other is there, it is the same. */
START_TEST(from_memory)
{
	struct wal_make w = mixed(check_seed(), 3);
	char name[WAL_NAME_TEXT];
	struct wal_summary *s, *again, *made, *none = NULL;

	pf_archive_all(f.s, &w);
	s = get(1, PF_FIRST + 1);
	ck_assert_int_eq(
		backend_remove(f.s->backend, "walnote/main/0000000100000000/000000010000000000000011", &e),
		0);
	fx_ok(summaries_make(f.s, "main", pf_segment_name(1, PF_FIRST + 1, name), w.out.data + PF_SEG, PF_SEG,
		      &made, &e),
		&e);
	ck_assert_int_ne(noted(1, PF_FIRST + 1), 0);
	same(made, s);
	summaries_keep(f.s, "main", made);
	ck_assert_int_eq(noted(1, PF_FIRST + 1), 0);
	again = get(1, PF_FIRST + 1);
	same(again, s);
	fx_fails(summaries_make(f.s, "main", name, w.out.data, PF_SEG - 1, &none, &e), -EINVAL, &e);
	fx_fails(summaries_make(f.s, "main", name, w.out.data, PF_SEG, &none, &e), -EBADMSG, &e);
	ck_assert_ptr_null(none);
	wal_summary_free(made);
	wal_summary_free(s);
	wal_summary_free(again);
	buf_free(&w.out);
}
END_TEST

/* Behind a hole a summary lacks its head and is not kept; when the hole is filled it is whole. */
START_TEST(behind_a_hole)
{
	struct wal_make w = pf_wal();
	struct wal_summary *s;

	pf_commit(&w, 700, 0);
	pf_next(&w);
	pf_commit(&w, 701, 1);
	pf_archive(f.s, &w, PF_FIRST + 1, PF_FIRST + 2);
	s = get(1, PF_FIRST + 1);
	ck_assert(s->head_missing && s->has_commits && s->first_commit.xid == 701);
	ck_assert_int_eq(noted(1, PF_FIRST + 1), -ENOENT);
	wal_summary_free(s);
	pf_archive(f.s, &w, PF_FIRST, PF_FIRST + 1);
	s = get(1, PF_FIRST + 1);
	ck_assert(!s->head_missing && s->from.v < (uint64_t)(PF_FIRST + 1) * PF_SEG);
	ck_assert_int_eq(noted(1, PF_FIRST + 1), 0);
	wal_summary_free(s);
	buf_free(&w.out);
}
END_TEST

/* A record that ends with its segment leaves nothing open: the next needs none before it. */
START_TEST(nothing_reaches_in)
{
	struct wal_make w = pf_wal();
	struct wal_summary *s;

	pf_commit(&w, 700, 0);
	wal_make_switch(&w);
	pf_commit(&w, 701, 1);
	pf_archive(f.s, &w, PF_FIRST + 1, PF_FIRST + 2);
	s = get(1, PF_FIRST + 1);
	ck_assert(!s->head_missing && !s->complete);
	ck_assert_int_eq(noted(1, PF_FIRST + 1), 0);
	wal_summary_free(s);
	buf_free(&w.out);
}
END_TEST

/* A longest record before the segment is gone back to, over several segments, also when one of them is missing. */
START_TEST(long_record)
{
	struct wal_make w = pf_wal();
	struct wal_summary *s;
	uint64_t lsn;

	pf_commit(&w, 700, 0);
	lsn = pf_bulk(&w, 5 * PF_SEG);
	pf_commit(&w, 701, 1);
	pf_archive_all(f.s, &w);
	s = get(1, PF_FIRST + 5);
	ck_assert_uint_eq(s->from.v, lsn);
	ck_assert_uint_eq(s->records, 2);
	wal_summary_free(s);
	s = get(1, PF_FIRST + 3);
	ck_assert(!s->records && s->complete && !s->head_missing);
	ck_assert_uint_eq(s->resume.v, lsn);
	wal_summary_free(s);
	pf_lose(&f, 1, PF_FIRST + 2);
	backend_remove(f.s->backend, "walnote/main/0000000100000000/000000010000000000000015", NULL);
	s = get(1, PF_FIRST + 5);
	ck_assert(s->head_missing && s->first_commit.xid == 701);
	wal_summary_free(s);
	buf_free(&w.out);
}
END_TEST

/* The note serves when the segment is gone; a damaged one is made and noted again. */
START_TEST(notes)
{
	static const char note[] = "walnote/main/0000000100000000/000000010000000000000011";
	struct wal_make w = mixed(check_seed(), 3);
	struct wal_summary *s, *again;
	size_t n;
	uint8_t *p;

	pf_archive_all(f.s, &w);
	s = get(1, PF_FIRST + 1);
	p = fx_read_file(f.repo, note, &n);
	for (size_t i = 0; i < n; i += 1 + n / 60) {
		p[i] ^= 0x10;
		fx_replace(f.repo, note, p, n);
		p[i] ^= 0x10;
		again = get(1, PF_FIRST + 1);
		same(again, s);
		wal_summary_free(again);
		/* The newer format of another version stays; all other damage is mended. */
		if (i < 8 || i >= 12)
			ck_assert_msg(noted(1, PF_FIRST + 1) == 0, "byte %zu", i);
	}
	fx_replace(f.repo, note, p, n / 2);
	wal_summary_free(get(1, PF_FIRST + 1));
	ck_assert_int_eq(noted(1, PF_FIRST + 1), 0);
	pf_lose(&f, 1, PF_FIRST + 1);
	again = get(1, PF_FIRST + 1);
	same(again, s);
	wal_summary_free(again);
	/* A note under another's name is none of its. */
	wal_summary_free(get(1, PF_FIRST));
	free(p);
	p = fx_read_file(f.repo, "walnote/main/0000000100000000/000000010000000000000010", &n);
	fx_replace(f.repo, note, p, n);
	fx_fails(summaries_get(f.s, "main", "000000010000000000000011", &again, &e), -ENOENT, &e);
	wal_summary_free(s);
	free(p);
	buf_free(&w.out);
}
END_TEST

/* Where no note can be written, nothing else changes. */
START_TEST(no_room_for_notes)
{
	struct wal_make w = mixed(check_seed(), 2);
	struct wal_summary *s;

	pf_archive_all(f.s, &w);
	ck_assert_int_eq(io_replace_file(f.repo, "walnote", "x", 1, 0440, &e), 0);
	s = get(1, PF_FIRST);
	ck_assert(s->has_commits);
	wal_summary_free(s);
	buf_free(&w.out);
}
END_TEST

/* The first segment of a timeline begins with its parent's WAL, and so does a record that reaches into it. */
START_TEST(new_timeline)
{
	struct wal_make w = pf_wal(), w2;
	struct wal_summary *s;
	char text[64], lsn[LSN_TEXT];

	pf_commit(&w, 700, 0);
	pf_next(&w);
	pf_commit(&w, 701, 1);
	w2 = pf_fork(&w, 2);
	snprintf(text, sizeof(text), "1\t%s\tno reason\n", lsn_text((struct lsn){wal_make_pos(&w)}, lsn));
	pf_commit(&w2, 750, 2);
	pf_next(&w2);
	pf_archive(f.s, &w, PF_FIRST, PF_FIRST + 1);
	pf_archive(f.s, &w2, PF_FIRST + 1, PF_FIRST + 2);
	s = get(2, PF_FIRST + 1);
	ck_assert(s->head_missing);
	ck_assert_int_eq(noted(2, PF_FIRST + 1), -ENOENT);
	wal_summary_free(s);
	pf_history(f.s, 2, text);
	s = get(2, PF_FIRST + 1);
	ck_assert(!s->head_missing && s->first_commit.xid == 701 && s->last_commit.xid == 750);
	ck_assert_int_eq(noted(2, PF_FIRST + 1), 0);
	wal_summary_free(s);
	buf_free(&w.out);
	buf_free(&w2.out);
}
END_TEST

START_TEST(refused)
{
	struct wal_make w = mixed(check_seed(), 2);
	struct wal_summary *s;

	fx_fails(summaries_get(f.s, "main", "000000010000000000000010", &s, &e), -ENOENT, &e);
	fx_fails(summaries_get(f.s, "main", "00000002.history", &s, &e), -EINVAL, &e);
	fx_fails(summaries_get(f.s, "main", "../config", &s, &e), -EINVAL, &e);
	/* A byte of a record. */
	w.out.data[PF_SEG / 2 + 100] ^= 1;
	pf_archive_all(f.s, &w);
	fx_fails(summaries_get(f.s, "main", "000000010000000000000010", &s, &e), -EBADMSG, &e);
	ck_assert_ptr_nonnull(strstr(e.text, "000000010000000000000010"));
	ck_assert_int_eq(noted(1, PF_FIRST), -ENOENT);
	/* No segment's size; the header of another segment. */
	pf_put(f.s, "000000010000000000000020", w.out.data, 5000);
	fx_fails(summaries_get(f.s, "main", "000000010000000000000020", &s, &e), -EBADMSG, &e);
	pf_put(f.s, "000000010000000000000021", w.out.data, PF_SEG);
	fx_fails(summaries_get(f.s, "main", "000000010000000000000021", &s, &e), -EBADMSG, &e);
	buf_free(&w.out);
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("pit summaries");
	TCase *t = tcase_create("summaries");

	tcase_add_checked_fixture(t, set_up, tear_down);
	tcase_add_loop_test(t, any_order, 0, 3);
	tcase_add_test(t, from_memory);
	tcase_add_test(t, behind_a_hole);
	tcase_add_test(t, nothing_reaches_in);
	tcase_add_test(t, long_record);
	tcase_add_test(t, notes);
	tcase_add_test(t, no_room_for_notes);
	tcase_add_test(t, new_timeline);
	tcase_add_test(t, refused);
	suite_add_tcase(s, t);
	return s;
}

CHECK_MAIN(suite)
