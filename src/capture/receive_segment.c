/* The segment that grows: bytes in memory, pieces in the repository, and the whole in the archive when it is complete. See
 * receive_priv.h. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "src/capture/receive_priv.h"
#include "store/wal_partial.h"

void growing_done(struct growing *g)
{
	free(g->p);
	*g = (struct growing){0};
}

static void name_it(struct growing *g)
{
	wal_name(g->tli, wal_segno(g->start, g->size), g->size, g->name);
}

int growing_begin(struct receiver *r, struct tli tli, struct lsn at, struct err *e)
{
	struct growing *g = &r->g;
	uint32_t size = r->server.segment_size, offset = (uint32_t)(at.v & (size - 1));
	size_t loaded = 0;
	struct err why = {0};
	int n;

	growing_done(g);
	g->p = malloc(size);
	if (!g->p)
		return err_sys(e, -ENOMEM, "a segment of WAL");
	g->tli = tli;
	g->size = size;
	g->start.v = at.v - offset;
	name_it(g);
	if (!offset)
		return 0;
	n = wal_partial_load(r->store, r->cluster, g->name, g->p, offset, &loaded, &why);
	if (n < 0 && n != -ENOENT && n != -EBADMSG)
		return err_set(e, n, "%s", why.text);
	if (loaded < offset)
		log_msg(r->log, LOG_LEVEL_WARNING, "%s is received again from byte %zu on: %s", g->name,
			loaded, why.text);
	g->have = g->durable = (uint32_t)loaded;
	return 0;
}

int growing_flush(struct receiver *r, struct err *e)
{
	struct growing *g = &r->g;
	int n;

	/* A whole one that the archive refused is none of ours to keep. */
	if (g->have == g->durable || g->have == g->size)
		return 0;
	n = wal_partial_append(r->store, r->cluster, g->name, g->size, g->durable, g->p + g->durable,
		g->have - g->durable, e);
	if (n < 0)
		return n;
	g->durable = g->have;
	g->since_ns = 0;
	return wal_partial_compact(r->store, r->cluster, g->name, 0, e);
}

/* The segment is complete: into the archive, and on to the next. */
static int complete(struct receiver *r, struct err *e)
{
	struct growing *g = &r->g;
	const struct wal_input in = {.bytes = g->p, .fd = -1, .size = g->size};
	bool known;
	int n = wal_take(&r->taker, g->name, g->name, &in, &known, e);

	if (n < 0)
		return n;
	log_msg(r->log, LOG_LEVEL_DEBUG, "%s is archived%s", g->name, known ? ", as it was already" : "");
	n = wal_partial_remove(r->store, r->cluster, g->name, e);
	if (n < 0)
		return n;
	g->start.v += g->size;
	g->have = g->durable = 0;
	g->since_ns = 0;
	name_it(g);
	return 0;
}

int growing_add(struct receiver *r, struct lsn at, const uint8_t *p, size_t n, struct err *e)
{
	struct growing *g = &r->g;
	struct lsn end = growing_end(g);
	char want[LSN_TEXT], got[LSN_TEXT];

	if (at.v > end.v)
		return err_set(e, -EBADMSG, "the server sent WAL at %s, where %s follows", lsn_text(at, got),
			lsn_text(end, want));
	if (end.v - at.v >= n)
		return 0;
	p += end.v - at.v;
	n -= (size_t)(end.v - at.v);
	while (n) {
		size_t room = g->size - g->have, part = n < room ? n : room;
		int ret;

		memcpy(g->p + g->have, p, part);
		g->have += (uint32_t)part;
		p += part;
		n -= part;
		if (!g->since_ns)
			g->since_ns = clock_mono_ns();
		ret = g->have == g->size ? complete(r, e) : 0;
		if (ret < 0)
			return ret;
	}
	return 0;
}
