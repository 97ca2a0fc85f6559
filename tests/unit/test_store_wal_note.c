/* Notes beside the files of the WAL archive: the bytes of the format, the first one stays, and damage is never believed. */
#include "tests/unit/store_fixture.h"

#include "src/base/crc32c.h"
#include "store/wal.h"

#define NAME "0000000200000001000000AB"
#define OBJECT "walnote/main/0000000200000001/" NAME

static struct fixture f;
static struct err e;

static void set_up(void)
{
	f = fx_make(NULL);
}

static void tear_down(void)
{
	fx_free(&f);
}

static int get(void **p, size_t *n)
{
	*p = NULL;
	return wal_note_get(f.s, "main", NAME, p, n, &e);
}

static void check(const char *want)
{
	void *p;
	size_t n;

	fx_ok(get(&p, &n), &e);
	fx_same("note", p, n, want, strlen(want));
	free(p);
}

START_TEST(format)
{
	size_t n, want_n;
	uint8_t *p, *want;
	char text[200];
	uint32_t crc;

	fx_ok(wal_note_put(f.s, "main", NAME, "hello", 5, &e), &e);
	p = fx_read_file(f.repo, OBJECT, &n);
	snprintf(text, sizeof(text), "'pgstNOTE' 01000000 05000000 %s 'hello'", store_id(f.s));
	want = fx_hex(text, &want_n);
	crc = crc32c(0, want, want_n);
	for (int i = 0; i < 4; i++)
		want[want_n++] = (uint8_t)(crc >> 8 * i);
	fx_same("object", p, n, want, want_n);
	check("hello");
	free(p);
	free(want);
}
END_TEST

START_TEST(first_one_stays)
{
	void *p;
	size_t n;

	fx_fails(get(&p, &n), -ENOENT, &e);
	fx_ok(wal_note_put(f.s, "main", NAME, "first", 5, &e), &e);
	fx_ok(wal_note_put(f.s, "main", NAME, "second", 6, &e), &e);
	check("first");
	fx_replace(f.repo, OBJECT, "rubbish", 7);
	fx_fails(get(&p, &n), -EBADMSG, &e);
	fx_ok(wal_note_put(f.s, "main", NAME, "second", 6, &e), &e);
	check("second");
	fx_ok(wal_note_put(f.s, "main", "00000002.history", "", 0, &e), &e);
}
END_TEST

/* A staged note is there when it is published, and leaves nothing when it is not. */
START_TEST(in_two_steps)
{
	struct wal_note *first = NULL, *second = NULL;
	void *p;
	size_t n;

	fx_ok(wal_note_stage(f.s, "main", NAME, "first", 5, &first, &e), &e);
	fx_ok(wal_note_stage(f.s, "main", NAME, "second", 6, &second, &e), &e);
	fx_fails(get(&p, &n), -ENOENT, &e);
	wal_note_free(second);
	fx_fails(get(&p, &n), -ENOENT, &e);
	fx_ok(wal_note_stage(f.s, "main", NAME, "third", 5, &second, &e), &e);
	fx_ok(wal_note_publish(first, &e), &e);
	fx_ok(wal_note_publish(second, &e), &e);
	check("first");
	wal_note_free(first);
	wal_note_free(second);
	fx_ok(wal_note_stage(f.s, "main", NAME, "fourth", 6, &second, &e), &e);
	fx_replace(f.repo, OBJECT, "rubbish", 7);
	fx_ok(wal_note_publish(second, &e), &e);
	check("fourth");
	wal_note_free(second);
}
END_TEST

START_TEST(damage)
{
	size_t n, m;
	uint8_t *was;
	void *p;

	fx_ok(wal_note_put(f.s, "main", NAME, "something", 9, &e), &e);
	was = fx_read_file(f.repo, OBJECT, &n);
	for (size_t i = 0; i < n; i++) {
		fx_replace(f.repo, OBJECT, was, i);
		fx_fails(get(&p, &m), -EBADMSG, &e);
		ck_assert_ptr_nonnull(strstr(e.text, OBJECT));
		for (int bit = 0; bit < 8; bit++) {
			was[i] ^= (uint8_t)(1 << bit);
			fx_replace(f.repo, OBJECT, was, n);
			fx_fails(get(&p, &m), -EBADMSG, &e);
			was[i] ^= (uint8_t)(1 << bit);
		}
	}
	/* A later version, and another repository, with right checksums. */
	for (size_t at = 8; at < 20; at += 8) {
		uint32_t crc;

		was[at] ^= 2;
		crc = crc32c(0, was, n - 4);
		for (size_t i = 0; i < 4; i++)
			was[n - 4 + i] = (uint8_t)(crc >> 8 * i);
		fx_replace(f.repo, OBJECT, was, n);
		fx_fails(get(&p, &m), at == 8 ? -EOPNOTSUPP : -EBADMSG, &e);
		was[at] ^= 2;
	}
	free(was);
}
END_TEST

START_TEST(refused)
{
	char *large = calloc(WAL_NOTE_MAX + 1, 1);

	fx_fails(wal_note_put(f.s, "main", "../config", "x", 1, &e), -EINVAL, &e);
	fx_fails(wal_note_put(f.s, "../main", NAME, "x", 1, &e), -EINVAL, &e);
	fx_fails(wal_note_put(f.s, "main", NAME, large, WAL_NOTE_MAX + 1, &e), -EFBIG, &e);
	fx_ok(wal_note_put(f.s, "main", NAME, large, WAL_NOTE_MAX, &e), &e);
	free(large);
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("store wal notes");
	TCase *t = tcase_create("notes");

	tcase_add_checked_fixture(t, set_up, tear_down);
	tcase_add_test(t, format);
	tcase_add_test(t, first_one_stays);
	tcase_add_test(t, in_two_steps);
	tcase_add_test(t, damage);
	tcase_add_test(t, refused);
	suite_add_tcase(s, t);
	return s;
}

CHECK_MAIN(suite)
