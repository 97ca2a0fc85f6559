/* Packs: bytes as store/README.md says, cut, bent, small and with a footer larger than the first read. */
#include "src/base/crc32c.h"
#include "store/pack.h"
#include "tests/unit/store_fixture.h"

static const uint8_t repo_id[16] = {
	0x10, 0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17, 0x18, 0x19, 0x1a, 0x1b, 0x1c, 0x1d, 0x1e, 0x1f};

/* The footer of a pack of two records (those of test_store_record.c: "hello" raw, 33 bytes, and a delta of 63
 * bytes) whose random bytes are 0, 1, 2, … 15. */
#define FOOTER                                                                             \
	"000102030405060708090a0b0c0d0e0f "                                                \
	"2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824 21000000 01 00 " \
	"b94d27b9934d3e08a52e52d7da7dabfac484efe37a5380ee9088f7ace2efcde9 3f000000 01 03"
#define TRAILER                                                           \
	"8000000000000000 " /* the footer begins at 32 + 33 + 63 = 128 */ \
	"5c000000 "	    /* it has 16 + 2 * 38 = 92 bytes */           \
	"c17c2ca4 "	    /* its crc */                                 \
	"50454e44 5df39ff2" /* "PEND", crc of the 20 bytes before */
#define SIZE 244	    /* 128 + 92 + 24 */

START_TEST(reads_golden)
{
	size_t n, n_entries;
	uint8_t *f = fx_hex(FOOTER, &n), *t;
	struct pack_entry *en;
	struct err e = {0};
	struct digest id;
	uint64_t off;
	uint32_t len;

	ck_assert_uint_eq(n, 92);
	fx_ok(pack_parse_footer(f, n, &en, &n_entries, &e), &e);
	ck_assert_uint_eq(n_entries, 2);
	ck_assert(digest_parse("2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824", &id));
	ck_assert(digest_eq(&en[0].id, &id));
	ck_assert_uint_eq(en[0].off, 32);
	ck_assert_uint_eq(en[0].len, 33);
	ck_assert_uint_eq(en[0].kind, 1);
	ck_assert_uint_eq(en[0].depth, 0);
	ck_assert_uint_eq(en[1].off, 65);
	ck_assert_uint_eq(en[1].len, 63);
	ck_assert_uint_eq(en[1].depth, 3);
	free(en);
	free(f);
	t = fx_hex(TRAILER, &n);
	ck_assert_uint_eq(n, PACK_TRAILER);
	fx_ok(pack_parse_trailer(t, n, SIZE, &off, &len, &e), &e);
	ck_assert_uint_eq(off, 128);
	ck_assert_uint_eq(len, 92);
	free(t);
}
END_TEST

START_TEST(footer_cut)
{
	size_t n, n_entries;
	uint8_t *f = fx_hex(FOOTER, &n);

	for (size_t k = 0; k < n; k++) {
		uint8_t *exact = check_exact(f, k);
		struct pack_entry *en = NULL;
		struct err e = {0};
		int r = pack_parse_footer(exact, k, &en, &n_entries, &e);

		/* Whole entries are a footer; its name says that it is another one. */
		ck_assert_int_eq(r, k == 16 || k == 54 ? 0 : -EBADMSG);
		if (!r)
			ck_assert_uint_eq(n_entries, (k - 16) / 38);
		free(en);
		free(exact);
	}
	/* A record shorter than its head. */
	f[16 + 32] = 27;
	struct pack_entry *en;
	struct err e = {0};
	fx_fails(pack_parse_footer(f, n, &en, &n_entries, &e), -EBADMSG, &e);
	/* Records that pass 4 GiB. */
	memset(f + 16 + 32, 0xff, 4);
	fx_fails(pack_parse_footer(f, n, &en, &n_entries, &e), -EBADMSG, &e);
	free(f);
}
END_TEST

START_TEST(trailer_bent)
{
	size_t n;
	uint8_t *t = fx_hex(TRAILER, &n);
	struct err e = {0};
	uint64_t off = 7, sizes[] = {0, 24, 243, 245, 1u << 30, UINT64_MAX};
	uint32_t len = 7;

	for (size_t bit = 0; bit < 8 * n; bit++) {
		t[bit / 8] ^= (uint8_t)(1u << (bit % 8));
		fx_fails(pack_parse_trailer(t, n, SIZE, &off, &len, &e), -EBADMSG, &e);
		t[bit / 8] ^= (uint8_t)(1u << (bit % 8));
	}
	for (size_t k = 0; k < n; k++) {
		uint8_t *exact = check_exact(t, k);

		fx_fails(pack_parse_trailer(exact, k, SIZE, &off, &len, &e), -EBADMSG, &e);
		free(exact);
	}
	for (size_t i = 0; i < sizeof(sizes) / sizeof(*sizes); i++)
		fx_fails(pack_parse_trailer(t, n, sizes[i], &off, &len, &e), -EBADMSG, &e);
	ck_assert_uint_eq(off, 7);
	ck_assert_uint_eq(len, 7);
	/* Lengths that fit no pack, under a checksum that fits them. */
	static const struct {
		uint64_t off;
		uint32_t len;
	} odd[] = {
		{0, 220}, {31, 189}, {UINT64_MAX, 92}, {SIZE, UINT32_MAX - 23}, {128, UINT32_MAX}, {128, 93}};
	for (size_t i = 0; i < sizeof(odd) / sizeof(*odd); i++) {
		struct buf b = {0};

		buf_put_u64(&b, odd[i].off);
		buf_put_u32(&b, odd[i].len);
		buf_put_u32(&b, 0);
		buf_put_u32(&b, 0x444e4550);
		buf_put_u32(&b, crc32c(0, b.data, b.len));
		fx_fails(pack_parse_trailer(b.data, b.len, SIZE, &off, &len, &e), -EBADMSG, &e);
		buf_free(&b);
	}
	free(t);
}
END_TEST

/* ---- whole packs ---- */

struct made {
	char *dir;
	struct backend *b;
	struct digest name;
	char object[PACK_NAME_MAX];
	uint64_t size;
	size_t n;
};

/* A pack of n records with payloads of their numbers, and its footer looked at. */
static struct made make_pack(size_t n, size_t payload)
{
	struct object_info info;
	struct made m = {.dir = check_tempdir(), .n = n};
	uint8_t *bytes = calloc(1, payload);
	const struct pack_entry *en;
	struct packer *p;
	struct err e = {0};
	uint64_t off = PACK_HEAD;
	size_t got;

	fx_ok(backend_local(m.dir, &m.b, &e), &e);
	fx_ok(packer_new(m.b, repo_id, &p, &e), &e);
	for (size_t i = 0; i < n; i++) {
		struct record r = {.kind = RECORD_CHUNK + i % 3,
			.payload = bytes,
			.payload_len = (uint32_t)payload,
			.raw_len = (uint32_t)payload};
		struct digest id;

		memcpy(bytes, &i, sizeof(i));
		r.raw_crc = crc32c(0, bytes, payload);
		id = digest_of(bytes, payload);
		if (i % 5 == 4) {
			r.codec = CODEC_XOR;
			r.depth = (uint8_t)(1 + i % 7);
		}
		fx_ok(packer_add(p, &r, &id, &e), &e);
		en = packer_entries(p, &got);
		ck_assert_uint_eq(got, i + 1);
		ck_assert_uint_eq(en[i].off, off);
		off += record_size(&r);
		ck_assert_uint_eq(packer_size(p), off);
	}
	fx_ok(packer_seal(p, &e), &e);
	m.name = *packer_name(p);
	m.size = packer_size(p);
	pack_object_name(&m.name, m.object);
	ck_assert_int_eq(backend_stat(m.b, m.object, &info, NULL), -ENOENT);
	fx_ok(packer_publish(p, &e), &e);
	fx_ok(backend_stat(m.b, m.object, &info, &e), &e);
	ck_assert_uint_eq(info.size, m.size);
	packer_free(p);
	free(bytes);
	return m;
}

static void drop_pack(struct made *m)
{
	backend_free(m->b);
	check_rmtree(m->dir);
	free(m->dir);
}

static const struct {
	size_t n, payload;
} packs[] = {{0, 8}, {1, 8}, {100, 1000}, {1723, 8}, {1724, 8}, {5000, 8}, {40, 100000}};

START_TEST(round_trip)
{
	struct made m = make_pack(packs[_i].n, packs[_i].payload);
	struct pack_entry *en;
	struct err e = {0};
	size_t n, len;
	uint8_t *p, *head;

	fx_ok(pack_load_footer(m.b, &m.name, m.size, &en, &n, &e), &e);
	ck_assert_uint_eq(n, m.n);
	p = fx_read_file(m.dir, m.object, &len);
	head = fx_hex("'pgstPACK' 01000000 00000000 101112131415161718191a1b1c1d1e1f", &len);
	fx_same("head", p, 32, head, len);
	for (size_t i = 0; i < n; i++) {
		struct record r;
		uint64_t number;

		fx_ok(record_parse(p + en[i].off, en[i].len, &en[i].id, &r, &e), &e);
		memcpy(&number, r.payload, sizeof(number));
		ck_assert_uint_eq(number, i);
		ck_assert_uint_eq(en[i].kind, r.kind);
		ck_assert_uint_eq(en[i].depth, r.depth);
	}
	free(en);
	free(p);
	free(head);
	drop_pack(&m);
}
END_TEST

/* Every bit of footer and trailer matters, but for the trailer's copy of the footer's CRC under its own. */
START_TEST(footer_flips)
{
	struct made m = make_pack(4, 50);
	size_t len, n;
	uint8_t *p = fx_read_file(m.dir, m.object, &len);

	for (size_t at = len - PACK_TRAILER - 16 - 4 * PACK_ENTRY; at < len; at++)
		for (int bit = 0; bit < 8; bit++) {
			struct pack_entry *en;
			struct err e = {0};

			p[at] ^= (uint8_t)(1u << bit);
			fx_replace(m.dir, m.object, p, len);
			p[at] ^= (uint8_t)(1u << bit);
			fx_fails(pack_load_footer(m.b, &m.name, len, &en, &n, &e), -EBADMSG, &e);
			ck_assert_msg(strstr(e.text, m.object), "\"%s\" names no object", e.text);
		}
	free(p);
	drop_pack(&m);
}
END_TEST

START_TEST(pack_cut)
{
	struct made m = make_pack(3, 20);
	size_t len, n;
	uint8_t *p = fx_read_file(m.dir, m.object, &len);
	struct pack_entry *en;

	for (size_t k = 0; k < len; k++) {
		struct err e = {0};

		fx_replace(m.dir, m.object, p, k);
		fx_fails(pack_load_footer(m.b, &m.name, k, &en, &n, &e), -EBADMSG, &e);
		ck_assert_msg(strstr(e.text, m.object), "\"%s\" names no object", e.text);
		/* It was listed with its size, and is shorter by now. */
		fx_fails(pack_load_footer(m.b, &m.name, len, &en, &n, &e), -EBADMSG, &e);
	}
	fx_fails(pack_load_footer(m.b, &m.name, UINT64_MAX, &en, &n, &(struct err){0}), -EBADMSG,
		&((struct err){.text = "x"}));
	struct err e = {0};
	backend_remove(m.b, m.object, NULL);
	fx_fails(pack_load_footer(m.b, &m.name, len, &en, &n, &e), -ENOENT, &e);
	free(p);
	drop_pack(&m);
}
END_TEST

START_TEST(abandoned)
{
	char *dir = check_tempdir();
	struct backend *b;
	struct packer *p;
	struct fx_objects o = {0};
	struct err e = {0};
	struct record r = {
		.kind = RECORD_CHUNK, .payload = (const uint8_t *)"x", .payload_len = 1, .raw_len = 1};
	struct digest id = digest_of("x", 1), one;

	fx_ok(backend_local(dir, &b, &e), &e);
	for (int i = 0; i < 2; i++) {
		fx_ok(packer_new(b, repo_id, &p, &e), &e);
		fx_ok(packer_add(p, &r, &id, &e), &e);
		fx_ok(packer_seal(p, &e), &e);
		/* The same records make packs of other names. */
		if (i)
			ck_assert(!digest_eq(&one, packer_name(p)));
		one = *packer_name(p);
		packer_free(p);
	}
	fx_ok(backend_list(b, "packs", fx_object, &o, &e), &e);
	ck_assert_uint_eq(o.n, 0);
	packer_free(NULL);
	backend_free(b);
	check_rmtree(dir);
	free(dir);
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("store/pack");
	TCase *t = tcase_create("all");

	tcase_add_test(t, reads_golden);
	tcase_add_test(t, footer_cut);
	tcase_add_test(t, trailer_bent);
	tcase_add_loop_test(t, round_trip, 0, sizeof(packs) / sizeof(*packs));
	tcase_add_test(t, footer_flips);
	tcase_add_test(t, pack_cut);
	tcase_add_test(t, abandoned);
	suite_add_tcase(s, t);
	return s;
}
CHECK_MAIN(suite)
