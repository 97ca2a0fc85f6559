/* The manifest's files as a sorted table of hash and place. See manifest_check.h.
 *
 * An item is one 64-bit word: the high 24 bits are the high bits of the path's hash, the low 40 the offset of
 * its object in the manifest. Ten million files make 80 MB, and 0.6 of an item shares a file's hash on
 * average; the path decides, read again from the manifest's bytes. */
#include "src/capture/manifest_check.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/buf.h"
#include "src/base/clean.h"
#include "src/pg/datadir.h"
#include "store/digest.h"
#include "store/sorter.h"

#define OFFSET_BITS 40
#define OFFSET_MASK ((UINT64_C(1) << OFFSET_BITS) - 1)
#define NAMED_MAX 4	       /* differences that the final message names */
#define NAMED_PATH 150	       /* bytes of a path that it shows */
#define LATE_MEMORY (8u << 20) /* of noted files, before they go to a file */

/* Guards of the table itself are not needed: it does not change after loading. */
struct manifest_check {
	const char *name;
	const void *p;
	size_t n;
	struct manifest_info info;
	uint64_t *items; /* sorted */
	size_t n_items, cap_items;
	uint8_t *seen; /* a bit an item, set atomically */
	struct manifest_wal_range *wal;
	size_t n_wal;
	pthread_mutex_t lock; /* guards what follows; nothing else is locked under it */
	/* The files that came before the manifest: struct noted by path; NULL: none can. */
	struct sorter *late;
	struct buf named;
	uint64_t differences;
	manifest_difference_fn *fn; /* instead of named; NULL: nobody */
	void *arg;
};

struct noted {
	uint64_t size;
	uint32_t crc;
};

/* FNV-1a (draft-eastlake-fnv), its bits then mixed so that the high ones are good. */
static uint64_t hash_path(const char *p, size_t n)
{
	uint64_t h = UINT64_C(0xcbf29ce484222325);

	for (size_t i = 0; i < n; i++)
		h = (h ^ (uint8_t)p[i]) * UINT64_C(0x100000001b3);
	h ^= h >> 32;
	h *= UINT64_C(0x9e3779b97f4a7c15);
	return h & ~OFFSET_MASK;
}

static int add_file(void *arg, const struct manifest_file *f, struct err *e)
{
	struct manifest_check *mc = arg;

	if (mc->n_items == mc->cap_items) {
		size_t cap = mc->cap_items ? mc->cap_items * 2 : 1024, bytes;
		uint64_t *items;

		if (__builtin_mul_overflow(cap, sizeof(*items), &bytes))
			return err_sys(e, -ENOMEM, "%s", mc->name);
		items = realloc(mc->items, bytes);
		if (!items)
			return err_sys(e, -ENOMEM, "%s", mc->name);
		mc->items = items;
		mc->cap_items = cap;
	}
	if (f->offset > OFFSET_MASK)
		return err_set(e, -EFBIG, "%s is larger than 1 TB", mc->name);
	mc->items[mc->n_items++] = hash_path(f->path, f->path_len) | f->offset;
	return 0;
}

static int add_wal(void *arg, const struct manifest_wal_range *w, struct err *e)
{
	struct manifest_check *mc = arg;
	struct manifest_wal_range *wal = realloc(mc->wal, (mc->n_wal + 1) * sizeof(*wal));

	if (!wal)
		return err_sys(e, -ENOMEM, "%s", mc->name);
	wal[mc->n_wal++] = *w;
	mc->wal = wal;
	return 0;
}

static int cmp_items(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

static int file_at(const struct manifest_check *mc, size_t i, struct manifest_scratch *s,
	struct manifest_file *ret, struct err *e)
{
	return manifest_parse_file_at(mc->p, mc->n, (size_t)(mc->items[i] & OFFSET_MASK), s, ret, e);
}

/* Two items of one hash that stand for one path. */
static int check_twice(const struct manifest_check *mc, size_t i, size_t j, struct err *e)
{
	struct manifest_scratch sa, sb;
	struct manifest_file a, b;
	int r = file_at(mc, i, &sa, &a, e);

	if (r == 0)
		r = file_at(mc, j, &sb, &b, e);
	if (r < 0)
		return r;
	if (a.path_len == b.path_len && !memcmp(a.path, b.path, a.path_len))
		return err_set(e, -EBADMSG, "%s lists %s twice", mc->name, a.path);
	return 0;
}

static int sort_items(struct manifest_check *mc, struct err *e)
{
	qsort(mc->items, mc->n_items, sizeof(*mc->items), cmp_items);
	for (size_t i = 0; i < mc->n_items; i++)
		for (size_t j = i + 1;
			j < mc->n_items && (mc->items[j] & ~OFFSET_MASK) == (mc->items[i] & ~OFFSET_MASK);
			j++) {
			int r = check_twice(mc, i, j, e);

			if (r < 0)
				return r;
		}
	return 0;
}

static int load(struct manifest_check *mc, struct err *e)
{
	static const struct manifest_ops ops = {.file = add_file, .wal_range = add_wal};
	struct digest d;
	int r = manifest_parse(mc->p, mc->n, &ops, mc, &mc->info, e);

	if (r < 0)
		return err_wrap(e, r, "%s", mc->name);
	d = digest_of(mc->p, mc->info.covered);
	if (memcmp(d.b, mc->info.digest, DIGEST_LEN))
		return err_set(e, -EBADMSG,
			"%s does not have the checksum that its last line says: it was damaged or edited",
			mc->name);
	mc->seen = calloc(mc->n_items / 8 + 1, 1);
	if (!mc->seen)
		return err_sys(e, -ENOMEM, "%s", mc->name);
	return sort_items(mc, e);
}

static struct manifest_check *make(void)
{
	struct manifest_check *mc = calloc(1, sizeof(*mc));

	if (mc)
		pthread_mutex_init(&mc->lock, NULL);
	return mc;
}

int manifest_check_load(struct manifest_check *mc, const char *name, const void *p, size_t n, struct err *e)
{
	mc->name = name;
	mc->p = p;
	mc->n = n;
	return load(mc, e);
}

int manifest_check_new(const char *name, const void *p, size_t n, struct manifest_check **ret, struct err *e)
{
	struct manifest_check *mc = make();
	int r;

	if (!mc)
		return err_sys(e, -ENOMEM, "%s", name);
	r = manifest_check_load(mc, name, p, n, e);
	if (r < 0) {
		manifest_check_free(mc);
		return r;
	}
	*ret = mc;
	return 0;
}

int manifest_check_later(const char *scratch, struct manifest_check **ret, struct err *e)
{
	struct manifest_check *mc = make();
	int r = mc ? sorter_new(scratch, LATE_MEMORY, &mc->late, e)
		   : err_sys(e, -ENOMEM, "%s", MANIFEST_PATH);

	if (r < 0) {
		manifest_check_free(mc);
		return r;
	}
	*ret = mc;
	return 0;
}

void manifest_check_free(struct manifest_check *mc)
{
	if (!mc)
		return;
	pthread_mutex_destroy(&mc->lock);
	sorter_free(mc->late);
	buf_free(&mc->named);
	free(mc->items);
	free(mc->seen);
	free(mc->wal);
	free(mc);
}

const struct manifest_info *manifest_check_info(const struct manifest_check *mc)
{
	return &mc->info;
}

size_t manifest_check_wal(const struct manifest_check *mc, const struct manifest_wal_range **ret)
{
	*ret = mc->wal;
	return mc->n_wal;
}

/* The item of a path: 1 with *ret and *f, 0 when it is not listed, or -errno. */
static int find(const struct manifest_check *mc, const char *path, size_t n, struct manifest_scratch *s,
	struct manifest_file *f, size_t *ret, struct err *e)
{
	uint64_t h = hash_path(path, n);
	size_t lo = 0, hi = mc->n_items;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (mc->items[mid] < h)
			lo = mid + 1;
		else
			hi = mid;
	}
	for (; lo < mc->n_items && (mc->items[lo] & ~OFFSET_MASK) == h; lo++) {
		int r = file_at(mc, lo, s, f, e);

		if (r < 0)
			return err_wrap(e, r, "%s", mc->name);
		if (f->path_len == n && !memcmp(f->path, path, n)) {
			*ret = lo;
			return 1;
		}
	}
	return 0;
}

void manifest_check_tell(struct manifest_check *mc, manifest_difference_fn *fn, void *arg)
{
	mc->fn = fn;
	mc->arg = arg;
}

__attribute__((format(printf, 3, 4))) static void differs(
	struct manifest_check *mc, const char *path, const char *fmt, ...)
{
	char text[200];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	pthread_mutex_lock(&mc->lock);
	mc->differences++;
	if (mc->fn)
		mc->fn(mc->arg, path, text);
	else if (mc->differences <= NAMED_MAX)
		buf_printf(&mc->named, "%s%.*s %s", mc->differences > 1 ? "; " : "", NAMED_PATH, path, text);
	pthread_mutex_unlock(&mc->lock);
}

/* Sets the item's bit; false when it was set. */
static bool mark(struct manifest_check *mc, size_t i)
{
	uint8_t bit = (uint8_t)(1u << (i % 8));

	return !(__atomic_fetch_or(&mc->seen[i / 8], bit, __ATOMIC_RELAXED) & bit);
}

int manifest_check_find(const struct manifest_check *mc, const char *path, size_t n,
	struct manifest_scratch *s, struct manifest_file *ret, struct err *e)
{
	size_t i;

	return datadir_verify_ignores(path, n) ? 0 : find(mc, path, n, s, ret, &i, e);
}

int manifest_check_algorithm(
	struct manifest_check *mc, const char *path, size_t n, enum manifest_algorithm *ret, struct err *e)
{
	struct manifest_scratch s;
	struct manifest_file f;
	int r = manifest_check_find(mc, path, n, &s, &f, e);

	*ret = r > 0 ? f.algorithm : MANIFEST_NONE;
	return r < 0 ? r : 0;
}

/* What both kinds share; 1: the checksum is to be compared, 0: it is not. */
static int check_size(struct manifest_check *mc, const struct manifest_file *f, size_t i, uint64_t size)
{
	if (!mark(mc, i)) {
		differs(mc, f->path, "came twice");
		return 0;
	}
	if (f->size != size) {
		differs(mc, f->path, "has %llu bytes instead of %llu", (unsigned long long)size,
			(unsigned long long)f->size);
		return 0;
	}
	return 1;
}

static int compare_crc(
	struct manifest_check *mc, const char *path, size_t n, uint64_t size, uint32_t crc, struct err *e)
{
	struct manifest_scratch s;
	struct manifest_file f;
	size_t i;
	int r = find(mc, path, n, &s, &f, &i, e);

	if (r < 0)
		return r;
	if (r == 0) {
		differs(mc, path, "is not listed");
		return 0;
	}
	if (manifest_is_sha(f.algorithm) && mc->late && mark(mc, i))
		differs(mc, f.path, "has a %s checksum, which was not asked for",
			manifest_algorithm_name(f.algorithm));
	if (manifest_is_sha(f.algorithm) || !check_size(mc, &f, i, size))
		return 0;
	if (f.algorithm == MANIFEST_CRC32C && !manifest_crc32c_is(&f, crc))
		differs(mc, f.path, "has another checksum");
	return 0;
}

int manifest_check_crc(
	struct manifest_check *mc, const char *path, size_t n, uint64_t size, uint32_t crc, struct err *e)
{
	struct noted f = {.size = size, .crc = crc};
	int r;

	if (datadir_verify_ignores(path, n))
		return 0;
	if (!mc->late)
		return compare_crc(mc, path, n, size, crc, e);
	pthread_mutex_lock(&mc->lock);
	r = sorter_add(mc->late, path, &f, sizeof(f), e);
	pthread_mutex_unlock(&mc->lock);
	return r;
}

/* The files that were noted, now that there is something to compare them with. */
static int check_noted(struct manifest_check *mc, struct err *e)
{
	const char *path;
	const void *data;
	size_t n;
	int r = sorter_sort(mc->late, e);

	while (r >= 0 && (r = sorter_next(mc->late, &path, &data, &n, e)) > 0) {
		struct noted f;

		memcpy(&f, data, sizeof(f));
		r = compare_crc(mc, path, strlen(path), f.size, f.crc, e);
	}
	return r;
}

int manifest_check_sha(struct manifest_check *mc, const char *path, size_t n, uint64_t size,
	const uint8_t *digest, struct err *e)
{
	struct manifest_scratch s;
	struct manifest_file f;
	size_t i;
	int r;

	if (datadir_verify_ignores(path, n))
		return 0;
	r = find(mc, path, n, &s, &f, &i, e);
	if (r <= 0 || !manifest_is_sha(f.algorithm) || !check_size(mc, &f, i, size))
		return r < 0 ? r : 0;
	if (memcmp(f.digest, digest, manifest_digest_len(f.algorithm)))
		differs(mc, f.path, "has another checksum");
	return 0;
}

int manifest_check_known(struct manifest_check *mc, const char *path, size_t n, uint64_t size, struct err *e)
{
	struct manifest_scratch s;
	struct manifest_file f;
	size_t i;
	int r;

	if (datadir_verify_ignores(path, n))
		return 0;
	r = find(mc, path, n, &s, &f, &i, e);
	if (r == 0)
		differs(mc, path, "is not listed");
	else if (r > 0)
		check_size(mc, &f, i, size);
	return r < 0 ? r : 0;
}

/* Files that are listed and did not come. */
static int check_missing(struct manifest_check *mc, struct err *e)
{
	struct manifest_scratch s;
	struct manifest_file f;

	for (size_t i = 0; i < mc->n_items; i++) {
		int r;

		if (mc->seen[i / 8] >> (i % 8) & 1)
			continue;
		r = file_at(mc, i, &s, &f, e);
		if (r < 0)
			return err_wrap(e, r, "%s", mc->name);
		if (!datadir_verify_ignores(f.path, f.path_len))
			differs(mc, f.path, "is missing");
	}
	return 0;
}

int manifest_check_finish(struct manifest_check *mc, struct err *e)
{
	int r = mc->late ? check_noted(mc, e) : 0;

	if (r == 0)
		r = check_missing(mc, e);
	if (r < 0)
		return r;
	if (!mc->differences)
		return 0;
	return err_set(e, -EBADMSG, "the backup is not what its manifest says, %llu file%s differ%s: %.*s%s",
		(unsigned long long)mc->differences, mc->differences > 1 ? "s" : "",
		mc->differences > 1 ? "" : "s", (int)mc->named.len, (const char *)mc->named.data,
		mc->differences > NAMED_MAX ? "; …" : "");
}
