/* Who reads sequentially gets a window of decoded chunks ahead of it, which grows as long as it goes on; who
 * reads here and there gets nothing, and pays a few comparisons.
 *
 * The kernel sends its own readahead as several requests at once, and several threads serve them, so the
 * reads of a sequential client arrive a little out of order. "In sequence" therefore means: within a few
 * requests of the expected place, in either direction. A random reader falls into that window now and then in
 * a small file; it takes START_AFTER bytes in a row before anything is fetched, and one stray read ends it.
 */
#include "fs/readahead.h"

#define START_AFTER (128u << 10)
#define BIG_READ (64u << 10) /* a first request of this size at offset 0 is a copy that begins */
#define SLACK 4		     /* requests */

static uint64_t min_u64(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

struct span readahead_note(struct readahead *ra, uint64_t off, size_t n, uint64_t size, uint64_t limit)
{
	const struct span none = {0};
	uint64_t left = off < size ? size - off : 0,
		 distance = off > ra->next ? off - ra->next : ra->next - off;
	uint64_t end, want;

	if (n > left)
		n = (size_t)left;
	end = off + n;
	if (distance > (uint64_t)n * SLACK) {
		*ra = (struct readahead){.next = end};
		return none;
	}
	ra->run += n;
	if (end > ra->next)
		ra->next = end;
	if (limit < READAHEAD_START)
		return none;
	if (!ra->window) {
		if (ra->run < START_AFTER && !(off == 0 && n >= BIG_READ))
			return none;
		ra->window = READAHEAD_START;
	}
	if (ra->ahead < ra->next)
		ra->ahead = ra->next; /* the reader was faster */
	want = min_u64(ra->next + ra->window, size);
	/* Half a window at a time: fewer, larger spans. The end of the file is always worth asking for. */
	if (want <= ra->ahead || (want < size && want - ra->ahead < ra->window / 2))
		return none;
	ra->window = (uint32_t)min_u64((uint64_t)ra->window * 2, min_u64(limit, READAHEAD_MAX));
	want = min_u64(ra->next + ra->window, size);
	end = ra->ahead;
	ra->ahead = want;
	return (struct span){end, want - end};
}

struct span readahead_disk(struct readahead *ra, uint64_t size)
{
	const struct span none = {0};
	uint64_t reach = (uint64_t)ra->window * READAHEAD_DISK, want = min_u64(ra->next + reach, size), from;

	if (!ra->window)
		return none;
	from = ra->told > ra->next ? ra->told : ra->next;
	if (want <= from || (want < size && want - from < reach / 2))
		return none;
	ra->told = want;
	return (struct span){from, want - from};
}
