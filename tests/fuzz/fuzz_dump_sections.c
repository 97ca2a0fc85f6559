/* A dump's SQL from hostile bytes: sections come before their text, names are there, and how the input is cut into pieces
 * changes nothing. The first byte says how, and whether it is pg_dumpall's. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "src/pg/dump_sections.h"

static int on_section(void *arg, const struct dump_section *s, struct err *e)
{
	(void)e;
	if (!s->database || !s->schema || !s->name || !s->type)
		abort();
	buf_printf(arg, "\n[%d %s|%s|%s|%s]\n", (int)s->kind, s->database, s->schema, s->name, s->type);
	return 0;
}

static int on_text(void *arg, const void *p, size_t n, struct err *e)
{
	struct buf *b = arg;

	(void)e;
	/* Text is some section's. */
	if (!b->len)
		abort();
	buf_put(b, p, n);
	return 0;
}

static int read_in_pieces(const uint8_t *p, size_t n, size_t piece, bool cluster, struct buf *told)
{
	static const struct dump_sections_ops ops = {.section = on_section, .text = on_text};
	struct dump_sections s;
	struct err e = {0};
	int r = 0;

	dump_sections_init(&s, cluster, &ops, told);
	for (size_t i = 0; i < n && !r; i += piece)
		r = dump_sections_push(&s, p + i, n - i < piece ? n - i : piece, &e);
	if (r < 0 && !e.text[0])
		abort();
	dump_sections_release(&s);
	return r;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct buf whole = {0}, cut = {0};
	bool cluster;
	int r;

	if (!size)
		return 0;
	cluster = data[0] & 64;
	r = read_in_pieces(data + 1, size - 1, size, cluster, &whole);
	if (read_in_pieces(data + 1, size - 1, 1 + (data[0] & 31), cluster, &cut) != r)
		abort();
	if (!r && (whole.len != cut.len || (whole.len && memcmp(whole.data, cut.data, whole.len) != 0)))
		abort();
	buf_free(&whole);
	buf_free(&cut);
	return 0;
}
