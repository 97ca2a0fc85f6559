/* backup_manifest from hostile bytes. What is told must hold what the header promises, a file must read the
 * same at its offset, and any other offset must fail cleanly. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "src/pg/manifest.h"

struct input {
	const uint8_t *data;
	size_t size;
	uint64_t files, bytes;
	unsigned ranges;
};

static int one_file(void *arg, const struct manifest_file *f, struct err *e)
{
	struct input *in = arg;
	struct manifest_scratch s;
	struct manifest_file g;

	(void)e;
	if (!f->path_len || strlen(f->path) != f->path_len || f->path_len > MANIFEST_PATH_MAX ||
		f->path[0] == '/' || strstr(f->path, "//") || strstr(f->path, "/../") ||
		!strncmp(f->path, "../", 3))
		abort();
	if (strlen(f->mtime) > MANIFEST_TIME_MAX || f->size > INT64_MAX)
		abort();
	if (manifest_parse_file_at(in->data, in->size, f->offset, &s, &g, NULL) ||
		strcmp(f->path, g.path) != 0 || strcmp(f->mtime, g.mtime) != 0 || f->size != g.size ||
		f->algorithm != g.algorithm ||
		memcmp(f->digest, g.digest, manifest_digest_len(f->algorithm)) != 0)
		abort();
	in->files++;
	in->bytes += f->size;
	return 0;
}

static int one_range(void *arg, const struct manifest_wal_range *w, struct err *e)
{
	(void)e;
	if (!w->tli.v || lsn_cmp(w->start, w->end) > 0)
		abort();
	((struct input *)arg)->ranges++;
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct manifest_ops ops = {.file = one_file, .wal_range = one_range};
	struct input in = {.data = data, .size = size};
	struct manifest_info info = {0};
	struct manifest_scratch s;
	struct manifest_file f;
	struct err e = {0};
	int r = manifest_parse(data, size, &ops, &in, &info, &e);

	if (r < 0 && (e.code != r || !e.text[0] || info.version))
		abort();
	if (!r && (info.files != in.files || info.bytes != in.bytes || info.wal_ranges != in.ranges ||
			  info.covered >= size || data[info.covered - 1] != '\n'))
		abort();
	manifest_parse_file_at(data, size, size / 2, &s, &f, NULL);
	return 0;
}
