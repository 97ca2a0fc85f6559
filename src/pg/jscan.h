/* A JSON text read from front to back, a token at a time, by a caller that knows what must come next.
 *
 * Nothing is allocated and nothing recurses: the caller's own functions are the depth. White space is skipped
 * before every token. RFC 8259 in UTF-8; strings hold no U+0000. A private header of src/pg.
 *
 *	jscan_expect(&j, '{');
 *	for (r = jscan_empty(&j, '}') ? 0 : 1; r > 0; r = jscan_more(&j, '}'))
 *		switch (jscan_key(&j, names, count, &seen)) …
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "src/base/err.h"

struct jscan {
	const char *what; /* the text's name, for messages */
	const uint8_t *base;
	size_t n;
	size_t i;      /* where we are */
	struct err *e; /* may be NULL */
};

/* Sets "WHAT: at byte AT: WHY" and returns -EBADMSG, as every function below does on failure. */
int jscan_bad(const struct jscan *j, size_t at, const char *why);

/* Skips white space and tells where the next token starts. */
size_t jscan_space(struct jscan *j);

/* One byte of punctuation. */
int jscan_expect(struct jscan *j, char c);

/* Does the list or object that was just opened close at once? Then it is closed. */
bool jscan_empty(struct jscan *j, char close);

/* After an item: 1 when another follows, 0 when the list or object is closed. */
int jscan_more(struct jscan *j, char close);

/* A member's key and its colon. Returns the key's number in names. Each may come once in an object: its bit
 * is set in *seen. count is at most 32, names are shorter than 40 bytes. */
int jscan_key(struct jscan *j, const char *const *names, int count, unsigned *seen);

/* A string of less than room bytes, decoded, and a NUL behind it. */
int jscan_string(struct jscan *j, char *out, size_t room, size_t *ret_len);

/* A string of hexadecimal digits of either case, as at most room bytes. */
int jscan_hex(struct jscan *j, uint8_t *out, size_t room, size_t *ret_len);

/* A whole number without sign, 0 to 2^64 - 1. */
int jscan_number(struct jscan *j, uint64_t *ret);
