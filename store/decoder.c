/* Chains of deltas, unpacked from the standalone end. See decoder.h. */
#include "store/decoder.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/clean.h"
#include "src/base/crc32c.h"
#include "store/record.h"

#define DEPTH_MAX 256

struct scratch {
	uint8_t *p;
	size_t cap;
};

struct link {
	struct digest id;
	struct record record; /* its payload points into `records`, as an offset until all are read */
	size_t off, len;
	struct place place;
};

struct decoder {
	struct codec *codec;
	struct scratch records; /* the chain's records, one after the other */
	struct scratch root, a, b;
	struct link chain[DEPTH_MAX];
	unsigned links; /* of the chain that decoder_read left */
};

int decoder_new(struct decoder **ret)
{
	struct decoder *d = calloc(1, sizeof(*d));
	int r;

	if (!d)
		return -ENOMEM;
	r = codec_new(3, &d->codec);
	if (r < 0) {
		free(d);
		return r;
	}
	*ret = d;
	return 0;
}

void decoder_free(struct decoder *d)
{
	if (!d)
		return;
	codec_free(d->codec);
	free(d->records.p);
	free(d->root.p);
	free(d->a.p);
	free(d->b.p);
	free(d);
}

struct codec *decoder_codec(struct decoder *d)
{
	return d->codec;
}

static int need(struct scratch *s, size_t n, struct err *e)
{
	uint8_t *p;

	if (n <= s->cap)
		return 0;
	p = realloc(s->p, n);
	if (!p)
		return err_sys(e, -ENOMEM, "decoding a chunk");
	s->p = p;
	s->cap = n;
	return 0;
}

/* Puts the chunk and its object before a text. */
static int blame(struct index *ix, const struct link *l, int r, struct err *e)
{
	char hex[DIGEST_HEX], name[PACK_NAME_MAX];

	return err_wrap(e, r, "chunk %s in object %s at %u", digest_hex(&l->id, hex),
		index_object_name(ix, &l->place, name), l->place.off);
}

/* Reads the records from id down to the standalone one. Sets *n. */
static int read_chain(
	struct decoder *d, struct index *ix, const struct digest *id, unsigned *n, struct err *e)
{
	struct digest next = *id;
	size_t used = 0;

	for (unsigned i = 0;; i++) {
		struct link *l = &d->chain[i];
		int r;

		*l = (struct link){.id = next, .off = used};
		if (!index_find(ix, &next, &l->place)) {
			char hex[DIGEST_HEX], base[DIGEST_HEX];

			if (i == 0)
				return err_set(e, -ENODATA, "chunk %s is missing from the repository",
					digest_hex(id, hex));
			return err_set(e, -ENODATA,
				"chunk %s is missing from the repository; %s is a delta against it",
				digest_hex(&next, base), digest_hex(id, hex));
		}
		l->len = l->place.len;
		r = l->len > RECORD_HEAD_MAX + codec_bound(RECORD_RAW_MAX)
			    ? err_set(e, -EBADMSG, "a record of %zu bytes", l->len)
			    : need(&d->records, used + l->len, e);
		if (!r)
			r = index_read(ix, &l->place, d->records.p + used, e);
		if (!r)
			r = record_parse(d->records.p + used, l->len, &next, &l->record, e);
		/* A base may have been stored twice, alone and as a delta, and the index may know the other
		 * copy than the writer did: so a depth need not fall, only the chain must end. */
		if (!r && l->record.depth && i + 1 == DEPTH_MAX)
			r = err_set(e, -EBADMSG, "delta chain does not end");
		if (r < 0)
			return blame(ix, l, r, e);
		used += l->len;
		if (!l->record.depth) {
			*n = i + 1;
			break;
		}
		next = l->record.base;
	}
	/* The buffer may have moved while it grew. */
	for (unsigned i = 0; i < *n; i++)
		d->chain[i].record.payload =
			d->records.p + d->chain[i].off + d->chain[i].len - d->chain[i].record.payload_len;
	return 0;
}

static int unpack(struct decoder *d, const struct record *rec, const uint8_t *ref, size_t ref_len,
	uint8_t *out, struct err *e)
{
	if (codec_unpack(d->codec, rec->codec, rec->payload, rec->payload_len, ref, ref_len, out,
		    rec->raw_len) < 0)
		return err_set(e, -EBADMSG, "compressed bytes do not unpack");
	return 0;
}

/* Unpacks the chain that was read; the last result goes to `out` when that is not NULL. */
static int unpack_chain(
	struct decoder *d, struct index *ix, unsigned n, uint8_t *out, struct decoded *ret, struct err *e)
{
	const uint8_t *prev = NULL;
	size_t prev_len = 0;
	struct decoded got = {0};

	for (unsigned i = n; i-- > 0;) {
		struct link *l = &d->chain[i];
		struct scratch *s = i == n - 1 ? &d->root : prev == d->a.p ? &d->b : &d->a;
		uint8_t *to = NULL;
		int r = 0;

		if (i == 0 && out)
			to = out;
		else
			r = need(s, l->record.raw_len + 1, e);
		if (!to)
			to = s->p;
		if (!r)
			r = unpack(d, &l->record, prev, prev_len, to, e);
		if (!r && i == 0 && crc32c(0, to, l->record.raw_len) != l->record.raw_crc)
			r = err_set(e, -EBADMSG, "unpacked bytes do not match their checksum");
		if (r < 0)
			return blame(ix, l, r, e);
		prev = to;
		prev_len = l->record.raw_len;
		if (i == n - 1) {
			got.root = l->id;
			got.root_raw = to;
			got.root_len = prev_len;
			got.root_stored = (uint32_t)l->len;
		}
	}
	got.raw = prev;
	got.raw_len = prev_len;
	got.depth = (uint8_t)(n - 1);
	*ret = got;
	return 0;
}

int decoder_load(
	struct decoder *d, struct index *ix, const struct digest *id, struct decoded *ret, struct err *e)
{
	unsigned n = 0;
	int r = read_chain(d, ix, id, &n, e);

	return r ? r : unpack_chain(d, ix, n, NULL, ret, e);
}

int decoder_read(struct decoder *d, struct index *ix, const struct digest *id, size_t *ret_len, struct err *e)
{
	int r = read_chain(d, ix, id, &d->links, e);

	if (!r)
		*ret_len = d->chain[0].record.raw_len;
	return r;
}

int decoder_unpack(struct decoder *d, struct index *ix, uint8_t *out, struct err *e)
{
	struct decoded got;

	return unpack_chain(d, ix, d->links, out, &got, e);
}

int decoder_record(struct decoder *d, struct index *ix, const struct record *rec, uint8_t *out,
	struct digest *ret, bool *ret_base, struct err *e)
{
	struct decoded base = {0};
	int r = rec->depth ? decoder_load(d, ix, &rec->base, &base, e) : 0;

	*ret_base = r < 0;
	if (r < 0)
		return r;
	r = codec_unpack(d->codec, rec->codec, rec->payload, rec->payload_len, base.raw, base.raw_len, out,
		rec->raw_len);
	if (r < 0 || crc32c(0, out, rec->raw_len) != rec->raw_crc)
		return err_set(e, r == -ENOMEM ? r : -EBADMSG, "it does not unpack to what it was");
	*ret = digest_of(out, rec->raw_len);
	return 0;
}
