/* What dump_diff.c (comparing) and dump_diff_read.c (finding out what there is) share. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "store/digest.h"
#include "store/snapshot.h"
#include "store/tree.h"

enum diff_what {
	DIFF_DEFINITION,
	DIFF_DATA, /* a table's rows, a sequence's position, large objects */
};

/* One thing that there is: a definition, or the data of an object, which may have several definitions. */
struct diff_item {
	char *database, *schema, *name, *type;
	enum diff_what what;
	bool inserts;	      /* data: commands rather than rows */
	struct entry *file;   /* data: where it is; NULL: only its digest is known */
	struct digest digest; /* of what dump_sections.h tells */
};

struct diff_list {
	struct diff_item *v;
	size_t n, cap;
	bool plain; /* the dump is SQL */
};

/* All items of a dump. */
int diff_list_read(struct store *s, const struct snapshot *snap, struct diff_list *ret, struct err *e);
void diff_list_release(struct diff_list *l);

/* Takes the contents of large objects out; true when there were any. */
bool diff_list_drop_blobs(struct diff_list *l);

/* The digest that dump_sections.h's text of INSERT commands in a file has. */
int diff_inserts_digest(struct store *s, const struct content *c, struct digest *ret, struct err *e);
