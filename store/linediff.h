/* The difference of two texts by lines: which stretches of an earlier version make the new one, and the bytes that are new.
 * Rows that were added, removed, changed or moved among thousands of others cost a few bytes each.
 *
 * A plan is those bytes; store/README.md, "Record", has its grammar. It is not compressed here. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "store/pieces.h"

struct linediff;

int linediff_new(struct linediff **ret);
void linediff_free(struct linediff *d); /* fine on NULL */

/* The plan that makes p out of ref, in memory of d's until its next use; its length, or 0: there is none of at most `most`
 * bytes, or no memory. */
size_t linediff_make(struct linediff *d, const uint8_t *p, size_t n, const uint8_t *ref, size_t ref_len,
	size_t most, const uint8_t **ret);

/* Follows a plan, which is not trusted: fills out with raw_len bytes. -EBADMSG: it does not make just so many. */
int linediff_apply(
	const uint8_t *plan, size_t n, const uint8_t *ref, size_t ref_len, uint8_t *out, size_t raw_len);
/* The same in pieces of ref and of the plan, which are added to the empty text `out`. */
int linediff_follow(
	const uint8_t *plan, size_t n, const struct pieces *ref, struct pieces *out, size_t raw_len);
