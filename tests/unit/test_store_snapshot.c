/* Snapshots: golden bytes, cut, flipped; their ids, listing, publishing, and their JSON. */
#include <jansson.h>
#include <pthread.h>

#include "src/base/crc32c.h"
#include "store/snapshot_format.h"
#include "tests/unit/store_fixture.h"

#define STOP 1795140907 /* 2026-11-20T02:15:07Z */

static const char golden_hex[] =
	"'pgstSNAP' 01000000 "
	"04 'main' 01 14 '2026-11-20T02-15-07Z' 16 '2026-11-19T02-15-01Z-2' "
	"deb3fdaf0d 05 "	 /* start: a minute before, 5 ns */
	"d6b4fdaf0d 00 "	 /* stop */
	"dcb4fdaf0d ff93ebdc03 " /* created: 3 s after, 999999999 ns */
	"abababababababababababababababababababababababababababababababab "
	"03 e807 8407 5a 0a 94b4e4f4cb03 8020 00 "
	"03 05 'label' 01 0a 'nightly ' c3bc 08 'timeline' 02 ac02 0e 'data_checksums' 03 01 "
	"ec5ac050"; /* crc of all before */

static struct snapshot *golden(void)
{
	struct snapshot *s = snapshot_new();

	s->cluster = strdup("main");
	s->kind = SNAPSHOT_BASE;
	s->id = strdup("2026-11-20T02-15-07Z");
	s->parent = strdup("2026-11-19T02-15-01Z-2");
	s->start = (struct tstamp){STOP - 60, 5};
	s->stop = (struct tstamp){STOP, 0};
	s->created = (struct tstamp){STOP + 3, 999999999};
	memset(s->root.node.b, 0xab, DIGEST_LEN);
	s->root.entries = 3;
	s->root.descendants = 1000;
	s->files = 900;
	s->dirs = 90;
	s->symlinks = 10;
	s->logical_bytes = 123456789012;
	s->unique_bytes = 4096;
	ck_assert_int_eq(snapshot_put_text(s, "label", "nightly ü"), 0);
	ck_assert_int_eq(snapshot_put_number(s, "timeline", 300), 0);
	ck_assert_int_eq(snapshot_put_bool(s, "data_checksums", true), 0);
	return s;
}

START_TEST(writes_golden)
{
	struct snapshot *s = golden();
	struct buf b = {0};
	size_t n;
	uint8_t *p = fx_hex(golden_hex, &n);

	ck_assert_int_eq(snapshot_encode(s, &b), 0);
	fx_same("snapshot", b.data, b.len, p, n);
	buf_free(&b);
	free(p);
	snapshot_free(s);
	snapshot_free(NULL);
}
END_TEST

START_TEST(reads_golden)
{
	struct snapshot *s = golden(), *got;
	size_t n;
	uint8_t *p = fx_hex(golden_hex, &n), *exact = check_exact(p, n);
	struct err e = {0};

	fx_ok(snapshot_decode(exact, n, &got, &e), &e);
	ck_assert_str_eq(got->cluster, s->cluster);
	ck_assert_int_eq(got->kind, s->kind);
	ck_assert_str_eq(got->id, s->id);
	ck_assert_str_eq(got->parent, s->parent);
	ck_assert(!tstamp_cmp(got->start, s->start) && !tstamp_cmp(got->stop, s->stop) &&
		  !tstamp_cmp(got->created, s->created));
	ck_assert(digest_eq(&got->root.node, &s->root.node));
	ck_assert(got->root.entries == 3 && got->root.descendants == 1000 && got->files == 900 &&
		  got->dirs == 90 && got->symlinks == 10 && got->logical_bytes == 123456789012 &&
		  got->unique_bytes == 4096 && got->stored_bytes == 0);
	ck_assert_uint_eq(got->n_props, 3);
	ck_assert_str_eq(snapshot_get(got, "label")->text, "nightly ü");
	ck_assert_uint_eq(snapshot_get(got, "timeline")->number, 300);
	ck_assert_int_eq(snapshot_get(got, "data_checksums")->type, PROPERTY_BOOL);
	ck_assert_ptr_null(snapshot_get(got, "labe"));
	snapshot_free(got);
	snapshot_free(s);
	free(exact);
	free(p);
}
END_TEST

START_TEST(cut_and_flipped)
{
	size_t n;
	uint8_t *p = fx_hex(golden_hex, &n);
	struct snapshot *got;

	for (size_t k = 0; k <= n + 1; k++) {
		uint8_t *q = calloc(1, k ? k : 1);
		struct err e = {0};

		memcpy(q, p, k < n ? k : n);
		if (k != n)
			fx_fails(snapshot_decode(q, k, &got, &e), -EBADMSG, &e);
		free(q);
	}
	for (size_t bit = 0; bit < 8 * n; bit++) {
		struct err e = {0};

		p[bit / 8] ^= (uint8_t)(1u << (bit % 8));
		fx_fails(snapshot_decode(p, n, &got, &e), bit / 32 == 2 ? -EOPNOTSUPP : -EBADMSG, &e);
		p[bit / 8] ^= (uint8_t)(1u << (bit % 8));
	}
	free(p);
}
END_TEST

/* A checksum that fits proves nothing about the rest. */
START_TEST(bent_with_crc)
{
	size_t n;
	uint8_t *p = fx_hex(golden_hex, &n);
	uint64_t rng = check_seed();

	for (int i = 0; i < 20000; i++) {
		size_t len = i % 3 ? n : 4 + check_rand_below(&rng, n);
		uint8_t *q = malloc(len);
		struct snapshot *got;
		struct buf b = {0};
		uint32_t crc;

		memcpy(q, p, len);
		for (int k = 0; k < 3 && i % 7; k++)
			q[check_rand_below(&rng, len)] = (uint8_t)check_rand(&rng);
		crc = crc32c(0, q, len - 4);
		memcpy(q + len - 4, &crc, 4);
		int r = snapshot_decode(q, len, &got, NULL);
		if (!r) {
			if (snapshot_json(got, 2, &b) < 0 || got->root.entries > got->root.descendants)
				ck_abort_msg("round %d", i);
			snapshot_free(got);
		} else if (r != -EBADMSG && r != -EOPNOTSUPP) {
			ck_abort_msg("round %d: %d", i, r);
		}
		buf_free(&b);
		free(q);
	}
	free(p);
}
END_TEST

START_TEST(id_order)
{
	static const char *const rising[] = {"2025-12-31T23-59-59Z", "2026-01-01T00-00-00Z",
		"2026-01-01T00-00-00Z-2", "2026-01-01T00-00-00Z-3", "2026-01-01T00-00-00Z-10",
		"2026-01-01T00-00-00Z-100", "2026-01-01T00-00-01Z", "2026-01-01T00-00-01Z-2"};
	int n = sizeof(rising) / sizeof(*rising);

	for (int i = 0; i < n; i++)
		for (int k = 0; k < n; k++) {
			int c = snapshot_id_cmp(rising[i], rising[k]);

			ck_assert_msg((c < 0) == (i < k) && (c == 0) == (i == k), "%s, %s: %d", rising[i],
				rising[k], c);
		}
	/* Anything is ordered, if only somehow. */
	ck_assert_int_lt(snapshot_id_cmp("", "a"), 0);
	ck_assert_int_eq(snapshot_id_cmp("Z-", "Z-"), 0);
}
END_TEST

/* ---- in a repository ---- */

static char *publish(struct fixture *f, const char *cluster, enum snapshot_kind kind, int64_t stop)
{
	struct snapshot *s = snapshot_new();
	struct err e = {0};
	char *id;

	s->cluster = strdup(cluster);
	s->kind = kind;
	s->stop.sec = stop;
	fx_ok(snapshot_publish(f->s, s, &e), &e);
	ck_assert_int_gt(s->created.sec, 0);
	id = strdup(s->id);
	snapshot_free(s);
	return id;
}

static void check_list(struct fixture *f, const char *cluster, enum snapshot_kind kind, const char *want)
{
	struct snapshot_list l;
	struct buf b = {0};
	struct err e = {0};
	char *got;

	fx_ok(snapshot_list(f->s, cluster, kind, &l, &e), &e);
	for (size_t i = 0; i < l.n; i++)
		buf_printf(&b, "%s/%s/%s ", l.refs[i].cluster, snapshot_kind_name(l.refs[i].kind),
			l.refs[i].id + 17);
	got = buf_steal_str(&b);
	ck_assert_str_eq(got, want);
	free(got);
	snapshot_list_free(&l);
}

START_TEST(publish_and_list)
{
	struct fixture f = fx_make(NULL);
	struct snapshot *s;
	struct err e = {0};
	char *id;

	check_list(&f, NULL, 0, "");
	fx_fails(snapshot_resolve(f.s, "main", 0, "latest", &s, &e), -ENOENT, &e);
	static const struct {
		const char *cluster;
		enum snapshot_kind kind;
		int64_t stop;
		const char *id;
	} puts[] = {{"main", SNAPSHOT_BASE, STOP, "2026-11-20T02-15-07Z"},
		{"main", SNAPSHOT_BASE, STOP, "2026-11-20T02-15-07Z-2"},
		{"main", SNAPSHOT_DUMP, STOP, "2026-11-20T02-15-07Z"},
		{"other", SNAPSHOT_BASE, STOP - 1, "2026-11-20T02-15-06Z"},
		{"main", SNAPSHOT_BASE, STOP, "2026-11-20T02-15-07Z-3"},
		{"main", SNAPSHOT_GLOBALS, STOP + 1, "2026-11-20T02-15-08Z"}};
	for (size_t i = 0; i < 6; i++) {
		id = publish(&f, puts[i].cluster, puts[i].kind, puts[i].stop);
		ck_assert_str_eq(id, puts[i].id);
		free(id);
	}
	check_list(&f, NULL, 0,
		"other/base/06Z main/base/07Z main/dump/07Z main/base/07Z-2 main/base/07Z-3 "
		"main/globals/08Z ");
	check_list(&f, "main", SNAPSHOT_BASE, "main/base/07Z main/base/07Z-2 main/base/07Z-3 ");
	check_list(&f, "other", 0, "other/base/06Z ");
	check_list(&f, "none", 0, "");
	/* What lies among them by mistake is no snapshot. */
	static const char *const strays[] = {"snapshots/main/base/zzz",
		"snapshots/main/base/2026-11-20T02-15-09Z.bak", "snapshots/main/base/2026-11-20T02-15-09Z-",
		"snapshots/main/base/2026-11-20T02-15-09Z-x", "snapshots/main/base/2026-11-20T02-15-09Y",
		"snapshots/main/other/2026-11-20T02-15-09Z", "snapshots/main/base/d/2026-11-20T02-15-09Z",
		"snapshots/main/2026-11-20T02-15-09Z", "snapshots/README"};
	for (size_t i = 0; i < sizeof(strays) / sizeof(*strays); i++)
		fx_ok(backend_put(f.s->backend, strays[i], "?", 1, &e), &e);
	check_list(&f, "main", SNAPSHOT_BASE, "main/base/07Z main/base/07Z-2 main/base/07Z-3 ");
	static const struct {
		const char *cluster, *id, *want;
		enum snapshot_kind kind;
		int r;
	} asks[] = {{"main", "latest", "2026-11-20T02-15-07Z-3", SNAPSHOT_BASE, 0},
		{"main", "latest", "2026-11-20T02-15-08Z", 0, 0},
		{"main", "2026-11-20T02-15-07Z-2", "2026-11-20T02-15-07Z-2", 0, 0},
		{"main", "2026-11-20T02-15-07Z-4", NULL, 0, -ENOENT}, {"main", "", NULL, 0, -ENOENT},
		{"none", "latest", NULL, 0, -ENOENT}, {"../x", "latest", NULL, 0, -EINVAL},
		{"main", "../base/x", NULL, 0, -ENOENT}};
	for (size_t i = 0; i < sizeof(asks) / sizeof(*asks); i++) {
		int r = snapshot_resolve(f.s, asks[i].cluster, asks[i].kind, asks[i].id, &s, &e);

		ck_assert_msg(r == asks[i].r, "%zu: %d %s", i, r, e.text);
		if (r)
			continue;
		ck_assert_str_eq(s->id, asks[i].want);
		snapshot_free(s);
	}
	static const char *const bad[] = {
		"", ".", "..", "../base/2026-11-20T02-15-07Z", "a/b", "x\n", ".hidden"};
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		fx_fails(snapshot_load(f.s, "main", SNAPSHOT_BASE, bad[i], &s, &e), -ENOENT, &e);
	fx_fails(snapshot_load(f.s, "a/b", SNAPSHOT_BASE, "x", &s, &e), -EINVAL, &e);
	fx_free(&f);
}
END_TEST

/* An object under another's name, cut, or bent: said with its name. */
START_TEST(wrong_objects)
{
	struct fixture f = fx_make(NULL);
	struct snapshot *s;
	struct err e = {0};
	char *id = publish(&f, "main", SNAPSHOT_BASE, STOP);
	static const char name[] = "snapshots/main/base/2026-11-20T02-15-07Z";
	size_t n;
	uint8_t *p = fx_read_file(f.repo, name, &n);
	static const struct {
		const char *object, *cluster, *id;
		enum snapshot_kind kind;
	} t[] = {{"snapshots/main/base/2026-11-20T02-15-08Z", "main", "2026-11-20T02-15-08Z", SNAPSHOT_BASE},
		{"snapshots/main/dump/2026-11-20T02-15-07Z", "main", "2026-11-20T02-15-07Z", SNAPSHOT_DUMP},
		{"snapshots/other/base/2026-11-20T02-15-07Z", "other", "2026-11-20T02-15-07Z",
			SNAPSHOT_BASE}};

	for (size_t i = 0; i < 3; i++) {
		fx_ok(backend_put(f.s->backend, t[i].object, p, n, &e), &e);
		fx_fails(snapshot_load(f.s, t[i].cluster, t[i].kind, t[i].id, &s, &e), -EBADMSG, &e);
		ck_assert_ptr_nonnull(strstr(e.text, t[i].object));
	}
	p[n / 2] ^= 1;
	fx_replace(f.repo, name, p, n);
	fx_fails(snapshot_load(f.s, "main", SNAPSHOT_BASE, id, &s, &e), -EBADMSG, &e);
	ck_assert_ptr_nonnull(strstr(e.text, name));
	fx_replace(f.repo, name, p, 0);
	fx_fails(snapshot_load(f.s, "main", SNAPSHOT_BASE, id, &s, &e), -EBADMSG, &e);
	free(p);
	free(id);
	fx_free(&f);
}
END_TEST

struct publisher {
	struct fixture *f;
	char *ids[20];
	pthread_t thread;
};

static void *publish_some(void *arg)
{
	struct publisher *p = arg;

	for (int i = 0; i < 20; i++)
		p->ids[i] = publish(p->f, "main", SNAPSHOT_BASE, STOP);
	return NULL;
}

START_TEST(publish_race)
{
	struct fixture f = fx_make(NULL);
	struct publisher p[4];
	struct snapshot_list l;
	struct err e = {0};

	for (int i = 0; i < 4; i++) {
		p[i].f = &f;
		pthread_create(&p[i].thread, NULL, publish_some, &p[i]);
	}
	for (int i = 0; i < 4; i++)
		pthread_join(p[i].thread, NULL);
	fx_ok(snapshot_list(f.s, "main", 0, &l, &e), &e);
	ck_assert_uint_eq(l.n, 80);
	for (size_t i = 0; i < 80; i++) {
		char want[64];
		unsigned found = 0;
		struct snapshot *s;

		snprintf(want, sizeof(want), i ? "2026-11-20T02-15-07Z-%zu" : "2026-11-20T02-15-07Z", i + 1);
		ck_assert_str_eq(l.refs[i].id, want);
		for (int k = 0; k < 80; k++)
			found += !strcmp(p[k / 20].ids[k % 20], want);
		ck_assert_uint_eq(found, 1);
		fx_ok(snapshot_load(f.s, "main", SNAPSHOT_BASE, want, &s, &e), &e);
		snapshot_free(s);
	}
	for (int k = 0; k < 80; k++)
		free(p[k / 20].ids[k % 20]);
	snapshot_list_free(&l);
	fx_free(&f);
}
END_TEST

/* A description that does not fit is refused before it is put. */
START_TEST(too_large)
{
	struct fixture f = fx_make(NULL);
	struct snapshot *s = snapshot_new();
	struct err e = {0};
	char *text = malloc(5u << 20);

	memset(text, 'x', 5u << 20);
	text[(5u << 20) - 1] = 0;
	s->cluster = strdup("main");
	s->kind = SNAPSHOT_BASE;
	s->stop.sec = STOP;
	ck_assert_int_eq(snapshot_put_text(s, "label", text), 0);
	fx_fails(snapshot_publish(f.s, s, &e), -EFBIG, &e);
	check_list(&f, NULL, 0, "");
	snapshot_free(s);
	free(text);
	fx_free(&f);
}
END_TEST

/* ---- JSON ---- */

START_TEST(json)
{
	static const char *const keys[] = {"id", "cluster", "kind", "database", "start_time", "stop_time",
		"timeline", "start_lsn", "stop_lsn", "pg_version", "system_identifier", "logical_bytes",
		"unique_bytes", "stored_bytes", "files", "tags"};
	struct snapshot *s = golden();
	struct buf b = {0};
	json_t *o;
	char *text;

	snapshot_put_text(s, "odd", "caf\xe9");
	snapshot_put_text(s, "tags", " monthly-close  x \xe9");
	snapshot_put_text(s, "id", "not this one");
	snapshot_put_number(s, "files", 1);
	ck_assert_int_eq(snapshot_put_text(s, "Key", "x"), -EINVAL);
	ck_assert_int_eq(snapshot_put_number(s, "", 1), -EINVAL);
	for (unsigned indent = 0; indent < 3; indent++) {
		buf_clear(&b);
		ck_assert_int_eq(snapshot_json(s, indent, &b), 0);
		ck_assert_int_eq(memchr(b.data, '\n', b.len) != NULL, indent > 0);
	}
	text = buf_steal_str(&b);
	o = json_loads(text, 0, NULL);
	ck_assert_msg(o, "%s", text);
	for (size_t i = 0; i < sizeof(keys) / sizeof(*keys); i++)
		ck_assert_msg(json_object_get(o, keys[i]), "no \"%s\"", keys[i]);
	ck_assert_str_eq(json_string_value(json_object_get(o, "id")), "2026-11-20T02-15-07Z");
	ck_assert_str_eq(json_string_value(json_object_get(o, "kind")), "base");
	ck_assert_str_eq(json_string_value(json_object_get(o, "stop_time")), "2026-11-20T02:15:07Z");
	ck_assert_str_eq(json_string_value(json_object_get(o, "start_time")), "2026-11-20T02:14:07Z");
	ck_assert_str_eq(json_string_value(json_object_get(o, "label")), "nightly ü");
	ck_assert_str_eq(json_string_value(json_object_get(o, "odd")), "caf\xef\xbf\xbd");
	ck_assert_int_eq(json_integer_value(json_object_get(o, "timeline")), 300);
	ck_assert(json_is_true(json_object_get(o, "data_checksums")));
	ck_assert(json_is_null(json_object_get(o, "database")));
	ck_assert_uint_eq(json_array_size(json_object_get(o, "tags")), 3);
	ck_assert_str_eq(json_string_value(json_array_get(json_object_get(o, "tags"), 0)), "monthly-close");
	ck_assert_str_eq(json_string_value(json_array_get(json_object_get(o, "tags"), 1)), "x");
	ck_assert_str_eq(json_string_value(json_array_get(json_object_get(o, "tags"), 2)), "\xef\xbf\xbd");
	ck_assert_int_eq(json_integer_value(json_object_get(o, "logical_bytes")), 123456789012);
	ck_assert_int_eq(json_integer_value(json_object_get(o, "files")), 900);
	json_decref(o);
	free(text);
	snapshot_free(s);
	/* Nothing known. */
	s = snapshot_new();
	s->kind = SNAPSHOT_DUMP;
	ck_assert_int_eq(snapshot_json(s, 0, &b), 0);
	text = buf_steal_str(&b);
	o = json_loads(text, 0, NULL);
	ck_assert_ptr_nonnull(o);
	ck_assert(json_is_null(json_object_get(o, "start_time")));
	ck_assert(json_is_null(json_object_get(o, "parent")));
	ck_assert(json_is_array(json_object_get(o, "tags")) && !json_array_size(json_object_get(o, "tags")));
	json_decref(o);
	free(text);
	snapshot_free(s);
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("store/snapshot");
	TCase *t = tcase_create("all");

	tcase_add_test(t, writes_golden);
	tcase_add_test(t, reads_golden);
	tcase_add_test(t, cut_and_flipped);
	tcase_add_test(t, bent_with_crc);
	tcase_add_test(t, id_order);
	tcase_add_test(t, publish_and_list);
	tcase_add_test(t, wrong_objects);
	tcase_add_test(t, publish_race);
	tcase_add_test(t, too_large);
	tcase_add_test(t, json);
	suite_add_tcase(s, t);
	return s;
}
CHECK_MAIN(suite)
