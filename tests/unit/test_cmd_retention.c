/* Retention: which snapshots stay and why, which WAL stays and why, and how rules are read (src/cmd). */
#include "src/cmd/retention.h"

#include <errno.h>

#include "src/base/io.h"
#include "src/cmd/config.h"
#include "src/cmd/retention_wal.h"
#include "src/cmd/tags.h"
#include "tests/unit/check_main.h"

/* Rows leave out what does not matter to them. */
#pragma GCC diagnostic ignored "-Wmissing-field-initializers"

#define SEG (16u << 20)
#define DROPPED "no rule keeps it"

static struct tstamp at(const char *text)
{
	struct tstamp t = {0};
	struct err e = {0};

	ck_assert_msg(tstamp_parse(text, &t, &e) == 0, "%s", e.text);
	return t;
}

/* "keep-last=3 keep-tag=x" into the set of a section. */
static void add_rules(struct retention_sets *sets, const char *section, const char *rules)
{
	char room[200], *save = NULL;
	struct retention_set *set = NULL;
	struct err e = {0};

	ck_assert_msg(retention_section(sets, section, &set, &e) == 0, "%s", e.text);
	strcpy(room, rules);
	for (char *w = strtok_r(room, " ", &save); w; w = strtok_r(NULL, " ", &save)) {
		char *value = strchr(w, '=');

		*value++ = 0;
		ck_assert_msg(retention_add(&set->rules, w, value, &e) == 0, "%s", e.text);
	}
}

/* ---- snapshots of one series ---- */

struct one {
	const char *stop, *reason; /* reason "" is any */
	const char *tags, *damage;
};

static void check_series(const char *name, const char *rules, const char *now, bool force,
	enum snapshot_kind kind, const struct one *v, size_t n)
{
	struct retention_sets sets = {0};
	struct retention_options o = {.sets = &sets, .now = at(now), .force = force};
	struct retention_item items[40] = {0};
	uint64_t rng = check_seed();

	add_rules(&sets, "retention", rules);
	for (size_t i = 0; i < n; i++)
		items[i] = (struct retention_item){.cluster = "main",
			.kind = kind,
			.id = v[i].stop,
			.tags = v[i].tags,
			.damage = v[i].damage,
			.stop = at(v[i].stop)};
	/* The order they come in means nothing. */
	for (size_t i = n; i > 1; i--) {
		size_t k = check_rand_below(&rng, i);
		struct retention_item t = items[i - 1];

		items[i - 1] = items[k];
		items[k] = t;
	}
	ck_assert_int_eq(retention_decide(&o, items, n), 0);
	for (size_t i = 0; i < n; i++) {
		const struct retention_item *got = NULL;

		for (size_t k = 0; k < n; k++)
			if (!strcmp(items[k].id, v[i].stop))
				got = &items[k];
		ck_assert_msg(got && !strcmp(got->reason, v[i].reason), "%s: %s is \"%s\", not \"%s\"", name,
			v[i].stop, got ? got->reason : "", v[i].reason);
		ck_assert_msg(got->drop == !strcmp(v[i].reason, DROPPED), "%s: %s", name, v[i].stop);
	}
	retention_sets_release(&sets);
}

#define SERIES(name, rules, now, force, kind, ...)                                      \
	do {                                                                            \
		static const struct one v[] = {__VA_ARGS__};                            \
		check_series(name, rules, now, force, kind, v, sizeof(v) / sizeof(*v)); \
	} while (0)

START_TEST(test_last_and_days)
{
	SERIES("last", "keep-last=3", "2026-11-21T00:00:00Z", false, SNAPSHOT_BASE,
		{"2026-11-20T02:00:00Z", "newest"}, {"2026-11-19T02:00:00Z", "last 2 of 3"},
		{"2026-11-18T02:00:00Z", "last 3 of 3"}, {"2026-11-17T02:00:00Z", DROPPED},
		{"2020-01-01T00:00:00Z", DROPPED});
	SERIES("more than there are", "keep-last=1000000", "2026-11-21T00:00:00Z", false, SNAPSHOT_BASE,
		{"2026-11-20T02:00:00Z", "newest"}, {"2026-11-19T02:00:00Z", "last 2 of 1000000"});
	/* The very second of the limit is within. */
	SERIES("days", "keep-days=2", "2026-11-21T12:00:00Z", false, SNAPSHOT_DUMP,
		{"2026-11-21T12:00:00Z", "within 2 days"}, {"2026-11-19T12:00:00Z", "within 2 days"},
		{"2026-11-19T11:59:59Z", DROPPED});
	SERIES("one day", "keep-days=1", "2026-11-21T12:00:00Z", false, SNAPSHOT_DUMP,
		{"2026-11-20T12:00:00Z", "within 1 day"});
	/* Fractions count. */
	SERIES("fractions", "keep-days=1", "2026-11-21T12:00:00.5Z", false, SNAPSHOT_DUMP,
		{"2026-11-20T12:00:00.5Z", "within 1 day"}, {"2026-11-20T12:00:00.4Z", DROPPED});
}
END_TEST

START_TEST(test_periods)
{
	SERIES("daily: the newest of each day that has one, not of each day", "keep-daily=3",
		"2026-11-21T12:00:00Z", false, SNAPSHOT_BASE, {"2026-11-21T06:00:00Z", "daily 1 of 3"},
		{"2026-11-21T00:00:00Z", DROPPED}, {"2026-11-20T23:59:59Z", "daily 2 of 3"},
		{"2026-11-20T23:59:58Z", DROPPED}, {"2026-11-10T01:00:00Z", "daily 3 of 3"},
		{"2026-11-09T01:00:00Z", DROPPED});
	/* 2026-11-16 is a Monday, the 15th the Sunday before. */
	SERIES("weekly", "keep-weekly=3", "2026-11-21T12:00:00Z", false, SNAPSHOT_BASE,
		{"2026-11-21T02:00:00Z", "weekly 1 of 3"}, {"2026-11-16T00:00:00Z", DROPPED},
		{"2026-11-15T23:59:59Z", "weekly 2 of 3"}, {"2026-11-09T00:00:00Z", DROPPED},
		{"2026-11-08T23:59:59Z", "weekly 3 of 3"}, {"2026-11-01T00:00:00Z", DROPPED});
	/* ISO week 53 of 2026 runs from Monday, 28 December to Sunday, 3 January. */
	SERIES("a week over New Year", "keep-weekly=2", "2027-01-20T00:00:00Z", false, SNAPSHOT_BASE,
		{"2027-01-04T00:00:00Z", "weekly 1 of 2"}, {"2027-01-03T23:00:00Z", "weekly 2 of 2"},
		{"2026-12-28T00:00:00Z", DROPPED}, {"2026-12-27T23:59:59Z", DROPPED});
	SERIES("monthly", "keep-monthly=4", "2027-03-02T00:00:00Z", false, SNAPSHOT_BASE,
		{"2027-03-01T00:00:00Z", "monthly 1 of 4"}, {"2027-02-28T23:59:59Z", "monthly 2 of 4"},
		{"2027-02-01T00:00:00Z", DROPPED}, {"2027-01-31T00:00:00Z", "monthly 3 of 4"},
		{"2026-12-31T23:59:59Z", "monthly 4 of 4"}, {"2026-11-30T00:00:00Z", DROPPED});
	/* The same month of another year is another month. */
	SERIES("months and years", "keep-monthly=2", "2027-03-02T00:00:00Z", false, SNAPSHOT_BASE,
		{"2026-11-20T00:00:00Z", "monthly 1 of 2"}, {"2025-11-20T00:00:00Z", "monthly 2 of 2"});
	SERIES("yearly", "keep-yearly=2", "2028-03-02T00:00:00Z", false, SNAPSHOT_BASE,
		{"2028-02-29T12:00:00Z", "yearly 1 of 2"}, {"2028-01-01T00:00:00Z", DROPPED},
		{"2027-12-31T23:59:59Z", "yearly 2 of 2"}, {"2026-12-31T00:00:00Z", DROPPED});
	/* Zones do not matter: it is UTC's day. */
	SERIES("before 1970", "keep-daily=2 keep-weekly=2", "2026-01-01T00:00:00Z", false, SNAPSHOT_BASE,
		{"1969-12-31T23:59:59Z", "daily 1 of 2, weekly 1 of 2"}, {"1969-12-31T00:00:00Z", DROPPED},
		{"1969-12-29T00:00:00Z", "daily 2 of 2"}, {"1969-12-28T23:59:59Z", "weekly 2 of 2"});
}
END_TEST

START_TEST(test_together)
{
	SERIES("grandfather, father, son",
		"keep-last=2 keep-daily=2 keep-weekly=2 keep-monthly=2 keep-yearly=2", "2026-11-21T12:00:00Z",
		false, SNAPSHOT_BASE,
		{"2026-11-21T11:00:00Z",
			"newest, daily 1 of 2, weekly 1 of 2, monthly 1 of 2, yearly 1 of 2"},
		{"2026-11-21T10:00:00Z", "last 2 of 2"}, {"2026-11-21T09:00:00Z", DROPPED},
		{"2026-11-20T11:00:00Z", "daily 2 of 2"}, {"2026-11-14T00:00:00Z", "weekly 2 of 2"},
		{"2026-10-31T00:00:00Z", "monthly 2 of 2"}, {"2025-01-01T00:00:00Z", "yearly 2 of 2"},
		{"2024-01-01T00:00:00Z", DROPPED});
	SERIES("tags", "keep-last=1 keep-tag=monthly-close keep-tag=x", "2026-11-21T12:00:00Z", false,
		SNAPSHOT_BASE, {"2026-11-21T11:00:00Z", "newest, tag x", "x"},
		{"2026-11-20T11:00:00Z", "tag monthly-close", "a monthly-close b"},
		{"2026-11-19T11:00:00Z", "tag monthly-close, tag x", "x monthly-close"},
		{"2026-11-18T11:00:00Z", DROPPED, "monthly-close2 xx monthly"},
		{"2026-11-17T11:00:00Z", DROPPED, ""}, {"2026-11-16T11:00:00Z", DROPPED});
}
END_TEST

START_TEST(test_never_all)
{
	SERIES("the newest base backup stays", "keep-tag=x", "2026-11-21T12:00:00Z", false, SNAPSHOT_BASE,
		{"2026-11-21T11:00:00Z", "the last good backup of main"}, {"2026-11-20T11:00:00Z", DROPPED});
	SERIES("also a very old one", "keep-days=7", "2036-11-21T12:00:00Z", false, SNAPSHOT_BASE,
		{"2026-11-21T11:00:00Z", "the last good backup of main"}, {"2026-11-20T11:00:00Z", DROPPED});
	SERIES("unless forced", "keep-days=7", "2036-11-21T12:00:00Z", true, SNAPSHOT_BASE,
		{"2026-11-21T11:00:00Z", DROPPED}, {"2026-11-20T11:00:00Z", DROPPED});
	SERIES("dumps are no base backups", "keep-days=7", "2036-11-21T12:00:00Z", false, SNAPSHOT_DUMP,
		{"2026-11-21T11:00:00Z", DROPPED});
	SERIES("damage is kept, takes no place, and is not the last good one", "keep-last=1",
		"2026-11-21T12:00:00Z", false, SNAPSHOT_BASE,
		{"2026-11-21T11:00:00Z", "it cannot be read: torn", NULL, "torn"},
		{"2026-11-20T11:00:00Z", "newest"}, {"2026-11-19T11:00:00Z", DROPPED},
		{"2026-11-18T11:00:00Z", "it cannot be read: torn", NULL, "torn"});
	SERIES("damage with force", "keep-tag=x", "2026-11-21T12:00:00Z", true, SNAPSHOT_BASE,
		{"2026-11-21T11:00:00Z", "it cannot be read: torn", NULL, "torn"},
		{"2026-11-20T11:00:00Z", DROPPED});
	SERIES("the future takes no place", "keep-last=2 keep-yearly=1", "2026-11-21T12:00:00Z", false,
		SNAPSHOT_BASE, {"2099-01-01T00:00:00Z", "it ends in the future: look at the clocks"},
		{"2026-11-21T12:00:00.1Z", "it ends in the future: look at the clocks"},
		{"2026-11-20T11:00:00Z", "newest, yearly 1 of 1"}, {"2026-11-19T11:00:00Z", "last 2 of 2"},
		{"2026-11-18T11:00:00Z", DROPPED});
	SERIES("a clock set back drops nothing", "keep-last=1", "2001-01-01T00:00:00Z", false, SNAPSHOT_BASE,
		{"2026-11-20T11:00:00Z", "it ends in the future: look at the clocks"},
		{"2026-11-19T11:00:00Z", "it ends in the future: look at the clocks"});
	SERIES("only wal-days: there is no rule for snapshots", "wal-days=3", "2026-11-21T12:00:00Z", false,
		SNAPSHOT_BASE, {"2026-11-20T11:00:00Z", "there is no rule for main/base"},
		{"2026-11-19T11:00:00Z", "there is no rule for main/base"});
}
END_TEST

/* Of the same second, the one that was published later is newer. */
START_TEST(test_same_second)
{
	static const char *const ids[] = {
		"2026-11-20T02-15-07Z", "2026-11-20T02-15-07Z-2", "2026-11-20T02-15-07Z-10"};
	struct retention_sets sets = {0};
	struct retention_options o = {.sets = &sets, .now = at("2026-11-21T00:00:00Z")};
	struct retention_item v[3] = {0};

	add_rules(&sets, "retention", "keep-last=1");
	for (size_t i = 0; i < 3; i++)
		v[i] = (struct retention_item){.cluster = "main",
			.kind = SNAPSHOT_BASE,
			.id = ids[i],
			.stop = at("2026-11-20T02:15:07Z")};
	ck_assert_int_eq(retention_decide(&o, v, 3), 0);
	ck_assert_str_eq(v[0].id, ids[2]);
	ck_assert(!v[0].drop && v[1].drop && v[2].drop);
	retention_sets_release(&sets);
}
END_TEST

/* ---- several series ---- */

START_TEST(test_series)
{
	struct retention_item v[] = {
		{.cluster = "a", .kind = SNAPSHOT_BASE, .id = "a1", .stop = {100, 0}},
		{.cluster = "a", .kind = SNAPSHOT_BASE, .id = "a2", .stop = {200, 0}},
		{.cluster = "b", .kind = SNAPSHOT_BASE, .id = "b1", .stop = {100, 0}},
		{.cluster = "b", .kind = SNAPSHOT_BASE, .id = "b2", .stop = {200, 0}},
		{.cluster = "b", .kind = SNAPSHOT_DUMP, .id = "b3", .database = "x", .stop = {100, 0}},
		{.cluster = "b", .kind = SNAPSHOT_DUMP, .id = "b4", .database = "x", .stop = {200, 0}},
		{.cluster = "b", .kind = SNAPSHOT_DUMP, .id = "b5", .database = "y", .stop = {50, 0}},
		{.cluster = "b", .kind = SNAPSHOT_GLOBALS, .id = "b6", .stop = {50, 0}},
		{.cluster = "b", .kind = SNAPSHOT_GLOBALS, .id = "b7", .stop = {60, 0}},
	};
	static const struct {
		const char *rules[3][2]; /* section, rules */
		enum snapshot_kind kind;
		const char *cluster, *dropped;
	} cases[] = {
		{{{"retention", "keep-last=1"}}, 0, NULL, " a1 b1 b3 b6"},
		{{{"retention", "keep-last=1"}}, SNAPSHOT_DUMP, NULL, " b3"},
		{{{"retention", "keep-last=1"}}, 0, "a", " a1"},
		{{{"retention", "keep-last=1"}}, SNAPSHOT_BASE, "b", " b1"},
		{{{"retention", "keep-last=1"}}, SNAPSHOT_BASE, "none", ""},
		{{{"retention a", "keep-last=1"}}, 0, NULL, " a1"},
		/* The most special one counts, as a whole. */
		{{{"retention", "keep-last=1"}, {"retention b", "keep-tag=x"}}, 0, NULL,
			" a1 b1 b3 b4 b5 b6 b7"},
		{{{"retention", "keep-last=1"}, {"retention b", "keep-last=2"}}, 0, NULL, " a1"},
		{{{"retention", "keep-last=2"}, {"retention b dump", "keep-last=1"}}, 0, NULL, " b3"},
		{{{"retention", "keep-last=2"}, {"retention * globals", "keep-last=1"}}, 0, NULL, " b6"},
		{{{"retention * base", "keep-last=1"}, {"retention b", "keep-last=2"}}, 0, NULL, " a1"},
		{{{"retention b", "keep-last=2"}, {"retention b base", "keep-last=1"},
			 {"retention", "keep-last=1"}},
			0, NULL, " a1 b1"},
		{{{"retention *", "keep-last=1"}}, 0, NULL, " a1 b1 b3 b6"},
	};
	size_t n = sizeof(v) / sizeof(*v);

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct retention_sets sets = {0};
		struct retention_options o = {
			.sets = &sets, .kind = cases[i].kind, .cluster = cases[i].cluster, .now = {1000, 0}};
		char dropped[100] = "", id[4];

		for (size_t k = 0; k < 3 && cases[i].rules[k][0]; k++)
			add_rules(&sets, cases[i].rules[k][0], cases[i].rules[k][1]);
		ck_assert_int_eq(retention_decide(&o, v, n), 0);
		/* In the order of their names, which is not the order of the decision. */
		for (char c = 'a'; c <= 'b'; c++)
			for (char d = '1'; d <= '9'; d++)
				for (size_t k = 0; k < n; k++) {
					snprintf(id, sizeof(id), "%c%c", c, d);
					if (!strcmp(v[k].id, id) && v[k].drop)
						strcat(strcat(dropped, " "), id);
				}
		ck_assert_msg(!strcmp(dropped, cases[i].dropped), "case %zu: dropped%s", i, dropped);
		for (size_t k = 0; k < n; k++)
			ck_assert_msg(!v[k].reason[0] == !retention_chosen(&o, &v[k]), "case %zu: %s %s", i,
				v[k].id, v[k].reason);
		retention_sets_release(&sets);
	}
	ck_assert_int_eq(
		retention_decide(&(struct retention_options){.sets = &(struct retention_sets){0}}, v, n), 0);
	for (size_t k = 0; k < n; k++)
		ck_assert(!v[k].drop);
}
END_TEST

/* What must hold whatever the rules are: random ones against random series. */
START_TEST(test_any_rules)
{
	uint64_t rng = check_seed();

	for (int round = 0; round < 3000; round++) {
		struct retention_sets sets = {0};
		struct retention_options o = {.sets = &sets, .now = {100 * 86400, 0}};
		struct retention_item v[30];
		static char ids[30][8];
		size_t n = check_rand_below(&rng, 31), kept = 0, past = 0;
		struct retention_set *set;
		uint32_t last;

		ck_assert_int_eq(retention_section(&sets, "retention", &set, NULL), 0);
		last = (uint32_t)check_rand_below(&rng, 4);
		for (enum rule r = RULE_DAYS; r <= RULE_YEARLY; r++)
			set->rules.n[r] =
				check_rand_below(&rng, 3) ? 0 : 1 + (uint32_t)check_rand_below(&rng, 9);
		set->rules.n[RULE_LAST] = last;
		o.force = !check_rand_below(&rng, 4);
		for (size_t i = 0; i < n; i++) {
			snprintf(ids[i], sizeof(ids[i]), "i%zu", i);
			v[i] = (struct retention_item){.cluster = "main",
				.kind = SNAPSHOT_BASE,
				.id = ids[i],
				.stop = {(int64_t)check_rand_below(&rng, 105 * 86400), 0},
				.damage = check_rand_below(&rng, 9) ? NULL : "torn"};
		}
		ck_assert_int_eq(retention_decide(&o, v, n), 0);
		for (size_t i = 0; i < n; i++) {
			ck_assert(v[i].reason[0] && (!v[i].drop || (!v[i].damage && !v[i].future)));
			ck_assert_int_eq(v[i].future, !v[i].damage && v[i].stop.sec > 100 * 86400);
			past += !v[i].damage && !v[i].future;
			kept += !v[i].damage && !v[i].future && !v[i].drop;
		}
		if (!o.force || !retention_keeps_snapshots(&set->rules))
			ck_assert_msg(!past || kept, "round %d", round);
		ck_assert_uint_ge(kept, past < last ? past : last);
		retention_sets_release(&sets);
	}
}
END_TEST

/* ---- WAL ---- */

struct base {
	unsigned tli;
	uint64_t start, stop; /* segments: the backup's first, and that of its last byte; stop 0: not known */
	int64_t day;	      /* it ended on */
	bool dropped, damaged;
};

struct wal_case {
	const char *what;
	struct base v[4];
	const char *rules;
	bool force;
	/* Of the files 1 to 30 on timelines 1 to 3: which stay, as "1-3,7,10-"; "" none; and a word of a reason. */
	const char *stay, *reason;
};

static bool listed(const char *ranges, uint64_t no)
{
	for (const char *s = ranges; *s;) {
		char *end;
		uint64_t a = strtoull(s, &end, 10), b = a;

		if (*end == '-')
			b = end[1] && end[1] != ',' ? strtoull(end + 1, &end, 10) : (end++, UINT64_MAX);
		if (no >= a && no <= b)
			return true;
		s = *end ? end + 1 : end;
	}
	return false;
}

static size_t fill_bases(const struct base *b, struct retention_item *v, char ids[4][8])
{
	size_t n = 0;

	for (; n < 4 && b[n].tli; n++) {
		snprintf(ids[n], 8, "b%zu", n + 1);
		v[n] = (struct retention_item){.cluster = "main",
			.kind = SNAPSHOT_BASE,
			.id = ids[n],
			.stop = {b[n].day * 86400, 0},
			.tli = {b[n].tli},
			.start_lsn = {b[n].start * SEG + 40},
			.stop_lsn = {b[n].stop ? (b[n].stop + 1) * SEG : 0},
			.segment_size = SEG,
			.drop = b[n].dropped,
			.damage = b[n].damaged ? "torn" : NULL};
	}
	return n;
}

START_TEST(test_wal)
{
	static const struct wal_case cases[] = {
		{"from the oldest that is kept", {{1, 5, 6, 50}, {1, 10, 11, 60}, {1, 20, 21, 70}},
			"keep-last=9", false, "5-", "from base/b1 on, the oldest"},
		{"what is dropped needs nothing", {{1, 5, 6, 50, true}, {1, 10, 11, 60}, {1, 20, 21, 70}},
			"keep-last=2", false, "10-", "from base/b2 on"},
		{"a window: the newest that ended long enough ago",
			{{1, 5, 6, 50}, {1, 10, 11, 60}, {1, 20, 21, 99}}, "wal-days=14", false, "5-6,10-",
			"14 days of WAL, from base/b2 on"},
		{"a window of one day", {{1, 5, 6, 50}, {1, 10, 11, 60}, {1, 20, 21, 99}}, "wal-days=1",
			false, "5-6,10-11,20-", "1 day of WAL, from base/b3 on"},
		{"the second itself is long enough ago", {{1, 5, 6, 50}, {1, 10, 11, 86}, {1, 20, 21, 99}},
			"wal-days=14", false, "5-6,10-", "from base/b2 on"},
		{"none is that old: the oldest", {{1, 10, 11, 95}, {1, 20, 21, 99}}, "wal-days=14", false,
			"10-", "from base/b1 on"},
		{"a window from a backup that is dropped is none", {{1, 5, 6, 50, true}, {1, 10, 11, 95}},
			"wal-days=14", false, "10-", "from base/b2 on"},
		{"a later backup of a timeline that branched off before", {{1, 20, 21, 50}, {2, 8, 9, 95}},
			"wal-days=14", false, "8-", "from base/b2 on"},
		{"an older backup whose end is not known", {{1, 5, 0, 50}, {1, 20, 21, 60}}, "wal-days=14",
			false, "5-", "from base/b1 on"},
		{"one segment", {{1, 5, 5, 50}, {1, 20, 20, 60}}, "wal-days=14", false, "5,20-",
			"from base/b2 on"},
		{"overlapping", {{1, 5, 9, 50}, {2, 7, 12, 51}, {1, 20, 20, 60}}, "wal-days=14", false,
			"5-12,20-", "from base/b3 on"},
		{"no base backup is kept", {{1, 5, 6, 50, true}}, "keep-last=1", false, "1-",
			"no base backup of main is kept"},
		{"nor with force", {{1, 5, 6, 50, true}}, "keep-last=1", true, "",
			"no base backup of main is kept"},
		{"never had one", {{0}}, "keep-last=1", false, "1-", "no base backup of main is kept"},
		{"a damaged one", {{1, 5, 6, 50, false, true}, {1, 20, 21, 60}}, "keep-last=1", false, "1-",
			"base/b1 does not tell"},
		{"a damaged one with force", {{1, 5, 6, 50, false, true}, {1, 20, 21, 60}}, "keep-last=1",
			true, "20-", "from base/b2 on"},
		{"no rule", {{1, 5, 6, 50}}, NULL, false, "1-", "there is no rule"},
		{"no rule, with force", {{1, 5, 6, 50}}, NULL, true, "1-", "there is no rule"},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		const struct wal_case *c = &cases[i];
		struct retention_item v[4] = {0};
		char ids[4][8], name[64], segment[WAL_NAME_TEXT];
		size_t n = fill_bases(c->v, v, ids);
		struct retention_sets sets = {0};
		struct retention_wal w = {0};
		struct err e = {0};
		const char *reason = NULL;
		bool seen = false;

		if (c->rules)
			add_rules(&sets, "retention", c->rules);
		ck_assert_int_eq(retention_wal_plan(v, n, "main", retention_for(&sets, "main", SNAPSHOT_BASE),
					 (struct tstamp){100 * 86400, 0}, c->force, &w, &e),
			0);
		for (uint32_t t = 1; t <= 3; t++)
			for (uint64_t no = 1; no <= 30; no++) {
				static const char *const ends[] = {"", ".partial", ".00000028.backup"};

				wal_name((struct tli){t}, (struct segno){no}, SEG, segment);
				for (size_t k = 0; k < 3; k++) {
					snprintf(name, sizeof(name), "%s%s", segment, ends[k]);
					ck_assert_msg(
						retention_wal_keeps(&w, name, &reason) == listed(c->stay, no),
						"%s: %s (%s)", c->what, name, reason);
					seen = seen || strstr(reason, c->reason);
				}
			}
		ck_assert_msg(seen, "%s: no reason has \"%s\"", c->what, c->reason);
		/* Whatever happens to the rest. */
		ck_assert(retention_wal_keeps(&w, "00000002.history", &reason));
		ck_assert(retention_wal_keeps(&w, "notes", &reason));
		ck_assert(retention_wal_keeps(&w, "000000010000000000000001.gz", &reason));
		ck_assert(retention_wal_keeps(&w, "000000010000000000000001.0000002.backup", &reason));
		ck_assert(retention_wal_keeps(&w, "00000001000000000000000a", &reason));
		retention_wal_release(&w);
		retention_sets_release(&sets);
	}
}
END_TEST

START_TEST(test_wal_odd)
{
	struct retention_sets sets = {0};
	struct retention_wal w = {0};
	struct retention_item v[] = {
		{.cluster = "main",
			.kind = SNAPSHOT_BASE,
			.id = "x",
			.start_lsn = {SEG},
			.segment_size = SEG},
		{.cluster = "main",
			.kind = SNAPSHOT_BASE,
			.id = "y",
			.start_lsn = {SEG},
			.segment_size = SEG},
		{.cluster = "main", .kind = SNAPSHOT_DUMP, .id = "z"},
		{.cluster = "other", .kind = SNAPSHOT_BASE, .id = "o"},
	};
	const struct retention_rules *r;
	const char *reason;
	struct err e = {0};

	add_rules(&sets, "retention", "keep-last=1");
	r = retention_for(&sets, "main", SNAPSHOT_BASE);
	/* Sizes that differ: numbers cannot be compared. */
	v[1].segment_size = SEG / 2;
	ck_assert_int_eq(retention_wal_plan(v, 4, "main", r, (struct tstamp){0}, true, &w, &e), 0);
	ck_assert(retention_wal_keeps(&w, "000000010000000000000001", &reason));
	ck_assert(strstr(reason, "different size"));
	retention_wal_release(&w);
	/* No size, no position. */
	for (int i = 0; i < 2; i++) {
		v[1].segment_size = i ? SEG : 0;
		v[1].start_lsn.v = i ? 0 : SEG;
		ck_assert_int_eq(retention_wal_plan(v, 4, "main", r, (struct tstamp){0}, false, &w, &e), 0);
		ck_assert(retention_wal_keeps(&w, "000000010000000000000000", &reason));
		ck_assert(strstr(reason, "does not tell"));
		retention_wal_release(&w);
	}
	/* Segments of another size than the backups' are none of theirs. */
	v[1] = v[0];
	v[0].segment_size = v[1].segment_size = 1u << 30;
	v[0].start_lsn.v = v[1].start_lsn.v = 20ull << 30;
	ck_assert_int_eq(retention_wal_plan(v, 4, "main", r, (struct tstamp){0}, false, &w, &e), 0);
	ck_assert(retention_wal_keeps(&w, "0000000100000000000000AA", &reason));
	ck_assert(!retention_wal_keeps(&w, "000000010000000400000003", &reason));
	ck_assert(retention_wal_keeps(&w, "000000010000000500000000", &reason));
	retention_wal_release(&w);
	retention_sets_release(&sets);
}
END_TEST

/* ---- rules as they are written ---- */

START_TEST(test_rules)
{
	static const struct {
		const char *name, *value, *word; /* word NULL: fine */
	} cases[] = {
		{"keep-last", "3", NULL},
		{"keep-days", "1000000", NULL},
		{"keep-yearly", "007", NULL},
		{"wal-days", "1", NULL},
		{"keep-tag", "monthly-close", NULL},
		{"keep-tag", "a.B_9", NULL},
		{"keep-last", "0", "not a number from 1"},
		{"keep-last", "", "not a number from 1"},
		{"keep-last", "-1", "not a number from 1"},
		{"keep-last", "3d", "not a number from 1"},
		{"keep-last", " 3", "not a number from 1"},
		{"keep-last", "1000001", "not a number from 1"},
		{"keep-last", "99999999999999999999999999", "not a number from 1"},
		{"keep-lasts", "3", "there is no rule \"keep-lasts\""},
		{"", "3", "there is no rule"},
		{"keep-tag", "", "cannot be a tag"},
		{"keep-tag", "a b", "cannot be a tag"},
		{"keep-tag", "\xc3\xa4", "cannot be a tag"},
		{"keep-tag", "1234567890123456789012345678901234567890123456789012345678901234",
			"cannot be a tag"},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct retention_rules r = {0};
		struct err e = {0};
		int got = retention_add(&r, cases[i].name, cases[i].value, &e);

		ck_assert_msg(got == (cases[i].word ? -EINVAL : 0), "case %zu: %s", i, e.text);
		ck_assert_msg(!cases[i].word || strstr(e.text, cases[i].word), "case %zu: %s", i, e.text);
		ck_assert_int_eq(retention_is_empty(&r), got < 0);
		ck_assert_int_eq(retention_keeps_snapshots(&r), !got && strcmp(cases[i].name, "wal-days"));
		if (!got && strcmp(cases[i].name, "keep-tag"))
			ck_assert_int_eq(retention_add(&r, cases[i].name, cases[i].value, &e), -EINVAL);
		retention_rules_release(&r);
	}
}
END_TEST

START_TEST(test_tags)
{
	const char *given[] = {"b", "a", "b", "c-1"}, *wrong[] = {"a", "b c"};
	char *text = NULL;
	struct err e = {0};

	ck_assert_int_eq(tags_join(&(struct cmd_list){given, 4}, &text, &e), 0);
	ck_assert_str_eq(text, "b a c-1");
	free(text);
	ck_assert_int_eq(tags_join(&(struct cmd_list){0}, &text, &e), 0);
	ck_assert_ptr_null(text);
	ck_assert_int_eq(tags_join(&(struct cmd_list){wrong, 2}, &text, &e), -EINVAL);
	ck_assert_ptr_null(text);
	ck_assert(tags_have("b a c-1", "c-1") && tags_have("b", "b") && !tags_have("b a c-1", "c") &&
		  !tags_have("ab", "b") && !tags_have(NULL, "b") && !tags_have("", "b"));
}
END_TEST

static void put_file(const char *path, const char *text)
{
	FILE *f = fopen(path, "w");

	ck_assert(f && fputs(text, f) >= 0 && fclose(f) == 0);
}

START_TEST(test_config)
{
	static const struct {
		const char *text, *word;
	} bad[] = {
		{"[retention]\nkeep-last=0\n", "line 2: keep-last: \"0\" is not a number"},
		{"[retention]\nkeep-last=\n", "line 2: keep-last: \"\" is not a number"},
		{"[retention]\nkeep-last=1\nkeep-last=2\n", "line 3: keep-last is given twice"},
		{"[retention]\nkeeplast=1\n", "line 2: there is no rule \"keeplast\""},
		{"[retentions]\nkeep-last=1\n", "line 2: [retentions] is not"},
		{"[retention -x]\nkeep-last=1\n", "line 2: "},
		{"[retention main bases]\nkeep-last=1\n", "line 2: [retention main bases]: \"bases\" is not"},
		{"[retention main base x]\nkeep-last=1\n", "line 2: [retention main base x] is not"},
		{"[pgstrata]\nkeep-last=1\n", "line 2: unknown key"},
		{"[retention]\nrepo=/a\n", "line 2: there is no rule \"repo\""},
		/* libinih would cut it, and the rules would be another cluster's. */
		{"[retention c23456789012345678901234567890123456789012345678]\nkeep-last=1\n",
			"line 2: the name of a section has at most"},
	};
	char *dir = check_tempdir(), *path = io_join(dir, "c");
	struct config cfg = {0};
	struct err e = {0};
	const struct retention_rules *r;

	put_file(path, "[pgstrata]\nrepo=/r\n[retention]\nkeep-last = 3\nwal-days = 14\nkeep-tag=a\nkeep-tag "
		       "= b ; why\n"
		       "[retention main]\nkeep-daily=7\n[retention main dump]\nkeep-days=30\n");
	ck_assert_msg(config_read(path, &cfg, &e) == 0, "%s", e.text);
	r = retention_for(&cfg.retention, "x", SNAPSHOT_BASE);
	ck_assert(r && r->n[RULE_LAST] == 3 && r->n[RULE_WAL_DAYS] == 14 && r->n_tags == 2);
	ck_assert_str_eq(r->tags[1], "b");
	r = retention_for(&cfg.retention, "main", SNAPSHOT_BASE);
	ck_assert(r && !r->n[RULE_LAST] && r->n[RULE_DAILY] == 7 && !r->n_tags);
	r = retention_for(&cfg.retention, "main", SNAPSHOT_DUMP);
	ck_assert(r && r->n[RULE_DAYS] == 30 && !r->n[RULE_DAILY]);
	/* A later file's section replaces the whole section; the others stay. */
	put_file(path, "[retention]\nkeep-last = 5\n");
	ck_assert_int_eq(config_read(path, &cfg, &e), 0);
	r = retention_for(&cfg.retention, "x", SNAPSHOT_BASE);
	ck_assert(r && r->n[RULE_LAST] == 5 && !r->n[RULE_WAL_DAYS] && !r->n_tags);
	ck_assert(retention_for(&cfg.retention, "main", SNAPSHOT_DUMP)->n[RULE_DAYS] == 30);
	config_release(&cfg);
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		put_file(path, bad[i].text);
		e = (struct err){0};
		ck_assert_msg(config_read(path, &cfg, &e) == -EINVAL, "case %zu", i);
		ck_assert_msg(strstr(e.text, bad[i].word), "case %zu: %s", i, e.text);
		ck_assert_uint_eq(cfg.retention.n, 0);
		config_release(&cfg);
	}
	check_rmtree(dir);
	free(dir);
	free(path);
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("cmd_retention");
	TCase *c = tcase_create("all");

	tcase_add_test(c, test_last_and_days);
	tcase_add_test(c, test_periods);
	tcase_add_test(c, test_together);
	tcase_add_test(c, test_never_all);
	tcase_add_test(c, test_same_second);
	tcase_add_test(c, test_series);
	tcase_add_test(c, test_any_rules);
	tcase_add_test(c, test_wal);
	tcase_add_test(c, test_wal_odd);
	tcase_add_test(c, test_rules);
	tcase_add_test(c, test_tags);
	tcase_add_test(c, test_config);
	suite_add_tcase(s, c);
	return s;
}

CHECK_MAIN(suite)
