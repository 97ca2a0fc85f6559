/* Digests: the standard's own examples, and their text. */
#include "store/digest.h"
#include "tests/unit/check_main.h"

/* FIPS 180-4 examples (NIST, "SHA256.pdf" of the Cryptographic Standards and Guidelines). */
static const struct {
	const char *text, *hex;
} known[] = {
	{"", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
	{"abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
	{"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
		"248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"},
};

START_TEST(of_known)
{
	struct digest d = digest_of(known[_i].text, strlen(known[_i].text)), back;
	char hex[DIGEST_HEX];

	ck_assert_str_eq(digest_hex(&d, hex), known[_i].hex);
	ck_assert(digest_parse(hex, &back));
	ck_assert(digest_eq(&d, &back));
	ck_assert(!digest_is_zero(&d));
}
END_TEST

static const char *const refused[] = {
	"",
	"ba78",
	"ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015a",
	"ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad0",
	"BA7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
	"ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ag",
	" a7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
	"ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015a/",
};

START_TEST(parse_refuses)
{
	struct digest d = {{7}}, was = d;
	char *exact = check_exact(refused[_i], strlen(refused[_i]) + 1);

	ck_assert(!digest_parse(exact, &d));
	ck_assert(digest_eq(&d, &was));
	free(exact);
}
END_TEST

START_TEST(order)
{
	struct digest a = {{0}}, b = {{0}};

	ck_assert(digest_is_zero(&a));
	b.b[31] = 1;
	ck_assert(!digest_is_zero(&b));
	ck_assert_int_lt(digest_cmp(&a, &b), 0);
	a.b[0] = 0x80; /* bytes are unsigned */
	ck_assert_int_gt(digest_cmp(&a, &b), 0);
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("store/digest");
	TCase *t = tcase_create("all");

	tcase_add_loop_test(t, of_known, 0, sizeof(known) / sizeof(*known));
	tcase_add_loop_test(t, parse_refuses, 0, sizeof(refused) / sizeof(*refused));
	tcase_add_test(t, order);
	suite_add_tcase(s, t);
	return s;
}
CHECK_MAIN(suite)
