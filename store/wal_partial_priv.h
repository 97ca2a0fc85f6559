/* What the reading and the writing half of growing segments share: wal_partial.c and wal_partial_put.c only. */
#pragma once

#include "store/backend.h"
#include "store/wal_object.h"
#include "store/wal_partial.h"
#include "store/wal_piece.h"

#define WAL_PARTIAL_BLOCK WAL_PIECE_MAX /* pieces do not reach from one into the next */

struct piece {
	uint32_t start, end;
	struct object_info info;
};

/* A segment's pieces by start; of those with the same, the longest first. */
struct pieces {
	const char *segment;
	size_t skip; /* of object names: the folder and its slash */
	struct piece *v;
	size_t n;
};

void pieces_done(struct pieces *l);
/* Anew; what *ret held before is freed. -EINVAL: cluster or segment cannot be called so. */
int pieces_list(struct store *s, const char *cluster, const char *segment, struct pieces *ret, struct err *e);

int pieces_folder(char out[WAL_OBJECT_NAME], const char *cluster, struct err *e);
/* Of a cluster and a segment whose names were found good. */
void piece_name(
	char out[WAL_OBJECT_NAME], const char *cluster, const char *segment, uint32_t start, uint32_t end);

/* Reads and unpacks one into out, which has room for a block. *ret_size: the segment's. */
int piece_read(struct store *s, const char *object, uint32_t start, uint32_t end, uint8_t *out,
	uint32_t *ret_size, struct err *e);

/* Reads what the list has of a block into out; *ret_n says how much of it, from its first byte. Pieces that are damaged
 * or gone are passed over; *ret_bad is the last such one's errno or 0, and e tells of it. */
int pieces_read_block(struct store *s, const char *cluster, const struct pieces *l, uint32_t block,
	uint8_t *out, uint32_t *ret_n, int *ret_bad, struct err *e);
