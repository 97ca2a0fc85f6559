/* Walking the parent's rope. See rope_home.h. */
#include "store/rope_home.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "store/repo.h"

#define BEHIND (1u << 20) /* bytes of the window before the present place, … */
#define AHEAD (4u << 20)  /* … and behind it */
#define SNAP 2048	  /* boundaries closer than this, … */
#define SNAP_SHARE 8	  /* … or than this part of the chunk, are the same */
#define PIECES 1024	  /* most pieces of the window */

struct piece {
	uint64_t start, len;
	struct digest id;
};

struct rope_home {
	struct store *store;
	struct content content;
	uint64_t read; /* the window ends here */
	uint64_t at;   /* the place in the parent */
	struct piece window[PIECES];
	size_t n;
};

int rope_home_new(struct store *s, const struct content *c, struct rope_home **ret)
{
	struct rope_home *h = calloc(1, sizeof(*h));

	if (!h)
		return -ENOMEM;
	h->store = s;
	h->content = *c;
	*ret = h;
	return 0;
}

void rope_home_free(struct rope_home *h)
{
	free(h);
}

/* Drops what lies far behind, reads on as far as may be looked. */
static void move_window(struct rope_home *h)
{
	size_t drop = 0;

	while (drop < h->n && h->window[drop].start + h->window[drop].len + BEHIND < h->at)
		drop++;
	h->n -= drop;
	memmove(h->window, h->window + drop, h->n * sizeof(h->window[0]));
	while (h->read < h->content.size && h->read < h->at + AHEAD && h->n < PIECES) {
		struct rope_piece p;

		if (rope_find(h->store, &h->content, h->read, &p, NULL) < 0) {
			h->content.size = h->read;
			return;
		}
		blob_release(p.pin);
		/* Literals count for places, but are no references. */
		h->window[h->n++] = (struct piece){p.start, p.len, p.id};
		h->read = p.start + p.len;
	}
}

bool rope_home_step(struct rope_home *h, const struct digest *id, size_t len, struct digest *ref)
{
	uint64_t middle = h->at + len / 2, end = h->at + len;
	uint64_t snap = len / SNAP_SHARE > SNAP ? len / SNAP_SHARE : SNAP, best = snap + 1;

	*ref = (struct digest){{0}};
	move_window(h);
	for (size_t i = 0; i < h->n; i++) {
		const struct piece *p = &h->window[i];

		if (p->len == len && digest_eq(&p->id, id) && !digest_is_zero(id)) {
			h->at = p->start + p->len;
			return true;
		}
	}
	for (size_t i = 0; i < h->n; i++) {
		const struct piece *p = &h->window[i];
		uint64_t stop = p->start + p->len, away = stop > end ? stop - end : end - stop;

		if (p->start <= middle && middle < stop)
			*ref = p->id;
		if (away < best) {
			best = away;
			h->at = stop;
		}
	}
	if (best > snap)
		h->at = end;
	return false;
}
