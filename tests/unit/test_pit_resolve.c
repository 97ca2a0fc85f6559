/* From targets to backups and WAL: every kind of target, every reason why one cannot be reached, gaps, clocks that step
 * back, timelines, segments that are being streamed, and an archive of 200,000 names. */
#include "tests/unit/pit_fixture.h"

static struct fixture f;
static struct pit *pit;
static struct err e;

static void set_up(void)
{
	f = fx_make(NULL);
	fx_ok(pit_new(f.s, "main", NULL, &pit, &e), &e);
}

static void tear_down(void)
{
	pit_free(pit);
	fx_free(&f);
}

/* A new look at what there is. */
static void look_again(void)
{
	pit_free(pit);
	fx_ok(pit_new(f.s, "main", NULL, &pit, &e), &e);
}

static struct pit_point resolve(struct target t)
{
	struct pit_point p = {0};
	char name[TARGET_TEXT];
	int r = pit_resolve(pit, &t, &p, &e);

	ck_assert_msg(r == 0, "%s: %d, %s", target_name(&t, name), r, e.text);
	ck_assert_uint_eq(p.replay_bytes, p.to.v - p.from.v);
	return p;
}

/* It is resolved to the end `to`, with this as the last commit. */
static void leads(struct target t, const char *backup, uint64_t to, uint32_t xid)
{
	struct pit_point p = resolve(t);
	char name[TARGET_TEXT];

	target_name(&t, name);
	ck_assert_msg(!strcmp(p.backup->id, backup), "%s: backup %s, not %s", name, p.backup->id, backup);
	ck_assert_msg(p.to.v == to, "%s: to 0x%" PRIx64 ", not 0x%" PRIx64, name, p.to.v, to);
	ck_assert_msg(p.xid == xid, "%s: xid %u, not %u", name, p.xid, xid);
	pit_point_release(&p);
}

static void fails(struct target t, const char *why)
{
	struct pit_point p = {0};
	char name[TARGET_TEXT];
	int r;

	e.text[0] = 0;
	r = pit_resolve(pit, &t, &p, &e);
	target_name(&t, name);
	ck_assert_msg(r == -ENOENT, "%s: %d", name, r);
	ck_assert_msg(strstr(e.text, why), "%s: \"%s\" does not say \"%s\"", name, e.text, why);
}

static struct target xid(uint32_t x)
{
	return (struct target){.kind = TARGET_XID, .xid = x};
}

static struct target lsn(uint64_t l)
{
	return (struct target){.kind = TARGET_LSN, .lsn = {l}};
}

static struct target on(struct target t, uint32_t tli)
{
	t.tli.v = tli;
	return t;
}

/* Six segments with a commit every second from 10 on, the backup in the first of them from second 2 to 5. */
struct plain {
	struct wal_make w;
	uint64_t start, stop;
	uint64_t commit[6], after[6]; /* second and transaction: 10 * (i + 1), 700 + i */
	uint64_t abort, point, end;
	char *id;
};

static struct plain plain(void)
{
	struct plain p = {.w = pf_wal()};

	pf_commit(&p.w, 690, 1);
	p.start = wal_make_pos(&p.w);
	pf_commit(&p.w, 691, 3);
	pf_backup_end(&p.w, p.start);
	p.stop = wal_make_pos(&p.w);
	for (unsigned i = 0; i < 6; i++) {
		p.commit[i] = pf_commit(&p.w, 700 + i, 10 * (i + 1));
		p.after[i] = wal_make_pos(&p.w);
		if (i == 3) {
			p.abort = pf_abort(&p.w, 750, 45);
			p.point = pf_name(&p.w, "point", 46);
		}
		pf_next(&p.w);
	}
	p.end = wal_make_pos(&p.w);
	return p;
}

static void plain_backup(struct plain *p)
{
	p->id = pf_backup(f.s, &(struct pf_backup){.start = p->start, .stop = p->stop, .from = 2, .to = 5});
}

static void plain_free(struct plain *p)
{
	buf_free(&p->w.out);
	free(p->id);
}

START_TEST(kinds)
{
	struct plain p = plain();
	struct pit_point point;
	char name[WAL_NAME_TEXT];

	plain_backup(&p);
	pf_archive_all(f.s, &p.w);
	for (unsigned i = 0; i < 6; i++) {
		leads(xid(700 + i), p.id, p.after[i], 700 + i);
		leads(lsn(p.commit[i]), p.id, p.after[i], 700 + i);
		if (i == 5)
			break;
		/* At its very time it is in; a microsecond before, it is not. Recovery stops before the next. */
		leads(pf_time(10 * (i + 1)), p.id, i == 3 ? p.abort : p.commit[i + 1], 700 + i);
		leads(pf_time(10 * (i + 1) + 3.5), p.id, i == 3 ? p.abort : p.commit[i + 1], 700 + i);
		leads(pf_time(10 * (i + 1) - 0.000001), p.id, p.commit[i], i ? 700 + i - 1 : 691);
	}
	leads(pf_time(45), p.id, p.commit[4], 703);
	leads(xid(750), p.id, p.point, 703);
	leads(pf_target("name-point"), p.id, wal_make_pos(&p.w) > p.point ? p.point + 104 : 0, 703);
	leads(pf_target("latest"), p.id, p.end, 705);
	leads(lsn(p.stop), p.id, p.after[0], 700);
	/* In the middle of a record: the next one is the last. */
	leads(lsn(p.commit[2] - 8), p.id, p.after[2], 702);
	point = resolve(pf_time(20));
	ck_assert_uint_eq(point.from.v, p.start);
	ck_assert_uint_eq(point.backup_end.v, p.stop);
	ck_assert_uint_eq(point.tli.v, 1);
	ck_assert_uint_eq(point.pg_major, 15);
	ck_assert_str_eq(point.first_wal, pf_segment_name(1, PF_FIRST, name));
	ck_assert_str_eq(point.last_wal, pf_segment_name(1, (p.after[2] - 1) / PF_SEG, name));
	ck_assert_uint_eq(point.segments, 3);
	ck_assert(point.has_time && point.time.sec == PF_T0 + 20 && !point.partial);
	pit_point_release(&point);
	plain_free(&p);
}
END_TEST

START_TEST(reasons)
{
	struct plain p = plain();

	fails(pf_target("latest"), "cluster \"main\" has no base backup");
	pf_archive_all(f.s, &p.w);
	look_again();
	fails(pf_time(20), "has no base backup");
	plain_backup(&p);
	look_again();
	fails(pf_time(1), "before the end of the oldest base backup");
	fails(lsn(p.stop - 1), "before the end of the oldest base backup");
	fails(lsn(p.start), p.id);
	/* It is in the backup, which is no point after it. */
	fails(xid(691), "no such transaction");
	fails(pf_time(60), "after the end of the archived WAL");
	fails(pf_time(61), "2026-01-01T00:01:00Z");
	fails(lsn(p.end), "after the end of the archived WAL");
	fails(xid(706), "no such transaction");
	fails(pf_target("name-other"), "no such restore point");
	fails(pf_target("latest@3"), "no timeline 3");
	plain_free(&p);
}
END_TEST

/* Also one behind it that is damaged: the WAL is taken to end before it. */
START_TEST(gaps)
{
	struct plain p = plain();
	struct pf_backup later = {.from = 47, .to = 49, .own_wal = true};
	char name[WAL_NAME_TEXT], *id;

	plain_backup(&p);
	pf_archive_all(f.s, &p.w);
	pf_lose(&f, 1, PF_FIRST + 3);
	leads(pf_time(20), p.id, p.commit[2], 701);
	fails(pf_time(35), pf_segment_name(1, PF_FIRST + 3, name));
	fails(pf_time(35), "gap");
	fails(lsn(p.commit[4]), "gap");
	fails(xid(704), "no such transaction");
	/* A backup behind the gap leads on. */
	later.start = p.point;
	later.stop = p.commit[4];
	id = pf_backup(f.s, &later);
	look_again();
	leads(pf_time(50), id, p.commit[5], 704);
	leads(xid(704), id, p.after[4], 704);
	leads(pf_target("latest"), id, p.end, 705);
	fails(pf_time(35), "gap");
	free(id);
	plain_free(&p);
}
END_TEST

START_TEST(newest_backup)
{
	struct plain p = plain();
	struct pf_backup b = {.start = p.commit[2], .stop = p.commit[4], .from = 25, .to = 48};
	char *id = pf_backup(f.s, &b);

	plain_backup(&p);
	pf_archive_all(f.s, &p.w);
	leads(pf_time(20), p.id, p.commit[2], 701);
	/* Within the second backup: a commit of it is later, so recovery from it would stop too early. */
	leads(pf_time(30), p.id, p.commit[3], 702);
	leads(xid(703), p.id, p.after[3], 703);
	leads(pf_target("name-point"), p.id, p.point + 104, 703);
	leads(lsn(p.commit[3]), p.id, p.after[3], 703);
	leads(pf_time(50), id, p.commit[5], 704);
	leads(xid(704), id, p.after[4], 704);
	leads(pf_target("latest"), id, p.end, 705);
	/* Nothing was committed between 45 and its end: it has all of that time. */
	leads(pf_time(46), id, p.commit[4], 703);
	free(id);
	plain_free(&p);
}
END_TEST

/* A backup's own WAL serves from its start to its end, and no further. */
START_TEST(own_wal)
{
	struct plain p = plain();
	struct pf_backup b = {.start = p.commit[1], .stop = p.commit[4], .from = 15, .to = 48};
	char *id;

	pf_archive(f.s, &p.w, p.commit[4] / PF_SEG, wal_make_pos(&p.w) / PF_SEG + 1);
	id = pf_backup(f.s, &b);
	fails(pf_target("latest"), "no base backup");
	free(id);
	b.own_wal = true;
	b.to = 49;
	id = pf_backup(f.s, &b);
	look_again();
	leads(pf_target("latest"), id, p.end, 705);
	leads(pf_time(50), id, p.commit[5], 704);
	/* Its commits cannot be looked at: only its end tells. */
	fails(pf_time(48), "before the end of the oldest");
	for (uint64_t no = p.commit[4] / PF_SEG; no <= wal_make_pos(&p.w) / PF_SEG; no++)
		pf_lose(&f, 1, no);
	look_again();
	leads(pf_target("latest"), id, b.stop, 0);
	fails(pf_time(50), "after the end of the archived WAL");
	free(id);
	plain_free(&p);
}
END_TEST

/* When nothing but a record in the WAL tells where the backup ends. */
START_TEST(end_from_wal)
{
	struct plain p = plain();

	p.id = pf_backup(f.s, &(struct pf_backup){.start = p.start, .from = 2, .to = 5});
	fails(pf_target("latest"), "no base backup");
	pf_archive_all(f.s, &p.w);
	look_again();
	leads(pf_time(20), p.id, p.commit[2], 701);
	leads(lsn(p.stop), p.id, p.after[0], 700);
	fails(lsn(p.stop - 1), "before the end of the oldest");
	plain_free(&p);
}
END_TEST

/* Recovery stops before the first commit that is later, be the clock right or not. */
START_TEST(clock_steps_back)
{
	struct wal_make w = pf_wal();
	uint64_t start, stop, at[9];
	static const double sec[9] = {10, 20, 30, 15, 25, 35, 100, 40, 50};
	char *id, *id2;

	start = wal_make_pos(&w);
	pf_backup_end(&w, start);
	stop = wal_make_pos(&w);
	for (unsigned i = 0; i < 9; i++) {
		at[i] = pf_commit(&w, 700 + i, sec[i]);
		pf_next(&w);
	}
	pf_archive_all(f.s, &w);
	id = pf_backup(f.s, &(struct pf_backup){.start = start, .stop = stop, .from = 1, .to = 2});
	leads(pf_time(10), id, at[1], 700);
	leads(pf_time(22), id, at[2], 701);
	leads(pf_time(31), id, at[5], 704);
	leads(pf_time(45), id, at[6], 705);
	fails(pf_time(100), "after the end");
	/* A backup after the leap leads to what lies behind it. */
	id2 = pf_backup(f.s, &(struct pf_backup){.start = at[7], .stop = at[7] + 40, .from = 39, .to = 40});
	look_again();
	leads(pf_time(45), id2, at[8], 707);
	leads(pf_time(31), id, at[5], 704);
	free(id);
	free(id2);
	buf_free(&w.out);
}
END_TEST

/* The first of the name behind the backup; with one within the backup, that backup would stop there too early. */
START_TEST(names_again)
{
	struct wal_make w = pf_wal();
	uint64_t start, stop, start2, stop2, p1, p2;
	char *id, *id2;

	start = wal_make_pos(&w);
	pf_backup_end(&w, start);
	stop = wal_make_pos(&w);
	pf_commit(&w, 700, 10);
	p1 = pf_name(&w, "nightly", 11);
	pf_next(&w);
	start2 = wal_make_pos(&w);
	pf_name(&w, "within", 12);
	stop2 = wal_make_pos(&w);
	pf_commit(&w, 701, 20);
	pf_next(&w);
	p2 = pf_name(&w, "nightly", 21);
	pf_name(&w, "within", 22);
	pf_name(&w, "nightly", 23);
	pf_archive_all(f.s, &w);
	id = pf_backup(f.s, &(struct pf_backup){.start = start, .stop = stop, .from = 1, .to = 2});
	leads(pf_target("name-nightly"), id, p1 + 104, 700);
	id2 = pf_backup(f.s, &(struct pf_backup){.start = start2, .stop = stop2, .from = 11, .to = 13});
	look_again();
	leads(pf_target("name-nightly"), id2, p2 + 104, 701);
	leads(pf_target("name-within"), id, stop2, 700);
	free(id);
	free(id2);
	buf_free(&w.out);
}
END_TEST

/* Timeline 2 leaves timeline 1 within segment PF_FIRST + 2; both go on. */
struct forked {
	struct plain p;
	struct wal_make w2;
	uint64_t at;
	uint64_t commit2, after2;
};

static struct forked forked(void)
{
	struct forked k = {.p = {.w = pf_wal()}};
	struct plain *p = &k.p;

	p->start = wal_make_pos(&p->w);
	pf_backup_end(&p->w, p->start);
	p->stop = wal_make_pos(&p->w);
	for (unsigned i = 0; i < 5; i++) {
		p->commit[i] = pf_commit(&p->w, 700 + i, 10 * (i + 1));
		p->after[i] = wal_make_pos(&p->w);
		if (i == 2) {
			k.at = p->after[i];
			k.w2 = pf_fork(&p->w, 2);
		}
		pf_next(&p->w);
	}
	k.commit2 = pf_commit(&k.w2, 800, 100);
	k.after2 = wal_make_pos(&k.w2);
	pf_next(&k.w2);
	pf_commit(&k.w2, 801, 110);
	p->end = wal_make_pos(&p->w);
	plain_backup(p);
	return k;
}

static void forked_history(const struct forked *k)
{
	char text[64], l[LSN_TEXT];

	snprintf(text, sizeof(text), "1\t%s\tno reason\n", lsn_text((struct lsn){k->at}, l));
	pf_history(f.s, 2, text);
}

START_TEST(timelines)
{
	struct forked k = forked();
	struct pit_point p;
	char name[WAL_NAME_TEXT], *id, *id2;

	pf_archive_all(f.s, &k.p.w);
	pf_archive(f.s, &k.w2, PF_FIRST + 2, PF_FIRST + 4);
	fails(pf_target("latest"), "00000002.history is not in the archive");
	fails(xid(700), "00000002.history");
	leads(pf_target("latest@1"), k.p.id, k.p.end, 704);
	forked_history(&k);
	look_again();
	p = resolve(pf_target("latest"));
	ck_assert(p.tli.v == 2 && p.target.tli.v == 2 && p.xid == 801);
	ck_assert_str_eq(p.last_wal, pf_segment_name(2, PF_FIRST + 3, name));
	ck_assert_str_eq(p.first_wal, pf_segment_name(1, PF_FIRST, name));
	pit_point_release(&p);
	leads(xid(800), k.p.id, k.after2, 800);
	leads(xid(701), k.p.id, k.p.after[1], 701);
	leads(pf_time(20), k.p.id, k.p.commit[2], 701);
	/* On timeline 2 there is nothing between its beginning and its first commit. */
	leads(pf_time(35), k.p.id, k.commit2, 702);
	leads(on(pf_time(35), 1), k.p.id, k.p.commit[3], 702);
	leads(on(pf_time(35), 2), k.p.id, k.commit2, 702);
	/* What only timeline 1 has is found there. */
	leads(xid(703), k.p.id, k.p.after[3], 703);
	fails(on(xid(703), 2), "timeline 2");
	fails(on(xid(800), 1), "timeline 1");
	leads(lsn(k.commit2), k.p.id, k.after2, 800);
	p = resolve(xid(703));
	ck_assert_uint_eq(p.tli.v, 1);
	pit_point_release(&p);
	/* A backup of timeline 1 behind the fork leads to timeline 1 only, one of timeline 2 to 2. */
	id = pf_backup(
		f.s, &(struct pf_backup){.start = k.p.commit[3], .stop = k.p.after[3], .from = 39, .to = 40});
	id2 = pf_backup(f.s,
		&(struct pf_backup){.start = k.commit2, .stop = k.after2, .from = 100, .to = 101, .tli = 2});
	look_again();
	leads(pf_target("latest@1"), id, k.p.end, 704);
	leads(pf_target("latest"), id2, wal_make_pos(&k.w2), 801);
	leads(xid(800), k.p.id, k.after2, 800);
	free(id);
	free(id2);
	buf_free(&k.w2.out);
	plain_free(&k.p);
}
END_TEST

/* Without timeline 2's first segment its way goes up to the fork, in timeline 1's file, and not past it. */
START_TEST(first_segment_missing)
{
	struct forked k = forked();
	struct pit_point p;

	pf_archive_all(f.s, &k.p.w);
	forked_history(&k);
	p = resolve(pf_target("latest"));
	ck_assert_uint_eq(p.tli.v, 2);
	ck_assert_uint_eq(p.to.v, k.at);
	ck_assert_uint_eq(p.xid, 702);
	pit_point_release(&p);
	fails(on(xid(703), 2), "no such transaction");
	fails(on(pf_time(35), 2), "after the end");
	pf_archive(f.s, &k.w2, PF_FIRST + 3, PF_FIRST + 4);
	look_again();
	fails(on(xid(801), 2), "no such transaction");
	fails(on(pf_time(105), 2), "gap at segment 000000020000000000000012");
	buf_free(&k.w2.out);
	plain_free(&k.p);
}
END_TEST

/* What a receiver has of the next segment counts as far as it goes. */
START_TEST(streamed)
{
	struct plain p = plain();
	uint64_t no = p.commit[4] / PF_SEG, in = p.after[4] - no * PF_SEG;
	struct pit_window win;
	struct pit_point point;
	char name[WAL_NAME_TEXT];

	plain_backup(&p);
	pf_archive(f.s, &p.w, PF_FIRST, no);
	pf_segment_name(1, no, name);
	fails(xid(704), "no such transaction");
	fx_ok(wal_partial_append(
		      f.s, "main", name, PF_SEG, 0, p.w.out.data + (no - PF_FIRST) * PF_SEG, in, &e),
		&e);
	look_again();
	leads(xid(704), p.id, p.after[4], 704);
	leads(pf_target("latest"), p.id, p.after[4], 704);
	point = resolve(pf_time(48));
	ck_assert(point.partial && point.to.v == p.commit[4]);
	ck_assert_str_eq(point.last_wal, name);
	pit_point_release(&point);
	point = resolve(pf_time(30));
	ck_assert(!point.partial);
	pit_point_release(&point);
	fails(pf_time(50), "after the end");
	fx_ok(pit_window(pit, &win, &e), &e);
	ck_assert_uint_eq(win.to_lsn.v, p.after[4]);
	ck_assert_ptr_nonnull(strstr(win.last_wal, ".partial"));
	ck_assert(win.last_wal_put.sec > 0 && !win.n_gaps);
	pit_window_release(&win);
	/* More of it, then all of it, archived. */
	fx_ok(wal_partial_append(f.s, "main", name, PF_SEG, in, p.w.out.data + (no - PF_FIRST) * PF_SEG + in,
		      PF_SEG - in, &e),
		&e);
	look_again();
	point = resolve(pf_target("latest"));
	ck_assert_uint_gt(point.to.v, p.after[4]);
	pit_point_release(&point);
	pf_archive(f.s, &p.w, no, no + 2);
	fx_ok(wal_partial_remove(f.s, "main", name, &e), &e);
	look_again();
	leads(xid(705), p.id, p.after[5], 705);
	plain_free(&p);
}
END_TEST

START_TEST(damaged_end)
{
	struct plain p = plain();

	plain_backup(&p);
	/* A byte of a record in the segment of the fifth commit. */
	p.w.out.data[4 * PF_SEG + PF_SEG / 2 + 200] ^= 1;
	pf_archive(f.s, &p.w, PF_FIRST, PF_FIRST + 5);
	leads(xid(703), p.id, p.after[3], 703);
	leads(pf_time(30), p.id, p.commit[3], 702);
	fails(lsn(p.end), "after the end");
	plain_free(&p);
}
END_TEST

/* ---- an archive of 200,000 segments ---- */

#define MANY 200000
#define PER_GROUP 4096 /* segments of 1 MiB in 4 GiB */
#define MANY_FIRST 1

static unsigned asked, read_notes; /* summaries made, notes read */
static bool notes_lost;
static uint64_t ahead; /* in this segment the clock was ahead by 100,000 segments */

static int many_groups(struct store *s, const char *cluster, char ***ret, struct err *err)
{
	unsigned n = (MANY_FIRST + MANY) / PER_GROUP + 1;
	char **v = calloc(n + 1, sizeof(*v));

	(void)s;
	(void)cluster;
	(void)err;
	for (unsigned i = 0; i < n; i++)
		ck_assert_int_gt(asprintf(&v[i], "00000001%08X", i), 0);
	*ret = v;
	return 0;
}

static int many_names(struct store *s, const char *cluster, const char *group, char ***ret, struct err *err)
{
	uint64_t first = strtoull(group + 8, NULL, 16) * PER_GROUP;
	char **v = calloc(PER_GROUP + 1, sizeof(*v)), name[WAL_NAME_TEXT];
	size_t n = 0;

	(void)s;
	(void)cluster;
	(void)err;
	for (uint64_t no = first; no < first + PER_GROUP; no++)
		if (no >= MANY_FIRST && no < MANY_FIRST + MANY)
			v[n++] = strdup(pf_segment_name(1, no, name));
	*ret = v;
	return 0;
}

static double many_time(uint64_t no)
{
	return 10.0 * (double)(no == ahead ? no + 100000 : no);
}

/* In segment k: a commit of transaction 10k at second 10k, when k is no multiple of seven. */
static int many_summary(
	struct store *s, const char *cluster, const char *name, struct wal_summary **ret, struct err *err)
{
	struct wal_summary *w = calloc(1, sizeof(*w));
	struct segno no;
	struct tli t;

	(void)s;
	(void)cluster;
	(void)err;
	ck_assert(wal_name_parse(name, strlen(name), PF_SEG, &t, &no));
	asked++;
	*w = (struct wal_summary){.pg_major = 15,
		.tli = t,
		.segno = no,
		.segment_size = PF_SEG,
		.complete = true,
		.from = {no.v * PF_SEG + 40},
		.resume = {(no.v + 1) * PF_SEG},
		.records = 1};
	if (no.v % 7) {
		w->has_times = w->has_commits = true;
		w->time_min = w->time_max = (struct tstamp){PF_T0 + (int64_t)many_time(no.v), 0};
		w->first_commit = w->last_commit =
			(struct wal_commit){w->from, (uint32_t)no.v * 10, w->time_max};
		w->xid_min = w->xid_max = (uint32_t)no.v * 10;
		w->counts[WAL_EVENT_COMMIT] = 1;
	}
	*ret = w;
	return 0;
}

static int many_noted(struct store *s, const char *cluster, const char *name, struct wal_summary **ret)
{
	read_notes++;
	if (notes_lost)
		return -ENOENT;
	asked--;
	return many_summary(s, cluster, name, ret, NULL);
}

/* The records themselves are real in the segment that is asked for. */
static void many_segment(uint64_t no)
{
	struct wal_make w = wal_make_at(15, PF_SEG, 8192, no * PF_SEG);

	pf_commit(&w, (uint32_t)no * 10, many_time(no));
	pf_archive(f.s, &w, no, no + 1);
	buf_free(&w.out);
}

static int count_target(void *arg, const struct target *t, struct tstamp time, struct err *err)
{
	(void)t;
	(void)time;
	(void)err;
	++*(unsigned *)arg;
	return 0;
}

START_TEST(two_hundred_thousand)
{
	static const struct pit_source source = {many_groups, many_names, many_summary, many_noted};
	const uint64_t at = 123457, leap = 51004;
	unsigned listed = 0;
	struct pit_point p;
	char *id;

	id = pf_backup(
		f.s, &(struct pf_backup){
			     .start = PF_SEG * 3 + 40, .stop = PF_SEG * 3 + 400, .from = 29, .to = 30});
	many_segment(3);
	many_segment(4);
	many_segment(at);
	many_segment(at + 1);
	pit_free(pit);
	fx_ok(pit_new_with(f.s, "main", NULL, &source, &pit, &e), &e);
	leads(pf_time(10 * at + 5), id, (at + 1) * PF_SEG + 40, at * 10);
	ck_assert_msg(asked < 300, "%u summaries were read", asked);
	asked = 0;
	leads(xid(at * 10), id, at * PF_SEG + 40 + 40, at * 10);
	ck_assert_msg(asked < 60, "%u summaries were read", asked);
	asked = 0;
	p = resolve(pf_target("latest"));
	ck_assert_uint_eq(p.to.v, (uint64_t)(MANY_FIRST + MANY) * PF_SEG);
	ck_assert_uint_eq(p.segments, MANY_FIRST + MANY - 3);
	pit_point_release(&p);
	fails(pf_time(10.0 * (MANY + 10)), "after the end");
	ck_assert_msg(asked < 200, "%u summaries were read", asked);
	/* Recovery stops where a clock was ahead, however long before. */
	asked = read_notes = 0;
	ahead = leap;
	many_segment(leap);
	pit_free(pit);
	fx_ok(pit_new_with(f.s, "main", NULL, &source, &pit, &e), &e);
	leads(pf_time(10 * at + 5), id, leap * PF_SEG + 40, (leap - 1) * 10);
	ck_assert_msg(asked < 300, "%u summaries were read", asked);
	/* What was read is known. */
	read_notes = 0;
	leads(pf_time(10 * at + 4), id, leap * PF_SEG + 40, (leap - 1) * 10);
	ck_assert_msg(read_notes < 200, "%u notes were read", read_notes);
	/* Without notes, the nearby is what counts, and is bounded. */
	asked = read_notes = 0;
	notes_lost = true;
	pit_free(pit);
	fx_ok(pit_new_with(f.s, "main", NULL, &source, &pit, &e), &e);
	leads(pf_time(10 * at + 5), id, (at + 1) * PF_SEG + 40, at * 10);
	ck_assert_msg(asked < 400 && read_notes < 600, "%u made, %u looked for", asked, read_notes);
	/* A listing makes a few of them, and shows what it then knows. */
	asked = 0;
	many_segment(MANY);
	pit_free(pit);
	fx_ok(pit_new_with(f.s, "main", NULL, &source, &pit, &e), &e);
	fx_ok(pit_list(pit, 300, count_target, &listed, &e), &e);
	ck_assert_msg(asked < 64 && listed, "%u made for %u targets", asked, listed);
	free(id);
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("pit resolve");
	TCase *t = tcase_create("resolve");

	tcase_add_checked_fixture(t, set_up, tear_down);
	tcase_add_test(t, kinds);
	tcase_add_test(t, reasons);
	tcase_add_test(t, gaps);
	tcase_add_test(t, newest_backup);
	tcase_add_test(t, own_wal);
	tcase_add_test(t, end_from_wal);
	tcase_add_test(t, clock_steps_back);
	tcase_add_test(t, names_again);
	tcase_add_test(t, timelines);
	tcase_add_test(t, first_segment_missing);
	tcase_add_test(t, streamed);
	tcase_add_test(t, damaged_end);
	tcase_add_test(t, two_hundred_thousand);
	suite_add_tcase(s, t);
	return s;
}

CHECK_MAIN(suite)
