/* See salvage.h. A pack has less than 4 GiB and ours 64 MiB, so its bytes are simply mapped into memory by reading. */
#include "store/salvage.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/clean.h"
#include "src/base/crc32c.h"
#include "src/base/cur.h"
#include "store/pack.h"

CLEANUP_DEFINE(struct decoder, decoder_free)

struct search {
	struct store *s;
	struct decoder *decoder;
	uint8_t *raw;
	salvage_fn *fn;
	void *arg;
	uint64_t lost;
};

static int take(struct search *f, const struct record *rec, const struct digest *id, struct err *e)
{
	struct digest is;
	bool base;
	int r = decoder_record(f->decoder, f->s->index, rec, f->raw, &is, &base, NULL);

	if (r == -ENOMEM)
		return err_sys(e, r, "salvaging");
	/* It is not what it says, or its base is not to be had. */
	if (r < 0 || memcmp(is.b, id->b, 8)) {
		f->lost++;
		return 0;
	}
	return f->fn(f->arg, rec, &is, e);
}

static int by_footer(struct search *f, const uint8_t *p, size_t size, const struct pack_entry *entries,
	size_t n, struct err *e)
{
	for (size_t i = 0; i < n; i++) {
		const struct pack_entry *en = &entries[i];
		struct record rec;
		int r = 0;

		if ((uint64_t)en->off + en->len > size ||
			record_parse(p + en->off, en->len, &en->id, &rec, NULL) < 0)
			f->lost++;
		else
			r = take(f, &rec, &en->id, e);
		if (r)
			return r;
	}
	return 0;
}

/* The length of the record that begins at p, if one does. */
static size_t record_at(const uint8_t *p, size_t left, struct digest *id, struct record *rec)
{
	struct cur c = cur_of(p, left);
	uint32_t payload;
	size_t len;

	if (left < RECORD_HEAD || p[16] < RECORD_CHUNK || p[16] > RECORD_NODE || p[17] > CODEC_LAST || p[18])
		return 0;
	cur_bytes(&c, 8);
	payload = cur_u32(&c);
	len = RECORD_HEAD + (p[19] ? DIGEST_LEN : 0) + (size_t)payload;
	if (payload > codec_bound(RECORD_RAW_MAX) || len > left)
		return 0;
	*id = (struct digest){{0}};
	memcpy(id->b, p + 20, 8);
	return record_parse(p, len, id, rec, NULL) < 0 ? 0 : len;
}

static int by_search(struct search *f, const uint8_t *p, size_t size, struct err *e)
{
	bool in_damage = false;

	for (size_t at = PACK_HEAD; at < size;) {
		struct record rec;
		struct digest id;
		size_t len = record_at(p + at, size - at, &id, &rec);
		int r;

		if (!len) {
			f->lost += !in_damage;
			in_damage = true;
			at++;
			continue;
		}
		in_damage = false;
		r = take(f, &rec, &id, e);
		if (r)
			return r;
		at += len;
	}
	return 0;
}

int salvage_pack(
	struct store *s, const char *name, salvage_fn *fn, void *arg, uint64_t *ret_lost, struct err *e)
{
	_cleanup_(decoder_freep) struct decoder *d = NULL;
	_cleanup_(freep) struct pack_entry *entries = NULL;
	_cleanup_(freep) uint8_t *raw = malloc(RECORD_RAW_MAX);
	_cleanup_(freep) void *p = NULL;
	struct search f = {.s = s, .raw = raw, .fn = fn, .arg = arg};
	struct digest id;
	size_t size, n;
	int r = raw ? decoder_new(&d) : -ENOMEM;

	if (r < 0)
		return err_sys(e, r, "salvaging");
	f.decoder = d;
	r = backend_get(s->backend, name, PACK_MAX, &p, &size, e);
	if (r < 0)
		return r;
	if (digest_parse(strrchr(name, '/') + 1, &id) &&
		pack_load_footer(s->backend, &id, size, &entries, &n, NULL) == 0)
		r = by_footer(&f, p, size, entries, n, e);
	else
		r = by_search(&f, p, size, e);
	*ret_lost = f.lost;
	return r;
}
