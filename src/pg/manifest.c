/* Reading backup_manifest in one pass, with a JSON reader of our own (jscan.h).
 *
 * Why not jansson: it builds a tree, and a cluster with ten million files has a manifest of 1.5 GB whose tree
 * would take ten times that. Here memory is one struct and one path, whatever the size.
 *
 *	manifest = { "PostgreSQL-Backup-Manifest-Version": 1 | 2, "System-Identifier": number (2 only),
 *		     "Files": [ file … ], "WAL-Ranges": [ range … ], "Manifest-Checksum": hex }
 *	file     = { "Path": text | "Encoded-Path": hex, "Size": number, "Last-Modified": text,
 *		     "Checksum-Algorithm": name, "Checksum": hex }
 *	range    = { "Timeline": number, "Start-LSN": "X/X", "End-LSN": "X/X" }
 *
 * with the keys in any order but for the last one (doc/src/sgml/backup-manifest.sgml; its writer is
 * src/backend/backup/backup_manifest.c, its reader src/common/parse_manifest.c).
 *
 * Invariant: everything but the last member lies in the lines that its digest covers. */
#include "src/pg/manifest.h"

#include <errno.h>
#include <string.h>
#include <strings.h>

#include "src/pg/jscan.h"

const char *manifest_algorithm_name(enum manifest_algorithm a)
{
	switch (a) {
	case MANIFEST_NONE:
		return "NONE";
	case MANIFEST_CRC32C:
		return "CRC32C";
	case MANIFEST_SHA224:
		return "SHA224";
	case MANIFEST_SHA256:
		return "SHA256";
	case MANIFEST_SHA384:
		return "SHA384";
	case MANIFEST_SHA512:
		return "SHA512";
	}
	return "unknown";
}

size_t manifest_digest_len(enum manifest_algorithm a)
{
	switch (a) {
	case MANIFEST_NONE:
		return 0;
	case MANIFEST_CRC32C:
		return 4;
	case MANIFEST_SHA224:
		return 28;
	case MANIFEST_SHA256:
		return 32;
	case MANIFEST_SHA384:
		return 48;
	case MANIFEST_SHA512:
		return 64;
	}
	return 0;
}

bool manifest_crc32c_is(const struct manifest_file *f, uint32_t crc)
{
	const uint8_t *d = f->digest;

	return f->algorithm == MANIFEST_CRC32C &&
	       crc == ((uint32_t)d[0] | (uint32_t)d[1] << 8 | (uint32_t)d[2] << 16 | (uint32_t)d[3] << 24);
}

/* Letters of either case, as pg_checksum_parse_type (src/common/checksum_helper.c) takes them. */
static bool algorithm_of(const char *name, enum manifest_algorithm *ret)
{
	for (enum manifest_algorithm a = MANIFEST_NONE; a <= MANIFEST_SHA512; a++) {
		if (!strcasecmp(name, manifest_algorithm_name(a))) {
			*ret = a;
			return true;
		}
	}
	return false;
}

/* Relative, and every part a name: nothing that leads out of the directory it is looked up in. */
static bool path_ok(const char *p, size_t n)
{
	size_t start = 0;

	for (size_t i = 0; i <= n; i++) {
		size_t len = i - start;

		if (i < n && p[i] == 0)
			return false;
		if (i < n && p[i] != '/')
			continue;
		if (!len || (len == 1 && p[start] == '.') ||
			(len == 2 && p[start] == '.' && p[start + 1] == '.'))
			return false;
		start = i + 1;
	}
	return true;
}

enum { FILE_PATH, FILE_ENCODED_PATH, FILE_SIZE, FILE_MTIME, FILE_ALGORITHM, FILE_CHECKSUM, FILE_KEYS };

static const char *const file_keys[FILE_KEYS] = {
	[FILE_PATH] = "Path",
	[FILE_ENCODED_PATH] = "Encoded-Path",
	[FILE_SIZE] = "Size",
	[FILE_MTIME] = "Last-Modified",
	[FILE_ALGORITHM] = "Checksum-Algorithm",
	[FILE_CHECKSUM] = "Checksum",
};

/* One member's value, after its key. */
static int file_value(
	struct jscan *j, int k, struct manifest_scratch *s, struct manifest_file *f, size_t *digest_len)
{
	char text[16];
	size_t n, at = jscan_space(j);
	int r;

	switch (k) {
	case FILE_PATH:
		return jscan_string(j, s->path, sizeof(s->path), &f->path_len);
	case FILE_ENCODED_PATH:
		r = jscan_hex(j, (uint8_t *)s->path, MANIFEST_PATH_MAX, &f->path_len);
		if (!r)
			s->path[f->path_len] = 0;
		return r;
	case FILE_SIZE:
		r = jscan_number(j, &f->size);
		return r < 0 || f->size <= INT64_MAX ? r : jscan_bad(j, at, "no file is that large");
	case FILE_MTIME:
		return jscan_string(j, s->mtime, sizeof(s->mtime), &n);
	case FILE_ALGORITHM:
		r = jscan_string(j, text, sizeof(text), &n);
		return r < 0 || algorithm_of(text, &f->algorithm)
			       ? r
			       : jscan_bad(j, at, "unknown checksum algorithm");
	case FILE_CHECKSUM:
		return jscan_hex(j, f->digest, sizeof(f->digest), digest_len);
	}
	return jscan_bad(j, j->i, "unknown key");
}

/* A file object, from its brace on. */
static int file(struct jscan *j, struct manifest_scratch *s, struct manifest_file *ret)
{
	const unsigned path_bits = 1u << FILE_PATH | 1u << FILE_ENCODED_PATH;
	struct manifest_file f = {.path = s->path, .mtime = s->mtime, .offset = jscan_space(j)};
	unsigned seen = 0;
	size_t digest_len = 0;
	int r = jscan_expect(j, '{');

	s->path[0] = 0;
	s->mtime[0] = 0;
	if (r < 0)
		return r;
	for (r = jscan_empty(j, '}') ? 0 : 1; r > 0; r = jscan_more(j, '}')) {
		int k = jscan_key(j, file_keys, FILE_KEYS, &seen);

		r = k < 0 ? k : file_value(j, k, s, &f, &digest_len);
		if (r < 0)
			return r;
	}
	if (r < 0)
		return r;
	if ((seen & path_bits) == 0 || (seen & path_bits) == path_bits)
		return jscan_bad(j, f.offset, "the file must have one of Path and Encoded-Path");
	if (!(seen & 1u << FILE_SIZE))
		return jscan_bad(j, f.offset, "the file has no Size");
	if (!path_ok(f.path, f.path_len))
		return jscan_bad(j, f.offset, "the file's path leads out of the backup, or nowhere");
	if (digest_len != manifest_digest_len(f.algorithm))
		return jscan_bad(
			j, f.offset, "the file's Checksum is not as long as its Checksum-Algorithm says");
	*ret = f;
	return 0;
}

enum { RANGE_TIMELINE, RANGE_START, RANGE_END, RANGE_KEYS };

static const char *const range_keys[RANGE_KEYS] = {
	[RANGE_TIMELINE] = "Timeline",
	[RANGE_START] = "Start-LSN",
	[RANGE_END] = "End-LSN",
};

static int lsn(struct jscan *j, struct lsn *ret)
{
	char text[LSN_TEXT];
	size_t n, at = jscan_space(j);
	int r = jscan_string(j, text, sizeof(text), &n);

	return r < 0 || lsn_parse(text, n, ret) ? r : jscan_bad(j, at, "not an LSN like 0/2000028");
}

static int wal_range(struct jscan *j, struct manifest_wal_range *ret)
{
	struct manifest_wal_range w = {0};
	unsigned seen = 0;
	uint64_t tli = 0;
	size_t at = jscan_space(j);
	int r = jscan_expect(j, '{');

	if (r < 0)
		return r;
	for (r = jscan_empty(j, '}') ? 0 : 1; r > 0; r = jscan_more(j, '}')) {
		int k = jscan_key(j, range_keys, RANGE_KEYS, &seen);

		if (k < 0)
			return k;
		r = k == RANGE_TIMELINE ? jscan_number(j, &tli)
					: lsn(j, k == RANGE_START ? &w.start : &w.end);
		if (r < 0)
			return r;
	}
	if (r < 0)
		return r;
	if (seen != (1u << RANGE_KEYS) - 1)
		return jscan_bad(j, at, "the WAL range must have Timeline, Start-LSN and End-LSN");
	if (!tli || tli > UINT32_MAX || lsn_cmp(w.start, w.end) > 0)
		return jscan_bad(j, at, "the WAL range cannot be");
	w.tli.v = (uint32_t)tli;
	*ret = w;
	return 0;
}

static int files(struct jscan *j, const struct manifest_ops *ops, void *arg, struct manifest_info *info)
{
	struct manifest_scratch s;
	int r = jscan_expect(j, '[');

	if (r < 0)
		return r;
	for (r = jscan_empty(j, ']') ? 0 : 1; r > 0; r = jscan_more(j, ']')) {
		struct manifest_file f;

		r = file(j, &s, &f);
		if (r < 0)
			return r;
		info->files++;
		if (__builtin_add_overflow(info->bytes, f.size, &info->bytes))
			return jscan_bad(j, f.offset, "the sizes of all files add up to too much");
		r = ops->file ? ops->file(arg, &f, j->e) : 0;
		if (r)
			return r;
	}
	return r;
}

static int wal_ranges(struct jscan *j, const struct manifest_ops *ops, void *arg, struct manifest_info *info)
{
	int r = jscan_expect(j, '[');

	if (r < 0)
		return r;
	for (r = jscan_empty(j, ']') ? 0 : 1; r > 0; r = jscan_more(j, ']')) {
		struct manifest_wal_range w;

		r = wal_range(j, &w);
		if (r < 0)
			return r;
		info->wal_ranges++;
		r = ops->wal_range ? ops->wal_range(arg, &w, j->e) : 0;
		if (r)
			return r;
	}
	return r;
}

enum { TOP_VERSION, TOP_SYSTEM, TOP_FILES, TOP_RANGES, TOP_CHECKSUM, TOP_KEYS };

static const char *const top_keys[TOP_KEYS] = {
	[TOP_VERSION] = "PostgreSQL-Backup-Manifest-Version",
	[TOP_SYSTEM] = "System-Identifier",
	[TOP_FILES] = "Files",
	[TOP_RANGES] = "WAL-Ranges",
	[TOP_CHECKSUM] = "Manifest-Checksum",
};

static int version(struct jscan *j, struct manifest_info *info)
{
	uint64_t v;
	int r = jscan_number(j, &v);

	if (r < 0)
		return r;
	if (v != 1 && v != 2)
		return err_set(j->e, -EOPNOTSUPP,
			"backup_manifest: version %llu is not known (1 and 2 are read)",
			(unsigned long long)v);
	info->version = (unsigned)v;
	return 0;
}

static int checksum(struct jscan *j, struct manifest_info *info)
{
	size_t n, at = jscan_space(j);
	int r = jscan_hex(j, info->digest, sizeof(info->digest), &n);

	return r < 0 || n == sizeof(info->digest) ? r
						  : jscan_bad(j, at, "the Manifest-Checksum is no SHA-256");
}

static int top_value(
	struct jscan *j, int k, const struct manifest_ops *ops, void *arg, struct manifest_info *info)
{
	switch (k) {
	case TOP_VERSION:
		return version(j, info);
	case TOP_SYSTEM:
		info->has_system_identifier = true;
		return jscan_number(j, &info->system_identifier);
	case TOP_FILES:
		return files(j, ops, arg, info);
	case TOP_RANGES:
		return wal_ranges(j, ops, arg, info);
	case TOP_CHECKSUM:
		return checksum(j, info);
	}
	return jscan_bad(j, j->i, "unknown key");
}

/* The digest covers all lines but the last (verify_manifest_checksum, src/common/parse_manifest.c). */
static int find_covered(const struct jscan *j, size_t *ret)
{
	const uint8_t *nl;

	if (!j->n || j->base[j->n - 1] != '\n')
		return jscan_bad(j, j->n, "the last line is cut off");
	nl = memrchr(j->base, '\n', j->n - 1);
	if (!nl)
		return jscan_bad(j, 0, "expected at least two lines");
	*ret = (size_t)(nl - j->base) + 1;
	return 0;
}

int manifest_parse(const void *p, size_t n, const struct manifest_ops *ops, void *arg,
	struct manifest_info *ret, struct err *e)
{
	struct jscan j = {.what = "backup_manifest", .base = p, .n = n, .e = e};
	struct manifest_info info = {0};
	unsigned seen = 0, need = 1u << TOP_VERSION | 1u << TOP_FILES | 1u << TOP_RANGES | 1u << TOP_CHECKSUM;
	size_t end_of_others = 0;
	int r = find_covered(&j, &info.covered);

	if (!r)
		r = jscan_expect(&j, '{');
	if (r < 0)
		return r;
	for (r = jscan_empty(&j, '}') ? 0 : 1; r > 0; r = jscan_more(&j, '}')) {
		size_t at = jscan_space(&j);
		int k = jscan_key(&j, top_keys, TOP_KEYS, &seen);

		if (k == TOP_CHECKSUM && (end_of_others > info.covered || at < info.covered))
			return jscan_bad(&j, at, "the Manifest-Checksum must have the last line for itself");
		if (k >= 0 && k != TOP_CHECKSUM && seen & 1u << TOP_CHECKSUM)
			return jscan_bad(&j, j.i, "the Manifest-Checksum must come last");
		r = k < 0 ? k : top_value(&j, k, ops, arg, &info);
		if (r)
			return r;
		if (k != TOP_CHECKSUM)
			end_of_others = j.i;
	}
	if (r < 0)
		return r;
	jscan_space(&j);
	if (j.i != n)
		return jscan_bad(&j, j.i, "something stands behind the manifest");
	if (info.version == 2)
		need |= 1u << TOP_SYSTEM;
	for (int k = 0; k < TOP_KEYS; k++)
		if (need & ~seen & 1u << k)
			return err_set(e, -EBADMSG, "backup_manifest: it has no %s", top_keys[k]);
	*ret = info;
	return 0;
}

int manifest_parse_file_at(const void *p, size_t n, size_t offset, struct manifest_scratch *s,
	struct manifest_file *ret, struct err *e)
{
	struct jscan j = {.what = "backup_manifest", .base = p, .n = n, .i = offset < n ? offset : n, .e = e};

	return file(&j, s, ret);
}
