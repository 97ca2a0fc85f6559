/* The parts of BASE_BACKUP (src/capture/backup_copy.h), before and since PostgreSQL 15, against a scripted connection:
 * the four functions that it uses are this program's. */
#include "src/capture/backup_copy.h"

#include <errno.h>

#include "src/base/buf.h"
#include "tests/unit/check_main.h"

struct event {
	int r; /* of replication_copy: 1 data, 0 the stream ended, 2 no more, or an error */
	const char *p;
	size_t n;
};

struct replication {
	struct replication_server server;
	const char *const (*spaces)[3];
	size_t n_spaces;
	const char *start[2], *stop[2];
	const struct event *events;
};

const struct replication_server *replication_server(const struct replication *c)
{
	return &c->server;
}

int replication_backup(struct replication *c, const char *command, replication_row_fn *start,
	replication_row_fn *tablespace, void *arg, struct err *e)
{
	int r = start(arg, c->start, 2, e);

	ck_assert_str_eq(command, "BASE_BACKUP");
	for (size_t i = 0; i < c->n_spaces && r == 0; i++)
		r = tablespace(arg, c->spaces[i], 3, e);
	return r;
}

int replication_copy(struct replication *c, const void **ret, size_t *ret_len, struct err *e)
{
	const struct event *v = c->events;

	if (v->r < 0)
		return err_set(e, v->r, "%s", v->p);
	*ret = v->p;
	*ret_len = v->n;
	c->events += v->r != 2;
	return v->r;
}

int replication_backup_end(struct replication *c, replication_row_fn *end, void *arg, struct err *e)
{
	return end(arg, c->stop, 2, e);
}

#define TEXT(s)                     \
	{                           \
		1, s, sizeof(s) - 1 \
	}
#define ENDED              \
	{                  \
		0, NULL, 0 \
	}
#define OVER               \
	{                  \
		2, NULL, 0 \
	}

static const char *const base_only[][3] = {{NULL, NULL, "10"}};
static const char *const with_spaces[][3] = {
	{"16385", "/srv/a", "5"}, {"16386", "/srv/b", "0"}, {NULL, NULL, "10"}};

static struct replication make(int version, const struct event *events, bool spaces)
{
	return (struct replication){
		.server = {.version = version},
		.spaces = spaces ? with_spaces : base_only,
		.n_spaces = spaces ? 3 : 1,
		.start = {"0/2000028", "3"},
		.stop = {"0/2000100", "3"},
		.events = events,
	};
}

static int count_piece(void *arg, struct err *e)
{
	(void)e;
	++*(int *)arg;
	return 0;
}

/* Everything that comes, as text: "[base]bytes[16385]bytes[manifest]bytes[end 0/2000100]". */
static int read_all(struct replication *c, struct buf *b, struct err *e)
{
	_cleanup_(backup_copy_freep) struct backup_copy *k = NULL;
	enum backup_part part = BACKUP_ARCHIVE;
	struct meter m = {0};
	int pieces = 0;
	int r = backup_copy_begin(c, "BASE_BACKUP", &m, count_piece, &pieces, &k, e);
	uint64_t came = 0;

	while (r == 0 && part != BACKUP_END) {
		const struct backup_space *space = NULL;
		const struct tar_source *src = backup_copy_source(k);
		char text[LSN_TEXT];
		struct lsn stop;
		const void *p;
		ssize_t n;

		r = backup_copy_next(k, &part, &space, &stop, e);
		if (r < 0)
			break;
		if (part == BACKUP_END) {
			buf_printf(b, "[end %s]", lsn_text(stop, text));
			break;
		}
		if (part == BACKUP_MANIFEST)
			buf_printf(b, "[manifest]");
		else
			buf_printf(b, space->location ? "[%u]" : "[base]", space->oid.v);
		while ((n = src->next(src->arg, &p, e)) > 0) {
			buf_put(b, p, (size_t)n);
			came += (uint64_t)n;
		}
		/* The end stays the end. */
		ck_assert(n < 0 || src->next(src->arg, &p, e) == 0);
		r = (int)n;
	}
	if (r == 0) {
		ck_assert_uint_eq(backup_copy_start(k)->at.v, 0x2000028);
		ck_assert_uint_eq(backup_copy_start(k)->tli.v, 3);
		ck_assert_uint_eq(atomic_load(&m.done), came);
		ck_assert_uint_eq(atomic_load(&m.total), (c->n_spaces > 1 ? 15u : 10u) << 10);
		ck_assert_int_gt(pieces, 0);
		ck_assert_int_eq(backup_copy_unmarked(k), c->server.version < 150000);
	}
	return r;
}

static void expect(struct replication c, const char *want)
{
	struct err e = {0};
	struct buf b = {0};
	char *text;
	int r = read_all(&c, &b, &e);

	ck_assert_msg(r == 0, "%s", e.text);
	text = buf_steal_str(&b);
	ck_assert_str_eq(text, want);
	free(text);
}

static void expect_error(struct replication c, int code, const char *word)
{
	struct err e = {0};
	struct buf b = {0};
	int r = read_all(&c, &b, &e);

	buf_free(&b);
	ck_assert_msg(
		r == code && strstr(e.text, word), "%d \"%s\", wanted %d \"%s\"", r, e.text, code, word);
}

START_TEST(test_typed)
{
	static const struct event events[] = {TEXT("n16385.tar\0/srv/a\0"), TEXT("daaa"), TEXT("p12345678"),
		TEXT("d"), TEXT("dbbb"), TEXT("n16386.tar\0/srv/b\0"), TEXT("nbase.tar\0\0"), TEXT("dccc"),
		TEXT("m"), TEXT("d{}"), ENDED, OVER};
	static const struct event small[] = {
		TEXT("nbase.tar\0\0"), TEXT("d1"), TEXT("m"), TEXT("d2"), ENDED, OVER};

	for (int v = 150000; v <= 180000; v += 10000)
		expect(make(v, events, true), "[16385]aaabbb[16386][base]ccc[manifest]{}[end 0/2000100]");
	expect(make(150004, small, false), "[base]1[manifest]2[end 0/2000100]");
}
END_TEST

START_TEST(test_untyped)
{
	static const struct event events[] = {
		TEXT("daaa"), TEXT("bbb"), ENDED, ENDED, TEXT("nccc"), ENDED, TEXT("m{}"), ENDED, OVER};
	static const struct event small[] = {TEXT("1"), ENDED, TEXT("2"), ENDED, OVER};

	for (int v = 130000; v < 150000; v += 10000)
		expect(make(v, events, true), "[16385]daaabbb[16386][base]nccc[manifest]m{}[end 0/2000100]");
	expect(make(140010, small, false), "[base]1[manifest]2[end 0/2000100]");
}
END_TEST

START_TEST(test_odd)
{
	static const struct {
		struct event events[8];
		const char *word;
	} bad[] = {
		{{TEXT("dx"), ENDED, OVER}, "data before it said of what"},
		{{TEXT("nother.tar\0\0"), ENDED, OVER}, "had not announced"},
		{{TEXT("nbase.tar\0\0"), TEXT("nbase.tar\0\0"), ENDED, OVER}, "had not announced"},
		{{TEXT("n"), ENDED, OVER}, "had not announced"},
		{{TEXT("m"), ENDED, OVER}, "before all archives"},
		{{TEXT("nbase.tar\0\0"), ENDED, OVER}, "no manifest"},
		{{TEXT("nbase.tar\0\0"), TEXT("m"), TEXT("m"), ENDED, OVER}, "before all archives"},
		{{TEXT("nbase.tar\0\0"), TEXT("m"), TEXT("nbase.tar\0\0"), ENDED, OVER}, "had not announced"},
		{{TEXT("nbase.tar\0\0"), TEXT("?"), ENDED, OVER}, "type that is not known"},
		{{TEXT("nbase.tar\0\0"), TEXT(""), ENDED, OVER}, "without a type"},
		{{ENDED, OVER}, "no manifest"},
	};
	static const struct event broken[] = {TEXT("nbase.tar\0\0"), {-ECONNRESET, "gone", 0}};
	static const struct event fewer[] = {TEXT("aaa"), ENDED, OVER};
	static const struct event fine[] = {TEXT("nbase.tar\0\0"), TEXT("m"), ENDED, OVER};
	static const char *const lists[][3] = {{"16385", NULL, "5"}, {NULL, "/srv/a", "5"},
		{"0", "/srv/a", "5"}, {"x", "/srv/a", "5"}, {"4294967296", "/srv/a", "5"}};
	static const char *const positions[][2] = {{NULL, "1"}, {"0/0", "1"}, {"zero", "1"}, {"0/1", NULL},
		{"0/1", "0"}, {"0/1", "-1"}, {"0/1", ""}};

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		expect_error(make(160000, bad[i].events, false), -EBADMSG, bad[i].word);
	expect_error(make(160000, broken, false), -ECONNRESET, "gone");
	expect_error(make(130000, broken, false), -ECONNRESET, "gone");
	expect_error(make(130000, fewer, true), -EBADMSG, "fewer archives");
	for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++) {
		struct replication c = make(160000, fine, false);

		c.spaces = &lists[i];
		expect_error(c, -EBADMSG, "tablespaces");
	}
	for (size_t i = 0; i < sizeof(positions) / sizeof(positions[0]); i++) {
		struct replication c = make(160000, fine, false);

		memcpy(c.start, positions[i], sizeof(c.start));
		expect_error(c, -EBADMSG, "position");
		c = make(160000, fine, false);
		memcpy(c.stop, positions[i], sizeof(c.stop));
		expect_error(c, -EBADMSG, "position");
	}
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("capture_backup");
	TCase *c = tcase_create("parts");

	tcase_add_test(c, test_typed);
	tcase_add_test(c, test_untyped);
	tcase_add_test(c, test_odd);
	suite_add_tcase(s, c);
	return s;
}

CHECK_MAIN(suite)
