/* Chains of deltas, unpacked from the standalone end. See decoder.h.
 *
 * What the links so far make is a text in pieces: one piece after a link that zstd unpacks, more after plans, which are followed
 * without moving bytes. The pieces lie in `root`, in `plans`, and in the one of `a` and `b` that was written last. */
#include "store/decoder.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/clean.h"
#include "src/base/crc32c.h"
#include "store/linediff.h"
#include "store/pieces.h"
#include "store/record.h"

#define DEPTH_MAX 256
#define PIECE_LEAST 32 /* bytes on average: a text in shorter pieces is made one */

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
	struct scratch records;		  /* the chain's records, one after the other */
	struct scratch root, a, b, *last; /* last: a, b or NULL */
	struct scratch plans;		  /* unpacked, one after the other */
	struct pieces text, earlier;	  /* what the links so far make, and what they made one plan ago */
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
	free(d->plans.p);
	pieces_release(&d->text);
	pieces_release(&d->earlier);
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

/* A link could not be unpacked. */
static int failed(struct index *ix, const struct link *l, int r, struct err *e)
{
	if (r == -ENOMEM)
		return err_sys(e, r, "decoding a chunk");
	return blame(ix, l, err_set(e, -EBADMSG, "compressed bytes do not unpack"), e);
}

/* Room for all plans of the chain, which must not move. */
static int need_plans(struct decoder *d, struct index *ix, unsigned n, struct err *e)
{
	size_t all = 0;

	for (unsigned i = 0; i < n; i++) {
		const struct record *rec = &d->chain[i].record;
		size_t len = 0;

		if (rec->codec != CODEC_LINES)
			continue;
		len = codec_plan_len(rec->payload, rec->payload_len, rec->raw_len);
		if (!len)
			return failed(ix, &d->chain[i], -EBADMSG, e);
		all += len;
	}
	return need(&d->plans, all, e);
}

/* Scratch memory of n bytes in which no piece lies. */
static uint8_t *fresh(struct decoder *d, size_t n)
{
	struct scratch *s = d->last == &d->a ? &d->b : &d->a;

	if (need(s, n + 1, NULL) < 0)
		return NULL;
	d->last = s;
	return s->p;
}

static int set_text(struct decoder *d, const uint8_t *p, size_t n)
{
	pieces_clear(&d->text);
	return pieces_add(&d->text, p, n);
}

/* The text becomes one piece. */
static int flatten(struct decoder *d)
{
	size_t len = d->text.len;
	uint8_t *to;

	if (d->text.n == 1)
		return 0;
	to = fresh(d, len);
	if (!to)
		return -ENOMEM;
	pieces_copy(&d->text, to);
	return set_text(d, to, len);
}

/* The text becomes what the plan makes of it. *plan: where that is unpacked to; moves on. */
static int follow(struct decoder *d, const struct record *rec, uint8_t **plan)
{
	size_t len = codec_plan_len(rec->payload, rec->payload_len, rec->raw_len);
	struct pieces was = d->text;
	int r = codec_plan(d->codec, rec->payload, rec->payload_len, *plan, len);

	d->text = d->earlier;
	d->earlier = was;
	pieces_clear(&d->text);
	if (!r)
		r = linediff_follow(*plan, len, &d->earlier, &d->text, rec->raw_len);
	*plan += len;
	return !r && d->text.n > 1 && d->text.n > d->text.len / PIECE_LEAST ? flatten(d) : r;
}

/* The text becomes what zstd makes with it, at `to` when that is not NULL. */
static int unpack(struct decoder *d, const struct record *rec, uint8_t *to)
{
	const uint8_t *ref = NULL;
	size_t ref_len = 0;
	int r = rec->depth ? flatten(d) : need(&d->root, rec->raw_len + 1, NULL);

	if (r < 0)
		return r;
	if (rec->depth && d->text.n) {
		ref = d->text.v[0].p;
		ref_len = d->text.len;
	}
	if (!to)
		to = rec->depth ? fresh(d, rec->raw_len) : d->root.p;
	if (!to)
		return -ENOMEM;
	r = codec_unpack(
		d->codec, rec->codec, rec->payload, rec->payload_len, ref, ref_len, to, rec->raw_len);
	return r ? r : set_text(d, to, rec->raw_len);
}

/* Unpacks the chain that was read; the last result goes to `out` when that is not NULL. */
static int unpack_chain(
	struct decoder *d, struct index *ix, unsigned n, uint8_t *out, struct decoded *ret, struct err *e)
{
	const struct record *rec = &d->chain[0].record;
	uint8_t *plan;
	struct decoded got = {.raw_len = rec->raw_len, .depth = (uint8_t)(n - 1)};
	int r = need_plans(d, ix, n, e);

	if (r < 0)
		return r;
	plan = d->plans.p;
	d->last = NULL;
	for (unsigned i = n; i-- > 0;) {
		const struct link *l = &d->chain[i];

		r = l->record.codec == CODEC_LINES ? follow(d, &l->record, &plan)
						   : unpack(d, &l->record, i ? NULL : out);
		if (!r && !i && !out)
			r = flatten(d);
		if (r < 0)
			return failed(ix, l, r, e);
		if (i == n - 1) {
			got.root = l->id;
			got.root_raw = d->text.n ? d->text.v[0].p : d->root.p;
			got.root_len = d->text.len;
			got.root_stored = (uint32_t)l->len;
		}
	}
	if (out && d->text.n && d->text.v[0].p != out)
		pieces_copy(&d->text, out);
	got.raw = out ? out : d->text.n ? d->text.v[0].p : d->root.p;
	if (crc32c(0, got.raw, rec->raw_len) != rec->raw_crc)
		return blame(ix, &d->chain[0],
			err_set(e, -EBADMSG, "unpacked bytes do not match their checksum"), e);
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
