/* A table of text for people: columns as wide as their widest cell. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

struct table {
	size_t columns;
	const bool *right; /* a flag a column: numbers stand to the right */
	char **cells;
	size_t n;
	bool bad; /* a cell could not be added for want of memory */
};

void table_init(struct table *t, size_t columns, const bool *right);
/* Adds the next cell, copied; the first row is the heading. */
void table_add(struct table *t, const char *text);
/* Prints complete rows. -ENOMEM when a cell is missing. */
int table_print(const struct table *t, FILE *to);
void table_release(struct table *t);
