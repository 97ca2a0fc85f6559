/* What can be recovered at all, what a listing shows, and the settings and JSON of a point. */
#include <jansson.h>
#include <pthread.h>

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

static struct pit_window window(void)
{
	struct pit_window w;

	pit_free(pit);
	fx_ok(pit_new(f.s, "main", NULL, &pit, &e), &e);
	fx_ok(pit_window(pit, &w, &e), &e);
	return w;
}

/* Eight segments: a commit an hour, backups at hour 0 and hour 4, a restore point in each segment but the first. */
struct hours {
	struct wal_make w;
	uint64_t start[2], stop[2], end;
	char *id[2];
};

static struct hours hours(void)
{
	struct hours h = {.w = pf_wal()};

	for (unsigned i = 0; i < 8; i++) {
		char name[20];

		snprintf(name, sizeof(name), "hour %u", i);
		if (i % 4 == 0) {
			h.start[i / 4] = wal_make_pos(&h.w);
			pf_backup_end(&h.w, h.start[i / 4]);
			h.stop[i / 4] = wal_make_pos(&h.w);
		} else {
			pf_name(&h.w, name, 3600 * i + 1800);
		}
		pf_commit(&h.w, 700 + i, 3600 * i + 600);
		pf_next(&h.w);
	}
	h.end = wal_make_pos(&h.w);
	return h;
}

static void hours_backups(struct hours *h)
{
	for (unsigned i = 0; i < 2; i++)
		h->id[i] = pf_backup(f.s, &(struct pf_backup){.start = h->start[i],
						  .stop = h->stop[i],
						  .from = 4 * 3600 * i + 100,
						  .to = 4 * 3600 * i + 200});
}

static void hours_free(struct hours *h)
{
	free(h->id[0]);
	free(h->id[1]);
	buf_free(&h->w.out);
}

START_TEST(empty)
{
	struct pit_window w = window();

	ck_assert(!w.open && !w.last_backup && !w.backups && !*w.last_wal && !w.n_gaps);
	pit_window_release(&w);
}
END_TEST

START_TEST(from_and_to)
{
	struct hours h = hours();
	struct pit_window w;
	char name[WAL_NAME_TEXT];

	pf_archive_all(f.s, &h.w);
	w = window();
	ck_assert(!w.open && !w.backups);
	ck_assert_str_eq(w.last_wal, pf_segment_name(1, h.end / PF_SEG, name));
	ck_assert(w.last_wal_put.sec > PF_T0 - 86400 && !w.has_last_wal_time);
	pit_window_release(&w);
	hours_backups(&h);
	w = window();
	ck_assert(w.open && w.backups == 2 && !w.n_gaps && w.tli.v == 1);
	ck_assert_str_eq(w.last_backup->id, h.id[1]);
	ck_assert_uint_eq(w.from_lsn.v, h.stop[0]);
	ck_assert_uint_eq(w.to_lsn.v, h.end);
	ck_assert_int_eq(w.from_time.sec, PF_T0 + 200);
	ck_assert_int_eq(w.to_time.sec, PF_T0 + 7 * 3600 + 600);
	pit_window_release(&w);
	hours_free(&h);
}
END_TEST

START_TEST(holes)
{
	struct hours h = hours();
	struct pit_window w;
	char name[WAL_NAME_TEXT];

	hours_backups(&h);
	pf_archive_all(f.s, &h.w);
	pf_lose(&f, 1, PF_FIRST + 2);
	pf_lose(&f, 1, PF_FIRST + 3);
	w = window();
	ck_assert_uint_eq(w.n_gaps, 1);
	ck_assert_str_eq(w.gaps[0].first, pf_segment_name(1, PF_FIRST + 2, name));
	ck_assert_str_eq(w.gaps[0].last, pf_segment_name(1, PF_FIRST + 3, name));
	ck_assert_uint_eq(w.gaps[0].segments, 2);
	/* The older backup leads into the hole only. */
	ck_assert(w.open && w.from_lsn.v == h.stop[1] && w.to_lsn.v == h.end);
	pit_window_release(&w);
	pf_lose(&f, 1, PF_FIRST + 4);
	pf_lose(&f, 1, PF_FIRST + 6);
	w = window();
	ck_assert_uint_eq(w.n_gaps, 2);
	/* Nor does the newer one lead anywhere, whose own WAL is missing. */
	ck_assert(w.open && w.from_lsn.v == h.stop[0]);
	ck_assert_int_eq(w.to_time.sec, PF_T0 + 3600 + 600);
	pit_window_release(&w);
	pf_lose(&f, 1, PF_FIRST);
	w = window();
	ck_assert(!w.open && w.n_gaps == 3);
	pit_window_release(&w);
	hours_free(&h);
}
END_TEST

/* What leads from one backup to the next, and all of it: prune took that. */
START_TEST(pruned_between_backups)
{
	struct hours h = hours();
	struct pit_window w;

	hours_backups(&h);
	pf_archive_all(f.s, &h.w);
	for (uint64_t no = PF_FIRST + 1; no < PF_FIRST + 4; no++)
		pf_lose(&f, 1, no);
	w = window();
	ck_assert_uint_eq(w.n_gaps, 0);
	ck_assert(w.open && w.from_lsn.v == h.stop[1] && w.to_lsn.v == h.end);
	pit_window_release(&w);
	hours_free(&h);
}
END_TEST

/* The first backup was taken before anything was archived. Its window ends with it, until a backup behind the hole begins
 * another one. */
START_TEST(archived_after_a_backup)
{
	struct hours h = hours();
	struct pit_window w;
	char name[WAL_NAME_TEXT];

	h.id[0] = pf_backup(
		f.s, &(struct pf_backup){.start = h.start[0], .stop = h.stop[0], .to = 200, .own_wal = true});
	pf_archive(f.s, &h.w, PF_FIRST + 3, PF_FIRST + 8);
	w = window();
	ck_assert(w.n_gaps == 1 && w.gaps[0].ends_window && w.to_lsn.v == h.stop[0]);
	ck_assert_str_eq(w.gaps[0].first, pf_segment_name(1, PF_FIRST, name));
	ck_assert_str_eq(w.gaps[0].last, pf_segment_name(1, PF_FIRST + 2, name));
	pit_window_release(&w);
	h.id[1] = pf_backup(
		f.s, &(struct pf_backup){
			     .start = h.start[1], .stop = h.stop[1], .from = 4 * 3600, .to = 4 * 3600 + 9});
	w = window();
	ck_assert(w.open && !w.n_gaps && w.from_lsn.v == h.stop[1]);
	pit_window_release(&w);
	/* What is missing in the middle of what was archived is a gap, also before the window. */
	pf_archive(f.s, &h.w, PF_FIRST, PF_FIRST + 2);
	w = window();
	ck_assert(w.open && w.n_gaps == 1 && !w.gaps[0].ends_window && w.from_lsn.v == h.stop[1]);
	pit_window_release(&w);
	hours_free(&h);
}
END_TEST

/* A backup that carries its WAL needs nothing archived of before its end. */
START_TEST(archive_begins_late)
{
	struct hours h = hours();
	struct pit_window w;

	h.id[0] = pf_backup(f.s,
		&(struct pf_backup){.start = h.start[0], .stop = h.start[1], .to = 200, .own_wal = true});
	w = window();
	ck_assert(w.open && w.from_lsn.v == h.start[1] && w.to_lsn.v == h.start[1]);
	ck_assert_int_eq(tstamp_cmp(w.from_time, w.to_time), 0);
	pit_window_release(&w);
	pf_archive(f.s, &h.w, h.start[1] / PF_SEG, PF_FIRST + 8);
	w = window();
	ck_assert(w.open && !w.n_gaps);
	pit_window_release(&w);
	hours_free(&h);
}
END_TEST

/* ---- the listing ---- */

struct listed {
	char names[200][TARGET_TEXT];
	size_t n;
	struct tstamp last;
};

static int note_target(void *arg, const struct target *t, struct tstamp time, struct err *err)
{
	struct listed *l = arg;
	struct pit_point p;

	(void)err;
	target_name(t, l->names[l->n]);
	/* Each can be reached, and `latest` is first, then the oldest. */
	fx_ok(pit_resolve(pit, t, &p, &e), &e);
	pit_point_release(&p);
	if (l->n > 1)
		ck_assert_int_le(tstamp_cmp(l->last, time), 0);
	l->last = time;
	l->n++;
	return 0;
}

static bool has(const struct listed *l, const char *name)
{
	for (size_t i = 0; i < l->n; i++)
		if (!strcmp(l->names[i], name))
			return true;
	return false;
}

static int stop_at_once(void *arg, const struct target *t, struct tstamp time, struct err *err)
{
	(void)t;
	(void)time;
	(void)err;
	return ++*(int *)arg + 40;
}

START_TEST(listing)
{
	struct hours h = hours();
	struct listed l = {0};
	int calls = 0;

	fx_ok(pit_list(pit, 100, note_target, &l, &e), &e);
	ck_assert_uint_eq(l.n, 0);
	hours_backups(&h);
	pf_archive_all(f.s, &h.w);
	pit_free(pit);
	fx_ok(pit_new(f.s, "main", NULL, &pit, &e), &e);
	fx_ok(pit_list(pit, 100, note_target, &l, &e), &e);
	ck_assert_str_eq(l.names[0], "latest");
	ck_assert(has(&l, "name-hour 1") && has(&l, "name-hour 7") && !has(&l, "name-hour 4"));
	ck_assert(has(&l, "2026-01-01T00-03-20Z") && has(&l, "2026-01-01T04-03-20Z"));
	ck_assert(has(&l, "2026-01-01T01-00-00Z") && has(&l, "2026-01-01T07-00-00Z"));
	ck_assert(!has(&l, "2026-01-01T00-00-00Z") && !has(&l, "2026-01-01T08-00-00Z"));
	ck_assert_uint_eq(l.n, 1 + 6 + 2 + 7);
	l.n = 0;
	fx_ok(pit_list(pit, 5, note_target, &l, &e), &e);
	ck_assert_uint_eq(l.n, 5);
	ck_assert_int_eq(pit_list(pit, 5, stop_at_once, &calls, &e), 41);
	ck_assert_int_eq(calls, 1);
	hours_free(&h);
}
END_TEST

/* ---- settings ---- */

/* Reads name = 'value' lines as guc-file.l and DeescapeQuotedString do; false when it is none. */
static bool read_setting(const char **text, char *name, char *value)
{
	const char *s = *text;

	while ((*s >= 'a' && *s <= 'z') || *s == '_')
		*name++ = *s++;
	*name = 0;
	if (strncmp(s, " = '", 4) != 0)
		return false;
	for (s += 4;; s++) {
		if (*s == '\n' || !*s)
			return false;
		if (*s == '\'' && s[1] != '\'')
			break;
		if (*s == '\'') {
			*value++ = *s++;
		} else if (*s == '\\' && s[1] >= '0' && s[1] <= '7') {
			*value++ = (char)((s[1] - '0') << 6 | (s[2] - '0') << 3 | (s[3] - '0'));
			s += 3;
		} else if (*s == '\\') {
			*value++ = *++s;
		} else {
			*value++ = *s;
		}
	}
	*value = 0;
	if (s[1] != '\n')
		return false;
	*text = s + 2;
	return true;
}

/* What the settings say in the end, one a line; each name counts with its last value, empty ones not. */
static void check_settings(struct target t, const char *command, const char *name, const char *value)
{
	struct pit_point p = {.target = t, .tli = {3}};
	char names[20][100], values[20][2000], *text;
	const char *s;
	unsigned n = 0, targets = 0;
	bool found = !name, restore = false, tli = false, promote = false;

	fx_ok(pit_settings(&p, command, PIT_PAUSE, &text, &e), &e);
	ck_assert_ptr_nonnull(strstr(text, "\nrecovery_target_action = 'pause'\n"));
	ck_assert_ptr_null(strstr(text, "promote"));
	free(text);
	fx_ok(pit_settings(&p, command, PIT_PROMOTE, &text, &e), &e);
	for (s = text; *s; n++) {
		ck_assert_msg(n < 20 && read_setting(&s, names[n], values[n]), "no setting: %s", s);
		restore |= !strcmp(names[n], "restore_command") && !strcmp(values[n], command);
		tli |= !strcmp(names[n], "recovery_target_timeline") && !strcmp(values[n], "3");
		promote |= !strcmp(names[n], "recovery_target_action") && !strcmp(values[n], "promote");
		if (!strcmp(names[n], "recovery_target_time") || !strcmp(names[n], "recovery_target_lsn") ||
			!strcmp(names[n], "recovery_target_xid") ||
			!strcmp(names[n], "recovery_target_name")) {
			targets += *values[n] != 0;
			/* Empty ones are for taking back what was there, and must come before. */
			ck_assert(*values[n] || !targets);
			found |= name && !strcmp(names[n], name) && !strcmp(values[n], value);
		} else {
			ck_assert(!strcmp(names[n], "restore_command") ||
				  !strncmp(names[n], "recovery_target", 15));
		}
	}
	ck_assert_msg(restore && tli && promote && found && targets == (name != NULL), "%s", text);
	free(text);
}

START_TEST(settings)
{
	uint64_t seed = check_seed();

	check_settings(pf_target("latest"), "cp /m/main/wal/%f %p", NULL, NULL);
	check_settings(pf_target("2026-11-20T14:14:59.5+01:00"), "cp '/m n/wal/%f' %p",
		"recovery_target_time", "2026-11-20 13:14:59.500000+00");
	check_settings(pf_target("lsn-1/3000148"), "x", "recovery_target_lsn", "1/3000148");
	check_settings(pf_target("xid-4294967295"), "x", "recovery_target_xid", "4294967295");
	/* Nobody's restore point and nobody's path can end the value or the line. */
	for (int i = 0; i < 2000; i++) {
		static const char odd[] = "'\\\n\r\t#= \x01\x7f\xc3\xa4%abn01";
		struct target t = {.kind = TARGET_NAME};
		char command[100] = "";
		size_t n = 1 + check_rand_below(&seed, WAL_NAME_MAX);

		for (size_t k = 0; k < n; k++) {
			t.name[k] = odd[check_rand_below(&seed, sizeof(odd) - 1)];
			command[k] = odd[check_rand_below(&seed, sizeof(odd) - 1)];
		}
		check_settings(t, command, "recovery_target_name", t.name);
	}
	check_settings((struct target){.kind = TARGET_NAME, .name = "x'\nshared_preload_libraries = 'evil"},
		"cp /tmp/'\narchive_command = 'evil' %f %p", "recovery_target_name",
		"x'\nshared_preload_libraries = 'evil");
}
END_TEST

START_TEST(json)
{
	struct hours h = hours();
	struct target t = pf_target("name-hour 6");
	struct pit_point p;
	struct buf b = {0};
	json_t *o;

	hours_backups(&h);
	pf_archive_all(f.s, &h.w);
	pit_free(pit);
	fx_ok(pit_new(f.s, "main", NULL, &pit, &e), &e);
	fx_ok(pit_resolve(pit, &t, &p, &e), &e);
	ck_assert_int_eq(pit_point_json(&p, 2, &b), 0);
	o = json_loadb((char *)b.data, b.len, 0, NULL);
	ck_assert_ptr_nonnull(o);
	ck_assert_str_eq(json_string_value(json_object_get(o, "target")), "name-hour 6@1");
	ck_assert_str_eq(json_string_value(json_object_get(o, "backup")), h.id[1]);
	ck_assert_str_eq(json_string_value(json_object_get(o, "last_time")), "2026-01-01T05:10:00.000000Z");
	ck_assert_int_eq(json_integer_value(json_object_get(o, "last_xid")), 705);
	ck_assert_int_eq(
		json_integer_value(json_object_get(o, "replay_bytes")), (json_int_t)(p.to.v - p.from.v));
	json_decref(o);
	buf_clear(&b);
	/* A name that is not UTF-8 is shown as well as can be. */
	strcpy(p.target.name, "\xff\xfe x");
	ck_assert_int_eq(pit_point_json(&p, 0, &b), 0);
	o = json_loadb((char *)b.data, b.len, 0, NULL);
	ck_assert_str_eq(
		json_string_value(json_object_get(o, "target")), "name-\xef\xbf\xbd\xef\xbf\xbd x@1");
	json_decref(o);
	buf_free(&b);
	pit_point_release(&p);
	hours_free(&h);
}
END_TEST

/* ---- many at once ---- */

static void *ask(void *arg)
{
	static const char *const texts[] = {"latest", "xid-703", "name-hour 6", "2026-01-01T05:00:00Z",
		"lsn-0/1000100", "name-none", "xid-9", "latest@1"};
	uint64_t seed = (uint64_t)(uintptr_t)arg;

	for (int i = 0; i < 60; i++) {
		struct target t;
		struct pit_point p;
		struct pit_window w;
		struct err why = {0};

		if (target_parse(texts[check_rand_below(&seed, 8)], &t, &why) < 0)
			return "no target";
		if (pit_resolve(pit, &t, &p, &why) == 0)
			pit_point_release(&p);
		if (i % 10)
			continue;
		if (pit_window(pit, &w, &why) < 0 || !w.open)
			return "no window";
		pit_window_release(&w);
	}
	return NULL;
}

START_TEST(threads)
{
	struct hours h = hours();
	pthread_t t[4];

	hours_backups(&h);
	pf_archive_all(f.s, &h.w);
	for (uintptr_t i = 0; i < 4; i++)
		ck_assert_int_eq(pthread_create(&t[i], NULL, ask, (void *)(i + 1)), 0);
	for (int i = 0; i < 4; i++) {
		void *why;

		ck_assert_int_eq(pthread_join(t[i], &why), 0);
		ck_assert_msg(!why, "%s", (char *)why);
	}
	hours_free(&h);
}
END_TEST

/* A snapshot that is damaged is one backup less. */
START_TEST(damaged_backup)
{
	struct hours h = hours();
	struct pit_window w;
	char path[200];

	hours_backups(&h);
	pf_archive_all(f.s, &h.w);
	snprintf(path, sizeof(path), "snapshots/main/base/%s", h.id[1]);
	fx_replace(f.repo, path, "rubbish", 7);
	w = window();
	ck_assert(w.open && w.backups == 1 && w.from_lsn.v == h.stop[0]);
	pit_window_release(&w);
	hours_free(&h);
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("pit window");
	TCase *t = tcase_create("window");

	tcase_add_checked_fixture(t, set_up, tear_down);
	tcase_add_test(t, empty);
	tcase_add_test(t, from_and_to);
	tcase_add_test(t, holes);
	tcase_add_test(t, pruned_between_backups);
	tcase_add_test(t, archive_begins_late);
	tcase_add_test(t, archived_after_a_backup);
	tcase_add_test(t, listing);
	tcase_add_test(t, threads);
	tcase_add_test(t, damaged_backup);
	tcase_add_test(t, settings);
	tcase_add_test(t, json);
	suite_add_tcase(s, t);
	return s;
}

CHECK_MAIN(suite)
