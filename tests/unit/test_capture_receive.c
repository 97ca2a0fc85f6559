/* The receiver without a server: where it goes on, for every state that a repository can be in, and the segment that grows,
 * however its WAL is cut. */
#include "src/capture/receive_priv.h"
#include "store/wal_partial.h"
#include "tests/unit/store_fixture.h"
#include "tests/unit/wal_make.h"

#define SIZE (1u << 20)
#define PAGE 8192

static struct fixture fx;
static struct receive_options options;
static struct receiver r;
static struct err why;

static void set_up(void)
{
	fx = fx_make(NULL);
	r = (struct receiver){
		.store = fx.s,
		.cluster = "main",
		.o = &options,
		.taker = {.store = fx.s, .cluster = "main", .threads = 1},
		.server = {.system_identifier = WAL_MAKE_SYSID,
			.tli = {1},
			.at = {0x2a12345},
			.version = 150004,
			.segment_size = SIZE},
	};
	fx_ok(timeline_history_parse("", 0, r.server.tli, &r.history, &why), &why);
}

static void tear_down(void)
{
	growing_done(&r.g);
	timeline_history_free(r.history);
	fx_free(&fx);
}

/* ---- where to go on ---- */

/* What receive_where looks at is names and lengths; the bytes are none of its business. */
static void archived(unsigned tli, unsigned segment)
{
	char name[WAL_NAME_TEXT];
	struct wal_input in = {.bytes = "x", .fd = -1, .size = 1};
	bool known;

	wal_name((struct tli){tli}, (struct segno){segment}, SIZE, name);
	fx_ok(wal_put_input(fx.s, "main", name, &in, 1, &known, &why), &why);
}

static void partial(unsigned tli, unsigned segment, uint32_t len)
{
	static uint8_t zeroes[SIZE];
	char name[WAL_NAME_TEXT];

	wal_name((struct tli){tli}, (struct segno){segment}, SIZE, name);
	fx_ok(wal_partial_append(fx.s, "main", name, SIZE, 0, zeroes, len, &why), &why);
}

static void on_timeline(unsigned tli, const char *history)
{
	timeline_history_free(MOVE(r.history));
	r.server.tli.v = tli;
	fx_ok(timeline_history_parse(history, strlen(history), r.server.tli, &r.history, &why), &why);
}

static void goes_on_at(uint64_t slot_at, unsigned tli, uint64_t at)
{
	struct tli got_tli;
	struct lsn got;

	fx_ok(receive_where(&r, (struct lsn){slot_at}, &got_tli, &got, &why), &why);
	ck_assert_msg(got.v == at && got_tli.v == tli, "%#lx on %u, not %#lx on %u", (unsigned long)got.v,
		got_tli.v, (unsigned long)at, tli);
}

START_TEST(nothing)
{
	goes_on_at(0, 1, 0x2a00000);
	goes_on_at(0x2654321, 1, 0x2600000);
}
END_TEST

START_TEST(archive)
{
	archived(1, 3);
	archived(1, 4);
	goes_on_at(0x2600000, 1, 0x500000);
	archived(1, 0xfff);
	goes_on_at(0, 1, 0x100000000);
}
END_TEST

START_TEST(growing)
{
	archived(1, 4);
	partial(1, 5, 1000);
	goes_on_at(0, 1, 0x500000 + 1000);
}
END_TEST

START_TEST(growing_alone)
{
	partial(1, 5, 1000);
	partial(1, 6, 77);
	goes_on_at(0, 1, 0x600000 + 77);
}
END_TEST

/* archive_command is ahead of a receiver that was away: it is the receiver's segment that is missing. */
START_TEST(archive_ahead)
{
	partial(1, 5, 1000);
	archived(1, 6);
	archived(1, 7);
	goes_on_at(0, 1, 0x500000 + 1000);
}
END_TEST

/* A gap that was skipped stays behind. */
START_TEST(gap)
{
	partial(1, 5, 1000);
	archived(1, 7);
	archived(1, 8);
	goes_on_at(0, 1, 0x900000);
	partial(1, 9, 5);
	goes_on_at(0, 1, 0x900005);
}
END_TEST

/* Killed between the archive and the removal. */
START_TEST(remains)
{
	char **names;

	partial(1, 5, 1000);
	archived(1, 5);
	goes_on_at(0, 1, 0x600000);
	fx_ok(wal_partial_names(fx.s, "main", &names, &why), &why);
	ck_assert_ptr_null(names[0]);
	strv_free(names);
}
END_TEST

START_TEST(whole)
{
	partial(1, 5, SIZE);
	goes_on_at(0, 1, 0x500000);
}
END_TEST

/* The server went over to timeline 2 at 0/500500. */
START_TEST(switched)
{
	on_timeline(2, "1\t0/500500\tpromoted\n");
	goes_on_at(0, 2, 0x2a00000);
	goes_on_at(0x410000, 1, 0x400000);
	archived(1, 4);
	goes_on_at(0, 1, 0x500000);
	partial(1, 5, 0x4ff);
	goes_on_at(0, 1, 0x5004ff);
	partial(1, 5, 0x500);
	goes_on_at(0, 2, 0x500000);
	/* The old server went further than the standby had come. */
	partial(1, 5, 0x900);
	goes_on_at(0, 2, 0x500000);
	archived(1, 5);
	archived(1, 6);
	goes_on_at(0, 2, 0x500000);
	partial(2, 5, 0x700);
	goes_on_at(0, 2, 0x500700);
	archived(2, 5);
	goes_on_at(0, 2, 0x600000);
}
END_TEST

/* Two switches that nobody received. */
START_TEST(switched_twice)
{
	on_timeline(3, "1\t0/500500\tpromoted\n2\t0/700000\tpromoted\n");
	partial(1, 5, 0x500);
	goes_on_at(0, 2, 0x500000);
	archived(2, 5);
	archived(2, 6);
	goes_on_at(0, 3, 0x700000);
	archived(3, 7);
	goes_on_at(0, 3, 0x800000);
}
END_TEST

/* What belongs to a timeline that is none of the server's past is not looked at. */
START_TEST(stranger)
{
	on_timeline(3, "1\t0/500500\tpromoted\n");
	archived(1, 4);
	archived(2, 9);
	partial(2, 10, 10);
	goes_on_at(0, 1, 0x500000);
}
END_TEST

/* ---- the segment that grows ---- */

static struct wal_make make_wal(unsigned segments)
{
	struct wal_make w = wal_make_at(15, SIZE, PAGE, 0x500000);
	uint64_t rng = check_seed();

	while (w.out.len < (uint64_t)segments * SIZE) {
		uint8_t b[3000];
		size_t n = 1 + check_rand_below(&rng, sizeof(b));

		check_rand_fill(&rng, b, n);
		wal_make_record(&w, RMGR_XLOG, 0x20, 0, b, n);
	}
	ck_assert(!w.out.bad);
	return w;
}

static void check_archived(const struct wal_make *w, unsigned segment)
{
	char name[WAL_NAME_TEXT];
	uint8_t *got = malloc(SIZE);
	struct file *f;

	wal_name((struct tli){1}, (struct segno){segment}, SIZE, name);
	fx_ok(wal_open(fx.s, "main", name, &f, &why), &why);
	ck_assert_int_eq(file_read(f, 0, got, SIZE, &why), SIZE);
	fx_same(name, got, SIZE, w->out.data + ((uint64_t)segment * SIZE - w->start), SIZE);
	file_free(f);
	free(got);
}

/* Cut at random, with repetitions; made durable, and begun anew, at random. */
START_TEST(grows)
{
	struct wal_make w = make_wal(3);
	uint64_t rng = check_seed(), at = w.start, end = w.start + 2 * SIZE + 12345;
	char **names;

	fx_ok(growing_begin(&r, r.server.tli, (struct lsn){at}, &why), &why);
	while (at < end) {
		uint64_t n = 1 + check_rand_below(&rng, check_rand_below(&rng, 4) ? 20000 : 900000);
		uint64_t from = at - check_rand_below(&rng, at - w.start < 5000 ? at - w.start + 1 : 5000);

		n = n < end - at ? n : end - at;
		fx_ok(growing_add(&r, (struct lsn){from}, w.out.data + (from - w.start), at + n - from, &why),
			&why);
		at += n;
		ck_assert_uint_eq(growing_end(&r.g).v, at);
		ck_assert_uint_le(growing_flushed(&r.g).v, at);
		if (!check_rand_below(&rng, 3)) {
			fx_ok(growing_flush(&r, &why), &why);
			ck_assert_uint_eq(growing_flushed(&r.g).v, at);
		}
		if (!check_rand_below(&rng, 6)) {
			/* As after a kill: what was not durable comes again. */
			at = growing_flushed(&r.g).v;
			goes_on_at(0, 1, at);
			fx_ok(growing_begin(&r, r.server.tli, (struct lsn){at}, &why), &why);
			ck_assert_uint_eq(growing_end(&r.g).v, at);
		}
	}
	fx_ok(growing_flush(&r, &why), &why);
	check_archived(&w, 5);
	check_archived(&w, 6);
	fx_ok(wal_partial_names(fx.s, "main", &names, &why), &why);
	ck_assert_str_eq(names[0], "000000010000000000000007");
	ck_assert_ptr_null(names[1]);
	strv_free(names);
	goes_on_at(0, 1, end);
	buf_free(&w.out);
}
END_TEST

START_TEST(not_following)
{
	struct wal_make w = make_wal(1);

	fx_ok(growing_begin(&r, r.server.tli, (struct lsn){w.start}, &why), &why);
	fx_ok(growing_add(&r, (struct lsn){w.start}, w.out.data, 100, &why), &why);
	fx_fails(growing_add(&r, (struct lsn){w.start + 101}, w.out.data, 100, &why), -EBADMSG, &why);
	fx_ok(growing_add(&r, (struct lsn){w.start}, w.out.data, 50, &why), &why);
	ck_assert_uint_eq(growing_end(&r.g).v, w.start + 100);
	buf_free(&w.out);
}
END_TEST

/* A whole segment that is no WAL, or another's, is neither archived nor kept. */
START_TEST(no_wal)
{
	uint8_t *zeroes = calloc(1, SIZE);
	char **names;

	fx_ok(growing_begin(&r, r.server.tli, (struct lsn){0x500000}, &why), &why);
	fx_fails(growing_add(&r, (struct lsn){0x500000}, zeroes, SIZE, &why), -EBADMSG, &why);
	fx_ok(growing_flush(&r, &why), &why);
	ck_assert_uint_eq(growing_flushed(&r.g).v, 0x500000);
	fx_ok(wal_partial_names(fx.s, "main", &names, &why), &why);
	ck_assert_ptr_null(names[0]);
	strv_free(names);
	free(zeroes);
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("capture/receive");
	TCase *t = tcase_create("where");

	tcase_add_checked_fixture(t, set_up, tear_down);
	tcase_add_test(t, nothing);
	tcase_add_test(t, archive);
	tcase_add_test(t, growing);
	tcase_add_test(t, growing_alone);
	tcase_add_test(t, archive_ahead);
	tcase_add_test(t, gap);
	tcase_add_test(t, remains);
	tcase_add_test(t, whole);
	tcase_add_test(t, switched);
	tcase_add_test(t, switched_twice);
	tcase_add_test(t, stranger);
	suite_add_tcase(s, t);
	t = tcase_create("growing");
	tcase_add_checked_fixture(t, set_up, tear_down);
	tcase_add_test(t, grows);
	tcase_add_test(t, not_following);
	tcase_add_test(t, no_wal);
	suite_add_tcase(s, t);
	return s;
}

CHECK_MAIN(suite)
