/* Index runs: golden bytes, building, merging, finding, and files that are damaged or another's. */
#include <dirent.h>

#include "src/base/crc32c.h"
#include "store/run.h"
#include "tests/unit/store_fixture.h"

static const uint8_t repo_id[16] = "0123456789abcdef";

static struct digest id_of(uint64_t n)
{
	return digest_of(&n, sizeof(n));
}

static struct pack_entry entry_of(uint64_t n)
{
	return (struct pack_entry){.id = id_of(n),
		.off = (uint32_t)(32 + n),
		.len = (uint32_t)(100 + n % 7),
		.kind = 1,
		.depth = (uint8_t)(n % 3)};
}

/* A run over packs with entries from..from+n in pack i, each pack named by its number. */
static struct run *make_run(const char *dir, size_t packs, const size_t *n, uint64_t from)
{
	struct run_input *in = calloc(packs + 1, sizeof(*in));
	struct run *run;
	struct err e = {0};

	for (size_t i = 0; i < packs; i++) {
		struct pack_entry *en = calloc(n[i] + 1, sizeof(*en));

		for (size_t k = 0; k < n[i]; k++)
			en[k] = entry_of(from + k);
		in[i] = (struct run_input){id_of(1000000 + from), en, n[i]};
		from += n[i];
	}
	fx_ok(run_build(dir, repo_id, in, packs, &run, &e), &e);
	for (size_t i = 0; i < packs; i++)
		free((void *)in[i].entries);
	free(in);
	return run;
}

static void check_has(const struct run *run, uint64_t from, uint64_t n)
{
	for (uint64_t k = from; k < from + n; k++) {
		struct digest id = id_of(k);
		struct pack_entry want = entry_of(k);
		struct run_place at;

		ck_assert_msg(run_find(run, &id, 0, &at), "%" PRIu64 " is not found", k);
		ck_assert_uint_eq(at.off, want.off);
		ck_assert_uint_eq(at.len, want.len);
		ck_assert_uint_eq(at.kind, want.kind);
		ck_assert_uint_eq(at.depth, want.depth);
		ck_assert(!run_find(run, &id, 1, &at));
	}
}

static void check_lacks(const struct run *run, uint64_t from, uint64_t n)
{
	struct run_place at;

	for (uint64_t k = from; k < from + n; k++) {
		struct digest id = id_of(k);

		ck_assert(!run_find(run, &id, 0, &at));
	}
}

/* The one file in dir that begins with "run-"; free it. */
static char *only_file(const char *dir)
{
	char *found = NULL;
	DIR *d = opendir(dir);

	for (struct dirent *de; (de = readdir(d));)
		if (!strncmp(de->d_name, "run-", 4)) {
			ck_assert_ptr_null(found);
			found = strdup(de->d_name);
		}
	closedir(d);
	ck_assert_ptr_nonnull(found);
	return found;
}

START_TEST(golden)
{
	/* Two packs; three entries; four bits, the least fan-out: 17 places. */
	struct pack_entry a[2] = {
		{.off = 32, .len = 40, .kind = 1}, {.off = 72, .len = 60, .kind = 1, .depth = 2}};
	struct pack_entry b = {.off = 0xfffffff0, .len = 0x01020304, .kind = 3};
	struct run_input in[2] = {{.entries = a, .n = 2}, {.entries = &b, .n = 1}};
	struct buf want = {0};
	struct run *run;
	struct err e = {0};
	char *dir = check_tempdir(), *name;
	uint8_t *p;
	size_t n;

	memset(in[0].pack.b, 0xaa, DIGEST_LEN);
	memset(in[1].pack.b, 0xbb, DIGEST_LEN);
	memset(a[0].id.b, 0xf1, DIGEST_LEN);
	memset(a[1].id.b, 0x10, DIGEST_LEN);
	memset(b.id.b, 0x1f, DIGEST_LEN);
	fx_ok(run_build(dir, repo_id, in, 2, &run, &e), &e);
	name = only_file(dir);
	ck_assert_uint_eq(strlen(name), 20);
	ck_assert_uint_eq(strspn(name + 4, "0123456789abcdef"), 16);
	p = fx_read_file(dir, name, &n);

	buf_put(&want, "pgstRUN1", 8);
	buf_put(&want, repo_id, 16);
	buf_put_u64(&want, 3);
	buf_put_u32(&want, 2);
	buf_put_u32(&want, 4);
	ck_assert_uint_gt(n, 204);
	/* head 64, two packs 64, seventeen places 68: the entries begin at 196 */
	buf_put_u32(&want, crc32c(0, p + 196, n - 196));
	while (want.len < 64)
		buf_put_u8(&want, 0);
	buf_put(&want, in[0].pack.b, DIGEST_LEN);
	buf_put(&want, in[1].pack.b, DIGEST_LEN);
	buf_put_u32(&want, 0); /* below 0 */
	buf_put_u32(&want, 0); /* below 1 */
	for (int i = 2; i <= 15; i++)
		buf_put_u32(&want, 2); /* 10… and 1f… begin with 1 */
	buf_put_u32(&want, 3);
	ck_assert_uint_eq(want.len, 196);
	uint32_t crc = crc32c(0, want.data, want.len);
	memcpy(want.data + 60, &crc, 4); /* tests run on little-endian machines */
	for (int i = 0; i < 3; i++) {
		const struct pack_entry *en = i == 0 ? &a[1] : i == 1 ? &b : &a[0];

		buf_put(&want, en->id.b, DIGEST_LEN);
		buf_put_u32(&want, i == 1);
		buf_put_u32(&want, en->off);
		buf_put_u32(&want, en->len);
		buf_put_u8(&want, en->kind);
		buf_put_u8(&want, en->depth);
		buf_put_u16(&want, 0);
	}
	fx_same("run", p, n, want.data, want.len);
	buf_free(&want);
	free(p);
	free(name);
	run_free(run);
	check_rmtree(dir);
	free(dir);
}
END_TEST

static const size_t counts[][4] = {
	{0}, {1}, {2, 0, 3}, {128, 1, 128}, {129, 127, 1, 1}, {4000, 5000}, {30000}};

START_TEST(build_and_open)
{
	for (int in_memory = 0; in_memory < 2; in_memory++) {
		char *dir = check_tempdir();
		size_t n = 0;
		struct run *run = make_run(in_memory ? NULL : dir, 4, counts[_i], 0), *again;
		struct err e = {0};

		for (int i = 0; i < 4; i++)
			n += counts[_i][i];
		ck_assert_uint_eq(run_entries(run), n);
		ck_assert_uint_eq(run_packs(run), 4);
		check_has(run, 0, n);
		check_lacks(run, 1u << 20, 2000);
		if (in_memory) {
			run_unlink(run);
			ck_assert_int_eq(rmdir(dir), 0);
		} else {
			char *name = only_file(dir);

			fx_ok(run_open(dir, name, repo_id, &again, &e), &e);
			check_has(again, 0, n);
			for (uint32_t i = 0; i < 4; i++) {
				struct digest a = run_pack(run, i), b = run_pack(again, i);

				ck_assert(digest_eq(&a, &b));
			}
			run_unlink(again);
			/* Its mapping stays. */
			check_has(again, 0, n);
			check_has(run, 0, n);
			run_free(again);
			fx_fails(run_open(dir, name, repo_id, &again, &e), -ENOENT, &e);
			free(name);
			check_rmtree(dir);
		}
		run_free(run);
		free(dir);
	}
	run_free(NULL);
}
END_TEST

/* The same chunk in several packs: every place is given out, and none beyond. */
START_TEST(duplicates)
{
	struct pack_entry en[300];
	struct run_input in[3];
	struct run *run, *merged, *pair[2];
	struct err e = {0};
	struct run_place at;
	struct digest id = id_of(5), low = id_of(6), other = id_of(7);

	for (int i = 0; i < 300; i++)
		en[i] = entry_of(5 + (i % 100) / 98);
	for (int i = 0; i < 3; i++)
		in[i] = (struct run_input){id_of(i), en + 100 * i, 100};
	fx_ok(run_build(NULL, repo_id, in, 3, &run, &e), &e);
	pair[0] = pair[1] = run;
	fx_ok(run_merge(NULL, repo_id, pair, 2, NULL, NULL, &merged, &e), &e);
	for (unsigned k = 0; k < 700; k++) {
		ck_assert_int_eq(run_find(run, &id, k, &at), k < 294);
		ck_assert_int_eq(run_find(run, &low, k, &at), k < 6);
		ck_assert_int_eq(run_find(merged, &id, k, &at), k < 588);
		ck_assert(!run_find(run, &other, k, &at));
	}
	run_free(run);
	run_free(merged);
}
END_TEST

/* Ids at both ends of every place of the fan-out, and what lies beside them. */
START_TEST(fan_edges)
{
	struct pack_entry en[512] = {0};
	struct run_input in = {.entries = en, .n = 512};
	struct run *run;
	struct err e = {0};
	struct run_place at;

	for (int i = 0; i < 256; i++) {
		en[2 * i].id.b[0] = en[2 * i + 1].id.b[0] = (uint8_t)i;
		memset(en[2 * i + 1].id.b + 1, 0xff, DIGEST_LEN - 1);
		en[2 * i].off = en[2 * i + 1].off = (uint32_t)i;
	}
	fx_ok(run_build(NULL, repo_id, &in, 1, &run, &e), &e);
	for (int i = 0; i < 512; i++) {
		struct digest id = en[i].id;

		ck_assert(run_find(run, &id, 0, &at));
		ck_assert_uint_eq(at.off, i / 2);
		id.b[31] ^= 1;
		ck_assert(!run_find(run, &id, 0, &at));
		id.b[31] ^= 1;
		id.b[3] ^= 0x10;
		ck_assert(!run_find(run, &id, 0, &at));
	}
	run_free(run);
}
END_TEST

static bool keep_odd(void *arg, const struct digest *pack)
{
	(void)arg;
	return pack->b[0] & 1;
}

START_TEST(merge)
{
	char *dir = check_tempdir();
	struct run *in[4], *all, *some;
	struct err e = {0};
	uint64_t n = 0, kept = 0;

	for (int i = 0; i < 4; i++) {
		size_t c[3] = {(size_t)(i * 700), (size_t)(13 * i), 1};

		in[i] = make_run(i % 2 ? dir : NULL, 3, c, n);
		n += c[0] + c[1] + c[2];
	}
	fx_ok(run_merge(dir, repo_id, in, 4, NULL, NULL, &all, &e), &e);
	ck_assert_uint_eq(run_entries(all), n);
	ck_assert_uint_eq(run_packs(all), 12);
	check_has(all, 0, n);
	check_lacks(all, n, 1000);
	fx_ok(run_merge(NULL, repo_id, in, 4, keep_odd, NULL, &some, &e), &e);
	for (uint64_t k = 0; k < n; k++) {
		struct digest id = id_of(k), pack, back;
		struct run_place at;

		ck_assert(run_find(all, &id, 0, &at));
		pack = run_pack(all, at.pack);
		ck_assert_int_eq(run_find(some, &id, 0, &at), pack.b[0] & 1);
		if (pack.b[0] & 1) {
			back = run_pack(some, at.pack);
			ck_assert(digest_eq(&back, &pack));
			kept++;
		}
	}
	ck_assert_uint_eq(run_entries(some), kept);
	for (int i = 0; i < 4; i++)
		run_free(in[i]);
	/* Of nothing. */
	run_free(some);
	fx_ok(run_merge(NULL, repo_id, in, 0, NULL, NULL, &some, &e), &e);
	ck_assert_uint_eq(run_entries(some), 0);
	check_lacks(some, 0, 10);
	run_free(some);
	run_free(all);
	check_rmtree(dir);
	free(dir);
}
END_TEST

START_TEST(damaged)
{
	char *dir = check_tempdir(), *name;
	size_t c[2] = {20, 11}, n;
	struct run *run = make_run(dir, 2, c, 0), *got;
	struct err e = {0};
	uint8_t *p, other[16] = "another one's id";

	name = only_file(dir);
	p = fx_read_file(dir, name, &n);
	fx_fails(run_open(dir, name, other, &got, &e), -ESTALE, &e);
	for (size_t k = 0; k < n; k++) {
		e = (struct err){0};
		fx_replace(dir, name, p, k);
		fx_fails(run_open(dir, name, repo_id, &got, &e), -EBADMSG, &e);
		ck_assert(strstr(e.text, name));
	}
	/* All bits of the head, one of every byte after it. */
	for (size_t at = 0; at < n; at++)
		for (int bit = at < 64 ? 0 : (int)(at % 8); bit < (at < 64 ? 8 : (int)(at % 8) + 1); bit++) {
			p[at] ^= (uint8_t)(1u << bit);
			fx_replace(dir, name, p, n);
			p[at] ^= (uint8_t)(1u << bit);
			e = (struct err){0};
			fx_fails(run_open(dir, name, repo_id, &got, &e),
				at >= 8 && at < 24 ? -ESTALE : -EBADMSG, &e);
		}
	run_free(run);
	free(p);
	free(name);
	check_rmtree(dir);
	free(dir);
}
END_TEST

/* A fan-out that lies under checksums that fit: bounded lookups, whatever they find. */
START_TEST(lying)
{
	char *dir = check_tempdir(), *name;
	size_t c[1] = {500}, n;
	struct run *run = make_run(dir, 1, c, 0), *got;
	struct err e = {0};
	uint64_t rng = check_seed();
	uint8_t *p;
	uint32_t bits, crc;

	name = only_file(dir);
	p = fx_read_file(dir, name, &n);
	memcpy(&bits, p + 36, 4);
	size_t front = 64 + 32 + 4 * ((1u << bits) + 1);
	for (int i = 0; i < 300; i++) {
		uint8_t *q = check_exact(p, n);
		struct run_place at;

		for (int k = 0; k < 5; k++) {
			size_t where = 96 + check_rand_below(&rng, n - 96);

			q[where] = (uint8_t)check_rand(&rng);
		}
		crc = crc32c(0, q + front, n - front);
		memcpy(q + 40, &crc, 4);
		memset(q + 60, 0, 4);
		crc = crc32c(0, q, front);
		memcpy(q + 60, &crc, 4);
		fx_replace(dir, name, q, n);
		free(q);
		fx_ok(run_open(dir, name, repo_id, &got, &e), &e);
		for (uint64_t k = 0; k < 500; k++) {
			struct digest id = id_of(k);

			for (unsigned nth = 0; nth < 3 && run_find(got, &id, nth, &at); nth++)
				ck_assert_uint_lt(at.pack, 1);
		}
		struct run *merged;
		if (run_merge(NULL, repo_id, &got, 1, NULL, NULL, &merged, &e) == 0)
			run_free(merged);
		run_free(got);
	}
	run_free(run);
	free(p);
	free(name);
	check_rmtree(dir);
	free(dir);
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("store/run");
	TCase *t = tcase_create("all");

	tcase_add_test(t, golden);
	tcase_add_loop_test(t, build_and_open, 0, sizeof(counts) / sizeof(*counts));
	tcase_add_test(t, duplicates);
	tcase_add_test(t, fan_edges);
	tcase_add_test(t, merge);
	tcase_add_test(t, damaged);
	tcase_add_test(t, lying);
	suite_add_tcase(s, t);
	return s;
}
CHECK_MAIN(suite)
