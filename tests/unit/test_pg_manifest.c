/* backup_manifest: what real servers wrote, every spelling JSON allows, every mistake once, cut at every
 * byte, every bit flipped. That the digest covers what is said was checked on whole manifests with sha256sum:
 * the box hashes nothing. */
#include "tests/unit/check_main.h"

#include <errno.h>

#include "src/base/buf.h"
#include "src/base/clean.h"
#include "src/pg/manifest.h"

#define DIGEST "9ce881fd1e1a29345b72a1898732a2d4216f38ba6554e10153b1f8a2230e6413"
#define RANGE "{ \"Timeline\": 1, \"Start-LSN\": \"0/2000028\", \"End-LSN\": \"0/2000100\" }"
#define RANGES "\"WAL-Ranges\": [\n" RANGE "\n],\n"
#define END "\"Manifest-Checksum\": \"" DIGEST "\"}\n"

/* As 13 to 16 write it. */
static const char v1[] =
	"{ \"PostgreSQL-Backup-Manifest-Version\": 1,\n"
	"\"Files\": [\n"
	"{ \"Path\": \"pg_tblspc/16384/PG_13_202007201/13443/16386\", \"Size\": 40960, \"Last-Modified\": "
	"\"2026-11-20 "
	"11:06:46 GMT\", \"Checksum-Algorithm\": \"CRC32C\", \"Checksum\": \"1c80f91a\" },\n"
	"{ \"Encoded-Path\": \"ff2fe9\", \"Size\": 0, \"Last-Modified\": \"2026-11-20 11:06:46 GMT\", "
	"\"Checksum-Algorithm\": \"SHA256\", \"Checksum\": "
	"\"E04D72F9CC8C9121BFA44C3472F57E9307FD40435698CAA3AA277CA739648B53\" },\n"
	"{ \"Path\": \"backup_label\", \"Size\": 203, \"Last-Modified\": \"2026-11-20 11:13:57 GMT\" }\n"
	"],\n" RANGES END;

/* As 17 and 18 write it. */
static const char v2[] =
	"{ \"PostgreSQL-Backup-Manifest-Version\": 2,\n"
	"\"System-Identifier\": 7710208494625492594,\n"
	"\"Files\": [\n"
	"{ \"Path\": \"PG_VERSION\", \"Size\": 3, \"Last-Modified\": \"2026-11-20 11:06:47 GMT\", "
	"\"Checksum-Algorithm\": \"CRC32C\", \"Checksum\": \"839fd32d\" }\n"
	"],\n"
	"\"WAL-Ranges\": [\n"
	"{ \"Timeline\": 1, \"Start-LSN\": \"0/2000028\", \"End-LSN\": \"0/2000120\" },\n"
	"{ \"Timeline\": 2, \"Start-LSN\": \"A/2000120\", \"End-LSN\": \"A/2000120\" }\n"
	"],\n" END;

/* Everything told, as text, and each file read again at its offset. */
struct seen {
	struct buf text;
	const char *base;
	size_t n;
};

static void put_file(struct buf *b, const struct manifest_file *f)
{
	ck_assert_uint_eq(strlen(f->path), f->path_len);
	buf_printf(b, "%s|%" PRIu64 "|%s|%s|", f->path, f->size, f->mtime,
		manifest_algorithm_name(f->algorithm));
	for (size_t i = 0; i < manifest_digest_len(f->algorithm); i++)
		buf_printf(b, "%02x", f->digest[i]);
	buf_printf(b, "\n");
}

static int on_file(void *arg, const struct manifest_file *f, struct err *e)
{
	struct seen *s = arg;
	struct buf again = {0};
	struct manifest_scratch scratch;
	struct manifest_file g;
	size_t start = s->text.len;

	(void)e;
	put_file(&s->text, f);
	ck_assert_int_eq(s->base[f->offset], '{');
	ck_assert_int_eq(manifest_parse_file_at(s->base, s->n, f->offset, &scratch, &g, NULL), 0);
	ck_assert_uint_eq(g.offset, f->offset);
	put_file(&again, &g);
	ck_assert_uint_eq(again.len, s->text.len - start);
	ck_assert_mem_eq(again.data, s->text.data + start, again.len);
	buf_free(&again);
	return 0;
}

static int on_range(void *arg, const struct manifest_wal_range *w, struct err *e)
{
	char a[LSN_TEXT], b[LSN_TEXT];

	(void)e;
	buf_printf(&((struct seen *)arg)->text, "%u %s-%s\n", w->tli.v, lsn_text(w->start, a),
		lsn_text(w->end, b));
	return 0;
}

static const struct manifest_ops ops = {.file = on_file, .wal_range = on_range};

/* Parses n bytes; *text, when wanted, is what was told. */
static int parse(const char *p, size_t n, struct manifest_info *info, char **text, struct err *e)
{
	char *exact = check_exact(p, n);
	struct seen s = {.base = exact, .n = n};
	int r = manifest_parse(exact, n, &ops, &s, info, e);

	if (text)
		*text = buf_steal_str(&s.text);
	buf_free(&s.text);
	free(exact);
	return r;
}

static void check_digest(const struct manifest_info *info, const char *text)
{
	char hex[65];

	for (int i = 0; i < 32; i++)
		snprintf(hex + 2 * i, 3, "%02x", info->digest[i]);
	ck_assert_str_eq(hex, DIGEST);
	ck_assert_uint_eq(info->covered, strlen(text) - strlen(END));
}

START_TEST(version_1)
{
	_cleanup_(freep) char *told = NULL;
	struct manifest_info info;
	struct err e = {0};

	ck_assert_msg(parse(v1, strlen(v1), &info, &told, &e) == 0, "%s", e.text);
	ck_assert_str_eq(told,
		"pg_tblspc/16384/PG_13_202007201/13443/16386|40960|2026-11-20 11:06:46 GMT|CRC32C|1c80f91a\n"
		"\xff/\xe9|0|2026-11-20 11:06:46 "
		"GMT|SHA256|e04d72f9cc8c9121bfa44c3472f57e9307fd40435698caa3aa277ca739648b53\n"
		"backup_label|203|2026-11-20 11:13:57 GMT|NONE|\n"
		"1 0/2000028-0/2000100\n");
	ck_assert_uint_eq(info.version, 1);
	ck_assert(!info.has_system_identifier);
	ck_assert_uint_eq(info.files, 3);
	ck_assert_uint_eq(info.bytes, 40960 + 203);
	ck_assert_uint_eq(info.wal_ranges, 1);
	check_digest(&info, v1);
}
END_TEST

START_TEST(version_2)
{
	_cleanup_(freep) char *told = NULL;
	struct manifest_info info;
	struct err e = {0};

	ck_assert_msg(parse(v2, strlen(v2), &info, &told, &e) == 0, "%s", e.text);
	ck_assert_str_eq(told, "PG_VERSION|3|2026-11-20 11:06:47 GMT|CRC32C|839fd32d\n"
			       "1 0/2000028-0/2000120\n"
			       "2 A/2000120-A/2000120\n");
	ck_assert_uint_eq(info.version, 2);
	ck_assert(info.has_system_identifier);
	ck_assert_uint_eq(info.system_identifier, 7710208494625492594u);
	ck_assert_uint_eq(info.wal_ranges, 2);
	check_digest(&info, v2);
	/* Slots of the ops may be empty. */
	ck_assert_int_eq(manifest_parse(v2, strlen(v2), &(struct manifest_ops){0}, NULL, &info, NULL), 0);
}
END_TEST

START_TEST(crc32c_is_lowest_byte_first)
{
	struct manifest_file f = {.algorithm = MANIFEST_CRC32C, .digest = {0x1c, 0x80, 0xf9, 0x1a}};

	ck_assert(manifest_crc32c_is(&f, 0x1af9801c));
	ck_assert(!manifest_crc32c_is(&f, 0x1c80f91a));
	f.algorithm = MANIFEST_SHA256;
	ck_assert(!manifest_crc32c_is(&f, 0x1af9801c));
}
END_TEST

/* One file object within an otherwise good manifest. */
static char *with_file(const char *object)
{
	struct buf b = {0};

	buf_printf(&b, "{ \"PostgreSQL-Backup-Manifest-Version\": 1,\n\"Files\": [%s],\n%s%s", object, RANGES,
		END);
	return buf_steal_str(&b);
}

START_TEST(files_in_other_spellings)
{
	static const struct {
		const char *object;
		const char *want;
	} cases[] = {
		{"", ""},
		{" \t\r\n ", ""},
		{"{\"Path\":\"a\",\"Size\":1}", "a|1||NONE|\n"},
		{"\n{\r\n\t\"Size\" : 18 , \"Path\" : \"a/b\" }\n", "a/b|18||NONE|\n"},
		{"{\"Checksum\":\"00fF00Ff\",\"Checksum-Algorithm\":\"crc32c\",\"Path\":\"a\",\"Size\":1}",
			"a|1||CRC32C|00ff00ff\n"},
		{"{\"Path\":\"a\",\"Size\":1,\"Checksum-Algorithm\":\"NONE\"}", "a|1||NONE|\n"},
		{"{\"Path\":\"a\",\"Size\":1,\"Checksum-Algorithm\":\"none\",\"Checksum\":\"\"}",
			"a|1||NONE|\n"},
		{"{\"\\u0050ath\":\"\\u0061\\/b\",\"Size\":1}", "a/b|1||NONE|\n"},
		{"{\"Path\":\"\\\"\\\\\\b\\f\\n\\r\\t\",\"Size\":1}", "\"\\\b\f\n\r\t|1||NONE|\n"},
		{"{\"Path\":\"\\u00e9\\u20AC\\ud83d\\uDE00\",\"Size\":1}",
			"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80|1||NONE|\n"},
		{"{\"Path\":\"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\x7f\",\"Size\":1}",
			"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\x7f|1||NONE|\n"},
		{"{\"Path\":\"\\uffff\\u0800\\u07ff\\u0080\\udbff\\udfff\",\"Size\":1}",
			"\xef\xbf\xbf\xe0\xa0\x80\xdf\xbf\xc2\x80\xf4\x8f\xbf\xbf|1||NONE|\n"},
		{"{\"Encoded-Path\":\"2e2e2E\",\"Size\":9223372036854775807}",
			"...|9223372036854775807||NONE|\n"},
		{"{\"Encoded-Path\":\"\\u0036\\u0031\",\"Size\":0}", "a|0||NONE|\n"},
		{"{\"Path\":\"a\",\"Size\":0},{\"Path\":\"a\",\"Size\":0}", "a|0||NONE|\na|0||NONE|\n"},
		{"{\"Path\":\"..a/.b/c..\",\"Size\":0}", "..a/.b/c..|0||NONE|\n"},
	};

	for (size_t k = 0; k < sizeof(cases) / sizeof(*cases); k++) {
		_cleanup_(freep) char *text = with_file(cases[k].object);
		_cleanup_(freep) char *told = NULL;
		struct manifest_info info;
		struct err e = {0};

		ck_assert_msg(
			parse(text, strlen(text), &info, &told, &e) == 0, "%s: %s", cases[k].object, e.text);
		*strstr(told, "1 0/2000028") = 0;
		ck_assert_str_eq(told, cases[k].want);
	}
}
END_TEST

START_TEST(digests_of_every_length)
{
	static const struct {
		const char *name;
		int len;
	} cases[] = {{"CRC32C", 4}, {"SHA224", 28}, {"SHA256", 32}, {"SHA384", 48}, {"SHA512", 64}};

	for (size_t k = 0; k < sizeof(cases) / sizeof(*cases); k++) {
		for (int len = 0; len <= 66; len++) {
			_cleanup_(buf_free) struct buf b = {0};
			_cleanup_(freep) char *object = NULL;
			_cleanup_(freep) char *text = NULL;
			struct manifest_info info;

			buf_printf(&b,
				"{\"Path\":\"a\",\"Size\":1,\"Checksum-Algorithm\":\"%s\",\"Checksum\":\"%.*"
				"s\"}",
				cases[k].name, 2 * len, DIGEST DIGEST DIGEST);
			object = buf_steal_str(&b);
			text = with_file(object);
			ck_assert_int_eq(parse(text, strlen(text), &info, NULL, NULL),
				len == cases[k].len ? 0 : -EBADMSG);
		}
	}
	for (int a = MANIFEST_NONE; a <= MANIFEST_SHA512; a++)
		ck_assert_uint_eq(manifest_digest_len(a), a ? cases[a - 1].len : 0);
}
END_TEST

START_TEST(wrong_files)
{
	static const struct {
		const char *object;
		const char *says;
	} cases[] = {
		{"{}", "one of Path and Encoded-Path"},
		{"{\"Size\":1}", "one of Path and Encoded-Path"},
		{"{\"Path\":\"a\",\"Encoded-Path\":\"61\",\"Size\":1}", "one of Path and Encoded-Path"},
		{"{\"Path\":\"a\"}", "no Size"},
		{"{\"Path\":\"a\",\"Size\":1,\"Size\":1}", "second time"},
		{"{\"Path\":\"a\",\"Size\":1,\"Sise\":1}", "unknown key"},
		{"{\"Path\":\"a\",\"Size\":1,\"Files\":[]}", "unknown key"},
		{"{\"Path\":\"a\",\"Size\":1,\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\":1}",
			"too long"},
		{"{\"Path\":\"a\",\"Size\":-1}", "whole number"},
		{"{\"Path\":\"a\",\"Size\":+1}", "whole number"},
		{"{\"Path\":\"a\",\"Size\":01}", "whole number"},
		{"{\"Path\":\"a\",\"Size\":1.0}", "whole number"},
		{"{\"Path\":\"a\",\"Size\":1e3}", "whole number"},
		{"{\"Path\":\"a\",\"Size\":\"1\"}", "whole number"},
		{"{\"Path\":\"a\",\"Size\":null}", "whole number"},
		{"{\"Path\":\"a\",\"Size\":}", "whole number"},
		{"{\"Path\":\"a\",\"Size\":9223372036854775808}", "that large"},
		{"{\"Path\":\"a\",\"Size\":18446744073709551616}", "too large"},
		{"{\"Path\":\"a\",\"Size\":99999999999999999999999}", "too large"},
		{"{\"Path\":1,\"Size\":1}", "expected a string"},
		{"{\"Path\":null,\"Size\":1}", "expected a string"},
		{"{\"Path\":[\"a\"],\"Size\":1}", "expected a string"},
		{"{\"Path\" \"a\",\"Size\":1}", "expected :"},
		{"{\"Path\":\"a\" \"Size\":1}", "expected , or }"},
		{"{\"Path\":\"a\",\"Size\":1,}", "expected a string"},
		{"{,\"Path\":\"a\",\"Size\":1}", "expected a string"},
		{"{\"Path\":\"a\",\"Size\":1]", "expected , or }"},
		{"{\"Path\":\"a\",\"Size\":1},", "expected {"},
		{",{\"Path\":\"a\",\"Size\":1}", "expected {"},
		{"{\"Path\":\"a\",\"Size\":1}{\"Path\":\"a\",\"Size\":1}", "expected , or ]"},
		{"{'Path':\"a\",\"Size\":1}", "expected a string"},
		{"{Path:\"a\",\"Size\":1}", "expected a string"},
		{"[]", "expected {"},
		{"1", "expected {"},
		{"/* */", "expected {"},
		{"{\"Path\":\"\",\"Size\":1}", "leads out"},
		{"{\"Path\":\"/\",\"Size\":1}", "leads out"},
		{"{\"Path\":\"/etc/passwd\",\"Size\":1}", "leads out"},
		{"{\"Path\":\"..\",\"Size\":1}", "leads out"},
		{"{\"Path\":\".\",\"Size\":1}", "leads out"},
		{"{\"Path\":\"a/../b\",\"Size\":1}", "leads out"},
		{"{\"Path\":\"a/./b\",\"Size\":1}", "leads out"},
		{"{\"Path\":\"a//b\",\"Size\":1}", "leads out"},
		{"{\"Path\":\"a/\",\"Size\":1}", "leads out"},
		{"{\"Path\":\"../a\",\"Size\":1}", "leads out"},
		{"{\"Path\":\"a/..\",\"Size\":1}", "leads out"},
		{"{\"Path\":\"\\u002e\\u002e/a\",\"Size\":1}", "leads out"},
		{"{\"Encoded-Path\":\"2e2e2f61\",\"Size\":1}", "leads out"},
		{"{\"Encoded-Path\":\"610062\",\"Size\":1}", "leads out"},
		{"{\"Encoded-Path\":\"\",\"Size\":1}", "leads out"},
		{"{\"Encoded-Path\":\"6\",\"Size\":1}", "hexadecimal"},
		{"{\"Encoded-Path\":\"6g\",\"Size\":1}", "hexadecimal"},
		{"{\"Encoded-Path\":\" 61\",\"Size\":1}", "hexadecimal"},
		{"{\"Encoded-Path\":\"\\u20ac1\",\"Size\":1}", "hexadecimal"},
		{"{\"Path\":\"\\u0000\",\"Size\":1}", "invalid escape"},
		{"{\"Path\":\"\\x41\",\"Size\":1}", "invalid escape"},
		{"{\"Path\":\"\\u12\",\"Size\":1}", "invalid escape"},
		{"{\"Path\":\"\\u12g4\",\"Size\":1}", "invalid escape"},
		{"{\"Path\":\"\\U0041\",\"Size\":1}", "invalid escape"},
		{"{\"Path\":\"\\udc00\",\"Size\":1}", "invalid escape"},
		{"{\"Path\":\"\\ud83d\",\"Size\":1}", "surrogate"},
		{"{\"Path\":\"\\ud83d\\n\",\"Size\":1}", "surrogate"},
		{"{\"Path\":\"\\ud83d\\u0041\",\"Size\":1}", "surrogate"},
		{"{\"Path\":\"\\ud83d\\ud83d\",\"Size\":1}", "surrogate"},
		{"{\"Path\":\"a\nb\",\"Size\":1}", "control character"},
		{"{\"Path\":\"a\tb\",\"Size\":1}", "control character"},
		{"{\"Path\":\"\x80\",\"Size\":1}", "UTF-8"},
		{"{\"Path\":\"\xc0\xaf\",\"Size\":1}", "UTF-8"},
		{"{\"Path\":\"\xc1\xbf\",\"Size\":1}", "UTF-8"},
		{"{\"Path\":\"\xc3\",\"Size\":1}", "UTF-8"},
		{"{\"Path\":\"\xe0\x9f\xbf\",\"Size\":1}", "UTF-8"},
		{"{\"Path\":\"\xed\xa0\x80\",\"Size\":1}", "UTF-8"},
		{"{\"Path\":\"\xf0\x8f\xbf\xbf\",\"Size\":1}", "UTF-8"},
		{"{\"Path\":\"\xf4\x90\x80\x80\",\"Size\":1}", "UTF-8"},
		{"{\"Path\":\"\xf5\x80\x80\x80\",\"Size\":1}", "UTF-8"},
		{"{\"Path\":\"\xe2\x82\",\"Size\":1}", "UTF-8"},
		{"{\"Path\":\"a\",\"Size\":1,\"Checksum\":\"1c80f91a\"}", "as long as"},
		{"{\"Path\":\"a\",\"Size\":1,\"Checksum-Algorithm\":\"CRC32C\"}", "as long as"},
		{"{\"Path\":\"a\",\"Size\":1,\"Checksum-Algorithm\":\"NONE\",\"Checksum\":\"1c80f91a\"}",
			"as long as"},
		{"{\"Path\":\"a\",\"Size\":1,\"Checksum-Algorithm\":\"MD5\",\"Checksum\":\"1c80f91a\"}",
			"algorithm"},
		{"{\"Path\":\"a\",\"Size\":1,\"Checksum-Algorithm\":\"\",\"Checksum\":\"1c80f91a\"}",
			"algorithm"},
		{"{\"Path\":\"a\",\"Size\":1,\"Checksum-Algorithm\":\"CRC32C\",\"Checksum\":\"1c80f9\"}",
			"as long as"},
		{"{\"Path\":\"a\",\"Size\":1,\"Checksum-Algorithm\":\"CRC32C\",\"Checksum\":\"1c80f91\"}",
			"hexadecimal"},
		{"{\"Path\":\"a\",\"Size\":9223372036854775807},{\"Path\":\"b\",\"Size\":9223372036854775807}"
		 ","
		 "{\"Path\":\"c\",\"Size\":9223372036854775807}",
			"add up"},
	};

	for (size_t k = 0; k < sizeof(cases) / sizeof(*cases); k++) {
		_cleanup_(freep) char *text = with_file(cases[k].object);
		struct manifest_info info = {.version = 77};
		struct err e = {0};

		ck_assert_msg(parse(text, strlen(text), &info, NULL, &e) == -EBADMSG, "%s", cases[k].object);
		ck_assert_msg(strstr(e.text, cases[k].says), "%s: %s", cases[k].object, e.text);
		ck_assert_msg(strstr(e.text, "at byte "), "%s", e.text);
		ck_assert_uint_eq(info.version, 77);
	}
}
END_TEST

START_TEST(long_paths)
{
	for (int n = MANIFEST_PATH_MAX - 1; n <= MANIFEST_PATH_MAX + 1; n++) {
		for (int encoded = 0; encoded < 2; encoded++) {
			_cleanup_(buf_free) struct buf b = {0};
			_cleanup_(freep) char *object = NULL;
			_cleanup_(freep) char *text = NULL;
			struct manifest_info info;

			buf_printf(&b, encoded ? "{\"Encoded-Path\":\"" : "{\"Path\":\"");
			for (int i = 0; i < n; i++)
				buf_printf(&b, encoded ? "61" : "a");
			buf_printf(&b, "\",\"Size\":1}");
			object = buf_steal_str(&b);
			text = with_file(object);
			ck_assert_int_eq(parse(text, strlen(text), &info, NULL, NULL),
				n <= MANIFEST_PATH_MAX ? 0 : -EBADMSG);
		}
	}
}
END_TEST

#define V1 "\"PostgreSQL-Backup-Manifest-Version\": 1"
#define FILES "\"Files\": []"
#define SUM "\"Manifest-Checksum\": \"" DIGEST "\""

START_TEST(documents)
{
	static const struct {
		const char *text;
		int code;
		const char *says;
	} cases[] = {
		{"{" V1 "," FILES ",\"WAL-Ranges\":[],\n" SUM "}\n", 0, ""},
		{" {\"WAL-Ranges\":[]," FILES "," V1 "\n,\n\t" SUM " } \n", 0, ""},
		{" {\"WAL-Ranges\":[]," FILES "," V1 ",\n\t" SUM " } \n", 0, ""},
		{"{" FILES
		 ",\"WAL-Ranges\":[],\"PostgreSQL-Backup-Manifest-Version\":2,\"System-Identifier\":0,\n" SUM
		 "}\n",
			0, ""},
		{"{" V1 ",\"System-Identifier\":18446744073709551615," FILES ",\"WAL-Ranges\":[],\n" SUM
		 "}\n",
			0, ""},
		{"", -EBADMSG, "cut off"},
		{"\n", -EBADMSG, "two lines"},
		{"{}\n", -EBADMSG, "two lines"},
		{"\n{}\n", -EBADMSG, "no PostgreSQL-Backup-Manifest-Version"},
		{"\n[]\n", -EBADMSG, "expected {"},
		{"{" V1 "," FILES ",\"WAL-Ranges\":[],\n" SUM "}", -EBADMSG, "cut off"},
		{"{" V1 "," FILES ",\"WAL-Ranges\":[]," SUM "}\n", -EBADMSG, "two lines"},
		{"{" V1 ",\n" FILES ",\"WAL-Ranges\":[]," SUM "}\n", -EBADMSG, "last line for itself"},
		/* The last line is empty, so the checksum stands in a line that it covers itself. */
		{"{" V1 "," FILES ",\"WAL-Ranges\":[],\n" SUM "}\n\n", -EBADMSG, "last line"},
		{"{" V1 "," FILES ",\"WAL-Ranges\":[],\n" SUM "}x\n", -EBADMSG, "behind the manifest"},
		{"{" V1 "," FILES ",\"WAL-Ranges\":[],\n" SUM "}{}\n", -EBADMSG, "behind the manifest"},
		{"{" V1 "," FILES ",\n" SUM ",\"WAL-Ranges\":[]}\n", -EBADMSG, "must come last"},
		{"{" V1 "," FILES ",\n" SUM "," SUM "}\n", -EBADMSG, "second time"},
		{"{" V1 "," V1 "," FILES ",\"WAL-Ranges\":[],\n" SUM "}\n", -EBADMSG, "second time"},
		{"{" V1 "," FILES "," FILES ",\"WAL-Ranges\":[],\n" SUM "}\n", -EBADMSG, "second time"},
		{"{" V1 ",\"WAL-Ranges\":[],\n" SUM "}\n", -EBADMSG, "no Files"},
		{"{" V1 "," FILES ",\n" SUM "}\n", -EBADMSG, "no WAL-Ranges"},
		{"{" V1 "," FILES ",\n\"WAL-Ranges\":[]}\n", -EBADMSG, "no Manifest-Checksum"},
		{"{" FILES ",\"WAL-Ranges\":[],\n" SUM "}\n", -EBADMSG,
			"no PostgreSQL-Backup-Manifest-Version"},
		{"{\"PostgreSQL-Backup-Manifest-Version\":2," FILES ",\"WAL-Ranges\":[],\n" SUM "}\n",
			-EBADMSG, "no System-Identifier"},
		{"{\"PostgreSQL-Backup-Manifest-Version\":3," FILES ",\"WAL-Ranges\":[],\n" SUM "}\n",
			-EOPNOTSUPP, "version 3 is not known"},
		{"{\"PostgreSQL-Backup-Manifest-Version\":0," FILES ",\"WAL-Ranges\":[],\n" SUM "}\n",
			-EOPNOTSUPP, "version 0 is not known"},
		{"{" V1 ",\"X\":1," FILES ",\"WAL-Ranges\":[],\n" SUM "}\n", -EBADMSG, "unknown key"},
		{"{" V1 ",\"Files\":{},\"WAL-Ranges\":[],\n" SUM "}\n", -EBADMSG, "expected ["},
		{"{" V1 ",\"Files\":[[[[[[[[[[,\n" SUM "}\n", -EBADMSG, "expected {"},
		{"{" V1 "," FILES ",\"WAL-Ranges\":{},\n" SUM "}\n", -EBADMSG, "expected ["},
		{"{" V1 "," FILES ",\"WAL-Ranges\":[{}],\n" SUM "}\n", -EBADMSG, "must have Timeline"},
		{"{" V1 "," FILES ",\"WAL-Ranges\":[{\"Timeline\":1,\"Start-LSN\":\"0/1\"}],\n" SUM "}\n",
			-EBADMSG, "must have Timeline"},
		{"{" V1 "," FILES
		 ",\"WAL-Ranges\":[{\"Timeline\":0,\"Start-LSN\":\"0/1\",\"End-LSN\":\"0/1\"}],\n" SUM "}\n",
			-EBADMSG, "cannot be"},
		{"{" V1 "," FILES ",\"WAL-Ranges\":[{\"Timeline\":4294967296,\"Start-LSN\":\"0/"
		 "1\",\"End-LSN\":\"0/1\"}],\n" SUM "}\n",
			-EBADMSG, "cannot be"},
		{"{" V1 "," FILES
		 ",\"WAL-Ranges\":[{\"Timeline\":1,\"Start-LSN\":\"0/2\",\"End-LSN\":\"0/1\"}],\n" SUM "}\n",
			-EBADMSG, "cannot be"},
		{"{" V1 "," FILES
		 ",\"WAL-Ranges\":[{\"Timeline\":1,\"Start-LSN\":\"0\",\"End-LSN\":\"0/1\"}],\n" SUM "}\n",
			-EBADMSG, "not an LSN"},
		{"{" V1 "," FILES ",\"WAL-Ranges\":[],\n\"Manifest-Checksum\":\"00\"}\n", -EBADMSG,
			"no SHA-256"},
		{"{" V1 "," FILES ",\"WAL-Ranges\":[],\n\"Manifest-Checksum\":\"" DIGEST "00\"}\n", -EBADMSG,
			"too long"},
		{"{" V1 "," FILES ",\"WAL-Ranges\":[],\n\"Manifest-Checksum\":5}\n", -EBADMSG,
			"expected a string"},
		{"\xef\xbb\xbf{" V1 "," FILES ",\"WAL-Ranges\":[],\n" SUM "}\n", -EBADMSG, "expected {"},
	};

	for (size_t k = 0; k < sizeof(cases) / sizeof(*cases); k++) {
		struct manifest_info info;
		struct err e = {0};
		int r = parse(cases[k].text, strlen(cases[k].text), &info, NULL, &e);

		ck_assert_msg(r == cases[k].code, "%s: %s", cases[k].text, e.text);
		ck_assert_msg(strstr(e.text, cases[k].says), "%s: %s", cases[k].text, e.text);
	}
}
END_TEST

START_TEST(cut_at_every_byte)
{
	struct manifest_info info;
	size_t n;

	for (n = 0; n < strlen(v1); n++)
		ck_assert_int_eq(parse(v1, n, &info, NULL, NULL), -EBADMSG);
	for (n = 0; n < strlen(v2); n++)
		ck_assert_int_eq(parse(v2, n, &info, NULL, NULL), -EBADMSG);
}
END_TEST

START_TEST(every_bit_flipped)
{
	const char *whole = _i ? v2 : v1;
	size_t n = strlen(whole);
	char *text = strdup(whole);

	for (size_t bit = 0; bit < 8 * n; bit++) {
		struct manifest_info info;
		struct err e = {0};
		int r;

		text[bit / 8] ^= (char)(1 << bit % 8);
		r = parse(text, n, &info, NULL, &e);
		ck_assert_int_eq(r, e.code);
		ck_assert(r == 0 || r == -EBADMSG || r == -EOPNOTSUPP);
		text[bit / 8] ^= (char)(1 << bit % 8);
	}
	free(text);
}
END_TEST

START_TEST(any_offset_can_be_asked_for)
{
	for (size_t at = 0; at <= strlen(v1) + 10; at++) {
		char *exact = check_exact(v1, strlen(v1));
		struct manifest_scratch s;
		struct manifest_file f;
		struct err e = {0};
		int r = manifest_parse_file_at(exact, strlen(v1), at, &s, &f, &e);

		ck_assert(r == 0 || r == -EBADMSG);
		ck_assert_int_eq(r, e.code);
		free(exact);
	}
}
END_TEST

static int stop_at_second(void *arg, const struct manifest_file *f, struct err *e)
{
	(void)f;
	return ++*(int *)arg == 2 ? err_set(e, -ECANCELED, "enough") : 0;
}

static int stop_at_range(void *arg, const struct manifest_wal_range *w, struct err *e)
{
	(void)arg;
	(void)w;
	(void)e;
	return 42;
}

START_TEST(the_callers_no_ends_it)
{
	static const struct manifest_ops first = {.file = stop_at_second},
					 second = {.wal_range = stop_at_range};
	struct manifest_info info;
	struct err e = {0};
	int calls = 0;

	ck_assert_int_eq(manifest_parse(v1, strlen(v1), &first, &calls, &info, &e), -ECANCELED);
	ck_assert_int_eq(calls, 2);
	ck_assert_str_eq(e.text, "enough");
	ck_assert_int_eq(manifest_parse(v1, strlen(v1), &second, NULL, &info, &e), 42);
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("pg_manifest");
	TCase *t = tcase_create("pg_manifest");

	tcase_add_test(t, version_1);
	tcase_add_test(t, version_2);
	tcase_add_test(t, crc32c_is_lowest_byte_first);
	tcase_add_test(t, files_in_other_spellings);
	tcase_add_test(t, digests_of_every_length);
	tcase_add_test(t, wrong_files);
	tcase_add_test(t, long_paths);
	tcase_add_test(t, documents);
	tcase_add_test(t, cut_at_every_byte);
	tcase_add_loop_test(t, every_bit_flipped, 0, 2);
	tcase_add_test(t, any_offset_can_be_asked_for);
	tcase_add_test(t, the_callers_no_ends_it);
	suite_add_tcase(s, t);
	return s;
}

CHECK_MAIN(suite)
