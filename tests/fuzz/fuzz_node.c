/* Tree nodes and map nodes from hostile bytes: every entry that comes out is well-formed and in order. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "store/map.h"
#include "store/node.h"

static void check_entry(const struct entry *en, const char *last)
{
	size_t len = strlen(en->name);

	if (!len || len > TREE_NAME_MAX || strchr(en->name, '/') || en->meta.mode > 07777 ||
		en->meta.mtime.nsec > 999999999 || (last && strcmp(last, en->name) >= 0))
		abort();
	/* Touches all that the entry points to. */
	if (strlen(en->meta.user) > TREE_NAME_MAX || strlen(en->meta.group) > TREE_NAME_MAX)
		abort();
	switch (en->type) {
	case ENTRY_FILE:
		if (en->file.inlined && en->file.size && en->file.inlined[en->file.size - 1] > 255)
			abort();
		break;
	case ENTRY_DIR:
		if (en->dir.entries > en->dir.descendants)
			abort();
		break;
	case ENTRY_SYMLINK:
		if (strlen(en->target) > TREE_TARGET_MAX)
			abort();
		break;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct err e = {0};
	struct node n;
	struct entry en;
	struct node_child c;
	struct digest d;
	const char *last = NULL;

	map_ref(data, size, size % 300, &d, &e);
	if (node_open(&n, data, size, &e) < 0)
		return 0;
	if (n.level == 0)
		while (node_entry(&n, &en, &e) > 0) {
			check_entry(&en, last);
			last = en.name;
		}
	else
		while (node_child(&n, &c, &e) > 0) {
			if (!*c.first || (last && strcmp(last, c.first) >= 0) || c.entries > c.descendants)
				abort();
			last = c.first;
		}
	node_done(&n);
	return 0;
}
