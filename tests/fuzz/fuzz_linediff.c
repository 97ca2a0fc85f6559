/* Two texts: the plan between them makes the one out of the other; and the one as a hostile plan. The first two bytes are the
 * length of the old text. */
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "store/linediff.h"

#define MADE 4096

/* The same hostile plan in pieces, with the same result. */
static int in_pieces(const uint8_t *plan, size_t n, const uint8_t *ref, size_t ref_len, const uint8_t *want)
{
	struct pieces from = {0}, to = {0};
	uint8_t made[MADE];
	int r = pieces_add(&from, ref, ref_len);

	if (!r)
		r = linediff_follow(plan, n, &from, &to, MADE);
	if (!r) {
		pieces_copy(&to, made);
		if (to.len != MADE || memcmp(made, want, MADE) != 0)
			abort();
	}
	pieces_release(&from);
	pieces_release(&to);
	return r;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct linediff *d;
	uint8_t *ref, *p, *out;
	const uint8_t *plan;
	size_t ref_len, n, len;
	int r;

	if (size < 2 || (!d && linediff_new(&d) < 0))
		return 0;
	ref_len = (size_t)(data[0] | data[1] << 8);
	if (ref_len > size - 2)
		ref_len = size - 2;
	n = size - 2 - ref_len;
	ref = malloc(ref_len + 1);
	p = malloc(n + 1);
	out = malloc(n > MADE ? n : MADE);
	memcpy(ref, data + 2, ref_len);
	memcpy(p, data + 2 + ref_len, n);
	len = linediff_make(d, p, n, ref, ref_len, 2 * n + 16, &plan);
	if (len && (linediff_apply(plan, len, ref, ref_len, out, n) || memcmp(out, p, n)))
		abort();
	r = linediff_apply(p, n, ref, ref_len, out, MADE);
	if ((r && r != -EBADMSG) || in_pieces(p, n, ref, ref_len, out) != r)
		abort();
	free(ref);
	free(p);
	free(out);
	return 0;
}
