/* Tables of text. See table.h. */
#include "src/cmd/table.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

void table_init(struct table *t, size_t columns, const bool *right)
{
	*t = (struct table){.columns = columns, .right = right};
}

void table_add(struct table *t, const char *text)
{
	char **cells = t->bad ? NULL : realloc(t->cells, (t->n + 1) * sizeof(*cells));

	if (!cells) {
		t->bad = true;
		return;
	}
	t->cells = cells;
	cells[t->n] = strdup(text);
	/* A database can be called anything; a row is a line. */
	for (char *p = cells[t->n]; p && *p; p++)
		*p = (unsigned char)*p < 0x20 || *p == 0x7f ? ' ' : *p;
	if (!cells[t->n])
		t->bad = true;
	else
		t->n++;
}

/* Characters, not bytes: bytes that go on with a UTF-8 sequence take no room. */
static size_t width(const char *s)
{
	size_t n = 0;

	for (; *s; s++)
		n += ((unsigned char)*s & 0xc0) != 0x80;
	return n;
}

int table_print(const struct table *t, FILE *to)
{
	size_t *widths;

	if (t->bad)
		return -ENOMEM;
	widths = calloc(t->columns, sizeof(*widths));
	if (!widths)
		return -ENOMEM;
	for (size_t i = 0; i < t->n; i++)
		if (width(t->cells[i]) > widths[i % t->columns])
			widths[i % t->columns] = width(t->cells[i]);
	for (size_t i = 0; i < t->n; i++) {
		size_t c = i % t->columns;
		int pad = (int)(widths[c] - width(t->cells[i]));
		bool last = c + 1 == t->columns;

		if (t->right[c])
			fprintf(to, "%*s%s", pad, "", t->cells[i]);
		else
			fprintf(to, "%s%*s", t->cells[i], last ? 0 : pad, "");
		fputs(last ? "\n" : "  ", to);
	}
	free(widths);
	return 0;
}

void table_release(struct table *t)
{
	for (size_t i = 0; i < t->n; i++)
		free(t->cells[i]);
	free(t->cells);
	*t = (struct table){0};
}
