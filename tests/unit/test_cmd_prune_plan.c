/* What prune is about to do with a repository that has WAL, damage, and pieces of a growing segment; and the part of doing
 * it that is about WAL (src/cmd/prune_plan). */
#include "src/cmd/prune_plan.h"

#include "store/wal_partial.h"
#include "tests/unit/store_fixture.h"

#define SEG (1u << 20)
#define DAY 86400

static struct fixture fx;
static struct retention_sets sets;
static struct retention_options o;
static struct err why;

static void rule(const char *name, const char *value)
{
	struct retention_set *set;

	fx_ok(retention_section(&sets, "retention", &set, &why), &why);
	fx_ok(retention_add(&set->rules, name, value, &why), &why);
}

static void set_up(void)
{
	fx = fx_make(NULL);
	sets = (struct retention_sets){0};
	o = (struct retention_options){.sets = &sets, .now = {100 * DAY, 0}};
	fx_ok(store_bind_cluster(fx.s, "main", "1", &why), &why);
	fx_ok(store_bind_cluster(fx.s, "other", "2", &why), &why);
}

static void tear_down(void)
{
	retention_sets_release(&sets);
	fx_free(&fx);
}

static char *name_of(unsigned tli, uint64_t no, char out[WAL_NAME_TEXT])
{
	return wal_name((struct tli){tli}, (struct segno){no}, SEG, out);
}

/* A base backup without files that ended on a day and needs the segments first to last. */
static void put_base(const char *cluster, int64_t day, uint64_t first, uint64_t last)
{
	struct snapshot *s = snapshot_new();
	char text[LSN_TEXT];
	int r = 0;

	s->cluster = strdup(cluster);
	s->kind = SNAPSHOT_BASE;
	s->stop.sec = day * DAY;
	r |= snapshot_put_number(s, "timeline", 1);
	r |= snapshot_put_number(s, "wal_segment_size", SEG);
	r |= snapshot_put_text(s, "start_lsn", lsn_text((struct lsn){first * SEG + 40}, text));
	r |= snapshot_put_text(s, "stop_lsn", lsn_text((struct lsn){(last + 1) * SEG}, text));
	r |= snapshot_put_text(s, "tags", "a b");
	ck_assert_int_eq(r, 0);
	fx_ok(snapshot_publish(fx.s, s, &why), &why);
	snapshot_free(s);
}

static void put_file(const char *name)
{
	const struct wal_input in = {.bytes = name, .size = strlen(name)};
	bool known;

	fx_ok(wal_put_input(fx.s, "main", name, &in, 1, &known, &why), &why);
	fx_ok(wal_note_put(fx.s, "main", name, "n", 1, &why), &why);
}

static void put_wal(unsigned tli, uint64_t first, uint64_t last)
{
	char name[WAL_NAME_TEXT];

	for (uint64_t no = first; no <= last; no++)
		put_file(name_of(tli, no, name));
}

static bool is_there(unsigned tli, uint64_t no)
{
	struct wal_info info;
	char name[WAL_NAME_TEXT];
	void *note;
	size_t len;
	bool yes = wal_stat(fx.s, "main", name_of(tli, no, name), &info, NULL) == 0;

	/* The note is there just when the file is. */
	ck_assert_int_eq(wal_note_get(fx.s, "main", name, &note, &len, NULL) == 0, yes);
	if (yes)
		free(note);
	return yes;
}

static uint64_t remove_wal(const struct prune_plan *p)
{
	uint64_t files = 0, bytes = 0;
	struct meter m = {0};

	fx_ok(prune_plan_remove_wal(fx.s, p, NULL, &m, NULL, &files, &bytes, &why), &why);
	ck_assert_uint_eq(m.done, bytes);
	ck_assert_uint_eq(m.files, files);
	return files;
}

/* Three backups of which the oldest goes; the window begins with the third. */
static void three(void)
{
	put_base("main", 10, 5, 6);
	put_base("main", 50, 300, 301);
	put_base("main", 90, 310, 310);
	put_wal(1, 4, 7);
	put_wal(1, 298, 312);
	put_wal(2, 299, 300);
	put_wal(2, 309, 310);
	put_file("00000002.history");
	put_file("00000001000000000000012B.partial");	      /* 299 */
	put_file("00000001000000000000012C.00000028.backup"); /* 300 */
	rule("keep-last", "2");
	rule("wal-days", "5");
}

START_TEST(ranges)
{
	static const struct {
		const char *first, *last, *reason;
		uint64_t files;
		bool drop;
	} want[] = {
		{"000000010000000000000004", "00000001000000000000012B.partial", "before base/", 7, true},
		{"00000001000000000000012C", "00000001000000000000012D", "own consistency", 3, false},
		{"00000001000000000000012E", "000000010000000000000135", "before base/", 8, true},
		{"000000010000000000000136", "000000010000000000000138", "5 days of WAL", 3, false},
		{"00000002.history", "00000002.history", "histories stay", 1, false},
		{"00000002000000000000012B", "00000002000000000000012B", "before base/", 1, true},
		{"00000002000000000000012C", "00000002000000000000012C", "own consistency", 1, false},
		{"000000020000000000000135", "000000020000000000000135", "before base/", 1, true},
		{"000000020000000000000136", "000000020000000000000136", "5 days of WAL", 1, false},
		/* The pieces. */
		{"000000010000000000000002", "000000010000000000000002", "before base/", 1, true},
		{"000000010000000000000139", "000000010000000000000139", "5 days of WAL", 1, false},
	};
	struct prune_plan p;
	uint64_t files = 0, bytes = 0;
	char **names;

	three();
	fx_ok(wal_partial_append(fx.s, "main", "000000010000000000000002", SEG, 0, "abc", 3, &why), &why);
	fx_ok(wal_partial_append(fx.s, "main", "000000010000000000000139", SEG, 0, "abc", 3, &why), &why);
	fx_ok(prune_plan_make(fx.s, &o, &p, &why), &why);
	ck_assert_uint_eq(p.n_items, 3);
	ck_assert_uint_eq(p.n_drop, 1);
	ck_assert(!strncmp(p.drop[0].id, "1970-01-11T", 11));
	ck_assert_str_eq(p.items[0].tags, "a b");
	for (size_t i = 0; i < p.n_ranges; i++) {
		const struct plan_range *r = &p.ranges[i];

		ck_assert_uint_lt(i, sizeof(want) / sizeof(*want));
		ck_assert_msg(!strcmp(r->first, want[i].first) && !strcmp(r->last, want[i].last) &&
				      r->files == want[i].files && r->drop == want[i].drop &&
				      strstr(r->reason, want[i].reason),
			"%zu: %s to %s, %" PRIu64 " files, %s: %s", i, r->first, r->last, r->files,
			r->drop ? "drop" : "keep", r->reason);
		ck_assert_str_eq(r->cluster, "main");
		files += r->drop ? r->files : 0;
		bytes += r->drop ? r->bytes : 0;
		ck_assert_uint_gt(r->bytes, 0);
	}
	ck_assert_uint_eq(p.n_ranges, sizeof(want) / sizeof(*want));
	ck_assert_uint_eq(p.wal_files, files);
	ck_assert_uint_eq(p.wal_bytes, bytes);
	/* And done, twice. */
	ck_assert_uint_eq(remove_wal(&p), files);
	ck_assert_uint_eq(remove_wal(&p), 0);
	for (uint64_t no = 1; no <= 320; no++) {
		ck_assert_int_eq(is_there(1, no), no == 300 || no == 301 || (no >= 310 && no <= 312));
		ck_assert_int_eq(is_there(2, no), no == 300 || no == 310);
	}
	fx_ok(wal_partial_names(fx.s, "main", &names, &why), &why);
	ck_assert_str_eq(names[0], "000000010000000000000139");
	ck_assert_ptr_null(names[1]);
	strv_free(names);
	prune_plan_release(&p);
}
END_TEST

/* A base backup that came after the plan was made may need anything. */
START_TEST(news)
{
	struct prune_plan p;

	three();
	fx_ok(prune_plan_make(fx.s, &o, &p, &why), &why);
	put_base("other", 95, 1, 1);
	put_base("main", 95, 4, 4);
	ck_assert_uint_gt(p.wal_files, 0);
	ck_assert_uint_eq(remove_wal(&p), 0);
	ck_assert(is_there(1, 4) && is_there(1, 302));
	prune_plan_release(&p);
	/* The next plan knows it, and all that is after it. */
	fx_ok(prune_plan_make(fx.s, &o, &p, &why), &why);
	ck_assert_uint_eq(p.n_drop, 2);
	ck_assert_uint_eq(p.wal_files, 0);
	ck_assert(strstr(p.ranges[0].reason, "from base/1970-04-06T") && !p.ranges[0].drop);
	prune_plan_release(&p);
}
END_TEST

/* What WAL a damaged backup needs is not known. */
START_TEST(damaged)
{
	struct fx_objects all;
	struct prune_plan p;

	three();
	all = fx_objects(fx.repo);
	for (size_t i = 0; i < all.n; i++)
		if (strstr(all.names[i], "1970-02-20T"))
			fx_replace(fx.repo, all.names[i], "x", 1);
	fx_objects_free(&all);
	fx_ok(prune_plan_make(fx.s, &o, &p, &why), &why);
	ck_assert_uint_eq(p.n_items, 3);
	ck_assert_uint_eq(p.n_drop, 0);
	ck_assert(p.items[2].damage && strstr(p.items[2].reason, "cannot be read"));
	ck_assert_uint_eq(p.wal_files, 0);
	ck_assert(strstr(p.ranges[0].reason, "does not tell what WAL it needs"));
	ck_assert_uint_eq(remove_wal(&p), 0);
	prune_plan_release(&p);
	o.force = true;
	fx_ok(prune_plan_make(fx.s, &o, &p, &why), &why);
	ck_assert_uint_gt(remove_wal(&p), 0);
	/* From the one that ended 5 days ago on, and the oldest's own. */
	ck_assert(is_there(1, 5) && is_there(1, 6) && !is_there(1, 300) && is_there(1, 310));
	prune_plan_release(&p);
}
END_TEST

START_TEST(chosen)
{
	volatile sig_atomic_t stop = 1;
	uint64_t files, bytes;
	struct prune_plan p;

	three();
	put_base("other", 10, 1, 1);
	put_base("other", 11, 2, 2);
	put_base("other", 12, 3, 3);
	o.cluster = "nobody";
	fx_fails(prune_plan_make(fx.s, &o, &p, &why), -ENOENT, &why);
	o.cluster = "other";
	fx_ok(prune_plan_make(fx.s, &o, &p, &why), &why);
	ck_assert(p.n_items == 3 && p.n_drop == 1 && p.n_ranges == 0 && p.n_clusters == 1);
	ck_assert_str_eq(p.drop[0].cluster, "other");
	prune_plan_release(&p);
	/* Without base backups being chosen, WAL is not looked at. */
	o.cluster = NULL;
	o.kind = SNAPSHOT_DUMP;
	fx_ok(prune_plan_make(fx.s, &o, &p, &why), &why);
	ck_assert(p.n_items == 6 && p.n_drop == 0 && p.n_ranges == 0 && p.n_clusters == 0);
	ck_assert_uint_eq(remove_wal(&p), 0);
	prune_plan_release(&p);
	o.kind = 0;
	fx_ok(prune_plan_make(fx.s, &o, &p, &why), &why);
	ck_assert_uint_eq(p.n_drop, 2);
	fx_fails(prune_plan_remove_wal(fx.s, &p, NULL, NULL, &stop, &files, &bytes, &why), -EINTR, &why);
	ck_assert_uint_eq(files, 0);
	ck_assert(is_there(1, 4));
	prune_plan_release(&p);
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("cmd_prune_plan");
	TCase *t = tcase_create("all");

	tcase_add_checked_fixture(t, set_up, tear_down);
	tcase_add_test(t, ranges);
	tcase_add_test(t, news);
	tcase_add_test(t, damaged);
	tcase_add_test(t, chosen);
	suite_add_tcase(s, t);
	return s;
}

CHECK_MAIN(suite)
