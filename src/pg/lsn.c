/* Text forms of LSNs and names of WAL segments. See lsn.h. */
#include "src/pg/lsn.h"

#include <stdio.h>
#include <string.h>

/* The value of n hexadecimal digits (n <= 8), or false. */
static bool hex(const char *p, size_t n, bool lower_too, uint32_t *ret)
{
	uint32_t v = 0;

	for (size_t i = 0; i < n; i++) {
		char c = p[i];

		if (c >= '0' && c <= '9')
			v = v << 4 | (uint32_t)(c - '0');
		else if (c >= 'A' && c <= 'F')
			v = v << 4 | (uint32_t)(c - 'A' + 10);
		else if (lower_too && c >= 'a' && c <= 'f')
			v = v << 4 | (uint32_t)(c - 'a' + 10);
		else
			return false;
	}
	*ret = v;
	return true;
}

char *lsn_text(struct lsn l, char out[LSN_TEXT])
{
	snprintf(out, LSN_TEXT, "%X/%X", (uint32_t)(l.v >> 32), (uint32_t)l.v);
	return out;
}

bool lsn_parse(const char *p, size_t n, struct lsn *ret)
{
	const char *slash = n ? memchr(p, '/', n) : NULL;
	size_t left, right;
	uint32_t hi, lo;

	if (!slash)
		return false;
	left = (size_t)(slash - p);
	right = n - left - 1;
	if (!left || left > 8 || !right || right > 8)
		return false;
	if (!hex(p, left, true, &hi) || !hex(slash + 1, right, true, &lo))
		return false;
	ret->v = (uint64_t)hi << 32 | lo;
	return true;
}

bool wal_segsize_ok(uint32_t seg_size)
{
	return seg_size >= 1u << 20 && seg_size <= 1u << 30 && !(seg_size & (seg_size - 1));
}

struct segno wal_segno(struct lsn l, uint32_t seg_size)
{
	return (struct segno){l.v / seg_size};
}

struct lsn wal_segment_start(struct segno s, uint32_t seg_size)
{
	return (struct lsn){s.v * seg_size};
}

/* How many segments the middle third of a name counts as one. */
static uint64_t segments_of_4g(uint32_t seg_size)
{
	return (1ull << 32) / seg_size;
}

char *wal_name(struct tli t, struct segno s, uint32_t seg_size, char out[WAL_NAME_TEXT])
{
	uint64_t per = segments_of_4g(seg_size);

	snprintf(out, WAL_NAME_TEXT, "%08X%08X%08X", t.v, (uint32_t)(s.v / per), (uint32_t)(s.v % per));
	return out;
}

bool wal_name_looks(const char *p, size_t n)
{
	uint32_t v;

	return n == WAL_NAME_LEN && hex(p, 8, false, &v) && hex(p + 8, 8, false, &v) &&
	       hex(p + 16, 8, false, &v);
}

bool wal_name_parse(const char *p, size_t n, uint32_t seg_size, struct tli *ret_tli, struct segno *ret_segno)
{
	uint32_t t, hi, lo;

	if (n != WAL_NAME_LEN || !wal_segsize_ok(seg_size))
		return false;
	if (!hex(p, 8, false, &t) || !hex(p + 8, 8, false, &hi) || !hex(p + 16, 8, false, &lo))
		return false;
	if (!t || lo >= segments_of_4g(seg_size))
		return false;
	ret_tli->v = t;
	ret_segno->v = hi * segments_of_4g(seg_size) + lo;
	return true;
}
